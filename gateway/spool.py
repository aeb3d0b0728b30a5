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
import sqlite3
import threading
from collections import deque
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from gateway import store
from gateway.clock import Clock
from gateway.flag import Flag
from gateway.frame_text import from_text, to_text
from gateway.paths import give_to_owner
from gateway.spool_limits import Census, Limits, NoRoom, check_room
from gateway.spool_refused import RefusedFrames, RefusedRow
from gateway.store import SpoolUnusable

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
"""How many frames are dated, or let go of, at a time."""


class Waiting(NamedTuple):
    """A frame in the queue: for the dispatcher `whose`, or all (""), and whether it waits for its time."""

    number: int
    frame: Frame
    whose: str
    held: bool


class _Unwritten(NamedTuple):
    """A frame that is not on the disk yet, and the text that it will be there."""

    number: int
    frame: Frame
    text: str
    held: bool


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
    """What was noted in which boot before the last batch was sent; "": in none that is known."""

    upto: int = 0
    boot: str = ""
    blind: bool = False


class Standing(NamedTuple):
    """What a dispatcher has still to deliver, how much of it is held for want of the time, and the oldest."""

    waiting: int
    held: int
    refused: int
    oldest: Frame | None


class Spool:
    """The queue between listeners and dispatchers; any thread may call it.

    Frames that the disk refuses wait in memory, and are delivered from there if need be. Where the file
    cannot be used at all that goes for all of them, or, without `in_memory`, SpoolUnusable is raised.
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
        self._bells: dict[str, Flag] = {}
        self._unwritten: deque[_Unwritten] = deque()
        self._held_from: int | None = None
        self._dated_upto: int | None = None
        self._disk_trouble = ""
        self._dropped_for: set[str] = set()
        self._attending: set[str] = set()
        self.dropped = 0
        self._refused = RefusedFrames(limits)
        self._moved = False
        self.unsynced = Flag()
        self._unsynced_since: float | None = None
        self._sync_trouble = ""
        self._db = store.open_store(path, max_bytes=limits.file_bytes, in_memory=in_memory)
        try:
            self._take_over(self._db)
        except sqlite3.DatabaseError as error:
            self._replace_file(error)
            self._take_over(self._db)
        if not self._ballast_is_held():
            self._doubt_what_was_sent()
            self._flush()
        if not self._disk_trouble:
            self._hold_ballast()

    def _take_over(self, db: sqlite3.Connection) -> None:
        """Go on where the file was left."""
        self._upto: dict[str, int] = dict(db.execute("SELECT who, upto FROM cursors"))
        marks = db.execute("SELECT who, sent, boot, blind FROM cursors")
        self._sent: dict[str, _Mark] = {who: _Mark(*mark) for who, *mark in marks}
        # Asked for both at once SQLite looks at every page: damage shows now, and not as an early end.
        first, last = db.execute("SELECT min(id), max(id) FROM frames").fetchone()
        (aside,) = db.execute("SELECT max(id) FROM refused").fetchone()
        # Frames that are delivered or set aside are gone, but their ids are remembered, and not used again.
        marks_upto = (mark.upto for mark in self._sent.values())
        self._next = max([last or 0, aside or 0, *self._upto.values(), *marks_upto]) + 1
        self._first = self._first_on_disk = first or self._next
        self._in_doubt = dict.fromkeys(self._sent, self._next - 1)
        self._find_held()
        self._count()

    def _count(self) -> None:
        """Count what the file has, and what waits for it in memory; no count of dropped frames ever falls."""
        (noted,) = self._db.execute("SELECT max(value) FROM counters WHERE name = 'dropped'").fetchone()
        self._dropped_on_disk = noted or 0
        self.dropped = max(self.dropped, self._dropped_on_disk)
        self._refused.load(self._db)
        self._census = Census()
        self._census.load(self._db, self._first)
        for each in self._unwritten:
            self._census.add(each.number, 1)

    def _doubt_what_was_sent(self) -> None:
        self._sent = {who: mark._replace(boot="") for who, mark in self._sent.items()}
        self._moved = True

    def attend(self, dispatchers: Iterable[str]) -> None:
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

    def bell(self, who: str, bell: Flag) -> None:
        """Raise this flag whenever there is something new for the dispatcher."""
        with self._lock:
            self._bells[who] = bell

    def put(self, frames: Sequence[Frame], *, held: bool = False) -> None:
        """Keep the frames: on disk when this returns, unless the disk refuses (which is said once).

        Those that are `held` wait, and all after them, until `date` has given them their time. Raises
        ValueError for a frame that no file can hold, and then keeps none of these.
        """
        texts = [to_text(frame) for frame in frames]
        with self._lock:
            if held and self._held_from is None:
                self._held_from = self._next
            numbered = enumerate(zip(frames, texts, strict=True), self._next)
            self._unwritten.extend(_Unwritten(number, *both, held) for number, both in numbered)
            self._census.add(self._next, len(frames))
            self._next += len(frames)
            self._drop_surplus(self._census.total - self._limits.frames)
            self._flush()
            self._ring()
        self._sync_at_once()

    def _ring(self) -> None:
        for bell in self._bells.values():
            bell.set()

    def peek(self, who: str, limit: int) -> list[tuple[int, Frame]]:
        """Return the oldest frames that the dispatcher has not delivered, with their ids.

        Raises OSError where the disk cannot be read.
        """
        while True:
            with self._lock:
                with self._no_disk():
                    found = self._mended(lambda: self._read(who, limit))
                after, before = self._reach(who)
                if found or before == after + 1:
                    return found
                self._move(who, before - 1)  # what there is, is for others

    def _reach(self, who: str) -> tuple[int, int]:
        """Return the ids between which the dispatcher's next frames are looked for."""
        after = self._place(who)
        end = self._next if self._held_from is None else max(self._held_from, after + 1)
        return after, min(end, after + _STRETCH)

    def _place(self, who: str) -> int:
        return max(self._upto[who], self._first - 1)

    def _read(self, who: str, limit: int) -> list[tuple[int, Frame]]:
        after, before = self._reach(who)
        query = (
            "SELECT id, frame FROM frames WHERE id > ? AND id < ? AND whose IN ('', ?) ORDER BY id LIMIT ?"
        )
        rows = self._db.execute(query, (after, before, who, limit)).fetchall()
        found = [(number, from_text(text)) for number, text in rows]
        unwritten = [(each.number, each.frame) for each in self._unwritten if after < each.number < before]
        return found + unwritten[: limit - len(found)]

    def done(self, who: str, upto: int, *, refused: Sequence[tuple[int, Frame, str]] = ()) -> None:
        """Note that the dispatcher has delivered every frame up to this id, but for those that are `refused`.

        These, with the reason for each, are set aside for it in the same transaction, whether they were sent
        or not. While the disk refuses, the place is kept in memory: nothing is sent twice for it.
        """
        with self._lock:
            place = self._place(who)
            self._refused.add(
                [
                    RefusedRow(number, who, reason, to_text(frame))
                    for number, frame, reason in refused
                    if place < number <= upto
                ]
            )
            self._move(who, upto)
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
            return [
                Refused(from_text(text), reason, n, who, bool(undated)) for text, reason, n, undated in rows
            ]

        with self._lock, self._no_disk():
            self._flush()
            return self._mended(read)

    def waiting(self, *, after: int = 0, limit: int = 1000, who: str = "") -> list[Waiting]:
        """Return the oldest frames behind this id, or behind the place of a dispatcher, whosever they are.

        Raises OSError where the disk cannot be read.
        """
        with self._lock, self._no_disk():
            after = max(after, self._place(who) if who else self._first - 1)
            return self._mended(lambda: self._waiting(after, limit))

    def _waiting(self, after: int, limit: int) -> list[Waiting]:
        query = "SELECT id, frame, whose, held FROM frames WHERE id > ? ORDER BY id LIMIT ?"
        rows = self._db.execute(query, (after, limit)).fetchall()
        found = [Waiting(number, from_text(text), whose, bool(held)) for number, text, whose, held in rows]
        unwritten = [Waiting(n, frame, "", held) for n, frame, _, held in self._unwritten if n > after]
        return found + unwritten[: limit - len(found)]

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
            waiting = self._census.count(place, last, who)
            held_from = self._next if self._held_from is None else self._held_from
            held = self._census.count(max(place, held_from - 1), last, who)
            return Standing(waiting, held, refused, oldest)

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
            if self._disk_trouble:
                return f"the disk refuses ({self._disk_trouble}): what is new waits in memory"
            *_, file = self._db.execute("PRAGMA database_list").fetchone()
        return "" if file else f"{self._path} cannot be used: readings wait in memory only"

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
                rows = [(n, to_text(frame), whose) for n, (frame, whose) in enumerate(frames, self._next)]
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
            self._ring()
        self._sync_at_once()

    def skip(self, who: str, *, before: int, limit: int) -> Skipped:
        """Have a dispatcher, or all (""), pass over what is in the next `limit` ids, as far as this one.

        Raises OSError where the disk does not take it.
        """
        with self._lock:
            before = min(before, self._next)
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
        """Let go of the oldest readings that are older than the limit, up to the first that is held.

        `age` tells how old a reading is at least, in seconds.
        """
        while math.isfinite(self._limits.age) and self._expire_some(age):
            pass

    def _expire_some(self, age: Callable[[Stamp], float]) -> bool:
        """Let go of the oldest of them; tell whether there may be more."""
        with self._lock, suppress(sqlite3.Error):
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

    def fix(self, who: str, upto: int, *, blind: bool = False) -> None:
        """Note, before the dispatcher sends them, that it does so up to this id; their times stand for good.

        `blind` says that the first of them cannot be told from one that its far end has.
        """
        with self._lock:
            before = self._sent[who]
            self._sent[who] = _Mark(max(upto, before.upto), self._boot, blind)
            if self._sent[who] != before:
                self._moved = True
                self._flush()

    def sent(self, who: str) -> Sent:
        """Return how far frames may have been sent: what was noted, or all that an earlier run can have sent.

        That is so where this boot does not vouch for the note, as a power cut may have taken the last one.
        What was there when this run began, or when it first knew the dispatcher, may have been sent then.
        """
        with self._lock:
            upto, boot, blind = self._sent[who]
            return Sent(upto if boot and boot == self._boot else max(upto, self._in_doubt[who]), bool(blind))

    def hold(self) -> None:
        """Hold what nobody has begun to send, until `date` has been through it."""
        with self._lock:
            self._dated_upto = 0
            first = self._sent_upto() + 1
            if first < self._next:
                self._held_from = min(first, self._held_from or first)

    def _sent_upto(self) -> int:
        return max((mark.upto for mark in self._sent.values()), default=0)

    @property
    def holding(self) -> bool:
        """Whether there are frames that wait for their time."""
        return self._held_from is not None

    @property
    def dating(self) -> bool:
        """Whether `date` has still to go through something since the last `hold`."""
        return self._dated_upto is not None

    def date(self, boot: str, date: Callable[[Frame], Frame | None], lost: str) -> None:
        """Give the oldest frames that are held their time, and let them go on; it goes a piece at a time.

        Those that `date` returns None for are held on, also through a restart. Those of an earlier boot,
        whose clock nobody knows any more, are set aside for every dispatcher with the reason `lost`. Raises
        OSError where the disk does not take it; then they are held as before.
        """
        with self._lock:
            try:
                self._flush()
                self._date_unwritten(date)
                upto = self._mended(lambda: self._date_some(boot, date, lost))
                self._dated_upto = upto if upto < self._next - 1 else None
                self._find_held()
            except sqlite3.Error as error:
                raise OSError(f"the readings that are held cannot be dated: {error}") from error
            self._ring()

    def _date_unwritten(self, date: Callable[[Frame], Frame | None]) -> None:
        """Date what waits in memory, all of which is of this boot."""
        sent = self._sent_upto()
        for place, each in enumerate(self._unwritten):
            if each.held or each.number > sent:
                dated = date(each.frame)
                frame = dated or each.frame
                text = each.text if frame is each.frame else to_text(frame)
                self._unwritten[place] = _Unwritten(each.number, frame, text, held=dated is None)

    def _date_some(self, boot: str, date: Callable[[Frame], Frame | None], lost: str) -> int:
        """Return up to which id they are done."""
        after = max(self._dated_upto or 0, self._first - 1)
        # A frame that is garbled is found when it is read.
        its_boot = "CASE WHEN json_valid(frame) THEN json_extract(frame, '$[2][1]') END"
        query = f"""
            SELECT id, frame, whose, held FROM frames
            WHERE id > ? AND id <= ? AND (held OR (id > ? AND {its_boot} = ?)) ORDER BY id LIMIT ?
        """  # noqa: S608  (our own words)
        reach = min(after + _STRETCH, self._next - 1)
        rows = self._db.execute(query, (after, reach, self._sent_upto(), boot, _PIECE)).fetchall()
        changed: list[tuple[str, bool, int]] = []
        aside: list[RefusedRow] = []
        gone: list[tuple[int]] = []
        for number, text, whose, held in rows:
            frame = from_text(text)
            dated = date(frame)
            if dated is None:
                if not held:
                    changed.append((text, True, number))
            elif frame.stamp.boot in (boot, ""):
                if held or dated is not frame:
                    changed.append((to_text(dated), False, number))
            else:
                gone.append((number,))
                whom = [who for who in sorted(self._attending or self._upto) if whose in ("", who)]
                aside += [RefusedRow(number, who, lost, text, undated=True) for who in whom]
        if changed or gone:
            with self._transaction() as db:
                db.executemany("UPDATE frames SET frame = ?, held = ? WHERE id = ?", changed)
                db.executemany("DELETE FROM frames WHERE id = ?", gone)
                self._refused.write(db, aside)
            self._refused.written()
            for (number,) in gone:
                self._census.remove(number, number)
            self._committed()
        return rows[-1][0] if len(rows) == _PIECE else reach

    def _find_held(self) -> None:
        query = "SELECT min(id) FROM frames WHERE held AND id >= ?"
        (on_disk,) = self._db.execute(query, (self._first,)).fetchone()
        held = [on_disk, *(each.number for each in self._unwritten if each.held)]
        if self._dated_upto is not None:
            held.append(max(self._dated_upto, self._sent_upto()) + 1)
        self._held_from = min(
            (number for number in held if number is not None and number < self._next), default=None
        )

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
        commits = Path(f"{self._path}-wal")
        if since is None or not commits.exists():
            return
        try:
            with commits.open("rb+") as file:
                os.fdatasync(file.fileno())
            self._sync_trouble = ""
        except OSError as error:
            if not self._sync_trouble:
                log.warning("%s: %s; a power cut may take what came last", commits, error)
            self._sync_trouble = str(error)

    def close(self) -> None:
        """Close the file, once more trying to write what waits in memory."""
        with self._lock:
            self._flush()
            self._db.close()

    # What is wanted is kept in memory, and brought to the disk as far as the disk takes it.

    def _move(self, who: str, upto: int) -> None:
        self._upto[who] = max(self._upto[who], upto)
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
            self._disk_trouble = str(error)
            with suppress(OSError):
                self._ballast.unlink(missing_ok=True)
            while len(self._unwritten) > self._limits.memory:
                number = self._unwritten.popleft().number
                self.dropped += self._census.remove(number, number)
            self._refused.bound_memory()
            if self._held_from is not None:  # it may be gone, and hold up nothing any more
                with suppress(sqlite3.Error):
                    self._find_held()
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
        if not (
            self._unwritten
            or self._moved
            or self._first > self._first_on_disk
            or self.dropped > self._dropped_on_disk
            or not self._refused.is_written
        ):
            return
        with self._transaction() as db:
            if self._first > self._first_on_disk:
                db.execute("DELETE FROM frames WHERE id < ?", (self._first,))
            self._refused.write(db)
            if self._unwritten:
                rows = [(each.number, each.text, each.held) for each in self._unwritten]
                db.executemany("INSERT INTO frames (id, frame, held) VALUES (?, ?, ?)", rows)
                self._check_room(db)
            if self._moved:
                places = [(who, self._upto[who], *mark) for who, mark in self._sent.items()]
                db.executemany("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?, ?, ?)", places)
            if self.dropped > self._dropped_on_disk:
                db.execute("INSERT OR REPLACE INTO counters VALUES ('dropped', ?)", (self.dropped,))
        self._first_on_disk, self._dropped_on_disk = self._first, self.dropped
        self._unwritten.clear()
        self._refused.written()
        self._moved = False
        self._committed()
        if self._held_from is not None and self._held_from < self._first:
            self._find_held()

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
            self._ballast.unlink(missing_ok=True)
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

    def _mend(self, error: Exception) -> None:
        """Go on with what can be read of a damaged file; places and limits are those in memory."""
        self._replace_file(error)
        self._first_on_disk, self._moved = 0, True
        self._count()
        self._find_held()

    def _replace_file(self, error: Exception) -> None:
        self._db.close()
        self._db = store.mended(self._path, error, max_bytes=self._limits.file_bytes)

    @property
    def _ballast(self) -> Path:
        return self._path.with_name("queue.ballast")

    def _ballast_is_held(self) -> bool:
        try:
            return self._ballast.stat().st_size == _BALLAST
        except OSError:
            return False

    def _hold_ballast(self) -> None:
        with suppress(OSError):
            self._ballast.touch(0o600)
            give_to_owner(self._ballast)
            with self._ballast.open("wb") as ballast:
                os.posix_fallocate(ballast.fileno(), 0, _BALLAST)
