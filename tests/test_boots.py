"""When a reading was taken: as it was recorded, as its boot's clock says, or as it was sent."""

from __future__ import annotations

import math
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.flag import Flag
from gateway.frame import Frame, Stamp
from gateway.spool import Spool
from gateway.times.boots import Boots
from gateway.times.dating import Dating, TimeNote, passed
from gateway.times.timekeeper import Timekeeper
from listeners.simulated.clock import VirtualClock
from tests.refusing import Disk
from tests.spools import finish_rescue, killed, open_queue, refuse

BEGAN = 1_700_000_000.0
"""What a right clock showed when each of these boots began."""
DAY = 86_400.0


def at(n: float, wall: float, boot: str = "now") -> Frame:
    return Frame("9", (n,), Stamp(wall, boot, 1000.0 + n))


def given(spool: Spool, who: str = "a", limit: int = 5000) -> list[tuple[float | None, float]]:
    """Return values, and times since 1000 s after the beginning of the boot."""
    return [(kept.values[0], kept.stamp.wall - BEGAN - 1000) for _, kept in spool.peek(who, limit)]


def send(spool: Spool, count: int, who: str = "a") -> int:
    """Begin to send so many; return the last id."""
    last = spool.peek(who, count)[-1][0]
    spool.mark_sending(who, last)
    return last


def test_a_queue_that_was_on_another_machine_meanwhile_goes_on_in_the_boot_it_came_from(boot):
    # given a state directory that was used on two machines
    spool = boot("here")
    spool.set_clock(BEGAN)
    spool.put([at(0, BEGAN + 1000, "here")])
    spool = boot("there")
    spool.set_clock(BEGAN)
    spool.put([at(1, BEGAN + 1001, "there")])
    spool.done("a", spool.peek("a", 1)[-1][0])
    # when it is back on the first, which has not been restarted
    spool = boot("here")
    # then what waits has its time, and a reading that has none yet waits for it
    assert given(spool) == [(1, 1)]
    spool.set_clock(None)
    spool.put([at(2, 5.0, "here")])
    assert (given(spool), spool.holding) == ([(1, 1)], True)
    spool.set_clock(BEGAN)
    assert given(spool) == [(1, 1), (2, 2)]


def test_a_frame_without_a_time_waits_and_so_do_those_behind_it_until_it_has_one(boot):
    spool = boot("before")
    spool.put([at(0, BEGAN + 1000, "before")])
    spool = boot()
    spool.set_clock(None)
    spool.put([at(1, 5.0), at(2, 1_600_000_000.0, ""), at(3, 7.0)])
    for _ in range(2):
        spool = boot()
        spool.set_clock(None)
        assert given(spool) == [(0, 0)]
        assert (spool.standing("a").waiting, spool.standing("a").held, spool.holding) == (4, 3, True)
        assert [each.held for each in spool.waiting()] == [False, True, False, True]
    flag = Flag()
    spool.subscribe("a", flag)
    spool.set_clock(BEGAN)
    assert flag.is_set()
    assert given(spool) == [(0, 0), (1, 1), (2, 1_600_000_000.0 - BEGAN - 1000), (3, 3)]
    assert (spool.standing("a").held, spool.holding) == (0, False)


def test_times_that_are_right_to_two_seconds_or_were_recorded_later_stay(boot):
    spool = boot()
    spool.put([at(1, BEGAN + 999.5), at(2, BEGAN + 1004), at(3, BEGAN + 1006)])
    spool.put([Frame("9", (0,), Stamp(BEGAN - 30, "now", -30.0))])  # a slot may be before the boot
    assert len(given(spool)) == 4
    spool.set_clock(BEGAN)
    spool.put([Frame("9", (4,), Stamp(BEGAN + 9000, "now", 5001.0))])
    assert given(spool) == [(1, -0.5), (2, 4), (3, 3), (0, -1030), (4, 8000)]
    # and a clock that drifts changes none
    spool.set_clock(BEGAN - 1.9)
    assert given(spool) == [(1, -0.5), (2, 4), (3, 3), (0, -1030), (4, 8000)]


def test_a_frame_that_one_dispatcher_has_sent_has_its_right_time_for_the_others(boot):
    # given five frames a day off, of which one dispatcher has two, and two on their way
    spool = boot("now", "a", "b")
    spool.put([at(n, BEGAN + 1000 + n + DAY) for n in range(5)])
    spool.done("a", send(spool, 2))
    send(spool, 2)
    # when the clock is corrected, then what was sent stays, and the rest is right, for each of them
    spool.set_clock(BEGAN)
    for _ in range(2):
        assert given(spool) == [(2, DAY + 2), (3, DAY + 3), (4, 4)]
        assert given(spool, "b") == [(n, n) for n in range(5)]
        assert [each.frame.stamp.wall for each in spool.waiting(who="a")][:2] == [
            BEGAN + 1002 + DAY,
            BEGAN + 1003 + DAY,
        ]
        spool = boot("now", "a", "b")


