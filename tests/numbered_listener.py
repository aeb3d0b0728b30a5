"""A listener that says which of its frames were kept: those after which it was asked for more."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.flag import Flag
from gateway.frame import Frame, Stamp
from gateway.plugin import Listener
from gateway.settings import setting

PERIOD, COUNT = 0.1, 5
"""Seconds between two reads, and how many frames each of them gives on average."""


def values(number: int) -> tuple[float | None, ...]:
    """Return what the frame of this number holds: values that no other has."""
    return (float(number), None if number % 4 else number + 0.5, number / 7)


def node(number: int) -> str:
    """Return the node that the frame of this number is from."""
    return ("5", "6", "7")[number % 3]


def _earlier(stamp: Stamp, seconds: float) -> Stamp:
    """Return a time before another: no two frames have the same one."""
    return replace(stamp, wall=stamp.wall - seconds, boottime=stamp.boottime - seconds)


@dataclass(kw_only=True)
class Numbered(Listener):
    """Frames numbered on through every start, until there is a file `enough`; then it makes a file `ended`.

    The files `given` and `kept` there have the numbers of those that it has returned, and of those for which
    `put` has returned as well.
    """

    directory: Path = setting()
    period: float = setting(PERIOD)

    def open(self) -> None:
        self._given: list[int] = []
        numbers = read(self.directory / "given")
        self._next = numbers[-1] + 1 if numbers else 1

    def read(self, stop: Flag) -> list[Frame]:
        write(self.directory / "kept", self._given)
        self._given = []
        if (self.directory / "enough").exists():
            (self.directory / "ended").touch()
            stop.wait()
        if stop.wait(self.period):
            return []
        self._given = list(range(self._next, self._next + random.randint(1, 2 * COUNT - 1)))
        self._next += len(self._given)
        write(self.directory / "given", self._given)
        now, count = self.clock.now(), len(self._given)
        return [
            Frame(node(n), values(n), _earlier(now, (count - place) / 100))
            for place, n in enumerate(self._given)
        ]


def write(file: Path, numbers: Iterable[int]) -> None:
    """Append to a file, in one write: a kill leaves all of it or nothing."""
    with file.open("a") as lines:
        lines.write("".join(f"{number}\n" for number in numbers))


def read(file: Path) -> list[int]:
    """Return the numbers in a file."""
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def install(directory: Path) -> Path:
    """Make a directory that, on the path, is a package with this listener; return it."""
    about = directory / "numbered-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: numbered\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[oemgateway.listeners]\nnumbered = {__name__}:Numbered\n")
    return directory
