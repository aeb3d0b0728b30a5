"""Thermometers in the tree of OWFS, or in plain files laid out like it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from listeners.onewire.bus import BusFault, OneWire
from listeners.onewire.ds18b20 import Fault, Reading
from listeners.onewire.masters import Masters
from listeners.onewire.rom import Rom
from listeners.onewire.tree import Refused, Tree, buses, temperature_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

SIMULATED = "Simulated-"
"""How the name of a bus begins that OWFS makes up."""


@dataclass(kw_only=True)
class TreeBus(OneWire):
    """Thermometers in a tree: on bus masters, on simulated buses, or in plain files with a number in each."""

    _tree: Tree = field(init=False, compare=False, repr=False)
    _buses: dict[str, str] = field(default_factory=dict, init=False, compare=False, repr=False)
    _masters: Masters | None = field(default=None, init=False, compare=False, repr=False)
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
        self._buses, self._masters = {}, None
        self._survey()

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Return the sensors' readings, after one conversion for all where there are bus masters."""
        if not self._answered:
            # What nobody answers in may have been mounted, or got its bus master, since it was looked at.
            self._survey()
        self._answered = False
        masters = self._masters
        readings = masters.sweep(roms) if masters else {rom: self._number(rom) for rom in roms}
        self._answered = any(isinstance(reading, float) for reading in readings.values())
        return readings

    def search(self) -> Collection[Rom]:
        """Return the sensors that the tree lists; OWFS searches its buses for it."""
        try:
            return {rom for bus in self._buses or [""] for rom in self._listed(bus)}
        except Refused as refusal:
            raise BusFault(f"{self._tree}: the bus cannot be searched ({refusal})") from refusal

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
        self._masters = Masters(self._tree, real, self.resolution, self.clock) if real else None
        if "Simulated-Random" in found.values():
            self.log.warning(
                f"{self._tree} serves FAKE SENSORS with random values, as Debian's /etc/owfs.conf does until "
                "it is edited: name your bus master there (server: device = ...) and restart owserver"
            )
        elif len(real) < len(found):
            self.log.warning(f"{self._tree} serves simulated sensors ({', '.join(found.values())})")

    def _number(self, rom: Rom) -> Reading:
        """Return the temperature that stands in the first of a sensor's files that is there."""
        # Not below a simulated bus: there every id answers.
        files = ["latesttemp"] if self._buses else [f"temperature{self.resolution}", "temperature"]
        for file in files:
            with suppress(Refused):
                return temperature_in(self._tree.read(f"{rom}/{file}"))
        return Fault.NO_ANSWER

    def _listed(self, bus: str) -> Iterator[Rom]:
        """Yield the sensors in a bus's directory, where an alias stands instead of its id."""
        for name in self._tree.names(f"{bus}uncached" if self._buses else ""):
            with suppress(ValueError):
                yield Rom.parse(name)
                continue
            with suppress(ValueError, Refused):
                yield Rom.parse(self._tree.read(f"{bus}{name}/address").decode("ascii"))
