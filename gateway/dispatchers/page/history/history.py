"""The history of all series in one file: a ring that stops growing.

The minutes of 30 days and the hours of two years stand in slots, the time modulo the size of the ring. The
slots of all series at one time are neighbours, so that a write changes few pages of the card.
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dispatchers.page.history.blocks import Day, Hour
from gateway.process.state_files import as_owner
from gateway.text.numeral import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MINUTE, HOUR, DAY = 60, 3600, 86400
HOURS, DAYS = 30 * 24, 731
"""The sizes of the rings: hours of minutes, and days of hours."""
SERIES = 200
_PER_SLOT = 256
_AHEAD = 60.0
"""Seconds that a reading may be ahead of the clock."""
_STOPPED = 600.0
"""Seconds without any reading before a start after which the gateway is said to have been off."""
_EPOCHS = 8
"""Epochs of the queue that are remembered."""
_MARKS = 1000

_SCHEMA = """
create table if not exists series (number integer primary key, node text not null, key text not null,
    identity text not null, last real not null, unique (node, key));
create table if not exists minutes (id integer primary key, hour integer not null, data blob not null);
create table if not exists hours (id integer primary key, day integer not null, data blob not null);
create table if not exists marks (at real not null, until real not null, series integer, words text not null);
create table if not exists state (name text primary key, value text not null);
"""


class Damaged(Exception):
    """The file is no history, or is damaged."""


@dataclass(frozen=True)
class Reading:
    """A value: when, of which node and key (an index, or a name with = before it), of which sensor."""

    at: float
    node: str
    key: str
    value: float
    identity: str = ""


@dataclass(frozen=True)
class Point:
    """What the values from `at` on had, for the step of its chart."""

    at: float
    mean: float
    least: float
    greatest: float
    count: int


@dataclass(frozen=True)
class Mark:
    """What happened: a sensor was replaced, or the gateway was off until then."""

    at: float
    until: float
    words: str


def key_of(index: int | None, name: str) -> str:
    """Return the key of a value: its index, or its name where it has none."""
    return f"={name}" if index is None else str(index)


class History:
    """The file. Any thread may read; one writes. `left_out` counts what was not taken, by its reason."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.left_out = Counter[str]()
        self.writes = 0
        self._is_first = True

    def open(self) -> None:
        """Make the file where there is none. Raises Damaged, or OSError."""
        with self._connect() as db:
            db.execute("pragma journal_mode = wal")
            db.executescript(_SCHEMA)
            if db.execute("pragma quick_check").fetchone() != ("ok",):
                raise Damaged

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            with (
                as_owner(self._file.parent),
                contextlib.closing(sqlite3.connect(self._file, timeout=10, isolation_level=None)) as db,
            ):
                db.execute("pragma synchronous = full")
                yield db
        except sqlite3.OperationalError as error:
            raise OSError(f"{self._file.name}: {error}") from error
        except (sqlite3.DatabaseError, struct.error) as error:
            raise Damaged(f"{self._file.name}: {error}") from error

    def add(self, readings: Sequence[Reading], place: tuple[str, int] | None, now: float) -> list[str]:
        """Write readings and, in the same transaction, the place (epoch and id) up to which they are.

        Returns the series that had to give way. Raises Damaged, or OSError.
        """
        taken = [each for each in readings if self._is_taken(each, now)]
        with self._connect() as db:
            db.execute("begin immediate")
            try:
                lost = self._add(db, taken)
                self._note_newest(db, taken)
                if place:
                    places = _places(db)
                    epoch, number = place
                    places[epoch] = max(number, places.pop(epoch, number))  # a smaller batch may be repeated
                    kept = dict([*places.items()][-_EPOCHS:])
                    db.execute("insert or replace into state values ('places', ?)", [json.dumps(kept)])
                db.execute("commit")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("rollback")
                raise
        self.writes += 1
        self._is_first = self._is_first and not taken
        return lost

    def places(self) -> dict[str, int]:
        """Return the last id of each epoch of the queue that is written. Raises Damaged, or OSError."""
        with self._connect() as db:
            return _places(db)

    def _is_taken(self, reading: Reading, now: float) -> bool:
        reason = ""
        if not abs(reading.value) <= LARGEST:
            reason = "not-a-number"
        elif not reading.at <= now + _AHEAD:
            reason = "ahead-of-the-clock"
        elif reading.at < now - DAYS * DAY:
            reason = "older-than-the-history"
        if reason:
            self.left_out[reason] += 1
        return not reason

    def _add(self, db: sqlite3.Connection, readings: Sequence[Reading]) -> list[str]:
        lost: list[str] = []
        by_series: dict[tuple[str, str], list[Reading]] = defaultdict(list)
        for reading in readings:
            by_series[reading.node, reading.key].append(reading)
        for (node, key), theirs in by_series.items():
            number = self._number(db, node, key, theirs, lost)
            by_hour: dict[int, list[Reading]] = defaultdict(list)
            for reading in theirs:
                by_hour[int(reading.at // HOUR)].append(reading)
            for hour, of_hour in by_hour.items():
                points = [Point(each.at, each.value, each.value, each.value, 1) for each in of_hour]
                self._write_minutes(db, number, hour, points)
                self._write_hours(db, number, hour, points)
        return lost

    def _number(
        self, db: sqlite3.Connection, node: str, key: str, readings: Sequence[Reading], lost: list[str]
    ) -> int:
        last = max(reading.at for reading in readings)
        row = db.execute("select number, identity, last from series where node = ? and key = ?", [node, key])
        identity = readings[-1].identity
        if found := row.fetchone():
            number, before, latest = found
            if before and identity and before != identity:
                at = next(reading.at for reading in readings if reading.identity == identity)
                words = f"{before} was replaced by {identity}"
                db.execute("insert into marks values (?, ?, ?, ?)", [at, at, number, words])
            update = "update series set identity = ?, last = ? where number = ?"
            db.execute(update, [identity or before, max(last, latest), number])
            return int(number)
        used = {number for (number,) in db.execute("select number from series")}
        number = next((each for each in range(SERIES) if each not in used), -1)
        if number < 0:
            oldest = "select number, node, key from series order by last limit 1"
            number, old_node, old_key = db.execute(oldest).fetchone()
            lost.append(f"node {old_node} {old_key.lstrip('=')}")
            for table in ("minutes", "hours"):
                db.execute(f"delete from {table} where id % ? = ?", [_PER_SLOT, number])  # noqa: S608
            db.execute("delete from marks where series = ?", [number])
            db.execute("delete from series where number = ?", [number])
        db.execute("insert into series values (?, ?, ?, ?, ?)", [number, node, key, identity, last])
        return int(number)

    def _write_minutes(self, db: sqlite3.Connection, number: int, hour: int, points: Sequence[Point]) -> None:
        at = hour % HOURS * _PER_SLOT + number
        row = db.execute("select hour, data from minutes where id = ?", [at]).fetchone()
        if row and row[0] > hour:
            self.left_out["older-than-the-minutes"] += len(points)
            return
        block = Hour.unpack(row[1]) if row and row[0] == hour else Hour()
        for point in points:
            block.add(int(point.at % HOUR // MINUTE), point.mean, point.count)
        db.execute("insert or replace into minutes values (?, ?, ?)", [at, hour, block.pack()])

    def _write_hours(self, db: sqlite3.Connection, number: int, hour: int, points: Sequence[Point]) -> None:
        day = hour // 24
        at = day % DAYS * _PER_SLOT + number
        row = db.execute("select day, data from hours where id = ?", [at]).fetchone()
        if row and row[0] > day:
            self.left_out["older-than-the-history"] += len(points)
            return
        block = Day.unpack(row[1]) if row and row[0] == day else Day()
        for point in points:
            block.add(hour % 24, point.mean, point.least, point.greatest, point.count)
        db.execute("insert or replace into hours values (?, ?, ?)", [at, day, block.pack()])

    def _note_newest(self, db: sqlite3.Connection, readings: Sequence[Reading]) -> None:
        """Note the newest time. In the first batch of a run, mark where the gateway had no readings."""
        times = sorted({reading.at for reading in readings})
        row = db.execute("select value from state where name = 'newest'").fetchone()
        before = float(row[0]) if row else math.inf
        for at in times:
            if self._is_first and at > before + _STOPPED:
                db.execute(
                    "insert into marks values (?, ?, null, ?)", [before, at, "the gateway had no readings"]
                )
            before = max(before, at) if before < math.inf else at
        if times:
            db.execute("insert or replace into state values ('newest', ?)", [repr(before)])
        excess = "delete from marks where rowid <= (select max(rowid) from marks) - ?"
        db.execute(excess, [_MARKS])

    def newest(self) -> float:
        """Return the time of the newest reading, 0 where there is none. Raises Damaged, or OSError."""
        with self._connect() as db:
            row = db.execute("select max(last) from series").fetchone()
            return float(row[0] or 0.0)

    def known(self) -> list[tuple[str, str]]:
        """Return node and key of each series. Raises Damaged, or OSError."""
        with self._connect() as db:
            return db.execute("select node, key from series order by number").fetchall()

    def minutes(self, node: str, key: str, since: float, until: float) -> list[Point]:
        """Return the minutes that have a value. Raises Damaged, or OSError."""
        points: list[Point] = []
        first, last = int(since // HOUR), int(until // HOUR)
        for hour, data in self._slots(
            "minutes", "hour", node, key, range(max(first, last - HOURS + 1), last + 1)
        ):
            points += _minutes(hour, data, since, until)
        return points

    def hours(self, node: str, key: str, since: float, until: float) -> list[Point]:
        """Return the hours that have a value. Raises Damaged, or OSError."""
        points = []
        first, last = int(since // DAY), int(until // DAY)
        for day, data in self._slots("hours", "day", node, key, range(max(first, last - DAYS + 1), last + 1)):
            block = Day.unpack(data)
            for hour, count in enumerate(block.counts):
                at = float(day * DAY + hour * HOUR)
                if count and since <= at < until:
                    parts = block.means[hour], block.least[hour], block.greatest[hour]
                    points.append(Point(at, *parts, count))
        return points

    def _slots(self, table: str, time: str, node: str, key: str, times: range) -> list[tuple[int, bytes]]:
        size = HOURS if table == "minutes" else DAYS
        with self._connect() as db:
            query = "select number from series where node = ? and key = ?"
            found = db.execute(query, [node, key]).fetchone()
            if not found or not times:
                return []
            places = ",".join(str(each % size * _PER_SLOT + found[0]) for each in times)
            query = f"select {time}, data from {table} where id in ({places}) and {time} between ? and ?"  # noqa: S608
            return sorted(db.execute(query, [times[0], times[-1]]).fetchall())

    def marks(self, node: str, key: str, since: float, until: float) -> list[Mark]:
        """Return what happened to a series or to all of them. Raises Damaged, or OSError."""
        with self._connect() as db:
            query = (
                "select at, until, words from marks where until >= ? and at < ? and (series is null or "
                "series = (select number from series where node = ? and key = ?)) order by at"
            )
            return [Mark(*row) for row in db.execute(query, [since, until, node, key])]

    def recent(self, since: float, until: float) -> dict[tuple[str, str], dict[int, float]]:
        """Return the mean of each quarter of an hour, by its number since 1970, of all series.

        Raises Damaged, or OSError.
        """
        found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        with self._connect() as db:
            numbers = db.execute("select number, node, key from series")
            series = {number: (node, key) for number, node, key in numbers}
            query = "select id % ?, data from minutes where id between ? and ? and hour = ?"
            for hour in range(int(since // HOUR), int(until // HOUR) + 1):
                first = hour % HOURS * _PER_SLOT
                for number, data in db.execute(query, [_PER_SLOT, first, first + _PER_SLOT - 1, hour]):
                    if number in series:
                        quarters = enumerate(Hour.unpack(data).quarters(), 4 * hour)
                        found[series[number]] |= {at: mean for at, mean in quarters if mean is not None}
        return found

    def put(self, node: str, key: str, points: Sequence[Point], step: int) -> int:
        """Add minutes or hours (`step` seconds) from elsewhere; what is there already stays.

        Returns how many were added. Raises Damaged, or OSError.
        """
        times = [point.at for point in points]
        read = self.minutes if step == MINUTE else self.hours
        there = {point.at for point in read(node, key, min(times), max(times) + 1)}
        by_hour: dict[int, list[Point]] = defaultdict(list)
        for point in points:
            if point.at not in there:
                by_hour[int(point.at // HOUR)].append(point)
        with self._connect() as db:
            db.execute("begin immediate")
            number = self._number(db, node, key, [Reading(max(times), node, key, 0.0)], [])
            for hour, of_hour in sorted(by_hour.items()):
                (self._write_minutes if step == MINUTE else self._write_hours)(db, number, hour, of_hour)
            db.execute("commit")
        return sum(map(len, by_hour.values()))


def _minutes(hour: int, data: bytes, since: float, until: float) -> Iterator[Point]:
    block = Hour.unpack(data)
    for minute, count in enumerate(block.counts):
        at, mean = float(hour * HOUR + minute * MINUTE), block.means[minute]
        if count and since <= at < until:
            yield Point(at, mean, mean, mean, count)


def _places(db: sqlite3.Connection) -> dict[str, int]:
    row = db.execute("select value from state where name = 'places'").fetchone()
    places: dict[str, int] = json.loads(row[0]) if row else {}
    return places
