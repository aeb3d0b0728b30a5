"""A clock that moves only when someone waits: simulated hardware at full speed, and the same every time."""

from __future__ import annotations

from gateway.clock import Clock
from gateway.flag import Flag
from gateway.frame import Stamp


class VirtualClock(Clock):
    """A clock whose `sleep` returns at once and moves the time on."""

    def __init__(self, wall: float = 1_700_000_000.0, boottime: float = 100.0) -> None:
        self._elapsed = 0.0
        self._boottime = boottime
        self._wall = wall
        self.boot = "virtual"

    def wall(self) -> float:
        """Return Unix time; `set_wall` moves it as ntpd would."""
        return self._wall + self._elapsed

    def set_wall(self, wall: float) -> None:
        """Set the wall clock, which moves no other."""
        self._wall = wall - self._elapsed

    def monotonic(self) -> float:
        """Return the seconds slept so far."""
        return self._elapsed

    def boottime(self) -> float:
        """Return the seconds since boot."""
        return self._boottime + self._elapsed

    def sleep(self, seconds: float) -> None:
        """Move the time on."""
        self._elapsed += max(0.0, seconds)

    def now(self) -> Stamp:
        """Return the stamp of a reading taken now."""
        return Stamp(self.wall(), self.boot, self.boottime())


class VirtualFlag(Flag):
    """A flag to wait for on a virtual clock."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        """Let the timeout pass, unless the flag is up."""
        if super().wait(0):
            return True
        if timeout is None:
            raise RuntimeError("nothing will ever raise this flag")
        self._clock.sleep(timeout)
        return False
