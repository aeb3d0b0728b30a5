"""Reads each line of a log file once, however the file is rotated.

An inode is not an identity: it is reused at once (20 times out of 20 on ext4). A file is known by its
beginning and by the bytes before the offset, which no rotation changes. By these a rotated file is found
again, under another name or compressed, even after a restart.
"""

from __future__ import annotations

import os
import zlib
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import astuple
from functools import partial
from typing import TYPE_CHECKING, Any

from listeners.lograte.files import open_plain, read, rotated_files, start_of_text, unpacked
from listeners.lograte.position import HEAD, START, TAIL, Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK = 60_000
"""Bytes that are read at a time; a line that is longer is cut there. A pipe holds as much."""
LATE = 10.0
"""Seconds for which a rotated file is still read after its last line: its program may not know yet."""
_KNOWN = 500
"""Rotated files that are remembered."""
_WANTED = 20
"""Positions that are remembered while their files are missing."""


class _Source:
    """An open file and how far it has been read; `since` is when it last grew or was rotated.

    `final` says that it is no longer written to: it is compressed, as its `ending` says.
    """

    def __init__(self, path: Path, since: float, ending: str = "") -> None:
        self.final = bool(ending)
        self.since = since
        with ExitStack() as opened:
            plain = opened.enter_context(open_plain(path))
            self.file = opened.enter_context(unpacked(plain, ending)) if ending else plain
            self.close = opened.pop_all().close
        about = os.fstat(plain.fileno())
        self.inode = (about.st_dev, about.st_ino)
        self.position, self._last, self._start = START, b"", 0
        self._is_cut = False
        self.is_behind = False

    def key(self, length: int = HEAD) -> tuple[int, int]:
        """Return how long the beginning of the file's text is, up to a length, and its checksum."""
        self._start = self._start or start_of_text(self.file)
        head = read(self.file, self._start, length)
        return len(head), zlib.crc32(head)

    def begin(self, position: Position) -> None:
        """Go on from a position."""
        before = min(position.offset, TAIL)
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

    def _take(self, data: bytes) -> None:
        """Go on after these bytes. The file is not read for this: it may be another one by now."""
        offset, head, _, start = astuple(self.position)
        self._last = (self._last + data[-TAIL:])[-TAIL:]
        head = zlib.crc32(data[: max(0, start + HEAD - offset)], head)
        self.position = Position(offset + len(data), head, zlib.crc32(self._last), start)

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


