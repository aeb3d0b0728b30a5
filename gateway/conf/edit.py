"""Changes single lines of the configuration file, and no other byte of it."""

from __future__ import annotations

import os
import re
from difflib import SequenceMatcher
from itertools import chain, count
from typing import TYPE_CHECKING

from gateway.conf import document
from gateway.conf.document import ConfigFaults, Fault
from gateway.conf.misplaced import SECTIONS
from gateway.conf.section import is_off
from gateway.process.output import beside, check_plain, naming, put_in_place
from gateway.settings import quoted
from gateway.text.plain import unseen

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from gateway.conf.document import Document, Entry, Section
    from gateway.registry import Kind
    from gateway.settings import Raw

    Place = tuple[str, ...]
    """The names of the sections that an entry is in, and its key; or the names that lead to a section."""

_ITEM = r"""(?:"[^"]*"|'[^']*'|[^'",\#\s][^,\#]*?)"""
_ENTRY = re.compile(
    rf"""(?P<before>\s*["']?(?P<key>[^"'=]+?)["']?\s*=\s*)
         (?P<value>"{{3}}.*?"{{3}}|'{{3}}.*?'{{3}}|,|(?:{_ITEM}(?:\s*,\s*{_ITEM})*(?:\s*,)?)?)
         (?P<after>\s*(?:\#.*)?)""",
    re.VERBOSE | re.DOTALL,
)
"""A line as ConfigObj reads it: text with an apostrophe in it needs no quotes, unless it begins with one."""
_COMMENTED = re.compile(r"(\s*)#+[ \t]*(.*)", re.DOTALL)
_NUMBERED = re.compile(r"(\D+)([0-9]+)")


class Unwritable(ValueError):
    """What a change would write into the file cannot be read back as intended."""


