"""What a thermometer's scratchpad means: a temperature, or the reason why there is none.

Sources: the data sheets of DS18B20, DS18S20, DS1822, DS1825 and DS28EA00; for byte 6 and the values that
damaged and counterfeit parts give, C. Petrich's survey counterfeit_DS18B20.
"""

from __future__ import annotations

from enum import Enum

from listeners.onewire.rom import Rom, crc8

DS18S20, DS1822, DS18B20, DS1825, DS28EA00 = 0x10, 0x22, 0x28, 0x3B, 0x42
FAMILIES = frozenset((DS18S20, DS1822, DS18B20, DS1825, DS28EA00))

FINEST = 12
"""The finest resolution in bits: an unknown sensor may need that long to convert."""

MARKER = bytes((0x5A, 0xDB))
"""What is written to TH and TL, but not to the EEPROM: alarms at 90 and -37 °C, unlikely to be set by chance.

Losing power restores the EEPROM's bytes, so with the marker still there the value is not that of a power-on.
The kernel takes no alarm beyond -55 and 125 °C.
"""

_POWER_ON = {DS18S20: 0x00AA}
_POWER_ON_OTHERS = 0x0550
POWER_ON_C = _POWER_ON_OTHERS / 16
"""What a part has at power-on, in °C, unless it is one of some clones."""
_POWER_ON_CLONES = 0x0190
"""25 °C, the value of clones of Petrich's families D1 and D2 at power-on."""

_RESERVED = (0xFF, 0x10)
"""Bytes 5 and 7 of a genuine part and of the clones that have 85 °C at power-on, as it has."""

_UNTOUCHED = 0x0C
"""Byte 6 after power-on; a conversion of a genuine DS18B20 that gives 85 °C leaves 0x10 there."""

_FAILED = 0x07FF


class Fault(Enum):
    """Why a sensor has no temperature, in words, and what to check."""

    NO_ANSWER = "no answer", "check its plug and cable, and its id"
    CRC = "damaged on the way (CRC)", "check cable, length and pull-up"
    ALL_ZERO = "only zeros", "the line is held low: check cable and pull-up"
    POWER_ON = "power-on value, not a temperature", "it lost its supply: check its power wire"
    AT_85 = "85 °C, which is also its power-on value", "unless it is that hot, check its power wire"
    UNCONVERTED = "conversion not finished", "check its power wire; a part that never ends is broken"
    FAILED = "conversion failed (127.94 °C)", "check its power wire"
    RANGE = "outside -55 to 125 °C", "the part is broken or not genuine"
    RESOLUTION = "not at the resolution it was set to", "let no other program use the bus"
    UNREADABLE = "not the scratchpad of a supported thermometer", "check its id and its type"
    THERMOCOUPLE = (
        "a MAX31850, for thermocouples, which is not supported",
        "take it out of the configuration, or make it a Dummy",
    )
    SHORT = "its line is shorted", "look for data touching ground"
    HANGS = "its file hangs", "the kernel's driver of its bus is stuck: dmesg may say why"
    BUS = "the bus does not work", "see the line about the bus"

    def __init__(self, words: str, advice: str) -> None:
        self.words = words
        self.advice = advice

    def __str__(self) -> str:
        return self.words


MAY_BE_POWER_ON = (Fault.POWER_ON, Fault.AT_85)
"""Faults after which a sensor may have lost its set-up."""

AGAIN = (*MAY_BE_POWER_ON, Fault.RESOLUTION, Fault.FAILED)
"""Faults that a second conversion may clear, once the sensor has been set up again."""

Reading = float | Fault
"""A temperature in °C, or why there is none."""


def decode(
    rom: Rom, scratchpad: bytes, *, marker: bytes | None = None, resolution: int | None = None
) -> Reading:
    """Return what the nine bytes of a scratchpad, CRC last, say.

    `marker` is what was written to TH and TL: other bytes there mean a power-on since. Without a marker, byte
    6 tells a power-on from a true 85 °C: a DS18S20, or a clone that never changes that byte, has no value at
    85 °C.
    `resolution` is the bits that the conversion was given time for; a sensor set to more has no value.
    """
    broken = damage(rom, scratchpad)
    if broken:
        return broken
    if marker is None and is_power_on(rom, scratchpad):
        return unproved(rom)
    if marker is not None and scratchpad[2:4] != marker:
        return Fault.POWER_ON
    if rom.family == DS18S20:
        return plausible(_counted(scratchpad))
    bits = resolution_of(scratchpad)
    if resolution is not None and bits > resolution:
        return Fault.RESOLUTION
    raw = int.from_bytes(scratchpad[:2], "little", signed=True)
    return Fault.FAILED if raw == _FAILED else plausible((raw & -1 << 12 - bits) / 16)


