"""Reads each line of a log file once, however the file is rotated.

An inode is no identity: it is used again at once (20 times of 20 on ext4). A file is known by its beginning
and by what stands before the offset, which no rotation changes. By these a rotated file is found again, under
another name or compressed, also after a restart.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import zlib
from contextlib import ExitStack, suppress
from dataclasses import astuple, dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHUNK = 60_000
"""Bytes that are read at a time; a line that is longer is cut there. A pipe holds as much."""
LATE = 10.0
"""Seconds for which a rotated file is still read after its last line: its program may not know yet."""
_HEAD, _TAIL = 1024, 64
_KNOWN = 500
"""Rotated files that are remembered."""
_WANTED = 20
"""Positions whose files have not been found again that are remembered."""
_DAMAGED = (OSError, EOFError, zlib.error)
"""What reading a compressed file may raise."""


@dataclass(frozen=True, slots=True)
class Position:
    """A file, by checksums of its first bytes and of those before the offset, where reading goes on."""

    offset: int
    head: int
    tail: int

    def fits(self, file: IO[bytes]) -> bool:
        """Tell whether a file is this one, of which something was read, or a copy that was made before."""
        if not self.offset or _crc(file, 0, min(self.offset, _HEAD)) != self.head:
            return False
        return _read(file, self.offset - 1, 1) == b"" or self.holds(file)

    def holds(self, file: IO[bytes]) -> bool:
        """Tell whether a file still has what was read of it."""
        before = min(self.offset, _TAIL)
        return _crc(file, self.offset - before, before) == self.tail and (
            _crc(file, 0, min(self.offset, _HEAD)) == self.head
        )


START = Position(0, 0, 0)


class _Source:
    """An open file and how far it has been read; something came last, or it was rotated, at `since`.

    `final` says that nothing is written to it any more: it is compressed.
    """

    def __init__(self, path: Path, since: float) -> None:
        self.final = path.suffix == ".gz"
        self.since = since
        self.file = _open(path)
        about = os.fstat(self.file.fileno())
        self.inode = (about.st_dev, about.st_ino)
        self.position, self._last = START, b""
        self._is_cut = False

    def key(self, length: int = _HEAD) -> tuple[int, int]:
        """Return how long the beginning of the file is, up to a length, and its checksum."""
        head = _read(self.file, 0, length)
        return len(head), zlib.crc32(head)

    def begin(self, position: Position) -> None:
        """Go on from a position."""
        before = min(position.offset, _TAIL)
        self.position = position
        self._last = _read(self.file, position.offset - before, before)

    def begin_at_end(self) -> None:
        """Go on after the last whole line."""
        size = os.fstat(self.file.fileno()).st_size
        last = _read(self.file, size - CHUNK, CHUNK)
        offset = size - len(last) + last.rfind(b"\n") + 1 if b"\n" in last else size
        before = min(offset, _TAIL)
        self.begin(
            Position(offset, _crc(self.file, 0, min(offset, _HEAD)), _crc(self.file, offset - before, before))
        )

    def _take(self, read: bytes) -> None:
        """Go on after these bytes. The file is not looked at for it: it may be another one by now."""
        offset, head, _ = astuple(self.position)
        self._last = (self._last + read[-_TAIL:])[-_TAIL:]
        head = zlib.crc32(read[: max(0, _HEAD - offset)], head)
        self.position = Position(offset + len(read), head, zlib.crc32(self._last))

    def lines(self, *, rest: bool = False) -> Iterator[bytes]:
        """Yield whole lines, some at a time; the file has been read so far when the next are asked for.

        It ends where the file has been truncated. With `rest` a last line without an end counts as well.
        """
        data = b""
        while True:
            offset = self.position.offset
            data += _read(self.file, offset + len(data), CHUNK - len(data))
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


class Follower:
    """What is new in a log file since the last look; `now` is by the monotonic clock.

    Without a state of an earlier run it `is_first`, and begins at the end of the file.
    """

    def __init__(self, path: Path, state: dict[str, Any], now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._rotated = re.compile(re.escape(path.name) + r"[.-][0-9][-0-9._T:]*(\.gz)?")
        self._sources: list[_Source] = []
        self._known: dict[tuple[int, int], None] = {}
        self._wanted: list[Position] = []
        self._looked_at: set[tuple[int, int, int]] = set()
        self.is_first = not self._recall(state)

    def _recall(self, state: dict[str, Any]) -> bool:
        with suppress(KeyError, TypeError, ValueError):
            positions = [Position(*map(int, each)) for each in state["positions"]]
            self._wanted = [position for position in positions if position.offset]
            self._known = {(int(length), int(crc)): None for length, crc in state["known"]}
            return True
        return False

    def state(self) -> dict[str, Any]:
        """Return where it is, as JSON can have it."""
        positions = [*self._wanted, *(source.position for source in self._sources)]
        return {
            "positions": [[each.offset, each.head, each.tail] for each in positions],
            "known": [
                [length, crc]
                for length, crc in self._known
                if all(source.key(length) != (length, crc) for source in self._sources)
            ],
        }

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.file.close()
        self._sources = []

    def begin(self) -> None:
        """Find out where to begin, as far as there is a file that can be read."""
        with suppress(OSError):
            self._look()

    def poll(self) -> Iterator[bytes]:
        """Yield the lines that are new, some at a time; what was yielded last is taken when it goes on.

        Raises OSError where the file cannot be read.
        """
        for source in [*self._sources]:
            yield from self._read(source)
        self._look()
        for source in [*self._sources]:
            yield from self._read(source)
        yield from self._finish()

    def _read(self, source: _Source, *, rest: bool = False) -> Iterator[bytes]:
        with suppress(*_DAMAGED if source.final else ()):
            for lines in source.lines(rest=rest or source.final):
                yield lines
                source.since = self._now()

    def _finish(self) -> Iterator[bytes]:
        """Close the rotated files to which nothing is written any more."""
        for source in self._sources[:-1]:
            if source.final or self._now() >= source.since + LATE:
                yield from self._read(source, rest=True)
                source.file.close()
                self._sources.remove(source)

    def _look(self) -> None:
        """Find out whether the file was rotated, and open what there is to read then."""
        current = self._sources[-1] if self._sources else None
        is_truncated = current is not None and not current.position.holds(current.file)
        if current and is_truncated:
            self._wanted = [*self._wanted, current.position][-_WANTED:]
            current.begin(START)
        new = self._open_new(current)
        intact = None if is_truncated or new else current
        added = self._open_rotated(intact, new)
        if new:
            if current:
                current.since = self._now()
            self._sources += [*added, new]
        elif current:
            self._sources[-1:] = [*added, current]
        else:
            self._sources += added
        self.is_first = False

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
            self._go_on(new)
        return new

    def _go_on(self, source: _Source) -> None:
        """Move a source to where its file was left."""
        for position in reversed(self._wanted):
            if position.fits(source.file):
                self._wanted.remove(position)
                source.begin(position)
                return

    def _open_rotated(self, intact: _Source | None, new: _Source | None) -> list[_Source]:
        """Return the rotated files that are not known yet, the oldest first."""
        added, looked_at = [], set()
        open_now = [*self._sources, *filter(None, [new])]
        for path, about in self._rotated_files():
            signature = (about.st_ino, about.st_mtime_ns, about.st_size)
            if signature in self._looked_at:
                looked_at.add(signature)
                continue
            looked_at.add(signature)
            with suppress(*_DAMAGED), ExitStack() as opened:
                source = _Source(path, self._now())
                opened.callback(source.file.close)
                key, is_new = source.key(), self._is_new(source)
                same = [each for each in open_now if each.key(key[0]) == key]
                if is_new and intact and (intact in same or intact.position.fits(source.file)):
                    # It was copied, and is about to be truncated: the next look tells.
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
        """Tell whether a rotated file has not been seen; a short one may have grown since."""
        key = source.key()
        short = (each for each in self._known if each[0] < _HEAD)
        return bool(key[0]) and key not in self._known and all(source.key(n) != (n, crc) for n, crc in short)

    def _rotated_files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        with suppress(OSError):
            for path in self._path.parent.iterdir():
                if self._rotated.fullmatch(path.name):
                    with suppress(OSError):  # it may have got another name by now
                        found.append((path, path.stat()))
        return sorted(found, key=lambda each: each[1].st_mtime_ns)


def _open(path: Path) -> IO[bytes]:
    """Open a plain file, compressed or not; a pipe is not waited for."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "a plain file expected", str(path))
    file = io.FileIO(fd)
    if path.suffix != ".gz":
        return file
    import gzip  # noqa: PLC0415  (where nothing is compressed it is not needed)

    unpacked = gzip.GzipFile(fileobj=file, mode="rb")
    unpacked.myfileobj = file  # to be closed with it
    return unpacked  # type: ignore[return-value]  # it has what IO has


def _read(file: IO[bytes], offset: int, size: int) -> bytes:
    """Return up to so many bytes from an offset on; fewer only at the end."""
    file.seek(max(0, offset))
    return file.read(size)


def _crc(file: IO[bytes], offset: int, size: int) -> int:
    return zlib.crc32(_read(file, offset, size)) if size else 0
