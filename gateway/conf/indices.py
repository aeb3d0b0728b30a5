"""Which listener claims which nodes and indices; which sensor was where, so that no edit moves one unseen.

Dashboards know an input by node and index alone: a sensor that moves to another index continues the history
of the sensor that was there.
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.process.state_files import read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gateway.listener import Listener, Series

log = logging.getLogger("oemgateway")

Place = tuple[str, int]
"""A node and an index."""


def claims(catalogue: Iterable[Series]) -> dict[str, dict[int, Series] | None]:
    """Return what is claimed of each node: its claimed indices, or None for the whole node.

    A node all of whose indices are Dummies is among them, without an index.
    """
    found: dict[str, dict[int, Series] | None] = {}
    for series in catalogue:
        if series.index is None:
            if series.claimed:
                found[series.node] = None
        elif (indices := found.setdefault(series.node, {})) is not None and series.claimed:
            indices[series.index] = series
    return found


def claimed_by_others(listeners: Mapping[str, Listener]) -> dict[str, frozenset[str]]:
    """Return, for each listener by name, the nodes that others claim and it does not."""
    nodes = {name: claims(listener.catalogue()).keys() for name, listener in listeners.items()}
    everyones = frozenset().union(*nodes.values())
    return {name: everyones - ours for name, ours in nodes.items()}


@dataclass(frozen=True)
class Move:
    """A sensor that an edit moves to another place."""

    identity: str
    before: Place
    after: Place

    def __str__(self) -> str:
        (node, index), (there, other) = self.before, self.after
        if there != node:
            moves = f"{self.identity} moves from index {index} of node {node} to {other} of node {there}"
            return f"{moves}: its inputs there are others; to keep them, put it back on node {node}"
        return (
            f"{self.identity} moves from index {index} of node {node} to {other}: to keep its input, put it "
            f"back at index {index}, and Dummy at an index that is then empty"
        )


def identities(catalogues: Iterable[Iterable[Series]]) -> dict[Place, str]:
    """Return the identity at each place that has one, from the catalogues of the listeners."""
    return {
        (series.node, series.index): series.identity
        for catalogue in catalogues
        for series in catalogue
        if series.index and series.identity
    }


def moves(before: Mapping[Place, str], now: Mapping[Place, str]) -> list[Move]:
    """Return the sensors that leave a place and appear at a new one."""
    found = []
    old_places, new_places = _places(before), _places(now)
    for identity in sorted(old_places.keys() & new_places.keys()):
        left = sorted(old_places[identity] - new_places[identity])
        taken = sorted(new_places[identity] - old_places[identity])
        found += [Move(identity, old, new) for old, new in zip(left, taken, strict=False)]
    return found


def replacements(before: Mapping[Place, str], now: Mapping[Place, str]) -> list[str]:
    """Return, in words, which sensors took the place of removed ones."""
    were, are = set(before.values()), set(now.values())
    return [
        f"index {index} of node {node}: {before[node, index]} is replaced by {now[node, index]}"
        for node, index in sorted(before.keys() & now.keys())
        if before[node, index] not in are and now[node, index] not in were
    ]


def _places(identities: Mapping[Place, str]) -> dict[str, set[Place]]:
    """Return the places of each identity."""
    places: dict[str, set[Place]] = {}
    for place, identity in identities.items():
        places.setdefault(identity, set()).add(place)
    return places


class Memory:
    """What was at each place when the daemon last looked, in a file of its state directory.

    A place that becomes empty is remembered until its sensor appears elsewhere or another takes the place.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "indices.json"

    def recall(self) -> dict[Place, str]:
        """Return what was at each place; nothing if that was never noted or cannot be read."""
        with contextlib.suppress(OSError, ValueError):
            return self.read()
        return {}

    def read(self) -> dict[Place, str]:
        """Return what was noted at each place. Raises OSError, or ValueError for a damaged file."""
        try:
            nodes = json.loads(read_file(self._file))
            return {
                (node, int(index)): str(identity)
                for node, indices in nodes.items()
                for index, identity in indices.items()
            }
        except FileNotFoundError:
            return {}
        except (TypeError, AttributeError, RecursionError) as error:
            raise ValueError from error

    def note(self, now: Mapping[Place, str]) -> None:
        """Note what is at each place now. Raises OSError if the file cannot be read or written."""
        before: Mapping[Place, str] = {}
        try:
            before = self.read()
        except ValueError:
            log.warning("%s is damaged: what was at each index until now is not known", self._file)
        present = set(now.values())
        kept = {place: identity for place, identity in before.items() if identity not in present}
        nodes: dict[str, dict[int, str]] = {}
        for (node, index), identity in sorted({**kept, **now}.items()):
            nodes.setdefault(node, {})[index] = identity
        write_file(self._file, json.dumps(nodes, indent=1) + "\n", synced=True)
