"""The status of the running gateway, collected from its parts."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gateway.plugin import Health
from gateway.present.exchange import to_object
from gateway.present.status import (
    ClockStatus,
    DispatcherStatus,
    ListenerStatus,
    NodeStatus,
    PastTrouble,
    QueueStatus,
    RefusedNodeStatus,
    SectionStatus,
    Status,
)
from gateway.text.words import span
from gateway.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from gateway.present.queue_answers import QueueAnswers
    from gateway.times.timekeeper import Timekeeper
    from gateway.workers.delivery import DispatcherWorker
    from gateway.workers.worker import ListenerWorker, Worker

_NAMED, _LISTED = 5, 30
"""How many refused nodes have a line of their own, and how many of the others are named."""

_OFTEN = 10
"""Frames of a node that show that its device is there; a damaged line may give a few."""


class StatusCollector:
    """Looks at the daemon's parts; any thread may ask, while a reload changes them.

    The daemon sets `ready`, `faulty_edit` while the file has a fault and is not followed, and in `lacks`
    which section cannot be started, and why.
    """

    def __init__(
        self,
        file: Path,
        listeners: Callable[[], Mapping[str, ListenerWorker]],
        dispatchers: Callable[[], Mapping[str, DispatcherWorker]],
        queue: QueueAnswers,
        keeper: Timekeeper,
    ) -> None:
        self.ready = False
        self.faulty_edit = False
        self.lacks = ""
        self._file = file
        self._started = time.monotonic()
        self._listeners = listeners
        self._dispatchers = dispatchers
        self._queue = queue
        self._keeper = keeper

    def by_name(self) -> dict[str, Callable[[], Any]]:
        """Return what commands may ask, by the names of their questions."""
        return {
            "status": lambda: asdict(self.status()),
            "details": self.details,
            "nodes": self.nodes,
            "exclusive": self.exclusive,
        }

    def details(self) -> dict[str, Mapping[str, Any]]:
        """Return the details of the listeners that have any, by name."""
        found = {name: worker.plugin.health().details for name, worker in dict(self._listeners()).items()}
        return {name: details for name, details in found.items() if details}

    def exclusive(self) -> dict[str, list[str]]:
        """Return, by listener, what only it can use, such as a serial port or a chip, in words."""
        return {name: list(worker.plugin.exclusive) for name, worker in dict(self._listeners()).items()}

    def nodes(self) -> dict[str, list[dict[str, Any]]]:
        """Return the last frame with a value of each node, as exchange has it, by listener."""
        return {
            name: [to_object(latest.valued) for latest in worker.latest.nodes().values() if latest.valued]
            for name, worker in dict(self._listeners()).items()
        }

    def status(self) -> Status:
        """Return the status; OSError if the queue's disk cannot be read."""
        now = time.monotonic()
        queue = self._queue.status()
        listeners = {name: _listener(worker, now) for name, worker in dict(self._listeners()).items()}
        dispatchers = {
            name: _dispatcher(worker, now, QueueStatus(**queue["dispatchers"].get(name, {})))
            for name, worker in dict(self._dispatchers()).items()
        }
        troubles = [*self._troubles(queue["trouble"], queue["refused_trouble"]), *self._shared_nodes(now)]
        sections = (*listeners.values(), *dispatchers.values())
        return Status(
            version=VERSION,
            pid=os.getpid(),
            file=str(self._file),
            uptime=round(now - self._started, 1),
            ready=self.ready,
            healthy=not troubles and not any(section.troubles for section in sections),
            troubles=troubles,
            queue_trouble=queue["trouble"],
            listeners=listeners,
            dispatchers=dispatchers,
            dropped=queue["dropped"],
            refused_dropped=queue["refused_dropped"],
            bytes=queue["bytes"],
            clock=ClockStatus(
                doubt=self._keeper.doubt,
                holding=self._keeper.holding,
                steps=self._keeper.steps,
                last_step=round(self._keeper.last_step, 1),
            ),
        )

    def _shared_nodes(self, now: float) -> Iterator[str]:
        """Yield a line for each node for which more than one listener gives values at the same index."""
        heard_by: dict[str, dict[str, list[int]]] = {}
        for name, worker in dict(self._listeners()).items():
            for node, latest in worker.latest.nodes().items():
                often = latest.frames >= _OFTEN and not latest.is_silent(now)
                if often and latest.valued and not latest.valued.by_name:
                    heard_by.setdefault(node, {})[name] = [index for index, _ in latest.valued.items()]
        for node, given in heard_by.items():
            every = [index for indices in given.values() for index in indices]
            if len(every) > len({*every}):
                yield (
                    f"node {node} comes from {' and '.join(given)}: one device is stored twice, or two are "
                    "mixed; switch one section off, or give one device another node"
                )

    def _troubles(self, *of_queue: str) -> Iterator[str]:
        if self.faulty_edit:
            yield f"{self._file} has faults (oemgateway check shows them): the previous settings stay active"
        yield from filter(None, (self.lacks, *of_queue))
        if self._keeper.doubt:
            yield f"{self._keeper.doubt}: readings are {self._keeper.consequence}"


