"""A queue as an earlier run of the gateway has left it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.frame import Frame
from gateway.spool import Spool


def left_by_an_earlier_run(spool: Spool, frames: Sequence[Frame]) -> None:
    """Put frames, and open the queue anew: that run may have sent them."""
    dispatchers = spool.dispatchers
    spool.put(frames)
    spool.close()
    Spool.__init__(spool, spool._path)
    spool.set_consumers(dispatchers)
