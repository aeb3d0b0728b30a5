"""Lines of text, cut out of a byte stream, and what a decoder can say of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.frame import Frame, Stamp
    from gateway.nodes import Nodes

LONGEST_LINE = 1024
"""Characters of a line of values; those of a radio board are shorter."""

ENDLESS = 16 * LONGEST_LINE
"""Bytes beyond the longest line after which its end is not waited for."""


class DataLine(Protocol):
    """A line that carries data."""

    @property
    def missing(self) -> int:
        """How many values it has a place for but does not give."""

    def frame(self, nodes: Nodes, stamp: Stamp, source: str) -> Frame | Rejected:
        """Return its values with the scales and names that [nodes] gives them."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A line that is known to carry no data, by its kind."""

    kind: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that should carry data and cannot be trusted, by the reason."""

    reason: str


class Lines:
    """Cuts a byte stream, however it is segmented, into lines that end in LF or CR LF.

    A byte that is not ASCII becomes U+FFFD and damages only its own line. A line longer than `limit` bytes is
    cut, so that a stream without line ends does not fill the memory, but it still shows as too long.
    `is_whole` tells of the first line whether it is more than the end of one, which is dropped.
    """

    def __init__(self, limit: int, is_whole: Callable[[str], bool] | None = None) -> None:
        self._kept = limit + 2  # a CR may follow the longest line, and what follows that CR must show
        self._is_whole = is_whole
        self.unfinished = b""
        self._beyond = 0

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that these bytes complete; the rest waits in `unfinished`."""
        *ended, rest = (self.unfinished + data).split(b"\n")
        self._beyond = max(0, len(rest) - self._kept) + (0 if ended else self._beyond)
        self.unfinished = rest[: self._kept]
        lines = [line[: self._kept].removesuffix(b"\r").decode("ascii", "replace") for line in ended]
        if lines and self._is_whole is not None:
            if not self._is_whole(lines[0]):
                del lines[0]
            self._is_whole = None
        return lines

    def cut(self) -> list[str]:
        """Return the beginning of a line that seems to have no end; the rest of it is then dropped.

        A device that is read at the wrong speed may print no line end at all.
        """
        if self._beyond < ENDLESS:
            return []
        line = self.unfinished.decode("ascii", "replace")
        self.unfinished, self._beyond, self._is_whole = b"", 0, lambda _: False
        return [line]
