"""Writing while the disk is full: what is delivered has to be noted, or all of it is sent again.

Other programs take whatever is free on the disk. So the bytes that were set aside become free pages of the
file at once, and as many bytes of SQLite's log. From then on neither of them grows: the log is brought into
the file after each write, and is written from its beginning again.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from gateway.store import store
from gateway.store.commits import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.spool.contents import Contents
    from gateway.spool.limits import Limits
    from gateway.store.ballast import Ballast

_RESERVED = 800
"""Pages that are reserved for frames and notes, at most."""
_FOR_NOTES = 100
"""Pages of these that frames leave free."""


class FullDisk:
    """Writes to the file of a queue, also while its disk `is_full`."""

    def __init__(self, limits: Limits, ballast: Ballast) -> None:
        self.is_full = False
        self._most = limits.file_bytes // PAGE
        self._ballast = ballast

    def begin(self, contents: Contents) -> None:
        """Set bytes aside; a disk that has too few for that counts as full."""
        with suppress(sqlite3.Error):
            _set_free(contents.db)
        self._ballast.take()
        if not self._ballast.take_again():
            self.make_room(contents)

    def make_room(self, contents: Contents) -> None:
        """Have SQLite take the room that was set aside, as the disk has no more."""
        self._ballast.drop()
        self.is_full = True
        _empty_log(contents.db)
        room = min(_RESERVED, self._ballast.free // PAGE // 2 - _FOR_NOTES)  # half of it is for the log
        if room > 0:
            with suppress(sqlite3.Error):
                _reserve(contents.db, room)

    def write(self, contents: Contents) -> bool:
        """Write; on a full disk the notes first, and then frames if they leave room for notes."""
        if not self.is_full:
            return contents.write()
        _set_free(contents.db)
        is_written = _note(contents)
        if self._ballast.take_again():
            self.is_full = False
            return contents.write() or is_written
        with self._growing_by(contents.db, 0):
            is_written = contents.write(spare=_FOR_NOTES) or is_written
        _empty_log(contents.db)
        return is_written

    def end(self, contents: Contents) -> None:
        """Write what waits in memory where there is room for it: nothing more will have to be noted."""
        with suppress(sqlite3.Error):
            contents.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            with self._growing_by(contents.db, self._ballast.free // PAGE // 2):  # half of it is for the log
                contents.write()

    @contextmanager
    def _growing_by(self, db: sqlite3.Connection, pages: int) -> Iterator[None]:
        """Let the file grow by so many pages at most."""
        (now,) = db.execute("PRAGMA page_count").fetchone()
        try:
            db.execute(f"PRAGMA max_page_count={min(self._most, now + pages):d}").fetchall()
            yield
        finally:
            db.execute(f"PRAGMA max_page_count={self._most:d}").fetchall()


def _note(contents: Contents) -> bool:
    """Write notes, and remove what all have passed; return whether there was anything."""
    is_written = False
    while contents.write(frames=False):
        is_written = True
        _empty_log(contents.db)
        if contents.first <= contents.first_on_disk:
            break
    return is_written


def _empty_log(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        db.execute("PRAGMA wal_checkpoint").fetchall()


def _reserve(db: sqlite3.Connection, pages: int) -> None:
    """Have so many free pages in the file, and as much room in its log."""
    with store.transaction(db):
        db.execute(f"CREATE TABLE room AS SELECT zeroblob({pages * PAGE:d})")
    _empty_log(db)
    _set_free(db)
    _empty_log(db)


def _set_free(db: sqlite3.Connection) -> None:
    """Make the reserved pages free; a kill, or a disk without room for that, may have left them reserved."""
    db.execute("DROP TABLE IF EXISTS room")
