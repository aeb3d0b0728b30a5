"""Where sensors are in OWFS's tree: on a bus itself, or on a branch of a coupler (DS2409) on it.

OWFS shows a coupler's branches as directories below its own, `1F.0123456789AB/main/` and `aux/`, laid out
like that of a bus. It switches a branch on for each request there.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from listeners.onewire.families import COUPLER
from listeners.onewire.rom import Rom
from listeners.onewire.tree import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from listeners.onewire.tree import Tree

_BRANCHES = ("main", "aux")

_DEEPEST = 3
"""How many couplers in a chain are followed."""

_OWN = ("alarm", "interface", "simultaneous")
"""Directories on a bus that are no devices. OWFS takes the first for an alias, if asked for its address,
and waits for each server that hangs to say whose: six seconds or more."""

_BUS = re.compile(r"(?:bus[.][0-9]+/)+|\./")


def bus_of(path: str) -> str:
    """Return the path of the bus, for that of a bus or a branch of one."""
    bus = _BUS.match(path)
    return bus[0] if bus else path


def uncached(path: str) -> str:
    """Return the path below which OWFS asks the sensors themselves, for that of a bus or a branch of one."""
    bus = _BUS.match(path)
    return f"{bus[0]}uncached/{path[bus.end() :]}" if bus else path


def locate(tree: Tree, buses: Iterable[str]) -> tuple[dict[Rom, str], dict[str, Unavailable]]:
    """Return where each device is, as the path of its bus or branch, and why buses cannot be searched."""
    places: dict[Rom, str] = {}
    refusals: dict[str, Unavailable] = {}
    for bus in buses:
        try:
            for rom, path in _below(tree, bus, ()):
                places.setdefault(rom, path)
        except Unavailable as refusal:
            refusals[bus] = refusal
    return places, refusals


def _below(tree: Tree, path: str, passed: tuple[Rom, ...]) -> Iterator[tuple[Rom, str]]:
    here = list(_listed(tree, path))
    yield from ((rom, path) for _, rom in here)
    for name, rom in here:
        # A bus that OWFS simulates shows the whole bus on each branch, endlessly.
        if rom.family != COUPLER or rom in passed or len(passed) == _DEEPEST:
            continue
        for branch in _BRANCHES:
            with suppress(Unavailable):
                yield from _below(tree, f"{path}{name}/{branch}/", (*passed, rom))


def _listed(tree: Tree, path: str) -> Iterator[tuple[str, Rom]]:
    """Yield name and id of each device in a directory; its name may be an alias."""
    for name in set(tree.names(uncached(path).rstrip("/"))).difference(_OWN):
        with suppress(ValueError):
            yield name, Rom.parse(name)
            continue
        with suppress(ValueError, Unavailable):
            yield name, Rom.parse(tree.read(f"{path}{name}/address").decode("ascii"))
