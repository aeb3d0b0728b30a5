"""Whatever happens to the file of a queue, each dispatcher gets each frame once."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway.frame import Frame
from gateway.spool import Limits, Spool
from listeners.simulated.clock import VirtualClock
from tests.refusing import ReadOnly

NAMES = st.sampled_from("ab")
FILES = st.sampled_from([["queue.db"], ["queue.db-wal"], ["queue.db", "queue.db-wal"]])


class Lives(RuleBasedStateMachine):
    """Each dispatcher gets each frame once, unless a kill took what the disk had refused.

    The file or its log is removed, cannot be written to, or cannot even be read at a start, so that what
    comes is delivered from memory, ahead of it. In between the queue is closed, killed and rebooted, and
    dispatchers swap their names. A source that sends again, after a start, what it may not forget yet loses
    nothing even by a kill.
    """

    @initialize(memory=st.sampled_from([3, 1000]))
    def start(self, memory: int) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.aside: Path | None = None
        self.clock, self.memory = VirtualClock(), memory
        self.puts = 0
        self.given = {"a": Counter[int](), "b": Counter[int]()}
        self.unsure: dict[str, set[int]] = {"a": set(), "b": set()}
        self.unwritten: set[int] = set()
        self.kept_by_source: dict[int, int] = {}  # the number of the put in this run
        self.unnoted: dict[str, set[int]] = {"a": set(), "b": set()}
        self.may_be_lost: set[int] = set()
        self.may_come_again: dict[str, set[int]] = {"a": set(), "b": set()}
        self.open()

    def open(self) -> None:
        self.put_in_this_run: set[int] = set()
        self.spool = Spool(self.path, limits=Limits(memory=self.memory), clock=self.clock)
        self.spool.set_consumers("ab")
        self.spool.set_clock(0.0)
        if not self.aside:
            self.send_again()

    def send_again(self) -> None:
        """Put what the source keeps from an earlier run, unless the notes tell that it has been put."""
        noted = int(self.spool.notes.below("source/").get("last", -1))
        for number in sorted(self.kept_by_source.keys() - self.put_in_this_run):
            if number > noted:
                self.put_for_source(number)
            else:
                del self.kept_by_source[number]

    def put_for_source(self, number: int) -> None:
        self.put_in_this_run.add(number)
        self.spool.put([Frame("9", (number,), self.clock.now())], {"source/last": str(number)})
        self.kept_by_source[number] = self.spool.syncing.puts

    @property
    def path(self) -> Path:
        return self.folder / "state" / "queue.db"

    @property
    def refuses(self) -> bool:
        return isinstance(self.spool._contents.db, ReadOnly)

    def look(self) -> None:
        """Take note of what is written by now."""
        if not self.spool.trouble:
            self.spool.put([])
        if not self.spool.trouble:
            self.unwritten.clear()
            self.unnoted = {"a": set(), "b": set()}

    @rule(count=st.integers(1, 4))
    def put(self, count: int) -> None:
        numbers = range(self.puts, self.puts + count)
        self.puts += count
        self.unwritten.update(numbers)
        self.spool.put([Frame("9", (n,), self.clock.now()) for n in numbers])
        self.look()

    @rule()
    def put_what_the_source_keeps(self) -> None:
        self.puts += 1
        self.put_for_source(self.puts - 1)
        self.look()

    @rule()
    def sync(self) -> None:
        self.spool.syncing.sync()
        safe = self.spool.syncing.puts_synced
        self.kept_by_source = {number: put for number, put in self.kept_by_source.items() if put > safe}

    @rule(
        who=NAMES,
        count=st.sampled_from([1, 2, 50]),
        how=st.sampled_from(["sure", "unsure", "refused", "late"]),
    )
    def deliver(self, who: str, count: int, how: str) -> None:
        if not (batch := self.spool.peek(who, count)):
            return
        numbers = [int(kept.values[0] or 0) for _, kept in batch]
        self.spool.mark_sending(who, batch[-1][0])
        if how == "late":
            self.put(1)
        refused = [(number, kept, "no") for number, kept in batch[:1] if how == "refused"]
        self.unnoted[who].update(numbers)
        self.spool.done(who, batch[-1][0], refused=refused, sure=how != "unsure")
        self.given[who].update(numbers)
        self.unsure[who] = self.unsure[who].union(numbers) if how == "unsure" else set()
        self.look()

    @rule(who=NAMES)
    def go_back(self, who: str) -> None:
        self.may_come_again[who] |= self.unsure[who]
        self.spool.go_back(who)

    @rule()
    def swap_names(self) -> None:
        if self.spool.trouble:
            return
        self.spool.set_consumers("ab", {"a": "b", "b": "a"})
        for each in (self.given, self.unsure, self.unnoted, self.may_come_again):
            each["a"], each["b"] = each["b"], each["a"]

    @rule()
    def time_passes(self) -> None:
        self.clock.sleep(6)
        self.spool.tend()
        self.look()

    @precondition(lambda self: not self.refuses and not self.aside)
    @rule()
    def refuse_to_write(self) -> None:
        self.spool._contents.db = ReadOnly(self.spool._contents.db)

    @precondition(lambda self: self.refuses)
    @rule()
    def write_again(self) -> None:
        self.spool._contents.db = self.spool._contents.db.db
        self.time_passes()

    @precondition(lambda self: not self.refuses and not self.aside)
    @rule(files=FILES)
    def remove(self, files: Iterable[str]) -> None:
        for name in files:
            self.path.with_name(name).unlink(missing_ok=True)
        self.put(1)  # a kill before the next reading takes what is removed

    @precondition(lambda self: not self.refuses and not self.aside)
    @rule(reboots=st.booleans(), can_be_read=st.booleans())
    def close(self, reboots: bool, can_be_read: bool) -> None:
        self.spool.close()
        self.start_again(reboots=reboots, can_be_read=can_be_read)

    @precondition(lambda self: not self.refuses and not self.aside)
    @rule(reboots=st.booleans(), can_be_read=st.booleans())
    def kill(self, reboots: bool, can_be_read: bool) -> None:
        self.forget_memory()
        copy = Path(tempfile.mkdtemp())
        shutil.copytree(self.path.parent, copy / "state")
        self.spool._contents.db.close()
        shutil.rmtree(self.folder)
        self.folder = copy
        self.start_again(reboots=reboots, can_be_read=can_be_read)

    def forget_memory(self) -> None:
        self.may_be_lost |= self.unwritten - self.kept_by_source.keys()
        for who in "ab":
            self.may_come_again[who] |= self.unnoted[who]

    def start_again(self, *, reboots: bool, can_be_read: bool) -> None:
        if reboots:
            self.clock.boot += "+"
        if not can_be_read:
            self.aside = self.folder / "aside"
            self.path.parent.rename(self.aside)
            self.path.parent.write_text("no directory")
        self.open()

    @precondition(lambda self: self.aside)
    @rule(killed=st.booleans())
    def can_be_read_again(self, killed: bool) -> None:
        assert self.aside
        self.path.parent.unlink()
        self.aside.rename(self.path.parent)
        self.aside = None
        if killed:
            self.forget_memory()
            self.spool._contents.db.close()
            self.open()
        self.time_passes()
        self.send_again()

    def teardown(self) -> None:
        if not hasattr(self, "spool"):
            return
        if self.refuses:
            self.write_again()
        if self.aside:
            self.can_be_read_again(killed=False)
        self.time_passes()
        self.sync()
        assert (self.spool.trouble, self.kept_by_source) == ("", {})
        for who in "ab":
            while batch := self.spool.peek(who, 50):
                self.spool.mark_sending(who, batch[-1][0])
                self.spool.done(who, batch[-1][0])
                self.given[who].update(int(kept.values[0] or 0) for _, kept in batch)
            assert self.spool.standing(who).waiting == 0
            lost = set(range(self.puts)) - self.given[who].keys() - self.may_be_lost
            again = {n for n, times in self.given[who].items() if times > 1} - self.may_come_again[who]
            assert (len(lost) <= self.spool.dropped, again) == (True, set()), (who, lost, again)
        self.spool.close()
        shutil.rmtree(self.folder)


TestLives = Lives.TestCase


TestLives.settings = settings(max_examples=settings.default.max_examples * 2 // 5, stateful_step_count=30)
