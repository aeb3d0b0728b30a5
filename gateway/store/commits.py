"""The log of commits (-wal) beside the queue file, where SQLite itself would ignore some of it.

SQLite accepts a log up to the first frame whose checksum is wrong, and overwrites the rest, or all of it if
the header is damaged. But each checksum continues the one before, so the other frames can be verified, and
written as a log that SQLite accepts.
The format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import struct
from contextlib import contextmanager
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.process.state_files import as_owner, open_file, sync_names
from gateway.store.aside import free_name, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = logging.getLogger("oemgateway.spool")

PAGE = 1024
"""Bytes of a page of the file. Small: a commit writes whole pages, and writing wears an SD card."""

MAGIC = b"SQLite format 3\0"
"""The beginning of a file."""
_MAGIC, _VERSION = 0x377F0682, 3007000
_HEADER, _FRAME = 32, 24 + PAGE
_SALTS = (1, 2)
"""These distinguish the frames of a log from those of an earlier one; SQLite chooses them at random."""
_MOST = 64 << 20
"""Bytes of a log that are read; SQLite starts it again from the beginning after 1000 pages."""
_BLOCK = 4096
"""Bytes that are read at a time: a disk reads them all, or none."""
_IDENTITY = slice(68, 72)
"""Where the first page of a file has the number that identifies it."""
_LOCKS = 0x40000000, 512
"""Where SQLite locks a file, and how many bytes."""

Pair = tuple[int, int]


class Commit(NamedTuple):
    """A page in a log; `pages` is the size of the file where a commit ends with it, otherwise 0."""

    number: int
    pages: int
    page: bytes

    @property
    def content(self) -> bytes:
        """What its checksum is of."""
        return struct.pack(">2I", self.number, self.pages) + self.page


class LogDamaged(sqlite3.DatabaseError):
    """Pages are missing in the log, so pages in the file are out of date: it has to be rescued."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class Verified(NamedTuple):
    """What can be verified of a log up to its last commit, and whether nothing is missing before that."""

    commits: list[Commit]
    is_whole: bool


def length(pages: int) -> int:
    """Return the bytes of a log with so many pages."""
    return _HEADER + pages * _FRAME


def to_log(commits: Sequence[Commit], salts: Pair) -> bytes:
    """Return the log that holds these pages."""
    head = struct.pack(">6I", _MAGIC, _VERSION, PAGE, 0, *salts)
    sums = _checksum(head, (0, 0))
    parts = [head, struct.pack(">2I", *sums)]
    for commit in commits:
        sums = _checksum(commit.content, sums)
        parts += [commit.content[:8], struct.pack(">4I", *salts, *sums), commit.page]
    return b"".join(parts)


def logged(data: bytes, size: int = PAGE) -> Iterator[tuple[Commit, Pair, Pair]]:
    """Yield the pages of this size in a log, each with its salts and checksum, right or wrong."""
    frame = 24 + size
    for start in range(_HEADER, len(data) - frame + 1, frame):
        number, pages, *beside = struct.unpack_from(">6I", data, start)
        page = data[start + 24 : start + frame]
        yield Commit(number, pages, page), (beside[0], beside[1]), (beside[2], beside[3])


def verified(data: bytes) -> Verified:
    """Return what can be verified of a log."""
    good: list[Commit] = []
    whole = upto = 0
    for place, (commit, is_good) in enumerate(_checked(data)):
        if is_good:
            good.append(commit)
            whole = place + 1 if len(good) == place + 1 else whole
            upto = len(good) if commit.pages else upto
    return Verified(good[:upto], is_whole=upto <= whole)


def _checked(data: bytes) -> Iterator[tuple[Commit, bool]]:
    """Yield the pages in a log, and whether each follows from what is before it."""
    salts, before = _head(data) or (None, None)
    for place, (commit, its_salts, sums) in enumerate(logged(data)):
        if salts is None and not place:
            before = _lost_sums(commit, its_salts, sums)
        is_good = (
            before is not None
            and commit.number > 0  # the checksum of zeros is valid
            and its_salts == (salts or its_salts)
            and _checksum(commit.content, before) == sums
        )
        salts = its_salts if is_good else salts
        before = sums
        yield commit, is_good


def is_taken(path: Path) -> bool:
    """Tell whether SQLite accepts anything of the log at this path. Raises OSError."""
    if not path.exists() or path.stat().st_size < length(1):
        return False
    data, unread = _read(path)
    if unread:
        raise unread
    taken = takewhile(itemgetter(1), _checked(data) if _head(data) else ())
    return any(commit.pages for commit, _ in taken)


