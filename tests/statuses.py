"""The status of a gateway that has one listener and one dispatcher, with what a test changes in it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway.present.status import (
    ClockStatus,
    DispatcherStatus,
    ListenerStatus,
    NodeStatus,
    PastTrouble,
    QueueStatus,
    Status,
)

SECTION = {
    "frames": 7,
    "age": 2.0,
    "trouble": "",
    "failures": 0,
    "last_trouble": None,
    "next_try": None,
    "troubles": [],
}


def section(last_trouble: str = "", **changes: Any) -> dict[str, Any]:
    return {
        **SECTION,
        **({"last_trouble": PastTrouble(last_trouble, 2.0)} if last_trouble else {}),
        **changes,
    }


def listener(silent: dict[str, float] | None = None, **changes: Any) -> ListenerStatus:
    """Return a listener; `silent` are nodes that are silent for so many seconds, if more than a minute."""
    nodes = {
        name: NodeStatus(frames=1, age=age, usual=1.0, silent=age > 60)
        for name, age in (silent or {}).items()
    }
    return ListenerStatus(**{"rate": 12.0, "nodes": nodes, "faults": {}, **section(**changes)})


def dispatcher(queue: dict[str, Any] | None = None, **changes: Any) -> DispatcherStatus:
    waiting = QueueStatus(**{"gone": False, **(queue or {})})
    return DispatcherStatus(**{"doubled": 0, "refused_nodes": {}, "queue": waiting, **section(**changes)})


def status(**changes: Any) -> Status:
    """Return the status of a gateway that has one of each: `radio` and `home`."""
    whole = {
        "version": "1.0",
        "pid": 812,
        "file": "/etc/oemgateway.conf",
        "uptime": 60.0,
        "ready": True,
        "healthy": True,
        "troubles": [],
        "listeners": {"radio": listener()},
        "dispatchers": {"home": dispatcher()},
        "dropped": 0,
        "bytes": 0,
        "clock": ClockStatus(doubt="", holding=False, steps=0, last_step=0.0),
    }
    return Status(**{**whole, **changes})


def answer(**changes: Any) -> dict[str, Any]:
    """Return the same as it comes from the socket."""
    return asdict(status(**changes))
