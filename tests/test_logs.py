from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import TextIO

import pytest

from gateway.process import logs, syslog
from gateway.process.logs import log_to, set_levels
from gateway.process.port import host_and_port
from gateway.process.syslog import check_syslog, log_to_syslog
from tests.waiting import wait_until

log = logging.getLogger("oemgateway")


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    handlers, level, loud = log.handlers, log.level, logging.raiseExceptions
    log.setLevel("INFO")
    yield
    log_to_syslog(())
    for handler in log.handlers:
        handler.close()
    log.handlers, logging.raiseExceptions = handlers, loud
    log.setLevel(level)


def radio(message: str, level: int = logging.WARNING) -> None:
    logging.getLogger("oemgateway.radio").log(level, message)


def test_a_line_has_its_time_its_level_and_its_section(capsys):
    log_to(None)
    radio("no port")
    assert capsys.readouterr().err[19:] == " WARNING radio: no port\n"


def test_what_goes_to_the_journal_is_dated_by_it_and_has_its_level(monkeypatch, tmp_path):
    with (tmp_path / "journal").open("w+") as journal:
        monkeypatch.setattr(sys, "stderr", journal)
        about = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
        log_to(None)
        radio("no port\nat all")
        radio("works", logging.INFO)
        journal.seek(0)
        assert journal.read() == "<4>radio: no port\\nat all\n<6>radio: works\n"


FORGED = "2026-11-05 12:00:00 ERROR   radio: forged"


def test_what_a_line_quotes_ends_no_line_moves_no_cursor_and_shows_no_key(capsys):
    log_to(None)
    radio(f"bus.0\n{FORGED}\r\x1b[2J\x9b31m\u202egnp.exe\u2028{'0123456789abcdef' * 2}")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said[19:] == (
        f" WARNING radio: bus.0\\n{FORGED}\\r\\x1b[2J\\x9b31m\\u202egnp.exe\\u2028********\n"
    )


def test_no_line_of_a_traceback_can_be_taken_for_one_of_the_log(capsys):
    log_to(None)
    fault = RuntimeError(f"at the end\n{FORGED}\n\x1b[2J")
    log.error("a fault", exc_info=fault)
    first, *below = capsys.readouterr().err.splitlines()
    assert first.endswith("a fault")
    assert below[-2:] == [f"  {FORGED}", "  \\x1b[2J"]
    assert all(line.startswith("  ") for line in below)


def test_a_section_whose_name_is_a_key_does_not_show_it(capsys):
    log_to(None)
    logging.getLogger(f"oemgateway.{'0123456789abcdef' * 2}").warning("no port")
    assert capsys.readouterr().err[19:] == " WARNING ********: no port\n"


def test_a_line_without_end_is_cut(capsys):
    log_to(None)
    radio("x" * 10**6)
    assert len(capsys.readouterr().err) < 33_000


def test_a_syslog_gets_no_more_of_it(loghost):
    log.handlers = []
    log_to_syslog((f"127.0.0.1:{loghost.getsockname()[1]}",))
    radio(f"bus.0\n<0>{FORGED}\x1b")
    assert loghost.recv(1000).decode().endswith(f"radio: bus.0\\n<0>{FORGED}\\x1b")


