"""Frames on disk until every dispatcher has delivered them.

A frame is committed when `put` returns, so that no kill can lose it, and deleted in the transaction that
moves the last dispatcher's cursor past it. A power cut may take what was put since the last `sync`: that is
not done at each commit, as it wears an SD card. Ids only ever grow, so that a cursor never skips a frame.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.process.state_files import size_of
from gateway.spool.disk import Disk
from gateway.spool.limits import Limits
from gateway.spool.queue_file import QueueFile
from gateway.spool.retention import Retention
from gateway.store.frame_text import to_text
from gateway.store.syncing import Syncing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.flag import Flag
    from gateway.frame import Frame, Stamp
    from gateway.spool.contents import Contents, Refused, Standing, Waiting
    from gateway.spool.refused import RefusedTotals
    from gateway.times.boots import Row


class Spool:
    """The queue between listeners and dispatchers; any thread may call it. An edit holds `lock` to rename.

    Frames that the disk refuses wait in memory, and are delivered from there if need be: all of them where
    the file cannot be used, until `tend` finds that it can. Without `in_memory` SpoolUnusable is raised then.
    What can be read of a damaged file is copied into a new one, also by `tend`; what is put meanwhile comes
    after it. `notes` are those kept with frames, and `epochs` tells in which run of the gateway the id of a
    frame was given. What returns frames or figures raises OSError if the disk cannot be read.
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
        self._clock = clock or Clock()
        self.lock = threading.RLock()
        self._subscribers: dict[str, Flag] = {}
        self._given: dict[str, Row] = {}  # the clock that dated what each dispatcher was last given
        # Frames that came with notes, which no dispatcher gets before a sync: (puts, first id).
        self._unsafe: deque[tuple[int, int]] = deque()
        self._lost, self._is_vouched = "", False
        self._retention = Retention(limits or Limits())
        self.syncing = Syncing(path, commit_interval, self._clock)
        self.syncing.subscribe_to_sync("", self._note_synced)
        self._file = QueueFile(path, self._retention.limits, self._clock, wake=self._wake_subscribers)
        self.notes, self.epochs = self._file.notes, self._file.epochs
        self._disk = Disk(self._file, self._retention, self.syncing)
        self._disk.start(in_memory=in_memory)

    @property
    def _contents(self) -> Contents:
        return self._file.contents

    def set_consumers(self, dispatchers: Iterable[str], renamed: Mapping[str, str] | None = None) -> int:
        """Keep frames for these; a new one starts where the last of all is, a `renamed` one where it was.

        The places of others are remembered, but keep no frames: return how many only those waited for.
        """
        with self.lock:
            known = self._contents.places.set_consumers(dispatchers, self._contents.next, renamed or {})
            with suppress(OSError), self._disk.refusing():
                self._retention.pass_on(self._contents, *known)
            self._disk.flush()
            return self._retention.unclaimed(self._contents)

    def subscribe(self, who: str, flag: Flag) -> None:
        """Raise this flag whenever there is something new for the dispatcher."""
        with self.lock:
            self._subscribers[who] = flag

    def _wake_subscribers(self) -> None:
        for flag in self._subscribers.values():
            flag.set()

    # Frames come, are given to dispatchers, and go.

    def put(self, frames: Sequence[Frame], notes: Mapping[str, str] = MappingProxyType({})) -> None:
        """Keep the frames: they are on disk when this returns, unless the disk refuses (logged once).

        The notes are kept in the same transaction. They say what the source of these frames may forget once
        a sync has made them safe; until then it sends them again, so nothing from these frames on is
        delivered before. Raises ValueError, and keeps none, if a frame cannot be written to any file.
        """
        texts = [(frame, to_text(frame)) for frame in frames]
        with self.lock:
            self.syncing.puts += 1
            if notes and frames:
                self._unsafe.append((self.syncing.puts, self._contents.next))
            self._contents.put(texts)
            self.notes.update(notes)
            self._retention.keep_within(self._contents)
            self._disk.flush()
            self._wake_subscribers()
        self.syncing.sync_at_once()

    def _note_synced(self, puts: int) -> None:
        with self.lock:
            while self._unsafe and self._unsafe[0][0] <= puts:
                self._unsafe.popleft()
                self._wake_subscribers()

    def peek(self, who: str, limit: int) -> list[tuple[int, Frame]]:
        """Return the oldest frames that the dispatcher has not delivered, with their ids and their time.

        A frame whose time is not known yet holds up those after it. One of an earlier boot, whose time will
        never be known, is set aside as soon as the clock is right.
        """
        while True:
            with self.lock:
                found = self._disk.read(lambda contents: contents.to_deliver(who, limit))
                if self._file.is_rescuing:
                    return []  # what is older is on its way into the new file
                if self._unsafe and found:
                    first = self._file.real(self._unsafe[0][1])
                    if not (found := [kept for kept in found if kept.number < first]):
                        return []
                contents, places = self._contents, self._contents.places
                frames = [kept.frame for kept in found]
                if self._is_vouched and contents.boots.doubt_ahead(frames, self._clock.wall()):
                    self._disk.flush()
                    continue
                after, before = places.reach(who, contents.next, contents.census.next_after)
                self._given[who] = contents.boots.now
                ready = [(kept.number, kept.frame) for kept in takewhile(lambda kept: not kept.held, found)]
                places.give(who, after + 1, len(ready))
                if ready or before == after + 1:
                    return ready
                if not found:
                    contents.delivered(who, before - 1)  # all of it is for others
                elif (
                    self._lost and not self._file.trouble and contents.set_lost_aside(who, found, self._lost)
                ):
                    self._disk.flush()
                else:
                    return []

    def mark_sending(self, who: str, upto: int, *, blind: bool = False) -> None:
        """Note, before the dispatcher sends what it was last given, that it sends it up to this id.

        Until `done` or `unmark` these keep their times, whatever is learnt of the clock meanwhile.
        `blind` says that the first of them looks the same as one that the far end has.
        """
        with self.lock:
            clock = self._given.get(who, self._contents.boots.now)
            self._contents.places.mark(who, self._file.real(upto), blind=blind, clock=clock)
            self._disk.flush()

    def unmark(self, who: str, upto: int) -> None:
        """Note that the far end has nothing of what was sent up to this id: its times may still change."""
        with self.lock:
            self._contents.places.unpin(who, self._file.real(upto))
            self._disk.flush()

    def sent(self, who: str) -> tuple[int, bool]:
        """Return the id up to which frames may have been sent, and whether that was `blind`.

        That is what was noted. In another boot, as a power cut may have taken the last note, it is all that
        was there when this run began, or first knew the dispatcher.
        """
        with self.lock:
            return self._contents.places.sent(who)

    def noted(self, who: str) -> int:
        """Return the id up to which frames may have been sent; lower than `sent`, and only for counts."""
        with self.lock:
            return self._contents.places.noted(who, self.notes)

    def done(
        self, who: str, upto: int, *, refused: Sequence[tuple[int, Frame, str]] = (), sure: bool = True
    ) -> None:
        """Note that the dispatcher has delivered every frame up to this id except those that are `refused`.

        These are set aside for it in the same transaction, each with its reason, whether they were sent or
        not. While the disk refuses, the place is kept in memory, so that nothing is sent twice. Until it is
        `sure`, it can `go_back`.
        """
        with self.lock:
            place = self._contents.places.before(who, upto := self._file.real(upto))
            rows = ((self._file.real(number), frame, reason) for number, frame, reason in refused)
            self._contents.refused.add(who, (row for row in rows if place < row[0] <= upto))
            self._contents.places.hold(who, upto, sure=sure or bool(refused))
            self._contents.delivered(who, upto)
            self._disk.flush()

    def go_back(self, who: str) -> None:
        """Have the dispatcher send again what it was not sure of."""
        with self.lock:
            self._contents.places.go_back(who)
            self._disk.flush()

    def admit(self, frames: Sequence[tuple[Frame, str]], *, instead_of: Sequence[Refused] = ()) -> None:
        """Put frames at the end, each for the dispatcher given with it or all (""), in place of refused ones.

        It is all or nothing, and no frame is dropped to make room: raises OSError if there is no room, or the
        disk refuses. The time that a frame comes with is kept.
        """
        with self.lock:
            self._disk.admit(frames, [(each.who, each.number) for each in instead_of])
            self._wake_subscribers()
        self.syncing.sync_at_once()

    def skip(self, who: str, *, before: int, limit: int) -> tuple[int, bool]:
        """Move a dispatcher, or all (""), past `limit` ids from the next frame on, up to this one.

        Return how many frames those were, and whether there may be more before that id. Raises OSError if
        the disk refuses.
        """
        with self.lock:
            if self._file.is_away:
                self._disk.check()
            skipped = self._retention.skip(self._contents, who, before=self._file.real(before), limit=limit)
            self._disk.flush()
            self._disk.check()
            return skipped

    def expire(self, age: Callable[[Stamp], float]) -> None:
        """Remove the oldest readings that are older than the limit, up to the first without a known time.

        `age` returns the least age of a reading, in seconds.
        """
        more = True
        with suppress(OSError):
            while more:
                with self.lock:
                    more = self._disk.read(lambda contents: self._retention.expire(contents, age))
                    self._disk.flush()

    # What is known of the clock.

    def set_clock(
        self, offset: float | None, *, lost: str = "", is_vouched: bool = False, was: float | None = None
    ) -> None:
        """Note how far the wall clock is ahead of this boot's own, in seconds (None: it is wrong), and `was`.

        Frames of this boot wait until it is known. `lost` is the reason for setting aside those of an earlier
        boot whose clock was never right, or whose frames are later than a clock that `is_vouched` for.
        """
        with self.lock:
            self._lost, self._is_vouched = lost, is_vouched
            if self._contents.boots.set_clock(offset, self._clock.boottime(), was):
                self._disk.flush()
            self._wake_subscribers()

    @property
    def holding(self) -> bool:
        """Whether frames may wait for their time; those whose time is lost wait only to be set aside."""
        with self.lock:
            return not self._lost and bool(self._contents.held_from(self._contents.places.passed_by()))

    # Reading.

    def waiting(self, *, after: int = 0, limit: int = 1000, who: str = "") -> list[Waiting]:
        """Return the oldest frames after this id and after the place of `who`, for any dispatcher."""
        with self.lock:
            place = self._contents.places.of(who) if who else self._contents.places.passed_by()
            after = max(self._file.real(after), place)
            return self._disk.read(lambda contents: contents.waiting(after, limit, who))

    def standing(self, who: str) -> Standing:
        """Return a dispatcher's figures."""
        with self.lock:
            standing = self._disk.read(lambda contents: contents.standing(who, self._file.saved))
            return standing._replace(held=0) if self._lost else standing

    def refused(self, who: str, *, after: int = 0, limit: int = 1000) -> list[Refused]:
        """Return the oldest frames after this id that were set aside for the dispatcher."""
        with self.lock:
            self._disk.flush()
            return self._disk.read(lambda contents: contents.set_aside(who, after, limit))

    def reasons(self, who: str) -> dict[str, int]:
        """Return why frames were set aside for the dispatcher, and how many for each reason."""
        with self.lock:
            self._disk.flush()
            return self._disk.read(lambda contents: contents.refused.reasons(contents.db, who))

    @property
    def dispatchers(self) -> list[str]:
        """The dispatchers that frames are kept for."""
        return sorted(self._contents.places.consumers)

    @property
    def dropped(self) -> int:
        """How many frames were dropped, ever, because the queue was full or they were too old."""
        return self._contents.dropped

    @property
    def refused_totals(self) -> RefusedTotals:
        """How many frames are set aside, and what became of those that were."""
        with self.lock:
            return self._contents.refused.totals

    @property
    def end(self) -> int:
        """The id that the next frame will have."""
        return self._contents.next

    @property
    def trouble(self) -> str:
        """Why a kill, a start or a power cut may lose what is new, or ""."""
        with self.lock:
            return self._file.describe() or self.syncing.trouble

    @property
    def size(self) -> int:
        """The bytes that the queue takes on the disk."""
        return size_of(self._path) + size_of(Path(f"{self._path}-wal"))

    # Periodic work, and the end.

    def due(self) -> float:
        """Return the seconds until `tend` has something to do; infinity if there is nothing."""
        return min(self.syncing.due(), self._disk.due())

    def tend(self) -> None:
        """Do what is due: a `sync`, a piece of a rescue, a retry of a disk that refuses.

        A rescue is due again at once, so that the caller can do other things between two pieces of it.
        """
        self.syncing.sync_if_due()
        with self.lock:
            self._disk.tend()

    def close(self) -> None:
        """Close the file, once more trying to write what waits in memory."""
        with self.lock:
            self._contents.places.end(self.notes)
            self._disk.close()
