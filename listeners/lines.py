"""Lines of text from a wire: cut out of a byte stream, and counted by name where they are no data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Ignored:
    """A line that is known to carry no data, by its kind."""

    kind: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that should carry data and cannot be trusted, by the reason."""

    reason: str


class Lines:
    """Cuts a byte stream, however it is segmented, into lines that end in LF or CR LF.

    A byte that is not ASCII becomes U+FFFD and harms only its own line. Of a line longer than `limit` bytes
    no more is kept than shows that it is too long, so a stream without line ends fills no memory.
    """

    def __init__(self, limit: int) -> None:
        self._kept = limit + 2  # a CR may follow the longest line, and what follows that CR must show
        self.unfinished = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that these bytes complete; the rest waits in `unfinished`."""
        *lines, rest = (self.unfinished + data).split(b"\n")
        self.unfinished = rest[: self._kept]
        return [line[: self._kept].removesuffix(b"\r").decode("ascii", "replace") for line in lines]


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
