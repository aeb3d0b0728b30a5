"""The log on standard error, a terminal, a pipe or the journal, or in a file that may be rotated."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
import sys
import time
from logging.handlers import SysLogHandler, WatchedFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gateway.process.state_files import as_owner
from gateway.text.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import TextIOWrapper

log = logging.getLogger("oemgateway")

LINE = "%(name)s: %(message)s"
"""A line without its time and level, as the journal and syslog have it."""
_READER = 1.0
"""Seconds that a terminal, a pipe or the journal may take to have room for a line."""


def log_to(file: Path | None) -> None:
    """Send the log to this file, or to the terminal; under systemd in the format of the journal."""
    logging.raiseExceptions = False  # no traceback when the log cannot be written
    handler = _Stderr() if file is None else _File(file, encoding="utf-8")
    if file is None and _is_journal():
        handler.setFormatter(_Journal(LINE))
    else:
        handler.setFormatter(Brief(f"%(asctime)s %(levelname)-7s {LINE}", "%Y-%m-%d %H:%M:%S"))
    for replaced in log.handlers:
        replaced.close()
    log.handlers = [handler]


def set_levels(levels: Mapping[str, str | None]) -> None:
    """Set the level of each section; None: that of the gateway."""
    for section, level in levels.items():
        logging.getLogger(f"oemgateway.{section}").setLevel(level or logging.NOTSET)


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


class Brief(PlainFormatter):
    """A log line with the section's name, without the program's before it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback below it."""
        section = record.name.removeprefix("oemgateway.")
        return super().format(logging.makeLogRecord({**record.__dict__, "name": section}))


class _Journal(Brief):
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
            records = [record]
            if self._dropped:
                records.insert(0, dropped_lines(self._dropped, "nothing took them", record.created))
            self._dropped = 0
            text = "".join(f"{self.format(each)}\n" for each in records)
            self._unwritten = text.encode(errors="backslashreplace")
            self._is_written(until)
        except Exception:  # noqa: BLE001  (it is closed, gone, or not a file: the code that logs must not fail)
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
    """Return a descriptor of a pipe or terminal that takes what it has room for; None if there is none.

    Others that share the original still wait as before. A pipe of another user cannot be opened.
    """
    with contextlib.suppress(AttributeError, ValueError, OSError):
        number = stream.fileno()
        if os.isatty(number) or stat.S_ISFIFO(os.fstat(number).st_mode):
            return os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return None


def dropped_lines(count: int, why: str, created: float) -> logging.LogRecord:
    """Return the line that stands for so many dropped ones; `created` is in Unix seconds."""
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
