"""What the queue lets go of: for want of room, for its age, or by hand."""

from __future__ import annotations

import sqlite3

import pytest

from tests.refusing import Disk
from tests.spools import full_frame as frame
from tests.spools import peeked as values


def test_a_full_queue_drops_the_oldest_and_counts_them_for_ever(opened, caplog):
    spool = opened(frames=3)
    for n in range(5):
        spool.put([frame(n)])
    assert values(spool, "a") == [2, 3, 4]
    assert spool.dropped == 2
    assert len([r for r in caplog.records if "queue is full" in r.message]) == 1
    assert opened(frames=3).dropped == 2


def test_what_is_too_old_goes_up_to_the_first_that_is_not(opened, caplog):
    spool = opened("a", "b", age=100)
    spool.put([frame(n) for n in range(1201)])
    spool.done("a", spool.peek("a", 10)[-1][0])
    spool.expire(lambda stamp: 101 if stamp.boottime < 1000 else 100)
    assert (values(spool, "a")[0], values(spool, "b")[0], spool.dropped) == (995, 995, 995)
    spool.expire(lambda stamp: 101 if stamp.boottime < 1205 else 100)
    assert (spool.waiting()[0].frame, spool.dropped) == (frame(1200), 1200)
    spool = opened()
    assert (spool.waiting()[0].frame, spool.dropped) == (frame(1200), 1200)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "there are readings older than max_age"
    ]


def test_without_a_limit_nothing_is_too_old(spool):
    spool.put([frame(1)])
    spool.expire(lambda _: 1e9)
    assert values(spool, "a") == [1]


def test_a_disk_that_cannot_be_read_is_no_reason_to_let_go(opened):
    spool = opened(age=100)
    spool.put([frame(1)])
    real, spool._contents.db = spool._contents.db, Disk(spool._contents.db, sqlite3.SQLITE_IOERR)
    spool.expire(lambda _: 101)
    spool._contents.db = real
    assert (values(spool, "a"), spool.dropped) == ([1], 0)


def test_nothing_is_dropped_for_what_is_admitted(opened):
    spool = opened(frames=3)
    spool.put([frame(1), frame(2)])
    with pytest.raises(OSError, match="max_frames is 3"):
        spool.admit([(frame(3), ""), (frame(4), "")])
    assert (values(spool, "a"), spool.dropped) == ([1, 2], 0)


def test_what_is_kept_only_until_an_answer_proves_it_is_no_reason_to_admit_nothing(opened):
    spool = opened(frames=3)
    spool.put([frame(1), frame(2), frame(3)])
    spool.done("a", 2, sure=False)
    spool.admit([(frame(4), "")])
    assert (values(spool, "a"), spool.dropped) == ([3, 4], 0)


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
