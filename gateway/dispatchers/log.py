"""Frames as lines in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.plugin import Batch, Dispatcher
from gateway.text.words import local

if TYPE_CHECKING:
    from gateway.frame import Frame


@dataclass(kw_only=True)
class Log(Dispatcher):
    """The log as a destination, which refuses nothing."""

    def send(self, batch: Batch) -> None:
        """Write one line a frame."""
        for frame in batch.frames:
            self.log.info(line(frame))


def line(frame: Frame) -> str:
    """Return `2026-11-05T12:00:10+01:00 node 9: 1=18.75 flow, 2=-, 3=25377 (-61 dBm)`, in local time."""
    time = local(frame.stamp.wall).isoformat(timespec="seconds")
    values = ", ".join(
        f"{index}={'-' if value is None else format(value, '.12g')} {frame.name(index)}".rstrip()
        for index, value in enumerate(frame.values, 1)
    )
    signal = "" if frame.rssi is None else f" ({frame.rssi} dBm)"
    return f"{time} node {frame.node}: {values}{signal}"
