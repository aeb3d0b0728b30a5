"""What was refused: within its own limits, counted, and never in the way of what waits."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
from collections import Counter

import pytest

from gateway.clock import Clock
from gateway.frame import Frame, Stamp
from gateway.spool import Limits, Spool
from gateway.spool.refused import CURE
from listeners.simulated.clock import VirtualClock
from tests.refusing import ReadOnly
from tests.spools import MB, frame, killed, open_queue, refuse, refused, values


def refuse_all(
    spool: Spool, frames: list[Frame], who: str = "a", reason: str = "32 nodes are the limit"
) -> None:
    """Put these, a hundred at a time, and set all of them aside."""
    for start in range(0, len(frames), 100):
        spool.put(frames[start : start + 100])
        batch = spool.peek(who, 1000)
        spool.done(who, batch[-1][0], refused=[(number, kept, reason) for number, kept in batch])


class TestWhatWasRefused:
    @pytest.mark.parametrize("refused_ones", [0, 20_000])
    def test_never_takes_the_room_of_what_waits(self, opened, refused_ones):
        # given a queue of one megabyte, and many frames of one node that the far end refuses
        spool = opened(bytes=MB, refused_bytes=2 * MB)
        refuse_all(spool, [frame(n, node="33") for n in range(refused_ones)])
        # when more of others wait than there is room for
        for start in range(0, 12_000, 100):
            spool.put([frame(n) for n in range(start, start + 100)])
        # then as many are kept as without (a hundredth goes at a time), and the newest
        kept = values(spool)
        assert 8400 < len(kept) < 8700
        assert kept == list(range(12_000 - len(kept), 12_000))

    @pytest.mark.parametrize("length", [1, 200, 480, 700, 3000, "any"])
    def test_stays_within_its_limits_whatever_the_size_of_a_frame(self, opened, path, length):
        draw = random.Random(1)
        spool = opened("a", "b", bytes=MB, refused_bytes=MB)
        for n in range(0, 12_000, 100):
            size = draw.randrange(3000) if length == "any" else length
            spool.put([frame(n + i, length=size) for i in range(100)])
            for who in ("a", "b") if n % 300 else ("b",):
                batch = spool.peek(who, 300)
                aside = [(number, kept, "no") for number, kept in batch if number % 3 or who == "b"]
                spool.done(who, batch[-1][0], refused=aside)
        assert spool.refused_totals.dropped > 0
        assert path.stat().st_size <= 3 * MB
        (pages,) = spool._contents.db.execute(
            "SELECT count(*) FROM dbstat WHERE name LIKE '%refused%'"
        ).fetchone()
        # then what it takes is known, and at most its limit, by a few pages, and not much less
        roots = 3
        assert spool._contents.refused.pages == pytest.approx(pages - roots, abs=3)
        assert 0.7 * MB < pages * 1024 < 1.05 * MB

    def test_the_oldest_go_first_and_are_counted_for_ever(self, opened, path, tmp_path, caplog):
        spool = opened(refused=250)
        refuse_all(spool, [frame(n) for n in range(1000)])
        assert refused(spool) == list(range(750, 1000))
        assert (spool.standing("a").refused, spool.refused_totals.dropped, spool.dropped) == (250, 750, 0)
        # then the log says so once, and what to do
        (line,) = [record.message for record in caplog.records]
        assert "max_refused" in line
        assert CURE in line
        # and a kill changes nothing
        spool = Spool(killed(path, tmp_path), limits=Limits(refused=250))
        assert (spool.refused_totals.dropped, [*spool.refused_totals.by]) == (750, ["a"])
        assert refused(spool) == list(range(750, 1000))
        spool.close()

    def test_is_dropped_by_hand_also_where_what_waits_is_beyond_a_lowered_limit(self, opened):
        spool = opened()
        refuse_all(spool, [frame(1)])
        spool.put([frame(n) for n in range(5000)])
        spool = opened(bytes=100_000)
        spool.admit([], instead_of=spool.refused("a"))
        assert (refused(spool), spool.dropped) == ([], 0)

    def test_it_is_full_until_some_are_taken_out(self, opened):
        spool = opened(refused=10)
        refuse_all(spool, [frame(n) for n in range(10)])
        assert not spool.refused_totals.full
        refuse_all(spool, [frame(10)])
        assert spool.refused_totals.full
        spool.admit([], instead_of=spool.refused("a")[:1])
        assert not spool.refused_totals.full
        assert refused(spool) == list(range(2, 11))

    def test_more_than_there_is_room_for_at_all_leaves_the_newest(self, opened):
        spool = opened(refused=1000, refused_bytes=100_000)
        spool.put([frame(n, length=1000) for n in range(300)])
        batch = spool.peek("a", 300)
        spool.done("a", batch[-1][0], refused=[(number, kept, "no") for number, kept in batch])
        kept = refused(spool)
        assert kept == list(range(300 - len(kept), 300))
        assert 30 < len(kept) < 100
        assert spool.refused_totals.dropped == 300 - len(kept)

    def test_what_has_no_time_is_bounded_too(self, opened, path):
        spool = opened("a", "b")
        spool.set_clock(None)
        boot = Clock().now().boot
        spool.put([Frame("9", (n,), Stamp(1.0, boot, 1.0)) for n in range(300)])
        spool.close()
        clock = VirtualClock()
        spool = open_queue(path, "a", "b", clock=clock, refused=100)
        spool.set_clock(clock.wall() - clock.boottime(), lost="lost")
        assert (spool.peek("a", 1000), spool.peek("b", 1000)) == ([], [])
        assert (refused(spool), refused(spool, "b")) == ([], list(range(200, 300)))
        assert spool.refused_totals.dropped == 500
        spool.close()

    def test_while_the_disk_refuses_no_more_wait_in_memory_than_may(self, opened):
        spool = opened(memory=10)
        spool.put([frame(n) for n in range(100)])
        spool._contents.db = ReadOnly(spool._contents.db)
        for number, _ in spool.peek("a", 100):
            refuse(spool, "a", number, "no")
        assert (spool.standing("a").refused, spool.refused_totals.dropped) == (10, 90)
        spool._contents.db = spool._contents.db.db
        spool.put([frame(100)])
        assert refused(spool) == list(range(90, 100))

    def test_a_limit_that_is_lowered_is_reached(self, opened):
        spool = opened()
        refuse_all(spool, [frame(n) for n in range(5000)])
        spool = opened(refused=100)
        for n in range(6):
            spool.put([frame(n)])
        assert refused(spool) == list(range(4900, 5000))
        assert spool.refused_totals.dropped == 4900

    def test_in_a_file_of_before_its_pages_are_estimated(self, opened, path):
        spool = opened()
        refuse_all(spool, [frame(n) for n in range(5000)])
        measured = spool._contents.refused.pages
        spool.close()
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("DELETE FROM counters")
            db.commit()
        assert opened()._contents.refused.pages == pytest.approx(measured, rel=0.15)

    def test_one_that_is_retried_twice_at_a_time_goes_once(self, opened):
        spool = opened()
        refuse_all(spool, [frame(1), frame(2)])
        both = spool.refused("a")
        spool.admit([(each.frame, "a") for each in both[:1]], instead_of=both[:1])
        with pytest.raises(OSError, match="try again"):
            spool.admit([(each.frame, "a") for each in both], instead_of=both)
        assert (values(spool), refused(spool)) == ([1], [2])

    def test_frames_are_set_aside_beside_those_that_were_delivered(self, opened, path, tmp_path):
        spool = opened("a", "b")
        spool.put([frame(n) for n in range(6)])
        batch = spool.peek("a", 5)
        spool.done("a", batch[-1][0], refused=[(*batch[1], "no"), (*batch[3], "nor that")])
        spool = open_queue(killed(path, tmp_path), "a", "b")
        assert (values(spool), refused(spool)) == ([5], [1, 3])
        assert (values(spool, "b"), refused(spool, "b")) == (list(range(6)), [])
        assert [each.reason for each in spool.refused("a")] == ["no", "nor that"]
        spool.close()

    def test_what_was_dropped_meanwhile_is_not_set_aside(self, opened):
        spool = opened(frames=3)
        spool.put([frame(n) for n in range(3)])
        batch = spool.peek("a", 3)
        spool.put([frame(n) for n in range(3, 5)])
        spool.done("a", batch[-1][0], refused=[(number, kept, "no") for number, kept in batch])
        assert (refused(spool), spool.dropped, values(spool)) == ([2], 2, [3, 4])


class TestWhatARenamedOneHasRefused:
    def test_follows_it(self, opened, path, tmp_path):
        # given what a has refused, of which one is to be sent again, and what b has, which is gone
        spool = opened("a", "b", "c")
        refuse_all(spool, [frame(n) for n in range(1, 5)])
        refuse_all(spool, [frame(5)], "b")
        spool.set_consumers(["a", "c"])
        again = spool.refused("a", limit=1)
        spool.admit([(each.frame, "a") for each in again], instead_of=again)
        # when it gets another name, and one more is added in the same edit
        assert spool.set_consumers(["renamed", "c", "new"], {"renamed": "a"}) == 0
        # then all of it is that of the new name, also after a kill
        with contextlib.closing(open_queue(killed(path, tmp_path), "renamed", "c", "new")) as later:
            for each in (spool, later):
                assert (refused(each, "renamed"), each.reasons("renamed")) == (
                    [2, 3, 4],
                    {"32 nodes are the limit": 3},
                )
                assert each.refused_totals.by == {"renamed": 3, "b": 5}
                assert values(each, "renamed")[-1] == 1
        # and can be sent again
        rest = spool.refused("renamed")
        spool.admit([(each.frame, "renamed") for each in rest], instead_of=rest)
        assert (spool.refused_totals.by, values(spool, "renamed")[-4:]) == ({"b": 5}, [1, 2, 3, 4])

    def test_replaces_the_same_under_a_name_that_had_been_used_before(self, opened):
        spool = opened("a", "b")
        refuse_all(spool, [frame(1)], reason="no")
        refuse_all(spool, [frame(2)], "b", reason="nor that")
        spool.set_consumers(["b", "c"])
        spool.set_consumers(["a", "c"], {"a": "b"})
        assert (refused(spool, "a"), spool.reasons("a")) == ([1, 2], {"nor that": 2})
        assert spool.refused_totals.by == {"a": 2}

    def test_follows_it_where_two_swap_their_names(self, opened):
        # given what a and b have refused, in part the same, and one that is only for a
        spool = opened("a", "b")
        refuse_all(spool, [frame(1)], reason="no")
        spool.set_consumers(["a", "b"], {"a": "b", "b": "a"})
        refuse_all(spool, [frame(2)], "a", reason="nor that")
        assert (spool.reasons("a"), spool.reasons("b")) == ({"nor that": 2}, {"no": 1})
        spool.admit([(frame(3), "a")])
        # when they swap their names, then each has its own
        spool.set_consumers(["a", "b"], {"a": "b", "b": "a"})
        assert (spool.reasons("a"), spool.reasons("b")) == ({"no": 1}, {"nor that": 2})
        assert (values(spool, "a"), values(spool, "b")) == ([2], [3])

    def test_follows_it_where_another_takes_the_name(self, opened):
        spool = opened("a", "b")
        refuse_all(spool, [frame(1)])
        spool.set_consumers(["a", "b", "c"], {"c": "a"})
        assert spool.refused_totals.by == {"c": 1}

    def test_stays_where_the_longer_name_would_cost_some_of_it(self, opened):
        spool = opened("a", "b", refused_bytes=MB)
        refuse_all(spool, [frame(n) for n in range(5000)])
        before = spool.refused_totals
        spool.set_consumers(["c" * 40, "b"], {"c" * 40: "a"})
        spool.put([frame(5000)])
        assert spool.refused_totals == before
        assert len(values(spool, "b")) == 5001

    def test_follows_it_from_memory_too(self, opened, path, tmp_path):
        # given a disk that takes nothing more when a has refused the second
        spool = opened("a", "b")
        refuse_all(spool, [frame(1)])
        spool._contents.db = ReadOnly(spool._contents.db)
        refuse_all(spool, [frame(2)])
        # when it is renamed
        spool.set_consumers(["c", "b"], {"c": "a"})
        # then what is on the disk stays as it was, and what is not yet follows, to the disk as well
        assert spool.refused_totals.by == {"a": 1, "c": 1}
        spool._contents.db = spool._contents.db.db
        spool.put([frame(3)])
        assert spool.trouble == ""
        with contextlib.closing(open_queue(killed(path, tmp_path), "c", "b")) as later:
            assert (refused(later, "a"), refused(later, "c")) == ([1], [2])


def test_who_has_refused_is_counted_while_another_dispatcher_refuses(opened):
    # given frames of two dispatchers that are set aside, and a third dispatcher
    spool = opened("a", "b", "c")
    spool.put([frame(1)])
    ((number, kept),) = spool.peek("a", 1)
    for who in ("a", "b"):
        spool.done(who, number, refused=[(number, kept, "no")])
    aside = {"refused": [(number, kept, "no")]}
    third = threading.Thread(target=spool.done, args=("c", number), kwargs=aside)

    class Interrupted(Counter[str]):
        def items(self):
            found = iter(super().items())
            yield next(found)
            if third.ident is None:
                third.start()
                third.join(0.2)
            yield from found

    # when the third refuses in the middle of the count
    spool._contents.refused._on_disk = Interrupted(spool._contents.refused._on_disk)
    assert [*spool.refused_totals.by] == ["a", "b"]
    # then it does so after that
    third.join()
    assert [*spool.refused_totals.by] == ["a", "b", "c"]
