"""An open file of a log, and how far it has been read."""

from __future__ import annotations

import os
import zlib
from contextlib import ExitStack
from dataclasses import astuple
from itertools import islice
from typing import IO, TYPE_CHECKING

from listeners.lograte.files import open_plain, read, start_of_text, unpacked
from listeners.lograte.position import HEAD, START, TAIL, Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

CHUNK = 60_000
"""Bytes that are read at a time; a line that is longer is cut there. A pipe holds as much."""

_RECENT = 8192
"""Bytes read last that are kept, to know a text again that was written anew."""

BEGINNING = 60_000
"""Bytes by which the beginnings of two files are told apart: each may have the same header."""

NOTHING = (0, 0)
"""The key of a text without a byte."""

_LINES = 3
"""Lines by which it is known again."""


class Source:
    """An open file and how far it has been read; `since` is when it last grew or was rotated.

    `final` says that it is no longer written to: it is compressed, as its `ending` says. `is_replaced` says
    that the log goes on in another file, which has its text.
    """

    def __init__(self, path: Path, since: float, ending: str = "") -> None:
        self.final = bool(ending)
        self.since = since
        with ExitStack() as opened:
            plain = opened.enter_context(open_plain(path))
            self.file = opened.enter_context(unpacked(plain, ending)) if ending else plain
            self.close = opened.pop_all().close
        self._fd = plain.fileno()
        about = os.fstat(self._fd)
        self.inode = (about.st_dev, about.st_ino)
        self.position, self._last, self._start = START, b"", 0
        self._is_cut = False
        self.is_behind = self.is_replaced = False

    def key(self, length: int = HEAD) -> tuple[int, int]:
        """Return how long the beginning of the file's text is, up to a length, and its checksum."""
        self._start = self._start or start_of_text(self.file)
        head = read(self.file, self._start, length)
        return len(head), zlib.crc32(head)

    def begins_with(self, keys: Iterable[tuple[int, int]]) -> bool:
        """Tell whether any of these is the key of its beginning."""
        self.key(0)
        head = read(self.file, self._start, BEGINNING)
        return any(length <= len(head) and zlib.crc32(head[:length]) == crc for length, crc in keys)

    def begins_like(self, other: Source) -> bool:
        """Tell whether it begins with the text of another one, or as a long one does."""
        return self.begins_with([other.key(BEGINNING)])

    def is_left_in(self, other: Source) -> bool:
        """Tell whether another one is what its file, which has no name any more, was replaced by."""
        is_deleted = os.fstat(self._fd).st_nlink == 0
        return is_deleted and self.position.is_begun and self.position.holds(other.file)

    def begin(self, position: Position) -> None:
        """Go on from a position."""
        before = min(position.offset, _RECENT)
        self.position, self._start = position, position.start
        self._last = read(self.file, position.offset - before, before)

    def begin_at_end(self) -> None:
        """Go on after the last whole line."""
        size = os.fstat(self.file.fileno()).st_size
        last = read(self.file, size - CHUNK, CHUNK)
        offset = size - len(last) + last.rfind(b"\n") + 1 if b"\n" in last else size
        start = start_of_text(self.file)
        self.begin(Position.at(self.file, max(offset, start), start))

    def begin_after_cut(self, position: Position) -> None:
        """Go on from a position in a file whose text before it is gone or different."""
        before = read(self.file, position.offset - 1, CHUNK)
        if not before:
            self.begin_at_end()
            return
        offset = position.offset + max(0, before.find(b"\n"))
        self.begin(Position.at(self.file, offset, position.start))

    def place_in(self, file: IO[bytes]) -> Position | None:
        """Return where another text goes on after what was read here, None if that is not in it.

        It is the same text, or has the lines that were read last, once. Where all are alike nothing tells.
        """
        if not self.position.is_begun:
            return None
        # The first line may have been cut, unless the text begins there.
        is_whole = self.position.offset - self.position.start <= len(self._last)
        text = b"\n" + self._last.lstrip(b"\0") if is_whole else self._last
        *lines, rest = text.split(b"\n")[1:]
        if self.position.holds(file):
            return None if len(lines) > 1 and len({*lines}) == 1 else self.position
        needle = b"\n".join([b"", *lines[-_LINES:], b""])
        if rest or not lines or text.find(needle) != text.rfind(needle):
            return None
        start = start_of_text(file)
        ends = list(islice(_ends(file, start, needle), 2))
        return Position.at(file, ends[0], start) if len(ends) == 1 else None

    def begin_beside(self, other: Source, place: Position) -> None:
        """Go on from a place in a text, after what the other one, which is at that place, has as well."""
        common = end = 0
        while (ours := read(self.file, place.offset + common, CHUNK)) and (
            theirs := read(other.file, other.position.offset + common, CHUNK)
        ):
            same = len(os.path.commonprefix([ours, theirs]))  # noqa: RUF071  (bytes, not paths)
            if b"\n" in ours[:same]:
                end = common + ours.rindex(b"\n", 0, same) + 1
            common += same
            if same < CHUNK:
                break
        self.begin(Position.at(self.file, place.offset + end, place.start))

    def _take(self, data: bytes) -> None:
        """Go on after these bytes. The file is not read for this: it may be another one by now."""
        offset, head, _, start = astuple(self.position)
        self._last = (self._last + data[-_RECENT:])[-_RECENT:]
        head = zlib.crc32(data[: max(0, start + HEAD - offset)], head)
        self.position = Position(offset + len(data), head, zlib.crc32(self._last[-TAIL:]), start)

    def lines(self, is_over: Callable[[], bool], *, rest: bool = False) -> Iterator[bytes]:
        """Yield whole lines, some at a time; the file has been read so far when the next are asked for.

        It ends where the file has been truncated, or when the time `is_over`: then it `is_behind`. With
        `rest` a last line without an end counts as well.
        """
        data = b""
        self.is_behind = False
        if not self.position.is_begun and (start := start_of_text(self.file)) != self.position.start:
            self.begin(Position.at(self.file, start, start))
        while True:
            offset = self.position.offset
            data += read(self.file, offset + len(data), CHUNK - len(data))
            if not self.final and not self.position.holds(self.file):
                return
            end = data.rfind(b"\n") + 1
            is_cut = not end and len(data) == CHUNK
            if is_cut or (rest and not end):
                end = len(data)
            if not end:
                return
            lines = data[:end]
            # The rest of a line that was cut is not a line.
            if whole := lines.partition(b"\n")[2] if self._is_cut else lines:
                yield whole
            self._take(lines)
            self._is_cut = is_cut
            data = data[end:]
            if is_over():
                self.is_behind = True
                return


def _ends(file: IO[bytes], offset: int, lines: bytes) -> Iterator[int]:
    """Yield where these lines, which follow the end of a line, end in a text that begins at an offset."""
    before = b"\n"
    while data := read(file, offset, CHUNK):
        piece, at = before + data, -1
        while (at := piece.find(lines, at + 1)) >= 0:
            yield offset - len(before) + at + len(lines)
        offset += len(data)
        before = piece[1 - len(lines) :]