class Follower:
    """What is new in a log file since the last look; `now` is by the monotonic clock.

    `has_rotated` says that a file was rotated since `state` was asked for: files that it names may be gone.
    Without a state of an earlier run it `is_first`, and begins at the end of the file. Rotated files are
    beside the file, or in `olddir`. `lost` counts those that were not found, and `unreadable` says which one
    could not be read last, and why.
    """

    def __init__(
        self, path: Path, state: dict[str, Any], now: Callable[[], float], olddir: Path | None = None
    ) -> None:
        self.lost = 0
        self.unreadable = ""
        self.has_rotated = False
        self._path = path
        self._folders = {path.parent, olddir or path.parent}
        self._now = now
        self._sources: list[_Source] = []
        self._is_over: Callable[[], bool] = lambda: False
        self._known: dict[tuple[int, int], None] = {}
        self._wanted: dict[Position, float | None] = {}
        self._looked_at: set[tuple[int, int, int]] = set()
        self.is_first = not self._recall(state)

    def _recall(self, state: dict[str, Any]) -> bool:
        with suppress(KeyError, TypeError, ValueError, OverflowError):
            given_up = state.get("given_up", [])
            for each in (*given_up, *state["positions"]):
                position = Position(*map(int, each))
                if not 0 <= position.start <= position.offset < 1 << 63:
                    return False
                if position.is_begun:
                    self._wanted[position] = None if each in given_up else self._now()
            self._known = {(int(length), int(crc)): None for length, crc in state["known"]}
            return True
        return False

    def state(self) -> dict[str, Any]:
        """Return where it is, as JSON can have it."""
        self.has_rotated = False
        wanted = [position for position, since in self._wanted.items() if since is not None]
        positions = [*wanted, *(source.position for source in self._sources)]
        return {
            "positions": [position.numbers for position in positions],
            "given_up": [each.numbers for each, since in self._wanted.items() if since is None],
            "known": [
                [length, crc]
                for length, crc in self._known
                if all(each.position.is_begun or each.key(length) != (length, crc) for each in self._sources)
            ],
        }

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()
        self._sources = []

    def begin(self) -> None:
        """Find out where to begin, if there is a file that can be read."""
        with suppress(OSError):
            self._look()

    @property
    def is_behind(self) -> bool:
        """Whether the last poll left lines for the next one."""
        return any(source.is_behind for source in self._sources)

    def poll(self, is_over: Callable[[], bool] = lambda: False) -> Iterator[bytes]:
        """Yield the new lines, some at a time; those yielded last count as read when it resumes.

        When the time `is_over`, the rest is for the next poll: a file may grow as fast as it is read. Raises
        OSError if the file cannot be read.
        """
        self._is_over = is_over
        for source in [*self._sources]:
            yield from self._read(source)
        missing = self._look()
        for source in [*self._sources]:
            yield from self._read(source)
        if missing:
            raise missing
        yield from self._finish()
        for position, since in self._wanted.items():
            if since is not None and self._now() >= since + LATE:
                self._wanted[position] = None
                self.lost += 1

    def _read(self, source: _Source, *, rest: bool = False) -> Iterator[bytes]:
        with suppress(*[OSError] if source.final else []):
            for lines in source.lines(self._is_over, rest=rest or source.final):
                yield lines
                source.since = self._now()

    def _finish(self) -> Iterator[bytes]:
        """Close the rotated files that are no longer written to."""
        for source in self._sources[:-1]:
            if source.final or self._now() >= source.since + LATE:
                yield from self._read(source, rest=True)
                if not source.is_behind:
                    source.close()
                    self._sources.remove(source)
                    self.has_rotated = True

    def _look(self) -> FileNotFoundError | None:
        """Find out whether the file was rotated, and if so open what there is to read.

        Return the error if the file itself is missing and was not open before.
        """
        current = self._sources[-1] if self._sources else None
        is_truncated = current is not None and not current.position.holds(current.file)
        if current and is_truncated:
            self._wanted[current.position] = self._now()
            self._wanted = dict([*self._wanted.items()][-_WANTED:])
            current.begin(START)
        new = missing = None
        try:
            new = self._open_new(current)
        except FileNotFoundError as error:
            missing = error
        added = self._open_rotated(new or (None if is_truncated else current))
        self.has_rotated |= is_truncated or bool(new or added)
        if new:
            if current:
                current.since = self._now()
            self._sources += [*added, new]
        elif current:
            self._sources[-1:] = [*added, current]
        else:
            self._sources += added
        self.is_first = False
        return missing

    def _open_new(self, current: _Source | None) -> _Source | None:
        """Return the file that is there now, where it is not the current one."""
        try:
            about = self._path.stat()
        except FileNotFoundError:
            if current or self.is_first:
                return None  # it is between two names, or not there yet
            raise
        if current and current.inode == (about.st_dev, about.st_ino):
            return None
        new = _Source(self._path, self._now())
        if self.is_first:
            new.begin_at_end()
        else:
            self._go_on(new, is_log=True)
        return new

    def _go_on(self, source: _Source, *, is_log: bool = False) -> None:
        """Move a source to where its file was left; a power cut may have cut off the end of the log."""
        wanted = sorted(self._wanted, key=lambda each: each.offset, reverse=True)
        if found := next((each for each in wanted if each.holds(source.file)), None):
            source.begin(found)
        elif is_log and (found := next(filter(partial(self._is_cut, source), wanted), None)):
            source.begin_after_cut(found)
        elif found := next((each for each in wanted if each.fits(source.file)), None):
            source.begin(found)
        if found:
            del self._wanted[found]

    def _is_cut(self, log: _Source, position: Position) -> bool:
        """Tell whether the log begins like the file of a position, which is not a rotated one."""
        if not position.begins(log.file):
            return False
        for path, _, ending in rotated_files(self._path, self._folders):
            with suppress(OSError), closing(_Source(path, 0.0, ending)) as rotated:
                if position.holds(rotated.file):
                    return False
        return True

    def _open_rotated(self, written: _Source | None) -> list[_Source]:
        """Return the rotated files that are not known yet, the oldest first.

        `written` is the file itself, None if it was truncated since the last look.
        """
        added, looked_at = [], set()
        open_now = [*self._sources, *filter(None, [written])]
        for path, about, ending in rotated_files(self._path, self._folders):
            signature = (about.st_ino, about.st_mtime_ns, about.st_size)
            if signature in self._looked_at:
                looked_at.add(signature)
                continue
            looked_at.add(signature)
            with self._unread(path), ExitStack() as opened:
                source = _Source(path, self._now(), ending)
                opened.callback(source.close)
                if source.inode != (about.st_dev, about.st_ino):  # it has been renamed by now
                    looked_at.remove(signature)
                    continue
                key, is_new = source.key(), self._is_new(source)
                same = [each for each in open_now if each.key(key[0]) == key]
                if is_new and written and (written in same or written.position.fits(source.file)):
                    # It was copied, and is about to be truncated: the next poll shows it.
                    looked_at.remove(signature)
                    continue
                if key[0]:
                    self._known[key] = None
                if is_new and not same and not self.is_first:  # what is open was renamed, or compressed
                    self._go_on(source)
                    added.append(source)
                    opened.pop_all()
        self._looked_at = looked_at
        for key in [*self._known][:-_KNOWN]:
            del self._known[key]
        return added

    def _is_new(self, source: _Source) -> bool:
        """Tell whether a rotated file is to be read; a short one that was seen may have grown since.

        One that was seen, and was open when the last run ended, is read on from there.
        """
        key = source.key()
        if any(since is not None and each.fits(source.file) for each, since in self._wanted.items()):
            return True
        short = (each for each in self._known if each[0] < HEAD)
        return bool(key[0]) and key not in self._known and all(source.key(n) != (n, crc) for n, crc in short)

    @contextmanager
    def _unread(self, path: Path) -> Iterator[None]:
        """Note that a rotated file cannot be read."""
        try:
            yield
        except OSError as error:
            self.unreadable = f"{path.name}: {error.strerror or error}"
