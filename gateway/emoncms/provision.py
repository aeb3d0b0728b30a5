"""What is made at an Emoncms so that a dashboard can be drawn: feeds, what logs to them, and descriptions.

Only what is empty is filled: an input that has a process list or a description keeps it, and no feed that
exists is touched.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dispatchers.emoncms import as_kept
from gateway.dispatchers.emoncms_answers import Unexpected
from gateway.emoncms.account import SHORTEST, Feed, Input, feed_part
from gateway.emoncms.findings import Line
from gateway.emoncms.wanted import Wanted
from gateway.finding import bad, good, unknown
from gateway.plugin import DeliveryFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.emoncms.account import Account

Pair = tuple[Wanted, Input]
"""What we want, and the input that it is."""


@dataclass(frozen=True)
class Description:
    """An empty description to be filled."""

    wanted: Wanted
    there: Input
    text: str


@dataclass(frozen=True)
class NewFeed:
    """A feed to be made, with a slot for every `interval` seconds, for an input that has no processes.

    `taken` is the feed that has its name already, where there is one: then nothing is made.
    """

    wanted: Wanted
    there: Input
    tag: str
    name: str
    interval: int
    taken: Feed | None


def plan(
    pairs: Sequence[Pair], inputs: Sequence[Input], feeds: Sequence[Feed]
) -> Iterator[Description | NewFeed]:
    """Yield what is missing.

    A feed is called by our label, or else by the description or key of its input, and tagged with the node.
    The same name under the tag of another node is another feed; under any other tag it may be what somebody
    has made for the very same sensor.
    """
    tags = {feed_part(each.node).casefold() for each in inputs}
    names = Counter(_called(*pair) for pair in pairs)
    for wanted, there in pairs:
        text = as_kept(wanted.label)
        if text and not there.description.strip() and wanted.label != wanted.key:
            yield Description(wanted, there, text)
        if not there.processes.strip():
            tag, name = called = _called(wanted, there)
            if names[called] > 1:
                name = f"{name} {feed_part(wanted.key)}"
            others = tags - {tag.casefold()}
            taken = (
                each
                for each in feeds
                if each.name.casefold() == name.casefold() and each.tag.casefold() not in others
            )
            interval = max(SHORTEST, math.ceil(wanted.interval))
            yield NewFeed(wanted, there, tag, name, interval, next(taken, None))


def _called(wanted: Wanted, there: Input) -> tuple[str, str]:
    name = feed_part(wanted.label) or feed_part(there.description) or feed_part(wanted.key)
    return feed_part(wanted.node), f"index {name}" if name.isdecimal() else name


def make(account: Account, missing: Iterable[Description | NewFeed]) -> Iterator[Line]:
    """Make what is missing, and say so; what the server does not understand is passed over.

    It ends with a feed that nothing can be logged to: there would be no end of them.
    """
    for each in missing:
        try:
            line = _describe(account, each) if isinstance(each, Description) else _log(account, each)
        except Unexpected as failure:
            yield Line("made", bad(f"{each.wanted}: nothing is made: {failure}"))
            continue
        yield line
        if line.finding.is_bad:
            return


def _describe(account: Account, missing: Description) -> Line:
    account.describe(missing.there.id, missing.text)
    about = {"node": missing.wanted.node, "key": missing.wanted.key, "description": missing.text}
    return Line(
        "made",
        good(f"made the description of node {missing.wanted.node}, {missing.wanted.key}: {missing.text}"),
        about,
    )


def _log(account: Account, missing: NewFeed) -> Line:
    wanted = missing.wanted
    if missing.taken:
        cure = "log the input to it on the page Inputs there, or give it another label here"
        return Line(
            "made", unknown(f"{wanted}: {missing.taken} has that name already, and is left alone", cure)
        )
    if account.processes(missing.there.id).strip():
        return Line("made", unknown(f"{wanted}: somebody has just given it processes: they are left alone"))
    feed = account.create_feed(missing.tag, missing.name, missing.interval)
    made = f"feed {feed} ({missing.tag}: {missing.name})"
    about = {"node": wanted.node, "key": wanted.key, "feed": feed, "interval": missing.interval}
    try:
        account.log(missing.there.id, feed)
    except DeliveryFailure as failure:
        found = f"made {made}, but {wanted} is not logged to it: {failure}"
        return Line(
            "made",
            bad(found, "log it on the page Inputs there, or delete the feed and run this again"),
            about,
        )
    found = f"made {made}: a value every {missing.interval} s, of {wanted}"
    return Line("made", good(found), about)
