"""The contract of a plugin: a keyword-only dataclass whose fields are its settings, and a few methods.

The core calls a plugin from one thread at a time and owns timing, retry and logging. `OSError` is weather:
logged once, closed, opened again after a while. Any other exception is a bug: logged with its traceback, and
tried again all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.clock import Clock
from gateway.nodes import Nodes
from gateway.settings import LogLevel, at_least, between, setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from gateway.flag import Flag
    from gateway.frame import Frame


@dataclass(kw_only=True)
class Plugin:
    """What listeners and dispatchers share. `name` (its section's) and `clock` are given by the core."""

    usual: ClassVar[Mapping[str, str] | None] = None
    """The settings with which `oemgateway doctor` examines it where the configuration cannot be read."""

    active: bool = setting(default=True)
    loglevel: LogLevel | None = setting(None, compare=False)
    name: str = field(default="", init=False, compare=False)
    clock: Clock = field(default_factory=Clock, init=False, compare=False, repr=False)

    @property
    def log(self) -> logging.Logger:
        """The logger of this section."""
        return logging.getLogger(f"oemgateway.{self.name}")

    @property
    def busy_limit(self) -> float:
        """The seconds that may pass in its work between two waits; beyond, it is taken to hang."""
        return 300.0

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return (key, message) of what is allowed but worth a word; no I/O."""
        return ()

    def examine(self, machine: Machine) -> Iterable[Finding]:  # noqa: ARG002  (the default has nothing to look at)
        """Return what `oemgateway doctor` should say of what it works on: looks, and changes nothing."""
        return ()

    def open(self) -> None:
        """Acquire what it works on; OSError where that is not there yet."""

    def close(self) -> None:
        """Release it; may be called twice, and without an `open`."""


@dataclass(kw_only=True)
class Listener(Plugin):
    """A source of frames.

    The core gives two things more, and gives them anew while it goes on when they are edited: `nodes` is what
    the configuration says of nodes, and `claimed` are those that it gives to other listeners. A frame of one
    of these would land in their inputs, and is not kept. `state` is the directory of what is to outlive a
    restart, None where there is none.
    """

    nodes: Nodes = field(default_factory=Nodes, init=False, compare=False, repr=False)
    claimed: frozenset[str] = field(default=frozenset(), init=False, compare=False, repr=False)
    state: Path | None = field(default=None, init=False, compare=False, repr=False)

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for what comes, or for `stop`, and return it: one list is one transaction on the disk."""
        raise NotImplementedError

    def claims(self) -> dict[str, Mapping[int, str] | None]:
        """Return the indices it writes, by node, where the configuration fixes them, and what stands at each.

        That is an identity which is the sensor's own, so that a sensor that moves can be told ("": none).
        None in their place claims the whole node: what is written there is known when it comes.
        """
        return {}

    def expects(self) -> Iterable[str]:
        """Return the nodes whose packets it gets, as far as the configuration tells before any has come."""
        return ()

    def holds(self) -> Iterable[str]:
        """Return, in words, what only one listener can have at a time, such as "/dev/ttyAMA0".

        Words that go on where those of another end are a part of it: "port 80 of 127.0.0.1" is, of "port 80".
        """
        return ()

    def labels(self) -> dict[str, Mapping[int, str]]:
        """Return what people call what stands at its indices, by node, where the configuration says so."""
        return {}

    def units(self) -> dict[str, Mapping[int, str]]:
        """Return the units of the values at its indices, by node, where it knows them."""
        return {}

    def report(self) -> dict[str, Any]:
        """Return what it knows of its sensors, as JSON can have it; "faults" counts, by what they were.

        Another thread calls this: it only copies what the listener's own thread has left there.
        """
        return {}

    def ailing(self) -> list[str]:
        """Return a line for each of its sensors that gives no value now; called as `report` is."""
        return []

    @property
    def simulated(self) -> bool:
        """Whether its readings are made up."""
        return False


LARGEST_BATCH = 1000
"""The most frames that any dispatcher sends at a time."""


@dataclass(frozen=True)
class Place:
    """How far into some frames a far end has come: it has `count` of them, from the front.

    None where that cannot be told. `shown` is what it shows of them, to be compared. `missing` are the places
    in those `count` of frames that it does not have all the same, as it has nothing of their nodes.
    """

    count: int | None
    shown: frozenset[object] = frozenset()
    missing: frozenset[int] = frozenset()


@dataclass(kw_only=True)
class Dispatcher(Plugin):
    """A destination of frames, asked `interval` seconds apart (0: at once) with at most `batch` of them."""

    interval: float = setting(0.0, check=at_least(0))
    batch: int = setting(100, check=between(1, LARGEST_BATCH))

    def together(self, frames: Sequence[Frame]) -> int:
        """Return how many of these, from the front, can go in one batch and be told apart by `delivered`.

        0 where it could not tell the first from what the far end has: that one goes alone.
        """
        return len(frames)

    def send(self, frames: Sequence[Frame]) -> None:
        """Deliver all of these, oldest first; raise one of the failures below otherwise, or OSError."""
        raise NotImplementedError

    def delivered(self, frames: Sequence[Frame]) -> Place | None:  # noqa: ARG002  (the default cannot tell)
        """Return how many of these the far end has already; None where there is no way to ask it.

        It is asked again, a second later, until two answers are equal: a far end at work is still moving.
        Raises a failure, or OSError, where it cannot be asked now.
        """
        return None

    def time(self) -> float | None:
        """Return what the far end's clock shows, in Unix seconds, or None where it shows none.

        Raises a failure, or OSError, where it cannot be asked.
        """
        return None


class DeliveryFailure(Exception):
    """A delivery that did not happen, or may not have; the message is one line for the log."""


class TryLater(DeliveryFailure):
    """Nothing was taken, and the frames are not to blame: try the same again after a while."""


class HoldEverything(DeliveryFailure):
    """A key, an address or the far end's own house is wrong: nothing will pass until someone mends it."""


class BadFrame(DeliveryFailure):
    """The far end refuses something in this batch, and may have taken what stood before it.

    Less of it is sent at a time, until the frame is found.
    """


class NodeRefused(BadFrame):
    """The far end takes no frame of a node, whatever is in it.

    It may have taken what stood before the first of them. Frames of that node are set aside without being
    sent, and one is tried once an hour.
    """

    def __init__(self, message: str, node: str) -> None:
        super().__init__(message)
        self.node = node


class OutcomeUnknown(DeliveryFailure):
    """The batch was sent, and all, some or nothing of it taken."""
