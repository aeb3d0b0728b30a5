from __future__ import annotations

import _thread
import errno
import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.clock import boot_id
from gateway.flag import Flag
from gateway.frame import Frame, Stamp
from gateway.plugin import (
    LARGEST_BATCH,
    BadFrame,
    Delivery,
    Dispatcher,
    HoldEverything,
    Listener,
    NodeRefused,
    OutcomeUnknown,
    Progress,
    TryLater,
)
from gateway.present.queue_answers import QueueAnswers
from gateway.spool import Spool
from gateway.times.dating import Dating, TimeNote
from gateway.times.timekeeper import Timekeeper
from gateway.version import MADE
from gateway.workers.backoff import Backoff
from gateway.workers.delivery import DispatcherWorker
from gateway.workers.worker import ListenerWorker, Worker
from listeners.simulated.clock import VirtualClock, VirtualFlag
from tests.spools import killed, left_by_an_earlier_run, open_queue
from tests.waiting import wait_until, wait_until_idle

STAMP = Stamp(1_700_000_000.0, "boot", 1.0)


def frame(value: float | None, node: str = "9") -> Frame:
    return Frame(node, (value,), STAMP)


@dataclass(kw_only=True)
class Scripted:
    """Does one step of its script after another, then waits to be stopped."""

    script: list[Callable[[], object]] = field(default_factory=list)
    opening: list[Exception] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def open(self) -> None:
        self.done.append("open")
        if self.opening:
            raise self.opening.pop(0)

    def close(self) -> None:
        self.done.append("close")


@dataclass(kw_only=True)
class Source(Scripted, Listener):
    def read(self, stop: Flag) -> list[Frame]:
        if not self.script:
            stop.wait()
            return []
        return self.script.pop(0)()


@dataclass(kw_only=True)
class Far(Scripted, Dispatcher):
    """A far end; `refuses` are values it will not take, and `places` what it answers when it is asked."""

    got: list[float | None] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    refuses: set[float] = field(default_factory=set)
    refuses_nodes: set[str] = field(default_factory=set)
    calls_nodes: Callable[[str], str] = str
    keeps_what_is_before: bool = False
    places: list[Progress | None] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    most: int = 1000
    clock_shows: float | None = None

    def time(self) -> float | None:
        return self.clock_shows

    def prepare(self, batch) -> Delivery:
        return ToFar(self, batch.frames)

    def take(self, frames) -> None:
        self.batches.append(len(frames))
        values = [f.values[0] for f in frames]
        if self.script:
            self.script.pop(0)()
        for number, value in enumerate(values):
            if value in self.refuses or frames[number].node in self.refuses_nodes:
                self.got += values[:number] if self.keeps_what_is_before else []
                if value in self.refuses:
                    raise BadFrame("Format error")
                raise NodeRefused("no room", self.calls_nodes(frames[number].node))
        self.got += values

    def arrived(self, frames) -> Progress | None:
        self.asked.append(len(frames))
        if self.places:
            return self.places.pop(0)
        if self.keeps_what_is_before:
            got = {*self.got}
            return Progress(sum(f.values[0] in got for f in frames))
        return None


class ToFar(Delivery):
    def __init__(self, far: Far, frames) -> None:
        super().__init__(min(len(frames), far.most))
        self.far = far
        self.frames = frames

    def send(self) -> None:
        self.frames = self.frames[: self.count]
        self.far.take(self.frames)

    def delivered(self) -> Progress | None:
        return self.far.arrived(self.frames)


def raising(error: Exception) -> Callable[[], object]:
    def step() -> object:
        raise error

    return step


@pytest.fixture
def clock() -> VirtualClock:
    """Return a clock of this boot, in which the queue is, too."""
    clock = VirtualClock(wall=MADE + 86400)
    clock.boot = boot_id()
    return clock


@pytest.fixture
def spool(opened) -> Spool:
    return opened("far")


@pytest.fixture
def at_once(monkeypatch):
    """Let every pause between tries pass at once, and remember how long it would have been at most."""
    limits: list[float] = []

    def none(self, limit: float) -> float:
        limits.append(limit)
        return 0.0

    monkeypatch.setattr(Backoff, "next", none)
    return limits


@pytest.fixture
def started():
    workers: list[Worker] = []

    def start(worker: Worker) -> Worker:
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.stop.set()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()


def test_pauses_double_to_their_limit_with_some_jitter_and_success_resets_them():
    backoff = Backoff(random.Random(1))
    pauses = [backoff.next(10) for _ in range(200)]
    for pause, longest in zip(pauses, [1, 2, 4, 8] + [10] * 196, strict=True):
        assert longest * 2 / 3 <= pause <= longest
    assert max(pauses[4:]) > 9.9
    assert min(pauses[4:]) < 6.8
    backoff.reset()
    assert backoff.next(10) <= 1


@dataclass(kw_only=True)
class Absent(Far):
    """A far end that is away for so many seconds after each frame; `late` is how long each then took.

    The last frame ends the worker by its flag.
    """

    lengths: list[float] = field(default_factory=list)
    failure: Exception = field(default_factory=lambda: TryLater("not reached"))
    stop: Flag = field(default_factory=Flag)
    back: float = 0.0
    late: list[float] = field(default_factory=list)

    def _answer(self) -> None:
        if self.clock.monotonic() < self.back:
            raise self.failure

    def arrived(self, frames) -> Progress | None:
        self._answer()
        return Progress(0)

    def take(self, frames) -> None:
        self._answer()
        now = self.clock.monotonic()
        self.late.append(now - self.back)
        if self.lengths:
            self.back = now + self.lengths.pop(0)
        else:
            self.stop.set()


@pytest.mark.parametrize(("lengths", "most"), [(range(1, 600, 7), 15.0), (range(601, 6000, 300), 30.0)])
@pytest.mark.parametrize(
    "failure", [TryLater("not reached"), OutcomeUnknown("500"), HoldEverything("no database"), OSError("x")]
)
def test_once_the_far_end_is_back_the_first_frame_arrives_soon(spool, lengths, most, failure):
    # given outages of many lengths, one after the other, during each of which a frame waits
    far = Absent(lengths=list(lengths), failure=failure, batch=1)
    far.name = "far"
    spool.put([frame(n) for n in range(len(far.lengths) + 1)])
    worker = virtual(dispatching(far, spool))
    far.stop = worker.stop
    worker.run()
    # then each ends with a frame, at most so many seconds later
    assert len(far.late) == len(lengths) + 1
    assert max(far.late) <= most
    # and a short one the sooner
    assert most > 15.0 or far.late[1] <= 3.0


