"""Writing while the disk is full: room for what is noted comes before room for frames.

What is delivered then has to be noted, or all of it is sent again after a restart.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.store.commits import PAGE
from gateway.text.words import failure

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.spool.contents import Contents
    from gateway.spool.limits import Limits
    from gateway.store.ballast import Ballast

_FOR_NOTES = 1 << 18
"""Free bytes that frames leave to what is noted, for which SQLite's log may become longer."""


class FullDisk:
    """Writes to the file of a queue, also while its disk `is_full`."""

    def __init__(self, path: Path, limits: Limits, ballast: Ballast) -> None:
        self.is_full = False
        self._path = path
        self._most = limits.file_bytes // PAGE
        self._ballast = ballast

    def make_room(self, contents: Contents) -> None:
        """Give the room that was set aside to SQLite: it brings its log into the file, and begins it anew."""
        self._ballast.drop()
        self.is_full = True
        _empty_log(contents.db)

    def write(self, contents: Contents) -> bool:
        """Write; on a full disk the notes first, and then frames if they leave room for notes."""
        self.is_full = self.is_full and not self._ballast.has_room
        if not self.is_full:
            return contents.write()
        return self._write(contents, _FOR_NOTES)

    def end(self, contents: Contents) -> None:
        """Write what waits in memory where there is room for it: nothing more will have to be noted."""
        with suppress(sqlite3.Error):
            contents.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._write(contents, self._ballast.free // 2)  # the other half is for the log

    def _write(self, contents: Contents, left_free: int) -> bool:
        noted = contents.write(frames=False)
        try:
            pages = (self._path.stat().st_size + max(0, self._ballast.free - left_free)) // PAGE
            contents.db.execute(f"PRAGMA max_page_count={pages:d}").fetchall()
            noted = contents.write() or noted
            _empty_log(contents.db)  # it may need room that the log would take
        except OSError as error:
            raise sqlite3.OperationalError(failure(error)) from error
        finally:
            contents.db.execute(f"PRAGMA max_page_count={self._most:d}").fetchall()
        return noted


def _empty_log(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        db.execute("PRAGMA wal_checkpoint").fetchall()
