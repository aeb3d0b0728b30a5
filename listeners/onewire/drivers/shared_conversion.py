"""One conversion for all sections that read the same buses at the same time.

All sensors of a bus hear the command to convert, including those of another section. If it is given again
while they convert, they start over: the section that already waits would read their old values.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from gateway.clock import Clock

_all: WeakValueDictionary[Hashable, SharedConversion] = WeakValueDictionary()
_lock = Lock()


class SharedConversion:
    """The last conversion: since when, until when some section waits for it, and on which buses."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begun = self._end = float("-inf")
        self._buses: Sequence[str] = ()

    def wait(self, convert: Callable[[], Sequence[str]], seconds: float, clock: Clock) -> Sequence[str]:
        """Let sensors convert, unless they already do so for another section, and wait until they have.

        Return the buses on which they do, as `convert` returned them; if there is none, nothing is
        waited for. `seconds` is how long the caller's sensors take.
        """
        with self._lock:
            now = clock.monotonic()
            if now >= self._end:
                self._buses = convert()
                self._begun = now = clock.monotonic()
            buses, left = self._buses, seconds - (now - self._begun)
            if buses:
                self._end = max(self._end, now + left)
        if buses:
            clock.sleep(max(0.0, left))
        return buses


def shared_conversion(place: Hashable) -> SharedConversion:
    """Return the conversion of a place, the same for all who ask for it."""
    with _lock:
        return _all.setdefault(place, SharedConversion())
