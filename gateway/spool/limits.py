"""How much the queue keeps."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass

PIECE = 1000
"""How many frames are removed at a time on a full disk: the log has to hold the pages of all of them."""


@dataclass(frozen=True)
class Limits:
    """How much is kept; beyond that the oldest frames are removed first, and counted.

    `frames` and `bytes` (on the disk) are for what waits, `refused` and `refused_bytes` for what was refused.
    `memory` is the number of frames that wait in memory while the disk does not take them, and `age` the
    seconds that a reading may be old.
    """

    frames: int = 1_000_000
    bytes: int = 200_000_000
    refused: int = 100_000
    refused_bytes: int = 20_000_000
    memory: int = 10_000
    age: float = math.inf

    @property
    def file_bytes(self) -> int:
        """The bytes that the file may have: waiting and refused frames do not take each other's room.

        In the middle of a transaction it may be somewhat more than both.
        """
        return self.bytes + self.refused_bytes + 1_000_000


class NoRoom(sqlite3.OperationalError):
    """What waits takes more of the file than allowed: by `share` of it, from 0 to 1."""

    sqlite_errorcode = sqlite3.SQLITE_FULL

    def __init__(self, share: float) -> None:
        super().__init__("what waits has reached its limit")
        self.share = share


class NoPages(sqlite3.OperationalError):
    """What is written leaves too few pages of the file free, and the file cannot grow."""

    sqlite_errorcode = sqlite3.SQLITE_FULL

    def __init__(self) -> None:
        super().__init__("database or disk is full")


def check_free(db: sqlite3.Connection, pages: int) -> None:
    """Raise NoPages if fewer pages of the file are free; inside a transaction."""
    if pages > db.execute("PRAGMA freelist_count").fetchone()[0]:
        raise NoPages