def _age(at: float, now: float) -> float:
    """Return the seconds since a moment, which may be later than `now`, as the workers keep running."""
    return round(max(0.0, now - at), 1)


def _section(worker: Worker[Any], now: float, *troubles: str) -> dict[str, Any]:
    """Return what there is to say of a worker of either kind."""
    last, next_try = worker.last_trouble, worker.next_try
    section = SectionStatus(
        frames=worker.frames,
        age=None if worker.last is None else _age(worker.last, now),
        trouble=worker.trouble,
        failures=worker.failures,
        last_trouble=None if last is None else PastTrouble(last.text, _age(last.at, now)),
        next_try=None if next_try is None else round(max(0.0, next_try - now), 1),
        troubles=[trouble for trouble in (worker.trouble, worker.stuck, *troubles) if trouble],
        remark=worker.plugin.remark,
    )
    return vars(section)


def _listener(worker: ListenerWorker, now: float) -> ListenerStatus:
    try:
        health = worker.plugin.health()
    except Exception as error:  # noqa: BLE001  (a plugin of a third party must not hide the others)
        health = Health(troubles=[f"it cannot say how it is, a bug in it: {error!r}"])
    nodes = {
        node: NodeStatus(
            frames=latest.frames,
            age=_age(latest.valued_at, now),
            usual=latest.usual and round(latest.usual, 1),
            silent=latest.is_silent(now),
        )
        for node, latest in worker.latest.nodes().items()
        if latest.valued_at is not None
    }
    refused = {"of a node that is another listener's": worker.refused} if worker.refused else {}
    refusals = worker.refusals(now)[:_NAMED]
    troubles = [worker.overdue, *health.troubles, *refusals, *_silences(nodes)]
    return ListenerStatus(
        **_section(worker, now, *troubles),
        rate=round(worker.latest.rate(now), 2),
        nodes=nodes,
        faults={**health.faults, **refused},
    )


def _dispatcher(worker: DispatcherWorker, now: float, queue: QueueStatus) -> DispatcherStatus:
    clock = worker.plugin.clock.monotonic()
    nodes = {
        name: RefusedNodeStatus(
            reason=node.reason, frames=node.frames, next_try=round(max(0.0, node.next_try - clock), 1)
        )
        for name, node in worker.refused_nodes.known(clock).items()
    }
    return DispatcherStatus(
        **_section(worker, now, *refusals(nodes), worker.refused_in_a_row.trouble(clock)),
        doubled=worker.doubled,
        refused_nodes=nodes,
        queue=queue,
    )


def refusals(nodes: Mapping[str, RefusedNodeStatus]) -> Iterator[str]:
    """Yield a line for each of the first nodes that are refused, and one for all others."""
    for name, about in list(nodes.items())[:_NAMED]:
        yield (
            f"node {name} is refused, {about.frames} frame{'s' * (about.frames != 1)} of it set aside "
            f"(the next one is tried in {span(about.next_try)}): {about.reason}"
        )
    if more := list(nodes)[_NAMED:]:
        names = ", ".join(more[:_LISTED]) + ", ..." * (len(more) > _LISTED)
        yield f"{len(more)} more node{'s are' if len(more) > 1 else ' is'} refused: {names}"


def _silences(nodes: Mapping[str, NodeStatus]) -> Iterator[str]:
    for node, about in nodes.items():
        if about.silent and about.usual is not None:
            yield f"node {node} is silent for {span(about.age)}, once heard every {span(about.usual)}"
