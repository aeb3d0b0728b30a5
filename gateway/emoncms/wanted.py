"""Which inputs of an Emoncms are ours: what the configuration names, and what a running gateway has heard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from gateway import control
from gateway.dispatchers.emoncms import keys_of
from gateway.exchange import from_object
from gateway.frame import Frame, Stamp
from gateway.paths import find_socket, find_state_dir

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gateway.config import Configuration
    from gateway.dispatchers.emoncms import Keys
    from gateway.emoncms.account import Input
    from gateway.plugin import Listener

_NEVER = Stamp(0.0, "", 0.0)


@dataclass(frozen=True)
class Wanted:
    """An input that is ours, by node and key; `interval` is in seconds, 0 where values come at any time."""

    node: str
    key: str
    label: str = ""
    interval: float = 0.0

    @property
    def name(self) -> str:
        """Its key, and its label where that says more."""
        return self.key if self.label in ("", self.key) else f"{self.key} {self.label}"

    def __str__(self) -> str:
        return f"node {self.node}, {self.name}"


class Heard(NamedTuple):
    """What a running gateway knows: each node's last frame, and the nodes that each dispatcher is refused."""

    frames: Sequence[Frame] = ()
    refused: Mapping[str, frozenset[str]] = MappingProxyType({})


def heard(configuration: Configuration) -> Heard:
    """Return what the gateway on this file knows; nothing where none answers.

    Raises PermissionError where a gateway may not be asked by this user.
    """
    gateway = configuration.gateway
    path = find_socket(gateway.socket, find_state_dir(gateway.state_dir))
    try:
        status = control.ask(path, "status")
        if Path(status["file"]).resolve() != configuration.path.resolve():
            return Heard()
        by_listener = control.ask(path, "nodes")
        frames = [from_object(frame) for frames in by_listener.values() for frame in frames]
        refused = {
            name: frozenset(about.get("refused_nodes", ()))
            for name, about in status.get("dispatchers", {}).items()
        }
        return Heard(frames, refused)
    except PermissionError:
        raise PermissionError(
            f"{path}: a gateway may be running, but this user may not ask it: sudo"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Heard()


def find_wanted(
    configuration: Configuration, frames: Sequence[Frame], keys: Keys, inputs: Iterable[Input]
) -> list[Wanted]:
    """Return what is ours: `frames` are those that were heard, `inputs` those that the server has."""
    there: dict[str, set[str]] = {}
    for each in inputs:
        there.setdefault(each.node, set()).add(each.key)
    listeners = configuration.listeners
    fixed = [frame for name, listener in listeners.items() for frame in _claimed(name, listener)]
    nodes = {frame.node for frame in fixed}
    free = [frame for frame in frames if frame.node not in nodes]
    nodes |= {frame.node for frame in free}
    named = [frame for frame in _decoded(configuration, there) if frame.node not in nodes]
    found: dict[tuple[str, str], Wanted] = {}
    for frame in (*fixed, *free, *named):
        interval = _interval(listeners.get(frame.source))
        for index, (key, value) in enumerate(zip(keys_of(frame, keys), frame.values, strict=True), 1):
            if value is not None:
                found.setdefault((frame.node, key), Wanted(frame.node, key, frame.name(index), interval))
    # What they were heard with last, if at all, need not be all that they have.
    for node, source in ({frame.node: frame.source for frame in free} | _whole(listeners)).items():
        for key in sorted(there.get(node, ())):
            found.setdefault((node, key), Wanted(node, key, "", _interval(listeners.get(source))))
    return list(found.values())


def _claimed(name: str, listener: Listener) -> Iterator[Frame]:
    """Yield, for each node that the configuration fixes, a frame as its listener makes them."""
    labels = listener.labels()
    for node, claimed in listener.claims().items():
        if claimed is not None:
            yield _frame(node, claimed, labels.get(node, {}), name)


def _whole(listeners: Mapping[str, Listener]) -> dict[str, str]:
    """Return the nodes of which all is ours, whatever it is, and the listener of each."""
    return {
        node: name
        for name, listener in listeners.items()
        for node, claimed in listener.claims().items()
        if claimed is None
    }


def _interval(listener: Listener | None) -> float:
    return float(getattr(listener, "interval", 0.0))


def _frame(node: str, indices: Iterable[int], labels: Mapping[int, str], source: str) -> Frame:
    highest = max((*indices, *labels), default=0)
    values = tuple(0.0 if index in indices else None for index in range(1, highest + 1))
    names = tuple(labels.get(index, "") for index in range(1, highest + 1))
    return Frame(node, values, _NEVER, names, source=source)


def _decoded(configuration: Configuration, there: Mapping[str, set[str]]) -> Iterator[Frame]:
    """Yield a frame for each section of [nodes]; its values go by name where the server has them so."""
    for node, decoder in configuration.nodes.decoders.items():
        labels = {index: name for index, (name, *_) in enumerate(decoder.described(), 1)}
        frame = _frame(node, labels, labels, "")
        keys = there.get(node, set())
        by_name = not keys.intersection(map(str, labels)) and bool(keys.intersection(labels.values()))
        yield replace(frame, by_name=by_name)
