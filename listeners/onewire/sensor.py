"""What is known of a thermometer, whichever driver reads it, and whether a value is one of a power-on.

A part that gets its power has a value without a conversion: 85 °C, 25 °C for some clones, or the one it had
before it lost its power. A conversion that fails for want of power gives 127.94 °C, which is `Fault.FAILED`.
Three things tell a power-on, and all drivers rely on the same three:

* A marker in TH and TL, which is lost with the power. Where it cannot be set, as a clone does not keep it or
  the driver cannot write it, byte 6 has to tell a power-on from a true 85 °C.
* Once with the marker, and each time without it, the part has to show that it converted since it got power:
  by its busy line, or by a value that no part has without a conversion.
* The resolution, where it is set below that in the EEPROM, which comes back with the power.

With OWFS there is neither the first nor the second: see `drivers/masters.py`.

Nor is damage always detected: the CRC lets through 0.8 % of what changes four bits, or any larger even number
of them. After damage, only what comes twice is believed for a while.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from listeners.onewire.ds18b20 import (
    DS18S20,
    FINEST,
    MAY_BE_POWER_ON,
    Fault,
    Reading,
    conversion_time,
    decode,
    resolution_of,
    shows_conversion,
)
from listeners.onewire.rom import Rom, crc8

if TYPE_CHECKING:
    from collections.abc import Callable

DISTRUSTED = 100
"""After damage, how many of a sensor's scratchpads have to come twice before once is enough again."""

NEAR = 0.5
"""Degrees by which a temperature may differ from the one before and confirm it.

Damage of the two bytes of the temperature alone that the CRC lets through spans nine bits at least.
"""

_REREADS = 4

Place = TypeVar("Place")


@dataclass
class Sensor(Generic[Place]):
    """What is known of a sensor; None means not known.

    `place` is where it is read, as its driver has it. `bits` is its resolution as it was last found, and
    `parasite` tells that it takes its power from the line. `marker` is what TH and TL must hold, None where
    they do not hold a marker. `converted`: it has shown a conversion since it got power. `before` is the
    value that it was found with when it had lost its power. `heard`: it has answered at some time.

    `tries` counts how often setting it up has failed, and `due` is when it is to be set up next, in monotonic
    seconds.
    """

    rom: Rom
    place: Place
    bits: int | None = None
    parasite: bool | None = None
    marker: bytes | None = None
    converted: bool = False
    before: bytes = b""
    heard: bool = False
    tries: int = 0
    due: float = 0.0
    _unproved: int = 0
    _distrusted: int = 0
    _last: float = math.inf

    @property
    def conversion_s(self) -> float:
        """How long a conversion takes at most: that of the finest resolution, where its own is unknown."""
        return conversion_time(self.bits or FINEST, self.rom.family)

    def scratchpad(self, read: Callable[[], bytes]) -> bytes:
        """Return a scratchpad that came undamaged; after recent damage, one that came twice, or b""."""
        first = read()
        self.heard = True
        if set(first) == {0xFF}:
            return what_comes_twice(first, read)
        if crc8(first):
            self.distrust()
        return self.confirm(first, read)

    def distrust(self) -> None:
        """Note that a scratchpad came damaged: those after it have to come twice."""
        self._distrusted = DISTRUSTED

    def follows(self, celsius: float) -> bool:
        """Note a temperature; after damage, tell whether the one before confirms it, as being near."""
        near = abs(celsius - self._last) <= NEAR
        self._last = celsius
        if near and self._distrusted:
            self._distrusted -= 1
            return True
        return False

    def confirm(self, first: bytes, again: Callable[[], bytes]) -> bytes:
        """Return the first scratchpad or, after damage, the one that comes twice; b"" if none does."""
        if not self._distrusted:
            return first
        self._distrusted -= 1
        return what_comes_twice(first, again)

    def decode(self, scratchpad: bytes, given: int | None = None) -> Reading:
        """Return what a scratchpad says, and take note where it tells that power was lost.

        `given` is the bits that the conversion was given time for. Without it that is the sensor's own
        resolution, and a sensor at any other is refused.
        """
        reading = decode(self.rom, scratchpad, marker=self.marker, resolution=given or self.bits or FINEST)
        if reading in MAY_BE_POWER_ON:
            self._lose(scratchpad)
            self._unproved = 0
        elif isinstance(reading, float) and given is None and self._is_at_another_resolution(scratchpad):
            return Fault.RESOLUTION
        return reading

    def has_converted(self, scratchpad: bytes, *, seen: bool | None = None) -> bool:
        """Tell whether a value comes from a conversion since it got power; `seen`: its line has shown that.

        `seen` is None where no line shows it.

        The marker tells that power was not lost since it was written, but not that a command to convert was
        ever heard: one proof is enough as long as it stands. No value proves a DS18S20's true 85 °C. Where no
        line does, it is believed at the second conversion with the marker: few miss the command twice.
        """
        if not (self.marker and self.converted):
            self.converted = bool(seen) or shows_conversion(self.rom, scratchpad, self.before)
            self._unproved += 1
            if self.rom.family == DS18S20 and self.marker and seen is None:
                self.converted |= self._unproved > 1
        if self.converted:
            self.before, self._unproved = b"", 0
        else:
            self._lose(scratchpad)
        return self.converted

    def _lose(self, scratchpad: bytes) -> None:
        self.converted, self.before = False, scratchpad[:2]

    def _is_at_another_resolution(self, scratchpad: bytes) -> bool:
        return self.bits is not None and found_bits(self.rom, scratchpad) != self.bits


def found_bits(rom: Rom, scratchpad: bytes) -> int:
    """Return the resolution that a scratchpad shows: that of a DS18S20 is fixed."""
    return 9 if rom.family == DS18S20 else resolution_of(scratchpad)


def what_comes_twice(first: bytes, again: Callable[[], bytes]) -> bytes:
    """Return the first to come a second time, of `first` and some more; b"" if nothing does."""
    came = {first}
    for _ in range(_REREADS):
        following = again()
        if following in came:
            return following
        came.add(following)
    return b""
