from __future__ import annotations

import contextlib
import math
import os
import random
import shutil
import sqlite3
import stat
import tempfile
import time
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.flag import Flag
from gateway.frame import Frame, Stamp
from gateway.spool import Limits, Spool, SpoolUnusable
from gateway.spool import spool as spool_module
from gateway.spool.salvage import Salvage
from listeners.simulated.clock import VirtualClock


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let the rescue of a damaged file come to its end at once, however busy the machine is."""
    for name in ("_AT_START", "_AT_ONCE"):
        monkeypatch.setattr(spool_module, name, 60.0)


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
    spool.set_consumers(["a"])
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
    spool.set_consumers(["a"])
    assert values(spool, "a") == [1, 2, 3]
    assert spool.standing("a").waiting == 3
    spool.close()


def test_what_is_delivered_is_gone_for_good_and_ids_are_never_used_again(spool, path):
    spool.put([frame(1), frame(2)])
    last = spool.peek("a", 10)[-1][0]
    spool.done("a", last)
    spool.close()
    spool = Spool(path)
    spool.set_consumers(["a"])
    assert values(spool, "a") == []
    spool.put([frame(3)])
    assert spool.peek("a", 10)[0][0] > last
    spool.close()


def test_a_frame_stays_until_the_slowest_dispatcher_has_it(spool, path):
    spool.set_consumers(["a", "b"])
    spool.put([frame(1), frame(2)])
    spool.done("a", spool.peek("a", 10)[-1][0])
    assert (values(spool, "a"), values(spool, "b")) == ([], [1, 2])
    spool.done("b", spool.peek("b", 1)[-1][0])
    assert values(spool, "b") == [2]


def test_a_dispatcher_that_is_taken_out_holds_nothing_back_and_keeps_its_place(spool):
    spool.set_consumers(["a", "b"])
    spool.put([frame(1), frame(2)])
    spool.done("b", spool.peek("b", 1)[0][0])
    spool.set_consumers(["a"])
    assert values(spool, "a") == [1, 2]
    spool.set_consumers(["a", "b"])
    assert values(spool, "b") == [2]
    spool.set_consumers(["a"])
    spool.done("a", spool.peek("a", 10)[-1][0])
    spool.set_consumers(["a", "b"])
    assert values(spool, "b") == []


def test_a_new_dispatcher_starts_with_the_oldest_frame_there_is(spool):
    spool.put([frame(1), frame(2)])
    spool.set_consumers(["a", "new"])
    assert values(spool, "new") == [1, 2]


def test_with_no_dispatcher_frames_wait_for_one(spool):
    spool.set_consumers([])
    spool.put([frame(1)])
    spool.set_consumers(["later"])
    assert values(spool, "later") == [1]


def test_a_refused_frame_is_set_aside_and_blocks_nothing(spool):
    spool.put([frame(1), frame(2)])
    spool.refuse("a", spool.peek("a", 1)[0][0], "Format error")
    assert values(spool, "a") == [2]
    assert [refused[:2] for refused in spool.refused("a")] == [(frame(1), "Format error")]


def test_a_full_queue_drops_the_oldest_and_counts_them_for_ever(path, caplog):
    spool = Spool(path, limits=Limits(frames=3))
    spool.set_consumers(["a"])
    for n in range(5):
        spool.put([frame(n)])
    assert values(spool, "a") == [2, 3, 4]
    assert spool.dropped == 2
    assert len([r for r in caplog.records if "queue is full" in r.message]) == 1
    spool.close()
    spool = Spool(path, limits=Limits(frames=3))
    assert spool.dropped == 2
    spool.close()


def test_what_is_too_old_goes_up_to_the_first_that_is_not(path, caplog):
    spool = Spool(path, limits=Limits(age=100))
    spool.set_consumers(["a", "b"])
    spool.put([frame(n) for n in range(1201)])
    spool.done("a", spool.peek("a", 10)[-1][0])
    spool.expire(lambda stamp: 101 if stamp.boottime < 1000 else 100)
    assert (values(spool, "a")[0], values(spool, "b")[0], spool.dropped) == (995, 995, 995)
    spool.expire(lambda stamp: 101 if stamp.boottime < 1205 else 100)
    assert (spool.waiting()[0].frame, spool.dropped) == (frame(1200), 1200)
    spool.close()
    spool = Spool(path)
    assert (spool.waiting()[0].frame, spool.dropped) == (frame(1200), 1200)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "there are readings older than max_age"
    ]
    spool.close()


def test_without_a_limit_nothing_is_too_old(spool):
    spool.put([frame(1)])
    spool.expire(lambda _: 1e9)
    assert values(spool, "a") == [1]


def test_a_disk_that_cannot_be_read_is_no_reason_to_let_go(path):
    spool = Spool(path, limits=Limits(age=100))
    spool.set_consumers(["a"])
    spool.put([frame(1)])
    real, spool._db = spool._db, Disk(spool._db, sqlite3.SQLITE_IOERR)
    spool.expire(lambda _: 101)
    spool._db = real
    assert (values(spool, "a"), spool.dropped) == ([1], 0)
    spool.close()


def test_a_subscriber_is_woken_by_what_is_new(spool):
    flag = Flag()
    spool.subscribe("a", flag)
    spool.put([frame(1)])
    assert flag.is_set()


def test_a_second_daemon_on_the_same_file_is_refused(spool, path):
    with pytest.raises(SpoolUnusable, match="another oemgateway is running"):
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


class Disk:
    """Stands before the connection: raises `error` at its `nth` call from now, or at every one from it on."""

    def __init__(self, db: sqlite3.Connection, error: int, nth: int = 0, *, lasting: bool = True) -> None:
        self._db = db
        self.error = sqlite3.OperationalError("disk trouble")
        self.error.sqlite_errorcode = error
        self.nth = nth
        self.lasting = lasting

    def __getattr__(self, name: str):
        found = getattr(self._db, name)
        if name not in ("execute", "executemany"):
            return found

        def call(*arguments):
            self.nth -= 1
            if self.nth == -1 or (self.nth < 0 and self.lasting):
                raise self.error
            return found(*arguments)

        return call


TROUBLES = [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY]


@pytest.mark.parametrize("error", TROUBLES)
def test_while_the_disk_refuses_all_goes_on_from_memory_and_nothing_is_sent_twice(spool, error, caplog):
    spool.put([frame(0)])
    (first, _) = spool.peek("a", 1)[0]
    real, spool._db = spool._db, Disk(spool._db, error)
    spool.done("a", first)
    spool.put([frame(1)])
    spool.put([frame(2)])
    assert [r.message for r in caplog.records if "refuses" in r.message] != []
    assert len(caplog.records) == 1
    with pytest.raises(OSError, match="the queue's disk refuses"):
        spool.peek("a", 1)
    spool._db = Disk(real, error, nth=1, lasting=False)
    (second, kept) = spool.peek("a", 1)[0]
    assert kept == frame(1)
    spool.done("a", second)
    spool._db = real
    assert spool.standing("a").waiting == 1
    spool.put([frame(3)])
    assert "works again" in caplog.text
    assert values(spool, "a") == [2, 3]


@pytest.mark.parametrize("error", TROUBLES)
@pytest.mark.parametrize("nth", range(60))
def test_an_error_at_any_call_loses_nothing_and_doubles_nothing(path, error, nth):
    spool = Spool(path)
    spool.set_consumers(["a"])
    spool.put([frame(0), frame(1)])
    real, spool._db = spool._db, Disk(spool._db, error, nth, lasting=False)
    seen = []
    for n in range(2, 6):
        spool.put([frame(n)])
        try:
            (number, kept) = spool.peek("a", 1)[0]
        except OSError:
            continue
        seen.append(kept.values[0])
        spool.done("a", number)
    spool._db = real
    spool.close()
    spool = Spool(path)
    spool.set_consumers(["a"])
    assert seen + values(spool, "a") == [0, 1, 2, 3, 4, 5]
    spool.close()


def test_what_waits_in_memory_is_bounded_and_written_at_the_end(path):
    spool = Spool(path, limits=Limits(memory=2))
    spool.set_consumers(["a"])
    real, spool._db = spool._db, Disk(spool._db, sqlite3.SQLITE_IOERR)
    for n in range(5):
        spool.put([frame(n)])
    assert spool.dropped == 3
    spool._db = real
    spool.close()
    spool = Spool(path)
    spool.set_consumers(["a"])
    assert values(spool, "a") == [3, 4]
    assert spool.dropped == 3
    spool.close()


def test_at_the_limit_of_its_size_the_oldest_go_and_the_newest_stay(path):
    spool = Spool(path, limits=Limits(bytes=100_000))
    spool.set_consumers(["a"])
    for n in range(100):
        spool.put([frame(n * 20 + i) for i in range(20)])
    kept = values(spool, "a", 5000)
    assert kept == list(range(2000 - len(kept), 2000))
    assert spool.dropped == 2000 - len(kept)
    assert 200 < len(kept) < 2000
    assert path.stat().st_size <= 100_000
    spool.close()


def test_a_full_disk_can_be_emptied_by_the_ballast(spool, path):
    spool.put([frame(0)])
    ballast = path.with_name("queue.ballast")
    assert ballast.stat().st_blocks * 512 >= 1 << 20
    real, spool._db = spool._db, Disk(spool._db, sqlite3.SQLITE_FULL, lasting=False)
    spool.done("a", spool._upto["a"] + 1)
    assert not ballast.exists()
    spool._db = real
    assert values(spool, "a") == []


def test_where_no_disk_can_be_had_frames_are_kept_in_memory_and_that_is_said(tmp_path, caplog):
    (tmp_path / "file").touch()
    spool = Spool(tmp_path / "file" / "queue.db")
    spool.set_consumers(["a"])
    spool.put([frame(1)])
    spool.sync()
    assert values(spool, "a") == [1]
    assert "do not survive" in caplog.text
    spool.close()


def filled(path, count: int) -> bytes:
    """Return the file of a queue that has been closed with so many frames, two of them delivered."""
    spool = Spool(path)
    spool.set_consumers(["a"])
    spool.put([frame(n) for n in range(count)])
    spool.done("a", spool.peek("a", 2)[-1][0])
    spool.close()
    return path.read_bytes()


def test_a_file_cut_off_anywhere_starts_and_gives_what_can_be_read(path):
    whole = filled(path, 60)
    most = 0
    for length in range(0, len(whole), 512):
        for left in path.parent.iterdir():
            left.unlink()
        path.write_bytes(whole[:length])
        spool = Spool(path)
        spool.set_consumers(["a"])
        read = values(spool, "a", 1000)
        assert read == sorted(set(read))
        assert spool.standing("a").waiting == len(read)
        assert set(read) <= set(range(60))
        most = max(most, len(read))
        spool.put([frame(100)])
        assert values(spool, "a", 1000)[-1] == 100
        spool.close()
    assert most > 30


@pytest.mark.parametrize("seed", range(20))
def test_garbage_in_the_file_is_survived_and_the_file_kept(path, seed):
    draw = random.Random(seed)
    whole = bytearray(filled(path, 200))
    start = draw.randrange(len(whole) - 2048) if seed else 0
    whole[start : start + 2048] = draw.randbytes(2048)
    path.write_bytes(whole)
    spool = Spool(path)
    spool.set_consumers(["a"])
    read = values(spool, "a", 1000)
    assert spool.standing("a").waiting == len(read) == len(set(read))
    spool.put([frame(1000)])
    assert values(spool, "a", 1000)[-1] == 1000
    spool.close()
    aside = list(path.parent.glob("queue.db.damaged-*"))
    assert len(read) >= 190 or any(file.read_bytes()[1024:] == whole[1024:] for file in aside)


def test_damage_that_shows_while_it_runs_is_mended(spool, path, caplog):
    spool.put([frame(1)])
    spool._db.execute("UPDATE frames SET frame = '[garbage'")
    spool.put([frame(2)])
    assert values(spool, "a") == [2]
    assert "set aside as" in caplog.text
    real, spool._db = spool._db, Disk(spool._db, sqlite3.SQLITE_CORRUPT, lasting=False)
    spool.put([frame(3)])
    assert values(spool, "a") == [2, 3]
    assert len(list(path.parent.glob("*.damaged-*"))) >= 2
    real.close()


@pytest.fixture
def synced(monkeypatch):
    """Return the list of times at which the disk was made to write."""
    times: list[float] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: times.append(time.monotonic()))
    return times


def test_whoever_puts_a_frame_does_not_wait_for_the_disk(path, synced):
    clock = VirtualClock()
    spool = Spool(path, commit_interval=5, clock=clock)
    spool.set_consumers(["a"])
    spool.sync()
    synced.clear()
    spool.unsynced.clear()
    # given a quiet time, in which nothing is due
    clock.sleep(60)
    assert spool.sync_due() == math.inf
    # when frames are put and delivered, it is told once that something is
    spool.put([frame(1)])
    assert spool.unsynced.is_set()
    assert spool.sync_due() == 5
    spool.unsynced.clear()
    clock.sleep(3)
    spool.put([frame(2)])
    spool.done("a", 1)
    assert not spool.unsynced.is_set()
    assert spool.sync_due() == 2
    # then the disk is made to write when the oldest of them has waited for the interval, and once
    spool.sync_if_due()
    assert synced == []
    clock.sleep(2)
    spool.sync_if_due()
    spool.sync_if_due()
    assert (len(synced), spool.sync_due()) == (1, math.inf)
    spool.close()


def test_with_no_interval_every_frame_is_safe_at_once(path, synced):
    spool = Spool(path, commit_interval=0)
    spool.set_consumers(["a"])
    spool.put([frame(1)])
    spool.put([frame(2)])
    spool.admit([(frame(3), "")])
    assert len(synced) == 3
    assert not spool.unsynced.is_set()
    spool.done("a", 2)
    spool.sync_if_due()
    assert len(synced) == 4
    spool.close()


def test_a_disk_that_cannot_be_made_to_write_is_told_once(path, monkeypatch, caplog):
    def refuse(_: int) -> None:
        raise OSError("broken")

    monkeypatch.setattr(os, "fdatasync", refuse)
    spool = Spool(path, commit_interval=0)
    spool.set_consumers(["a"])
    spool.put([frame(1)])
    spool.put([frame(2)])
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        "broken; a power cut may take what came last"
    ]
    assert values(spool, "a") == [1, 2]
    spool.close()


BACK_TO_THE_THIRD_VERSION = """
    INSERT INTO counters SELECT 'fixed', max(sent) FROM cursors;
    ALTER TABLE cursors DROP COLUMN sent; ALTER TABLE cursors DROP COLUMN boot;
    ALTER TABLE cursors DROP COLUMN blind; ALTER TABLE cursors DROP COLUMN pins; DROP TABLE boots;
    DROP TABLE IF EXISTS late;
    PRAGMA user_version=3;
