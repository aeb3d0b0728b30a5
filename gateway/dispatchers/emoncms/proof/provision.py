"""Creates at an Emoncms what a plan says it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good, unknown
from gateway.dispatchers.emoncms.answers import Unexpected
from gateway.dispatchers.emoncms.proof.findings import Line
from gateway.dispatchers.emoncms.proof.plan import Description, FeedStep, Missing, OwnList, Processes, Unit
from gateway.dispatchers.emoncms.proof.records import LOG
from gateway.plugin import DeliveryFailure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.dispatchers.emoncms.proof.account import Account
    from gateway.dispatchers.emoncms.proof.wanted import Wanted


def make(account: Account, missing: Iterable[Missing]) -> Iterator[Line]:
    """Make what is missing, and say so; what the server does not understand is passed over.

    It ends with a feed that nothing can be logged to: there would be no end of them.
    """
    for each in missing:
        try:
            lines = [*_make(account, each)]
        except Unexpected as failure:
            yield Line("made", bad(f"{each.wanted}: nothing is made: {failure}"))
            continue
        yield from lines
        if any(line.finding.is_bad for line in lines):
            return


def _make(account: Account, missing: Missing) -> Iterator[Line]:
    wanted = missing.wanted
    about = {"node": wanted.node, "key": wanted.key}
    if isinstance(missing, Description):
        account.describe(missing.there.id, missing.text)
        found = f"made the description of node {wanted.node}, {wanted.key}: {missing.text}"
        yield Line("made", good(found), about | {"description": missing.text})
    elif isinstance(missing, Unit):
        account.set_unit(missing.feed.id, missing.text)
        found = f"made the unit of {missing.feed}: {missing.text}"
        yield Line("made", good(found), about | {"feed": missing.feed.id, "unit": missing.text})
    elif isinstance(missing, OwnList):
        cure = "add Power to kWh to it on the page Inputs there"
        yield Line("made", unknown(f"{wanted}: it has a process list of its own, which is left alone", cure))
    else:
        yield from _process(account, missing)


def _process(account: Account, missing: Processes) -> Iterator[Line]:
    wanted, there = missing.wanted, missing.there
    for step in missing.steps:
        if step.blocked:
            cure = "log the input to it on the page Inputs there, or give it another label here"
            yield Line("made", unknown(f"{wanted}: {step.blocked}", cure))
    steps = [step for step in missing.steps if not step.blocked]
    if not steps or (missing.steps[0].process == LOG and missing.steps[0].blocked):
        return
    if account.processes(there.id).strip() != there.processes.strip():
        yield Line("made", unknown(f"{wanted}: somebody has just given it processes: they are left alone"))
        return
    kept = [(LOG, number) for number, _ in there.logs()]
    ids: list[int] = []
    made: list[str] = []
    trouble = ""
    try:
        for step in steps:
            if step.there:
                ids.append(step.there.id)
            else:
                ids.append(account.create_feed(step.tag, step.name, step.interval, step.unit))
                made.append(f"feed {ids[-1]} ({step.tag}: {step.name})")
        account.process(there.id, [*kept, *zip((step.process for step in steps), ids, strict=True)])
    except DeliveryFailure as failure:
        if not made:
            raise
        trouble = str(failure)
    if trouble:
        found = f"made {' and '.join(made)}, but {wanted} is not logged to it: {trouble}"
        cure = "log it on the page Inputs there, or delete the feed and run this again"
        yield Line("made", bad(found, cure), {"node": wanted.node, "key": wanted.key, "feed": ids[-1]})
        return
    for step, number in zip(steps, ids, strict=True):
        yield _made(wanted, step, number)


def _made(wanted: Wanted, step: FeedStep, number: int) -> Line:
    about = {
        "node": wanted.node,
        "key": wanted.key,
        "feed": number,
        "interval": step.interval,
        "unit": step.unit,
    }
    if step.there:
        return Line("made", good(f"logged {wanted} to {step.there} again, which was there"), about)
    found = f"made feed {number} ({step.tag}: {step.name}): {step.described} of {wanted}"
    return Line(
        "made", good(f"{found}, in {step.unit}" if step.unit and step.process == LOG else found), about
    )
