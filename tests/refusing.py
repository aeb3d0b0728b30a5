"""A connection to a disk that refuses, or is slow."""

from __future__ import annotations

import sqlite3
import threading


class Disk:
    """Stands before the connection: raises `error` at its `nth` call from now, or at every one from it on."""

    def __init__(self, db: sqlite3.Connection, error: int, nth: int = 0, *, lasting: bool = True) -> None:
        self._db = db
        self.error = sqlite3.OperationalError("disk trouble")
        self.error.sqlite_errorcode = error
        self.nth = nth
        self.lasting = lasting

    def __getattr__(self, name: str):
        found = getattr(self._db, name)
        if name not in ("execute", "executemany"):
            return found

        def call(*arguments):
            self.nth -= 1
            if self.nth == -1 or (self.nth < 0 and self.lasting):
                raise self.error
            return found(*arguments)

        return call


TROUBLES = [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY]


class ReadOnly:
    """Stands before the connection of a disk that can be read, and takes nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __getattr__(self, name: str):
        return getattr(self.db, name)

    def execute(self, statement: str, *arguments):
        if statement.startswith("BEGIN"):
            error = sqlite3.OperationalError("attempt to write a readonly database")
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY
            raise error
        return self.db.execute(statement, *arguments)


class Slow:
    """Stands before the connection: a transaction `waits` until `go_on` is set."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.waits = False
        self.go_on = threading.Event()

    def __getattr__(self, name: str):
        return getattr(self._db, name)

    def execute(self, statement: str, *arguments):
        if statement.startswith("BEGIN"):
            self.waits = True
            self.go_on.wait(60)
        return self._db.execute(statement, *arguments)