def set_foreign_aside(path: Path, size: int = PAGE) -> None:
    """Move away what SQLite would write into this file (pages of this size) although it belongs to another.

    That is the log of another file, and any journal: our files have a log instead, except while they are
    made. Both are kept under another name. Nothing is done where another process has the file open.
    """
    beside = [Path(f"{path}{suffix}") for suffix in ("-journal", "-wal")]
    # A file that this process has open is not opened without need: closing it would drop SQLite's locks.
    if not any(map(os.path.lexists, beside)) or not path.exists() or path.stat().st_size <= size:
        return
    with as_owner(path.parent), locked(path) as is_ours:
        for each, is_foreign in zip(beside, (True, _is_of_another(path, size)), strict=True):
            if is_ours and is_foreign and os.path.lexists(each):
                each.rename(aside := named(each, free_name(each)))
                sync_names(path.parent)
                log.error("%s is not of this file: kept as %s, and not used", each, aside)


def _is_of_another(path: Path, size: int) -> bool:
    """Tell whether the log beside this file is of another database: its first page has another identity."""
    commits = Path(f"{path}-wal")
    if not commits.exists():
        return False
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        first = file.read(PAGE)
    own = first[_IDENTITY] if first.startswith(MAGIC) else b""  # on a damaged page it may be anything
    pages = (commit for commit, *_ in logged(_read(commits)[0], size))
    its = next((page.page[_IDENTITY] for page in pages if page.number == 1), own)
    return bool(any(own) and any(its) and own != its)


def mend(path: Path, *, gaps: bool = False, is_last: bool = False) -> None:
    """Have SQLite accept all that can be verified of the log of this file.

    The log as it was is kept under another name, with zeros for what the disk cannot read. Nothing is done
    where another process has the file open. Raises LogDamaged if pages are missing, unless `gaps` are
    allowed, and OSError: also for a block that cannot be read, as it may be at the next try, unless this one
    `is_last`, and for a disk that reads nothing.
    """
    commits = Path(f"{path}-wal")
    if not (path.exists() and commits.exists()) or commits.stat().st_size < length(1):
        return
    with as_owner(path.parent), locked(path) as is_ours:
        if not is_ours:
            return
        data, unread = _read(commits)
        if unread and not (is_last and (any(data) or any(_read(path)[0]))):
            raise unread
        aside = named(commits, free_name(commits))
        if not path.stat().st_size:  # SQLite would delete the log
            commits.rename(aside)
            outcome = "its queue file is empty, and without that it cannot be used"
        elif (found := verified(data)).is_whole and _head(data) and not unread:
            return  # SQLite accepts all of it
        elif found.commits:
            if not (found.is_whole or gaps):
                raise LogDamaged(f"{commits} is damaged")
            _write(aside, data)
            new = commits.with_name(f"{commits.name}.new")
            _write(new, to_log(found.commits, _SALTS))
            new.rename(commits)
            outcome = f"{len(found.commits)} of its pages are good and were taken"
        elif not unread and (_head(data) or not any(data)):
            return  # SQLite had just started it again before a power cut, and the file has what was in it
        else:
            commits.rename(aside)
            outcome = "nothing in it can be used: the last readings before the end of the last run are lost"
        sync_names(path.parent)
    log.error("%s is damaged: kept as %s; %s", commits, aside, outcome)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Lock the file as SQLite does; yield False if another process has it."""
    with os.fdopen(open_file(path, os.O_RDWR), "rb") as file:
        start, size = _LOCKS
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, size, start)
        except BlockingIOError:
            yield False
        else:
            yield True


def _read(path: Path) -> tuple[bytes, OSError | None]:
    """Return what is in a log, with zeros for blocks that the disk cannot read, and the last error."""
    parts, error = [], None
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        size = min(_MOST, os.fstat(file.fileno()).st_size)
        for start in range(0, size, _BLOCK):
            try:
                parts.append(os.pread(file.fileno(), _BLOCK, start))
            except OSError as found:
                error = found
                parts.append(bytes(min(_BLOCK, size - start)))
    return b"".join(parts), error


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _head(data: bytes) -> tuple[Pair, Pair] | None:
    """Return salts and checksum of the log's header, or None if it is damaged."""
    magic, version, _, _, first, second, *sums = struct.unpack_from(">8I", data)
    if (magic, version) != (_MAGIC, _VERSION) or _checksum(data[:24], (0, 0)) != tuple(sums):
        return None
    return (first, second), (sums[0], sums[1])


def _lost_sums(first: Commit, salts: Pair, sums: Pair) -> Pair | None:
    """Return the checksum of a lost header: only its count of checkpoints is unknown.

    It is found by going back from the first frame; None if that is damaged, too.
    """
    found = _undone(first.content, sums)
    before_salts = _undone(struct.pack(">2I", *salts), found)
    known, _ = _checksum(struct.pack(">4I", _MAGIC, _VERSION, PAGE, 0), (0, 0))
    return found if before_salts[0] == known else None


def _checksum(data: bytes, sums: Pair) -> Pair:
    first, second = sums
    for even, odd in struct.iter_unpack("<2I", data):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _undone(data: bytes, sums: Pair) -> Pair:
    """Return the checksum before this data: the inverse of `_checksum`."""
    first, second = sums
    for even, odd in reversed(list(struct.iter_unpack("<2I", data))):
        second = (second - odd - first) & 0xFFFFFFFF
        first = (first - even - second) & 0xFFFFFFFF
    return first, second
