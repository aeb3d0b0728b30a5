"""Listener `lograte`: matches of a log's lines by interval and in all."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from gateway.diagnosis.machine import Machine
from gateway.settings import SettingsFault, build
from listeners.lograte.listener import Lograte
from listeners.simulated.clock import VirtualClock, VirtualFlag

SENT = r"postfix/smtp\[[[:digit:]]+\]: .* status=sent"
LINE = "Nov  5 12:00:00 mail postfix/smtp[4711]: 3A1B: to=<a@b>, delay=0.1, status={}\n"


class Running:
    """A listener on a log file, on a clock of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.file = directory / "mail.log"
        self.file.write_text(LINE.format("sent") * 100)
        self.clock = VirtualClock()
        self.listener = None

    def start(self, **entries):
        entries = {"pattern1": [SENT, "sent"], **entries}
        self.listener = build(Lograte, {"node": "mail", "file": str(self.file), **entries})
        self.listener.name, self.listener.state, self.listener.clock = "mail", self.directory, self.clock
        self.listener.open()
        return self

    def write(self, *states):
        with self.file.open("a") as file:
            file.writelines(LINE.format(state) for state in states)

    def read(self):
        (frame,) = self.listener.read(VirtualFlag(self.clock))
        return frame.values


@pytest.fixture
def running(tmp_path):
    running = Running(tmp_path)
    yield running
    if running.listener:
        running.listener.close()


def test_what_was_there_before_the_first_start_is_not_counted(running):
    running.start()
    assert running.read() == (None, 0)
    running.write("sent", "bounced", "sent")
    assert running.read() == (2, 2)
    running.write("sent")
    assert running.read() == (1, 3)
    assert running.read() == (0, 3)


def test_each_pattern_has_its_own_indices_and_names(running):
    running.start(pattern2="Dummy", pattern4="status=bounced")
    assert running.read() == (None, 0, None, None, None, None, None, 0)
    running.write("sent", "bounced", "bounced")
    (frame,) = running.listener.read(VirtualFlag(running.clock))
    assert frame.values == (1, 1, None, None, None, None, 2, 2)
    assert frame.names[:2] == ("sent count", "sent total")
    assert frame.names[6:] == ("status=bounced count", "status=bounced total")


def test_what_came_while_it_was_stopped_is_in_the_total_alone(running):
    running.start().read()
    running.write("sent")
    running.read()
    running.listener.close()
    running.write("sent", "sent")
    running.file.rename(running.file.with_name("mail.log.1"))
    running.write("sent")
    running.start()
    assert running.read() == (None, 4)
    running.write("sent")
    assert running.read() == (1, 5)


def test_after_a_kill_nothing_is_counted_twice(running):
    running.start().read()
    running.write("sent")
    running.read()
    running.listener._keep(running.listener._follower)
    running.write("sent")
    running.read()
    running.listener._matcher.close()
    running.listener._follower.close()
    running.start()
    assert running.read() == (None, 2)


@pytest.mark.parametrize("truncated", [False, True])
def test_after_a_kill_no_total_falls_though_a_file_that_was_read_is_deleted(running, truncated):
    # given a file of which ten lines were counted, that is deleted, and one in its place
    running.start().read()
    running.write(*["sent"] * 10)
    running.read()
    running.write(*["sent"] * 10)
    running.read()
    if truncated:
        running.file.write_text("")
    else:
        running.file.unlink()
    running.write("sent")
    assert running.read() == (1, 21)
    # when the gateway is killed
    running.listener._matcher.close()
    running.listener._follower.close()
    running.start()
    # then the total goes on
    running.write("sent")
    assert running.read() == (None, 22)


def test_a_missed_interval_is_a_gap_in_the_count_and_the_total_goes_on(running):
    running.start().read()
    running.write("sent")
    running.clock.sleep(200)
    assert running.read() == (None, 1)


def test_a_file_that_grows_faster_than_it_is_read_holds_up_no_reading(running, monkeypatch):
    running.start().read()
    assert running.read() == (0, 0)
    # given no time for more than a piece of it in each interval
    monkeypatch.setattr("listeners.lograte.listener._SHARE", 0.0)
    running.write(*["sent"] * 10_000)
    readings = [running.read()]
    while readings[-1][1] < 10_000:
        readings.append(running.read())
    # then its counts are of no interval until all has been read, and the total is right in the end
    assert [count for count, _ in readings] == [None] * len(readings)
    assert 2 <= len(readings) < 20
    monkeypatch.undo()
    running.read()
    running.write("sent")
    assert running.read() == (1, 10_001)


