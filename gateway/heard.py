"""Which nodes a listener has heard of, how often they speak, and which have fallen silent."""

from __future__ import annotations

from dataclasses import dataclass

_MISSED = 3
"""How many of its usual pauses a node may let pass."""
_LEAST = 60.0
"""Seconds of silence that mean nothing."""
_WEIGHT = 0.1
"""What one more pause counts beside those before it."""


@dataclass
class Heard:
    """A node: how many frames came of it, the last at a second of the monotonic clock.

    `usual` is the pause between two of them in seconds, None before the second.
    """

    frames: int
    last: float
    usual: float | None = None

    def is_silent(self, now: float) -> bool:
        """Tell whether it is heard less than it used to be."""
        return self.usual is not None and now - self.last > max(_MISSED * self.usual, _LEAST)


class Roll:
    """The nodes that have been heard; one thread notes, others may look."""

    def __init__(self) -> None:
        self._nodes: dict[str, Heard] = {}

    def note(self, node: str, now: float) -> None:
        """Take note of a frame of this node."""
        heard = self._nodes.get(node)
        if heard is None:
            self._nodes[node] = Heard(1, now)
            return
        pause = now - heard.last
        usual = pause if heard.usual is None else heard.usual + _WEIGHT * (pause - heard.usual)
        self._nodes[node] = Heard(heard.frames + 1, now, usual)

    def nodes(self) -> dict[str, Heard]:
        """Return what is known of each node."""
        return dict(self._nodes)

    def rate(self, now: float) -> float:
        """Return how many frames a minute come of the nodes that are not silent."""
        return sum(
            60 / heard.usual for heard in self.nodes().values() if heard.usual and not heard.is_silent(now)
        )
