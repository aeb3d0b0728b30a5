"""How the running gateway is, in JSON's terms: the answer to `oemgateway status`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from gateway.listener import Health
from gateway.text.words import span
from gateway.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gateway.spool.answers import QueueAnswers
    from gateway.times.timekeeper import Timekeeper
    from gateway.workers.delivery import DispatcherWorker
    from gateway.workers.worker import ListenerWorker, Worker

_NAMED, _LISTED = 5, 30
"""How many refused nodes have a line of their own, and how many of the others are named."""

_ABSENT = {"waiting": 0, "oldest": None, "age": None, "held": 0, "refused": 0, "gone": True}
"""How the queue stands of a dispatcher that is being put in or taken out."""


class Status:
    """Looks at the daemon's parts; any thread may ask, while a reload changes them.

    `ready` and `faulty_edit` (the file has a fault, and is not followed) are for the daemon to set.
    `troubles`, of the gateway and in each of its sections, has a line for whatever keeps it from being
    healthy now. Ages, and all times else, are in seconds.
    """

    def __init__(
        self,
        file: Path,
        listeners: Mapping[str, ListenerWorker],
        dispatchers: Mapping[str, DispatcherWorker],
        queue: QueueAnswers,
        keeper: Timekeeper,
    ) -> None:
        self.ready = False
        self.faulty_edit = False
        self._file = file
        self._started = time.monotonic()
        self._listeners = listeners
        self._dispatchers = dispatchers
        self._queue = queue
        self._keeper = keeper

    def answer(self) -> dict[str, Any]:
        """Return all of it; OSError where the queue's disk cannot be read."""
        now = time.monotonic()
        queue = self._queue.status()
        listeners = {name: _listener(worker, now) for name, worker in dict(self._listeners).items()}
        dispatchers = {
            name: _dispatcher(worker, now) | {"queue": queue["dispatchers"].get(name, _ABSENT)}
            for name, worker in dict(self._dispatchers).items()
        }
        troubles = list(self._troubles(queue["trouble"], queue["refused_trouble"]))
        everywhere = [troubles, *(part["troubles"] for part in (*listeners.values(), *dispatchers.values()))]
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "file": str(self._file),
            "uptime": round(now - self._started, 1),
            "ready": self.ready,
            "healthy": not any(everywhere),
            "troubles": troubles,
            "listeners": listeners,
            "dispatchers": dispatchers,
            "dropped": queue["dropped"],
            "refused_dropped": queue["refused_dropped"],
            "bytes": queue["bytes"],
            "clock": {
                "doubt": self._keeper.doubt,
                "holding": self._keeper.holding,
                "steps": self._keeper.steps,
                "last_step": round(self._keeper.last_step, 1),
            },
        }

    def _troubles(self, *of_queue: str) -> Iterator[str]:
        if self.faulty_edit:
            yield f"{self._file} has faults (oemgateway check shows them): the previous settings stay active"
        yield from filter(None, of_queue)
        if self._keeper.doubt:
            what = "held until it is right" if self._keeper.holding else "sent all the same"
            yield f"{self._keeper.doubt}: readings are {what}"


def _age(at: float, now: float) -> float:
    """Return the seconds since a moment, which may be later than `now`: the workers go on meanwhile."""
    return round(max(0.0, now - at), 1)


def _about(worker: Worker[Any], now: float) -> dict[str, Any]:
    """Return what there is to say of a worker of either kind."""
    last, next_try = worker.last_trouble, worker.next_try
    return {
        "frames": worker.frames,
        "age": None if worker.last is None else _age(worker.last, now),
        "trouble": worker.trouble,
        "failures": worker.failures,
        "last_trouble": last and {"text": last.text, "age": _age(last.at, now)},
        "next_try": None if next_try is None else round(max(0.0, next_try - now), 1),
        "troubles": [trouble for trouble in (worker.trouble, worker.stuck) if trouble],
    }


def _listener(worker: ListenerWorker, now: float) -> dict[str, Any]:
    about = _about(worker, now)
    try:
        health = worker.plugin.health()
    except Exception as error:  # noqa: BLE001  (a plugin of a third party must not hide the others)
        health = Health(troubles=[f"it cannot say how it is, a bug in it: {error!r}"])
    nodes = {
        node: {
            "frames": latest.frames,
            "age": _age(latest.valued_at, now),
            "usual": latest.usual and round(latest.usual, 1),
            "silent": latest.is_silent(now),
        }
        for node, latest in worker.latest.nodes().items()
        if latest.valued_at is not None
    }
    refused = {"of a node that is another listener's": worker.refused} if worker.refused else {}
    refusal = (
        ["every frame is refused: its node is another listener's"]
        if worker.refused and not worker.frames
        else []
    )
    return about | {
        "rate": round(worker.latest.rate(now), 2),
        "nodes": nodes,
        "faults": {**health.faults, **refused},
        "troubles": [*about["troubles"], *health.troubles, *refusal, *_silences(nodes)],
    }


def _dispatcher(worker: DispatcherWorker, now: float) -> dict[str, Any]:
    about = _about(worker, now)
    clock = worker.plugin.clock.monotonic()
    nodes = {
        name: {
            "reason": node.reason,
            "frames": node.frames,
            "next_try": round(max(0.0, node.next_try - clock), 1),
        }
        for name, node in worker.refused_nodes.known(clock).items()
    }
    return about | {
        "doubled": worker.doubled,
        "refused_nodes": nodes,
        "troubles": [*about["troubles"], *_refusals(nodes)],
    }


def _refusals(nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, about in list(nodes.items())[:_NAMED]:
        count = about["frames"]
        yield (
            f"node {name} is refused, {count} frame{'s' * (count != 1)} of it set aside "
            f"(the next one is tried in {span(about['next_try'])}): {about['reason']}"
        )
    if more := list(nodes)[_NAMED:]:
        names = ", ".join(more[:_LISTED]) + ", ..." * (len(more) > _LISTED)
        yield f"{len(more)} more node{'s are' if len(more) > 1 else ' is'} refused: {names}"


def _silences(nodes: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for node, about in nodes.items():
        if about["silent"]:
            yield f"node {node} is silent for {span(about['age'])}, once heard every {span(about['usual'])}"
