"""What is answered of the history: the page of a series, its figures as JSON, and as CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode
from zoneinfo import ZoneInfo

from gateway.dispatchers.page import tiles
from gateway.dispatchers.page.answer import Answer
from gateway.dispatchers.page.history.chart import chart
from gateway.dispatchers.page.history.history import Damaged, History, key_of
from gateway.dispatchers.page.history.spans import SPANS, View, points
from gateway.dispatchers.page.html import document
from gateway.plugin import Present
from gateway.text.words import local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.dispatchers.page.history.blocks import Point
    from gateway.dispatchers.page.history.history import Mark

PATHS = ("/chart", "/api/series", "/series.csv")


@dataclass(frozen=True)
class _Asked:
    """What a query asks for; `time_zone` is "" for this machine's."""

    node: str
    index: int | None
    name: str
    view: View
    time_zone: str

    @property
    def key(self) -> str:
        return key_of(self.index, self.name)

    def query(self, **changes: str) -> str:
        """Return it as a query again, with other parts."""
        parts = {"node": self.node}
        parts |= {"name": self.name} if self.index is None else {"index": str(self.index)}
        parts |= {"span": self.view.span.name} | ({"tz": self.time_zone} if self.time_zone else {})
        return urlencode(parts | changes)


@dataclass(frozen=True)
class Charts:
    """Answers from a history; `files` are the addresses of the style sheet and the script."""

    history: History
    present: Present
    title: str
    files: Mapping[str, str]

    def respond(self, path: str, query: str, now: float) -> Answer | None:
        """Return the answer to one of PATHS, None if there is no such series."""
        try:
            asked = _asked(query, now)
        except (ValueError, KeyError, OSError) as error:  # an unknown time zone is a KeyError
            del error
            return Answer(b"400 node, index or name, span (24h, 7d, 30d, 2y) and tz expected\n", status=400)
        try:
            if (asked.node, asked.key) not in self.history.known():
                return None
            found = points(self.history, asked.node, asked.key, asked.view)
            marks = self.history.marks(asked.node, asked.key, asked.view.since, asked.view.until)
        except (OSError, Damaged):
            return Answer(b"503 the history cannot be read\n", status=503)
        if path == "/api/series":
            return Answer(json.dumps(_as_json(asked, found, marks)).encode(), "application/json")
        if path == "/series.csv":
            headers = {"Content-Disposition": 'attachment; filename="series.csv"'}
            return Answer(_as_csv(found).encode(), "text/csv; charset=utf-8", headers=headers)
        body = "".join(self._body(asked, found, marks))
        return Answer(document(self.title, body, self.files), "text/html; charset=utf-8")

    def _body(self, asked: _Asked, found: list[Point], marks: list[Mark]) -> Iterator[str]:
        values = [each for each in self.present.values() if each.node == asked.node]
        value = next((each for each in values if key_of(each.index, each.label) == asked.key), None)
        unit = value.unit if value else ""
        node = (value.node_name if value else "") or f"node {asked.node}"
        label = (value.label if value else asked.name) or f"index {asked.index}"
        view, span = asked.view, asked.view.span
        yield f'<header>\n<p class="back"><a href="./">← {escape(self.title)}</a></p>\n'
        yield f"<h1>{escape(label)} <small>{escape(node)}"
        yield f"{'' if asked.index is None else f', index {asked.index}'}</small></h1>\n</header>\n<main>\n"
        yield '<nav class="spans" aria-label="Span">'
        for name, each in SPANS.items():
            current = ' aria-current="page"' if each is span else ""
            yield f'<a href="chart?{escape(asked.query(span=name))}"{current}>{each.words}</a>'
        yield "</nav>\n"
        yield f'<figure class="card" id="chart" data-series="api/series?{escape(asked.query())}" '
        yield f'data-unit="{escape(unit)}">\n'
        yield from chart(found, marks, view, unit)
        if not found:
            yield '<p class="nothing">Nothing was written in this time.</p>'
        where = asked.time_zone or f"the time zone of the gateway ({local(view.until):%Z})"
        yield f'<figcaption><span id="read">{escape(_sum(found, unit))}</span> '
        yield f"<small>Times are in {escape(where)}.</small></figcaption>\n</figure>\n"
        if marks:
            yield '<ul class="marks">'
            for mark in marks[-20:]:
                at = local(mark.at, view.zone)
                until = local(mark.until, view.zone)
                to = f" to {until:%d %b %H:%M}" if mark.until > mark.at else ""
                yield f"<li>{at:%d %b %H:%M}{to}: {escape(mark.words)}</li>"
            yield "</ul>\n"
        yield f'</main>\n<footer><p><a href="series.csv?{escape(asked.query())}">CSV</a> '
        yield f'<a href="api/series?{escape(asked.query())}">JSON</a></p></footer>\n'


def _asked(query: str, now: float) -> _Asked:
    """Return what is asked for. Raises ValueError, KeyError or OSError."""
    parts = {name: texts[0] for name, texts in parse_qs(query, max_num_fields=8).items()}
    span = SPANS[parts.get("span", "24h")]
    zone = parts.get("tz", "")
    until = math.ceil(now / span.step) * span.step
    index = int(parts["index"]) if "index" in parts else None
    view = View(span, float(until), ZoneInfo(zone) if zone else None)
    return _Asked(parts["node"], index, "" if index is not None else parts["name"], view, zone)


def _as_json(asked: _Asked, found: list[Point], marks: list[Mark]) -> dict[str, object]:
    return {
        "node": asked.node,
        "index": asked.index,
        "name": asked.name,
        "span": asked.view.span.name,
        "step": asked.view.span.step,
        "since": asked.view.since,
        "until": asked.view.until,
        "points": [[each.at, each.mean, each.least, each.greatest, each.count] for each in found],
        "marks": [{"at": each.at, "until": each.until, "words": each.words} for each in marks],
    }


def _as_csv(found: list[Point]) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("unix", "time", "mean", "least", "greatest", "count"))
    for each in found:
        at = datetime.fromtimestamp(each.at, UTC)
        figures = (f"{number:.7g}" for number in (each.mean, each.least, each.greatest))
        rows.writerow((f"{each.at:.0f}", f"{at:%Y-%m-%dT%H:%M:%SZ}", *figures, each.count))
    return text.getvalue()


def _sum(found: list[Point], unit: str) -> str:
    if not found:
        return ""
    count = sum(each.count for each in found)
    mean = math.fsum(each.mean * each.count for each in found) / count
    figures = (min(each.least for each in found), mean, max(each.greatest for each in found))
    least, middle, greatest = (tiles.figure(each, unit) for each in figures)
    return f"↓ {least}  mean {middle}  ↑ {greatest} {unit}"
