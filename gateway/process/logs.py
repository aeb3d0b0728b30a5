"""Where the log goes: the terminal or the journal, a file that may be rotated, a syslog server."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import socket
import stat
import sys
import threading
import time
from logging.handlers import QueueHandler, SysLogHandler, WatchedFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gateway.flag import wait_readable
from gateway.process.port import host_and_port
from gateway.process.state_files import as_owner
from gateway.settings import ANSWERS, did_you_mean
from gateway.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import TextIOWrapper

log = logging.getLogger("oemgateway")

_LINE = "%(name)s: %(message)s"
_LOCAL = "/dev/log"
_PORT = 514
_BACKLOG = 1000
"""Lines that may wait for a syslog server; more are dropped, and counted."""
_PATIENCE = 10.0
"""Seconds that a syslog server may take to accept a connection, or a line."""
_AGAIN = 5.0
"""Seconds between two tries to reach a syslog server by TCP."""
_READER = 1.0
"""Seconds that a terminal, a pipe or the journal may take to have room for a line."""


def log_to(file: Path | None) -> None:
    """Send the log to this file, or to the terminal; under systemd in the format of the journal."""
    logging.raiseExceptions = False  # no traceback when the log cannot be written
    handler = _Stderr() if file is None else _File(file, encoding="utf-8")
    if file is None and _is_journal():
        handler.setFormatter(_Journal(_LINE))
    else:
        handler.setFormatter(_Brief(f"%(asctime)s %(levelname)-7s {_LINE}", "%Y-%m-%d %H:%M:%S"))
    for replaced in log.handlers:
        replaced.close()
    log.handlers = [handler]


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


def set_levels(levels: Mapping[str, str | None]) -> None:
    """Set the level of each section; None: that of the gateway."""
    for section, level in levels.items():
        logging.getLogger(f"oemgateway.{section}").setLevel(level or logging.NOTSET)


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
    """Return why a syslog is not reached, "" where nothing speaks against it; UDP has no answer."""
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


def _is_journal() -> bool:
    """Tell whether stderr is the journal, by JOURNAL_STREAM of systemd.exec(5)."""
    journal = os.environ.get("JOURNAL_STREAM")
    if not journal:
        return False
    about = os.fstat(sys.stderr.fileno())
    return journal == f"{about.st_dev}:{about.st_ino}"


class PlainFormatter(logging.Formatter):
    """Makes a message one line, whatever it quotes, and indents the lines of a traceback below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (as the class above calls it)
        """Return the line without its traceback."""
        return plain(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802  (as the class above has it)
        """Return the traceback, in lines that cannot be mistaken for lines of the log."""
        return "\n".join(f"  {plain(line)}" for line in super().formatException(ei).split("\n"))


class _Brief(PlainFormatter):
    """A log line with the section's name, without the program's before it."""

    def format(self, record: logging.LogRecord) -> str:
        section = record.name.removeprefix("oemgateway.")
        return super().format(logging.makeLogRecord({**record.__dict__, "name": section}))


class _Journal(_Brief):
    """A line of the journal, which adds the date; the number before it is its level (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        number = SysLogHandler.priority_names[SysLogHandler.priority_map.get(record.levelname, "warning")]
        return "\n".join(f"<{number}>{line}" for line in super().format(record).split("\n"))


class _Stderr(logging.StreamHandler[TextIO]):
    """Standard error. What it has no room for is dropped and counted: no reading waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self._dropped, self._unwritten = 0, b""
        self._own = _reopened(self.stream)

    def emit(self, record: logging.LogRecord) -> None:
        until = time.monotonic() + (0.0 if self._unwritten or self._dropped else _READER)
        try:
            if not self._is_written(until):
                self._dropped += 1
                return
            lines = [_dropped(self._dropped, "nothing took them", record.created)] if self._dropped else []
            self._dropped = 0
            text = "".join(f"{self.format(each)}\n" for each in [*lines, record])
            self._unwritten = text.encode(errors="backslashreplace")
            self._is_written(until)
        except Exception:  # noqa: BLE001  (it is closed, has gone, or is no file: what logs is not to suffer)
            self._unwritten = b""
            super().emit(record)

    def _is_written(self, until: float) -> bool:
        """Write what is left of the last lines; tell whether there was room for all of it by then."""
        number = self.stream.fileno() if self._own is None else self._own
        poll = select.poll()
        poll.register(number, select.POLLOUT)
        try:
            while poll.poll(max(0.0, until - time.monotonic()) * 1000):
                self._unwritten = self._unwritten[os.write(number, self._unwritten[: select.PIPE_BUF]) :]
                if not self._unwritten:
                    return True
        except BlockingIOError:  # a terminal may have room for less than a character
            pass
        return False

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._is_written(time.monotonic())
        if self._own is not None:
            os.close(self._own)
            self._own = None
        super().close()


def _reopened(stream: TextIO) -> int | None:
    """Return a descriptor of a pipe or terminal that takes what it has room for; None where there is none.

    Those who share the other one are to wait as before. A pipe of another user cannot be opened.
    """
    with contextlib.suppress(AttributeError, ValueError, OSError):
        number = stream.fileno()
        if os.isatty(number) or stat.S_ISFIFO(os.fstat(number).st_mode):
            return os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return None


def _dropped(count: int, why: str, created: float) -> logging.LogRecord:
    words = f"{count} lines of the log were dropped, as {why}"
    return logging.makeLogRecord(
        {"name": "gateway", "msg": words, "levelname": "WARNING", "created": created}
    )


class _File(WatchedFileHandler):
    """A file that is reopened when it was renamed or removed; its errors do not reach the code that logs."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def _open(self) -> TextIOWrapper:
        with as_owner(Path(self.baseFilename).parent):
            return super()._open()


class _Syslog(QueueHandler):
    """Sends in a thread: a server that does not answer must not block the code that logs."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(queue.Queue(_BACKLOG))
        self.words = tuple(words)
        self.dropped = 0
        self.setFormatter(_Brief(_LINE))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, name="syslog", daemon=True)
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep a line, or count it where too many wait."""
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
                    late = _dropped(dropped, "this syslog could not be reached", time.time())
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
    """Sends to a syslog server, as soon as it can be reached; `again` is after how many seconds a line is."""

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
            self._hang_up()  # a server of syslog says nothing: it has ended
        if not self._connection:
            self._connection = socket.create_connection(self._place, _PATIENCE)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None
