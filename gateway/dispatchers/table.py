"""Dispatcher `table`: a live table in the terminal, a line per index."""

from __future__ import annotations

import logging
import shutil
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from gateway.plugin import Dispatcher
from gateway.settings import setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.frame import Frame

_LINES = 8
"""How many lines of the log stand below the table."""


class _Recent(logging.Handler):
    """Keeps the last lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        self.lines: deque[str] = deque(maxlen=_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class _Row:
    """What is known of one index of one node: its last value, and when each was last heard."""

    name: str = ""
    value: float | None = None
    valued: float | None = None
    there: bool = True
    rssi: int | None = None


@dataclass(kw_only=True)
class Table(Dispatcher):
    """Shows node, index, name, value and age of everything it is given, and below it the end of the log.

    On a terminal the table is drawn over itself and takes the log off the screen while it is up; into a file
    it is written anew every few seconds.
    """

    title: str | None = setting(None)
    out: TextIO = field(default_factory=lambda: sys.stdout, init=False, compare=False, repr=False)

    def open(self) -> None:
        """Take the log's place on a terminal."""
        self._rows: dict[tuple[str, int], _Row] = {}
        self._recent = _Recent()
        self._drawn = -float("inf")
        self._live = self.out.isatty()
        logger = logging.getLogger("oemgateway")
        self._handlers = logger.handlers
        if self._live:
            logger.handlers = [self._recent]
            self.out.write("\x1b[2J")
            self._draw()

    def close(self) -> None:
        """Give the log its place back."""
        if hasattr(self, "_handlers"):
            logging.getLogger("oemgateway").handlers = self._handlers

    def send(self, frames: Sequence[Frame]) -> None:
        """Take the frames into the table and draw it."""
        for frame in frames:
            for index, value in enumerate(frame.values, 1):
                row = self._rows.setdefault((frame.node, index), _Row())
                row.name = frame.name(index)
                row.rssi = frame.rssi
                row.there = value is not None
                if value is not None:
                    row.value, row.valued = value, frame.stamp.wall
        now = self.clock.monotonic()
        if self._live or now - self._drawn >= 5.0:
            self._drawn = now
            self._draw()

    def _draw(self) -> None:
        text = "\n".join(self._table())
        if self._live:
            width = shutil.get_terminal_size().columns
            lines = [line[:width] for line in text.split("\n")]
            self.out.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        else:
            self.out.write(text + "\n\n")
        self.out.flush()

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
            note = "" if row.there else "no value: its index is kept"
            line = f"{node:>6}  {index:>5}  {row.name[:16]:<16} {value:>10}  {age:>6}  {rssi:>8}  {note}"
            lines.append(line.rstrip())
        return [*lines, *(["", *self._recent.lines] if self._live else [])]


def _natural(node: str, index: int) -> tuple[int, str, int]:
    """Sort node 9 before node 10, and names after numbers."""
    return (int(node), "", index) if node.isdecimal() else (sys.maxsize, node, index)
