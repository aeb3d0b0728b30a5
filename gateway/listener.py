"""The contract of a listener, and what it shares with dispatchers. Plugins import it from `gateway.plugin`.

A plugin is a keyword-only dataclass whose fields are its settings. The core calls it from one thread at a
time and owns timing, retries and logging. `OSError` is an expected failure: it is logged once, the plugin is
closed, and opened again after a pause. Any other exception is a bug: it is logged with its traceback, and
tried again all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from gateway.clock import Clock
from gateway.frame import Frame
from gateway.nodes import Nodes
from gateway.settings import LogLevel, setting
from gateway.store.syncing import Synced

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from gateway.flag import Flag
    from gateway.present.status import Status
    from gateway.present.values import Value


_MISSED = 3
"""How many of its usual pauses a node may be silent for."""
_LEAST = 60.0
"""Seconds of silence that are not reported."""
_KNOWN = 10
"""Frames before which no pause counts as usual: some nodes, such as a doorbell, have none."""


@dataclass(kw_only=True)
class Plugin:
    """What listeners and dispatchers share. The core gives `name` (that of its section) and `clock`.

    `state` is the directory for what must survive a restart, None if there is none.
    """

    usual: ClassVar[Mapping[str, str] | None] = None
    """The settings with which `oemgateway doctor` examines it if the configuration cannot be read."""

    active: bool = setting(default=True)
    loglevel: LogLevel | None = setting(None, compare=False)
    name: str = field(default="", init=False, compare=False)
    clock: Clock = field(default_factory=Clock, init=False, compare=False, repr=False)
    state: Path | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def log(self) -> logging.Logger:
        """The logger of this section."""
        return logging.getLogger(f"oemgateway.{self.name}")

    @property
    def busy_limit(self) -> float:
        """The seconds it may work between two waits; after that it counts as hanging."""
        return 300.0

    @property
    def exclusive(self) -> Iterable[str]:
        """What only one section can have, in words: "/dev/ttyAMA0", "port 80 of 127.0.0.1".

        "port 80" is in conflict with "port 80 of 127.0.0.1", which begins with all words of it.
        """
        return ()

    @property
    def remark(self) -> str:
        """What is worth knowing of its state, and is no trouble; another thread asks for it."""
        return ""

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return (setting, message) for each thing that is allowed but worth a remark; no I/O."""
        return ()

    def examine(self, machine: Machine) -> Iterable[Finding]:  # noqa: ARG002  (the default has nothing to look at)
        """Return what `oemgateway doctor` reports on what it works on; nothing is changed."""
        return ()

    def open(self) -> None:
        """Acquire what it works on; OSError if that is not there yet."""

    def close(self) -> None:
        """Release it. It is called after every `open`, also one that failed, and possibly a second time."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """What the configuration fixes about the values at an index of a node, or those with a `name`.

    Without an `index` it is the whole node. `identity` is the sensor's own, so that a sensor that moves is
    noticed. `kind` is the quantity, such as "temperature". `interval` is in seconds, 0 if values come at
    any time. `setting` is the key of the section that says so, as sensor3 does. If it is not `claimed`,
    other listeners may write there: a Dummy, or a node of a radio.
    """

    node: str
    index: int | None = None
    name: str = ""
    label: str = ""
    unit: str = ""
    kind: str = ""
    identity: str = ""
    interval: float = 0.0
    setting: str = ""
    claimed: bool = True


@dataclass(frozen=True)
class Health:
    """The state of a listener: counts of its `faults` by their words, a line for each sensor in trouble now.

    `details` is whatever else it knows, as JSON can have it.
    """

    faults: Mapping[str, int] = field(default_factory=dict)
    troubles: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Latest:
    """The last frame of a node from one listener, and when it came, in seconds of the monotonic clock.

    It may have no value at all, and its time may be wrong while the clock is; `valued` is the last that had
    a value, which came at `valued_at`. `frames` counts those with a value. `usual` is the usual pause in
    seconds, None before the second frame; several frames that come at once count as one. `beside` has the
    frames of the last minute with values that no later one has, and when each came.
    """

    frame: Frame
    at: float
    usual: float | None = None
    frames: int = 0
    valued: Frame | None = None
    valued_at: float | None = None
    beside: tuple[tuple[float, Frame], ...] = ()

    def is_silent(self, now: float) -> bool:
        """Tell whether values come less often than they used to."""
        if self.usual is None or self.valued_at is None or self.frames < _KNOWN:
            return False
        return now - self.valued_at > max(_MISSED * self.usual, _LEAST)


class Present(Protocol):
    """The present values, independent of what is still to be delivered; any thread may ask."""

    def latest(self) -> list[Latest]:
        """Return the last frame of each node of each listener."""

    def catalogue(self) -> Iterator[tuple[str, Series]]:
        """Yield each series that the configuration fixes, with the name of its listener, "" for [nodes]."""

    def series(self, frame: Frame, index: int) -> Series:
        """Return what is known of the value at an index of a frame."""

    def sources(self) -> Collection[str]:
        """Return the names of all listeners."""

    def node_name(self, node: str) -> str:
        """Return what people call a node, "" if [nodes] does not say."""

    def values(self) -> list[Value]:
        """Return each value as it is now, sorted, with those that are configured but not heard yet."""

    def reads_from(self, source: str, place: str) -> bool:
        """Tell whether a listener reads what is published at a place: see `Listener.reads_from`."""

    def status(self) -> Status:
        """Return the state of the gateway, as `oemgateway status --json` has it; OSError if that fails."""

    def subscribe(self, flag: Flag) -> None:
        """Have a flag raised at each new frame, for as long as the caller keeps it."""


@dataclass(kw_only=True)
class Listener(Plugin):
    """A source of frames: `read`, and where they are needed `open`, `close` and four more methods.

    The core gives it `nodes`, what the configuration says of nodes, and `claimed`, the nodes of other
    listeners: a frame of one of these is not kept, as it would go to their inputs. Both are given again when
    they are edited.
    """

    nodes: Nodes = field(default_factory=Nodes, init=False, compare=False, repr=False)
    claimed: frozenset[str] = field(default=frozenset(), init=False, compare=False, repr=False)
    synced: Synced = field(default_factory=Synced, init=False, compare=False, repr=False)
    noted: dict[str, str] = field(default_factory=dict, init=False, compare=False, repr=False)
    """Texts by name to keep with the frames that `read` returns next, in one transaction."""
    notes: Callable[[], Mapping[str, str]] = field(default=dict, init=False, compare=False, repr=False)
    """Gives what was kept that way; a text that is empty was taken away."""

    NAMES_NODES: ClassVar[bool] = True
    """Whether what it hears may call a node anything; otherwise nodes are numbers, or in its catalogue."""
    SCALES: ClassVar[bool] = True
    """Whether its values are multiplied by the scales of [nodes]; otherwise they stay as they come."""

    @property
    def simulated(self) -> bool:
        """Whether its readings are simulated."""
        return False

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for readings, or for `stop`, and return them: one list is one transaction on the disk."""
        raise NotImplementedError

    @property
    def sets(self) -> Mapping[str, str]:
        """The value that it sets on each device, by name: another section should not set a different one."""
        return {}

    @property
    def reads(self) -> Sequence[str]:
        """The devices that it reads, by names that no others have: rarely should another section, too."""
        return ()

    def catalogue(self) -> Iterable[Series]:
        """Return what the configuration fixes of the values it gives; no I/O."""
        return ()

    def reads_from(self, place: str) -> bool:  # noqa: ARG002  (by default there is none)
        """Tell whether it reads what is published at a place, such as localhost:1883/emon/9.

        What it has read there is not published there again.
        """
        return False

    def health(self) -> Health:
        """Return its state; another thread calls this, so it only copies what `read` has left there."""
        return Health()
