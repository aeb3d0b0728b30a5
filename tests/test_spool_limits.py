"""What the queue keeps at most, what it drops, and how it counts."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.spool import Spool
from gateway.store.census import Census, Runs
from tests.gateway_process import ENVIRONMENT
from tests.spools import MB, frame, killed, values

DROPPER = """
import itertools, sys
from gateway.frame import Frame, Stamp
from gateway.spool import Limits, Spool
from pathlib import Path
spool = Spool(Path(sys.argv[1]), limits=Limits(frames=50, bytes=60_000, refused=20, refused_bytes=10_000))
spool.set_consumers(["a"])
for n in itertools.count():
    spool.put([Frame("9", (float(n),), Stamp(1.0, "", 1.0), source="x" * (n % 7) * 300)] * 7)
    batch = spool.peek("a", 3)
    spool.done("a", batch[-1][0], refused=[(number, kept, "no") for number, kept in batch])
    print(spool.dropped, spool.refused_totals.dropped, flush=True)
"""


def test_a_log_that_has_grown_is_cut_off_again(path, spool):
    # given a drop of all in one transaction, whose pages all go through the log
    for first in range(0, 50_000, 1000):
        spool.put([frame(n) for n in range(first, first + 1000)])
    log = Path(f"{path}-wal")
    spool.skip("a", before=spool.end, limit=50_000)
    assert log.stat().st_size > 6 * MB
    for n in range(10):
        spool.put([frame(n)])
    assert log.stat().st_size <= 4 * MB


class TestTheCountOfDroppedFrames:
    def test_never_falls_whenever_it_is_killed(self, path):
        draw = random.Random(1)
        last = [0, 0]
        for _ in range(5):
            with subprocess.Popen(
                [sys.executable, "-c", DROPPER, str(path)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
            ) as dropper:
                for _ in range(draw.randrange(5, 60)):
                    told = [int(count) for count in dropper.stdout.readline().split()]
                    assert all(now >= before for before, now in zip(last, told, strict=True))
                    last = told
                dropper.kill()
        spool = Spool(path)
        assert spool.dropped >= last[0] > 100
        assert spool.refused_totals.dropped >= last[1] > 50
        spool.close()

    def test_is_on_the_disk_though_the_last_frame_itself_was_dropped(self, opened, path, tmp_path):
        # given a limit that not even one more frame is within
        spool = opened(bytes=1024)
        for n in range(20):
            spool.put([frame(n)])
        assert spool.dropped == 20
        spool = Spool(killed(path, tmp_path))
        assert spool.dropped == 20
        spool.close()

    def test_survives_damage_and_then_a_kill(self, opened, path, tmp_path):
        spool = opened(frames=5)
        spool.put([frame(n) for n in range(10)])
        # given that the file is damaged where it counts
        spool._contents.db.execute("DELETE FROM counters")
        spool._contents.db.execute("UPDATE frames SET frame = 'garbled' WHERE id = 7")
        assert values(spool) == [5, 7, 8, 9]
        spool.put([frame(10)])
        assert spool.dropped == 5
        spool = Spool(killed(path, tmp_path))
        assert spool.dropped == 5
        spool.close()


class TestTheFile:
    def room(self, spool):
        (pages,) = spool._contents.db.execute("PRAGMA max_page_count").fetchone()
        (size,) = spool._contents.db.execute("PRAGMA page_size").fetchone()
        return pages * size

    def test_may_have_what_waits_and_what_was_refused_and_a_megabyte(self, opened, path):
        spool = opened(bytes=500_000, refused_bytes=300_000)
        assert self.room(spool) == pytest.approx(1_800_000, abs=8192)
        # also where it is made anew, after it was removed
        path.unlink()
        spool.put([frame(1)])
        assert path.exists()
        assert self.room(spool) == pytest.approx(1_800_000, abs=8192)

    def test_may_have_no_more_after_a_rescue(self, opened, path):
        spool = opened()
        spool.put([frame(n) for n in range(500)])
        spool.close()
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * 4096)
        spool = opened(bytes=500_000, refused_bytes=300_000)
        assert 0 < len(values(spool)) <= 500
        assert self.room(spool) == pytest.approx(1_800_000, abs=8192)


class TestWhatWaits:
    def test_is_what_exists_where_there_are_holes(self, opened, path):
        # given that every seventh is missing, as after the rescue of a damaged file
        spool = opened("a", "b", frames=1000)
        spool.put([frame(n) for n in range(1000)])
        spool.admit([], instead_of=[])
        spool.close()
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("DELETE FROM frames WHERE id % 7 = 0")
            db.execute("UPDATE frames SET whose = 'b' WHERE id % 5 = 0")
            db.commit()
        spool = opened("a", "b", frames=1000)
        there = 1000 - 142
        of_b = len([n for n in range(1, 1001) if n % 7 and not n % 5])
        assert (spool.standing("a").waiting, spool.standing("b").waiting) == (there - of_b, there)
        # then there is room for as many as are missing
        spool.admit([(frame(n), "") for n in range(142)])
        assert spool.dropped == 0
        # and beyond, the oldest that exist go
        spool.put([frame(n) for n in range(7)])
        assert (spool.dropped, spool.waiting()[0].number) == (7, 9)
        assert spool.standing("b").waiting == 1000

    def test_what_is_passed_over_is_counted_by_frames(self, opened, path):
        spool = opened("a", "b")
        spool.put([frame(n) for n in range(10)])
        spool.admit([(frame(n), "b") for n in range(10)])
        assert spool.skip("a", before=spool.end, limit=100) == (10, False)
        assert spool.skip("", before=spool.end, limit=15) == (15, True)
        assert spool.skip("", before=spool.end, limit=15) == (5, False)

    def test_what_nobody_waits_for_and_is_dropped_is_gone_after_a_kill(self, opened, path, tmp_path):
        spool = opened()
        spool.put([frame(n) for n in range(5)])
        spool.set_consumers([])
        assert spool.skip("", before=spool.end, limit=100) == (5, False)
        spool = Spool(killed(path, tmp_path))
        assert spool.waiting() == []
        spool.close()

    def test_a_size_that_is_lowered_is_reached_and_the_newest_stay(self, opened):
        spool = opened(bytes=4 * MB)
        for n in range(0, 20_000, 500):
            spool.put([frame(n + i) for i in range(500)])
        spool = opened(bytes=MB)
        spool.put([frame(20_000)])
        kept = values(spool)
        assert kept == list(range(20_001 - len(kept), 20_001))
        assert 5000 < len(kept) < 10_000
        assert spool.dropped == 20_001 - len(kept)

    def test_a_size_that_is_reached_is_what_is_said_to_who_imports(self, opened):
        spool = opened(bytes=100_000)
        with pytest.raises(OSError, match="the queue is full: max_size is reached"):
            spool.admit([(frame(n), "") for n in range(5000)])
        assert (spool.standing("a").waiting, spool.dropped) == (0, 0)

    def test_one_that_is_too_large_for_what_a_hundredth_of_the_others_leave_is_kept_all_the_same(
        self, opened
    ):
        spool = opened(bytes=100_000)
        spool.put([frame(n) for n in range(1000)])
        for n in range(5):
            spool.put([frame(n, length=50_000)])
            assert values(spool)[-1] == n
        assert spool.trouble == ""


IDS = st.integers(1, 30)


@given(st.lists(st.tuples(st.booleans(), IDS, IDS)), IDS, IDS, IDS)
def test_runs_are_a_set_of_ids(steps, after, upto, count):
    runs, ids, end = Runs(), set(), 0
    for adds, one, other in steps:
        if adds:
            runs.add(end + one, end + one + other)
            ids |= set(range(end + one, end + one + other + 1))
            end += one + other
        else:
            gone = {number for number in ids if one <= number <= other}
            assert runs.remove(one, other) == len(gone)
            ids -= gone
    assert runs.total == len(ids)
    assert runs.count(after, upto) == len([number for number in ids if after < number <= upto])
    assert runs.oldest(count) == (sorted(ids)[:count] or [0])[-1]


@given(st.lists(st.tuples(IDS, st.sampled_from(["", "a", "b"])), max_size=40), IDS, IDS, IDS)
def test_a_census_of_a_file_is_that_of_what_was_put(gaps, first, after, upto):
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE frames (id INTEGER PRIMARY KEY, whose TEXT)")
    number, kept = 0, []
    for gap, whose in gaps:
        number += gap if gap > 20 else 1
        kept.append((number, whose))
    db.executemany("INSERT INTO frames VALUES (?, ?)", kept)
    with patch("gateway.store.census._STRETCH", 10):
        census = Census.of_all(db, first)
    for who in ("", "a", "b", "c"):
        expected = [
            n for n, whose in kept if n >= first and after < n <= upto and (not who or whose in ("", who))
        ]
        assert census.count(after, upto, who) == len(expected)
    assert census.total == len([n for n, _ in kept if n >= first])
    db.close()
