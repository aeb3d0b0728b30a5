"""oemgateway.conf as text: its sections and entries with the line of each, or what is wrong with a line."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configobj import ConfigObj, ConfigObjError, DuplicateError, NestingError

from gateway.conf.commented import Commented
from gateway.conf.prefixes import without_prefixes
from gateway.diagnosis.machine import cure_to_read
from gateway.paths import DEFAULT_FILE
from gateway.settings import Raw
from gateway.text.plain import escaped, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_OPENING = re.compile(r"\s*((?:\[\s*)+)[^]#]*((?:\]\s*)*)")
_WORD = re.compile(r"\s*([A-Za-z_]\w*)(?:\s*(:)\s*|\s+)\S")
"""Perhaps a key, on a line without a =."""
_IGNORED = "#"
_SHOWN = 50
LARGEST = 4_000_000
"""Bytes of a file; the shipped one has 30,000."""
_LONGEST = 4000
"""Characters of a line: ConfigObj's patterns take the square of their number."""
_BRACKETS = 20
"""Brackets of a section that ConfigObj may be given where they do not match: it takes 16 s for 800."""
_NESTED = re.compile(r"(\[+)[^\[\]]*(\]+)\s*")


@dataclass(frozen=True)
class Fault:
    """One line for the user: the place, what was expected, what was found; line 0 is the whole file."""

    file: str
    line: int
    where: str
    message: str

    def __str__(self) -> str:
        file = escaped(self.file)
        parts = [f"{file}:{self.line}" if self.line else file, plain(self.where), plain(self.message)]
        return ": ".join(part for part in parts if part)


