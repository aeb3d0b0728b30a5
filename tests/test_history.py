"""The history of a page: what is kept, under which time, and how it is drawn."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.commands.main import main
from gateway.dispatchers.page.history import keeper as keeper_module
from gateway.dispatchers.page.history.blocks import DAY, HOUR, Day, Hour, Point
from gateway.dispatchers.page.history.chart import chart, nice
from gateway.dispatchers.page.history.history import Damaged, History, Mark, Reading
from gateway.dispatchers.page.history.keeper import Keeper, file_of
from gateway.dispatchers.page.history.rings import HOURS, SERIES
from gateway.dispatchers.page.history.spans import SPANS, View, grouped, ticks
from gateway.frame import Frame, Stamp
from gateway.plugin import Batch, TryLater
from listeners.simulated.clock import VirtualClock
from tests.gateway_process import ENVIRONMENT
from tests.gateway_process import state as state_line
from tests.pages import Present, get, serving, value

NOW = 1_700_000_000.0 - 1_700_000_000.0 % DAY + 12 * HOUR
PLACE = {"epoch": 1}


@pytest.fixture
def history(tmp_path):
    made = History(tmp_path / "history.db")
    made.open()
    return made


def test_only_its_owner_and_its_group_may_read_it(history, tmp_path):
    assert (tmp_path / "history.db").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("places", ["[", "[1]", "7", '{"epoch": null}', '{"epoch": 1e999}', "[" * 100_000])
def test_places_that_are_garbled_are_damage(history, tmp_path, places):
    history.add([reading(NOW)], PLACE, NOW)
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as db:
        db.execute("update state set value = ? where name = 'places'", [places])
        db.commit()
    with pytest.raises(Damaged):
        history.add([reading(NOW + 60)], PLACE, NOW + 60)


def reading(at: float, number: float = 1.0, key: str = "1", **more: str) -> Reading:
    return Reading(at, "9", key, number, **more)


def test_a_minute_has_the_mean_and_the_count_of_its_values_and_an_hour_its_least_and_greatest(history):
    history.add([reading(NOW + second, float(second)) for second in (0, 10, 59, 60)], PLACE, NOW + 60)
    assert history.minutes("9", "1", NOW, NOW + HOUR) == [
        Point(NOW, 23.0, 23.0, 23.0, 3),
        Point(NOW + 60, 60.0, 60.0, 60.0, 1),
    ]
    (hour,) = history.hours("9", "1", NOW, NOW + HOUR)
    assert hour == Point(NOW, 32.25, 0.0, 60.0, 4)


def test_a_late_reading_lands_at_its_own_time(history):
    history.add([reading(NOW, 5.0)], PLACE, NOW)
    history.add([reading(NOW - 7 * HOUR, 1.0), reading(NOW - 29 * DAY, 2.0)], {"epoch": 2}, NOW)
    times = [point.at for point in history.minutes("9", "1", NOW - 30 * DAY, NOW + 60)]
    assert times == [NOW - 29 * DAY, NOW - 7 * HOUR, NOW]


def test_a_slot_is_overwritten_only_by_a_later_hour(history):
    history.add([reading(NOW, 5.0)], PLACE, NOW)
    history.add([reading(NOW - HOURS * HOUR, 1.0)], {"epoch": 2}, NOW)
    assert [point.mean for point in history.minutes("9", "1", NOW - HOUR, NOW + 60)] == [5.0]
    assert history.left_out == {"older-than-the-minutes": 1}
    later = NOW + HOURS * HOUR
    history.add([reading(later, 7.0)], {"epoch": 3}, later)
    assert [point.mean for point in history.minutes("9", "1", NOW - HOUR, later + 60)] == [7.0]
    # the hours of both are there
    assert [point.mean for point in history.hours("9", "1", NOW - HOUR, later + 60)] == [5.0, 7.0]


@pytest.mark.parametrize(
    ("at", "number", "reason"),
    [
        (61.0, 1.0, "ahead-of-the-clock"),
        (-732.0 * DAY, 1.0, "older-than-the-history"),
        (0.0, float("nan"), "not-a-number"),
        (0.0, 1e39, "not-a-number"),
    ],
)
def test_what_is_no_reading_of_the_time_covered_is_counted_and_left_out(history, at, number, reason):
    history.add([reading(NOW + at, number)], PLACE, NOW)
    assert history.left_out == {reason: 1}
    assert history.known() == []


def test_what_is_left_out_is_counted_once_however_often_the_disk_refuses(history, tmp_path):
    # given a file that cannot be written to
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as db:
        db.execute("alter table state rename to gone")
        for _ in range(3):
            with pytest.raises(OSError, match="no such table"):
                history.add([reading(NOW + 600)], PLACE, NOW)
        db.execute("alter table gone rename to state")
    # when it can, then what it leaves out is counted once
    history.add([reading(NOW + 600)], PLACE, NOW)
    assert history.left_out == {"ahead-of-the-clock": 1}


def test_the_file_stops_growing(tmp_path):
    # a ring of one series, three times around: the file is as large as after the first time
    history = History(tmp_path / "history.db")
    history.open()
    sizes = []
    for turn in range(3):
        first = NOW + turn * HOURS * HOUR
        history.add(
            [reading(first + hour * HOUR) for hour in range(HOURS)], {f"{turn}": 1}, first + HOURS * HOUR
        )
        with sqlite3.connect(tmp_path / "history.db") as db:
            sizes.append(db.execute("select count(*) from minutes").fetchone()[0])
        db.close()
    assert sizes == [HOURS] * 3


def test_of_too_many_series_the_one_silent_for_longest_gives_way_and_is_named(history):
    history.add([reading(NOW + n, float(n), key=str(n)) for n in range(200)], PLACE, NOW + 200)
    late = NOW + 8 * DAY
    history.add([reading(late, key="0")], {"epoch": 2}, late)
    lost = history.add([reading(late + 1, 5.0, key="=power")], {"epoch": 3}, late + 1)
    assert lost == ["node 9 1"]
    assert len(history.known()) == 200
    assert history.minutes("9", "1", NOW, NOW + HOUR) == []
    assert [point.mean for point in history.minutes("9", "=power", late, late + HOUR)] == [5.0]
    assert [point.mean for point in history.minutes("9", "2", NOW, NOW + HOUR)] == [2.0]


def test_of_more_series_than_there_is_room_for_those_that_are_there_keep_their_history(history):
    for turn in range(3):
        now = NOW + 300 * turn
        lost = history.add([reading(now, key=str(n)) for n in range(205)], {f"{turn}": 1}, now)
        assert lost == []
    assert [len(history.minutes("9", str(n), NOW, NOW + HOUR)) for n in (0, 199, 200)] == [3, 3, 0]
    assert history.left_out == {"of-a-series-too-many": 15}


def test_a_replaced_sensor_is_a_mark(history):
    history.add([reading(NOW, identity="28.A"), reading(NOW + 10, identity="28.A")], PLACE, NOW + 10)
    history.add([reading(NOW + 20, identity=""), reading(NOW + 30, identity="28.B")], {"epoch": 2}, NOW + 30)
    (mark,) = history.marks("9", "1", NOW, NOW + HOUR)
    assert mark == Mark(NOW + 30, NOW + 30, "28.A was replaced by 28.B")
    assert history.marks("9", "2", NOW, NOW + HOUR) == []


def test_a_key_that_stood_in_an_identity_is_in_no_mark(history):
    # given a series whose identity was noted with the key in it
    history.add([reading(NOW, identity="http://x/?key=s3cret")], PLACE, NOW)
    # then it is the same without its key, and is replaced without it
    history.add([reading(NOW + 30, identity="http://x/?key=********")], {"epoch": 2}, NOW + 30)
    assert history.marks("9", "1", NOW, NOW + HOUR) == []
    history.add([reading(NOW + 60, identity="http://x/?key=s3cret")], {"epoch": 3}, NOW + 60)
    history.add([reading(NOW + 90, identity="http://y/")], {"epoch": 4}, NOW + 90)
    assert "s3cret" not in history.marks("9", "1", NOW, NOW + HOUR)[-1].words


def test_while_the_gateway_was_off_is_a_mark_of_all_series(tmp_path, history):
    history.add([reading(NOW)], PLACE, NOW)
    history.add([reading(NOW + HOUR)], {"epoch": 2}, NOW + HOUR)  # a sensor that is read once an hour
    again = History(tmp_path / "history.db")
    again.open()
    again.add([reading(NOW + HOUR + 60), reading(NOW + 3 * HOUR, key="2")], {"epoch": 4}, NOW + 3 * HOUR)
    (mark,) = again.marks("9", "2", NOW, NOW + 4 * HOUR)
    assert (mark.at, mark.until, mark.words) == (
        NOW + HOUR + 60,
        NOW + 3 * HOUR,
        "the gateway had no readings",
    )


@given(st.lists(st.tuples(st.integers(0, 59), st.floats(-1e6, 1e6)), min_size=1, max_size=200))
def test_blocks_keep_their_means(values):
    hour, day = Hour(), Day()
    for minute, number in values:
        hour.add(minute, number, number, number)
        day.add(3, number, number, number)
    again, day_again = Hour.unpack(hour.pack()), Day.unpack(day.pack())
    for minute in range(60):
        there = [number for each, number in values if each == minute]
        assert again.counts[minute] == len(there)
        if there:
            assert again.means[minute] == pytest.approx(sum(there) / len(there), rel=1e-5, abs=0.5)
    numbers = [number for _, number in values]
    assert (day_again.least[3], day_again.greatest[3]) == pytest.approx(
        (min(numbers), max(numbers)), rel=1e-6
    )


# A page with a history, and the queue.


class Log:
    def __init__(self):
        self.lines = []

    def _say(self, words, *parts):
        self.lines.append(words % parts)

    warning = error = _say


def frame(at: float, *values: float | None, node: str = "9") -> Frame:
    return Frame(node, values, Stamp(at, "", 0.0))


def batch(frames: list[Frame], first: int, epoch: str = "a") -> Batch:
    return Batch(frames, [*range(first, first + len(frames))], [epoch] * len(frames))


@pytest.fixture
def keeper(tmp_path):
    made = Keeper(tmp_path / "history.db", Present([]), Log())
    made.open()
    return made


def counts(keeper: Keeper, key: str = "1") -> int:
    return sum(point.count for point in keeper.history.minutes("9", key, NOW - DAY, NOW + DAY))


def test_what_is_given_again_after_a_kill_counts_once(keeper):
    frames = [frame(NOW + n, 1.0, None, 3.0) for n in range(10)]
    keeper.take(batch(frames[:6], 1), NOW + 10)
    keeper.take(batch(frames, 1), NOW + 10)
    assert (counts(keeper), counts(keeper, "2"), counts(keeper, "3")) == (10, 0, 10)
    # and in another queue, as one that was set aside, the same ids are others
    keeper.take(batch(frames, 1, "b"), NOW + 10)
    assert counts(keeper) == 20


def test_what_is_of_several_starts_of_the_gateway_counts_once_also_when_it_is_given_again(keeper):
    # given a batch of frames that wait since before a start, or many, and of some that came after the last
    starts = 20
    epochs = [f"{start}" for start in range(starts) for _ in range(2)]
    frames = Batch([frame(NOW + n, 1.0) for n in range(2 * starts)], [*range(1, 2 * starts + 1)], epochs)
    keeper.take(frames, NOW + 60)
    # when a kill comes before the queue has noted it
    keeper.take(frames, NOW + 60)
    # then each is there once
    assert counts(keeper) == 2 * starts


@given(st.integers(0, 2**32))
def test_killed_at_any_time_every_frame_counts_once(tmp_path_factory, seed):
    draw = random.Random(seed)
    file = tmp_path_factory.mktemp("kills") / "history.db"
    frames = [frame(NOW + n, float(n)) for n in range(30)]
    done = 0
    while done < len(frames):
        keeper = Keeper(file, Present([]), Log())
        keeper.open()
        upto = draw.randint(done + 1, len(frames))
        keeper.take(batch(frames[done:upto], done + 1), NOW + 30)
        done = draw.choice([done, upto])  # killed before the queue heard of it, or after
    assert counts(keeper) == len(frames)


def begun_anew(folder):
    """Keep a reading where another file has the place of the history; return that file, set aside."""
    log = Log()
    keeper = Keeper(folder / "history.db", Present([]), log)
    keeper.open()
    keeper.take(batch([frame(NOW, 1.0)], 1), NOW)
    assert counts(keeper) == 1
    assert len(log.lines) == 1
    (aside,) = folder.glob("history.db.damaged-*")
    return aside


@pytest.mark.parametrize(
    "damage", [b"this is no database at all" * 200, b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 9000]
)
def test_a_damaged_file_is_set_aside_and_a_new_one_begins(tmp_path, damage):
    (tmp_path / "history.db").write_bytes(damage)
    assert begun_anew(tmp_path).read_bytes() == damage


@pytest.mark.parametrize("table", ["precious (x)", "minutes (x)", "series (x)"])
def test_another_programs_database_is_set_aside_as_it_is(tmp_path, table):
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as other:
        other.execute(f"create table {table}")
        other.executescript("create table more (x); insert into more values (7)")
    with contextlib.closing(sqlite3.connect(begun_anew(tmp_path))) as other:
        assert other.execute("select * from more").fetchall() == [(7,)]


def test_one_that_is_damaged_while_it_is_in_use_is_set_aside_too(tmp_path, keeper):
    keeper.take(batch([frame(NOW, 1.0)], 1), NOW)
    (tmp_path / "history.db").write_bytes(b"\x55" * 20_000)
    (tmp_path / "history.db-wal").unlink(missing_ok=True)
    keeper.take(batch([frame(NOW + 60, 1.0)], 2), NOW + 60)
    assert counts(keeper) == 1
    assert list(tmp_path.glob("history.db.damaged-*"))


def test_damage_that_only_a_write_finds_is_set_aside_too(tmp_path, keeper):
    # given a file whose pages fit together
    keeper.take(batch([frame(NOW, 1.0)], 1), NOW)
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as db, db:
        db.execute("update minutes set data = x'00'")
    keeper.take(batch([frame(NOW + 1, 1.0)], 2), NOW + 1)
    assert counts(keeper) == 1
    assert len(list(tmp_path.glob("history.db.damaged-*"))) == 1


@pytest.mark.parametrize("fails", ["once", "for a while"])
def test_a_disk_that_cannot_read_for_a_while_takes_nothing_of_it(tmp_path, keeper, monkeypatch, fails):
    # given a disk of which SQLite says that the file is damaged
    keeper.take(batch([frame(NOW, 1.0)], 1), NOW)
    left = [1 if fails == "once" else 4]
    add, opened = History.add, History.open

    def fail(real):
        def call(*arguments: object, **named: object) -> object:
            left[0] -= 1
            if left[0] >= 0:
                raise Damaged("database disk image is malformed")
            return real(*arguments, **named)

        return call

    def cannot_read(_: Path) -> None:
        if left[0] > 0:
            raise OSError("Input/output error")

    monkeypatch.setattr(History, "add", fail(add))
    monkeypatch.setattr(History, "open", fail(opened))
    monkeypatch.setattr(keeper_module, "_read_through", cannot_read)
    # when it is written, and where that fails written again
    for _ in range(5):
        with contextlib.suppress(TryLater):
            keeper.take(batch([frame(NOW + 60, 1.0)], 2), NOW + 60)
    # then all of it is there
    assert counts(keeper) == 2
    assert not list(tmp_path.glob("*.damaged-*"))


@pytest.mark.parametrize("where", ["open", "add"])
def test_a_disk_that_cannot_read_now_and_then_takes_nothing_of_it(tmp_path, keeper, monkeypatch, where):
    # given that a read failed each time, but not where all of the file was read
    keeper.take(batch([frame(NOW, 1.0)], 1), NOW)
    left, really = [keeper_module._TRIES], getattr(History, where)

    def fail(*arguments: object, **named: object) -> object:
        left[0] -= 1
        if left[0] >= 0:
            raise Damaged("database disk image is malformed")
        return really(*arguments, **named)

    monkeypatch.setattr(History, where, fail)
    keeper.open()
    keeper.take(batch([frame(NOW + 60, 1.0)], 2), NOW + 60)
    # then all of it is there
    assert counts(keeper) == 2
    assert not list(tmp_path.glob("*.damaged-*"))


def test_a_file_on_a_bad_block_is_set_aside_in_the_end(tmp_path, keeper, monkeypatch):
    def cannot_read(_: Path) -> None:
        raise OSError("Input/output error")

    (tmp_path / "history.db").write_bytes(b"\x55" * 20_000)
    (tmp_path / "history.db-wal").unlink(missing_ok=True)
    monkeypatch.setattr(keeper_module, "_read_through", cannot_read)
    for _ in range(keeper_module._TRIES):
        with pytest.raises(TryLater, match="Input/output error"):
            keeper.take(batch([frame(NOW + 60, 1.0)], 2), NOW + 60)
    keeper.take(batch([frame(NOW + 60, 1.0)], 2), NOW + 60)
    assert counts(keeper) == 1
    assert len(list(tmp_path.glob("history.db.damaged-*"))) == 1


@pytest.mark.parametrize("then", ["write", "read"])
def test_one_that_is_removed_while_it_is_in_use_begins_anew(tmp_path, keeper, then):
    keeper.take(batch([frame(NOW, 1.0)], 1), NOW)
    for file in tmp_path.glob("history.db*"):
        file.unlink()
    if then == "read":
        with pytest.raises(OSError, match="no such table"):
            counts(keeper)
    keeper.take(batch([frame(NOW + 60, 1.0)], 2), NOW + 60)
    assert counts(keeper) == 1


def test_one_that_could_only_be_begun_is_made_at_the_next_try(tmp_path, keeper, monkeypatch):
    # given a disk that is full after the first page of a new file
    def begin(history: History) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as db:
            db.execute("pragma user_version = 1")
        raise OSError("database or disk is full")

    (tmp_path / "history.db").unlink()
    with monkeypatch.context() as disk:
        disk.setattr(History, "open", begin)
        with pytest.raises(TryLater, match="disk is full"):
            keeper.take(batch([frame(NOW, 1.0)], 1), NOW)
    # when there is room
    keeper.take(batch([frame(NOW, 1.0)], 1), NOW)
    assert counts(keeper) == 1


def test_where_it_cannot_be_written_the_frames_stay_in_the_queue_and_the_page_stays_up(tmp_path):
    state = tmp_path / "gone"
    present = Present([value()])
    with serving(present, state) as page:  # a folder that is not there
        with pytest.raises(TryLater, match="the history cannot be written"):
            page.send(batch([frame(NOW, 1.0)], 1))
        assert get(page, "/")[0] == 200
        assert get(page, "/chart?node=9&index=1")[0] == 503
        state.mkdir()
        page.clock = VirtualClock(wall=NOW + 60)
        page.send(batch([frame(NOW, 1.0)], 1))
        assert get(page, "/chart?node=9&index=1")[0] == 200
    assert page.wake().seconds  # the core keeps it open after a TryLater


def test_a_section_has_a_file_of_its_own_whatever_its_name(tmp_path):
    assert file_of(tmp_path, "my/page ü").parent == tmp_path
    assert file_of(tmp_path, "a") != file_of(tmp_path, "b")


def test_a_tile_has_the_24_hours_and_what_is_not_written_yet_from_the_present(tmp_path):
    hour = [None] * 58 + [30.0, 40.0]
    with serving(Present([value(hour=hour)]), tmp_path) as page:
        page.clock = VirtualClock(wall=NOW)
        page.send(batch([frame(NOW - 5 * HOUR, 10.0), frame(NOW - 4 * HOUR, 12.0)], 1))
        body = get(page, "/")[2].decode()
    assert "least of 24 hours" in body
    assert re.search(r'class="least">10.0<', body)
    assert re.search(r'class="greatest">40.0<', body)
    assert '<a href="chart?node=9&amp;index=1&amp;span=24h">cellar</a>' in body


@pytest.mark.parametrize(
    ("shown", "greatest"),
    [
        ({"value": 41.0}, "41.0"),
        ({"value": None, "last": 41.0, "age": 9.0}, "41.0"),
        ({"value": None, "last": 41.0, "age": 2 * DAY}, "29.0"),
    ],
)
def test_the_least_and_the_greatest_of_a_tile_are_values_and_no_means_and_the_latest_is_among_them(
    tmp_path, shown, greatest
):
    with serving(Present([value(hour=[], **shown)]), tmp_path) as page:
        page.clock = VirtualClock(wall=NOW)
        page.send(batch([frame(NOW - 5 * HOUR + second, 10.0 + second) for second in range(20)], 1))
        body = get(page, "/")[2].decode()
    assert re.search(r'class="least">10.0<', body)
    assert re.search(rf'class="greatest">{greatest}<', body)


def test_without_a_history_there_are_no_charts(tmp_path):
    with serving(Present([value()]), tmp_path, keep="no") as page:
        page.send(batch([frame(NOW, 1.0)], 1))
        assert get(page, "/chart?node=9&index=1")[0] == 404
        assert b"/chart" not in get(page, "/")[2]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def page(tmp_path):
    with serving(Present([value(unit="W")]), tmp_path) as page:
        page.clock = VirtualClock(wall=NOW)
        frames = [frame(NOW - DAY + minute * 60, float(minute % 100)) for minute in range(1440)]
        page.send(batch(frames[:1000], 1))
        page.send(batch(frames[1000:], 1001))
        yield page


def test_a_series_as_json(page):
    code, headers, body = get(page, "/api/series?node=9&index=1&span=7d")
    said = json.loads(body)
    assert (code, headers["content-type"], said["step"]) == (200, "application/json", 1800)
    assert len(said["points"]) == 48
    assert said["points"][0] == [NOW - DAY, 14.5, 0.0, 29.0, 30]
    assert sum(point[4] for point in said["points"]) == 1440


def test_a_series_as_csv(page):
    rows = get(page, "/series.csv?node=9&index=1&span=24h")[2].decode().splitlines()
    assert rows[0] == "unix,time,mean,least,greatest,count"
    assert rows[1] == f"{NOW - DAY:.0f},2023-11-13T12:00:00Z,2,0,4,5"
    assert len(rows) == 289


@pytest.mark.parametrize("span", SPANS)
def test_each_chart_is_drawn_with_round_numbers_and_its_time_zone_is_named(page, span):
    body = get(page, f"/chart?node=9&index=1&span={span}&tz=Europe/Berlin")[2].decode()
    assert body.count("<h1>") == 1
    assert "Times are in Europe/Berlin." in body
    assert f'aria-current="page">{SPANS[span].words}</a>' in body
    labels = re.findall(r'<text class="scale"[^>]*>([^<]*)<', body)
    assert labels == ["0", "25", "50", "75", "100"]
    assert re.search(r'<path class="line" d="M[\d.]+ [\d.]+L', body)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("node=9&index=1&tz=Mars/Olympus", 400),
        ("node=9&index=1&tz=../../etc/passwd", 400),
        ("node=9&index=1&tz=%00", 400),
        ("node=9&index=1&span=9y", 400),
        ("node=9&index=one", 400),
        ("node=9", 400),
        ("index=1", 400),
        ("node=9&index=2", 404),
        ("node=<script>&name=x", 404),
        ("&".join(f"a{n}=1" for n in range(99)), 400),
    ],
)
def test_what_is_asked_wrongly_is_refused(page, query, code):
    for path in ("/chart", "/api/series", "/series.csv"):
        assert get(page, f"{path}?{query}")[0] == code


def test_a_series_by_name_has_its_chart(tmp_path):
    with serving(Present([value(index=None, label="<power>")]), tmp_path) as page:
        page.clock = VirtualClock(wall=NOW)
        named = Frame("9", (5.0,), Stamp(NOW, "", 0.0), ("<power>",), by_name=True)
        page.send(Batch([named], [1], ["a"]))
        link = "/" + re.search(r'href="(chart[^"]*)"', get(page, "/")[2].decode())[1].replace("&amp;", "&")
        code, _, body = get(page, link)
    assert code == 200
    assert "&lt;power&gt;" in body.decode()
    assert "<power>" not in body.decode()


# Times and scales.


def berlin(*day: int) -> float:
    return datetime(*day, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


@pytest.mark.parametrize(
    ("until", "hours"),
    [((2026, 3, 30), 23), ((2026, 10, 26), 25), ((2026, 7, 2), 24)],
)
def test_days_of_23_and_25_hours_have_their_ticks_at_local_times(until, hours):
    end = berlin(*until)
    view = View(SPANS["7d"], end + 3600, ZoneInfo("Europe/Berlin"))
    days = [at for at, _ in ticks(view)]
    assert (days[-1] - days[-2]) / HOUR == hours
    view = View(SPANS["24h"], end, ZoneInfo("Europe/Berlin"))
    assert {words for _, words in ticks(view)} == {"00:00", "04:00", "08:00", "12:00", "16:00", "20:00"}


def test_a_time_zone_of_half_hours_has_ticks_at_its_own_full_hours():
    view = View(SPANS["24h"], NOW, ZoneInfo("Asia/Kolkata"))
    assert all(at % HOUR == 1800 for at, _ in ticks(view))
    assert len([*ticks(view)]) == 6


@pytest.mark.parametrize("span", SPANS)
def test_a_chart_has_some_ticks_and_not_too_many(span):
    for passed in range(0, 400, 7):
        assert 3 <= len([*ticks(View(SPANS[span], NOW + passed * DAY, UTC))]) <= 8


@given(st.floats(-3.4e38, 3.4e38), st.floats(0, 1e38))
@example(0.0, 5e-324)
@example(3.4e38, 0.0)
def test_scales_are_round_and_cover_their_values(least, span):
    greatest = least + span
    scale = nice(least, greatest)
    step = scale[1] - scale[0]
    assert scale[0] <= least + step * 1e-6
    assert scale[-1] >= greatest - step * 1e-6
    assert 2 <= len(scale) <= 7


def test_gaps_are_gaps_and_marks_are_drawn_and_escaped():
    view = View(SPANS["24h"], NOW, UTC)
    points = [Point(NOW - 20 * HOUR + n * 300, 1.0 + n, 0.0, 9.0, 1) for n in (0, 1, 2, 50, 51)]
    marks = [Mark(NOW - HOUR, NOW - HOUR, "<28.A>"), Mark(NOW - 5 * HOUR, NOW - 4 * HOUR, "off")]
    drawn = "".join(chart(points, marks, view, "°C"))
    assert (drawn.count('class="line"'), drawn.count('class="band"')) == (2, 2)
    assert (drawn.count('class="mark"'), drawn.count('class="off"')) == (1, 1)
    assert "&lt;28.A&gt;" in drawn
    assert "style=" not in drawn


def test_points_are_grouped_by_weight():
    points = [Point(0.0, 1.0, 0.0, 2.0, 1), Point(60.0, 4.0, 3.0, 9.0, 3), Point(300.0, 5.0, 5.0, 5.0, 1)]
    assert grouped(points, 300) == [Point(0.0, 3.25, 0.0, 9.0, 4), Point(300.0, 5.0, 5.0, 5.0, 1)]


# The command.

CONFIGURATION = (
    "[listeners]\n[[lines]]\ntype = tcp\nport = 1\n"
    "[dispatchers]\n[[page]]\ntype = page\n[[other]]\ntype = page\nport = 8089\n"
)


@pytest.fixture
def file(written, tmp_path):
    made = written(state_line(tmp_path) + CONFIGURATION)
    (tmp_path / "state").mkdir(exist_ok=True)
    return made


@pytest.fixture
def command(capsys):
    """Run a command to its end."""

    def run(*arguments):
        status = main([*map(str, arguments)])
        said = capsys.readouterr()
        return SimpleNamespace(returncode=status, stdout=said.out, stderr=said.err)

    return run


def test_exported_and_imported_a_history_is_the_same_and_twice_is_once(command, file, tmp_path):
    history = History(file_of(tmp_path / "state", "page"))
    history.open()
    readings = [reading(NOW + n * 60, n / 3) for n in range(300)]
    history.add([*readings, reading(NOW, 7.0, key="=power")], PLACE, NOW + DAY)
    out = tmp_path / "out.csv"
    done = command("--config-file", file, "history", "export", out, "--section", "page")
    assert (done.returncode, done.stderr) == (0, "")
    for added in (307, 0):
        done = command("--config-file", file, "history", "import", out, "--section", "other")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{added} of 307 minutes and hours are added")
    other = History(file_of(tmp_path / "state", "other"))
    for key in ("1", "=power"):
        for read in ("minutes", "hours"):
            times = ("9", key, NOW - DAY, NOW + DAY)
            assert getattr(other, read)(*times) == getattr(history, read)(*times)
    assert len([*csv.DictReader(out.read_text().splitlines())]) == 307


def test_an_export_is_whole_or_not_written_and_for_its_owner_alone(command, file, tmp_path, monkeypatch):
    history = History(file_of(tmp_path / "state", "page"))
    history.open()
    history.add([reading(NOW + n * 60, n / 3, key="=öl") for n in range(100)], PLACE, NOW + DAY)
    export = ("--config-file", file, "history", "export")
    done = command(*export, "/dev/full", "--section", "page")
    assert (done.returncode, done.stderr) == (1, "oemgateway: /dev/full: No space left on device\n")
    out = tmp_path / "out.csv"
    assert command(*export, out, "--section", "page").returncode == 0
    assert out.stat().st_mode & 0o777 == 0o600
    # when the next one breaks off, the last one is still there
    before = out.read_bytes()
    monkeypatch.setattr(History, "hours", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command(*export, out, "--section", "page")
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".out*"))


@pytest.fixture
def may_only_read(tmp_path, monkeypatch):
    """Given a history, part of it in its log of commits, that this user may only read."""
    kept = file_of(tmp_path / "state", "page")
    history = History(kept)
    history.open()
    with contextlib.closing(sqlite3.connect(kept)) as reader:
        reader.execute("select * from series").fetchall()
        history.add([reading(NOW, 7.0)], PLACE, NOW + DAY)
        access = os.access
        monkeypatch.setattr(
            "gateway.dispatchers.page.history.command.os.access",
            lambda place, mode: not mode & os.W_OK and access(place, mode),
        )
        yield kept


def test_who_may_only_read_can_export(command, file, tmp_path, may_only_read):
    before = {each: each.stat().st_mtime_ns for each in may_only_read.parent.iterdir()}
    out = tmp_path / "out.csv"
    done = command("--config-file", file, "history", "export", out, "--section", "page")
    assert (done.returncode, done.stderr) == (0, "")
    assert ",60,9,1,,7,7,7,1\n" in out.read_text()
    assert {each: each.stat().st_mtime_ns for each in may_only_read.parent.iterdir()} == before


def test_an_export_waits_until_nobody_writes(command, file, tmp_path, may_only_read, monkeypatch):
    # given a gateway that writes while the file is copied
    copy = shutil.copyfileobj
    left = [2]

    def copied(source, target):
        copy(source, target)
        if left[0]:
            left[0] -= 1
            os.utime(may_only_read, ns=(left[0], left[0]))

    monkeypatch.setattr(shutil, "copyfileobj", copied)
    words = ("--config-file", file, "history", "export", "-", "--section", "page")
    # when it is exported, then that is tried again, and if it never ends it is said
    assert command(*words).returncode == 0
    assert left == [0]
    left[0] = 1000
    done = command(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"oemgateway: {may_only_read}: it is being written: try again\n"


def test_who_may_only_read_is_told_what_an_import_needs(command, file, tmp_path, may_only_read):
    given = tmp_path / "in.csv"
    given.write_text("unix,seconds,node,index,name,mean,least,greatest,count\n")
    words = "this user may not write there: sudo"
    for section, place in (("page", may_only_read), ("other", may_only_read.parent)):
        done = command("--config-file", file, "history", "import", given, "--section", section)
        assert (done.returncode, done.stderr) == (1, f"oemgateway: {place}: {words}\n")


def test_an_export_to_a_terminal_of_other_text_is_that_to_a_file(file, tmp_path):
    history = History(file_of(tmp_path / "state", "page"))
    history.open()
    history.add([reading(NOW, 7.0, key="=öl")], PLACE, NOW + DAY)
    words = ["history", "export", "-", "--section", "page"]
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--config-file", str(file), *words],
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    assert f"{NOW:.0f},60,9,,öl,7,7,7,1\n" in done.stdout.decode()


@pytest.mark.parametrize(
    ("given", "words"),
    [(b"unix\nw\xe4rme\n", "a text in UTF-8 expected; nothing is imported")],
)
def test_a_file_that_is_no_text_is_refused_in_words(command, file, tmp_path, given, words):
    (tmp_path / "in.csv").write_bytes(given)
    done = command("--config-file", file, "history", "import", tmp_path / "in.csv", "--section", "page")
    assert (done.returncode, done.stderr) == (1, f"oemgateway: {tmp_path / 'in.csv'}: {words}\n")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("x,60,9,1,,1,1,1,1", "unix: the time of a whole minute, which is not to come, expected, not x"),
        ("61,60,9,1,,1,1,1,1", "unix: the time of a whole minute, which is not to come, expected, not 61"),
        ("60,3600,9,1,,1,1,1,1", "unix: the time of a whole hour, which is not to come, expected, not 60"),
        ("99999999960,60,9,1,,1,1,1,1", "unix: the time of a whole minute, which is not to come, exp"),
        ("60,61,9,1,,1,1,1,1", "seconds: 60 or 3600 expected, not 61"),
        ("60,60,,1,,1,1,1,1", "node: a name of 1 to 64 characters expected, not nothing"),
        ("60,60,9,1,,nan,1,1,1", "mean: a number expected, not nan"),
        ('60,60,9,1,,"1,5",1,1,1', "mean: a number expected, not 1,5"),
        ("60,60,9,1,,1,1,1e99,1", "greatest: a number expected, not 1e99"),
        (
            "60,60,9,,,1,1,1,1",
            "name: a name of 1 to 64 characters, as there is no index, expected, not nothing",
        ),
        ("60,60,9,-1,,1,1,1,1", "index: 1 to 9999, or nothing and a name, expected, not -1"),
        ("60,60,9,10000,,1,1,1,1", "index: 1 to 9999, or nothing and a name, expected, not 10000"),
        ("60,60,9,1,,1,1,1", "count: 1 to 65535 expected, not nothing"),
        ("60;60;9;1;;1;1;1;1", "seconds: 60 or 3600 expected, not nothing"),
    ],
)
def test_a_bad_line_is_named_with_its_column_and_nothing_is_imported(command, file, tmp_path, bad, words):
    given = tmp_path / "in.csv"
    columns = "unix,seconds,node,index,name,mean,least,greatest,count"
    given.write_text(f"{columns}\n\n1700000040,60,9,1,,1,1,1,1\n{bad}\n")
    done = command("--config-file", file, "history", "import", given, "--section", "page")
    assert done.returncode == 1
    assert done.stderr.startswith(f"oemgateway: {given}: line 4: {words}")
    assert not file_of(tmp_path / "state", "page").exists()


def test_what_a_spreadsheet_has_saved_is_imported(command, file, tmp_path):
    given = tmp_path / "in.csv"
    columns = "unix,seconds,node,index,name,mean,least,greatest,count"
    given.write_text(
        f"\ufeff{columns}\r\n{NOW // 60 * 60:.0f},60,9,1,,1,1,1,1\r\n", encoding="utf-8", newline=""
    )
    done = command("--config-file", file, "history", "import", given, "--section", "page")
    assert (done.returncode, done.stdout.partition(" minutes")[0]) == (0, "1 of 1")


def test_what_is_imported_takes_the_place_of_no_series(command, file, tmp_path):
    # given a history, and a file with as many series as a history has
    history = History(file_of(tmp_path / "state", "page"))
    history.open()
    history.add([reading(NOW, 7.0)], PLACE, NOW + DAY)
    columns = "unix,seconds,node,index,name,mean,least,greatest,count"
    given = tmp_path / "in.csv"
    given.write_text(
        "\n".join([columns, *(f"1700000040,60,other,{n},,1,1,1,1" for n in range(1, SERIES + 1))])
    )
    # when
    done = command("--config-file", file, "history", "import", given, "--section", "page")
    # then
    assert done.stdout.startswith(f"{SERIES - 1} of {SERIES} minutes and hours are added")
    assert ("9", "1") in history.known()
    assert len(history.known()) == SERIES


def test_what_cannot_be_a_history_is_refused_at_once(command, file, tmp_path):
    # given a pipe, which cannot be read twice, and a line that never ends
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b"unix,seconds\n")
    for file_given, words in (
        (pipe, "a file expected, not a pipe"),
        (Path("/dev/zero"), "line 1: the columns unix, seconds, node,"),
    ):
        done = command("--config-file", file, "history", "import", file_given, "--section", "page")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"oemgateway: {file_given}: {words}")
        assert done.stderr.endswith("; nothing is imported\n")
    os.close(writer)


def test_which_page_is_to_be_named_where_there_are_several(command, file):
    done = command("--config-file", file, "history", "export", "-")
    assert (done.returncode, done.stderr) == (1, "oemgateway: --section: one of page, other expected\n")


def test_without_a_history_yet_it_says_so(command, file):
    done = command("--config-file", file, "history", "export", "-", "--section", "page")
    assert (done.returncode, done.stderr) == (1, "oemgateway: page has written no history yet\n")


def test_a_file_that_is_no_database_is_damaged(tmp_path):
    (tmp_path / "history.db").write_bytes(b"x" * 5000)
    with pytest.raises(Damaged):
        History(tmp_path / "history.db").known()


def test_the_journal_and_the_log_of_another_database_take_nothing(tmp_path, caplog):
    # given a history, and what another program and another history, both killed, have left under its name
    history = History(tmp_path / "history.db")
    history.open()
    history.add([reading(NOW, 5.0)], PLACE, NOW)
    other = History(tmp_path / "other.db")
    other.open()
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as reader:
        reader.execute("select * from series").fetchall()  # its log stays
        other.add([Reading(NOW, "other", str(n), 1.0) for n in range(1, 60)], PLACE, NOW)
        log = (tmp_path / "other.db-wal").read_bytes()
    with contextlib.closing(sqlite3.connect(tmp_path / "third.db", isolation_level=None)) as third:
        third.executescript("create table t (x); begin; insert into t values (zeroblob(20000)); commit")
        third.execute("pragma cache_size = 1")
        third.executescript("begin; delete from t; insert into t values (zeroblob(90000))")
        journal = (tmp_path / "third.db-journal").read_bytes()
    (tmp_path / "history.db-wal").write_bytes(log)
    (tmp_path / "history.db-journal").write_bytes(journal)
    # when it is opened, then they are kept under other names, and it has what it had
    history.open()
    assert [point.mean for point in history.minutes("9", "1", NOW, NOW + 60)] == [5.0]
    assert history.known() == [("9", "1")]
    for kind, content in (("wal", log), ("journal", journal)):
        (aside,) = tmp_path.glob(f"history.db-{kind}.damaged-*")
        assert aside.read_bytes() == content
    assert caplog.text.count("is not of this file: kept as") == 2
