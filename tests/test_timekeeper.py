from __future__ import annotations

import math

import pytest

from gateway.frame import Stamp
from gateway.times.timekeeper import TOLERANCE, Timekeeper, machine_is_synchronised
from gateway.version import MADE
from listeners.simulated.clock import VirtualClock

NOW = MADE + 10 * 86400
YEAR = 31_536_000.0
THE_YEAR_2001 = 978_307_205.0


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
    machine.keeper.note_server_time("far", NOW)
    assert "365 days ahead of the server's" in machine.keeper.doubt
    machine.clock.sleep(1000)
    machine.set(NOW + 1000)
    assert not machine.keeper.holding
    assert len([r for r in caplog.records if "held until" in r.message]) == 1
    assert len([r for r in caplog.records if "the clock is right" in r.message]) == 1


def test_of_readings_that_are_sent_all_the_same_none_is_said_to_be_held(caplog):
    # given
    machine = Machine(0.0, mode="send")
    # when
    machine.set(NOW)
    # then
    doubted, _, right = [record.message for record in caplog.records]
    assert doubted.endswith(": readings are sent all the same")
    assert right == "the clock is right"


def test_the_server_knows_better_than_what_was_noted_here():
    machine = Machine(NOW - 2 * 86400)
    assert machine.keeper.holding
    machine.keeper.note_server_time("far", NOW - 2 * 86400 + 4)
    assert not machine.keeper.holding


def test_that_the_machine_is_synchronised_ends_a_hold():
    machine = Machine(NOW - YEAR)
    machine.synchronised = True
    machine.keeper.look()
    assert not machine.keeper.holding


def test_no_row_is_sent_that_is_later_than_the_server_takes_it():
    machine = Machine(NOW)
    machine.keeper.note_server_time("far", NOW - 50)
    machine.clock.sleep(100)
    assert machine.keeper.latest("far") == NOW + 50 + 60


def test_of_several_servers_each_has_a_clock_and_the_one_that_agrees_is_believed():
    machine = Machine(NOW)
    machine.keeper.note_server_time("right", NOW + 5)
    machine.keeper.note_server_time("behind", NOW - 3600)
    assert machine.keeper.doubt == ""
    assert machine.keeper.latest("right") == NOW + 65
    assert machine.keeper.latest("behind") == NOW - 3540
    # when the machine's own is set wrong none of them agrees
    machine.set(NOW + 7200)
    assert "120 minutes ahead of the server's" in machine.keeper.doubt


class TestSoonAfterABoot:
    """A Pi without a battery starts with the time at which it went down: behind by as long as that took."""

    @pytest.mark.parametrize("behind", [10, 14, 45])
    def test_a_clock_that_is_seconds_behind_the_servers_is_doubted_until_it_is_set(self, behind):
        # given
        machine = Machine(NOW)
        # when
        machine.keeper.note_server_time("far", NOW + behind)
        # then
        assert f"the clock is {behind} s behind the server's (believed ten min" in machine.keeper.doubt
        # and
        machine.set(NOW + behind)
        assert not machine.keeper.holding

    @pytest.mark.parametrize("off", [-50, -1, 0, 4])
    def test_one_that_is_not_is_believed(self, off):
        machine = Machine(NOW)
        machine.keeper.note_server_time("far", NOW + off)
        assert not machine.keeper.holding

    def test_one_that_something_keeps_right_is_believed(self):
        machine = Machine(NOW)
        machine.synchronised = True
        machine.keeper.note_server_time("far", NOW + 45)
        assert not machine.keeper.holding

    def test_where_nothing_sets_it_readings_go_on_after_ten_minutes(self):
        # given
        machine = Machine(NOW)
        machine.keeper.note_server_time("far", NOW + 14)
        assert machine.keeper.holding
        # when
        machine.clock.sleep(600)
        machine.keeper.look()
        # then
        assert not machine.keeper.holding


