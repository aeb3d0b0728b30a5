"""The base of every 1-Wire listener: sensors by index, a sweep per grid point, a log line per failure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

from gateway.plugin import Health, Sampler, Series, SettingsFault, setting
from listeners.onewire.ds18b20 import DS18S20, Fault, Reading
from listeners.onewire.families import readable, unread
from listeners.onewire.report import Record, Report
from listeners.onewire.rom import Rom, lookalike
from listeners.onewire.search_schedule import SearchSchedule
from listeners.onewire.slots import Offsets, Slot, Slots
from listeners.onewire.troubles import FailureLog, troubled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gateway.plugin import Flag, Frame


class BusFault(Exception):
    """No sensor of the bus can be read in this sweep: what is wrong and what to check, in one line."""


@dataclass(kw_only=True)
class OneWire(Sampler):
    """Thermometers on a 1-Wire bus, read together every `interval` seconds of the wall clock.

    A driver implements `sweep`, and `search` and `traits` where it can.
    """

    resolution: Literal[9, 10, 11, 12] = setting(12)
    sensors: Slots = field(default_factory=Slots)
    offsets: Offsets = field(default_factory=Offsets)
    record: Record = field(default_factory=Record, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        lost = sorted(self.offsets.by_index.keys() - set(self.sensors.indices()))
        if lost:
            raise SettingsFault([(f"offset{index}", f"index {index} has no sensor") for index in lost])

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Let these sensors convert together; return their readings (a sensor left out did not answer).

        Raises BusFault if no sensor can be read, and OSError if the bus itself cannot be reached.
        """
        raise NotImplementedError

    def search(self) -> Collection[Rom]:
        """Return the devices on the bus, as far as the driver can find them. Raises BusFault or OSError."""
        return ()

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:  # noqa: ARG002  (the default knows nothing)
        """Return resolution in bits and whether the line feeds it, as known without asking the sensor."""
        return None, None

    def bus_fault(self, rom: Rom) -> str:  # noqa: ARG002  (the default has one bus)
        """Return how a sensor's bus failed in the last sweep and what to check, if it is one of several."""
        return ""

    @property
    def place(self) -> str:
        """Which bus it reads, in words: two listeners with the same words read the same bus."""
        raise NotImplementedError

    @property
    def sets(self) -> Mapping[str, str]:
        """The resolution of each sensor."""
        roms = () if self.simulated else self.sensors.roms()
        return {str(rom): f"resolution = {self.resolution}" for rom in roms if rom.family != DS18S20}

    @property
    def reads(self) -> Sequence[str]:
        """The sensors."""
        return () if self.simulated else [str(rom) for rom in self.sensors.roms()]

    def resolution_for(self, rom: Rom) -> int | None:
        """Return what a sensor is set to; None for one without an index, as another section may set it."""
        return self.resolution if rom in self.sensors.roms() else None

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
                setting=f"sensor{index}",
                claimed=slot.rom is not None,
            )
            for index, slot in self.sensors.numbered() or [(1, Slot(None))]
        ]

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return what is odd about the list of sensors."""
        return self.sensors.remarks()

    def read(self, stop: Flag) -> list[Frame]:
        """Search the bus if that is due; wait for the next grid point and return one frame with its time."""
        sensors = len(readable(self.sensors.roms()))
        is_well = (self.record.sweeps > 0 or not sensors) and not self._failure_log.bus_fault
        if is_well and self.search_schedule.is_due(sensors):
            with suppress(BusFault, OSError):  # the next sweep logs what is wrong
                self.look()
        return super().read(stop)

    def sample(self) -> Sequence[float | None]:
        """Sweep the bus, log what began or stopped failing, and return the temperatures by index.

        It is empty if no sensor is named.
        """
        roms = readable(self.sensors.roms())
        if not roms:
            return ()
        readings: dict[Rom, Reading] = {}
        try:
            readings = self.measure(roms)
        except BusFault as fault:
            self.record.count(dict.fromkeys(roms, Fault.BUS))
            self._failure_log.bus_failed(str(fault))
        else:
            self.record.count(readings)
            self._failure_log.swept(readings, self._lookalikes, self.record.bus_faults(roms))
        return self.offsets.applied(self.sensors.frame_values(readings))

    def has_time(self, seconds: float) -> bool:
        """Tell whether that many seconds are left before the next sweep."""
        return seconds < self.interval - self.clock.wall() % self.interval

    def look(self, roms: Sequence[Rom] = ()) -> None:
        """Search the bus, and read these sensors and all that have no index.

        Raises BusFault or OSError if that cannot be done.
        """
        with self.search_schedule.searching():
            indexed = set(self.sensors.roms())
            others = sorted(set(self.search()) - indexed)
            self.record.keep(indexed.union(others))
            self.measure([*roms, *others])

    def measure(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Sweep, and note each reading. Raises BusFault or OSError as `sweep` does.

        Devices that are not supported thermometers are not read.
        """
        note = partial(self.record.note, traits=self.traits)
        note({rom: Fault.UNREADABLE for rom in roms if unread(rom)}, self.clock.monotonic())
        roms = readable(roms)
        if not roms:
            return {}
        try:
            found = self.sweep(roms)
        except BusFault:
            note(dict.fromkeys(roms, Fault.BUS), self.clock.monotonic())
            raise
        readings = {rom: found.get(rom, Fault.NO_ANSWER) for rom in roms}
        note(readings, self.clock.monotonic(), bus_fault=self.bus_fault)
        return readings

    def health(self) -> Health:
        """Return the faults so far, the sensors whose last reading failed, and a Report as details."""
        now, searched = self.clock.monotonic(), self.search_schedule.last
        report = Report(
            place=self.place,
            node=self.node,
            interval=self.interval,
            simulated=self.simulated,
            highest=len(self.sensors.numbered()),
            searched=None if searched is None else round(now - searched, 1),
            failing=sorted(set(self.record.bus_faults(self.sensors.roms()).values())),
            **self.record.shown(self.sensors, now),
        )
        troubles = list(troubled(self.sensors, self.record.notes, self._failure_log.bus_fault))
        return Health(report.faults, troubles, {"onewire": asdict(report)})

    @cached_property
    def _failure_log(self) -> FailureLog:
        return FailureLog(self.sensors, self.log, self.clock.monotonic)

    @cached_property
    def search_schedule(self) -> SearchSchedule:
        """When to search the bus for other devices."""
        return SearchSchedule(self.has_time, self.clock)

    def _lookalikes(self, missing: Iterable[Rom]) -> dict[Rom, str]:
        """Return, for ids that never answered, which id on the bus may have been meant."""
        unheard = [rom for rom in missing if not self.record.notes[rom].heard]
        if not unheard:
            return {}
        try:
            others = set(self.search()) - set(self.sensors.roms())
        except (BusFault, OSError):
            return {}
        hints = {rom: lookalike(rom, others) for rom in unheard}
        return {rom: hint for rom, hint in hints.items() if hint}
