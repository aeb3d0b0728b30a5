"""Proof that an Emoncms takes and keeps what the gateway sends, step by step until one fails."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.conf.indices import claims
from gateway.diagnosis.finding import bad, good, unknown
from gateway.dispatchers.emoncms.answers import Unexpected, judge_status
from gateway.dispatchers.emoncms.proof.account import Account
from gateway.dispatchers.emoncms.proof.findings import (
    Log,
    judge_clock,
    judge_energy,
    judge_full,
    judge_input,
    judge_missing,
    judge_others,
    judge_refused,
    judge_unused,
    judge_version,
    why_unknown,
)
from gateway.dispatchers.emoncms.proof.provision import Provisioner
from gateway.dispatchers.emoncms.proof.records import PHPFINA
from gateway.dispatchers.emoncms.proof.row import TEST_NODE, delete_test_rows, is_test, probe_row
from gateway.dispatchers.emoncms.proof.wanted import find_wanted, unused
from gateway.dispatchers.http_client.pages import excerpt, with_status
from gateway.frame import Stamp
from gateway.plugin import BadFrame, Batch, DeliveryFailure, HoldEverything, NodeRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.conf.config import Configuration
    from gateway.diagnosis.finding import Finding
    from gateway.dispatchers.emoncms.dispatcher import Emoncms
    from gateway.dispatchers.emoncms.proof.heard import Heard
    from gateway.dispatchers.emoncms.proof.records import Feed, Input
    from gateway.dispatchers.emoncms.proof.wanted import Wanted
    from gateway.frame import Frame
    from gateway.plugin import Delivery

_LONGEST = 1000
"""Characters of a line, at most."""
_LOOKS = 3
"""How often a fault is checked before it is reported: a reading may have arrived in between."""


class Proof:
    """Examines one Emoncms for a configuration, with what a running gateway has heard.

    `provision` tells whether to create feeds there, and `energy` whether to create those of kWh too.
    """

    def __init__(
        self,
        emoncms: Emoncms,
        configuration: Configuration,
        known: Heard,
        *,
        provision: bool,
        energy: bool,
    ) -> None:
        self._emoncms = emoncms
        self._configuration = configuration
        self._frames = known.frames
        self._clock = emoncms.clock
        self._provision = provision
        self._energy = energy
        self._refused = known.refused.get(emoncms.name, {})
        self._is_full = False
        self._account = Account(emoncms.server)
        self._ahead = 0.0

    def findings(self) -> Iterator[Finding]:
        """Yield what is found and created; a failure that prevents the next steps is the last."""
        with closing(self._emoncms):
            try:
                for look in (self._reach, self._key, self._row, self._inputs):
                    yield from map(self._plain, look())
            except (DeliveryFailure, OSError) as failure:
                yield self._plain(bad(str(failure)))

    def _plain(self, finding: Finding) -> Finding:
        """Remove what a server may have put into its names: the key, tags, control characters."""
        key = self._emoncms.apikey
        found, cure = excerpt(finding.found, key, _LONGEST), excerpt(finding.cure, key, _LONGEST)
        return replace(finding, found=found, cure=cure, subject=self._emoncms.name)

    def _reach(self) -> Iterator[Finding]:
        self._emoncms.open()
        path = "/version"
        answer = self._emoncms.server.ask("GET", path, with_key=False)
        if isinstance(answer, DeliveryFailure):
            raise self._emoncms.server.named(answer)
        if 300 <= answer.status < 400:
            raise judge_status(path, answer.status, answer.text, answer.location, self._emoncms.apikey)
        yield good(f"{self._emoncms.url} answers")
        ours = self._clock.wall()
        yield judge_clock(answer.time, ours)
        self._ahead = 0.0 if answer.time is None else answer.time - ours
        key = self._emoncms.apikey
        said = (
            excerpt(answer.text, key)
            if answer.status == 200
            else with_status(answer.status, answer.text, key)
        )
        yield judge_version(said)

    def _key(self) -> Iterator[Finding]:
        failure = self._emoncms.refusal()
        if failure:
            raise failure
        yield good("the key may write")

    def _now(self) -> float:
        """Return the time by the server's clock: a row that is later may block a feed."""
        return self._clock.wall() + self._ahead

    def _row(self) -> Iterator[Finding]:
        """Send one row, whose value changes with the clock, and check that it is there."""
        # Few digits: an Emoncms without Redis shows no more than six.
        value = round(self._clock.wall() % 100, 2)
        stamp = Stamp(self._now(), "", 0.0)
        try:
            try:
                row = probe_row(value, stamp)
                delivery = self._send(row)
            except NodeRefused as full:
                # There is no room for its node: it becomes one more input of an existing node.
                self._is_full = True
                inputs = self._account.inputs()
                yield judge_full(str(full), inputs)
                row = probe_row(value, stamp, next((each.node for each in inputs), TEST_NODE))
                delivery = self._send(row)
        except BadFrame as failure:
            yield unknown(f"a test row is not taken: {failure}")
            return
        progress = delivery.delivered()
        if progress is None or progress.count is None:
            raise HoldEverything(
                "a test row is taken and cannot be read back, as with the key of a single device: "
                "put the account's write key in apikey"
            )
        if progress.count:
            left = [f"node {each.node}, {each.key}" for each in delete_test_rows(self._account)]
            after = f"and may be deleted there: {'; '.join(left)}" if left else "and was deleted again"
            yield good(f"a test row came back as it was sent, {after}")
        else:
            cure = "allow new inputs there, on the page Inputs"
            yield bad("a test row is taken and dropped, as where new inputs are not allowed", cure)

    def _send(self, row: Frame) -> Delivery:
        delivery = self._emoncms.prepare(Batch([row], [0]))
        delivery.send()
        return delivery

    def _inputs(self) -> Iterator[Finding]:
        account = self._account
        inputs = account.inputs()
        there = {(each.node, each.key): each for each in inputs}
        wanted = find_wanted(self._configuration, self._frames, self._emoncms.keys, inputs)
        pairs = [(each, there[each.node, each.key]) for each in wanted if (each.node, each.key) in there]
        idle = unused(self._configuration, self._frames, wanted, inputs)
        if self._provision:
            yield from Provisioner(account, inputs, unused=idle, energy=self._energy).make(pairs)
        yield from self._look(account, wanted)
        unlogged = sum(not any(each.logs()) for _, each in pairs)
        if unlogged and not self._provision:
            cure = "oemgateway emoncms --provision makes feeds for those that are not processed"
            yield unknown(f"inputs that are not logged: {unlogged} of {len(pairs)}", cure)
        absent = [each for each in wanted if (each.node, each.key) not in there]
        nodes = {each.node for each in inputs}
        no_room = {node for node in (each.node for each in absent) if self._is_full and node not in nodes}
        refused = {**self._refused, **dict.fromkeys(no_room, "")}
        yield from (judge_refused(node, reason) for node, reason in sorted(refused.items()))
        absent = [each for each in absent if each.node not in refused]
        yield from judge_missing(absent)
        yield from judge_unused(idle)
        ours = {(each.node, each.key) for each in wanted} | {(each.node, each.key) for each in idle}
        others = [each for place, each in there.items() if place not in ours and not is_test(each)]
        if not all(claims(listener.catalogue()) for listener in self._configuration.listeners.values()):
            yield from judge_others(others)

    def _look(self, account: Account, wanted: Sequence[Wanted]) -> list[Finding]:
        """Examine the inputs; check those with a fault again, as readings may have arrived in between."""
        found: dict[Wanted, list[Finding]] = {}
        pending = list(wanted)
        for look in range(_LOOKS):
            there = {(each.node, each.key): each for each in account.inputs()}
            feeds = {feed.id: feed for feed in account.feeds()}
            for each in pending:
                if each_input := there.get((each.node, each.key)):
                    found[each] = self._judge(account, each, each_input, feeds)
            pending = [each for each, said in found.items() if any(finding.is_bad for finding in said)]
            if not pending:
                break
            if look < _LOOKS - 1:
                self._clock.sleep(1.0)
        return [finding for said in found.values() for finding in said]

    def _judge(
        self, account: Account, wanted: Wanted, there: Input, feeds: Mapping[int, Feed]
    ) -> list[Finding]:
        logs = [
            _stored(account, there, Log(number, as_it_came, feeds.get(number)))
            for number, as_it_came in there.logs()
        ]
        return judge_input(wanted, there, logs, self._now()) + judge_energy(wanted, there, feeds)


def _stored(account: Account, there: Input, log: Log) -> Log:
    """Add what a feed has in the slot of an input's last time, if it has slots and should have a value."""
    feed = log.feed
    if feed is None or feed.engine != PHPFINA:
        return log
    try:
        feed = replace(feed, interval=account.interval(feed))
        if there.time is None or why_unknown(feed, there):
            return log
        return replace(log, stored=account.stored(feed, there.time))
    except Unexpected as failure:
        return replace(log, trouble=str(failure))
