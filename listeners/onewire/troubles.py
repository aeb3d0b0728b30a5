"""Many sensors with the same fault at once are one trouble: that of what they share."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from listeners.onewire.ds18b20 import Fault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from listeners.onewire.rom import Rom

MANY = 3
"""So many are told together; two as well, where there are no others."""

_CURE_OF_ALL = "check the bus: its cable, supply and pull-up"
_CURE_OF_SOME = "they may share a cable: check it, its plug and its supply"


class Trouble(NamedTuple):
    """Sensors that have failed in the same way, and are one trouble."""

    fault: Fault
    roms: list[Rom]
    of_all: bool

    @property
    def cure(self) -> str:
        """What to look at."""
        if self.fault is not Fault.NO_ANSWER or len(self.roms) == 1:
            return self.fault.cure
        return _CURE_OF_ALL if self.of_all else _CURE_OF_SOME


def troubles(faults: Mapping[Rom, Fault], sensors: int) -> Iterator[Trouble]:
    """Yield what `faults` come to on a bus of so many sensors; those that stand alone are one each."""
    by_fault: dict[Fault, list[Rom]] = {}
    for rom, fault in faults.items():
        by_fault.setdefault(fault, []).append(rom)
    for fault, roms in by_fault.items():
        if are_many(roms, sensors):
            yield Trouble(fault, roms, len(roms) == sensors)
        else:
            yield from (Trouble(fault, [rom], sensors == 1) for rom in roms)


def are_many(roms: Collection[Rom], sensors: int) -> bool:
    """Tell whether what has happened to these is to be told as one."""
    return len(roms) >= MANY or 1 < len(roms) == sensors


def counted(indices: Collection[int], roms: int, sensors: int) -> str:
    """Return "all 20 sensors", or "3 of 20 sensors (sensor1, sensor4 to sensor5)"."""
    return f"all {sensors} sensors" if roms == sensors else f"{roms} of {sensors} sensors ({_runs(indices)})"


def _runs(indices: Collection[int]) -> str:
    runs = []
    for _, group in groupby(enumerate(sorted(indices)), lambda pair: pair[1] - pair[0]):
        run = [f"sensor{index}" for _, index in group]
        runs.append(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}")
    return ", ".join(runs)
