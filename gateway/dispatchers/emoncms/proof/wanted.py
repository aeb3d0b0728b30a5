"""Which inputs of an Emoncms are ours, and which of them get values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.conf.indices import claims
from gateway.dispatchers.emoncms.encoding import as_kept, keys_of
from gateway.dispatchers.emoncms.proof.records import feed_unit
from gateway.frame import Frame, Stamp
from gateway.present.catalogue import Catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gateway.conf.config import Configuration
    from gateway.dispatchers.emoncms.encoding import Keys
    from gateway.dispatchers.emoncms.proof.records import Input
    from gateway.plugin import Listener

_NEVER = Stamp(0.0, "", 0.0)
_AT_REST = 3600.0
"""Seconds that an input may be older than the newest one of its node and still count as in use."""


@dataclass(frozen=True)
class Wanted:
    """An input that is ours, by node and key.

    `interval` is in seconds, 0 where values come at any time; `unit` is "" if nobody says what it is.
    """

    node: str
    key: str
    label: str = ""
    interval: float = 0.0
    unit: str = ""

    @property
    def name(self) -> str:
        """Its key, and its label where that is another text."""
        return self.key if self.label in ("", self.key) else f"{self.key} {self.label}"

    def __str__(self) -> str:
        return f"node {self.node}, {self.name}"


def find_wanted(
    configuration: Configuration, frames: Sequence[Frame], keys: Keys, inputs: Iterable[Input]
) -> list[Wanted]:
    """Return our inputs: `frames` are those that were heard, `inputs` those that the server has.

    Those are the ones that values are sent to, not older inputs of our nodes, such as indices where keys are
    names now.
    """
    there: dict[str, dict[str, Input]] = {}
    for each in inputs:
        there.setdefault(each.node, {})[each.key] = each
    listeners = configuration.listeners
    fixed = [frame for name, listener in listeners.items() for frame in _claimed(name, listener)]
    nodes = {frame.node for frame in fixed}
    free = [frame for frame in frames if frame.node not in nodes]
    nodes |= {frame.node for frame in free}
    named = [frame for frame in _decoded(configuration, there) if frame.node not in nodes]
    found: dict[tuple[str, str], Wanted] = {}
    catalogue, described = Catalogue(listeners, configuration.nodes), _described(configuration)
    for frame in (*fixed, *free, *named):
        for index, (key, value) in enumerate(zip(keys_of(frame, keys), frame.values, strict=True), 1):
            if value is not None:
                series = catalogue.of(frame, index)
                wanted = Wanted(frame.node, key, series.label, series.interval, feed_unit(series.unit))
                found.setdefault((frame.node, key), wanted)
    # Their last frame, if any, may not have all their values.
    heard_last = {frame.node: frame for frame in free}
    whole = {
        series.node: series.interval
        for _, series in catalogue.items()
        if series.index is None and series.claimed
    }
    for node in dict.fromkeys((*heard_last, *whole)):
        interval = whole.get(node, 0.0)
        for key in _kept_up(there.get(node, {}), heard_last.get(node), keys):
            label, unit = described.get((node, key), ("", ""))
            found.setdefault((node, key), Wanted(node, key, label, interval, unit))
    return list(found.values())


def unused(
    configuration: Configuration, frames: Iterable[Frame], wanted: Iterable[Wanted], inputs: Iterable[Input]
) -> list[Input]:
    """Return our inputs to which no values are sent, or no longer.

    If a node was heard, or a listener claims it, all its inputs are ours. If only [nodes] has it, those
    inputs are ours that have the index or name of one of its values.
    """
    ours = {frame.node for frame in frames}
    ours |= {node for listener in configuration.listeners.values() for node in claims(listener.catalogue())}
    named = _described(configuration).keys()
    used = {(each.node, each.key) for each in wanted}
    return [
        each
        for each in inputs
        if (each.node in ours or (each.node, each.key) in named) and (each.node, each.key) not in used
    ]


def _kept_up(there: Mapping[str, Input], frame: Frame | None, keys: Keys) -> Iterator[str]:
    """Yield the keys of a node that values come to, by its last frame, if any, and by their own times.

    Where positions carry the identity a frame has a key for each of them, and a longer one has more indices.
    Where names do, or no frame is known, an input no longer gets values if its last one is much older than
    the newest of the node.
    """
    by_position = frame is not None and not frame.by_name
    of_frame = set() if frame is None else set(keys_of(frame, keys))
    length = 0 if frame is None else len(frame.values)
    newest = max((each.time or 0.0 for each in there.values()), default=0.0)
    for key, each in sorted(there.items()):
        if key in of_frame:
            yield key
        elif by_position:
            if key.isdecimal() and int(key[:9]) > length:
                yield key
        elif each.time is not None and newest - each.time <= _AT_REST:
            yield key


def _described(configuration: Configuration) -> dict[tuple[str, str], tuple[str, str]]:
    """Return label and unit that [nodes] has for the values of a node, by each key that these may have."""
    described = [series for _, series in Catalogue({}, configuration.nodes).items()]
    return {
        (series.node, key): (series.label, feed_unit(series.unit))
        for series in reversed(described)  # of two with the same name the first counts
        for key in (str(series.index), series.name, as_kept(series.name))
    }


def _claimed(name: str, listener: Listener) -> Iterator[Frame]:
    """Yield a frame as its listener makes it, for each node that the configuration fixes."""
    for node, indices in claims(listener.catalogue()).items():
        if indices is not None:
            yield _frame(node, indices, {index: each.label for index, each in indices.items()}, name)


def _frame(node: str, indices: Iterable[int], labels: Mapping[int, str], source: str) -> Frame:
    highest = max((*indices, *labels), default=0)
    values = tuple(0.0 if index in indices else None for index in range(1, highest + 1))
    names = tuple(labels.get(index, "") for index in range(1, highest + 1))
    return Frame(node, values, _NEVER, names, source=source)


def _decoded(configuration: Configuration, there: Mapping[str, Mapping[str, Input]]) -> Iterator[Frame]:
    """Yield a frame for each section of [nodes]; by name where the server has its values by name."""
    for node, decoder in configuration.nodes.decoders.items():
        labels = {index: name for index, (name, *_) in enumerate(decoder.described(), 1)}
        frame = _frame(node, labels, labels, "")
        keys = there.get(node, {}).keys()
        by_name = not keys & set(map(str, labels)) and bool(keys & set(labels.values()))
        yield replace(frame, by_name=by_name)
