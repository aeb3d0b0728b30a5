"""Frames to Emoncms, in one POST of input/bulk a batch.

Measured on Emoncms 11.16.8: it answers 200 to nearly everything. If it refuses a batch, it keeps the rows
before the wrong one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gateway.dispatchers.emoncms import progress
from gateway.dispatchers.emoncms.answers import (
    CutShort,
    DatabaseFailed,
    EndedSilently,
    FeedDamaged,
    Filtered,
    RowUnfinished,
    judge,
    judge_inputs,
)
from gateway.dispatchers.emoncms.encoding import Inputs, Keys, encode, row_of, storable
from gateway.dispatchers.emoncms.url import check_url, odd_port
from gateway.dispatchers.http_client.session import Server
from gateway.plugin import (
    BadFrame,
    Batch,
    Delivery,
    DeliveryFailure,
    Dispatcher,
    NodeRefused,
    OutcomeUnknown,
    Progress,
)
from gateway.settings import at_least, between, setting
from gateway.text.plain import check_printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.frame import Frame

_NODES = 32
"""The most nodes of an account, unless its server sets another limit (max_node_id_limit)."""

_NO_ANSWER = "no answer"
"""How a batch failed if its server may have ended anywhere in it."""


def _check_domain(domain: str) -> None:
    if not re.fullmatch(r"[^\s/?#@]+", domain):
        raise ValueError("the name of a host expected, such as emoncms.org")


@dataclass(kw_only=True)
class Emoncms(Dispatcher):
    """An account on an Emoncms server, addressed by its write key."""

    url: str = setting(
        "https://emoncms.org", check=check_url, hint="the address of Emoncms, such as http://emonpi/emoncms"
    )
    apikey: str = setting(
        check=check_printable, secret=True, hint="it is the write key, on the page My Account of Emoncms"
    )
    interval: float = setting(10.0, check=at_least(0))
    batch: int = setting(250, check=between(1, 250))
    ca_file: Path | None = setting(None)
    keys: Keys = setting("index")
    timeout: float = setting(60.0, check=between(1, 600))
    server: Server = field(init=False, repr=False, compare=False)
    _left_out: set[tuple[str, int]] = field(default_factory=set, init=False, repr=False, compare=False)
    inputs: Inputs = field(default_factory=dict, init=False, repr=False, compare=False)
    """What the server's inputs have, as far as is known."""
    cut: Inputs = field(default_factory=dict, init=False, repr=False, compare=False)
    """The row that was last sent again because its server may have ended within it."""
    asked: dict[str, Inputs] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The inputs of the nodes asked for before a request failed: the next look goes on from there."""

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        self.server = Server(self.url, self.apikey, self.ca_file, self.timeout)

    @property
    def busy_limit(self) -> float:
        """The seconds that a slow server takes to answer a request for each node."""
        return max(super().busy_limit, (_NODES + 1) * (10 + self.timeout))

    @property
    def account(self) -> tuple[str, ...]:
        """The account, and which of its inputs: some of them may accumulate, such as kWh or pulses."""
        return self.url, self.apikey, self.keys

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Point out an unusual address or key, and what names as keys mean."""
        if odd := odd_port(self.url):
            yield "url", odd
        if not re.fullmatch(r"[0-9a-fA-F]{32}", self.apikey):
            yield "apikey", "the write key of an Emoncms account has 32 hexadecimal digits; this one has not"
        if self.keys == "name":
            yield "keys", "names make new inputs in Emoncms, whose feeds start empty"

    def open(self) -> None:
        """Open the session; the first batch makes the connection, which is then kept."""
        self.server.pace.clock = self.clock
        self.server.open()

    def close(self) -> None:
        """Drop the connection."""
        self.server.close()

    def prepare(self, batch: Batch) -> Delivery:
        """Return the rows of these frames for one POST; the row of a frame without values is empty."""
        self._report_left_out(batch.frames)
        return _Post(self, [row_of(frame, self.keys) for frame in batch.frames])

    def time(self) -> float | None:
        """Return the Date of an answer to a request that needs no key and changes nothing.

        None for a server on this machine that shows the same time: that is no evidence for its clock.
        """
        before = self.clock.wall()
        answer = self.server.ask("HEAD", "", with_key=False)
        if isinstance(answer, DeliveryFailure):
            raise self.server.named(answer)
        return answer.clock(before, self.clock.wall())

    def refusal(self) -> DeliveryFailure | None:
        """Return why the key may not write, or None. It posts a batch without rows, which stores nothing."""
        failure = self.post("[]")
        return None if isinstance(failure, BadFrame) else failure

    def post(self, data: str) -> DeliveryFailure | None:
        """Post rows in JSON; return what went wrong."""
        answer = self.server.ask("POST", "/input/bulk", form={"time": 0, "data": data})
        if isinstance(answer, DeliveryFailure):
            return answer
        return judge(answer.status, answer.text, answer.location, self.apikey)

    def ask_inputs(self, node: str) -> Inputs | DeliveryFailure | None:
        """Return the readings of a node's inputs, None if the server does not say, or the failure.

        It does not say if the key may write and not read. A single answer is no proof of that: it may be a
        proxy's, or one of several servers' that take turns. So it is asked three times, and must take empty
        batches in between, more of them each time.
        """
        for empty in (1, 2, 3):
            answer = self.server.ask("GET", "/input/get", query={"node": node})
            if isinstance(answer, DeliveryFailure):
                return answer
            inputs = judge_inputs(node, answer.status, answer.text, self.apikey)
            if inputs is not None:
                return inputs
            for _ in range(empty):
                if failure := self.refusal():
                    return failure
        return None

    def _report_left_out(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            for index, value in frame.items():
                if not storable(value) and (frame.node, index) not in self._left_out:
                    self._left_out.add((frame.node, index))
                    self.log.warning(
                        f"node {frame.node}, index {index}: {value:g} left out, as no feed can hold it"
                    )


class _Post(Delivery):
    """The rows of one POST, up to the first that would leave no trace in the inputs."""

    def __init__(self, emoncms: Emoncms, rows: list[Inputs]) -> None:
        self._emoncms = emoncms
        self._rows = rows
        self._before = emoncms.inputs.copy()
        self._stored: Progress | None = None
        self._cut_before = emoncms.cut
        super().__init__(progress.distinct(rows, self._before))

    def send(self) -> None:
        """Post the rows; if none has a value, no request is made."""
        self._rows = self._rows[: self.count or 1]
        self.failed_in = len(self._rows)
        self._emoncms.asked.clear()
        data = encode(self._rows)
        failure = self._post(data) if data else None
        if isinstance(failure, FeedDamaged) and (node := self._node_of_feed()):
            failure = NodeRefused(str(failure), node, stored=bool(self._stored))
        if isinstance(failure, DatabaseFailed):
            self.failed = failure.where
        elif isinstance(failure, OutcomeUnknown) and not isinstance(failure, EndedSilently):
            self.failed = _NO_ANSWER
        elif isinstance(failure, CutShort):
            failure = OutcomeUnknown(str(failure))  # smaller batches: none of these rows is at fault
        if failure is not None:
            raise self._emoncms.server.named(failure)
        for row in self._rows:
            self._emoncms.inputs |= row

    def _post(self, data: str) -> DeliveryFailure | None:
        """Post the rows; a filter in front of the server may refuse them, and nothing else.

        They are at fault if they are refused four times, and no empty batch in between is. Between two tries
        there is one more empty batch each time: several servers may take turns, and one refuse everything.
        """
        failure: DeliveryFailure | None = None
        for empty in (0, 1, 2, 3):
            if any(self._emoncms.refusal() for _ in range(empty)):
                return failure
            failure = self._emoncms.post(data)
            if not isinstance(failure, Filtered):
                return failure
        return BadFrame(
            "a filter in front of it, such as mod_security, refuses this batch and lets an empty one pass (a "
            "name may be the reason): let it pass what is posted to /input/bulk"
        )

    def delivered(self) -> Progress:
        """Ask for the inputs of each node, and work out how many rows they show, unless that is known."""
        if self._stored:
            return self._stored
        asked = self._emoncms.asked
        for node in dict.fromkeys(node for row in self._rows for node, _ in row if node not in asked):
            inputs = self._emoncms.ask_inputs(node)
            if inputs is None:
                asked.clear()
                return Progress(None)
            if isinstance(inputs, DeliveryFailure):
                raise self._emoncms.server.named(inputs)
            asked[node] = inputs
        now = {where: reading for inputs in asked.values() for where, reading in inputs.items()}
        asked.clear()
        self._emoncms.inputs |= now
        found = progress.find(self._rows, now, self._before)
        if not self.failed:
            return found
        # If more are shown, that was another batch: a power cut has taken the newer note.
        rows = self._rows[: self.failed_in] if (found.count or 0) <= self.failed_in else self._rows
        if self.failed == _NO_ANSWER:
            return self._without_cut(rows, found)
        # A row that was sent again may show what it had before.
        again = rows[(found.count or 0) - 1] == self._cut_before
        return progress.unfinished(rows, found, shown=again or self.failed == RowUnfinished.where)

    def _without_cut(self, rows: list[Inputs], found: Progress) -> Progress:
        """Return the same without the last row if the server may have ended within it; once for each row.

        That row is sent again. Until then the inputs count as they were before it: if it equalled what they
        have, no look could show that it arrived.
        """
        last = rows[(found.count or 0) - 1]
        if last == self._cut_before or not progress.last_may_be_cut(rows, found):
            return found
        self._emoncms.cut = last
        for where in last:
            self._emoncms.inputs.pop(where, None)
        self._emoncms.inputs |= {where: self._before[where] for where in last if where in self._before}
        return progress.unfinished(rows, found, shown=True)

    def _node_of_feed(self) -> str:
        """Return the node of the row that was not stored in its feeds, "" if that is not known.

        That is the last row that the inputs show: a row is shown there before its feeds are written. Those
        before it count as delivered, although it may have taken their place in the inputs.
        """
        try:
            found = self.delivered()
        except DeliveryFailure:
            return ""
        count = found.count or 0
        nodes = {node for row in self._rows[max(0, count - 1) : count or None] for node, _ in row}
        if len(nodes) != 1:
            return ""
        if (before := count - 1) > 0:
            missing = frozenset(place for place in found.missing if place < before)
            self._stored = Progress(before, found.shown, missing)
        return nodes.pop()


@dataclass(kw_only=True)
class EmoncmsBuffer(Emoncms):
    """The same with the settings of 2013: the address in three parts, and each frame sent at once."""

    url: str = field(init=False)
    protocol: Literal["http://", "https://"] = setting("http://")
    domain: str = setting("localhost", check=_check_domain)
    path: str | None = setting("/emoncms")
    interval: float = setting(0.0, check=at_least(0))
    buffer_size: int | None = setting(None)

    def __post_init__(self) -> None:
        self.url = f"{self.protocol}{self.domain}/{(self.path or '').strip('/')}"
        check_url(self.url)
        super().__post_init__()

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Add which setting no longer has an effect."""
        yield from super().remarks()
        if self.buffer_size is not None:
            yield "buffer_size", "has no effect: frames wait on disk"
