"""Frames from the queue into the history, each once; a damaged file is set aside."""

from __future__ import annotations

import math
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from gateway.dispatchers.page.history.blocks import DAY
from gateway.dispatchers.page.history.history import AHEAD, Damaged, History, Reading, key_of
from gateway.plugin import TryLater
from gateway.process.log_limit import LogLimit
from gateway.process.state_files import as_owner, open_file, refusal
from gateway.store.aside import free_name, named
from gateway.times.timekeeper import machine_is_synchronised

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gateway.plugin import Batch, Present, Stamp
    from gateway.present.values import Value

QUARTER = 900
_SET = 2.0
"""Seconds from which a difference between a boot's clock and what was known of it means that it was set."""
_QUARTERS = DAY // QUARTER
_NAMED = 5
"""Series that one line of the log names."""
_TRIES = 10
"""How often a file is tried before it counts as damaged: some two minutes where the disk cannot read it."""


def file_of(state: Path, name: str) -> Path:
    """Return the file of the history of a section."""
    return state / f"history-{quote(name, safe='')}.db"


class Keeper:
    """The history of a page, and the 24 hours that its tiles show."""

    def __init__(
        self,
        file: Path,
        present: Present,
        log: logging.Logger,
        *,
        is_sure: Callable[[], bool] = machine_is_synchronised,
    ) -> None:
        """`is_sure` tells whether the machine keeps its clock right."""
        self._is_sure = is_sure
        self.history = History(file)
        self._file = file
        self._present = present
        self._log = log
        self._lock = threading.Lock()
        self._days: tuple[tuple[int, int], dict[tuple[str, str], list[float | None]]] | None = None
        self._counted = 0
        self._limit = LogLimit()
        self._is_open = False
        self._tries = 0

    def open(self) -> None:
        """Make the file where there is none; one that is damaged is set aside.

        If it cannot be made because the disk is full, that is tried again with the next batch.
        """
        try:
            self._open()
        except OSError as error:
            self._log.warning("the history cannot be opened: %s", self._why(error))

    def _open(self) -> None:
        self._is_open = False
        self._work(self.history.open)
        self._is_open = True

    def _work(self, work: Callable[[], None]) -> None:
        """Work with the file; retry if it seems to be damaged, and finally use a new one.

        SQLite also reports damage if the disk cannot read: it is asked again at once if all of the file can
        be read, and later if not.
        """
        try:
            work()
        except Damaged as error:
            self._tries += 1
            if self._tries > _TRIES:
                self._set_aside(error)
                work()
            else:
                _read_through(self._file)
                self._work(work)

    def _set_aside(self, error: Damaged) -> None:
        aside = named(self._file, free_name(self._file))
        with as_owner(self._file.parent):
            for end in ("-shm", "-wal", ""):
                with suppress(FileNotFoundError):
                    self._file.with_name(self._file.name + end).replace(aside.with_name(aside.name + end))
        self._log.error(
            "the history is damaged (%s) and set aside as %s; a new one begins", error, aside.name
        )
        self.history.open()
        self._tries = 0

    def take(self, batch: Batch, now: float) -> None:
        """Write the frames of a batch that are not written yet.

        Raises TryLater if the disk is full, or if the clock is known to be wrong and is behind them.
        """
        try:
            if not self._is_open or not self.history.is_there:
                self._open()
            self._work(lambda: self._take(batch, now))
            self._tries = 0
        except (OSError, Damaged) as error:
            raise TryLater(f"the history cannot be written: {self._why(error)}") from error

    def _why(self, error: Exception) -> str:
        """Return what an error says, with its cure; SQLite does not say why a file cannot be opened."""
        if self.history.is_there:
            try:
                os.close(open_file(self._file, os.O_RDWR))
            except OSError as cause:
                error = cause
        return refusal(error, self._file.parent)

    def _take(self, batch: Batch, now: float) -> None:
        epochs: Sequence[str] = batch.epochs or [""] * len(batch.ids)
        done = self.history.places()
        offsets = {
            frame.stamp.boot: frame.stamp.wall - frame.stamp.boottime
            for frame in batch.frames
            if frame.stamp.boot
        }
        readings = [
            Reading(
                _time(frame.stamp, offsets),
                frame.node,
                key_of(None if frame.by_name else index, frame.name(index)),
                value,
                self._present.series(frame, index).identity,
                frame.stamp.boot,
            )
            for frame, epoch, number in zip(batch.frames, epochs, batch.ids, strict=True)
            if number > done.get(epoch, 0)
            for index, value in frame.items()
        ]
        if any(each.at > now + AHEAD for each in readings) and self._present.status().clock.holding:
            raise TryLater("the clock is wrong: readings from before the start wait until it is right")
        upto, is_sure = dict(zip(epochs, batch.ids, strict=True)), self._is_sure()
        if lost := self.history.add(readings, upto, now, offsets, is_sure=is_sure):
            more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
            self._log.warning(
                "no history any more, as there are too many series: %s%s", ", ".join(lost[:_NAMED]), more
            )
        left_out = self.history.left_out
        if left_out.total() > self._counted and self._limit.allows("left out", time.monotonic()):
            about = ", ".join(f"{number} x {reason}" for reason, number in left_out.items())
            self._log.warning("readings that are not in the history, so far: %s", about)
            self._counted = left_out.total()

    def day(self, value: Value, now: float) -> list[float | None]:
        """Return the means of the last 24 hours by quarters; the last hour may come from the present."""
        means = [*self._all_days(now).get((value.node, key_of(value.index, value.label)), [None] * _QUARTERS)]
        quarters: dict[int, list[float]] = {}
        for minute, mean in enumerate(value.hour):
            if mean is not None:
                at = now - (len(value.hour) - 1 - minute) * 60
                quarters.setdefault(int(at // QUARTER) - int(now // QUARTER) + _QUARTERS - 1, []).append(mean)
        for place, there in quarters.items():
            if means[place] is None or place == _QUARTERS - 1:
                means[place] = sum(there) / len(there)
        return means

    def extremes(self, value: Value, now: float) -> tuple[float, ...]:
        """Return the least and the greatest value of the last 24 hours, of what is written."""
        try:
            hours = self.history.hours(value.node, key_of(value.index, value.label), now - DAY, now)
        except (OSError, Damaged):
            return ()
        return (min(hour.least for hour in hours), max(hour.greatest for hour in hours)) if hours else ()

    def _all_days(self, now: float) -> dict[tuple[str, str], list[float | None]]:
        last = int(now // QUARTER)
        with self._lock:
            if self._days is None or self._days[0] != (self.history.writes, last):
                first = last - _QUARTERS + 1
                days = {
                    which: [quarters.get(first + place) for place in range(_QUARTERS)]
                    for which, quarters in self._recent(first * QUARTER, now).items()
                }
                self._days = ((self.history.writes, last), days)
            return self._days[1]

    def _recent(self, since: float, until: float) -> dict[tuple[str, str], dict[int, float]]:
        try:
            return self.history.recent(since, until)
        except (OSError, Damaged):
            return {}


def _read_through(file: Path) -> None:
    """Raise OSError if the disk cannot read all of a file and its log."""
    for part in (file, file.with_name(f"{file.name}-wal")):
        with suppress(FileNotFoundError), os.fdopen(open_file(part, os.O_RDONLY), "rb") as data:
            while data.read(1 << 20):
                pass


def _time(stamp: Stamp, offsets: Mapping[str, float]) -> float:
    """Return when a frame was taken; one that was sent before keeps the time that was known then."""
    wall = stamp.boottime + offsets.get(stamp.boot, math.inf)
    return wall if _SET < abs(wall - stamp.wall) < math.inf else stamp.wall
