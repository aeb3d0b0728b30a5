"""The label of a sensor, written into its line of the configuration."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.conf.edit import Draft
from gateway.conf.section import read_part
from listeners.onewire.slots import Slots

if TYPE_CHECKING:
    from pathlib import Path

    from listeners.onewire.rom import Rom


def relabel(file: Path, section: str, index: int, rom: Rom, label: str) -> str:
    """Set the label after a sensor's id, or remove it (""); return place and entry, as they are now.

    The id stays as it was written. Raises ValueError if the file does not name this sensor there or the
    label cannot be written, and OSError or ConfigFaults where the file cannot.
    """
    label = label.strip()
    draft = Draft(file)
    key = f"sensor{index}"
    listeners = draft.sections("listeners")
    part = read_part(draft.text, "listeners", listeners[section]) if section in listeners else None
    entry = part.entries.get(key) if part else None
    if entry is None or not has_sensor(draft, section, index, rom):
        raise ValueError(f"{file}: [[{section}]] does not have {rom} as {key}: label it there by hand")
    new = set_label(draft, section, key, label)
    draft.write()
    return f"{file}:{entry.line}: {new}"


def has_sensor(draft: Draft, section: str, index: int, rom: Rom) -> bool:
    """Tell whether a section has a sensor at an index."""
    known = draft.sections("listeners")
    entry = draft.values("listeners", section).get(f"sensor{index}") if section in known else None
    with suppress(ValueError):
        return entry is not None and Slots.parse_entry(index, entry).rom == rom
    return False


def set_label(draft: Draft, section: str, key: str, label: str) -> str:
    """Give a sensor another label, "" for none; its id stays as it is written. Return the entry."""
    value = draft.values("listeners", section)[key]
    rom = value if isinstance(value, str) else value[0]
    return draft.set("listeners", section, key, [rom, label] if label else rom)
