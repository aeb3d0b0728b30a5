"""Fills a queue, opens it once more, and says what that took; the file and how many frames are its arguments.

It prints one line of JSON: resident bytes before, with all of them and after opening it once more, the bytes
on the disk, and the seconds that opening it once more took, and taking the first hundred then.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from gateway.clock import Clock
from gateway.frame import Frame, Stamp
from gateway.spool import Spool

AT_ONCE = 1000
"""Frames in a commit."""

WHO = "local"
"""The dispatcher that they wait for."""


def frame(number: int, begin: Stamp) -> Frame:
    """Return a frame of node 10 whose two values hold this number, 15 bits each; a second has two of them."""
    stamp = Stamp(begin.wall + number / 2, begin.boot, begin.boottime + number / 2)
    return Frame("10", (number & 0x7FFF, number >> 15), stamp, rssi=-61, source="radio")


def ago(seconds: float) -> Stamp:
    """Return the stamp of so long ago."""
    now = Clock().now()
    return Stamp(now.wall - seconds, now.boot, now.boottime - seconds)


def resident(process: int | str = "self") -> int:
    """Return the bytes of memory that a process has."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def opened(path: Path) -> Spool:
    """Open the queue as the daemon does."""
    spool = Spool(path)
    spool.set_consumers([WHO])
    return spool


def main(path: Path, count: int) -> None:
    """Fill it."""
    spool = opened(path)
    empty = resident()
    begin = ago(count / 2)
    for first in range(0, count, AT_ONCE):
        spool.put([frame(number, begin) for number in range(first, min(first + AT_ONCE, count))])
    full = resident()
    spool.close()
    closed = time.perf_counter()
    spool = opened(path)
    ready = time.perf_counter()
    spool.peek(WHO, 100)
    taken = time.perf_counter()
    reopened = resident()
    spool.close()
    said = {"empty": empty, "full": full, "reopened": reopened, "size": path.stat().st_size}
    print(json.dumps(said | {"opening": ready - closed, "taking": taken - ready}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