def test_a_thousand_gateways_leave_a_server_in_peace():
    # given a thousand that try at the same time at first
    def tries(seed: int) -> Iterator[float]:
        backoff, now = Backoff(random.Random(seed)), 0.0
        while now < 3600.0:
            yield now
            now += backoff.next(15.0 if now < 600.0 else 30.0)

    at = sorted(moment for seed in range(1000) for moment in tries(seed))
    # then they make about 80 requests a second together, and 40 after ten minutes
    for begin, end, rate in ((120.0, 600.0, 80.0), (720.0, 3600.0, 40.0)):
        count = sum(begin <= moment < end for moment in at)
        assert abs(count / (end - begin) - rate) < 2.0
    seconds = Counter(int(moment) for moment in at if moment >= 120.0)
    assert max(seconds.values()) < 130


def test_a_try_that_fails_asks_the_far_end_once(spool, started, at_once):
    # given one that cannot say what it has, after a batch whose outcome is not known
    class Dumb(Far):
        def arrived(self, frames) -> Progress | None:
            super().arrived(frames)
            if len(self.asked) < 20:
                raise HoldEverything("no database")
            return Progress(0)

        def time(self) -> float | None:
            times.append(len(self.asked))
            return None

    times: list[int] = []
    far = Dumb()
    far.name = "far"
    spool.put([frame(1)])
    started(virtual(dispatching(far, spool)))
    wait_until(lambda: far.got == [1])
    # then nothing else is asked of it until it can
    assert times == [20]


def test_what_a_listener_reads_is_on_disk_and_what_has_no_value_is_not(spool, started):
    source = Source(script=[lambda: [frame(1), frame(None)], list, lambda: [frame(2)], lambda: [frame(None)]])
    source.name = "radio"
    worker = started(ListenerWorker(source, spool))
    wait_until(lambda: worker.frames == 2)
    kept = list(spool.peek("far", 9))
    assert [(frame.values, frame.source) for _, frame in kept] == [((1,), "radio"), ((2,), "radio")]
    # but the present has it
    wait_until(lambda: worker.latest.nodes()["9"].frame.values == (None,))
    assert worker.latest.nodes()["9"].valued.values == (2,)


def settled(worker: Worker) -> None:
    """Let a minute pass without a failure."""
    worker.plugin.clock.sleep(59)
    worker.settle()
    worker.plugin.clock.sleep(1)
    worker.settle()


def test_a_failure_is_one_line_when_it_begins_and_one_when_it_is_over(spool, started, at_once, caplog):
    source = Source(
        opening=[OSError("no port"), OSError("no port"), OSError("no port")], script=[lambda: [frame(1)]]
    )
    source.name = "radio"
    source.clock = VirtualClock()
    worker = started(ListenerWorker(source, spool))
    wait_until(lambda: worker.frames == 1)
    settled(worker)
    assert [(r.name, r.message) for r in caplog.records] == [
        ("oemgateway.radio", "no port"),
        ("oemgateway.radio", "works again"),
    ]
    assert source.done == ["open", "close"] * 3 + ["open"]
    assert set(at_once) == {10.0}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ELOOP, "Too many levels", "/var/log/mail.log"), "/var/log/mail.log: Too many levels"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_an_error_of_the_system_is_logged_without_its_number(spool, started, at_once, caplog, error, words):
    source = Source(script=[raising(error), lambda: [frame(1)]])
    worker = started(ListenerWorker(source, spool))
    wait_until(lambda: worker.frames == 1)
    assert caplog.messages == [words]


def test_without_memory_even_for_a_line_of_the_log_it_goes_on_when_there_is_some(
    spool, started, at_once, monkeypatch
):
    source = Source(script=[raising(MemoryError()), lambda: [frame(1)]])
    worker = ListenerWorker(source, spool)
    lines = []

    def fail(*_: object) -> None:
        lines.append(1)
        raise MemoryError

    monkeypatch.setattr(source.log, "exception", fail)
    pauses = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None)
    monkeypatch.setattr("gateway.workers.worker.time", pauses)
    started(worker)
    wait_until(lambda: worker.frames == 1 or worker.finished.is_set())
    assert (worker.frames, len(lines)) == (1, 2)


class Unspeakable(OSError):
    def __str__(self) -> str:
        raise KeyError("words")


def test_a_fault_in_noting_a_failure_is_seen_and_logged_once(spool, started, at_once, monkeypatch, caplog):
    source = Source(script=[raising(Unspeakable())] * 3 + [lambda: [frame(1)]])
    worker, troubles = ListenerWorker(source, spool), list[str]()
    pauses = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: troubles.append(worker.trouble))
    monkeypatch.setattr("gateway.workers.worker.time", pauses)
    started(worker)
    wait_until(lambda: worker.frames == 1)
    assert troubles == 3 * ["a fault in the program: its traceback is in the log"]
    assert caplog.messages == ["a fault in the program; it goes on"]
    assert worker.trouble == ""


def test_that_it_opens_is_no_recovery_when_it_was_reading_that_failed(spool, started, at_once, caplog):
    gone = raising(OSError("gone"))
    source = Source(script=[gone, gone, gone, lambda: [frame(1)]])
    source.clock = VirtualClock()
    worker = started(ListenerWorker(source, spool))
    wait_until(lambda: worker.frames == 1)
    settled(worker)
    assert [r.message for r in caplog.records] == ["gone", "works again"]


def test_a_port_that_comes_and_goes_is_one_trouble_until_it_has_been_good_for_a_minute(
    spool, started, at_once, caplog
):
    # given one that fails after every frame, now and then with other words
    source = Source()
    clock = source.clock = VirtualClock()

    def read(number: int) -> list[Frame]:
        clock.sleep(2)
        if number % 2:
            raise OSError("pulled out" if number % 10 == 9 else "gone")
        return [frame(number)]

    source.script = [lambda number=number: read(number) for number in range(101)]
    worker = started(ListenerWorker(source, spool))
    wait_until(lambda: worker.frames == 51)
    # then each is told once
    assert [r.message for r in caplog.records] == ["gone", "pulled out"]
    assert (worker.failures, worker.trouble) == (50, "")
    # and that it is over, when it has been good for a minute
    clock.sleep(58)
    worker.settle()
    assert len(caplog.records) == 2
    clock.sleep(2)
    worker.settle()
    worker.settle()
    assert [r.message for r in caplog.records][2:] == ["works again"]


def test_a_fault_in_the_program_has_a_traceback_and_is_tried_again(spool, started, at_once, caplog):
    source = Source(script=[raising(KeyError("oops")), lambda: [frame(1)]])
    worker = started(ListenerWorker(source, spool))
    wait_until(lambda: worker.frames == 1)
    assert any(r.exc_info for r in caplog.records)


def test_a_close_that_fails_changes_nothing(spool, started, at_once, caplog):
    class Sticky(Source):
        def close(self) -> None:
            raise failures.pop(0) if failures else OSError("gone already")

    failures: list[Exception] = [KeyError("oops")]
    source = Sticky(script=[raising(OSError("a")), raising(OSError("b")), lambda: [frame(1)]])
    worker = started(ListenerWorker(source, spool))
    wait_until(lambda: worker.frames == 1)
    assert "while closing" in caplog.text


