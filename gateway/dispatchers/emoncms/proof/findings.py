"""The findings on an Emoncms: a line for each thing that was examined."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from gateway.diagnosis.finding import Finding, bad, good, unknown
from gateway.dispatchers.emoncms.progress import is_shown
from gateway.dispatchers.emoncms.proof.records import PHPFINA, Feed
from gateway.text.words import span
from gateway.times.timekeeper import TOLERANCE
from gateway.version import MADE

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from gateway.dispatchers.emoncms.proof.records import Input
    from gateway.dispatchers.emoncms.proof.wanted import Wanted

_LATE = 3
"""Intervals without a value after which an input is late."""
_SHOWN = 6
"""Inputs that are named in one line."""


@dataclass(frozen=True)
class Log:
    """The feed of this id that an input is logged to, and what was found there.

    `feed` is None if there is no such feed; `stored` is what its slot has for the input's time; `trouble`
    says why that is unknown.
    """

    id: int
    as_it_came: bool
    feed: Feed | None
    stored: float | None = None
    trouble: str = ""


def judge_clock(theirs: float | None, ours: float) -> Finding:
    """Say whether the clock of the server agrees with ours."""
    if theirs is None:
        return unknown("it does not show its clock, which a reading should not be ahead of")
    if theirs < MADE:
        shown = datetime.fromtimestamp(theirs, UTC).date()
        return bad(
            f"its clock shows {shown}, which has passed", "set it there: nothing is sent to it until then"
        )
    ahead = theirs - ours
    if abs(ahead) <= TOLERANCE:
        return good(f"its clock and this machine's agree to {max(1, round(abs(ahead)))} s")
    side = "ahead of" if ahead > 0 else "behind"
    cure = "set the one that is wrong; timedatectl says whether this machine's is kept right"
    return bad(f"its clock is {span(abs(ahead))} {side} this machine's", cure)


def judge_version(said: str) -> Finding:
    """Say which Emoncms it is, by its answer to /version."""
    version = re.fullmatch(r'(?:low-write )?"?v?([0-9]+(?:\.[0-9]+)+\S{0,20}?)"?', said)
    if version:
        return good(f"it is Emoncms {version[1]}")
    if "Emoncms - version" in said:  # its page for what it does not know
        return unknown("it is older than Emoncms 9.9 (2018): update it if it is older than 9.8.28, too")
    return unknown(f"it does not tell its version, but: {said or 'nothing'}")


def judge_input(wanted: Wanted, there: Input, logs: Sequence[Log], now: float) -> list[Finding]:
    """Judge an input and each feed that it is logged to; `now` is by the server's clock."""
    if there.time is None or there.value is None:
        return [unknown(f"{wanted}: it is there, and gets its first value with the next reading")]
    age = max(0, round(now - there.time))  # its time is a whole second
    last = f"{wanted}: {there.value:.10g} of {span(age)} ago"
    if there.time > now + TOLERANCE:
        found = f"{wanted}: {there.value:.10g} is dated {span(there.time - now)} ahead of the server's clock"
        return [bad(found, "a clock was wrong when it was read; its feed may take nothing until then")]
    if not there.processes.strip():
        return [unknown(f"{last}, not logged to any feed")]
    if not logs:
        return [unknown(f"{last}, not logged to any feed, but processed: {there.processes}")]
    is_late = bool(wanted.interval) and now - there.time > _LATE * wanted.interval + TOLERANCE
    return [_judge_log(there, log, last, is_late=is_late) for log in logs]


def judge_energy(wanted: Wanted, there: Input, feeds: Container[int]) -> list[Finding]:
    """Name the feeds of kWh of an input that are not among those that exist: Emoncms is silent about them."""
    return [
        bad(
            f"{wanted}: its kWh go to feed {number}, which does not exist",
            _cure(there, "--energy", "add Power to kWh with a new feed"),
        )
        for number in there.energy()
        if number not in feeds
    ]


