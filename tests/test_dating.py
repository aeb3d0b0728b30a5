from __future__ import annotations

import math
from typing import Literal

import pytest

from gateway.frame import Frame, Stamp
from gateway.spool import Limits, Spool
from gateway.times.dating import Dating, TimeNote, passed, was_doubted
from gateway.times.timekeeper import Timekeeper
from gateway.version import MADE
from listeners.simulated.clock import VirtualClock

NOW = MADE + 10 * 86400
DAY, YEAR = 86_400.0, 31_536_000.0


class Pi:
    """A machine on which a daemon runs: readings are taken, the clock is set, and it is switched off."""

    def __init__(
        self,
        directory,
        wall: float,
        boot: str = "first",
        *,
        max_age: float = math.inf,
        kept_right: bool = False,
        mode: Literal["hold", "send"] = "hold",
        clock: VirtualClock | None = None,
    ) -> None:
        self.directory = directory
        self.clock = clock or VirtualClock(wall=wall)
        self.clock.boot = boot
        self.spool = Spool(directory / "queue.db", clock=self.clock, limits=Limits(age=max_age))
        self.spool.set_consumers(["a"])
        note = TimeNote(directory)
        known = passed(self.spool, note, boot)
        doubted = was_doubted(self.spool, self.clock.now(), known)
        self.keeper = Timekeeper(
            self.clock, past=known, doubted=doubted, synchronised=lambda: kept_right, mode=mode
        )
        self.dating = Dating(self.spool, self.keeper, self.clock, note)

    def take(self, value: float) -> None:
        self.dating.put([Frame("9", (value,), self.clock.now())])
        self.clock.sleep(10)

    def passes(self, seconds: float) -> None:
        """Let time pass, in which the daemon looks at the clock."""
        self.clock.sleep(seconds)
        self.dating.look()

    def set(self, wall: float) -> None:
        self.clock.set_wall(wall)
        self.dating.look()

    def sent(self, limit: int = 100) -> list[tuple[float, float]]:
        """Return value and seconds after NOW of what would be sent."""
        return [(f.values[0], f.stamp.wall - NOW) for _, f in self.spool.peek("a", limit)]

    def begin_to_send(self, count: int) -> None:
        """Note, as a dispatcher does, that so many are sent now."""
        self.spool.mark_sending("a", self.spool.peek("a", count)[-1][0])


@pytest.fixture
def boot(tmp_path):
    started: list[Pi] = []

    def start(wall: float, name: str = "first", **how) -> Pi:
        for pi in started:
            pi.spool.close()
        started[:] = [Pi(tmp_path, wall, name, **how)]
        return started[0]

    yield start
    for pi in started:
        pi.spool.close()


def test_with_a_right_clock_nothing_is_held(boot):
    pi = boot(NOW)
    pi.take(1)
    pi.take(2)
    assert pi.sent() == [(1, 0), (2, 10)]


@pytest.mark.parametrize("wrong", [0.0, NOW - YEAR])
def test_readings_before_the_clock_is_right_are_dated_to_the_second_once_it_is(boot, wrong):
    pi = boot(wrong)
    pi.take(1)
    pi.take(2)
    assert pi.sent() == []
    pi.set(NOW)
    pi.take(3)
    assert pi.sent() == [(1, -20), (2, -10), (3, 0)]


def test_a_clock_that_the_server_contradicts_holds_what_was_not_sent(boot):
    pi = boot(NOW + YEAR)
    pi.take(1)
    assert len(pi.sent()) == 1
    pi.dating.note_server_time("a", NOW + 10)
    assert pi.sent() == []
    pi.take(2)
    pi.set(NOW + 20)
    assert pi.sent() == [(1, 0), (2, 10)]


@pytest.mark.parametrize("wrong", [DAY, -DAY, 3.0])
def test_a_clock_that_was_set_while_no_daemon_ran_dates_what_waits(boot, wrong):
    # given a clock that is wrong, without anything that says so, and a reading that was begun to be sent
    pi = boot(NOW + wrong)
    pi.take(1)
    pi.begin_to_send(1)
    pi.take(2)
    # when it is set between two runs of the same boot, by something that keeps it right
    pi.clock.set_wall(NOW + 20)
    pi = boot(NOW, clock=pi.clock, kept_right=True)
    pi.take(3)
    assert pi.sent() == [(1, wrong), (2, 10), (3, 20)]
    # and a reading of another boot stays as it was
    pi = boot(NOW + 2 * DAY, "second", kept_right=True)
    assert pi.sent() == [(1, wrong), (2, 10), (3, 20)]


