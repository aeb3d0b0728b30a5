"""Thermometers through OWFS: in a directory where it is mounted, or on an owserver.

A directory of plain files with the same layout works as well.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from gateway.paths import hidden
from gateway.settings import SettingsFault, setting
from listeners.files import read_once, write_once
from listeners.onewire.bus import BusFault, OneWire
from listeners.onewire.checks.examine_owfs import examine_mount, examine_server
from listeners.onewire.drivers.couplers import locate
from listeners.onewire.drivers.masters import Masters
from listeners.onewire.drivers.owserver import Address, Server
from listeners.onewire.ds18b20 import POWER_ON_C, Fault, Reading, decode
from listeners.onewire.rom import Rom
from listeners.onewire.tree import PAUSE, Tree, Unavailable, find_buses, read_temperature, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine

T = TypeVar("T")

MOUNT_POINT = Path("/mnt/1wire")

_LONGEST = 4096
"""The bytes that are read of a file: more than any of them has."""

SIMULATED = "Simulated-"
"""How the name of a bus that OWFS simulates begins."""


class Mount:
    """The tree below a directory, mounted or not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    @property
    def root(self) -> str:
        """The directory, without links."""
        return os.path.realpath(self._root)

    def open(self) -> None:
        """Make sure that the directory can be opened."""
        try:
            os.scandir(self._path).close()
        except OSError as error:
            why = hidden(self._path) or "is owfs running, and mounted there?"
            raise OSError(f"{self}: {error.strerror}; {why}") from error

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return self._ask(lambda: [entry.name for entry in (self._root / path).iterdir()])

    def read(self, path: str) -> bytes:
        """Return what is in a file, by one read: at a second one OWFS lets the sensor convert again."""
        return self._ask(lambda: read_once(self._root / path, _LONGEST))

    def write(self, path: str, data: bytes) -> None:
        """Write to an existing file; create none."""
        self._ask(lambda: write_once(self._root / path, data))

    def temperature_scale(self) -> str:
        """Return the scale that OWFS was mounted with, or was set to since; plain files are in °C."""
        for folder in (*reversed(self._root.parents), self._root):
            with suppress(OSError):
                scale = read_once(folder / "settings/units/temperature_scale", _LONGEST)
                return scale.decode("ascii", "replace").strip()
        return "C"

    @property
    def _root(self) -> Path:
        """The directory, or the one without `uncached`, if it shows that one's sensors but not its buses."""
        root = Path(*(part for part in self._path.parts if part != "uncached"))
        is_owfs = any(os.path.isdir(root / name) for name in ("interface", "settings"))  # noqa: PTH112  (it may be unreachable)
        return root if is_owfs else self._path

    def _ask(self, request: Callable[[], T]) -> T:
        """Return the answer; Unavailable if the path has none, OSError if the directory is gone."""
        try:
            return request()
        except OSError as error:
            self.open()
            raise Unavailable(str(error)) from error


