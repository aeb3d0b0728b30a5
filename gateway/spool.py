"""Frames on disk until every dispatcher has delivered them.

One SQLite file, one connection that locks it for itself (a second daemon on the same file is refused), one
cursor per dispatcher. A frame is committed when `put` returns and deleted in the transaction that moves the
last cursor past it. Ids only ever grow, so that a cursor never skips a frame.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.frame import Frame, Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from gateway.flag import Flag

log = logging.getLogger("oemgateway.spool")

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE frames (id INTEGER PRIMARY KEY, frame TEXT NOT NULL);
CREATE TABLE cursors (who TEXT PRIMARY KEY, upto INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE refused (id INTEGER, who TEXT, reason TEXT NOT NULL, frame TEXT NOT NULL, PRIMARY KEY (id, who));
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class SpoolUnusable(Exception):
    """The file cannot be used as it is; the message says what to do about it."""


class Spool:
    """The queue between listeners and dispatchers; any thread may call it.

    At most `max_frames` are kept: beyond that the oldest go first, and are counted. While the disk refuses to
    take frames, the newest `max_frames // 100` are kept in memory until it takes them again.
    """

    def __init__(self, path: Path, *, max_frames: int = 1_000_000) -> None:
        self._max_frames = max_frames
        self._lock = threading.Lock()
        self._bells: dict[str, Flag] = {}
        self._unwritten: deque[Frame] = deque()
        self._disk_trouble = ""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise SpoolUnusable(
                    f"{path} is in use: another oemgateway is running; stop that one"
                ) from None
            raise SpoolUnusable(f"{path}: {error}; move the file away to start with an empty one") from None

    def _prepare(self) -> None:
        # Small pages: a commit writes whole ones, and an SD card wears by what is written. EXCLUSIVE before
        # WAL: the index of the log then lives in memory, and a full disk cannot pull it from under us.
        for pragma in ("page_size=1024", "locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError("written by a newer oemgateway")
        with self._transaction():
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        self._upto: dict[str, int] = dict(self._db.execute("SELECT who, upto FROM cursors"))
        self._attending: set[str] = set(self._upto)
        (self._count, last) = self._db.execute("SELECT count(*), ifnull(max(id), 0) FROM frames").fetchone()
        # Delivered frames are gone, but a cursor remembers how far their ids had come.
        self._next = max([last, *self._upto.values()]) + 1
        (self.dropped,) = self._db.execute(
            "SELECT ifnull((SELECT value FROM counters WHERE name = 'dropped'), 0)"
        ).fetchone()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def attend(self, dispatchers: Iterable[str]) -> None:
        """Keep frames for these dispatchers from now on; a new one starts with the oldest frame there is.

        The place of one that is not among them is remembered, but holds no frame back.
        """
        with self._lock:
            self._attending = set(dispatchers)
            (oldest,) = self._db.execute("SELECT ifnull(min(id), ?) FROM frames", (self._next,)).fetchone()
            for who in self._attending:
                self._upto[who] = max(self._upto.get(who, 0), oldest - 1)
            self._on_disk(self._save_cursors)

    def bell(self, who: str, bell: Flag) -> None:
        """Raise this flag whenever there is something new for the dispatcher."""
        with self._lock:
            self._bells[who] = bell

    def put(self, frames: Sequence[Frame]) -> None:
        """Keep the frames: on disk when this returns, unless the disk refuses (which is said once)."""
        with self._lock:
            self._unwritten.extend(frames)
            self._write_unwritten()
            for bell in self._bells.values():
                bell.set()

    def _write_unwritten(self) -> None:
        rows = [(self._next + n, _to_text(frame)) for n, frame in enumerate(self._unwritten)]
        surplus = max(0, self._count + len(rows) - self._max_frames)

        def write() -> None:
            self._db.executemany("INSERT INTO frames VALUES (?, ?)", rows)
            if surplus:
                self._drop_oldest(surplus)

        if not self._on_disk(write):
            while len(self._unwritten) > self._max_frames // 100:
                self._unwritten.popleft()
                self.dropped += 1
            return
        if surplus and not self.dropped:
            log.error("the queue is full at %d frames: from now on the oldest are dropped", self._max_frames)
        self._next += len(rows)
        self._count += len(rows) - surplus
        self.dropped += surplus
        self._unwritten.clear()

    def _on_disk(self, change: Callable[[], None]) -> bool:
        """Make a change in a transaction; a disk that refuses is said once, and again when it is over."""
        try:
            with self._transaction():
                change()
        except sqlite3.Error as error:
            if not self._disk_trouble:
                log.warning("the disk refuses (%s): what is new waits in memory until it takes it", error)
            self._disk_trouble = str(error)
            return False
        if self._disk_trouble:
            log.warning("the disk works again")
            (self._count,) = self._db.execute("SELECT count(*) FROM frames").fetchone()
            self._disk_trouble = ""
        return True

    def _drop_oldest(self, surplus: int) -> None:
        self._db.execute(
            "DELETE FROM frames WHERE id IN (SELECT id FROM frames ORDER BY id LIMIT ?)", (surplus,)
        )
        self._db.execute("INSERT OR REPLACE INTO counters VALUES ('dropped', ?)", (self.dropped + surplus,))

    def peek(self, who: str, limit: int) -> list[tuple[int, Frame]]:
        """Return the oldest frames that the dispatcher has not delivered, with their ids."""
        query = "SELECT id, frame FROM frames WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock:
            try:
                rows = self._db.execute(query, (self._upto[who], limit)).fetchall()
            except sqlite3.Error as error:
                raise OSError(f"the queue on disk cannot be read: {error}") from error
        return [(number, _from_text(text)) for number, text in rows]

    def done(self, who: str, upto: int) -> None:
        """Note that the dispatcher has delivered every frame up to this id.

        While the disk refuses, the place is kept in memory: nothing is sent twice for it.
        """
        with self._lock:
            self._upto[who] = max(self._upto[who], upto)
            self._on_disk(self._save_cursors)

    def refuse(self, who: str, number: int, reason: str) -> None:
        """Set one frame aside that the dispatcher's far end will not take, and go on after it."""
        query = "INSERT OR REPLACE INTO refused SELECT id, ?, ?, frame FROM frames WHERE id = ?"

        def set_aside() -> None:
            self._db.execute(query, (who, reason, number))
            self._save_cursors()

        with self._lock:
            self._upto[who] = max(self._upto[who], number)
            self._on_disk(set_aside)

    def _save_cursors(self) -> None:
        places = [(who, self._upto[who]) for who in self._attending]
        self._db.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?)", places)
        if places:
            everywhere = min(place for _, place in places)
            self._count -= self._db.execute("DELETE FROM frames WHERE id <= ?", (everywhere,)).rowcount

    def queued(self, who: str) -> int:
        """Return how many frames the dispatcher has still to deliver."""
        with self._lock:
            (count,) = self._db.execute(
                "SELECT count(*) FROM frames WHERE id > ?", (self._upto[who],)
            ).fetchone()
            return int(count) + len(self._unwritten)

    def refused(self, who: str) -> list[tuple[Frame, str]]:
        """Return the frames that were set aside for this dispatcher, with the reason."""
        with self._lock:
            rows = self._db.execute("SELECT frame, reason FROM refused WHERE who = ? ORDER BY id", (who,))
            return [(_from_text(text), reason) for text, reason in rows]

    def close(self) -> None:
        """Close the file, once more trying to write what waits in memory."""
        with self._lock:
            if self._unwritten:
                self._write_unwritten()
            self._db.close()


def _to_text(frame: Frame) -> str:
    """Return the frame's fields in their order, as JSON (dataclasses.astuple takes five times as long)."""
    stamp = frame.stamp
    fields = [
        frame.node,
        frame.values,
        (stamp.wall, stamp.boot, stamp.boottime),
        frame.names,
        frame.rssi,
        frame.source,
        frame.by_name,
    ]
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _from_text(text: str) -> Frame:
    node, values, stamp, names, *rest = json.loads(text)
    return Frame(node, tuple(values), Stamp(*stamp), tuple(names), *rest)
