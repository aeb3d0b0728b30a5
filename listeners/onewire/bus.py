"""The base of every 1-Wire listener: sensors by index, a sweep per grid point, a log line per failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from gateway.plugin import Health, Sampler, Series, SettingsFault, setting
from listeners.onewire.ds18b20 import Fault, Reading
from listeners.onewire.families import readable, unread
from listeners.onewire.report import Note, Report, by_words, sightings
from listeners.onewire.rom import Rom, lookalike
from listeners.onewire.search_schedule import SearchSchedule
from listeners.onewire.slots import Offsets, Slot, Slots
from listeners.onewire.troubles import FailureLog, troubled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from gateway.plugin import Flag, Frame


class BusFault(Exception):
    """No sensor of the bus can be read in this sweep: what is wrong and what to check, in one line."""


@dataclass(kw_only=True)
class OneWire(Sampler):
    """Thermometers on a 1-Wire bus, read together every `interval` seconds of the wall clock.

    A driver implements `sweep`, and `search` and `traits` where it can. `sweeps` counts the sweeps, and
    `faults` the failed readings by sensor and fault. `notes` has the last reading of each sensor; other
    threads read it, so it is replaced and never changed.
    """

    resolution: Literal[9, 10, 11, 12] = setting(12)
    sensors: Slots = field(default_factory=Slots)
    offsets: Offsets = field(default_factory=Offsets)
    faults: Counter[tuple[Rom, Fault]] = field(default_factory=Counter, init=False, compare=False, repr=False)
    notes: Mapping[Rom, Note] = field(default_factory=dict, init=False, compare=False, repr=False)
    sweeps: int = field(default=0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        lost = sorted(self.offsets.by_index.keys() - set(self.sensors.indices()))
        if lost:
            raise SettingsFault([(f"offset{index}", f"index {index} has no sensor") for index in lost])

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Let these sensors convert together; return their readings (a sensor left out did not answer).

        Raises BusFault where no sensor can be read, and OSError where the bus itself cannot be reached.
        """
        raise NotImplementedError

    def search(self) -> Collection[Rom]:
        """Return the devices on the bus, as far as the driver can find them. Raises BusFault or OSError."""
        return ()

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:  # noqa: ARG002  (the default knows nothing)
        """Return resolution in bits and whether the line feeds it, as known without asking the sensor."""
        return None, None

    @property
    def place(self) -> str:
        """Which bus it reads, in words: two listeners with the same words read the same bus."""
        raise NotImplementedError

    def catalogue(self) -> Iterable[Series]:
        """Return each index up to the highest, and the sensor that is there; a Dummy where there is none."""
        return [
            Series(
                node=self.node,
                index=index,
                label=slot.label,
                unit="°C",
                kind="temperature",
                identity=str(slot.rom or ""),
                interval=self.interval,
                claimed=slot.rom is not None,
            )
            for index, slot in self.sensors.numbered() or [(1, Slot(None))]
        ]

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return what is odd about the list of sensors."""
        return self.sensors.remarks()

    def read(self, stop: Flag) -> list[Frame]:
        """Search the bus if that is due; wait for the next grid point and return one frame with its time."""
        roms = readable(self.sensors.roms())
        if self.sweeps and not self._failure_log.bus_failing and self.search_schedule.is_due(len(roms)):
            with suppress(BusFault, OSError):  # the next sweep logs what is wrong
                self.look()
        return super().read(stop)

    def sample(self) -> Sequence[float | None]:
        """Sweep the bus and return the temperatures by index; nothing where no sensor is named."""
        roms = readable(self.sensors.roms())
        return self.offsets.applied(self.sensors.frame_values(self._readings(roms))) if roms else ()

    def has_time(self, seconds: float) -> bool:
        """Tell whether something that takes this long is over before the next sweep."""
        return seconds < self.interval - self.clock.wall() % self.interval

    def look(self, roms: Sequence[Rom] = ()) -> None:
        """Search the bus, and read these sensors and the thermometers that have no index.

        Raises BusFault or OSError where that cannot be done.
        """
        with self.search_schedule.searching():
            indexed = set(self.sensors.roms())
            others = sorted(set(self.search()) - indexed)
            thermometers = readable(others)
            self.notes = {rom: note for rom, note in self.notes.items() if rom in indexed.union(others)}
            self._note({rom: Fault.UNREADABLE for rom in others if rom not in thermometers})
            if roms or thermometers:
                self.measure([*roms, *thermometers])

    def measure(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Sweep, and note each reading. Raises BusFault or OSError as `sweep` does.

        Devices that are not supported thermometers are not read.
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

    def health(self) -> Health:
        """Return the faults so far, the sensors whose last reading failed, and a Report as details."""
        sweeps = self.sweeps  # before the notes: they may be of a later sweep, not of an earlier one
        notes, faults, searched = self.notes, dict(self.faults), self.search_schedule.last
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
        return Health(report.faults, list(troubled(self.sensors, notes)), {"onewire": asdict(report)})

    @cached_property
    def _failure_log(self) -> FailureLog:
        return FailureLog(self.sensors, self.log)

    @cached_property
    def search_schedule(self) -> SearchSchedule:
        """When to search the bus for other devices."""
        return SearchSchedule(self.has_time, self.clock)

    def _note(self, readings: Mapping[Rom, Reading]) -> None:
        now = self.clock.monotonic()
        heard = {rom for rom, note in self.notes.items() if note.heard}
        heard |= {rom for rom, reading in readings.items() if isinstance(reading, float)}
        new = {rom: Note(reading, now, rom in heard, *self.traits(rom)) for rom, reading in readings.items()}
        self.notes = {**self.notes, **new}

    def _readings(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Sweep, count what failed, and log what began or stopped failing."""
        try:
            readings = self.measure(roms)
        except BusFault as fault:
            self.sweeps += 1
            self.faults.update((rom, Fault.BUS) for rom in roms)
            self._failure_log.bus_failed(str(fault))
            return {}
        self.sweeps += 1
        self.faults.update((rom, reading) for rom, reading in readings.items() if isinstance(reading, Fault))
        self._failure_log.swept(readings, self._lookalikes)
        return readings

    def _lookalikes(self, missing: Iterable[Rom]) -> dict[Rom, str]:
        """Return, for ids that never answered, which id on the bus may have been meant."""
        unheard = [rom for rom in missing if not self.notes[rom].heard]
        if not unheard:
            return {}
        try:
            others = set(self.search()) - set(self.sensors.roms())
        except (BusFault, OSError):
            return {}
        hints = {rom: lookalike(rom, others) for rom in unheard}
        return {rom: hint for rom, hint in hints.items() if hint}
