"""One thread per plugin: open, step, and on failure close, wait, again."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway.flag import Flag, wait_readable
from gateway.plugin import (
    BadFrame,
    DeliveryFailure,
    Dispatcher,
    HoldEverything,
    Listener,
    OutcomeUnknown,
    Plugin,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.frame import Frame
    from gateway.spool import Spool

P = TypeVar("P", bound=Plugin)


class Backoff:
    """Pauses that double from 1 s up to a limit, each drawn from zero to its length (full jitter)."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._tries = 0

    def next(self, limit: float) -> float:
        """Return the next pause in seconds."""
        pause = min(limit, 2.0 ** min(self._tries, 30))
        self._tries += 1
        return self._draw.uniform(0, pause)

    def reset(self) -> None:
        """Start at 1 s again."""
        self._tries = 0


class Worker(threading.Thread, Generic[P]):
    """Runs one plugin. Its trouble is told once when it begins, and once when it is over.

    `after` is the worker this one replaces: a port is opened anew only when the old thread has let go of it.
    """

    limit = 10.0
    """The longest pause between two tries, in seconds."""

    def __init__(
        self, plugin: P, *, after: Worker[P] | None = None, draw: random.Random | None = None
    ) -> None:
        super().__init__(name=plugin.name, daemon=True)
        self.plugin = plugin
        self.stop = Flag()
        self.finished = Flag()
        self.trouble = ""
        self.frames = 0
        self.last: float | None = None
        self._after = after
        self._backoff = Backoff(draw or random.Random())  # noqa: S311  (it spreads retries, no more)
        self._opened = False
        self._failed_to_open = False

    def run(self) -> None:
        """Work until `stop` is raised."""
        if self._after is not None:
            wait_readable([self.stop, self._after.finished])
            self._after = None
        while not self.stop.is_set():
            pause = 0.0
            try:
                self._work()
            except (OSError, DeliveryFailure) as failure:
                self._failed(str(failure) or type(failure).__name__)
                pause = self._backoff.next(30.0 if isinstance(failure, HoldEverything) else self.limit)
            except Exception:
                self.plugin.log.exception("a fault in the program; it is tried again all the same")
                self._failed("a fault in the program: its traceback is in the log")
                pause = self._backoff.next(self.limit)
            finally:
                self._close()
            self.stop.wait(pause)
        self.finished.set()

    def _work(self) -> None:
        self._opened = False
        self.plugin.open()
        self._opened = True
        if self._failed_to_open:
            self.succeeded()
        while not self.stop.is_set():
            self.step()

    def step(self) -> None:
        """Do one round of work."""
        raise NotImplementedError

    def _failed(self, trouble: str) -> None:
        # That it opens again proves something only to the one that could not be opened.
        self._failed_to_open = not self._opened
        if trouble != self.trouble:
            self.plugin.log.warning("%s", trouble)
            self.trouble = trouble

    def succeeded(self) -> None:
        """Note that the plugin does its work (again)."""
        self._failed_to_open = False
        self._backoff.reset()
        if self.trouble:
            self.trouble = ""
            self.plugin.log.warning("works again")

    def _close(self) -> None:
        try:
            self.plugin.close()
        except OSError as error:
            self.plugin.log.debug("while closing: %s", error)
        except Exception:
            self.plugin.log.exception("a fault in the program while closing")


class ListenerWorker(Worker[Listener]):
    """Puts what a listener reads on disk before it asks for more.

    `claimed` are the nodes that the configuration gives to other listeners: a frame of such a node that comes
    in here would land in their inputs, and is refused.
    """

    def __init__(
        self, plugin: Listener, spool: Spool, claimed: Collection[str], *, after: ListenerWorker | None = None
    ) -> None:
        super().__init__(plugin, after=after)
        self.claimed = claimed
        self.refused = 0
        self._spool = spool
        self._told: set[str] = set()

    def step(self) -> None:
        """Read once, and keep what has a value."""
        frames = self.plugin.read(self.stop)
        self.succeeded()
        kept = [frame for frame in frames if frame.items() and not self._is_claimed(frame)]
        if kept:
            self._spool.put(kept)
            self.frames += len(kept)
            self.last = self.plugin.clock.monotonic()

    def _is_claimed(self, frame: Frame) -> bool:
        if frame.node not in self.claimed:
            return False
        self.refused += 1
        if frame.node not in self._told:
            self._told.add(frame.node)
            self.plugin.log.error(
                "node %s is refused: the configuration gives that node to another listener; "
                "change the one or the other, or values would mix",
                frame.node,
            )
        return True


class DispatcherWorker(Worker[Dispatcher]):
    """Takes frames from disk, oldest first, and forgets them only when they are delivered.

    When a batch is refused, smaller ones go until the frame to blame stands alone; that one is set aside.
    """

    limit = 300.0

    def __init__(self, plugin: Dispatcher, spool: Spool, *, after: DispatcherWorker | None = None) -> None:
        super().__init__(plugin, after=after)
        self._spool = spool
        self._bell = Flag()
        self._size = plugin.batch
        self._unknown = False
        self._refusal = ""
        spool.bell(plugin.name, self._bell)

    def step(self) -> None:
        """Deliver a batch, or sleep until there is something to deliver."""
        self._bell.clear()
        batch = self._spool.peek(self.name, self._size)
        if not batch:
            wait_readable([self.stop, self._bell])
            return
        frames = [frame for _, frame in batch]
        sent = self._deliver(frames)
        if sent:
            self._spool.done(self.name, batch[sent - 1][0])
            self.frames += sent
            self.last = self.plugin.clock.monotonic()
            self.succeeded()
            if len(batch) < self._size:
                self.stop.wait(self.plugin.interval)
            self._size = min(self._size * 2, self.plugin.batch)
        elif len(batch) > 1:
            self._size = len(batch) // 2
        else:
            ((number, frame),) = batch
            self.plugin.log.error("a frame of node %s is set aside: %s", frame.node, self._refusal)
            self._spool.refuse(self.name, number, self._refusal)

    def _deliver(self, frames: Sequence[Frame]) -> int:
        """Return how many of the frames, from the front, the far end has; 0 when it refuses the batch."""
        if self._unknown:
            already = self.plugin.delivered(frames)
            self._unknown = False
            if already:
                return already
        try:
            self.plugin.send(frames)
        except BadFrame as refusal:
            self._refusal = str(refusal)
            return 0
        except OutcomeUnknown:
            self._unknown = True
            raise
        return len(frames)
