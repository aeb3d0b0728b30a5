"""Changes one line of the configuration file, and no other byte."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.conf import document
from gateway.settings import quoted

if TYPE_CHECKING:
    from gateway.conf.document import Section
    from gateway.settings import Raw

_ITEM = r"""(?:"[^"]*"|'[^']*'|[^'",\#\s][^,\#]*?)"""
_ENTRY = re.compile(
    rf"""(?P<before>\s*["']?(?P<key>[^"'=]+?)["']?\s*=\s*)
         (?P<value>(?:{_ITEM}(?:\s*,\s*{_ITEM})*(?:\s*,)?)?)
         (?P<after>\s*(?:\#.*)?)""",
    re.VERBOSE | re.DOTALL,
)
"""A line as ConfigObj reads it: text with an apostrophe in it needs no quotes, unless it begins with one."""


def replace_value(path: Path, line: int, key: str, value: list[str]) -> str:
    """Give the entry in this line another value, with commas between its parts; return the new entry.

    Indentation, comment and line ending stay, and so do the file's owner and mode. The new file takes the
    place of the old in one step. Raises ValueError where that line is not such an entry or the file would not
    read as it should, and OSError where it cannot be written.
    """
    path = path.resolve()  # a link to the file stays one
    data = path.read_bytes()
    lines = data.split(b"\n")
    found = _ENTRY.fullmatch(lines[line - 1].decode())
    if found is None or found["key"] != key:
        raise ValueError(f"{path}:{line}: {key} = ... expected there: the file has changed meanwhile")
    written = ", ".join(map(quoted, value))
    if not written.isprintable():
        raise ValueError(f"{path}:{line}: {key}: one line of plain text expected, not {written!r}")
    lines[line - 1] = f"{found['before']}{written}{found['after']}".encode()
    new = _written(path, b"\n".join(lines))
    try:
        wanted = {**_entries(path), (line, key): value if len(value) > 1 else value[0]}
        if _entries(new) != wanted:
            raise ValueError(f"{path}:{line}: {written} would not be read as it is meant")
        if path.read_bytes() != data:
            raise ValueError(f"{path}: someone else has just changed it: try again")
        new.replace(path)
    finally:
        with suppress(FileNotFoundError):
            new.unlink()
    return f"{key} = {written}"


def _written(path: Path, data: bytes) -> Path:
    """Write a file beside another, with the same owner and mode, and sync it to the disk."""
    about = path.stat()
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(fd, "wb") as file:
        try:
            file.write(data)
            if (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(fd, about.st_uid, about.st_gid)
            os.fchmod(fd, about.st_mode)
            os.fsync(fd)
        except OSError:
            os.unlink(name)  # noqa: PTH108  (it is a name)
            raise
    return Path(name)


def _entries(path: Path) -> dict[tuple[int, str], Raw | None]:
    """Return all entries of a file, and its sections, by line and name."""
    found: dict[tuple[int, str], Raw | None] = {}
    pending: list[Section] = [document.read(path).root]
    while pending:
        section = pending.pop()
        found[section.line, section.name] = None
        found.update({(entry.line, key): entry.value for key, entry in section.entries.items()})
        pending += section.sections.values()
    return found