def test_a_step_between_peek_and_send_leaves_the_times_that_are_sent(boot):
    spool = boot()
    spool.put([at(n, BEGAN + 1000 + n + DAY) for n in range(3)])
    last, _ = spool.peek("a", 2)[-1]
    spool.set_clock(BEGAN)
    spool.mark_sending("a", last)
    assert given(spool) == [(0, DAY), (1, DAY + 1), (2, 2)]
    spool.set_clock(None)
    assert given(spool) == [(0, DAY), (1, DAY + 1)]


def test_what_has_not_arrived_has_its_right_time_but_not_where_more_may_have_been_sent(boot):
    spool = boot()
    spool.put([at(n, BEGAN + 1000 + n + DAY) for n in range(4)])
    first = spool.peek("a", 1)[-1][0]
    last = send(spool, 3)
    spool.set_clock(BEGAN)
    # when nothing of the first one has arrived, then all keep their times
    spool.unmark("a", first)
    assert given(spool) == [(0, DAY), (1, DAY + 1), (2, DAY + 2), (3, 3)]
    # when nothing has of any, then none does, after a start as well
    spool.unmark("a", last)
    for _ in range(2):
        assert given(spool) == [(n, n) for n in range(4)]
        spool = boot()


def test_a_batch_that_is_halved_keeps_its_times_until_it_is_delivered(boot):
    spool = boot()
    spool.put([at(n, BEGAN + 1000 + n + DAY) for n in range(6)])
    send(spool, 4)
    spool.set_clock(BEGAN)
    half = send(spool, 2)
    sent = [(n, DAY + n) for n in range(4)]
    assert given(spool) == [*sent, (4, 4), (5, 5)]
    # when the first half is delivered, and then more than the other is sent
    spool.done("a", half)
    send(spool, 3)
    spool.set_clock(BEGAN + 60)
    assert given(spool) == [*sent[2:], (4, 4), (5, 65)]
    assert given(boot()) == [*sent[2:], (4, 4), (5, 65)]


def test_a_time_that_cannot_be_is_not_believed_where_the_row_of_its_boot_is_lost(boot):
    # given frames of an earlier boot, and a file in which the table of boots was damaged
    spool = boot("before")
    spool.put([at(0, BEGAN + 1000, "before")])
    spool.set_clock(None)
    spool.put([at(1, 5.0, "before")])
    spool.close()
    with closing(sqlite3.connect(spool._path)) as db, db:
        db.execute("DELETE FROM boots")
    # when the clock is right, then what can be right is delivered, and the other is set aside
    spool = boot()
    spool.set_clock(BEGAN, lost="never right")
    assert given(spool) == [(0, 0)]
    spool.done("a", 1)
    assert given(spool) == []
    assert [(each.frame.values, each.undated) for each in spool.refused("a")] == [((1,), True)]


def test_a_frame_of_a_boot_that_never_knew_the_time_is_set_aside_once_the_clock_is_right(boot):
    spool = boot("before", "a", "b")
    spool.set_clock(None)
    spool.put([at(n, n, "before") for n in range(700)])
    # given a boot whose clock is wrong as well
    spool = boot("now", "a", "b")
    spool.set_clock(None)
    spool.put([at(700, 5.0)])
    assert (given(spool), [*spool.refused_totals.by], spool.standing("a").held) == ([], [], 701)
    # when it is right
    spool.set_clock(BEGAN, lost="taken between A and B")
    assert given(spool, limit=300) == [(700, 700)]
    lost = spool.refused("a")
    assert [each.frame for each in lost] == [at(n, n, "before") for n in range(700)]
    assert {(each.reason, each.undated) for each in lost} == {("taken between A and B", True)}
    assert (spool.standing("b").held, spool.holding, [*spool.refused_totals.by]) == (0, False, ["a"])
    assert given(spool, "b") == [(700, 700)]
    assert not spool.holding


def test_what_has_no_time_is_not_set_aside_on_a_disk_that_refuses(boot):
    # as more may be set aside than memory takes
    spool = boot("before")
    spool.set_clock(None)
    spool.put([at(1, 1.0, "before")])
    spool = boot()
    real, spool._contents.db = spool._contents.db, Disk(spool._contents.db, sqlite3.SQLITE_FULL)
    spool.set_clock(BEGAN, lost="lost")
    spool._contents.db = real
    assert (given(spool), spool.standing("a").waiting) == ([], 1)
    spool.put([])
    assert (given(spool), spool.standing("a").refused) == ([], 1)


