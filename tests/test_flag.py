from __future__ import annotations

import os
import threading
import time

import pytest

from gateway.flag import Flag, wait_readable
from tests.waiting import wait_until


def test_a_raised_flag_ends_a_wait_in_another_thread():
    flag = Flag()
    seen: list[bool] = []
    waiting = threading.Thread(target=lambda: seen.append(flag.wait(60)))
    waiting.start()
    flag.set()
    waiting.join(60)
    assert seen == [True]


def test_a_flag_stays_up_until_it_is_cleared():
    flag = Flag()
    assert not flag.is_set()
    flag.set()
    flag.set()
    assert flag.is_set()
    assert flag.is_set()
    flag.clear()
    flag.clear()
    assert not flag.is_set()


def test_a_short_wait_is_not_cut_to_nothing():
    started = time.monotonic()
    assert Flag().wait(0.0004) is False
    assert time.monotonic() - started >= 0.0004


@pytest.mark.parametrize("timeout", [1e9, 1e23, 1.7e308])
def test_a_wait_may_be_as_long_as_it_likes(timeout):
    flag = Flag()
    threading.Timer(0.05, flag.set).start()
    assert flag.wait(timeout)


def test_one_wait_covers_a_flag_and_a_pipe():
    flag = Flag()
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x")
        with os.fdopen(reading, "rb") as pipe:
            assert wait_readable([flag, pipe], 60) == {pipe.fileno()}
            flag.set()
            assert wait_readable([flag, pipe], 60) == {pipe.fileno(), flag.fileno()}
    finally:
        os.close(writing)


def test_it_tells_since_when_nobody_has_looked_at_it():
    flag = Flag()
    before = time.monotonic()
    flag.is_set()
    assert before <= flag.unattended <= time.monotonic()
    # while a thread waits for it, alone or among others, it is attended
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb"):
        waiting = threading.Thread(target=wait_readable, args=([pipe, flag], 60))
        waiting.start()
        wait_until(lambda: flag.unattended is None)
        flag.set()
        waiting.join(60)
    assert flag.unattended >= before


@pytest.mark.filterwarnings("error")
def test_where_there_is_no_descriptor_for_it_that_is_an_error_and_nothing_else(monkeypatch):
    monkeypatch.setattr(os, "eventfd", lambda *_: os.close(-1))
    with pytest.raises(OSError, match="Bad file descriptor"):
        Flag()
