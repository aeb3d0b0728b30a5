from __future__ import annotations

import os
import threading
import time

from gateway.flag import Flag, wait_readable


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


def test_one_wait_covers_a_flag_and_a_pipe():
    flag = Flag()
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x")
        with os.fdopen(reading, "rb") as pipe:
            assert wait_readable([flag, pipe], 10) == {pipe.fileno()}
            flag.set()
            assert wait_readable([flag, pipe], 10) == {pipe.fileno(), flag.fileno()}
    finally:
        os.close(writing)
