"""The sensors and boards that were found, as changes of the file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.conf.section import nodes_in
from gateway.registry import UnknownType, find
from gateway.settings import declared, number_of, shown
from gateway.text.plain import unseen
from listeners.onewire.bus import OneWire
from listeners.onewire.commands.listing import placed
from listeners.onewire.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.conf.edit import Draft
    from gateway.conf.indices import Place
    from listeners.onewire.commands.roster import Row
    from listeners.onewire.commands.survey import Survey
    from listeners.onewire.rom import Rom

_WHERE = ("bus", "address", "path", "server")
"""The settings that say which bus a 1-Wire listener reads."""


def read_names(text: str, labels: Mapping[Rom, str]) -> dict[Rom, str]:
    """Return the names of sensors, given in their order with commas between; an empty one stays as it is.

    Raises ValueError if there are too many, or one cannot be written.
    """
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    if len(names) > len(labels):
        raise ValueError(f"{len(names)} names for {len(labels)} sensors: one each, in the order of the list")
    for name in names:
        check_name(name)
    return {
        rom: name or old
        for (rom, old), name in zip(labels.items(), [*names, *[""] * len(labels)], strict=False)
    }


def check_name(name: str) -> str:
    """Return a name. Raises ValueError if the file cannot have it."""
    if not name.isprintable() or ('"' in name and "'" in name):
        expected = "a name of printable characters expected, with one kind of quotes at most"
        raise ValueError(f"{expected}{unseen(name)}")
    return name


def add_sensors(
    draft: Draft,
    survey: Survey,
    rows: Sequence[Row],
    remembered: Mapping[Place, str],
    listeners: Mapping[str, OneWire],
) -> dict[Rom, tuple[str, str]]:
    """Give each sensor that has no entry one; return section and key of each.

    A section that names no sensor is filled from index 1 on: the Dummy of the shipped file does not count.
    An index that had a sensor once, by `remembered`, is not used again. `listeners` are those of the sections
    still to be created.
    """
    for name, report in survey.reports.items():
        if name not in survey.types:
            is_empty = report.highest <= 1 and not any(each.indices for each in report.sensors)
            last = max((index for node, index in remembered if node == report.node), default=0)
            survey.reports[name] = replace(report, highest=max(0 if is_empty else report.highest, last))
    begun: dict[str, str] = {}
    entries = {}
    for name, node, index, rom in placed(survey, rows):
        if name in survey.types and name not in begun:
            begun[name] = _begin(draft, survey.types[name], node, listeners[name], survey.nodes)
        section = begun.get(name, name)
        entries[rom] = section, f"sensor{index}"
        draft.set("listeners", section, f"sensor{index}", str(rom))
    return entries


def _begin(
    draft: Draft, type_: str, node: str, listener: OneWire, taken: frozenset[str] = frozenset()
) -> str:
    """Create a section for a bus, or use one of its type that names no sensor; return its name."""
    names = list(draft.sections("listeners"))
    empty = [
        name for name in names if draft.value("listeners", name, "type") == type_ and not _named(draft, name)
    ]
    name = empty[0] if empty else draft.begin("listeners", type_)
    if not empty:
        taken |= nodes_in(draft.text)
        suggested = draft.suggested("listeners", name, "node")
        draft.set("listeners", name, "node", suggested if suggested and suggested not in taken else node)
    draft.switch("listeners", name, on=True)
    usual = {key: field.default for key, field in declared(type(listener)).items()}
    given = draft.values("listeners", name)
    for key, text in shown(listener).items():
        if key in _WHERE and (key in given or text != str(usual[key] or "")):
            draft.set("listeners", name, key, text)
    return name


def add_board(draft: Draft, port: str, rate: int) -> None:
    """Add a radio board."""
    name = draft.begin("listeners", "rfm12pi")
    for key, text in (("port", port), ("baud", str(rate))):
        if text != draft.suggested("listeners", name, key):
            draft.set("listeners", name, key, text)


def add_trial(draft: Draft, roms: Iterable[Rom], listener: OneWire) -> None:
    """Add simulated sensors."""
    name = _begin(draft, "ds2482", "9", listener)
    for index, rom in enumerate(roms, 1):
        draft.set("listeners", name, f"sensor{index}", str(rom))


def switch_off_unused(draft: Draft) -> None:
    """Switch off the 1-Wire sections that name no sensor, and those whose sensors are simulated."""
    for name in draft.on("listeners"):
        is_simulated = draft.value("listeners", name, "bus") == "simulated"
        if _is_onewire(draft, name) and (is_simulated or not _named(draft, name)):
            draft.switch("listeners", name, on=False)


def reads_something(draft: Draft) -> bool:
    """Tell whether a listener is on, other than a 1-Wire section that names no sensor."""
    return any(_named(draft, name) or not _is_onewire(draft, name) for name in draft.on("listeners"))


def _named(draft: Draft, name: str) -> list[str]:
    """Return the settings of a section that name a sensor."""
    values = draft.values("listeners", name).items()
    return [key for key, value in values if number_of(key, Slots) and str(value).lower() != "dummy"]


def _is_onewire(draft: Draft, name: str) -> bool:
    try:
        return issubclass(find("listeners", draft.value("listeners", name, "type")), OneWire)
    except UnknownType:
        return False
