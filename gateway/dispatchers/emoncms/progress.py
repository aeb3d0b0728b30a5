"""How many of some rows an Emoncms has stored, worked out from the last time and value of its inputs.

A row leaves a trace: a reading (second and value) that its inputs did not have before. Rows are stored in
order, so a server that shows the trace of a row has all rows before that one as well.
Measured on Emoncms 11.16.8: with Redis values come back with 14 significant digits; without it, from a float
column of MySQL, which keeps a float32 and shows 6 digits of it. While a server is still storing, its inputs
may show different rows.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from typing import TYPE_CHECKING

from gateway.plugin import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.dispatchers.emoncms.encoding import Inputs, Reading

_SHOWN = 1.2
"""How far a value that is shown may be from the one that was sent, in units of the sixth significant digit.

One unit, as the last digit may be rounded up or down, and the rounding of a float32.
"""
_APART = 1.8
"""How far apart two values must be for the server to show which one was sent, in the same units.

What is shown is up to 0.56 away from what was sent (half a unit and the rounding of a float32), and must not
be within _SHOWN of the other value.
"""
_REACH = 2e-5
"""The largest distance between two values that are not _APART, relative to either: a unit is 1e-5 at most."""
_FLOAT32 = 2.0**-149
"""The smallest float32: two numbers closer than this may be the same number there."""


def is_shown(shown: float, sent: float) -> bool:
    """Tell whether a server may show the first value for the second."""
    return abs(shown - sent) <= _SHOWN * _unit(min(abs(shown), abs(sent))) + _FLOAT32


def _is_apart(one: float, other: float) -> bool:
    """Tell whether no server can show the same for these two values.

    At a power of ten, where the unit changes, this uses the larger unit and `is_shown` the smaller one: they
    never overlap.
    """
    return abs(one - other) > _APART * _unit(max(abs(one), abs(other))) + _FLOAT32


def _is_new(value: float, others: Sequence[float]) -> bool:
    """Tell whether this value is apart from all others, which are in order; there may be thousands."""
    reach = _REACH * abs(value) + 2 * _FLOAT32
    near = others[bisect_left(others, value - reach) : bisect_right(others, value + reach)]
    return all(_is_apart(value, other) for other in near)


def _unit(value: float) -> float:
    """Return the value of one in the sixth significant digit."""
    return 10.0 ** (math.floor(math.log10(value)) - 5) if 0 < value < math.inf else 0.0


def _shows(shown: Reading | None, sent: Reading) -> bool:
    return shown is not None and shown[0] == sent[0] and is_shown(shown[1], sent[1])


def _moments(readings: Inputs) -> set[tuple[str, float]]:
    """Return the nodes and seconds of these."""
    return {(node, second) for (node, _), (second, _) in readings.items()}


def _traces(rows: Sequence[Inputs], before: Inputs) -> Iterator[Inputs]:
    """Yield, for each row, its readings that differ from `before` and from all rows before it."""
    often = Counter(_moments(before))
    for row in rows:
        often.update(_moments(row))
    seen: dict[tuple[tuple[str, str], float], list[float]] = {}
    for where, (second, value) in before.items():
        seen[where, second] = [value]
    for row in rows:
        if all(often[moment] == 1 for moment in _moments(row)):
            yield row  # as most are: there may be hundreds of thousands of readings
            continue
        yield {
            where: (second, value)
            for where, (second, value) in row.items()
            if _is_new(value, seen.get((where, second), ()))
        }
        for where, (second, value) in row.items():
            insort(seen.setdefault((where, second), []), value)


def distinct(rows: Sequence[Inputs], before: Inputs) -> int:
    """Return how many rows, from the front, can share a batch: each leaves a trace, or is empty.

    `before` is what the inputs had before them, as far as that is known.
    """
    for number, (row, trace) in enumerate(zip(rows, _traces(rows, before), strict=True)):
        if row and not trace:
            return number
    return len(rows)


def find(rows: Sequence[Inputs], now: Inputs, before: Inputs) -> Progress:
    """Return how many rows a server has stored whose inputs had `before`, as far as is known, and have `now`.

    The count is None if they show none of the rows, but do not prove that the first one was never stored. A
    row of a node without inputs cannot have been stored: an account has a limit of nodes.
    """
    count, first = 0, None
    seen: set[tuple[tuple[str, str], Reading]] = set()
    for number, (row, trace) in enumerate(zip(rows, _traces(rows, before), strict=True)):
        there = {where: reading for where, reading in trace.items() if _shows(now.get(where), reading)}
        seen |= there.items()
        if there and all(_shows(now.get(where), reading) for where, reading in row.items()):
            count = number + 1
        elif there and (before.keys() & there or row.keys() <= {where for where, _ in seen}):
            count = number  # the server stopped in the middle of this row
        if first is None and row:
            first = trace
    never = any(_never_received(where, reading, now, before) for where, reading in (first or {}).items())
    nodes = {node for node, _ in now}
    missing = (number for number in range(count) if any(node not in nodes for node, _ in rows[number]))
    none_there = never and not seen
    return Progress(count if count or never else None, frozenset(seen), frozenset(missing), none_there)


def unfinished(rows: Sequence[Inputs], found: Progress, *, shown: bool) -> Progress:
    """Return how many count as stored where the server failed while it stored one of these rows.

    The inputs of a row are set before its feeds are written. `shown`: it failed after that, so the last row
    that they show may be in no feed. A row that was sent alone is in no feed in either case.
    """
    if sum(map(bool, rows)) == 1:
        return Progress(0, found.shown, none_there=found.none_there)
    last = (found.count or 0) - 1
    if last < 0 or not shown:
        return found
    return Progress(last, found.shown, found.missing - {last})


def last_may_be_cut(rows: Sequence[Inputs], found: Progress) -> bool:
    """Tell whether the last row that the inputs show may be in no feed, as no answer came.

    A server that is restarted ends within a row. If the inputs show a part of the next one, that was it; if
    they show all rows, only the answer was lost.
    """
    count = found.count or 0
    next_row = next(filter(None, rows[count:]), None)
    if not count or not next_row:
        return False
    earlier = {reading for row in rows[:count] for reading in row.items()}
    return not (next_row.items() - earlier) & found.shown


def _never_received(where: tuple[str, str], reading: Reading, now: Inputs, before: Inputs) -> bool:
    """Tell whether an input proves that it never had this reading: it has what it had before, or none.

    Where it is not known what that was, an older reading is as good a proof. Where it is known, an older one
    is that of somebody else, who may have written it after ours.
    """
    if where not in now:
        return True
    if where not in before:
        return now[where][0] < reading[0]
    return now[where] == before[where] or _shows(now[where], before[where])
