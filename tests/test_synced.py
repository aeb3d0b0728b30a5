"""A listener that waits until what it has returned is safe from a power cut."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial

import pytest

from gateway.flag import Flag, wait_readable
from gateway.frame import Frame, Stamp
from gateway.plugin import Listener
from gateway.spool import Spool
from gateway.workers.worker import ListenerWorker
from tests.waiting import wait_until

STAMP = Stamp(1_700_000_000.0, "boot", 1.0)


@dataclass(kw_only=True)
class Broker(Listener):
    """Returns what the test puts into `lists`, and keeps what it was told of the disk in `acknowledged`."""

    lists: list = field(default_factory=list)
    acknowledged: list = field(default_factory=list)
    more: Flag = field(default_factory=Flag)

    def read(self, stop):
        if self.lists:
            return self.lists.pop(0)
        ready = wait_readable([stop, self.synced, self.more])
        if self.synced.fileno() in ready:
            self.acknowledged.append(self.synced.count())
        if self.more.fileno() in ready:
            self.more.clear()
        return []


def frame(value: float | None) -> Frame:
    return Frame("9", (value,), STAMP)


@pytest.fixture
def start(tmp_path, at_end):
    """Start a listener on a queue that is synced when it is told to, or after every put."""

    def start(interval, *lists):
        spool = Spool(tmp_path / "queue.db", commit_interval=interval)
        broker = Broker(lists=list(lists))
        broker.name = "broker"
        worker = ListenerWorker(broker, spool, disk=spool.syncing)
        worker.start()
        for end in (spool.close, partial(worker.join, 60), worker.stop.set):
            at_end.callback(end)
        return broker, spool

    return start


def kept(spool, puts):
    """Tell whether so many lists were kept, by the time that the queue can be asked again."""
    return spool.syncing.puts == puts and spool.waiting() is not None


def test_lists_are_counted_once_they_are_synced_those_that_keep_nothing_too(start):
    broker, spool = start(3600.0, [frame(1.0), frame(2.0)], [], [frame(None)], [frame(3.0)])
    wait_until(lambda: not broker.lists and kept(spool, 2))
    assert broker.acknowledged == []
    spool.syncing.sync()
    wait_until(lambda: broker.acknowledged == [3])
    # and those that come later with the next sync
    broker.lists.append([frame(4.0)])
    broker.more.set()
    wait_until(lambda: kept(spool, 3))
    spool.syncing.sync()
    wait_until(lambda: broker.acknowledged == [3, 4])


def test_where_every_put_is_synced_at_once_none_waits(start):
    broker, _ = start(0.0, [frame(1.0)], [frame(2.0)])
    wait_until(lambda: broker.acknowledged and broker.acknowledged[-1] == 2)


def test_a_disk_that_does_not_sync_acknowledges_nothing(start, monkeypatch):
    def refuse(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", refuse)
    broker, spool = start(3600.0, [frame(1.0)])
    wait_until(lambda: kept(spool, 1))
    spool.syncing.sync()
    assert (spool.syncing.puts_synced, broker.synced.count()) == (0, 0)
    # then what was written is safe with the next sync that works
    monkeypatch.undo()
    spool.put([frame(2.0)])
    spool.syncing.sync()
    wait_until(lambda: broker.acknowledged == [1])


def test_a_listener_whose_place_another_takes_can_have_the_disk_write_what_it_gave(start):
    # given a list that was put and not synced yet, and a listener of the same name, as after an edit
    broker, spool = start(1e6, [frame(1.0)])
    wait_until(lambda: kept(spool, 1))
    another = Broker()
    another.name = "broker"
    ListenerWorker(another, spool, disk=spool.syncing)
    # when the first one demands a sync as it ends
    broker.synced.demand()
    # then its list is safe
    assert (broker.synced.kept(), broker.synced.count()) == (1, 1)
