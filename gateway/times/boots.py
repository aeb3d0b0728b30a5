"""When a reading was taken, where the wall clock was wrong: what is known of the clock of each boot.

A frame has its time by the wall clock, and by the clock of the boot it was taken in, which is never set. Once
it is known by how much the two differ, the right time follows from the latter. No frame is rewritten.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from gateway.frame import Frame

TOLERANCE = 2.0
"""Seconds by which a recorded time may be off, as that of a grid slot or a drifting clock is."""

_EARLIEST = 1e9
"""A time in 2001: no gateway took a reading before that."""

_AHEAD = 60.0
"""Seconds that a frame may be later than the clock, as one with a slot's time or a drifting clock is."""


class Row(NamedTuple):
    """The clock of a boot: times that were recorded up to `until`, in seconds since boot, may be wrong.

    `offset` is by how many seconds the right time is ahead of the boot's own; None while unknown.
    `first` is an id: no frame of the boot has a lower one. The first slot of a grid may be before the boot.
    """

    first: int
    offset: float | None = None
    until: float = -math.inf

    @property
    def was_set(self) -> bool:
        """Whether anything is known of the clock."""
        return self.until > -math.inf

    def date(self, frame: Frame) -> Frame | None:
        """Return a frame of this boot with its time; None while that is not known."""
        stamp = frame.stamp
        if stamp.boottime > self.until:
            return frame
        if self.offset is None:
            return None
        wall = stamp.boottime + self.offset
        return (
            frame if abs(wall - stamp.wall) <= TOLERANCE else replace(frame, stamp=replace(stamp, wall=wall))
        )


class Pin(NamedTuple):
    """What the clock of a boot was thought to be when frames up to an id were sent; "" is any boot."""

    upto: int
    boot: str
    row: Row


Pins = tuple[Pin, ...]
"""The pins of a dispatcher, by rising id: the first that comes up to a frame counts for it."""


def find_pin(pins: Pins, number: int) -> Pin | None:
    """Return the pin of a frame."""
    return next((pin for pin in pins if number <= pin.upto), None)


def extend_pins(pins: Pins, pin: Pin) -> Pins:
    """Return the pins with one more, for the frames that have none yet."""
    if pins and pins[-1].upto >= pin.upto:
        return pins
    return (*(old for old in pins if old != pins[-1] or old[1:] != pin[1:]), pin)


def pins_to_text(pins: Pins) -> str:
    """Return pins as the file has them."""
    return json.dumps([[pin.upto, pin.boot, *pin.row] for pin in pins])


def pins_from_text(text: str) -> Pins:
    """Return pins again; none if the text is garbled."""
    try:
        pins = tuple(Pin(upto, str(boot), Row(*row)) for upto, boot, *row in json.loads(text))
        is_whole = all(isinstance(pin.upto, int) and _is_whole(pin.row) for pin in pins)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return ()
    return pins if is_whole else ()


