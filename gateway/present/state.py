"""The present: the last frame of each node, and what is known of its values."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

from gateway.nodes import Nodes
from gateway.plugin import Latest
from gateway.present.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from gateway.flag import Flag
    from gateway.frame import Frame
    from gateway.plugin import Listener, Series
    from gateway.present.status import Status

_WEIGHT = 0.1
"""The weight of one more pause against those before it."""
_NODES = 256
"""Nodes of one listener that are remembered; the devices of a network may call themselves anything."""


class LatestFrames:
    """The last frame of each node of one listener, the newest at the end; any thread may call it."""

    def __init__(self, noted: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, Latest] = {}
        self._noted = noted

    def note(self, frame: Frame, now: float) -> None:
        """Note a frame. Of too many nodes the one that has been silent for longest is forgotten."""
        with self._lock:
            before = self._nodes.pop(frame.node, None)
            self._nodes[frame.node] = _next(before, frame, now)
            if len(self._nodes) > _NODES:
                del self._nodes[next(iter(self._nodes))]
        self._noted()

    def nodes(self) -> dict[str, Latest]:
        """Return what is known of each node."""
        with self._lock:
            return dict(self._nodes)

    def rate(self, now: float) -> float:
        """Return how many frames a minute come of the nodes that are not silent."""
        nodes = self.nodes().values()
        return sum(60 / latest.usual for latest in nodes if latest.usual and not latest.is_silent(now))


def _next(before: Latest | None, frame: Frame, now: float) -> Latest:
    usual = pause = now - before.at if before else None
    if before and before.usual is not None and pause is not None:
        usual = before.usual + _WEIGHT * (pause - before.usual)
    if frame.items():
        return Latest(frame, now, usual, (before.frames if before else 0) + 1, frame, now)
    if before:
        return Latest(frame, now, usual, before.frames, before.valued, before.valued_at)
    return Latest(frame, now)


class State:
    """The present of the running gateway, kept by the daemon; any thread may read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: dict[str, LatestFrames] = {}
        self._catalogue = Catalogue({}, Nodes())
        self._flags: WeakSet[Flag] = WeakSet()
        self._status: Callable[[], Status]

    def configure(self, listeners: Mapping[str, Listener], nodes: Nodes) -> None:
        """Follow the configuration: the frames of listeners that it does not have are forgotten."""
        catalogue = Catalogue(listeners, nodes)
        with self._lock:
            self._catalogue = catalogue
            self._frames = {name: frames for name, frames in self._frames.items() if name in listeners}

    def begin(self, listener: str) -> LatestFrames:
        """Return where the frames of a listener that is started are noted; earlier ones are forgotten."""
        with self._lock:
            self._frames[listener] = LatestFrames(self._noted)
            return self._frames[listener]

    def latest(self) -> list[Latest]:
        """Return the last frame of each node of each listener."""
        with self._lock:
            frames = list(self._frames.values())
        return [latest for each in frames for latest in each.nodes().values()]

    def catalogue(self) -> Iterator[tuple[str, Series]]:
        """Yield each series that the configuration fixes, with the name of its listener, "" for [nodes]."""
        return self._catalogue.items()

    def series(self, frame: Frame, index: int) -> Series:
        """Return what is known of the value at an index of a frame."""
        return self._catalogue.of(frame, index)

    def sources(self) -> Collection[str]:
        """Return the names of all listeners."""
        return self._catalogue.sources

    def node_name(self, node: str) -> str:
        """Return what people call a node, "" where [nodes] does not say."""
        return self._catalogue.node_names.get(node, "")

    def status(self) -> Status:
        """Return how the gateway is; OSError where the queue's disk cannot be read."""
        return self._status()

    def report_with(self, status: Callable[[], Status]) -> None:
        """Have `status` give what this returns."""
        self._status = status

    def subscribe(self, flag: Flag) -> None:
        """Have a flag raised at each new frame, for as long as the caller keeps it."""
        with self._lock:
            self._flags.add(flag)

    def _noted(self) -> None:
        with self._lock:
            flags = list(self._flags)
        for flag in flags:
            flag.set()
