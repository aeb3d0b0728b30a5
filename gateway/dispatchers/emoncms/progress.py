"""How far into some rows an Emoncms has come, told from the last time and value of its inputs.

A row leaves a trace: a reading (second and value) that its inputs did not hold before. A server takes rows in
their order; so once it shows a row that left a trace, it has all rows before that one, too.
Measured on Emoncms 11.16.8: with Redis values come back with 14 significant digits, without it from a float
column of MySQL, which keeps a float32 and shows 6 digits of it. While a server is at work it shows keys of
different rows side by side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gateway.dispatchers.emoncms.pages import last_line, read_json
from gateway.plugin import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.dispatchers.emoncms.encoding import Inputs, Reading

_SHOWN = 1.2
"""How far a value that is shown may be from the one that was sent, in units of the sixth significant digit.

One unit, as a last digit may be rounded either way, and a float32's own rounding.
"""
_APART = 1.8
"""How far apart two values that are sent must be to be told apart, in the same units.

What is shown of the one is up to 0.56 away from it (half a unit and float32's rounding), and must not be
within _SHOWN of the other.
"""
_FLOAT32 = 2.0**-149
"""The smallest float32: what is closer than this to another number may be the same there."""


def is_shown(shown: float, sent: float) -> bool:
    """Tell whether a server that was sent one value may show the other for it."""
    return abs(shown - sent) <= _SHOWN * _unit(min(abs(shown), abs(sent))) + _FLOAT32


def _is_apart(one: float, other: float) -> bool:
    """Tell whether no server can show the same for two values that it is sent.

    At a power of ten, where the unit changes, the larger unit counts here and the smaller one in `is_shown`,
    so that no server that has the one is taken to show the other.
    """
    return abs(one - other) > _APART * _unit(max(abs(one), abs(other))) + _FLOAT32


def _unit(value: float) -> float:
    """Return what one in the sixth significant digit is worth."""
    return 10.0 ** (math.floor(math.log10(value)) - 5) if 0 < value < math.inf else 0.0


def _same(shown: Reading | None, sent: Reading) -> bool:
    return shown is not None and shown[0] == sent[0] and is_shown(shown[1], sent[1])


def parse_inputs(node: str, text: str) -> Inputs | None:
    """Return what an answer to input/get says of a node, or None where it says nothing of the kind.

    A node that does not exist holds nothing. One whose keys are exactly 0 to n-1 comes as a list.
    """
    try:
        answer = read_json(last_line(text))  # PHP's warnings may stand before it
    except ValueError:
        return None
    if isinstance(answer, str) and "does not exist" in answer:
        return {}
    if isinstance(answer, list):
        answer = dict(enumerate(answer))
    if not isinstance(answer, dict) or not all(isinstance(each, dict) for each in answer.values()):
        return None
    return {
        (node, str(key)): (_number(each.get("time")), _number(each.get("value")))
        for key, each in answer.items()
    }


def _number(value: Any) -> float:  # noqa: ANN401  (JSON)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.inf


def _traces(rows: Iterable[Inputs], before: Inputs) -> Iterator[Inputs]:
    """Yield, for each row, those of its readings that differ from `before` and from all rows before it."""
    seen: dict[tuple[tuple[str, str], float], list[float]] = {}
    for where, (second, value) in before.items():
        seen[where, second] = [value]
    for row in rows:
        yield {
            where: (second, value)
            for where, (second, value) in row.items()
            if all(_is_apart(value, other) for other in seen.get((where, second), ()))
        }
        for where, (second, value) in row.items():
            seen.setdefault((where, second), []).append(value)


def together(rows: Sequence[Inputs], before: Inputs) -> int:
    """Return how many rows, from the front, can share a batch: those that leave a trace, or are empty.

    `before` is what the server held before them, as far as that is known.
    """
    for number, (row, trace) in enumerate(zip(rows, _traces(rows, before), strict=True)):
        if row and not trace:
            return number
    return len(rows)


def find(rows: Sequence[Inputs], now: Inputs, before: Inputs) -> Progress:
    """Return how far into the rows a server has come that held `before`, as far as is known, and holds `now`.

    The count is None where it shows none of them, and not that it never had the first one either. What it
    cannot have is a row of a node without inputs: an account takes so many nodes and no more.
    """
    count, seen, first = 0, set[object](), None
    for number, (row, trace) in enumerate(zip(rows, _traces(rows, before), strict=True)):
        there = {where: reading for where, reading in trace.items() if _same(now.get(where), reading)}
        seen |= there.items()
        if there and all(_same(now.get(where), reading) for where, reading in row.items()):
            count = number + 1
        elif any(where in before for where in there):
            count = number  # the server broke off in the middle of this row
        if first is None and row:
            first = trace
    never = any(_never(where, reading, now, before) for where, reading in (first or {}).items())
    nodes = {node for node, _ in now}
    missing = (number for number in range(count) if any(node not in nodes for node, _ in rows[number]))
    return Progress(count if count or never else None, frozenset(seen), frozenset(missing))


def _never(where: tuple[str, str], reading: Reading, now: Inputs, before: Inputs) -> bool:
    """Tell whether an input shows that it was never brought this reading: it holds an older one, or none."""
    return (
        where not in now
        or now[where][0] < reading[0]
        or (where in before and (now[where] == before[where] or _same(now[where], before[where])))
    )
