"""The file of a queue: opened, reopened after it was gone, or rescued from damage."""

from __future__ import annotations

import errno
import logging
import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.process.state_files import as_owner, refusal
from gateway.spool.contents import Contents
from gateway.spool.full_disk import FullDisk
from gateway.spool.notes import Epochs, Notes
from gateway.spool.places import PROVISIONAL
from gateway.store import removed, salvage, store
from gateway.store.ballast import Ballast
from gateway.store.salvage import Salvage
from gateway.store.store import SpoolUnusable
from gateway.text.words import failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.clock import Clock
    from gateway.spool.limits import Limits
    from gateway.store.census import Census

log = logging.getLogger("oemgateway.spool")

RETRY = 5.0
"""Seconds between two tries of a disk that refuses."""

AT_START, AT_ONCE = 1.0, 0.2
"""Seconds that the rescue of a damaged file may take at once, at the start and while listeners wait.

What is left is done by `advance`.
"""


class QueueFile:
    """Keeps the contents of the queue, also while its file cannot be used.

    While the file cannot be written to (`is_away`) `trouble` is why. The contents are then a view of it or,
    if it cannot be read either, what came since; they move into the file when it can be used again.
    Any call may replace the contents.
    """

    def __init__(self, path: Path, limits: Limits, clock: Clock, *, wake: Callable[[], None]) -> None:
        """`wake` is called when there may be something new for dispatchers."""
        self.trouble = ""
        self.is_away = False
        self.retry_at = 0.0
        self._shift = self._shifted_from = 0
        self._path = path
        self._limits = limits
        self.clock = clock
        self._boot = clock.now().boot
        self.ballast = Ballast(path)
        self.full_disk = FullDisk(limits, self.ballast)
        self.notes = Notes()
        self.epochs = Epochs(self.notes)
        self.wake = wake
        self._rescue: Salvage | None = None
        self._is_stuck = False
        self._damage: Exception | None = None
        self._kept_upto = 0
        self._late_is_known = False
        self._unread = 0
        self._log = Path(f"{path}-wal")
        self._file: tuple[int, int] | None = None
        self._open_log: tuple[int, int] | None = None
        self.contents = Contents(store.stand_in(), limits, self._boot)
        self.contents.know_nothing()
        self.contents.notes = self.notes

    @property
    def is_rescuing(self) -> bool:
        """Whether a rescue is running: what is older than the contents is being copied into the new file."""
        return self._rescue is not None and not self._is_stuck

    @property
    def is_kept(self) -> bool:
        """Whether the new file of a rescue has what waits in memory."""
        unwritten = self.contents.unwritten
        return bool(unwritten) and unwritten[-1].number <= self._kept_upto

    @property
    def saved(self) -> int:
        """How many frames of the file, that the contents do not count, are in the new one so far."""
        return self._rescue.saved if self._rescue and self.contents.identity is None else 0

    def real(self, number: int) -> int:
        """Return the present id of a frame whose id may have been provisional; 0 if it was dropped then."""
        if number < PROVISIONAL:
            return number
        return number + self._shift if number + self._shift >= self._shifted_from else 0

    def describe(self) -> str:
        """Return why new frames are only in memory, or where the next start will not find them, or ""."""
        if self._rescue and self.is_rescuing:
            return (
                f"{self._path} is damaged: what can be read of it is brought into a new file, "
                f"{self._rescue.saved} readings so far; then all goes on"
            )
        if not self.trouble and self._file and removed.is_elsewhere(self._path, self._file):
            return (
                f"{self._path.parent} is now another file system than that of the open queue, which goes "
                "on, but the next start will not find what waits in it: unmount what was mounted over it, "
                "or mount its own again"
            )
        if not self.trouble:
            return ""
        out = ", and what waits in its file cannot be read or counted" if self.contents.places.is_out else ""
        return f"the disk refuses ({self.trouble}): what is new waits in memory{out}"

    def start(self, *, in_memory: bool) -> None:
        """Go on with the file as it was left, or in memory for the time being."""
        with suppress(OSError):
            if not self._path.stat().st_size and not self._log.exists():
                log.warning(
                    "%s is empty: if readings waited in it, they are lost; a new queue begins", self._path
                )
        try:
            self._open(AT_START)
        except (OSError, sqlite3.Error) as error:
            if not in_memory:
                raise SpoolUnusable(f"{self._path} cannot be used: {failure(error)}") from error
            self.is_away, self.trouble = True, refusal(error, self._path.parent)
            log.error(
                "the file of the queue cannot be used (%s): frames are kept in memory only, and do not "
                "survive an end of the daemon, until it can: it is tried again",
                self.trouble,
            )
            self.retry_at = self.clock.monotonic() + RETRY
            with suppress(OSError, sqlite3.Error):
                if not salvage.is_begun(self._path):
                    view = self._read(store.open_view(self._path))
                    self.contents.db.close()
                    view.places.doubt_marks()
                    self.contents = view
        while not in_memory and self.is_away:
            if self._is_stuck:
                raise SpoolUnusable(f"{self._path} cannot be used: {self.trouble}")
            self.advance(AT_ONCE)

    def mend(self, error: Exception) -> None:
        """Go on with what can be read of a damaged file; places and limits are those in memory."""
        with suppress(OSError, SpoolUnusable):  # another program has it, or its disk fails: it is tried again
            self._begin_rescue(error, AT_ONCE)

    def advance(self, seconds: float) -> None:
        """Continue the rescue of a damaged file, for so long at most, or by one piece."""
        until = self.clock.monotonic() + seconds
        try:
            rescue = self._rescue = self._rescue or self._begin_salvage()
            while not rescue.step():
                self._is_stuck = False
                if self.clock.monotonic() >= until:
                    return
            self._rescue, self._damage, self.trouble = None, None, ""
            rescue.finish()
            self._absorb(store.open_store(self._path, max_bytes=self._limits.file_bytes), rescue.census)
            self.ballast.take()
        except (OSError, sqlite3.Error) as error:
            if self._rescue and store.is_damage(error):
                self._rescue.abandon()
                self._rescue, self._kept_upto = None, 0
            if not self._is_stuck:
                log.error(
                    "%s is damaged, and a new file cannot be made (%s): frames are kept in memory only, "
                    "and do not survive an end of the daemon, until it can: it is tried again",
                    self._path,
                    failure(error),
                )
            self._is_stuck = self.is_away = True
            self.trouble = refusal(error, self._path.parent)
            self.retry_at = self.clock.monotonic() + RETRY
            self.wake()

    def try_again(self, at_once: float = AT_ONCE) -> None:
        """Check whether the file can be used again."""
        self.retry_at = self.clock.monotonic() + RETRY
        try:
            # After a disk was pulled out and put back, the file is not the one that is open.
            is_another = removed.which(self._path) not in (None, self._file)
            if self.is_away or is_another or salvage.is_begun(self._path):
                self._open(at_once)
        except (OSError, sqlite3.Error, SpoolUnusable) as error:
            if self.is_away:
                self.trouble = refusal(error, self._path.parent)

    def write(self) -> bool:
        """Write what is not on the disk yet; return whether there was something.

        Raises sqlite3.Error, also if the file is away. A rescue has then written what was put.
        """
        if not self.is_away:
            if self._file and (
                removed.is_gone(self._path, self._file)
                or removed.is_covered(self._path, self._file, self.contents.identity, self.contents.next - 1)
            ):
                self._replace(lambda db: removed.write(self._path, db, self.contents.identity))
            elif self._open_log and removed.is_gone(self._log, self._open_log):
                self._replace(lambda db: removed.complete(self._path, db))
            return self.full_disk.write(self.contents)
        unwritten = self.contents.unwritten
        if self._rescue and unwritten and unwritten[-1].number > self._kept_upto:
            new = [(each.number, each.text) for each in unwritten if each.number > self._kept_upto]
            self._rescue.keep(new, self.contents.boots.rows())
            self._kept_upto = new[-1][0]
        raise sqlite3.OperationalError(self.trouble)

    def _replace(self, write_anew: Callable[[sqlite3.Connection], None]) -> None:
        """Write a file that has everything, as the open one or its log was removed, and go on with it."""
        try:
            write_anew(self.contents.db)
            self._lose_file()
            self.is_away = True
            self._absorb(store.open_store(self._path, max_bytes=self._limits.file_bytes))
        except (OSError, sqlite3.Error, SpoolUnusable) as error:
            words = f"{self._path} or its log was removed, and cannot be written anew: {failure(error)}"
            if self.is_away:
                log.warning("%s: what is new waits in memory until it can be", words)
                self.trouble, self.retry_at = words, self.clock.monotonic() + RETRY
            raise sqlite3.OperationalError(words) from error

    def close(self) -> None:
        """Close what is open; the disk has been tried once more."""
        if not self.is_away and self._file and removed.is_gone(self._path, self._file):
            try:
                with suppress(sqlite3.Error):
                    self.contents.write()
                removed.keep(self._path, self.contents.db)
            except (OSError, sqlite3.Error) as error:
                log.error("%s was removed, and what waits in it is lost: %s", self._path, failure(error))
        if lost := [each for each in self.contents.unwritten if each.number > self._kept_upto]:
            log.error("the disk refuses to the end: %d readings that wait in memory are lost", len(lost))
        if self._rescue:
            with suppress(OSError), as_owner(self._path.parent):
                self._rescue.close()
        self._close(self.contents.db)

    def _close(self, db: sqlite3.Connection) -> None:
        """Close a file, as the owner of its directory if that can be looked at."""
        with suppress(OSError, sqlite3.Error), as_owner(self._path.parent):
            db.close()
        with suppress(sqlite3.Error):
            db.close()

    def _open(self, seconds: float) -> None:
        """Go on with the file, or with what can be read of it within so many seconds."""
        damage: sqlite3.Error | None = None
        try:
            if not salvage.is_begun(self._path):
                is_last, size = self._unread >= salvage.TRIES, self._limits.file_bytes
                self._absorb(store.open_store(self._path, max_bytes=size, is_last=is_last))
                self._unread = 0
                return
        except OSError as error:
            self._unread += error.errno == errno.EIO
            raise
        except sqlite3.Error as error:
            if not store.is_damage(error):
                raise
            damage = error
        self._begin_rescue(damage, seconds)

    def _read(self, db: sqlite3.Connection, counted: Census | None = None) -> Contents:
        """Return the contents of an open file, which must be the known one, if one is known."""
        known = self.contents.identity
        try:
            contents = Contents(db, self._limits, self._boot, counted)
            if known not in (None, contents.identity) and contents.next != 1:
                raise OSError("another queue is in its place: put it back, or restart the gateway")  # noqa: TRY301
            self._begin_epoch(contents)
            if known is None and not self._late_is_known:
                contents.take_late(salvage.read_late(db))
        except (OSError, sqlite3.Error):
            db.close()
            raise
        return contents

    def _begin_epoch(self, contents: Contents) -> None:
        """Have the contents keep the notes, and ids from here on be of a new epoch, once in each run."""
        with suppress(sqlite3.OperationalError):  # a file of an older version, which is only looked at
            self.notes.load(contents.db)
        contents.notes = self.notes
        contents.places.ahead.load(self.notes, contents.next)
        self.epochs.begin(contents.next, contents.first)

    def _know_file(self) -> None:
        """Give the file its identity; note which one is open."""
        self._file, self._open_log = removed.which(self._path), removed.which(self._log)
        if not self.contents.identity:
            with suppress(sqlite3.Error):
                store.identify(self.contents.db, secrets.randbits(30) | 1)
                self.contents.identity = store.identity(self.contents.db)

    def _lose_file(self) -> None:
        """Go on without the file, whose ids are known: its frames wait until it comes back."""
        if not self.contents.places.is_out:
            with as_owner(self._path.parent):
                self.contents.db.close()
            self.contents.lose_file(store.stand_in())
            self.epochs.begin_another(self.contents.places.memory_from, self.contents.first)

    def _begin_rescue(self, damage: Exception | None, seconds: float) -> None:
        self._lose_file()
        self._damage = damage or self._damage
        self.is_away, self.trouble = True, f"{self._path} is damaged"
        self.advance(seconds)
        if self.is_rescuing:
            log.warning(
                "%s is damaged: what can be read of it is brought into a new file, which takes a while",
                self._path,
            )

    def _begin_salvage(self) -> Salvage:
        contents, self._kept_upto = self.contents, 0
        rescue = Salvage(self._path, self._damage, identity=contents.identity or 0)
        if contents.identity is None and contents.next == PROVISIONAL and (late := rescue.late):
            # The numbers that they have there, or higher ones: no other frame may get these.
            contents.next = contents.places.first = max(PROVISIONAL, late[-1][0] + 1 - len(late))
            contents.take_late(late)
            self._kept_upto = contents.next - 1
        self._late_is_known = True
        return rescue

    def _absorb(self, db: sqlite3.Connection, counted: Census | None = None) -> None:
        """Go on with the file: with what is newer in memory, and after its frames those that wait there."""
        before, contents = self.contents, self._read(db, counted)
        self._close(before.db)
        if not self.ballast.is_there:
            contents.places.doubt_marks()
        end = contents.next
        if before.identity is None:
            self._shift, self._shifted_from = contents.append(before), end
        else:
            contents.resume(before)
        contents.places.resume_consumers(before.places, end)
        self.contents = contents
        self.is_away = self._is_stuck = False
        self._kept_upto = 0
        self._know_file()
        self.wake()
