"""The tree of files that OWFS shows, mounted or from an owserver."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from gateway.text.numeral import SPACE, parse
from listeners.onewire.ds18b20 import Fault, Reading, plausible

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

SERVER = "tcp"
"""The name of a bus that is another owserver, with buses of its own below it."""

NUMBERS = range(32)
"""The bus numbers that are tried: four DS2482-800. OWFS leaves a gap where a bus master is gone."""

HERE = "./"
"""The path of a bus whose own directory is the root of the tree."""

HANGS_S = 1.0
"""What takes more seconds than that to fail may hang."""

PAUSE = 10
"""What hangs is left alone for so many times as long as it took to fail."""

_TRIES = 3
"""How often a temperature is read whose scale changes meanwhile."""

_SERVERS = 8
"""Servers that are followed in a chain: two may name each other."""


class Unavailable(Exception):
    """A path cannot be read, written or listed: it does not exist, or the device did not answer."""


class Tree(Protocol):
    """Files and directories below a root, by relative path; OSError if the root itself is gone."""

    @property
    def root(self) -> Hashable:
        """An identity that is the same for all names of one tree, once it is open."""

    def open(self) -> None:
        """Make sure that the root is there."""

    def names(self, path: str) -> list[str]:
        """Return the names in a directory; Unavailable if it cannot be listed."""

    def read(self, path: str) -> bytes:
        """Return what a file holds; Unavailable if it cannot be read."""

    def write(self, path: str, data: bytes) -> None:
        """Write to a file that is there; Unavailable if that cannot be done."""

    def temperature_scale(self) -> str:
        """Return the scale of its temperatures: C, F, K or R."""


def buses(tree: Tree, clock: Callable[[], float]) -> Iterator[tuple[str, str]]:
    """Yield path (with a slash at its end) and name of each bus, those of a server behind this one included.

    Asking for names, not for directories, leaves the 1-Wire line alone. A server that hangs at one of its
    numbers is not asked for the others, each of which would take as long; it is shown as such, as SERVER.
    """
    pending, servers = [""], 0
    while pending:
        path, begun = pending.pop(0), clock()
        try:
            name = tree.read(f"{path}interface/settings/name").decode("ascii", "replace").strip()
        except Unavailable:
            name = ""
            server = server_of(path)
            if server and clock() - begun > HANGS_S:
                pending = [other for other in pending if not other.startswith(server)]
                yield server, SERVER
        if name not in ("", SERVER):
            yield path or HERE, name
        elif (name or not path) and servers < _SERVERS:
            servers += 1
            pending[:0] = [f"{path}bus.{number}/" for number in NUMBERS]


def find_buses(tree: Tree, clock: Callable[[], float]) -> tuple[dict[str, str], list[str]]:
    """Return the names of the buses by their paths, and the servers behind this one that do not answer."""
    found = dict(buses(tree, clock))
    silent = [shown(path, name) for path, name in found.items() if name == SERVER]
    return {path: name for path, name in found.items() if name != SERVER}, silent


def server_of(path: str) -> str:
    """Return the path of the server of a bus, "" for one of the first server."""
    return re.sub("bus[.][0-9]+/$", "", path)


def device(tree: Tree, path: str) -> str:
    """Return what a bus is driven by, as /dev/i2c-1:18, or "" if the tree does not tell."""
    try:
        return tree.read(f"{path}interface/settings/address").decode("ascii", "replace").strip()
    except Unavailable:
        return ""


def shown(path: str, name: str) -> str:
    """Return how OWFS calls a bus: bus.1 (DS2482-100)."""
    return f"{path.strip('./')} ({'another owserver' if name == SERVER else name})"


_TO_CELSIUS: Mapping[str, Callable[[float], float]] = {
    "C": lambda value: value,
    "F": lambda value: to_sixteenths((value - 32) / 1.8),
    "K": lambda value: to_sixteenths(value - 273.15),
    "R": lambda value: to_sixteenths(value / 1.8 - 273.15),
}


def read_temperature(tree: Tree, path: str) -> Reading:
    """Return the temperature that a file has as text; Unavailable if it cannot be read.

    The scale is that of all clients of a mount: where one of them has changed it meanwhile, it is read again.
    """
    scale = tree.temperature_scale()
    for _ in range(_TRIES):
        try:
            value = parse(tree.read(path).decode("ascii").strip(SPACE))
        except ValueError:
            return Fault.UNREADABLE
        if value is None:
            return Fault.RANGE
        before, scale = scale, tree.temperature_scale()
        if scale == before:
            to_celsius = _TO_CELSIUS.get(scale)
            return plausible(to_celsius(float(value))) if to_celsius else Fault.UNREADABLE
    return Fault.UNREADABLE


def to_sixteenths(celsius: float) -> float:
    """Undo the rounding of a sensor's temperature: OWFS gives six digits, and none has finer steps."""
    return round(celsius * 16) / 16
