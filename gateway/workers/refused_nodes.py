"""The nodes whose frames a far end refuses, and when each is tried again."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping

    from gateway.frame import Frame
    from gateway.plugin import NodeRefused

Numbered = list[tuple[int, "Frame"]]
"""Frames with their ids, in order."""

Aside = list[tuple[int, "Frame", str]]
"""Frames to set aside, with their ids and the reason for each."""

TRY_EVERY = 3600.0
"""Seconds after which one more frame of a refused node is sent."""

_FORGET = 86400.0
"""Seconds without a frame after which a node is forgotten; if it comes back, it is refused again."""

_MOST = 256
"""The most nodes that are remembered: other people's senders may use any name."""

_IN_A_ROW = 10
"""How many frames of a node are refused in a row before it is a trouble, not single bad frames."""

_REASON = re.compile(r"node (.*?) is refused: (.*)", re.DOTALL)
"""Why a frame is set aside; kept in the queue, so that the next run knows of the node."""


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
    """The refused nodes of one dispatcher; `now` is of the monotonic clock. Any thread may call it."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._nodes: dict[str, RefusedNode] = {}

    def recall(self, reasons: Mapping[str, int], now: float) -> None:
        """Go on with the nodes of an earlier run; each is tried at once.

        `reasons` are those for which frames are set aside, with the number of frames of each.
        """
        found = [(match, frames) for why, frames in reasons.items() if (match := _REASON.fullmatch(why))]
        with self._lock:
            for (name, reason), frames in [(match.groups(), frames) for match, frames in found[:_MOST]]:
                before = self._nodes[name].frames if name in self._nodes else 0
                self._nodes[name] = RefusedNode(reason, before + frames, now, now)

    def known(self, now: float) -> dict[str, RefusedNode]:
        """Return those that are refused, by name."""
        with self._lock:
            return {name: node for name, node in self._nodes.items() if now < node.last + _FORGET}

    def choose(self, window: Numbered, now: float) -> tuple[Numbered, Aside, int]:
        """Return which of these frames to send, which to set aside unsent, and the id up to which that goes.

        It goes up to the first frame of a refused node that is due to be tried, which is then sent alone.
        """
        frames, aside, upto = Numbered(), Aside(), 0
        for number, frame in window:
            node = self._nodes.get(frame.node)
            is_due = node is not None and now >= node.next_try
            if is_due and upto:
                break
            if node is None or is_due:
                frames.append((number, frame))
            else:
                aside.append((number, frame, f"node {frame.node} is refused: {node.reason}"))
            upto = number
            if is_due:
                break
        return frames, aside, upto

    def refused(self, name: str, reason: str, now: float) -> None:
        """Note that a frame of a node was refused, and log it if that is new."""
        known = self.known(now)
        with self._lock:
            self._nodes = known
            before = known.pop(name, None)
            known[name] = RefusedNode(reason, before.frames if before else 0, now, now + TRY_EVERY)
            if len(known) > _MOST:
                del known[next(iter(known))]
        if before is None:
            self._log.error(
                "node %s is refused, and its frames are set aside but for one an hour: %s; once it is taken, "
                "oemgateway queue retry sends them",
                name,
                reason,
            )

    def set_aside(self, names: Iterable[str], now: float) -> None:
        """Count, for each of these nodes, a frame that was set aside."""
        with self._lock:
            for name in names:
                if node := self._nodes.pop(name, None):
                    self._nodes[name] = replace(node, frames=node.frames + 1, last=now)

    def taken(self, names: Iterable[str]) -> None:
        """Forget these nodes, as a frame of each was taken; those that were refused are logged."""
        for name in names:
            with self._lock:
                node = self._nodes.pop(name, None)
            if node:
                rest = f"; {node.frames} of its frames wait for oemgateway queue retry" if node.frames else ""
                self._log.warning("node %s is taken now%s", name, rest)

    def try_now(self) -> None:
        """Try the next frame of each node: those that were set aside are sent again, or dropped."""
        with self._lock:
            self._nodes = {name: replace(node, frames=0, next_try=0.0) for name, node in self._nodes.items()}


class _Refusals(NamedTuple):
    """Why the last frame of a node was refused, how many were, one after another, and when the last was."""

    reason: str
    frames: int
    last: float


class RefusedInARow:
    """How many frames of each node were refused one after another; times are of the monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, _Refusals] = {}

    def refused(self, name: str, reason: str, now: float) -> None:
        """Count a frame of a node."""
        with self._lock:
            frames = self._nodes.pop(name).frames if name in self._nodes else 0
            self._nodes[name] = _Refusals(reason, frames + 1, now)
            if len(self._nodes) > _MOST:
                del self._nodes[next(iter(self._nodes))]

    def taken(self, names: Iterable[str]) -> None:
        """Forget these nodes, as a frame of each was taken."""
        with self._lock:
            for name in names:
                self._nodes.pop(name, None)

    def trouble(self, now: float) -> str:
        """Say which nodes the far end seems to refuse now, "" if there are none."""
        with self._lock:
            found = [
                (name, row)
                for name, row in self._nodes.items()
                if row.frames >= _IN_A_ROW and now < row.last + _FORGET
            ]
        if not found:
            return ""
        name, row = found[0]
        others = f", and of {len(found) - 1} more" if len(found) > 1 else ""
        return f"the last {row.frames} frames of node {name}{others} were refused and set aside: {row.reason}"


def refused_node(nodes: set[str], refusal: NodeRefused) -> str:
    """Return which of the nodes of a batch is refused, "" if that is not known.

    The far end may call it something else, or cut its name short.
    """
    return refusal.node if refusal.node in nodes else nodes.pop() if len(nodes) == 1 else ""
