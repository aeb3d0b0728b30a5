"""A dispatcher's thread: frames from the queue to a far end, each once, in order.

A batch goes this way: `_deliver` takes from the queue what may be sent now (`_next_attempt`), has it encoded,
marks it in the queue as being sent, and sends it. Then it is done with; or it is refused (`_blame`,
`_refuse_node`); or nobody knows, and the far end is asked how much of it arrived (`_settle`).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from gateway.flag import Flag, wait_readable
from gateway.plugin import (
    LARGEST_BATCH,
    BadFrame,
    Batch,
    Delivery,
    DeliveryFailure,
    Dispatcher,
    NodeRefused,
    OutcomeUnknown,
    TryLater,
    Wake,
)
from gateway.workers.refused_nodes import RefusedNodes
from gateway.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.frame import Frame
    from gateway.spool import Spool
    from gateway.times.dating import Dating

Numbered = list[tuple[int, "Frame"]]
"""Frames with their ids, in order."""

Aside = list[tuple[int, "Frame", str]]
"""Frames that are to be set aside, with their ids and the reason for each."""

_QUICK = 10.0
"""Seconds within which a batch should be taken; one that takes longer is followed by one of half its size."""

_LOOKS = 30
"""How often a far end that is still at work is asked before it is left alone for a while."""

_APART = 1.0
"""Seconds between two such questions."""

_REFUSAL_AGAIN, _REFUSALS = 3600.0, 100
"""Seconds after which the refusal of a frame is logged again, and how many are logged in that time."""

_LONGEST_PAUSE, _LONGEST_PAUSE_LATER = 15.0, 30.0
"""Seconds between two tries in the first ten minutes of an outage, and later, at most.

Once the far end is back the first frame is there within that time, and a thousand gateways together make
about 80, later 40 requests a second.
"""
_LATER = 600.0
"""Seconds after which an outage is a long one."""

_COMPARE_EVERY = 3600.0
"""Seconds after which the far end's clock is asked for again: clocks drift, and are set."""

_COMPARE_HELD_EVERY = 60.0
"""The same while readings are held: the far end's clock may show that ours is right."""

_NEVER = Wake()


@dataclass
class _Attempt:
    """Frames that are being sent, or have been and it is not known how many arrived.

    `aside` are frames of refused nodes before and among them, and `upto` is the id that the queue may go on
    after when all of them are delivered. `blind`: the first could not be told from what the far end had.
    """

    frames: Numbered
    aside: Aside
    upto: int
    delivery: Delivery
    blind: bool
    confirmed: int = 0


