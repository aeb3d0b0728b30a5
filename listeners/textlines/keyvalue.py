"""Lines `MSG:12,Vrms:243.10,P1:105` or the same as JSON from a device on a serial port.

They are what the serial ports of the emonTx 3 to 5, emonPi 2, emonTH 2 and emon32 print, 115200 baud.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateway.frame import Frame, check_node
from gateway.settings import setting
from gateway.text.numeral import NotANumber, from_json, load_json, parse
from listeners.lines import Ignored, Rejected
from listeners.ports.serial_listener import LONGEST_LINE, SerialListener
from listeners.textlines.start_up import StartUp
from listeners.textlines.value_lines import has_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.frame import Stamp
    from gateway.nodes import Nodes

_NAME = re.compile(r"(?=.*[^0-9])[A-Za-z0-9_-]{1,64}")
"""What can be the key of an input in Emoncms, where a number would be an index."""

_TALK = re.compile(r"(?P<blank>)|(?P<info>\|.*)|(?P<describe>describe:.*)|(?P<banner>(?![^ :]+:[^ :]).*)")
"""What is no data: all but `name:`, without a space before or behind the colon, and what follows."""


class Pairs(NamedTuple):
    """What a line said: names, each of them once, and the value of each, None where there is none."""

    names: tuple[str, ...]
    values: tuple[float | None, ...]

    def frame(self, node: str, nodes: Nodes, stamp: Stamp, source: str) -> Frame:
        """Return them as those of a node, with the scales that [nodes] gives to their names."""
        values = nodes.dress_named(node, *self)
        return Frame(node, values, stamp, names=self.names, source=source, by_name=True)


def decode(line: str) -> Pairs | Ignored | Rejected:
    """Return what a line says; nothing that a line holds raises an exception."""
    if len(line) > LONGEST_LINE:
        return Rejected("too-long")
    text = line.strip(" \t\r")
    if not (text.isascii() and text.isprintable()):
        return Rejected("garbled")
    if text.startswith("{"):
        return _json(text)
    talk = _TALK.fullmatch(text)
    return Ignored(talk.lastgroup) if talk and talk.lastgroup else decode_pairs(text.split(","))


def decode_pairs(tokens: Iterable[str]) -> Pairs | Rejected:
    """Return what tokens `name:value` say, or why they cannot be trusted."""
    pairs = []
    for token in tokens:
        name, colon, number = token.partition(":")
        if not colon:
            return Rejected("bad-token")
        try:
            pairs.append((name, parse(number)))
        except NotANumber:
            return Rejected("not-a-number")
    return _whole(pairs)


def _json(text: str) -> Pairs | Rejected:
    """Read an object: it is whole, so text in it is no damage, but a value that cannot be told."""
    try:
        pairs = load_json(text, object_pairs_hook=list)
    except ValueError:
        return Rejected("bad-json")
    if any(isinstance(value, list) for _, value in pairs):
        return Rejected("not-a-number")
    return _whole([(name, _number(value)) for name, value in pairs])


def _number(value: object) -> float | None:
    try:
        return from_json(value)
    except NotANumber:
        return None


def _whole(pairs: list[tuple[str, float | None]]) -> Pairs | Rejected:
    """Refuse names that cannot tell the values apart, here or in Emoncms."""
    if not pairs:
        return Rejected("no-payload")
    names, values = zip(*pairs, strict=True)
    if not all(map(_NAME.fullmatch, names)):
        return Rejected("bad-name")
    if len(set(names)) < len(names):
        return Rejected("repeated-name")
    return Pairs(names, values) if has_value(values) else Rejected("no-value")


@dataclass(kw_only=True)
class KeyValue(SerialListener):
    """Listens to one device, whose lines do not say which: `node` is what it is to be called.

    Such a device leaves out what it has no sensor for: the names, and not their positions, tell what is what.
    """

    node: str = setting(check=check_node, hint="what Emoncms is to show as the node, such as 9")

    def claims(self) -> dict[str, Mapping[int, str] | None]:
        """Return the node, as a whole: its lines say what there is in it."""
        return {self.node: None}

    def __post_init__(self) -> None:
        super().__post_init__()
        self._start_up = StartUp()

    def open(self) -> None:
        """Open the port; what a device said of its start before is past."""
        super().open()
        self._start_up = StartUp()

    def frame(self, line: str, stamp: Stamp) -> Frame | Ignored | Rejected:
        """Return what a line says: the values, with the scales that [nodes] gives to their names."""
        said = decode(line)
        if self._start_up.hear(line, self.clock.monotonic()) and not isinstance(said, Ignored):
            return Ignored("start-up")
        if not isinstance(said, Pairs):
            return said
        self.counts.count_missing(said.values, line, self.log)
        return said.frame(self.node, self.nodes, stamp, self.name)
