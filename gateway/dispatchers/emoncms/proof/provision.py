"""Makes what an Emoncms lacks for a dashboard: feeds, what fills them, their units, and descriptions.

Only what is empty is filled: an input keeps its process list and its description, and a feed that exists is
not changed, except to add a missing unit. An input without processes, such as one that was deleted and
created again by the next reading, is logged to the feed of its name again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good, unknown
from gateway.dispatchers.emoncms.answers import Unexpected
from gateway.dispatchers.emoncms.encoding import as_kept
from gateway.dispatchers.emoncms.proof.plan import KWH, FeedPlan
from gateway.dispatchers.emoncms.proof.records import LOG
from gateway.plugin import DeliveryFailure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.diagnosis.finding import Finding
    from gateway.dispatchers.emoncms.proof.account import Account
    from gateway.dispatchers.emoncms.proof.plan import FeedStep, Pair
    from gateway.dispatchers.emoncms.proof.records import Feed, Input
    from gateway.dispatchers.emoncms.proof.wanted import Wanted

    Making = Iterator[Iterator[Finding]]
    """Yields things to make. Each is made while its findings are taken."""

_POWER = "W"


class Provisioner:
    """Creates what an account lacks, given its inputs and feeds, and those inputs that are `unused`.

    With `energy`, a value in W gets a kWh feed besides its power feed.
    """

    def __init__(
        self, account: Account, inputs: Sequence[Input], *, unused: Sequence[Input], energy: bool
    ) -> None:
        self._account = account
        self._feeds = account.feeds()
        self._inputs = inputs
        self._unused = unused
        self._energy = energy

    def make(self, pairs: Sequence[Pair]) -> Iterator[Finding]:
        """Create what these inputs lack, and say so; skip what the server does not understand.

        It stops at a feed that nothing can be logged to: otherwise it would create such feeds without end.
        """
        plan = FeedPlan(pairs, self._inputs, self._feeds, self._unused)
        is_whole = True
        for wanted, there in pairs:
            for making in self._lacking(plan, wanted, there):
                is_whole = False
                try:
                    findings = [*making]
                except Unexpected as failure:
                    yield bad(f"{wanted}: nothing is made: {failure}")
                    continue
                yield from findings
                if any(finding.is_bad for finding in findings):
                    return
        if is_whole:
            yield good("nothing is made: no input that is there lacks anything")

    def _lacking(self, plan: FeedPlan, wanted: Wanted, there: Input) -> Making:
        text = as_kept(wanted.label)
        if text and not there.description.strip() and wanted.label != wanted.key:
            yield self._describe(wanted, there, text)
        logs = [feed for feed, as_it_came in there.logs() if as_it_came]
        steps = [] if there.processes.strip() else [plan.log(wanted, there)]
        if self._energy and wanted.unit == _POWER and not there.energy():
            if steps or (len(logs) == 1 and "," not in there.processes):
                steps.append(plan.energy(wanted, there))
            else:
                cure = "add Power to kWh to it on the page Inputs there"
                found = f"{wanted}: it has a process list of its own, which is left alone"
                yield iter([unknown(found, cure)])
        if steps:
            yield self._process(wanted, there, steps)
        units = dict.fromkeys(logs, wanted.unit) | dict.fromkeys(there.energy(), KWH)
        units |= {step.there.id: step.unit for step in steps if step.there}
        by_id = {feed.id: feed for feed in self._feeds}
        for number, unit in units.items():
            if unit and number in by_id and by_id[number].unit == "":
                yield self._set_unit(by_id[number], unit)

    def _describe(self, wanted: Wanted, there: Input, text: str) -> Iterator[Finding]:
        self._account.describe(there.id, text)
        yield good(f"made the description of node {wanted.node}, {wanted.key}: {text}")

    def _set_unit(self, feed: Feed, unit: str) -> Iterator[Finding]:
        try:
            self._account.set_unit(feed.id, unit)
        except Unexpected as failure:
            yield unknown(f"{feed} gets no unit, {unit}: {failure}")
        else:
            yield good(f"made the unit of {feed}: {unit}")

    def _process(self, wanted: Wanted, there: Input, steps: Sequence[FeedStep]) -> Iterator[Finding]:
        """Add processes to an input that has none, or one that logs its value."""
        for step in steps:
            if step.blocked:
                cure = "log the input to it on the page Inputs there, or give it another label here"
                yield unknown(f"{wanted}: {step.blocked}", cure)
        if all(step.blocked for step in steps) or (steps[0].process == LOG and steps[0].blocked):
            return
        if self._account.processes(there.id).strip() != there.processes.strip():
            yield unknown(f"{wanted}: somebody has just given it processes: they are left alone")
            return
        steps = [step for step in steps if not step.blocked]
        kept = [(LOG, number) for number, _ in there.logs()]
        ids: list[int] = []
        made: list[str] = []
        try:
            for place, step in enumerate(steps):
                if step.there:
                    ids.append(step.there.id)
                else:
                    number, steps[place] = self._create(step)
                    ids.append(number)
                    made.append(f"feed {number} ({step.tag}: {step.name})")
            added = zip((step.process for step in steps), ids, strict=True)
            self._account.process(there.id, [*kept, *added])
        except DeliveryFailure as failure:
            if not made:
                raise
            found = f"made {' and '.join(made)}, but {wanted} is not logged to it: {failure}"
            cure = "log it on the page Inputs there, or delete the feed and run this again"
            yield bad(found, cure)
            return
        yield from (_made(wanted, step, number) for step, number in zip(steps, ids, strict=True))

    def _create(self, step: FeedStep) -> tuple[int, FeedStep]:
        """Create a feed; return its id, and the step without its unit where the server does not keep that."""
        try:
            return self._account.create_feed(step.tag, step.name, step.interval, step.unit), step
        except Unexpected:
            if step.unit.isascii():
                raise
        number = self._account.create_feed(step.tag, step.name, step.interval)
        return number, replace(step, unit="", lost=step.unit)


def _made(wanted: Wanted, step: FeedStep, number: int) -> Finding:
    if step.there:
        return good(f"logged {wanted} to {step.there} again, which was there")
    found = f"made feed {number} ({step.tag}: {step.name}): {step.described} of {wanted}"
    if step.lost:
        cure = "write it in plain letters, or convert its tables to utf8mb4 and run this again"
        return unknown(f"{found}, without a unit: its database cannot keep {step.lost}", cure)
    return good(f"{found}, in {step.unit}" if step.unit and step.process == LOG else found)
