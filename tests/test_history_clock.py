"""The history, where the clock of a boot turns out to have been wrong after minutes were written."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import time
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dispatchers.page.history.blocks import DAY, HOUR, Point
from gateway.dispatchers.page.history.history import Mark
from gateway.dispatchers.page.history.keeper import Keeper
from gateway.frame import Frame, Stamp
from gateway.plugin import Batch, TryLater
from gateway.present.status import ClockStatus
from tests.gateway_process import GatewayProcess, state
from tests.pages import Present
from tests.ports import connect, free_port
from tests.statuses import status
from tests.waiting import wait_until

NOW = 1_700_000_000.0 - 1_700_000_000.0 % DAY + 12 * HOUR
LOG = logging.getLogger("test")


def frame(boottime: float, value: float, offset: float, boot: str = "now") -> Frame:
    """Return a frame of node 9 that was taken in a boot whose clock is `offset` ahead of the boot's own."""
    return Frame("9", (value,), Stamp(boottime + offset, boot, boottime))


class Queue:
    """Gives frames to a history, each with the next id."""

    def __init__(self, file, *, is_sure: bool = False) -> None:
        self.present = Present([])
        self.keeper = Keeper(file, self.present, LOG, is_sure=lambda: is_sure)
        self.keeper.open()
        self.next = 1

    def give(self, *frames: Frame, first: int = 0, now: float = NOW) -> None:
        first = first or self.next
        self.keeper.take(Batch(frames, [*range(first, first + len(frames))], ["a"] * len(frames)), now)
        self.next = first + len(frames)

    def minutes(self, key: str = "1") -> list[Point]:
        return self.keeper.history.minutes("9", key, NOW - 29 * DAY, NOW + DAY)

    def hours(self) -> list[Point]:
        return self.keeper.history.hours("9", "1", NOW - 700 * DAY, NOW + DAY)

    def marks(self) -> list[Mark]:
        return self.keeper.history.marks("9", "1", 0.0, NOW + DAY)


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path / "history.db")