"""

BACK_TO_THE_FIRST_VERSION = f"""
    {BACK_TO_THE_THIRD_VERSION}
    DROP INDEX held; ALTER TABLE frames DROP COLUMN held;
    DROP INDEX whose; ALTER TABLE frames DROP COLUMN whose;
    ALTER TABLE refused DROP COLUMN undated; DROP INDEX refused_by;
    PRAGMA user_version=1
"""


def test_a_file_of_the_first_version_is_brought_up_to_date(spool, path):
    spool.put([frame(1)])
    spool.close()
    with sqlite3.connect(path) as db:
        db.executescript(BACK_TO_THE_FIRST_VERSION)
    db.close()
    spool = Spool(path)
    spool.set_consumers(["a"])
    spool.put([frame(2)])
    assert values(spool, "a") == [1, 2]
    spool.close()


def test_a_file_of_the_third_version_keeps_all_that_is_in_it(spool, path):
    # given frames that wait, were refused and dropped, and one that somebody began to send
    spool.set_consumers(["a", "b"])
    spool.put([frame(n) for n in range(5)])
    spool.refuse("a", 1, "no")
    spool.done("b", 2)
    spool.mark_sending("a", 3)
    spool.dropped = 7
    spool.put([frame(5)])
    spool.close()
    # when the file is one of that version
    with sqlite3.connect(path) as db:
        db.executescript(BACK_TO_THE_THIRD_VERSION)
        assert dict(db.execute("SELECT * FROM counters")) == {"dropped": 7, "fixed": 3}
    db.close()
    spool = Spool(path)
    spool.set_consumers(["a", "b"])
    # then it is all there
    assert (values(spool, "a"), values(spool, "b")) == ([1, 2, 3, 4, 5], [2, 3, 4, 5])
    assert [refused.frame for refused in spool.refused("a")] == [frame(0)]
    assert spool.dropped == 7
    # and nobody knows which of it was sent
    assert (spool.sent("a").upto, spool.sent("b").upto) == (6, 6)
    spool.close()


def test_ids_are_not_used_again_after_all_frames_were_too_old(path):
    spool = Spool(path, limits=Limits(age=100))
    spool.set_consumers(["a"])
    spool.put([frame(1), frame(2)])
    spool.expire(lambda _: 101)
    spool.close()
    spool = Spool(path)
    assert (spool.waiting(), spool.end) == ([], 3)
    spool.close()


class TestWhatMayHaveBeenSent:
    @pytest.fixture
    def boot(self, path):
        spools: list[Spool] = []

        def start(name: str, *who: str) -> Spool:
            for spool in spools:
                spool.close()
            clock = VirtualClock()
            clock.boot = name
            spools[:] = [Spool(path, clock=clock)]
            spools[0].set_consumers(who or ["a"])
            return spools[0]

        yield start
        for spool in spools:
            spool.close()

    def test_after_a_kill_it_is_what_was_noted(self, boot):
        spool = boot("first", "a", "b")
        spool.put([frame(n) for n in range(5)])
        spool.mark_sending("a", 3, blind=True)
        spool.mark_sending("b", 4)
        spool.mark_sending("b", 2)
        spool = boot("first", "a", "b")
        assert (spool.sent("a"), spool.sent("b")) == ((3, True), (4, False))

    def test_after_a_power_cut_it_is_all(self, boot):
        spool = boot("first")
        spool.put([frame(n) for n in range(5)])
        spool.mark_sending("a", 3)
        spool = boot("second")
        assert spool.sent("a") == (5, False)
        spool.put([frame(5)])
        spool.mark_sending("a", 4)
        assert boot("second").sent("a") == (4, False)

    def test_of_a_dispatcher_that_is_new_it_is_all(self, boot):
        spool = boot("first")
        spool.put([frame(1)])
        spool.set_consumers(["a", "b"])
        spool.put([frame(2)])
        assert spool.sent("b") == (1, False)

    def test_it_is_nothing_that_came_after_the_start(self, boot):
        spool = boot("first")
        spool.put([frame(1), frame(2)])
        spool = boot("second")
        spool.put([frame(3), frame(4)])
        assert spool.sent("a") == (2, False)

    def test_without_the_name_of_the_boot_it_is_all(self, boot):
        spool = boot("")
        spool.put([frame(1), frame(2)])
        spool.mark_sending("a", 1)
        assert boot("").sent("a") == (2, False)

    def test_one_that_is_taken_out_and_put_back_has_its_mark(self, boot):
        spool = boot("first", "a", "b")
        spool.put([frame(1), frame(2)])
        spool.mark_sending("b", 1)
        boot("first", "a")
        assert boot("first", "a", "b").sent("b") == (1, False)

    @pytest.mark.parametrize("error", TROUBLES)
    def test_where_the_disk_refused_the_note_it_is_all(self, boot, path, error):
        # given a disk that did not take it before the gateway was killed
        spool = boot("first")
        spool.put([frame(1), frame(2)])
        spool.mark_sending("a", 1)
        real, spool._db = spool._db, Disk(spool._db, error)
        spool.mark_sending("a", 2)
        assert spool.sent("a") == (2, False)
        real.close()
        spool.close = lambda: None
        # then also the second start after it knows
        assert boot("first").sent("a") == (2, False)
        spool = boot("first")
        assert spool.sent("a") == (2, False)
        # and what comes from then on was sent by no run before
        spool.put([frame(3)])
        assert spool.sent("a") == (2, False)

    def test_of_what_was_saved_from_a_damaged_file_it_is_all(self, boot, path):
        spool = boot("first")
        spool.put([frame(n) for n in range(60)])
        spool.mark_sending("a", 3)
        spool.close()
        path.write_bytes(path.read_bytes()[:-2048])
        spool = boot("first")
        assert spool.sent("a").upto == spool.end - 1 > 3

    def test_noting_the_same_once_more_writes_nothing(self, spool):
        spool.put([frame(1)])
        spool.mark_sending("a", 1)
        real, spool._db = spool._db, Disk(spool._db, sqlite3.SQLITE_IOERR)
        spool.mark_sending("a", 1)
        assert spool._disk_trouble == ""
        spool._db = real


def test_what_is_for_one_dispatcher_alone_is_passed_over_by_the_others_and_goes(spool):
    spool.set_consumers(["a", "b"])
    spool.put([frame(1)])
    spool.admit([(frame(2), "b"), (frame(3), "")])
    assert (values(spool, "a"), values(spool, "b")) == ([1, 3], [1, 2, 3])
    assert (spool.standing("a").waiting, spool.standing("b").waiting) == (2, 3)
    spool.admit([(frame(4), "b")])
    for who in "ab":
        spool.done(who, spool.peek(who, 10)[-1][0])
    assert values(spool, "a") == []
    assert spool.waiting() == []


def test_a_dispatcher_is_not_held_up_by_any_number_of_frames_for_others(spool):
    spool.set_consumers(["a", "b"])
    spool.admit([(frame(n), "b") for n in range(25_000)])
    spool.put([frame(-1)])
    assert values(spool, "a") == [-1]
    assert spool.standing("a").waiting == 1
    assert values(spool, "b", 30_000)[0] == 0


def test_what_is_retried_comes_last_and_to_the_one_alone_that_refused_it(spool, path):
    spool.set_consumers(["a", "b"])
    spool.put([frame(1), frame(2)])
    spool.refuse("a", spool.peek("a", 1)[0][0], "no")
    spool.done("b", spool.peek("b", 10)[-1][0])
    assert (spool.standing("a"), spool.refusers) == ((1, 0, 1, frame(2)), ["a"])
    refused = spool.refused("a")
    spool.admit([(kept, "a") for kept, *_ in refused], instead_of=refused)
    spool.close()
    spool = Spool(path)
    spool.set_consumers(["a", "b"])
    assert (values(spool, "a"), values(spool, "b")) == ([2, 1], [])
    assert (spool.refused("a"), spool.refusers) == ([], [])
    spool.close()


def test_nothing_is_dropped_for_what_is_admitted(path):
    spool = Spool(path, limits=Limits(frames=3))
    spool.set_consumers(["a"])
    spool.put([frame(1), frame(2)])
    with pytest.raises(OSError, match="max_frames is 3"):
        spool.admit([(frame(3), ""), (frame(4), "")])
    assert (values(spool, "a"), spool.dropped) == ([1, 2], 0)
    spool.close()


@pytest.mark.parametrize("error", TROUBLES)
def test_where_the_disk_refuses_nothing_is_admitted_nor_forgotten(spool, error):
    spool.put([frame(1), frame(2)])
    spool.refuse("a", spool.peek("a", 1)[0][0], "no")
    refused = spool.refused("a")
    real, spool._db = spool._db, Disk(spool._db, error)
    with pytest.raises(OSError, match="disk refuses"):
        spool.admit([(frame(3), "")], instead_of=refused)
    for asked in (spool.waiting, lambda: spool.refused("a"), lambda: spool.standing("a")):
        with pytest.raises(OSError, match="disk refuses"):
            asked()
    with pytest.raises(OSError, match="disk refuses"):
        spool.skip("a", before=spool.end, limit=1)
    spool._db = Disk(real, error, nth=2)
    spool.put([frame(4)])
    with pytest.raises(OSError, match="disk refuses"):
        spool.admit([(frame(3), "")], instead_of=refused)
    spool._db = real
    assert values(spool, "a")[-1] == 4
    assert spool.refused("a") == refused


def test_what_waits_can_be_looked_through_also_what_the_disk_has_not_taken(spool):
    spool.set_consumers(["a", "b"])
    spool.put([frame(1), frame(2)])
    spool.done("a", spool.peek("a", 1)[0][0])
    real, spool._db = spool._db, Disk(spool._db, sqlite3.SQLITE_BUSY)
    spool.put([frame(3)])
    spool._db = real
    found = spool.waiting()
    assert [kept.frame.values[0] for kept in found] == [1, 2, 3]
    assert spool.waiting(after=found[0].number, limit=1) == found[1:2]
    assert spool.waiting(who="a", limit=2) == found[1:]
    assert spool.standing("a") == (2, 0, 0, frame(2))
    assert spool.standing("b") == (3, 0, 0, frame(1))


def test_what_waits_is_passed_over_for_one_or_for_all(spool):
    spool.set_consumers(["a", "b"])
    spool.put([frame(n) for n in range(5)])
    end = spool.end
    spool.put([frame(5)])
    assert spool.skip("a", before=end, limit=3) == (3, True)
    assert (values(spool, "a"), spool.standing("b").waiting) == ([3, 4, 5], 6)
    assert spool.skip("", before=end, limit=100) == (5, False)
    assert (values(spool, "a"), values(spool, "b")) == ([5], [5])
    assert spool.skip("", before=end, limit=100) == (0, False)
    assert spool.dropped == 0
    spool.set_consumers([])
    assert spool.skip("", before=spool.end, limit=100) == (1, False)
    assert spool.waiting() == []


def test_a_dispatcher_that_goes_while_it_delivers_harms_nobody(spool):
    spool.put([frame(1)])
    ((number, _),) = spool.peek("a", 1)
    spool.set_consumers([])
    spool.done("a", number)
    spool.set_consumers(["b"])
    assert values(spool, "b") == [1]


def test_a_command_that_finds_no_usable_file_is_told_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolUnusable, match=r"queue\.db cannot be used: .*"):
        Spool(tmp_path / "file" / "queue.db", in_memory=False)


def test_a_damaged_file_of_the_first_version_is_read_as_well(path):
    filled(path, 60)
    with sqlite3.connect(path) as db:
        db.executescript(BACK_TO_THE_FIRST_VERSION)
    db.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 2048])
    spool = Spool(path)
    spool.set_consumers(["a"])
    assert len(values(spool, "a", 1000)) > 20
    assert list(path.parent.glob("queue.db.damaged-*"))
    spool.close()


def spoil(path, number: int, text: str) -> None:
    """Put this in place of what the file has of a frame."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE frames SET frame = ? WHERE id = ?", (text, number))
        db.commit()


