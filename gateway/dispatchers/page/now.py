"""What is now, as the page and `/api/now` have it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.present.status import Status
from gateway.present.values import Value
from gateway.text.plain import plain

if TYPE_CHECKING:
    from gateway.plugin import Present

_FOLDERS = re.compile(r"(?<![^\s\"'(\[=])(?!/(?:input|feed)/)(/[\w.+@-]+)*/(?=[\w.+@-])")
"""The folders of a path; neither the path of a URL nor an API path of Emoncms is one."""
_SHOWN = ("node", "node_name", "index", "label", "unit", "value", "last", "age", "rssi", "source")
"""What `/api/now` has of a value."""


@dataclass(frozen=True)
class Now:
    """The values and the status of the gateway at a time in Unix seconds; None: it cannot be read.

    `troubles` has a line for each, with the name of its section; paths are left out.
    """

    at: float
    values: list[Value]
    status: Status | None
    troubles: list[str]

    @classmethod
    def of(cls, present: Present, at: float) -> Now:
        """Look at the gateway."""
        values = [value for value in present.values() if not value.dummy]
        try:
            status = present.status()
        except OSError as error:
            return cls(at, values, None, [plain(f"the queue cannot be read: {error.strerror or 'its disk'}")])
        troubles = [_said(line.replace(status.file, "the configuration")) for line in status.all_troubles]
        return cls(at, values, status, troubles)


def _said(trouble: str) -> str:
    """Return a line on a trouble with the names of files, and without where they are."""
    return plain(_FOLDERS.sub("", trouble))


def key(value: Value) -> str:
    """Return what a value is called in addresses and messages: its node, and its index or name."""
    return f"{value.node}/{value.label if value.index is None else value.index}"


def as_json(now: Now) -> dict[str, Any]:
    """Return what `/api/now` says."""
    status = now.status
    return {
        "time": round(now.at, 3),
        "healthy": not now.troubles,
        "troubles": now.troubles,
        "version": status.version if status else None,
        "uptime": status.uptime if status else None,
        "clock_doubt": status.clock.doubt if status else None,
        "values": [{name: getattr(value, name) for name in _SHOWN} for value in now.values],
        "destinations": [
            {
                "name": name,
                "delivered": about.frames,
                "age": about.age,
                "waiting": about.queue.waiting,
                "oldest": about.queue.age,
                "refused": about.queue.refused,
                "next_try": about.next_try,
                "troubles": [trouble for trouble in now.troubles if trouble.startswith(f"{name}: ")],
            }
            for name, about in (status.dispatchers.items() if status else ())
        ],
    }
