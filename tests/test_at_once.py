"""The same for many at a time, in threads that keep no process alive."""

from __future__ import annotations

import subprocess
import sys
from threading import Barrier, active_count

import pytest

from listeners.onewire.drivers.at_once import at_once


def test_results_are_in_the_order_of_the_items():
    assert at_once(lambda n: n * n, range(50), 4) == [n * n for n in range(50)]
    assert at_once(str, [], 4) == []


def test_so_many_are_in_work_at_once():
    together = Barrier(3)
    assert at_once(lambda _: together.wait(10) >= 0, range(3), 3) == [True] * 3


def test_what_the_action_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        at_once(lambda n: 1 // n, [1, 0, 1], 2)


def test_its_threads_end():
    before = active_count()
    for _ in range(20):
        at_once(str, range(20), 16)
    assert active_count() <= before + 16


def test_a_thread_that_hangs_keeps_no_process_alive():
    program = (
        "import threading, time; from listeners.onewire.drivers.at_once import at_once;"
        "threading.Thread(target=at_once, args=(time.sleep, [3600], 1), daemon=True).start(); time.sleep(0.2)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
