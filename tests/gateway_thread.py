"""The gateway in a thread, where a test looks at its parts while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway import config
from gateway.control import ask
from gateway.daemon import Daemon
from tests.waiting import wait_until


@contextmanager
def running(file: Path) -> Iterator[Daemon]:
    """Run the daemon on this configuration, which keeps its state beside it; yield it once it answers."""
    gateway = Daemon(config.read(file))
    thread = threading.Thread(target=gateway.run)
    thread.start()
    try:
        wait_until(lambda: answers(file), what="the gateway to start")
        yield gateway
    finally:
        gateway.stop.set()
        thread.join(60)
        assert not thread.is_alive()


def answers(file: Path) -> bool:
    """Tell whether the daemon on this configuration can be asked."""
    try:
        return "pid" in ask(file.parent / "state" / "control", "status")
    except OSError:
        return False
