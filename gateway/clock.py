"""The clocks of this machine, and the stamp of a reading taken now."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

from gateway.frame import Stamp


@cache
def boot_id() -> str:
    """Return the kernel's id of this boot, or "" if it has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Clock:
    """The clocks of this machine; tests pass one of their own."""

    def wall(self) -> float:
        """Return Unix time in seconds, as this machine has it."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump: every wait and deadline is counted in these."""
        return time.monotonic()

    def boottime(self) -> float:
        """Return seconds since boot, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        """Wait, for the short pauses that a protocol asks for."""
        time.sleep(seconds)

    def now(self) -> Stamp:
        """Return the stamp of a reading taken now."""
        return Stamp(self.wall(), boot_id(), self.boottime())
