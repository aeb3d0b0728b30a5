"""A server that allows one request at a time: nginx's limit_req without a burst, and others."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import pytest

from gateway.dispatchers.http_client.pace import Pace
from listeners.simulated.clock import VirtualClock
from tests.simulators.emoncms import Answer, FakeEmoncms, Request
from tests.spools import open_queue
from tests.test_delivered import dispatching, numbered, stored
from tests.waiting import wait_until


@dataclass
class LimitedEmoncms(FakeEmoncms):
    """It refuses what comes sooner than `apart` seconds after the last request that it took."""

    apart: float = 0.0
    refuses_with: int = 429

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clock = VirtualClock()
        self.taken = -math.inf

    def handle(self, request: Request) -> Answer | None:
        if self.clock.monotonic() < self.taken + self.apart:
            return Answer(self.refuses_with, "too many requests")
        self.taken = self.clock.monotonic()
        return super().handle(request)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("apart", [0.1, 1.0, 3.0])
def test_everything_arrives_once_where_two_requests_must_be_apart(tmp_path, status, apart):
    frames = numbered(*range(40))
    queue = contextlib.closing(open_queue(tmp_path / "queue.db", "home"))
    server = LimitedEmoncms(apart=apart, refuses_with=status)
    with server, queue as spool, dispatching(server, spool, batch=10) as worker:
        server.clock = worker.plugin.clock
        spool.put(frames)
        wait_until(lambda: spool.standing("home").waiting == 0)
    assert stored(server) == [each.values[0] for each in frames]
    assert worker.doubled == 0


def paced(*exchanges: tuple[float, int]) -> Pace:
    """Return the pace after these requests: the seconds before each, and the status of its answer."""
    pace = Pace()
    pace.clock = VirtualClock()
    for pause, status in exchanges:
        pace.clock.sleep(pause)
        pace.wait()
        pace.answered(status)
    return pace


class TestPace:
    def test_a_server_that_is_down_is_not_waited_for(self):
        pace = paced((10, 200), (10, 200), (10, 503), (10, 503))
        assert pace.clock.monotonic() == 40

    def test_where_an_outage_began_soon_after_a_request_nothing_is_waited_for_at_its_end(self):
        pace = paced((0, 200), (0, 503), (4, 503), (4, 503), (8, 200))
        assert pace.clock.monotonic() == 16
        # when the inputs of many nodes are asked for, one after the other
        for _ in range(60):
            pace.wait()
            pace.answered(200)
        assert pace.clock.monotonic() == 16

    def test_an_outage_of_seconds_that_began_soon_after_a_request_is_no_slow_limit(self):
        # given a server that refused three tries, the first two soon after what it took last
        pace = paced((0, 200), (0.1, 503), (0.7, 503), (1.0, 503), (5.0, 200))
        # when the inputs of all the nodes that an account may have are asked for, and what waits is sent
        began = pace.clock.monotonic()
        for _ in range(33):
            pace.wait()
            pace.answered(200)
        # then that is soon enough after a pause of some seconds
        assert pace.clock.monotonic() - began < 9

    def test_a_limit_is_forgotten_after_a_minute(self):
        pace = paced((0, 200), (0, 429))
        pace.wait()
        assert pace.clock.monotonic() == 0.25
        pace.clock.sleep(60)
        pace.answered(200)
        pace.wait()
        assert pace.clock.monotonic() == 60.25
