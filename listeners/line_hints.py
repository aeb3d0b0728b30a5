"""What to do about lines that a listener refuses because they are for a listener of another type."""

from __future__ import annotations

import re

_NAMELESS = "values-without-names"
"""The reason for which `keyvalue` refuses a line of `serial`."""
_NO_PAIRS = "no-pairs"
"""The reason for which `keyvalue` refuses the lines of a device that has printed no reading yet."""
_TOO_LONG = "too-long"
"""The reason for which a line is refused that never ends."""
_UNTERMINATED = "unterminated"
"""The reason for which the last thing that a client or a program sent is refused: it may be half a line."""

_MEANT = (
    (
        re.compile(r"\w+:-?\d+(\.\d+)?(,\w+:-?\d+(\.\d+)?)*|\{\s*\"[^{\[]*\}"),
        "type = keyvalue reads such lines",
    ),
    (
        re.compile(r"OK( G\d{1,3})?( \d{1,3})+( \(-?\d+\))?|(\d{1,3} )+\(-?\d+\)"),
        "type = rfm12pi reads such lines",
    ),
    (re.compile(r"\d+(([,;\t]\s*| {2,})-?[\d.]+)+"), "one space before each value expected"),
    (re.compile(r"(?=.*,)\d+( -?\d+([.,]\d+)?)+"), "a point expected in a number, not a comma"),
)
"""The form of lines that are for a listener of another type, or that are almost right.

Only whole ones: the listener of that type refuses damaged ones, too.
"""


def hint_for(reason: str, line: str) -> str:
    """Return what to do about lines that are not for this listener, "" if that is not known."""
    if reason == _UNTERMINATED:
        return "a line end expected after it"
    if reason == _NO_PAIRS:
        return "lines such as temp:20.5,humidity:55 expected"
    if reason == _TOO_LONG and "\r" in line:
        return "lines end with LF or CR LF, and the device sends CR alone"
    if reason not in ("not-a-number", _NAMELESS):
        return ""
    found = next((words for shape, words in _MEANT if shape.fullmatch(line.strip())), "")
    return found or ("type = serial reads such lines" if reason == _NAMELESS else "")
