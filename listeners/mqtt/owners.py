"""Which gateway has which node, so that the values of two do not mix. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Whose(NamedTuple):
    """The topic of a gateway and, where its messages say it, its id."""

    topic: str
    id: str

    @property
    def name(self) -> str:
        """The last part of its topic."""
        return self.topic.rpartition("/")[2]


class Owners:
    """The gateway of each node: the first that came with it, or one with a new id at the same topic.

    A gateway gets a new id with a new card. The old one is `displaced`: should it come again, then two
    gateways have one topic, and it is refused.
    """

    def __init__(self) -> None:
        self.displaced: set[Whose] = set()
        self._by_node: dict[str, Whose] = {}

    def take(self, node: str, whose: Whose) -> bool:
        """Give a node to a gateway; False where another one has it."""
        owner = self._by_node.setdefault(node, whose)
        if owner == whose:
            return True
        if owner.topic != whose.topic or whose in self.displaced:
            return False
        self.displaced.add(owner)
        self._by_node[node] = whose
        return True