def test_minutes_of_a_wrong_clock_move_to_their_right_time_once_and_nothing_else_moves(queue):
    # given readings of an earlier boot and of a sender's own clock, and a boot that began with an old time
    right = NOW - 100.0
    wrong = right - 9 * HOUR - 30 * 60
    earlier = [Frame("9", (5.0,), Stamp(NOW - 10 * HOUR + n * 60, "before", n * 60.0)) for n in range(31)]
    sender = Frame("9", (7.0,), Stamp(wrong + 160, "", 0.0))
    wrongly = [frame(100.0 + n * 60, float(n), wrong) for n in range(45)]
    queue.give(*earlier, sender, *wrongly)
    assert wrongly[0].stamp.wall == earlier[-1].stamp.wall  # in the same minute even
    # when the clock is set right
    queue.give(frame(100.0 + 45 * 60, 45.0, right), now=NOW + HOUR)
    # then each minute is where it was taken, and the others are where they were
    expected = [Point(each.stamp.wall, 5.0, 5.0, 5.0, 1) for each in earlier]
    expected.append(Point(sender.stamp.wall // 60 * 60, 7.0, 7.0, 7.0, 1))
    expected += [Point(NOW + n * 60, float(n), float(n), float(n), 1) for n in range(46)]
    assert queue.minutes() == expected
    # and so it is with the hours
    assert [(point.at, point.count) for point in queue.hours()] == [
        (NOW - 10 * HOUR, 32),
        (NOW, 46),
    ]
    assert queue.hours()[1].mean == pytest.approx(22.5)
    # and while nothing else is set, nothing moves any more
    queue.give(frame(100.0 + 46 * 60, 46.0, right), now=NOW + HOUR)
    assert queue.minutes()[:-1] == expected
    assert queue.minutes()[-1].at == NOW + 46 * 60


def test_an_hour_that_comes_to_lie_in_two_is_split_by_its_minutes_and_keeps_its_extremes(queue):
    values = [20.0] * 60
    values[10], values[50] = 12.0, 31.0
    offset = NOW - 5 * HOUR - 7200.0
    queue.give(*(frame(7200.0 + n * 60, value, offset) for n, value in enumerate(values)))
    queue.give(frame(7200.0 + 3540, 18.0, offset))  # the last minute has two values
    queue.give(frame(12000.0, 20.0, offset + 2 * HOUR + 20 * 60))
    first, second = queue.hours()[:2]
    assert (first.at, first.count, first.least, first.greatest) == (NOW - 3 * HOUR, 40, 12.0, 20.0)
    assert (second.at, second.count, second.least, second.greatest) == (NOW - 2 * HOUR, 22, 19.0, 31.0)


def test_what_happened_moves_too(queue):
    # given a gateway that was switched off for a night, and started with the time of the evening
    evening = NOW - 12 * HOUR
    queue.give(Frame("9", (1.0,), Stamp(evening, "before", 900.0)))
    again = Queue(queue.keeper._file)
    again.give(frame(100.0, 1.0, evening - 40), first=2)
    assert again.marks() == []
    queue.keeper._present.identity = again.keeper._present.identity = "28.A"
    again.give(frame(200.0, 1.0, evening - 40))
    again.keeper._present.identity = "28.B"
    again.give(frame(260.0, 1.0, evening - 40))
    # when it gets the time of the morning
    again.give(frame(320.0, 1.0, evening - 40 + 10 * HOUR))
    # then the night is a gap, and the sensor was replaced this morning
    assert again.marks() == [
        Mark(evening, evening + 10 * HOUR + 60, "the gateway had no readings"),
        Mark(evening + 10 * HOUR + 220, evening + 10 * HOUR + 220, "28.A was replaced by 28.B"),
    ]


def test_a_clock_that_was_ahead_moves_back_and_what_was_sent_before_a_kill_with_it(queue):
    ahead = NOW + 30.0
    queue.give(frame(0.0, 1.0, ahead), frame(1.0, 2.0, ahead))
    # the first of these was sent before a kill, and is given again with the time that it had then
    queue.give(frame(2.0, 3.0, ahead), frame(3.0, 4.0, ahead - 5 * DAY))
    assert [(point.at, point.count) for point in queue.minutes()] == [(NOW - 5 * DAY, 4)]
    assert queue.keeper.history.newest() == NOW - 5 * DAY + 33.0


@pytest.mark.parametrize("is_sure", [True, False])
def test_what_an_earlier_boot_wrote_with_a_clock_a_year_ahead_blocks_nothing_where_the_clock_is_sure(
    tmp_path, is_sure
):
    # given a boot whose clock was believed, a multiple of both rings ahead; and then one with the right time
    queue, years = Queue(tmp_path / "history.db", is_sure=is_sure), 720 * 731 * HOUR
    ahead = NOW + years
    queue.give(*(frame(n * 60.0, 99.0, ahead, "before") for n in range(60)), now=ahead + HOUR)
    queue.give(*(frame(n * 60.0, 1.0, NOW, "now") for n in range(60)), now=NOW + HOUR)
    # then every reading has its minute and hour, but where nothing says which clock was right
    expected = [(NOW + n * 60, 1.0) for n in range(60)] if is_sure else []
    assert [(point.at, point.mean) for point in queue.minutes()] == expected
    assert [(point.at, point.mean) for point in queue.hours()] == expected[:1]
    # and what is not in its way stays, as it may be right
    queue.give(frame(3600.0, 99.0, ahead, "before"), now=ahead + 2 * HOUR)
    queue.give(frame(2 * 3600.0, 1.0, NOW, "now"), now=NOW + 3 * HOUR)
    assert len(queue.keeper.history.minutes("9", "1", ahead, ahead + DAY)) == (1 if is_sure else 61)


def test_what_has_no_slot_at_its_right_time_is_counted(queue):
    queue.give(
        Frame("9", (9.0,), Stamp(NOW, "", 0.0)), *(frame(n * 60.0, 1.0, NOW - HOUR) for n in range(60))
    )
    queue.give(frame(4000.0, 1.0, NOW - 720 * HOUR))
    assert queue.keeper.history.left_out == {"older-than-the-minutes": 60}
    assert [point.mean for point in queue.minutes()] == [9.0]
    assert [point.count for point in queue.hours()] == [60, 1, 1]


@given(st.randoms(use_true_random=False), st.lists(st.integers(-3000, 3000), min_size=1, max_size=4))
def test_moved_minutes_are_those_that_a_right_clock_would_have_written(tmp_path_factory, rng, steps):
    queue = Queue(tmp_path_factory.mktemp("clock") / "history.db")
    begun = NOW - 6 * DAY
    right: dict[float, list[float]] = defaultdict(list)

    def expect(at: float, value: float) -> None:
        right[at // 60 * 60].append(value)

    boottime, taken = 0.0, []
    for minutes in [*steps, 0]:  # the clock is wrong by so many minutes, and right at last
        frames = []
        for _ in range(rng.randrange(1, 40)):
            boottime += rng.choice([10.0, 60.0, 400.0])
            value = float(rng.randrange(100))
            frames.append(frame(boottime, value, begun + minutes * 60.0))
            taken.append((boottime, value))
        for _ in range(rng.randrange(3)):  # of a sender's own clock
            at, value = begun + rng.randrange(5 * DAY), float(rng.randrange(100))
            frames.insert(0, Frame("9", (value,), Stamp(at, "", 0.0)))
            expect(at, value)
        queue.give(*frames, now=NOW)
    for boottime, value in taken:
        expect(begun + boottime, value)
    found = {point.at: (point.count, point.mean) for point in queue.minutes()}
    wanted = {
        at: (len(there), pytest.approx(sum(there) / len(there), abs=1e-3)) for at, there in right.items()
    }
    assert found == wanted
    by_hour: dict[float, list[float]] = defaultdict(list)
    for at, there in right.items():
        by_hour[at // HOUR * HOUR] += there
    hours = queue.hours()
    assert {point.at: point.count for point in hours} == {at: len(there) for at, there in by_hour.items()}
    for point in hours:
        there = by_hour[point.at]
        assert point.mean == pytest.approx(sum(there) / len(there), abs=1e-3)
    everything = [value for there in right.values() for value in there]
    assert min(point.least for point in hours) == min(everything)
    assert max(point.greatest for point in hours) == max(everything)


def test_what_came_before_a_start_with_a_clock_that_is_behind_waits_until_it_is_right(queue):
    # given a boot whose clock is ten minutes behind, as the gateway knows, and readings of the one before
    before = [frame(n * 10, float(n), NOW - 100, "before") for n in range(3)]
    queue.present.how = status(clock=ClockStatus(doubt="behind", holding=True, steps=0, last_step=0.0))
    for _ in range(2):
        with pytest.raises(TryLater, match="the clock is wrong"):
            queue.give(*before, first=1, now=NOW - 600)
    # when it is right
    queue.present.how = status()
    queue.give(*before, first=1, now=NOW + 30)
    # then none of them is left out
    assert sum(point.count for point in queue.minutes()) == 3
    assert queue.keeper.history.left_out == {}


def test_killed_while_they_move_they_have_moved_once(tmp_path):
    # given three days of 20 indices under a wrong time
    file, offset, days = tmp_path / "history.db", NOW - 10 * DAY, 3
    keeper = Keeper(file, Present([]), LOG)
    keeper.open()
    frames = [
        Frame("9", (float(n % 50),) * 20, Stamp(n * 60.0 + offset, "now", n * 60.0))
        for n in range(days * 1440)
    ]
    keeper.take(Batch(frames, [*range(1, len(frames) + 1)], ["a"] * len(frames)), NOW)
    before = len(frames)
    right = Frame("9", (1.0,) * 20, Stamp(days * DAY + offset + 5 * DAY, "now", days * float(DAY)))
    rng = random.Random(1)
    # when it is killed while they move, again and again
    for _ in range(int(os.environ.get("KILLS", "5"))):
        if (child := os.fork()) == 0:
            again = Keeper(file, Present([]), LOG)
            again.open()
            again.take(Batch([right], [before + 1], ["a"]), NOW)
            os._exit(0)
        time.sleep(rng.random() * 0.3)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    # and then is not
    again = Keeper(file, Present([]), LOG)
    again.open()
    again.take(Batch([right], [before + 1], ["a"]), NOW)
    # then each minute is there once, five days later
    for key in ("1", "20"):
        found = again.history.minutes("9", key, NOW - 20 * DAY, NOW)
        assert [point.at for point in found] == [offset + 5 * DAY + n * 60 for n in range(days * 1440 + 1)]
        assert [(point.mean, point.count) for point in found[:-1]] == [
            (float(n % 50), 1) for n in range(before)
        ]
        assert sum(point.count for point in again.history.hours("9", key, NOW - 20 * DAY, NOW)) == before + 1


def test_the_running_gateway_moves_what_it_wrote_when_its_clock_is_set(tmp_path, written, faketime):
    # given a daemon whose clock is five hours behind, of which nothing tells
    port, page = free_port(), free_port()
    file = written(
        f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
        f"[dispatchers]\n[[page]]\ntype = page\nport = {page}\ninterval = 0\n"
    )
    clock = tmp_path / "clock"
    clock.write_text("-5h")
    environment = {
        "LD_PRELOAD": faketime,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

    def push(value: int) -> None:
        with connect(port) as client:
            client.sendall(f"15 {value}\n".encode())

    def points() -> list[list[float]]:
        with connect(page) as client:
            client.sendall(b"GET /api/series?node=15&index=1&span=24h HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        return json.loads(body)["points"] if b"200 OK" in head else []

    with GatewayProcess(file, **environment) as gateway:
        began = time.time()
        push(1)
        wait_until(points)
        assert points()[0][0] == pytest.approx(began - 5 * HOUR, abs=330)
        # when it is set
        clock.write_text("+0")
        push(2)
        # then both readings are now
        wait_until(lambda: sum(point[4] for point in points()) == 2)
        assert points()[0][0] == pytest.approx(began, abs=330)
        assert gateway.stop() == 0
