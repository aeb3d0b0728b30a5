"""Frames on their way to a far end, until it is known which of them have arrived."""

from __future__ import annotations

import math
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
    was last asked, and `apart` the seconds between two checks. `unanswered_since` is when it was sent, on the
    monotonic clock, if no answer came; an earlier run may have sent it at any time. In a recall,
    `recalled_upto` is the id up to which nothing else can have arrived if not all of these have.
    """

    frames: Numbered
    aside: Aside
    upto: int
    delivery: Delivery
    blind: bool
    sent: int
    confirmed: int = 0
    seen: Progress | None = None
    unanswered_since: float = math.inf
    recalled_upto: float = -math.inf
    apart: float = APART