class Boots:
    """The table `boots` of the file: a row for each boot that something in the file was taken in."""

    def __init__(self, boot: str) -> None:
        """`boot` is the current one; "" if the kernel has no name for it."""
        self._boot = boot
        self._rows: dict[str, Row] = {}
        self.is_written = False

    def load(self, db: sqlite3.Connection, oldest: int, end: int) -> None:
        """Go on with what the file has, but for boots all of whose ids are below the `oldest`.

        `end` is the id of the next frame.
        """
        rows = db.execute("SELECT boot, first, offset, until FROM boots ORDER BY first").fetchall()
        known = {boot: Row(*row) for boot, *row in rows if isinstance(boot, str) and _is_whole(Row(*row))}
        self._rows = {boot: row._replace(first=min(row.first, end)) for boot, row in known.items()}
        self._rows.setdefault(self._boot, Row(end))
        self._rows = {boot: self._rows[boot] for boot, _, last in self._ranges(end) if last >= oldest}
        self.is_written = self.rows() == rows

    def _ranges(self, end: int) -> list[tuple[str, int, int]]:
        """Return the ids of the frames that each boot may have put: boot, first and last.

        This boot puts the newest, even if the queue was on another machine for a while.
        """
        firsts = sorted((row.first, boot == self._boot, boot) for boot, row in self._rows.items())
        ends = [*(first for first, *_ in firsts[1:]), end + 1]
        return [
            (boot, first, end if is_now else last - 1)
            for (first, is_now, boot), last in zip(firsts, ends, strict=True)
        ]

    def write(self, db: sqlite3.Connection) -> None:
        """Write all rows, inside a transaction."""
        db.execute("DELETE FROM boots")
        db.executemany("INSERT INTO boots VALUES (?, ?, ?, ?)", self.rows())

    def rows(self) -> list[tuple[str, int, float | None, float]]:
        """Return the rows as the file has them."""
        return [(boot, *row) for boot, row in self._rows.items() if boot]

    @property
    def now(self) -> Row:
        """The clock of this boot."""
        return self._rows[self._boot]

    def adopt(self, other: Boots) -> None:
        """Take over what another table of the same boot knows better, or alone knows."""
        best = other.now if other.now.was_set else self.now
        best = best._replace(first=min(self.now.first, other.now.first))
        self._rows = {**other._rows, **self._rows, self._boot: best}
        self.is_written = False

    def set_clock(self, offset: float | None, boottime: float, was: float | None = None) -> bool:
        """Note by how much the wall clock is ahead of this boot's own from now on; None while it is wrong.

        `was` is by how much it was ahead when the newest frame was taken, if that is known: since it was set,
        small corrections may have added up. Return whether the time of any frame changes.
        """
        before = self.now
        if offset is None:
            self._rows[self._boot] = before._replace(offset=None, until=math.inf)
        elif before.offset is None or all(
            abs(offset - each) > TOLERANCE for each in (before.offset, was) if each is not None
        ):
            self._rows[self._boot] = before._replace(offset=offset, until=boottime)
        changed = self.now != before
        self.is_written = self.is_written and not changed
        return changed

    def doubt_ahead(self, frames: Iterable[Frame], wall: float) -> bool:
        """Doubt the clock of an earlier boot that has frames later than this time, which is right.

        By how much it was wrong is unknown. Return whether that changes the time of any frame.
        """
        ahead = {frame.stamp.boot for frame in frames if frame.stamp.wall > wall + _AHEAD}
        for boot in ahead - {self._boot} & self._rows.keys():
            before = self._rows[boot]
            self._rows[boot] = before._replace(offset=None, until=math.inf)
            if self._rows[boot] != before:
                self.is_written = False
                return True
        return False

    def date(self, frame: Frame, pin: Pin | None = None) -> Frame | None:
        """Return the frame with its time; None while that is not known. A frame that was sent has a pin.

        A damaged file may have lost the row of a boot: an impossible time then counts as unknown.
        """
        boot = frame.stamp.boot
        row = pin.row if pin and pin.boot in ("", boot) else self._rows.get(boot)
        if boot and row is None and frame.stamp.wall < _EARLIEST:
            return None
        return row.date(frame) if row and boot else frame

    def fix(self, frame: Frame) -> Frame:
        """Return a frame whose time stays, even if the table has another: without its boot."""
        dated = self.date(frame)
        is_to_wait = dated is None and frame.stamp.boot == self._boot
        return frame if dated == frame or is_to_wait else replace(frame, stamp=replace(frame.stamp, boot=""))

    def is_lost(self, frame: Frame) -> bool:
        """Tell whether the time of a frame will never be known: it was taken in an earlier boot."""
        return frame.stamp.boot != self._boot and self.date(frame) is None

    def unknown(self, end: int) -> list[tuple[int, int]]:
        """Return the first and last ids among which there may be frames whose time is not known."""
        return [
            (first, last)
            for boot, first, last in self._ranges(end)
            if self._rows[boot].offset is None and self._rows[boot].was_set
        ]


def _is_whole(row: Row) -> bool:
    """Tell whether these are the numbers that a damaged file may have lost."""
    offset = 0.0 if row.offset is None else row.offset
    return all(isinstance(each, int | float) for each in (row.first, offset, row.until)) and math.isfinite(
        offset
    )