def test_a_recorded_1970_is_not_too_old_at_once(boot):
    def age(stamp: Stamp) -> float:
        return BEGAN + 2000 - stamp.wall

    spool = boot("now", age=DAY)
    spool.put([at(0, BEGAN - 2 * DAY)])
    spool.set_clock(None)
    spool.put([at(1, 1.0)])
    spool.expire(age)
    assert spool.dropped == 0
    spool.set_clock(BEGAN)
    spool.expire(age)
    assert (given(spool), spool.dropped) == ([(0, 0), (1, 1)], 0)


def test_a_frame_is_refused_with_its_time_and_retried_with_the_right_one(boot):
    spool = boot()
    spool.put([at(1, 5.0), at(2, 6.0)])
    spool.set_clock(BEGAN + DAY)
    refuse(spool, "a", spool.peek("a", 1)[0][0], "no")
    assert spool.refused("a")[0].frame == at(1, BEGAN + DAY + 1001)
    spool.set_clock(None)
    assert spool.refused("a")[0].undated
    spool.set_clock(BEGAN)
    (refused,) = spool.refused("a")
    assert (refused.frame, refused.undated) == (at(1, BEGAN + 1001), False)
    spool.admit([(refused.frame, "a")], instead_of=[refused])
    assert given(spool) == [(2, 2), (1, 1)]


def test_what_is_imported_has_the_time_that_it_comes_with(boot):
    spool = boot("before")
    spool.put([at(1, 5.0, "before")])
    spool.set_clock(BEGAN)
    spool = boot("lost")
    spool.set_clock(None)
    spool.put([at(2, 5.0, "lost")])
    spool = boot()
    # given frames as they were exported, and two that somebody gave another time
    exported = spool.waiting()[0].frame
    frames = [
        exported,
        at(3, 1_600_000_000.0, "gone"),
        at(1, BEGAN + 60, "before"),
        at(2, BEGAN + 61, "lost"),
    ]
    spool.admit([(frame, "") for frame in frames])
    # and one of this boot, whose clock is doubted now
    spool.set_clock(None)
    spool.admit([(at(4, 5.0), "")])
    spool.skip("", before=3, limit=9)
    assert given(spool) == [(1, 1), (3, 1_600_000_000.0 - BEGAN - 1000), (1, -940), (2, -939)]
    spool.set_clock(BEGAN)
    assert given(spool)[-1] == (4, 4)


def test_a_row_goes_with_the_last_that_names_its_boot(boot, path):
    def boots() -> set[str]:
        with closing(sqlite3.connect(f"file:{killed(path, path.parent.parent)}?mode=ro", uri=True)) as db:
            return {name for (name,) in db.execute("SELECT boot FROM boots")}

    for name in ("first", "second", "third"):
        spool = boot(name)
        spool.set_clock(BEGAN)
        spool.put([at(1, 5.0, name)])
    assert boots() == {"first", "second", "third"}
    # given that what was taken in one is refused, and in the next delivered
    refuse(spool, "a", 1, "no")
    spool.done("a", 2)
    assert given(boot("fourth")) == [(1, 1)]
    assert boots() == {"first", "second", "third", "fourth"}
    spool = boot("fourth")
    spool.admit([], instead_of=spool.refused("a"))
    assert given(boot("fourth")) == [(1, 1)]
    assert boots() == {"third", "fourth"}


@pytest.mark.parametrize("damage", ["first page", "garbled frame", "last page"])
def test_of_a_damaged_file_what_is_known_of_the_clocks_is_rescued(boot, path, damage):
    spool = boot("before")
    spool.put([at(n, 5.0, "before") for n in range(60)])
    spool.set_clock(BEGAN)
    spool = boot("lost")
    spool.set_clock(None)
    spool.put([at(60, 5.0, "lost")])
    spool.close()
    if damage == "garbled frame":
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE frames SET frame = '[' WHERE id = 30")
            db.commit()
    else:
        whole = path.read_bytes()
        path.write_bytes(bytes(100) + whole[100:] if damage == "first page" else whole[:-1024])
    spool = boot()
    spool.set_clock(BEGAN, lost="lost")
    finish_rescue(spool)
    found = given(spool)
    assert len(found) > 20
    assert found == [(n, n) for n, _ in found]
    if damage != "last page":
        spool.done("a", spool.peek("a", 5000)[-1][0])
        assert given(spool) == []
        assert [each.frame for each in spool.refused("a")] == [at(60, 5.0, "lost")]


