"""Many sensors that fail in the same way at once are one trouble: they share its cause."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from gateway.process.log_limit import LogLimit
from gateway.settings import alternatives
from gateway.text.words import runs
from listeners.onewire.ds18b20 import Fault, Reading
from listeners.onewire.families import readable, unread

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Collection, Iterator, Mapping

    from listeners.onewire.report import Note
    from listeners.onewire.rom import Rom
    from listeners.onewire.slots import Slots

MANY = 3
"""From this many on they are reported in one line; two also are, if there are no others."""

_ADVICE_OF_ALL = "check the bus: its cable, supply and pull-up"
_ADVICE_OF_SOME = "they may share a cable: check it, its plug and its supply"


def troubles(
    faults: Mapping[Rom, Fault], sensors: int, buses: Mapping[Rom, str]
) -> Iterator[tuple[Fault, str, list[Rom]]]:
    """Yield the faults of that many sensors, each with those that are reported together.

    `buses` says how the bus of a sensor fails, where it is one of several. All who share that are together.
    """
    groups: dict[tuple[Fault, str], list[Rom]] = {}
    for rom, fault in faults.items():
        groups.setdefault((fault, buses.get(rom, "")), []).append(rom)
    for (fault, bus), roms in groups.items():
        if bus or are_many(roms, sensors):
            yield fault, bus, roms
        else:
            yield from ((fault, bus, [rom]) for rom in roms)


def are_many(roms: Collection[Rom], sensors: int) -> bool:
    """Tell whether what happened to these is reported in one line."""
    return len(roms) >= MANY or 1 < len(roms) == sensors


def troubled(slots: Slots, notes: Mapping[Rom, Note], bus_fault: str) -> Iterator[str]:
    """Yield a line for each sensor whose last reading failed; many with the same fault share one.

    `bus_fault` says how the bus fails, if it does.
    """
    roms = readable(slots.roms())
    last = {rom: notes[rom].reading for rom in roms if rom in notes}
    failed = {rom: reading for rom, reading in last.items() if isinstance(reading, Fault)}
    buses = {rom: notes[rom].bus for rom in failed}
    for fault, bus, together in troubles(failed, len(roms), buses):
        yield f"{named(slots, *together)}: {bus or (fault is Fault.BUS and bus_fault) or fault}"
    for rom in slots.roms():
        if words := unread(rom):
            yield f"{named(slots, rom)}: {words}"


class FailureLog:
    """The log lines of a listener when its bus or its sensors begin or stop failing, one line each time.

    Each is logged once an hour at most: a loose plug comes and goes with every sweep. `now` is the monotonic
    clock.
    """

    def __init__(self, slots: Slots, log: logging.Logger, now: Callable[[], float]) -> None:
        self.bus_fault = ""
        self._is_bus_logged = False
        self._failing: set[Rom] = set()
        self._slots = slots
        self._log = log
        self._now = now
        self._limit = LogLimit()

    def bus_failed(self, fault: str) -> None:
        """Log that no sensor can be read, unless that is known."""
        self.bus_fault = fault
        if not self._is_bus_logged and self._limit.allows("the bus", self._now()):
            self._is_bus_logged = True
            self._log.warning(f"{fault}; its sensors have no value until it answers")

    def swept(
        self,
        readings: Mapping[Rom, Reading],
        lookalikes: Callable[[Collection[Rom]], Mapping[Rom, str]],
        buses: Mapping[Rom, str],
    ) -> None:
        """Log what has changed; `buses` says how one of several buses fails, by its sensors.

        `lookalikes` gives, for sensors without an answer, a hint at a wrong id.
        """
        self.bus_fault = ""
        if self._is_bus_logged:
            if set(readings.values()) == {Fault.NO_ANSWER}:
                return  # still the same trouble
            self._log.info("the bus answers again")
        self._is_bus_logged = False
        failed = {rom: reading for rom, reading in readings.items() if isinstance(reading, Fault)}
        begun = {
            rom: fault
            for rom, fault in failed.items()
            if rom not in self._failing and self._limit.allows(str(rom), self._now())
        }
        well = [rom for rom in readings if rom in self._failing - failed.keys()]
        self._failing = (self._failing & failed.keys()) | begun.keys()
        hints = lookalikes([rom for rom, fault in begun.items() if fault is Fault.NO_ANSWER])
        for rom, hint in hints.items():
            self._log.warning(f"{named(self._slots, rom)}: {begun.pop(rom)}; {hint}")
        for fault, bus, roms in troubles(begun, len(readings), buses):
            advice = fault.advice
            if fault is Fault.NO_ANSWER and len(roms) > 1:
                advice = _ADVICE_OF_ALL if len(roms) == len(readings) else _ADVICE_OF_SOME
            self._log.warning(f"{named(self._slots, *roms)}: {bus or f'{fault}; {advice}'}")
        if are_many(well, len(readings)):
            self._log.info(f"{named(self._slots, *well)} read again")
        else:
            for rom in well:
                self._log.info(f"{named(self._slots, rom)}: reads again, {readings[rom]:g} °C")


def named(slots: Slots, rom: Rom, *others: Rom) -> str:
    """Return "sensor2 28.33F749050000 (flow)", or of several "all 20 sensors" or which of them."""
    if others:
        count, sensors = 1 + len(others), len(readable(slots.roms()))
        if count == sensors:
            return f"all {sensors} sensors"
        places = chain(*map(slots.indices, (rom, *others)))
        return f"{count} of {sensors} sensors ({runs(sorted(places), 'sensor')})"
    indices = slots.indices(rom)
    keys = alternatives(f"sensor{index}" for index in indices).replace(" or ", " and ")
    label = slots.by_index[indices[0]].label
    return f"{keys} {rom}" + (f" ({label})" if label else "")
