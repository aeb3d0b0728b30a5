"""When there is time to look at what else is on a bus: now and then, and never so that a sweep waits."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.clock import Clock

EVERY_S = 60.0
"""Seconds from one look to the next, at least."""

_GUESS_S, _GUESS_PER_SENSOR_S = 1.0, 0.1
"""How long a look may take, before the first has shown it."""

_MARGIN = 1.5


class Lookout:
    """The looks at a bus that is swept every `interval` seconds of the wall clock.

    `last` is when the last one began, on the monotonic clock.
    """

    def __init__(self, interval: float, clock: Clock) -> None:
        self.last: float | None = None
        self._interval = interval
        self._clock = clock
        self._longest = 0.0

    def has_time(self, sensors: int) -> bool:
        """Tell whether a look at a bus with about so many sensors is due, and over before the next sweep."""
        if self.last is not None and self._clock.monotonic() - self.last < EVERY_S:
            return False
        left = self._interval - self._clock.wall() % self._interval
        return left > max(_GUESS_S + _GUESS_PER_SENSOR_S * sensors, _MARGIN * self._longest)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Measure the look that is taken meanwhile."""
        self.last = begun = self._clock.monotonic()
        try:
            yield
        finally:
            self._longest = max(self._longest, self._clock.monotonic() - begun)
