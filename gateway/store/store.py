"""The SQLite file of the queue: opened and brought up to date, or opened for reading only."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.process import holders
from gateway.process.state_files import as_owner, check_is_file, open_file
from gateway.store import commits
from gateway.store.commits import PAGE
from gateway.store.rows import PLACE, is_number, is_text

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = TypeVar("Row", bound=tuple[Any, ...])

ALL_IN_DOUBT = """
    UPDATE cursors SET boot = '',
        sent = max(sent, upto, coalesce((SELECT value FROM counters WHERE name = 'fixed'), 0));
    DELETE FROM counters WHERE name = 'fixed';
"""
"""Notes that any frame may have been sent. Earlier versions had one mark for all dispatchers."""


def _boots_of_held(table: str) -> str:
    return f"""
    INSERT OR IGNORE INTO boots
        SELECT json_extract(frame, '$[2][1]'), min(id), NULL, max(json_extract(frame, '$[2][2]'))
        FROM {table} WHERE held AND json_valid(frame) AND json_extract(frame, '$[2][1]') != '' GROUP BY 1;
    UPDATE {table} SET held = 0 WHERE held;
"""  # noqa: S608  (our names)


BOOTS_OF_HELD = _boots_of_held("frames")
"""Earlier versions marked each frame whose time was not known; now its boot has a row that says so."""

_SCHEMAS = (
    """
    CREATE TABLE frames (id INTEGER PRIMARY KEY, frame TEXT NOT NULL);
    CREATE TABLE cursors (who TEXT PRIMARY KEY, upto INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE refused (id INTEGER, who TEXT, reason TEXT NOT NULL, frame TEXT NOT NULL,
        PRIMARY KEY (id, who));
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE frames ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX held ON frames (id) WHERE held;
    """,
    """
    ALTER TABLE frames ADD COLUMN whose TEXT NOT NULL DEFAULT '';
    CREATE INDEX whose ON frames (id, whose) WHERE whose != '';
    ALTER TABLE refused ADD COLUMN undated INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX refused_by ON refused (who, id);
    """,
    f"""
    ALTER TABLE cursors ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE cursors ADD COLUMN boot TEXT NOT NULL DEFAULT '';
    ALTER TABLE cursors ADD COLUMN blind INTEGER NOT NULL DEFAULT 0;
    {ALL_IN_DOUBT}
    """,
    f"""
    CREATE TABLE boots (boot TEXT PRIMARY KEY, first INTEGER NOT NULL, offset REAL, until REAL NOT NULL)
        WITHOUT ROWID;
    ALTER TABLE cursors ADD COLUMN pins TEXT NOT NULL DEFAULT '[]';
    UPDATE cursors SET pins = '[[' || sent || ', "", 0, null, -1e999]]' WHERE sent > upto;
    CREATE TABLE IF NOT EXISTS late (id INTEGER PRIMARY KEY, frame TEXT NOT NULL, held INTEGER NOT NULL);
    {BOOTS_OF_HELD}
    {_boots_of_held("late")}
    """,  # noqa: S608  (our names)
    """
    CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)
"""The statements that turn each version of the file into the next; user_version counts them."""

_TABLES = {"frames", "cursors", "counters"}
"""The tables that a queue of any version has; a damaged one may have lost some."""
_LATEST = 1000
"""A version that will never exist: a file that has it is damaged."""
_NOT_OURS = "move it away, or name another directory as state_dir; it is left as it is"
_CHUNK = 1 << 16
_CONTROL = re.compile(rb"[\0-\x08]")
"""Bytes that no text has."""
_CHECKED = 32 << 20
"""Larger files are not checked at the start: it takes as long as reading them (1 s on a Pi for this size)."""
_DAMAGE = re.compile(
    "Could not decode to UTF-8|unsupported file format|no such (table|column)|"
    "table .* (already exists|has no column)|duplicate column"
)
"""What has no code of its own: text that is not UTF-8, a wrong header, tables of another version."""
_ALL_NUMBERS = """
    SELECT ifnull(value, -1) FROM counters WHERE name NOT LIKE 'rescue %'
    UNION ALL SELECT min(id) FROM frames UNION ALL SELECT max(id) FROM frames
    UNION ALL SELECT min(id) FROM refused UNION ALL SELECT max(id) FROM refused
"""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREAD = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)
_NO_LIMIT = 1 << 40


