"""What a listener reads, as the core has it read."""

from __future__ import annotations

import threading

from gateway.flag import Flag
from gateway.frame import Frame
from gateway.plugin import Listener
from tests.waiting import wait_until


def read_frames(listener: Listener, stop: Flag, count: int) -> list[Frame]:
    """Read until so many frames have come."""
    frames: list[Frame] = []
    wait_until(lambda: frames.extend(listener.read(stop)) or len(frames) >= count, what=f"{count} frames")
    return frames


def read_and_stop(listener: Listener) -> list[Frame]:
    """Return what a read gives that has nothing to read, and is told to stop meanwhile."""
    stop = Flag()
    read: list[list[Frame]] = []
    reader = threading.Thread(target=lambda: read.append(listener.read(stop)))
    reader.start()
    stop.set()
    reader.join(60)
    (frames,) = read
    return frames
