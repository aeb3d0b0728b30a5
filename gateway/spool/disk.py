"""Reads and writes; if the disk refuses, what is new waits in memory and is tried again."""

from __future__ import annotations

import logging
import math
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from gateway.spool.limits import NoRoom
from gateway.spool.queue_file import RETRY
from gateway.store import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gateway.frame import Frame
    from gateway.spool.contents import Contents
    from gateway.spool.queue_file import QueueFile
    from gateway.spool.retention import Retention
    from gateway.store.syncing import Syncing

T = TypeVar("T")

log = logging.getLogger("oemgateway.spool")

_GOOD_FOR = 60.0
"""Seconds without a refusal after which the disk is said to work again: until then it is one trouble."""


class Disk:
    """Reads and writes the contents of the queue."""

    def __init__(self, file: QueueFile, retention: Retention, syncing: Syncing) -> None:
        self.file = file
        self._retention = retention
        self._syncing = syncing
        self._end_at: float | None = None

    def start(self, *, in_memory: bool) -> None:
        """Go on with the file as it was left, or in memory for the time being."""
        try:
            self.file.start(in_memory=in_memory)
        except store.SpoolUnusable:
            self.file.close()
            raise
        self._flush_if_open()
        if not self.file.trouble:
            self.file.full_disk.begin(self.file.contents)

    def flush(self) -> None:
        """Write what is not on the disk yet; a refusal is logged once, and its end after a while."""
        try:
            self._write_and_make_room()
        except sqlite3.Error as error:
            if not self.file.trouble:
                if self._end_at is None:
                    log.warning("the disk refuses (%s): what is new waits in memory until it takes it", error)
                self._end_at = None
                self.file.retry_at = self.file.clock.monotonic() + RETRY
            self.file.trouble = str(error)
            self.file.ballast.drop()
            self._retention.bound_memory(self.file.contents)
            if self.file.is_kept or self.file.full_disk.is_full:
                self._syncing.committed(all_puts=False)  # not their notes
            return
        if self.file.trouble:
            self._end_at = self.file.clock.monotonic() + _GOOD_FOR
            self.file.trouble = ""
            self.file.ballast.take()
            self.file.wake()
        self.file.ballast.take_again()

    def read(self, read: Callable[[Contents], T]) -> T:
        """Return what is read of the contents; of a damaged file, what is left of them.

        Raises OSError if the disk cannot be read.
        """
        with self.refusing():
            try:
                return read(self.file.contents)
            except sqlite3.Error as error:
                if not store.is_damage(error):
                    raise
                self.file.mend(error)
                self._flush_if_open()
                return read(self.file.contents)

    def admit(self, frames: Sequence[tuple[Frame, str]], instead_of: Sequence[tuple[str, int]]) -> None:
        """Put frames at the end in place of refused ones, all or nothing: see `Spool.admit`."""
        self._retention.check_admits(self.file.contents, len(frames))
        with self.refusing():
            self.flush()
            if self.file.contents.unwritten:
                raise sqlite3.OperationalError(self.file.trouble)
            self.file.contents.admit(frames, instead_of)
        self._syncing.committed()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Turn a refusal of the disk into an OSError."""
        try:
            yield
        except NoRoom as error:
            raise OSError("the queue is full: max_size is reached") from error
        except sqlite3.Error as error:
            raise OSError(f"the queue's disk refuses: {error}") from error

    def check(self) -> None:
        """Raise OSError if the disk refuses what has to be on it."""
        if self.file.trouble:
            raise OSError(f"the queue's disk refuses: {self.file.trouble}")

    def due(self) -> float:
        """Return the seconds until `tend` has something to do; infinity if there is nothing."""
        if self.file.is_rescuing:
            return 0.0
        at = self.file.retry_at if self.file.trouble else self._end_at
        return math.inf if at is None else max(0.0, at - self.file.clock.monotonic())

    def tend(self) -> None:
        """Do one piece of a rescue, retry a disk that refused, or say that it works again, if that is due."""
        if self.due():
            return
        if self.file.is_rescuing:
            self.file.advance(0.0)
        elif not self.file.trouble:
            log.warning("the disk works again")
            self._end_at = None
            return
        else:
            self.file.try_again()
        self._flush_if_open()

    def close(self) -> None:
        """Close the file, once more trying to write what waits in memory."""
        if self.file.is_away and not self.file.is_rescuing:
            self.file.try_again(at_once=0.0)
        self.flush()
        if self.file.full_disk.is_full and self.file.contents.unwritten and not self.file.is_away:
            self.file.full_disk.end(self.file.contents)
        self.file.close()

    def _flush_if_open(self) -> None:
        """Write what waited to the file, which may be a different one by now."""
        if not self.file.is_away:
            self.flush()

    def _write_and_make_room(self) -> None:
        """Write; after an error do what can be done about it, and retry once, or as long as that helps."""
        tried = False
        while True:
            try:
                if self.file.write():
                    self._syncing.committed()
            except sqlite3.Error as error:
                if not self._make_room(error) and tried:
                    raise
                tried = True
            else:
                return

    def _make_room(self, error: sqlite3.Error) -> bool:
        """Do what can be done about an error; return whether frames were removed: more may have to be."""
        if store.is_damage(error):
            self.file.mend(error)
        elif self._retention.make_room(self.file.contents, error):
            return True
        elif store.is_full(error):
            self.file.full_disk.make_room(self.file.contents)
        return False
