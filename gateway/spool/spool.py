"""Frames on disk until every dispatcher has delivered them.

A frame is committed when `put` returns, so that no kill can lose it, and deleted in the transaction that
moves the last dispatcher's cursor past it. What a power cut may take is what was put since the last `sync`:
an SD card wears by how often it is made to write. Ids only ever grow, so that a cursor never skips a frame.
Before a batch is sent its end is noted: what is behind that mark a kill has certainly left unsent.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import sqlite3
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gateway.clock import Clock
from gateway.flag import Flag
from gateway.paths import as_owner, open_file
from gateway.spool import salvage, store
from gateway.spool.boots import Boots, Pin, Pins, Row, extend_pins, find_pin, pins_from_text, pins_to_text
from gateway.spool.frame_text import from_text, to_text
from gateway.spool.limits import Census, Limits, NoRoom, check_room
from gateway.spool.refused import RefusedFrames, RefusedRow
from gateway.spool.salvage import Salvage
from gateway.spool.store import SpoolUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gateway.frame import Frame, Stamp

__all__ = ["Limits", "Refused", "Skipped", "Spool", "SpoolUnusable", "Standing", "Waiting"]

T = TypeVar("T")

log = logging.getLogger("oemgateway.spool")

_BALLAST = 1 << 20
"""Bytes set aside so that a full disk has room to note what was delivered, and so to be emptied.

Where they are not there at the start the disk refused something, and what it has noted as sent is not all.
"""

_STRETCH = 10_000
"""How many ids are looked through at a time: whoever puts a frame waits no longer than that takes."""

_PIECE = 500
"""How many frames are let go of at a time."""

_RETRY = 5.0
"""Seconds between two tries of a disk that refuses."""

_AT_START, _AT_ONCE = 1.0, 0.2
"""Seconds that the rescue of a damaged file may take at once, at the start and while listeners wait.

