"""The end of the process: within two seconds of SIGTERM or Ctrl-C, whatever hangs.

All threads but the main one are daemon threads, and the main thread waits for none of them for long. It may
still hang itself: on a disk that does not answer, on a lock that a hanging thread holds, on a log that nobody
reads. A signal handler in Python would then never run, so a thread reads what the interpreter's C handler
writes to the wakeup descriptor. Only an uninterruptible wait in the kernel takes longer.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from gateway.flag import Flag

log = logging.getLogger("oemgateway")

WITHIN_S = 1.9
"""Seconds after the signal in which the process has ended by itself, or is ended."""

_WARNING_S = 0.05


def end_in_time(stop: Flag) -> None:
    """Have SIGTERM and SIGINT raise `stop`, and the process end soon after, by force if necessary.

    If it ends by force, its files are as after a power cut: what was stored is on disk.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # The parent may have blocked them: a blocked signal stays blocked through an exec.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    # The thread keeps both ends: closed, the writer's number could become that of another file.
    threading.Thread(target=_watch, args=(reader, writer, stop), name="ending", daemon=True).start()


def end() -> NoReturn:
    """Write the log and end the process at once: nothing could watch how long Python takes to end."""
    logging.shutdown()
    os._exit(0)


def _watch(reader: socket.socket, _writer: socket.socket, stop: Flag) -> None:
    while not {signal.SIGTERM, signal.SIGINT}.intersection(came := reader.recv(64)):
        if not came:
            return  # the interpreter is at its end
    stop.set()
    time.sleep(WITHIN_S - _WARNING_S)
    threading.Thread(target=_warn, name="ending warning", daemon=True).start()
    time.sleep(_WARNING_S)
    os._exit(0)


def _warn() -> None:
    """Log that the end is by force; logging may hang too."""
    log.warning("something hangs: the gateway ends without closing everything; what was stored is on disk")
