"""A serial line, with a test at its far end."""

from __future__ import annotations

import contextlib
import os
import tty


class Wire:
    """A pseudo-terminal to be opened at `port`."""

    def __init__(self) -> None:
        self._far, self._near = os.openpty()
        self._ends = [self._near, self._far]
        tty.setraw(self._near)
        self.port = os.ttyname(self._near)

    def send(self, data: bytes) -> None:
        """Put bytes on the line."""
        os.write(self._far, data)

    def sent(self) -> bytes:
        """Return what was sent to this end."""
        os.set_blocking(self._far, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self._far, 1000)
        return b""

    def cut(self) -> None:
        """Pull it out; may be done twice."""
        while self._ends:
            os.close(self._ends.pop())
