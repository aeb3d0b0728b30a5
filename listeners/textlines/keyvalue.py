"""Lines `MSG:12,Vrms:243.10,P1:105` or the same as JSON from a device on a serial port.

They are what the serial ports of the emonTx 3 to 5, emonPi 2, emonTH 2 and emon32 print, 115200 baud.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateway.frame import Frame, check_node
from gateway.plugin import Series
from gateway.settings import setting
from gateway.text.numeral import NotANumber, from_json, load_device_json, parse
from listeners.lines import LONGEST_LINE, Ignored, Rejected
from listeners.ports.serial_listener import Baud, SerialListener
from listeners.textlines.start_up import StartUp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.frame import Stamp
    from gateway.nodes import Nodes

_NAME = re.compile(r"(?=.*[^0-9])[A-Za-z0-9_-]{1,64}")
"""What can be the key of an input in Emoncms, where a number would be an index."""

_TALK = re.compile(r"(?P<blank>)|(?P<info>\|.*)|(?P<describe>describe:.*)|(?P<banner>(?![^ :]+:[^ :]).*)")
"""What is not data: a line that does not begin with `name:value`, without a space at the colon."""

_NAMELESS = re.compile(r"(?:OK )?[0-9]{1,3}(?: -?[0-9.]+)+(?: \(-?[0-9]+\) ?)?")
"""What a device for the listener `serial` or `rfm12pi` prints."""

_NOTHING_ELSE_S = 60.0
"""Seconds for which a device may print lines without values, as at its start, before its first reading."""


class Pairs(NamedTuple):
    """What a line said: names, each of them once, and the value of each, None if there is none.

    `node` is "" if the line does not say which.
    """

    names: tuple[str, ...]
    values: tuple[float | None, ...]
    node: str = ""

    @property
    def missing(self) -> int:
        """How many names there are without a value."""
        return self.values.count(None)

    def frame(self, nodes: Nodes, stamp: Stamp, source: str) -> Frame:
        """Return them with the scales that [nodes] gives to their names."""
        values = nodes.interpret_named(self.node, self.names, self.values)
        return Frame(self.node, values, stamp, names=self.names, source=source, by_name=True)


def decode(line: str) -> Pairs | Ignored | Rejected:
    """Return what a line says; no line raises an exception."""
    if len(line) > LONGEST_LINE:
        return Rejected("too-long")
    text = line.strip(" \t\r")
    if not (text.isascii() and text.isprintable()):
        return Rejected("garbled")
    if text.startswith("{"):
        return _json(text)
    if _NAMELESS.fullmatch(text):
        return Rejected("values-without-names")
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
    return _checked(pairs)


def _json(text: str) -> Pairs | Rejected:
    """Read an object. It is complete, so text in it is not damage: the device has no number for that name."""
    try:
        pairs = load_device_json(text, object_pairs_hook=list)
    except ValueError:
        return Rejected("bad-json")
    if any(isinstance(value, list) for _, value in pairs):
        return Rejected("not-a-number")
    return _checked([(name, _number(value)) for name, value in pairs])


def _number(value: object) -> float | None:
    try:
        return from_json(value)
    except NotANumber:
        return None


def _checked(pairs: list[tuple[str, float | None]]) -> Pairs | Rejected:
    """Refuse names that do not identify the values, here or in Emoncms."""
    if not pairs:
        return Rejected("no-payload")
    names, values = zip(*pairs, strict=True)
    if not all(map(_NAME.fullmatch, names)):
        return Rejected("bad-name")
    if len(set(names)) < len(names):
        return Rejected("repeated-name")
    said = Pairs(names, values)
    return said if said.missing < len(values) else Rejected("no-value")


@dataclass(kw_only=True)
class KeyValue(SerialListener):
    """Listens to one device, whose lines do not say which node it is: `node` is its name.

    Such a device leaves out the values of missing sensors: a value is identified by its name.
    """

    baud: Baud = setting(115200, was=("com_baud",))
    node: str = setting(check=check_node, hint="what Emoncms is to show as the node, such as 9")

    def catalogue(self) -> Iterable[Series]:
        """Return the node as a whole: which values it has only its lines say."""
        return [Series(node=self.node)]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._begin()

    def open(self) -> None:
        """Open the port; a start of the device that was seen before is forgotten."""
        super().open()
        self._begin()

    def _begin(self) -> None:
        self._start_up = StartUp()
        self._has_read, self._talks_since = False, math.inf

    def hear(self, line: str) -> Pairs | Ignored | Rejected:
        """Return what a line says."""
        said = decode(line)
        now = self.clock.monotonic()
        if isinstance(said, Pairs):
            said, self._has_read = said._replace(node=self.node), True
        is_start_up = self._start_up.hear(line, now)
        if isinstance(said, Ignored) and said.kind != "blank" and not self._has_read:
            self._talks_since = min(self._talks_since, now)
            return Rejected("no-pairs") if now - self._talks_since > _NOTHING_ELSE_S else said
        return Ignored("start-up") if is_start_up and not isinstance(said, Ignored) else said
