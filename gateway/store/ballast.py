"""Bytes set aside so that a full disk has room to note what was delivered, which makes room on it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.process.state_files import as_owner, open_file

if TYPE_CHECKING:
    from pathlib import Path

_SIZE = 2 << 20
"""Room for what SQLite's log holds, which is brought into the file, and for what FullDisk reserves."""
_SIZE_BEFORE = 1 << 20
"""What earlier versions set aside."""
_AMPLE = 2 * _SIZE
"""Free bytes from which the disk no longer counts as full."""


class Ballast:
    """The file `queue.ballast`.

    If it is missing at the start, the disk refused writes in the last run, and more was sent than is noted.
    """

    def __init__(self, path: Path) -> None:
        """`path` is that of the queue."""
        self._path = path.with_name("queue.ballast")
        self._is_missing = True

    @property
    def is_there(self) -> bool:
        """Whether it exists at its full size."""
        try:
            return self._path.lstat().st_size in (_SIZE, _SIZE_BEFORE)
        except OSError:
            return False

    def take(self) -> None:
        """Set the bytes aside, if the disk has that many."""
        with suppress(OSError):
            ballast = open_file(self._path, os.O_WRONLY | os.O_CREAT)
            try:
                os.posix_fallocate(ballast, 0, _SIZE)
                self._is_missing = False
            except OSError:
                os.ftruncate(ballast, 0)  # ext4 keeps what it has found before there was no more
                raise
            finally:
                os.close(ballast)

    def take_again(self) -> bool:
        """Set the bytes aside if they are not now; return whether they are, or the disk has ample room."""
        if self._is_missing and self.free >= _AMPLE:
            self.take()
        return not self._is_missing or self.free >= _AMPLE

    @property
    def free(self) -> int:
        """The free bytes of the disk, 0 if they are not known."""
        with suppress(OSError):
            disk = os.statvfs(self._path.parent)
            return disk.f_bavail * disk.f_frsize
        return 0

    def drop(self) -> None:
        """Give the bytes back to the disk."""
        self._is_missing = True
        with suppress(OSError), as_owner(self._path.parent):
            self._path.unlink(missing_ok=True)
