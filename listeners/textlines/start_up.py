"""The start of an emonTH 2, during which it prints lines that look like readings, but in other units.

Its firmware (emonth2.ino, 3.2.x) prints its name, its settings and a first value of each sensor (`temp:20.87`
in degrees; a reading is in tenths of one), and waits three seconds for someone who wants to change the
settings. The line that it prints then ends the start.
"""

from __future__ import annotations

import re

_BEGINS = re.compile(r"emonTH FW: .*|Int SI7021\.\.|SI7021 Started, ID: .*")
_ENDS = re.compile(r"Continuing(?: without entering config mode)?\.\.\.")

_LONGEST = 30.0
"""Seconds after which the start is over even if its last line was damaged; readings come once a minute."""


class StartUp:
    """Follows the lines of a device and tells which belong to its start."""

    def __init__(self) -> None:
        self._until: float | None = None

    def hear(self, line: str, now: float) -> bool:
        """Take in a line at the monotonic time `now`; tell whether it was printed during the start."""
        text = line.strip(" \t\r")
        if _BEGINS.fullmatch(text):
            self._until = now + _LONGEST
        elif _ENDS.fullmatch(text) or (self._until is not None and now > self._until):
            self._until = None
        return self._until is not None
