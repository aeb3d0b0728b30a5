"""The same for many at a time, in threads that keep no process alive."""

from __future__ import annotations

import subprocess
import sys
from threading import Barrier, Event, active_count

import pytest

from listeners.onewire.drivers.at_once import AtOnce
from tests.waiting import wait_until


def test_each_item_has_its_result():
    assert AtOnce(4)(lambda n: n * n, range(50)) == {n: n * n for n in range(50)}
    assert AtOnce(4)(str, []) == {}


def test_so_many_are_in_work_at_once():
    together = Barrier(3)
    assert AtOnce(3)(lambda _: together.wait(10) >= 0, range(3)) == dict.fromkeys(range(3), True)


def test_what_the_action_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        AtOnce(2)(lambda n: 1 // n, [2, 0, 1])


def test_its_threads_end():
    before = active_count()
    for _ in range(20):
        AtOnce(16)(str, range(20))
    assert active_count() <= before + 16


def test_an_item_that_hangs_costs_the_others_one_wait_and_comes_back_once_it_does_not():
    # given one that hangs, and more of the others than there are threads
    gone_on = Event()
    at_once = AtOnce(2, patience=0.2)
    asked = []

    def ask(n):
        asked.append(n)
        return n if n != 3 or gone_on.wait(60) else None

    others = {n: n for n in range(8) if n != 3}
    # when all are asked for three times, then the others have their results, and it is asked once
    assert [at_once(ask, range(8)) for _ in range(3)] == [others] * 3
    assert asked.count(3) == 1
    # and when it goes on, then it has a result as well
    gone_on.set()
    wait_until(lambda: at_once(ask, range(8)) == {**others, 3: 3})


def test_what_had_no_turn_for_those_that_hang_has_one_the_next_time():
    gone_on = Event()
    at_once = AtOnce(2, patience=0.2)

    def ask(n):
        return n if n > 1 or gone_on.wait(60) else None

    assert at_once(ask, range(4)) == {}
    assert at_once(ask, range(4)) == {2: 2, 3: 3}
    gone_on.set()


def test_a_thread_that_hangs_keeps_no_process_alive():
    program = (
        "import threading, time; from listeners.onewire.drivers.at_once import AtOnce;"
        "threading.Thread(target=AtOnce(1), args=(time.sleep, [3600]), daemon=True).start(); time.sleep(0.2)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
