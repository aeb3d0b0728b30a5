"""The history of all series in one file: a ring that stops growing.

It has the minutes of 30 days and the hours of two years, and what happened: sensors that were replaced, and
where the gateway was off.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import sqlite3
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dispatchers.page.history import clocks, places
from gateway.dispatchers.page.history.blocks import DAY, HOUR, MINUTE, Point
from gateway.dispatchers.page.history.rings import DAYS, DAYS_OF_HOURS, MINUTES, SERIES
from gateway.process.state_files import as_owner, open_file
from gateway.store import commits
from gateway.store.store import is_unread, layout, transaction
from gateway.text.numeral import LARGEST
from gateway.text.plain import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gateway.dispatchers.page.history.blocks import Day, Hour
    from gateway.dispatchers.page.history.rings import Ring

AHEAD = 60.0
"""Seconds that a reading may be ahead of the clock."""
_PAGE = 4096
_EPOCHS = 64
"""Epochs of the queue that are remembered: waiting frames may come from several starts of the gateway."""
_SILENT = 7 * DAY
"""Seconds of silence after which a series may give way to a new one if there are too many."""
_MARKS = 1000

_SCHEMA = f"""
create table if not exists series (number integer primary key, node text not null, key text not null,
    identity text not null, last real not null, unique (node, key));
{MINUTES.schema}
{DAYS_OF_HOURS.schema}
{clocks.SCHEMA}
create table if not exists state (name text primary key, value text not null);
"""


class Damaged(Exception):
    """The file is not a history, or is damaged."""


@dataclass(frozen=True)
class Reading:
    """A value: when, of which node and key (an index, or a name with = before it), of which sensor.

    `boot` is the boot whose clock it was dated by, "" if its time stands.
    """

    at: float
    node: str
    key: str
    value: float
    identity: str = ""
    boot: str = ""


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
        commits.set_foreign_aside(self._file, _PAGE)
        with self._connect() as db:
            found = layout(db)
            if found and not any(table == "series" for table, _ in found):
                raise Damaged("it is another program's database")
            db.execute(f"pragma page_size = {_PAGE}")
            db.execute("pragma journal_mode = wal")
            if db.execute("pragma application_id").fetchone() == (0,):
                db.execute(f"pragma application_id = {secrets.randbits(30) | 1}")
            db.executescript(_SCHEMA)
            with contextlib.closing(sqlite3.connect(":memory:")) as ours:
                ours.executescript(_SCHEMA)
                if not layout(ours) <= layout(db):
                    raise Damaged("its tables have other columns")
            if db.execute("pragma quick_check").fetchone() != ("ok",):
                raise Damaged("its pages do not fit together")

    @property
    def is_there(self) -> bool:
        """Whether the file is there; one that was just made by a reader is empty."""
        with contextlib.suppress(OSError):
            return self._file.stat().st_size > 0
        return False

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            if not os.path.lexists(self._file):  # SQLite would let all read it
                fd = open_file(self._file, os.O_RDWR | os.O_CREAT)
                os.fchmod(fd, 0o640)
                os.close(fd)
            with (
                as_owner(self._file.parent),
                contextlib.closing(sqlite3.connect(self._file, timeout=10, isolation_level=None)) as db,
            ):
                db.execute("pragma synchronous = full")
                yield db
        except sqlite3.OperationalError as error:
            kind = Damaged if is_unread(error) else OSError
            raise kind(f"{self._file.name}: {error}") from error
        except (sqlite3.DatabaseError, struct.error) as error:
            raise Damaged(f"{self._file.name}: {error}") from error

    @contextlib.contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        """Everything done inside is written and counted, or nothing is: it may be tried again."""
        left_out = self.left_out.copy()
        try:
            with self._connect() as db, transaction(db):
                yield db
        except BaseException:
            self.left_out = left_out
            raise
        self.writes += 1

    def add(
        self,
        readings: Sequence[Reading],
        upto: Mapping[str, int],
        now: float,
        offsets: Mapping[str, float] | None = None,
        *,
        is_sure: bool = False,
    ) -> list[str]:
        """Write readings and, in the same transaction, the id up to which they are in each epoch.

        `offsets` are how far the right time is ahead of the clock of each boot of the readings: what is
        already written of a boot moves if that has changed. Returns the series that had to give way. Raises
        Damaged, or OSError. If the clock `is_sure`, older values from a boot whose clock was ahead take no
        slot from these.
        """
        with self._written() as db:
            taken = [each for each in readings if self._is_taken(each, now)]
            clocks.correct(db, offsets or {}, self.left_out)
            before, lost = clocks.newest(db), list[str]()
            by_boot: dict[str, list[Reading]] = defaultdict(list)
            for reading in taken:
                by_boot[reading.boot].append(reading)
            times: dict[float, int] = {}
            for boot, of_boot in by_boot.items():
                theirs = [each.at for each in of_boot]
                clock = clocks.note(db, boot, (offsets or {}).get(boot, 0.0), min(theirs), max(theirs))
                times |= dict.fromkeys(theirs, clock)
                lost += self._add(db, of_boot, clock, now + HOUR if is_sure else math.inf, now - _SILENT)
            if self._is_first:
                clocks.mark_gaps(db, before, sorted(times.items()))
            known = places.read(db)
            for epoch, number in upto.items():
                known[epoch] = max(number, known.pop(epoch, number))  # a smaller batch may be repeated
            kept = dict([*known.items()][-_EPOCHS:])
            db.execute("insert or replace into state values ('places', ?)", [json.dumps(kept)])
            excess = "delete from marks where rowid <= (select max(rowid) from marks) - ?"
            db.execute(excess, [_MARKS])
        self.left_out += Counter()  # without those that are 0
        self._is_first = self._is_first and not taken
        return lost

    def places(self) -> dict[str, int]:
        """Return the last id of each epoch of the queue that is written. Raises Damaged, or OSError."""
        with self._connect() as db:
            return places.read(db)

    def _is_taken(self, reading: Reading, now: float) -> bool:
        reason = ""
        if not abs(reading.value) <= LARGEST:
            reason = "not-a-number"
        elif not reading.at <= now + AHEAD:
            reason = "ahead-of-the-clock"
        elif reading.at < now - DAYS * DAY:
            reason = "older-than-the-history"
        if reason:
            self.left_out[reason] += 1
        return not reason

    def _add(
        self,
        db: sqlite3.Connection,
        readings: Sequence[Reading],
        clock: int,
        latest: float,
        silent_since: float,
    ) -> list[str]:
        lost: list[str] = []
        by_series: dict[tuple[str, str], list[Reading]] = defaultdict(list)
        for reading in readings:
            by_series[reading.node, reading.key].append(reading)
        for (node, key), theirs in by_series.items():
            number, gave_way = self._number(db, node, key, silent_since)
            lost += gave_way
            if number is None:
                self.left_out["of-a-series-too-many"] += len(theirs)
                continue
            _note_sensor(db, number, theirs, clock)
            points = [Point(each.at, each.value, each.value, each.value, 1) for each in theirs]
            for ring in (MINUTES, DAYS_OF_HOURS):
                ring.free(db, number, points, latest)
                self.left_out[ring.too_old] += ring.add(db, number, clock, points)
        return lost

    def _number(
        self, db: sqlite3.Connection, node: str, key: str, silent_since: float
    ) -> tuple[int | None, list[str]]:
        """Return the number of a series, and the one that gave way to it, if there were too many.

        That is the one silent for longest, if since before a given time: otherwise, with too many active
        series, each would take the history of the next. None if none gives way.
        """
        row = db.execute("select number from series where node = ? and key = ?", [node, key])
        if found := row.fetchone():
            return int(found[0]), []
        lost = []
        used = {number for (number,) in db.execute("select number from series")}
        number = next((each for each in range(SERIES) if each not in used), -1)
        if number < 0:
            oldest = "select number, node, key, last from series order by last limit 1"
            number, old_node, old_key, last = db.execute(oldest).fetchone()
            if last >= silent_since:
                return None, []
            lost = [f"node {old_node} {old_key.lstrip('=')}"]
            for ring in (MINUTES, DAYS_OF_HOURS):
                ring.clear(db, number)
            db.execute("delete from marks where series = ?", [number])
            db.execute("delete from series where number = ?", [number])
        db.execute("insert into series values (?, ?, ?, '', 0)", [number, node, key])
        return int(number), lost

    def newest(self) -> float:
        """Return the time of the newest reading, 0 if there is none. Raises Damaged, or OSError."""
        with self._connect() as db:
            row = db.execute("select max(last) from series").fetchone()
            return float(row[0] or 0.0)

    def known(self) -> list[tuple[str, str]]:
        """Return node and key of each series. Raises Damaged, or OSError."""
        with self._connect() as db:
            return db.execute("select node, key from series order by number").fetchall()

    def minutes(self, node: str, key: str, since: float, until: float) -> list[Point]:
        """Return the minutes that have a value. Raises Damaged, or OSError."""
        return self._points(MINUTES, node, key, since, until)

    def hours(self, node: str, key: str, since: float, until: float) -> list[Point]:
        """Return the hours that have a value. Raises Damaged, or OSError."""
        return self._points(DAYS_OF_HOURS, node, key, since, until)

    def _points(
        self, ring: Ring[Hour] | Ring[Day], node: str, key: str, since: float, until: float
    ) -> list[Point]:
        with self._connect() as db:
            query = "select number from series where node = ? and key = ?"
            found = db.execute(query, [node, key]).fetchone()
            return [*ring.read(db, found[0], since, until)] if found else []

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
            for hour in range(int(since // HOUR), int(until // HOUR) + 1):
                for number, block in MINUTES.slot(db, hour).items():
                    if number in series:
                        quarters = enumerate(block.quarters(), 4 * hour)
                        found[series[number]] |= {at: mean for at, mean in quarters if mean is not None}
        return found

    def put(self, node: str, key: str, points: Sequence[Point], step: int) -> int:
        """Add minutes or hours (`step` seconds) from elsewhere; what is there already stays.

        Returns how many were added: none of a new series where there are too many. Raises Damaged, or
        OSError.
        """
        times = [point.at for point in points]
        ring = MINUTES if step == MINUTE else DAYS_OF_HOURS
        with self._written() as db:
            (count,) = db.execute(
                "select count(*) from series where not (node = ? and key = ?)", [node, key]
            ).fetchone()
            number = None if count >= SERIES else self._number(db, node, key, 0.0)[0]
            if number is None:
                return 0
            _note_sensor(db, number, [Reading(max(times), node, key, 0.0)], 0)
            there = {point.at for point in ring.read(db, number, min(times), max(times) + 1)}
            ring.add(db, number, 0, [point for point in points if point.at not in there])
            return len([*ring.read(db, number, min(times), max(times) + 1)]) - len(there)


def _note_sensor(db: sqlite3.Connection, number: int, readings: Sequence[Reading], clock: int) -> None:
    """Note which sensor the readings of a series are of, and when the latest was; mark one that is new."""
    row = db.execute("select identity, last from series where number = ?", [number]).fetchone()
    before, latest = without_secrets(row[0]), row[1]
    identity = readings[-1].identity
    if before and identity and before != identity:
        at = next(reading.at for reading in readings if reading.identity == identity)
        words = f"{before} was replaced by {identity}"
        db.execute("insert into marks values (?, ?, ?, ?, ?)", [at, at, number, clock, words])
    last = max(latest, *(reading.at for reading in readings))
    db.execute("update series set identity=?, last=? where number=?", [identity or before, last, number])
