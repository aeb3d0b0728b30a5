"""What the page shows of a value, a destination and the whole gateway, as text: in HTML, and live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gateway.dispatchers.page.history.blocks import HOUR
from gateway.dispatchers.page.now import key
from gateway.dispatchers.page.spark import spark
from gateway.text.words import short_span, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.dispatchers.page.now import Now
    from gateway.present.status import DispatcherStatus
    from gateway.present.values import Value

DASH = "\u2013"
_GROUPED = 10_000
"""Figures from here on have a space after every three digits."""


@dataclass(frozen=True)
class Curve:
    """The curve of a tile, and the numbers that give the least and the greatest of its time."""

    line: str
    area: str
    extremes: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A value: its figure (a dash where there is none now), what is said below it, and its curve.

    `age` is in seconds, None if no value came yet; `note` stands before it.
    """

    line: str
    area: str
    least: str
    greatest: str
    key: str
    figure: str
    age: float | None
    note: str
    link: str


def curve(means: Sequence[float | None], extremes: Iterable[float] = ()) -> Curve:
    """Return the curve of some means, whose values lie as far apart as the extremes."""
    return Curve(*spark(means), (*(mean for mean in means if mean is not None), *extremes))


def tile(value: Value, drawn: Curve, link: str = "") -> Tile:
    """Return the tile of a value; `link` is the address of its chart."""
    note = ""
    if value.value is None:
        note = "no value yet" if value.last is None else f"last {figure(value.last, value.unit)}"
    latest = value.last if value.value is None and (value.age or 0.0) < HOUR else value.value
    known = [*drawn.extremes, *([] if latest is None else [latest])]
    return Tile(
        line=drawn.line,
        area=drawn.area,
        least=figure(min(known), value.unit) if known else "",
        greatest=figure(max(known), value.unit) if known else "",
        key=key(value),
        figure=DASH if value.value is None else figure(value.value, value.unit),
        age=value.age,
        note=note,
        link=link,
    )


def link(value: Value) -> str:
    """Return the address of the chart of a value."""
    which = {"name": value.label} if value.index is None else {"index": str(value.index)}
    return f"chart?{urlencode({'node': value.node, **which, 'span': '24h'})}"


def figure(value: float, unit: str = "") -> str:
    """Return a value with the digits that people look at: four, and tenths of a degree."""
    if unit.lower() in ("°c", "c"):
        return f"{value:.1f}"
    if abs(value) >= 1e12:
        return f"{value:.3g}"
    if abs(value) >= _GROUPED:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.0f}" if abs(value) >= 1000 or value == value // 1 else f"{value:.4g}"


def ago(seconds: float | None) -> str:
    """Return how long ago something was."""
    return "" if seconds is None else f"{short_span(seconds)} ago"


def headline(now: Now) -> str:
    """Return the line on the overall state."""
    if not now.troubles:
        return "All is well"
    return f"{len(now.troubles)} thing{'s are' if len(now.troubles) > 1 else ' is'} wrong"


def destinations(now: Now, own: str) -> Iterator[tuple[str, str, str]]:
    """Yield of each destination but the page itself its name, what was delivered, and what waits."""
    if now.status:
        for name, about in now.status.dispatchers.items():
            if name != own:
                yield name, _delivered(about), _waiting(about)


def _delivered(about: DispatcherStatus) -> str:
    if not about.frames:
        return "nothing delivered yet"
    return f"{about.frames:,} delivered".replace(",", "\u202f") + f", the last {ago(about.age)}"


def _waiting(about: DispatcherStatus) -> str:
    queue = about.queue
    said = "nothing waits"
    if queue.waiting:
        since = f", the oldest for {span(queue.age)}" if queue.age is not None else ""
        said = f"{queue.waiting:,} wait{since}".replace(",", "\u202f", 1)
    said += f"; {queue.held} held until the clock is right" if queue.held else ""
    said += f"; {queue.refused} refused" if queue.refused else ""
    return said + (f"; next try in {span(about.next_try)}" if about.next_try is not None else "")


def gateway(now: Now) -> str:
    """Return the line on the gateway itself."""
    if now.status is None:
        return ""
    clock = now.status.clock.doubt or "the clock is right"
    return f"oemgateway {now.status.version}, up {span(now.status.uptime)}; {clock}"
