"""Frames on their way to a far end, until it is known which of them have arrived."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.plugin import Delivery, Progress
from gateway.workers.backoff import APART
from gateway.workers.refused_nodes import Aside, Numbered


@dataclass
class Attempt:
    """Frames that are being sent, or have been and it is not known how many arrived.

    `aside` are frames of refused nodes before and among them, and `upto` is the id after which the queue goes
    on when all of them are delivered. `blind`: the first could not be told from what the far end had.
    `sent` is how many of them, from the front, may have been sent. `seen` is what the far end showed when it
    was last asked, `took` the seconds after which a try had no answer (infinite for one of an earlier run),
    and `apart` those between two checks.
    """

    frames: Numbered
    aside: Aside
    upto: int
    delivery: Delivery
    blind: bool
    sent: int
    confirmed: int = 0
    seen: Progress | None = None
    took: float = 0.0
    apart: float = APART
