"""Whether the wall clock can be trusted, on a machine without a clock battery.

A Pi starts with the time of its last shutdown, or 1970, until something sets its clock. Readings that are
taken before are held back, and dated by the boot's own clock once the wall clock is right. A clock is doubted
only on evidence: it shows a time that is known to have passed, or the far end's clock contradicts it. A far
end whose clock itself shows a time that has passed is no evidence. A clock that nothing synchronises is not
doubted for that: many a Pi cannot reach NTP and has the right time. Soon after a boot a smaller difference is
enough, as something may yet set the clock.
"""

from __future__ import annotations

import ctypes
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gateway.text.words import span
from gateway.version import MADE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gateway.clock import Clock
    from gateway.frame import Stamp

log = logging.getLogger("oemgateway.clock")

TOLERANCE = 60.0
"""Seconds that two clocks may differ: Emoncms takes a row that is later than its own time for that long."""

_SETTLING = 600.0
"""Seconds since the boot within which a time server sets the clock, if there is one."""

_BEHIND = 5.0
"""Seconds that it may be behind a far end's clock until then: a Pi starts with the time of its shutdown."""

STEP = 2.0
"""Seconds by which the wall clock must have moved against the boot's own to have been set."""

_TIME_ERROR = 5
"""What adjtimex(2) returns while nothing keeps the clock right."""