class Draft:
    """The file with changes that are not written yet: values of entries, new entries, and new sections.

    What is commented out in the file is put in force where it stands. A change raises ValueError, and is not
    made, where the file would not be read as it is meant, and ConfigFaults where that is due to an entry in a
    wrong place of it. No message has a value in it: it may be a secret.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises ConfigFaults if that cannot be done, and OSError for a pipe or device."""
        document.read(path)
        self.path = path.resolve()  # a link to the file stays one
        check_plain(self.path)
        self._read = self.path.read_bytes()
        self._lines = self._read.split(b"\n")
        self.text = document.parse(self.path, self._read)
        self._end = "\r" * self._lines[0].endswith(b"\r")

    @property
    def data(self) -> bytes:
        """The whole file, with the changes."""
        return b"\n".join(self._lines)

    def changes(self) -> list[tuple[int, str]]:
        """Return the lines that are changed or new, each with its number."""
        matcher = SequenceMatcher(None, self._read.split(b"\n"), self._lines, autojunk=False)
        return [
            (number + 1, self._lines[number].decode())
            for _, _, _, start, end in (code for code in matcher.get_opcodes() if code[0] != "equal")
            for number in range(start, end)
        ]

    def sections(self, kind: Kind) -> dict[str, Section]:
        """Return the sections of listeners or dispatchers by name."""
        return {name: section for top in self._tops(kind) for name, section in top.sections.items()}

    def values(self, kind: Kind, name: str) -> dict[str, Raw]:
        """Return the values of a section by key."""
        return {key: entry.value for key, entry in entries_of(self.sections(kind)[name]).items()}

    def value(self, kind: Kind, name: str, key: str) -> str:
        """Return a value of a section as text, "" if it has none."""
        value = self.values(kind, name).get(key, "")
        return value if isinstance(value, str) else ", ".join(value)

    def on(self, kind: Kind, type_: str = "") -> list[str]:
        """Return the names of the sections that are on, those of a type or all."""
        sections = self.sections(kind).items()
        on = [name for name, section in sections if not is_off(entries_of(section))]
        return [name for name in on if type_ in ("", self.value(kind, name, "type"))]

    def switch(self, kind: Kind, name: str, *, on: bool) -> None:
        """Switch a section on or off."""
        if (name in self.on(kind)) != on:
            self.set(kind, name, "active", "yes" if on else "no")

    def set(self, kind: Kind, name: str, key: str, value: Raw) -> str:
        """Give a section an entry with this value: in the line where it is, is commented out, or belongs.

        Its indent and comment stay. Return the entry.
        """
        top = next(top for top in self._tops(kind) if name in top.sections)
        section = top.sections[name]
        place: Place = (top.name, name, key)
        if entry := entries_of(section).get(key):
            if entry.value != value:
                place = next(place for place, (at, _) in _places(self.text).items() if at == entry.line)
                self._put(entry.line, 1, self._line(entry.line), place, value)
        elif line := self.text.commented.setting(section.line, key):
            self._put(line, 1, _uncommented(self._line(line)), place, value)
        else:
            above = _above(section, key)
            beside = next(other for other, (at, _) in _places(self.text).items() if at == above)
            place = (*beside, key) if above == section.line else (*beside[:-1], key)
            indent = _indent(self._line(above)) + "    " * (above == section.line)
            self._put(above + 1, 0, f"{indent}{key} = ", place, value)
        return f"{key} = {_written(value)}"

    def begin(self, kind: Kind, type_: str) -> str:
        """Begin a section of a type, where one is commented out or below the others; return its name."""
        taken = {*self.sections("listeners"), *self.sections("dispatchers")}
        for header in self.text.commented.headers:
            top = next((top for top in self._tops(kind) if top.line < header.line < self._end_of(top)), None)
            if top and header.name not in taken and self._commented_value(header.line, "type") == type_:
                name, text = header.name, _uncommented(self._line(header.line))
                self._accept(header.line, 1, [text], {(top.name, name): None})
                break
        else:
            names = chain([type_], (f"{type_}-{number}" for number in count(2)))
            name = next(name for name in names if name not in taken)
            self._append(kind, name)
        self.set(kind, name, "type", type_)
        return name

    def suggested(self, kind: Kind, name: str, key: str) -> str:
        """Return the value of an entry of a section that is commented out, "" if there is none."""
        return self._commented_value(self.sections(kind)[name].line, key)

    def write(self) -> None:
        """Put the changed file in the place of the old one, in one step, with its owner and mode.

        Raises ValueError if someone else has changed it meanwhile, and OSError if it cannot be written.
        """
        rewrite(self.path, self.data, before=self._read)
        self._read = self.data

    def _tops(self, kind: Kind) -> list[Section]:
        return [top for top in self.text.root.sections.values() if SECTIONS.get(top.name) == kind]

    def _line(self, number: int) -> str:
        return self._lines[number - 1].decode()

    def _commented_value(self, section: int, key: str) -> str:
        line = self.text.commented.setting(section, key)
        found = _ENTRY.fullmatch(_uncommented(self._line(line))) if line else None
        return found["value"] if found else ""

    def _put(self, line: int, instead: int, text: str, place: Place, value: Raw) -> None:
        """Put an entry with this value into a line, instead of what is there or before it."""
        written = _written(value)
        if not written.isprintable():
            raise Unwritable(f"{place[-1]}: one line of plain text expected{unseen(written)}")
        found = _ENTRY.fullmatch(text)
        if found is None:
            cure = f"write {place[-1]} = and its value in this line, without other quotes than one pair"
            raise Unwritable(f"{self.path}:{line}: {cure}")
        wanted = value if isinstance(value, str) or len(value) > 1 else value[0]
        before, after = found["before"], found["after"]
        if not found["value"]:  # what stands before a comment stays there
            before, space = f"{before.rstrip()} ", before[len(before.rstrip()) :]
            after = f"{space}{after}".rstrip(" ")
        new = f"{before}{written}{after}"
        self._accept(line, instead, [new], {place: wanted})

    def _append(self, kind: Kind, name: str) -> None:
        """Add a section below the others of its kind, above the comment of what follows them."""
        top = next(iter(self._tops(kind)), None)
        last = len(self._lines) + (self._lines[-1] != b"")
        if top is None:
            self._accept(last, 0, ["", f"[{kind}]", "", f"[[{name}]]"], {(kind,): None, (kind, name): None})
            return
        at = min(self._end_of(top), last)
        for is_passed in (_is_blank, _is_comment, _is_blank):
            while is_passed(self._line(at - 1)):
                at -= 1
        self._accept(at, 0, ["", f"[[{name}]]"], {(top.name, name): None})

    def _end_of(self, top: Section) -> int:
        """Return the line of the next section of its depth, or that after the last."""
        lines = [other.line for other in self.text.root.sections.values() if other.line > top.line]
        return min(lines, default=len(self._lines) + 1)

    def _accept(self, line: int, instead: int, new: list[str], wanted: Mapping[Place, Raw | None]) -> None:
        """Put lines in place of, or before, a line, if that changes only what is wanted."""
        added = [(text if text.endswith("\r") else f"{text}{self._end}").encode() for text in new]
        lines = [*self._lines[: line - 1], *added, *self._lines[line - 1 + instead :]]
        text = document.parse(self.path, b"\n".join(lines))
        before, after = (
            {place: value for place, (_, value) in _places(each).items()} for each in (self.text, text)
        )
        if after != {**before, **wanted}:
            self._check_moved(before.keys() - after)
            key = max(wanted, key=len)[-1]
            raise Unwritable(
                f"{key}: that would not be read as it is meant: leave quotes, commas and # out, keep it short"
            )
        self._lines, self.text = lines, text

    def _check_moved(self, moved: Collection[Place]) -> None:
        """Raise ConfigFaults where entries would get into another section: they may be meant for it."""
        for place, (line, _) in _places(self.text).items():
            if place in moved and (header := self.text.commented.section_above(line)):
                message = header.message(place[-1], line)
                raise ConfigFaults([Fault(str(self.path), header.line, header.text, message)])


