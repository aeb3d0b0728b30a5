"""A flag that threads can wait for, and select on."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Flag:
    """A flag like `threading.Event` that is a file descriptor too, so that one wait covers I/O and it.

    `set` may be called from a signal handler. `unattended` is when a thread last stopped waiting for it, on
    the monotonic clock. It is None while one waits, as an idle thread does.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.unattended: float | None = time.monotonic()

    def fileno(self) -> int:
        """Return a descriptor that is readable while the flag is set."""
        return self._fd

    def set(self) -> None:
        """Raise the flag."""
        os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """Lower the flag."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)

    def is_set(self) -> bool:
        """Tell whether the flag is up."""
        return self.wait(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is up, or `timeout` seconds; tell whether it is up."""
        return bool(wait_readable([self], timeout))

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # where there was no descriptor for it
            os.close(self._fd)


_LONGEST_S = 1e6
"""Seconds that one poll waits at most: its milliseconds are an int of C."""


def wait_readable(sources: Iterable[object], timeout: float | None = None) -> set[int]:
    """Wait until one of the sources (anything with a fileno) is readable; return the ready descriptors."""
    poll = select.poll()
    flags = []
    for source in sources:
        poll.register(source, select.POLLIN)  # type: ignore[arg-type]  # typeshed's HasFileno is private
        if isinstance(source, Flag):
            source.unattended = None
            flags.append(source)
    try:
        while timeout is not None and timeout > _LONGEST_S:
            if ready := poll.poll(_LONGEST_S * 1000):
                return {fd for fd, _ in ready}
            timeout -= _LONGEST_S
        return {fd for fd, _ in poll.poll(None if timeout is None else max(0, -int(-timeout * 1000 // 1)))}
    finally:
        for flag in flags:
            flag.unattended = time.monotonic()
