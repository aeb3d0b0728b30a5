"""Files of the kernel and of other programs, read and written in one call: anything may be at their path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def read_once(path: Path, most: int) -> bytes:
    """Return what one read of a file gives, at most that many bytes. Raises OSError.

    No pipe or device is waited for.
    """
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        return os.read(fd, most)
    except OSError as error:
        error.filename = str(path)  # as where it cannot be opened
        raise
    finally:
        os.close(fd)


def write_once(path: Path, data: bytes) -> None:
    """Write to an existing file, in one write; it is neither created nor truncated. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | _FLAGS)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
