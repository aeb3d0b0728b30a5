"""One thread per plugin: open, step, and on failure close, wait, again."""

from __future__ import annotations

import _thread
import random
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gateway.flag import Flag, wait_readable
from gateway.plugin import DeliveryFailure, Listener, Plugin
from gateway.present.state import LatestFrames
from gateway.text.words import failure
from gateway.workers.backoff import Backoff
from gateway.workers.trouble import Episode, Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.frame import Frame
    from gateway.store.syncing import Syncing
    from gateway.times.dating import Dating

P = TypeVar("P", bound=Plugin)

_FAULT = "a fault in the program: its traceback is in the log"
_OVERDUE = 30.0
"""Seconds that a listener may be busy, whatever its interval, before that is shown."""

_CLAIMED = (
    "node %s is refused: the configuration gives it to another listener; change the one or the other, or "
    "values would mix"
)
"""Why frames of a node are refused, for the log and status."""

_SHOWN = 3600.0
"""Seconds for which it is shown that frames of a node were refused."""


class Worker(Generic[P]):
    """Runs one plugin in a thread. Its trouble is logged when it begins, and when it has long been over.

    `trouble` is what it fails with now, and `failures` how often it has failed. `after` are the workers that
    this one replaces: it opens the plugin when their threads have ended. `tried` is raised after the first
    attempt to open it. `frames` counts those that went through; `last` is when the last one did, and
    `next_try` when it is opened again, in seconds of the monotonic clock. `is_replaced` says that its name
    now belongs to another far end.
    """

    def __init__(self, plugin: P, *, after: Sequence[Worker[Any]] = ()) -> None:
        self.name = plugin.name
        self.plugin = plugin
        self.is_replaced = False
        self.stop = Flag()
        self.finished = Flag()
        self.tried = Flag()
        self.trouble = ""
        self.last_trouble: Trouble | None = None
        self.failures = 0
        self.next_try: float | None = None
        self.frames = 0
        self.last: float | None = None
        self._begun = threading.Lock()  # held by the thread that has begun
        self._after = list(after)
        self._backoff = Backoff(random.Random())  # noqa: S311  (it spreads retries, no more)
        self._failing_since: float | None = None
        self._episode = Episode()
        self._opened = False
        self._failed_to_open = False

    def start(self) -> None:
        """Have a thread run it, unless one has begun to; RuntimeError if there can be none.

        `threading.Thread` would wait for it to begin, which without memory for its first call it never does.
        """
        if not self._begun.locked():
            _thread.start_new_thread(self._begin, ())

    def _begin(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        sys.settrace(threading.gettrace())  # as threading.Thread does
        try:
            self.run()
        finally:
            self.finished.set()

    def is_alive(self) -> bool:
        """Tell whether its thread has begun and not ended."""
        return self._begun.locked() and not self.finished.is_set()

    def join(self, seconds: float) -> None:
        """Wait for its end, so many seconds at most."""
        self.finished.wait(seconds)

    def run(self) -> None:
        """Work until `stop` is raised."""
        for worker in self.predecessors():
            wait_readable([self.stop, worker.finished])
        if not self.stop.is_set():
            self._after = []
        while True:
            try:
                if self.stop.is_set():
                    break
                self._try()
            except Exception:  # there may be no memory even for a line of the log
                if self.trouble != _FAULT:
                    self.trouble = _FAULT
                    with suppress(Exception):
                        self.plugin.log.exception("a fault in the program; it goes on")
                time.sleep(1.0)

    def _try(self) -> None:
        """Work until something fails, and then pause."""
        pause = 0.0
        try:
            self._work()
        except (OSError, DeliveryFailure) as error:
            pause = self._failed(failure(error))
        except Exception:
            self.plugin.log.exception("a fault in the program; it is tried again")
            pause = self._failed(_FAULT)
        finally:
            self._close()
            self.tried.set()
        self._pause(pause, self.stop.wait)

    @property
    def longest_pause(self) -> float:
        """The longest pause before the next try, in seconds: short, as someone may be plugging it in."""
        return 10.0

    @property
    def failing_for(self) -> float:
        """The seconds since the first failure after which it has not worked."""
        return 0.0 if self._failing_since is None else self.plugin.clock.monotonic() - self._failing_since

    def _pause(self, seconds: float, wait: Callable[[float], object]) -> None:
        self.next_try = time.monotonic() + seconds
        wait(seconds)
        self.next_try = None

    def _work(self) -> None:
        self._opened = False
        self.plugin.open()
        self._opened = True
        self.tried.set()
        if self._failed_to_open:
            self.succeeded()
        while not self.stop.is_set():
            self.step()

    def step(self) -> None:
        """Do one round of work."""
        raise NotImplementedError

    @property
    def stuck(self) -> str:
        """Why it no longer works: its thread has died, or hangs; "" otherwise."""
        for worker in self.predecessors():
            return worker.stuck
        if self.finished.is_set():
            return "its thread has died"
        busy = self._busy_for()
        return f"it hangs, for {busy:.0f} s now" if busy > self.plugin.busy_limit else ""

    def _busy_for(self) -> float:
        """Return the seconds since it last waited for something; 0 while it waits."""
        unattended = self.stop.unattended
        return 0.0 if unattended is None else time.monotonic() - unattended

    def predecessors(self) -> list[Worker[Any]]:
        """Return those that are still running; if one of them was itself waiting, its predecessors too."""
        alive = [worker for before in self._after for worker in (before, *before.predecessors())]
        return [worker for worker in alive if worker.is_alive()]

    def _failed(self, trouble: str) -> float:
        """Note a failure; return for how many seconds to pause after it."""
        # Opening it again proves that it works only if opening is what failed.
        self._failed_to_open = not self._opened
        self.last_trouble = Trouble(trouble, time.monotonic())
        self.trouble = trouble
        self.failures += 1
        now = self.plugin.clock.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if self._episode.failed(trouble, now):
            self.plugin.log.warning("%s", trouble)
        return self._backoff.next(self.longest_pause)

    def succeeded(self) -> None:
        """Note that the plugin works."""
        self._failed_to_open = False
        self._failing_since = None
        self._backoff.reset()
        self.trouble = ""
        self._episode.succeeded(self.plugin.clock.monotonic())
        self.settle()

    def settle(self) -> None:
        """Log that a trouble is over, if it is; another thread calls this from time to time."""
        if self._episode.ended(self.plugin.clock.monotonic()):
            self.plugin.log.warning("works again")

    def _close(self) -> None:
        try:
            self.plugin.close()
        except OSError as error:
            self.plugin.log.debug("while closing: %s", error)
        except Exception:
            self.plugin.log.exception("a fault in the program while closing")


class ListenerWorker(Worker[Listener]):
    """Puts what a listener reads on disk before it asks for more, except frames of other listeners' nodes."""

    def __init__(
        self,
        plugin: Listener,
        sink: Dating,
        latest: LatestFrames | None = None,
        disk: Syncing | None = None,
        *,
        after: Sequence[Worker[Any]] = (),
    ) -> None:
        super().__init__(plugin, after=after)
        self.refused = 0
        self._longest = 0.0
        self.latest = latest or LatestFrames()
        self._sink = sink
        self._disk = disk
        if disk:
            disk.subscribe_to_sync(plugin.name, plugin.synced.note_synced)
            plugin.synced.demand = self._sync
        self._refused_nodes: dict[str, float] = {}

    def step(self) -> None:
        """Read once, and keep the frames that have a value."""
        read = self.plugin.read(self.stop)
        self.succeeded()
        ours = [frame for frame in read if not self._is_claimed(frame)]
        frames = [frame if frame.source else replace(frame, source=self.plugin.name) for frame in ours]
        kept = [frame for frame in frames if frame.items()]
        notes = {f"{self.plugin.name}/{name}": text for name, text in self.plugin.noted.items()}
        self.plugin.noted.clear()
        if kept or notes:
            self._sink.put(kept, notes)
        if kept:
            self.frames += len(kept)
            self.last = time.monotonic()
        if (read or notes) and self._disk:
            self.plugin.synced.note_put(self._disk.puts)
            self.plugin.synced.note_synced(self._disk.puts_synced)  # it may have been synced already
        for frame in frames:
            self.latest.note(frame, time.monotonic())

    def _sync(self) -> None:
        """Make the disk write; a listener of the same name may have taken this one's place meanwhile."""
        if self._disk:
            self._disk.sync()
            self.plugin.synced.note_synced(self._disk.puts_synced)

    @property
    def overdue(self) -> str:
        """That it works for longer than three intervals, and twice what it ever took; "" otherwise."""
        busy, interval = self._busy_for(), getattr(self.plugin, "interval", 0.0)
        is_long = busy > max(_OVERDUE, 3 * interval, 2 * self._longest) and not self.stuck
        return (
            f"it has been busy for {busy:.0f} s, and nothing comes: does its device answer?"
            if is_long
            else ""
        )

    def refusals(self, now: float) -> list[str]:
        """Return a line for each node that was refused within the last hour; any thread may ask."""
        return [_CLAIMED % node for node, at in self._refused_nodes.copy().items() if now - at < _SHOWN]

    def _is_claimed(self, frame: Frame) -> bool:
        if frame.node not in self.plugin.claimed:
            return False
        self.refused += 1
        if frame.node not in self._refused_nodes:
            self.plugin.log.error(_CLAIMED, frame.node)
        self._refused_nodes[frame.node] = time.monotonic()
        return True
