"""How long to wait between two tries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_SHORTEST = 2 / 3
"""What a pause is at least, as a part of its length: enough that many gateways do not keep in step."""


class Backoff:
    """Pauses that double from 1 s up to a limit, each drawn between two thirds of that and all of it."""

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
