"""How many frames are sent at a time, by how long the far end took for those before."""

from __future__ import annotations

import math

_QUICK = 10.0
"""Seconds within which a batch should be taken; one that takes longer is followed by a smaller one, unless
smaller ones take as long."""

_SMALLER_FOR = 600.0
"""Seconds in which batches stay as small as the one that arrived after a larger one had no answer in time.
On a line that large packets do not pass, each costs the time-out. If all else failed, it was an outage."""


class BatchSize:
    """The size of the next batch, `most` at the start; `failures` is how often the dispatcher has failed."""

    def __init__(self, most: int) -> None:
        self.next = self._largest = self._most = most
        self._smaller_until, self._vanished = -math.inf, -1
        self._slow: tuple[int, float] | None = None

    def unanswered(self, number: int, seconds: float, failures: int) -> None:
        """Halve it, as a batch of this number had no answer in so many seconds."""
        self.halve(number)
        if number > 1 and seconds >= _QUICK:
            self._vanished = failures + 1

    def halve(self, number: int) -> None:
        """Make it half of this number."""
        self.next = max(1, number // 2)

    def try_one(self) -> None:
        """Make it a single frame: far ends that keep nothing may still add up what they are sent."""
        self.next = 1

    def taken(self, number: int, seconds: float, now: float, failures: int) -> None:
        """Adapt it to a batch of this number that was taken within so many seconds."""
        if self._vanished == failures:
            self._largest, self._smaller_until = self.next, now + _SMALLER_FOR
        elif now >= self._smaller_until:
            self._largest = self._most
        self._vanished = -1
        if seconds < _QUICK:
            self._slow = None
            self.next = min(self.next * 2, self._largest)
            return
        slow, self._slow = self._slow, (number, seconds)
        if number == 1 or (slow and _take_as_long(slow, self._slow)):
            self.next = min(number * 2, self._largest)
        else:
            self.halve(number)


def _take_as_long(one: tuple[int, float], other: tuple[int, float]) -> bool:
    """Tell whether the smaller of two batches took nearly as long as the larger one.

    It did if the times are nearer to being equal than to growing as the batches do.
    """
    (few, short), (many, long) = sorted([one, other])
    return few < many and long / short < (1 + many / few) / 2
