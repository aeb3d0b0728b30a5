"""How far each dispatcher has come, and what it may have sent."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from gateway.present.queue_answers import QueueAnswers
from gateway.spool import Spool
from gateway.spool.notes import FAILED, NOT_KEPT
from listeners.simulated.clock import VirtualClock
from tests.refusing import TROUBLES, Disk
from tests.spools import full_frame as frame
from tests.spools import killed, open_queue, refuse
from tests.spools import peeked as values


class TestWhatMayHaveBeenSent:
    def test_without_the_name_of_the_boot_it_is_all(self, boot):
        spool = boot("")
        spool.put([frame(1), frame(2)])
        spool.mark_sending("a", 1)
        assert boot("").sent("a") == (2, False)

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
        assert spool.sent("a")[0] == spool.end - 1 > 3

    def test_an_end_in_order_tells_the_next_boot_how_much_of_it(self, boot):
        # given a run that sent one of three frames to one dispatcher, and none to another
        spool = boot("first", "a", "b")
        spool.put([frame(1), frame(2), frame(3)])
        spool.mark_sending("a", 1)
        # when the machine has started anew, once and again
        for name in ("second", "third"):
            spool = boot(name, "a", "b")
            # then any may be what the far end has, but these can have been sent
            assert (spool.sent("a")[0], spool.sent("b")[0]) == (3, 3)
            assert (spool.noted("a"), spool.noted("b")) == (1, 0)
        # and what is sent from then on is known exactly
        spool.mark_sending("a", 2)
        assert spool.noted("a") == spool.sent("a")[0] == 2

    def test_after_a_power_cut_it_may_have_been_any(self, boot, path, tmp_path):
        # given a run that began after an end in order, and sent something
        spool = boot("first")
        spool.put([frame(1), frame(2), frame(3)])
        spool = boot("second")
        spool.mark_sending("a", 1)
        # when the power goes
        copy = killed(path, tmp_path)
        spool.close()
        # then that is not what the end before it told
        clock = VirtualClock(boottime=5000.0)
        clock.boot = "third"
        spool = open_queue(copy, clock=clock)
        assert spool.noted("a") == spool.sent("a")[0] == 3
        spool.close()

    def test_it_is_no_more_after_the_file_was_away(self, boot, path):
        # given a run that has sent nothing yet, and a dispatcher that is added to it
        spool = boot("first")
        spool.put([frame(1)])
        spool.mark_sending("a", 1)
        spool = boot("second")
        spool.put([frame(2), frame(3)])
        spool.set_consumers(["a", "b"])
        before = [(spool.sent(who), spool.noted(who)) for who in "ab"]
        # when the file is removed, and written anew
        path.unlink()
        spool.put([frame(4)])
        assert path.exists()
        # then what came in this run was not sent meanwhile
        assert [(spool.sent(who), spool.noted(who)) for who in "ab"] == before

    def test_noting_the_same_once_more_writes_nothing(self, spool):
        spool.put([frame(1)])
        spool.mark_sending("a", 1)
        real, spool._contents.db = spool._contents.db, Disk(spool._contents.db, sqlite3.SQLITE_IOERR)
        spool.mark_sending("a", 1)
        assert spool.trouble == ""
        spool._contents.db = real


def test_with_no_dispatcher_frames_wait_for_one(spool):
    spool.set_consumers([])
    spool.put([frame(1)])
    spool.set_consumers(["later"])
    assert values(spool, "later") == [1]


def test_what_waits_for_a_dispatcher_that_goes_is_counted_and_for_one_that_takes_its_place_is_kept(spool):
    spool.set_consumers(["a", "b"])
    spool.put([frame(n) for n in range(5)])
    spool.done("a", spool.peek("a", 3)[-1][0])
    # b is called c, and gets everything
    assert spool.set_consumers(["a", "c"]) == 0
    assert values(spool, "c") == [0, 1, 2, 3, 4]
    # it goes, and three waited for it alone
    assert spool.set_consumers(["a"]) == 3
    spool.done("a", spool.peek("a", 1)[-1][0])
    assert spool.set_consumers(["a"]) == 0
    # all go, and what waits does so for the next one
    assert spool.set_consumers([]) == 0


@pytest.mark.parametrize("stopped", [False, True])
def test_what_a_dispatcher_was_to_have_again_goes_to_the_one_that_takes_its_place(boot, stopped):
    # given a, which had two refused, and is to have them again; it has got the first of them so far
    spool = boot("first", "a", "b")
    spool.put([frame(1), frame(2)])
    spool.done("a", 2, refused=[(number, kept, "full") for number, kept in spool.peek("a", 2)])
    again = spool.refused("a")
    spool.admit([(each.frame, "a") for each in again], instead_of=again)
    spool.done("a", 3)
    # when it is called c, in the same run or before the next one
    if stopped:
        spool.close()
        spool = boot("first", "c", "b")
    else:
        assert spool.set_consumers(["c", "b"]) == 0
    # then c gets both, with those that b has not had yet: its far end may show the last that a has sent
    assert values(spool, "c") == [1, 2, 1, 2]
    assert spool.standing("c").waiting == 4
    assert values(spool, "b") == [1, 2]
    # and when c goes, those were for it alone
    assert spool.set_consumers(["b"]) == 2


def test_which_of_two_that_swap_their_names_has_sent_nothing_is_known(spool):
    spool.put([frame(n) for n in range(3)])
    spool.set_consumers(["a"])
    spool.mark_sending("a", 2)
    spool.set_consumers(["a", "b"])
    spool.set_consumers(["a", "b"], {"a": "b", "b": "a"})
    assert (spool.noted("a"), spool.noted("b")) == (0, 2)


def test_a_dispatcher_that_is_renamed_goes_on_where_it_was(spool):
    # given a that has sent all but one, while b is behind
    spool.set_consumers(["a", "b"])
    spool.put([frame(n) for n in range(5)])
    spool.mark_sending("a", 4)
    spool.done("a", 4)
    # when it is called c
    assert spool.set_consumers(["c", "b"], {"c": "a"}) == 0
    # then it gets what is left, which it has not sent, and b all
    assert values(spool, "c") == [4]
    assert spool.sent("c")[0] == 4
    assert values(spool, "b") == [0, 1, 2, 3, 4]
    # and when it is called a again, it goes on there as well
    spool.done("c", 5)
    spool.set_consumers(["a", "b"], {"a": "c"})
    assert values(spool, "a") == []
    # and where two swap their names, or another takes the old one, each goes on there as well
    spool.set_consumers(["a", "b"], {"b": "a", "a": "b"})
    assert (values(spool, "a"), values(spool, "b")) == ([0, 1, 2, 3, 4], [])
    spool.set_consumers(["a", "b", "c"], {"c": "b", "b": "a"})
    assert (values(spool, "b"), values(spool, "c")) == ([0, 1, 2, 3, 4], [])


def test_what_a_far_end_has_not_kept_is_known_of_it_by_the_name_that_it_swaps_for(spool):
    spool.set_consumers(["a", "b"])
    spool.put((), {f"{NOT_KEPT}a": "since the last batch"})
    spool.set_consumers(["a", "b"], {"a": "b", "b": "a"})
    assert list(spool.notes.below(NOT_KEPT)) == ["b"]
    # and of none that has its old name, nor of another
    spool.set_consumers(["a", "b", "c"], {"c": "b"})
    spool.set_consumers(["a", "b", "d"], {"d": "c"})
    assert list(spool.notes.below(NOT_KEPT)) == ["d"]


def test_how_a_far_end_failed_is_known_of_it_by_its_new_name(spool):
    spool.set_consumers(["a", "b"])
    spool.put((), {f"{FAILED}a": "in its feeds"})
    spool.set_consumers(["a", "b"], {"a": "b", "b": "a"})
    assert spool.notes.below(FAILED) == {"b": "in its feeds"}
    spool.set_consumers(["a", "c"], {"c": "b"})
    assert spool.notes.below(FAILED) == {"c": "in its feeds"}


def test_what_waits_for_a_removed_one_alone_is_not_for_one_that_is_renamed_in_the_same_edit(spool):
    # given what a has delivered, and b is to be sent again
    spool.set_consumers(["a", "b"])
    spool.put([frame(1)])
    spool.done("a", 1)
    refuse(spool, "b", 1, "no")
    again = spool.refused("b")
    spool.admit([(each.frame, "b") for each in again], instead_of=again)
    # when b is removed, a is called c, and d is new, then it is for d
    assert spool.set_consumers(["c", "d"], {"c": "a"}) == 0
    assert (values(spool, "c"), values(spool, "d")) == ([], [1])
    # and without a new one for none
    assert spool.set_consumers(["e"], {"e": "c"}) == 1
    assert values(spool, "e") == []


def test_a_dispatcher_that_is_renamed_goes_on_where_it_was_also_where_another_had_the_name(spool):
    # given b, which is gone and was ahead of a
    spool.set_consumers(["a", "b", "c"])
    spool.put([frame(1), frame(2)])
    spool.done("b", 2)
    spool.set_consumers(["a", "c"])
    # when a is called b
    spool.set_consumers(["b", "c"], {"b": "a"})
    # then it gets all
    assert values(spool, "b") == [1, 2]


def test_what_is_dropped_is_counted_at_one_edit_though_another_dispatcher_has_not_passed_it(spool):
    # given two that only a waits for, of which one is behind what b waits for
    spool.set_consumers(["a", "b", "c"])
    spool.put([frame(1), frame(2)])
    spool.done("b", 1)
    spool.done("c", 2)
    spool.admit([(frame(3), "a")])
    assert spool.set_consumers(["b", "c"]) == 2
    # then the next edits do not count them again, but what only waits for another that goes
    assert spool.set_consumers(["b", "c"]) == 0
    assert spool.set_consumers(["c"]) == 1


def test_what_came_since_a_dispatcher_went_does_not_wait_for_it(opened):
    # given b, which went long ago, and what a has delivered, but is not sure of
    spool = opened("a", "b")
    spool.set_consumers(["a"])
    for n in range(3):
        spool.put([frame(n)])
        spool.done("a", spool.peek("a", 9)[-1][0], sure=n < 2)
    # when it starts anew, then none of that is said to be for b alone
    spool.close()
    again = Spool(spool._path)
    assert [each.frame for each in again.waiting()] == [frame(2)]
    assert again.set_consumers(["a"]) == 0
    again.close()


def test_what_was_exported_and_dropped_before_its_dispatcher_went_is_there_once_when_it_is_back(spool):
    # given what b waits for, and a in part
    spool.set_consumers(["a", "b"])
    spool.put([frame(n) for n in range(4)])
    spool.done("a", 2)
    answers = QueueAnswers(spool)
    # when it is exported, dropped, and imported as soon as b is back
    rows = answers.waiting("b")["rows"]
    answers.drop_waiting("b")
    assert spool.set_consumers(["a"]) == 0
    spool.set_consumers(["a", "b"])
    answers.admit([row | {"dispatcher": "b"} for row in rows])
    # then each of them has each once
    assert (values(spool, "a"), values(spool, "b")) == ([2, 3], [0, 1, 2, 3])


def test_a_dispatcher_that_is_back_before_anything_is_delivered_goes_on_where_it_was(spool):
    spool.set_consumers(["a", "b"])
    spool.put([frame(1), frame(2)])
    spool.done("a", 2)
    assert spool.set_consumers(["a"]) == 2
    spool.set_consumers(["a", "b"])
    assert values(spool, "b") == [1, 2]


def test_a_dispatcher_that_is_added_has_sent_nothing_and_one_in_the_place_of_another_may_have(spool):
    spool.set_consumers(["a"])
    spool.put([frame(1), frame(2)])
    # when one is added, then its far end is asked all the same, as it may be one that is known
    spool.set_consumers(["a", "b"])
    assert (spool.sent("b")[0], spool.noted("b")) == (2, 0)
    spool.mark_sending("b", 1)
    assert spool.noted("b") == 1
    # and when one takes its place
    spool.set_consumers(["a", "c"])
    assert spool.noted("c") == 2


@pytest.mark.parametrize("stopped", [False, True])
def test_what_all_have_passed_and_one_is_not_sure_of_is_nothing_for_one_that_is_new(boot, stopped):
    spool = boot("first", "a", "b")
    spool.put([frame(n) for n in range(4)])
    spool.done("b", 3)
    spool.done("a", 4, sure=False)
    if stopped:
        spool = boot("second", "a", "c")
    else:
        spool.set_consumers(["a", "c"])
    assert values(spool, "c") == [3]


@pytest.mark.parametrize("stopped", [False, True])
def test_what_another_has_sent_while_a_dispatcher_was_away_may_have_been_sent(boot, stopped):
    # given a, whose place b takes, which sends what has come since; c is behind both
    spool = boot("first", "a", "c")
    spool.put([frame(1)])
    spool.mark_sending("a", 1)
    spool.done("a", 1)
    spool.set_consumers(["b", "c"])
    spool.put([frame(2)])
    spool.mark_sending("b", 2)
    spool.done("b", 2)
    # when a comes back, in the same run or the next one
    if stopped:
        spool.close()
        spool = boot("first", "a", "c")
    else:
        spool.set_consumers(["a", "c"])
    # then it has to ask what has arrived
    assert values(spool, "a") == [2]
    assert spool.sent("a")[0] == 2
    # and not of what comes from then on
    spool.put([frame(3)])
    assert spool.sent("a")[0] == 2


@pytest.mark.parametrize(("upto", "waited"), [(3, 0), (1, 2)])
def test_what_all_have_had_is_not_counted_as_lost_with_a_dispatcher_that_goes(boot, path, upto, waited):
    # given a file that a rescue has left with three frames that a has had, and b had so many of them
    spool = boot("first", "a", "b")
    spool.put([frame(n) for n in range(5)])
    spool.close()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE cursors SET upto = 3 WHERE who = 'a'")
        db.execute("UPDATE cursors SET upto = ? WHERE who = 'b'", (upto,))
    # when b goes, then only what waited for b is said to be dropped
    assert boot("first", "a", "b").set_consumers(["a"]) == waited


def test_a_dispatcher_is_not_held_up_by_any_number_of_frames_for_others(spool):
    spool.set_consumers(["a", "b"])
    spool.admit([(frame(n), "b") for n in range(25_000)])
    spool.put([frame(-1)])
    assert values(spool, "a") == [-1]
    assert spool.standing("a").waiting == 1
    assert values(spool, "b", 30_000)[0] == 0


def test_a_dispatcher_that_goes_while_it_delivers_harms_nobody(spool):
    spool.put([frame(1), frame(2)])
    ((number, _),) = spool.peek("a", 1)
    spool.set_consumers([])
    spool.done("a", number)
    spool.set_consumers(["b"])
    assert values(spool, "b") == [2]
