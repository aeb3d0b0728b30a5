"""Thermometers in the tree of OWFS, or in plain files laid out like it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from listeners.onewire.bus import BusFault, OneWire
from listeners.onewire.drivers.couplers import located
from listeners.onewire.drivers.masters import Masters
from listeners.onewire.drivers.tree import Refused, Tree, buses, temperature_in
from listeners.onewire.ds18b20 import Fault, Reading
from listeners.onewire.rom import Rom

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

SIMULATED = "Simulated-"
"""How the name of a bus begins that OWFS makes up."""


@dataclass(kw_only=True)
class TreeBus(OneWire):
    """Thermometers in a tree: on bus masters, on simulated buses, or in plain files with a number in each."""

    _tree: Tree = field(init=False, compare=False, repr=False)
    _buses: dict[str, str] = field(default_factory=dict, init=False, compare=False, repr=False)
    _masters: Masters | None = field(default=None, init=False, compare=False, repr=False)
    # Of those on a branch of a coupler, the path of that.
    _places: dict[Rom, str] = field(default_factory=dict, init=False, compare=False, repr=False)
    _searched: bool = field(default=False, init=False, compare=False, repr=False)
    _answered: bool = field(default=False, init=False, compare=False, repr=False)

    def reach(self) -> Tree:
        """Return the tree that the settings name."""
        raise NotImplementedError

    @property
    def place(self) -> str:
        """The tree."""
        return str(self.reach())

    @property
    def simulated(self) -> bool:
        """Whether any of its buses, once they are known, is simulated."""
        return any(name.startswith(SIMULATED) for name in self._buses.values())

    @property
    def bus_masters(self) -> list[str]:
        """The names that OWFS has for what drives its buses, once they are known."""
        return list(self._buses.values())

    def open(self) -> None:
        """Go to the tree and see which buses it has."""
        self._tree = self.reach()
        self._tree.open()
        self._buses, self._masters, self._places, self._searched = {}, None, {}, False
        self._survey()

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Return the sensors' readings, after one conversion for all where there are bus masters."""
        if not self._answered:
            # What nobody answers in may have been mounted, or got its bus master, since it was looked at.
            self._survey()
        self._answered = False
        readings = self._swept(roms)
        missing = [rom for rom, reading in readings.items() if reading is Fault.NO_ANSWER]
        if missing and not self._searched:
            with suppress(BusFault):
                self.search()
            if elsewhere := [rom for rom in missing if rom in self._places]:
                readings |= self._swept(elsewhere)
        self._answered = any(isinstance(reading, float) for reading in readings.values())
        return readings

    def search(self) -> Collection[Rom]:
        """Return the sensors that the tree lists; OWFS searches its buses for it, and couplers on them."""
        self._searched = True
        try:
            found = located(self._tree, self._buses or [""])
        except Refused as refusal:
            raise BusFault(f"{self._tree}: the bus cannot be searched ({refusal})") from refusal
        for rom, path in found.items():
            self._places.pop(rom, None)
            if path not in self._buses and path:
                self._places[rom] = path
        return found.keys()

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:
        """Return resolution and power supply, as far as a bus master has shown them."""
        return self._masters.traits(rom) if self._masters else (None, None)

    def _survey(self) -> None:
        """See which buses there are, and say it once where they are not real."""
        found = dict(buses(self._tree))
        if found == self._buses:
            return
        self._buses = found
        real = [bus for bus, name in found.items() if not name.startswith(SIMULATED)]
        self._places = {}
        self._searched = False
        self._masters = Masters(self._tree, real, self.resolution, self.clock, self._places) if real else None
        if "Simulated-Random" in found.values():
            self.log.warning(
                f"{self._tree} serves FAKE SENSORS with random values, as Debian's /etc/owfs.conf does until "
                "it is edited: name your bus master there (server: device = ...) and restart owserver"
            )
        elif len(real) < len(found):
            self.log.warning(f"{self._tree} serves simulated sensors ({', '.join(found.values())})")

    def _swept(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        if self._masters:
            return self._masters.sweep(roms)
        return {rom: self._number(rom) for rom in roms}

    def _number(self, rom: Rom) -> Reading:
        """Return the temperature that stands in the first of a sensor's files that is there."""
        # Not below a simulated bus: there every id answers.
        files = ["latesttemp"] if self._buses else [f"temperature{self.resolution}", "temperature"]
        for file in files:
            with suppress(Refused):
                return temperature_in(self._tree.read(f"{self._places.get(rom, '')}{rom}/{file}"))
        return Fault.NO_ANSWER