class Timekeeper:
    """Follows the wall clock; call `look` now and then, and before a reading is kept.

    `past` is a time that is known to have passed, `doubted` says that a far end contradicted this very clock
    before the gateway was started again, `synchronised` asks the machine whether something keeps its clock
    right. If `mode` is "send" nothing is ever held. `steps` counts how often the clock has been set,
    the last time by `last_step` seconds.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        past: float,
        doubted: bool = False,
        synchronised: Callable[[], bool] | None = None,
        mode: Literal["hold", "send"] = "hold",
    ) -> None:
        self.mode = mode
        self.steps = 0
        self.last_step = 0.0
        self.doubt = ""
        self._clock = clock
        self._past = past
        self._doubted = doubted
        self._began = clock.boottime()
        self._synchronised = synchronised or machine_is_synchronised
        self._offset = self.offset()
        # How far a far end's clock is ahead of the boot's own, by dispatcher. Replaced, as others read it.
        self._far_offsets: dict[str, float] = {}
        self.look()

    def offset(self) -> float:
        """Return by how many seconds the wall clock is ahead of the boot's own."""
        now = self._clock.now()
        return now.wall - now.boottime

    @property
    def holding(self) -> bool:
        """Whether readings must be held back."""
        return bool(self.doubt) and self.mode == "hold"

    @property
    def consequence(self) -> str:
        """What becomes of readings while the clock is in doubt."""
        return "held until it is right" if self.mode == "hold" else "sent all the same"

    def look(self) -> bool:
        """Look at the clock; return whether it has been set since the last time."""
        offset = self.offset()
        stepped = abs(offset - self._offset) > STEP
        if stepped:
            self._doubted = False
            self.steps += 1
            self.last_step = offset - self._offset
            log.warning("the clock was set %+.0f s", self.last_step)
        self._offset = offset
        self._judge()
        return stepped

    def note_server_time(self, who: str, time: float | None) -> None:
        """Note what the clock of a dispatcher's far end shows: None if it shows nothing."""
        others = {name: ahead for name, ahead in self._far_offsets.items() if name != who}
        shown = {} if time is None else {who: time - self._clock.boottime()}
        self._far_offsets = others | shown
        self._judge()

    def set_consumers(self, dispatchers: Collection[str]) -> None:
        """Forget what far ends have shown, except those of these dispatchers, which have a clock."""
        self._far_offsets = {who: ahead for who, ahead in self._far_offsets.items() if who in dispatchers}
        self._doubted = self._doubted and bool(dispatchers)
        self._judge()

    def age(self, stamp: Stamp) -> float:
        """Return how old a reading is at least, in seconds.

        Within this boot its own clock tells, and a reading of an earlier boot is older than this one.
        Beyond that the wall clock tells, but only if the machine or the far end vouches for it.
        """
        now = self._clock.now()
        if stamp.boot and stamp.boot == now.boot:
            return now.boottime - stamp.boottime
        return max(now.boottime if stamp.boot else 0.0, now.wall - stamp.wall if self.is_vouched else 0.0)

    @property
    def is_vouched(self) -> bool:
        """Whether the machine or a far end says that the clock is right."""
        return not self.doubt and (self._confirmed() or self._synchronised())

    def latest(self, who: str) -> float:
        """Return the latest time that is safe to send to a far end; infinity if that is unknown."""
        shown = self._shown().get(who)
        return math.inf if shown is None else shown + TOLERANCE

    def is_to_come(self, stamp: Stamp) -> bool:
        """Tell whether the time that a reading's sender gave is in the future.

        It returns False while nothing vouches for our own clock.
        """
        return not stamp.boot and stamp.wall > self._clock.wall() + TOLERANCE and self.is_vouched

    def behind(self, who: str) -> str:
        """Return, in words, why a far end cannot take the next reading yet, according to `latest`."""
        shown = self._shown().get(who)
        behind = 0.0 if shown is None else self._clock.wall() - shown
        if behind > 2 * TOLERANCE:
            since = f"its clock is {span(behind)} behind this machine's"
            return f"{since}: readings for it wait until it is set right"
        return "its clock has not come to the time of the next reading, which waits"

    def _shown(self) -> dict[str, float]:
        """Return what the far ends' clocks show now, by the boot's own clock since they showed it."""
        boottime = self._clock.boottime()
        return {who: boottime + ahead for who, ahead in self._far_offsets.items()}

    def _judge(self) -> None:
        doubt = self._evidence()
        if doubt != self.doubt:
            if doubt and not self.doubt:
                log.warning("%s: readings are %s", doubt, self.consequence)
            elif not doubt:
                held = ": the readings that were held are dated and go on" if self.mode == "hold" else ""
                log.warning("the clock is right%s", held)
        self.doubt = doubt
        self._doubted = self._doubted and bool(doubt)

    def _evidence(self) -> str:
        """Return why the clock is wrong, or "".

        A far end that agrees knows better than what was noted here, unless both show a time before this
        version was made; of several that do not, the one that comes nearest is believed. One whose own clock
        shows a time that has passed is not, whatever ours shows.
        """
        if self._confirmed():
            return ""
        wall = self._clock.wall()
        expected = self.expected()
        if expected is not None:
            side = "ahead of" if wall > expected else "behind"
            words = f"the clock is {span(abs(wall - expected))} {side} the server's"
            if abs(wall - expected) <= TOLERANCE:
                words += " (believed ten minutes after the boot, if no time server sets it before)"
        elif wall < self._past:
            words = f"the clock shows a time {span(self._past - wall)} before one that has passed"
            words += " (where it is right, it was ahead once: start once with unsynced = send)"
        elif self._doubted:
            words = "a server contradicted the clock before the gateway was started again"
            words += " (where it is right, start once with unsynced = send)"
        else:
            return ""
        return "" if self._synchronised() else words

    def expected(self) -> float | None:
        """Return the time that the far ends show, the one nearest to ours if there are several; else None.

        A time that has passed does not count.
        """
        wall, passed = self._clock.wall(), self._past + self._clock.boottime() - self._began
        shown = [time for time in self._shown().values() if time >= passed - TOLERANCE]
        return min(shown, key=lambda time: abs(wall - time), default=None)

    def _confirmed(self) -> bool:
        """Tell whether a far end's clock, which may be right, agrees with ours."""
        wall = self._clock.wall()
        behind = _BEHIND if self._clock.boottime() < _SETTLING else TOLERANCE
        return any(time >= MADE and -TOLERANCE <= time - wall <= behind for time in self._shown().values())


def machine_is_synchronised(timesyncd: Path = Path("/run/systemd/timesync/synchronized")) -> bool:
    """Tell whether the kernel or systemd-timesyncd says that the clock is kept right."""
    if timesyncd.exists():
        return True
    timex = (ctypes.c_long * 64)()  # room for a struct timex; modes of 0 set nothing
    state: int = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    return 0 <= state < _TIME_ERROR