def entries_of(section: Section) -> dict[str, Entry]:
    """Return the entries of a section and of those in it, as files of oem_gateway have them."""
    inner = (entries_of(each) for each in section.sections.values())
    return {key: entry for entries in (*inner, section.entries) for key, entry in entries.items()}


def _places(text: Document) -> dict[Place, tuple[int, Raw | None]]:
    """Return line and value of each entry and section of a file."""
    found: dict[Place, tuple[int, Raw | None]] = {}
    pending: list[tuple[Place, Section]] = [((), text.root)]
    while pending:
        place, section = pending.pop()
        found[place] = section.line, None
        found.update({(*place, key): (entry.line, entry.value) for key, entry in section.entries.items()})
        pending += [((*place, name), inner) for name, inner in section.sections.items()]
    return found


def _written(value: Raw) -> str:
    return ", ".join(map(quoted, [value] if isinstance(value, str) else value))


def _above(section: Section, key: str) -> int:
    """Return the line that a new entry follows: that of the number before it, or the section's last."""
    entries = entries_of(section)
    if numbered := _NUMBERED.fullmatch(key):
        lower = {
            int(found[2]): entry.line
            for other, entry in entries.items()
            if (found := _NUMBERED.fullmatch(other)) and found[1] == numbered[1]
        }
        if lower := {number: line for number, line in lower.items() if number < int(numbered[2])}:
            return lower[max(lower)]
    return max((entry.line for entry in section.entries.values()), default=section.line)


def _uncommented(line: str) -> str:
    found = _COMMENTED.fullmatch(line)
    return found[1] + found[2] if found else line


def _is_blank(line: str) -> bool:
    return not line.strip()


def _is_comment(line: str) -> bool:
    """Tell whether a line is text for people, and nothing that is commented out."""
    return line.startswith("# ") or line.strip() == "#"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def rewrite(path: Path, data: bytes, *, before: bytes | None = None, mode: int = 0o7777) -> None:
    """Put data in the place of a file in one step, and on the disk; of its mode the bits in `mode` stay.

    Its owner and group stay. Raises ValueError if it is not what it was `before`, and OSError.
    """
    check_plain(path)
    about = path.stat()
    fd, new = beside(path)
    try:
        with naming(path), os.fdopen(fd, "wb") as file:
            file.write(data)
            if (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(fd, about.st_uid, about.st_gid)
            os.fchmod(fd, about.st_mode & mode)
            file.flush()
            os.fsync(fd)
        if before is not None and path.read_bytes() != before:
            raise ValueError(f"{path}: someone else has just changed it: try again")
        put_in_place(new, path)
    finally:  # also after Ctrl-C: the file may hold a key
        new.unlink(missing_ok=True)
