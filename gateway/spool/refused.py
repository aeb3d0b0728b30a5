"""The frames that were refused: counted by dispatcher, and bounded by limits of their own."""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from gateway.spool.limits import Limits, NoRoom
from gateway.store.commits import PAGE
from gateway.store.frame_text import to_text
from gateway.store.rows import is_text
from gateway.store.store import OutOfPlace, pages_used

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from gateway.frame import Frame

    _State = tuple[Counter[str], int, int, tuple[int, ...]]

log = logging.getLogger("oemgateway.spool")

CURE = (
    "oemgateway queue list --refused says why they were refused; queue retry sends them again once that is "
    "mended, queue drop --refused forgets them"
)
"""What can be done about refused frames."""

_PIECE = 1000
"""How many frames are dropped in one transaction beyond those that make room for new ones: it takes several
to reach a limit that was lowered."""

_OVERHEAD = 80
"""Bytes that a row takes besides its texts, in the table and its two indices; 60 are the least (measured)."""

_COUNTERS = ("refused_pages", "refused_dropped", "refused_last_out")


class RefusedRow(NamedTuple):
    """A row of the table: a frame that a dispatcher's far end does not take."""

    number: int
    who: str
    reason: str
    text: str
    undated: bool = False

    @property
    def size(self) -> int:
        """About how many bytes it takes in the file."""
        return len(self.text.encode()) + len(self.reason.encode()) + 3 * len(self.who.encode()) + _OVERHEAD


class RefusedTotals(NamedTuple):
    """How many frames are set aside, by dispatcher, there or gone, and how many were dropped, ever.

    `full` says that frames have been dropped since some were last taken out by hand.
    """

    by: Counter[str]
    dropped: int
    full: bool


