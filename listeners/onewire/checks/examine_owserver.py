"""What stands between a user and an owserver: its configuration, and what it answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good
from listeners.onewire.checks.owfs_conf import PATH, REAL, examine_sources
from listeners.onewire.tree import Refused, buses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from listeners.onewire.tree import Tree


def examine_server(machine: Machine, tree: Tree, *, here: bool) -> Iterator[Finding]:
    """Yield the findings on an owserver; `here` tells that it is one of this machine."""
    if here:
        yield from examine_sources(machine, "owserver")
    if machine.live:
        yield from examine_tree(tree)


def examine_tree(tree: Tree) -> Iterator[Finding]:
    """Yield whether there is an answer, and from which buses."""
    try:
        tree.open()
        found = dict(buses(tree))
        devices = [_device(tree, path) for path in found]
    except OSError as error:
        yield bad(str(error))
        return
    made_up = [name for name in found.values() if name.startswith("Simulated-")]
    twice = sorted({device for device in devices if device and devices.count(device) > 1})
    if not found:
        yield bad(f"{tree} has no bus", f"see the system's log for what is wrong with {PATH}")
    elif made_up:
        yield bad(f"{tree} serves FAKE SENSORS ({', '.join(made_up)})", REAL)
    elif twice:
        yield bad(
            f"{tree} has {twice[0]} twice, and each sensor with it",
            f"owfs was started with {PATH} twice, as Debian's owfs.service does: use the one of this package",
        )
    else:
        yield good(f"{tree} answers, and has {', '.join(found.values())}")


def _device(tree: Tree, path: str) -> str:
    try:
        return tree.read(f"{path}interface/settings/address").decode("ascii", "replace").strip()
    except Refused:
        return ""


def is_here(server: str) -> bool:
    """Tell whether an owserver, as host:port or port, is one of this machine."""
    return re.fullmatch(r"((localhost|127\.[0-9.]+|\[::1\])(:|$))?[0-9]*", server) is not None
