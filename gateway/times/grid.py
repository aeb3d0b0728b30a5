"""When the next reading of a listener with an interval is due."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway.frame import Stamp

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.flag import Flag

_LATE = 0.5
"""Seconds that a slot may begin late after a sweep that took too long, and a quarter of the interval."""

_LOOK_S = 60.0
"""Seconds after which a long wait looks at the clock again: it may have been set."""

_SET_S = 2.0
"""A slot stays valid if the clock was set by at most so many seconds, and a quarter of the interval."""


class Grid:
    """Every `interval` seconds on the wall clock: 10 s is :00 :10 :20, as a feed's slots are.

    If the last sweep took too long, the next slot begins somewhat late when that is enough; otherwise it is
    skipped, not made up for. The wait itself is monotonic, so a clock that is set neither stops the grid nor
    makes it hurry, and no reading gets the time of a slot in which it was not taken.
    """

    def __init__(self, interval: float, clock: Clock) -> None:
        self._interval = interval
        self._clock = clock
        self._last = -math.inf

    def wait(self, stop: Flag) -> Stamp | None:
        """Wait for the next slot and return the slot's own stamp, or None when asked to stop."""
        wall = self._clock.wall()
        now_slot = math.floor(wall / self._interval) * self._interval
        if self._last == now_slot - self._interval and wall - now_slot <= min(_LATE, self._interval / 4):
            return None if stop.is_set() else self._begun(now_slot)
        while True:
            slot = (math.floor(wall / self._interval) + 1) * self._interval
            if slot <= self._last < slot + self._interval:
                # The clock was slewed back slightly since the last slot: that one is done.
                slot = self._last + self._interval
            is_near = slot - wall < 2 * _LOOK_S
            began = self._clock.monotonic()
            if stop.wait(slot - wall if is_near else _LOOK_S):
                return None
            shown = wall + self._clock.monotonic() - began
            wall = self._clock.wall()
            # If the clock was set while we waited, or the process was stopped, the next slot counts.
            is_set = min(abs(wall - shown), abs(wall - slot)) > min(_SET_S, self._interval / 4)
            if is_near and not is_set and wall < slot + self._interval:
                return self._begun(slot)

    def _begun(self, slot: float) -> Stamp:
        now = self._clock.now()
        self._last = slot
        return Stamp(slot, now.boot, now.boottime - (now.wall - slot))