def test_a_file_that_is_missing_is_a_gap_and_one_line(running, caplog):
    running.file.unlink()
    running.start()
    running.read()
    for _ in range(3):
        assert running.read() == (None, None)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"pattern1 (sent): {running.file} is missing"
    assert running.listener.health().troubles == [line]
    running.write("sent")
    assert running.read() == (1, 1)
    assert running.listener.health().troubles == []


def test_a_file_that_is_missing_is_one_line_of_all_its_patterns(running, caplog):
    running.file.unlink()
    running.start(pattern2="bounced", pattern4="rejected").read()
    for _ in range(2):
        running.read()
    line = f"pattern1 (sent), pattern2 (bounced), pattern4 (rejected): {running.file} is missing"
    assert [record.getMessage() for record in caplog.records] == [line]
    assert running.listener.health().troubles == [line]


def test_a_pattern_that_runs_away_is_off_until_it_is_edited_and_the_others_count(
    running, caplog, monkeypatch
):
    # given
    monkeypatch.setattr("listeners.lograte.matcher.LIMIT", 0.2)
    running.start(pattern2=r"(a+)+$")
    running.read()
    # when
    with running.file.open("a") as file:
        file.write("a" * 60 + "!\n")
    running.write("sent")
    # then
    assert running.read() == (1, 1, None, None)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "pattern2 ((a+)+$): it takes too long, and is off until it is edited"
    # and after a restart it is still off
    running.listener.close()
    running.start(pattern2=r"(a+)+$")
    assert running.read()[2:] == (None, None)
    # and on again when it is edited
    running.listener.close()
    running.start(pattern2="a+!$")
    assert running.read()[2:] == (None, 0)


def test_another_pattern_at_a_place_begins_its_total_anew(running):
    running.start().read()
    running.write("sent")
    running.read()
    running.listener.close()
    running.start(pattern1="bounced", pattern2=SENT)
    assert running.read() == (None, 0, None, 1)


def test_another_file_begins_anew(running):
    running.start().read()
    running.write("sent")
    running.read()
    running.listener.close()
    running.file = running.file.with_name("other.log")
    running.file.write_text(LINE.format("sent"))
    running.start()
    assert running.read() == (None, 0)


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "[]",
        '{"totals": 5, "off": 3}',
        '{"totals": {"x": "y"}, "off": {}}',
        '{"off": [{}, 5]}',
        '{"positions": [[1e999, 1, 1]], "known": []}',
        '{"positions": [[1000000000000000000000, 1, 1]], "known": []}',
    ],
)
def test_a_damaged_state_is_as_none(running, kept):
    if kept.startswith("{"):
        kept = json.dumps({**json.loads(kept), "file": str(running.file)})
    (running.directory / "lograte-mail.json").write_text(kept)
    running.start()
    assert running.read() == (None, 0)


def test_a_place_beyond_two_gigabytes_is_recalled_on_a_machine_of_32_bits(running, monkeypatch):
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    with running.file.open("ab") as file:
        file.truncate(3 << 30)
    running.start().read()
    running.listener.close()
    running.write("sent")
    assert running.start().read() == (None, 1)


@pytest.mark.parametrize("left", [b"", b"\0" * 100, b"[]", b"\xff", b"\0" * (5 << 20)])
def test_a_total_that_begins_anew_is_said(running, caplog, left):
    # given a start that says nothing of the kind, and a total
    running.start().read()
    running.write("sent")
    assert running.read() == (1, 1)
    running.listener.close()
    assert not caplog.text
    # when what was kept of it is damaged
    state = running.directory / "lograte-mail.json"
    state.write_bytes(left)
    # then the next start says so
    assert running.start().read() == (None, 0)
    assert caplog.text.count(f"{state} cannot be read (") == 1


def test_a_total_that_cannot_be_read_does_not_begin_anew(running):
    # given a total of an earlier run, which cannot be read now
    running.start().read()
    running.write("sent")
    assert running.read() == (1, 1)
    running.listener.close()
    state = running.directory / "lograte-mail.json"
    kept = state.read_text()
    state.unlink()
    state.mkdir()
    # when it starts, then it does not, and the file is named
    with pytest.raises(OSError, match=r"lograte-mail\.json: .+"):
        running.start()
    # and it goes on once it can be read
    state.rmdir()
    state.write_text(kept)
    running.write("sent")
    running.start()
    assert running.read() == (None, 2)