@dataclass(kw_only=True)
class Owfs(OneWire):
    """Thermometers in a directory where OWFS is mounted or, with `server`, on an owserver.

    They are on bus masters, on simulated buses, or in plain files with a number in each.
    """

    path: Path | None = setting(None)
    server: Address | None = setting(None)
    _tree: Tree = field(init=False, compare=False, repr=False)
    _buses: dict[str, str] = field(default_factory=dict, init=False, compare=False, repr=False)
    _masters: Masters | None = field(default=None, init=False, compare=False, repr=False)
    # The branches of those sensors that are on a coupler.
    _places: dict[Rom, str] = field(default_factory=dict, init=False, compare=False, repr=False)
    _searched: bool = field(default=False, init=False, compare=False, repr=False)
    _warned: set[str] = field(default_factory=set, init=False, compare=False, repr=False)
    _answered: bool = field(default=False, init=False, compare=False, repr=False)
    # Those that did not answer in the last sweep, and which bus could not be searched for them.
    _missing: list[Rom] = field(default_factory=list, init=False, compare=False, repr=False)
    _unsearched: str = field(default="", init=False, compare=False, repr=False)
    # Servers behind this one that do not answer, and when they are asked again, in monotonic seconds.
    _silent: list[str] = field(default_factory=list, init=False, compare=False, repr=False)
    _silent_until: float = field(default=0.0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path and self.server:
            raise SettingsFault([("server", f"either a path or a server expected, not {self.path} as well")])
        if not self.server:
            self.path = self.path or MOUNT_POINT

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return what the doctor finds on the way to the sensors."""
        if self.server:
            return examine_server(machine, self._reach(), str(self.server))
        path = self.path or MOUNT_POINT
        return examine_mount(machine, path, Mount(machine.path(path)))

    @property
    def place(self) -> str:
        """The directory or the server."""
        return str(self._reach())

    @property
    def simulated(self) -> bool:
        """Whether any of its buses, once they are known, is simulated."""
        return any(name.startswith(SIMULATED) for name in self._buses.values())

    @property
    def bus_masters(self) -> list[str]:
        """OWFS's names for what drives its buses, once they are known."""
        return list(self._buses.values())

    def open(self) -> None:
        """Open the directory or the server, and see which buses it has."""
        self._tree = self._reach()
        self._tree.open()
        self._buses, self._masters, self._places, self._searched = {}, None, {}, False
        self._silent.clear()
        self._find_buses()

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Return the sensors' readings, after one conversion for all where there are bus masters."""
        if not self._answered:
            # No sensor answered: OWFS may have been mounted, or got its bus master, since.
            self._find_buses()
        elif self._silent:
            self._find_buses(self._buses)
        self._answered = False
        readings = self._swept(roms)
        missing = [rom for rom, reading in readings.items() if reading is Fault.NO_ANSWER]
        if missing and not self._searched:
            with suppress(BusFault):
                self.search()
            if elsewhere := [rom for rom in missing if rom in self._places]:
                readings |= self._swept(elsewhere)
        self._missing = [rom for rom, reading in readings.items() if reading is Fault.NO_ANSWER]
        self._answered = any(isinstance(reading, float) for reading in readings.values())
        if len(missing) == len(roms) and not self._buses and self._is_empty():
            raise BusFault(f"{self._tree} is empty: is owfs running, and mounted there?")
        return readings

    def search(self) -> Collection[Rom]:
        """Return the sensors that the tree lists; for that OWFS searches its buses and their couplers.

        A bus that hangs or cannot be searched is left out. Raises BusFault if that is so of all of them.
        """
        self._searched, known = True, self._buses
        found, all_answer = self._located()
        # A restart of this owserver may have added a bus, or one behind it may have come up. They are looked
        # for once those that are known have answered: where one hangs it would take a minute.
        if all_answer:
            self._find_buses(known)
        if self._buses != known:
            self._searched = True
            found, _ = self._located()
        for rom, path in found.items():
            self._places.pop(rom, None)
            if path not in self._buses and path:
                self._places[rom] = path
        if self._masters:
            self._masters.found(found)
        return found.keys()

    def _located(self) -> tuple[dict[Rom, str], bool]:
        """Return where each device is, and whether all buses answered; BusFault if none can be searched."""
        hanging = self._masters.hanging if self._masters else ()
        asked = [bus for bus in self._buses or [""] if bus not in hanging]
        found, refusals = locate(self._tree, asked)
        if refusals and len(refusals) == len(asked):
            refusal = next(iter(refusals.values()))
            raise BusFault(f"{self._tree}: the bus cannot be searched ({refusal})") from refusal
        self._unsearched = ", ".join(shown(bus, self._buses[bus]) for bus in (*refusals, *hanging))
        return found, not self._unsearched

    def bus_fault(self, rom: Rom) -> str:
        """Return how a sensor's bus failed in the last sweep, or may have, where there are several."""
        if known := self._masters and self._masters.bus_faults.get(rom):
            return known
        if rom not in self._missing or self.traits(rom) != (None, None):
            return ""
        if self._unsearched:
            why = f"and {self._unsearched} cannot be searched; look for a short, and at the bus master"
            return f"no answer, {why}"
        if self._silent:
            return f"no answer, nor does {', '.join(self._silent)} answer; look at that, and the way to it"
        return ""

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:
        """Return resolution and power supply, as far as a bus master has shown them."""
        return self._masters.traits(rom) if self._masters else (None, None)

    def _is_empty(self) -> bool:
        try:
            return not self._tree.names("")
        except Unavailable as refusal:
            raise BusFault(
                f"{self._tree}: it cannot be listed ({refusal}); look at its bus master"
            ) from refusal

    def _reach(self) -> Tree:
        return Server(self.server) if self.server else Mount(self.path or MOUNT_POINT)

    def _find_buses(self, known: Mapping[str, str] = MappingProxyType({})) -> None:
        """See which buses there are besides those known, which stay; log once where they are not real.

        A server behind this one that did not answer takes its time again: it is asked when due, if others do.
        """
        begun = self.clock.monotonic()
        if self._buses and self._silent and begun < self._silent_until:
            return
        answering, self._silent = find_buses(self._tree, self.clock.monotonic)
        now = self.clock.monotonic()
        self._silent_until = now + PAUSE * (now - begun)
        found = {**known, **answering}
        if found == self._buses:
            return
        self._buses = found
        real = {bus: name for bus, name in found.items() if not name.startswith(SIMULATED)}
        self._places = {}
        self._searched = False
        self._masters = (
            Masters(self._tree, real, self.resolution_for, self.clock, self._places) if real else None
        )
        if "Simulated-Random" in found.values():
            self._warn_once(
                f"{self._tree} serves FAKE SENSORS with random values, as Debian's /etc/owfs.conf does until "
                "it is edited: name your bus master there (server: device = ...) and restart owserver"
            )
        elif len(real) < len(found):
            self._warn_once(f"{self._tree} serves simulated sensors ({', '.join(found.values())})")

    def _warn_once(self, words: str) -> None:
        """Log it, unless it was logged before: in an outage the buses are looked for at each try."""
        if words not in self._warned:
            self._warned = {words}
            self.log.warning("%s", words)

    def _swept(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        if self._masters:
            return self._masters.sweep(roms)
        if self._silent and not self._buses:  # each sensor would take the time that each server takes
            silent = ", ".join(self._silent)
            raise BusFault(f"{self._tree}: {silent} does not answer in time; look at that, and the way to it")
        return {rom: self._number(rom) for rom in roms}

    def _number(self, rom: Rom) -> Reading:
        """Return the temperature in the first of a sensor's files that exists."""
        # Not on a simulated bus: there every id answers.
        files = ["latesttemp"] if self._buses else [f"temperature{self.resolution}", "temperature"]
        for file in files:
            home = f"{self._places.get(rom, '')}{rom}/"
            with suppress(Unavailable):
                reading = read_temperature(self._tree, f"{home}{file}")
                if reading == POWER_ON_C and not self._buses:
                    # OWFS without its buses, as where `uncached` alone is mounted from another machine.
                    with suppress(Unavailable):
                        return decode(rom, self._tree.read(f"{home}scratchpad"))
                return reading
        return Fault.NO_ANSWER


@dataclass(kw_only=True)
class Owserver(Owfs):
    """The same under the name `owserver`: on the owserver of this machine, unless another is named."""

    path: None = field(default=None, init=False, repr=False)
    server: Address = setting(Address("localhost"))