def plausible(celsius: float) -> Reading:
    """Return the temperature if it is one that these sensors can measure."""
    return celsius if -55.0 <= celsius <= 125.0 else Fault.RANGE


def unproved(rom: Rom) -> Fault:
    """Return why there is no value where it may be that of a power-on: a DS18S20 has its bytes at 85 °C."""
    return Fault.AT_85 if rom.family == DS18S20 else Fault.POWER_ON


def is_power_on(rom: Rom, scratchpad: bytes) -> bool:
    """Tell whether value and byte 6 are those of a part that has not converted since it got power."""
    raw = int.from_bytes(scratchpad[:2], "little")
    return raw == _POWER_ON.get(rom.family, _POWER_ON_OTHERS) and scratchpad[6] == _UNTOUCHED


def shows_conversion(rom: Rom, scratchpad: bytes, before: bytes = b"") -> bool:
    """Tell whether the value proves that the part has converted since it got power.

    Without a conversion it has 85 °C, or 25 °C for some clones. A genuine part that has converted to either
    has 0x10 in byte 6, which is 0x0C at power-on, but also after a conversion to any value with the fraction
    .25. Clones with other bytes 5 and 7 may have kept the value from before they lost power: `before` is the
    value they were found with.
    """
    raw = int.from_bytes(scratchpad[:2], "little")
    if rom.family == DS18S20:
        return not is_power_on(rom, scratchpad)
    usual = (scratchpad[5], scratchpad[7]) == _RESERVED
    if raw == _POWER_ON_OTHERS:
        return usual and scratchpad[6] == 0x10
    if raw == _POWER_ON_CLONES:
        return usual and scratchpad[6] != _UNTOUCHED
    return usual or scratchpad[:2] != before


def resolution_of(scratchpad: bytes) -> int:
    """Return the bits, 9 to 12, that the configuration byte says (no DS18S20 has one)."""
    return 9 + (scratchpad[4] >> 5 & 3)


def configuration(resolution: int) -> int:
    """Return the configuration byte of a resolution of 9 to 12 bits."""
    return resolution - 9 << 5 | 0x1F


def conversion_time(resolution: int, family: int = DS18B20) -> float:
    """Return the longest time in seconds that a conversion may take."""
    return 0.75 if family == DS18S20 else 0.75 / (1 << 12 - resolution)


def own_markers(rom: Rom) -> tuple[bytes, bytes]:
    """Return a marker that few sensors share, and another for a sensor that has the first in its EEPROM.

    Where a second master uses the bus between our command and the answer, the scratchpad of another sensor
    may come: its marker shows that.
    """
    return bytes((MARKER[0], rom.wire[7])), bytes((MARKER[0] + 1, rom.wire[7]))


def setup(rom: Rom, resolution: int, marker: bytes) -> bytes:
    """Return what follows 4E (write scratchpad): TH, TL and, but for a DS18S20, the configuration."""
    return marker if rom.family == DS18S20 else marker + bytes([configuration(resolution)])


def damage(rom: Rom, scratchpad: bytes) -> Fault | None:
    """Return why the bytes are not a scratchpad, or None if they are one."""
    if rom.family not in FAMILIES:
        return Fault.UNREADABLE
    if set(scratchpad) == {0}:  # whose CRC is right
        return Fault.ALL_ZERO
    if set(scratchpad) == {0xFF}:
        return Fault.NO_ANSWER
    if len(scratchpad) != 9 or crc8(scratchpad):
        return Fault.CRC
    if rom.family == DS1825 and scratchpad[4] & 0xF0 == 0xF0:
        return Fault.THERMOCOUPLE
    return None if _fixed_bits_stand(rom, scratchpad) else Fault.UNREADABLE


def _fixed_bits_stand(rom: Rom, scratchpad: bytes) -> bool:
    if rom.family == DS18S20:
        return scratchpad[4:6] == b"\xff\xff"
    if rom.family == DS1825:
        # Its low bits are address pins; bit 7 is a MAX31850's, which reads otherwise.
        return scratchpad[4] & 0x90 == 0x10
    return scratchpad[4] & 0x9F == 0x1F


def _counted(scratchpad: bytes) -> float:
    """Return a DS18S20's temperature, refined by its counters where it has them."""
    raw = int.from_bytes(scratchpad[:2], "little", signed=True)
    remain, per_degree = scratchpad[6:8]
    if not per_degree:
        return raw / 2
    return (raw >> 1) - 0.25 + (per_degree - remain) / per_degree
