"""What each index of a listener's nodes had last, and its last hour as the means of minutes."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTES = 60
"""Minutes that are remembered."""
_TRACKS = 1000
"""Indices of one listener that are remembered; the devices of a network may send any number of names."""


@dataclass(frozen=True)
class Heard:
    """An index: the last frame that it was in, and where; the last that had a value there, and when it came.

    `valued_at` is in seconds of the monotonic clock. `minutes` are the means of the last hour, oldest first,
    None if nothing came.
    """

    frame: Frame
    index: int
    valued: float | None
    valued_at: float | None
    minutes: list[float | None]

    @property
    def key(self) -> int | str:
        """The index or, in a frame by name, the name."""
        return self.frame.name(self.index) if self.frame.by_name else self.index


class _Track:
    def __init__(self) -> None:
        self.frame: Frame
        self.index = 0
        self.valued: float | None = None
        self.valued_at: float | None = None
        self._minute = 0
        self._sums = array("d", [0.0] * MINUTES)
        self._counts = array("L", [0] * MINUTES)

    def note(self, frame: Frame, index: int, value: float | None, now: float) -> None:
        self.frame, self.index = frame, index
        if value is not None:
            self.valued, self.valued_at = value, now
            self._move_on(now)
            self._sums[self._minute % MINUTES] += value
            self._counts[self._minute % MINUTES] += 1

    def minutes(self, now: float) -> list[float | None]:
        self._move_on(now)
        slots = [(self._minute + 1 + passed) % MINUTES for passed in range(MINUTES)]
        return [self._sums[slot] / count if (count := self._counts[slot]) else None for slot in slots]

    def _move_on(self, now: float) -> None:
        minute = int(now // 60)
        for passed in range(max(self._minute, minute - MINUTES) + 1, minute + 1):
            self._sums[passed % MINUTES], self._counts[passed % MINUTES] = 0.0, 0
        self._minute = max(self._minute, minute)


class Tracks:
    """The indices of one listener, by node and key. Of too many, the one silent for longest is forgotten."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, int | str], _Track] = {}

    def note(self, frame: Frame, now: float) -> None:
        """Note the values of a frame, and its gaps."""
        for index, value in enumerate(frame.values[:_TRACKS], 1):
            key = (frame.node, frame.name(index) if frame.by_name else index)
            track = self._tracks.pop(key, None) or _Track()
            track.note(frame, index, value, now)
            self._tracks[key] = track
        while len(self._tracks) > _TRACKS:
            del self._tracks[next(iter(self._tracks))]

    def heard(self, now: float) -> Iterator[Heard]:
        """Yield what is known of each index."""
        for track in self._tracks.values():
            yield Heard(track.frame, track.index, track.valued, track.valued_at, track.minutes(now))
