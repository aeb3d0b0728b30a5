"""The SQLite file of the queue: opened, brought up to date, and set aside where it is damaged."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.frame_text import is_frame
from gateway.paths import give_to_owner
from gateway.spool_limits import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("oemgateway.spool")

_ALL_IN_DOUBT = """
    UPDATE cursors SET boot = '',
        sent = max(sent, upto, coalesce((SELECT value FROM counters WHERE name = 'fixed'), 0));
    DELETE FROM counters WHERE name = 'fixed';
"""
"""Has no boot vouch for what was sent; files of before had one mark for all dispatchers."""

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
    {_ALL_IN_DOUBT}
    """,
)
"""What turns each version of the file into the next; user_version counts them."""

_TABLES = ("cursors", "counters", "refused", "frames")
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SpoolUnusable(Exception):
    """The file cannot be used as it is; the message says what to do about it."""


def open_store(path: Path, *, max_bytes: int, in_memory: bool = True) -> sqlite3.Connection:
    """Open the file, made where it is missing; the caller's alone as long as it is open.

    A damaged file is set aside and what can be read of it taken over. Where the disk cannot be used at all
    the frames are kept in memory, which is said, or not at all, where `in_memory` says so. Raises
    SpoolUnusable then, and where another program has the file.
    """
    try:
        try:
            return _open(path, max_bytes)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return _replaced(path, error, max_bytes)
    except (OSError, sqlite3.Error) as error:
        if not in_memory:
            raise SpoolUnusable(f"{path} cannot be used: {error}") from error
        return _instead(path, error, max_bytes)


def mended(path: Path, error: Exception, *, max_bytes: int) -> sqlite3.Connection:
    """Go on after damage: with what can be read of the file, or in memory where the disk refuses that too."""
    try:
        return _replaced(path, error, max_bytes)
    except (OSError, sqlite3.Error) as trouble:
        return _instead(path, trouble, max_bytes)


def _instead(path: Path, trouble: Exception, max_bytes: int) -> sqlite3.Connection:
    log.error(
        "%s: %s; frames are kept in memory only, and do not survive an end of the daemon", path, trouble
    )
    return _prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False), max_bytes)


def is_damage(error: Exception) -> bool:
    """Tell whether the error says that the file is no longer a right one."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _DAMAGED


def is_full(error: Exception) -> bool:
    """Tell whether the error says that there is no room."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_FULL


def _replaced(path: Path, error: Exception, max_bytes: int) -> sqlite3.Connection:
    """Set a damaged file aside, never to be deleted, and go on with what can be read of it.

    Where that cannot be, as on a full disk, the file is put back: the next start tries again.
    """
    aside = _unused(path.with_name(f"{path.name}.damaged-{date.today().isoformat()}"))  # noqa: DTZ011
    _rename(path, aside)
    try:
        store, saved = _with_what_is_left(path, aside, max_bytes)
    except BaseException:
        _rename(aside, path)
        raise
    log.error("%s is damaged (%s): set aside as %s; %d frames could be read of it", path, error, aside, saved)
    return store


def _rename(path: Path, new: Path) -> None:
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{new}{suffix}")


def _with_what_is_left(path: Path, aside: Path, max_bytes: int) -> tuple[sqlite3.Connection, int]:
    """Return a new file with what can be read of the old one, and how many frames those are."""
    store = _open(path, max_bytes)
    try:
        return store, _take_over(store, aside)
    except BaseException:
        store.close()
        for suffix in ("", "-wal"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        raise


def _take_over(store: sqlite3.Connection, aside: Path) -> int:
    columns_of = {
        table: [name for (name,) in store.execute("SELECT name FROM pragma_table_info(?)", (table,))]
        for table in _TABLES
    }
    saved = 0
    for table, row in _readable(aside):
        with contextlib.suppress(sqlite3.IntegrityError):
            # An older version has fewer columns; those that came later have defaults.
            columns = columns_of[table][: len(row)]
            marks = ", ".join("?" * len(columns))
            store.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", row[: len(columns)])  # noqa: S608
            saved += table == "frames"
    store.executescript(_ALL_IN_DOUBT)
    return saved


def _open(path: Path, max_bytes: int) -> sqlite3.Connection:
    path.parent.mkdir(0o750, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    give_to_owner(path)
    store = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
    try:
        return _prepared(store, max_bytes)
    except sqlite3.Error as error:
        store.close()
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            raise SpoolUnusable(f"{path} is in use: another oemgateway is running; stop that one") from None
        raise
    except SpoolUnusable:
        store.close()
        raise


def _prepared(store: sqlite3.Connection, max_bytes: int) -> sqlite3.Connection:
    # EXCLUSIVE before WAL: the index of the log then lives in memory, and a full disk cannot pull it from
    # under us.
    for pragma in (
        f"page_size={PAGE}",
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"max_page_count={max_bytes // PAGE}",
    ):
        store.execute(f"PRAGMA {pragma}").fetchall()
    (version,) = store.execute("PRAGMA user_version").fetchone()
    if version > len(_SCHEMAS):
        raise SpoolUnusable("the queue was written by a newer oemgateway: install that one again")
    if version < len(_SCHEMAS):
        store.execute("BEGIN IMMEDIATE")
        for statement in "".join(_SCHEMAS[version:]).split(";"):
            store.execute(statement)
        store.execute(f"PRAGMA user_version={len(_SCHEMAS)}")
        store.execute("COMMIT")
    return store


def _readable(aside: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield table and row of all that a damaged file still gives, from both its ends; it stays as it is."""
    with tempfile.TemporaryDirectory(dir=aside.parent) as directory:
        copy = Path(directory) / "copy"
        for suffix in ("", "-wal"):
            if Path(f"{aside}{suffix}").exists():
                shutil.copy(f"{aside}{suffix}", f"{copy}{suffix}")
        store = sqlite3.connect(copy, isolation_level=None)
        with contextlib.closing(store):
            store.execute("PRAGMA writable_schema=ON")  # else a file that was cut off gives nothing at all
            for table in _TABLES:
                for order in ("ASC", "DESC"):
                    with contextlib.suppress(sqlite3.Error):
                        rows = store.execute(f"SELECT * FROM {table} ORDER BY 1 {order}")  # noqa: S608
                        columns = [column for column, *_ in rows.description]
                        for row in rows:
                            if "frame" not in columns or is_frame(row[columns.index("frame")]):
                                yield table, row


def _unused(path: Path) -> Path:
    number = 1
    while os.path.lexists(path if number == 1 else f"{path}.{number}"):
        number += 1
    return path if number == 1 else Path(f"{path}.{number}")
