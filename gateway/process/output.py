"""The file that a command writes to: whole or not at all, and named if it cannot be written."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.process.state_files import as_owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO


@contextmanager
def naming(place: Path | str) -> Iterator[None]:
    """Add the file's name to an OSError that has none, such as that of a read or write."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.strerror:
            raise OSError(error.errno, error.strerror, str(place)) from error
        raise


def check_plain(file: Path) -> None:
    """Raise OSError if the name is taken by something other than a plain file, such as a directory."""
    if file.exists() and not file.is_file():
        raise OSError(f"{file}: a plain file expected, and no directory, pipe or device")


def is_read_only(file: Path) -> bool:
    """Tell whether the file system that a file is on is read-only, for root as for anyone."""
    return bool(os.statvfs(file).f_flag & os.ST_RDONLY)


def check_writable_system(file: Path) -> None:
    """Raise OSError if the file system that a file is on is read-only."""
    if is_read_only(file):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(file))


_CURES = {
    errno.EBUSY: "if it is mounted by itself, as in a container, mount its directory instead",
    errno.EPERM: "if lsattr shows an a or i for it: sudo chattr -ai",
}
"""What to do about a file that cannot be replaced, although its directory can be written."""


def put_in_place(new: Path, file: Path) -> None:
    """Let a file take the place of another. Raises OSError with the name of that one, and what to do."""
    try:
        new.replace(file)
    except OSError as error:
        words = [f"{error.strerror}", *([_CURES[error.errno]] if error.errno in _CURES else [])]
        raise OSError(error.errno, ": ".join(words), str(file)) from error


def beside(file: Path) -> tuple[int, Path]:
    """Make a file in the same directory, for its owner only, that can take the place of this one; open it.

    Raises OSError with the name of that one.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error
    return handle, Path(name)


@contextmanager
def output(name: str) -> Iterator[BinaryIO]:
    """Yield the stream to write to; "-" is standard output.

    A file is written whole or not at all, readable by its owner only. What is written to a device or a pipe
    goes there at once. In another user's directory root writes as that user, who may have put a link there.
    """
    if name == "-":
        yield sys.stdout.buffer
        return
    directory = Path(name).absolute().parent
    with naming(name), as_owner(directory):
        file = Path(name).absolute()  # the real path of a pipe, which /dev/stdout may be, is not usable
        is_stream = file.exists() and not file.is_file()
        file = file if is_stream else Path(os.path.realpath(name))
        handle, part = (os.open(file, os.O_WRONLY), file) if is_stream else beside(file)
    with naming(name), os.fdopen(handle, "wb") as stream:
        if is_stream:
            yield stream
            return
        try:
            yield stream
            stream.flush()
            os.fsync(handle)
            with as_owner(directory):
                put_in_place(part, file)
        finally:
            with suppress(FileNotFoundError), as_owner(directory):
                part.unlink()
