"""The nodes that a far end takes nothing of, and when each is tried again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

TRY_EVERY = 3600.0
"""Seconds after which one more frame of a refused node is sent."""

_FORGET = 86400.0
"""Seconds without a frame after which a node is forgotten; should it come again, it is refused again."""

_MOST = 256
"""Nodes that are remembered; what is on the air may call itself anything."""


@dataclass(frozen=True)
class RefusedNode:
    """Why a node is refused, how many of its frames were set aside, when the last came and the next is tried.

    Both times are seconds of the monotonic clock.
    """

    reason: str
    frames: int
    last: float
    next_try: float


class RefusedNodes:
    """What one dispatcher knows of them; `now` is by the monotonic clock, and any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, RefusedNode] = {}

    def known(self, now: float) -> dict[str, RefusedNode]:
        """Return those that are refused, by name."""
        with self._lock:
            return {name: node for name, node in self._nodes.items() if now < node.last + _FORGET}

    def why(self, name: str, now: float) -> str:
        """Return why a frame of a node is to be set aside unsent, or ""."""
        node = self._nodes.get(name)
        return node.reason if node and now < node.next_try else ""

    def is_due(self, name: str, now: float) -> bool:
        """Tell whether a frame of a node is to be sent alone, as one that may be refused."""
        node = self._nodes.get(name)
        return node is not None and now >= node.next_try

    def refused(self, name: str, reason: str, now: float) -> bool:
        """Note that a frame of a node was refused; tell whether that is new."""
        known = self.known(now)
        with self._lock:
            self._nodes = known
            before = known.pop(name, None)
            known[name] = RefusedNode(reason, before.frames if before else 0, now, now + TRY_EVERY)
            if len(known) > _MOST:
                del known[next(iter(known))]
            return before is None

    def set_aside(self, name: str, now: float) -> None:
        """Count a frame of a node that was set aside."""
        with self._lock:
            if node := self._nodes.pop(name, None):
                self._nodes[name] = replace(node, frames=node.frames + 1, last=now)

    def taken(self, name: str) -> RefusedNode | None:
        """Forget a node, as a frame of it was taken; return what was known of it."""
        with self._lock:
            return self._nodes.pop(name, None)

    def try_now(self) -> None:
        """Have the next frame of each node tried: those that were set aside are sent again."""
        with self._lock:
            self._nodes = {name: replace(node, frames=0, next_try=0.0) for name, node in self._nodes.items()}
