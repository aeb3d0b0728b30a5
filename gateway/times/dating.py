"""Tells the queue what is known of the clock, and when to remove what is too old."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from gateway import version
from gateway.process.state_files import read_file, write_file
from gateway.text.numeral import SPACE, parse
from gateway.times.timekeeper import STEP

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.frame import Frame, Stamp
    from gateway.spool import Spool
    from gateway.spool.contents import Waiting
    from gateway.times.timekeeper import Timekeeper

log = logging.getLogger("oemgateway.clock")

_NOTE_EVERY = 600.0
"""Seconds between two notes of the time: each makes the SD card write."""

_EXPIRE_EVERY = 60.0
"""Seconds between two searches for readings that are too old."""

_SETTLED = 3600.0
"""Seconds without a step or a doubt after which the clock may say that a reading is too old."""


class Dating:
    """Puts frames into the queue for the listeners, and watches the clock; any thread may call it."""

    def __init__(self, spool: Spool, keeper: Timekeeper, clock: Clock, note: TimeNote) -> None:
        self.keeper = keeper
        self._spool = spool
        self._clock = clock
        self._note = note
        self._noted = note.read()
        self._note_due = clock.monotonic()
        self._expire_due = clock.monotonic() + _EXPIRE_EVERY
        self._lock = threading.Lock()
        self._holding = keeper.holding
        self._set_clock(was=_offset_of_newest(spool, clock.now().boot))  # it may have been set meanwhile
        self.look()

    def put(self, frames: Sequence[Frame], notes: Mapping[str, str] = MappingProxyType({})) -> None:
        """Put frames into the queue with the notes about them, after a look at the clock."""
        with self._lock:
            self._follow()
            self._spool.put(frames, notes)

    def note_server_time(self, who: str, time: float | None) -> None:
        """Note what the clock of a dispatcher's far end shows, before anything is sent there."""
        with self._lock:
            self.keeper.note_server_time(who, time)
            self._follow()

    def set_consumers(self, dispatchers: Collection[str]) -> None:
        """Trust only the far ends of these dispatchers: others were removed from the configuration."""
        with self._lock:
            self.keeper.set_consumers(dispatchers)
            self._follow()

    def look(self) -> None:
        """Look at the clock, every few seconds, and remove what is too old."""
        with self._lock:
            self._follow()
            now = self._clock.monotonic()
            if not self.keeper.holding and now >= self._note_due:
                self._note.write(self._clock.wall())
                self._note_due = now + _NOTE_EVERY
            expire = now >= self._expire_due
            if expire:
                self._expire_due = now + _EXPIRE_EVERY
        # This takes long in a long queue, and listeners must not wait for it.
        if expire:
            self._spool.expire(self.keeper.age)

    def _follow(self) -> None:
        stepped = self.keeper.look()
        if stepped:
            self._note_due = self._clock.monotonic()  # the noted time may not have passed
        if stepped or self.keeper.doubt:
            self._expire_due = self._clock.monotonic() + _SETTLED
        if stepped or self.keeper.holding != self._holding:
            self._holding = self.keeper.holding
            self._set_clock()
            # What was noted before the far end was asked has not passed, where our clock is ahead of it.
            if self._holding and (expected := self.keeper.expected()) and expected < self._note.read():
                self._note.write(expected)

    def _set_clock(self, was: float | None = None) -> None:
        if self._holding:
            self._spool.set_clock(None)
            return
        offset = self.keeper.offset()
        since = f"between {_text(self._noted)} and" if self._noted < offset else "before"
        lost = f"taken {since} {_text(offset)}, on a clock that was never right"
        self._spool.set_clock(offset, lost=lost, is_vouched=self.keeper.is_vouched, was=was)


_NEWEST = 100
"""Readings that are looked at, at the start."""

_NEVER = 2.0**33
"""A time, in the year 2242, that a damaged file may hold."""


def passed(spool: Spool, note: TimeNote, boot: str) -> float:
    """Return the latest time that is known to have passed at the start of a daemon, in Unix seconds.

    That is what was noted, or the time of the newest reading that waits and is not held, where an
    earlier boot has dated it on a clock that it believed: notes are minutes apart.
    """
    dated = [each.frame.stamp for each in _newest(spool) if not each.held]
    newest = dated[-1].wall if dated and dated[-1].boot not in ("", boot) else 0.0
    return max(note.read(), newest)


def was_doubted(spool: Spool, now: Stamp, past: float) -> bool:
    """Tell, at the start of a daemon, whether a far end contradicted the clock that is `now`.

    Then readings that were taken on it are held, and it has not been set since; the far end may not have been
    asked again yet. Readings from before `past`, a time that has passed, are held for that reason alone.
    """
    stamps = [each.frame.stamp for each in _newest(spool) if each.held]
    offset = now.wall - now.boottime
    return any(
        stamp.boot == now.boot and stamp.wall >= past and abs(stamp.wall - stamp.boottime - offset) <= STEP
        for stamp in stamps
    )


def _offset_of_newest(spool: Spool, boot: str) -> float | None:
    """Return by how many seconds the wall clock was ahead of this boot's own at its newest reading."""
    stamps = [each.frame.stamp for each in _newest(spool)]
    return next((each.wall - each.boottime for each in reversed(stamps) if boot and each.boot == boot), None)


def _newest(spool: Spool) -> list[Waiting]:
    """Return the newest readings that wait; none if the disk cannot be read."""
    with suppress(OSError):
        return spool.waiting(after=spool.end - 1 - _NEWEST, limit=_NEWEST)
    return []


class TimeNote:
    """The last time at which readings were not held, in a file of the state directory."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "last-time"

    def read(self) -> float:
        """Return a time that has passed: the one noted, or the one at which this version was made."""
        try:
            noted = parse(read_file(self._file).strip(SPACE))
        except (OSError, ValueError):
            noted = None
        return max(noted, version.MADE) if noted is not None and noted < _NEVER else version.MADE

    def write(self, wall: float) -> None:
        """Note a time; a disk that refuses is ignored here."""
        try:
            write_file(self._file, f"{wall // 1:.0f}\n")  # rounded up, it might not have passed yet
        except OSError as error:
            log.debug("%s: %s", self._file, error)


def _text(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(" ", "seconds")
