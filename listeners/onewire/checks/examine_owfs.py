"""The doctor's checks of OWFS: an owserver, and a directory where OWFS is mounted and who may read it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good
from listeners.onewire.checks.owfs_conf import PATH, REAL, examine_sources, options
from listeners.onewire.rom import Rom
from listeners.onewire.tree import Unavailable, device, find_buses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from listeners.onewire.checks.owfs_conf import Option
    from listeners.onewire.tree import Tree

FUSE = "/etc/fuse.conf"


@dataclass(frozen=True)
class Mounted:
    """Where OWFS is mounted, by which user, and whether for all others too."""

    point: Path
    uid: int
    shared: bool


def mounted(machine: Machine, path: Path) -> Mounted | None:
    """Return the mount of OWFS that a path is in, the last where there are several."""
    for line in reversed(machine.text("/proc/mounts").splitlines()):
        what, point, kind, flags, *_ = [*line.split(), "", "", "", ""]
        where = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point))
        if kind.startswith("fuse") and "owfs" in f"{what}{kind}".lower() and path.is_relative_to(where):
            user = re.search(r"\buser_id=([0-9]+)", flags)
            return Mounted(where, int(user[1]) if user else 0, "allow_other" in flags.split(","))
    return None


def examine_mount(machine: Machine, path: Path, tree: Tree) -> Iterator[Finding]:
    """Yield the findings on a directory that OWFS should be mounted at; `tree` is what is below it."""
    mount = mounted(machine, path)
    if mount is None and machine.names(f"{path}/[0-9A-F][0-9A-F].????????????"):
        yield good(f"{path} is no mount, but has files of sensors in it")
        return
    if mount is None and not machine.exists(PATH):
        yield bad(
            f"nothing is mounted at {path}, and {PATH} is missing",
            "sudo apt install owfs-fuse owserver, put etc/owfs.conf of this package there, and start owfs",
        )
        return
    yield good(f"OWFS is mounted at {mount.point}") if mount else _why_unmounted(machine, path)
    yield from _examine_access(machine, path, mount)
    points = _mount_points(machine)
    if not mount or not points or path.is_relative_to(points[-1].value):
        yield from examine_sources(machine, "owfs")
        servers = [option.value for option in options(machine, "owfs") if option.is_one_of("server")]
        if any(is_served(machine, server) for server in servers):
            yield from examine_sources(machine, "owserver")
    if mount:
        yield from examine_tree(tree)


def _mount_points(machine: Machine) -> list[Option]:
    return [option for option in options(machine, "owfs") if option.is_one_of("mountpoint")]


def _why_unmounted(machine: Machine, path: Path) -> Finding:
    points = _mount_points(machine)
    if not points:
        return bad(
            f"nothing is mounted at {path}, as {PATH} names no mountpoint",
            f"put the line `owfs: mountpoint = {path}` there and restart owfs",
        )
    if not path.is_relative_to(points[-1].value):
        return bad(
            f"{points[-1]}, but {path} is where the sensors are looked for",
            f"set path = {points[-1].value}, or change that line and restart owfs",
        )
    if not machine.exists(points[-1].value):
        return bad(f"{path} is not there to be mounted at", f"sudo mkdir -p {path}, and restart owfs")
    return bad(
        f"nothing is mounted at {path}", "sudo service owfs restart (the system's log has why it ended)"
    )


def _examine_access(machine: Machine, path: Path, mount: Mounted | None) -> Iterator[Finding]:
    """Yield whether a mount of another user may be read, and whether FUSE lets that user share it."""
    if mount:
        shared, owner = mount.shared, mount.uid
    else:
        shared = any(option.is_one_of("allow_other") for option in options(machine, "owfs"))
        owner = machine.path(path).stat().st_uid if machine.exists(path) else 0
    if machine.uid != owner:
        yield (
            good(f"all users may look into {path}: allow_other")
            if shared
            else bad(
                f"only the user {owner} may look into {path}",
                f"put the line `owfs: allow_other` into {PATH} and restart owfs",
            )
        )
    if shared and owner:
        yield (
            good(f"{FUSE} permits allow_other to every user")
            if "user_allow_other" in machine.lines(FUSE)
            else bad(
                f"{FUSE} does not permit allow_other to the user {owner}, who owns {path}",
                "take the # before user_allow_other away there, or let root mount it",
            )
        )


def examine_server(machine: Machine, tree: Tree, server: str) -> Iterator[Finding]:
    """Yield the findings on an owserver, as host:port."""
    if is_served(machine, server):
        yield from examine_sources(machine, "owserver")
    if machine.live:
        yield from examine_tree(tree)


def examine_tree(tree: Tree, clock: Callable[[], float] = monotonic) -> Iterator[Finding]:
    """Yield whether there is an answer, and from which buses."""
    try:
        tree.open()
        found, silent = find_buses(tree, clock)
        twice = _seen_twice(tree, found)
    except OSError as error:
        yield bad(str(error))
        return
    for server in silent:
        yield bad(f"{tree}: {server} does not answer in time", "look at that owserver, and the way to it")
    made_up = [name for name in found.values() if name.startswith("Simulated-")]
    if not found:
        yield bad(f"{tree} has no bus", f"see the system's log for what is wrong with {PATH}")
    elif made_up:
        yield bad(f"{tree} serves FAKE SENSORS ({', '.join(made_up)})", REAL)
    elif twice:
        yield bad(
            f"{tree} has {twice} twice, and each sensor with it",
            f"owfs was started with {PATH} twice, as Debian's owfs.service does: use the one of this package",
        )
    else:
        yield good(f"{tree} answers, and has {', '.join(found.values())}")


def _seen_twice(tree: Tree, paths: Iterable[str]) -> str:
    """Return a device that is driven by two buses with the same sensors, or "" if there is none.

    All channels of a DS2482-800 have the same device, and so may the buses of two machines.
    """
    seen: set[tuple[str, Rom]] = set()
    for where, path in [(device(tree, path), path) for path in paths]:
        here = {(where, rom) for rom in _sensors(tree, path)} if where else set()
        if seen & here:
            return where
        seen |= here
    return ""


def _sensors(tree: Tree, path: str) -> Iterator[Rom]:
    """Yield the devices that OWFS finds on a bus now: its cache has one that was moved on both."""
    try:
        names = tree.names(f"{path}uncached")
    except Unavailable:
        return
    for name in names:
        with suppress(ValueError):
            yield Rom.parse(name)


def is_served(machine: Machine, server: str) -> bool:
    """Tell whether an owserver, as host:port or port, is the one of this machine that the file is for."""
    here = re.fullmatch(r"((localhost|127\.[0-9.]+|\[::1\])(:|$))?[0-9]*", server)
    ports = [option.value for option in options(machine, "owserver") if option.is_one_of("port")]
    return here is not None and _port(server) in [_port(port) for port in ports or [""]]


def _port(text: str) -> str:
    found = re.search(r"(?:^|:)([0-9]+)$", text)
    return found[1] if found else "4304"
