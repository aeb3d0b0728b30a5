"""What a chart covers: its steps, and its ticks at round local times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from gateway.dispatchers.page.history.blocks import DAY, HOUR, Point
from gateway.text.words import local

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.dispatchers.page.history.history import History


@dataclass(frozen=True)
class Span:
    """A span of seconds in steps of seconds; `minutes`: made of the minutes, and otherwise of the hours."""

    name: str
    words: str
    seconds: int
    step: int
    minutes: bool


SPANS = {
    span.name: span
    for span in (
        Span("24h", "24 hours", DAY, 300, minutes=True),
        Span("7d", "7 days", 7 * DAY, 1800, minutes=True),
        Span("30d", "30 days", 30 * DAY, 2 * HOUR, minutes=False),
        Span("2y", "2 years", 730 * DAY, DAY, minutes=False),
    )
}


@dataclass(frozen=True)
class View:
    """What a chart shows: a span, until when, and in which time zone (None: this machine's)."""

    span: Span
    until: float
    zone: tzinfo | None = None

    @property
    def since(self) -> float:
        """When it begins."""
        return self.until - self.span.seconds


def points(history: History, node: str, key: str, view: View) -> list[Point]:
    """Return the points of a view, one for each step that has values."""
    read = history.minutes if view.span.minutes else history.hours
    return grouped(read(node, key, view.since, view.until), view.span.step)


def grouped(points: Sequence[Point], step: int) -> list[Point]:
    """Return one point for each step."""
    groups: dict[int, list[Point]] = {}
    for point in points:
        groups.setdefault(int(point.at // step), []).append(point)
    return [
        Point(
            float(number * step),
            math.fsum(each.mean * each.count for each in group)
            / (count := sum(each.count for each in group)),
            min(each.least for each in group),
            max(each.greatest for each in group),
            count,
        )
        for number, group in sorted(groups.items())
    ]


def ticks(view: View) -> Iterator[tuple[float, str]]:
    """Yield the times of the ticks, each with its words."""
    span, since, until, zone = view.span, view.since, view.until, view.zone
    if span.name == "24h":
        quarter = 900
        for second in range(int(since // quarter) * quarter, int(until) + 1, quarter):
            there = local(second, zone)
            if second >= since and there.minute == 0 and there.hour % 4 == 0:
                yield float(second), f"{there:%H:%M}"
        return
    day = local(since, zone).date()
    while (at := _midnight(day, zone)) <= until:
        if at >= since:
            if span.name == "7d":
                yield at, f"{day:%a} {day.day}"
            elif span.name == "30d" and day.toordinal() % 5 == 0:
                yield at, f"{day.day} {day:%b}"
            elif span.name == "2y" and day.day == 1 and day.month % 4 == 1:
                yield at, f"{day:%b %Y}"
        day += timedelta(days=1)


def _midnight(day: date, zone: tzinfo | None) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