What is left is done by `tend`.
"""

_PROVISIONAL = 1 << 62
"""The first id while nobody can know which ids the file has used: no frame in a file has one as high."""


class Waiting(NamedTuple):
    """A frame in the queue: for the dispatcher `whose`, or all (""), and whether its time is not known."""

    number: int
    frame: Frame
    whose: str
    held: bool


class _Unwritten(NamedTuple):
    """A frame that is not on the disk yet, and the text that it will be there."""

    number: int
    frame: Frame
    text: str


class Refused(NamedTuple):
    """A frame that was set aside for a dispatcher; of one that is `undated` nobody knows the time."""

    frame: Frame
    reason: str
    number: int
    who: str
    undated: bool


class Skipped(NamedTuple):
    """How many frames were passed over, and whether there may be more of those that were meant."""

    frames: int
    more: bool


class Sent(NamedTuple):
    """How far a dispatcher's frames may have been sent: up to the id `upto`, and none behind it.

    `blind` says of the last batch that its first frame could not be told from one that was there before.
    """

    upto: int
    blind: bool


class _Mark(NamedTuple):
    """What was noted in which boot before the last batch was sent; "": in none that is known.

    `pins` keep the times with which it was sent, until it is delivered.
    """

    upto: int = 0
    boot: str = ""
    blind: bool = False
    pins: Pins = ()


class Standing(NamedTuple):
    """How many frames a dispatcher has still to deliver, how many of them wait for a time, and the oldest."""

    waiting: int
    held: int
    refused: int
    oldest: Frame | None


class Spool:
    """The queue between listeners and dispatchers; any thread may call it.

    Frames that the disk refuses wait in memory, and are delivered from there if need be. Where the file
    cannot be used at all that goes for all of them, until it can: `tend` tries again. Without `in_memory`
    SpoolUnusable is raised. What a damaged file still gives is brought into a new one, also by `tend`; what
    is put meanwhile waits behind that.
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: Limits | None = None,
        commit_interval: float = 5.0,
        clock: Clock | None = None,
        in_memory: bool = True,
    ) -> None:
        self._path = path
        self._limits = limits = limits or Limits()
        self._commit_interval = commit_interval
        self._clock = clock or Clock()
        self._boot = self._clock.now().boot
        self._lock = threading.Lock()
        self._subscribers: dict[str, Flag] = {}
        self._sync_subscribers: dict[str, Callable[[int], None]] = {}
        self.puts = self._puts_written = self.puts_synced = 0
        self._unwritten: deque[_Unwritten] = deque()
        self._boots = Boots(self._boot)
        # What each dispatcher was last given was dated by this.
        self._given: dict[str, Row] = {}
        self._lost = ""
        self._disk_trouble = ""
        self._dropped_for: set[str] = set()
        self._attending: set[str] = set()
        self.dropped = 0
        self._refused = RefusedFrames(limits)
        self._moved = False
        self.unsynced = Flag()
        self._unsynced_since: float | None = None
        self._sync_trouble = ""
        # While the file cannot be written to, `_away` is why. `_db` is then a view of it, or, where it cannot
        # be read either (`_is_out`), an empty queue. Ids from `_memory_from` on are of frames that came while
        # it was out; `_past` is how far each dispatcher is in these, and `_upto` where it is in the file.
        self._away = ""
        self._is_out = False
        self._identity: int | None = None
        self._memory_from: int | None = None
        self._past: dict[str, int] = {}
        self._gave_from_memory = False
        self._shift = 0
        self._has_late = False
        self._kept_upto = 0
        self._rescue: Salvage | None = None
        self._stuck = ""
        self._damage: Exception | None = None
        self._late_is_known = False
        self._file: tuple[int, int] | None = None
        self._retry_at = 0.0
        self._start(in_memory=in_memory)

    def _take_over(self, db: sqlite3.Connection, counted: Census | None = None) -> None:
        """Go on where the file was left; `counted` are its frames where they are known already."""
        self._upto: dict[str, int] = dict(db.execute("SELECT who, upto FROM cursors"))
        marks = db.execute("SELECT who, sent, boot, blind, pins FROM cursors")
        self._sent = {
            who: _Mark(upto, boot, blind, pins_from_text(pins)) for who, upto, boot, blind, pins in marks
        }
        (first,) = db.execute("SELECT min(id) FROM frames").fetchone()
        (last,) = db.execute("SELECT max(id) FROM frames").fetchone()
        oldest_aside, aside = db.execute("SELECT min(id), max(id) FROM refused").fetchone()
        (out,) = db.execute("SELECT max(value) FROM counters WHERE name = 'refused_last_out'").fetchone()
        # Frames that are delivered or set aside are gone, but their ids are remembered, and not used again.
        marks_upto = (mark.upto for mark in self._sent.values())
        self._next = max([last or 0, aside or 0, out or 0, *self._upto.values(), *marks_upto]) + 1
        self._first = self._first_on_disk = first or self._next
        self._in_doubt = dict.fromkeys(self._sent, self._next - 1)
        self._identity = store.identity(db)
        self._boots = Boots(self._boot)
        self._boots.load(db, min(self._first, oldest_aside or self._first), self._next)
        self._count(counted)

    def _count(self, counted: Census | None) -> None:
        """Count what the file has, and what waits for it in memory; no count of dropped frames ever falls."""
        (noted,) = self._db.execute("SELECT max(value) FROM counters WHERE name = 'dropped'").fetchone()
        self._dropped_on_disk = noted or 0
        self.dropped = max(self.dropped, self._dropped_on_disk)
        self._refused.load(self._db)
        self._census = counted or Census.of_all(self._db, self._first)
        for each in self._unwritten:
            self._census.add(each.number, 1)

    def _doubt_what_was_sent(self) -> None:
        self._sent = {who: mark._replace(boot="") for who, mark in self._sent.items()}
        self._moved = True

    def set_consumers(self, dispatchers: Iterable[str]) -> None:
        """Keep frames for these dispatchers from now on; a new one starts with the oldest frame there is.

        The place of one that is not among them is remembered, but holds no frame back.
        """
        with self._lock:
            self._attending = set(dispatchers)
            for who in self._attending:
                self._upto[who] = max(self._upto.get(who, 0), self._first - 1)
                self._sent.setdefault(who, _Mark())
                self._in_doubt.setdefault(who, self._next - 1)
            self._moved = True
            self._flush()

    def subscribe(self, who: str, flag: Flag) -> None:
        """Raise this flag whenever there is something new for the dispatcher."""
        with self._lock:
            self._subscribers[who] = flag

    def subscribe_to_sync(self, who: str, synced: Callable[[int], None]) -> None:
        """Call a listener's function after each sync, with how many of all `puts` a power cut cannot take."""
        with self._lock:
            self._sync_subscribers[who] = synced

    def put(self, frames: Sequence[Frame]) -> None:
        """Keep the frames: on disk when this returns, unless the disk refuses (which is said once).

        Raises ValueError for a frame that no file can hold, and then keeps none of these.
        """
        texts = [to_text(frame) for frame in frames]
        with self._lock:
            numbered = enumerate(zip(frames, texts, strict=True), self._next)
            self._unwritten.extend(_Unwritten(number, *both) for number, both in numbered)
            self._census.add(self._next, len(frames))
            self._next += len(frames)
            self.puts += 1
            self._drop_surplus(self._census.total - self._limits.frames)
            self._flush()
            self._wake_subscribers()
        self._sync_at_once()

    def _wake_subscribers(self) -> None:
        for flag in self._subscribers.values():
            flag.set()

    def peek(self, who: str, limit: int) -> list[tuple[int, Frame]]:
        """Return the oldest frames that the dispatcher has not delivered, with their ids and their time.

        One whose time is not known yet holds up those behind it. One of an earlier boot, whose time nobody
        will ever know, is set aside, as soon as the clock is right. Raises OSError where the disk cannot be
        read.
        """
        while True:
            with self._lock:
                if self._rescue and not self._stuck:
                    return []  # what is older is on its way into the new file
                with self._no_disk():
                    found = self._mended(lambda: self._read(who, limit))
                after, before = self._reach(who)
                self._given[who] = self._boots.now
                ready = self._dated(who, found)
                self._gave_from_memory |= self._is_out and bool(ready)
                if ready or before == after + 1 or (found and not self._set_lost_aside(who, found)):
                    return ready
                if not found:
                    self._move(who, before - 1)  # what there is, is for others

    def _dated(self, who: str, found: Iterable[tuple[int, Frame]]) -> list[tuple[int, Frame]]:
        """Return the frames before the first whose time is not known, with their times."""
        dated = ((number, self._date(who, number, frame)) for number, frame in found)
        return [(number, frame) for number, frame in takewhile(itemgetter(1), dated) if frame]

    def _date(self, who: str, number: int, frame: Frame) -> Frame | None:
        """Return the frame with its time, as it was sent to the dispatcher or else as it is known now."""
        return self._boots.date(frame, find_pin(self._sent[who].pins, number) if who in self._sent else None)

    def _set_lost_aside(self, who: str, found: Iterable[tuple[int, Frame]]) -> bool:
        """Set the first frames aside whose time will never be known; return whether there were any."""
        if not self._lost or self._disk_trouble:
            return False
        lost = list(takewhile(lambda pair: self._boots.is_lost(pair[1]), found))
        self._refused.add(
            [RefusedRow(number, who, self._lost, to_text(frame), undated=True) for number, frame in lost]
        )
        if lost:
            self._delivered(who, lost[-1][0])
            self._flush()
        return bool(lost)

    def _reach(self, who: str) -> tuple[int, int]:
        """Return the ids between which the dispatcher's next frames are looked for."""
        after = self._place(who)
        end = self._next
        if self._memory_from and after + 1 < self._memory_from:
            end = min(end, self._memory_from)
        return after, min(end, after + _STRETCH)

    def _place(self, who: str) -> int:
        place = max(self._upto[who], self._first - 1)
        if self._memory_from and (self._is_out or place + 1 >= self._memory_from):
            return max(place, self._past.get(who, self._memory_from - 1))
        return place

    def _read(self, who: str, limit: int) -> list[tuple[int, Frame]]:
        after, before = self._reach(who)
        query = (
            "SELECT id, frame FROM frames WHERE id > ? AND id < ? AND whose IN ('', ?) ORDER BY id LIMIT ?"
        )
        rows = self._db.execute(query, (after, before, who, limit)).fetchall()
        found = [(number, from_text(text)) for number, text in store.in_order(rows, after)]
        unwritten = [(each.number, each.frame) for each in self._unwritten if after < each.number < before]
        return found + unwritten[: limit - len(found)]

    def done(self, who: str, upto: int, *, refused: Sequence[tuple[int, Frame, str]] = ()) -> None:
        """Note that the dispatcher has delivered every frame up to this id, but for those that are `refused`.

        These, with the reason for each, are set aside for it in the same transaction, whether they were sent
        or not. While the disk refuses, the place is kept in memory: nothing is sent twice for it.
        """
        with self._lock:
            upto = self._real(upto)
            place = self._place(who)
            self._refused.add(
                [
                    RefusedRow(self._real(number), who, reason, to_text(frame))
                    for number, frame, reason in refused
                    if place < self._real(number) <= upto
                ]
            )
            self._delivered(who, upto)
            self._flush()

    def refuse(self, who: str, number: int, reason: str) -> None:
        """Set one frame aside that the dispatcher's far end will not take, and go on after it.

        It is the oldest that the dispatcher has not delivered. Raises OSError where the disk cannot be read.
        """
        refused = [(n, frame, reason) for n, frame in self.peek(who, 1) if n == number]
        self.done(who, number, refused=refused)

    def refused(self, who: str, *, after: int = 0, limit: int = 1000) -> list[Refused]:
        """Return the oldest frames behind this id that were set aside for the dispatcher.

        Raises OSError where the disk cannot be read.
        """
        query = "SELECT frame, reason, id, undated FROM refused WHERE who = ? AND id > ? ORDER BY id LIMIT ?"

        def read() -> list[Refused]:
            rows = self._db.execute(query, (who, after, limit)).fetchall()
            frames = ((from_text(text), reason, n, undated) for text, reason, n, undated in rows)
            return [
                Refused(
                    self._boots.date(frame) or frame,
                    reason,
                    n,
                    who,
                    bool(undated or not self._boots.date(frame)),
                )
                for frame, reason, n, undated in frames
            ]

        with self._lock, self._no_disk():
            self._flush()
            return self._mended(read)

    def reasons(self, who: str) -> dict[str, int]:
        """Return why frames were set aside for the dispatcher, and how many for each reason.

        Raises OSError where the disk cannot be read.
        """
        query = "SELECT reason, count(*) FROM refused WHERE who = ? GROUP BY reason"
        with self._lock, self._no_disk():
            self._flush()
            return self._mended(lambda: dict(self._db.execute(query, (who,)).fetchall()))

    def waiting(self, *, after: int = 0, limit: int = 1000, who: str = "") -> list[Waiting]:
        """Return the oldest frames behind this id, or behind the place of a dispatcher, whosever they are.

        Raises OSError where the disk cannot be read.
        """
        with self._lock, self._no_disk():
            after = max(self._real(after), self._place(who) if who else self._first - 1)
            return self._mended(lambda: self._waiting(after, limit, who))

    def _waiting(self, after: int, limit: int, who: str = "") -> list[Waiting]:
        query = "SELECT id, frame, whose FROM frames WHERE id > ? ORDER BY id LIMIT ?"
        rows = self._db.execute(query, (after, limit)).fetchall()
        rows = store.in_order(rows, after)
        found = [(number, from_text(text), whose) for number, text, whose in rows]
        found += [(n, frame, "") for n, frame, _ in self._unwritten if n > after]
        dated = [(n, frame, whose, self._date(who, n, frame)) for n, frame, whose in found[:limit]]
        return [Waiting(n, right or frame, whose, right is None) for n, frame, whose, right in dated]

    def standing(self, who: str) -> Standing:
        """Return how the dispatcher's part of the queue stands; OSError where the disk cannot be read."""
        refused = self._refused.by[who]
        if who not in self._attending:
            return Standing(0, 0, refused, None)
        oldest = next(
            (kept.frame for kept in self.waiting(limit=100, who=who) if kept.whose in ("", who)), None
        )
        with self._lock:
            place, last = self._place(who), self._next - 1
            waiting = self._count_waiting(who)
            sent = max((pin.upto for pin in self._sent[who].pins), default=0)
            held_from = self._held_from(max(place, sent))
            held = self._census.count(held_from - 1, last, who) if held_from else 0
            return Standing(waiting, held, refused, oldest)

    def _count_waiting(self, who: str) -> int:
        """Return how much is still to be delivered: in the file, in memory, and of a rescue so far."""
        place = max(self._upto[who], self._first - 1)
        count = self._census.count(place, self._next - 1, who)
        if self._memory_from:
            count -= self._census.count(max(place, self._memory_from - 1), self._past.get(who, 0), who)
        return count + (self._rescue.saved if self._rescue and self._identity is None else 0)

    @property
    def dispatchers(self) -> list[str]:
        """The dispatchers that frames are kept for."""
        return sorted(self._attending)

    @property
    def refusers(self) -> list[str]:
        """The dispatchers, there or gone, that have frames set aside."""
        return sorted(self._refused.by)

    @property
    def refused_dropped(self) -> int:
        """How many refused frames were dropped, ever, as there were too many of them."""
        return self._refused.dropped

    @property
    def refused_full(self) -> bool:
        """Whether refused frames have been dropped since some were last taken out by hand."""
        return self._refused.full

    @property
    def end(self) -> int:
        """The id that the next frame will have."""
        return self._next

    @property
    def trouble(self) -> str:
        """Why what is put waits in memory only, where a kill takes it, or ""."""
        with self._lock:
            if self._rescue and not self._stuck:
                return (
                    f"{self._path} is damaged: what can be read of it is brought into a new file, "
                    f"{self._rescue.saved} readings so far; then all goes on"
                )
            if not self._disk_trouble:
                return ""
            out = ", and what waits in its file cannot be read or counted" if self._is_out else ""
            return f"the disk refuses ({self._disk_trouble}): what is new waits in memory{out}"

    @property
    def size(self) -> int:
        """The bytes that the queue takes on the disk."""
        files = [self._path, Path(f"{self._path}-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def admit(self, frames: Sequence[tuple[Frame, str]], *, instead_of: Sequence[Refused] = ()) -> None:
        """Put frames at the end, each for the dispatcher beside it or all (""), in place of refused ones.

        All of it happens, or nothing, and no frame is dropped to make room: raises OSError where there is
        none, or where the disk does not take it.
        """
        with self._lock:
            if self._census.total + len(frames) > self._limits.frames:
                raise OSError(f"the queue is full: max_frames is {self._limits.frames}")
            with self._no_disk():
                self._flush()
                if self._unwritten:
                    raise sqlite3.OperationalError(self._disk_trouble)
                rows = [
                    (n, to_text(self._admitted(frame)), whose)
                    for n, (frame, whose) in enumerate(frames, self._next)
                ]
                with self._transaction() as db:
                    there = self._refused.forget(db, [(each.who, each.number) for each in instead_of])
                    if frames and not there:
                        raise OSError("some of what was refused is gone, or retried, meanwhile: try again")
                    if rows:
                        db.executemany("INSERT INTO frames (id, frame, whose) VALUES (?, ?, ?)", rows)
                        self._check_room(db)
            for number, _, whose in rows:
                self._census.add(number, 1, whose)
            self._next += len(frames)
            self._committed()
            self._wake_subscribers()
        self._sync_at_once()

    def _admitted(self, frame: Frame) -> Frame:
        """Return a frame as it is kept, so that its time stands where it is another than the table says."""
        dated = self._boots.date(frame)
        is_to_wait = dated is None and frame.stamp.boot == self._boot
        return frame if dated == frame or is_to_wait else replace(frame, stamp=replace(frame.stamp, boot=""))

    def skip(self, who: str, *, before: int, limit: int) -> Skipped:
        """Have a dispatcher, or all (""), pass over what is in the next `limit` ids, as far as this one.

        Raises OSError where the disk does not take it.
        """
        with self._lock:
            if self._away:
                raise OSError(f"the queue's disk refuses: {self._away}")
            before = min(self._real(before), self._next)
            whose = [who] if who else self._attending
            start = max(min((self._upto[name] for name in whose), default=0), self._first - 1)
            upto = min(start + limit, before - 1)
            count = self._census.count(start, upto, who)
            for name in whose:
                self._move(name, upto)
            if not who:
                self._let_go(upto + 1)
            self._flush()
            if self._disk_trouble:
                raise OSError(f"the queue's disk refuses: {self._disk_trouble}")
            return Skipped(count, more=upto < before - 1)

    def expire(self, age: Callable[[Stamp], float]) -> None:
        """Let go of the oldest readings that are older than the limit, up to the first without a known time.

        `age` tells how old a reading is at least, in seconds.
        """
        while math.isfinite(self._limits.age) and self._expire_some(age):
            pass

    def _expire_some(self, age: Callable[[Stamp], float]) -> bool:
        """Let go of the oldest of them; tell whether there may be more."""
        with self._lock, suppress(sqlite3.Error):
            if self._is_out:
                return False
            oldest = self._mended(lambda: self._waiting(self._first - 1, _PIECE))
            old = list(
                takewhile(lambda kept: not kept.held and age(kept.frame.stamp) > self._limits.age, oldest)
            )
            if old:
                upto = old[-1].number
                self._drop(upto + 1, "there are readings older than max_age")
                self._upto = {who: max(place, upto) for who, place in self._upto.items()}
                self._moved = True
                self._flush()
            return len(old) == _PIECE
        return False

    def mark_sending(self, who: str, upto: int, *, blind: bool = False) -> None:
        """Note, before the dispatcher sends what it was given last, that it does so up to this id.

        Whatever is learnt of the clock meanwhile, these keep the times that they are sent with until `done`.

        `blind` says that the first of them cannot be told from one that its far end has.
        """
        with self._lock:
            upto = self._real(upto)
            before = self._sent[who]
            pin = Pin(upto, self._boot, self._given.get(who, self._boots.now))
            self._sent[who] = _Mark(max(upto, before.upto), self._boot, blind, extend_pins(before.pins, pin))
            if self._sent[who] != before:
                self._moved = True
                self._flush()

    def sent(self, who: str) -> Sent:
        """Return how far frames may have been sent: what was noted, or all that an earlier run can have sent.

        That is so where this boot does not vouch for the note, as a power cut may have taken the last one.
        What was there when this run began, or when it first knew the dispatcher, may have been sent then.
        """
        with self._lock:
            upto, boot, blind, _ = self._sent[who]
            return Sent(upto if boot and boot == self._boot else max(upto, self._in_doubt[who]), bool(blind))

    def set_clock(self, offset: float | None, *, lost: str = "") -> None:
        """Note what the wall clock is ahead of this boot's own from now on, in seconds; None: it is wrong.

        Frames of this boot have the time that follows from it, and wait while it is not known. `lost` is the
        reason with which those are set aside that were taken in an earlier boot whose clock was never right.
        """
        with self._lock:
            self._lost = lost
            if self._boots.set_clock(offset, self._clock.boottime()):
                self._flush()
            self._wake_subscribers()

    @property
    def holding(self) -> bool:
        """Whether there may be frames that wait for their time."""
        return bool(self._held_from(self._first - 1))

    def _held_from(self, after: int) -> int:
        """Return the id behind this one from which on frames wait for their time; 0 where none does."""
        unknown = ((max(first - 1, after), last) for first, last in self._boots.unknown(self._next))
        return next((first + 1 for first, last in unknown if self._census.count(first, last)), 0)

    def _committed(self) -> None:
        """Note that there is something that a power cut would take."""
        if self._unsynced_since is None:
            self._unsynced_since = self._clock.monotonic()
            if self._commit_interval:
                self.unsynced.set()

    def _sync_at_once(self) -> None:
        # Whoever puts a frame waits for the card only where he is told to; it has its moments.
        if not self._commit_interval:
            self.sync()

    def sync_due(self) -> float:
        """Return in how many seconds a `sync` is due; infinity where there is nothing to be kept.

        `unsynced` is raised when that begins to be less.
        """
        since = self._unsynced_since
        if since is None:
            return math.inf
        return max(0.0, since + self._commit_interval - self._clock.monotonic())

    def sync_if_due(self) -> None:
        """Do a `sync` if what it would keep has waited for `commit_interval`; not for a listener's thread."""
        if not self.sync_due():
            self.sync()

    def sync(self) -> None:
        """Have the disk keep what was committed, through a power cut too."""
        with self._lock:
            since, self._unsynced_since = self._unsynced_since, None
            written, subscribers = self._puts_written, list(self._sync_subscribers.values())
        commits = Path(f"{self._path}-wal")
        if since is None or not commits.exists():
            return
        try:
            fd = open_file(commits, os.O_RDONLY)
            try:
                os.fdatasync(fd)
            finally:
                os.close(fd)
            self._sync_trouble = ""
            self.puts_synced = written
            for synced in subscribers:
                synced(written)
        except OSError as error:
            if not self._sync_trouble:
                log.warning("%s: %s; a power cut may take what came last", commits, error)
            self._sync_trouble = str(error)

    def due(self) -> float:
        """Return in how many seconds there is something for `tend` to do; infinity where there is nothing."""
        if self._rescue and not self._stuck:
            return 0.0
        troubled = self._away or self._disk_trouble
        retry = max(0.0, self._retry_at - self._clock.monotonic()) if troubled else math.inf
        return min(self.sync_due(), retry)

    def tend(self) -> None:
        """Do what is due: a `sync`, a piece of a rescue, another try of a disk that refuses.

        A rescue is only due again, so that whoever calls can look at other things between two pieces.
        """
        self.sync_if_due()
        with self._lock:
            if self._rescue and not self._stuck:
                self._advance(0.0)
            elif (self._away or self._disk_trouble) and self._clock.monotonic() >= self._retry_at:
                self._try_again()

    def close(self) -> None:
        """Close the file, once more trying to write what waits in memory."""
        with self._lock:
            if self._away and not self._rescue:
                self._try_again(at_once=0.0)
            self._flush()
            lost = [each for each in self._unwritten if each.number > self._kept_upto]
            if lost:
                log.error("the disk refuses to the end: %d readings that wait in memory are lost", len(lost))
            with as_owner(self._path.parent):
                if self._rescue:
                    self._rescue.close()
                self._db.close()

    # What is wanted is kept in memory, and brought to the disk as far as the disk takes it.

    def _delivered(self, who: str, upto: int) -> None:
        """Note a dispatcher's place, which may be among the frames that came while the file was out."""
        if self._memory_from is None or upto < self._memory_from:
            self._move(who, upto)
            return
        before = self._memory_from - 1
        if not self._is_out and self._place(who) >= before:
            self._move(who, upto)
        self._past[who] = max(self._past.get(who, before), upto)
        by_all = min((self._past.get(name, before) for name in self._attending), default=before)
        while self._unwritten and self._unwritten[0].number <= by_all:
            self._unwritten.popleft()
        self._census.remove(self._memory_from, by_all)

    def _real(self, number: int) -> int:
        """Return the id that a frame has now whose id was provisional when somebody got to know it."""
        return number + self._shift if number >= _PROVISIONAL else number

    def _move(self, who: str, upto: int) -> None:
        self._upto[who] = max(self._upto[who], upto)
        if (mark := self._sent.get(who)) and mark.pins:
            self._sent[who] = mark._replace(pins=tuple(pin for pin in mark.pins if pin.upto > upto))
        if not self._is_out:
            self._upto[who] = self._place(who)
        self._moved = True
        if self._attending:
            self._let_go(min(self._upto[name] for name in self._attending) + 1)

    def _drop_surplus(self, surplus: int) -> None:
        """Let go of so many frames for which there is no room."""
        if surplus > 0:
            self._drop(self._census.oldest(surplus) + 1, "the queue is full")

    def _drop(self, first: int, why: str) -> None:
        """Let `first` be the oldest frame that is kept, and count those before it."""
        if why not in self._dropped_for:
            self._dropped_for.add(why)
            log.error("%s: from now on the oldest frames are dropped, and counted", why)
        self.dropped += self._let_go(first)

    def _let_go(self, first: int) -> int:
        """Let `first` be the oldest frame that is kept; return how many go."""
        gone = self._census.remove(0, first - 1)
        self._first = max(self._first, first)
        while self._unwritten and self._unwritten[0].number < self._first:
            self._unwritten.popleft()
        return gone

    def _flush(self) -> None:
        """Bring to disk what is not there yet; that a disk refuses is said once, and when it is over."""
        try:
            self._write_and_make_room()
        except sqlite3.Error as error:
            if not self._disk_trouble:
                log.warning("the disk refuses (%s): what is new waits in memory until it takes it", error)
                self._retry_at = self._clock.monotonic() + _RETRY
            self._disk_trouble = str(error)
            self._release_ballast()
            while len(self._unwritten) > self._limits.memory:
                number = self._unwritten.popleft().number
                self.dropped += self._census.remove(number, number)
            self._refused.bound_memory()
            return
        if self._disk_trouble:
            log.warning("the disk works again")
            self._disk_trouble = ""
            self._hold_ballast()

    def _write_and_make_room(self) -> None:
        """Write; for an error do what can be done about it, and try again, once, or as long as that helps."""
        tried = False
        while True:
            try:
                self._write()
            except sqlite3.Error as error:
                if not self._make_room(error) and tried:
                    raise
                tried = True
            else:
                return

    def _write(self) -> None:
        if self._away:
            if self._rescue and self._unwritten and self._unwritten[-1].number > self._kept_upto:
                new = [each for each in self._unwritten if each.number > self._kept_upto]
                self._rescue.keep([(each.number, each.text) for each in new], self._boots.rows())
                self._kept_upto = new[-1].number
            raise sqlite3.OperationalError(self._away)
        if not (
            self._unwritten
            or self._moved
            or self._first > self._first_on_disk
            or self.dropped > self._dropped_on_disk
            or not (self._refused.is_written and self._boots.is_written)
        ):
            return
        with self._transaction() as db:
            if self._first > self._first_on_disk:
                db.execute("DELETE FROM frames WHERE id < ?", (self._first,))
            self._refused.write(db)
            if self._unwritten:
                rows = [(each.number, each.text) for each in self._unwritten]
                db.executemany("INSERT INTO frames (id, frame) VALUES (?, ?)", rows)
                self._check_room(db)
            if self._moved:
                places = [
                    (who, self._upto[who], *mark, pins_to_text(pins))
                    for who, (*mark, pins) in self._sent.items()
                ]
                db.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?, ?, ?)", places)
            if not self._boots.is_written:
                self._boots.write(db)
            if self.dropped > self._dropped_on_disk:
                db.execute("INSERT OR REPLACE INTO counters VALUES ('dropped', ?)", (self.dropped,))
            if self._has_late:
                salvage.forget(db)
        self._first_on_disk, self._dropped_on_disk = self._first, self.dropped
        self._unwritten.clear()
        self._puts_written = self.puts
        self._refused.written()
        self._moved = self._has_late = False
        self._boots.is_written = True
        self._committed()

    def _check_room(self, db: sqlite3.Connection) -> None:
        check_room(db, self._refused.pages, self._limits.bytes)

    @contextmanager
    def _no_disk(self) -> Iterator[None]:
        """Turn what the disk refuses into OSError."""
        try:
            yield
        except NoRoom as error:
            raise OSError("the queue is full: max_size is reached") from error
        except sqlite3.Error as error:
            raise OSError(f"the queue's disk refuses: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        refused = self._refused.state()
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            self._refused.restore(refused)
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _make_room(self, error: sqlite3.Error) -> bool:
        """Do what can be done about an error before the disk is given up for now.

        Return whether it was our own limit, and frames went: it can be that more have to.
        """
        if store.is_damage(error):
            self._mend(error)
        elif self._limit_is_ours(error):
            total = self._census.total
            too_much = math.ceil(total * error.share) if isinstance(error, NoRoom) else 0
            self._drop_surplus(max(len(self._unwritten), total // 100, too_much))
            return self._census.total < total
        elif store.is_full(error):
            self._release_ballast()
        return False

    def _limit_is_ours(self, error: sqlite3.Error) -> bool:
        """Tell whether it was not the disk that is full but what we may take of it."""
        if isinstance(error, NoRoom) or not store.is_full(error):
            return isinstance(error, NoRoom)
        (pages,), (most,) = (self._db.execute(f"PRAGMA {n}_count").fetchone() for n in ("page", "max_page"))
        return bool(pages + 1 >= most)

    def _mended(self, read: Callable[[], T]) -> T:
        """Return what is read; where the file is damaged it is mended first."""
        try:
            return read()
        except sqlite3.Error as error:
            if not store.is_damage(error):
                raise
            self._mend(error)
            return read()

    # The file out of reach: refused, not there yet, or damaged.

    def _start(self, *, in_memory: bool) -> None:
        """Go on with the file as it was left, or in memory for the time being."""
        try:
            self._open()
        except (OSError, sqlite3.Error) as error:
            if not in_memory:
                raise SpoolUnusable(f"{self._path} cannot be used: {error}") from error
            self._begin_in_memory(error)
        while not in_memory and self._away:
            if self._stuck:
                raise SpoolUnusable(f"{self._path} cannot be used: {self._stuck}")
            self._advance(_AT_ONCE)

    def _open(self) -> None:
        damage: sqlite3.Error | None = None
        if not salvage.is_begun(self._path):
            try:
                self._enter(store.open_store(self._path, max_bytes=self._limits.file_bytes))
            except sqlite3.Error as error:
                if not store.is_damage(error):
                    raise
                damage = error
            else:
                return
        self._use_nothing()
        self._begin_rescue(damage, _AT_START)

    def _enter(self, db: sqlite3.Connection) -> None:
        """Go on where the file was left."""
        self._db = db
        try:
            self._take_over(db)
            self._take_late(salvage.read_late(db))
        except sqlite3.Error:
            db.close()
            raise
        self._has_late = True
        self._know_file()
        if not self._ballast_is_held():
            self._doubt_what_was_sent()
        self._flush()
        if not self._disk_trouble:
            self._hold_ballast()

    def _know_file(self) -> None:
        """Have the file tell from now on that it is this one; note which one is open."""
        self._file = _which(self._path)
        if not self._identity:
            with suppress(sqlite3.Error):
                store.identify(self._db, secrets.randbits(30) | 1)
                self._identity = store.identity(self._db)

    def _take_late(self, rows: Sequence[tuple[int, str]]) -> None:
        """Put frames that came while the file was rescued behind those that it has."""
        new = [_Unwritten(number, from_text(text), text) for number, (_, text) in enumerate(rows, self._next)]
        self._unwritten.extend(new)
        self._census.add(self._next, len(new))
        self._next += len(new)

    def _use_nothing(self) -> None:
        """Begin without a file, as long as nobody knows what is in it."""
        self._db = store.stand_in()
        self._take_over(self._db)
        self._next = self._first = self._first_on_disk = self._memory_from = _PROVISIONAL
        self._boots.load(self._db, _PROVISIONAL, _PROVISIONAL)
        self._is_out, self._identity = True, None

    def _lose_file(self) -> None:
        """Go on without the file, whose ids are known: its frames wait for it to come back."""
        if not self._is_out:
            with as_owner(self._path.parent):
                self._db.close()
            self._db = store.stand_in()
            self._memory_from = self._unwritten[0].number if self._unwritten else self._next
            self._past = {}
            self._gave_from_memory = False
            self._is_out = True

    def _begin_in_memory(self, error: Exception) -> None:
        log.error(
            "%s: %s; frames are kept in memory only, and do not survive an end of the daemon, "
            "until the disk can be used: it is tried again",
            self._path,
            error,
        )
        self._away = self._disk_trouble = str(error)
        self._retry_at = self._clock.monotonic() + _RETRY
        try:
            self._db = store.stand_in() if salvage.is_begun(self._path) else store.open_view(self._path)
            self._take_over(self._db)
            self._take_late(salvage.read_late(self._db))
        except (OSError, sqlite3.Error):
            self._use_nothing()

    def _mend(self, error: Exception) -> None:
        """Go on with what can be read of a damaged file; places and limits are those in memory."""
        self._lose_file()
        with suppress(SpoolUnusable):  # somebody else is at it: it is tried again
            self._begin_rescue(error, _AT_ONCE)

    def _begin_rescue(self, damage: Exception | None, seconds: float) -> None:
        self._damage = damage
        self._away = self._disk_trouble = f"{self._path} is damaged"
        self._advance(seconds)
        if self._rescue and not self._stuck:
            log.warning(
                "%s is damaged: what can be read of it is brought into a new file, which takes a while",
                self._path,
            )

    def _advance(self, seconds: float) -> None:
        """Bring on the rescue of a damaged file, for so long at most, or by one piece."""
        until = self._clock.monotonic() + seconds
        try:
            rescue = self._rescue = self._rescue or self._salvage()
            while not rescue.step():
                self._stuck = ""
                if self._clock.monotonic() >= until:
                    return
            self._rescue, self._disk_trouble = None, ""
            rescue.finish()
            self._absorb(store.open_store(self._path, max_bytes=self._limits.file_bytes), rescue.census)
            self._hold_ballast()
        except (OSError, sqlite3.Error) as error:
            if self._rescue and store.is_damage(error):
                self._rescue.abandon()
                self._rescue, self._kept_upto = None, 0
            if not self._stuck:
                log.error(
                    "%s is damaged, and a new file cannot be made (%s): frames are kept in memory only, "
                    "and do not survive an end of the daemon, until it can: it is tried again",
                    self._path,
                    error,
                )
            self._stuck = self._away = self._disk_trouble = str(error)
            self._retry_at = self._clock.monotonic() + _RETRY
            self._wake_subscribers()

    def _salvage(self) -> Salvage:
        rescue = Salvage(self._path, self._damage, identity=self._identity or 0)
        if self._identity is None and self._next == _PROVISIONAL and (late := rescue.late):
            # The numbers that they have there, or higher ones: no other frame is to be kept under these.
            self._next = max(_PROVISIONAL, late[-1][0] + 1 - len(late))
            self._first = self._next
            self._take_late(late)
            self._kept_upto = self._next - 1
        self._late_is_known = True
        return rescue

    def _try_again(self, at_once: float = _AT_ONCE) -> None:
        """See whether the disk takes what waits in memory by now."""
        self._retry_at = self._clock.monotonic() + _RETRY
        try:
            if salvage.is_begun(self._path):
                self._lose_file()
                self._advance(at_once)
            elif self._away or _which(self._path) not in (None, self._file):
                # The file is another than the one that is open after a disk was pulled out and put back.
                self._absorb(store.open_store(self._path, max_bytes=self._limits.file_bytes))
            else:
                self._flush()
        except (OSError, sqlite3.Error, SpoolUnusable) as error:
            if store.is_damage(error):
                self._mend(error)
            elif self._away:
                self._away = self._disk_trouble = str(error)

    def _absorb(self, db: sqlite3.Connection, counted: Census | None = None) -> None:
        """Go on with the file: with what memory knows better than it, and behind it what waits in memory."""
        before, refused = dict(vars(self)), self._refused.state()
        self._db, self._unwritten, self._has_late = db, deque(), True
        try:
            self._take_over(db, counted)
            knows_file = before["_identity"] is not None
            is_ours = knows_file and (self._identity == before["_identity"] or self._next == 1)
            if knows_file and not is_ours:
                raise OSError("another queue is in its place: put it back, or restart the gateway")  # noqa: TRY301
            if not knows_file and not self._late_is_known:
                self._take_late(salvage.read_late(db))
        except (OSError, sqlite3.Error):
            vars(self).update(before)
            self._refused.restore(refused)
            db.close()
            raise
        with as_owner(self._path.parent), suppress(sqlite3.Error):
            before["_db"].close()
        if not self._ballast_is_held():
            self._doubt_what_was_sent()
        end = self._next
        (self._resume if is_ours else self._append)(before)
        self._is_out = False
        if not self._gave_from_memory:
            self._memory_from = None
        for who in self._attending:
            self._upto[who] = max(self._upto.get(who, 0), self._first - 1)
            self._upto[who] = self._place(who)
            self._sent.setdefault(who, _Mark())
            self._in_doubt.setdefault(who, end - 1)
        self._away = self._stuck = ""
        self._moved, self._kept_upto = True, 0
        self._know_file()
        self._boots.adopt(before["_boots"])
        self._flush()
        self._wake_subscribers()

    def _resume(self, before: dict[str, Any]) -> None:
        """Let what is known of this file in memory stand: it is what the file could not be told."""
        is_empty = self._first == self._next
        unwritten = self._unwritten = before["_unwritten"]
        self._next = max(self._next, before["_next"])
        oldest = min(
            self._next if is_empty else self._first, unwritten[0].number if unwritten else self._next
        )
        self._first, self._first_on_disk = max(oldest, before["_first"]), 0
        places = {**self._upto, **before["_upto"]}
        self._upto = {who: max(place, self._upto.get(who, 0)) for who, place in places.items()}
        self._sent = {**self._sent, **before["_sent"]}
        self._in_doubt = {**self._in_doubt, **before["_in_doubt"]}
        self._census.remove(0, self._first - 1)
        for each in unwritten:
            self._census.add(each.number, 1)

    def _append(self, before: dict[str, Any]) -> None:
        """Give what came before the file could be read ids behind those that the file has."""
        waiting, refused = before["_unwritten"], self._refused.unwritten
        ids = [row.number for row in refused] + [waiting[0].number if waiting else before["_next"]]
        self._memory_from = self._next
        self._shift = shift = self._next - min(ids)
        for each in waiting:
            self._unwritten.append(each._replace(number=each.number + shift))
            self._census.add(each.number + shift, 1)
        self._refused.unwritten = [row._replace(number=row.number + shift) for row in refused]
        self._past = {who: upto + shift for who, upto in self._past.items()}
        for who, mark in before["_sent"].items():
            if mark.upto >= _PROVISIONAL:
                pins = tuple(pin._replace(upto=pin.upto + shift) for pin in mark.pins)
                self._sent[who] = mark._replace(upto=mark.upto + shift, pins=pins)
        self._next = before["_next"] + shift
        self.dropped = self._dropped_on_disk + before["dropped"]

    @property
    def _ballast(self) -> Path:
        return self._path.with_name("queue.ballast")

    def _ballast_is_held(self) -> bool:
        try:
            return self._ballast.lstat().st_size == _BALLAST
        except OSError:
            return False

    def _hold_ballast(self) -> None:
        with suppress(OSError):
            ballast = open_file(self._ballast, os.O_WRONLY | os.O_CREAT)
            try:
                os.posix_fallocate(ballast, 0, _BALLAST)
            finally:
                os.close(ballast)

    def _release_ballast(self) -> None:
        with suppress(OSError), as_owner(self._path.parent):
            self._ballast.unlink(missing_ok=True)


def _which(path: Path) -> tuple[int, int] | None:
    """Return which file is there now, or None."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino
