"""Which value in the messages of a topic has which index of which node."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.frame import HIGHEST, Frame, check_node
from gateway.mqtt.frames import number, parse_json, parse_number, text_of
from gateway.mqtt.topics import check_topic
from gateway.plugin import Series, SettingsFault
from gateway.settings import quoted

if TYPE_CHECKING:
    from collections.abc import Container

    from gateway.plugin import Stamp
    from gateway.settings import Raw

_PLAIN = "-"
_INDEX = re.compile(r"[1-9][0-9]{0,2}")
_EXPECTED = "a topic, a path in its JSON (or -), a node and an index expected, and perhaps a label"


@dataclass(frozen=True)
class Value:
    """Where one value comes from, and where it goes. Without a `path` the message is the number."""

    topic: str
    path: str
    node: str
    index: int
    label: str = ""

    def find(self, message: bytes) -> float | None:
        """Return the value in a message, None for no value. Raises ValueError if it is not there."""
        if not self.path:
            return parse_number(text_of(message))
        return number(_walk(parse_json(message), self.path), self.path)


@dataclass(frozen=True)
class Mappings:
    """The values by their numbers. As settings: `valueN = topic, path, node, index, label`; empty is none."""

    PREFIX: ClassVar = "value"

    by_number: Mapping[int, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = {count: value for count, value in sorted(self.by_number.items()) if value}
        object.__setattr__(self, "by_number", given)
        taken: dict[tuple[str, int], int] = {}
        for count, value in self.by_number.items():
            first = taken.setdefault((value.node, value.index), count)
            if first != count:
                message = f"value{first} has index {value.index} of node {value.node}: each needs its own"
                raise SettingsFault([(f"value{count}", message)])

    @staticmethod
    def parse_entry(_number: int, raw: Raw) -> Value | None:
        """Return the value of an entry, or raise ValueError."""
        if not raw:
            return None
        parts = [raw] if isinstance(raw, str) else raw
        if not 4 <= len(parts) <= 5:
            raise ValueError(f"{_EXPECTED}, not {', '.join(parts)}")
        topic, path, node, index, *label = parts
        check_topic(topic)
        check_node(node)
        if not _INDEX.fullmatch(index):
            raise ValueError(f"an index from 1 to {HIGHEST} expected, not {index}")
        if not path:
            raise ValueError(f"a path in its JSON expected, or {_PLAIN} where the message is a number")
        return Value(topic, "" if path == _PLAIN else path, node, int(index), "".join(label))

    def shown(self) -> dict[str, str]:
        """Return the entries again."""
        return {
            f"value{count}": ", ".join(
                quoted(part)
                for part in (each.topic, each.path or _PLAIN, each.node, str(each.index), each.label)
                if part
            )
            for count, each in self.by_number.items()
        }

    def topics(self) -> list[str]:
        """Return every topic once."""
        return list(dict.fromkeys(value.topic for value in self.by_number.values()))

    def catalogue(self) -> list[Series]:
        """Return what stands at each index."""
        return [
            Series(
                node=each.node,
                index=each.index,
                label=each.label,
                identity=f"{each.topic} {each.path}".strip(),
            )
            for each in self.by_number.values()
        ]

    def frames(self, topic: str, message: bytes, now: Stamp) -> list[Frame]:
        """Return a frame for each node that the message has a value for; ValueError if it has none."""
        found: dict[str, dict[int, tuple[float | None, str]]] = defaultdict(dict)
        fault: ValueError | None = None
        for value in self.by_number.values():
            if value.topic == topic:
                try:
                    found[value.node][value.index] = value.find(message), value.label
                except ValueError as error:
                    fault = error
        frames = [
            Frame(
                node,
                tuple(values.get(index, (None, ""))[0] for index in range(1, max(values) + 1)),
                now,
                tuple(values.get(index, (None, ""))[1] for index in range(1, max(values) + 1)),
            )
            for node, values in found.items()
            if values
        ]
        if fault and not frames:
            raise fault
        return frames


class Unfound:
    """The single values that no message had yet: their paths may be misspelt."""

    def __init__(self, mappings: Mappings) -> None:
        self._left = dict(mappings.by_number)

    def note(self, frames: list[Frame]) -> None:
        """Note what a message had."""
        if self._left:
            had = {
                (frame.node, n)
                for frame in frames
                for n, value in enumerate(frame.values, 1)
                if value is not None
            }
            self._left = {
                count: each for count, each in self._left.items() if (each.node, each.index) not in had
            }

    def remark(self, silent: Container[str]) -> str:
        """Return which they are, without those of silent topics, "" for none."""
        said = [
            f"value{count}: no message of {each.topic} has had a value at {each.path or _PLAIN} yet"
            for count, each in self._left.items()
            if each.topic not in silent
        ]
        return f"{'; '.join(said)}: are upper and lower case right?" if said else ""


def _walk(value: Any, path: str) -> Any:  # noqa: ANN401  (JSON)
    """Return what is at a path of keys with dots between; a number is a place in a list, from 0.

    A key may have dots itself, as OBIS codes have.
    """
    ends = [at for at, sign in enumerate(f"{path}.") if sign == "."]
    for end in ends if isinstance(value, dict) else ends[:1]:
        step = path[:end]
        with suppress(LookupError, ValueError):
            if isinstance(value, dict):
                found = value[step]
            elif isinstance(value, list) and step.isdecimal():
                found = value[int(step)]
            else:
                break
            return found if step == path else _walk(found, path[end + 1 :])
    raise ValueError(f"nothing at {path}")
