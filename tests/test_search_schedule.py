"""When a bus is searched for other devices."""

from __future__ import annotations

import pytest

from listeners.onewire.search_schedule import SearchSchedule
from listeners.simulated.clock import VirtualClock


@pytest.fixture
def clock():
    return VirtualClock()


def search(schedule: SearchSchedule, clock: VirtualClock, seconds: float) -> None:
    with schedule.searching():
        clock.sleep(seconds)


def next_search(schedule: SearchSchedule, clock: VirtualClock) -> float:
    """Return in how many seconds the next one is due, with eight sensors."""
    begun = clock.monotonic()
    while not schedule.is_due(8):
        clock.sleep(10)
    return clock.monotonic() - begun


def test_a_search_that_waited_for_a_bus_that_hangs_puts_the_next_off_for_half_an_hour_at_most(clock):
    # given seven seconds between two sweeps, and a search that took over a minute
    schedule = SearchSchedule(lambda seconds: seconds <= 7, clock)
    search(schedule, clock, 68)
    # when the next is made, and is quick again
    assert 1700 <= next_search(schedule, clock) <= 1800
    search(schedule, clock, 1)
    # then those after it are as if nothing had been
    assert next_search(schedule, clock) <= 60


def test_one_that_never_fits_between_two_sweeps_takes_a_hundredth_of_the_time(clock):
    schedule = SearchSchedule(lambda _: False, clock)
    search(schedule, clock, 5)
    assert 480 <= next_search(schedule, clock) <= 500
