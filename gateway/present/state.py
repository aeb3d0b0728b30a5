"""The present: the last frame of each node, and what is known of its values."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from gateway.nodes import Nodes
from gateway.plugin import Latest
from gateway.present.catalogue import Catalogue
from gateway.present.tracks import Heard, Tracks
from gateway.present.values import Value, carry_forward, lifetime

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from gateway.flag import Flag
    from gateway.frame import Frame
    from gateway.plugin import Listener, Series
    from gateway.present.status import Status

_WEIGHT = 0.1
"""The weight of one more pause against those before it."""
_AT_ONCE_S = 1.0
"""Frames of a node within that many seconds came at once, as from a device that posts in batches."""
_BESIDE_S = 60.0
"""Seconds for which a frame is kept beside the last one; who looks at the present may be late."""
_BESIDE = 100
"""Frames that are kept beside the last one of a node: some 14 MB for 256 nodes."""
_NODES = 256
"""Nodes of one listener that are remembered; the devices of a network may call themselves anything."""


@dataclass
class _Pace:
    """How often frames of a node come: `usual` seconds apart, None before the second time, `each` at once."""

    begun: float
    usual: float | None = None
    at_once: int = 1
    each: float = 1.0

    def note(self, now: float) -> None:
        pause = now - self.begun
        if pause < _AT_ONCE_S:
            self.at_once += 1
        elif self.usual is None:
            self.begun, self.usual, self.each, self.at_once = now, pause, self.at_once, 1
        else:
            self.usual += _WEIGHT * (pause - self.usual)
            self.each += _WEIGHT * (self.at_once - self.each)
            self.begun, self.at_once = now, 1


class LatestFrames:
    """The last frame of each node of one listener, the newest at the end; any thread may call it."""

    def __init__(self, noted: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, Latest] = {}
        self._paces: dict[str, _Pace] = {}
        self._tracks = Tracks()
        self._noted = noted

    def note(self, frame: Frame, now: float) -> None:
        """Note a frame. If there are too many nodes, the one silent for longest is forgotten."""
        with self._lock:
            before = self._nodes.pop(frame.node, None)
            if before:
                self._paces[frame.node].note(now)
            else:
                self._paces[frame.node] = _Pace(now)
            self._nodes[frame.node] = _next(before, frame, now, self._paces[frame.node].usual)
            if len(self._nodes) > _NODES:
                oldest = next(iter(self._nodes))
                del self._nodes[oldest], self._paces[oldest]
            self._tracks.note(frame, now)
        self._noted()

    def nodes(self) -> dict[str, Latest]:
        """Return what is known of each node."""
        with self._lock:
            return dict(self._nodes)

    def heard(self, now: float) -> list[Heard]:
        """Return what is known of each index."""
        with self._lock:
            return list(self._tracks.heard(now))

    def rate(self, now: float) -> float:
        """Return how many frames a minute come of the nodes that are not silent."""
        with self._lock:
            paces = [self._paces[node] for node, latest in self._nodes.items() if not latest.is_silent(now)]
            return sum(60 * pace.each / pace.usual for pace in paces if pace.usual)


def _next(before: Latest | None, frame: Frame, now: float, usual: float | None) -> Latest:
    before = before or Latest(frame, now)
    beside = _beside(before, frame, now)
    if frame.items():
        return Latest(frame, now, usual, before.frames + 1, frame, now, beside)
    return replace(before, frame=frame, at=now, usual=usual, beside=beside)


def _beside(before: Latest, frame: Frame, now: float) -> tuple[tuple[float, Frame], ...]:
    """Return the earlier frames with other values, as from a device that sends each value on its own."""
    names = {*frame.names}
    kept = [
        (at, each)
        for at, each in (*before.beside, (before.at, before.frame))
        if now - at < _BESIDE_S
        and (each.by_name != frame.by_name or (frame.by_name and not names.issuperset(each.names)))
    ]
    return tuple(kept[-_BESIDE:])


class State:
    """The present of the running gateway, kept by the daemon; any thread may read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: dict[str, LatestFrames] = {}
        self._catalogue = Catalogue({}, Nodes())
        self._listeners: Mapping[str, Listener] = {}
        self._flags: WeakSet[Flag] = WeakSet()
        self._status: Callable[[], Status]

    def by_name(self) -> dict[str, Callable[[], Any]]:
        """Return what commands may ask, by the names of their questions."""
        return {"values": lambda: {"values": [asdict(value) for value in self.values()]}}

    def configure(self, listeners: Mapping[str, Listener], nodes: Nodes) -> None:
        """Follow the configuration: the frames of listeners that it does not have are forgotten."""
        catalogue = Catalogue(listeners, nodes)
        with self._lock:
            self._catalogue, self._listeners = catalogue, listeners
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
        """Return what people call a node, "" if [nodes] does not say."""
        return self._catalogue.node_names.get(node, "")

    def reads_from(self, source: str, place: str) -> bool:
        """Tell whether a listener reads what is published at a place."""
        listener = self._listeners.get(source)
        return listener is not None and listener.reads_from(place)

    def values(self) -> list[Value]:
        """Return each value as it is now, sorted, including what is configured but not heard yet."""
        now = time.monotonic()
        with self._lock:
            frames = dict(self._frames)
        values: dict[tuple[str, str, int | str | None], Value] = {}
        for source, each in frames.items():
            nodes = each.nodes()
            for heard in each.heard(now):
                usual = nodes[heard.frame.node].usual if heard.frame.node in nodes else None
                values[source, heard.frame.node, heard.key] = self._value(source, heard, usual, now)
        for source, series in self._catalogue.items():
            key = (source, series.node, series.index or series.name)
            if source and series.claimed and key[2] and key not in values:
                values[key] = Value(
                    source=source,
                    node=series.node,
                    node_name=self.node_name(series.node),
                    index=series.index,
                    label=series.label or series.name,
                    unit=series.unit,
                    kind=series.kind,
                )
        return sorted(values.values(), key=lambda value: value.place)

    def _value(self, source: str, heard: Heard, usual: float | None, now: float) -> Value:
        frame = heard.frame
        series = self._catalogue.of(frame, heard.index)
        stands = lifetime(series.interval, usual)
        age = None if heard.valued_at is None else max(0.0, now - heard.valued_at)
        dummy = not series.claimed and heard.valued is None
        is_now = frame.values[heard.index - 1] is not None and age is not None and age <= stands
        return Value(
            source=source,
            node=frame.node,
            node_name=self.node_name(frame.node),
            index=None if frame.by_name else heard.index,
            label=series.label,
            unit="" if dummy else series.unit,
            kind=series.kind,
            value=heard.valued if is_now else None,
            last=heard.valued,
            age=None if age is None else round(age, 1),
            rssi=frame.rssi,
            dummy=dummy,
            hour=carry_forward(heard.minutes, stands),
        )

    def status(self) -> Status:
        """Return the gateway's status; OSError if the queue's disk cannot be read."""
        return self._status()

    def report_with(self, status: Callable[[], Status]) -> None:
        """Answer `status` with what this returns."""
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
