"""Dispatcher `table`: a live table in the terminal, a line per index."""

from __future__ import annotations

import logging
import shutil
import sys
import textwrap
from collections import deque
from dataclasses import dataclass, field
from typing import TextIO

from gateway.plugin import Batch, Dispatcher
from gateway.process.logs import PlainFormatter
from gateway.settings import setting
from gateway.text.plain import plain

_LINES = 8
"""Messages of the log below the table."""
_TIME = " " * 10
"""The width of the time before each."""


class _Recent(logging.Handler):
    """Keeps the last messages of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(PlainFormatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        self.lines: deque[str] = deque(maxlen=_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class _Row:
    """One index of one node: its last value and when that came. `there`: the last frame had a value."""

    name: str = ""
    value: float | None = None
    valued: float | None = None
    there: bool = True
    rssi: int | None = None


@dataclass(kw_only=True)
class Table(Dispatcher):
    """Shows node, index, name, value and age of every reading, and below them the end of the log.

    On a terminal the table is redrawn in place, and the log is shown below it only. Into a file it is written
    again every few seconds, and once more at the end.
    """

    title: str | None = setting(None)
    out: TextIO = field(default_factory=lambda: sys.stdout, init=False, compare=False, repr=False)

    def open(self) -> None:
        """Take the place of the log on a terminal."""
        self._rows: dict[tuple[str, int], _Row] = {}
        self._recent = _Recent()
        self._drawn = -float("inf")
        self._is_drawn = True
        self._live = self.out.isatty()
        logger = logging.getLogger("oemgateway")
        self._handlers = logger.handlers
        if self._live:
            logger.handlers = [self._recent]
            self.out.write("\x1b[2J")
            self._draw()

    def close(self) -> None:
        """Give the log its place back, and write what has come since the last time."""
        if hasattr(self, "_handlers"):
            logging.getLogger("oemgateway").handlers = self._handlers
            if not self._is_drawn:
                self._draw()

    def send(self, batch: Batch) -> None:
        """Add the frames to the table and draw it."""
        for frame in batch.frames:
            for index, value in enumerate(frame.values, 1):
                row = self._rows.setdefault((frame.node, index), _Row())
                row.name = frame.name(index)
                row.rssi = frame.rssi
                row.there = value is not None
                if value is not None:
                    row.value, row.valued = value, frame.stamp.wall
        self._is_drawn = False
        now = self.clock.monotonic()
        if self._live or now - self._drawn >= 5.0:
            self._drawn = now
            self._draw()

    def _draw(self) -> None:
        self._is_drawn = True
        if self._live:
            lines = self._screen(*shutil.get_terminal_size())
            self.out.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        else:
            self.out.write("\n".join(self._table()) + "\n\n")
        self.out.flush()

    def _screen(self, width: int, height: int) -> list[str]:
        """Return the table, and below it as much of the log as fits."""
        lines = [piece for line in self._table() for piece in textwrap.wrap(line, width) or [""]]
        room = height - len(lines) - 2
        recent: list[str] = []
        for message in reversed(self._recent.lines):
            pieces = textwrap.wrap(message, width, subsequent_indent=_TIME)
            if len(recent) + len(pieces) > room:
                break
            recent = pieces + recent
        return [*lines, "", *recent][: height - 1]

    def _table(self) -> list[str]:
        now = self.clock.wall()
        lines = [
            *([self.title, ""] if self.title else []),
            f"{'node':>6}  {'index':>5}  {'name':<16} {'value':>10}  {'age':>6}  {'signal':>8}",
            "-" * 62,
        ]
        for (node, index), row in sorted(self._rows.items(), key=lambda item: _natural(*item[0])):
            value = f"{row.value:.6g}" if row.there and row.value is not None else "-"
            age = "" if row.valued is None else f"{max(0, round(now - row.valued))} s"
            rssi = "" if row.rssi is None else f"{row.rssi} dBm"
            note = "" if row.there else "gap: index kept"
            name = plain(row.name)[:16]
            line = f"{node:>6}  {index:>5}  {name:<16} {value:>10}  {age:>6}  {rssi:>8}  {note}"
            lines.append(line.rstrip())
        return [*map(plain, lines)]


def _natural(node: str, index: int) -> tuple[int, str, int]:
    """Sort node 9 before node 10, and names after numbers."""
    return (int(node), "", index) if node.isdecimal() else (sys.maxsize, node, index)