def test_a_node_that_the_configuration_gives_to_another_is_refused_once_in_words(spool, started, caplog):
    source = Source(script=[lambda: [frame(1, "10"), frame(2, "9")], lambda: [frame(3, "9"), frame(4, "10")]])
    source.claimed = frozenset({"9"})
    worker = started(ListenerWorker(source, spool))
    wait_until(lambda: worker.frames == 2)
    assert [f.values for _, f in spool.peek("far", 9)] == [(1,), (4,)]
    assert worker.refused == 2
    assert len([r for r in caplog.records if "node 9 is refused" in r.message]) == 1


def dispatching(
    far: Far,
    spool: Spool,
    clock: VirtualClock | None = None,
    *,
    synchronised: bool = False,
    past: float = MADE,
) -> DispatcherWorker:
    clock = clock or VirtualClock(wall=MADE + 86400)
    far.clock = clock
    keeper = Timekeeper(clock, past=past, synchronised=lambda: synchronised)
    return DispatcherWorker(far, spool, Dating(spool, keeper, clock, TimeNote(Path("/nowhere"))))


def virtual(worker: DispatcherWorker) -> DispatcherWorker:
    """Let the worker's pauses pass at once, on its clock."""
    assert isinstance(worker.plugin.clock, VirtualClock)
    worker.stop = VirtualFlag(worker.plugin.clock)
    return worker


def far_end(**faults) -> Far:
    far = Far(**faults)
    far.name = "far"
    return far


@pytest.mark.parametrize(
    ("failure", "limit"), [(TryLater("500"), 15), (OSError("refused"), 14), (HoldEverything("401"), 14)]
)
def test_frames_stay_while_the_far_end_does_not_take_them(spool, started, at_once, failure, limit, caplog):
    far = far_end(script=[raising(failure)] * 3)
    spool.put([frame(1), frame(2)])
    worker = started(dispatching(far, spool))
    wait_until(lambda: far.got == [1, 2])
    assert at_once == [limit] * 3
    wait_until(lambda: worker.frames == 2 and not worker.trouble)
    settled(worker)
    assert [r.message for r in caplog.records] == [str(failure), "works again"]


@pytest.mark.parametrize("bad", [{0}, {7}, {3, 4}, set(range(8))])
def test_a_bad_frame_is_found_and_set_aside_and_all_others_arrive(spool, started, bad):
    far = far_end(refuses=bad)
    spool.put([frame(n) for n in range(8)])
    started(dispatching(far, spool))
    wait_until(lambda: spool.standing("far").waiting == 0)
    assert far.got == [n for n in range(8) if n not in bad]
    assert {f.values[0] for f, *_ in spool.refused("far")} == bad


@pytest.mark.parametrize(
    ("has", "again", "doubled"),
    [(None, [1, 2, 3], 3), (0, [1, 2, 3], 0), (2, [3], 0), (3, [], 0)],
)
@pytest.mark.parametrize(
    "failure", [OutcomeUnknown("timeout"), OSError("reset"), HoldEverything("no database")]
)
def test_after_an_unknown_outcome_the_far_end_is_asked_what_it_has(
    spool, started, at_once, has, again, doubled, failure
):
    # given that it is asked before the first batch, too
    far = far_end(script=[raising(failure)], places=[Progress(None), *[Progress(has)] * 2])
    worker = virtual(dispatching(far, spool))
    started(worker)
    wait_until_idle(worker)
    spool.put([frame(1), frame(2), frame(3)])
    wait_until(lambda: spool.standing("far").waiting == 0)
    assert (far.got, far.asked) == (again, [3, 3, 3])
    wait_until(lambda: worker.frames == 3)
    assert worker.doubled == doubled


def test_what_was_never_taken_is_sent_again_without_asking(spool, started, at_once):
    far = far_end(script=[raising(TryLater("refused"))])
    worker = started(dispatching(far, spool))
    wait_until_idle(worker)
    spool.put([frame(1)])
    wait_until(lambda: far.got == [1])
    assert (far.asked, worker.doubled) == ([1], 0)  # at the start


def test_what_waits_at_the_start_may_have_been_sent_already(spool, started):
    # given more than a batch of them: the batch that was sent may have been a larger one
    far = far_end(batch=2, places=[Progress(3)] * 2)
    left_by_an_earlier_run(spool, [frame(n) for n in range(LARGEST_BATCH + 1)])
    worker = started(virtual(dispatching(far, spool)))
    wait_until(lambda: spool.standing("far").waiting == 0)
    assert far.got == list(range(3, LARGEST_BATCH + 1))
    assert far.asked == [LARGEST_BATCH + 1] * 2
    assert worker.doubled == 0


@pytest.mark.parametrize("arrived", [0, 900, 1000, 7900, 8000, 8500])
def test_however_many_were_sent_and_not_noted_the_far_end_is_asked_for_them(spool, started, arrived):
    # given what was sent from a disk that could not note it: more than are asked for at a time
    far = far_end(keeps_what_is_before=True, got=[float(n) for n in range(arrived)])
    left_by_an_earlier_run(spool, [frame(float(n)) for n in range(8500)])
    worker = started(virtual(dispatching(far, spool)))
    wait_until(lambda: spool.standing("far").waiting == 0)
    assert far.got == list(range(8500))
    assert worker.doubled == 0


@pytest.mark.parametrize(("size", "most"), [(20, 8000), (200, 2000), (999, 1200)])
def test_of_large_readings_fewer_are_looked_for_at_a_time_as_memory_is_small(spool, started, size, most):
    far = far_end(keeps_what_is_before=True)
    values = tuple(map(float, range(size)))
    left_by_an_earlier_run(spool, [replace(frame(1.0), values=values) for _ in range(8500)])
    started(virtual(dispatching(far, spool)))
    wait_until(lambda: far.asked)
    assert far.asked[0] == most


