"""A dispatcher that is served between batches: it keeps a connection alive, and is acknowledged later."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

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
from tests.waiting import wait_until

PING = 0.02


class Peer:
    """A far end that takes the frames of a batch in order, up to one that is `bad` or `lost` on the way.

    It acknowledges those that are not in `silent`.
    """

    def __init__(self) -> None:
        self.pings = 0
        self.connections = 0
        self.got: list[int] = []
        self.silent: set[int] = set()
        self.bad: set[int] = set()
        self.lost: set[int] = set()
        self._takes = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = self._listening.getsockname()
        self.current: socket.socket | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self.current, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            with self.current, self.current.makefile() as lines:
                for line in lines:
                    self._take(*line.split())

    def _take(self, word: str, number: str = "0") -> None:
        value = int(number)
        if word == "ping":
            self.pings += 1
        elif word == "batch":
            self._takes = True
        elif self._takes and value in self.bad | self.lost:
            self.say("bad" if value in self.bad else "again")
            self.lost.discard(value)
            self._takes = False
        elif self._takes:
            self.got.append(value)
            if value not in self.silent:
                self.say(f"ack {value}")

    def say(self, line: str) -> None:
        self.current.sendall(f"{line}\n".encode())

    def close(self) -> None:
        self._listening.close()


@dataclass(kw_only=True)
class Alive(Dispatcher):
    """Sends lines, pings now and then, and hears of what was taken when it is served."""

    peer: Peer
    refusals: list[Exception] = field(default_factory=list)
    closed: int = 0
    sent: Sent | None = None

    def open(self) -> None:
        self.wire = socket.create_connection(self.peer.address)
        self.ping_due = time.monotonic()

    def close(self) -> None:
        self.closed += 1
        self.wire.close()

    def prepare(self, batch: Batch) -> Delivery:
        return Sent(self, [int(frame.values[0]) for frame in batch.frames])

    def wake(self) -> Wake:
        return Wake(self.wire.fileno(), self.ping_due - time.monotonic())

    def serve(self) -> None:
        if time.monotonic() >= self.ping_due:
            self.wire.sendall(b"ping\n")
            self.ping_due = time.monotonic() + PING
        self.wire.setblocking(False)
        try:
            data = self.wire.recv(65536)
        except BlockingIOError:
            return
        finally:
            self.wire.setblocking(True)
        if not data:
            raise OSError("the connection was closed")
        for line in data.decode().splitlines():
            if line == "bad":
                raise BadFrame("it refuses a frame")
            if line == "again":
                raise OutcomeUnknown("it asks for frames again")
            self.sent.unconfirmed -= 1


class Sent(Delivery):
    def __init__(self, plugin: Alive, values: list[int]) -> None:
        super().__init__(len(values))
        self.plugin, self.values = plugin, values

    def send(self) -> None:
        if self.plugin.refusals:
            raise self.plugin.refusals.pop(0)
        self.plugin.sent, self.unconfirmed = self, self.count
        self.plugin.wire.sendall(b"batch\n" + b"".join(b"frame %d\n" % value for value in self.values))

    def delivered(self) -> Progress | None:
        return Progress(sum(value in self.plugin.peer.got for value in self.values))


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def spool(tmp_path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "queue.db")
    spool.set_consumers(["far"])
    yield spool
    spool.close()


@pytest.fixture
def worker(peer, spool, tmp_path) -> Iterator[DispatcherWorker]:
    plugin = Alive(peer=peer)
    plugin.name = "far"
    clock = plugin.clock
    keeper = Timekeeper(clock, past=0.0, synchronised=lambda: True)
    worker = DispatcherWorker(plugin, spool, Dating(spool, keeper, clock, TimeNote(tmp_path)))
    worker.start()
    wait_until(lambda: not worker.in_doubt)
    yield worker
    worker.stop.set()
    worker.join(10)
    assert not worker.is_alive()


def frames(*numbers: int) -> list[Frame]:
    return [Frame("9", (float(number),), Stamp(1_700_000_000.0, "boot", 1.0)) for number in numbers]


def pinged(peer: Peer) -> None:
    pings = peer.pings
    wait_until(lambda: peer.pings > pings + 3)


def test_it_is_kept_alive_while_nothing_is_sent_and_while_frames_are_held(worker, spool, peer):
    pinged(peer)
    spool.put(frames(1), held=True)
    pinged(peer)
    assert (peer.connections, peer.got, worker.failures) == (1, [], 0)


def test_while_it_waits_between_two_tries_its_connection_stays(worker, spool, peer):
    worker.plugin.refusals = [HoldEverything("not authorised")]
    spool.put(frames(1))
    wait_until(lambda: worker.next_try)
    pinged(peer)
    assert worker.trouble == "not authorised"
    wait_until(lambda: worker.frames == 1)
    assert (peer.connections, worker.plugin.closed, worker.trouble) == (1, 0, "")


def test_one_that_is_lost_is_made_anew(worker, peer):
    pinged(peer)
    peer.current.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: peer.connections == 2)
    pinged(peer)
    assert (worker.plugin.closed, worker.trouble) == (1, "the connection was closed")


def test_what_is_sent_stays_in_the_queue_until_it_is_confirmed(worker, spool, peer):
    peer.silent = {3, 4}
    spool.put(frames(1, 2, 3, 4))
    wait_until(lambda: spool.standing("far").waiting == 2)
    # then nothing more is sent meanwhile, and the connection is kept alive
    spool.put(frames(5))
    pinged(peer)
    assert peer.got == [1, 2, 3, 4]
    wait_until(lambda: worker.frames == 2)
    peer.say("ack 3\nack 4")
    wait_until(lambda: worker.frames == 5)
    assert (peer.got, spool.standing("far").waiting) == ([1, 2, 3, 4, 5], 0)


def test_the_far_end_may_ask_for_frames_again(worker, spool, peer):
    peer.lost = {3}
    spool.put(frames(1, 2, 3))
    wait_until(lambda: worker.frames == 3)
    assert (peer.got, worker.doubled, worker.failures) == ([1, 2, 3], 0, 1)


def test_a_frame_that_is_refused_later_is_found_and_set_aside(worker, spool, peer):
    peer.bad = {2}
    spool.put(frames(1, 2, 3))
    wait_until(lambda: worker.frames == 2)
    assert [refused.frame.values[0] for refused in spool.refused("far")] == [2]
    assert (peer.got, worker.doubled) == ([1, 3], 0)


def test_the_end_does_not_wait_for_a_confirmation(worker, spool, peer):
    peer.silent = {1}
    spool.put(frames(1))
    wait_until(lambda: peer.got)
    worker.stop.set()
    worker.join(1)
    assert not worker.is_alive()
    assert spool.standing("far").waiting == 1
