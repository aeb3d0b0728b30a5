"""Text as a number: one rule for everything that comes from outside.

A number is an optional sign, ASCII digits with at most one point among them, and an optional exponent, in at
most LONGEST characters. Spaces, underscores, digits of other scripts and hexadecimal are not part of one.

A few words mean that there is no value: what C, Arduino, Python and JavaScript print (`nan`, `inf`,
`ovf`, `null`, `None`), and `-`. So does a number beyond LARGEST. Such a value is a gap. Anything else is not
a number, and the line or post that it is part of is refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

LONGEST = 64
"""Characters of a number; a double needs 24 at most."""

LARGEST = 3.4e38
"""The feeds of Emoncms are floats of 32 bits: a graph with a value beyond that is empty."""

SPACE = " \t\n\r\v\f"
"""Spaces that may surround a number: those of ASCII, as str.strip removes more than float() allows."""

_WHOLE = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = r"[-+]?(?:nan|inf(?:inity)?|ovf)"
_NO_VALUE = re.compile(_NO_NUMBER + "|null|none|-", re.IGNORECASE)
_QUOTED_OR_NO_NUMBER = re.compile(
    rf'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|(?P<none>{_NO_NUMBER}\b|(?<=:)\s*(?=[,}}]))', re.IGNORECASE | re.DOTALL
)
"""A string of JSON, which stays as it is, or outside a string one of these words or nothing after a colon.

It takes linear time.
"""


class NotANumber(ValueError):
    """Neither a number nor a word for no value."""


def parse(text: str) -> float | None:
    """Return the number, an int where it is written as one, or None if there is no value."""
    if len(text) <= LONGEST:
        if _WHOLE.fullmatch(text):
            return bounded(int(text))
        if _NUMBER.fullmatch(text):
            return bounded(float(text))
        if _NO_VALUE.fullmatch(text):
            return None
    raise NotANumber(text[:LONGEST])


def bounded(value: float) -> float | None:
    """Return the value, or None if it is not finite or beyond LARGEST."""
    return value if abs(value) <= LARGEST else None  # false for NaN


def from_json(value: object) -> float | None:
    """Return a value of JSON as a number: true is 1, false is 0; null and "" are no value.

    Text may be a number, with spaces around it. Raises NotANumber for other text, for lists and for objects.
    """
    if isinstance(value, str):
        text = value.strip(SPACE)
        return parse(text) if text else None
    if isinstance(value, int | float):
        return bounded(+value)  # the plus makes an int of a bool
    if value is None:
        return None
    raise NotANumber(type(value).__name__)


def load_json(text: str, **more: Any) -> Any:  # noqa: ANN401  (JSON)
    """Return the value of JSON text; NaN and Infinity are allowed, as Python's `dumps` writes them.

    Raises ValueError if it is not JSON; `more` goes to json.loads.
    """
    try:
        return json.loads(text, parse_int=_whole, **more)
    except RecursionError:
        raise ValueError("too many nested brackets") from None


def load_device_json(text: str, **more: Any) -> Any:  # noqa: ANN401  (JSON)
    """Return the value of JSON text, in which a device may print `nan`, `inf` or nothing for a number."""
    try:
        return load_json(text, **more)
    except ValueError:
        mended = _QUOTED_OR_NO_NUMBER.sub(lambda found: found[0] if found["none"] is None else "null", text)
        return load_json(mended, **more)


def _whole(text: str) -> float:
    """Return an int; infinity if it has so many digits that int() would refuse it, or take long."""
    return int(text) if len(text) <= LONGEST else math.inf
