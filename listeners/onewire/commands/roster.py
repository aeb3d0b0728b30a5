"""The sensors of a survey, each once however many listeners see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from listeners.onewire.ds18b20 import FAMILIES, Fault
from listeners.onewire.report import Sighting
from listeners.onewire.rom import Rom, intended, lookalike

if TYPE_CHECKING:
    from collections.abc import Mapping

    from listeners.onewire.commands.survey import Survey

_UNSEEN = {"", str(Fault.NO_ANSWER), str(Fault.BUS), str(Fault.SHORT)}
"""What a listener reports of a sensor that it does not see."""


@dataclass(frozen=True)
class Place:
    """Where the configuration names a sensor: at an index of a section, which is that index of a node."""

    section: str
    index: int
    node: str
    label: str

    def __str__(self) -> str:
        return f"{self.section} sensor{self.index}" + (f", {self.label}" if self.label else "")


@dataclass(frozen=True)
class Row:
    """A sensor: the most that is known of it, the listeners that see it, and the places that name it.

    Where no sensor has its id, `intended` is the one that was probably meant, and `hint` says why.
    """

    rom: Rom
    known: Sighting
    seen_by: list[str]
    places: list[Place]
    intended: Rom | None = None
    hint: str = ""

    @property
    def is_thermometer(self) -> bool:
        """Whether it is of a family that can be read."""
        return self.rom.family in FAMILIES


def roster(survey: Survey) -> list[Row]:
    """Return the sensors: those of the configuration in its order, then the others by their ids."""
    sightings: dict[Rom, dict[str, Sighting]] = {}
    for listener, report in survey.reports.items():
        for sighting in report.sensors:
            sightings.setdefault(Rom.parse(sighting.id), {})[listener] = sighting
    rows = [_row(survey, rom, by_listener) for rom, by_listener in sightings.items()]
    new = sorted((row for row in rows if not row.places), key=lambda row: row.rom)
    unnamed = [row.rom for row in new if row.is_thermometer]
    return [_explained(row, unnamed) for row in rows if row.places] + new


def _row(survey: Survey, rom: Rom, by_listener: Mapping[str, Sighting]) -> Row:
    places = [
        Place(listener, index, survey.reports[listener].node, sighting.label)
        for listener, sighting in by_listener.items()
        for index in sighting.indices
    ]
    seen = [listener for listener, sighting in by_listener.items() if _is_seen(sighting)]
    return Row(rom, max(by_listener.values(), key=_worth), seen, places)


def _explained(row: Row, unnamed: list[Rom]) -> Row:
    if row.known.fault != str(Fault.NO_ANSWER) or row.known.heard:
        return row
    return replace(row, intended=intended(row.rom, unnamed), hint=lookalike(row.rom, unnamed))


def _is_seen(sighting: Sighting) -> bool:
    return sighting.temperature is not None or sighting.fault not in _UNSEEN


def _worth(sighting: Sighting) -> tuple[bool, bool, bool]:
    """Return how much a sighting of a sensor says, to be compared with others."""
    return sighting.temperature is not None, _is_seen(sighting), bool(sighting.fault)
