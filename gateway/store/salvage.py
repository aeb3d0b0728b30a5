"""What can be read of a damaged queue file, copied into a new file a piece at a time.

The damaged file is only read, and stays in place until the new one is complete and on the disk. Until then
the new one is called queue.db.rescue. It records the progress, so an interrupted rescue is continued.
At the end the damaged file is renamed (it is never deleted), and the new one takes its place.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
from contextlib import ExitStack, closing, suppress
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.process.state_files import as_owner, sync_names
from gateway.store import leaves, store
from gateway.store.aside import free_name, named, rescue_of
from gateway.store.census import Census, Runs, runs
from gateway.store.first_page import readable
from gateway.store.frame_text import is_frame
from gateway.store.rows import HIGHEST, Row, ascending, columns, is_right, known_of, passing_over

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

log = logging.getLogger("oemgateway.spool")

_PIECE = 200
"""Rows, or searches for the next readable one, in one step."""
_RUNS = 10
"""Runs of frames that are counted in one step."""
TRIES = 2
"""Tries after which what the disk cannot read counts as lost."""
_UNLIMITED = 1 << 40
"""Bytes: everything is rescued first, and the limit of the queue's size applies afterwards."""
_SMALL = ("counters", "cursors", "boots", "notes")

_LOST_PLACES = """
    INSERT OR IGNORE INTO cursors (who, upto) VALUES ('', 0);
"""
"""A dispatcher whose place is lost begins where this one is, with all that there is (see Places)."""

_LATE = """
    CREATE TABLE IF NOT EXISTS late (id INTEGER PRIMARY KEY, frame TEXT NOT NULL, held INTEGER NOT NULL)
"""
"""Frames that were put during the rescue. The table exists only if there are such frames."""
_SIZE, _MTIME, _DONE = _NOTES = ("rescue size", "rescue mtime", "rescue done")
"""Counters in the new file: which file is being rescued, and, once it is, the name it is kept under."""


