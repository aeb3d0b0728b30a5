"""A configuration in words: what would run, and the settings in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.plugin import Listener
from gateway.settings import shown
from gateway.text.terminal import UNBROKEN, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.conf.config import Configuration
    from gateway.nodes import Nodes
    from gateway.plugin import Plugin, Series


def _plugins(configuration: Configuration) -> Iterator[tuple[str, dict[str, str], dict[str, Plugin]]]:
    yield "listeners", configuration.types["listeners"], {**configuration.listeners}
    yield "dispatchers", configuration.types["dispatchers"], {**configuration.dispatchers}


def describe(configuration: Configuration) -> Iterator[str]:
    """Yield what would run, index by index, and the remarks: the answer of `oemgateway check`."""
    yield f"{configuration.path} has no faults. This would run:"
    for kind, types, plugins in _plugins(configuration):
        for name, plugin in plugins.items():
            yield from ("", f"{kind[:-1]} {name}, type {types[name]}")
            catalogue = list(plugin.catalogue()) if isinstance(plugin, Listener) else []
            below = {"active", *(series.setting for series in catalogue)}
            settings = {key: value for key, value in shown(plugin).items() if value and key not in below}
            entries = [f"{key} = {value}".replace(" ", UNBROKEN) for key, value in settings.items()]
            yield from wrapped(", ".join(entries), 96, " " * 4)
            yield from _indices(catalogue)
    yield from _nodes(configuration.nodes)
    if configuration.remarks:
        yield ""
        yield from map(str, configuration.remarks)


def _indices(catalogue: Iterable[Series]) -> Iterator[str]:
    """Yield a line for each index that the configuration fixes."""
    for series in catalogue:
        if series.index:
            there = series.identity if series.claimed else "Dummy"
            yield f"    index {series.index:<3} {there:<18} {series.label}".rstrip()


def _nodes(nodes: Nodes) -> Iterator[str]:
    for node, decoder in nodes.decoders.items():
        length = f"{decoder.size} bytes" if decoder.size else "any number of values"
        title = f"node {node}{f', {decoder.name}' if decoder.name else ''}: {length}"
        yield from ("", f"{title}, whitened" if decoder.whitening else title)
        for index, (name, letter, scale, unit) in enumerate(decoder.described(), 1):
            yield f"    index {index:<3} {name:<22} {letter} x {scale:<6} {unit}".rstrip()


def show_settings(configuration: Configuration) -> Iterator[str]:
    """Yield the settings in force, defaults included and secrets masked, as a file that has them all."""
    yield "[gateway]"
    yield from _entries(shown(configuration.gateway))
    for kind, types, plugins in _plugins(configuration):
        yield from ("", f"[{kind}]")
        for name, plugin in plugins.items():
            yield from ("", f"[[{name}]]")
            yield from _entries({"type": types[name], **shown(plugin)})
    yield from ("", "[nodes]")
    for node, decoder in configuration.nodes.decoders.items():
        yield from ("", f"[[{node}]]")
        yield from _entries(shown(decoder))


def _entries(entries: dict[str, str]) -> Iterator[str]:
    return (f"{key} = {value}".rstrip() for key, value in entries.items())
