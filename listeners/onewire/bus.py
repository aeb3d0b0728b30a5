"""What every way to the bus shares: the slots, one sweep per grid point, and a word when a sensor fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from gateway.clock import Grid
from gateway.frame import Frame, check_node
from gateway.plugin import Listener
from gateway.settings import SettingsFault, alternatives, at_least, setting
from listeners.onewire.ds18b20 import Fault, Reading
from listeners.onewire.families import readable, unread
from listeners.onewire.search_schedule import Lookout
from listeners.onewire.report import Note, Report, by_words, sightings
from listeners.onewire.rom import Rom, lookalike
from listeners.onewire.slots import Offsets, Slots
from listeners.onewire.troubles import are_many, counted, troubles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from gateway.flag import Flag


class BusFault(Exception):
    """The whole bus gives no reading this time: what is wrong and what to look at, in one line."""


@dataclass(kw_only=True)
class OneWire(Listener):
    """Thermometers on a 1-Wire bus, read together every `interval` seconds of the wall clock.

    A way to the bus implements `sweep`, and `search` and `traits` where it can. `sweeps` counts them, and
    `faults`, by sensor and fault, the readings that were none. `notes` has the last reading of each sensor;
    it is replaced, never changed.
    """

    node: str = setting(check=check_node, hint="what Emoncms is to show as the node, such as 9")
    interval: float = setting(10.0, check=at_least(1))
    resolution: Literal[9, 10, 11, 12] = setting(12)
    sensors: Slots = field(default_factory=Slots)
    offsets: Offsets = field(default_factory=Offsets)
    faults: Counter[tuple[Rom, Fault]] = field(default_factory=Counter, init=False, compare=False, repr=False)
    notes: Mapping[Rom, Note] = field(default_factory=dict, init=False, compare=False, repr=False)
    sweeps: int = field(default=0, init=False, compare=False, repr=False)
    _troubled: set[Rom] = field(default_factory=set, init=False, compare=False, repr=False)
    _bus_troubled: bool = field(default=False, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        lost = sorted(self.offsets.by_index.keys() - set(self.sensors.indices()))
        if lost:
            raise SettingsFault([(f"offset{index}", f"index {index} has no sensor") for index in lost])

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Let these sensors convert together; return their readings (one that is left out: no answer).

        Raises BusFault where none can be had, and OSError where the way to the bus itself is gone.
        """
        raise NotImplementedError

    def search(self) -> Collection[Rom]:
        """Return what is on the bus, as far as that can be found out; BusFault or OSError otherwise."""
        return ()

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:  # noqa: ARG002  (the default knows nothing)
        """Return resolution in bits and whether the line feeds it, as known without asking the sensor."""
        return None, None

    @property
    def place(self) -> str:
        """Where it goes, in words: two ways with the same words are the same."""
        raise NotImplementedError

    def claims(self) -> dict[str, Mapping[int, str] | None]:
        """Return the indices that have a sensor, and its id."""
        slots = self.sensors.by_index
        return {self.node: {index: str(slots[index].rom) for index in self.sensors.indices()}}

    def labels(self) -> dict[str, Mapping[int, str]]:
        """Return the labels of the indices that have one."""
        labels = enumerate(self.sensors.labels(), 1)
        return {self.node: {index: label for index, label in labels if label}}

    def units(self) -> dict[str, Mapping[int, str]]:
        """Return what every one of them is in."""
        return {self.node: dict.fromkeys(self.sensors.indices(), "°C")}

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return what is odd about the list of sensors."""
        return self.sensors.remarks()

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for the next grid point, sweep the bus, and return one frame with that point's time."""
        roms = readable(self.sensors.roms())
        if self.sweeps and not self._bus_troubled and self.lookout.has_time(len(roms)):
            with suppress(BusFault, OSError):  # the next sweep says what is wrong
                self.look()
        stamp = self._grid.wait(stop)
        if stamp is None or not roms:
            return []
        values = self.offsets.applied(self.sensors.frame_values(self._readings(roms)))
        return [Frame(self.node, values, stamp, names=self.sensors.labels(), source=self.name)]

    def has_time(self, seconds: float) -> bool:
        """Tell whether something takes so long at most that the next sweep can begin in time."""
        return seconds < self.interval - self.clock.wall() % self.interval

    def look(self, roms: Sequence[Rom] = ()) -> None:
        """Search the bus, and read these sensors and the thermometers that have no index.

        Raises BusFault or OSError where that cannot be done.
        """
        with self.lookout.looking():
            named = set(self.sensors.roms())
            strangers = sorted(set(self.search()) - named)
            thermometers = readable(strangers)
            self.notes = {rom: note for rom, note in self.notes.items() if rom in named.union(strangers)}
            self._note({rom: Fault.UNREADABLE for rom in strangers if rom not in thermometers})
            if roms or thermometers:
                self.measure([*roms, *thermometers])

    def measure(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Sweep, and take a note of each reading. Raises BusFault or OSError as `sweep` does.

        What is no thermometer that is read here is left alone.
        """
        self._note({rom: Fault.UNREADABLE for rom in roms if unread(rom)})
        roms = readable(roms)
        if not roms:
            return {}
        try:
            found = self.sweep(roms)
        except BusFault:
            self._note(dict.fromkeys(roms, Fault.BUS))
            raise
        readings = {rom: found.get(rom, Fault.NO_ANSWER) for rom in roms}
        self._note(readings)
        return readings

    def report(self) -> dict[str, Any]:
        """Return a Report as a dict; another thread asks for it while this one goes on."""
        sweeps = self.sweeps  # before the notes: they may be of a later sweep, not of an earlier one
        notes, faults, searched = self.notes, dict(self.faults), self.lookout.last
        now = self.clock.monotonic()
        report = Report(
            place=self.place,
            node=self.node,
            interval=self.interval,
            simulated=self.simulated,
            highest=len(self.sensors.labels()),
            sweeps=sweeps,
            searched=None if searched is None else round(now - searched, 1),
            faults=by_words(faults),
            sensors=sightings(self.sensors, notes, faults, now),
        )
        return asdict(report)

    def ailing(self) -> list[str]:
        """Return the sensors with an index whose last reading was none; many with one fault are one."""
        notes = self.notes
        last = {rom: notes[rom].reading for rom in readable(self.sensors.roms()) if rom in notes}
        failed = {rom: reading for rom, reading in last.items() if isinstance(reading, Fault)}
        found = troubles(failed, len(readable(self.sensors.roms())))
        return [
            *(f"{self._named(*trouble.roms)}: {trouble.fault}" for trouble in found),
            *(f"{self._named(rom)}: {words}" for rom in self.sensors.roms() if (words := unread(rom))),
        ]

    @cached_property
    def _grid(self) -> Grid:
        return Grid(self.interval, self.clock)

    @cached_property
    def lookout(self) -> Lookout:
        """When it looks at what else is on the bus."""
        return Lookout(self.interval, self.clock)

    def _note(self, readings: Mapping[Rom, Reading]) -> None:
        now = self.clock.monotonic()
        heard = {rom for rom, note in self.notes.items() if note.heard}
        heard |= {rom for rom, reading in readings.items() if isinstance(reading, float)}
        new = {rom: Note(reading, now, rom in heard, *self.traits(rom)) for rom, reading in readings.items()}
        self.notes = {**self.notes, **new}

    def _readings(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Sweep, count what failed, and say what has begun or ceased to fail."""
        try:
            readings = self.measure(roms)
        except BusFault as fault:
            self.sweeps += 1
            self.faults.update((rom, Fault.BUS) for rom in roms)
            if not self._bus_troubled:
                self.log.warning(f"{fault}; no sensor on it has a value meanwhile")
            self._bus_troubled = True
            return {}
        self.sweeps += 1
        if self._bus_troubled:
            self.log.info("the bus answers again")
        self._bus_troubled = False
        self._follow(readings)
        return readings

    def _follow(self, readings: dict[Rom, Reading]) -> None:
        failed = {rom: reading for rom, reading in readings.items() if isinstance(reading, Fault)}
        self.faults.update(failed.items())
        begun = {rom: fault for rom, fault in failed.items() if rom not in self._troubled}
        meant = self._lookalikes([rom for rom, fault in begun.items() if fault is Fault.NO_ANSWER])
        for rom in meant:
            self.log.warning(f"{self._named(rom)}: {begun.pop(rom)}; {meant[rom]}")
        for trouble in troubles(begun, len(readings)):
            self.log.warning(f"{self._named(*trouble.roms)}: {trouble.fault}; {trouble.cure}")
        well = [rom for rom in readings if rom in self._troubled - failed.keys()]
        if are_many(well, len(readings)):
            self.log.info(f"{self._named(*well)} read again")
        else:
            for rom in well:
                self.log.info(f"{self._named(rom)}: reads again, {readings[rom]:g} °C")
        self._troubled = set(failed)

    def _lookalikes(self, missing: Iterable[Rom]) -> dict[Rom, str]:
        """Return, for ids that nobody ever answered to, which id on the bus may have been meant."""
        unheard = [rom for rom in missing if not self.notes[rom].heard]
        if not unheard:
            return {}
        try:
            strangers = set(self.search()) - set(self.sensors.roms())
        except (BusFault, OSError):
            return {}
        hints = {rom: lookalike(rom, strangers) for rom in unheard}
        return {rom: hint for rom, hint in hints.items() if hint}

    def _named(self, rom: Rom, *others: Rom) -> str:
        """Return "sensor2 28.33F749050000 (flow)", or how many there are of several."""
        if others:
            indices = [index for one in (rom, *others) for index in self.sensors.indices(one)]
            return counted(indices, 1 + len(others), len(readable(self.sensors.roms())))
        indices = self.sensors.indices(rom)
        places = alternatives(f"sensor{index}" for index in indices).replace(" or ", " and ")
        label = self.sensors.by_index[indices[0]].label
        return f"{places} {rom}" + (f" ({label})" if label else "")
