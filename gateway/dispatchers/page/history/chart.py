"""A chart as an SVG: the mean as a line, least to greatest as a band, gaps as gaps."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from gateway.dispatchers.page.history.spans import ticks
from gateway.dispatchers.page.tiles import figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.dispatchers.page.history.blocks import Point
    from gateway.dispatchers.page.history.history import Mark
    from gateway.dispatchers.page.history.spans import View

WIDTH, HEIGHT = 480, 300
RIGHT, TOP, BOTTOM = 10, 12, 28
_DIGIT = 10
"""The width of a digit on a phone, where the text is largest in the units of the chart."""
_FLAT = 1e-6
"""A span that is no more than digits of a 32-bit float."""
_BRIDGED = 3
"""Steps without a value up to which the line goes on."""


def nice(least: float, greatest: float) -> list[float]:
    """Return round numbers of which the first is below the least and the last above the greatest."""
    magnitude = max(abs(least), abs(greatest))
    if greatest - least <= max(_FLAT, magnitude * _FLAT):
        room = max(0.5, magnitude / 100)
        least, greatest = least - room, greatest + room
    raw = (greatest - least) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if raw <= each * power * (1 + 1e-9))
    first, last = math.floor(least / step + 1e-9), math.ceil(greatest / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def chart(points: Sequence[Point], marks: Sequence[Mark], view: View, unit: str) -> Iterator[str]:
    """Yield the parts of the SVG."""
    span, since, until = view.span, view.since, view.until
    scale = nice(min(p.least for p in points), max(p.greatest for p in points)) if points else [0.0, 1.0]
    low, high = scale[0], scale[-1]
    labels = [_label(value, scale, unit) for value in scale] if points else []
    left = 14 + _DIGIT * max(map(len, labels), default=0)

    def x(at: float) -> float:
        return left + (min(max(at, since), until) - since) / span.seconds * (WIDTH - left - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    yield f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(span.words)}"'
    yield f' data-since="{since:.0f}" data-until="{until:.0f}" data-low="{low!r}" data-high="{high!r}"'
    yield f' data-left="{left}">'
    for value, label in zip(scale, labels, strict=False):
        yield f'<path class="grid" d="M{left} {y(value):.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text class="scale" x="{left - 6}" y="{y(value) + 4:.1f}">{label}</text>'
    for at, words in ticks(view):
        yield f'<path class="tick" d="M{x(at):.1f} {HEIGHT - BOTTOM}v5"/>'
        if left + 10 < x(at) < WIDTH - RIGHT - 10:
            yield f'<text class="time" x="{x(at):.1f}" y="{HEIGHT - 8}">{escape(words)}</text>'
    for mark in marks:
        words = f"<title>{escape(mark.words)}</title>"
        if mark.until > mark.at:
            wide = max(1.0, x(mark.until) - x(mark.at))
            yield f'<rect class="off" x="{x(mark.at):.1f}" y="{TOP}" width="{wide:.1f}" '
            yield f'height="{HEIGHT - TOP - BOTTOM}">{words}</rect>'
        else:
            yield f'<path class="mark" d="M{x(mark.at):.1f} {TOP}V{HEIGHT - BOTTOM}">{words}</path>'
    for run in _runs(points, span.step):
        middle = span.step / 2
        upper = [f"{x(p.at + middle):.1f} {y(p.greatest):.1f}" for p in run]
        lower = [f"{x(p.at + middle):.1f} {y(p.least):.1f}" for p in reversed(run)]
        means = [f"{x(p.at + middle):.1f} {y(p.mean):.1f}" for p in run]
        yield f'<path class="band" d="M{"L".join(upper + lower)}Z"/>'
        yield f'<path class="line" d="M{"L".join(means if len(means) > 1 else means * 2)}"/>'
    yield "</svg>"


def _runs(points: Sequence[Point], step: int) -> list[list[Point]]:
    runs: list[list[Point]] = []
    for point in points:
        if runs and point.at - runs[-1][-1].at <= _BRIDGED * step:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _label(value: float, scale: Sequence[float], unit: str) -> str:
    step = scale[1] - scale[0]
    digits = max(0, (1 if f"{step:.1e}".startswith("2.5") else 0) - math.floor(math.log10(step) + 1e-9))
    return f"{value + 0.0:.{digits}f}" if abs(value) < 1e4 and digits < 5 else figure(value, unit)
