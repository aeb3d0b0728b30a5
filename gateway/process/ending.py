"""The end of the process: within two seconds of SIGTERM or Ctrl-C, whatever hangs.

All threads but the main one are daemons, and the main one waits for no one for long. It may hang itself all
the same: in a disk that does not answer, for a lock that a hanging thread holds, in a log that nobody reads.
A handler of Python's would then never run, so a thread listens to what the interpreter's own handler writes.
Only what the kernel waits for uninterruptibly takes longer.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.flag import Flag

log = logging.getLogger("oemgateway")

WITHIN_S = 1.9
"""Seconds after the signal in which the process has ended by itself, or is ended."""

_LAST_WORDS_S = 0.05


def end_in_time(stop: Flag) -> None:
    """Have SIGTERM and SIGINT raise `stop`, and the process end soon after, by force where it has to be.

    What it has not put in order by then is as after a power cut: what was kept is on disk.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    # The thread keeps both ends: closed, the writer's number could become that of another file.
    threading.Thread(target=_watch, args=(reader, writer, stop), name="ending", daemon=True).start()


def _watch(reader: socket.socket, _writer: socket.socket, stop: Flag) -> None:
    while not {signal.SIGTERM, signal.SIGINT}.intersection(came := reader.recv(64)):
        if not came:
            return  # the interpreter is at its end
    stop.set()
    time.sleep(WITHIN_S - _LAST_WORDS_S)
    threading.Thread(target=_last_words, name="last words", daemon=True).start()
    time.sleep(_LAST_WORDS_S)
    os._exit(0)


def _last_words() -> None:
    """Say that it was by force; this may hang as anything may."""
    log.warning("something hangs: it ends without putting everything in order; what was kept is on disk")
