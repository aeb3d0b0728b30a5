"""Which failures of a section are logged: one trouble is one line, even if it comes and goes."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from gateway.process.log_limit import LogLimit

GOOD_FOR = 60.0
"""Seconds without a failure after which a trouble is over."""

_MOST = 10
"""Lines of one section within an hour, at most: a message may have something different in it each time."""


@dataclass(frozen=True)
class Trouble:
    """A failure, and when it happened last, in seconds of the monotonic clock."""

    text: str
    at: float


class Episode:
    """The trouble of a section, from its first failure until nothing has failed for a minute.

    The same message is logged once an hour at most. `now` is of the monotonic clock. Any thread may call it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = ""
        self._limit = LogLimit(_MOST)
        self._good_since: float | None = None

    def failed(self, text: str, now: float) -> bool:
        """Note a failure; tell whether to log it."""
        with self._lock:
            self._good_since = None
            is_new = text != self._last
            self._last = text
            return is_new and self._limit.allows(text, now)

    def succeeded(self, now: float) -> None:
        """Note that it works."""
        with self._lock:
            if self._last and self._good_since is None:
                self._good_since = now

    def ended(self, now: float) -> bool:
        """Tell whether the trouble is over; True once."""
        with self._lock:
            if self._good_since is None or now < self._good_since + GOOD_FOR:
                return False
            self._last, self._good_since = "", None
            self._limit = LogLimit(_MOST)
            return True
