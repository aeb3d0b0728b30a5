"""Frames on the pages of a damaged file, read without SQLite, so that no other page has to lead to them.

If an inner page of the table is lost, SQLite reaches nothing below it, though those pages are good. The
format: https://www.sqlite.org/fileformat2.html#b_tree_pages.
"""

from __future__ import annotations

import os
import struct
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.process.state_files import open_file
from gateway.store.commits import PAGE, length, verified
from gateway.store.frame_text import is_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LEAF = 0x0D
"""First byte of a page with rows of a table."""
_LOCAL, _LEAST = PAGE - 35, (PAGE - 12) * 32 // 255 - 23
"""The most bytes of a row that its own page holds, and the least where it continues on other pages."""
_MOST_PAGES = 4096
"""How many of these other pages are read: a frame of four megabytes."""
_FIXED = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}
"""The bytes of a value by its type; beyond 12 it is a text or a blob, whose type says how long it is."""

Row = tuple[int, list[int | str | None]]
"""The id of a frame, and what its columns hold: a file of an older version has fewer."""


def frames(
    path: Path, is_known: Callable[[int, int, int], bool], *, is_last: bool = True
) -> Iterator[Row | None]:
    """Yield the frames on the pages of a file and of its log, the newest first; None to let others run.

    `is_known` is asked about each page, with its first id, its last, and its number of rows. Raises OSError
    if the disk cannot read, or the file is gone. In a try that `is_last` unreadable pages are left out,
    and OSError is raised only if no page can be read.
    """
    file = open_file(path, os.O_RDONLY)
    try:
        log = _log(path, is_last=is_last)
        newer = [commit.page for commit in verified(log).commits][::-1] if len(log) >= length(1) else []

        def page(number: int) -> bytes:
            return os.pread(file, PAGE, (number - 1) * PAGE)

        for data in chain(newer, _blocks(page, os.fstat(file).st_size // PAGE, is_last=is_last)):
            yield None
            try:
                yield from _rows(data, page, is_known)
            except (IndexError, ValueError, struct.error):
                continue  # this page is of another kind, or damaged
            except OSError:
                if not is_last:
                    raise
    finally:
        os.close(file)


def _log(path: Path, *, is_last: bool) -> bytes:
    """Return what is in the log of a file; nothing if there is none."""
    try:
        with os.fdopen(open_file(Path(f"{path}-wal"), os.O_RDONLY), "rb") as log:
            return log.read()
    except OSError as error:
        if not (is_last or isinstance(error, FileNotFoundError)):
            raise
    return b""


def _blocks(page: Callable[[int], bytes], count: int, *, is_last: bool) -> Iterator[bytes]:
    """Yield the first `count` pages, leaving out those on bad blocks."""
    good = False
    for number in range(1, count + 1):
        try:
            data, good = page(number), True
        except OSError:
            if not is_last or (number == count and not good):
                raise
            data = b""
        yield data


def _rows(
    data: bytes, page: Callable[[int], bytes], is_known: Callable[[int, int, int], bool]
) -> Iterator[Row]:
    if data[0] != _LEAF:
        return
    (count,) = struct.unpack_from(">H", data, 3)
    cells = []
    for cell in struct.unpack_from(f">{count}H", data, 8):
        size, after = _varint(data, cell)
        number, after = _varint(data, after)
        cells.append((number, size, after))
    if not cells or is_known(cells[0][0], cells[-1][0], count):
        return
    for number, size, start in cells:
        values = _values(_payload(data, start, size, page))
        if len(values) > 1 and values[0] is None and is_frame(values[1]):  # in no other table
            yield number, values


def _payload(data: bytes, start: int, size: int, page: Callable[[int], bytes]) -> bytes:
    """Return the bytes of a row, which may continue on further pages."""
    if size <= _LOCAL:
        return data[start : start + size]
    here = _LEAST + (size - _LEAST) % (PAGE - 4)
    here = here if here <= _LOCAL else _LEAST
    parts = [data[start : start + here]]
    (further,) = struct.unpack_from(">I", data, start + here)
    while further and len(parts) <= _MOST_PAGES:
        more = page(further)
        (further,) = struct.unpack_from(">I", more)
        parts.append(more[4:])
    return b"".join(parts)[:size]


def _values(record: bytes) -> list[int | str | None]:
    """Return the values of a row: NULL, whole numbers and texts; any others as None."""
    end, at = _varint(record, 0)
    start = end
    values: list[int | str | None] = []
    while at < end:
        kind, at = _varint(record, at)
        size = _FIXED[kind] if kind in _FIXED else (kind - 12) // 2
        data = record[start : start + size]
        start += size
        if kind >= 13 and kind % 2:
            values.append(data.decode())
        elif kind in (8, 9):
            values.append(kind - 8)
        else:
            values.append(int.from_bytes(data, "big", signed=True) if 0 < kind < 7 else None)
    return values


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """Return a number and where the next one begins: seven bits a byte, and all eight of the ninth."""
    value = 0
    for at in range(start, start + 8):
        value = value << 7 | data[at] & 0x7F
        if data[at] < 0x80:
            return value, at + 1
    return value << 8 | data[start + 8], start + 9
