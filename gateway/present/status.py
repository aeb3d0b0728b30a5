"""The gateway's state: what `oemgateway status --json` prints. Ages and other times are in seconds."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class PastTrouble:
    """What a section failed with last."""

    text: str
    age: float


@dataclass(frozen=True, kw_only=True)
class SectionStatus:
    """A section: the frames that went through it, the last one `age` ago, and its troubles.

    `trouble` is what it fails with now, and `failures` is how often it has failed. `troubles` has a line for
    whatever keeps it from being healthy. `remark` is what is worth knowing but not a trouble.
    """

    frames: int
    age: float | None
    trouble: str
    failures: int
    last_trouble: PastTrouble | None
    next_try: float | None
    troubles: list[str]
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """A node: how many frames with a value came from it, the last `age` ago, and their `usual` pause."""

    frames: int
    age: float
    usual: float | None
    silent: bool


@dataclass(frozen=True, kw_only=True)
class ListenerStatus(SectionStatus):
    """A listener: frames a minute, its nodes, and the counts of its faults in words."""

    rate: float
    nodes: dict[str, NodeStatus]
    faults: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class RefusedNodeStatus:
    """A node that a far end refuses: why, and how many of its frames were set aside."""

    reason: str
    frames: int
    next_try: float


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """What waits for a dispatcher: the time and age of the oldest frame, and how many are held or refused.

    `gone`: there is no such dispatcher (any more).
    """

    waiting: int = 0
    oldest: float | None = None
    age: float | None = None
    held: int = 0
    refused: int = 0
    gone: bool = True


@dataclass(frozen=True, kw_only=True)
class DispatcherStatus(SectionStatus):
    """A dispatcher: how many frames may have arrived twice, the nodes it is refused, and its queue."""

    doubled: int
    refused_nodes: dict[str, RefusedNodeStatus]
    queue: QueueStatus


@dataclass(frozen=True, kw_only=True)
class ClockStatus:
    """The clock: why it is in doubt, whether frames are held, and how often it was set."""

    doubt: str
    holding: bool
    steps: int
    last_step: float


@dataclass(frozen=True, kw_only=True)
class Status:
    """The whole gateway. It is healthy where neither it nor any of its sections has troubles.

    `queue_trouble` is that of `troubles` which is about the queue's file.
    """

    version: str
    pid: int
    file: str
    uptime: float
    ready: bool
    healthy: bool
    troubles: list[str]
    queue_trouble: str = ""
    listeners: dict[str, ListenerStatus] = field(default_factory=dict)
    dispatchers: dict[str, DispatcherStatus] = field(default_factory=dict)
    dropped: int
    refused_dropped: int = 0
    bytes: int
    clock: ClockStatus

    @property
    def sections(self) -> dict[str, SectionStatus]:
        """Listeners and dispatchers, by name."""
        return {**self.listeners, **self.dispatchers}

    @property
    def all_troubles(self) -> list[str]:
        """Every trouble, those of a section behind its name."""
        of_sections = [f"{name}: {line}" for name, about in self.sections.items() for line in about.troubles]
        return [*self.troubles, *of_sections]


def from_json(cls: type[T], given: Any) -> T:  # noqa: ANN401  (JSON)
    """Return a dataclass from its `asdict`, with those in it; what it does not know is left out.

    Raises TypeError, AttributeError or KeyError if `given` is something else.
    """
    kinds = typing.get_type_hints(cls)
    names = [each.name for each in dataclasses.fields(cls) if each.name in given]  # type: ignore[arg-type]
    return cls(**{name: _part(kinds[name], given[name]) for name in names})


def _part(kind: Any, given: Any) -> Any:  # noqa: ANN401  (a type in, one of its values out)
    kinds = typing.get_args(kind)
    if given is None:
        return None
    if typing.get_origin(kind) is dict and dataclasses.is_dataclass(kinds[1]):
        return {key: _part(kinds[1], each) for key, each in given.items()}
    if typing.get_origin(kind) is list and dataclasses.is_dataclass(kinds[0]):
        return [_part(kinds[0], each) for each in given]
    found = next((each for each in (kind, *kinds) if dataclasses.is_dataclass(each)), None)
    return from_json(found, given) if isinstance(found, type) else given
