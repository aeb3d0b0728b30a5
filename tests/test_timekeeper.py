from __future__ import annotations

import math

import pytest

from gateway.frame import Frame, Stamp
from gateway.timekeeper import Timekeeper, machine_is_synchronised
from listeners.simulated.clock import VirtualClock

NOW = 1_795_000_000.0
YEAR = 31_536_000.0


class Machine:
    """A machine whose clock shows `wall`, on which NOW - 1 day has been seen before."""

    def __init__(self, wall: float, mode: str = "hold") -> None:
        self.clock = VirtualClock(wall=wall)
        self.synchronised = False
        self.keeper = Timekeeper(
            self.clock, past=NOW - 86400, synchronised=lambda: self.synchronised, mode=mode
        )

    def set(self, wall: float) -> bool:
        self.clock.set_wall(wall)
        return self.keeper.look()


def test_a_right_clock_is_believed_though_nobody_keeps_it_right():
    machine = Machine(NOW)
    assert not machine.keeper.holding
    assert machine.keeper.latest("far") == math.inf


@pytest.mark.parametrize("wall", [0.0, NOW - YEAR])
def test_a_clock_that_shows_the_past_is_doubted_until_it_is_set(wall):
    machine = Machine(wall)
    assert machine.keeper.holding
    assert "before one that has passed" in machine.keeper.doubt
    assert machine.set(NOW)
    assert not machine.keeper.holding
    assert machine.keeper.steps == 1


def test_a_clock_that_the_server_contradicts_is_doubted(caplog):
    machine = Machine(NOW + YEAR)
    assert not machine.keeper.holding
    machine.keeper.told("far", NOW)
    assert "365 days ahead of the server's" in machine.keeper.doubt
    machine.clock.sleep(1000)
    machine.set(NOW + 1000)
    assert not machine.keeper.holding
    assert len([r for r in caplog.records if "held until" in r.message]) == 1
    assert len([r for r in caplog.records if "the clock is right" in r.message]) == 1


def test_the_server_knows_better_than_what_was_noted_here():
    machine = Machine(NOW - 2 * 86400)
    assert machine.keeper.holding
    machine.keeper.told("far", NOW - 2 * 86400 + 30)
    assert not machine.keeper.holding


def test_that_the_machine_is_synchronised_ends_a_hold():
    machine = Machine(NOW - YEAR)
    machine.synchronised = True
    machine.keeper.look()
    assert not machine.keeper.holding


def test_no_row_is_sent_that_is_later_than_the_server_takes_it():
    machine = Machine(NOW)
    machine.keeper.told("far", NOW - 50)
    machine.clock.sleep(100)
    assert machine.keeper.latest("far") == NOW + 50 + 60


def test_of_several_servers_each_has_a_clock_and_the_one_that_agrees_is_believed():
    machine = Machine(NOW)
    machine.keeper.told("right", NOW + 5)
    machine.keeper.told("behind", NOW - 3600)
    assert machine.keeper.doubt == ""
    assert machine.keeper.latest("right") == NOW + 65
    assert machine.keeper.latest("behind") == NOW - 3540
    # when the machine's own is set wrong none of them agrees
    machine.set(NOW + 7200)
    assert "120 minutes ahead of the server's" in machine.keeper.doubt


@pytest.mark.parametrize("how", ["it shows none any more", "it is not in use any more"])
def test_a_server_that_shows_no_time_contradicts_no_clock(how):
    machine = Machine(NOW)
    machine.keeper.told("far", NOW - 3600)
    assert machine.keeper.holding
    if how == "it shows none any more":
        machine.keeper.told("far", None)
    else:
        machine.keeper.attend(["other"])
    assert not machine.keeper.holding
    assert machine.keeper.latest("far") == math.inf


def test_a_clock_that_is_slewed_is_not_one_that_was_set():
    machine = Machine(NOW)
    for n in range(100):
        machine.clock.sleep(10)
        assert not machine.set(NOW + 10 * (n + 1) + 0.05 * n)
    assert machine.keeper.steps == 0


def test_where_it_is_wanted_nothing_is_held():
    assert not Machine(0.0, mode="send").keeper.holding


def test_a_frame_is_dated_by_the_boot_clock_to_the_second():
    machine = Machine(0.0)
    machine.clock.sleep(3)
    taken = machine.clock.now()
    machine.clock.sleep(1000)
    machine.set(NOW)
    dated = machine.keeper.dated(Frame("9", (1.0,), taken))
    assert dated.stamp == Stamp(NOW - 1000, taken.boot, taken.boottime)
    assert machine.keeper.dated(dated) is dated
    other = Frame("9", (1.0,), Stamp(5.0, "another boot", 3.0))
    assert machine.keeper.dated(other) is other


@pytest.mark.parametrize(
    ("off", "words"), [(61 * 60, "61 minutes"), (30, ""), (90, "90 s"), (3 * 3600, "3 hours"), (-90, "90 s")]
)
def test_in_words(off, words):
    machine = Machine(NOW + off)
    machine.keeper.told("far", NOW)
    assert words in machine.keeper.doubt
    assert bool(machine.keeper.doubt) == bool(words)


def test_the_machine_is_asked(tmp_path):
    assert machine_is_synchronised(tmp_path / "nowhere") in (True, False)
    (tmp_path / "synchronized").touch()
    assert machine_is_synchronised(tmp_path / "synchronized")
