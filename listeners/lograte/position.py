"""Where reading goes on in a log file, and how that file is known again."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import IO

from listeners.lograte.files import crc, read

HEAD, TAIL = 1024, 64
"""Bytes at the beginning and before an offset by which a file is known."""


@dataclass(frozen=True, slots=True)
class Position:
    """A file, by checksums of its first bytes and of those before the offset, where reading goes on.

    Its text begins at `start`: NULs precede it if a program goes on at its own offset after the file was
    truncated, as with output that a shell redirects by `>`.
    """

    offset: int
    head: int
    tail: int
    start: int = 0

    @classmethod
    def at(cls, file: IO[bytes], offset: int, start: int = 0) -> Position:
        """Return the position at an offset of a file."""
        before = min(offset, TAIL)
        head = crc(file, start, min(offset - start, HEAD))
        return cls(offset, head, crc(file, offset - before, before), start)

    @property
    def is_begun(self) -> bool:
        """Whether something of the text was read."""
        return self.offset > self.start

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its fields, as they are stored: three, as in earlier versions, where the text begins the file."""
        return astuple(self)[: 4 if self.start else 3]

    def fits(self, file: IO[bytes]) -> bool:
        """Tell whether a file is this one, of which something was read, or a copy that was made before."""
        return self.begins(file) and (read(file, self.offset - 1, 1) == b"" or self.holds(file))

    def begins(self, file: IO[bytes]) -> bool:
        """Tell whether a file begins like this one, of which something was read."""
        return self.is_begun and crc(file, self.start, min(self.offset - self.start, HEAD)) == self.head

    def holds(self, file: IO[bytes]) -> bool:
        """Tell whether a file still has what was read of it."""
        return not self.is_begun or Position.at(file, self.offset, self.start) == self


START = Position(0, 0, 0)
