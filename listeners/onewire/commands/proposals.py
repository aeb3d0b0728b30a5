"""Lines for the configuration, to name the sensors that it does not name yet, or names by a wrong id."""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING

from gateway.settings import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from listeners.onewire.commands.roster import Row
    from listeners.onewire.commands.survey import Survey
    from listeners.onewire.rom import Rom

_FIRST_NODE = 10
"""The node of a section that is yet to be written: this, or the next that is free."""


def corrections(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return, by section, what should stand instead of the entries with an id that nobody has."""
    lines = defaultdict(list)
    for row in rows:
        for place in row.places if row.intended else ():
            lines[place.section].append(_entry(place.index, row.intended, place.label))
    return dict(lines)


def additions(survey: Survey, rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return, by section, entries for thermometers that have none; a section yet to be written as a whole.

    Their indices are above all that have an entry, so none is that of a Dummy that someone keeps.
    """
    highest: dict[str, int] = defaultdict(int)
    for report in survey.reports.values():
        highest[report.node] = max(highest[report.node], report.highest)
    unused = (str(number) for number in count(_FIRST_NODE) if str(number) not in highest)
    nodes = {name: report.node for name, report in survey.reports.items() if name not in survey.types}
    lines: dict[str, list[str]] = {}
    for section, rom in _new(survey, rows):
        if section not in nodes:
            nodes[section] = next(unused)
            lines[section] = [f"[[{section}]]", f"type = {survey.types[section]}", f"node = {nodes[section]}"]
        highest[nodes[section]] += 1
        lines.setdefault(section, []).append(_entry(highest[nodes[section]], rom))
    return lines


def _new(survey: Survey, rows: Sequence[Row]) -> Iterator[tuple[str, Rom]]:
    """Yield section and id of each thermometer that should have an entry; none is made up by surprise."""
    corrected = {row.intended for row in rows}
    for row in rows:
        if row.places or row.rom in corrected or not row.is_thermometer:
            continue
        named = [way for way in row.ways if way not in survey.types]
        real = [way for way in row.ways if not survey.reports[way].simulated]
        for section in (*named, *real)[:1]:
            yield section, row.rom


def _entry(index: int, rom: Rom | None, label: str = "") -> str:
    return f"sensor{index} = {rom}" + (f", {quoted(label)}" if label else "")
