"""The first page of a queue file, put beside a file that has lost its own.

The first page has the header and names the first page of each table: without it nothing of a file can be
read. SQLite reads a page from the log (-wal) where that has one. So a log of one page makes the rest
readable, and the damaged file stays as it is. Its format: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.paths import as_owner, open_file
from gateway.spool import store
from gateway.spool.limits import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = 100
"""Bytes in front of the first page's own cells."""
_MAGIC, _VERSION = 0x377F0682, 3007000
_SALT = (1, 1)
"""What tells this log from those that SQLite writes, whose salts are random."""
_LENGTH = 32 + 24 + PAGE
"""Bytes of a log with one page."""


def readable(path: Path) -> sqlite3.Connection:
    """Open a damaged file to be read only; where its first page is lost and it has no log, with one.

    Raises OSError, or sqlite3.Error for what is no queue at all.
    """
    with as_owner(path.parent):
        log = Path(f"{path}-wal")
        source = _opened(path)
        if _has_frames(source) or _holds_commits(log):
            return source
        for page in _candidates(path):
            source.close()
            _write(log, page)
            source = _opened(path)
            if _has_frames(source):
                break
        return source


def _opened(path: Path) -> sqlite3.Connection:
    source = store.open_view(path)
    source.execute("PRAGMA writable_schema=ON")  # else one that was cut off gives nothing
    return source


def _has_frames(source: sqlite3.Connection) -> bool:
    try:
        with closing(source.execute("SELECT frame FROM frames LIMIT 0")):
            return True
    except sqlite3.Error:
        return False


def _holds_commits(log: Path) -> bool:
    """Tell whether the file has a log with commits of its own: one shorter than a page has none."""
    if not log.exists() or log.stat().st_size < _LENGTH:
        return False
    with os.fdopen(open_file(log, os.O_RDONLY), "rb") as file:
        return log.stat().st_size > _LENGTH or file.read(24)[16:] != struct.pack(">2I", *_SALT)


def _candidates(path: Path) -> Iterator[bytes]:
    """Return what the first page may have been: with a right header, and then as a new file has it."""
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        own = file.read(PAGE)
        pages = (os.fstat(file.fileno()).st_size + PAGE - 1) // PAGE
    if len(own) < PAGE:
        return
    with closing(store.stand_in()) as new:
        fresh = bytearray(new.serialize()[:PAGE])
    fresh[18:20] = b"\x02\x02"  # written and read with a log
    fresh[28:32] = struct.pack(">I", pages)
    fresh[32:40] = bytes(8)  # no page is free
    fresh[92:96] = fresh[24:28]  # the number of pages is a right one
    yield bytes(fresh[:_HEADER]) + own[_HEADER:]
    yield bytes(fresh)


def _write(log: Path, page: bytes) -> None:
    pages = struct.unpack(">I", page[28:32])[0]
    with os.fdopen(open_file(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(_log(page, pages))


def _log(page: bytes, pages: int) -> bytes:
    """Return a log with one commit, of the first page."""
    head = struct.pack(">6I", _MAGIC, _VERSION, PAGE, 0, *_SALT)
    sums = _checksum(head, (0, 0))
    frame = struct.pack(">2I", 1, pages)
    of_frame = _checksum(frame + page, sums)
    return b"".join((head, struct.pack(">2I", *sums), frame, struct.pack(">4I", *_SALT, *of_frame), page))


def _checksum(data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    for even, odd in struct.iter_unpack("<2I", data):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