class ConfigFaults(Exception):
    """A file that cannot be used: `faults` are all that is wrong with it, in the order of its lines."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(faults, key=lambda fault: fault.line)
        super().__init__("\n".join(map(str, self.faults)))

    def lines(self) -> list[str]:
        """Return the first faults, and how many more there are: a file of another kind can have many."""
        lines = [str(fault) for fault in self.faults[:_SHOWN]]
        if more := len(self.faults) - len(lines):
            lines.append(f"{more} faults more: `oemgateway check` shows all of them")
        return lines


@dataclass
class Entry:
    """The value of a key, and its line."""

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
    """The file, with the faults and remarks that were found in it; `length` is its number of lines.

    `public` tells that every user of the machine can read it, `displaced` that sections are not where they
    belong; `takers` are functions, by kind and type, that tell whether it has a setting of a name.
    """

    path: Path
    root: Section
    length: int
    public: bool
    commented: Commented
    faults: list[Fault]
    remarks: list[Fault] = field(default_factory=list)
    displaced: bool = False
    takers: dict[tuple[str, str], Callable[[str], bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._unreadable = {fault.line for fault in self.faults}

    def fault(self, line: int, where: str, message: str) -> None:
        """Note a fault of a line, unless the line could not be read at all."""
        if line not in self._unreadable:
            self.faults.append(Fault(str(self.path), line, where, message))

    def fault_once(self, line: int, where: str, message: str) -> None:
        """Note a fault of a line, and no other of that line after it: they have the same cause."""
        self.fault(line, where, message)
        self._unreadable.add(line)

    def remark(self, line: int, where: str, message: str) -> None:
        """Note a remark: something that is allowed, but may not be intended."""
        self.remarks.append(Fault(str(self.path), line, where, message))


def read(path: Path) -> Document:
    """Read a file. Raises ConfigFaults if it is not a text file, is too large, or cannot be read.

    No pipe or device is waited for: a device that gives nothing at once is an empty file, and a pipe is none.
    """
    file = str(path)
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(LARGEST + 1) or b""
    except FileNotFoundError as error:
        cure = "create it, or"
        if path == DEFAULT_FILE:
            cure = "`sudo make install` makes it (Debian's package: `sudo dpkg-reconfigure oemgateway`), or"
        message = f"there is no such file: {cure} name another with --config-file"
        raise ConfigFaults([Fault(file, 0, "", message)]) from error
    except OSError as error:
        hint = f": {cure_to_read(path)}" if isinstance(error, PermissionError) else ""
        raise ConfigFaults([Fault(file, 0, "", f"cannot be read: {error.strerror}{hint}")]) from error
    if not data and stat.S_ISFIFO(mode):
        raise ConfigFaults([Fault(file, 0, "", "a file expected, and no pipe from which nothing comes")])
    return parse(path, data, public=stat.S_ISREG(mode) and bool(mode & stat.S_IROTH))


def too_large(path: Path) -> Fault:
    """Return the fault of a file that is larger than LARGEST."""
    return Fault(str(path), 0, "", f"a file of at most {LARGEST // 1_000_000} megabytes expected")


def parse(path: Path, data: bytes, *, public: bool = False) -> Document:
    """Return the bytes of a file as a Document. Raises ConfigFaults if they are not text, or too many."""
    file = str(path)
    if len(data) > LARGEST:
        raise ConfigFaults([too_large(path)])
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        message = "a text file in UTF-8 expected, not UTF-16 or a binary file; an editor can save it as UTF-8"
        raise ConfigFaults([Fault(file, line, "", message)])
    lines = _Lines(file, data.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").split(b"\n"))
    root = lines.parsed()
    return Document(path, root, len(lines.lines), public, lines.commented, lines.faults, lines.remarks)


def _is_unmatched(line: str) -> bool:
    """Tell whether so many brackets do not match that ConfigObj would take minutes."""
    section = line.strip().partition("#")[0]
    if not section.startswith("[") or section.count("[") + section.count("]") <= _BRACKETS:
        return False
    matched = _NESTED.fullmatch(section)
    return matched is None or len(matched[1]) != len(matched[2])


class _Lines:
    """Turns the lines of a file into sections and entries.

    A line that cannot be read is reported, and the rest is read without it. If it names a section, all of the
    section is ignored, as it would otherwise count as part of its neighbour.
    """

    def __init__(self, file: str, raw: list[bytes]) -> None:
        self._file = file
        self._refused: set[int] = set()
        self.faults: list[Fault] = []
        self.remarks: list[Fault] = []
        self.lines, pasted = without_prefixes([self._text(place, line) for place, line in enumerate(raw, 1)])
        for line, message in pasted[:1]:
            self._fault(line, "", message)
        self.commented = Commented(self.lines)
        self._places = _places(self.lines)

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
        if unwanted := CONTROL.search(line):
            self._fault(number, "", f"a control character at place {unwanted.start() + 1}: remove it")
            line = CONTROL.sub("", line)
        if len(line) > _LONGEST:
            self._fault(number, "", f"a line of at most {_LONGEST} characters expected, not of {len(line)}")
            line = _IGNORED
        elif _is_unmatched(line):
            self._fault(number, "", "a name in as many ] as [ expected, such as [[name]]")
            line = _IGNORED
        return line

    def parsed(self) -> Section:
        """Read until ConfigObj refuses nothing more: usually at most twice."""
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
        """Report a line, and ignore it and what belongs to it from now on."""
        number, line = error.line_number, self.lines[error.line_number - 1]
        key, equals, value = (part.strip("\"' \t") for part in line.partition("="))
        if depth := depth_of(line):
            self._fault(number, key, self._about_section(error, number))
            self.lines[number - 1] = _IGNORED
            for below in range(number, len(self.lines)):
                if 0 < depth_of(self.lines[below]) <= depth:
                    break
                self.lines[below] = _IGNORED
            return
        self.lines[number - 1] = _IGNORED
        if isinstance(error, DuplicateError):
            if header := self.commented.section_above(number):
                self._refused.add(number)
                self._fault(header.line, header.text, header.message(key, number))
            cure = "put the [[name]] of another section above it, or " * (key == "type")
            self._fault(number, key, f"given twice in this section: {cure}keep one")
        elif equals and key:
            self._keep(number, key)
            self._fault(number, key, _about_value(value, line))
        else:
            if word := _WORD.match(line):
                self._keep(number, word[1])
            cure = ", with = and not :" if word and word[2] else ""
            if line.lstrip().startswith((";", "//", "--", "/*")):
                cure = ": a comment begins with #"
            self._fault(number, "", f"`key = value` or `[section]` expected{cure}")  # it may be a secret

    def _keep(self, number: int, key: str) -> None:
        """Keep a setting whose line cannot be read, so that it is not reported as missing too."""
        if number not in self._refused:
            self.lines[number - 1] = f"{key} ="

    def _about_section(self, error: ConfigObjError, number: int) -> str:
        """Return why this line opens no section."""
        line = self.lines[number - 1]
        if isinstance(error, DuplicateError) and number in self._places:
            return self._about_twin(number)
        if line.count("[") != line.count("]") or not isinstance(error, NestingError):
            return "a name in as many ] as [ expected, and nothing else on the line"
        _, above = self._places[number]
        if not above:
            return "it is above the first [section]: move it below [listeners], [dispatchers] or [nodes]"
        name = line.partition("#")[0].strip(" \t[]")
        if not name:
            return "a name expected between the brackets"
        return f"{'[' * (above + 1)}{name}{']' * (above + 1)} expected, in fewer brackets"

    def _about_twin(self, number: int) -> str:
        first, _ = self._places[number]
        if depth_of(self.lines[number - 1]) == 1:
            return (
                f"it begins in line {first} already: move what is below this line up there, "
                "and remove this line"
            )
        return f"there is one of this name in line {first}: give this one another, or put the two together"

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
                self._look_for_cut(key, line, tree.inline_comments[key])
                if below := tree[key].count("\n"):
                    self._fault(line, key, f"one line expected, not {below + 1} in triple quotes")
                    line += below
            section.sections = {name: Section(name, 0) for name in tree.sections}
            pending += reversed([(tree[name], section.sections[name]) for name in tree.sections])
        return root

    def _look_for_cut(self, key: str, line: int, comment: str | None) -> None:
        """Point out a value that a # may have ended by mistake, as one in a password does."""
        before = self.lines[line - 1].removesuffix(comment or "")[-1:]
        if comment and before.strip("=,\"' \t"):
            message = 'what follows # is a comment: text with a # in it needs "quotes"'
            self.remarks.append(Fault(self._file, line, key, message))


