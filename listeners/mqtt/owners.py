"""Which gateway has which node, so that the values of two do not mix. Pure."""

from __future__ import annotations

from typing import NamedTuple

from listeners.mqtt.relay import put_last

_WHY = "another gateway has it too; see `prefix`"
"""Why readings of a node are refused, for the log and status."""
_SHOWN_S = 3600.0
"""Seconds for which it is shown that readings of a node were refused."""
_NAMED = 3
"""Refused nodes that are named."""


class Sender(NamedTuple):
    """The topic of a gateway and, where its messages say it, its id."""

    topic: str
    id: str

    @property
    def name(self) -> str:
        """The last part of its topic."""
        return self.topic.rpartition("/")[2]


class Owners:
    """The gateway of each node: the first that came with it, or one with a new id at the same topic.

    A gateway with a new card has a new id, and its old id is `displaced`. Where the old id comes again, two
    gateways use one topic, and that one is refused.
    """

    def __init__(self) -> None:
        self.displaced: dict[Sender, None] = {}
        self._by_node: dict[str, Sender] = {}
        self._refused: dict[str, float] = {}

    def take(self, node: str, sender: Sender) -> bool:
        """Give a node to a gateway; False where another one has it."""
        owner = self._by_node.get(node, sender)
        if owner == sender:
            put_last(self._by_node, node, sender)
            return True
        if owner.topic != sender.topic or sender in self.displaced:
            return False
        put_last(self.displaced, owner, None)
        put_last(self._by_node, node, sender)
        return True

    def refuse(self, node: str, sender: Sender, now: float) -> str:
        """Note that a reading is refused, and return why."""
        what = f"node {node} of {sender.topic}"
        put_last(self._refused, what, now)
        return f"{what}: {_WHY}"

    def troubles(self, now: float) -> list[str]:
        """Return a line for each node whose readings were refused within the last hour, for three at most."""
        lately = [what for what, at in list(self._refused.items()) if now - at < _SHOWN_S]
        return [f"{what} is refused: {_WHY}" for what in lately[-_NAMED:]]
