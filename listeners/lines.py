"""Lines of text from a wire, cut out of a byte stream, and what one is that is no data."""

from __future__ import annotations

from dataclasses import dataclass


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

    A byte that is not ASCII becomes U+FFFD and harms only its own line. Of a line longer than `limit` bytes
    no more is kept than shows that it is too long, so a stream without line ends fills no memory.
    """

    def __init__(self, limit: int) -> None:
        self._kept = limit + 2  # a CR may follow the longest line, and what follows that CR must show
        self.unfinished = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that these bytes complete; the rest waits in `unfinished`."""
        *lines, rest = (self.unfinished + data).split(b"\n")
        self.unfinished = rest[: self._kept]
        return [line[: self._kept].removesuffix(b"\r").decode("ascii", "replace") for line in lines]
