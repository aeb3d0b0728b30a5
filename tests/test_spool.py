from __future__ import annotations

import logging
import sqlite3
import stat

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.flag import Flag
from gateway.frame import Frame, Stamp
from gateway.spool import Spool, SpoolUnusable


def frame(n: float) -> Frame:
    return Frame(
        "9",
        (n, None, -0.5),
        Stamp(1_700_000_000.25 + n, "boot", 5.5 + n),
        ("flow", "", "größe"),
        -61,
        "bridge",
    )


def values(spool: Spool, who: str, limit: int = 100) -> list[float | None]:
    return [f.values[0] for _, f in spool.peek(who, limit)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "queue.db"


@pytest.fixture
def spool(path):
    spool = Spool(path)
    spool.attend(["a"])
    yield spool
    spool.close()


def test_a_frame_comes_back_as_it_was(spool):
    spool.put([frame(1)])
    assert [f for _, f in spool.peek("a", 10)] == [frame(1)]


def test_frames_survive_a_reopen_and_their_order(spool, path):
    spool.put([frame(1), frame(2)])
    spool.put([frame(3)])
    spool.close()
    spool = Spool(path)
    spool.attend(["a"])
    assert values(spool, "a") == [1, 2, 3]
    assert spool.queued("a") == 3
    spool.close()


def test_what_is_delivered_is_gone_for_good_and_ids_are_never_used_again(spool, path):
    spool.put([frame(1), frame(2)])
    last = spool.peek("a", 10)[-1][0]
    spool.done("a", last)
    spool.close()
    spool = Spool(path)
    spool.attend(["a"])
    assert values(spool, "a") == []
    spool.put([frame(3)])
    assert spool.peek("a", 10)[0][0] > last
    spool.close()


def test_a_frame_stays_until_the_slowest_dispatcher_has_it(spool, path):
    spool.attend(["a", "b"])
    spool.put([frame(1), frame(2)])
    spool.done("a", spool.peek("a", 10)[-1][0])
    assert (values(spool, "a"), values(spool, "b")) == ([], [1, 2])
    spool.done("b", spool.peek("b", 1)[-1][0])
    assert values(spool, "b") == [2]


def test_a_dispatcher_that_is_taken_out_holds_nothing_back_and_keeps_its_place(spool):
    spool.attend(["a", "b"])
    spool.put([frame(1), frame(2)])
    spool.done("b", spool.peek("b", 1)[0][0])
    spool.attend(["a"])
    assert values(spool, "a") == [1, 2]
    spool.attend(["a", "b"])
    assert values(spool, "b") == [2]
    spool.attend(["a"])
    spool.done("a", spool.peek("a", 10)[-1][0])
    spool.attend(["a", "b"])
    assert values(spool, "b") == []


def test_a_new_dispatcher_starts_with_the_oldest_frame_there_is(spool):
    spool.put([frame(1), frame(2)])
    spool.attend(["a", "new"])
    assert values(spool, "new") == [1, 2]


def test_with_no_dispatcher_frames_wait_for_one(spool):
    spool.attend([])
    spool.put([frame(1)])
    spool.attend(["later"])
    assert values(spool, "later") == [1]


def test_a_refused_frame_is_set_aside_and_blocks_nothing(spool):
    spool.put([frame(1), frame(2)])
    spool.refuse("a", spool.peek("a", 1)[0][0], "Format error")
    assert values(spool, "a") == [2]
    assert spool.refused("a") == [(frame(1), "Format error")]


def test_a_full_queue_drops_the_oldest_and_counts_them_for_ever(path, caplog):
    spool = Spool(path, max_frames=3)
    spool.attend(["a"])
    for n in range(5):
        spool.put([frame(n)])
    assert values(spool, "a") == [2, 3, 4]
    assert spool.dropped == 2
    assert len([r for r in caplog.records if "queue is full" in r.message]) == 1
    spool.close()
    spool = Spool(path, max_frames=3)
    assert spool.dropped == 2
    spool.close()


def test_the_bell_rings_for_whom_it_was_hung(spool):
    bell = Flag()
    spool.bell("a", bell)
    spool.put([frame(1)])
    assert bell.is_set()


def test_a_second_daemon_on_the_same_file_is_refused(spool, path):
    with pytest.raises(SpoolUnusable, match="another oemgateway is running"):
        Spool(path)


def test_a_file_that_is_no_queue_is_refused_in_one_line(path):
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(SpoolUnusable, match="move the file away"):
        Spool(path)


def test_a_file_from_the_future_is_refused(spool, path):
    spool.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(SpoolUnusable, match="newer"):
        Spool(path)


def test_nobody_else_may_read_the_queue(spool, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


class FullDisk:
    """Stands before the connection and refuses to begin a transaction while `full`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.full = True

    def __getattr__(self, name: str):
        return getattr(self._db, name)

    def execute(self, sql: str, *parameters):
        if self.full and sql.startswith(("BEGIN", "SELECT id")):
            raise sqlite3.OperationalError("database or disk is full")
        return self._db.execute(sql, *parameters)


def test_while_the_disk_refuses_frames_wait_in_memory_and_nothing_is_sent_twice(spool, caplog):
    spool.put([frame(0)])
    (first, _) = spool.peek("a", 1)[0]
    disk = spool._db = FullDisk(spool._db)
    with caplog.at_level(logging.WARNING):
        spool.done("a", first)
        spool.put([frame(1)])
        spool.put([frame(2)])
    assert [r.message for r in caplog.records if "refuses" in r.message] != []
    assert len(caplog.records) == 1
    with pytest.raises(OSError, match="cannot be read"):
        spool.peek("a", 1)
    disk.full = False
    assert spool.queued("a") == 2
    spool.put([frame(3)])
    assert "works again" in caplog.text
    assert values(spool, "a") == [1, 2, 3]


def test_what_waits_in_memory_is_bounded_and_written_at_the_end(path):
    spool = Spool(path, max_frames=200)
    spool.attend(["a"])
    disk = spool._db = FullDisk(spool._db)
    for n in range(5):
        spool.put([frame(n)])
    assert spool.dropped == 3
    disk.full = False
    spool.close()
    spool = Spool(path)
    spool.attend(["a"])
    assert values(spool, "a") == [3, 4]
    spool.close()


class SpoolAgainstLists(RuleBasedStateMachine):
    """Any order of puts, deliveries, refusals and reopenings gives each dispatcher what a list would."""

    @initialize(limit=st.integers(1, 12))
    def start(self, limit: int) -> None:
        import tempfile
        from pathlib import Path

        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "queue.db"
        self.limit = limit
        self.count = 0
        self.stored: list[int] = []
        self.place = {"a": -1, "b": -1}
        self.open()

    def open(self) -> None:
        self.spool = Spool(self.path, max_frames=self.limit)
        self.spool.attend(self.place)

    @rule(n=st.integers(1, 5))
    def put(self, n: int) -> None:
        new = list(range(self.count, self.count + n))
        self.count += n
        self.spool.put([frame(i) for i in new])
        self.stored = (self.stored + new)[-self.limit :]

    @rule(who=st.sampled_from("ab"), n=st.integers(1, 5))
    def deliver(self, who: str, n: int) -> None:
        if batch := self.spool.peek(who, n):
            self.spool.done(who, batch[-1][0])
            self.moved(who, batch[-1][1])

    @rule(who=st.sampled_from("ab"))
    def refuse(self, who: str) -> None:
        if batch := self.spool.peek(who, 1):
            self.spool.refuse(who, batch[0][0], "no")
            self.moved(who, batch[0][1])

    def moved(self, who: str, upto: Frame) -> None:
        self.place[who] = int(upto.values[0] or 0)
        self.stored = [i for i in self.stored if i > min(self.place.values())]

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.open()

    @invariant()
    def each_has_what_a_list_would_give(self) -> None:
        if hasattr(self, "spool"):
            for who, place in self.place.items():
                expected = [i for i in self.stored if i > place]
                assert [f.values[0] for _, f in self.spool.peek(who, 100)] == expected
                assert self.spool.queued(who) == len(expected)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            self.directory.cleanup()


TestSpoolAgainstLists = SpoolAgainstLists.TestCase
TestSpoolAgainstLists.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
