"""The contract of listeners and dispatchers: a plugin imports all it needs of the core from here.

What they share is described in `gateway/listener.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.diagnosis.finding import Finding, bad, good, unknown
from gateway.diagnosis.machine import Machine
from gateway.flag import Flag, wait_readable
from gateway.frame import Frame, Stamp, check_node
from gateway.listener import Health, Latest, Listener, Plugin, Present, Series
from gateway.sampler import Sampler
from gateway.settings import SettingsFault, at_least, between, setting
from gateway.store.syncing import Synced

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LARGEST_BATCH",
    "BadFrame",
    "Batch",
    "Clock",
    "Delivery",
    "DeliveryFailure",
    "Dispatcher",
    "Finding",
    "Flag",
    "Frame",
    "Health",
    "HoldEverything",
    "Latest",
    "Listener",
    "Machine",
    "NodeRefused",
    "NotKept",
    "OutcomeUnknown",
    "Plugin",
    "Present",
    "Progress",
    "Sampler",
    "Series",
    "SettingsFault",
    "Stamp",
    "Synced",
    "TryLater",
    "Wake",
    "Whole",
    "at_least",
    "bad",
    "between",
    "check_node",
    "good",
    "setting",
    "unknown",
    "wait_readable",
]

LARGEST_BATCH = 1000
"""The most frames that any dispatcher is given at a time."""


@dataclass(frozen=True)
class Batch:
    """Frames to deliver, oldest first, and the id that the queue has for each; ids only ever grow.

    After a power cut an id may be given again: it is unique together with its epoch.
    """

    frames: Sequence[Frame]
    ids: Sequence[int]
    epochs: Sequence[str] = ()


@dataclass(frozen=True)
class Progress:
    """How many of some frames, from the front, a far end has; None if that cannot be told.

    `shown` is what it shows of them, in any form that can be compared. `missing` are positions within those
    `count` that it does not have all the same, as it takes nothing of their nodes. `none_there` says that it
    surely has none of them, nor a part of one: they may be sent with other times.
    """

    count: int | None
    shown: frozenset[object] = frozenset()
    missing: frozenset[int] = frozenset()
    none_there: bool = False


class Delivery:
    """A batch as a dispatcher has encoded it, once. The core sends it, and asks what became of it.

    `count` is how many of the frames are sent, from the front. It is 0 if the far end has something that
    cannot be told from the first frame: that one is sent alone. `unconfirmed` is how many of those that went,
    from the back, the far end has still to confirm after `send` has returned. The core then sends nothing
    more, and waits as `Dispatcher.wake` says, until `serve` has brought it down to 0 or raised a failure.
    `failed` says how the far end failed in the middle of a frame, if `delivered` must know it; `failed_in` is
    how many frames were sent then, from the front. The core sets both again after a restart.
    """

    unconfirmed = 0
    failed, failed_in = "", 0

    def __init__(self, count: int) -> None:
        self.count = count

    def send(self) -> None:
        """Send the frames; called once. Raises one of the failures below, or OSError."""
        raise NotImplementedError

    def delivered(self) -> Progress | None:
        """Return how many of the frames that were sent the far end has; None if it cannot be asked.

        Before `send` that is of all frames of the batch: an earlier run may have sent them. It is called
        again, a second later, until two answers are equal: the far end may still be storing. Since `send` the
        dispatcher may have been closed and opened. Raises a failure, or OSError, if it cannot be asked now.
        """
        return None


class Whole(Delivery):
    """A batch that is passed to `Dispatcher.send` as it is."""

    def __init__(self, send: Callable[[Batch], None], batch: Batch) -> None:
        super().__init__(len(batch.frames))
        self._send = send
        self._batch = batch

    def send(self) -> None:
        """Have the dispatcher send it."""
        self._send(self._batch)


@dataclass(frozen=True)
class Wake:
    """When to serve a dispatcher: once a descriptor is readable, or after so many seconds.

    None stands for never. Several descriptors, or one to be written to, go into an epoll object, which has a
    descriptor of its own.
    """

    fileno: int | None = None
    seconds: float | None = None


@dataclass(kw_only=True)
class Dispatcher(Plugin):
    """A destination of frames, called every `interval` seconds (0: at once) with at most `batch` of them.

    It implements `send`, or `prepare` if it can say more about a batch than that it was sent.
    The core gives it what is `present`; None if no gateway runs.
    """

    interval: float = setting(0.0, check=at_least(0))
    batch: int = setting(100, check=between(1, LARGEST_BATCH))
    present: Present | None = field(default=None, init=False, compare=False, repr=False)

    def send(self, batch: Batch) -> None:
        """Deliver all of these frames; raise one of the failures below otherwise, or OSError."""
        raise NotImplementedError

    def prepare(self, batch: Batch) -> Delivery:
        """Encode a batch of at least one frame; no I/O."""
        return Whole(self.send, batch)

    def time(self) -> float | None:
        """Return what the far end's clock shows, in Unix seconds, or None if it shows none.

        Raises a failure, or OSError, if it cannot be asked.
        """
        return None

    @property
    def has_clock(self) -> bool:
        """Whether its far end has a clock that can be asked."""
        return type(self).time is not Dispatcher.time

    @property
    def account(self) -> tuple[str, ...]:
        """Where it delivers to, if a reading that comes there twice would count twice; else empty."""
        return ()

    def wake(self) -> Wake:
        """Return when `serve` is wanted next; asked before every wait, while the dispatcher is open.

        A dispatcher that names something stays open after a DeliveryFailure, and is served during the pause
        before the next try. After an OSError, and where it names nothing, it is closed first.
        """
        return Wake()

    def serve(self) -> None:
        """Do what is due between batches: keep-alive, acknowledgements. It returns soon.

        Raises OSError if the connection is lost, and the failures below: those that concern a batch while
        one is unconfirmed.
        """


class DeliveryFailure(Exception):
    """A batch that was not delivered, or perhaps not; the message is one line for the log."""


class TryLater(DeliveryFailure):
    """Nothing was taken beyond what is confirmed, through no fault of the frames: they are tried again."""


class NotKept(TryLater):
    """The far end has not kept what it shows as arrived: everything is sent again.

    That includes what it showed after answers that were lost just before. Until all that was sent before is
    delivered, it is not asked what it has.
    """


class HoldEverything(DeliveryFailure):
    """A wrong key or address, or a fault at the far end: nothing gets through until someone corrects it."""


class BadFrame(DeliveryFailure):
    """The far end refuses a frame of this batch, and may have taken those before it.

    Smaller batches are sent, until that frame is found and set aside.
    """


class NodeRefused(BadFrame):
    """The far end takes no frame of a node, whatever its values, and may have taken those before the first.

    Frames of that node are set aside without being sent, and one is tried once an hour. `stored` says that
    frames of the batch, perhaps of that node too, were taken before it: the far end is asked how many.
    """

    def __init__(self, message: str, node: str, *, stored: bool = False) -> None:
        super().__init__(message)
        self.node = node
        self.stored = stored


class OutcomeUnknown(DeliveryFailure):
    """The batch was sent, and the far end has taken all, some or nothing of it."""
