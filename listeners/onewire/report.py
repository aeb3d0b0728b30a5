"""What a way to the bus knows of its sensors, for whoever asks from outside its thread."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from listeners.onewire.ds18b20 import Fault, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from listeners.onewire.bus import OneWire
    from listeners.onewire.rom import Rom


@dataclass(frozen=True)
class Note:
    """The last reading of a sensor, taken at a second of the monotonic clock.

    `heard`: it has given a temperature, now or before. `resolution` is in bits, `parasite`: fed by the line;
    both are None where that is not known.
    """

    reading: Reading
    taken: float
    heard: bool
    resolution: int | None
    parasite: bool | None


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What is known of a sensor: a `temperature` in °C or a `fault` in words, as of `age` seconds ago.

    `indices` are those that the configuration gives it: none where it does not name it. `faults` counts, by
    their words, the readings that were none. The rest is as in a Note; all is as JSON has it.
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
    """What a way to the bus knows; all is as JSON has it.

    `place` says in words where it goes, `highest` is the highest index that has an entry. `sweeps` counts how
    often the sensors with an index were read, and `searched` seconds ago the bus was searched for others.
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

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """Return the report that has become this dict; KeyError or TypeError where none has."""
        return cls(**{**answer, "sensors": [Sighting(**sensor) for sensor in answer["sensors"]]})


def report_on(way: OneWire) -> Report:
    """Return what a way to the bus knows; its own thread goes on meanwhile."""
    sweeps = way.sweeps  # before the notes: they may be of a later sweep, not of an earlier one
    notes, faults, searched = way.notes, dict(way.faults), way.lookout.last
    now = way.clock.monotonic()
    roms = dict.fromkeys((*way.sensors.roms(), *sorted(notes)))
    return Report(
        place=way.place,
        node=way.node,
        interval=way.interval,
        simulated=way.simulated,
        highest=len(way.sensors.labels()),
        sweeps=sweeps,
        searched=None if searched is None else round(now - searched, 1),
        faults=_counts(faults),
        sensors=[_sighting(way, rom, notes.get(rom), faults, now) for rom in roms],
    )


def _sighting(
    way: OneWire, rom: Rom, note: Note | None, faults: Mapping[tuple[Rom, Fault], int], now: float
) -> Sighting:
    indices = way.sensors.indices(rom)
    label = way.sensors.by_index[indices[0]].label if indices else ""
    counts = _counts({key: count for key, count in faults.items() if key[0] == rom})
    if note is None:
        return Sighting(id=str(rom), indices=indices, label=label, faults=counts)
    return Sighting(
        id=str(rom),
        indices=indices,
        label=label,
        temperature=None if isinstance(note.reading, Fault) else note.reading,
        fault=str(note.reading) if isinstance(note.reading, Fault) else "",
        age=round(now - note.taken, 1),
        heard=note.heard,
        resolution=note.resolution,
        parasite=note.parasite,
        faults=counts,
    )


def _counts(faults: Mapping[tuple[Rom, Fault], int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for (_, fault), count in faults.items():
        counts[str(fault)] += count
    return dict(counts)
