"""When the disk is made to keep what was committed."""

from __future__ import annotations

import math
import os
import threading
import time

import pytest

from gateway.flag import Flag
from listeners.simulated.clock import VirtualClock
from tests.spools import full_frame as frame
from tests.spools import peeked as values


@pytest.fixture
def synced(monkeypatch):
    """Return the list of times at which the disk was made to write."""
    times: list[float] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: times.append(time.monotonic()))
    return times


def test_whoever_puts_a_frame_does_not_wait_for_the_disk(opened, synced):
    clock = VirtualClock()
    spool = opened(commit_interval=5, clock=clock)
    spool.syncing.sync()
    synced.clear()
    spool.syncing.unsynced.clear()
    # given a quiet time, in which nothing is due
    clock.sleep(60)
    assert spool.syncing.due() == math.inf
    # when frames are put and delivered, it is told once that something is
    spool.put([frame(1)])
    assert spool.syncing.unsynced.is_set()
    assert spool.syncing.due() == 5
    spool.syncing.unsynced.clear()
    clock.sleep(3)
    spool.put([frame(2)])
    spool.done("a", 1)
    assert not spool.syncing.unsynced.is_set()
    assert spool.syncing.due() == 2
    # then the disk is made to write when the oldest of them has waited for the interval, and once
    spool.syncing.sync_if_due()
    assert synced == []
    clock.sleep(2)
    spool.syncing.sync_if_due()
    spool.syncing.sync_if_due()
    assert (len(synced), spool.syncing.due()) == (1, math.inf)


@pytest.mark.parametrize("more", [False, True])
def test_whoever_wants_a_sync_while_another_goes_on_waits_until_it_is_over(opened, monkeypatch, more):
    spool = opened(commit_interval=5)
    spool.put([frame(1)])
    # given a sync that the disk takes its time for
    begun, may_end, synced_at_return = threading.Event(), threading.Event(), []

    def slow(_):
        begun.set()
        assert may_end.wait(60)

    monkeypatch.setattr(os, "fdatasync", slow)
    first = threading.Thread(target=spool.syncing.sync)
    first.start()
    assert begun.wait(60)
    # when a listener demands one, which has put that frame or another one
    if more:
        spool.put([frame(2)])

    def demand():
        spool.syncing.sync()
        synced_at_return.append(spool.syncing.puts_synced)

    second = threading.Thread(target=demand)
    second.start()
    second.join(0.2)
    may_end.set()
    for thread in (first, second):
        thread.join(60)
    # then it is safe when that returns
    assert synced_at_return == [spool.syncing.puts]


def test_with_no_interval_every_frame_is_safe_at_once(opened, synced):
    spool = opened(commit_interval=0)
    spool.put([frame(1)])
    spool.put([frame(2)])
    spool.admit([(frame(3), "")])
    assert len(synced) == 3
    assert not spool.syncing.unsynced.is_set()
    spool.done("a", 2)
    spool.syncing.sync_if_due()
    assert len(synced) == 4


def test_a_disk_that_cannot_be_made_to_write_is_logged_once_and_a_trouble(opened, monkeypatch, caplog):
    def refuse(_: int) -> None:
        raise OSError("broken")

    monkeypatch.setattr(os, "fdatasync", refuse)
    spool = opened(commit_interval=0)
    spool.put([frame(1)])
    spool.put([frame(2)])
    (line,) = (record.message for record in caplog.records)
    assert line.endswith("queue.db-wal: broken; a power cut may take what came last")
    assert spool.trouble == line
    assert values(spool, "a") == [1, 2]


def test_a_disk_that_could_not_sync_is_asked_again(opened, monkeypatch):
    clock = VirtualClock()
    spool = opened(commit_interval=1, clock=clock)
    spool.put([frame(1)])
    right = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda _: os.close(-1))
    clock.sleep(1)
    spool.syncing.sync_if_due()
    assert spool.syncing.puts_synced == 0
    assert 0 < spool.syncing.due() < 10
    assert "Bad file descriptor" in spool.trouble
    monkeypatch.setattr(os, "fdatasync", right)
    clock.sleep(10)
    spool.syncing.sync_if_due()
    assert spool.trouble == ""
    assert spool.syncing.puts_synced == 1


def test_what_its_source_sends_again_after_a_power_cut_is_given_to_nobody_before_it_is_synced(opened, synced):
    spool = opened(commit_interval=5)
    flag = Flag()
    spool.subscribe("a", flag)
    spool.put([frame(1)])
    spool.put([frame(2)], {"in/gateway": "2"})
    spool.put([frame(3)])
    assert values(spool, "a") == [1]
    spool.put([], {"in/gateway": "3"})
    spool.done("a", 1)
    assert values(spool, "a") == []
    assert spool.standing("a").waiting == 2
    flag.clear()
    spool.syncing.sync()
    assert flag.is_set()
    assert values(spool, "a") == [2, 3]
