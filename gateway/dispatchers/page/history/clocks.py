"""The clocks of boots, and what moves when one turns out to have been wrong.

The queue dates the frames that it still has by the clock of their boot, as that is known now. What the
history has of the boot was dated by what was known before: it moves by the difference, in whole minutes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gateway.dispatchers.page.history.blocks import MINUTE, Block, Day, Hour
from gateway.dispatchers.page.history.rings import DAYS_OF_HOURS, MINUTES

if TYPE_CHECKING:
    import sqlite3
    from collections import Counter
    from collections.abc import Iterable, Mapping
    from typing import TypeVar

    from gateway.dispatchers.page.history.blocks import Point

    B = TypeVar("B", bound=Block)

STOPPED = 600.0
"""Seconds without a reading before a start from which the gateway counts as having been off."""
_KEPT = 8
"""Clocks that are remembered."""

SCHEMA = """
create table if not exists clocks (number integer primary key, boot text not null unique,
    offset real not null, before real not null, first real not null, last real not null);
create table if not exists marks (at real not null, until real not null, series integer,
    clock integer not null, words text not null);
"""
OFF = "the gateway had no readings"


class Clock(NamedTuple):
    """The clock of a boot: its number, and how far its times are ahead of the boot's own, in seconds.

    `first` and `last` are the times of its readings in the history, and `before` that of the newest before.
    """

    number: int
    boot: str
    offset: float
    before: float
    first: float
    last: float


def newest(db: sqlite3.Connection) -> float:
    """Return the time of the newest reading, 0 if there is none."""
    return float(db.execute("select coalesce(max(last), 0) from clocks").fetchone()[0])


def find(db: sqlite3.Connection, boot: str) -> Clock | None:
    """Return the clock of a boot; "" is that of times that stand."""
    row = db.execute("select * from clocks where boot = ?", [boot]).fetchone()
    return Clock(*row) if row else None


def note(db: sqlite3.Connection, boot: str, offset: float, first: float, last: float) -> int:
    """Note that readings of a boot were added; return the number of its clock."""
    if known := find(db, boot):
        times = [min(first, known.first), max(last, known.last), known.number]
        db.execute("update clocks set first = ?, last = ? where number = ?", times)
        return known.number
    highest = db.execute("select coalesce(max(number), 0) from clocks").fetchone()[0]
    number = highest + 1 if boot else 0
    db.execute(
        "insert into clocks values (?, ?, ?, ?, ?, ?)", [number, boot, offset, newest(db), first, last]
    )
    db.execute("delete from clocks where number between 1 and ?", [number - _KEPT])
    return int(number)


def mark_gaps(db: sqlite3.Connection, before: float, times: Iterable[tuple[float, int]]) -> None:
    """Mark where no series had readings from `before` on (0: never); `times` are in order, with clocks."""
    for at, clock in times:
        if 0 < before < at - STOPPED:
            db.execute("insert into marks values (?, ?, null, ?, ?)", [before, at, clock, OFF])
        before = max(before, at)


def correct(db: sqlite3.Connection, offsets: Mapping[str, float], left_out: Counter[str]) -> None:
    """Move what the history has of each boot whose clock has turned out to have been wrong.

    `offsets` are how far the right time is ahead of the boot's own. Values without a slot at their right time
    are counted.
    """
    for boot, offset in offsets.items():
        if boot and (clock := find(db, boot)) and (minutes := round((offset - clock.offset) / MINUTE)):
            _move(db, clock, minutes, left_out)


def _move(db: sqlite3.Connection, clock: Clock, minutes: int, left_out: Counter[str]) -> None:
    by = minutes * MINUTE
    hours, days = MINUTES.of_clock(db, clock.number), DAYS_OF_HOURS.of_clock(db, clock.number)
    for series in {**hours, **days}:
        taken = MINUTES.take(db, hours.get(series, []))
        moved_days = _days(DAYS_OF_HOURS.take(db, days.get(series, [])), taken, minutes)
        moved = _shifted(taken, minutes, Hour)
        for time, hour in sorted(moved.items()):
            left_out[MINUTES.too_old] += MINUTES.write(db, series, clock.number, time, hour)
        for time, day in sorted(moved_days.items()):
            left_out[DAYS_OF_HOURS.too_old] += DAYS_OF_HOURS.write(db, series, clock.number, time, day)
        # The newest was of this clock, or of one before that it has passed now.
        db.execute(
            "update series set last = case when last >= ? then last + ? else last end where number = ?",
            [clock.first, by, series],
        )
    first, last = clock.first + by, clock.last + by
    db.execute(
        "update clocks set offset = offset + ?, first = ?, last = ? where number = ?",
        [by, first, last, clock.number],
    )
    db.execute(
        "delete from marks where clock = ? and at = ? and series is null", [clock.number, clock.before]
    )
    db.execute("update marks set at = at + ?, until = until + ? where clock = ?", [by, by, clock.number])
    mark_gaps(db, clock.before, [(first, clock.number)])


def _shifted(blocks: Mapping[int, B], places: int, kind: type[B]) -> dict[int, B]:
    """Return blocks at other times, by that many places."""
    moved: dict[int, B] = defaultdict(kind)
    on, by = divmod(places, kind.places)
    for time, block in blocks.items():
        for at, part in zip((time + on, time + on + 1), block.split(by), strict=True):
            if any(part.counts):
                moved[at].merge(part)
    return moved


def _days(days: Mapping[int, Day], hours: Mapping[int, Hour], minutes: int) -> dict[int, Day]:
    """Return the hours of days at other times; an hour that falls into two is split by its minutes."""
    on, by = divmod(minutes, 60)
    if not by:
        return _shifted(days, on, Day)
    moved: dict[int, Day] = defaultdict(Day)
    for day, block in days.items():
        for point in block.points(0.0):
            hour = day * 24 + int(point.at // 3600)
            for later, part in enumerate(_parts(point, hours.get(hour), 60 - by)):
                if part:
                    time, place = divmod(hour + on + later, 24)
                    moved[time].add(place, part.mean, part.least, part.greatest, part.count)
    return moved


def _parts(whole: Point, minutes: Hour | None, cut: int) -> tuple[Point | None, Point | None]:
    """Return what an hour had before and after a minute.

    Its least value is taken to have been in the part with the lower minute, and so with the greatest. Without
    its minutes it goes as a whole to where more of it lies.
    """
    first, second = (minutes.summary(0, cut), minutes.summary(cut, 60)) if minutes else (None, None)
    if first and second:
        least_is_first, greatest_is_first = first.least <= second.least, first.greatest >= second.greatest
        first = replace(
            first,
            least=whole.least if least_is_first else first.least,
            greatest=whole.greatest if greatest_is_first else first.greatest,
        )
        second = replace(
            second,
            least=second.least if least_is_first else whole.least,
            greatest=second.greatest if greatest_is_first else whole.greatest,
        )
        return first, second
    is_first = bool(first) or (not second and cut >= 30)
    return (whole, None) if is_first else (None, whole)
