"""The values as a table for a terminal: of `oemgateway values` and of the dispatcher `table`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from gateway.text.plain import plain
from gateway.text.words import figure, short_span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.present.values import Value

_BARS = "▁▂▃▄▅▆▇█"
_TRENDS = (60, 30, 20, 15, 12, 10)
"""Characters that the last hour may have: whole minutes each."""
_LABEL = 24
"""Characters of a label, 6 at least, and at most where the last hour needs the rest of the line."""
_NODE = 16
"""Characters of a node, at most."""


def table(values: Sequence[Value], width: int, *, encoding: str = "utf-8") -> list[str]:
    """Return a heading and a line for each value, of at most `width` characters if they are 40 or more."""
    rows = [_cells(value) for value in values]
    heading = ("node", "index", "label", "value", "", "age", "signal")
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    widths[0] = min(widths[0], _NODE)
    if not any(row[-1] for row in rows):
        widths[-1] = 0
    fixed = sum(part + 2 for part in widths if part) - widths[2] - 4
    most = max(_LABEL, width - fixed - _TRENDS[0] - 4)
    widths[2] = max(6, min(widths[2], most, width - fixed - 2))
    room = width - fixed - widths[2] - 4 if _has(encoding) else 0
    bars = next((number for number in _TRENDS if number <= room), 0)
    lines = [_line(heading, widths) + ("  last hour" if bars else "")]
    for value, row in zip(values, rows, strict=True):
        shown = f"  {trend(value.hour, bars)}" if bars else ""
        lines.append((_line(row, widths) + shown).rstrip())
    return lines


def screen(lines: Sequence[str], below: Iterable[str], width: int, height: int) -> list[str]:
    """Return lines that fit the screen, and below them the end of a log, newest line last.

    At least a third of the height is for the log, if it is that long. Lines that do not fit are announced.
    """
    log: list[str] = []
    for message in reversed([*below]):
        pieces = textwrap.wrap(message, width, subsequent_indent=" " * 10)
        if len(log) + len(pieces) > max(height // 3, height - len(lines) - 2):
            break
        log = pieces + log
    room = max(2, height - 1 - (len(log) + 1 if log else 0))
    shown = [line[:width] for line in lines]
    if len(shown) > room:
        shown = [*shown[: room - 1], f"... {len(shown) - room + 1} more"]
    return [*shown, *(["", *log] if log else [])][: height - 1]


def trend(hour: Sequence[float | None], bars: int) -> str:
    """Return the last hour as so many characters between its least and its greatest mean; gaps are spaces."""
    per = len(hour) // bars if hour else 0
    parts = [
        [mean for mean in hour[at : at + per] if mean is not None] for at in range(0, len(hour), per or 1)
    ]
    means = [sum(part) / len(part) if part else None for part in parts]
    there = [mean for mean in means if mean is not None]
    if not there:
        return ""
    least, greatest = min(there), max(there)
    step = (greatest - least) / (len(_BARS) - 1)
    return "".join(
        " " if mean is None else _BARS[round((mean - least) / step) if step > 0 else 0] for mean in means
    )


def _cells(value: Value) -> tuple[str, ...]:
    return (
        plain(value.node),
        "" if value.index is None else str(value.index),
        plain(value.label) or ("Dummy" if value.dummy else ""),
        "-" if value.value is None else figure(value.value),
        plain(value.unit),
        "" if value.age is None else short_span(value.age),
        "" if value.rssi is None else f"{value.rssi} dBm",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    node, index, label, value, unit, age, signal = (
        text if len(text) <= width else f"{text[: width - 2]}.."
        for text, width in zip(cells, widths, strict=True)
    )
    parts = [
        f"{node:>{widths[0]}}",
        f"{index:>{widths[1]}}",
        f"{label:<{widths[2]}}",
        f"{value:>{widths[3]}} {unit:<{widths[4]}}" if widths[4] else f"{value:>{widths[3]}}",
        f"{age:>{widths[5]}}",
        *([f"{signal:>{widths[6]}}"] if widths[6] else []),
    ]
    return "  ".join(parts)


def _has(encoding: str) -> bool:
    try:
        _BARS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
