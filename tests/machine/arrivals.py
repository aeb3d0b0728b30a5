"""What came to the server: frames by their stamps, packets by their numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.simulators.emoncms import FakeEmoncms, Stored

Frames = dict[int, dict[str, float]]


def frames(server: FakeEmoncms, node: str, since: float = 0) -> Frames:
    """Return the values of a node by their stamps, from `since` on, in the order of their stamps."""
    found: Frames = {}
    for each in list(server.stored):
        if each.node == node and each.time >= since:
            found.setdefault(each.time, {})[each.key] = each.value
    return dict(sorted(found.items()))


def packets(server: FakeEmoncms, node: int = 10) -> list[Stored]:
    """Return the numbers of a radio's packets as they came, with their stamps."""
    return [each for each in list(server.stored) if each.node == str(node) and each.key == "1"]


class Times:
    """When each entry of the server's list came, by the monotonic clock, while it is watched."""

    def __init__(self) -> None:
        self.at: list[float] = []


@contextmanager
def watched(server: FakeEmoncms) -> Iterator[Times]:
    """Watch the server's list; entries that are there already have come now."""
    times, end = Times(), threading.Event()

    def watch() -> None:
        while True:
            over = end.wait(0.02)
            times.at += [time.monotonic()] * (len(server.stored) - len(times.at))
            if over:
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield times
    finally:
        end.set()
        thread.join(10)
