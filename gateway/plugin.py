"""The contract of a plugin: a keyword-only dataclass whose fields are its settings, and a few methods.

The core calls a plugin from one thread at a time and owns timing, retry and logging. `OSError` is weather:
logged once, closed, opened again after a while. Any other exception is a bug: logged with its traceback, and
tried again all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.clock import Clock
from gateway.frame import Frame
from gateway.nodes import Nodes
from gateway.settings import LogLevel, at_least, between, setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from gateway.flag import Flag


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
"""The most frames that any dispatcher is given at a time."""


@dataclass(frozen=True)
class Batch:
    """Frames to deliver, oldest first, and the id that the queue has for each; ids only ever grow."""

    frames: Sequence[Frame]
    ids: Sequence[int]


@dataclass(frozen=True)
class Progress:
    """How many of some frames, from the front, a far end has; None where that cannot be told.

    `shown` is what it shows of them, in any form that can be compared. `missing` are positions within those
    `count` that it does not have all the same, as it takes nothing of their nodes.
    """

    count: int | None
    shown: frozenset[object] = frozenset()
    missing: frozenset[int] = frozenset()


class Delivery:
    """A batch as a dispatcher has encoded it, once. The core sends it, and asks what became of it.

    `count` is how many of the frames go, from the front. It is 0 where the far end has something that the
    first frame could not be told from: that one goes alone. `unconfirmed` is how many of those that went,
    from the back, the far end has still to confirm after `send` has returned. The core then sends nothing
    more, and waits as `Dispatcher.wake` says, until `serve` has brought it down to 0 or raised a failure.
    """

    unconfirmed = 0

    def __init__(self, count: int) -> None:
        self.count = count

    def send(self) -> None:
        """Send the frames; called once. Raises one of the failures below, or OSError."""
        raise NotImplementedError

    def delivered(self) -> Progress | None:
        """Return how many of the frames that were sent the far end has; None where it cannot be asked.

        Before `send` that is of all frames of the batch: an earlier run may have sent them. Called again, a
        second later, until two answers are equal: a far end may still be at work. Since `send` the dispatcher
        may have been closed and opened. Raises a failure, or OSError, where the far end cannot be asked now.
        """
        return None


class _Whole(Delivery):
    """A batch that goes through `Dispatcher.send` as it is."""

    def __init__(self, send: Callable[[Batch], None], batch: Batch) -> None:
        super().__init__(len(batch.frames))
        self._send = send
        self._batch = batch

    def send(self) -> None:
        self._send(self._batch)


@dataclass(frozen=True)
class Wake:
    """When a dispatcher is to be served: once a descriptor is readable, or after so many seconds.

    None stands for never. Several descriptors, or one to be written to, go into an epoll object, which has a
    descriptor of its own.
    """

    fileno: int | None = None
    seconds: float | None = None


@dataclass(kw_only=True)
class Dispatcher(Plugin):
    """A destination of frames, asked `interval` seconds apart (0: at once) with at most `batch` of them.

    It implements `send`, or `prepare` where it can say more of a batch than that it was sent.
    """

    interval: float = setting(0.0, check=at_least(0))
    batch: int = setting(100, check=between(1, LARGEST_BATCH))

    def send(self, batch: Batch) -> None:
        """Deliver all of these frames; raise one of the failures below otherwise, or OSError."""
        raise NotImplementedError

    def prepare(self, batch: Batch) -> Delivery:
        """Encode a batch of at least one frame; no I/O."""
        return _Whole(self.send, batch)

    def time(self) -> float | None:
        """Return what the far end's clock shows, in Unix seconds, or None where it shows none.

        Raises a failure, or OSError, where it cannot be asked.
        """
        return None

    def wake(self) -> Wake:
        """Return when `serve` is wanted next; asked before every wait, while the dispatcher is open.

        A dispatcher that names something stays open after a DeliveryFailure, and is served during the pause
        before the next try. After an OSError, and where it names nothing, it is closed first.
        """
        return Wake()

    def serve(self) -> None:
        """Do what is due between batches: keep-alive, acknowledgements. It returns soon.

        Raises OSError where the connection is lost, and the failures below: those that concern a batch while
        one is unconfirmed.
        """


class DeliveryFailure(Exception):
    """A batch that was not delivered, or perhaps not; the message is one line for the log."""


class TryLater(DeliveryFailure):
    """Nothing was taken beyond what is confirmed, for no fault of the frames: the same is tried again."""


class HoldEverything(DeliveryFailure):
    """A wrong key or address, or a fault at the far end: nothing passes until someone corrects it."""


class BadFrame(DeliveryFailure):
    """The far end refuses a frame of this batch, and may have taken those before it.

    Smaller batches are sent, until that frame is found and set aside.
    """


class NodeRefused(BadFrame):
    """The far end takes no frame of a node, whatever its values, and may have taken those before the first.

    Frames of that node are set aside without being sent, and one is tried once an hour.
    """

    def __init__(self, message: str, node: str) -> None:
        super().__init__(message)
        self.node = node


class OutcomeUnknown(DeliveryFailure):
    """The batch was sent, and the far end has taken all, some or nothing of it."""
