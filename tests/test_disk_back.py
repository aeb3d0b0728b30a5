"""A disk that cannot be used at first, or for a while: what waits in memory moves there when it can."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from gateway.frame import Frame, Stamp
from gateway.process.control import ask
from gateway.spool import Spool, SpoolUnusable
from gateway.store import salvage, store
from listeners.simulated.clock import VirtualClock
from tests.card import file_system, mounted
from tests.gateway_process import GatewayProcess, command
from tests.ports import free_port
from tests.refusing import ReadOnly
from tests.spools import finish_rescue, leave_queue, open_queue, refuse
from tests.test_security import push
from tests.waiting import wait_until


def frame(n: float) -> Frame:
    return Frame("9", (n,), Stamp(1_700_000_000.0 + n, "boot", n))


def values(spool: Spool, who: str) -> list[float | None]:
    """Deliver all that there is, and return it."""
    found: list[float | None] = []
    while batch := spool.peek(who, 7):
        found += [kept.values[0] for _, kept in batch]
        spool.mark_sending(who, batch[-1][0])
        spool.done(who, batch[-1][0])
    return found


@pytest.fixture
def clock():
    return VirtualClock()


def test_a_first_start_on_a_full_disk_does_not_say_that_readings_were_lost(path, monkeypatch, caplog, clock):
    prepared = store._prepared

    def fail(db: sqlite3.Connection, max_bytes: int) -> sqlite3.Connection:
        if any(name for _, _, name in db.execute("pragma database_list")):
            raise sqlite3.OperationalError("database or disk is full")
        return prepared(db, max_bytes)

    with monkeypatch.context() as disk:
        disk.setattr(store, "_prepared", fail)
        spool = open_queue(path, clock=clock)
        for _ in range(3):
            clock.sleep(6)
            spool.tend()
        assert "disk is full" in spool.trouble
    clock.sleep(6)
    spool.tend()
    assert spool.trouble == ""
    assert "is empty" not in caplog.text
    spool.close()


class Trouble:
    """A disk on which the file cannot be opened, or can be opened to be read only, as long as it is `on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, readable: bool) -> None:
        self.on = True
        self._readable = readable
        self._store, self._view = store.open_store, store.open_view
        monkeypatch.setattr(store, "open_store", self._open_store)
        monkeypatch.setattr(store, "open_view", self._open_view)

    def _open_store(self, path: Path, *, max_bytes: int, is_last: bool = False) -> sqlite3.Connection:
        if self.on:
            raise sqlite3.OperationalError("disk I/O error")
        return self._store(path, max_bytes=max_bytes, is_last=is_last)

    def _open_view(self, path: Path) -> sqlite3.Connection:
        if self.on and not self._readable:
            raise sqlite3.OperationalError("disk I/O error")
        return self._view(path)


def filled(path: Path, count: int, *who: str) -> None:
    """Make a file with so many frames, of which the first dispatcher has delivered three."""
    leave_queue(path, [frame(n) for n in range(count)], *who, done=3)


def some_time_passes(spool: Spool, clock: VirtualClock) -> None:
    """Let the main thread of a daemon look after its queue."""
    for _ in range(4):
        clock.sleep(2)
        if spool.due() == 0:
            spool.tend()


def test_where_there_was_no_disk_at_the_start_what_waits_moves_there_with_its_order_and_places(
    path, clock, monkeypatch, caplog
):
    # given a start without a disk, and dispatchers of which one has come further
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, "a", "b", clock=clock)
    spool.put([frame(n) for n in range(10)])
    spool.done("a", spool.peek("a", 4)[-1][0])
    refuse(spool, "b", spool.peek("b", 1)[0][0], "no")
    assert [spool.standing(who).waiting for who in "ab"] == [6, 9]
    assert spool.trouble
    some_time_passes(spool, clock)
    # when there is one
    disk.on = False
    some_time_passes(spool, clock)
    assert spool.trouble == ""
    assert caplog.text.count("disk I/O error") == 1
    # then it survives a kill
    assert [spool.standing(who).waiting for who in "ab"] == [6, 9]
    spool._contents.db.close()
    spool = open_queue(path, "a", "b", clock=clock)
    assert [spool.standing(who).waiting for who in "ab"] == [6, 9]
    assert values(spool, "a") == [4, 5, 6, 7, 8, 9]
    assert values(spool, "b") == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [each.frame for each in spool.refused("b")] == [frame(0)]
    spool.close()


@pytest.mark.parametrize(("after", "renamed"), [(["a"], {}), (["a", "c"], {"c": "b"})])
def test_a_dispatcher_removed_or_renamed_while_there_is_no_disk_has_no_place_on_it(
    path, clock, monkeypatch, after, renamed
):
    # given a start without a disk, and a dispatcher that has got some of it
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, "a", "b", clock=clock)
    spool.put([frame(n) for n in range(10)])
    sent = spool.peek("b", 4)[-1][0]
    spool.mark_sending("b", sent)
    spool.done("b", sent)
    # when it is removed or renamed before there is a disk
    spool.set_consumers(after, renamed)
    disk.on = False
    some_time_passes(spool, clock)
    # then all moves there, and each goes on where it was
    assert spool.trouble == ""
    assert values(spool, "a") == [*range(10)]
    assert [values(spool, who) for who in renamed] == [[4, 5, 6, 7, 8, 9]] * len(renamed)
    spool.close()


@pytest.mark.parametrize("before", [0, 20])
def test_where_there_was_no_disk_at_the_start_and_too_much_came_meanwhile_the_file_is_sound_afterwards(
    path, clock, monkeypatch, caplog, before
):
    # given what was sent from memory, and so much after it that the oldest frames were dropped
    if before:
        filled(path, before)
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, clock=clock, memory=10)
    spool.put([frame(n) for n in range(100, 105)])
    spool.mark_sending("a", spool.peek("a", 3)[-1][0])
    spool.put([frame(n) for n in range(105, 140)])
    # when there is a disk, and the gateway is started again
    disk.on = False
    some_time_passes(spool, clock)
    assert spool.trouble == ""
    sent = spool.sent("a")[0]
    spool.close()
    spool = open_queue(path, clock=clock)
    # then no number in the file is impossible, and whatever was there may have been sent before
    assert "damaged" not in caplog.text
    assert sent >= before
    assert values(spool, "a") == [*range(min(before, 3), before), *range(130, 140)]
    spool.close()


def test_what_was_sent_from_memory_and_dropped_there_passes_no_frame_of_the_file(path, clock, monkeypatch):
    # given frames that are sent from memory, and so much after them that they are dropped
    filled(path, 100)
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, clock=clock, memory=10)
    spool.put([frame(n) for n in range(200, 205)])
    sent = spool.peek("a", 3)[-1][0]
    spool.mark_sending("a", sent)
    spool.put([frame(n) for n in range(205, 240)])
    # when they have arrived once the disk is there
    disk.on = False
    some_time_passes(spool, clock)
    spool.done("a", sent)
    # then what is in the file is still to be delivered
    assert values(spool, "a") == [*range(3, 100), *range(230, 240)]
    spool.close()


@pytest.mark.parametrize("gone", [[], ["-wal"], [""], ["", "-wal", ""]])
def test_what_memory_went_ahead_with_is_not_given_again_whatever_happens_then(path, clock, monkeypatch, gone):
    # given a dispatcher that was ahead of what the file has, while that could not be read
    filled(path, 10, "a", "b")
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, "a", "b", clock=clock)
    spool.put([frame(n) for n in (100, 101, 102)])
    sent = spool.peek("b", 2)[-1][0]
    spool.mark_sending("b", sent)
    spool.done("b", sent)
    disk.on = False
    some_time_passes(spool, clock)
    # when the file or its log is removed, and the gateway is killed, before it has had all of the file
    for suffix in gone:
        Path(f"{path}{suffix}").unlink()
        spool.put([])
        clock.sleep(6)
        spool.tend()
    spool._contents.db.close()
    spool = open_queue(path, "a", "b", clock=clock)
    # then it gets what the file has, in batches of their own: the far end shows what was ahead
    assert spool.standing("b").waiting == 11
    assert [kept.values[0] for _, kept in spool.peek("b", 100)] == list(range(10))
    assert values(spool, "b") == [*range(10), 102]
    assert values(spool, "a") == [*range(3, 10), 100, 101, 102]
    # and later starts know nothing of it
    spool.put([frame(103)])
    spool.close()
    spool = open_queue(path, "a", "b", clock=clock)
    assert (values(spool, "a"), values(spool, "b")) == ([103], [103])
    assert "ahead" not in " ".join(spool.notes.below(""))
    spool.close()


def test_once_all_have_passed_what_memory_went_ahead_with_a_dispatcher_can_go_back_again(
    path, clock, monkeypatch
):
    # given a queue that was delivered from memory for a while
    filled(path, 10)
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, clock=clock)
    spool.put([frame(100)])
    assert values(spool, "a") == [100]
    disk.on = False
    some_time_passes(spool, clock)
    assert values(spool, "a") == list(range(3, 10))
    # when a far end has not kept what it had shown
    spool.put([frame(101)])
    spool.done("a", spool.peek("a", 1)[-1][0], sure=False)
    spool.go_back("a")
    # then it is given again
    assert values(spool, "a") == [101]
    spool.close()


@pytest.mark.parametrize("in_flight", [True, False])
def test_what_the_disk_had_comes_first_then_and_nothing_is_given_twice(
    opened, path, clock, monkeypatch, in_flight
):
    # given a thousand frames on a disk that cannot even be read at the start
    filled(path, 1000, "a", "b")
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, "a", "b", clock=clock)
    assert "cannot be read or counted" in spool.trouble
    spool.put([frame(n) for n in range(2000, 2020)])
    spool.done("a", spool.peek("a", 8)[-1][0])
    sent = spool.peek("b", 5)
    spool.mark_sending("b", sent[-1][0])
    if not in_flight:
        spool.done("b", sent[-1][0])
    # when it comes back, perhaps while a batch is on its way
    disk.on = False
    some_time_passes(spool, clock)
    if in_flight:
        spool.done("b", sent[-1][0])
    spool.put([frame(3000)])
    # then each has what it has not had
    assert [spool.standing(who).waiting for who in "ab"] == [997 + 13, 1000 + 16]
    assert values(spool, "a") == [*range(3, 1000), *range(2008, 2020), 3000]
    assert values(spool, "b") == [*range(1000), *range(2005, 2020), 3000]
    assert spool.standing("a").waiting == 0
    spool.close()
    assert values(opened("a", "b", clock=clock), "b") == []


def test_what_a_disk_has_that_can_only_be_read_may_have_been_sent_without_a_note(path, clock, monkeypatch):
    # given what an earlier run of this boot has left on a disk that had become read-only before its end
    spool = open_queue(path, "a", clock=clock)
    spool.put([frame(n) for n in range(1000)])
    spool.mark_sending("a", 3)
    spool.close()
    disk = Trouble(monkeypatch, readable=True)
    spool = open_queue(path, "a", clock=clock)
    assert spool.sent("a")[0] == 1000
    # when it can be written again
    disk.on = False
    some_time_passes(spool, clock)
    assert (spool.trouble, spool.sent("a")[0]) == ("", 1000)
    spool.close()


def test_while_the_disk_can_only_be_read_what_it_has_is_counted_and_sent(opened, path, clock, monkeypatch):
    filled(path, 1000, "a", "b")
    disk = Trouble(monkeypatch, readable=True)
    spool = open_queue(path, "a", "b", clock=clock)
    spool.put([frame(1000)])
    assert [spool.standing(who).waiting for who in "ab"] == [998, 1001]
    assert values(spool, "a") == list(range(3, 1001))
    assert spool.standing("a").waiting == 0
    with pytest.raises(OSError, match="disk refuses"):
        spool.skip("b", before=spool.end, limit=10)
    disk.on = False
    some_time_passes(spool, clock)
    assert spool.trouble == ""
    spool._contents.db.close()
    spool = opened("a", "b", clock=clock)
    assert [spool.standing(who).waiting for who in "ab"] == [0, 1001]
    assert values(spool, "b") == list(range(1001))
    spool.close()


def test_what_is_learnt_of_the_clock_in_memory_counts_on_the_disk(path, clock, monkeypatch):
    clock.boot = "boot"
    leave_queue(path, [frame(3)], clock=clock)
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, clock=clock)
    spool.set_clock(None)
    spool.put([frame(5)])
    assert (spool.peek("a", 1), spool.standing("a").held, spool.holding) == ([], 1, True)
    disk.on = False
    some_time_passes(spool, clock)
    assert (spool.peek("a", 1), spool.standing("a").held, spool.holding) == ([], 2, True)
    spool.set_clock(1_600_000_000.0)
    assert [kept.stamp.wall for _, kept in spool.peek("a", 9)] == [1_600_000_003.0, 1_600_000_005.0]
    spool.close()


def test_an_end_saves_what_can_be_saved_and_says_what_cannot(path, clock, monkeypatch, caplog):
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, clock=clock)
    spool.put([frame(1), frame(2)])
    disk.on = False
    spool.close()
    assert "lost" not in caplog.text
    disk.on = True
    leave_queue(path, [frame(3)], clock=clock)
    assert "1 readings that wait in memory are lost" in caplog.text
    disk.on = False
    spool = open_queue(path, clock=clock)
    assert values(spool, "a") == [1, 2]
    spool.close()


def test_what_is_in_the_place_of_the_file_is_named_without_the_number_of_an_error(path, caplog):
    path.mkdir(parents=True)
    with pytest.raises(SpoolUnusable) as unusable:
        Spool(path, in_memory=False)
    spool = open_queue(path)
    spool.put([frame(1)])
    for said in (str(unusable.value), spool.trouble, caplog.text):
        assert f"{path}: a plain file expected, and no link: take it away" in said
        assert "Errno" not in said
    path.rmdir()
    spool.close()


def test_a_file_in_use_at_that_moment_is_waited_for(path, clock, monkeypatch):
    disk = Trouble(monkeypatch, readable=False)
    spool = open_queue(path, clock=clock)
    spool.put([frame(1)])
    disk.on = False
    other = Spool(path)
    some_time_passes(spool, clock)
    assert "in use" in spool.trouble
    other.close()
    some_time_passes(spool, clock)
    assert (spool.trouble, values(spool, "a")) == ("", [1])
    spool.close()


def test_a_file_that_is_damaged_when_the_disk_comes_back_is_rescued(path, clock, monkeypatch):
    filled(path, 300, "a")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 4096])
    disk = Trouble(monkeypatch, readable=True)
    spool = open_queue(path, clock=clock)
    spool.put([frame(1000)])
    disk.on = False
    some_time_passes(spool, clock)
    read = values(spool, "a")
    assert read[-1] == 1000
    assert read[:-1] == list(range(3, len(read) + 2))
    assert len(read) > 150
    spool.close()


def test_a_disk_pulled_out_and_put_back_is_used_again(opened, path, clock):
    # given a gateway whose open file is no longer the one that is there, as after a new mount
    spool = open_queue(path, clock=clock)
    spool.put([frame(n) for n in range(5)])
    spool.syncing.sync()
    real = spool._contents.db
    spool._contents.db = sqlite3.connect("file:nothing?mode=memory", uri=True)
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    Path(f"{copy}-wal").write_bytes(Path(f"{path}-wal").read_bytes())
    real.close()
    copy.rename(path)
    Path(f"{copy}-wal").rename(f"{path}-wal")
    spool.put([frame(5)])
    assert spool.trouble
    some_time_passes(spool, clock)
    assert (spool.trouble, values(spool, "a")) == ("", list(range(6)))
    spool.close()
    # and where it is another queue it is not mixed with this one
    spool = open_queue(path, clock=clock)
    spool.put([frame(7)])
    other = path.parent.parent / "other" / "queue.db"
    filled(other, 3, "a")
    spool._contents.db.close()
    spool._contents.db = sqlite3.connect("file:nothing?mode=memory", uri=True)
    other.rename(path)
    spool.put([frame(8)])
    some_time_passes(spool, clock)
    assert spool.trouble
    spool.close()
    assert values(opened(clock=clock), "a") == []


def test_what_waits_in_memory_has_its_limit(path, clock, monkeypatch):
    Trouble(monkeypatch, readable=False)
    spool = open_queue(path, clock=clock, memory=5)
    for n in range(8):
        spool.put([frame(n)])
    assert spool.dropped == 3
    assert values(spool, "a") == [3, 4, 5, 6, 7]
    spool.close()


@pytest.mark.needs_root
def test_a_card_that_is_read_only_at_the_start_is_used_as_soon_as_it_can_be(tmp_path, written):
    # given a daemon whose state is on a card that is mounted read-only, and has a thousand readings
    image = file_system(tmp_path / "card", 16, 4096)
    port = free_port()
    with mounted(image, tmp_path / "state") as card:
        filled(card / "queue.db", 1000, "home")
        subprocess.run(["mount", "-o", "remount,ro", card], check=True)
        file = written(
            f"[gateway]\nstate_dir = {card}\nsocket = {tmp_path / 'run' / 'control'}\n"
            f"[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
            f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = http://127.0.0.1:9\napikey = {'0' * 32}\n"
        )
        running = OnCard(file, tmp_path / "run" / "control")
        with running:
            push(port, "15 7")
            wait_until(lambda: running.waiting() == 998)
            assert "read" in " ".join(running.status()["troubles"])
            # when it can be written to, then what came is there within seconds
            subprocess.run(["mount", "-o", "remount,rw", card], check=True)
            wait_until(lambda: not running.status()["troubles"], 20)
            assert running.waiting() == 998
            running.process.send_signal(signal.SIGKILL)
            running.process.wait()
        said = command("--config-file", file, "queue", "list", "--limit", "2000")
        assert len(said.stdout.splitlines()) == 998


class OnCard(GatewayProcess):
    """A daemon whose socket is elsewhere than its state."""

    def __init__(self, file: Path, socket: Path) -> None:
        super().__init__(file)
        self.socket = socket

    def status(self) -> dict:
        return ask(self.socket, "status", patience=60)

    def waiting(self) -> int:
        return int(self.status()["dispatchers"]["home"]["queue"]["waiting"])


@pytest.fixture
def stuck(path, monkeypatch, clock):
    """A queue with five frames in a damaged file that cannot be rescued yet, and three that came since.

    "a" has had all of them, "b" the three.
    """
    spool = open_queue(path, "a", "b", clock=clock)
    spool.put([frame(n) for n in range(5)])
    values(spool, "a")
    with monkeypatch.context() as disk:
        disk.setattr(salvage.Salvage, "step", lambda _: failing())
        spool._file.mend(sqlite3.DatabaseError("database disk image is malformed"))
        spool.put([frame(n) for n in (5, 6, 7)])
        assert (values(spool, "a"), values(spool, "b")) == ([5, 6, 7], [5, 6, 7])
    yield spool
    spool.close()


def failing() -> bool:
    raise sqlite3.OperationalError("disk I/O error")


def test_ids_of_an_epoch_are_delivered_in_order_also_where_memory_goes_ahead_of_the_file(stuck, clock):
    # so that who counts by them takes what is in the file, too
    ahead = stuck.epochs.of(stuck.end - 1)
    clock.sleep(6)
    stuck.tend()
    finish_rescue(stuck)
    later = stuck.peek("b", 10)
    assert [kept.values[0] for _, kept in later] == [0, 1, 2, 3, 4]
    assert ahead not in {stuck.epochs.of(number) for number, _ in later}


def test_a_dispatcher_that_is_new_while_memory_goes_ahead_gets_what_is_in_the_file(stuck, clock):
    # given a section that gets another name meanwhile, and looks for more
    stuck.set_consumers(["a", "c"])
    assert stuck.peek("c", 10) == []
    # when the file can be read again
    clock.sleep(6)
    stuck.tend()
    finish_rescue(stuck)
    # then what waited in it is there
    assert values(stuck, "c") == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("refused", [[], [1], [4]])
def test_a_batch_of_file_and_memory_is_delivered_whole_though_the_file_is_lost_meanwhile(
    path, clock, monkeypatch, refused
):
    # given a batch of what is on the disk and what the disk refuses
    spool = open_queue(path, clock=clock)
    spool.put([frame(n) for n in range(3)])
    spool._contents.db = ReadOnly(spool._contents.db)
    spool.put([frame(n) for n in (3, 4)])
    batch = spool.peek("a", 10)
    spool.mark_sending("a", batch[-1][0])
    # when the file is found damaged before that is delivered
    with monkeypatch.context() as disk:
        disk.setattr(salvage.Salvage, "step", lambda _: failing())
        spool._file.mend(sqlite3.DatabaseError("database disk image is malformed"))
        spool.done("a", batch[-1][0], refused=[(*batch[place], "no") for place in refused])
    clock.sleep(6)
    spool.tend()
    finish_rescue(spool)
    # then nothing of it is given again
    spool.put([frame(5)])
    assert values(spool, "a") == [5]
    # and what was refused of it is set aside
    assert [each.frame.values[0] for each in spool.refused("a")] == refused
    spool.close()


def test_dispatchers_that_swap_their_names_while_memory_goes_ahead_go_on_where_they_were(stuck, clock):
    stuck.set_consumers(["a", "b"], {"a": "b", "b": "a"})
    clock.sleep(6)
    stuck.tend()
    finish_rescue(stuck)
    assert (values(stuck, "a"), values(stuck, "b")) == ([0, 1, 2, 3, 4], [])
