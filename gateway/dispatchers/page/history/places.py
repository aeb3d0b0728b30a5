"""Up to which id of each epoch the frames are in the history."""

from __future__ import annotations

import json
import sqlite3


def read(db: sqlite3.Connection) -> dict[str, int]:
    """Return what the file has; sqlite3.DatabaseError where that is garbled."""
    row = db.execute("select value from state where name = 'places'").fetchone()
    try:
        places: dict[str, int] = json.loads(row[0]) if row else {}
        is_whole = all(isinstance(place, int) for place in places.values())
    except (ValueError, TypeError, AttributeError, RecursionError):
        is_whole = False
    if not is_whole:
        raise sqlite3.DatabaseError("its places are garbled")
    return places
