"""/etc/owfs.conf: the lines that hold for a program of OWFS.

Source: owfs.conf(5) of OWFS 3.2. A line is an option, with or without a value, for all programs or for those
that stand before it: `server: i2c = /dev/i2c-1:0`, `! server: server = localhost:4304`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine

PATH = "/etc/owfs.conf"

PROGRAMS = {"owserver": "server", "owfs": "owfs", "owhttpd": "http", "owftpd": "ftp"}
"""The programs that share the file, and what they are called in it."""

SOURCES = (
    *("i2c", "device", "usb", "w1", "server", "autoserver", "browse", "fake", "tester", "mock"),
    *("link", "enet", "ha7net", "ha7e", "ha7s", "ha3", "ha4b", "ha5", "pbm", "masterhub", "etherweather"),
    *("xport", "passive", "ds1wm", "k1wm", "external"),
)
MADE_UP = ("fake", "tester", "mock")
"""Options that name a bus master, and those of them whose sensors are simulated."""

USUAL = {
    "owserver": "server: i2c = /dev/i2c-1:0",
    "owfs": "! server: server = localhost:4304",
}
REAL = f"name your bus master in {PATH} ({USUAL['owserver']}), and restart owserver"

_LINE = re.compile(
    r"\s*(?:(?P<but>!?)\s*(?P<whose>server|owfs|http|ftp)\s*:)?\s*-*(?P<name>\w+)\s*=?\s*(?P<value>[^#]*)",
    re.IGNORECASE,
)
_SHORTEST = 3


@dataclass(frozen=True)
class Option:
    """An option that holds for a program, in lower case, and the number of its line."""

    name: str
    value: str
    line: int

    def __str__(self) -> str:
        return f"{PATH}:{self.line}: {self.name} = {self.value}"

    @property
    def device(self) -> str:
        """The device of a bus master that it names, "ALL", or ""."""
        return self.value.partition(":")[0] if self.is_one_of("i2c", "device") else ""

    def is_one_of(self, *names: str) -> bool:
        """Tell whether it is one of these, written out or shortened."""
        short = len(self.name) >= _SHORTEST
        return any(name == self.name or (short and name.startswith(self.name)) for name in names)


def options(machine: Machine, program: str) -> list[Option]:
    """Return the options that a program takes from the file, in its order; none where there is no file."""
    found = []
    for number, line in enumerate(machine.text(PATH).splitlines(), 1):
        match = _LINE.match(line)
        if match and _holds(match["whose"], match["but"], PROGRAMS[program]):
            found.append(Option(match["name"].lower(), match["value"].strip(), number))
    return found


def _holds(whose: str | None, but: str | None, program: str) -> bool:
    return whose is None or (whose.lower() == program) != bool(but)


def masters(machine: Machine, device: str) -> list[str]:
    """Return the programs of OWFS that are running and drive this I2C bus, as far as the file says so."""
    running = machine.programs()
    return [
        program
        for program in PROGRAMS
        if program in running
        and any(option.device in (device, "ALL") for option in options(machine, program))
    ]


def examine_masters(machine: Machine, device: str) -> Finding:
    """Check for OWFS on an I2C bus of ours: two masters garble each other's readings, and neither notices."""
    if programs := masters(machine, device):
        return bad(
            f"{device} is driven by {' and '.join(programs)} too, by {PATH}",
            f"sudo service {programs[0]} stop, or read the sensors through it: type = {programs[0]}",
        )
    return good(f"no program of OWFS drives {device}")


def examine_sources(machine: Machine, program: str) -> Iterator[Finding]:
    """Yield the findings on the buses that the file gives to a program; none where there is no file."""
    if not machine.exists(PATH):
        return
    sources = [option for option in options(machine, program) if option.is_one_of(*SOURCES)]
    faults = [fault for option in sources if (fault := _fault(machine, program, option))]
    if not sources:
        yield bad(f"{PATH} names no bus for {program}", f"put the line `{USUAL[program]}` there")
    elif faults:
        yield from faults
    else:
        yield good(f"{PATH} names a bus for {program}")


def _fault(machine: Machine, program: str, option: Option) -> Finding | None:
    if option.is_one_of(*MADE_UP):
        return bad(f"{option} makes {program} serve FAKE SENSORS", REAL)
    if not option.device:
        return None
    if option.device != "ALL" and not machine.exists(option.device):
        return bad(
            f"{option}: there is none", "correct that line, or switch the interface on in raspi-config"
        )
    if len(others := masters(machine, option.device)) > 1:
        return bad(
            f"{option} holds for {' and '.join(others)}: two masters garble a bus",
            "write `server:` before it, and restart them",
        )
    return None
