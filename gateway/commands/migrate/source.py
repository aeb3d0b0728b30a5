"""The old file: its sections and entries, and the comments that belong to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.conf import document
from gateway.conf.document import CONTROL, Entry, Fault, Section, depth_of
from gateway.process.output import check_plain, naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.settings import Raw

_RULER = re.compile(r"#{5,}.*#{5,}|#*")
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")


def as_comment(text: str) -> str:
    """Return words as a comment: none looks like a section or setting that is commented out."""
    return f"# {'| ' if text.startswith('[') else ''}{text}"


@dataclass
class Source:
    """A file with `lines`, numbered as an editor shows them, and `faults` that were found in it.

    An excerpt of an emonhub.conf, as the examples of emonhub are, begins with a [[section]]: it counts as
    part of [interfacers].
    """

    path: Path
    root: Section
    lines: list[str]
    faults: list[Fault]

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a file. Raises ConfigFaults if it is not text, and OSError if it cannot be read."""
        check_plain(path)
        if path.stat().st_size > document.LARGEST:
            raise document.ConfigFaults([document.too_large(path)])
        with naming(path):
            data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        lines = [CONTROL.sub("", line) for line in data.decode(errors="replace").split("\n")]
        first = next(filter(None, map(depth_of, lines)), 0)
        above = b"[interfacers]\n" if first == 2 else b""
        text = document.parse(path, above + data)
        added = len(above.splitlines())
        faults = [Fault(fault.file, fault.line - added, fault.where, fault.message) for fault in text.faults]
        _shift(text.root, -added)
        return cls(path, text.root, lines, faults)

    def at(self, line: int, message: str, where: str = "") -> str:
        """Return what is to be said of a line."""
        return str(Fault(self.path.name, line, where, message))

    def above(self, line: int) -> list[str]:
        """Return the comments that belong to the section or setting in this line, as comments."""
        indent = _indent(self.lines[line - 1])
        is_header = depth_of(self.lines[line - 1]) > 0
        found: list[str] = []
        for text in reversed(self.lines[: max(0, line - 1)]):
            if text.strip() and not text.lstrip().startswith("#"):
                break
            if is_header and _indent(text) > indent:  # it is about the section above
                break
            found.append(text)
        return self._cleaned(reversed(found))

    def behind(self, line: int) -> str:
        """Return the comment behind the setting or section in this line, or ""."""
        _, mark, comment = _QUOTED.sub("", self.lines[line - 1]).partition("#") if line else ("", "", "")
        return f"  # {comment.strip('# ')}" if mark and comment.strip("# ") else ""

    def inside(self, section: Section) -> list[str]:
        """Return the comments at the end of a section, which no setting follows."""
        last = max(place.line for place in _places(section))
        indent = _indent(self.lines[section.line - 1])
        found = []
        for text in self.lines[last:]:
            if text.strip() and not (text.lstrip().startswith("#") and _indent(text) > indent):
                break
            found.append(text)
        return self._cleaned(found)

    def block(self, section: Section) -> range:
        """Return the numbers of the lines of a section, its name included, without what is about the next."""
        header = self.lines[section.line - 1]
        below = range(section.line + 1, len(self.lines) + 1)
        depths = range(1, depth_of(header) + 1)
        end = next((number for number in below if depth_of(self.lines[number - 1]) in depths), 0)
        if not end:
            return range(section.line, len(self.lines) + 1)
        while not self._is_part(self.lines[end - 2], header):
            end -= 1
        return range(section.line, end)

    @staticmethod
    def _is_part(text: str, header: str) -> bool:
        """Tell whether a line, the last of a section, is more than a comment about what follows."""
        is_words = text.strip() and not text.lstrip().startswith("#")
        return bool(is_words) or (bool(text.strip()) and _indent(text) > _indent(header))

    @staticmethod
    def _cleaned(texts: Iterable[str]) -> list[str]:
        stripped = [text.strip() for text in texts]
        return [as_comment(text.strip("# ")) for text in stripped if not _RULER.fullmatch(text)]


def entry_of(section: Section, key: str) -> Raw:
    """Return the value of a key, "" if there is none."""
    return section.entries[key].value if key in section.entries else ""


def words(value: Raw) -> list[str]:
    """Return a value as a list, without empty parts."""
    return [part for part in ([value] if isinstance(value, str) else value) if part.strip()]


def named(sections: Mapping[str, Section], *names: str) -> list[Section]:
    """Return those of the sections that have these names and are there."""
    return [sections[name] for name in names if name in sections]


def _places(section: Section) -> Iterator[Section | Entry]:
    """Yield a section, what is in it, and what is in that, at any depth."""
    pending = [section]
    while pending:
        each = pending.pop()
        yield each
        yield from each.entries.values()
        pending += each.sections.values()


def _indent(text: str) -> int:
    return len(text.expandtabs()) - len(text.expandtabs().lstrip())


def _shift(section: Section, by: int) -> None:
    for place in _places(section):
        place.line += by