class OutOfPlace(sqlite3.DatabaseError):
    """A page of the file is valid, but in the wrong place or out of date: SQLite did not notice."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class SpoolUnusable(Exception):
    """The file cannot be used as it is. The message says what to do about it."""


class SpoolInUse(SpoolUnusable):
    """Another program has the file: a command, which will end, or one that this user cannot see."""


def open_store(path: Path, *, max_bytes: int, is_last: bool = False) -> sqlite3.Connection:
    """Open the file, made where it is missing. Nobody else can open it meanwhile.

    In a try that `is_last`, what the disk cannot read of the log counts as lost. Raises SpoolUnusable where
    another program has the file or a newer version wrote it, and OSError or sqlite3.Error if it cannot be
    opened; `is_damage` tells which of these a rescue can help.
    """
    with as_owner(path.parent):
        return _open(path, max_bytes, is_last=is_last)


def open_view(path: Path) -> sqlite3.Connection:
    """Open a file for reading, without any change to it, its -wal or its directory.

    Raises OSError or sqlite3.Error. Nothing is locked: this is for a file that nobody can write to.
    """
    with as_owner(path.parent):
        check_is_file(path)
        log = Path(f"{path}-wal")
        # SQLite reads a log only if it can lock it, or if locks are switched off (unix-none). It would make a
        # log if there is none, and delete one without a valid commit, unless the file is immutable.
        how = "vfs=unix-none" if commits.is_taken(log) else "immutable=1"
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro&{how}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            db.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
            db.execute("PRAGMA query_only=ON")
        except sqlite3.Error:
            db.close()
            raise
        # SQLite opens the log with the first read, and gives it to the file's owner where it runs as root.
        with suppress(sqlite3.Error):
            db.execute("SELECT 1 FROM sqlite_master").fetchone()
    return db


def stand_in() -> sqlite3.Connection:
    """Return an empty queue that cannot be written to, for as long as the file cannot be read."""
    db = _prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False), _NO_LIMIT)
    db.execute("PRAGMA query_only=ON")
    return db


def identity(db: sqlite3.Connection) -> int:
    """Return the number that identifies the file of this queue; 0 if it has none yet."""
    (number,) = db.execute("PRAGMA application_id").fetchone()
    return int(number)


def last_id(db: sqlite3.Connection) -> int:
    """Return the highest id that this queue has given to a frame, as far as it shows."""
    (number,) = db.execute(
        "SELECT max(id) FROM (SELECT max(id) AS id FROM frames UNION ALL SELECT max(upto) FROM cursors)"
    ).fetchone()
    return int(number or 0)


def remove(db: sqlite3.Connection, first: int, end: int, most: int | None) -> int:
    """Remove the frames from the first one to before `end`, or only so many; return what `first` is then."""
    if first >= end:
        return end
    if most and (row := db.execute("SELECT id FROM frames ORDER BY id LIMIT 1 OFFSET ?", (most,)).fetchone()):
        end = min(end, row[0])
    db.execute("DELETE FROM frames WHERE id < ?", (end,))
    return end


def identify(db: sqlite3.Connection, number: int) -> None:
    """Give the file this number, of at most 31 bits, as its identity."""
    db.execute(f"PRAGMA application_id={number:d}")


def pages_used(db: sqlite3.Connection) -> int:
    """Return the pages of the file that hold something, also in the middle of a transaction."""
    pages, free = (db.execute(f"PRAGMA {what}_count").fetchone()[0] for what in ("page", "freelist"))
    return int(pages - free)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run a transaction: all that is done inside is kept, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def layout(db: sqlite3.Connection) -> set[tuple[str, str]]:
    """Return each column of a database, with its table before it."""
    query = (
        "SELECT tables.name, columns.name FROM sqlite_master AS tables, "
        "pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"
    )
    return set(db.execute(query))


def in_order(rows: list[Row], after: int) -> list[Row]:
    """Return rows, from an id to a text; OutOfPlace unless that is so and the ids grow from `after` on."""
    for row in rows:
        if row[0] <= after:
            raise OutOfPlace(f"frame {row[0]} comes behind {after}")
        if not is_text(row[-1]):
            raise OutOfPlace(f"frame {row[0]} is for {row[-1]!r:.40}")
        after = row[0]
    return rows


def check_numbers(db: sqlite3.Connection) -> None:
    """Raise OutOfPlace if an id, a count or a dispatcher's place in the file is impossible."""
    for row in db.execute(f"SELECT {', '.join(PLACE)} FROM cursors"):  # noqa: S608  (our names)
        if not all(is_so(value) for is_so, value in zip(PLACE.values(), row, strict=True)):
            raise OutOfPlace(f"a dispatcher's place in it is {row!r:.80}")
    for (number,) in db.execute(_ALL_NUMBERS):
        if number is not None and not is_number(number):
            raise OutOfPlace(f"a number in it is {number!r:.40}")


