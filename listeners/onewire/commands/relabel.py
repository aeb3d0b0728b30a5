"""The label of a sensor, written into its line of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.conf.edit import Draft
from gateway.conf.section import read_part
from listeners.onewire.slots import Slots

if TYPE_CHECKING:
    from pathlib import Path

    from listeners.onewire.rom import Rom


def relabel(file: Path, section: str, index: int, rom: Rom, label: str) -> str:
    """Set the label after a sensor's id, or remove it (""); return place and entry, as they are now.

    The id stays as it was written. Raises ValueError where the file does not name this sensor there or the
    label cannot be written, and OSError or ConfigFaults where the file cannot.
    """
    label = label.strip()
    draft = Draft(file)
    key = f"sensor{index}"
    listeners = draft.sections("listeners")
    part = read_part(draft.text, "listeners", listeners[section]) if section in listeners else None
    entry = part.entries.get(key) if part else None
    if entry is None or Slots.parse_entry(index, entry.value).rom != rom:
        raise ValueError(f"{file}: [[{section}]] does not have {rom} as {key}: label it there by hand")
    written = entry.value if isinstance(entry.value, str) else entry.value[0]
    new = draft.replace(entry.line, key, [written, label] if label else written)
    draft.write()
    return f"{file}:{entry.line}: {new}"
