"""The nodes as the core knows them now, each once, whichever listeners its values come from."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.dispatchers.mqtt.state import NodeState
from gateway.mqtt.frames import state_values
from gateway.mqtt.topics import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.frame import Frame
    from gateway.plugin import Latest, Present, Series


def node_states(present: Present, now: float) -> tuple[list[NodeState], set[str]]:
    """Return every node that is configured or was heard, and the listeners that may yet bring others.

    `now` is in seconds that never jump.
    """
    fixed: dict[str, list[tuple[str, Series]]] = defaultdict(list)
    open_sources = set(present.sources())
    for source, series in present.catalogue():
        if source and (series.claimed or series.index):
            open_sources.discard(source)
            fixed[series.node].append((source, series))
    heard: dict[str, list[Latest]] = defaultdict(list)
    for latest in present.latest():
        heard[latest.frame.node].append(latest)
    nodes = dict.fromkeys([*fixed, *heard])
    return [_state(present, node, fixed[node], heard[node], now) for node in nodes], open_sources


def _state(
    present: Present, node: str, fixed: Sequence[tuple[str, Series]], heard: Sequence[Latest], now: float
) -> NodeState:
    newest = max(heard, key=lambda latest: latest.at, default=None)
    frame = None if newest is None else _merged(newest.frame, [latest.frame for latest in heard])
    open_ended = not fixed or any(series.index is None for _, series in fixed)
    values = {key: series for _, series in fixed if series.claimed and (key := _key(series))}
    if newest and frame and open_ended:
        for each in (*(each for _, each in newest.beside), frame):
            values |= {key: present.series(each, at) for at, key in enumerate(state_values(each), 1)}
    intervals = [series.interval for _, series in fixed if series.interval]
    return NodeState(
        node,
        source=fixed[0][0] if fixed else frame.source if frame else "",
        frame=frame,
        age=max(0.0, now - newest.at) if newest else 0.0,
        beside=[(max(0.0, now - at), each) for at, each in newest.beside] if newest else [],
        usual=newest.usual if newest else None,
        interval=max(intervals, default=None),
        name=present.node_name(node),
        values=values,
        open_ended=open_ended,
    )


def _key(series: Series) -> str:
    """Return the key of a series in the present state, "" if it is the whole node."""
    return str(series.index) if series.index else encode(series.name)


def _merged(newest: Frame, frames: Sequence[Frame]) -> Frame:
    """Return the newest frame with the values of other listeners at the indices that it has nothing at."""
    if len(frames) == 1 or any(frame.by_name for frame in frames):
        return newest
    length = max(len(frame.values) for frame in frames)
    ordered = [newest, *(frame for frame in frames if frame is not newest)]

    def first(index: int) -> float | None:
        values = (frame.values[index] for frame in ordered if index < len(frame.values))
        return next((value for value in values if value is not None), None)

    return replace(newest, values=tuple(map(first, range(length))))
