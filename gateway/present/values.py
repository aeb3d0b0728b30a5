"""The values as they are now: what `oemgateway values --json` prints, and what the table is made of."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

MISSED = 3
"""Intervals, or usual pauses, after which a value no longer counts as present."""
LEAST_UNKNOWN = 600.0
"""The least seconds for which a value stands if the configuration does not have its interval."""
_LEAST = 60.0
"""The same where it has."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """An index of a node, or a name (`index` is None), and its value now; None if it has none.

    `last` is its last value, `age` seconds ago; both are None before the first. `hour` has the mean of each
    of the last 60 minutes, oldest first. `dummy`: no value is expected. Without a node's name `node_name` is
    "", as are an unknown `label`, `unit` and `kind`. `rssi` is in dBm, `source` the name of the listener.
    """

    source: str
    node: str
    node_name: str = ""
    index: int | None = None
    label: str = ""
    unit: str = ""
    kind: str = ""
    value: float | None = None
    last: float | None = None
    age: float | None = None
    rssi: int | None = None
    dummy: bool = False
    hour: list[float | None] = field(default_factory=list)

    @property
    def place(self) -> tuple[int, str, int, str]:
        """The sort key of values: node 9 before node 10, and names after numbers."""
        node = (int(self.node), "") if self.node.isdecimal() else (sys.maxsize, self.node)
        return (*node, self.index or 0, self.label)


def lifetime(interval: float, usual: float | None) -> float:
    """Return the seconds for which a value stands, from its interval (0: none is known) or usual pause."""
    return max(_LEAST, MISSED * interval) if interval else max(LEAST_UNKNOWN, MISSED * (usual or 0.0))


def carry_forward(minutes: list[float | None], seconds: float) -> list[float | None]:
    """Return the means of minutes; one without a mean has that before it, for at most that many seconds."""
    found: list[float | None] = []
    last, left = None, 0.0
    for mean in minutes:
        last, left = (last, left - 60) if mean is None else (mean, seconds)
        found.append(last if left > 0 else None)
    return found