def test_a_stream_that_is_not_the_journals_is_none(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    log_to(None)
    radio("no port")
    assert capfd.readouterr().err.endswith(" WARNING radio: no port\n")


def test_a_file_that_was_renamed_is_made_anew(tmp_path):
    file = tmp_path / "oemgateway.log"
    log_to(file)
    radio("before")
    file.rename(tmp_path / "oemgateway.log.1")
    radio("after")
    assert file.read_text().endswith("radio: after\n")
    assert (tmp_path / "oemgateway.log.1").read_text().endswith("radio: before\n")


def test_whoever_logs_has_no_part_in_the_troubles_of_the_disk(tmp_path, capsys):
    # given a file whose folder goes away, and comes back
    folder = tmp_path / "log"
    folder.mkdir()
    log_to(folder / "oemgateway.log")
    radio("before")
    (folder / "oemgateway.log").unlink()
    folder.rmdir()
    # when something is logged, then nobody is troubled
    radio("meanwhile")
    folder.mkdir()
    radio("after")
    assert (folder / "oemgateway.log").read_text().endswith("radio: after\n")
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_no_trouble_of_who_logs(capsys):
    log_to(None)
    with contextlib.suppress(OSError), Path("/dev/full").open("w") as full:
        log.handlers[0].setStream(full)
        radio("no room")
        log.handlers = []
    assert capsys.readouterr().err == ""


@contextlib.contextmanager
def logging_to_a_pipe(monkeypatch) -> Iterator[tuple[TextIO, TextIO]]:
    """Send the log to a pipe that nobody waits for long; yield both of its ends."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as read, os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(logs, "_READER", 0.05)
        log_to(None)
        yield read, stderr


def test_a_reader_that_stands_still_holds_nobody_up_and_is_told_what_it_missed(monkeypatch):
    # given a pipe that nobody reads
    with logging_to_a_pipe(monkeypatch) as (read, stderr):
        # when more is said than it holds, from several threads
        speakers = [
            threading.Thread(target=lambda: [radio("x" * 500) for _ in range(100)], daemon=True)
            for _ in range(4)
        ]
        for speaker in speakers:
            speaker.start()
        for speaker in speakers:
            speaker.join(30)
        assert not any(speaker.is_alive() for speaker in speakers)
        # and it is read again, then it goes on with the number of lines that it lacks
        there = [read.readline() for _ in range(50)]
        radio("again")
        radio("and on")
        logs.log.handlers[0].close()
        stderr.close()
        there += read.readlines()
    whole = [line for line in there if line.endswith(" WARNING radio: " + "x" * 500 + "\n")]
    assert [line[28:] for line in there[len(whole) :]] == [
        f"gateway: {400 - len(whole)} lines of the log were dropped, as nothing took them\n",
        "radio: again\n",
        "radio: and on\n",
    ]


@pytest.mark.parametrize(
    ("is_terminal", "size", "is_ours"),
    [
        (True, 100, True),
        (True, 501, True),
        (False, 100, True),
        (False, 4500, True),
        (False, 30_000, True),
        (False, 11_000, False),
    ],
)
def test_a_terminal_or_pipe_that_is_read_no_more_holds_nobody_up_in_the_middle_of_a_line(
    monkeypatch, is_terminal, size, is_ours
):
    if not is_ours:  # another user's pipe, as in a container, cannot be opened once more
        monkeypatch.setattr(logs, "_reopened", lambda _: None)
    reader, writer = os.openpty() if is_terminal else os.pipe()
    there = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # a terminal ends with one
            while data := os.read(reader, 1 << 16):
                there.extend(data)
        os.close(reader)

    with os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(logs, "_READER", 0.05)
        log_to(None)
        # when more is said than it holds
        speaker = threading.Thread(target=lambda: [radio("x" * size) for _ in range(1000)], daemon=True)
        speaker.start()
        speaker.join(30)
        assert not speaker.is_alive()
        # and it is read again
        listener, handler, after = threading.Thread(target=read, daemon=True), logs.log.handlers[0], 0
        listener.start()
        while handler._dropped or handler._unwritten:
            radio("and on")
            after += 1
        handler.close()
    listener.join(30)
    # then the line that was cut goes on, and each of the others is there or counted
    words = [line[28:] for line in there.decode().splitlines()]
    dropped = [int(each.split()[1]) for each in words if "of the log were dropped, as nothing took" in each]
    assert dropped
    assert {each for each in words if each.startswith("radio: ")} == {"radio: " + "x" * size, "radio: and on"}
    assert sum(dropped) + len(words) - len(dropped) == 1000 + after


def test_a_line_that_was_cut_is_whole_at_the_end_where_it_is_read_again(monkeypatch):
    # given a pipe that had no room for all of a line
    with logging_to_a_pipe(monkeypatch) as (read, stderr):
        for _ in range(3):
            radio("x" * 25_000)
        # when it is read, and the log ends
        there = os.read(read.fileno(), 50_000).decode()
        logs.log.handlers[0].close()
        stderr.close()
        words = [line[28:] for line in (there + read.read()).splitlines()]
    assert words == ["radio: " + "x" * 25_000] * 3


def test_a_line_with_wrong_arguments_is_no_trouble_of_who_logs(monkeypatch):
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        log_to(None)
        logging.getLogger("oemgateway.radio").warning("%d packets", "many")
        logs.log.handlers[0].close()


def test_a_section_may_log_more_or_less_than_the_others(capsys):
    log_to(None)
    set_levels({"radio": "ERROR", "bridge": "DEBUG"})
    radio("no port")
    logging.getLogger("oemgateway.bridge").debug("a word")
    assert capsys.readouterr().err[19:] == " DEBUG   bridge: a word\n"
    set_levels({"radio": None, "bridge": None})
    radio("no port")
    logging.getLogger("oemgateway.bridge").debug("a word")
    assert capsys.readouterr().err[19:] == " WARNING radio: no port\n"


@pytest.fixture
def loghost():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
        host.bind(("127.0.0.1", 0))
        host.settimeout(60)
        yield host


def test_a_syslog_elsewhere_gets_each_line_with_facility_and_level(loghost):
    log.handlers = []
    port = loghost.getsockname()[1]
    log_to_syslog((f"127.0.0.1:{port}", "local3"))
    radio("no port")
    # 19 is local3, 4 a warning (RFC 3164)
    assert loghost.recv(1000).decode() == f"<{19 * 8 + 4}>oemgateway[{os.getpid()}]: radio: no port"


def test_the_same_words_leave_it_alone_others_replace_it_and_none_end_it(loghost):
    log.handlers = []
    place = f"127.0.0.1:{loghost.getsockname()[1]}"
    log_to_syslog((place,))
    (first,) = log.handlers
    log_to_syslog((place,))
    assert log.handlers == [first]
    log_to_syslog((place, "user"))
    assert len(log.handlers) == 1
    radio("no port")
    assert loghost.recv(1000).startswith(b"<12>")
    log_to_syslog(())
    assert log.handlers == []


def test_what_was_said_before_the_end_is_sent(loghost):
    log.handlers = []
    log_to_syslog((f"127.0.0.1:{loghost.getsockname()[1]}",))
    radio("the last word")
    log_to_syslog(())
    assert loghost.recv(1000).endswith(b"the last word")


def test_the_syslog_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(syslog, "_LOCAL", str(tmp_path / "log"))
    log.handlers = []
    log_to_syslog(("local",))
    # a syslogd that is started later is found
    radio("too early")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslogd:
        syslogd.bind(str(tmp_path / "log"))
        syslogd.settimeout(0.05)

        def is_received() -> bool:
            radio("in time")
            with contextlib.suppress(TimeoutError):
                return syslogd.recv(1000).endswith(b": radio: in time")
            return False

        wait_until(is_received)


def test_a_host_that_nobody_knows_troubles_nobody(monkeypatch, capsys):
    asked = []

    def unknown(*arguments, **_):
        asked.append(arguments[0])
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    log_to(None)
    log.handlers = []
    log_to_syslog(("loghost",))
    radio("no port")
    wait_until(lambda: len(asked) > 1)
    assert set(asked) == {"loghost"}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("local",),
        ("local", "local0"),
        ("loghost",),
        ("10.0.0.9:514", "daemon"),
        ("[fe80::1]:514",),
        ("[::1]",),
        ("tcp:loghost:601", "local3"),
        ("tcp:[::1]:601",),
        ("tcp:loghost",),
    ],
)
def test_what_can_be_named_as_a_syslog(words):
    check_syslog(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("host:port",), "host:514, facility expected"),
        (("a b",), "host:514, facility expected"),
        (("Yes",), "host:514, facility expected"),
        (("host", "daemon", "info"), "host:514, facility expected"),
        (("host", "deamon"), r"not deamon \(did you mean daemon\?\)"),
    ],
)
def test_and_what_cannot(words, said):
    with pytest.raises(ValueError, match=said):
        check_syslog(words)


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("host", ("host", 514)),
        ("host:1514", ("host", 1514)),
        ("[::1]:9", ("::1", 9)),
        ("[::1]", ("::1", 514)),
    ],
)
def test_where_it_is(place, address):
    assert host_and_port(place, 514) == address


def test_every_facility_of_syslog_is_known():
    for facility in SysLogHandler.facility_names:
        check_syslog(("local", facility))
