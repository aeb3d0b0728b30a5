"""A dispatcher's thread: frames from the queue to a far end, each once, in order.

The steps of a batch: `_next_attempt` takes what may be sent now and has it encoded; `_deliver` marks it in
the queue as being sent, and sends it. Then it is delivered; or something in it is refused (`_refused`); or
the outcome is unknown, and the far end is asked how much of it has arrived (`_settle`).
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from gateway.flag import Flag
from gateway.plugin import (
    LARGEST_BATCH,
    BadFrame,
    Batch,
    Dispatcher,
    HoldEverything,
    NodeRefused,
    NotKept,
    OutcomeUnknown,
    TryLater,
)
from gateway.process.log_limit import LogLimit
from gateway.workers.attempt import Attempt
from gateway.workers.backoff import APART, between_looks, longest_pause
from gateway.workers.batch_size import BatchSize
from gateway.workers.kept import Kept
from gateway.workers.refused_nodes import Aside, Numbered, RefusedInARow, RefusedNodes, refused_node
from gateway.workers.served import ServedWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.frame import Frame
    from gateway.spool import Spool
    from gateway.times.dating import Dating
    from gateway.workers.worker import Worker

_LOOKS = 30
"""How often a far end that is still storing frames is asked before a longer pause."""

_REFUSALS = 100
"""Refusals of frames that are logged within an hour, at most."""

_LOOKED_FOR, _VALUES = 8 * LARGEST_BATCH, 200_000
"""Readings that are looked for at once after a start, and values in those behind the first batch. A far end
shows the last one that it has, so these are more than a power cut takes the notes of (see Syncing)."""

_COMPARE_EVERY = 3600.0
"""Seconds after which the far end's clock is asked for again: clocks drift, and are set."""

_COMPARE_HELD_EVERY = 60.0
"""The same while readings are held: the far end's clock may show that ours is right."""

_TO_COME = "its time, given by its sender, is still to come: set the sender's clock right"
"""Why a frame is set aside unsent: a feed that has such a row takes no older ones."""