@pytest.mark.parametrize(
    "text", ['["9",[1', "[]", '["9",["x"],[0,"now",0],[]]', '[9,[1],[0,"now",0],[]]', "7"]
)
@pytest.mark.parametrize(
    "look",
    [
        lambda spool: spool.peek("a", 9),
        lambda spool: spool.waiting(),
        lambda spool: spool.standing("a"),
        lambda spool: spool.expire(lambda _: 0.0),
    ],
    ids=["peek", "waiting", "standing", "expire"],
)
def test_a_garbled_frame_is_damage_whoever_comes_upon_it(path, text, look):
    # given three frames, one of which SQLite has kept badly without knowing
    spool = Spool(path)
    spool.set_consumers(["a"])
    spool.put([frame(n) for n in range(3)])
    number = spool.waiting()[1].number
    spool.close()
    spoil(path, number, text)
    spool = Spool(path, limits=Limits(age=1e9))
    spool.set_consumers(["a"])
    # when somebody comes upon it, then the others are there, and it is in the file that is set aside
    look(spool)
    assert values(spool, "a") == [0, 2]
    assert list(path.parent.glob("queue.db.damaged-*"))
    spool.close()


def test_a_garbled_frame_among_those_that_were_refused_is_damage_too(path):
    spool = Spool(path)
    spool.set_consumers(["a"])
    spool.put([frame(1), frame(2)])
    for number, _ in spool.peek("a", 2):
        spool.refuse("a", number, "no")
    spool.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE refused SET frame = 'no frame' WHERE id = 1")
        db.commit()
    spool = Spool(path)
    spool.set_consumers(["a"])
    assert [kept.frame for kept in spool.refused("a")] == [frame(2)]
    spool.close()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_frame_that_no_file_can_hold_is_refused_and_is_nobody_elses_trouble(spool, bad):
    with pytest.raises(ValueError, match="JSON"):
        spool.put([frame(1), frame(bad)])
    with pytest.raises(UnicodeEncodeError):
        spool.put([replace(frame(1), names=("\ud800",))])
    spool.put([frame(2)])
    assert values(spool, "a") == [2]