def is_begun(path: Path) -> bool:
    """Tell whether the file at this path is being rescued, or was when the last run ended. Raises OSError."""
    try:
        rescue_of(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


class Salvage:
    """The rescue of the file at `path`. `saved` frames could be read so far; at its end `census` has them.

    Every method may raise OSError or sqlite3.Error for the disk that the new file is on; `step` and `keep`
    can then be called again. Raises SpoolUnusable if another program does the same.
    """

    def __init__(self, path: Path, why: Exception | None, *, identity: int = 0) -> None:
        """Begin, or go on; `identity` is the number by which the file is known (see store), or 0."""
        self._path = path
        self._why = why
        self._target = self._begin(identity)
        self._source: sqlite3.Connection | None = None
        self._failures = 0
        (self.saved,) = self._target.execute("SELECT count(*) FROM frames").fetchone()
        self._columns = {table: self._names(table) for table in (*_SMALL, "refused", "frames")}
        self._rows = self._readable()
        self._pending: list[Row] = []
        self.census = Census()
        self._runs = runs(self._target, 0)

    def _begin(self, identity: int) -> sqlite3.Connection:
        work = rescue_of(self._path)
        try:
            target = store.open_store(work, max_bytes=_UNLIMITED)
        except sqlite3.Error as error:
            if not store.is_damage(error):
                raise
            late, boots = _kept(work)
            _set_aside(work)
            target = store.open_store(work, max_bytes=_UNLIMITED)
            _keep(target, late, boots)
        try:
            mark, noted = self._mark(), dict(target.execute("SELECT name, value FROM counters"))
            if _DONE not in noted and _SIZE in noted and mark and mark != (noted[_SIZE], noted[_MTIME]):
                # The file was replaced meanwhile, for example from a backup: begin again.
                late, boots = read_late(target), target.execute("SELECT * FROM boots").fetchall()
                target.close()
                _set_aside(work)
                target = self._begin(identity)
                _keep(target, late, boots)
            elif _SIZE not in noted:
                with store.transaction(target):
                    for name, value in zip((_SIZE, _MTIME), mark or (0, 0), strict=True):
                        target.execute("INSERT INTO counters VALUES (?, ?)", (name, value))
                    store.identify(target, identity)
        except BaseException:
            target.close()
            raise
        return target

    def _mark(self) -> tuple[int, int] | None:
        """Return what identifies the damaged file; None if it is gone."""
        try:
            about = self._path.lstat()
        except OSError:
            return None
        return about.st_size, about.st_mtime_ns

    def _done(self) -> int | None:
        found = self._target.execute("SELECT value FROM counters WHERE name = ?", (_DONE,)).fetchone()
        return found and int(found[0])

    def _names(self, table: str) -> list[str]:
        return [name for (name,) in self._target.execute("SELECT name FROM pragma_table_info(?)", (table,))]

    @property
    def late(self) -> list[tuple[int, str]]:
        """Frames that were put during this rescue in an earlier run: number and text."""
        return read_late(self._target)

    def keep(self, rows: Sequence[tuple[int, str]], boots: Sequence[tuple[object, ...]]) -> None:
        """Write frames that are put during the rescue, and the table of boots, to the disk."""
        _keep(self._target, rows, boots)

    def step(self) -> bool:
        """Do one piece of the rescue; return whether all that can be read is in the new file, and counted."""
        if self._done() is not None:
            return self._count()
        with as_owner(self._path.parent):  # SQLite may open the log of a damaged file at every read
            try:
                self._pending = self._pending or list(islice(self._rows, _PIECE))
            except (OSError, sqlite3.Error):  # the next try begins at the start, and adds what is missing
                self._failures += 1
                self._rows = self._readable()
                raise
        with store.transaction(self._target):
            saved = sum(self._put(table, list(rows)) for table, rows in groupby(self._pending, itemgetter(0)))
            if len(self._pending) < _PIECE:
                for statement in (store.ALL_IN_DOUBT + store.BOOTS_OF_HELD + _LOST_PLACES).split(";"):
                    self._target.execute(statement)
                self._target.execute("INSERT INTO counters VALUES (?, ?)", (_DONE, free_name(self._path)))
        self._pending = []
        self.saved += saved
        return False

    def _count(self) -> bool:
        """Count some of the frames in the new file; return whether all are counted."""
        found = list(islice(self._runs, _RUNS))
        for run in found:
            self.census.add(*run)
        if not found:
            self.census.load_owners(self._target, 0)
        return not found

    def _put(self, table: str, rows: Sequence[Row]) -> int:
        """Put rows of a table into the new file; return how many frames those are."""
        # A file of an older version has fewer columns; those that came later have defaults.
        good = (row for _, row in rows if row and is_right(table, row))
        known = (known_of(table, row, self._columns[table]) for row in good)
        count = 0
        for names, found in groupby(filter(None, known), key=tuple):
            marks = ", ".join("?" * len(names))
            put = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608  (our names)
            count += self._target.executemany(put, [tuple(row.values()) for row in found]).rowcount
        return count if table == "frames" else 0

    def finish(self) -> None:
        """Put the new file in the place of the damaged one, which is kept; nothing is open afterwards.

        To be called when `step` has returned True. If interrupted anywhere, a new Salvage continues it.
        """
        try:
            aside = named(self._path, self._done() or 0)
            busy, *_ = self._target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise sqlite3.OperationalError("the new file of the queue cannot be completed")
        finally:
            self.close()
        work = rescue_of(self._path)
        with as_owner(self._path.parent):
            _rename(self._path, aside)
            sync_names(self._path.parent)
            work.rename(self._path)
            sync_names(self._path.parent)
        log.error(
            "%s was damaged%s: set aside as %s; %d frames could be read of it",
            self._path,
            f" ({self._why})" if self._why else "",
            aside,
            self.saved,
        )

    def abandon(self) -> None:
        """Remove the new file, which is itself damaged, so that the rescue can begin again."""
        self.close()
        with as_owner(self._path.parent):
            for suffix in ("-wal", ""):
                Path(f"{rescue_of(self._path)}{suffix}").unlink(missing_ok=True)

    def close(self) -> None:
        """Close both files; what has been rescued stays."""
        with ExitStack() as stack:
            with suppress(OSError):  # they must not stay locked if the disk fails
                stack.enter_context(as_owner(self._path.parent))
            self._rows.close()
            if self._source is not None:
                self._source.close()
            self._target.close()

    def _readable(self) -> Generator[Row, None, None]:
        """Yield what is readable of the damaged file, each table by rising rowid: this fills pages."""
        is_last = self._failures >= TRIES
        yield from self._refused_before(is_last=is_last)
        try:
            with passing_over(is_last=is_last):  # SQLite reads nothing from a file that is not a database
                self._source = self._source or readable(self._path, is_last=is_last)
        except OSError as error:
            if not (error.errno == errno.ENOENT or (is_last and error.errno == errno.EIO)):
                raise
        if self._source is not None:
            yield from self._reached(self._source, is_last=is_last)
        yield from self._not_reached(is_last=is_last)

    def _refused_before(self, *, is_last: bool) -> Iterator[Row]:
        """Yield what was refused before the damage in the log: a later page may refer to a lost one."""
        passed = suppress(*[OSError] if is_last else [])
        with passed, passing_over(is_last=is_last), closing(store.open_view(self._path)) as view:
            yield from ascending(view, "refused", 0, is_last=is_last)
        yield from [("refused", None)] * _PIECE  # in the new file before the log is mended, and on the disk
        with suppress(sqlite3.Error):
            self._target.execute("PRAGMA wal_checkpoint").fetchall()

    def _reached(self, source: sqlite3.Connection, *, is_last: bool) -> Iterator[Row]:
        for table in _SMALL:
            for order in ("ASC", "DESC"):
                with passing_over(is_last=is_last), closing(source.cursor()) as cursor:
                    cursor.execute(f"SELECT * FROM {table} ORDER BY 1 {order}")  # noqa: S608  (our names)
                    for row in cursor:
                        if row[0] not in _NOTES:
                            yield table, dict(zip(columns(cursor), row, strict=True))
        yield from ascending(source, "refused", 0, is_last=is_last)
        # Frames are put in the order of their ids, so what is there tells how far an earlier run has come.
        (there,) = self._target.execute("SELECT max(id) FROM frames").fetchone()
        yield from ascending(source, "frames", there or 0, is_last=is_last)

    def _not_reached(self, *, is_last: bool) -> Iterator[Row]:
        """Yield the frames on pages that SQLite did not find, except those that all dispatchers have."""
        known = Runs()
        for run in runs(self._target, 0):
            known.add(*run)
            yield from [("frames", None)] * (_PIECE // _RUNS)
        (taken,) = self._target.execute("SELECT min(upto) FROM cursors").fetchone()
        lost = {n for (n,) in self._target.execute("SELECT id FROM refused WHERE undated")}

        def is_known(first: int, last: int, count: int) -> bool:
            return last <= (taken or 0) or first > HIGHEST or known.count(first - 1, last) == count

        with suppress(FileNotFoundError):
            names = self._names("frames")
            for found in leaves.frames(self._path, is_known, is_last=is_last):
                number, values = found or (0, [])
                good = (taken or 0) < number < HIGHEST and number not in lost
                yield "frames", {**dict(zip(names, values, strict=False)), "id": number} if good else None


def read_late(db: sqlite3.Connection) -> list[tuple[int, str]]:
    """Return the frames that were put while a file was rescued and have no place in the queue yet."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'late'").fetchone():
        return []
    return [row for row in db.execute("SELECT id, frame FROM late ORDER BY id") if is_frame(row[1])]


def forget(db: sqlite3.Connection) -> None:
    """Remove a rescue's notes from the file; its `late` frames must be in the queue already."""
    db.execute("DROP TABLE IF EXISTS late")
    db.execute(f"DELETE FROM counters WHERE name IN {_NOTES}")  # noqa: S608  (our names)


def _keep(
    db: sqlite3.Connection, rows: Sequence[tuple[int, str]], boots: Sequence[tuple[object, ...]]
) -> None:
    with store.transaction(db):
        db.execute(_LATE)
        db.executemany("INSERT OR IGNORE INTO late VALUES (?, ?, 0)", rows)
        db.executemany("INSERT OR REPLACE INTO boots VALUES (?, ?, ?, ?)", boots)


def _kept(path: Path) -> tuple[list[tuple[int, str]], list[tuple[object, ...]]]:
    """Return the readable frames that were kept in a new file which is damaged itself, and its boots.

    SQLite takes the log up to the damage: after a power cut all that was safe. More may be behind it.
    """
    late: dict[int, str] = {}
    boots: dict[object, tuple[object, ...]] = {}
    for opened in (store.open_view, readable):
        with suppress(OSError, sqlite3.Error), closing(opened(path)) as db:
            late |= dict(read_late(db))
            boots |= {row[0]: row for row in db.execute("SELECT * FROM boots")}
    return sorted(late.items()), [*boots.values()]


def _set_aside(path: Path) -> None:
    """Rename a file and its log; they are never deleted."""
    with as_owner(path.parent):
        aside = named(path, free_name(path))
        _rename(path, aside)
        log.error("%s cannot be used: set aside as %s", path, aside)


def _rename(path: Path, aside: Path) -> None:
    for suffix in ("-wal", ""):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