@pytest.mark.parametrize(("size", "every"), [(1, 4000), (200, 500)])
def test_of_a_backlog_a_power_cut_takes_no_more_notes_than_are_looked_for(
    opened, started, monkeypatch, size, every
):
    # given a disk that is made to write once an hour
    delivered_at: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: delivered_at.append(len(far.got)))
    far = far_end()
    spool = opened("far", commit_interval=3600)
    spool.put([replace(frame(float(n)), values=(float(n),) * size) for n in range(9 * every // 4)])
    delivered_at.clear()
    # when many readings are delivered
    started(virtual(dispatching(far, spool)))
    wait_until(lambda: spool.standing("far").waiting == 0)
    # then it also writes after each few thousand, and of large ones after fewer
    assert delivered_at == [every, 2 * every]


def test_what_waits_at_the_start_and_was_never_sent_is_not_passed_over(spool, started):
    # given a far end that shows it all the same
    far = far_end(places=[Progress(3)])
    spool.put([frame(1), frame(2), frame(3)])
    spool.mark_sending("far", 0)
    worker = started(dispatching(far, spool))
    wait_until(lambda: spool.standing("far").waiting == 0)
    assert (far.got, far.asked, worker.doubled) == ([1, 2, 3], [3], 0)


def test_of_what_waits_at_the_start_only_that_which_was_sent_is_looked_for(spool, started):
    far = far_end(places=[Progress(1)] * 2)
    spool.put([frame(1), frame(2), frame(3)])
    spool.mark_sending("far", spool.peek("far", 2)[-1][0])
    started(virtual(dispatching(far, spool)))
    wait_until(lambda: spool.standing("far").waiting == 0)
    assert (far.got, far.asked) == ([2, 3], [2, 2])


def test_what_comes_after_an_empty_start_has_not(spool, started):
    # given a far end that shows it all the same
    far = far_end(places=[Progress(1)])
    worker = started(dispatching(far, spool))
    wait_until_idle(worker)
    spool.put([frame(1)])
    # then it was asked what it has, and the frame is sent
    wait_until(lambda: far.got == [1])
    assert far.asked == [1]


def test_what_is_still_gone_through_at_the_start_may_have_been_sent_as_well(spool, started):
    far = far_end(places=[Progress(2)] * 2)
    left_by_an_earlier_run(spool, [frame(1), frame(2), frame(3)])
    worker = virtual(dispatching(far, spool))
    # given that the frames wait for their time when it begins
    spool.set_clock(None)
    started(worker)
    wait_until(lambda: worker._compared_after is not None and worker.stop.unattended is None)
    # when they have it
    spool.set_clock(0.0)
    # then the far end is asked for all of them
    wait_until(lambda: far.got == [3])
    assert far.asked == [3, 3]


def test_the_answers_of_a_far_end_at_work_are_not_believed(spool, started):
    # given one that is seen to come on, as far as it shows, until two answers are the same
    at_work = [Progress(None, frozenset({n})) for n in range(5)]
    far = far_end(
        places=[*at_work, Progress(1, frozenset({9})), Progress(2, frozenset({9})), *[Progress(2)] * 2]
    )
    left_by_an_earlier_run(spool, [frame(1), frame(2), frame(3)])
    worker = virtual(dispatching(far, spool))
    clock = worker.plugin.clock
    start = clock.monotonic()
    started(worker)
    # then it is asked five seconds apart, as it shows a part of them; the last two answers count
    wait_until(lambda: far.got == [3])
    assert len(far.asked) == 9
    assert clock.monotonic() - start == 8 * 5


@dataclass(kw_only=True)
class AtWork(Far):
    """Takes some seconds for a frame, and goes on after the time-out."""

    began: float = 0.0
    pace: float = 1.4

    def take(self, frames) -> None:
        self.began = self.clock.monotonic()
        super().take(frames)

    def arrived(self, frames) -> Progress:
        return Progress(min(len(frames), int((self.clock.monotonic() - self.began) // self.pace)))


@dataclass(kw_only=True)
class AtFirst(AtWork):
    """Shows the first frame for one that may not be whole."""

    def arrived(self, frames) -> Progress:
        found = super().arrived(frames)
        return found if found.count != 1 else Progress(0, frozenset({1}))


@dataclass(kw_only=True)
class BusyAtFirst(AtWork):
    """Cannot be asked in the beginning."""

    def arrived(self, frames) -> Progress:
        if self.clock.monotonic() < self.began + 21:
            raise TryLater("not reached")
        return super().arrived(frames)


@pytest.mark.parametrize(
    ("kind", "pace", "timeout"), [(AtWork, 1.4, 10), (AtFirst, 4.0, 3.5), (BusyAtFirst, 2.0, 5)]
)
def test_one_that_takes_seconds_for_a_frame_is_not_taken_to_be_at_rest(spool, started, kind, pace, timeout):
    # given a far end that is still at work when the time is over
    far = kind(batch=24, pace=pace)
    far.name = "far"
    worker = virtual(dispatching(far, spool))
    clock = worker.plugin.clock

    def time_out():
        clock.sleep(timeout)
        raise OutcomeUnknown("timeout")

    far.script = [time_out]
    spool.put([frame(n) for n in range(24)])
    # when
    started(worker)
    # then nothing comes twice
    wait_until(lambda: worker.frames == 24)
    assert far.batches == [24]
    assert worker.doubled == 0


def test_nor_is_one_that_was_sent_them_by_an_earlier_run(spool, started):
    # given a far end that was sent a batch four seconds ago
    far = AtWork(batch=24)
    far.name = "far"
    left_by_an_earlier_run(spool, [frame(n) for n in range(24)])
    worker = virtual(dispatching(far, spool))
    far.began = far.clock.monotonic() - 4
    # when
    started(worker)
    # then nothing comes twice
    wait_until(lambda: worker.frames == 24)
    assert far.batches == []
    assert worker.doubled == 0


def test_one_that_never_comes_to_rest_is_left_alone_for_a_while(spool, started, at_once):
    far = far_end(places=[Progress(None, frozenset({n})) for n in range(30)] + [Progress(1)] * 2)
    left_by_an_earlier_run(spool, [frame(1), frame(2)])
    worker = started(virtual(dispatching(far, spool)))
    wait_until(lambda: far.got == [2])
    assert at_once == [14]
    assert worker.doubled == 0


def test_the_end_does_not_wait_for_a_far_end_at_work(spool, started):
    far = far_end(places=[Progress(None, frozenset({n})) for n in range(1000)])
    left_by_an_earlier_run(spool, [frame(1)])
    worker = started(dispatching(far, spool))
    wait_until(lambda: far.asked)
    asked = len(far.asked)
    worker.stop.set()
    worker.join(60)
    assert len(far.asked) <= asked + 1
    assert far.got == []


@pytest.mark.parametrize("bad", [{0}, {7}, {3, 4}])
def test_what_was_taken_before_a_bad_frame_is_not_sent_again(spool, started, bad):
    far = far_end(refuses=bad, keeps_what_is_before=True)
    worker = started(dispatching(far, spool))
    wait_until_idle(worker)
    spool.put([frame(n) for n in range(8)])
    wait_until(lambda: spool.standing("far").waiting == 0)
    assert far.got == [n for n in range(8) if n not in bad]
    assert {f.values[0] for f, *_ in spool.refused("far")} == bad
    assert worker.doubled == 0


def test_a_frame_that_is_refused_alone_has_a_second_chance(spool, started):
    far = far_end(script=[raising(BadFrame("Format error"))])
    spool.put([frame(1)])
    started(dispatching(far, spool))
    wait_until(lambda: far.got == [1])
    assert spool.refused("far") == []


def of_nodes(*nodes: str) -> list[Frame]:
    return [frame(number, node) for number, node in enumerate(nodes)]


def set_aside(spool: Spool) -> list[float | None]:
    return [refused.frame.values[0] for refused in spool.refused("far")]


def test_the_frames_of_a_refused_node_are_set_aside_without_being_sent_and_told_once(spool, started, caplog):
    # given two of five nodes that are refused, and a backlog of all
    far = far_end(refuses_nodes={"33", "34"}, keeps_what_is_before=True)
    worker = started(virtual(dispatching(far, spool)))
    wait_until_idle(worker)
    nodes = ["9", "33", "10", "34", "11"] * 40
    spool.put(of_nodes(*nodes))
    wait_until(lambda: spool.standing("far").waiting == 0)
    # then the others arrive in order, in as few batches as if they were alone
    assert far.got == [number for number, node in enumerate(nodes) if node not in far.refuses_nodes]
    assert set_aside(spool) == [number for number, node in enumerate(nodes) if node in far.refuses_nodes]
    assert len(far.batches) <= 5
    wait_until(lambda: worker.frames == 120)
    # and each of the two is told once
    assert [r.message.partition(":")[0] for r in caplog.records] == [
        f"node {node} is refused, and its frames are set aside but for one an hour" for node in ("33", "34")
    ]
    assert {name: node.frames for name, node in worker.refused_nodes.known(0.0).items()} == {
        "33": 40,
        "34": 40,
    }
    assert worker.trouble == ""


def test_one_frame_an_hour_is_tried_and_when_it_is_taken_new_ones_flow(spool, started, caplog):
    far = far_end(refuses_nodes={"33"}, keeps_what_is_before=True)
    worker = started(virtual(dispatching(far, spool)))
    wait_until_idle(worker)

    def come(*frames: Frame) -> None:
        spool.put(frames)
        wait_until(lambda: spool.standing("far").waiting == 0)

    come(frame(0, "33"), frame(1, "9"))
    for hour in range(3):
        sent = len(far.batches)
        worker.plugin.clock.sleep(3601)
        come(*(frame(10 * hour + number, node) for number, node in enumerate(["9", "33", "33", "9"], 2)))
        # then the first goes alone
        assert far.batches[sent:] == [1, 1, 1]
    assert set_aside(spool) == [0, 3, 4, 13, 14, 23, 24]
    # when there is room, nothing that was set aside goes by itself
    far.refuses_nodes.clear()
    worker.plugin.clock.sleep(3601)
    come(frame(90, "33"), frame(91, "33"))
    assert far.got == [1, 2, 5, 12, 15, 22, 25, 90, 91]
    assert len(set_aside(spool)) == 7
    assert [r.message for r in caplog.records][1:] == [
        "node 33 is taken now; 7 of its frames wait for oemgateway queue retry"
    ]
    assert worker.refused_nodes.known(0.0) == {}


def test_who_retries_has_the_node_tried_at_once(spool, started):
    far = far_end(refuses_nodes={"33"}, keeps_what_is_before=True)
    worker = started(virtual(dispatching(far, spool)))
    wait_until_idle(worker)
    spool.put([frame(number, "33") for number in range(5)])
    wait_until(lambda: len(set_aside(spool)) == 5)
    queue = QueueAnswers(spool, taking_out=lambda _: worker.refused_nodes.try_now())
    # when there is no room yet
    sent = len(far.batches)
    queue.retry("far")
    wait_until(lambda: len(set_aside(spool)) == 5 and spool.standing("far").waiting == 0)
    assert len(far.batches) == sent + 1
    # and when there is
    far.refuses_nodes.clear()
    queue.retry("far")
    wait_until(lambda: far.got == [0, 1, 2, 3, 4])
    assert set_aside(spool) == []


def test_frames_of_a_refused_node_that_are_dropped_by_hand_are_not_said_to_wait_for_a_retry(
    spool, started, caplog
):
    far = far_end(refuses_nodes={"33"})
    worker = started(virtual(dispatching(far, spool)))
    wait_until_idle(worker)
    spool.put([frame(number, "33") for number in range(5)])
    wait_until(lambda: len(set_aside(spool)) == 5)
    QueueAnswers(spool, taking_out=lambda _: worker.refused_nodes.try_now()).drop_refused("far")
    assert [each.frames for each in worker.refused_nodes.known(0.0).values()] == [0]
    far.refuses_nodes.clear()
    spool.put([frame(5, "33")])
    wait_until(lambda: far.got == [5])
    wait_until(lambda: "node 33 is taken now" in caplog.text)
    assert "wait for oemgateway queue retry" not in caplog.text


@pytest.mark.parametrize("slow", [False, True])
def test_a_listener_that_is_busy_for_long_is_shown_unless_it_is_always_so_slow(
    spool, started, monkeypatch, slow
):
    # given a listener that is busy for a while, and then for longer than is usual
    monkeypatch.setattr("gateway.workers.worker._OVERDUE", 0.05)
    first, second = threading.Event(), threading.Event()
    source = Source(script=[lambda: first.wait(20) and [], lambda: second.wait(20) and []])
    worker = started(ListenerWorker(source, spool))
    wait_until(lambda: "it has been busy for 0 s, and nothing comes" in worker.overdue)
    assert worker.stuck == ""
    if slow:
        worker._longest = 60.0
        assert worker.overdue == ""
    # when it goes on
    first.set()
    second.set()
    wait_until(lambda: worker.overdue == "" and not source.script)


def test_after_a_restart_a_refused_node_is_known(spool, started, caplog):
    # given a node of which five frames were set aside, and a frame that is refused for itself
    far = far_end(refuses_nodes={"33"}, refuses={7.0}, keeps_what_is_before=True)
    worker = started(virtual(dispatching(far, spool)))
    wait_until_idle(worker)
    spool.put([*(frame(number, "33") for number in range(5)), frame(7, "9")])
    wait_until(lambda: len(set_aside(spool)) == 6)
    worker.stop.set()
    worker.join(60)
    caplog.clear()
    # when the next run begins
    far = far_end(refuses_nodes={"33"}, keeps_what_is_before=True)
    worker = started(virtual(dispatching(far, spool)))
    # then it knows them at once
    assert {name: node.frames for name, node in worker.refused_nodes.known(0.0).items()} == {"33": 5}
    # and one frame is tried at once; it is not logged again, and the others are counted with those of before
    spool.put([frame(number, "33") for number in range(10, 13)])
    wait_until(lambda: worker.refused_nodes.known(0.0)["33"].frames == 8)
    assert len(set_aside(spool)) == 9
    assert far.batches == [1]
    assert caplog.text == ""
    # and where it is taken, that is logged
    far.refuses_nodes.clear()
    worker.plugin.clock.sleep(3601)
    spool.put([frame(20, "33")])
    wait_until(lambda: "node 33 is taken now; 8 of its frames wait for oemgateway queue retry" in caplog.text)


def test_a_node_that_the_far_end_calls_something_else_is_found_in_the_batch(spool, started):
    far = far_end(refuses_nodes={"33"}, keeps_what_is_before=True, calls_nodes=lambda _: "th")
    worker = started(virtual(dispatching(far, spool)))
    wait_until_idle(worker)
    nodes = ["9", "10", "33", "11"] * 10
    spool.put(of_nodes(*nodes))
    wait_until(lambda: spool.standing("far").waiting == 0)
    assert far.got == [number for number, node in enumerate(nodes) if node != "33"]
    assert set_aside(spool) == [number for number, node in enumerate(nodes) if node == "33"]
    assert list(worker.refused_nodes.known(0.0)) == ["33"]


def test_what_a_far_end_cannot_have_had_is_set_aside_and_not_passed_over(spool, started):
    # given one that was sent 0 and 2 when the gateway was killed, and refuses the node of 1
    far = far_end(places=[Progress(3, missing=frozenset({1}))] * 2)
    spool.put(of_nodes("9", "33", "9", "9"))
    spool.mark_sending("far", spool.peek("far", 3)[-1][0])
    worker = started(virtual(dispatching(far, spool)))
    wait_until(lambda: worker.frames == 3)
    assert far.got == [3]
    assert set_aside(spool) == [1]


def test_after_an_unknown_outcome_only_what_was_sent_is_looked_for(spool, started, at_once):
    far = far_end(refuses_nodes={"33"}, keeps_what_is_before=True)
    worker = started(virtual(dispatching(far, spool)))
    wait_until_idle(worker)
    spool.put(of_nodes("33"))
    wait_until(lambda: set_aside(spool) == [0])
    far.script = [raising(OutcomeUnknown("timeout"))]
    far.places = [Progress(1)] * 2
    spool.put([frame(1, "33"), frame(2), frame(3, "33"), frame(4), frame(5, "33")])
    wait_until(lambda: spool.standing("far").waiting == 0)
    # 2 was found there
    assert far.got == [4]
    assert set_aside(spool) == [0, 1, 3, 5]


def test_a_frame_that_is_refused_behind_those_of_a_refused_node_takes_none_along(spool, started):
    far = far_end(refuses_nodes={"33"}, refuses={2.0}, keeps_what_is_before=True)
    worker = started(virtual(dispatching(far, spool)))
    wait_until_idle(worker)
    spool.put([frame(0, "33"), frame(1, "33"), frame(2), frame(3, "33"), frame(4)])
    wait_until(lambda: spool.standing("far").waiting == 0)
    assert far.got == [4]
    assert set_aside(spool) == [0, 1, 2, 3]


def test_the_refusal_of_frames_of_a_node_is_logged_once_an_hour(spool, started, caplog):
    far = far_end(refuses=set(range(20)))
    worker = started(virtual(dispatching(far, spool)))
    for hour in range(2):
        spool.put([frame(number) for number in range(10)])
        wait_until(lambda count=10 * (hour + 1): len(set_aside(spool)) == count)
        assert [r.message for r in caplog.records] == ["a frame of node 9 is set aside: Format error"] * (
            hour + 1
        )
        worker.plugin.clock.sleep(3601)


def test_frames_that_cannot_be_told_apart_go_one_batch_after_the_other(spool, started):
    far = far_end(most=2, interval=1000.0)
    spool.put([frame(n) for n in range(5)])
    started(dispatching(far, spool))
    wait_until(lambda: len(far.got) == 5)
    assert far.batches == [2, 2, 1]


def test_batches_shrink_while_answers_are_slow_or_do_not_come_and_grow_again(spool, started, at_once):
    far = far_end(batch=8)
    worker = virtual(dispatching(far, spool))
    clock = worker.plugin.clock
    slow = [lambda: clock.sleep(40), lambda: clock.sleep(20)]
    far.script = [*slow, raising(OutcomeUnknown("timeout")), *[lambda: None] * 3]
    spool.put([frame(n) for n in range(40)])
    started(worker)
    wait_until(lambda: len(far.got) == 40)
    assert far.batches == [8, 4, 2, 1, 2, 4, 8, 8, 5]


@pytest.mark.parametrize("first", [1, 40])
def test_where_small_batches_take_as_long_as_large_ones_a_backlog_goes_in_large_ones(spool, started, first):
    # given a server that takes half a minute for any request
    far = far_end(batch=16)
    worker = virtual(dispatching(far, spool))
    far.script = [lambda: worker.plugin.clock.sleep(25)] * 1000
    spool.put([frame(n) for n in range(first)])
    started(worker)
    wait_until(lambda: len(far.got) == first)
    # when much more waits for it
    spool.put([frame(n) for n in range(first, first + 400)])
    wait_until(lambda: len(far.got) == first + 400)
    # then few requests are made
    assert len(far.batches) < 45
    assert far.got == [*map(float, range(first + 400))]


def test_where_each_frame_takes_long_batches_stay_small(spool, started):
    far = far_end(batch=16)
    worker = virtual(dispatching(far, spool))
    far.script = [lambda: worker.plugin.clock.sleep(12 * far.batches[-1])] * 100
    spool.put([frame(n) for n in range(60)])
    started(worker)
    wait_until(lambda: len(far.got) == 60)
    assert max(far.batches[4:]) == 2


def test_where_large_batches_have_no_answer_in_time_small_ones_go_for_ten_minutes(spool, started):
    # given a line that large packets do not pass
    far = far_end(batch=8)
    worker = virtual(dispatching(far, spool))
    clock = worker.plugin.clock

    def vanish():
        clock.sleep(60)
        raise OutcomeUnknown("timeout")

    far.script = [vanish] * 2
    spool.put([frame(n) for n in range(12)])
    started(worker)
    wait_until(lambda: len(far.got) == 12)
    assert far.batches == [8, 4, *[2] * 6]
    clock.sleep(600)
    spool.put([frame(n) for n in range(12, 26)])
    wait_until(lambda: len(far.got) == 26)
    assert max(far.batches[8:]) == 8


@pytest.mark.parametrize(
    ("waiting", "before"), [(1, [1]), (2, [2, 1])], ids=["of a single reading", "and another failure"]
)
def test_an_outage_that_begins_without_an_answer_says_nothing_of_the_size_of_batches(
    spool, started, waiting, before
):
    # given a far end that does not answer to what is sent, and is away then
    far = far_end(batch=8)
    worker = virtual(dispatching(far, spool))

    def vanish():
        worker.plugin.clock.sleep(60)
        raise OutcomeUnknown("timeout")

    far.script = [vanish, raising(TryLater("not reached"))][:waiting]
    spool.put([frame(n) for n in range(waiting)])
    started(worker)
    wait_until(lambda: len(far.got) == waiting)
    # when it is back, and has much to get
    far.batches.clear()
    spool.put([frame(n) for n in range(waiting, waiting + 20)])
    wait_until(lambda: len(far.got) == waiting + 20)
    # then all of it goes at full speed
    assert 8 in far.batches


def test_the_interval_gathers_what_comes_but_a_backlog_goes_at_once(spool, started):
    far = far_end(batch=2, interval=1000.0)
    spool.put([frame(n) for n in range(5)])
    worker = started(dispatching(far, spool))
    wait_until(lambda: len(far.got) == 5)
    assert far.batches == [2, 2, 1]
    assert worker.is_alive()


def test_a_replacement_opens_only_when_the_one_before_has_closed(spool, started):
    release = Flag()
    old = Source(script=[lambda: release.wait(60) and []])
    new = Source(script=[lambda: [frame(1)]])
    first = started(ListenerWorker(old, spool))
    wait_until(lambda: old.script == [])
    first.stop.set()
    second = started(ListenerWorker(new, spool, after=[first]))
    assert new.done == []
    release.set()
    wait_until(lambda: second.frames == 1)
    assert old.done == ["open", "close"]


def test_a_replacement_that_is_stopped_while_it_waits_never_opens(spool, started):
    release = Flag()
    old = Source(script=[lambda: release.wait(60) and []])
    first = started(ListenerWorker(old, spool))
    wait_until(lambda: old.script == [])
    new = Source()
    second = started(ListenerWorker(new, spool, after=[first]))
    second.stop.set()
    second.join(60)
    assert new.done == []
    release.set()


def test_a_stopped_worker_says_nothing_more(spool, started, caplog):
    caplog.set_level(logging.INFO)
    worker = started(dispatching(far_end(), spool))
    worker.stop.set()
    worker.join(60)
    assert caplog.records == []


def test_before_the_first_batch_the_clocks_are_compared_and_a_wrong_one_holds_the_frames(
    spool, started, clock, caplog
):
    far = far_end(clock_shows=MADE + 5 * 86400)
    worker = started(dispatching(far, spool, clock))
    worker._dating.put([Frame("9", (1,), clock.now())])
    wait_until(lambda: "4 days behind the server's" in caplog.text)
    assert far.batches == []
    clock.set_wall(MADE + 5 * 86400)
    worker._dating.look()
    wait_until(lambda: far.got == [1])


def test_no_row_goes_out_that_is_later_than_the_far_end_takes_it(spool, started, at_once):
    clock = VirtualClock(wall=MADE + 86400)
    far = far_end(clock_shows=MADE + 86400)
    worker = dispatching(far, spool, clock)
    late = replace(STAMP, wall=MADE + 86400 + 100)
    spool.put([frame(1), Frame("9", (2,), late), frame(3)])
    started(worker)
    wait_until(lambda: "its clock has not come to the time" in worker.trouble)
    assert far.got == [1]
    clock.sleep(50)
    far.clock_shows += 50
    wait_until(lambda: far.got == [1, 2, 3])


def test_a_far_end_whose_clock_was_behind_is_asked_again_and_believed_when_it_is_right(
    spool, started, at_once
):
    clock = VirtualClock(wall=MADE + 86400)
    far = far_end(clock_shows=MADE + 86400 - 3600)
    worker = dispatching(far, spool, clock, synchronised=True)
    spool.put([Frame("9", (1,), clock.now())])
    started(worker)
    wait_until(lambda: "behind this machine's" in worker.trouble)
    assert far.got == []
    far.clock_shows = clock.wall()
    wait_until(lambda: far.got == [1])


def test_what_a_far_end_has_shown_counts_for_an_hour(spool, started):
    # given one whose clock runs away from ours, slowly
    clock = VirtualClock(wall=MADE + 86400)
    far = far_end(clock_shows=clock.wall())
    worker = started(dispatching(far, spool, clock))
    for value in range(24):
        spool.put([Frame("9", (value,), clock.now())])
        wait_until(lambda count=value + 1: worker.frames == count)
        clock.sleep(3601)
        far.clock_shows = clock.wall() - value
    spool.put([Frame("9", (24,), clock.now())])
    wait_until(lambda: worker.frames == 25)
    assert worker._dating.keeper.latest("far") == far.clock_shows + 60


def test_while_all_is_held_the_far_end_is_asked_and_may_let_it_go(spool, started, clock):
    # given that a time was noted, by mistake, that is still to come
    far = far_end()
    worker = started(dispatching(far, spool, clock, past=MADE + 2 * 86400))
    worker._dating.put([Frame("9", (1,), clock.now())])
    wait_until(lambda: worker._compared_after is not None)
    assert (spool.holding, far.got) == (True, [])
    # when the far end shows the time, a minute later
    far.clock_shows = clock.wall() + 62
    clock.sleep(60)
    worker._dating.put([Frame("9", (2,), clock.now())])
    # then ours is right
    wait_until(lambda: worker._dating.keeper.doubt == "")
    worker._dating.look()
    wait_until(lambda: far.got == [1, 2])


def test_while_nothing_comes_and_all_is_held_the_far_end_is_asked_again_after_a_minute(
    spool, started, clock, monkeypatch
):
    monkeypatch.setattr("gateway.workers.delivery._COMPARE_HELD_EVERY", 0.01)
    far = far_end()
    worker = dispatching(far, spool, clock, past=MADE + 2 * 86400)
    worker._dating.put([Frame("9", (1,), clock.now())])
    started(worker)
    wait_until(lambda: worker._compared_after is not None)
    far.clock_shows = clock.wall()
    clock.sleep(1)
    wait_until(lambda: worker._dating.keeper.doubt == "")
    worker._dating.look()
    wait_until(lambda: far.got == [1])


def test_where_nothing_is_held_and_nothing_waits_the_far_end_is_not_asked(spool, started):
    far = far_end()
    worker = started(dispatching(far, spool, VirtualClock(wall=MADE - 86400)))
    wait_until_idle(worker)
    wait_until(lambda: worker.stop.unattended is None)
    assert worker._compared_after is None


def test_a_far_end_with_a_wrong_clock_holds_up_no_other(opened, started, at_once):
    # given that it is the last to be asked
    clock = VirtualClock(wall=MADE + 86400)
    spool = opened("far", "behind", clock=clock)
    far, behind = far_end(clock_shows=clock.wall()), far_end(clock_shows=clock.wall() - 3600)
    behind.name = "behind"
    worker = dispatching(far, spool, clock)
    behind.clock = clock
    other = DispatcherWorker(behind, spool, worker._dating)
    spool.put([Frame("9", (1,), clock.now())])
    started(worker)
    wait_until(lambda: far.got == [1])
    started(other)
    wait_until(lambda: "behind this machine's" in other.trouble)
    # when more is to be sent
    spool.put([Frame("9", (2,), clock.now())])
    # then it goes where it can
    wait_until(lambda: far.got == [1, 2])
    assert behind.got == []


def of_sender(value: float, wall: float, node: str = "9") -> Frame:
    return Frame(node, (value,), Stamp(wall, "", 0.0))


@pytest.mark.parametrize("shows", [0.0, None])
def test_a_sender_whose_clock_is_ahead_holds_up_no_other(spool, started, at_once, clock, shows, caplog):
    # given a far end with a clock, or one on this machine, and a reading that its sender dates in a year
    far = far_end(clock_shows=None if shows is None else clock.wall())
    worker = dispatching(far, spool, clock, synchronised=True)
    ahead = of_sender(2, clock.wall() + 365 * 86400, "10")
    spool.put([Frame("9", (1,), clock.now()), ahead, Frame("9", (3,), clock.now()), ahead])
    started(worker)
    # then all others arrive, it is set aside with the reason, and one line says so
    wait_until(lambda: far.got == [1, 3] and not spool.peek("far", 10))
    assert [each.frame for each in spool.refused("far")] == [ahead, ahead]
    assert {each.reason for each in spool.refused("far")} == {
        "its time, given by its sender, is still to come: set the sender's clock right"
    }
    assert caplog.text.count("a frame of node 10 is set aside") == 1
    # and what comes after that is delivered, too; once its time has come it may be sent again
    clock.set_wall(clock.wall() + 366 * 86400)
    worker._dating.look()
    far.clock_shows = None if shows is None else clock.wall()
    QueueAnswers(spool, clock).retry("far")
    wait_until(lambda: far.got == [1, 3, 2, 2])


@pytest.mark.parametrize("shows", [86400.0, None])
def test_while_our_own_clock_is_not_sure_no_sender_is_ahead(spool, started, at_once, clock, shows):
    # given a far end that shows that ours is a day behind, or none, and a reading with the right time
    far = far_end(clock_shows=None if shows is None else clock.wall() + shows)
    spool.put([of_sender(1, clock.wall() + 86400)])
    started(dispatching(far, spool, clock))
    # then it is sent
    wait_until(lambda: far.got == [1])
    assert spool.refused("far") == []


@dataclass(kw_only=True)
class Hasty(Source):
    @property
    def busy_limit(self) -> float:
        return 0.1


def test_one_that_waits_is_not_stuck_and_one_that_is_busy_beyond_its_limit_is(spool, started):
    # given one that reads at once and then waits, and one whose reading never ends
    release = threading.Event()
    idle = started(ListenerWorker(Hasty(script=[list]), spool))
    hanging = started(ListenerWorker(Hasty(script=[lambda: release.wait(60) and []]), spool))
    # then it is found out
    wait_until(lambda: hanging.stuck)
    assert "it hangs, for 0 s now" in hanging.stuck
    wait_until(lambda: idle.stop.unattended is None)
    assert idle.stuck == ""
    # and when the reading ends after all, it is as the other
    release.set()
    wait_until(lambda: hanging.stuck == "")


def test_one_whose_thread_has_died_is_stuck(spool, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    worker = ListenerWorker(Source(script=[raising(SystemExit())]), spool)
    worker.start()
    worker.join(60)
    assert worker.stuck == "its thread has died"


def test_the_start_of_one_whose_thread_does_not_begin_is_not_waited_for_and_can_be_tried_again(
    spool, monkeypatch
):
    # given a thread that has no memory for its first call
    source = Source(script=[lambda: [frame(1)]])
    worker = ListenerWorker(source, spool)
    with monkeypatch.context() as context:
        context.setattr(_thread, "start_new_thread", lambda *_: None)
        # when it is started
        worker.start()
    # then it does not run, is none that ended, and nobody has to wait for it
    assert (worker.is_alive(), worker.stuck) == (False, "")
    assert ListenerWorker(Source(), spool, after=[worker]).predecessors() == []
    # and runs once there is memory
    worker.start()
    wait_until(lambda: worker.frames == 1)
    worker.start()
    worker.stop.set()
    worker.join(60)
    assert source.done.count("open") == 1


def test_one_that_waits_for_a_stuck_one_is_stuck_as_well(spool, started):
    release = threading.Event()
    first = started(ListenerWorker(Hasty(script=[lambda: release.wait(60) and []]), spool))
    wait_until(lambda: first.plugin.script == [])
    first.stop.set()
    second = started(ListenerWorker(Source(), spool, after=[first]))
    wait_until(lambda: "it hangs" in second.stuck)
    release.set()
    wait_until(lambda: second.tried.is_set() and second.stuck == "")


def test_it_has_tried_when_it_is_open_or_could_not_be_opened(spool, started):
    release = threading.Event()

    @dataclass(kw_only=True)
    class Slow(Source):
        def open(self) -> None:
            super().open()
            release.wait(60)

    slow = started(ListenerWorker(Slow(), spool))
    failing = started(ListenerWorker(Source(opening=[OSError("no port")] * 99), spool))
    wait_until(failing.tried.is_set)
    wait_until(lambda: slow.plugin.done == ["open"])
    assert not slow.tried.is_set()
    release.set()
    wait_until(slow.tried.is_set)


def test_the_last_trouble_is_remembered_and_the_next_try_is_known(spool, started):
    source = Source(opening=[OSError("no port")] * 3, script=[lambda: [frame(1)]])
    worker = started(ListenerWorker(source, spool))
    due = wait_until(lambda: worker.next_try)
    assert due <= time.monotonic() + 4
    wait_until(lambda: worker.frames == 1)
    assert worker.next_try is None
    assert worker.last_trouble.text == "no port"
    assert worker.trouble == ""


def test_one_that_is_stopped_while_it_waits_leaves_its_wait_to_who_comes_after(spool, started):
    # given one that hangs, and one that waited for it and was stopped
    release = threading.Event()
    first = started(ListenerWorker(Source(script=[lambda: release.wait(60) and []]), spool))
    wait_until(lambda: first.plugin.script == [])
    first.stop.set()
    second = started(ListenerWorker(Source(), spool, after=[first]))
    second.stop.set()
    second.join(60)
    # when a third comes after that, then it does not open before the first has let go
    new = Source(script=[lambda: [frame(1)]])
    third = started(ListenerWorker(new, spool, after=[second]))
    wait_until(lambda: third.stop.unattended is None)
    assert new.done == []
    release.set()
    wait_until(lambda: third.frames == 1)
    assert first.finished.is_set()


@pytest.mark.parametrize(("queued", "sent", "is_cut", "doubled"), [(0, 0, 1, 0), (5, 2, 1, 5), (5, 2, 0, 2)])
def test_only_what_can_have_been_sent_before_a_reboot_counts_as_doubled(
    tmp_path, started, queued, sent, is_cut, doubled
):
    # given a far end that cannot tell what it has, and a machine that was cut off, or shut down in order
    path = tmp_path / "state" / "queue.db"
    spool = open_queue(path, "far", clock=VirtualClock())
    spool.put([frame(n) for n in range(queued)])
    if sent:
        spool.mark_sending("far", spool.peek("far", sent)[-1][0])
    left = killed(path, tmp_path) if is_cut else path
    spool.close()
    # when more is put after the reboot, before anything is sent
    clock = VirtualClock()
    clock.boot = "another"
    spool = open_queue(left, "far", clock=clock)
    spool.put([frame(n) for n in range(queued, 22)])
    far = far_end()
    worker = started(virtual(dispatching(far, spool)))
    wait_until(lambda: len(far.got) == 22)
    # then what came later was not sent before, nor what no note of an end in order names
    assert worker.doubled == doubled
    worker.stop.set()
    worker.join(60)
    spool.close()
