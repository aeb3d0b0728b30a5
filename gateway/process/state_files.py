"""Files of the state directory, which root opens as the owner of that directory."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.paths import closed_above
from gateway.process.holders import user_name
from gateway.text.words import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

_VOLATILE = ("tmpfs", "ramfs", "overlay")
_INDEX = 32 << 10
"""Bytes of the index of its log that SQLite makes whenever it opens a file."""

_LIBC = ctypes.CDLL(None)
_LIBC.setfsuid.restype = _LIBC.setfsgid.restype = ctypes.c_uint


@contextmanager
def as_owner(directory: Path) -> Iterator[None]:
    """Let this thread, if it is root's, access files as the owner of the directory.

    The service's user can replace any file there by a link, at any moment. Acting as that user, root can do
    no more than that user could, and what it makes belongs to that user. Other threads are not changed, as
    listeners open devices meanwhile. Start no thread inside. Raises OSError if root may not do this.
    """
    if os.geteuid():
        yield
        return
    user, group = _owner(directory)
    if user and os.getgroups():
        os.setgroups([])  # root's groups would give access to their files; root itself needs none
    before = _act_as(user, group)
    try:
        yield
    finally:
        _act_as(*before)


def _owner(directory: Path) -> tuple[int, int]:
    """Return user and group of a directory, or of the one that it will be made in.

    Those of a link count, unless it is root's: a link may be anybody's.
    """
    for place in (directory, *directory.absolute().parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            link, about = place.lstat(), place.stat()
            return (link.st_uid, link.st_gid) if link.st_uid else (about.st_uid, about.st_gid)
    return 0, 0


def _act_as(user: int, group: int) -> tuple[int, int]:
    """Let this thread access files as a user; return the user and group before. See setfsuid(2)."""
    # Leaving user 0 drops this thread's capabilities on files, but not its right to come back.
    before = _LIBC.setfsuid(-1), _LIBC.setfsgid(-1)
    _LIBC.setfsgid(group)
    _LIBC.setfsuid(user)
    if (_LIBC.setfsuid(-1), _LIBC.setfsgid(-1)) != (user, group):
        _LIBC.setfsgid(before[1])
        _LIBC.setfsuid(before[0])
        raise OSError(f"root may not act as user {user} here, to whom the directory belongs")
    return before


def open_file(path: Path, flags: int) -> int:
    """Open a file of the state directory and return its descriptor. Raises OSError if it is not a plain file.

    No link is followed, and no pipe or device is opened. A new file can be read by its owner only.
    """
    extra = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    with as_owner(path.parent):
        if os.path.lexists(path):
            check_is_file(path)
        fd = os.open(path, flags | extra, 0o600)
    try:
        _check(path, os.fstat(fd))
    except OSError:
        os.close(fd)
        raise
    return fd


def check_is_file(path: Path) -> None:
    """Raise OSError unless this is a plain file, and no link to one."""
    _check(path, path.lstat())


def _check(path: Path, about: os.stat_result) -> None:
    # In a directory of another user's, root uses no file that has a second name: it may be anybody's.
    is_shared = about.st_nlink > 1 and not os.geteuid() and _owner(path.parent)[0]
    if is_shared or not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "a plain file expected, and no link: take it away", str(path))


def read_file(path: Path, most: int = 1 << 20) -> str:
    """Return the text of a file of the state directory. Raises OSError, and ValueError if it is damaged."""
    with open(open_file(path, os.O_RDONLY), "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path}: at most {most} bytes expected")
    return data.decode("utf-8")


def write_file(path: Path, text: str, *, synced: bool = False) -> None:
    """Put this text in place of a file of the state directory, in one step. Raises OSError.

    If it is `synced` it then survives a power cut; otherwise the previous file may come back.
    """
    new = path.with_name(f"{path.name}.new")
    with as_owner(path.parent):
        with open(open_file(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # or a power cut may leave an empty file under the name
        try:
            new.replace(path)
        except OSError:  # such as a directory of that name
            new.unlink()
            raise
        if synced:
            sync_names(path.parent)


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 if it is missing or cannot be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def sync_names(directory: Path) -> None:
    """Have the disk keep the names of the files in a directory; some file systems do not support that."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    with suppress(OSError):
        os.fsync(folder)
    os.close(folder)


def is_volatile(directory: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of the file system there if a power cut may empty it, "" otherwise.

    It empties an overlay whose upper layer is in memory, as on a Pi whose card is write-protected. A /tmp
    that systemd made for the service counts as memory: it is emptied when the service stops.
    """
    kinds = {}
    try:
        for line in mounts.read_text(encoding="utf-8").splitlines():
            place, _, kind = line.partition(" - ")
            source, point = place.split()[3:5]
            kinds[Path(point)] = "tmpfs" if "systemd-private-" in source else kind.split()[0]
    except (OSError, IndexError):
        return ""
    resolved = directory.resolve()
    kind = next((kinds[path] for path in (resolved, *resolved.parents) if path in kinds), "")
    return kind if kind in _VOLATILE else ""


def refusal(error: Exception, directory: Path) -> str:
    """Return what an error in this state directory says, with the command that lets its user write there."""
    if not isinstance(error, OSError) or not error.filename:
        error = _refused(directory) or error
    said = failure(error)
    if not isinstance(error, OSError) or not error.filename:
        return said
    place = Path(error.filename)
    if error.errno == errno.EACCES:
        user = user_name(os.geteuid() or _owner(directory)[0])
        if closed := closed_above(directory):
            return f"{said}: {user} may not enter {closed}: name another directory, [gateway] state_dir"
        if not os.access(directory, os.F_OK):
            return f"{said}: sudo install -d -o {user} {directory}, once its disk is mounted"
        return f"{said}: sudo chown {user} {place if os.access(directory, os.W_OK | os.X_OK) else directory}"
    # systemd says so in what it starts; the file system itself may be fine. With - it starts without it, too.
    if error.errno == errno.EROFS and "INVOCATION_ID" in os.environ:
        open_to = next(each for each in (place, *place.parents) if each.is_dir())
        return (
            f"{said}; if for the service only: sudo systemctl edit oemgateway, and below [Service] the line "
            f"ReadWritePaths=-{open_to}"
        )
    return said


def _refused(directory: Path) -> OSError | None:
    """Return why no file can be made in a directory, as SQLite does not say that; None if one can.

    A full disk may have room for its name alone. SQLite calls it an I/O error if its index does not fit.
    """
    try:
        with as_owner(directory):
            file = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600)
            try:
                os.posix_fallocate(file, 0, _INDEX)
            finally:
                os.close(file)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOSPC):
            return OSError(error.errno, error.strerror, str(directory))
    return None
