"""Listener `counter`: rates and totals of numbers that only grow."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.diagnosis.machine import Machine
from gateway.settings import build
from listeners.counter import Counter, increase
from listeners.simulated.clock import VirtualClock, VirtualFlag

TOP = [2**16, 2**32, 2**64]


@pytest.mark.parametrize("size", TOP)
def test_a_wrap_goes_from_the_top_tenth_to_the_lowest(size):
    assert increase(size - 5, 7) == 12
    assert increase(size * 9 // 10 + 1, size // 10 - 1) is not None
    assert increase(size * 9 // 10 - 1, 7) is None
    assert increase(size - 5, size // 10 + 1) is None


@given(st.sampled_from(TOP), st.data())
def test_a_counter_that_wraps_has_counted_what_was_added(size, data):
    before = data.draw(st.integers(-(-size * 9 // 10), size - 1))
    added = data.draw(st.integers(size - before, size - before + size // 10 - 1))
    assert increase(before, (before + added) % size) == added


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_an_increase_is_never_negative(before, now):
    found = increase(before, now)
    assert found is None or found >= 0


def test_a_number_beyond_all_ranges_that_falls_was_reset():
    assert increase(2**70, 5) is None


@pytest.fixture
def counter(tmp_path):
    clock = VirtualClock(wall=1_700_000_000)

    def make(*, node="traffic", wall_passed=0.0, **entries):
        made = build(Counter, {"node": node, **entries})
        made.name, made.state, made.clock = "net", tmp_path, clock
        made.open()
        return made

    make.clock = clock
    return make


def read(listener):
    (frame,) = listener.read(VirtualFlag(listener.clock))
    return frame


def test_each_counter_has_its_rate_and_total_at_its_own_indices(counter, tmp_path):
    # given
    drops, pulses = tmp_path / "rx_dropped", tmp_path / "pulses"
    drops.write_text("100\n")
    pulses.write_text("7\n")
    listener = counter(counter1=str(drops), counter2="Dummy", counter3=[str(pulses), "gas"])
    # when
    first = read(listener)
    drops.write_text("150\n")
    pulses.write_text("8\n")
    second = read(listener)
    # then
    assert first.values == (None, 100, None, None, None, 7)
    assert second.values == (5.0, 150, None, None, 0.1, 8)
    assert second.stamp.wall - first.stamp.wall == 10
    assert second.names[4:] == ("gas rate", "gas total")


def test_a_file_that_is_named_twice_has_the_same_rate_at_both_places(counter, tmp_path):
    (tmp_path / "pulses").write_text("100\n")
    listener = counter(counter1=str(tmp_path / "pulses"), counter2=str(tmp_path / "pulses"), interval="10")
    assert read(listener).values == (None, 100, None, 100)
    (tmp_path / "pulses").write_text("150\n")
    assert read(listener).values == (5.0, 150, 5.0, 150)


def test_a_reset_is_a_gap_in_the_rate_and_the_total_goes_on(counter, tmp_path):
    file = tmp_path / "count"
    file.write_text("1000")
    listener = counter(counter1=str(file))
    read(listener)
    file.write_text("20")
    after = read(listener)
    file.write_text("30")
    later = read(listener)
    assert (after.values, later.values) == ((None, 1020), (1.0, 1030))


def test_a_wrap_is_no_gap(counter, tmp_path):
    file = tmp_path / "count"
    file.write_text(str(2**32 - 50))
    listener = counter(counter1=str(file))
    read(listener)
    file.write_text("50")
    assert read(listener).values == (10.0, 2**32 + 50)


@pytest.mark.parametrize("content", [b"", b"abc", b"-5", b"nan", b"\xff\xfe", b"1 2", b"\x1c1", b"9" * 200])
def test_what_is_no_number_is_a_gap_and_one_trouble_and_no_other_counter_suffers(counter, tmp_path, content):
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.write_bytes(content)
    good.write_text("1")
    listener = counter(counter1=str(bad), counter2=str(good))
    assert read(listener).values == (None, None, None, 1)
    (trouble,) = listener.health().troubles
    assert trouble.startswith(f"counter1: {bad}: a number expected")
    bad.write_text("5")
    assert read(listener).values[:2] == (None, 5)
    assert listener.health().troubles == []


def test_a_file_that_is_missing_or_a_pipe_is_not_waited_for(counter, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    listener = counter(counter1=str(tmp_path / "pipe"), counter2=str(tmp_path / "none"), counter3="Dummy")
    assert read(listener).values == (None,) * 6
    assert len(listener.health().troubles) == 2
    assert dict(listener.health().faults) == {
        "No such file or directory": 1,
        "no number": 1,
    }


def test_a_directory_is_named(counter, tmp_path):
    listener = counter(counter1=[str(tmp_path), "rain"])
    read(listener)
    assert listener.health().troubles == [f"counter1 (rain): {tmp_path}: Is a directory"]


def test_what_is_something_else_each_time_is_one_fault(counter, tmp_path):
    file = tmp_path / "loadavg"
    listener = counter(counter1=str(file))
    for passed in range(5):
        file.write_text(f"0.{passed} 0.40 0.30")
        read(listener)
    assert dict(listener.health().faults) == {"no number": 5}
    assert listener.health().troubles == [f"counter1: {file}: a number expected, not 0.4 0.40 0.30"]


def test_the_log_says_when_a_trouble_begins_and_when_it_is_over(counter, tmp_path, caplog):
    caplog.set_level("INFO")
    file = tmp_path / "count"
    listener = counter(counter1=[str(file), "rain"])
    for _ in range(3):
        read(listener)
    file.write_text("10")
    for _ in range(3):
        read(listener)
    # then it is once an hour at most
    file.unlink()
    read(listener)
    file.write_text("10")
    read(listener)
    assert [record.getMessage() for record in caplog.records] == [
        f"counter1 (rain): {file}: No such file or directory",
        "counter1 (rain): works again",
    ]
    # and one that goes on for longer is in the log in the end
    file.unlink()
    caplog.clear()
    listener.clock.sleep(3600)
    for _ in range(3):
        read(listener)
    assert len(caplog.records) == 1


def test_a_rate_after_a_gap_is_over_the_time_that_has_passed(counter, tmp_path):
    file = tmp_path / "count"
    file.write_text("10")
    listener = counter(counter1=str(file))
    read(listener)
    file.unlink()
    read(listener)
    file.write_text("50")
    assert read(listener).values == (2.0, 50)


def ended_with_1020(counter, file):
    """Return a listener that has ended with a total of 1020 where its file has 20."""
    file.write_text("1000")
    listener = counter(counter1=str(file))
    read(listener)
    file.write_text("20")
    read(listener)
    listener.close()
    return listener


def test_the_total_survives_a_restart_and_a_kill(counter, tmp_path):
    # given a total that is ahead of its file, kept
    file = tmp_path / "count"
    before = ended_with_1020(counter, file)
    # when it goes on, is killed, and another begins
    file.write_text("25")
    assert read(before).values[1] == 1025
    file.write_text("30")
    after = counter(counter1=str(file))
    # then nothing is lost nor counted twice
    assert read(after).values[1] == 1030


def test_the_total_waits_for_what_was_kept_of_it(counter, tmp_path):
    # given a total that was kept, in a file that cannot be read now
    file = tmp_path / "count"
    ended_with_1020(counter, file)
    kept = tmp_path / "counter-net.json"
    text = kept.read_text()
    kept.unlink()
    kept.mkdir()
    # when it starts, then it does not, instead of a total that begins anew
    with pytest.raises(OSError, match=r"counter-net\.json: .+"):
        counter(counter1=str(file))
    # and it goes on once that can be read
    kept.rmdir()
    kept.write_text(text)
    assert read(counter(counter1=str(file))).values[1] == 1020


@pytest.mark.parametrize(("first", "total"), [(1000, 10**9 + 1000), (2**32 - 1000, 2**32 + 10**9)])
def test_the_total_does_not_fall_after_a_kill_where_the_file_began_again(counter, tmp_path, first, total):
    # given a counter that is set back to 0 or wraps, and is then goes far
    pulses = tmp_path / "pulses"
    pulses.write_text(str(first))
    listener = counter(counter1=str(pulses))
    read(listener)
    listener.close()
    listener = counter(counter1=str(pulses))
    for shown in (0, 1500, 10**9):
        pulses.write_text(str(shown))
        read(listener)
    assert read(listener).values[1] == total
    # when it is killed, and another begins
    assert read(counter(counter1=str(pulses))).values[1] == total


def test_the_total_does_not_fall_after_a_power_cut_in_the_first_hour(counter, tmp_path):
    # given a counter that was read once
    pulses = tmp_path / "pulses"
    pulses.write_text("5000000")
    read(counter(counter1=str(pulses)))
    # when the power is cut, and it begins again
    pulses.write_text("3")
    # then
    assert read(counter(counter1=str(pulses))).values == (None, 5000003)


def test_the_first_rate_after_a_start_is_a_gap(counter, tmp_path):
    # given a number that goes up by 1 a second, kept once
    file = tmp_path / "count"
    file.write_text("1000")
    before = counter(counter1=str(file))
    read(before)
    before.close()
    # when the gateway was not running for an hour
    counter.clock.sleep(3590)
    file.write_text("4600")
    after = counter(counter1=str(file))
    # then what came in that hour is not the rate of the seconds since the start
    assert read(after).values == (None, 4600)
    file.write_text("4610")
    assert read(after).values == (1.0, 4610)


def test_the_total_of_a_kernels_counter_goes_on_in_another_boot(counter, monkeypatch):
    path = "/sys/class/net/lo/statistics/rx_packets"
    if not os.access(path, os.R_OK):
        pytest.skip("no /sys here")
    monkeypatch.setattr("listeners.counter.boot_id", lambda: "first")
    first = counter(counter1=path)
    seen = read(first).values[1]
    first.close()
    monkeypatch.setattr("listeners.counter.boot_id", lambda: "second")
    total = read(counter(counter1=path)).values[1]
    assert total >= 2 * seen


@pytest.mark.parametrize("kept", [["x", 1, 2], [1, math.nan, 2], [math.inf, 1, 2], [1, 10**400, 2]])
def test_a_damaged_file_of_totals_is_as_none(counter, tmp_path, kept):
    file = tmp_path / "count"
    file.write_text("5")
    (tmp_path / "counter-net.json").write_text(json.dumps({"a": [1], "b": 3, str(file): kept}))
    assert read(counter(counter1=str(file))).values == (None, 5)


def test_the_totals_are_written_at_first_and_once_an_hour(counter, tmp_path):
    # given
    file, kept = tmp_path / "count", tmp_path / "counter-net.json"
    file.write_text("5")
    listener = counter(counter1=str(file))
    read(listener)
    assert kept.exists()
    kept.unlink()
    # when
    read(listener)
    assert not kept.exists()
    listener.clock.sleep(3600)
    read(listener)
    # then
    assert kept.exists()


def test_the_doctor_says_which_file_has_no_number(counter, tmp_path):
    pulses = tmp_path / "pulses"
    pulses.write_text("7\n")
    listener = counter(
        counter1=str(pulses), counter2=str(tmp_path), counter3="/proc/uptime", counter4="Dummy"
    )
    machine = Machine(root=Path("/"), user="root", uid=0, gids=frozenset(), live=True)
    cure = "one number that grows is expected there: correct the path"
    first, second, third = map(str, listener.examine(machine))
    assert first == f"ok    : {pulses} has a number"
    assert second == f"FAULT : {tmp_path}: Is a directory: {cure}"
    assert third.startswith("FAULT : /proc/uptime: a number expected, not ")
    assert third.endswith(cure)
    # and what the user may not read first, as no other path helps there
    pulses.write_text("")
    pulses.chmod(0o600)
    service = Machine(root=Path("/"), user="oemgateway", uid=990, gids=frozenset(), live=True)
    assert next(map(str, listener.examine(service))).startswith("FAULT : oemgateway may not ")
