"""Waiting for a condition instead of sleeping for luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.workers.worker import Worker

T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float = 60.0, what: str | Callable[[], object] = "") -> T:
    """Return the condition's first true value; fail loudly with `what` when it stays false."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {seconds:g} s: {what() if callable(what) else what or condition}"
            )
        time.sleep(0.005)
    return result


def wait_until_idle(worker: Worker[Any]) -> None:
    """Wait until a worker is open, and waits for something to do."""
    wait_until(lambda: worker.tried.is_set() and worker.stop.unattended is None)
