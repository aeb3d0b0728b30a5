"""Whatever happens to the queue, it gives each dispatcher what a list would."""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.frame import Frame, Stamp
from gateway.spool import Limits, Spool
from listeners.simulated.clock import VirtualClock
from tests.refusing import ReadOnly
from tests.spools import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.spool.contents import Refused


class Kept(NamedTuple):
    """A frame in the model: its id, what it holds, whose it is, and when it was taken."""

    number: int
    value: int
    whose: str
    stamp: Stamp


class Refusal(NamedTuple):
    """A refused frame in the model: its id, who refused it, what it holds, and when it was taken."""

    number: int
    who: str
    value: int
    stamp: Stamp


class Wrong(NamedTuple):
    """The clock of a boot in the model: the first id, the right offset, and until when it was wrong."""

    first: int
    offset: float | None = None
    until: float = -math.inf


NAMES = st.sampled_from("abc")


COUNTS = st.integers(1, 5)


OLDEST = 100.0
"""Seconds after which a reading is too old."""


IN_MEMORY = 3
"""Frames that wait in memory while the disk refuses."""


class SpoolAgainstLists(RuleBasedStateMachine):
    """Whatever happens to it, the queue gives each dispatcher what a list would.

    Frames are put, delivered, refused, retried, passed over and too old; the clock is wrong, doubted and set;
    dispatchers come and go; the disk refuses for a while; and the queue is closed, killed or without power
    between any two steps, in some runs between all of them.
    """

    @initialize(
        limit=st.integers(1, 12),
        limit_of_refused=st.integers(1, 6),
        between_all=st.sampled_from(["", "close", "kill"]),
    )
    def start(self, limit: int, limit_of_refused: int, between_all: str) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.clock = VirtualClock()
        self.limit, self.limit_of_refused, self.between_all = limit, limit_of_refused, between_all
        self.next = self.first = 1
        self.dropped = self.refused_dropped = 0
        self.frames: list[Kept] = []
        self.attending = {"a", "b"}
        self.place = dict.fromkeys("abc", 0)
        self.sure: dict[str, int] = {}
        self.sent: dict[str, tuple[int, str, bool]] = {}
        self.pins: dict[str, dict[int, float]] = {who: {} for who in "abc"}
        self.boots: dict[str, Wrong] = {}
        self.refused: list[Refusal] = []
        self.disk_refuses = False
        self.in_memory: list[int] = []
        self.refused_in_memory: list[Refusal] = []
        self.open()

    def open(self) -> None:
        limits = Limits(frames=self.limit, age=OLDEST, memory=IN_MEMORY, refused=self.limit_of_refused)
        self.spool = Spool(self.folder / "queue.db", limits=limits, clock=self.clock)
        self.first = min((kept.number for kept in self.frames), default=self.next)
        self.doubt = dict.fromkeys(self.sent, self.next - 1)
        self.sure = {}
        self.boots.setdefault(self.clock.boot, Wrong(self.next))
        self.lost = False
        self.set_consumers(self.attending, before=set(self.sent))

    # The model.

    def add(self, values: list[int], stamps: list[Stamp], whose: str = "") -> None:
        frames = zip(values, stamps, strict=True)
        self.append([Kept(number, value, whose, s) for number, (value, s) in enumerate(frames, self.next)])

    def append(self, frames: list[Kept]) -> None:
        self.frames += frames
        if self.disk_refuses:
            self.in_memory += [kept.number for kept in frames]
        self.next += len(frames)
        if len(self.frames) > self.limit:
            self.be_sure()
        if len(self.frames) > self.limit:
            self.drop(self.frames[-self.limit].number)
        if len(self.in_memory) > IN_MEMORY:
            self.be_sure()
        while len(self.in_memory) > IN_MEMORY:
            number = self.in_memory.pop(0)
            self.frames = [kept for kept in self.frames if kept.number != number]
            self.dropped += 1

    def drop(self, first: int) -> None:
        self.dropped += len([kept for kept in self.frames if kept.number < first])
        self.let_go(first)

    def let_go(self, first: int) -> None:
        self.first = max(self.first, first)
        self.frames = [kept for kept in self.frames if kept.number >= first]
        self.in_memory = [number for number in self.in_memory if number >= first]

    def move(self, who: str, upto: int) -> None:
        self.place[who] = max(self.place[who], upto)
        self.let_go_of_passed()

    def be_sure(self) -> None:
        self.sure = {}
        self.let_go_of_passed()

    def let_go_of_passed(self) -> None:
        upto = min(self.sure.get(name, self.place[name]) for name in self.attending)
        self.let_go(max(self.first, upto + 1))

    def set_aside(self, refusals: list[Refusal]) -> None:
        if self.disk_refuses:
            self.refused_in_memory += refusals
            surplus = max(0, len(self.refused_in_memory) - IN_MEMORY)
            del self.refused_in_memory[:surplus]
            self.refused_dropped += surplus
            return
        again = {(refusal.who, refusal.number) for refusal in refusals}
        self.refused = [each for each in self.refused if (each.who, each.number) not in again]
        before = len(self.refused) + len(refusals)
        refusals = refusals[-self.limit_of_refused :]
        surplus = max(0, len(self.refused) + len(refusals) - self.limit_of_refused)
        self.refused = sorted(self.refused)[surplus:] + refusals
        self.refused_dropped += before - len(self.refused)

    def refused_by(self, who: str) -> list[Refusal]:
        """Return what it has refused, as it is listed."""
        return [
            refusal._replace(stamp=self.dated(refusal.stamp) or refusal.stamp)
            for refusal in sorted(self.refused)
            if refusal.who == who
        ]

    def after(self, who: str) -> int:
        return max(self.place[who], self.first - 1)

    def waiting(self, who: str) -> list[Kept]:
        return [k for k in self.frames if k.number > self.after(who) and k.whose in ("", who)]

    def dated(self, stamp: Stamp) -> Stamp | None:
        clock = self.boots.get(stamp.boot)
        if not clock or stamp.boottime > clock.until:
            return stamp
        if clock.offset is None:
            return None
        wall = stamp.boottime + clock.offset
        return stamp if abs(wall - stamp.wall) <= 2 else replace(stamp, wall=wall)

    def given(self, who: str, n: int) -> list[tuple[int, Stamp]]:
        """Return what a dispatcher is given, and set aside what is in the way of that for good."""
        while True:
            found = [(k, self.dated_for(who, k)) for k in self.waiting(who)[:n]]
            ready = list(takewhile(lambda pair: pair[1], found))
            lost = [k for k, _ in takewhile(lambda pair: self.is_lost(*pair), found)]
            if ready or not lost:
                return [(k.value, stamp) for k, stamp in ready]
            self.set_aside([Refusal(k.number, who, k.value, k.stamp) for k in lost])
            self.move(who, lost[-1].number)

    def dated_for(self, who: str, kept: Kept) -> Stamp | None:
        wall = self.pins[who].get(kept.number)
        return self.dated(kept.stamp) if wall is None else replace(kept.stamp, wall=wall)

    def is_lost(self, kept: Kept, dated: Stamp | None) -> bool:
        return not dated and kept.stamp.boot != self.clock.boot and self.lost and not self.disk_refuses

    def held(self, who: str) -> int:
        """Return how many frames wait for a time, or behind one that may."""
        if self.lost:
            return 0
        after = max([self.after(who), *self.pins[who]])
        clocks = list(self.boots.values())
        ends = [*(clock.first for clock in clocks[1:]), self.next]
        for clock, end in zip(clocks, ends, strict=True):
            first = max(after + 1, clock.first)
            if (
                clock.offset is None
                and clock.until > -math.inf
                and any(first <= k.number < end for k in self.frames)
            ):
                return len([kept for kept in self.waiting(who) if kept.number >= first])
        return 0

    # What happens to it.

    def taken(self, n: int, *, has_boot: bool) -> tuple[list[int], list[Frame]]:
        values = list(range(self.next, self.next + n))
        stamp = self.clock.now() if has_boot else replace(self.clock.now(), boot="")
        return values, [Frame("9", (v,), stamp) for v in values]

    @rule(n=COUNTS, has_boot=st.booleans())
    def put(self, n: int, has_boot: bool) -> None:
        values, frames = self.taken(n, has_boot=has_boot)
        self.spool.put(frames)
        self.add(values, [kept.stamp for kept in frames])

    @rule(whose=st.sampled_from(["", "a", "b", "c"]), n=COUNTS)
    def admit(self, whose: str, n: int) -> None:
        values, frames = self.taken(n, has_boot=False)
        if self.admits([(frame, whose) for frame in frames]):
            self.add(values, [kept.stamp for kept in frames], whose)

    def admits(self, frames: list[tuple[Frame, str]], instead_of: Sequence[Refused] = ()) -> bool:
        if len(self.frames) + len(frames) > self.limit:
            self.be_sure()
        try:
            self.spool.admit(frames, instead_of=instead_of)
        except OSError:
            assert self.disk_refuses or len(self.frames) + len(frames) > self.limit
            self.spool.put([])  # what made no room for them all is removed with the next change
            return False
        return True

    @rule()
    def doubt_clock(self) -> None:
        self.spool.set_clock(None)
        self.boots[self.clock.boot] = self.boots[self.clock.boot]._replace(offset=None, until=math.inf)
        self.lost = False

    @rule(seconds=st.sampled_from([0.0, 1.5, 3600.0, -1e9]))
    def set_clock(self, seconds: float) -> None:
        self.clock.set_wall(self.clock.wall() + seconds)
        offset, before = self.clock.wall() - self.clock.boottime(), self.boots[self.clock.boot]
        self.spool.set_clock(offset, lost="lost")
        if before.offset is None or abs(offset - before.offset) > 2:
            self.boots[self.clock.boot] = Wrong(before.first, offset, self.clock.boottime())
        self.lost = True

    @rule(seconds=st.sampled_from([1.0, 40.0, 101.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @rule()
    def expire(self) -> None:
        self.spool.expire(lambda stamp: self.clock.boottime() - stamp.boottime)
        now = self.clock.boottime()
        for kept in list(self.frames):
            if not self.dated(kept.stamp) or now - kept.stamp.boottime <= OLDEST:
                break
            self.be_sure()
            if kept not in self.frames:
                continue
            self.dropped += 1
            self.let_go(kept.number + 1)

    @rule(
        who=NAMES,
        n=COUNTS,
        blind=st.booleans(),
        meanwhile=st.sampled_from(["", "doubt_clock", "set_clock"]),
        acknowledged=st.booleans(),
        refused=st.integers(0, 2),
        sure=st.booleans(),
    )
    def deliver(
        self, who: str, n: int, blind: bool, meanwhile: str, acknowledged: bool, refused: int, sure: bool
    ) -> None:
        if who not in self.attending:
            return
        self.given(who, n)
        if batch := self.spool.peek(who, n):
            upto = batch[-1][0]
            if meanwhile:
                self.doubt_clock() if meanwhile == "doubt_clock" else self.set_clock(3600.0)
            self.spool.mark_sending(who, upto, blind=blind)
            self.sent[who] = max(upto, self.sent.get(who, (0,))[0]), self.clock.boot, blind
            self.pins[who] = {number: kept.stamp.wall for number, kept in batch} | self.pins[who]
            if acknowledged:
                refused_ones = [(number, kept, "no") for number, kept in batch[:refused]]
                self.spool.done(who, upto, refused=refused_ones, sure=sure)
                if sure or refused_ones:
                    self.sure.pop(who, None)
                else:
                    self.sure.setdefault(who, self.after(who))
                self.move(who, upto)
                self.set_aside([Refusal(n, who, kept.values[0], kept.stamp) for n, kept, _ in refused_ones])

    @rule(who=NAMES)
    def go_back(self, who: str) -> None:
        if who in self.attending:
            self.spool.go_back(who)
            self.place[who] = self.sure.pop(who, self.place[who])

    @rule(who=NAMES)
    def refuse(self, who: str) -> None:
        if who not in self.attending:
            return
        self.given(who, 1)
        if batch := self.spool.peek(who, 1):
            number, kept = batch[0]
            refuse(self.spool, who, number, "no")
            self.set_aside([Refusal(number, who, kept.values[0], kept.stamp)])
            self.sure.pop(who, None)
            self.move(who, number)

    @rule(who=NAMES)
    def retry(self, who: str) -> None:
        refused = self.spool.refused(who)
        if self.admits([(kept, who) for kept, *_ in refused], instead_of=refused):
            again = self.refused_by(who)
            stamps = [each.stamp for each in again]
            for place, stamp in enumerate(stamps):  # a time that nobody knows stands as it was recorded
                if not self.dated(stamp) and stamp.boot != self.clock.boot:
                    stamps[place] = replace(stamp, boot="")
            self.add([each.value for each in again], stamps, who)
            self.refused = [refusal for refusal in self.refused if refusal.who != who]

    @rule(who=NAMES, n=COUNTS, beyond=st.sampled_from([-3, 0, 1, 10**9]))
    def skip(self, who: str, n: int, beyond: int) -> None:
        if who in self.attending:
            after, end = self.after(who), min(self.next, self.next + beyond)
            first = min((kept.number for kept in self.frames if kept.number > after), default=end)
            upto = min(first - 1 + n, end - 1)
            passed = len([kept for kept in self.waiting(who) if kept.number <= upto])
            try:
                assert self.spool.skip(who, before=self.next + beyond, limit=n) == (passed, upto < end - 1)
            except OSError:
                assert self.disk_refuses
            self.sure.pop(who, None)
            self.move(who, upto)

    @rule(names=st.sets(NAMES, min_size=1))
    def change_consumers(self, names: set[str]) -> None:
        self.set_consumers(names, before=self.attending)

    @rule(new_names=st.lists(NAMES, min_size=1, unique=True), others=st.sets(NAMES))
    def rename(self, new_names: list[str], others: set[str]) -> None:
        renamed = dict(zip(new_names, sorted(self.attending), strict=False))
        self.set_consumers({*renamed, *others}, before=self.attending, renamed=renamed)

    def set_consumers(
        self, names: set[str], before: set[str], renamed: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.spool.set_consumers(names, renamed)
        now = {was: who for who, was in renamed.items()}
        self.refused_in_memory = [
            each._replace(who=now.get(each.who, each.who)) for each in self.refused_in_memory
        ]
        if not self.disk_refuses:
            new = names - before - renamed.keys()
            gone = {kept.whose for kept in self.frames} - names - {""}
            heirs = {**(dict.fromkeys(gone, *new) if len(new) == 1 else {}), **now}
            self.frames = [kept._replace(whose=heirs.get(kept.whose, kept.whose)) for kept in self.frames]
            refused = [each._replace(who=now.get(each.who, each.who)) for each in self.refused]
            self.refused = list({(each.who, each.number): each for each in refused}.values())
        place, sure, sent = self.place.copy(), self.sure.copy(), self.sent.copy()
        doubt, pins = self.doubt.copy(), self.pins.copy()
        for name in names - self.attending:
            self.doubt[name] = self.next - 1
        for name in self.sent.keys() - names:
            upto, _, blind = self.sent[name]
            self.sent[name] = (upto, "", blind)
        begin = min(map(self.after, self.sent), default=0)
        self.attending = names
        self.sure = {name: upto for name, upto in self.sure.items() if name in names}
        for name in names:
            self.place[name] = max(self.after(name), 0 if name in self.sent else begin)
            self.sent.setdefault(name, (0, "", False))
            self.doubt.setdefault(name, self.next - 1)
        for name, was in renamed.items():
            self.place[name], self.sent[name], self.doubt[name] = place[was], sent[was], doubt[was]
            self.pins[name] = pins[was]
            self.sure.pop(name, None)
            if was in sure:
                self.sure[name] = sure[was]

    @precondition(lambda self: not self.disk_refuses)
    @rule()
    def refuse_to_write(self) -> None:
        self.disk_refuses = True
        self.spool._contents.db = ReadOnly(self.spool._contents.db)
        self.spool.put([Frame("9", (0,), self.clock.now())])  # it shows when something is written
        self.add([0], [self.clock.now()])

    @precondition(lambda self: self.disk_refuses)
    @rule()
    def write_again(self) -> None:
        self.disk_refuses = False
        self.spool._contents.db = self.spool._contents.db.db
        self.spool.put([])
        self.set_aside(self.refused_in_memory)
        self.in_memory, self.refused_in_memory = [], []

    @precondition(lambda self: not self.disk_refuses)
    @rule()
    def close(self) -> None:
        self.spool.close()
        self.open()

    @precondition(lambda self: not self.disk_refuses)
    @rule()
    def kill(self) -> None:
        # given the files as they are, without what only the memory has
        copy = Path(tempfile.mkdtemp())
        for file in self.folder.iterdir():
            shutil.copy(file, copy)
        self.forget()
        self.folder = copy
        self.open()

    @precondition(lambda self: not self.disk_refuses)
    @rule()
    def power_cut(self) -> None:
        self.clock.boot += "+"
        self.kill()

    @invariant()
    def each_has_what_a_list_would_give(self) -> None:
        if not hasattr(self, "spool"):
            return
        if self.between_all and not self.disk_refuses:
            getattr(self, self.between_all)()
        for who in sorted(self.attending):
            given = self.given(who, 100)
            found = [(kept.values[0], kept.stamp) for _, kept in self.spool.peek(who, 100)]
            assert found == given
            waiting = self.waiting(who)
            standing = self.spool.standing(who)
            assert (standing.waiting, standing.held) == (len(waiting), self.held(who))
            refused = [(kept.values[0], kept.stamp) for kept, *_ in self.spool.refused(who)]
            in_memory = [refusal for refusal in self.refused_in_memory if refusal.who == who]
            assert refused == [(refusal.value, refusal.stamp) for refusal in self.refused_by(who)]
            assert standing.refused == len(refused) + len(in_memory)
            upto, boot, blind = self.sent[who]
            upto = upto if boot == self.clock.boot else max(upto, self.doubt[who])
            assert self.spool.sent(who) == (upto, blind)
            if not waiting and self.next > self.after(who) + 1:
                self.move(who, self.next - 1)
        assert (self.spool.dropped, self.spool.end) == (self.dropped, self.next)
        assert self.spool.refused_totals.dropped == self.refused_dropped
        assert len(self.frames) <= self.limit

    def forget(self) -> None:
        self.spool._contents.db.close()
        shutil.rmtree(self.folder)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.forget()


TestSpoolAgainstLists = SpoolAgainstLists.TestCase


TestSpoolAgainstLists.settings = settings(
    max_examples=settings.default.max_examples * 2 // 5, stateful_step_count=30
)
