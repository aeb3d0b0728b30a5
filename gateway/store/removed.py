"""Rewrites a queue file if it or its log was removed or replaced while it was open.

A deleted file can be read for as long as a process has it open, and is lost when that process ends.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from gateway.process import holders
from gateway.process.state_files import as_owner, check_is_file, open_file, sync_names
from gateway.store import commits, store
from gateway.store.aside import free_name, named

log = logging.getLogger("oemgateway.spool")


def which(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if it is missing or cannot be looked at."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def is_gone(path: Path, which: tuple[int, int]) -> bool:
    """Tell whether an open file is no longer at its path.

    It is not gone if the path is now on another file system: a disk was pulled out, and may come back.
    """
    device, inode = which
    found = _found_at(path)
    return found is not None and found.st_dev == device and found.st_ino != inode


def is_elsewhere(path: Path, which: tuple[int, int]) -> bool:
    """Tell whether the path of an open file is now on another file system: mounted over it, or below."""
    found = _found_at(path)
    return found is not None and found.st_dev != which[0]


def _found_at(path: Path) -> os.stat_result | None:
    """Look at what is at a path, or else at the nearest directory above; None if that is not allowed."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _found_at(path.absolute().parent)
    except OSError:
        return None


def is_covered(path: Path, file: tuple[int, int], identity: int | None, last: int) -> bool:
    """Tell whether an older copy of an open file, on another file system, has taken its path.

    So it is where a directory is copied into memory and mounted over itself, as by log2ram, or is unmounted
    again. What came since, up to the id `last`, is not in the copy, which the next start will find. One with
    later ids is no copy of it: the open file is what somebody has copied before.
    """
    device, _ = file
    try:
        if not identity or path.lstat().st_dev == device:
            return False
        with closing(store.open_view(path)) as copy:
            return store.identity(copy) == identity and store.last_id(copy) <= last
    except (OSError, sqlite3.Error):
        return False


def keep(path: Path, db: sqlite3.Connection) -> None:
    """Copy an open queue to a file beside its path, which another gateway uses. Raises as `write`."""
    kept = named(path, free_name(path, "removed"), "removed")
    _copy(db, kept)
    log.error(
        "%s was removed while the gateway used it, and another has its place: what waits is kept as %s",
        path,
        kept,
    )


def _check_is_free(path: Path) -> None:
    """Raise OSError if another process has a queue at this path."""
    try:
        check_is_file(path)
    except OSError:
        return
    with commits.locked(path) as is_free:
        if not is_free:
            raise OSError(f"another gateway has it: {holders.of_file(path) or 'stop that one'}")


def write(path: Path, db: sqlite3.Connection, identity: int | None) -> None:
    """Write all that an open queue has to a new file at its path; what took its place is renamed.

    Raises OSError, also where another gateway has what took its place, or sqlite3.Error; everything is then
    as it was before.
    """
    _check_is_free(path)
    new = path.with_name(f"{path.name}.anew")
    with as_owner(path.parent):
        path.parent.mkdir(0o750, parents=True, exist_ok=True)
    if _copy(db, new) != identity:
        with as_owner(path.parent):
            new.unlink()
        raise OSError(f"{path}: what is open is another file")
    with as_owner(path.parent):
        aside = _set_aside(path)
        if aside:
            _set_aside(Path(f"{path}-wal"))  # SQLite would write it into the new file
        new.rename(path)
        sync_names(path.parent)
    log.error("%s was removed while the gateway used it: all of it is written anew%s", path, aside)


def _copy(db: sqlite3.Connection, new: Path) -> int:
    """Copy an open queue to a new file, and return its identity; where that fails no part of it stays."""
    os.close(open_file(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    with as_owner(new.parent):
        try:
            with closing(sqlite3.connect(new)) as copy:
                db.backup(copy)
                return store.identity(copy)
        except (OSError, sqlite3.Error):
            for part in (new, Path(f"{new}-journal")):
                with suppress(OSError):
                    part.unlink()
            raise


def complete(path: Path, db: sqlite3.Connection) -> None:
    """Write the removed log of an open queue file into that file, so that `db` can be closed.

    What took its place is renamed. Raises sqlite3.Error or OSError.
    """
    with as_owner(path.parent):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        aside = _set_aside(beside := Path(f"{path}-wal"))
    log.error("%s was removed while the gateway used it: all of it is in the file%s", beside, aside)


def _set_aside(path: Path) -> str:
    """Rename what took the place of a file; return that in words, "" if nothing did."""
    if not os.path.lexists(path):
        return ""
    path.rename(other := named(path, free_name(path, "replaced"), "replaced"))
    return f"; what was put in its place is kept as {other}"
