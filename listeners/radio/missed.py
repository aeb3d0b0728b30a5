"""How many messages of a node were never heard, by the count that it sends along."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Missed:
    """Counts by node, from the value called MSG, which is one more in each message that a node sends.

    A message that is heard twice is not missed. A count that falls shows that the node has started anew, and
    what was missed before is no longer told.
    """

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._missed: dict[str, int] = {}

    def hear(self, node: str, names: Sequence[str], values: Sequence[float | None]) -> None:
        """Take note of the values of a message, if a count is among them."""
        number = next(
            (value for name, value in zip(names, values, strict=False) if name.lower() == "msg"), None
        )
        if number is None:
            return
        last = self._last.get(node, number)
        if number < last:
            self._missed.pop(node, None)
        elif number > last + 1:
            self._missed[node] = self._missed.get(node, 0) + int(number - last) - 1
        self._last[node] = number

    def by_node(self) -> dict[str, int]:
        """Return how many messages were missed, of the nodes that missed some."""
        return dict(self._missed)

    def faults(self) -> dict[str, int]:
        """Return the same in the words of a listener's report."""
        return {f"message of node {node} missed": count for node, count in self.by_node().items()}
