"""The lines of oemgateway.conf that are commented out: names of sections, and settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEADER = re.compile(r"\s*(#*)\s*(\[+)([^\[\]#]+)(\]+)\s*(?:#.*)?")
_SETTING = re.compile(r"\s*#+\s*([A-Za-z_]\w*)\s*=([^#]*)")


class Header(NamedTuple):
    """A line with the name of a section, which is commented out; `owner` is the section that it is in."""

    line: int
    name: str
    text: str
    owner: str

    def message(self, below: str, line: int) -> str:
        """Return, for a message, what a line below this name counts as part of."""
        owner = self.owner or "no section"
        return f"remove the #: {below} (line {line}) is below it, and counts as part of {owner}"


class Commented:
    """What is commented out in these lines. Lines are counted from 1."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.headers: list[Header] = []
        """The names of sections that are commented out."""
        self._sections: list[Header | None] = [None]
        self._tops: list[Header | None] = [None]
        self._settings: dict[tuple[int, str], tuple[int, str]] = {}
        section = top = None
        owner = top_owner = ""
        begin = 0
        for number, line in enumerate(lines, 1):
            found = _HEADER.fullmatch(line)
            if found and len(found[2]) == len(found[4]) <= 2:
                begin, name = number, found[3].strip()
                text = f"{found[2]}{name}{found[4]}"
                is_top = len(found[2]) == 1
                if found[1]:
                    section = Header(number, name, f"#{text}", owner)
                    self.headers.append(section)
                    top = Header(number, name, f"#{text}", top_owner) if is_top else top
                else:
                    section, owner = None, text
                    top, top_owner = (None, text) if is_top else (top, top_owner)
            elif setting := _SETTING.match(line):
                self._settings.setdefault((begin, setting[1]), (number, setting[2].strip()))
            self._sections.append(section)
            self._tops.append(top)

    def section_above(self, line: int) -> Header | None:
        """Return the name, commented out, that the setting in this line was probably meant for."""
        return self._sections[min(line, len(self._sections) - 1)]

    def top_above(self, line: int) -> Header | None:
        """Return the same for a [[section]] whose name is in this line."""
        return self._tops[min(line, len(self._tops) - 1)]

    def setting(self, section: int, key: str) -> int | None:
        """Return the line where a setting is commented out, in the section whose name is in this line."""
        return self._settings.get((section, key), (None,))[0]

    def value(self, section: int, key: str) -> str:
        """Return the value in that line, "" if there is none."""
        return self._settings.get((section, key), (0, ""))[1]
