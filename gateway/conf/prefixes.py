"""What a page on the web or a mail puts before each line of a text that is copied from it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PREFIX = re.compile(r"\s*(?:([0-9]{1,5})(?:[.:|)]|(?=\s|$))|([>|+]|[-*]\s))\s?")
"""A number, or a sign of a quotation, a diff or a list. No line of ours begins so."""
_FEWEST = 3
"""Lines, one after the other, that are no accident."""


class _Line(NamedTuple):
    place: int
    number: int
    sign: str
    rest: str


def without_prefixes(lines: Sequence[str]) -> tuple[list[str], list[tuple[int, str]]]:
    """Return the lines without what stands before each of a stretch of them, and a fault of each stretch.

    A stretch is of lines with the same sign, or with numbers that go up; empty lines do not end it. Lines
    are counted from 1.
    """
    bare, faults = list(lines), []
    for stretch in _stretches(lines):
        if len(stretch) >= _FEWEST:
            prefix = stretch[0].sign or "a number"
            faults.append((stretch[0].place, f"each line from here on begins with {prefix}: remove that"))
            for line in stretch:
                bare[line.place - 1] = line.rest
    return bare, faults


def _stretches(lines: Sequence[str]) -> Iterator[list[_Line]]:
    stretch: list[_Line] = []
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        prefix = _PREFIX.match(line)
        if prefix is None:
            yield stretch
            stretch = []
            continue
        each = _Line(place, int(prefix[1] or 0), (prefix[2] or "").strip(), line[prefix.end() :])
        if stretch and (
            each.sign != stretch[-1].sign or (not each.sign and each.number <= stretch[-1].number)
        ):
            yield stretch
            stretch = []
        stretch.append(each)
    yield stretch
