"""The values of one post or row, each under the index or the name that is its identity.

A whole number is an index: `{"1": 18.7}` means the same as the first value of a list. An index or name
without a value is kept: null, "", `nan` and the like (see gateway.text.numeral), and in JSON any text, for
which Emoncms would store 0. In the other forms Emoncms refuses text, and so does this. true is 1, false is 0.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from gateway.frame import HIGHEST, Frame, check_node
from gateway.text.numeral import NotANumber, from_json, load_json
from gateway.text.words import as_emoncms_keeps
from listeners.http.wire import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.frame import Stamp

K = TypeVar("K", int, str)

_INDEX = re.compile(r"[1-9][0-9]{0,2}")
_DROPPED_AT_THE_ENDS = re.compile(r"\A[^\w\s.:\u2010-\u2015\u2212-]{1,9}|[^\w\s.:-]{1,9}\Z")
"""What Emoncms drops of `45%` or `21.5°`. What it drops within a number, as of `1=2`, makes it another one.

The bound is for time that is linear.
"""
_BACKSLASH = re.compile(r"\\(.?)", re.DOTALL)
_QUOTED = 40
_LONGEST_NAME = 64  # emoncms.org drops the value of a longer one


class Values:
    """What one post or row says of its node.

    Where `takes_text` is set, text is not a value, and `texts` are the names and indices that have text;
    otherwise text is refused.
    """

    def __init__(self, *, takes_text: bool) -> None:
        self.texts: list[str] = []
        self._takes_text = takes_text
        self._by_index: dict[int, float | None] = {}
        self._by_name: dict[str, float | None] = {}
        self._next = 1

    def append(self, value: object) -> None:
        """Take a value without a name: it gets the next index, whatever names there are besides."""
        if self._next > HIGHEST:
            raise Refusal(f"at most {HIGHEST} values expected")
        self._put(self._by_index, self._next, value)
        self._next += 1

    def add(self, key: str, value: object) -> None:
        """Take a value with a name or an index."""
        name = as_emoncms_keeps(key)
        if _INDEX.fullmatch(name):
            self._put(self._by_index, int(name), value)
        elif not name.strip() or len(name) > _LONGEST_NAME or name.isdecimal() or not name.isprintable():
            raise Refusal(f"a name, or an index from 1 to {HIGHEST}, expected, not {quoted(key)}")
        else:
            self._put(self._by_name, name, value)

    def _put(self, values: dict[K, float | None], key: K, value: object) -> None:
        if key in values:
            raise Refusal(f"one value of {key} expected, not two")
        try:
            values[key] = number(value, key)
        except Refusal:
            if not (self._takes_text and isinstance(value, str)):
                raise
            values[key] = None
            self.texts.append(str(key))

    @property
    def places(self) -> int:
        """How many positions its frames have."""
        return max(self._by_index, default=0) + len(self._by_name)

    def frames(self, node: str, stamp: Stamp) -> Iterator[Frame]:
        """Yield a frame of the values by index and one of those by name, where there are any."""
        if self._by_index:
            places = range(1, max(self._by_index) + 1)
            yield Frame(node, tuple(map(self._by_index.get, places)), stamp)
        if self._by_name:
            yield Frame(node, tuple(self._by_name.values()), stamp, tuple(self._by_name), by_name=True)


def number(value: object, key: object) -> float | None:
    """Return a number, None for no value; raise Refusal for text, a list or an object."""
    try:
        return from_json(value)
    except NotANumber:
        raise Refusal(f"Format error, the value of {key} is not numeric: {quoted(value)}") from None


def node_name(node: object) -> str:
    """Return a node's name as Emoncms stores it, "0" where there is none; raise Refusal if it is too long."""
    if isinstance(node, float):
        node = f"{node:.14g}"  # as PHP writes it
    if isinstance(node, bool) or not isinstance(node, str | int):
        raise Refusal(f"the name or number of a node expected, not {quoted(node)}")
    name = as_emoncms_keeps(str(node)) or "0"
    try:
        check_node(name)
    except ValueError:
        found = quoted(name)
        raise Refusal(
            f"the name of a node, of 1 to 64 characters without spaces around them, expected, not {found}"
        ) from None
    return name


def lenient(text: str) -> Values:
    """Read what `json`, `csv` and `data` hold: `1,2,3`, `[1,2,3]`, `a:1,b:2`, `{a:1}` or `{"a":1}`."""
    values = Values(takes_text=False)
    for item in re.sub(r"[\[\]{}\"']", "", text).split(","):
        first, *more = item.split(":")
        value = _DROPPED_AT_THE_ENDS.sub("", more[0] if more else first)
        if more:
            values.add(first, value)  # Emoncms ignores a second colon
        else:
            values.append(value)
    return values


def strict_json(text: str, *, is_form: bool) -> object:
    """Return what JSON says; raise Refusal if it is not JSON.

    Emoncms takes the backslashes out of a form: a key with an escaped letter has the digits of its code
    there. If the result is not JSON, the text is read as it is.
    """
    for written in (_BACKSLASH.sub(r"\1", text), text) if is_form else (text,):
        with suppress(ValueError):
            return load_json(written)
    raise Refusal("Format error, json string supplied is not valid")


def quoted(value: object) -> str:
    """Return the start of a value, to be quoted in a message; of a list or an object, what it is."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return ascii(value[:_QUOTED] if isinstance(value, str) else value)[:_QUOTED]
