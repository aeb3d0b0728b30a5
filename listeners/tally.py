"""What was refused or passed over, counted by its name, and told without flooding the log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

_PAUSE = 60.0


class Tally(Counter[str]):
    """Counts lines, or `what` it is, by kind or reason; of the refused ones it tells, but floods no log."""

    def __init__(self, what: str = "a line") -> None:
        super().__init__()
        self._what = what
        self._next: dict[str, float] = {}

    @property
    def refused(self) -> dict[str, int]:
        """How often what was refused, by reason."""
        return {reason: self[reason] for reason in list(self._next)}

    def refuse(self, reason: str, line: str, log: logging.Logger, now: float) -> None:
        """Count a refused line and log it: a reason's first at once, then at most one a minute of `now`."""
        self[reason] += 1
        if now >= self._next.get(reason, now):
            self._next[reason] = now + _PAUSE
            log.warning("%s is refused (%s, %d so far): %.80a", self._what, reason, self[reason], line)
