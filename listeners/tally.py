"""What was refused or is missing, counted by its reason, and logged without flooding the log."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gateway.plugin import Health, Listener
from listeners.line_hints import hint_for
from listeners.lines import Ignored, Rejected

if TYPE_CHECKING:
    import logging

    from gateway.frame import Frame, Stamp
    from listeners.lines import DataLine

_SHORTEST, _LONGEST = 60.0, 3600.0
"""Seconds between two lines of the log for the same reason: each pause is twice the one before."""
_ALL = 3
"""Refusals in a row that are a trouble."""
_SINCE = 600.0
"""Seconds without an accepted line: between two of its own nodes a radio may hear many of a neighbour's."""
_RECENT = 3600.0
"""Seconds after which refusals are forgotten: a client that was refused may never come again."""
_MISSING = "value-missing"
_MISDATED = "time-not-believed"


class Tally(Counter[str]):
    """Counts by reason the lines, or `what` they are, that were refused, and the values missing in others."""

    def __init__(self, what: str = "a line") -> None:
        super().__init__()
        self._what = what
        self._next: dict[str, tuple[float, float]] = {}  # by reason: the time of its next line, and the pause
        self._in_a_row = 0
        self._taken_at = -math.inf
        self._last = ("", "", 0.0)
        self._numbers: dict[str, float] = {}

    def refuse(self, reason: str, line: str, log: logging.Logger, now: float) -> None:
        """Count a refused line and log it: a reason's first at once, another a minute later, then fewer."""
        self[reason] += 1
        self._in_a_row += 1
        hint = hint_for(reason, line)
        self._last = (reason, f": {hint}" if hint else "", now)
        due, pause = self._next.get(reason, (now, 0.0))
        if now >= due:
            pause = _SHORTEST if now > due + _LONGEST else min(max(_SHORTEST, 2 * pause), _LONGEST)
            self._next[reason] = (now + pause, pause)
            said = f"; {hint}" if hint else ""
            log.warning(
                "%s is refused (%s, %d so far): %.80a%s", self._what, reason, self[reason], line, said
            )

    def take(self, now: float) -> None:
        """Note that one was taken."""
        self._in_a_row = 0
        self._taken_at = now

    def count_missing(self, missing: int, line: str, log: logging.Logger) -> None:
        """Count the values that a line has a place for and does not give; the first time is logged."""
        if missing:
            if not self[_MISSING]:
                log.warning("a value is missing in %s, and its place stays empty: %.80a", self._what, line)
            self[_MISSING] += missing

    def misdate(self, who: str, log: logging.Logger, count: int = 1) -> None:
        """Count the readings that have the time of their arrival; the first time is logged."""
        if not self[_MISDATED]:
            log.warning(
                "%.80s gives a time that cannot be, and its reading has that of its arrival: "
                "seconds since 1970, or ISO 8601, expected, neither ahead nor ten years old",
                who,
            )
        self[_MISDATED] += count

    def count_missed(self, frame: Frame) -> None:
        """Count the messages of a node that were not received.

        A node counts its messages in the value called MSG. The same number again is a repetition. A smaller
        one shows that the node has restarted, and what was missed before is forgotten.
        """
        if not frame.names:
            return
        named = zip(frame.names, frame.values, strict=False)
        number = next((value for name, value in named if name.lower() == "msg"), None)
        if number is None:
            return
        last = self._numbers.get(frame.node, number)
        self._numbers[frame.node] = number
        key = f"message of node {frame.node} missed"
        if number < last:
            self.pop(key, None)
        elif number > last + 1:
            self[key] += int(number - last) - 1

    def troubles(self, now: float) -> list[str]:
        """Return a line if everything in the last ten minutes was refused, otherwise none."""
        reason, hint, at = self._last
        if self._in_a_row < _ALL or now - at > _RECENT or now - self._taken_at < _SINCE:
            return []
        every = self._what.removeprefix("a ")
        return [f"every {every} is refused: {self._in_a_row} in a row, the last one as {reason}{hint}"]


@dataclass(kw_only=True)
class CountingListener(Listener):
    """A listener that counts in `counts` what it refuses, and reports that."""

    COUNTED: ClassVar = "a line"

    def __post_init__(self) -> None:
        self.counts = Tally(self.COUNTED)

    def health(self) -> Health:
        """Return how often what was refused or missing, and whether everything was refused lately."""
        return Health(dict(self.counts), self.counts.troubles(self.clock.monotonic()))

    def refuse(self, reason: str, line: str) -> None:
        """Count what is refused; `line` is what the log may show of it."""
        self.counts.refuse(reason, line, self.log, self.clock.monotonic())

    def frame(self, said: DataLine | Ignored | Rejected, stamp: Stamp, line: str) -> Frame | None:
        """Return the frame of a decoded line, None if it has none; `line` is what the log may show."""
        if isinstance(said, Ignored):
            return None
        if not isinstance(said, Rejected):
            self.counts.count_missing(said.missing, line, self.log)
            frame = said.frame(self.nodes, stamp, self.name)
            if not isinstance(frame, Rejected):
                self.counts.take(self.clock.monotonic())
                return frame
            said = frame
        self.refuse(said.reason, line)
        return None