@pytest.mark.parametrize("while_it_runs", [True, False])
def test_a_damaged_file_that_the_disk_does_not_let_be_mended_is_put_back_and_mended_later(
    path, caplog, monkeypatch, while_it_runs
):
    # given frames in a file that gets damaged
    spool = Spool(path)
    spool.set_consumers(["a"])
    spool.put([frame(n) for n in range(5)])
    number = spool.waiting()[2].number
    if not while_it_runs:
        spool.close()
        with path.open("r+b") as file:
            file.write(b"no database at all, any more")

    # when there is no room for another
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    real = Salvage.step
    monkeypatch.setattr(Salvage, "step", full)
    if while_it_runs:
        spool._db.execute("UPDATE frames SET frame = 'garbled' WHERE id = ?", (number,))
    else:
        spool = Spool(path)
        spool.set_consumers(["a"])
    # then it goes on in memory, and says so
    assert values(spool, "a") == []
    spool.put([frame(9)])
    assert values(spool, "a") == [9]
    assert "kept in memory only" in caplog.text
    assert spool.trouble
    spool.close()
    # and the file is there for the next start
    assert not list(path.parent.glob("queue.db.damaged-*"))
    monkeypatch.setattr(Salvage, "step", real)
    spool = Spool(path)
    spool.set_consumers(["a"])
    assert values(spool, "a") == ([0, 1, 3, 4, 9] if while_it_runs else [0, 1, 2, 3, 4, 9])
    assert list(path.parent.glob("queue.db.damaged-*"))
    spool.close()


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
    until: float = -1.0


