"""A dispatcher that is served between batches: it keeps a connection alive, and is acknowledged later."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from gateway.clock import Clock
from gateway.frame import Frame, Stamp
from gateway.plugin import (
    BadFrame,
    Batch,
    Delivery,
    Dispatcher,
    HoldEverything,
    OutcomeUnknown,
    Progress,
    Wake,
)
from gateway.spool import Spool
from gateway.times.dating import Dating, TimeNote
from gateway.times.timekeeper import Timekeeper
from gateway.workers.delivery import DispatcherWorker
from gateway.workers.trouble import GOOD_FOR
from tests.waiting import wait_until, wait_until_idle

PING = 0.02


@dataclass(kw_only=True)
class Alive(Dispatcher):
    """Sends to the other end of a socket, which acknowledges later, and pings it now and then.

    That end takes the frames of a batch in order, up to one that is `bad`, or `lost` on the way.
    """

    refusals: list[Exception] = field(default_factory=list)
    got: list[float] = field(default_factory=list)
    silent: set[float] = field(default_factory=set)
    bad: set[float] = field(default_factory=set)
    lost: set[float] = field(default_factory=set)
    opened: int = 0
    pings: int = 0

    def open(self) -> None:
        self.opened += 1
        self.wire, self.far_end = socket.socketpair()
        self.ping_due = time.monotonic()

    def close(self) -> None:
        self.wire.close()
        self.far_end.close()

    def prepare(self, batch: Batch) -> Delivery:
        self.current = Sent(self, [frame.values[0] for frame in batch.frames])
        return self.current

    def wake(self) -> Wake:
        return Wake(self.wire.fileno(), self.ping_due - time.monotonic())

    def serve(self) -> None:
        if time.monotonic() >= self.ping_due:
            self.pings += 1
            self.ping_due = time.monotonic() + PING
        try:
            words = self.wire.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if not words:
            raise OSError("the connection was closed")
        for word in words.decode().split():
            if word == "bad":
                raise BadFrame("it refuses a frame")
            if word == "again":
                raise OutcomeUnknown("it asks for frames again")
            self.current.unconfirmed -= 1


class Sent(Delivery):
    def __init__(self, plugin: Alive, values: list[float]) -> None:
        super().__init__(len(values))
        self.plugin, self.values = plugin, values

    def send(self) -> None:
        plugin = self.plugin
        if plugin.refusals:
            raise plugin.refusals.pop(0)
        self.unconfirmed = self.count
        for value in self.values:
            if value in plugin.bad | plugin.lost:
                plugin.far_end.send(b"bad " if value in plugin.bad else b"again ")
                plugin.lost.discard(value)
                return
            plugin.got.append(value)
            if value not in plugin.silent:
                plugin.far_end.send(b"ack ")

    def delivered(self) -> Progress | None:
        return Progress(sum(value in self.plugin.got for value in self.values))


@pytest.fixture
def spool(opened) -> Spool:
    return opened("far")


@pytest.fixture
def far() -> Alive:
    far = Alive()
    far.name = "far"
    return far


@pytest.fixture
def worker(far, spool, tmp_path) -> Iterator[DispatcherWorker]:
    keeper = Timekeeper(far.clock, past=0.0, synchronised=lambda: True)
    worker = DispatcherWorker(far, spool, Dating(spool, keeper, far.clock, TimeNote(tmp_path)))
    worker.start()
    wait_until_idle(worker)
    yield worker
    worker.stop.set()
    worker.join(10)
    assert not worker.is_alive()


def frames(*values: float) -> list[Frame]:
    return [Frame("9", (value,), Stamp(1_700_000_000.0, "boot", 1.0)) for value in values]


def pinged(far: Alive) -> None:
    pings = far.pings
    wait_until(lambda: far.pings > pings + 3)


def test_it_is_kept_alive_while_nothing_is_sent_and_while_frames_are_held(worker, spool, far):
    pinged(far)
    spool.set_clock(None)
    spool.put([replace(kept, stamp=Clock().now()) for kept in frames(1)])
    pinged(far)
    assert (far.opened, far.got, worker.failures) == (1, [], 0)


def test_while_it_waits_between_two_tries_its_connection_stays(worker, spool, far):
    far.refusals = [HoldEverything("not authorised")]
    spool.put(frames(1))
    wait_until(lambda: worker.next_try)
    pinged(far)
    assert worker.trouble == "not authorised"
    wait_until(lambda: worker.frames == 1)
    assert (far.opened, worker.trouble) == (1, "")


def test_one_that_is_lost_is_made_anew(worker, far):
    pinged(far)
    far.far_end.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: far.opened == 2)
    pinged(far)
    assert worker.trouble == "the connection was closed"


def test_a_trouble_is_over_once_the_connection_has_held_though_nothing_is_sent(worker, far):
    # given a connection that was made anew, with nothing to send
    far.far_end.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: far.opened == 2)
    pinged(far)
    assert worker.trouble == "the connection was closed"
    # when it has held for a minute
    worker.last_trouble = replace(worker.last_trouble, at=worker.last_trouble.at - GOOD_FOR)
    # then it is well
    wait_until(lambda: not worker.trouble)
    assert worker.failing_for == 0


def test_a_trouble_is_not_over_while_a_batch_is_refused(worker, spool, far):
    far.refusals = [HoldEverything("not authorised")]
    spool.put(frames(1))
    wait_until(lambda: worker.next_try)
    worker.last_trouble = replace(worker.last_trouble, at=worker.last_trouble.at - GOOD_FOR)
    pinged(far)
    assert worker.trouble == "not authorised"


def test_what_is_sent_stays_in_the_queue_until_it_is_confirmed(worker, spool, far, monkeypatch):
    monkeypatch.setattr("gateway.workers.batch_size._QUICK", 10 * PING)
    far.silent = {3, 4}
    spool.put(frames(1, 2, 3, 4))
    wait_until(lambda: worker.frames == 2)
    # then nothing more is sent meanwhile, and the connection is kept alive
    spool.put(frames(5))
    for _ in range(4):
        pinged(far)
    assert (far.got, spool.standing("far").waiting) == ([1, 2, 3, 4], 3)
    far.far_end.send(b"ack ack")
    wait_until(lambda: worker.frames == 5)
    assert (far.got, spool.standing("far").waiting) == ([1, 2, 3, 4, 5], 0)
    # and a confirmation that takes long makes no batch smaller
    assert worker._size.next == far.batch


def test_the_far_end_may_ask_for_frames_again(worker, spool, far):
    far.lost, far.ping_due = {3}, math.inf
    spool.put(frames(1, 2, 3))
    wait_until(lambda: worker.frames == 3)
    assert (far.got, worker.doubled, worker.failures) == ([1, 2, 3], 0, 1)


def test_a_frame_that_is_refused_later_is_found_and_set_aside(worker, spool, far):
    far.bad, far.ping_due = {2}, math.inf
    spool.put(frames(1, 2, 3))
    wait_until(lambda: worker.frames == 2)
    assert [refused.frame.values[0] for refused in spool.refused("far")] == [2]
    assert (far.got, worker.doubled) == ([1, 3], 0)


def test_the_end_does_not_wait_for_a_confirmation(worker, spool, far):
    far.silent = {1}
    spool.put(frames(1))
    wait_until(lambda: far.got)
    worker.stop.set()
    worker.join(1)
    assert not worker.is_alive()
    assert spool.standing("far").waiting == 1
