"""oemgateway.conf as text: its sections and entries with the line of each, or what is wrong with a line."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configobj import ConfigObj, ConfigObjError, DuplicateError, NestingError

from gateway.settings import Raw

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_OPENING = re.compile(r"\s*((?:\[\s*)+)[^]#]*((?:\]\s*)*)")
_IGNORED = "#"


@dataclass(frozen=True)
class Fault:
    """One line for a person: the place, what was expected, what was found; line 0 is the file as a whole."""

    file: str
    line: int
    where: str
    message: str

    def __str__(self) -> str:
        parts = [f"{self.file}:{self.line}" if self.line else self.file, self.where, self.message]
        text = ": ".join(part for part in parts if part)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class ConfigFaults(Exception):
    """A file that will not do: `faults` are all that is wrong with it, in the order of its lines."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(faults, key=lambda fault: fault.line)
        super().__init__("\n".join(map(str, self.faults)))


@dataclass
class Entry:
    """The value of a key, and the line it stands on."""

    value: Raw
    line: int


@dataclass
class Section:
    """A section, the line of its name, its entries and the sections in it, in the order of the file."""

    name: str
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)


@dataclass
class Document:
    """The file, and what has been found to say about its lines; `length` is their number.

    `public` tells that every user of the machine can read it.
    """

    path: Path
    root: Section
    length: int
    public: bool
    faults: list[Fault]
    remarks: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._unreadable = {fault.line for fault in self.faults}

    def fault(self, line: int, where: str, message: str) -> None:
        """Note what is wrong with a line, unless it could not be read in the first place."""
        if line not in self._unreadable:
            self.faults.append(Fault(str(self.path), line, where, message))

    def remark(self, line: int, where: str, message: str) -> None:
        """Note what is allowed but worth a word."""
        self.remarks.append(Fault(str(self.path), line, where, message))


def read(path: Path) -> Document:
    """Read a file. Raises ConfigFaults where it is no text file that can be read."""
    file = str(path)
    try:
        with path.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read()
    except FileNotFoundError as error:
        raise ConfigFaults([Fault(file, 0, "", "there is no such file: make it, or name another")]) from error
    except OSError as error:
        hint = ": sudo, as it holds a key" if isinstance(error, PermissionError) else ""
        raise ConfigFaults([Fault(file, 0, "", f"cannot be read: {error.strerror}{hint}")]) from error
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        message = "a text file in UTF-8 expected, not UTF-16 or a binary file; an editor can save it as UTF-8"
        raise ConfigFaults([Fault(file, line, "", message)])
    lines = _Lines(file, data.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n"))
    public = stat.S_ISREG(mode) and bool(mode & stat.S_IROTH)
    return Document(path, lines.parsed(), len(lines.lines), public, lines.faults)


class _Lines:
    """The lines of a file on their way to sections and entries.

    A line that cannot be read is reported, and the rest is read without it. With the name of a section goes
    all that belongs to it, which would otherwise be taken for its neighbour's.
    """

    def __init__(self, file: str, raw: list[bytes]) -> None:
        self._file = file
        self._refused: set[int] = set()
        self.faults: list[Fault] = []
        self.lines = [self._text(number, line) for number, line in enumerate(raw, 1)]

    def _fault(self, line: int, where: str, message: str) -> None:
        if line not in self._refused:
            self._refused.add(line)
            self.faults.append(Fault(self._file, line, where, message))

    def _text(self, number: int, raw: bytes) -> str:
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            found = f"byte 0x{raw[error.start]:02x} at place {error.start + 1}"
            self._fault(number, "", f"text in UTF-8 expected, not {found}; an editor can save it as UTF-8")
            line = raw.decode(errors="replace")
        line = line.rstrip("\r")
        if unwanted := _CONTROL.search(line):
            self._fault(number, "", f"a control character at place {unwanted.start() + 1}: take it out")
            line = _CONTROL.sub("", line)
        return line

    def parsed(self) -> Section:
        """Read until nothing is left that ConfigObj refuses: at most twice, as a rule."""
        while True:
            try:
                parsed = ConfigObj(list(self.lines), interpolation=False)
            except ConfigObjError as failure:
                for error in failure.errors:
                    if self.lines[error.line_number - 1] != _IGNORED:
                        self._refuse(error)
            else:
                return self._numbered(parsed)

    def _refuse(self, error: ConfigObjError) -> None:
        """Report a line, and have it and what belongs to it ignored from now on."""
        number, line = error.line_number, self.lines[error.line_number - 1]
        key, equals, _ = (part.strip("\"' \t") for part in line.partition("="))
        self.lines[number - 1] = _IGNORED
        if depth := _depth(line):
            self._fault(number, line.strip(), _about_section(error, line))
            for below in range(number, len(self.lines)):
                if 0 < _depth(self.lines[below]) <= depth:
                    break
                self.lines[below] = _IGNORED
        elif isinstance(error, DuplicateError):
            self._fault(number, key, "given twice in this section: keep one")
        elif equals and key:
            if number not in self._refused:
                self.lines[number - 1] = f"{key} ="  # it is there all the same, and not missing as well
            self._fault(number, key, "put text that holds quotes or commas in one pair of quotes")
        else:
            self._fault(number, "", "`key = value` or `[section]` expected")  # the line may be a secret

    def _numbered(self, parsed: Any) -> Section:  # noqa: ANN401  (ConfigObj has no types)
        """Count the lines: scalars precede subsections, and `comments` are the lines above an entry."""
        root = Section("", 1)
        line = len(parsed.initial_comment)
        pending = [(parsed, root)]
        while pending:
            tree, section = pending.pop()
            if section is not root:
                section.line = line = line + len(tree.parent.comments[tree.name]) + 1
            for key in tree.scalars:
                line += len(tree.comments[key]) + 1
                section.entries[key] = Entry(tree[key], line)
                if below := tree[key].count("\n"):
                    self._fault(line, key, f"one line expected, not {below + 1} in triple quotes")
                    line += below
            section.sections = {name: Section(name, 0) for name in tree.sections}
            pending += reversed([(tree[name], section.sections[name]) for name in tree.sections])
        return root


def _depth(line: str) -> int:
    """Return how deep the section is that a line seems to open; 0 where it opens none."""
    opening = _OPENING.match(line)
    return max(1, min(opening[1].count("["), opening[2].count("]"))) if opening else 0


def _about_section(error: ConfigObjError, line: str) -> str:
    """Say in a person's words why this line opens no section."""
    if isinstance(error, DuplicateError):
        return "there is one of this name above: give it another, or put the two together"
    if line.count("[") != line.count("]") or not isinstance(error, NestingError):
        return "a name in as many ] as [ expected, and nothing else on the line"
    return f"it needs a section in {_depth(line) - 1} brackets above it"
