"""Text as the lines of a manual page, in the macros of man(7)."""

from __future__ import annotations

import re
import textwrap
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_WIDTH = 78
_SPECIAL = {
    "\\": r"\e",
    "-": r"\-",
    '"': r"\(dq",
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
}
_TYPED = re.compile(r"(?<!\S)[(\"]?-\S+|\S*[/~_\\=\"]\S*")
"""What of a sentence is typed, not read: an option, a path, a setting."""
_FOREIGN = re.compile(r"[^\x00-\x7f]")


def literal(text: str) -> str:
    """Return text of which every character is one that can be typed: a hyphen is a minus."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def bold(text: str) -> str:
    """Return literal text in bold."""
    return rf"\fB{literal(text)}\fR"


def italic(text: str) -> str:
    """Return literal text in italics."""
    return rf"\fI{literal(text)}\fR"


def words(text: str) -> str:
    """Return a sentence; what stands in `these` is literal and bold."""
    return "".join(
        bold(part) if place % 2 else _TYPED.sub(lambda typed: literal(typed[0]), part)
        for place, part in enumerate(text.split("`"))
    )


def filled(text: str) -> list[str]:
    """Break a paragraph into lines, none of which looks like a request."""
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [rf"\&{line}" if line[0] in ".'" else line for line in lines]


def paragraph(text: str) -> list[str]:
    """Return a paragraph of sentences, or nothing for none."""
    return [".PP", *filled(words(text))] if text else []


def tagged(tags: Iterable[str], text: str) -> list[str]:
    """Return a paragraph that is indented below its tags, which are roff already."""
    first, *others = tags
    more = [line for tag in others for line in (".TQ", tag)]
    return [".TP", first, *more, *filled(words(text))]


def example(lines: Iterable[str]) -> list[str]:
    """Return lines as they are, indented."""
    kept = (literal(line) for line in lines)
    shown = [rf"\&{line}" if line[:1] == "." else line for line in kept]
    return [".PP", ".RS 4", ".EX", *shown, ".EE", ".RE"]


def page(lines: Iterable[str]) -> str:
    """Return the text of a page: neither hyphenated nor justified, and no paragraph begun twice."""
    kept = [*islice(lines := iter(lines), 1), ".nh", ".nr HY 0", ".ad l", ".ss 12 0"]
    for line in lines:
        if not (line == ".PP" and kept[-1].startswith((".SH", ".SS"))):
            kept.append(line)
    return _FOREIGN.sub(lambda found: f"\\[u{ord(found[0]):04X}]", "".join(f"{line}\n" for line in kept))


def heading(macro: str, text: str) -> str:
    """Return the heading of a section (SH) or of a part of one (SS)."""
    return f".{macro} {literal(text)}"
