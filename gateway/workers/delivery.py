"""A dispatcher's thread: frames from the queue to a far end, each once, in order."""

from __future__ import annotations

import time
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from gateway.flag import Flag, wait_readable
from gateway.plugin import (
    LARGEST_BATCH,
    BadFrame,
    Dispatcher,
    NodeRefused,
    OutcomeUnknown,
    Place,
    TryLater,
)
from gateway.workers.refused_nodes import RefusedNodes
from gateway.workers.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.frame import Frame
    from gateway.spool import Spool
    from gateway.times.dating import Dating

Batch = list[tuple[int, "Frame"]]
"""Frames with their ids, in order."""

Aside = list[tuple[int, "Frame", str]]
"""Frames that are to be set aside, with their ids and the reason for each."""

_QUICK = 10.0
"""Seconds within which a batch is to be taken; one that takes longer is followed by one of half its size."""

_LOOKS = 30
"""How often a far end at work is looked at before it is left alone for a while."""

_APART = 1.0
"""Seconds between two such looks."""

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
"""Seconds after which what a far end's clock showed is asked for again: clocks drift, and are set right."""

_COMPARE_HELD_EVERY = 60.0
"""The same while readings are held: the far end may know that there is no need to."""


class DispatcherWorker(Worker[Dispatcher]):
    """Takes frames from disk, oldest first, and forgets them only when they are delivered.

    Whenever frames may have been taken without our knowing, as when the one before us was killed, the far end
    is asked what it has; `doubled` counts those that were sent again because it cannot tell. When a batch is
    refused, smaller ones go until the frame to blame stands alone; refused once more, it is set aside. The
    frames of a node that is refused as a whole are set aside without being sent, but for one an hour.
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
        self._in_doubt = LARGEST_BATCH
        self._blamed: int | None = None
        self._refusals_logged: dict[tuple[str, str], float] = {}
        spool.subscribe(plugin.name, self._new_frames)

    @property
    def longest_pause(self) -> float:
        """The longest pause before the next try; looking for its place takes it a second more."""
        longest = _LONGEST_PAUSE if self.failing_for < _LATER else _LONGEST_PAUSE_LATER
        return longest - _APART if self._in_doubt else longest

    def _work(self) -> None:
        # Whatever it was that failed, its clock may have been set meanwhile.
        self._compared_after = None
        super()._work()

    def step(self) -> None:
        """Deliver a batch, or sleep until there is something to deliver."""
        self._new_frames.clear()
        batch = self._spool.peek(self.name, self._in_doubt or self._size)
        held = self._spool.holding
        if batch and self._in_doubt:
            # Before the clocks are compared: a try that fails makes one request.
            self._find_place(batch, at_rest=False)
        elif (batch or held) and self._compare_clocks(_COMPARE_HELD_EVERY if held else _COMPARE_EVERY):
            return
        elif not batch:
            # What was sent before the start may be among that which is still gone through.
            self._in_doubt = self._in_doubt if self._spool.dating else 0
            wait_readable([self.stop, self._new_frames], _COMPARE_HELD_EVERY if held else None)
        else:
            self._deliver(batch)

    def _compare_clocks(self, every: float) -> bool:
        """Ask the far end for the time: at first, after a failure or a step, and every so many seconds."""
        steps, now = self._dating.keeper.steps, self.plugin.clock.monotonic()
        if self._compared_after == steps and now < self._compared_at + every:
            return False
        self._dating.note_server_time(self.name, self.plugin.time())
        self._compared_after = steps
        self._compared_at = now
        return True

    def _find_place(self, window: Batch, *, at_rest: bool) -> None:
        """Go on after those frames that the far end has; while it is at work, what it shows is torn.

        Where none can have been sent it is asked all the same what it holds, to tell the next ones from that.
        """
        upto, blind = self._spool.sent(self.name)
        batch, aside = self._without_refused_nodes(window)
        sent = [pair for pair in batch if pair[0] <= upto]
        frames = [frame for _, frame in sent or batch]
        place = self.plugin.delivered(frames) if frames else Place(0)
        looks = 1
        while sent and place is not None and not at_rest:
            if looks == _LOOKS:
                raise TryLater("it is still at work on what it was sent: it is left alone for a while")
            if self.stop.wait(_APART):
                return
            before, place = place, self.plugin.delivered(frames)
            at_rest = place == before
            looks += 1
        self._in_doubt = 0
        if place is None or place.count is None or (blind and place.count - len(place.missing) == 1):
            self.doubled += min(len(sent), self.plugin.batch)
        elif sent and place.count:
            aside += [(*sent[number], "nothing of its node was taken") for number in sorted(place.missing)]
            self._done(sent[place.count - 1][0], place.count - len(place.missing), aside)
            self.succeeded()

    def _without_refused_nodes(self, window: Batch) -> tuple[Batch, Aside]:
        """Return what may be sent, and what is to be set aside."""
        now = self.plugin.clock.monotonic()
        reasons = [self.refused_nodes.why(frame.node, now) for _, frame in window]
        pairs = list(zip(window, reasons, strict=True))
        return (
            [pair for pair, reason in pairs if not reason],
            [(*pair, reason) for pair, reason in pairs if reason],
        )

    def _deliver(self, waiting: Batch) -> None:
        window = self._up_to_a_trial(self._sendable(waiting))
        batch, aside = self._without_refused_nodes(window)
        upto = window[-1][0]
        if not batch:
            self._done(upto, 0, aside)
            return
        together = self.plugin.together([frame for _, frame in batch])
        if together < len(batch):
            batch = batch[: together or 1]
            upto = batch[-1][0]
        window = [pair for pair in window if pair[0] <= upto]
        self._spool.mark_sending(self.name, batch[-1][0], blind=not together)
        began = self.plugin.clock.monotonic()
        self._in_doubt = len(window)
        try:
            self.plugin.send([frame for _, frame in batch])
        except TryLater:
            self._in_doubt = 0
            raise
        except OutcomeUnknown:
            self._size = max(1, len(batch) // 2)
            raise
        except BadFrame as refusal:
            if not self._refuse_node(window, batch, refusal):
                self._blame(window, batch, aside, str(refusal))
            return
        quick = self.plugin.clock.monotonic() - began < _QUICK
        self._in_doubt = 0
        self._done(upto, len(batch), aside)
        self._note_taken(batch)
        self.succeeded()
        if upto == waiting[-1][0] and len(waiting) < self._size:
            self.stop.wait(self.plugin.interval)
        self._size = min(self._size * 2, self.plugin.batch) if quick else max(1, len(batch) // 2)

    def _sendable(self, batch: Batch) -> Batch:
        """Return the frames before the first that is too late for the far end: one such row blocks a feed."""
        latest = self._dating.keeper.latest(self.name)
        sendable = list(takewhile(lambda pair: pair[1].stamp.wall <= latest, batch))
        if not sendable:
            raise TryLater(self._dating.keeper.behind(self.name))
        return sendable

    def _up_to_a_trial(self, window: Batch) -> Batch:
        """Return the frames before the first of a refused node that is due to be tried, or it alone."""
        now = self.plugin.clock.monotonic()
        due = (place for place, (_, frame) in enumerate(window) if self.refused_nodes.is_due(frame.node, now))
        return window[: next(due, len(window)) or 1]

    def _refuse_node(self, window: Batch, batch: Batch, refusal: BadFrame) -> bool:
        """Note the node that is refused; False where it is not known which of the batch that is."""
        if not isinstance(refusal, NodeRefused):
            return False
        # The far end may call it something else, or be cut short.
        names = {frame.node for _, frame in batch}
        name = refusal.node if refusal.node in names else batch[0][1].node
        if refusal.node not in names and len(names) > 1:
            return False
        if self.refused_nodes.refused(name, str(refusal), self.plugin.clock.monotonic()):
            self.plugin.log.error(
                "node %s is refused, and its frames are set aside but for one an hour: %s; once it is taken, "
                "oemgateway queue retry sends them",
                name,
                refusal,
            )
        self._find_place(window, at_rest=True)  # it has answered
        return True

    def _note_taken(self, batch: Batch) -> None:
        for name in dict.fromkeys(frame.node for _, frame in batch):
            if node := self.refused_nodes.taken(name):
                rest = f"; {node.frames} of its frames wait for oemgateway queue retry" if node.frames else ""
                self.plugin.log.warning("node %s is taken now%s", name, rest)

    def _blame(self, window: Batch, batch: Batch, aside: Aside, refusal: str) -> None:
        """Come nearer to the frame that is refused, and set it aside when it has been so alone, twice."""
        number, frame = batch[0]
        if self._blamed == number:
            self._log_refusal(frame.node, refusal)
            self._in_doubt = 0
            self._done(number, 0, [*aside, (number, frame, refusal)])
            return
        self._size = max(1, len(batch) // 2)
        self._blamed = number if len(batch) == 1 else None
        self._find_place(window, at_rest=True)  # it has answered

    def _log_refusal(self, node: str, refusal: str) -> None:
        """Log that a frame was refused; the same of the same node is logged once an hour."""
        now = self.plugin.clock.monotonic()
        logged = {key: at for key, at in self._refusals_logged.items() if now < at + _REFUSAL_AGAIN}
        if (node, refusal) not in logged and len(logged) < _REFUSALS:
            logged[node, refusal] = now
            self.plugin.log.error("a frame of node %s is set aside: %s", node, refusal)
        self._refusals_logged = logged

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