class ReadOnly:
    """Stands before the connection of a disk that can be read, and takes nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __getattr__(self, name: str):
        return getattr(self.db, name)

    def execute(self, statement: str, *arguments):
        if statement.startswith("BEGIN"):
            error = sqlite3.OperationalError("attempt to write a readonly database")
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY
            raise error
        return self.db.execute(statement, *arguments)


NAMES = st.sampled_from("abc")
COUNTS = st.integers(1, 5)
OLDEST = 100.0
"""Seconds after which a reading is too old."""
IN_MEMORY = 3
"""Frames that wait in memory while the disk refuses."""


class SpoolAgainstLists(RuleBasedStateMachine):
    """Whatever befalls the queue gives each dispatcher what a list would.

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
        self.boots.setdefault(self.clock.boot, Wrong(self.next))
        self.lost = False
        self.set_consumers(self.attending)

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
            self.drop(self.frames[-self.limit].number)
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
        self.let_go(max(self.first, min(self.place[name] for name in self.attending) + 1))

    def set_aside(self, refusals: list[Refusal]) -> None:
        if self.disk_refuses:
            self.refused_in_memory += refusals
            surplus = max(0, len(self.refused_in_memory) - IN_MEMORY)
            del self.refused_in_memory[:surplus]
            self.refused_dropped += surplus
            return
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
        after = max([self.after(who), *self.pins[who]])
        clocks = list(self.boots.values())
        ends = [*(clock.first for clock in clocks[1:]), self.next]
        for clock, end in zip(clocks, ends, strict=True):
            first = max(after + 1, clock.first)
            if clock.offset is None and clock.until > 0 and any(first <= k.number < end for k in self.frames):
                return len([kept for kept in self.waiting(who) if kept.number >= first])
        return 0

    # What befalls it.

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
        try:
            self.spool.admit([(frame, whose) for frame in frames])
        except OSError:
            assert self.disk_refuses or len(self.frames) + n > self.limit
        else:
            self.add(values, [kept.stamp for kept in frames], whose)

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
            self.dropped += 1
            self.let_go(kept.number + 1)

    @rule(
        who=NAMES,
        n=COUNTS,
        blind=st.booleans(),
        meanwhile=st.sampled_from(["", "doubt_clock", "set_clock"]),
        acknowledged=st.booleans(),
        refused=st.integers(0, 2),
    )
    def deliver(
        self, who: str, n: int, blind: bool, meanwhile: str, acknowledged: bool, refused: int
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
                self.spool.done(who, upto, refused=refused_ones)
                self.move(who, upto)
                self.set_aside([Refusal(n, who, kept.values[0], kept.stamp) for n, kept, _ in refused_ones])

    @rule(who=NAMES)
    def refuse(self, who: str) -> None:
        if who not in self.attending:
            return
        self.given(who, 1)
        if batch := self.spool.peek(who, 1):
            number, kept = batch[0]
            self.spool.refuse(who, number, "no")
            self.set_aside([Refusal(number, who, kept.values[0], kept.stamp)])
            self.move(who, number)

    @rule(who=NAMES)
    def retry(self, who: str) -> None:
        refused = self.spool.refused(who)
        try:
            self.spool.admit([(kept, who) for kept, *_ in refused], instead_of=refused)
        except OSError:
            assert self.disk_refuses or len(self.frames) + len(refused) > self.limit
        else:
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
            upto = min(after + n, end - 1)
            passed = len([kept for kept in self.waiting(who) if kept.number <= upto])
            try:
                assert self.spool.skip(who, before=self.next + beyond, limit=n) == (passed, upto < end - 1)
            except OSError:
                assert self.disk_refuses
            self.move(who, upto)

    @rule(names=st.sets(NAMES, min_size=1))
    def set_consumers(self, names: set[str]) -> None:
        self.spool.set_consumers(names)
        self.attending = names
        for name in names:
            self.place[name] = self.after(name)
            self.sent.setdefault(name, (0, "", False))
            self.doubt.setdefault(name, self.next - 1)

    @precondition(lambda self: not self.disk_refuses)
    @rule()
    def refuse_to_write(self) -> None:
        self.disk_refuses = True
        self.spool._db = ReadOnly(self.spool._db)
        self.spool.put([Frame("9", (0,), self.clock.now())])  # it shows when something is written
        self.add([0], [self.clock.now()])

    @precondition(lambda self: self.disk_refuses)
    @rule()
    def write_again(self) -> None:
        self.disk_refuses = False
        self.spool._db = self.spool._db.db
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
        assert self.spool.refused_dropped == self.refused_dropped
        assert len(self.frames) <= self.limit

    def forget(self) -> None:
        self.spool._db.close()
        shutil.rmtree(self.folder)

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.forget()


TestSpoolAgainstLists = SpoolAgainstLists.TestCase
TestSpoolAgainstLists.settings = settings(max_examples=40, stateful_step_count=30)
