"""What was refused or passed over, counted by its name, and told without flooding the log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

_PAUSE = 60.0
_ALL = 3
"""How many refusals in a row are no accident."""
_LATELY = 3600.0
"""Seconds after which they are past: who knocked at a port may never come again."""
_MISSING = "value-missing"


class Tally(Counter[str]):
    """Counts lines, or `what` it is, by kind or reason; of the refused ones it tells, but floods no log."""

    def __init__(self, what: str = "a line") -> None:
        super().__init__()
        self._what = what
        self._next: dict[str, float] = {}
        self._in_a_row = 0
        self._last = ("", 0.0)

    @property
    def faults(self) -> dict[str, int]:
        """How often what was refused, by reason, and how many values were missing in what was not."""
        return {reason: self[reason] for reason in [*self._next, _MISSING] if self[reason]}

    def refuse(self, reason: str, line: str, log: logging.Logger, now: float) -> None:
        """Count a refused line and log it: a reason's first at once, then at most one a minute of `now`."""
        self[reason] += 1
        self._in_a_row += 1
        self._last = (reason, now)
        if now >= self._next.get(reason, now):
            self._next[reason] = now + _PAUSE
            log.warning("%s is refused (%s, %d so far): %.80a", self._what, reason, self[reason], line)

    def take(self) -> None:
        """Note that one was taken."""
        self._in_a_row = 0

    def count_missing(self, values: Iterable[float | None], line: str, log: logging.Logger) -> None:
        """Count the values that a line has a place for and does not give; the first is told."""
        if missing := sum(value is None for value in values):
            if not self[_MISSING]:
                log.warning("a value is missing in %s, and its place stays empty: %.80a", self._what, line)
            self[_MISSING] += missing

    def ailing(self, now: float) -> list[str]:
        """Return a line where all of late were refused, none otherwise."""
        reason, at = self._last
        if self._in_a_row < _ALL or now - at > _LATELY:
            return []
        every = self._what.removeprefix("a ")
        return [f"every {every} is refused: {self._in_a_row} in a row, the last one as {reason}"]
