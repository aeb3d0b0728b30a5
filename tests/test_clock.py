from __future__ import annotations

import time

import pytest

from gateway.clock import Clock, boot_id
from gateway.times.grid import Grid
from listeners.simulated.clock import VirtualClock, VirtualFlag

TEN = 1_700_000_000.0  # a multiple of ten


def ticks(clock: VirtualClock, interval: float, work: list[float]) -> list[float]:
    """Return the grid's stamps (after TEN) when each slot is followed by so many seconds of work."""
    grid, flag = Grid(interval, clock), VirtualFlag(clock)
    stamps = []
    for seconds in work:
        stamp = grid.wait(flag)
        assert stamp is not None
        stamps.append(stamp.wall - TEN)
        clock.sleep(seconds)
    return stamps


def test_the_grid_is_on_the_wall_clock_and_does_not_drift():
    assert ticks(VirtualClock(wall=TEN + 3.2), 10, [0.8] * 4) == [10, 20, 30, 40]


def test_a_sweep_that_takes_too_long_skips_slots_instead_of_stacking_them():
    assert ticks(VirtualClock(wall=TEN), 10, [0.8, 25, 0.8, 0.8]) == [10, 20, 50, 60]


def test_a_sweep_that_takes_a_little_too_long_costs_no_slot():
    assert ticks(VirtualClock(wall=TEN), 1, [1.1, 0.8, 1.2, 0.9, 0.8]) == [1, 2, 3, 4, 5]
    # and where all do, a slot now and then
    assert ticks(VirtualClock(wall=TEN), 1, [1.1] * 8) == [1, 2, 3, 5, 6, 7, 9, 10]
    # but nothing is read much later than its time says
    assert ticks(VirtualClock(wall=TEN), 60, [60.4, 60.4, 1, 1]) == [40, 100, 220, 280]


def test_a_clock_that_is_slewed_back_by_a_hair_does_not_repeat_a_slot():
    clock = VirtualClock(wall=TEN)
    grid, flag = Grid(10, clock), VirtualFlag(clock)
    first = grid.wait(flag)
    clock.set_wall(TEN + 9.9995)
    second = grid.wait(flag)
    assert first is not None
    assert second is not None
    assert [first.wall - TEN, second.wall - TEN] == [10, 20]


@pytest.mark.parametrize("step", [-31_536_000.0, 31_536_000.0, -25.0, 3600.5])
def test_a_clock_that_is_set_neither_stops_the_grid_nor_makes_it_run(step):
    clock = VirtualClock(wall=TEN)

    class SetWhileWaiting(VirtualFlag):
        def wait(self, timeout: float | None = None) -> bool:
            stopped = super().wait(timeout)
            if clock.monotonic() == 10:
                clock.set_wall(clock.wall() + step)
            return stopped

    grid, flag = Grid(10, clock), SetWhileWaiting(clock)
    stamps = [grid.wait(flag) for _ in range(4)]
    assert all(stamp and stamp.wall % 10 == 0 for stamp in stamps)
    assert clock.monotonic() <= 50
    walls = [stamp.wall for stamp in stamps if stamp]
    assert walls[1:] == [walls[1], walls[1] + 10, walls[1] + 20]


@pytest.mark.parametrize("interval", [10, 300, 3600, 86_400])
@pytest.mark.parametrize("step", [3000.5, -3000.5, 40_000.0, -40_000.0, 90_000.0])
def test_no_reading_has_a_time_at_which_it_was_not_taken(interval, step):
    clock = VirtualClock(wall=TEN + 3.3)
    set_at = clock.monotonic() + 0.7 * interval

    class SetWhileWaiting(VirtualFlag):
        def wait(self, timeout: float | None = None) -> bool:
            before = clock.monotonic()
            stopped = super().wait(timeout)
            if before <= set_at < clock.monotonic():
                clock.set_wall(clock.wall() + step)
            return stopped

    grid, flag = Grid(interval, clock), SetWhileWaiting(clock)
    for _ in range(4):
        began = clock.monotonic()
        stamp = grid.wait(flag)
        assert stamp
        assert stamp.wall % interval == 0
        assert stamp.wall == pytest.approx(clock.wall(), abs=0.001)
        # and none is waited for longer than until the next slot of the clock that was set
        assert clock.monotonic() - began <= 2 * interval


def test_a_clock_that_is_set_a_little_in_each_wait_costs_no_slot():
    clock = VirtualClock(wall=TEN)

    class SetWhileWaiting(VirtualFlag):
        def wait(self, timeout: float | None = None) -> bool:
            clock.set_wall(clock.wall() + 1.0)
            return super().wait(timeout)

    grid, flag = Grid(60, clock), SetWhileWaiting(clock)
    stamps = [grid.wait(flag) for _ in range(5)]
    walls = [stamp.wall for stamp in stamps if stamp]
    assert walls == [walls[0] + 60 * number for number in range(5)]


@pytest.mark.parametrize("interval", [1, 10, 3600])
def test_a_process_that_was_stopped_during_a_wait_gives_no_reading_the_time_of_an_earlier_slot(interval):
    clock = VirtualClock(wall=TEN + 0.3)

    class Stopped(VirtualFlag):
        def wait(self, timeout: float | None = None) -> bool:
            stopped = super().wait(timeout)
            if timeout and clock.monotonic() < interval:
                clock.sleep(5 * interval)
            return stopped

    grid, flag = Grid(interval, clock), Stopped(clock)
    for _ in range(3):
        stamp = grid.wait(flag)
        assert stamp
        assert stamp.wall - 0.001 <= clock.wall() < stamp.wall + interval


def test_the_stamp_says_the_slot_by_both_clocks():
    clock = VirtualClock(wall=TEN + 3, boottime=500)
    stamp = Grid(10, clock).wait(VirtualFlag(clock))
    assert stamp is not None
    assert (stamp.wall, stamp.boot, stamp.boottime) == (TEN + 10, "virtual", 507)


def test_the_grid_ends_when_asked_to_stop():
    clock = VirtualClock()
    flag = VirtualFlag(clock)
    flag.set()
    assert Grid(10, clock).wait(flag) is None


def test_the_real_clock_agrees_with_the_machine():
    clock = Clock()
    before = clock.monotonic()
    clock.sleep(0.001)
    stamp = clock.now()
    assert clock.monotonic() - before >= 0.001
    assert abs(stamp.wall - time.time()) < 5
    assert abs(stamp.boottime - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
    assert stamp.boot == boot_id()
