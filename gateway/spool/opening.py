"""Opens the queue for the gateway, once a command that has its file has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.spool.spool import Spool
from gateway.store.store import SpoolInUse

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.flag import Flag
    from gateway.spool.limits import Limits

_PATIENCE = 10.0
"""Seconds; a command that takes 100,000 readings out of the queue has the file for four."""


def open_queue(path: Path, limits: Limits, commit_interval: float, stop: Flag) -> Spool | None:
    """Open the queue; wait for a while if the program that has its file may be a command.

    None if `stop` is raised meanwhile. Raises SpoolUnusable.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return Spool(path, limits=limits, commit_interval=commit_interval)
        except SpoolInUse:
            if stop.wait(0.2):
                return None
            if time.monotonic() >= until:
                raise
