"""The slots of the file: a time's slot is the time modulo the size of its ring, so the file stops growing.

The slots of all series at one time are neighbours, so that a write changes few pages of the card. A series
has two rows in a slot: one with the values whose times stand, and one with those of the clock of a boot,
which are moved if that clock turns out to have been wrong. Clocks are numbered; 0 is for times that stand.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway.dispatchers.page.history.blocks import Block, Day, Hour

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.dispatchers.page.history.blocks import Point

HOURS, DAYS = 30 * 24, 731
"""The sizes of the rings: hours of minutes, and days of hours."""
SERIES = 200
_PER_SLOT = 512

B = TypeVar("B", bound=Block)


@dataclass(frozen=True)
class Ring(Generic[B]):
    """A table of blocks; `too_old` says why a block has no slot: a later one has it."""

    table: str
    size: int
    block: type[B]
    too_old: str

    @property
    def seconds(self) -> int:
        """The seconds that a block covers."""
        return self.block.step * self.block.places

    @property
    def schema(self) -> str:
        """The statement that makes the table."""
        return (
            f"create table if not exists {self.table} (id integer primary key, time integer not null, "
            "clock integer not null, data blob not null);"
        )

    def add(self, db: sqlite3.Connection, series: int, clock: int, points: Iterable[Point]) -> int:
        """Add points; return how many values no longer have a slot."""
        blocks: dict[int, B] = defaultdict(self.block)
        for point in points:
            time, within = divmod(point.at, self.seconds)
            parts = point.mean, point.least, point.greatest, point.count
            blocks[int(time)].add(int(within // self.block.step), *parts)
        return sum(self.write(db, series, clock, time, block) for time, block in sorted(blocks.items()))

    def free(self, db: sqlite3.Connection, series: int, points: Iterable[Point], latest: float) -> None:
        """Remove what has the slots of these points and begins after `latest`: a clock was ahead."""
        times = {int(point.at // self.seconds) for point in points}
        places = (time % self.size * _PER_SLOT + 2 * series for time in times)
        after = latest / self.seconds
        delete = f"delete from {self.table} where id in (?, ?) and time > ?"  # noqa: S608
        db.executemany(delete, [(place, place + 1, after) for place in places])

    def write(self, db: sqlite3.Connection, series: int, clock: int, time: int, block: B) -> int:
        """Add a block to what is there of its time; return how many values no longer have a slot."""
        settled = time % self.size * _PER_SLOT + 2 * series
        query = f"select id, time, clock, data from {self.table} where id in (?, ?)"  # noqa: S608
        rows = {row[0]: row[1:] for row in db.execute(query, [settled, settled + 1])}
        if any(there > time for there, *_ in rows.values()):
            return sum(block.counts)
        older = [(at,) for at, (there, *_) in rows.items() if there < time]
        db.executemany(f"delete from {self.table} where id = ?", older)  # noqa: S608
        at = settled + (clock > 0)
        if at in rows and rows[at][0] == time:
            before = self.block.unpack(rows[at][2])
            if rows[at][1] == clock:
                block.merge(before)
            else:  # an earlier boot's, whose clock is no longer set
                self.write(db, series, 0, time, before)
        insert = f"insert or replace into {self.table} values (?, ?, ?, ?)"  # noqa: S608
        db.execute(insert, [at, time, clock, block.pack()])
        return 0

    def read(self, db: sqlite3.Connection, series: int, since: float, until: float) -> Iterator[Point]:
        """Yield the points of a series in order."""
        last = int(until // self.seconds)
        times = range(max(int(since // self.seconds), last - self.size + 1), last + 1)
        if not times:
            return
        places = (time % self.size * _PER_SLOT + 2 * series for time in times)
        wanted = ",".join(f"{place},{place + 1}" for place in places)
        query = f"select time, data from {self.table} where id in ({wanted}) and time between ? and ?"  # noqa: S608
        for time, block in sorted(self._merged(db.execute(query, [times[0], times[-1]])).items()):
            for point in block.points(time * self.seconds):
                if since <= point.at < until:
                    yield point

    def slot(self, db: sqlite3.Connection, time: int) -> dict[int, B]:
        """Return the blocks of all series at a time."""
        first = time % self.size * _PER_SLOT
        query = f"select id % ? / 2, data from {self.table} where id between ? and ? and time = ?"  # noqa: S608
        return self._merged(db.execute(query, [_PER_SLOT, first, first + _PER_SLOT - 1, time]))

    def _merged(self, rows: Iterable[tuple[int, bytes]]) -> dict[int, B]:
        blocks: dict[int, B] = {}
        for key, data in rows:
            block = self.block.unpack(data)
            if key in blocks:
                blocks[key].merge(block)
            else:
                blocks[key] = block
        return blocks

    def of_clock(self, db: sqlite3.Connection, clock: int) -> dict[int, list[int]]:
        """Return the ids of the rows of a clock, by series."""
        found: dict[int, list[int]] = defaultdict(list)
        for (place,) in db.execute(f"select id from {self.table} where clock = ?", [clock]):  # noqa: S608
            found[place % _PER_SLOT // 2].append(place)
        return found

    def take(self, db: sqlite3.Connection, ids: Sequence[int]) -> dict[int, B]:
        """Remove rows, and return their blocks by their times."""
        query = f"select time, data from {self.table} where id = ?"  # noqa: S608
        rows = [db.execute(query, [place]).fetchone() for place in ids]
        db.executemany(f"delete from {self.table} where id = ?", [(place,) for place in ids])  # noqa: S608
        return self._merged(rows)

    def clear(self, db: sqlite3.Connection, series: int) -> None:
        """Remove all of a series."""
        db.execute(f"delete from {self.table} where id % ? / 2 = ?", [_PER_SLOT, series])  # noqa: S608


MINUTES = Ring("minutes", HOURS, Hour, "older-than-the-minutes")
DAYS_OF_HOURS = Ring("hours", DAYS, Day, "older-than-the-history")