def _cure(there: Input, option: str, anew: str) -> str:
    """Return what to do about a feed that is gone; an input that keeps processes may not be given another."""
    others = len(there.processes.split(",")) - 1
    if not others or (option == "--energy" and others == len([*there.logs()]) == 1):
        return f"take that out of its process list, on the page Inputs there; {option} then makes a feed"
    return f"on the page Inputs there, take that out of its process list and {anew}"


def _judge_log(there: Input, log: Log, last: str, *, is_late: bool) -> Finding:
    feed = log.feed
    if feed is None:
        found = f"{last}, logged to feed {log.id}, which does not exist"
        return bad(found, _cure(there, "--provision", "log it to a new feed"))
    if log.trouble:
        return bad(
            f"{last}; {feed} cannot be read: {log.trouble}",
            "where its interval is 0, its .meta there is empty, and no reading passes: put it back from a "
            "backup, as a file of the web server's user, or delete the feed and take it out of the process "
            "list; then: oemgateway queue retry",
        )
    if why := why_unknown(feed, there):
        return unknown(f"{last}; {feed} {why}")
    if fault := _fault(log, there, last):
        return fault
    if is_late:
        return unknown(f"{last} is in {feed}, and nothing since", "see what oemgateway status says")
    return good(f"{last} is in {feed}")


def _fault(log: Log, there: Input, last: str) -> Finding | None:
    """Return what is wrong with the value in a feed, if anything is."""
    if log.stored is None:
        cure = "it takes values and keeps none: look at its disk, and who owns the folder of its feeds"
        return bad(f"{last} is not in {log.feed}", cure)
    if log.as_it_came and not is_shown(there.value or 0.0, log.stored):
        cure = "look on the page Inputs there what else is logged to that feed"
        return bad(f"{last}, but {log.feed} has {log.stored:.10g}", cure)
    return None


def why_unknown(feed: Feed, there: Input) -> str:
    """Return why it is unknown whether a feed has the last value of an input, or ""."""
    if feed.engine != PHPFINA:
        return "has no slots that could be looked into"
    if feed.time is None or there.time is None:
        return "gets its first value with the next reading"
    return "gets the next reading, and did not get this one" if feed.time < there.time else ""


def judge_full(refusal: str, inputs: Iterable[Input]) -> Finding:
    """Say why no node can be added, and which nodes there are."""
    nodes = sorted({each.node for each in inputs}, key=lambda node: (node.zfill(16), node))
    return unknown(f"no node can be added: {refusal}; there are {', '.join(nodes)}")


def judge_refused(node: str, reason: str) -> Finding:
    """Say that a node was refused for a reason, or for lack of room (""), and what to do."""
    if not reason:
        found = f"node {node} is refused: the account has all the nodes it allows"
        return bad(found, "delete nodes there that are not used any more, then: oemgateway queue retry")
    found = f"node {node} was refused, and is tried once an hour: {reason}"
    return bad(found, "once that is over, oemgateway queue retry has it tried at once")


def judge_missing(missing: Iterable[Wanted]) -> Iterator[Finding]:
    """Name the inputs that do not exist yet, in a line for each node."""
    for node, group in groupby(missing, key=lambda each: each.node):
        found = f"node {node}: nothing has come yet for {_some([each.name for each in group])}"
        yield unknown(found, "inputs come with their first reading: run this again then")


def judge_unused(inputs: Iterable[Input]) -> Iterator[Finding]:
    """Name the inputs of our nodes that no longer get values from here, in a line for each node."""
    in_order = sorted(inputs, key=lambda each: (each.node, len(each.key), each.key))
    for node, group in groupby(in_order, key=lambda each: each.node):
        found = f"node {node}: nothing goes to {_some([each.key for each in group])} any more"
        yield unknown(found, "what is not needed may be deleted on the page Inputs there; feeds stay")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def judge_others(others: Iterable[Input]) -> list[Finding]:
    """Name the nodes whose inputs are not known to be ours."""
    counts = Counter(each.node for each in others)
    if not counts:
        return []
    words = ", ".join(f"{node} ({count} input{'s' * (count > 1)})" for node, count in counts.items())
    cure = "where this gateway reads one, start it and run this again, or name the node in [nodes]"
    return [unknown(f"not looked at, as they may be of others: node {words}", cure)]
