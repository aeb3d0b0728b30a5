"""Lines `node v1 v2 ...`: what the sockets and serial listeners of oem_gateway and emonhub take."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gateway.frame import Frame
from gateway.text.numeral import NotANumber, parse
from listeners.lines import LONGEST_LINE, Ignored, Rejected

if TYPE_CHECKING:
    from gateway.frame import Stamp
    from gateway.nodes import Nodes

_NODE = re.compile(r"[0-9]{1,3}")


class Values(NamedTuple):
    """What a line said: the node id (0..255) and its values, None if there is none."""

    node: int
    values: tuple[float | None, ...]

    @property
    def missing(self) -> int:
        """How many places there are without a value."""
        return self.values.count(None)

    def frame(self, nodes: Nodes, stamp: Stamp, source: str) -> Frame | Rejected:
        """Return them with the scales and names that [nodes] gives them."""
        node = str(self.node)
        dressed = nodes.interpret(node, self.values)
        if isinstance(dressed, str):
            return Rejected(dressed)
        return Frame(node, dressed.values, stamp, names=dressed.names, source=source)


def decode(line: str) -> Values | Ignored | Rejected:
    """Return what a line says; no line raises an exception.

    One space separates two numbers: a second one shows that a value is missing, and the values after it would
    move to other indices. Spaces at the end of the line move nothing. A word for no value, such as `nan` (see
    gateway.text.numeral), leaves its place empty. Anything else that is not a number shows that the line is
    damaged.
    """
    if len(line) > LONGEST_LINE:
        return Rejected("too-long")
    node, *tokens = line.rstrip(" ").split(" ")
    if not node and not tokens:
        return Ignored("blank")
    try:
        number, *values = map(parse, (node, *tokens))
    except NotANumber:
        return Rejected("not-a-number")
    if not _NODE.fullmatch(node) or number is None or number > 255:
        return Rejected("node-out-of-range")
    if not values:
        return Rejected("no-payload")
    said = Values(int(number), tuple(values))
    return said if said.missing < len(values) else Rejected("no-value")
