"""What is attached to this machine: 1-Wire buses and serial ports. Whatever a gateway uses is left alone."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.conf.section import plugins
from gateway.flag import Flag
from gateway.settings import build
from listeners.onewire.bus import OneWire
from listeners.onewire.checks.owfs_conf import masters
from listeners.onewire.commands.survey import GatewaySensors, OwnListeners, Survey, usual_listeners
from listeners.onewire.drivers.ds2482 import ADDRESSES, Ds2482
from listeners.ports.examine_i2c import hears
from listeners.ports.examine_serial import examine_serial, stable_names
from listeners.ports.i2c import place_of
from listeners.radio.rfm12pi import Rfm12pi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.conf.document import Document
    from gateway.diagnosis.machine import Machine
    from gateway.present.asking import RunningGateway

_PINS = "1"
"""The I2C bus on a Pi's pins, which is tried even where no device of it is seen."""


@dataclass
class Attached:
    """The 1-Wire buses: those of the gateway that runs with the file, if one does, and others.

    `held` is what each listener of that gateway and of the file has exclusively, in words. `own` reads the
    other buses.
    """

    own: OwnListeners
    held: Mapping[str, Iterable[str]]
    gateway: GatewaySensors | None = None

    @classmethod
    def find(cls, running: RunningGateway, text: Document, machine: Machine) -> Attached:
        """Ask the gateway, and prepare to look at what it does not have; nothing is opened yet.

        Raises OSError if one runs and does not say what it has.
        """
        gateway: GatewaySensors | None = None
        taken: Mapping[str, list[str]] = {}
        places: set[str] = set()
        is_running = True
        try:
            taken = running.ask("exclusive")
            gateway = GatewaySensors(running, Clock())
            places = {report.place for report in gateway.look().reports.values()}
            if not running.runs_with(text.path, running.status()):
                gateway = None
        except ConnectionRefusedError:
            is_running = False
        configured = plugins(text, "listeners")
        held = {**{name: each.exclusive for name, each in configured.items()}, **taken}
        others = [each for each in _usual(machine, taken) if each.place not in places]
        onewire = {name: each for name, each in configured.items() if isinstance(each, OneWire)}
        return cls(OwnListeners({} if is_running else onewire, others, Clock()), held, gateway)

    def look(self) -> Survey:
        """Return what is on all buses."""
        survey = self.own.look()
        if self.gateway:
            theirs = self.gateway.look()
            survey.reports = theirs.reports | survey.reports
            survey.troubles |= theirs.troubles
            survey.nodes |= theirs.nodes
        return survey

    @property
    def period(self) -> float:
        """Seconds from one sample to the next."""
        return max(each.period for each in (self.own, self.gateway) if each)

    def sample(self) -> Mapping[str, float]:
        """Wait for the next sample of all sensors; the gateway's buses give what the gateway reads."""
        theirs = self.gateway.sample() if self.gateway and self.gateway.has_sensors else {}
        return {**theirs, **self.own.sample()}

    def holder(self, port: str) -> str:
        """Return the listener of the running gateway that has a serial port, "" if none has."""
        real = os.path.realpath(port)
        for name, held in self.held.items():
            for what in held:
                is_it = what.startswith("/") and os.path.realpath(what) == real
                if is_it or fnmatch.fnmatchcase(port, what) or fnmatch.fnmatchcase(real, what):
                    return name
        return ""


def _usual(machine: Machine, taken: Mapping[str, Iterable[str]]) -> Iterator[OneWire]:
    """Yield listeners for the usual buses, and for each bridge; none for an I2C bus that is in use."""
    held = [what for each in taken.values() for what in each]
    buses = dict.fromkeys((_PINS, *(name.rpartition("-")[2] for name in machine.names("/dev/i2c-[0-9]*"))))
    free = [
        bus
        for bus in buses
        if not masters(machine, f"/dev/i2c-{bus}")
        and not any(what.startswith(place_of(bus, 0).partition(",")[0] + ",") for what in held)
    ]
    found = [(bus, address) for bus in free for address in ADDRESSES if hears(bus, address)]
    for listener in usual_listeners():
        if not isinstance(listener, Ds2482) or (listener.bus in free and not found):
            yield listener
    for bus, address in found:
        bridge = build(Ds2482, {"node": "1", "bus": bus, "address": f"{address:#04x}"})
        bridge.name = "ds2482"
        yield bridge


def simulated() -> OwnListeners:
    """Return a simulated bridge with sensors."""
    bridge = build(Ds2482, {"node": "1", "bus": "simulated"})
    bridge.name = "ds2482"
    return OwnListeners({}, [bridge], Clock())


def ports(machine: Machine) -> dict[str, str]:
    """Return the serial ports, by the name that stays, each with what keeps it from being used, or ""."""
    names = [name for kind in ("AMA", "S", "USB", "ACM") for name in machine.names(f"/dev/tty{kind}[0-9]*")]
    stable = stable_names(machine)
    found = {}
    for name in names:
        kind = machine.text(f"/sys/class/tty/{name}/type").strip()
        if name.startswith("ttyS") and kind in ("", "0"):
            continue  # every kernel has some without hardware
        port = stable.get(os.path.realpath(machine.path(f"/dev/{name}")), f"/dev/{name}")
        found[port] = "; ".join(
            f"{finding.found}: {finding.cure}" for finding in examine_serial(machine, port) if finding.is_bad
        )
    return found


def ask_board(port: str) -> int:
    """Ask whether a radio board is at a port, and return its bits a second. Raises OSError if none is.

    The question is written to the port at each rate that boards have, which takes half a minute at most.
    """
    board = build(Rfm12pi, {"port": port, "baud": "auto"})
    try:
        board.open()
        board.read(Flag())
        return board.rate
    finally:
        board.close()
