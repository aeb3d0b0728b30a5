"""Which feed a value is to be logged to: its name, and whether it exists already."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.dispatchers.emoncms.proof.records import (
    ENERGY,
    LOG,
    PHPFINA,
    PHPTIMESERIES,
    SHORTEST,
    Feed,
    Process,
    feed_part,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.dispatchers.emoncms.proof.records import Input
    from gateway.dispatchers.emoncms.proof.wanted import Wanted

    Pair = tuple[Wanted, Input]
    """An input as we want it, and as it is."""

KWH = "kWh"
_LONGEST = 64
"""The most characters of a feed's name."""


@dataclass(frozen=True)
class FeedStep:
    """A process and its feed, with a slot for every `interval` seconds: it is `there`, or to be created.

    `lost` is the unit that it was created without. `blocked` says why neither is possible, for example
    because the name is that of somebody else's feed.
    """

    process: Process
    tag: str
    name: str
    interval: int
    unit: str
    there: Feed | None = None
    lost: str = ""
    blocked: str = ""

    @property
    def described(self) -> str:
        """What is put in the feed, in words."""
        return "the kWh" if self.process == ENERGY else f"a value every {self.interval} s,"


class FeedPlan:
    """Names the feeds, and finds those that exist; `unused` are inputs that no longer get values.

    A feed is called by our label, or else by the description or key of its input, and tagged with the node.
    The same name under the tag of another node is another feed; under any other tag it may have been made by
    somebody for the same sensor.
    """

    def __init__(
        self, pairs: Sequence[Pair], inputs: Sequence[Input], feeds: Sequence[Feed], unused: Sequence[Input]
    ) -> None:
        self._feeds = feeds
        self._tags = {feed_part(each.node).casefold() for each in inputs}
        self._names = Counter(_called(*pair) for pair in pairs)
        retired = {each.id for each in unused}
        self._filled = {
            feed: f"node {each.node}, {each.key}"
            for each in inputs
            if each.id not in retired
            for feed in each.feeds()
        }

    def log(self, wanted: Wanted, there: Input) -> FeedStep:
        """Return the feed that a value is to be logged to."""
        tag, name = self._name(wanted, there)
        return self._found(LOG, tag, name, wanted.unit, wanted)

    def energy(self, wanted: Wanted, there: Input) -> FeedStep:
        """Return the feed for the kWh of a power, by the name that Emoncms's apps look for."""
        tag, name = self._name(wanted, there)
        suffix = "_kwh"
        name = name[: _LONGEST - len(suffix)] + suffix
        step = self._found(ENERGY, tag, name, KWH, wanted)
        blocked = "the feed of another input is to have its name" if self._names[tag, name] else step.blocked
        return replace(step, blocked=blocked)

    def _name(self, wanted: Wanted, there: Input) -> tuple[str, str]:
        tag, name = called = _called(wanted, there)
        return tag, f"{name} {feed_part(wanted.key)}" if self._names[called] > 1 else name

    def _found(self, process: Process, tag: str, name: str, unit: str, wanted: Wanted) -> FeedStep:
        step = FeedStep(process, tag, name, max(SHORTEST, math.ceil(wanted.interval)), unit)
        others = self._tags - {tag.casefold()}
        namesakes = [
            feed
            for feed in self._feeds
            if feed.name.casefold() == name.casefold() and feed.tag.casefold() not in others
        ]
        same = next((feed for feed in namesakes if (feed.tag, feed.name) == (tag, name)), None)
        if same and not (why := self._unfit(same, unit)):
            return replace(step, there=same)
        if same:
            return replace(step, blocked=f"{same} has that name already, {why}, and is left alone")
        if namesakes:
            return replace(step, blocked=f"{namesakes[0]} has that name already, and is left alone")
        return step

    def _unfit(self, feed: Feed, unit: str) -> str:
        """Return why a feed of the right name must not be filled, or ""."""
        if feed.engine not in (PHPFINA, PHPTIMESERIES):
            return "is of a kind that takes no values"
        if feed.id in self._filled:
            return f"is filled by {self._filled[feed.id]}"
        return f"is in {feed.unit}" if feed.unit and unit and feed.unit != unit else ""


def _called(wanted: Wanted, there: Input) -> tuple[str, str]:
    name = feed_part(wanted.label) or feed_part(there.description) or feed_part(wanted.key)
    return feed_part(wanted.node), f"index {name}" if name.isdecimal() else name
