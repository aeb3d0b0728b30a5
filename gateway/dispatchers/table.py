"""Dispatcher `table`: the values now in the terminal, a line per index, and the end of the log below."""

from __future__ import annotations

import logging
import shutil
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TextIO

from gateway.plugin import Batch, Dispatcher, Wake
from gateway.present.values_table import screen, table
from gateway.process.logs import PlainFormatter
from gateway.settings import setting
from gateway.text.plain import plain

_LINES = 8
"""Messages of the log below the table."""
_LIVE, _WRITTEN = 1.0, 5.0
"""Seconds between two tables, on a terminal and into a file."""


class _Recent(logging.Handler):
    """Keeps the last messages of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(PlainFormatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        self.lines: deque[str] = deque(maxlen=_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass(kw_only=True)
class Table(Dispatcher):
    """Shows the present values of all nodes, whatever waits in the queue.

    On a terminal the table is redrawn in place, and the log is shown below it only. Into a file it is written
    again every few seconds, and once more at the end.
    """

    title: str | None = setting(None)
    out: TextIO = field(default_factory=lambda: sys.stdout, init=False, compare=False, repr=False)

    def open(self) -> None:
        """Take the place of the log on a terminal."""
        self._recent = _Recent()
        self._due = self.clock.monotonic()
        self._live = self.out.isatty()
        logger = logging.getLogger("oemgateway")
        self._handlers = logger.handlers
        if self._live:
            logger.handlers = [self._recent]
            self.out.write("\x1b[2J")

    def close(self) -> None:
        """Give the log its place back, and write the last table."""
        if hasattr(self, "_handlers"):
            logging.getLogger("oemgateway").handlers = self._handlers
            del self._handlers
            if not self._live:
                self._draw()

    def send(self, batch: Batch) -> None:
        """Take the frames: what is shown is the present."""

    def wake(self) -> Wake:
        """Ask to be served when the next table is due."""
        return Wake(seconds=max(0.0, self._due - self.clock.monotonic()))

    def serve(self) -> None:
        """Draw the table."""
        self._due = self.clock.monotonic() + (_LIVE if self._live else _WRITTEN)
        self._draw()

    def _draw(self) -> None:
        width, height = shutil.get_terminal_size()
        lines = [
            *([plain(self.title), ""] if self.title else []),
            *table(
                self.present.values() if self.present else [], width, encoding=self.out.encoding or "utf-8"
            ),
        ]
        if self._live:
            shown = screen(lines, self._recent.lines, width, height)
            self.out.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J")
        else:
            self.out.write("\n".join(lines) + "\n\n")
        self.out.flush()
