"""The rows of a damaged file's tables that SQLite can still read."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from gateway.store.frame_text import is_frame

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

HIGHEST = 1 << 48
"""Ids of frames, and counts, are lower: a thousand readings a second need 8900 years for so many."""
_EXACT = 64
"""How many ids are tried one by one after damage."""
_COARSE = 16
"""After those, a step is the distance divided by this."""

_PASSING = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL)
"""Errors for which the file is not to blame."""

Row = tuple[str, dict[str, object] | None]
"""Table, and the row by column; None if the row is damaged, or to let others run."""


def ascending(db: sqlite3.Connection, table: str, after: int, *, is_last: bool) -> Iterator[Row]:
    """Yield the rows of a table after a rowid, and pass over what cannot be read.

    Raises sqlite3.Error where that may be over at the next try; whether this `is_last`.
    """
    query = f"SELECT rowid, * FROM {table} WHERE rowid > ? ORDER BY rowid"  # noqa: S608  (our names)
    while True:
        with passing_over(is_last=is_last), closing(db.cursor()) as cursor:
            cursor.execute(query, (after,))
            for row in cursor:
                rowid, good = _checked(cursor, row)
                after = max(after, rowid) if good else after
                yield table, good
            return
        # A row is not returned if the step to the next one fails, so it is looked for again.
        found = yield from _next_readable(db, table, after, is_last=is_last)
        if found is None:
            return
        after, good = found
        yield table, good


def _next_readable(
    db: sqlite3.Connection, table: str, after: int, *, is_last: bool
) -> Generator[Row, None, tuple[int, dict[str, object] | None] | None]:
    """Return the next row after this rowid that can be read, with its own rowid, or None."""
    query = f"SELECT rowid, * FROM {table} WHERE rowid >= ? ORDER BY rowid LIMIT 1"  # noqa: S608  (our names)
    bad, probe = after, after + 1
    good: int | None = None
    found = None
    while good is None or good - bad > 1:
        yield table, None
        try:
            with closing(db.execute(query, (probe,))) as cursor:
                row = cursor.fetchone()
                there = row and _checked(cursor, row)
        except sqlite3.Error as error:
            _check_is_lasting(error, is_last=is_last)
            if not _is_local(error):
                return None
            bad = probe
        else:
            if there and there[0] <= after:  # a page that is out of date: from here it would loop for ever
                bad = probe
            else:
                good, found = probe, there
        if good is not None:
            probe = (bad + good) // 2
        elif bad > HIGHEST:
            return None
        else:
            probe = bad + 1 + max(0, bad - after - _EXACT) // _COARSE
    return found


def _checked(cursor: sqlite3.Cursor, row: Sequence[object]) -> tuple[int, dict[str, object] | None]:
    """Return the rowid that a row begins with, and the row by column, or None if it holds no frame."""
    named = dict(zip(columns(cursor)[1:], map(_as_text, row[1:]), strict=True))
    rowid = row[0] if isinstance(row[0], int) else 0
    return rowid, named if is_frame(named.get("frame")) else None


def is_number(value: object) -> bool:
    """Tell whether this is an id or a count."""
    return isinstance(value, int) and 0 <= value < HIGHEST


def is_text(value: object) -> bool:
    """Tell whether this is a text."""
    return isinstance(value, str)


PLACE = {
    "who": is_text,
    "upto": is_number,
    "sent": is_number,
    "boot": is_text,
    "blind": is_number,
    "pins": is_text,
}
"""What each column of `cursors` has."""
_NEEDED = {
    "frames": {"id": is_number},
    "refused": {"id": is_number, "who": is_text, "reason": is_text},
    "counters": {"value": is_number},
}
"""What a row is worth nothing without."""
_DEFAULTED = {"cursors": PLACE, "frames": {"held": is_number, "whose": is_text}}
"""What columns have in whose place there can be a default: a frame whose owner is damaged is for all."""


def is_right(table: str, row: Mapping[str, object]) -> bool:
    """Tell whether a row is possible; on a damaged page its ids, counts and names may be anything."""
    return all(is_so(row[name]) for name, is_so in _NEEDED.get(table, {}).items() if name in row)


def known_of(table: str, row: Mapping[str, object], names: Sequence[str]) -> dict[str, object]:
    """Return what a row has for these columns, without what is damaged and has a default."""
    checks = _DEFAULTED.get(table, {})
    return {
        name: value
        for name, value in row.items()
        if name in names and (name not in checks or checks[name](value))
    }


def _as_text(value: object) -> object:
    """Return a text that has become a blob as a text again: one bit of the file tells them apart."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


@contextmanager
def passing_over(*, is_last: bool) -> Iterator[None]:
    """Pass over what is damaged and, if this try `is_last`, over what the disk cannot read."""
    try:
        yield
    except sqlite3.Error as error:
        _check_is_lasting(error, is_last=is_last)


def _check_is_lasting(error: sqlite3.Error, *, is_last: bool) -> None:
    """Raise this error again if it says nothing about the file, and may be gone at the next try."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in _PASSING or (code == sqlite3.SQLITE_IOERR and not is_last):
        raise error


def _is_local(error: sqlite3.Error) -> bool:
    """Tell whether other rows may be readable: not if this is no database, or has no such table."""
    return getattr(error, "sqlite_errorcode", None) not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def columns(cursor: sqlite3.Cursor) -> list[str]:
    """Return the names of the columns that a query gives."""
    return [name for name, *_ in cursor.description]