class DispatcherWorker(Worker[Dispatcher]):
    """Takes frames from disk, oldest first, and forgets them only when they are delivered.

    Whenever frames may have been taken without our knowing, as after a kill, the far end is asked what it
    has; `doubled` counts those that are sent again because it cannot tell. When a batch is refused, smaller
    ones go until the frame to blame stands alone; refused once more, it is set aside. The frames of a node
    that is refused as a whole are set aside without being sent, but for one an hour.
    """

    def __init__(
        self, plugin: Dispatcher, spool: Spool, dating: Dating, *, after: Sequence[Worker[Any]] = ()
    ) -> None:
        super().__init__(plugin, after=after)
        self.doubled = 0
        self.refused_nodes = RefusedNodes()
        self._spool = spool
        self._dating = dating
        self._compared_after: int | None = None
        self._compared_at = 0.0
        self._new_frames = Flag()
        self._size = plugin.batch
        self._recalled = False
        self._attempt: _Attempt | None = None
        self._blamed: int | None = None
        self._refusals_logged: dict[tuple[str, str], float] = {}
        spool.subscribe(plugin.name, self._new_frames)

    @property
    def in_doubt(self) -> bool:
        """Whether frames may have arrived that are not known to have."""
        return not self._recalled or self._attempt is not None

    @property
    def longest_pause(self) -> float:
        """The longest pause before the next try; asking the far end twice takes a second more."""
        longest = _LONGEST_PAUSE if self.failing_for < _LATER else _LONGEST_PAUSE_LATER
        return longest - _APART if self.in_doubt else longest

    def _work(self) -> None:
        # Whatever it was that failed, the far end's clock may have been set meanwhile.
        self._compared_after = None
        super()._work()

    def step(self) -> None:
        """Do one round; one that fails, and wants to be served, is not closed and served during the pause."""
        try:
            self._round()
        except DeliveryFailure as failure:
            if self.plugin.wake() == _NEVER:
                raise
            self._failed(str(failure) or type(failure).__name__)
            self._compared_after = None
            pause = self._backoff.next(self.longest_pause)
            self.next_try = time.monotonic() + pause
            self._wait(pause)
            self.next_try = None

    def _round(self) -> None:
        """Deliver a batch, or sleep until there is something to deliver."""
        self._new_frames.clear()
        if self.plugin.wake() != _NEVER:
            self._wait_or_serve(0.0)
        if self._attempt:
            # Before the clocks are compared: a try that fails makes one request.
            self._settle(self._attempt, at_rest=False)
            return
        waiting = self._spool.peek(self.name, self._size if self._recalled else LARGEST_BATCH)
        held = self._spool.holding
        if waiting and not self._recalled:
            self._recall(waiting)
        elif (waiting or held) and self._compare_clocks(_COMPARE_HELD_EVERY if held else _COMPARE_EVERY):
            return
        elif waiting:
            self._deliver(waiting)
        else:
            # What was sent before the start may be among the frames that are still being dated.
            self._recalled = self._recalled or not self._spool.dating
            self._wait(_COMPARE_HELD_EVERY if held else math.inf, self._new_frames)

    def _wait(self, seconds: float, *flags: Flag) -> bool:
        """Wait for a flag or `stop`, but no longer, and serve the dispatcher; tell whether a flag is up."""
        until = time.monotonic() + seconds
        if not flags and self.plugin.wake() == _NEVER:
            return self.stop.wait(seconds)
        while not (is_up := self._wait_or_serve(until - time.monotonic(), *flags)):
            if time.monotonic() >= until:
                break
        return is_up

    def _wait_or_serve(self, seconds: float, *flags: Flag) -> bool:
        """Wait until a flag is up, the time is over or the dispatcher has been served once."""
        wake = self.plugin.wake()
        sources = [self.stop, *flags, *([] if wake.fileno is None else [wake.fileno])]
        due = time.monotonic() + (math.inf if wake.seconds is None else wake.seconds)
        left = max(0.0, min(seconds, due - time.monotonic()))
        ready = wait_readable(sources, None if left == math.inf else left)
        if wake.fileno in ready or time.monotonic() >= due:
            self.plugin.serve()
        return not ready.isdisjoint(flag.fileno() for flag in (self.stop, *flags))

    def _compare_clocks(self, every: float) -> bool:
        """Ask the far end for the time: at first, after a failure or a step, and every so many seconds."""
        steps, now = self._dating.keeper.steps, self.plugin.clock.monotonic()
        if self._compared_after == steps and now < self._compared_at + every:
            return False
        self._dating.note_server_time(self.name, self.plugin.time())
        self._compared_after = steps
        self._compared_at = now
        return True

    def _recall(self, waiting: Numbered) -> None:
        """At the start, find what an earlier run has sent of what waits.

        Where that is nothing the far end is asked all the same what it has, to tell the next frames from it.
        """
        upto, blind = self._spool.sent(self.name)
        sent = [pair for pair in waiting if pair[0] <= upto]
        delivery = self.plugin.prepare(_batch(sent or waiting))
        if sent:
            self._attempt = _Attempt(sent, [], sent[-1][0], delivery, blind)
        else:
            delivery.delivered()
        self._recalled = True

    def _deliver(self, waiting: Numbered) -> None:
        attempt = self._next_attempt(waiting)
        if attempt is None:
            return
        number = len(attempt.frames)
        self._spool.mark_sending(self.name, attempt.frames[-1][0], blind=attempt.blind)
        self._attempt = attempt
        began = self.plugin.clock.monotonic()
        try:
            attempt.delivery.send()
            if not self._is_confirmed(attempt):
                return
        except TryLater:
            self._attempt = None
            raise
        except OutcomeUnknown:
            self._size = max(1, number // 2)
            raise
        except BadFrame as refusal:
            if not self._refuse_node(attempt, refusal):
                self._blame(attempt, str(refusal))
            return
        quick = self.plugin.clock.monotonic() - began < _QUICK
        self._attempt = None
        self._delivered(attempt, number)
        self._note_taken(attempt.frames)
        self.succeeded()
        if attempt.upto == waiting[-1][0] and len(waiting) < self._size:
            self._wait(self.plugin.interval)
        self._size = min(self._size * 2, self.plugin.batch) if quick else max(1, number // 2)

    def _next_attempt(self, waiting: Numbered) -> _Attempt | None:
        """Return what can be sent now, encoded; None where all of it is set aside unsent."""
        window = self._up_to_a_trial(self._sendable(waiting))
        frames, aside = self._without_refused_nodes(window)
        if not frames:
            self._done(window[-1][0], 0, aside)
            return None
        delivery = self.plugin.prepare(_batch(frames))
        going = frames[: delivery.count or 1]
        upto = window[-1][0] if len(going) == len(frames) else going[-1][0]
        return _Attempt(going, aside, upto, delivery, blind=not delivery.count)

    def _sendable(self, waiting: Numbered) -> Numbered:
        """Return the frames before the first that is too late for the far end: one such row blocks a feed."""
        latest = self._dating.keeper.latest(self.name)
        sendable = list(takewhile(lambda pair: pair[1].stamp.wall <= latest, waiting))
        if not sendable:
            raise TryLater(self._dating.keeper.behind(self.name))
        return sendable

    def _up_to_a_trial(self, window: Numbered) -> Numbered:
        """Return the frames before the first of a refused node that is due to be tried, or it alone."""
        now = self.plugin.clock.monotonic()
        due = (place for place, (_, frame) in enumerate(window) if self.refused_nodes.is_due(frame.node, now))
        return window[: next(due, len(window)) or 1]

    def _without_refused_nodes(self, window: Numbered) -> tuple[Numbered, Aside]:
        """Return what may be sent, and what is to be set aside."""
        now = self.plugin.clock.monotonic()
        reasons = [self.refused_nodes.why(frame.node, now) for _, frame in window]
        pairs = list(zip(window, reasons, strict=True))
        return (
            [pair for pair, reason in pairs if not reason],
            [(*pair, reason) for pair, reason in pairs if reason],
        )

    def _is_confirmed(self, attempt: _Attempt) -> bool:
        """Wait until all that was sent is confirmed; False where the gateway stops before."""
        delivery = attempt.delivery
        while delivery.unconfirmed and not self.stop.is_set():
            try:
                self._wait_or_serve(math.inf)
            finally:
                self._delivered(attempt, len(attempt.frames) - delivery.unconfirmed)
        return not delivery.unconfirmed

    def _settle(self, attempt: _Attempt, *, at_rest: bool) -> None:
        """Go on after those frames that the far end has; `at_rest`: it is not at work on them any more."""
        progress = attempt.delivery.delivered()
        looks = 1
        while progress is not None and not at_rest:
            if looks == _LOOKS:
                raise TryLater("it is still at work on what it was sent: it is left alone for a while")
            if self._wait(_APART):
                return
            before, progress = progress, attempt.delivery.delivered()
            at_rest = progress == before
            looks += 1
        self._attempt = None
        arrived = 0 if progress is None or progress.count is None else progress.count - len(progress.missing)
        if progress is None or progress.count is None or (attempt.blind and arrived == 1):
            self.doubled += min(len(attempt.frames) - attempt.confirmed, self.plugin.batch)
        elif progress.count:
            missing = [attempt.frames[number] for number in sorted(progress.missing)]
            attempt.aside += [(*pair, "nothing of its node was taken") for pair in missing]
            self._delivered(attempt, progress.count, missing=len(missing))
            self.succeeded()

    def _refuse_node(self, attempt: _Attempt, refusal: BadFrame) -> bool:
        """Note the node that is refused; False where it is not known which of the batch that is."""
        if not isinstance(refusal, NodeRefused):
            return False
        # The far end may call it something else, or be cut short.
        nodes = [frame.node for _, frame in attempt.frames]
        name = refusal.node if refusal.node in nodes else nodes[0]
        if refusal.node not in nodes and len(set(nodes)) > 1:
            return False
        if self.refused_nodes.refused(name, str(refusal), self.plugin.clock.monotonic()):
            self.plugin.log.error(
                "node %s is refused, and its frames are set aside but for one an hour: %s; once it is taken, "
                "oemgateway queue retry sends them",
                name,
                refusal,
            )
        if nodes[0] == name:
            self._attempt = None  # nothing stood before it
        else:
            self._settle(attempt, at_rest=True)  # it has answered
        return True

    def _note_taken(self, frames: Numbered) -> None:
        for name in dict.fromkeys(frame.node for _, frame in frames):
            if node := self.refused_nodes.taken(name):
                rest = f"; {node.frames} of its frames wait for oemgateway queue retry" if node.frames else ""
                self.plugin.log.warning("node %s is taken now%s", name, rest)

    def _blame(self, attempt: _Attempt, refusal: str) -> None:
        """Come nearer to the frame that is refused, and set it aside when it was refused alone, twice."""
        suspects = attempt.frames[attempt.confirmed :]
        number, frame = suspects[0]
        if self._blamed == number:
            self._log_refusal(frame.node, refusal)
            self._attempt = None
            self._done(number, 0, [*attempt.aside, (number, frame, refusal)])
            return
        self._size = max(1, len(suspects) // 2)
        self._blamed = number if len(suspects) == 1 else None
        self._settle(attempt, at_rest=True)  # it has answered

    def _log_refusal(self, node: str, refusal: str) -> None:
        """Log that a frame was refused; the same of the same node is logged once an hour."""
        now = self.plugin.clock.monotonic()
        logged = {key: at for key, at in self._refusals_logged.items() if now < at + _REFUSAL_AGAIN}
        if (node, refusal) not in logged and len(logged) < _REFUSALS:
            logged[node, refusal] = now
            self.plugin.log.error("a frame of node %s is set aside: %s", node, refusal)
        self._refusals_logged = logged

    def _delivered(self, attempt: _Attempt, count: int, *, missing: int = 0) -> None:
        """Go on after so many frames of an attempt; `missing` of them are among those to be set aside."""
        if count > attempt.confirmed:
            upto = attempt.upto if count == len(attempt.frames) else attempt.frames[count - 1][0]
            self._done(upto, count - attempt.confirmed - missing, attempt.aside)
            attempt.aside = [each for each in attempt.aside if each[0] > upto]
            attempt.confirmed = count

    def _done(self, upto: int, delivered: int, aside: Aside) -> None:
        """Go on after an id, before which so many frames were delivered, and the others are set aside."""
        refused = [each for each in aside if each[0] <= upto]
        self._spool.done(self.name, upto, refused=refused)
        now = self.plugin.clock.monotonic()
        for _, frame, _ in refused:
            self.refused_nodes.set_aside(frame.node, now)
        if delivered:
            self.frames += delivered
            self.last = time.monotonic()


def _batch(numbered: Numbered) -> Batch:
    return Batch([frame for _, frame in numbered], [number for number, _ in numbered])
