"""What a 1-Wire listener knows of its sensors, in the form that other threads and processes get."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from listeners.onewire.ds18b20 import Fault, Reading
from listeners.onewire.rom import Rom

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from listeners.onewire.slots import Slots

    Traits = Callable[[Rom], tuple[int | None, bool | None]]
    """Gives the resolution of a sensor in bits and whether the line feeds it; None if it is not known."""


@dataclass(frozen=True)
class Note:
    """The last reading of a sensor, taken at a second of the monotonic clock.

    `heard`: it has given a temperature, now or before. `resolution` is in bits, and `parasite` tells that it
    takes its power from the line; both are None if that is not known. `bus` says how its bus failed, if that
    is one of several.
    """

    reading: Reading
    taken: float
    heard: bool
    resolution: int | None
    parasite: bool | None
    bus: str = ""

    def at(self, now: float) -> dict[str, Any]:
        """Return the fields of a Sighting that it gives, at a second of the monotonic clock."""
        failed = isinstance(self.reading, Fault)
        return {
            "temperature": None if failed else self.reading,
            "fault": str(self.reading) if failed else "",
            "age": round(now - self.taken, 1),
            "heard": self.heard,
            "resolution": self.resolution,
            "parasite": self.parasite,
        }


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What is known of a sensor: a `temperature` in °C or a `fault` in words, as of `age` seconds ago.

    `indices` are those that the configuration gives it, if any. `faults` counts its failed readings by the
    words of the fault. The rest is as in a Note; every value is one that JSON has.
    """

    id: str
    indices: list[int]
    label: str = ""
    temperature: float | None = None
    fault: str = ""
    age: float | None = None
    heard: bool = False
    resolution: int | None = None
    parasite: bool | None = None
    faults: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a listener knows; every value is one that JSON has.

    `place` says in words which bus it reads, `highest` is the highest index that has an entry. `sweeps`
    counts how often the sensors with an index were read; the bus was searched for others `searched` seconds
    ago. `failing` says which of several buses fail, and how.
    """

    place: str
    node: str
    interval: float
    simulated: bool
    highest: int
    sweeps: int
    searched: float | None
    faults: dict[str, int]
    sensors: list[Sighting]
    failing: list[str] = field(default_factory=list)


class Record:
    """What a listener has found out about its sensors. Its own thread notes, others read.

    `notes` has the last reading of each sensor; it is replaced and never changed. `faults` counts the failed
    readings by sensor and fault, and `sweeps` the sweeps.
    """

    def __init__(self) -> None:
        self.notes: Mapping[Rom, Note] = {}
        self.faults = Counter[tuple[Rom, Fault]]()
        self.sweeps = 0

    def note(
        self,
        readings: Mapping[Rom, Reading],
        now: float,
        traits: Traits,
        bus_fault: Callable[[Rom], str] = lambda _: "",
    ) -> None:
        """Note readings, at a second of the monotonic clock."""
        heard = {rom for rom, note in self.notes.items() if note.heard}
        heard |= {rom for rom, reading in readings.items() if isinstance(reading, float)}
        new = {
            rom: Note(reading, now, rom in heard, *traits(rom), bus_fault(rom))
            for rom, reading in readings.items()
        }
        self.notes = {**self.notes, **new}

    def bus_faults(self, roms: Iterable[Rom]) -> dict[Rom, str]:
        """Return how the bus of each of these sensors fails, for those on one that does."""
        notes = self.notes
        return {rom: notes[rom].bus for rom in roms if rom in notes and notes[rom].bus}

    def keep(self, roms: Collection[Rom]) -> None:
        """Forget all sensors but these."""
        self.notes = {rom: note for rom, note in self.notes.items() if rom in roms}

    def count(self, readings: Mapping[Rom, Reading]) -> None:
        """Count a sweep, after its readings were noted."""
        self.sweeps += 1
        self.faults.update((rom, reading) for rom, reading in readings.items() if isinstance(reading, Fault))

    def shown(self, slots: Slots, now: float) -> dict[str, Any]:
        """Return the fields of a Report that it gives."""
        sweeps = self.sweeps  # before the notes: they may be of a later sweep, not of an earlier one
        notes, faults = self.notes, dict(self.faults)
        sensors = _sightings(slots, notes, faults, now)
        return {"sweeps": sweeps, "faults": by_words(faults), "sensors": sensors}


def _sightings(
    slots: Slots, notes: Mapping[Rom, Note], faults: Mapping[tuple[Rom, Fault], int], now: float
) -> list[Sighting]:
    """Return what is known of each sensor: of those with an index, in their order, and then of the others."""
    found = []
    for rom in dict.fromkeys((*slots.roms(), *sorted(notes))):
        indices = slots.indices(rom)
        label = slots.by_index[indices[0]].label if indices else ""
        counts = by_words({key: count for key, count in faults.items() if key[0] == rom})
        last = notes[rom].at(now) if rom in notes else {}
        found.append(Sighting(id=str(rom), indices=indices, label=label, faults=counts, **last))
    return found


def by_words(faults: Mapping[tuple[Rom, Fault], int]) -> dict[str, int]:
    """Return how often each fault was counted, by its words."""
    counts: Counter[str] = Counter()
    for (_, fault), count in faults.items():
        counts[str(fault)] += count
    return dict(counts)
