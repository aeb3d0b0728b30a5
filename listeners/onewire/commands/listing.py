"""The sensors of a survey as text: for a person, with lines to paste, and for a program."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from itertools import count
from typing import TYPE_CHECKING

from gateway.settings import quoted
from gateway.text.plain import plain
from listeners.onewire.families import unread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from listeners.onewire.commands.roster import Row
    from listeners.onewire.commands.survey import Survey
    from listeners.onewire.report import Report
    from listeners.onewire.rom import Rom

_HEADER = ("id", "°C", "bits", "power", "seen by", "in the configuration")
_SEEN_BY = _HEADER.index("seen by")

_FIRST_NODE = 10
"""The node of a section still to be written: this, or the next free one."""


def listing(survey: Survey, rows: Sequence[Row], file: Path) -> str:
    """Return the sensors as a table, and lines to paste into the configuration, which is `file`."""
    lines = (*_listeners(survey), "", *_table(survey, rows), *_for_the_file(survey, rows, file))
    return "\n".join(map(plain, lines))


def as_json(survey: Survey, rows: Sequence[Row]) -> str:
    """Return all that is known, as JSON."""
    listeners = {name: asdict(report) for name, report in survey.reports.items()}
    for listener in listeners.values():
        del listener["sensors"]
    everything = {
        "told_by": survey.who,
        "ways": listeners,
        "troubles": survey.troubles,
        "sensors": [_as_dict(row) for row in rows],
        "correct": corrections(rows),
        "add": additions(survey, rows),
        "unremembered": survey.unremembered,
    }
    return json.dumps(everything, indent=2)


def _as_dict(row: Row) -> dict[str, object]:
    known = asdict(row.known)
    del known["indices"], known["label"]  # a place has its own
    meant = str(row.intended) if row.intended else None
    return {
        **known,
        "ways": row.seen_by,
        "places": [asdict(place) for place in row.places],
        "intended": meant,
    }


def _listeners(survey: Survey) -> Iterator[str]:
    yield f"Seen by {survey.who}:"
    for name, report in survey.reports.items():
        yield f"  {name}: {', '.join(about(report))}"
        yield from (f"  {name}: {bus}" for bus in report.failing)


def about(report: Report) -> Iterator[str]:
    """Yield where a listener reads, and how old what it says may be."""
    yield report.place
    if report.sweeps:
        yield f"read every {report.interval:g} s"
        searched = report.searched
        yield "not searched for others yet" if searched is None else f"searched {searched:.0f} s ago"
    if report.simulated:
        yield "its sensors are simulated"


def _table(survey: Survey, rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        yield "No sensor is there. `oemgateway doctor` says what to look at."
        return
    cells = [list(_HEADER), *(_cells(survey, row) for row in rows)]
    if len(survey.reports) == 1:
        for line in cells:
            del line[_SEEN_BY]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for ident, celsius, *others in cells:
        padded = (f"{cell:<{width}}" for cell, width in zip(others, widths[2:], strict=True))
        yield "  ".join((f"{ident:<{widths[0]}}", f"{celsius:>{widths[1]}}", *padded)).rstrip()


def _cells(survey: Survey, row: Row) -> list[str]:
    known = row.known
    celsius = "-" if known.temperature is None else f"{known.temperature:.2f}"
    bits = "-" if known.resolution is None else str(known.resolution)
    power = {None: "-", True: "parasite", False: "supply"}[known.parasite]
    where = "; ".join(map(str, row.places)) or _unnamed(survey, row)
    words = known.fault if row.is_thermometer else unread(row.rom) if row.places else ""
    trouble = f": {words}" if words else ""
    return [str(row.rom), celsius, bits, power, ", ".join(row.seen_by) or "-", where + trouble]


def _unnamed(survey: Survey, row: Row) -> str:
    if not row.is_thermometer:
        return unread(row.rom)
    if row.rom in survey.off:
        return f"in [[{survey.off[row.rom]}]], which is off"
    return "simulated" if all(survey.reports[name].simulated for name in row.seen_by) else "new"


def _for_the_file(survey: Survey, rows: Sequence[Row], file: Path) -> Iterator[str]:
    for row in rows:
        for place in row.places if row.intended else ():
            yield from ("", f"{place}: no sensor has the id {row.rom}: {row.hint}")
    yield from _blocks(corrections(rows), f"Replace in [[{{}}]] of {file}:")
    new = additions(survey, rows)
    sections = {name: lines for name, lines in new.items() if name in survey.types}
    entries = {name: lines for name, lines in new.items() if name not in survey.types}
    yield from _blocks(entries, f"Add to [[{{}}]] of {file}:")
    yield from _blocks(sections, f"Add below [listeners] of {file}:")
    if new and survey.unremembered:
        yield from ("", f"Which sensors had an index before is not known here ({survey.unremembered}):")
        yield "such a line may continue the inputs of another sensor. With sudo it is known."


def _blocks(lines: Mapping[str, Sequence[str]], heading: str) -> Iterator[str]:
    for section, entries in lines.items():
        yield from ("", heading.format(section), *(f"    {entry}" for entry in entries))


def corrections(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return, by section, what should replace the entries with an id that no sensor has."""
    lines = defaultdict(list)
    for row in rows:
        for place in row.places if row.intended else ():
            lines[place.section].append(_entry(place.index, row.intended, place.label))
    return dict(lines)


def additions(survey: Survey, rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return, by section, entries for thermometers that have none; a section yet to be written as a whole."""
    lines: dict[str, list[str]] = {}
    for section, node, index, rom in placed(survey, rows):
        if section not in lines and section in survey.types:
            lines[section] = [f"[[{section}]]", f"type = {survey.types[section]}", f"node = {node}"]
        lines.setdefault(section, []).append(_entry(index, rom))
    return lines


def placed(survey: Survey, rows: Sequence[Row]) -> Iterator[tuple[str, str, int, Rom]]:
    """Yield section, node, index and id of each thermometer that should have an entry and has none.

    Their indices are above all that have an entry, so none is that of a Dummy that someone keeps, and above
    all that ever had a sensor.
    """
    highest = defaultdict(int, survey.remembered)
    for report in survey.reports.values():
        highest[report.node] = max(highest[report.node], report.highest)
    taken = {report.node for report in survey.reports.values()} | survey.nodes
    unused = (node for node in map(str, count(_FIRST_NODE)) if node not in taken)
    nodes = {name: report.node for name, report in survey.reports.items() if name not in survey.types}
    for section, rom in _new(survey, rows):
        if section not in nodes:
            nodes[section] = next(unused)
        highest[nodes[section]] += 1
        yield section, nodes[section], highest[nodes[section]], rom


def _new(survey: Survey, rows: Sequence[Row]) -> Iterator[tuple[str, Rom]]:
    """Yield section and id of each thermometer that should have an entry.

    A simulated one should not, unless wanted, nor one whose section is off: it would be sent twice later.
    """
    corrected = {row.intended for row in rows}
    for row in rows:
        if row.places or row.rom in corrected or row.rom in survey.off or not row.is_thermometer:
            continue
        named = [name for name in row.seen_by if name not in survey.types]
        real = [name for name in row.seen_by if not survey.reports[name].simulated]
        for section in (*named, *real)[:1]:
            yield section, row.rom


def _entry(index: int, rom: Rom | None, label: str = "") -> str:
    return f"sensor{index} = {rom}" + (f", {quoted(label)}" if label else "")
