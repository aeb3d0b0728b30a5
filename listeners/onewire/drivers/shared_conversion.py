"""One conversion for all sections that read the same buses at the same time.

All sensors of a bus hear the command to convert, also those of another section. Given again while they
convert, it makes them begin anew: the section that waits already would read what they had before.
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
    """What some sections wait for now: since when, and on which buses."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting = 0
        self._begun = 0.0
        self._buses: Sequence[str] = ()

    def wait(self, convert: Callable[[], Sequence[str]], seconds: float, clock: Clock) -> Sequence[str]:
        """Let sensors convert, unless they do so for another section, and wait until these have.

        Return the buses on which they do, as `convert` returned them; where there is none, nothing is
        waited for. `seconds` is how long the caller's sensors take.
        """
        with self._lock:
            left = seconds
            if self._waiting:
                left -= clock.monotonic() - self._begun
            else:
                self._buses = convert()
                self._begun = clock.monotonic()
            buses = self._buses
            self._waiting += 1
        try:
            if buses:
                clock.sleep(max(0.0, left))
        finally:
            with self._lock:
                self._waiting -= 1
        return buses


def shared_conversion(place: Hashable) -> SharedConversion:
    """Return the conversion of a place, the same for all who ask for it."""
    with _lock:
        return _all.setdefault(place, SharedConversion())
