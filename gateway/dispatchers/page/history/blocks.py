"""An hour of minutes and a day of hours, as they are kept: fixed sizes, 32-bit floats, little endian."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from operator import mul
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True)
class Point:
    """What the values from `at` on had, for the step of its block or chart."""

    at: float
    mean: float
    least: float
    greatest: float
    count: int


@dataclass
class Block:
    """Places of `step` seconds, each with a mean and a count; a count of 0 is a gap.

    `most` is the highest count: values beyond it do not move the mean noticeably.
    """

    step: ClassVar[int]
    places: ClassVar[int]
    most: ClassVar[int]
    layout: ClassVar[struct.Struct]

    means: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for column in self.columns:
            column.extend([0] * (self.places - len(column)))

    @property
    def columns(self) -> tuple[list[Any], ...]:
        """What it keeps of each place; the counts are last."""
        return self.means, self.counts

    @property
    def range(self) -> tuple[list[float], list[float]]:
        """The least and the greatest value of each place."""
        return self.means, self.means

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Return it from its bytes. Raises struct.error."""
        parts = cls.layout.unpack(data)
        columns = [[*parts[at : at + cls.places]] for at in range(0, len(parts), cls.places)]
        return cls(columns[0], columns[-1], *columns[1:-1])

    def pack(self) -> bytes:
        """Return its bytes."""
        return self.layout.pack(*(number for column in self.columns for number in column))

    def add(self, place: int, mean: float, least: float, greatest: float, count: int = 1) -> None:
        """Add what that many values had to a place."""
        before = self.counts[place]
        self.means[place] += (mean - self.means[place]) * count / (before + count)
        for column, number, choose in zip(self.columns[1:-1], (least, greatest), (min, max), strict=False):
            column[place] = choose(column[place], number) if before else number
        self.counts[place] = min(self.most, before + count)

    def merge(self, other: Self) -> None:
        """Add everything that another block has of the same time."""
        least, greatest = other.range
        columns = [*zip(self.columns, other.columns, strict=True)]
        for place, count in enumerate(other.counts):
            if count and self.counts[place]:
                self.add(place, other.means[place], least[place], greatest[place], count)
            elif count:  # exactly as it was
                for ours, theirs in columns:
                    ours[place] = theirs[place]

    def split(self, by: int) -> tuple[Self, Self]:
        """Return it with its places moved on, `by` of them into a second block, that of the next time."""
        first, second = type(self)(), type(self)()
        for column, kept, moved in zip(self.columns, first.columns, second.columns, strict=True):
            kept[by:] = column[: self.places - by]
            moved[:by] = column[self.places - by :]
        return first, second

    def points(self, begin: float) -> Iterator[Point]:
        """Yield the places that have a value; the block begins at `begin`."""
        least, greatest = self.range
        for place, count in enumerate(self.counts):
            if count:
                at = begin + place * self.step
                yield Point(at, self.means[place], least[place], greatest[place], count)

    def summary(self, first: int, end: int) -> Point | None:
        """Return the mean, least, greatest and count of some places, None if they have no value."""
        counts = self.counts[first:end]
        if not any(counts):
            return None
        least, greatest = (
            [number for number, count in zip(column[first:end], counts, strict=True) if count]
            for column in self.range
        )
        total = math.fsum(map(mul, self.means[first:end], counts))
        return Point(first * self.step, total / sum(counts), min(least), max(greatest), sum(counts))


@dataclass
class Hour(Block):
    """60 minutes: the mean and the count of each."""

    step, places, most, layout = MINUTE, 60, 255, struct.Struct("<60f60B")

    def quarters(self) -> list[float | None]:
        """Return the means of its four quarters, None if nothing came."""
        found: list[float | None] = []
        for first in range(0, 60, 15):
            counts = self.counts[first : first + 15]
            total = sum(map(mul, self.means[first : first + 15], counts))
            found.append(total / sum(counts) if any(counts) else None)
        return found


@dataclass
class Day(Block):
    """24 hours: the mean, least, greatest and count of each."""

    step, places, most, layout = HOUR, 24, 65535, struct.Struct("<72f24H")

    least: list[float] = field(default_factory=list)
    greatest: list[float] = field(default_factory=list)

    @property
    def columns(self) -> tuple[list[Any], ...]:
        """What it keeps of each place; the counts are last."""
        return self.means, self.least, self.greatest, self.counts

    @property
    def range(self) -> tuple[list[float], list[float]]:
        """The least and the greatest value of each place."""
        return self.least, self.greatest
