"""An hour of minutes and a day of hours, as they are kept: fixed sizes, 32-bit floats, little endian."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from operator import mul

_MINUTES = struct.Struct("<60f60B")
_HOURS = struct.Struct("<72f24H")
_MOST = 255
"""Values that a minute counts; more do not move its mean noticeably."""


@dataclass
class Hour:
    """The means of 60 minutes, and how many values each has; a count of 0 is a gap."""

    means: list[float] = field(default_factory=lambda: [0.0] * 60)
    counts: list[int] = field(default_factory=lambda: [0] * 60)

    @classmethod
    def unpack(cls, data: bytes) -> Hour:
        """Return it from its bytes. Raises struct.error."""
        parts = _MINUTES.unpack(data)
        return cls([*parts[:60]], [*parts[60:]])

    def pack(self) -> bytes:
        """Return its bytes."""
        return _MINUTES.pack(*self.means, *self.counts)

    def quarters(self) -> list[float | None]:
        """Return the means of its four quarters, None where nothing came."""
        found: list[float | None] = []
        for first in range(0, 60, 15):
            counts = self.counts[first : first + 15]
            total = sum(map(mul, self.means[first : first + 15], counts))
            found.append(total / sum(counts) if any(counts) else None)
        return found

    def add(self, minute: int, value: float, count: int = 1) -> None:
        """Add the mean of so many values to a minute."""
        before = self.counts[minute]
        self.means[minute] += (value - self.means[minute]) * count / (before + count)
        self.counts[minute] = min(_MOST, before + count)


@dataclass
class Day:
    """Mean, least, greatest and count of 24 hours; a count of 0 is a gap."""

    means: list[float] = field(default_factory=lambda: [0.0] * 24)
    least: list[float] = field(default_factory=lambda: [0.0] * 24)
    greatest: list[float] = field(default_factory=lambda: [0.0] * 24)
    counts: list[int] = field(default_factory=lambda: [0] * 24)

    @classmethod
    def unpack(cls, data: bytes) -> Day:
        """Return it from its bytes. Raises struct.error."""
        parts = _HOURS.unpack(data)
        return cls([*parts[:24]], [*parts[24:48]], [*parts[48:72]], [*parts[72:]])

    def pack(self) -> bytes:
        """Return its bytes."""
        return _HOURS.pack(*self.means, *self.least, *self.greatest, *self.counts)

    def add(self, hour: int, mean: float, least: float, greatest: float, count: int = 1) -> None:
        """Add what so many values had to an hour."""
        before = self.counts[hour]
        self.means[hour] += (mean - self.means[hour]) * count / (before + count)
        self.least[hour] = min(self.least[hour], least) if before else least
        self.greatest[hour] = max(self.greatest[hour], greatest) if before else greatest
        self.counts[hour] = min(65535, before + count)