def test_small_corrections_of_a_clock_that_add_up_date_nothing_anew(boot):
    # given a clock that is corrected by 0.9 s now and then while a queue waits
    pi = boot(NOW)
    for n in range(40):
        pi.take(n)
        pi.set(pi.clock.wall() - 0.9)
    recorded = pi.sent()
    # when the daemon is started again within the same boot, as often as it may be
    for _ in range(2):
        pi = boot(NOW, clock=pi.clock)
        # then each reading has the time that its clock showed
        assert pi.sent() == recorded
    # and once the clock is set, that counts for all of them
    pi.set(pi.clock.wall() + 100)
    assert pi.sent()[-1][1] == pytest.approx(recorded[-1][1] - 0.9 + 100)


def test_a_step_while_a_queue_waits_dates_it_anew_and_in_order(boot):
    pi = boot(NOW)
    pi.take(1)
    pi.set(NOW - 3600 + 10)
    pi.take(2)
    pi.set(NOW + 20)
    assert pi.sent() == [(1, 0), (2, 10)]


def test_what_a_dispatcher_goes_back_to_keeps_the_time_with_which_it_was_sent(boot):
    pi = boot(NOW)
    pi.take(1)
    pi.begin_to_send(1)
    pi.spool.done("a", 1, sure=False)
    # when the clock is in doubt, nothing waits for it
    pi.spool.set_clock(None)
    assert not pi.spool.holding
    # then what was sent is sent as it was
    pi.set(NOW - 3600 + 10)
    pi.spool.go_back("a")
    assert pi.sent() == [(1, 0)]


def test_readings_of_a_boot_that_never_knew_the_time_are_set_aside_with_their_bounds(boot):
    boot(NOW - 86400).take(0)
    pi = boot(5.0, "second")
    pi.take(1)
    pi = boot(NOW, "third")
    pi.take(2)
    assert pi.sent() == [(0, -86400)]
    pi.spool.done("a", 1)
    assert pi.sent() == [(2, 0)]
    ((lost, reason, *_),) = pi.spool.refused("a")
    assert lost.values == (1,)
    assert reason.startswith("taken between 2026-")
    assert reason.endswith("on a clock that was never right")


def test_a_dispatcher_that_goes_back_sets_aside_what_it_had_set_aside_once(boot):
    # given a reading of a known time, and one behind it whose time is lost
    boot(NOW - 86400).take(0)
    boot(5.0, "second").take(1)
    pi = boot(NOW, "third")
    # when the dispatcher has passed both, but is not sure of the first, and goes back
    assert pi.sent() == [(0, -86400)]
    pi.spool.done("a", 1, sure=False)
    assert pi.sent() == []
    pi.spool.go_back("a")
    assert pi.sent() == [(0, -86400)]
    pi.spool.done("a", 1)
    assert pi.sent() == []
    # then that is counted as it is listed
    assert pi.spool.standing("a").refused == len(pi.spool.refused("a")) == 1


@pytest.mark.parametrize("by_server", [True, False])
def test_readings_of_a_boot_whose_clock_was_ahead_do_not_hold_up_the_rest(boot, by_server):
    # given readings of a boot that was a year ahead, which nothing contradicted
    pi = boot(NOW + 365 * 86400)
    pi.take(0)
    pi.take(1)
    # when another boot has a clock that is right, and known to be
    pi = boot(NOW, "second", kept_right=not by_server)
    pi.take(2)
    if by_server:
        assert len(pi.sent()) == 2
        pi.dating.note_server_time("a", NOW + 10)
    # then its readings go on, and those that nobody can date are set aside
    assert pi.sent() == [(2, 0)]
    assert [each.frame.values for each in pi.spool.refused("a")] == [(0,), (1,)]
    (reason,) = pi.spool.reasons("a")
    assert reason.startswith("taken before 2026-")
    # and so it is in the next boot
    pi = boot(NOW + 60, "third", kept_right=True)
    assert pi.sent() == [(2, 0)]


