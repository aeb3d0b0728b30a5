"""A disk that refuses, while the queue is open or at its start."""

from __future__ import annotations

import errno
import itertools
import math
import os
import sqlite3
from types import SimpleNamespace

import pytest

from gateway.spool import Spool, SpoolUnusable
from listeners.simulated.clock import VirtualClock
from tests.refusing import TROUBLES, Disk
from tests.spools import full_frame as frame
from tests.spools import open_queue, refuse
from tests.spools import peeked as values


@pytest.mark.parametrize("error", TROUBLES)
def test_while_the_disk_refuses_all_goes_on_from_memory_and_nothing_is_sent_twice(spool, error, caplog):
    spool.put([frame(0)])
    (first, _) = spool.peek("a", 1)[0]
    real, spool._contents.db = spool._contents.db, Disk(spool._contents.db, error)
    spool.done("a", first)
    spool.put([frame(1)])
    spool.put([frame(2)])
    assert [r.message for r in caplog.records if "refuses" in r.message] != []
    assert len(caplog.records) == 1
    with pytest.raises(OSError, match="the queue's disk refuses"):
        spool.peek("a", 1)
    spool._contents.db = Disk(real, error, nth=1, lasting=False)
    (second, kept) = spool.peek("a", 1)[0]
    assert kept == frame(1)
    spool.done("a", second)
    spool._contents.db = real
    assert spool.standing("a").waiting == 1
    spool.put([frame(3)])
    assert values(spool, "a") == [2, 3]


def test_a_disk_that_comes_and_goes_is_one_trouble_until_it_has_been_good_for_a_minute(path, caplog):
    clock = VirtualClock()
    spool = open_queue(path, clock=clock)
    real, number = spool._contents.db, itertools.count()
    # given one that refuses every second time for a while
    for _ in range(10):
        for db in (Disk(real, sqlite3.SQLITE_IOERR), real):
            spool._contents.db = db
            spool.put([frame(next(number))])
            clock.sleep(20)
            spool.tend()
    # then that is one line
    assert caplog.messages == [
        "the disk refuses (disk trouble): what is new waits in memory until it takes it"
    ]
    # and one that it is over, once that is so
    clock.sleep(spool.due())
    spool.tend()
    assert caplog.messages[1:] == ["the disk works again"]
    assert clock.monotonic() >= 20 * 20 + 40
    assert spool.due() == math.inf
    # and the next trouble is another one
    spool._contents.db = Disk(real, sqlite3.SQLITE_IOERR)
    spool.put([frame(next(number))])
    assert len(caplog.messages) == 3
    spool._contents.db = real
    assert values(spool, "a") == [*range(20), 20]
    spool.close()


@pytest.mark.parametrize("error", TROUBLES)
@pytest.mark.parametrize("nth", range(60))
def test_an_error_at_any_call_loses_nothing_and_doubles_nothing(opened, error, nth):
    spool = opened()
    spool.put([frame(0), frame(1)])
    real, spool._contents.db = spool._contents.db, Disk(spool._contents.db, error, nth, lasting=False)
    seen = []
    for n in range(2, 6):
        spool.put([frame(n)])
        try:
            (number, kept) = spool.peek("a", 1)[0]
        except OSError:
            continue
        seen.append(kept.values[0])
        spool.done("a", number)
    spool._contents.db = real
    spool = opened()
    assert seen + values(spool, "a") == [0, 1, 2, 3, 4, 5]


def test_a_full_disk_can_be_emptied_by_the_ballast_which_is_set_aside_again_when_there_is_room(
    spool, path, monkeypatch
):
    # given a queue on a disk that gets full for a moment
    ballast, room = path.with_name("queue.ballast"), SimpleNamespace(f_bavail=1, f_frsize=1 << 20)
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    spool.put([frame(0)])
    assert ballast.stat().st_blocks * 512 >= 1 << 20
    real = spool._contents.db
    # when what was delivered is noted, the ballast gives room for that
    spool._contents.db = Disk(real, sqlite3.SQLITE_FULL, lasting=False)
    spool.done("a", 1)
    spool._contents.db = real
    assert (spool.trouble, values(spool, "a")) == ("", [])
    # then it stays away as long as the disk has little room
    spool.put([frame(1)])
    assert not ballast.exists()
    # and is there for the next time when it has more
    room.f_bavail = 100
    spool.put([frame(2)])
    assert ballast.stat().st_blocks * 512 >= 1 << 20
    assert values(spool, "a") == [1, 2]


def test_where_the_disk_had_no_room_for_the_ballast_at_the_start_it_is_set_aside_later(
    opened, path, monkeypatch
):
    # given a disk with room for the queue alone
    def refuse(*_):
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", refuse)
        spool = opened()
        spool.put([frame(0)])
    ballast = path.with_name("queue.ballast")
    assert ballast.stat().st_size == 0
    # when room is made on it
    spool.put([frame(1)])
    # then it is there for the next time that there is none
    assert ballast.stat().st_blocks * 512 >= 1 << 20


def test_where_no_disk_can_be_had_frames_are_kept_in_memory_and_that_is_said(tmp_path, caplog):
    (tmp_path / "file").touch()
    spool = open_queue(tmp_path / "file" / "queue.db")
    spool.put([frame(1)])
    spool.syncing.sync()
    assert values(spool, "a") == [1]
    assert "do not survive" in caplog.text
    spool.close()


@pytest.mark.parametrize("error", TROUBLES)
def test_where_the_disk_refuses_nothing_is_admitted_nor_forgotten(spool, error):
    spool.put([frame(1), frame(2)])
    refuse(spool, "a", spool.peek("a", 1)[0][0], "no")
    refused = spool.refused("a")
    real, spool._contents.db = spool._contents.db, Disk(spool._contents.db, error)
    with pytest.raises(OSError, match="disk refuses"):
        spool.admit([(frame(3), "")], instead_of=refused)
    for asked in (spool.waiting, lambda: spool.refused("a"), lambda: spool.standing("a")):
        with pytest.raises(OSError, match="disk refuses"):
            asked()
    with pytest.raises(OSError, match="disk refuses"):
        spool.skip("a", before=spool.end, limit=1)
    spool._contents.db = Disk(real, error, nth=2)
    spool.put([frame(4)])
    with pytest.raises(OSError, match="disk refuses"):
        spool.admit([(frame(3), "")], instead_of=refused)
    spool._contents.db = real
    assert values(spool, "a")[-1] == 4
    assert spool.refused("a") == refused


def test_a_command_that_finds_no_usable_file_is_told_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolUnusable, match=r"queue\.db cannot be used: .*"):
        Spool(tmp_path / "file" / "queue.db", in_memory=False)
