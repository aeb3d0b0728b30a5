"""The last time and value of every input that was posted here, and Emoncms' answers to input/get.

An IoTaWatt asks for them before it posts anything, and continues after the latest time in the answer. It
looks for `"time":` and a comma in the text, which must not have spaces. Another gateway asks after a lost
answer.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.frame import Frame

MOST = 20_000
"""Inputs that are remembered; beyond that, the nodes silent for longest are forgotten."""


class Inputs:
    """The inputs by node and by key, which is an index or a name; `asked` says whether anyone wants them."""

    def __init__(self) -> None:
        self.asked = False
        self._nodes: dict[str, dict[str, tuple[int, float]]] = {}  # the longest silent first
        self._count = 0

    def note(self, frames: Iterable[Frame]) -> None:
        """Note the values of frames, in the order in which they were posted."""
        for frame in frames:
            keys = self._nodes.pop(frame.node, {})
            self._count -= len(keys)
            for index, value in frame.items():
                keys[frame.name(index) if frame.by_name else str(index)] = (int(frame.stamp.wall), value)
            if keys:
                self._nodes[frame.node] = keys
                self._count += len(keys)
        while self._count > MOST:
            self._count -= len(self._nodes.pop(next(iter(self._nodes))))

    def answer(self, node: str | None, name: str | None) -> str:
        """Return the JSON of one input, of all inputs of a node (no name), or of all nodes (no node)."""
        self.asked = True
        if node is None:
            # PHP writes an empty array as a list.
            return _json(self.shown() or [])
        keys = self._nodes.get(node)
        if keys is None:
            return _json("Node does not exist")
        if name is None:
            return _json(_shown(keys))
        return _json(_shown(keys)[name] if name in keys else "Node variable does not exist")

    def shown(self) -> dict[str, Any]:
        """Return all inputs, as JSON has them."""
        return {node: _shown(keys) for node, keys in self._nodes.items()}

    def recall(self, kept: Mapping[str, Any]) -> None:
        """Go on with what was `shown` before a restart, which someone asked for; ignore damaged entries."""
        self.asked = True
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError, OverflowError):
            self._nodes = {
                node: {key: (int(each["time"]), float(each["value"])) for key, each in keys.items()}
                for node, keys in kept.items()
            }
            self._count = sum(map(len, self._nodes.values()))


def _shown(keys: dict[str, tuple[int, float]]) -> dict[str, dict[str, object]]:
    return {key: {"time": time, "value": value, "processList": ""} for key, (time, value) in keys.items()}


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
