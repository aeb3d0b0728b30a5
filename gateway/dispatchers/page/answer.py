"""An answer to a browser, made once and given to many."""

from __future__ import annotations

import gzip
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FRESH = 1.0
"""Seconds for which a present answer is reused."""
_SMALL = 500
"""Bytes below which compression gains nothing."""


@dataclass(frozen=True)
class Answer:
    """A body with its type; one that `lasts` never changes at its address, and a browser may keep it."""

    body: bytes
    kind: str = "text/plain; charset=utf-8"
    status: int = 200
    lasts: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    @cached_property
    def tag(self) -> str:
        """What changes with the body."""
        return f'"{sha256(self.body).hexdigest()[:20]}"'

    @cached_property
    def zipped(self) -> bytes | None:
        """The body compressed, None if that gains nothing."""
        return gzip.compress(self.body, 4, mtime=0) if len(self.body) > _SMALL else None


class Fresh:
    """An answer that is made again on request, at most once a second."""

    def __init__(self, make: Callable[[], Answer]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[float, Answer] | None = None

    def get(self) -> Answer:
        """Return the answer."""
        with self._lock:
            now = time.monotonic()
            if self._made is None or now >= self._made[0] + _FRESH:
                self._made = (now, self._make())
            return self._made[1]
