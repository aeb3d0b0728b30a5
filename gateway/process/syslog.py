"""The log on a syslog server, or on that of this machine."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from logging.handlers import QueueHandler, SysLogHandler
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.flag import wait_readable
from gateway.process.logs import LINE, Brief, dropped_lines, log
from gateway.process.port import host_and_port
from gateway.settings import ANSWERS, did_you_mean

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

_LOCAL = "/dev/log"
_PORT = 514
_BACKLOG = 1000
"""Lines that may wait for a syslog server; more are dropped, and counted."""
_PATIENCE = 10.0
"""Seconds that a syslog server may take to accept a connection, or a line."""
_AGAIN = 5.0
"""Seconds between two tries to reach a syslog server by TCP."""


def log_to_syslog(words: Sequence[str]) -> None:
    """Send the log also to the syslog server that these words name (see check_syslog); no words: to none."""
    there = [handler for handler in log.handlers if isinstance(handler, _Syslog)]
    if [handler.words for handler in there] == ([tuple(words)] if words else []):
        return
    for handler in there:
        log.removeHandler(handler)
        handler.close()
    if words:
        log.addHandler(_Syslog(words))


def check_syslog(words: Sequence[str]) -> None:
    """Raise ValueError unless this is empty, `[tcp:]host[:port]` or `local`, with or without a facility."""
    if not words:
        return
    place, facility, *more = [*words, "daemon"][: max(2, len(words))]
    try:
        is_answer = place.lower() in ANSWERS
        host_and_port("" if more or is_answer else place.removeprefix("tcp:"), _PORT)
    except ValueError:
        found = ", ".join(words)
        raise ValueError(f"host:514, facility expected (or tcp:host:514, or local), not {found}") from None
    if facility not in SysLogHandler.facility_names:
        hint = did_you_mean(facility, SysLogHandler.facility_names)
        raise ValueError(f"a facility such as daemon or local0 expected, not {facility}{hint}")


def syslog_trouble(words: Sequence[str]) -> str:
    """Return why a syslog cannot be reached, "" if no problem is seen; UDP has no answer."""
    host, port = host_and_port(words[0].removeprefix("tcp:"), _PORT)
    try:
        if words[0].startswith("tcp:"):
            socket.create_connection((host, port), _PATIENCE).close()
        elif host == "local":
            Path(_LOCAL).stat()
        else:
            socket.getaddrinfo(host, port)
    except OSError as error:
        return error.strerror or str(error)
    return ""


class _Syslog(QueueHandler):
    """Sends in a thread: a server that does not answer must not block the code that logs."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(queue.Queue(_BACKLOG))
        self.words = tuple(words)
        self.dropped = 0
        self.setFormatter(Brief(LINE))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, name="syslog", daemon=True)
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a line, or count it as dropped if too many wait."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def _send(self) -> None:
        while True:
            try:
                self._send_all()
            except Exception:  # noqa: BLE001  (a line of the log would come here again)
                self._drop(1)
                if not self._ended.wait(_AGAIN):
                    continue
            return

    def _send_all(self) -> None:
        sender = (_Stream if self.words[0].startswith("tcp:") else _Sender)(*self.words)
        while (record := self.queue.get()) is not None:
            while not sender.is_sent(record):
                if not sender.again:
                    self._drop(1)
                    break
                if self._ended.wait(sender.again):
                    return
            else:
                if dropped := self._drop(0):
                    late = dropped_lines(dropped, "this syslog could not be reached", time.time())
                    sender.is_sent(self.prepare(late))
        sender.close()

    def _drop(self, count: int) -> int:
        """Count lines that were dropped; with 0, return how many there were and start again at 0."""
        with self.lock or contextlib.nullcontext():
            dropped, self.dropped = self.dropped, self.dropped + count if count else 0
        return dropped

    def close(self) -> None:
        """Wait a moment for the lines that are still to be sent."""
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(None)
        self._thread.join(0.5)
        self._ended.set()
        super().close()


class _Sender(SysLogHandler):
    """Sends to a syslog server once it can be reached; a line is retried after `again` seconds (0: never)."""

    append_nul = False
    again = 0.0

    def __init__(self, place: str, facility: str = "daemon") -> None:
        host, port = host_and_port(place, _PORT)
        super().__init__(_LOCAL if host == "local" else (host, port), SysLogHandler.facility_names[facility])
        self.ident = f"oemgateway[{os.getpid()}]: "

    def createSocket(self) -> None:  # noqa: N802  (as the class above calls it)
        """Make the socket if the host can be found; if not, the next line tries again."""
        with contextlib.suppress(OSError):
            super().createSocket()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  (as the class above has it)
        """Take note that a line could not be sent."""
        self._failed = True

    def is_sent(self, record: logging.LogRecord) -> bool:
        """Send a line; tell whether that could be done."""
        self._failed = False
        self.handle(record)
        return not self._failed


class _Stream(_Sender):
    """Sends by TCP, each line after its length (RFC 6587, 3.4.1), with the time at which it was logged.

    A line that cannot be sent is sent again. What was sent before a connection breaks may be lost: the
    protocol has no acknowledgement.
    """

    again = _AGAIN
    _connection: socket.socket | None = None

    def __init__(self, place: str, facility: str = "daemon") -> None:
        self._place = host_and_port(place.removeprefix("tcp:"), _PORT)
        super().__init__("local", facility)

    def createSocket(self) -> None:  # noqa: N802  (as the class above has it)
        """Make none: each line looks for its connection."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line over the connection; connect again where the server has closed it."""
        level = self.encodePriority(self.facility, self.mapPriority(record.levelname))
        when = time.strftime("%b %e %H:%M:%S", time.localtime(record.created))
        line = f"<{level}>{when} {socket.gethostname()} {self.ident}{self.format(record)}".encode()
        try:
            self._connected().sendall(b"%d %b" % (len(line), line))
        except OSError:
            self._hang_up()
            self.handleError(record)

    def close(self) -> None:
        """End the connection."""
        self._hang_up()
        super().close()

    def _connected(self) -> socket.socket:
        if self._connection and wait_readable([self._connection], 0):
            self._hang_up()  # a syslog server sends nothing: it has closed the connection
        if not self._connection:
            self._connection = socket.create_connection(self._place, _PATIENCE)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None
