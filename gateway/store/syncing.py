"""When commits are synced to the disk: each sync wears an SD card."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.flag import Flag
from gateway.process.state_files import open_file
from gateway.store.aside import rescue_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.clock import Clock

log = logging.getLogger("oemgateway.spool")


_DELIVERED, _LEAST = 100_000, 25
"""The most values that are delivered between two syncs, and the fewest that a reading counts as. A power cut
takes the notes of these, and the far end is asked for twice as many at a time."""

_RETRY = 5.0
"""Seconds after which a disk that could not sync is asked again."""


class Syncing:
    """Syncs the log of the file at `path`, `interval` seconds after a commit; any thread may call it.

    `unsynced` is raised when a sync is due earlier than before. `puts` counts how often frames were put in
    this run, and `puts_synced` how many of these are safe from a power cut. `trouble` is why the last sync
    failed, or "".
    """

    def __init__(self, path: Path, interval: float, clock: Clock) -> None:
        self.unsynced = Flag()
        self.puts = self.puts_synced = self._puts_written = 0
        self._log = Path(f"{path}-wal")
        self._log_of_rescue = Path(f"{rescue_of(path)}-wal")
        self._interval = interval
        self._clock = clock
        self._lock, self._in_turn = threading.Lock(), threading.Lock()
        self._since: float | None = None
        self._delivered = 0
        self._subscribers: dict[str, Callable[[int], None]] = {}
        self.trouble = ""

    def subscribe_to_sync(self, who: str, synced: Callable[[int], None]) -> None:
        """Call a listener's function after each sync, with the value of `puts_synced`."""
        with self._lock:
            self._subscribers[who] = synced

    def committed(self, *, all_puts: bool = True) -> None:
        """Note that there is something that a power cut would take, and whether all puts are in it."""
        with self._lock:
            self._puts_written = self.puts if all_puts else self._puts_written
            if self._since is None:
                self._since = self._clock.monotonic()
                if self._interval:
                    self.unsynced.set()

    def delivered(self, sizes: Iterable[int]) -> None:
        """Note that frames with so many values were delivered; after many it syncs at once."""
        with self._lock:
            self._delivered += sum(max(_LEAST, size) for size in sizes)
        if self._delivered >= _DELIVERED:
            self.sync()

    def due(self) -> float:
        """Return the seconds until a `sync` is due; infinity if there is nothing to sync."""
        since = self._since
        return math.inf if since is None else max(0.0, since + self._interval - self._clock.monotonic())

    def sync_at_once(self) -> None:
        """Do a `sync` if that is wanted after each frame: only then does a listener wait for the card."""
        if not self._interval:
            self.sync()

    def sync_if_due(self) -> None:
        """Do a `sync` if what it would keep has waited for the interval; not for a listener's thread."""
        if not self.due():
            self.sync()

    def sync(self) -> None:
        """Make what was committed safe from a power cut; a sync that is under way is waited for."""
        with self._in_turn:
            self._sync()

    def _sync(self) -> None:
        with self._lock:
            since, self._since, self._delivered = self._since, None, 0
            written, subscribers = self._puts_written, list(self._subscribers.values())
        if since is None:
            return
        try:
            with suppress(FileNotFoundError):
                _write_through(self._log_of_rescue)
            _write_through(self._log)
        except FileNotFoundError:
            return  # SQLite has brought all of it into the file
        except OSError as error:
            before = self.trouble
            self.trouble = f"{self._log}: {error.strerror or error}; a power cut may take what came last"
            if not before:
                log.warning(self.trouble)
            with self._lock:
                self._since = self._clock.monotonic() + _RETRY
            self.unsynced.set()
            return
        self.trouble = ""
        self.puts_synced = written
        for synced in subscribers:
            synced(written)


def _write_through(log: Path) -> None:
    fd = open_file(log, os.O_RDONLY)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


class Synced:
    """How many of the lists of frames that `read` has returned are safe from a power cut.

    It is readable when there are more. An empty list does not count, unless there was something `noted` with
    it. `demand` makes the disk write at once.
    """

    def __init__(self) -> None:
        self._flag = Flag()
        self._lock = threading.Lock()
        self._waiting: deque[int] = deque()
        self._count = 0
        self.demand: Callable[[], None] = lambda: None

    def fileno(self) -> int:
        """Return a descriptor to wait for."""
        return self._flag.fileno()

    def count(self) -> int:
        """Return how many since the listener was made, and wait for more."""
        self._flag.clear()
        return self._count

    def kept(self) -> int:
        """Return how many the queue has, whether a power cut can take them or not."""
        with self._lock:
            return self._count + len(self._waiting)

    def note_put(self, puts: int) -> None:
        """Note that a list is kept with the queue's transaction of this number; the core calls this."""
        with self._lock:
            self._waiting.append(puts)

    def note_synced(self, puts: int) -> None:
        """Note that the transactions up to this number are safe; the core calls this."""
        with self._lock:
            before = self._count
            while self._waiting and self._waiting[0] <= puts:
                self._waiting.popleft()
                self._count += 1
            if self._count > before:
                self._flag.set()