class RefusedFrames:
    """The table `refused` of the file, and what is still to be written there.

    Beyond its limits the oldest frames are dropped, whichever dispatcher refused them, and `dropped` counts
    them for good. `pages` is how many pages of the file the table takes, as measured: how full SQLite makes a
    page depends on the sizes of the rows. `full` says that frames have been dropped since some were last
    taken out by hand.
    """

    def __init__(self, limits: Limits) -> None:
        self.pages = 0
        self.dropped = 0
        self.full = False
        self.unwritten: list[RefusedRow] = []
        self._limits = limits
        self._on_disk: Counter[str] = Counter()
        self._noted: tuple[int, ...] = (0, 0, 0)
        # The highest id that was taken out: no other frame may get it.
        self._last_out = 0

    def load(self, db: sqlite3.Connection) -> None:
        """Count what the file has."""
        rows = db.execute(
            f"""
            SELECT who, count(*), sum(length(CAST(frame AS BLOB)) + length(reason) + 3 * length(who) + {_OVERHEAD}),
                max(typeof(reason) != 'text') FROM refused GROUP BY who
            """  # noqa: S608, E501  (our own number)
        ).fetchall()
        if not all(is_text(who) and not is_wrong for who, *_, is_wrong in rows):
            raise OutOfPlace("something was refused by nobody, or for no reason")
        self._on_disk = Counter({who: count for who, count, *_ in rows})
        about = sum(size for *_, size, _ in rows) // PAGE
        counters = dict(db.execute("SELECT name, value FROM counters WHERE name LIKE 'refused%'"))
        self._noted = tuple(counters.get(name, 0) for name in _COUNTERS)
        _, self.dropped, self._last_out = self._noted
        # A file of an earlier version has no note of its pages; that of a damaged one may be much too high.
        self.pages = min(counters.get("refused_pages", about), 2 * about)

    @property
    def by(self) -> Counter[str]:
        """How many there are, by dispatcher."""
        return self._on_disk + Counter(row.who for row in self.unwritten)

    @property
    def totals(self) -> RefusedTotals:
        """How many there are, and how many are gone."""
        return RefusedTotals(self.by, self.dropped, self.full)

    @staticmethod
    def reasons(db: sqlite3.Connection, who: str) -> dict[str, int]:
        """Return why the frames of a dispatcher that are in the file were refused, and how many for each."""
        query = "SELECT reason, count(*) FROM refused WHERE who = ? GROUP BY reason"
        return dict(db.execute(query, (who,)).fetchall())

    @property
    def is_written(self) -> bool:
        """Whether the file has all of it, and the counts."""
        return not self.unwritten and self._noted == (self.pages, self.dropped, self._last_out)

    def add(self, who: str, rows: Iterable[tuple[int, Frame, str]]) -> None:
        """Set frames aside for a dispatcher, each with its id and reason."""
        self.unwritten += [RefusedRow(number, who, why, to_text(frame)) for number, frame, why in rows]

    def adopt(self, other: RefusedFrames) -> None:
        """Take over what waits to be written elsewhere, and its counts."""
        self.unwritten = other.unwritten
        self.dropped = max(self.dropped, other.dropped)
        self.full = self.full or other.full
        self._last_out = max(self._last_out, other._last_out)

    def bound_memory(self) -> None:
        """Drop the oldest of those that wait in memory for the disk, beyond the limit."""
        surplus = max(0, len(self.unwritten) - self._limits.memory)
        self._drop(row.number for row in self.unwritten[:surplus])
        del self.unwritten[:surplus]

    def state(self) -> _State:
        """Return what has to be restored if a transaction fails."""
        return Counter(self._on_disk), self.pages, self.dropped, self._noted

    def restore(self, state: _State) -> None:
        """Put back what `state` returned."""
        self._on_disk, self.pages, self.dropped, self._noted = state

    def rename(self, db: sqlite3.Connection, steps: Sequence[tuple[str, str]]) -> None:
        """Rename dispatchers in the file, by steps of (new, old name); inside a transaction, which may fail.

        Raises NoRoom if longer names would push out the oldest frames.
        """
        before = pages_used(db)
        db.executemany("UPDATE OR REPLACE refused SET who = ? WHERE who = ?", steps)
        self.pages += pages_used(db) - before
        if self.pages > self._limits.refused_bytes // PAGE:
            raise NoRoom(0.0)
        self._on_disk = Counter(dict(db.execute("SELECT who, count(*) FROM refused GROUP BY who").fetchall()))
        self._note(db)

    def write(self, db: sqlite3.Connection) -> None:
        """Write what is `unwritten`, within the limits; inside a transaction, which may fail."""
        # A dispatcher that went back may have set some aside before.
        self._take_out(db, ((row.who, row.number) for row in self.unwritten))
        rows = self._newest_that_fit(self.unwritten)
        self._make_room(db, len(rows), _pages(rows))
        if rows:
            before = pages_used(db)
            db.executemany("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?)", rows)
            self.pages += pages_used(db) - before
            self._on_disk.update(row.who for row in rows)
        self._note(db)

    def forget(self, db: sqlite3.Connection, frames: Iterable[tuple[str, int]]) -> bool:
        """Take out these, by dispatcher and id; return whether all were there. Inside a transaction."""
        these = list(frames)
        taken_out = self._take_out(db, these)
        self._last_out = max([self._last_out, *(number for _, number in these)])
        self._note(db)
        self.full = self.full and not these
        return taken_out == len(these)

    def _take_out(self, db: sqlite3.Connection, frames: Iterable[tuple[str, int]]) -> int:
        """Remove these rows, by dispatcher and id; return how many of them there were."""
        before = pages_used(db)
        query = "DELETE FROM refused WHERE who = ? AND id = ?"
        by: Counter[str] = Counter()
        for who, number in frames:
            by[who] += db.execute(query, (who, number)).rowcount
        self._taken_out(before - pages_used(db), by)
        return by.total()

    def _newest_that_fit(self, rows: list[RefusedRow]) -> list[RefusedRow]:
        """Drop those at the front that would not fit even into an empty table."""
        most = self._limits.refused
        first = max(0, len(rows) - most)
        while _pages(rows[first:]) > self._limits.refused_bytes // PAGE:
            first += max(1, (len(rows) - first) // 10)
        self._drop(row.number for row in rows[:first])
        return rows[first:]

    def _make_room(self, db: sqlite3.Connection, frames: int, pages: int) -> None:
        """Drop the oldest, to make room for so many more frames, on so many pages."""
        left = frames + _PIECE
        while surplus := min(left, self._surplus(frames, pages)):
            query = "SELECT rowid, who, id FROM refused ORDER BY id, who LIMIT ?"
            oldest = db.execute(query, (surplus,)).fetchall()
            before = pages_used(db)
            db.executemany("DELETE FROM refused WHERE rowid = ?", [(row,) for row, *_ in oldest])
            self._taken_out(before - pages_used(db), Counter(who for _, who, _ in oldest))
            self._drop(number for *_, number in oldest)
            left -= surplus

    def _surplus(self, frames: int, pages: int) -> int:
        """Return how many of those on the disk must be dropped to make room for so many more."""
        there = self._on_disk.total()
        for_pages = self.pages + pages - self._limits.refused_bytes // PAGE
        those = math.ceil(for_pages * there / self.pages) if self.pages else 0
        return max(0, min(there, max(there + frames - self._limits.refused, those)))

    def _taken_out(self, pages: int, by: Counter[str]) -> None:
        self._on_disk -= by
        self.pages = max(0, self.pages - pages) if self._on_disk else 0

    def _drop(self, numbers: Iterable[int]) -> None:
        """Count the frames with these ids as dropped."""
        gone = list(numbers)
        if gone:
            self.dropped += len(gone)
            self._last_out = max(self._last_out, *gone)
            if not self.full:
                log.error(
                    "max_refused or max_refused_size is reached: the oldest go, and are counted; %s", CURE
                )
            self.full = True

    def _note(self, db: sqlite3.Connection) -> None:
        """Write the counts to the file if they have changed."""
        now = (self.pages, self.dropped, self._last_out)
        if self._noted != now:
            db.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", zip(_COUNTERS, now, strict=True))
            self._noted = now


def _pages(rows: Sequence[RefusedRow]) -> int:
    """Return how many pages these take at most."""
    return math.ceil(sum(row.size for row in rows) * 1.5 / PAGE)