class TestAServerWhoseClockIsWrong:
    """NOW - 1 day is known to have passed, MADE certainly has."""

    @pytest.mark.parametrize("theirs", [5.0, THE_YEAR_2001, MADE - 60, NOW - 86400 - 3600])
    def test_a_time_that_has_passed_is_no_evidence_against_ours(self, theirs, caplog):
        machine = Machine(NOW)
        machine.keeper.note_server_time("wrong", theirs)
        assert (machine.keeper.doubt, machine.keeper.holding) == ("", False)
        assert caplog.records == []
        # and its own readings wait
        assert machine.keeper.latest("wrong") == theirs + 60
        assert "behind this machine's: readings for it wait until it is set right" in machine.keeper.behind(
            "wrong"
        )

    def test_what_has_passed_goes_on_with_the_boot(self):
        # given a gateway that has run for a month, on a right clock
        machine = Machine(NOW)
        machine.clock.sleep(30 * 86400)
        # when a server shows a time that had passed within it
        machine.keeper.note_server_time("wrong", NOW + 86400)
        assert not machine.keeper.holding
        # but one behind by less than is known of is evidence, as it was
        machine.keeper.note_server_time("wrong", NOW + 29.5 * 86400)
        assert machine.keeper.holding

    def test_it_does_not_vouch_for_ours_either(self):
        machine = Machine(NOW)
        old = Stamp(NOW - 10 * 86400, "another boot", 3.0)
        machine.keeper.note_server_time("wrong", THE_YEAR_2001)
        assert machine.keeper.age(old) == machine.clock.boottime()
        machine.keeper.note_server_time("right", NOW)
        assert machine.keeper.age(old) == 10 * 86400

    @pytest.mark.parametrize(
        ("ours", "theirs", "doubt"),
        [
            # one server: ours is right
            (0, [0], ""),
            (0, [-50], ""),
            (0, ["2001"], ""),
            (0, [-3600], "ahead of the server's"),
            (0, [YEAR], "behind the server's"),
            # ours is ahead, and it is right
            (YEAR, [0], "365 days ahead of the server's"),
            # ours is before what has passed, and it is right, or wrong in the same or another way
            (-2 * 86400, [0], "behind the server's"),
            (-2 * 86400, [-2 * 86400], ""),  # what was noted here was wrong, as they agree
            (-2 * 86400, ["2001"], "before one that has passed"),
            ("2001", ["2001"], "before one that has passed"),  # two clocks that nobody set agree on nothing
            ("2001", [0], "behind the server's"),
            # two servers
            (0, [0, "2001"], ""),
            (0, ["2001", 0], ""),
            (0, ["2001", "2001"], ""),
            (0, [YEAR, "2001"], "behind the server's"),
            (0, [0, YEAR], ""),
            (YEAR, [0, "2001"], "ahead of the server's"),
            (YEAR, ["2001", "2001"], ""),  # nobody knows it
            ("2001", ["2001", 0], "behind the server's"),
            ("2001", ["2001", "2001"], "before one that has passed"),
        ],
    )
    def test_what_is_believed(self, ours, theirs, doubt):
        machine = Machine(THE_YEAR_2001 if ours == "2001" else NOW + ours)
        for number, shown in enumerate(theirs):
            machine.keeper.note_server_time(str(number), THE_YEAR_2001 if shown == "2001" else NOW + shown)
        assert doubt in machine.keeper.doubt
        assert bool(machine.keeper.doubt) == bool(doubt)

    def test_when_it_is_set_right_it_is_a_server_as_any_other(self):
        machine = Machine(NOW)
        machine.keeper.note_server_time("far", THE_YEAR_2001)
        machine.keeper.note_server_time("far", NOW)
        assert machine.keeper.latest("far") == NOW + 60
        machine.set(NOW + 7200)
        assert machine.keeper.holding

    def test_a_reading_that_is_ahead_of_a_right_clock_is_no_fault_of_that_clock(self):
        machine = Machine(NOW)
        machine.keeper.note_server_time("far", NOW)
        assert (
            machine.keeper.behind("far")
            == "its clock has not come to the time of the next reading, which waits"
        )


@pytest.mark.parametrize("how", ["it shows none any more", "it is not in use any more"])
def test_a_server_that_shows_no_time_contradicts_no_clock(how):
    machine = Machine(NOW)
    machine.keeper.note_server_time("far", NOW - 3600)
    assert machine.keeper.holding
    if how == "it shows none any more":
        machine.keeper.note_server_time("far", None)
    else:
        machine.keeper.set_consumers(["other"])
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


@pytest.mark.parametrize(
    ("off", "words"), [(61 * 60, "61 minutes"), (30, ""), (90, "90 s"), (3 * 3600, "3 hours"), (-90, "90 s")]
)
def test_in_words(off, words):
    machine = Machine(NOW + off)
    machine.keeper.note_server_time("far", NOW)
    assert words in machine.keeper.doubt
    assert bool(machine.keeper.doubt) == bool(words)


def test_the_machine_is_asked(tmp_path):
    assert machine_is_synchronised(tmp_path / "nowhere") in (True, False)
    (tmp_path / "synchronized").touch()
    assert machine_is_synchronised(tmp_path / "synchronized")


def test_the_clocks_are_compared_while_another_dispatcher_notes_its_own():
    keeper = Machine(NOW).keeper
    keeper.note_server_time("first", NOW)
    keeper.note_server_time("second", NOW + 10)

    class Interrupted(dict[str, float]):
        is_over = False

        def items(self):
            for item in super().items():
                yield item
                if not self.is_over:
                    self.is_over = True
                    keeper.note_server_time("third", NOW + 20)

    keeper._far_offsets = Interrupted(keeper._far_offsets)
    assert keeper.latest("second") == NOW + 10 + TOLERANCE
    assert keeper.latest("third") == NOW + 20 + TOLERANCE
