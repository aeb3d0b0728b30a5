"""How far each dispatcher has come, and what it may have sent."""

from __future__ import annotations

import sqlite3

import pytest

from gateway.spool import Spool
from listeners.simulated.clock import VirtualClock
from tests.refusing import TROUBLES, Disk
from tests.spools import full_frame as frame
from tests.spools import peeked as values


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
        real, spool._contents.db = spool._contents.db, Disk(spool._contents.db, error)
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
        real, spool._contents.db = spool._contents.db, Disk(spool._contents.db, sqlite3.SQLITE_IOERR)
        spool.mark_sending("a", 1)
        assert spool.trouble == ""
        spool._contents.db = real


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


def test_a_dispatcher_that_goes_while_it_delivers_harms_nobody(spool):
    spool.put([frame(1)])
    ((number, _),) = spool.peek("a", 1)
    spool.set_consumers([])
    spool.done("a", number)
    spool.set_consumers(["b"])
    assert values(spool, "b") == [1]