class DispatcherWorker(ServedWorker):
    """Takes frames from disk, oldest first, and forgets them only when they are delivered.

    `doubled` counts those that are sent again because the far end cannot tell whether it has them. When a
    batch is refused, smaller ones are sent until the bad frame is alone; refused once more, it is set
    aside. The frames of a node that is refused as a whole are set aside unsent, except for one an hour.
    """

    def __init__(
        self, plugin: Dispatcher, spool: Spool, dating: Dating, *, after: Sequence[Worker[Any]] = ()
    ) -> None:
        super().__init__(plugin, after=after)
        self.doubled = 0
        self.refused_nodes = RefusedNodes(plugin.log)
        self.refused_in_a_row = RefusedInARow()
        with suppress(OSError):  # it is learnt again if the disk cannot be read
            self.refused_nodes.recall(spool.reasons(plugin.name), plugin.clock.monotonic())
        self._spool = spool
        self._dating = dating
        self._compared_after: tuple[int, int] | None = None
        self._compared_at = 0.0
        self._new_frames = Flag()
        self._size = BatchSize(plugin.batch)
        self._ids_known, self._kept = spool.epochs.are_known, Kept(spool, self)
        self._recalled_upto = -math.inf  # the id up to which it is known what an earlier run has sent
        self._attempt: Attempt | None = None
        self._blamed: int | None = None
        self._refusals = LogLimit(_REFUSALS)
        spool.subscribe(plugin.name, self._new_frames)

    @property
    def in_doubt(self) -> bool:
        """Whether frames may have arrived that are not known to have."""
        return self._recalled_upto < math.inf or self._attempt is not None

    @property
    def longest_pause(self) -> float:
        """The longest pause before the next try; asking the far end twice takes a second more."""
        return longest_pause(self.failing_for) - (APART if self.in_doubt else 0.0)

    def round(self) -> None:
        """Deliver a batch, or sleep until there is something to deliver."""
        self._new_frames.clear()
        if self._attempt:
            # Before the clocks are compared: a try that fails makes one request.
            self._settle(self._attempt, at_rest=False)
            return
        with self._spool.lock:
            waiting = self._spool.peek(self.name, self._size.next)
            if self._spool.epochs.are_known and not self._ids_known:
                # The file can be read now: an earlier run may have sent what it has.
                self._ids_known, self._recalled_upto = True, -math.inf
        held = self._spool.holding
        if self.stop.is_set():
            return  # an edit may have given the name to another while the queue was waited for
        if waiting and waiting[0][0] > self._recalled_upto:
            self._recall(waiting)
        elif (waiting or held) and self._compare_clocks(_COMPARE_HELD_EVERY if held else _COMPARE_EVERY):
            return
        elif waiting:
            self._deliver([pair for pair in waiting if pair[0] <= self._recalled_upto])
        else:
            self.wait(_COMPARE_HELD_EVERY if held else math.inf, self._new_frames)

    def _compare_clocks(self, every: float) -> bool:
        """Ask the far end for the time: at the start, after a failure or a step, and at intervals."""
        changes, now = (self._dating.keeper.steps, self.failures), self.plugin.clock.monotonic()
        if self._compared_after == changes and now < self._compared_at + every:
            return False
        self._dating.note_server_time(self.name, self.plugin.time())
        self._compared_after, self._compared_at = changes, now
        return True

    def _recall(self, waiting: Numbered) -> None:
        """At the start, find what an earlier run has sent.

        The far end is always asked: another kill may follow at once, and what it had before the first batch
        must be known then. If it shows what it has not kept it is not asked: all of that is sent again.
        """
        failed, failed_upto = self._kept.recall()
        if not self._kept.trusted:
            self._recalled_upto = math.inf
            self._size.try_one()
            return
        upto, blind = self._spool.sent(self.name)
        sent = [pair for pair in waiting if pair[0] <= upto]
        most = _LOOKED_FOR
        if len(sent) == len(waiting):
            values = sum(len(frame.values) or 1 for _, frame in sent)
            most = min(_LOOKED_FOR, LARGEST_BATCH + _VALUES * len(sent) // values)
            sent = [pair for pair in self._spool.peek(self.name, most) if pair[0] <= upto]
            if not sent:
                return  # what waits has changed meanwhile
        # What was sent from memory, ahead of these, is looked for by itself.
        is_last = not sent or self._spool.epochs.of(sent[-1][0]) == self._spool.epochs.of(upto)
        delivery = self.plugin.prepare(self._batch(sent or waiting))
        if sent:
            if last := sum(number <= failed_upto for number, _ in sent):
                delivery.failed, delivery.failed_in = failed, last
            noted = self._spool.noted(self.name)
            count = sum(number <= noted for number, _ in sent)
            self._attempt = Attempt(sent, [], sent[-1][0], delivery, blind, count, unanswered_since=-math.inf)
            self._attempt.recalled_upto = math.inf if is_last else sent[-1][0]
        else:
            delivery.delivered()
        # If all of these may have been sent, so may those that follow.
        if is_last and len(sent) < most:
            self._recalled_upto = math.inf

    def _batch(self, numbered: Numbered) -> Batch:
        ids = [number for number, _ in numbered]
        return Batch([frame for _, frame in numbered], ids, [*map(self._spool.epochs.of, ids)])

    def _deliver(self, waiting: Numbered) -> None:
        if (attempt := self._next_attempt(waiting)) is None or not self._mark(attempt):
            return
        failed = self._kept.failed("")  # of the batch before this one: what was to be sent again goes now
        self._attempt, number, began = attempt, len(attempt.frames), self.plugin.clock.monotonic()
        try:
            attempt.delivery.send()
            seconds = self.plugin.clock.monotonic() - began
            if not self._is_confirmed(attempt):
                return
        except TryLater as failure:
            self._attempt = None
            self._kept.failed(*failed)
            if isinstance(failure, NotKept):
                self._kept.not_kept()
                self._size.try_one()
            raise
        except OutcomeUnknown:
            attempt.unanswered_since = began
            self._size.unanswered(number, self.plugin.clock.monotonic() - began, self.failures)
            self._kept.failed(attempt.delivery.failed, attempt.frames[-1][0])
            raise
        except HoldEverything:
            self._kept.failed(attempt.delivery.failed, attempt.frames[-1][0])
            raise
        except BadFrame as refusal:
            self._refused(attempt, refusal)
            return
        self._attempt = None
        nodes = {frame.node for _, frame in attempt.frames}
        self._kept.taken(nodes, attempt.upto)
        self._delivered(attempt, number)
        self.refused_nodes.taken(nodes)
        self.succeeded()
        if attempt.upto == waiting[-1][0] and len(waiting) < self._size.next:
            self.wait(self.plugin.interval)
        self._size.taken(number, seconds, self.plugin.clock.monotonic(), self.failures)

    def _mark(self, attempt: Attempt) -> bool:
        """Note what is being sent; False if an edit has ended this worker: its place may be another's."""
        with self._spool.lock:
            if self.stop.is_set():
                return False
            self._spool.mark_sending(self.name, attempt.frames[-1][0], blind=attempt.blind)
            return True

    def _next_attempt(self, waiting: Numbered) -> Attempt | None:
        """Return what can be sent now, encoded; None if all of it is set aside unsent."""
        now = self.plugin.clock.monotonic()
        if early := list(takewhile(lambda pair: self._is_to_come(pair[1]), waiting)):
            for _, frame in early:
                self._log_refusal(frame, _TO_COME, now)
            self._done(early[-1][0], 0, [(*pair, _TO_COME) for pair in early])
            return None
        frames, aside, upto = self.refused_nodes.choose(self._sendable(waiting), now)
        if not frames:
            self._done(upto, 0, aside)
            return None
        delivery = self.plugin.prepare(self._batch(frames))
        going = frames[: delivery.count or 1]
        upto = upto if len(going) == len(frames) else going[-1][0]
        return Attempt(going, aside, upto, delivery, not delivery.count, len(going))

    def _is_to_come(self, frame: Frame) -> bool:
        """Tell whether a frame is too late for a far end with a clock, through its sender's fault."""
        return self.plugin.has_clock and self._dating.keeper.is_to_come(frame.stamp)

    def _sendable(self, waiting: Numbered) -> Numbered:
        """Return the frames before the first that is too late for the far end: one such row blocks a feed."""
        latest = self._dating.keeper.latest(self.name)
        sendable = list(
            takewhile(lambda pair: pair[1].stamp.wall <= latest and not self._is_to_come(pair[1]), waiting)
        )
        if not sendable:
            raise TryLater(self._dating.keeper.behind(self.name))
        return sendable

    def _is_confirmed(self, attempt: Attempt) -> bool:
        """Wait until all that was sent is confirmed; False if the gateway stops first."""
        delivery = attempt.delivery
        while delivery.unconfirmed and not self.stop.is_set():
            try:
                self.wait_or_serve(math.inf)
            finally:
                self._delivered(attempt, len(attempt.frames) - delivery.unconfirmed)
        return not delivery.unconfirmed

    def _settle(self, attempt: Attempt, *, at_rest: bool) -> None:
        """Go on after those frames that the far end has; `at_rest`: it is no longer storing any.

        If it shows what it has not kept, it is not asked: all of them are sent again.
        """
        if not self._kept.trusted:
            self._attempt = None
            return
        progress, looks = attempt.delivery.delivered(), 1
        while progress is not None and not at_rest and progress != attempt.seen:
            attempt.seen = progress
            if looks == _LOOKS:
                raise TryLater("it is still storing what it was sent: it is asked again later")
            if progress.count != len(attempt.frames):
                stored = progress.count or int(bool(progress.shown))
                waited = self.plugin.clock.monotonic() - attempt.unanswered_since
                attempt.apart = max(attempt.apart, between_looks(waited, stored))
            if self.wait(attempt.apart):
                return
            progress, looks = attempt.delivery.delivered(), looks + 1
        if progress and progress.none_there:
            with self._spool.lock:
                if not self.is_replaced:
                    self._spool.unmark(self.name, attempt.frames[-1][0])
        self._attempt = None
        if progress is None or progress.count != len(attempt.frames):
            self._recalled_upto = max(self._recalled_upto, attempt.recalled_upto)
        arrived = 0 if progress is None or progress.count is None else progress.count - len(progress.missing)
        if progress is None or progress.count is None or (attempt.blind and arrived == 1):
            self.doubled += min(max(0, attempt.sent - attempt.confirmed), self.plugin.batch)
        elif progress.count:
            why = "nothing of its node was taken"
            attempt.aside += [(*attempt.frames[place], why) for place in sorted(progress.missing)]
            if not at_rest:
                self._kept.shown(frame.node for _, frame in attempt.frames[: progress.count])
            self._delivered(attempt, progress.count, missing=len(progress.missing))
            self.succeeded()

    def _refused(self, attempt: Attempt, refusal: BadFrame) -> None:
        """Set aside what is refused, once it is known: a node, or a frame that was refused alone, twice."""
        suspects = attempt.frames[attempt.confirmed :]
        number, frame = suspects[0]
        now = self.plugin.clock.monotonic()
        nodes = {frame.node for _, frame in suspects}
        if isinstance(refusal, NodeRefused) and (node := refused_node(nodes, refusal)):
            self.refused_nodes.refused(node, str(refusal), now)
            first = next((each for _, each in suspects if each.items()), frame)
            if first.node == node and not refusal.stored:
                self._attempt = None  # nothing was before it
                return
        elif self._blamed == number:
            self._log_refusal(frame, str(refusal), now)
            self._attempt = None
            self._done(number, 0, [*attempt.aside, (number, frame, str(refusal))])
            return
        else:
            self._size.halve(len(suspects))
            self._blamed = number if len(suspects) == 1 else None
        self._settle(attempt, at_rest=True)  # it has answered

    def _log_refusal(self, frame: Frame, why: str, now: float) -> None:
        self.refused_in_a_row.refused(frame.node, why, now)
        if self._refusals.allows(f"{frame.node}: {why}", now):
            self.plugin.log.error("a frame of node %s is set aside: %s", frame.node, why)

    def _delivered(self, attempt: Attempt, count: int, *, missing: int = 0) -> None:
        """Go on after so many frames of an attempt; `missing` of them are among those to be set aside."""
        if count > attempt.confirmed:
            arrived = attempt.frames[attempt.confirmed : count]
            self.refused_in_a_row.taken({frame.node for _, frame in arrived})
            upto = attempt.upto if count == len(attempt.frames) else attempt.frames[count - 1][0]
            self._done(upto, len(arrived) - missing, attempt.aside)
            self._spool.syncing.delivered(len(frame.values) for _, frame in arrived)
            attempt.aside = [each for each in attempt.aside if each[0] > upto]
            attempt.confirmed = count

    def _done(self, upto: int, delivered: int, aside: Aside) -> None:
        """Go on after an id, before which so many frames were delivered, and the others are set aside."""
        refused = [each for each in aside if each[0] <= upto]
        with self._spool.lock:  # an edit may rename it at any time
            if not self.is_replaced:
                self._spool.done(self.name, upto, refused=refused, sure=self._kept.sure)
        self.refused_nodes.set_aside((frame.node for _, frame, _ in refused), self.plugin.clock.monotonic())
        if delivered:
            self.frames += delivered
            self.last = time.monotonic()