def test_a_stop_while_lines_are_matched_counts_them_at_the_next_start(running):
    running.start().read()
    running.write("sent")
    stop = VirtualFlag(running.clock)
    running.listener._stop = stop
    stop.set()
    assert running.listener.sample() == ()
    running.listener.close()
    running.start()
    assert running.read() == (None, 1)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("", "not nothing"), ("a{1", "needs quotes"), ("[:digit:]", "expected, not"), (["a{1", "2}"], "quotes")],
)
def test_a_wrong_pattern_is_a_fault_of_the_file(running, pattern, words):
    with pytest.raises(SettingsFault, match=words):
        running.start(pattern1=pattern)


def test_a_rotated_file_that_is_not_found_is_counted_and_one_line_an_hour(running, caplog):
    running.start(interval="60")
    running.read()
    for _ in range(3):
        running.write("sent")
        running.read()
        running.file.write_text("")
        running.write("bounced")
        for _ in range(2):
            running.read()
    assert running.listener.health().faults == {"rotated file not found": 3}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        f"a rotated file of {running.file} is not found: what was not read of it is not counted "
        "(if it is in another folder, set olddir)"
    )
    running.clock.sleep(3600)
    running.file.write_text("")
    running.file.with_name("mail.log.1.lz4").write_text("x")
    for _ in range(3):
        running.write("sent")
        running.read()
    assert caplog.records[-1].getMessage().endswith("(mail.log.1.lz4: this Python cannot read .lz4)")


def test_the_doctor_says_whether_the_service_may_read_the_rotated_files(running):
    old = running.directory / "old"
    running.start(olddir=str(old))
    machine = Machine(root=Path("/"), user="oemgateway", uid=990, gids=frozenset(), live=True)
    running.file.chmod(0o644)

    def said():
        return [str(finding) for finding in running.listener.examine(machine)][1:]

    assert said() == [f"FAULT : oemgateway may not read {old}: correct olddir, or its rights"]
    old.mkdir(mode=0o700)
    assert len(said()) == 1
    old.chmod(0o755)
    assert said() == []


def test_the_doctor_names_a_closed_directory_above_the_file(running):
    # given a log that all may read, in a directory that only its owner may enter
    home = running.directory / "home"
    home.mkdir(mode=0o700)
    file = home / "own.log"
    file.touch(0o644)
    machine = Machine(root=running.directory, user="oemgateway", uid=990, gids=frozenset(), live=False)
    listener = build(Lograte, {"node": "mail", "file": "/home/own.log", "pattern1": "sent"})
    # when the doctor looks at it, then it is no readable file
    (finding,) = listener.examine(machine)
    assert str(finding).startswith("FAULT : oemgateway may not enter /home, where /home/own.log is: ")


def test_a_file_in_a_home_that_may_not_be_entered_says_so(running, monkeypatch):
    running.file.unlink()
    closed = running.directory
    monkeypatch.setattr("gateway.paths.os.access", lambda place, mode: mode == os.F_OK or place != closed)
    running.start()
    running.read()
    (trouble,) = running.listener.health().troubles
    assert trouble.endswith(f"is missing: this user may not enter {closed}: use another directory")


def test_a_directory_or_a_file_of_the_kernel_is_no_log(running):
    machine = Machine(root=Path("/"), user="root", uid=0, gids=frozenset(), live=True)
    directory = build(Lograte, {"node": "mail", "file": str(running.directory), "pattern1": "sent"})
    (finding,) = directory.examine(machine)
    assert str(finding) == f"FAULT : {running.directory} is no plain file: name the log itself"
    assert not list(directory.remarks())
    kernel = build(Lograte, {"node": "mail", "file": "/proc/uptime", "pattern1": "sent"})
    assert list(kernel.remarks()) == [
        ("file", "no line is ever added to /proc/uptime: type = counter reads a number there")
    ]


def test_a_file_that_may_not_be_read_at_first_is_read_from_its_end_later(running, monkeypatch):
    # given a file that the user may not read
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as context:
        context.setattr("listeners.lograte.source.open_plain", denied)
        running.start()
        assert running.read() == (None, None)
        (trouble,) = running.listener.health().troubles
        assert "may not be read: `oemgateway doctor` says what to do" in trouble
        running.listener.close()
    # when he may, after a restart
    running.start()
    # then what was there before is not counted
    assert running.read() == (None, 0)
    running.write("sent")
    assert running.read() == (1, 1)
