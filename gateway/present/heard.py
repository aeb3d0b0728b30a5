"""Which nodes a listener has heard of, how often they speak, and which have fallen silent."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.frame import Frame

_MISSED = 3
"""How many of its usual pauses a node may let pass."""
_LEAST = 60.0
"""Seconds of silence that mean nothing."""
_KNOWN = 10
"""Frames after which a pause may be called usual: a doorbell has none after the second ring."""
_WEIGHT = 0.1
"""What one more pause counts beside those before it."""
_NODES = 256
"""Nodes of one listener that are remembered; the devices of a network may call themselves anything."""


@dataclass
class Heard:
    """A node: how many frames came of it, the last one, and when, on the monotonic clock.

    `usual` is the pause between two of them in seconds, None before the second.
    """

    frames: int
    frame: Frame
    last: float
    usual: float | None = None

    def is_silent(self, now: float) -> bool:
        """Tell whether it is heard less than it used to be."""
        if self.usual is None or self.frames < _KNOWN:
            return False
        return now - self.last > max(_MISSED * self.usual, _LEAST)


class Roll:
    """The nodes that have been heard, the last one at the end; one thread notes, others may look."""

    def __init__(self) -> None:
        self._nodes: dict[str, Heard] = {}

    def note(self, frame: Frame, now: float) -> None:
        """Take note of a frame; of too many nodes the one that is silent for longest is forgotten."""
        heard = self._nodes.pop(frame.node, None)
        if heard is None:
            self._nodes[frame.node] = Heard(1, frame, now)
            if len(self._nodes) > _NODES:
                del self._nodes[next(iter(self._nodes))]
            return
        pause = now - heard.last
        usual = pause if heard.usual is None else heard.usual + _WEIGHT * (pause - heard.usual)
        self._nodes[frame.node] = Heard(heard.frames + 1, frame, now, usual)

    def nodes(self) -> dict[str, Heard]:
        """Return what is known of each node."""
        return dict(self._nodes)

    def rate(self, now: float) -> float:
        """Return how many frames a minute come of the nodes that are not silent."""
        return sum(
            60 / heard.usual for heard in self.nodes().values() if heard.usual and not heard.is_silent(now)
        )
