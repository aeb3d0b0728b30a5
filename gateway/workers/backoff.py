"""How long to wait between two tries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

APART, _LONGEST_APART = 1.0, 5.0
"""Seconds between two checks of what a far end has stored, at least and at most."""

_SHORTEST = 2 / 3
"""The shortest pause as a fraction of the longest: many gateways must not try at the same moment."""

_LONGEST_PAUSE, _LONGEST_PAUSE_LATER = 15.0, 30.0
"""Seconds between two tries of a dispatcher in the first ten minutes of an outage, and later, at most.

Once the far end is back the first frame is there within that time, and a thousand gateways together make
about 80, later 40 requests a second.
"""
_LATER = 600.0
"""Seconds after which an outage is a long one."""


def longest_pause(failing_for: float) -> float:
    """Return the longest pause of a dispatcher that has failed for so many seconds."""
    return _LONGEST_PAUSE if failing_for < _LATER else _LONGEST_PAUSE_LATER


def between_looks(waited: float, stored: int) -> float:
    """Return the seconds between two checks of a far end that may still be storing.

    One that showed so many frames after so many seconds needs about their ratio for the next one.
    """
    return min(max(APART, 2 * waited / stored if stored else 0.0), _LONGEST_APART)


class Backoff:
    """Pauses that double from 1 s up to a limit, each cut at random by up to a third."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._tries = 0

    def next(self, limit: float) -> float:
        """Return the next pause in seconds."""
        pause = min(limit, 2.0 ** min(self._tries, 30))
        self._tries += 1
        return self._draw.uniform(_SHORTEST * pause, pause)

    def reset(self) -> None:
        """Start at 1 s again."""
        self._tries = 0
