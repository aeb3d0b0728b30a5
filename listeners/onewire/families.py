"""What is on a 1-Wire bus besides thermometers, by the family code that an id begins with.

Source: the data sheets, as OWFS lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from listeners.onewire.ds18b20 import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from listeners.onewire.rom import Rom

COUPLER = 0x1F
"""A DS2409, which has two branches with other devices."""

_KINDS = {
    0x01: ("DS2401", "a serial number"),
    0x05: ("DS2405", "a switch"),
    0x12: ("DS2406", "a switch"),
    0x14: ("DS1971", "a memory"),
    0x18: ("DS1963S", "a memory"),
    0x1D: ("DS2423", "a counter"),
    0x20: ("DS2450", "a voltmeter"),
    0x21: ("DS1921", "a temperature logger"),
    0x23: ("DS2433", "a memory"),
    0x24: ("DS2415", "a clock"),
    0x26: ("DS2438", "a battery monitor"),
    0x27: ("DS2417", "a clock"),
    0x29: ("DS2408", "a switch"),
    0x2D: ("DS2431", "a memory"),
    0x30: ("DS2760", "a battery monitor"),
    0x3A: ("DS2413", "a switch"),
    0x41: ("DS1922", "a temperature logger"),
    0x81: ("DS1420", "the serial number of an adapter"),
}


def readable(roms: Iterable[Rom]) -> list[Rom]:
    """Return those that are of a supported family."""
    return [rom for rom in roms if rom.family in FAMILIES]


def unread(rom: Rom) -> str:
    """Return in words that a device is not supported; "" if it is."""
    if rom.family in FAMILIES:
        return ""
    if rom.family == COUPLER:
        return "family 1F is a DS2409 (a coupler): the sensors behind it can be read through OWFS"
    if rom.family not in _KINDS:
        return f"family {rom.family:02X} is not supported"
    part, what = _KINDS[rom.family]
    return f"family {rom.family:02X} is a {part}, which is not supported ({what})"