def test_readings_later_than_a_clock_that_nobody_vouches_for_are_not_doubted(boot):
    boot(NOW).take(0)
    pi = boot(NOW - 86400, "second")
    pi.take(1)
    assert pi.sent() == [(0, 0)]
    pi.dating.note_server_time("a", NOW + 10)
    assert pi.sent() == [(0, 0)]
    pi.set(NOW + 30)
    assert pi.sent()[0] == (0, 0)
    assert pi.spool.refused("a") == []


def test_the_time_is_noted_now_and_then_and_only_when_it_is_believed(boot, tmp_path):
    pi = boot(NOW)
    pi.take(1)
    pi.clock.sleep(700)
    pi.dating.look()
    assert TimeNote(tmp_path).read() == NOW + 710
    pi = boot(5.0, "second")
    pi.clock.sleep(700)
    pi.dating.look()
    assert TimeNote(tmp_path).read() == NOW + 710


def test_a_clock_that_was_ahead_once_is_believed_again_after_one_start_that_sends(boot):
    # given a clock that was a year ahead, and set right by hand, where neither NTP nor a server can be asked
    boot(NOW + YEAR).take(0)
    pi = boot(NOW, "second")
    pi.take(1)
    pi.spool.done("a", 1)
    assert (pi.keeper.holding, pi.sent()) == (True, [])
    assert "start once with unsynced = send" in pi.keeper.doubt
    # when the gateway is started with unsynced = send, and then without it
    pi = boot(NOW, "second", clock=pi.clock, mode="send")
    assert pi.sent() == [(1, 0)]
    pi = boot(NOW, "second", clock=pi.clock)
    # then this clock is believed, and one that is behind it is doubted
    pi.take(2)
    assert (pi.keeper.doubt, pi.sent()) == ("", [(1, 0), (2, 10)])
    assert boot(NOW - DAY, "third").keeper.holding


def test_a_note_that_cannot_be_read_or_written_is_no_trouble(tmp_path):
    assert TimeNote(tmp_path / "nowhere").read() == MADE
    TimeNote(tmp_path / "nowhere").write(NOW)


def test_a_note_is_of_a_time_that_has_passed(tmp_path):
    # so that a gateway that is started again at once does not find its clock wrong
    TimeNote(tmp_path).write(NOW + 0.9)
    assert TimeNote(tmp_path).read() == NOW


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e300", "1_799_999_999", "\x1c1799999999", "1" * 5000])
def test_a_note_that_is_no_time_is_none(tmp_path, text):
    (tmp_path / "last-time").write_text(text, encoding="ascii")
    assert TimeNote(tmp_path).read() == MADE


@pytest.mark.parametrize("ahead", [YEAR / 12, 31 * YEAR])
def test_a_time_ahead_is_noted_anew_as_soon_as_the_clock_is_set_back(boot, tmp_path, ahead):
    # given a clock that was ahead, on a machine where nothing says so
    pi = boot(NOW + ahead)
    pi.passes(10)
    assert TimeNote(tmp_path).read() >= NOW + ahead
    # when it is set right, and the machine loses its power
    pi.set(NOW)
    pi.take(1.0)
    # then the next start, whose clock is right, holds nothing
    assert boot(NOW + 60, "second").keeper.doubt == ""


def test_a_clock_that_the_server_found_ahead_has_no_say_in_which_time_has_passed(boot):
    # given a clock that was believed until the server was asked
    pi = boot(NOW + YEAR)
    pi.dating.note_server_time("a", NOW)
    assert pi.keeper.holding
    # when the machine starts again, with the same clock
    pi = boot(NOW + YEAR + 60, "second")
    pi.dating.note_server_time("a", NOW + 60)
    # then it is still this clock that is wrong, and not the server's
    assert "365 days ahead of the server's" in pi.keeper.doubt


