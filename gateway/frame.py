"""A reading: what a node sent, when, and with what signal strength."""

from __future__ import annotations

import re
from dataclasses import dataclass

HIGHEST = 999
"""The highest index: a frame has a position for every index up to its highest."""

_NODE = re.compile(r"[\w.-]([\w .-]{0,62}[\w.-])?")


def check_node(name: str) -> None:
    """Raise ValueError for a node name that Emoncms would not keep as it is."""
    if not _NODE.fullmatch(name):
        raise ValueError(f"1 to 64 letters, digits, dots, dashes, underscores or spaces expected, not {name}")


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a reading was taken, by the wall clock and by the boot it was taken in.

    `wall` is Unix time and `boottime` CLOCK_BOOTTIME, both in seconds; `boot` is the kernel's boot id.
    With both, a reading can be dated again once a wrong wall clock has been corrected. A `boot` of "" says
    that the time comes from the sender's own clock, and is not changed.
    """

    wall: float
    boot: str
    boottime: float


@dataclass(frozen=True, slots=True)
class Frame:
    """One reading of one node: `values[0]` has index 1, and None means no value.

    `names` holds labels by position, "" or nothing if there is none; there may be more of them than values.
    `rssi` is in dBm.
    `source` is the name of the listener's section; the core fills it in where it is "". If `by_name` is
    set, the names identify the values, and the positions mean nothing.
    """

    node: str
    values: tuple[float | None, ...]
    stamp: Stamp
    names: tuple[str, ...] = ()
    rssi: int | None = None
    source: str = ""
    by_name: bool = False

    def items(self) -> list[tuple[int, float]]:
        """Return (index, value) of every value that is there."""
        return [(index, value) for index, value in enumerate(self.values, 1) if value is not None]

    def name(self, index: int) -> str:
        """Return the label of an index, or "" if it has none."""
        return self.names[index - 1] if 0 < index <= len(self.names) else ""

    def labels(self) -> list[str]:
        """Return the label of each position, "" for none; also of those that have no value."""
        return [self.name(index) for index in range(1, max(len(self.values), len(self.names)) + 1)]
