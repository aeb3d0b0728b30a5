"""A queue in a folder, as tests of its limits open it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from gateway.clock import Clock
from gateway.frame import Frame, Stamp
from gateway.spool import Limits, Spool

MB = 1_000_000


def open_queue(
    path: Path, *who: str, clock: Clock | None = None, commit_interval: float = 5.0, **limits: float
) -> Spool:
    """Open the queue in this file for these dispatchers (default: a), with these limits."""
    spool = Spool(path, limits=Limits(**limits), commit_interval=commit_interval, clock=clock)
    spool.set_consumers(who or ["a"])
    return spool


def leave_queue(
    path: Path, frames: Sequence[Frame], *who: str, done: int = 0, clock: Clock | None = None
) -> None:
    """Leave a queue with these frames, of which the first dispatcher has delivered so many."""
    spool = open_queue(path, *who, clock=clock)
    spool.put(frames)
    if done:
        first = spool.dispatchers[0]
        spool.done(first, spool.peek(first, done)[-1][0])
    spool.close()


class Opener(Protocol):
    """Opens the queue for these dispatchers (default: a), with these limits; the one before is closed."""

    def __call__(self, *who: str, clock: Clock | None = None, **limits: float) -> Spool: ...


@contextmanager
def opener(path: Path) -> Iterator[Opener]:
    """Give what opens the queue of this file again and again."""
    spools: list[Spool] = []

    def start(*who: str, clock: Clock | None = None, **limits: float) -> Spool:
        for spool in spools:
            spool.close()
        spools[:] = [open_queue(path, *who, clock=clock, **limits)]
        return spools[0]

    yield start
    for spool in spools:
        spool.close()


def frame(n: float, node: str = "9", length: int = 40) -> Frame:
    """Return a frame whose text is 65 bytes and so many more."""
    return Frame(node, (n,), Stamp(1_700_000_000.0 + n, "boot", n), source="x" * length)


def values(spool: Spool, who: str = "a") -> list[float | None]:
    """Return what waits for the dispatcher."""
    return [kept.values[0] for _, kept in spool.peek(who, 100_000)]


def refused(spool: Spool, who: str = "a") -> list[float | None]:
    """Return what it has refused."""
    return [each.frame.values[0] for each in spool.refused(who, limit=200_000)]


def killed(path: Path, folder: Path) -> Path:
    """Return a copy of the file, in this folder, as a kill would leave it."""
    copy = folder / "killed"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path.parent, copy)
    return copy / path.name


def full_frame(n: float) -> Frame:
    """Return a frame of which every field is used."""
    return Frame(
        "9",
        (n, None, -0.5),
        Stamp(1_700_000_000.25 + n, "boot", 5.5 + n),
        ("flow", "", "größe"),
        -61,
        "bridge",
    )


def peeked(spool: Spool, who: str, limit: int = 100) -> list[float | None]:
    """Return the next that the dispatcher is given."""
    return [f.values[0] for _, f in spool.peek(who, limit)]


def left_by_an_earlier_run(spool: Spool, frames: Sequence[Frame]) -> None:
    """Put frames, and open the queue anew: that run may have sent them."""
    dispatchers = spool.dispatchers
    spool.put(frames)
    spool.close()
    Spool.__init__(spool, spool._path)
    spool.set_consumers(dispatchers)


def finish_rescue(spool: Spool) -> None:
    """Bring what can be read of a damaged file into the new one, as the daemon's main thread does."""
    while spool.due() == 0:
        spool.tend()


def refuse(spool: Spool, who: str, number: int, reason: str) -> None:
    """Set the oldest frame of a dispatcher aside, and go on after it, as its worker does."""
    spool.done(who, number, refused=[(n, f, reason) for n, f in spool.peek(who, 1) if n == number])
