"""What is known of each value: from the listeners, and from [nodes]."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.listener import Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.frame import Frame
    from gateway.listener import Listener
    from gateway.nodes import Nodes

_KINDS = {
    "°c": "temperature",
    "c": "temperature",
    "w": "power",
    "wh": "energy",
    "kwh": "energy",
    "v": "voltage",
    "a": "current",
    "hz": "frequency",
    "va": "apparent power",
    "hpa": "pressure",
}
"""The quantity that a unit measures."""


class Catalogue:
    """The series of a configuration, by the listener that they come from; those of [nodes] have none ("").

    `sources` are the names of all listeners, and `node_names` what people call the nodes.
    """

    def __init__(self, listeners: Mapping[str, Listener], nodes: Nodes) -> None:
        self.sources = frozenset(listeners)
        self.node_names = {node: decoder.name for node, decoder in nodes.decoders.items() if decoder.name}
        self._by_source = {name: list(each.catalogue()) for name, each in listeners.items()}
        self._by_source[""] = [
            Series(node=node, index=index, name=name, label=name, unit=unit, kind=_kind(unit), claimed=False)
            for node, decoder in nodes.decoders.items()
            for index, (name, _, _, unit) in enumerate(decoder.described(), 1)
        ]
        self._found: dict[tuple[str, str, int | str | None], Series] = {
            (source, series.node, key): series
            for source, catalogue in self._by_source.items()
            for series in catalogue
            for key in _keys(series)
        }

    def items(self) -> Iterator[tuple[str, Series]]:
        """Yield each series with the name of its listener."""
        return ((source, series) for source, catalogue in self._by_source.items() for series in catalogue)

    def of(self, frame: Frame, index: int) -> Series:
        """Return what is known of the value at an index of a frame, whether it has one now or not."""
        name = frame.name(index)
        key = name if frame.by_name else index
        whole = Series(node=frame.node)
        node = self._found.get((frame.source, frame.node, None), whole)
        ours = self._found.get((frame.source, frame.node, key), node)
        described = self._found.get(("", frame.node, key), whole)
        unit = ours.unit or described.unit
        return replace(
            ours,
            index=index,
            name=name if frame.by_name else "",
            label=name or ours.label or described.label,
            unit=unit,
            kind=ours.kind or _kind(unit),
            interval=ours.interval or node.interval,
        )


def _kind(unit: str) -> str:
    return _KINDS.get(unit.lower(), "")


def _keys(series: Series) -> list[int | str | None]:
    """Return by what a series is found: index, name, or None for a whole node."""
    return [key for key in (series.index, series.name) if key] or [None]
