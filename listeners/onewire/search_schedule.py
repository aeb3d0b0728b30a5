"""When to search a bus for other devices: between two sweeps or, only if that never fits, during one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.clock import Clock

EVERY_S = 60.0
"""Seconds between two searches, at least."""

PATIENCE_S, _SHARE, _MOST_S = 300.0, 0.01, 1800.0
"""Where no time is left between sweeps: how long a search is put off, its largest share of all time, and how
long it is put off at most: a sensor that was plugged in elsewhere is found by a search only."""

_GUESS_S, _GUESS_PER_SENSOR_S = 1.0, 0.1
"""How long a search may take, before one was timed; one that waits for a bus that hangs takes a minute."""

_MARGIN = 1.5


class SearchSchedule:
    """The searches of a bus; `has_time` tells whether that many seconds are left before its next sweep.

    `last` is when the last one began, on the monotonic clock. A search that has been put off for too long
    is made anyway; the sweeps that it delays are skipped.
    """

    def __init__(self, has_time: Callable[[float], bool], clock: Clock) -> None:
        self.last: float | None = None
        self._has_time = has_time
        self._clock = clock
        self._took = 0.0
        self._begun = clock.monotonic()

    def is_due(self, sensors: int) -> bool:
        """Tell whether there is time to search a bus with that many sensors, or a search is overdue."""
        waited = self._clock.monotonic() - (self._begun if self.last is None else self.last)
        if self.last is not None and waited < EVERY_S:
            return False
        if waited >= max(PATIENCE_S, min(self._took / _SHARE, _MOST_S)):
            return True
        return self._has_time(max(_GUESS_S + _GUESS_PER_SENSOR_S * sensors, _MARGIN * self._took))

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Time a search."""
        self.last = begun = self._clock.monotonic()
        try:
            yield
        finally:
            self._took = self._clock.monotonic() - begun
