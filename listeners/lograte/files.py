"""The files of a log: plain ones, and those that a rotation has compressed."""

from __future__ import annotations

import errno
import importlib
import io
import os
import re
import stat
import zlib
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LIBRARIES = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma", ".zst": "compression.zstd"}
"""What reads a compressed file, by its ending; that for zstd comes with Python 3.14."""

_PIECE = 60_000
"""Bytes that are read at a time to find where the text begins."""

_BEFORE_SUFFIX = r"(?:\.[0-9]{1,3}|[._-][0-9][-0-9._T:W]{7,})"
"""Number or date of a rotated file that keeps its suffix; mail-2.log is more likely a log of its own."""


def rotated_files(path: Path, folders: Iterable[Path]) -> list[tuple[Path, os.stat_result, str]]:
    """Return a log's rotated files, the oldest first, with the ending of what compressed each."""
    name, stem, last = map(re.escape, (path.name, path.stem, path.suffix))
    before_suffix = rf"|{stem}{_BEFORE_SUFFIX}{last}" if last else ""
    names = re.compile(rf"(?:{name}[._-][0-9][-0-9._T:W]*{before_suffix})(\.[A-Za-z0-9]{{1,5}})?")
    found = []
    for folder in folders:
        with suppress(OSError):
            for each in folder.iterdir():
                if match := names.fullmatch(each.name):
                    with suppress(OSError):  # it may have been renamed by now
                        found.append((each, each.stat(), match[1] or ""))
    return sorted(found, key=lambda each: each[1].st_mtime_ns)


def open_plain(path: Path) -> IO[bytes]:
    """Open a plain file; a pipe is not waited for."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "a plain file expected", str(path))
    return io.FileIO(fd)


def unpacked(file: IO[bytes], ending: str) -> IO[bytes]:
    """Return what gives the contents of a compressed file; OSError if nothing does."""
    try:
        library = importlib.import_module(_LIBRARIES[ending])
    except (KeyError, ImportError):
        raise OSError(f"this Python cannot read {ending}") from None
    contents: IO[bytes] = library.open(file)
    return contents


def read(file: IO[bytes], offset: int, size: int) -> bytes:
    """Return up to that many bytes from an offset on; fewer only at the end."""
    try:
        file.seek(max(0, offset))
        return file.read(size)
    except OSError:
        raise
    except Exception as error:  # what is compressed is damaged; each library has its own
        raise OSError(str(error)) from error


def start_of_text(file: IO[bytes]) -> int:
    """Return where the NULs at the start of a file end; 0 if nothing follows them."""
    offset = 0
    if isinstance(file, io.FileIO):
        try:
            offset = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        except OSError as error:  # nothing follows, or the file system does not know holes
            if error.errno == errno.ENXIO:
                return 0
    while piece := read(file, offset, _PIECE if offset else 1):
        if text := piece.lstrip(b"\0"):
            return offset + len(piece) - len(text)
        offset += len(piece)
    return 0


def crc(file: IO[bytes], offset: int, size: int) -> int:
    """Return the checksum of that many bytes from an offset on."""
    return zlib.crc32(read(file, offset, size)) if size else 0