def is_damage(error: Exception) -> bool:
    """Tell whether the error says that the file is damaged."""
    if isinstance(error, sqlite3.OperationalError) and _DAMAGE.match(str(error)):
        return True
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGED


def is_unread(error: Exception) -> bool:
    """Tell whether the error says that the disk cannot read a page."""
    return getattr(error, "sqlite_errorcode", None) in _UNREAD


def is_full(error: Exception) -> bool:
    """Tell whether the error says that there is no room."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_FULL


def _open(path: Path, max_bytes: int, *, is_last: bool) -> sqlite3.Connection:
    path.parent.mkdir(0o750, parents=True, exist_ok=True)
    os.close(open_file(path, os.O_RDWR | os.O_CREAT))
    for beside in (Path(f"{path}-journal"), Path(f"{path}-wal")):  # SQLite opens these itself
        if os.path.lexists(beside):
            check_is_file(beside)
    commits.set_foreign_aside(path)
    with commits.locked(path) as is_free:
        if is_free:
            _check_is_ours(path)
    commits.mend(path, is_last=is_last)
    store = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
    try:
        _prepared(store, max_bytes)
        if path.stat().st_size <= _CHECKED:
            _check(store)
    except sqlite3.Error as error:
        store.close()
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            holder = holders.of_file(path)
            who = f", {holder}: {holder.cure}" if holder else "; stop that one (sudo service oemgateway stop)"
            what = "a command" if holder and holder.is_command else "another oemgateway"
            kind = SpoolUnusable if holder and not holder.is_command else SpoolInUse
            raise kind(f"{path} is in use: {what} is running{who}") from None
        raise
    except (OSError, SpoolUnusable):
        store.close()
        raise
    return store


def _check_is_ours(path: Path) -> None:
    """Raise SpoolUnusable for a text file, or a database without our tables: we must not change it.

    Raises OutOfPlace for a header with which SQLite would only read the file, or that is on a bad block.
    """
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        try:
            start = file.read(_CHUNK)
        except OSError as error:
            raise OutOfPlace(f"its beginning cannot be read: {error.strerror or error}") from error
        # Each page of a queue has zeros: a file without any is not a damaged queue.
        chunks = chain([start], iter(lambda: file.read(_CHUNK), b""))
        is_text = bool(start) and not any(map(_CONTROL.search, chunks))
    if is_text:
        raise SpoolUnusable(f"{path} is a text, and not a queue: {_NOT_OURS}")
    if start.startswith(commits.MAGIC):
        with suppress(OSError, sqlite3.Error), closing(open_view(path)) as view:
            columns = layout(view)
            ours = _TABLES.intersection(table for table, _ in columns)
            if columns and len(ours) < 2 and ("frames", "frame") not in columns:
                raise SpoolUnusable(f"{path} is another program's database: {_NOT_OURS}")
        if not start[18:19] <= b"\2":
            raise OutOfPlace("the version of its format is wrong")


def _check(store: sqlite3.Connection) -> None:
    """Raise OutOfPlace if pages do not fit together."""
    (said,) = store.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise OutOfPlace(" ".join(said.split()))


def _prepared(store: sqlite3.Connection, max_bytes: int) -> sqlite3.Connection:
    # EXCLUSIVE before WAL: the index of the log is then in memory, where a full disk cannot harm it.
    for pragma in (
        f"page_size={PAGE}",
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "cache_size=-1000",  # in kB; twice as much would not be faster: frames are read once, in their order
        "journal_size_limit=4000000",  # a log that has grown, as after all frames were dropped, is truncated
        f"max_page_count={max_bytes // PAGE}",
    ):
        store.execute(f"PRAGMA {pragma}").fetchall()
    (version,) = store.execute("PRAGMA user_version").fetchone()
    if version > _LATEST:
        raise OutOfPlace(f"its version is {version}")
    if version > len(_SCHEMAS):
        raise SpoolUnusable("the queue was written by a newer oemgateway: install that one again")
    if version < len(_SCHEMAS):
        store.execute("BEGIN IMMEDIATE")
        for statement in "".join(_SCHEMAS[version:]).split(";"):
            store.execute(statement)
        store.execute(f"PRAGMA user_version={len(_SCHEMAS)}")
        store.execute("COMMIT")
    return store
