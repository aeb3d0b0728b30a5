"""Thermometers by way of a mounted OWFS, or of any directory that is laid out like one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway.settings import SettingsFault, setting
from listeners.onewire.checks.examine_owfs import examine_mount
from listeners.onewire.checks.examine_owserver import examine_server, is_here
from listeners.onewire.drivers.owserver import Address, Server
from listeners.onewire.drivers.tree import Refused
from listeners.onewire.drivers.treebus import TreeBus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from listeners.onewire.drivers.tree import Tree

T = TypeVar("T")

MOUNT_POINT = Path("/mnt/1wire")

_LONGEST = 4096
"""Bytes: more than any of the files that are read here has."""


class Mount:
    """The tree below a directory. It is there when the directory opens, mounted or not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def open(self) -> None:
        """Make sure that the directory opens."""
        try:
            os.scandir(self._path).close()
        except OSError as error:
            raise OSError(f"{self}: {error.strerror}; is owfs running, and mounted there?") from error

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        return self._ask(lambda: [entry.name for entry in (self._path / path).iterdir()])

    def read(self, path: str) -> bytes:
        """Return what a file holds, by one read: at a second one OWFS lets the sensor convert again."""
        with self._ask(lambda: (self._path / path).open("rb", buffering=0)) as file:
            return self._ask(lambda: file.read(_LONGEST))

    def write(self, path: str, data: bytes) -> None:
        """Write to a file that is there, and create none."""
        with self._ask(lambda: os.fdopen(os.open(self._path / path, os.O_WRONLY), "wb", buffering=0)) as file:
            self._ask(lambda: file.write(data))

    def _ask(self, request: Callable[[], T]) -> T:
        """Return the answer; Refused where this path has none, OSError where the directory has gone."""
        try:
            return request()
        except OSError as error:
            self.open()
            raise Refused(str(error)) from error


@dataclass(kw_only=True)
class Owfs(TreeBus):
    """Thermometers in a directory where OWFS is mounted or, with `server`, on an owserver."""

    path: Path | None = setting(None)
    server: Address | None = setting(None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path and self.server:
            raise SettingsFault([("server", f"either a path or a server expected, not {self.path} as well")])
        if not self.server:
            self.path = self.path or MOUNT_POINT

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return what stands between the user and the sensors in the directory, or on the server."""
        if self.server:
            return examine_server(machine, self.reach(), here=is_here(str(self.server)))
        path = self.path or MOUNT_POINT
        return examine_mount(machine, path, Mount(machine.path(path)))

    def reach(self) -> Tree:
        """Return the tree of the directory or of the server."""
        return Server(self.server) if self.server else Mount(self.path or MOUNT_POINT)
