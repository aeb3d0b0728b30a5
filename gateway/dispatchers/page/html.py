"""The page as HTML; whatever it shows is escaped."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from gateway.dispatchers.page import tiles
from gateway.dispatchers.page.now import key
from gateway.dispatchers.page.spark import HEIGHT, WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.dispatchers.page.now import Now
    from gateway.dispatchers.page.tiles import Tile
    from gateway.present.values import Value

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' "
    "height='16' rx='4' fill='%230b7a75'/%3E%3Cpath d='M2 10l3-4 3 5 3-7 3 4' fill='none' stroke='white' "
    "stroke-width='1.6'/%3E%3C/svg%3E"
)

_SHOWN = 5
"""Troubles that are shown at once; the others are shown after a tap."""


def document(title: str, body: str, files: Mapping[str, str]) -> bytes:
    """Return a whole document; `files` are the addresses of the style sheet and the script."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n"
        f'<link rel="icon" href="{_ICON}">\n'
        f'<link rel="stylesheet" href="{files["page.css"]}">\n'
        f'<script type="module" src="{files["page.js"]}"></script>\n'
        '<noscript><meta http-equiv="refresh" content="60"></noscript>\n'
        f"</head>\n<body>\n{body}</body>\n</html>\n"
    ).encode("utf-8", "replace")


def overview(title: str, now: Now, shown: Mapping[str, Tile], own: str, span: str) -> Iterator[str]:
    """Yield the parts of the body of the first page; `span` says what the curves cover."""
    state = "bad" if now.troubles else "good"
    yield f'<header>\n<h1>{escape(title)}</h1>\n<div id="status" class="status {state}" aria-live="polite">\n'
    yield f'<p id="headline">{escape(tiles.headline(now))}</p>\n<ul id="troubles">'
    lines = [f"<li>{escape(trouble)}</li>" for trouble in now.troubles]
    first, more = lines[:_SHOWN], lines[_SHOWN:]
    yield f'{"".join(first)}</ul>\n<details id="more"{"" if more else " hidden"}>'
    yield f"<summary>{len(more)} more</summary>"
    yield f"<ul>{''.join(more)}</ul></details>\n</div>\n</header>\n<main>\n"
    if not now.values:
        yield '<p class="nothing">Nothing was heard yet. The first reading appears here by itself.</p>\n'
    for (node, name), values in groupby(now.values, lambda value: (value.node, value.node_name)):
        yield f"<section>\n<h2>{escape(name or f'Node {node}')}"
        yield f" <small>node {escape(node)}</small></h2>\n" if name else "</h2>\n"
        yield '<div class="tiles">\n'
        yield from (_tile(value, shown[key(value)], span) for value in values)
        yield "</div>\n</section>\n"
    yield '<section>\n<h2>Destinations</h2>\n<dl id="destinations">'
    for name, delivered, waiting in tiles.destinations(now, own):
        yield f"<div><dt>{escape(name)}</dt><dd>{escape(delivered)}</dd><dd>{escape(waiting)}</dd></div>"
    yield f'</dl>\n</section>\n</main>\n<footer>\n<p id="gateway">{escape(tiles.gateway(now))}</p>\n'
    yield '<p><a href="api/now">JSON</a> <a href="metrics">Prometheus</a></p>\n</footer>\n'


def _tile(value: Value, tile: Tile, span: str) -> str:
    place = f"index {value.index}" if value.index is not None else value.source
    name, age = escape(value.label or place), "" if tile.age is None else f"{tile.age:.0f}"
    label = escape(value.label and place)
    size = " long" if len(tile.figure) > 6 else ""
    name = f'<a href="{escape(tile.link)}">{name}</a>' if tile.link else name
    return (
        f'<article class="tile{" none" if value.value is None else ""}" data-key="{escape(tile.key)}">\n'
        f"<h3>{name} <small>{label}</small></h3>\n"
        f'<p class="figure"><span class="number{size}">{escape(tile.figure)}</span> '
        f'<span class="unit">{escape(value.unit)}</span></p>\n'
        f'<p class="when"><span class="note">{escape(tile.note)}</span> '
        f'<span class="age" data-age="{age}">{tiles.ago(tile.age)}</span></p>\n'
        f"{curve(tile, span)}</article>\n"
    )


def curve(tile: Tile, span: str) -> str:
    """Return the curve of a tile, with its least and greatest."""
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="area" d="{tile.area}"/><path class="line" d="{tile.line}"/></svg>\n'
        f'<p class="range"><span title="least of {span}">↓ <span class="least">'
        f"{escape(tile.least or tiles.DASH)}"
        f'</span></span> <span title="greatest of {span}">↑ <span class="greatest">'
        f"{escape(tile.greatest or tiles.DASH)}</span></span></p>\n"
    )
