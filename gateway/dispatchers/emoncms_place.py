"""How far into some rows an Emoncms has come, told from the last time and value of its inputs.

A row leaves a trace: a reading (second and value) that its inputs did not hold before. A server takes rows in
their order; so once it shows a row that left a trace, it has all rows before that one, too.
Measured on Emoncms 11.16.8: values come back with 14 significant digits, and while a server is at work it
shows keys of different rows side by side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gateway.dispatchers.emoncms_pages import last_line, read_json
from gateway.plugin import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Reading = tuple[float, str]
"""Unix second (infinity where the server shows none), and the value as text of 14 significant digits."""

Inputs = dict[tuple[str, str], Reading]
"""Readings by node and key: those that a server's inputs hold, or that a row brings them."""


def brought(second: int, node: str, values: Iterable[Mapping[str, float]]) -> Inputs:
    """Return what a row of input/bulk brings."""
    return {(node, key): (second, f"{value:.14g}") for each in values for key, value in each.items()}


def held(node: str, text: str) -> Inputs | None:
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
        (node, str(key)): (_number(each.get("time")), f"{_number(each.get('value')):.14g}")
        for key, each in answer.items()
    }


def _number(value: Any) -> float:  # noqa: ANN401  (JSON)
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.inf


def _traces(rows: Iterable[Inputs], before: Inputs) -> Iterator[set[tuple[tuple[str, str], Reading]]]:
    """Yield, for each row, those of its readings that neither `before` nor any row before it has."""
    seen = set(before.items())
    for row in rows:
        yield {item for item in row.items() if item not in seen}
        seen.update(row.items())


def together(rows: Sequence[Inputs], before: Inputs) -> int:
    """Return how many rows, from the front, can share a batch: those that leave a trace, or are empty.

    `before` is what the server held before them, as far as that is known.
    """
    for number, (row, trace) in enumerate(zip(rows, _traces(rows, before), strict=True)):
        if row and not trace:
            return number
    return len(rows)


def find(rows: Sequence[Inputs], now: Inputs, before: Inputs) -> Place:
    """Return how far into the rows a server has come that held `before`, as far as is known, and holds `now`.

    The count is None where it shows none of them, and not that it never had the first one either.
    """
    count, seen, first = 0, set[object](), None
    for number, (row, trace) in enumerate(zip(rows, _traces(rows, before), strict=True)):
        there = trace & now.items()
        seen |= there
        if there and row.items() <= now.items():
            count = number + 1
        elif any(where in before for where, _ in there):
            count = number  # the server broke off in the middle of this row
        if first is None and row:
            first = trace
    never = any(_never(where, reading, now, before) for where, reading in first or ())
    return Place(count if count or never else None, frozenset(seen))


def _never(where: tuple[str, str], reading: Reading, now: Inputs, before: Inputs) -> bool:
    """Tell whether an input shows that it was never brought this reading: it holds an older one, or none."""
    return where not in now or now[where] == before.get(where) or now[where][0] < reading[0]