def test_a_frame_that_came_during_a_rescue_has_its_time_also_after_a_power_cut(boot, path, monkeypatch):
    monkeypatch.setattr("gateway.spool.queue_file.AT_START", 0.0)
    monkeypatch.setattr("gateway.spool.queue_file.AT_ONCE", 0.0)
    spool = boot("before")
    spool.put([at(n, BEGAN + 1000 + n, "before") for n in range(900)])
    spool.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:20_000] + random.Random(1).randbytes(1024) + whole[21_024:])
    spool = boot("second")
    spool.set_clock(None)
    spool.put([at(1000, 5.0, "second")])
    assert spool.due() == 0
    spool = boot("third")
    spool.set_clock(BEGAN, lost="lost")
    spool.put([at(1001, BEGAN + 2001, "third")])
    finish_rescue(spool)
    found = given(spool)
    assert len(found) > 800
    assert found == [(n, n) for n, _ in found]
    spool.done("a", spool.peek("a", 5000)[-1][0])
    assert given(spool) == [(1001, 1001)]
    assert [each.frame for each in spool.refused("a")] == [at(1000, 5.0, "second")]


def test_what_a_damaged_file_says_of_clocks_is_passed_over_where_it_is_garbled(boot, path):
    spool = boot()
    spool.put([at(1, 5.0)])
    send(spool, 1)
    spool.close()
    for pins in ("[", "7", '[[1, "", 0, "x", 1]]', "[[1, 2]]"):
        with closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE cursors SET pins = ?", (pins,))
            db.execute("INSERT OR REPLACE INTO boots VALUES ('now', 1, 'x', 9e999), ('other', 'y', 9e999, 7)")
            db.commit()
        spool = boot()
        assert given(spool) == [(1, 5.0 - BEGAN - 1000)]
        spool.set_clock(BEGAN)
        assert given(spool) == [(1, 1)]
        spool.close()


def test_a_table_of_another_run_of_the_same_boot_is_adopted_where_it_knows_more():
    ours, theirs = Boots("now"), Boots("now")
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE boots (boot, first, offset, until)")
        db.execute("INSERT INTO boots VALUES ('now', 3, NULL, ?), ('old', 1, 5.0, 100.0)", (math.inf,))
        ours.load(db, 1, 9)
        db.execute("DELETE FROM boots")
        theirs.load(db, 1, 7)
    theirs.set_clock(BEGAN, 5000.0)
    ours.adopt(theirs)
    assert sorted(ours.rows()) == [("now", 3, BEGAN, 5000.0), ("old", 1, 5.0, 100.0)]
    assert not ours.is_written


def test_a_state_of_the_version_before_is_taken_over(path):
    """Made by the version whose files have the number 4; boots 2, 4 and 5 (now) never knew the time."""
    now = 1_800_000_000.0
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).parent / "vectors" / "queue-4.sql").read_text(encoding="utf-8"))
    path.with_name("last-time").write_text("1800086400\n")
    clock = VirtualClock(wall=35.0, boottime=80.0)
    clock.boot = "55555555-5555-4555-8555-555555555555"
    spool = open_queue(path, "a", "b", clock=clock)
    note = TimeNote(path.parent)
    keeper = Timekeeper(clock, past=passed(spool, note, clock.boot), synchronised=lambda: False)
    dating = Dating(spool, keeper, clock, note)
    # then what waits, is held, was refused or dropped, and was being sent is as it was
    right = [(float(n), now + 10 * n) for n in range(3, 9)] + [(30.0, now + DAY)]
    assert walls(spool, "a") == right[1:]
    assert walls(spool, "b") == right
    assert [spool.standing(who)[:3] for who in "ab"] == [(10, 4, 3), (11, 4, 2)]
    assert [(each.frame.values[0], each.undated) for each in spool.refused("a")] == [
        (0.0, False),
        (20.0, True),
        (21.0, True),
    ]
    assert (spool.dropped, spool.sent("b"), keeper.holding) == (1, (16, True), True)
    # and once the clock is right those of this boot have their time, and those of the fourth have none
    clock.set_wall(now + 2 * DAY)
    dating.look()
    assert walls(spool, "a") == right[1:]
    spool.done("a", 12)
    assert walls(spool, "a") == [(50.0, now + 2 * DAY - 30), (51.0, now + 2 * DAY - 20)]
    assert [(each.frame.values[0], each.undated) for each in spool.refused("a")][3:] == [
        (40.0, True),
        (41.0, True),
    ]
    spool.close()


def walls(spool: Spool, who: str) -> list[tuple[float | None, float]]:
    return [(kept.values[0], kept.stamp.wall) for _, kept in spool.peek(who, 100)]


def test_what_the_version_before_was_sending_keeps_its_time(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.executescript((Path(__file__).parent / "vectors" / "queue-4.sql").read_text(encoding="utf-8"))
    clock = VirtualClock(boottime=5000.0)
    clock.boot = "11111111-1111-4111-8111-111111111111"
    spool = open_queue(path, "a", "b", clock=clock)
    spool.set_clock(1_700_000_000.0)
    assert [wall for _, wall in walls(spool, "b")][:2] == [1_800_000_030.0, 1_700_000_140.0]
    spool.close()
