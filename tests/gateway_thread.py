"""The gateway in a thread, where a test looks at its parts while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.conf import config
from gateway.daemon import Daemon
from gateway.process.control import ask
from gateway.process.notify import Supervisor
from tests.waiting import wait_until


@contextmanager
def running(file: Path, supervisor: Supervisor | None = None) -> Iterator[Daemon]:
    """Run the daemon on this configuration, which keeps its state beside it; yield it once it is ready."""
    gateway = Daemon(config.read(file), supervisor)
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
    """Tell whether the daemon on this configuration can be asked, and is ready."""
    try:
        return bool(ask(file.parent / "state" / "control", "status")["ready"])
    except OSError:
        return False
