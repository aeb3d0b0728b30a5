"""The contents of a queue: what its open file has, and what waits in memory to be written there."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from gateway.spool.limits import PIECE, Limits, NoRoom, check_free
from gateway.spool.notes import Notes
from gateway.spool.places import PROVISIONAL, Places
from gateway.spool.refused import RefusedFrames, RefusedRow
from gateway.store import salvage, store
from gateway.store.census import Census
from gateway.store.commits import PAGE
from gateway.store.frame_text import from_text, to_text
from gateway.times.boots import Boots, find_pin

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.frame import Frame


class Waiting(NamedTuple):
    """A frame in the queue: for the dispatcher `whose`, or all (""), and whether its time is unknown."""

    number: int
    frame: Frame
    whose: str
    held: bool


class Refused(NamedTuple):
    """A frame that was set aside for a dispatcher; if it is `undated` its time is unknown."""

    frame: Frame
    reason: str
    number: int
    who: str
    undated: bool


class Standing(NamedTuple):
    """How many frames a dispatcher still has to deliver, how many of them wait for a time, the oldest."""

    waiting: int
    held: int
    refused: int
    oldest: Frame | None


class Unwritten(NamedTuple):
    """A frame that is not on the disk yet, and the text that will be written for it."""

    number: int
    frame: Frame
    text: str


class Contents:
    """The frames of a queue, its dispatchers' places and its counts; every method may raise sqlite3.Error.

    `next` is the id of the next frame, and `unwritten` those that are not in the file. `dropped` counts the
    frames that were removed, ever, because the queue was full or they were too old. `identity` is the number
    that identifies the file; None if the file could not be read.
    """

    def __init__(
        self, db: sqlite3.Connection, limits: Limits, boot: str, counted: Census | None = None
    ) -> None:
        """`boot` is the current one; `counted` are the frames of the file if they are known."""
        self.db = db
        self.unwritten: deque[Unwritten] = deque()
        self.places = Places(boot)
        self.boots = Boots(boot)
        self.refused = RefusedFrames(limits)
        self.notes = Notes()
        self.identity: int | None = store.identity(db)
        self._limits = limits
        self._has_late = True
        store.check_numbers(db)
        highest = self.places.load(db)
        ((first, last),) = db.execute("SELECT (SELECT min(id) FROM frames), (SELECT max(id) FROM frames)")
        oldest_aside, aside = db.execute("SELECT min(id), max(id) FROM refused").fetchone()
        counters = dict(db.execute("SELECT name, value FROM counters"))
        # Frames that are delivered or set aside are gone, but their ids are remembered, and not used again.
        self.next: int = max(highest, last or 0, aside or 0, counters.get("refused_last_out", 0)) + 1
        self.first_on_disk = first or self.next
        self.places.begin(self.first_on_disk, self.next)
        self.boots.load(db, min(self.first_on_disk, oldest_aside or self.next), self.next)
        self.dropped: int = counters.get("dropped", 0)
        self._dropped_on_disk = self.dropped
        self.refused.load(db)
        self.census = counted or Census.of_all(db, self.first_on_disk)

    @property
    def first(self) -> int:
        """The id of the oldest frame that is kept."""
        return self.places.first

    def know_nothing(self) -> None:
        """Begin with provisional ids, until it is known what is in the file."""
        self.next = self.first_on_disk = PROVISIONAL
        self.places.begin(PROVISIONAL, PROVISIONAL)
        self.places.lose_file(PROVISIONAL)
        self.boots.load(self.db, PROVISIONAL, PROVISIONAL)
        self.identity = None

    def lose_file(self, stand_in: sqlite3.Connection) -> None:
        """Go on without the file, whose ids are known."""
        self.db = stand_in
        self.places.lose_file(self.unwritten[0].number if self.unwritten else self.next)

    # Reading.

    def waiting(self, after: int, limit: int, who: str = "") -> list[Waiting]:
        """Return the oldest frames after this id, for whichever dispatcher, with their times for `who`."""
        query = "SELECT id, frame, whose FROM frames WHERE id > ? ORDER BY id LIMIT ?"
        rows = self.db.execute(query, (after, limit)).fetchall()
        return self._dated(who, rows, after, self.next, limit)

    def to_deliver(self, who: str, limit: int) -> list[Waiting]:
        """Return the next frames of a dispatcher, with their times for it."""
        after, before = self.places.reach(who, self.next, self.census.next_after)
        query = (
            "SELECT id, frame, whose FROM frames WHERE id > ? AND id < ? "
            "AND (whose IN ('', ?) OR typeof(whose) != 'text') ORDER BY id LIMIT ?"
        )
        rows = self.db.execute(query, (after, before, who, limit)).fetchall()
        return self._dated(who, rows, after, before, limit)

    def _dated(
        self, who: str, rows: list[tuple[int, str, str]], after: int, before: int, limit: int
    ) -> list[Waiting]:
        """Return the frames of these rows and, behind them, those in memory between two ids."""
        found = [(number, from_text(text), whose) for number, text, whose in store.in_order(rows, after)]
        unwritten = [(each.number, each.frame, "") for each in self.unwritten if after < each.number < before]
        dated, pins, date = [], self.places.pins(who), self.boots.date
        for number, frame, whose in found + unwritten[: limit - len(found)]:
            right = date(frame, find_pin(pins, number) if pins else None)
            dated.append(Waiting(number, right or frame, whose, right is None))
        return dated

    def set_aside(self, who: str, after: int, limit: int) -> list[Refused]:
        """Return the oldest frames after this id that were set aside for the dispatcher."""
        query = "SELECT frame, reason, id, undated FROM refused WHERE who = ? AND id > ? ORDER BY id LIMIT ?"
        found = []
        for text, reason, number, undated in self.db.execute(query, (who, after, limit)).fetchall():
            frame = from_text(text)
            right = self.boots.date(frame)
            found.append(Refused(right or frame, reason, number, who, undated=bool(undated or right is None)))
        return found

    def standing(self, who: str, saved: int) -> Standing:
        """Return a dispatcher's figures; `saved` frames wait in a rescue and are not counted here.

        Those of "" count what waits while there is no dispatcher.
        """
        refused = self.refused.by[who]
        if who not in self.places.consumers:
            is_unclaimed = not (who or self.places.consumers)
            waiting = self.census.count(self.first - 1, self.next - 1) if is_unclaimed else 0
            return Standing(waiting, 0, refused, None)
        place, passed = self.places.of(who), self.places.in_file(who)
        waiting = self.census.count(passed, self.next - 1, who) + saved
        for first, last in self.places.ahead.passed(who):
            waiting -= self.census.count(max(passed, first - 1), last, who)
        held_from = self.held_from(max([place, *(pin.upto for pin in self.places.pins(who))]))
        held = self.census.count(held_from - 1, self.next - 1, who) if held_from else 0
        oldest = next((kept.frame for kept in self.to_deliver(who, 1)), None)
        return Standing(waiting, held, refused, oldest)

    def held_from(self, after: int) -> int:
        """Return the first id after this one whose frame waits for its time; 0 if there is none."""
        unknown = ((max(first - 1, after), last) for first, last in self.boots.unknown(self.next))
        return next((first + 1 for first, last in unknown if self.census.count(first, last)), 0)

    # Adding and removing frames.

    def put(self, frames: Sequence[tuple[Frame, str]]) -> None:
        """Add frames, each with its text, at the end."""
        self.unwritten.extend(Unwritten(number, *each) for number, each in enumerate(frames, self.next))
        if frames:
            self.census.add(self.next, self.next + len(frames) - 1)
        self.next += len(frames)

    def admit(self, frames: Sequence[tuple[Frame, str]], instead_of: Sequence[tuple[str, int]]) -> None:
        """Write frames at the end of the file, each for one dispatcher or all (""), in place of refused ones.

        Nothing may be waiting to be written. Raises OSError, and changes nothing, if some of those are gone.
        """
        rows = [
            (n, to_text(self.boots.fix(frame)), whose) for n, (frame, whose) in enumerate(frames, self.next)
        ]
        with self.transaction() as db:
            if not self.refused.forget(db, instead_of) and rows:
                raise OSError("some of what was refused is gone, or retried, meanwhile: try again")
            if rows:
                db.executemany("INSERT INTO frames (id, frame, whose) VALUES (?, ?, ?)", rows)
                self.check_room(db)
        for number, _, whose in rows:
            self.census.add(number, number, whose)
        self.next += len(rows)

    def set_lost_aside(self, who: str, found: Iterable[Waiting], reason: str) -> bool:
        """Set aside the first frames whose time will never be known; return whether there were any."""
        lost = list(takewhile(lambda kept: self.boots.is_lost(kept.frame), found))
        self.refused.unwritten += [
            RefusedRow(n, who, reason, to_text(frame), undated=True) for n, frame, *_ in lost
        ]
        if lost:
            self.delivered(who, lost[-1].number)
        return bool(lost)

    def delivered(self, who: str, upto: int) -> None:
        """Note a dispatcher's place, which may be among frames that came while the file was unreadable."""
        first = self.places.ahead_from(who, upto)
        if not first:
            self.pass_over(who, upto)
            return
        by_all = self.places.move_ahead(who, first, upto)
        while self.unwritten and first <= self.unwritten[0].number <= by_all:
            self.unwritten.popleft()
        self.census.remove(first, by_all)

    def pass_over(self, who: str, upto: int) -> None:
        """Move a dispatcher to this id, and remove the frames that every dispatcher has passed."""
        self.places.move(who, upto)
        self._let_go_of_passed()

    def be_sure(self) -> int:
        """Remove what is kept only so that a dispatcher can go back; return how many frames that were."""
        self.places.be_sure()
        return self._let_go_of_passed()

    def _let_go_of_passed(self) -> int:
        return self.let_go(self.places.sure_of_all() + 1)

    def let_go(self, first: int) -> int:
        """Remove the frames before this id; return how many there were."""
        gone = self.census.remove(0, first - 1)
        self.places.first = max(self.first, first)
        while self.unwritten and self.unwritten[0].number < self.first:
            self.unwritten.popleft()
        return gone

    # Writing.

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction: all that is done with the connection is kept, or nothing."""
        refused = self.refused.state()
        try:
            with store.transaction(self.db):
                yield self.db
        except BaseException:
            self.refused.restore(refused)
            raise

    def write(self, *, frames: bool = True, spare: int = 0) -> bool:
        """Write what is not on the disk yet; return whether there was anything.

        Without `frames` their notes are left out as well, and at most PIECE frames that all have passed are
        removed. With them, `spare` free pages stay in the file.
        """
        self.places.ahead.note(self.notes, self.places.passed_by())
        is_noted = self.places.is_written and self.refused.is_written and self.boots.is_written
        is_counted = self.first <= self.first_on_disk and self.dropped <= self._dropped_on_disk
        if is_noted and is_counted and self.notes.is_written and not self.unwritten:
            return False
        is_all = frames or not self.unwritten
        with self.transaction() as db:
            first = store.remove(db, self.first_on_disk, self.first, None if frames else PIECE)
            self.refused.write(db)
            if is_all and self.unwritten:
                rows = [(each.number, each.text) for each in self.unwritten]
                db.executemany("INSERT INTO frames (id, frame) VALUES (?, ?)", rows)
                self.check_room(db)
                check_free(db, spare)
            if not self.places.is_written:
                self.places.write(db)
            if not self.boots.is_written:
                self.boots.write(db)
            if is_all and not self.notes.is_written:
                self.notes.write(db)
            if self.dropped > self._dropped_on_disk:
                db.execute("INSERT OR REPLACE INTO counters VALUES ('dropped', ?)", (self.dropped,))
            if is_all and self._has_late:
                salvage.forget(db)
        self.first_on_disk, self._dropped_on_disk = first, self.dropped
        self.refused.unwritten.clear()
        self.places.is_written = self.boots.is_written = True
        if is_all:
            self.unwritten.clear()
            self.notes.written()
            self._has_late = False
        return True

    def check_room(self, db: sqlite3.Connection) -> None:
        """Raise NoRoom if what waits takes more of the file than allowed; inside a transaction."""
        used = store.pages_used(db) - self.refused.pages
        surplus = used - self._limits.bytes // PAGE
        if surplus > 0:
            raise NoRoom(surplus / used)

    def take_late(self, rows: Sequence[tuple[int, str]]) -> None:
        """Add, after the file's own, the frames that came during its rescue; they may have been sent."""
        self.put([(from_text(text), text) for _, text in rows])
        self.places.begin(self.first, self.next)

    # A file that can be used again, and what came while it could not.

    def resume(self, before: Contents) -> None:
        """Take over what memory has for this file and could not be written to it."""
        is_empty = self.first == self.next
        self.unwritten = before.unwritten
        self.next = max(self.next, before.next)
        oldest = min(
            self.next if is_empty else self.first, self.unwritten[0].number if self.unwritten else self.next
        )
        self.places.first, self.first_on_disk = max(oldest, before.first), 0
        self.places.resume(before.places)
        self.dropped = max(self.dropped, before.dropped)
        self.refused.adopt(before.refused)
        self.boots.adopt(before.boots)
        self.census.remove(0, self.first - 1)
        for each in self.unwritten:
            self.census.add(each.number, each.number)

    def append(self, before: Contents) -> int:
        """Add what came before the file could be read, with higher ids; return by how much they changed."""
        ids = [row.number for row in before.refused.unwritten]
        ids.append(before.unwritten[0].number if before.unwritten else before.next)
        memory_from, shift = self.next, self.next - min(ids)
        for each in before.unwritten:
            self.unwritten.append(each._replace(number=each.number + shift))
            self.census.add(each.number + shift, each.number + shift)
        before.refused.unwritten = [
            row._replace(number=row.number + shift) for row in before.refused.unwritten
        ]
        self.places.append(before.places, memory_from, shift)
        self.next = before.next + shift
        self.dropped += before.dropped
        before.refused.dropped += self.refused.dropped
        self.refused.adopt(before.refused)
        self.boots.adopt(before.boots)
        return shift
