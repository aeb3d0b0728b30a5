"""listeners/lograte/matcher.py: the process that matches, and what becomes of a pattern that runs away."""

from __future__ import annotations

import _sre
import io
import marshal
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from contextlib import closing, suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.flag import Flag
from listeners.lograte import child
from listeners.lograte import matcher as matching
from listeners.lograte.matcher import Matcher
from listeners.lograte.pattern import compiled, translate
from tests.waiting import wait_until

RUNAWAY = r"(a+)+$"
LONG = b"a" * 60 + b"!\n"


@pytest.fixture
def matcher(at_end):
    return lambda *patterns, runaways=(): at_end.enter_context(closing(Matcher(patterns, runaways)))


def test_lines_are_counted_by_pattern(matcher):
    text = "err 1\r\nok\nerr\xff2\nüb\n".encode("latin-1")
    assert matcher("err", "^ok$", "1$", "b", "none").count(text, Flag()) == {
        "err": 2,
        "^ok$": 1,
        "1$": 1,
        "b": 1,
        "none": 0,
    }


def test_a_pattern_counts_a_line_once_and_its_classes_are_translated(matcher):
    assert matcher("[[:digit:]]").count(b"1 2 3\n", Flag()) == {"[[:digit:]]": 1}


def test_a_pattern_that_runs_away_is_off_and_the_others_are_counted_in_the_same_text(matcher, monkeypatch):
    # given
    monkeypatch.setattr("listeners.lograte.matcher.LIMIT", 1.0)
    made = matcher("first", RUNAWAY, "last")
    began = time.process_time()
    # when
    counts = made.count(b"first\nlast last\n" + LONG, Flag())
    # then
    assert counts == {"first": 1, "last": 1}
    assert made.runaways == {RUNAWAY}
    assert time.process_time() - began < 0.5  # it was not our own time
    assert made.count(b"first\n" + LONG, Flag()) == {"first": 1, "last": 0}


def test_on_a_busy_machine_a_pattern_that_gives_no_answer_in_time_is_off(matcher, monkeypatch):
    monkeypatch.setattr(matching, "_PATIENCE", matching.LIMIT / 5)
    monkeypatch.setattr(matching, "_MUCH", matching.LIMIT / 200)
    one = matcher(RUNAWAY, "b")

    def is_off():
        with suppress(OSError):  # this machine may be so busy that it gives not even that
            one.count(LONG, Flag())
        return one.runaways == {RUNAWAY}

    wait_until(is_off, what="a pattern that is off")
    monkeypatch.undo()
    assert one.count(b"b\n", Flag()) == {"b": 1}


def test_no_answer_of_a_process_that_got_no_time_is_no_fault_of_the_pattern(matcher, monkeypatch):
    one = matcher("a")
    one.count(b"a\n", Flag())
    os.kill(one._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(matching, "_PATIENCE", 0.1)
    with pytest.raises(OSError, match="no answer"):
        one.count(b"a\n", Flag())
    monkeypatch.undo()
    assert one.count(b"a\n", Flag()) == {"a": 1}


def test_where_all_are_off_nothing_is_run(matcher):
    made = matcher(RUNAWAY, runaways=[RUNAWAY])
    assert made.count(LONG, Flag()) == {}
    assert made._process is None


def test_a_stop_does_not_wait_for_a_pattern(matcher):
    stop = Flag()
    stop.set()
    made = matcher(RUNAWAY)
    assert made.count(LONG, stop) is None
    assert (made._process, made.runaways) == (None, set())


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_process_that_was_killed_is_no_fault_of_the_pattern(matcher, is_gone):
    made = matcher("a")
    assert made.count(b"a\n", Flag()) == {"a": 1}
    os.kill(made._process.pid, signal.SIGKILL)
    if is_gone:
        made._process.wait(60)
    with pytest.raises(OSError):
        made.count(LONG * 900, Flag())
    assert made.count(b"a\n", Flag()) == {"a": 1}
    assert made.runaways == set()


def test_it_ends_when_the_gateway_is_gone(matcher):
    made = matcher("a")
    made.count(b"a\n", Flag())
    made._process.stdin.close()
    assert made._process.wait(10) == 0


def test_it_works_where_a_process_may_not_be_nice(monkeypatch, capsys):
    def forbidden(_):
        raise PermissionError

    monkeypatch.setattr(child.posix, "nice", forbidden)
    assert answers(child, monkeypatch, capsys, _sre.MAGIC) == [1]


def test_it_works_where_another_python_was_installed_meanwhile(monkeypatch, capsys):
    assert answers(child, monkeypatch, capsys, _sre.MAGIC + 1) == [1]


def answers(child, monkeypatch, capsys, magic):
    """Return what the program answers to the pattern `a` and a text of two lines."""
    pieces = [marshal.dumps((magic, 5.0, [compiled("a")])), b"a\nb\n"]
    text = io.BytesIO(b"".join(child.packed(len(piece)) + piece for piece in pieces))
    monkeypatch.setattr(child.sys, "stdin", io.TextIOWrapper(text))
    child.main()
    out = capsys.readouterr().out.encode()
    return [int.from_bytes(out[at : at + 4], "little") for at in range(0, len(out), 4)]


@given(st.text("ab1 é[]()|*+?.^$:-\\dwsi{}<>P=!", max_size=12), st.text("ab1 é\n", max_size=30))
def test_it_finds_what_re_finds(pattern, text):
    try:
        translated = translate(pattern)
    except ValueError:
        assume(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = re.compile(translated)
    ours = _sre.compile(*compiled(pattern))
    assert [bool(ours.search(line)) for line in text.split("\n")] == [
        bool(found.search(line)) for line in text.split("\n")
    ]


def test_it_imports_nothing_that_python_has_not_in_memory_already():
    """`re` alone would take longer to import than all else."""
    told = marshal.dumps((_sre.MAGIC, 1.0, []))
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", child.__file__],
        input=child.packed(len(told)) + told,
        capture_output=True,
        check=False,
    ).stderr.decode()
    assert "marshal" in said
    assert not [line for line in said.splitlines() if line.endswith((" re", " enum", " os", " signal"))]
