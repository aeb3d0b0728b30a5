"""A virtual clock on which things happen at their time, while someone sleeps."""

from __future__ import annotations

from collections.abc import Callable

from listeners.simulated.clock import VirtualClock


class EventfulClock(VirtualClock):
    """A clock that carries out what is due while it moves on."""

    def __init__(self) -> None:
        super().__init__()
        self._events: list[tuple[float, Callable[[], object]]] = []

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Have something happen in so many seconds."""
        self._events.append((self.monotonic() + seconds, action))
        self._events.sort(key=lambda event: event[0])

    def forget(self) -> None:
        """Have nothing happen of what was to come."""
        self._events.clear()

    def sleep(self, seconds: float) -> None:
        """Move the time on."""
        end = self.monotonic() + seconds
        while self._events and self._events[0][0] <= end:
            when, action = self._events.pop(0)
            super().sleep(max(0.0, when - self.monotonic()))
            action()
        super().sleep(end - self.monotonic())