@pytest.mark.parametrize("wrong", [YEAR, -3600.0])
def test_a_clock_that_was_doubted_still_is_after_a_restart(boot, wrong):
    # given readings that are held, as the server contradicts the clock
    pi = boot(NOW + wrong)
    pi.dating.note_server_time("a", NOW)
    pi.take(1)
    # when the gateway is started again, and the server has not been asked yet
    pi = boot(0, clock=pi.clock)
    pi.take(2)
    # then they are held all the same, and dated once the clock is set
    assert (pi.keeper.holding, pi.sent()) == (True, [])
    pi.set(NOW + 20)
    assert (pi.keeper.doubt, pi.sent()) == ("", [(1, 0), (2, 10)])


def started_again_in_doubt(boot, **how):
    """Return a gateway that holds a reading, as a server contradicted the clock before it was started."""
    pi = boot(NOW)
    pi.dating.note_server_time("a", NOW + DAY)
    pi.take(1)
    return boot(0, clock=pi.clock, **how)


def test_a_clock_that_was_doubted_wrongly_is_believed_once_the_server_agrees(boot):
    pi = started_again_in_doubt(boot)
    assert pi.keeper.holding
    pi.dating.note_server_time("a", NOW + 10)
    assert (pi.keeper.doubt, pi.sent()) == ("", [(1, 0)])


def test_a_clock_that_was_behind_what_was_noted_is_believed_once_that_has_passed_also_after_a_restart(boot):
    # given a clock that shows a time before one that was noted, and a reading that is held for that
    boot(NOW)
    pi = boot(NOW - 600, "second")
    pi.take(1)
    assert pi.keeper.holding
    # when the gateway is started again, and the time that was noted passes
    pi = boot(0, "second", clock=pi.clock)
    assert pi.keeper.holding
    pi.passes(700)
    # then nothing speaks against the clock any more
    assert (pi.keeper.doubt, pi.sent()) == ("", [(1, -600)])


def test_a_clock_that_was_behind_a_reading_is_believed_once_that_has_passed_also_after_a_restart(boot):
    # given readings that came after the last note, before the power was cut
    pi = boot(NOW)
    for value in range(30):
        pi.take(value)
    # and one that is held, as the clock shows a time before the last of them
    pi = boot(NOW + 100, "second")
    pi.take(30)
    assert "before one that has passed" in pi.keeper.doubt
    # when the gateway is started again, then it is held for the same reason, until that time has passed
    pi = boot(0, "second", clock=pi.clock)
    assert "before one that has passed" in pi.keeper.doubt
    pi.passes(300)
    assert pi.keeper.doubt == ""


def test_a_reading_of_a_clock_that_was_ahead_holds_nothing_after_one_start_that_sends(boot):
    # given a reading that waits, of a clock that was ahead, and one of a clock that was believed by hand
    pi = boot(NOW + YEAR)
    pi.take(1)
    pi = boot(NOW, "second", mode="send")
    pi.take(2)
    # then the next start believes it
    assert boot(0, "second", clock=pi.clock).keeper.doubt == ""


@pytest.mark.parametrize("vouches", ["server", "machine"])
def test_a_doubt_from_before_a_restart_ends_for_good_once_the_clock_is_vouched_for(boot, vouches):
    pi = started_again_in_doubt(boot, kept_right=vouches == "machine")
    # when that server, set right meanwhile, agrees with it, or the machine keeps it right
    if vouches == "server":
        pi.dating.note_server_time("a", NOW + 10)
    assert pi.keeper.doubt == ""
    # then it is right also where neither is there any more, such as after a section is renamed
    pi.keeper._synchronised = lambda: False
    pi.dating.set_consumers(["b"])
    assert pi.keeper.doubt == ""


def test_a_doubt_ends_with_the_last_destination_that_could_confirm_it(boot):
    pi = started_again_in_doubt(boot)
    assert pi.keeper.holding
    # when that server is taken out of the configuration
    pi.dating.set_consumers([])
    # then the clock is right, as it is where that is done without a restart
    assert (pi.keeper.doubt, pi.sent()) == ("", [(1, 0)])


