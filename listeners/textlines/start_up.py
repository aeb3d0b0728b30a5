"""The start of an emonTH 2: it prints lines that look like readings, in other units, before it has begun.

By its firmware (emonth2.ino, 3.2.x): it names itself, prints its settings, tries its sensors and prints what
they say (`temp:20.87` in degrees where a reading has tenths of one), and waits three seconds for someone who
wants to change the settings. The line that ends this is the end of the start.
"""

from __future__ import annotations

import re

_BEGINS = re.compile(r"emonTH FW: .*|Int SI7021\.\.|SI7021 Started, ID: .*")
_ENDS = re.compile(r"Continuing(?: without entering config mode)?\.\.\.")

_LONGEST = 30.0
"""Seconds after which it has begun even if the last line was damaged; a reading comes once a minute."""


class StartUp:
    """Follows the lines of a device, and tells which belong to its start."""

    def __init__(self) -> None:
        self._until: float | None = None

    def hear(self, line: str, now: float) -> bool:
        """Take in a line at a second of the monotonic clock; tell whether it was printed during the start."""
        text = line.strip(" \t\r")
        if _BEGINS.fullmatch(text):
            self._until = now + _LONGEST
        elif _ENDS.fullmatch(text) or (self._until is not None and now > self._until):
            self._until = None
        return self._until is not None
