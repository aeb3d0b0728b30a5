"""When there is time to look at what else is on a bus: now and then, and rarely so that a sweep waits."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.clock import Clock

EVERY_S = 60.0
"""Seconds from one look to the next, at least."""

PATIENCE_S, _SHARE = 300.0, 0.01
"""Where no time is left between two sweeps: how long a look is put off, and its share of all time at most."""

_GUESS_S, _GUESS_PER_SENSOR_S = 1.0, 0.1
"""How long a look may take, before the first has shown it."""

_MARGIN = 1.5


class Lookout:
    """The looks at a bus that is swept every `interval` seconds of the wall clock.

    `last` is when the last one began, on the monotonic clock. One that was put off for long is taken all the
    same, and the sweeps of its time are left out.
    """

    def __init__(self, interval: float, clock: Clock) -> None:
        self.last: float | None = None
        self._interval = interval
        self._clock = clock
        self._longest = 0.0
        self._begun = clock.monotonic()

    def has_time(self, sensors: int) -> bool:
        """Tell whether there is time for a look at a bus with so many sensors, or one is overdue."""
        waited = self._clock.monotonic() - (self._begun if self.last is None else self.last)
        if self.last is not None and waited < EVERY_S:
            return False
        if waited >= max(PATIENCE_S, self._longest / _SHARE):
            return True
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