class TestWhatIsTooOld:
    def test_it_goes_first_and_is_counted(self, boot, caplog):
        pi = boot(NOW, max_age=DAY)
        pi.take(1)
        pi.passes(DAY - 20)
        pi.take(2)
        assert (len(pi.sent()), pi.spool.dropped) == (2, 0)
        pi.passes(60)
        assert (pi.sent(), pi.spool.dropped) == ([(2, DAY - 10)], 1)
        pi.passes(2 * DAY)
        assert (pi.sent(), pi.spool.dropped) == ([], 2)
        assert len([record for record in caplog.records if "older than max_age" in record.message]) == 1

    @pytest.mark.parametrize("step", [YEAR, -YEAR])
    @pytest.mark.parametrize("kept_right", [True, False])
    def test_a_clock_that_jumps_takes_nothing(self, boot, step, kept_right):
        # given readings of this boot and of one before
        boot(NOW).take(1)
        pi = boot(NOW + 20, "second", max_age=DAY, kept_right=kept_right)
        pi.take(2)
        # when the clock is wrong for a while
        pi.set(NOW + step)
        pi.passes(600)
        pi.set(NOW + 700)
        pi.passes(600)
        assert [value for value, _ in pi.sent()] == [1, 2]

    def test_without_anybody_to_vouch_for_the_clock_an_earlier_boot_is_as_old_as_this_one(self, boot):
        boot(NOW).take(1)
        pi = boot(NOW + YEAR, "second", max_age=DAY)
        pi.passes(DAY - 200)
        assert [value for value, _ in pi.sent()] == [1]
        pi.passes(200)
        assert pi.sent() == []

    @pytest.mark.parametrize("vouch", ["machine", "far end"])
    def test_a_clock_that_is_vouched_for_tells_how_old_an_earlier_boot_is(self, boot, vouch):
        boot(NOW).take(1)
        pi = boot(NOW + 2 * DAY, "second", max_age=DAY, kept_right=vouch == "machine")
        if vouch == "far end":
            pi.dating.note_server_time("a", NOW + 2 * DAY)
        pi.take(2)
        pi.passes(60)
        assert (pi.sent(), pi.spool.dropped) == ([(2, 2 * DAY)], 1)

    def test_so_it_does_for_a_time_of_the_senders_own(self, boot):
        pi = boot(NOW, max_age=DAY, kept_right=True)
        for wall in (NOW - 2 * DAY, NOW):
            pi.dating.put([Frame("9", (wall,), Stamp(wall, "", pi.clock.boottime()))])
        pi.passes(60)
        assert [value for value, _ in pi.sent()] == [NOW]

    def test_while_the_clock_is_in_doubt_nothing_is(self, boot):
        pi = boot(NOW, max_age=DAY)
        pi.take(1)
        pi.set(5.0)
        pi.passes(2 * DAY)
        assert pi.spool.dropped == 0
        # nor right after the clock has been set
        pi.set(NOW + 2 * DAY)
        pi.passes(60)
        assert pi.spool.dropped == 0
        pi.passes(3600)
        assert pi.spool.dropped == 1


class TestWhatIsKnownToHavePassed:
    def known(self, pi: Pi, boot: str) -> float:
        pi.clock.boot = boot
        return passed(pi.spool, TimeNote(pi.directory), boot)

    def test_the_newest_reading_that_waits_tells_more_than_the_last_note(self, boot):
        # given readings that wait, minutes after the last note, when the power is cut
        pi = boot(NOW)
        for value in range(30):
            pi.take(value)
        assert TimeNote(pi.directory).read() == NOW
        # when it starts with a clock of five minutes before
        assert self.known(pi, "second") == NOW + 290
        pi = boot(NOW, "second")
        assert pi.keeper.holding

    def test_not_one_of_this_boot_which_is_dated_again(self, boot):
        pi = boot(NOW)
        pi.clock.sleep(100)
        pi.take(1)
        assert self.known(pi, "first") == NOW

    def test_not_one_that_is_held_or_has_a_time_of_its_senders_own(self, boot):
        pi = boot(NOW)
        pi.dating.put([Frame("9", (1.0,), Stamp(NOW + YEAR, "", 5.0))])
        assert self.known(pi, "second") == NOW
        pi.set(5.0)
        pi.set(NOW - YEAR)
        pi.take(2)
        assert self.known(pi, "second") == NOW

    def test_a_queue_that_cannot_be_read_tells_nothing(self, boot, monkeypatch):
        def refuse(**_):
            raise OSError("disk")

        pi = boot(NOW)
        pi.take(1)
        monkeypatch.setattr(pi.spool, "waiting", refuse)
        assert self.known(pi, "second") == NOW
