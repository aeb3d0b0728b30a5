"""Lines `node v1 v2 ...`: what the sockets and serial listeners of oem_gateway and emonhub take."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, NamedTuple

from gateway.frame import Frame
from listeners.lines import Ignored, Rejected

if TYPE_CHECKING:
    from gateway.frame import Stamp
    from gateway.nodes import Nodes

LONGEST_LINE = 1024

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
_NODE = re.compile(r"[0-9]{1,3}")


class Values(NamedTuple):
    """What a line said: the node id (0..255) and its values."""

    node: int
    values: tuple[float, ...]

    def frame(self, nodes: Nodes, stamp: Stamp, source: str) -> Frame | Rejected:
        """Return them with the scales and names that [nodes] gives them."""
        node = str(self.node)
        dressed = nodes.dress(node, self.values)
        if isinstance(dressed, str):
            return Rejected(dressed)
        return Frame(node, dressed.values, stamp, names=dressed.names, source=source)


def decode(line: str) -> Values | Ignored | Rejected:
    """Return what a line says; nothing that a line holds raises an exception.

    One space parts two numbers: a second would be the place of a value that is missing, and every value after
    it would move to another index. Spaces at the end of the line move nothing.
    """
    if len(line) > LONGEST_LINE:
        return Rejected("too-long")
    node, *tokens = line.rstrip(" ").split(" ")
    if not node and not tokens:
        return Ignored("blank")
    fault = next(filter(None, map(number_fault, (node, *tokens))), "") or _fault(node, tokens)
    return Rejected(fault) if fault else Values(int(node), tuple(map(float, tokens)))


def number_fault(text: str) -> str:
    """Return why this is not a finite number in plain ASCII, or ""."""
    if not _NUMBER.fullmatch(text):
        return "not-finite" if _NOT_FINITE.fullmatch(text) else "not-a-number"
    return "" if math.isfinite(float(text)) else "not-finite"


def _fault(node: str, tokens: list[str]) -> str:
    """Return why these numbers are not a node and its values, or ""."""
    if not _NODE.fullmatch(node) or int(node) > 255:
        return "node-out-of-range"
    return "" if tokens else "no-payload"