def depth_of(line: str) -> int:
    """Return the depth of the section that a line seems to open; 0 if it opens none."""
    opening = _OPENING.match(line)
    return max(1, min(opening[1].count("["), opening[2].count("]"))) if opening else 0


def _places(lines: Iterable[str]) -> dict[int, tuple[int, int]]:
    """Return, for each line that opens a section, the first that opens the same, and the depth above it."""
    first: dict[tuple[int, str], int] = {}
    places: dict[int, tuple[int, int]] = {}
    around: list[tuple[int, int]] = [(0, 0)]  # depth and line of the sections that a line is in
    for number, line in enumerate(lines, 1):
        depth = depth_of(line)
        if not depth:
            continue
        above = around[-1][0]
        while around[-1][0] >= depth:
            around.pop()
        name = line.partition("#")[0].strip(" \t[]\"'")
        places[number] = first.setdefault((around[-1][1], name), number), above
        if depth <= above + 1:
            around.append((depth, places[number][0]))
    return places


def _about_value(value: str, line: str) -> str:
    """Return why the value in this line cannot be read, without the value, which may be a secret."""
    if value.startswith(","):
        return "a value expected before the comma"
    if line.count('"') % 2:
        return 'there is a " too many, or one is missing'
    if ",," in value.replace(" ", ""):
        return 'a value expected between the two commas; "" stands for none'
    return "put text that holds quotes or commas in one pair of quotes"
