"""A new first page for a queue file that has lost its own.

The first page has the header and the first page number of each table: without it nothing of a file can be
read. SQLite prefers a page in the log (-wal) to the one in the file. So a log of one page makes the rest
readable, and the damaged file is not changed. Its format: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.process.state_files import as_owner, open_file
from gateway.store import commits, store
from gateway.store.commits import PAGE, Commit, length, to_log

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = 100
"""Bytes in front of the first page's own cells."""
_SALTS = (1, 1)
"""These mark a log as ours: the salts that SQLite writes are random."""


def readable(path: Path, *, is_last: bool = True) -> sqlite3.Connection:
    """Open a damaged file for reading; one that has lost its first page and has no log gets a log with one.

    In a try that `is_last`, what the disk cannot read of the log counts as lost. Raises OSError, or
    sqlite3.Error for a file that is not a queue.
    """
    with as_owner(path.parent):
        log = Path(f"{path}-wal")
        commits.mend(path, gaps=True, is_last=is_last)
        source = _opened(path)
        try:
            if _has_frames(source) or _holds_commits(log):
                return source
            for page in _candidates(path):
                source.close()
                _write(log, page)
                source = _opened(path)
                if _has_frames(source):
                    break
        except BaseException:
            source.close()
            raise
        return source


def _opened(path: Path) -> sqlite3.Connection:
    source = store.open_view(path)
    try:
        source.execute("PRAGMA writable_schema=ON")  # otherwise nothing of a truncated one can be read
    except sqlite3.Error:
        source.close()
        raise
    return source


def _has_frames(source: sqlite3.Connection) -> bool:
    try:
        with closing(source.execute("SELECT frame FROM frames LIMIT 0")):
            return True
    except sqlite3.Error:
        return False


def _holds_commits(log: Path) -> bool:
    """Tell whether the file has a log with commits of its own; one shorter than a page has none."""
    if not log.exists() or log.stat().st_size < length(1):
        return False
    with os.fdopen(open_file(log, os.O_RDONLY), "rb") as file:
        return log.stat().st_size > length(1) or file.read(24)[16:] != struct.pack(">2I", *_SALTS)


def _candidates(path: Path) -> Iterator[bytes]:
    """Return what the first page may have been: first with its header corrected, then as in a new file."""
    with os.fdopen(open_file(path, os.O_RDONLY), "rb", buffering=0) as file:
        pages = (os.fstat(file.fileno()).st_size + PAGE - 1) // PAGE
        own = b""
        with suppress(OSError):  # it is on a bad block
            own = file.read(PAGE)
            if len(own) < PAGE:
                return
    with closing(store.stand_in()) as new:
        fresh = bytearray(new.serialize()[:PAGE])
    fresh[18:20] = b"\x02\x02"  # written and read with a log
    fresh[28:32] = struct.pack(">I", pages)
    fresh[32:40] = bytes(8)  # no page is free
    fresh[92:96] = fresh[24:28]  # the number of pages is valid
    if own:
        yield bytes(fresh[:_HEADER]) + own[_HEADER:]
    yield bytes(fresh)


def _write(log: Path, page: bytes) -> None:
    pages = struct.unpack(">I", page[28:32])[0]
    with os.fdopen(open_file(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(to_log([Commit(1, pages, page)], _SALTS))
