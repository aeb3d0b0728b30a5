"""The queue on a real file system of its own: a power cut, and a disk that is full."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from gateway.frame import Frame, Stamp
from gateway.spool import Spool
from listeners.simulated.clock import VirtualClock
from tests.card import file_system, mounted, written
from tests.gateway_process import ENVIRONMENT
from tests.spools import killed, open_queue
from tests.waiting import wait_until

pytestmark = pytest.mark.needs_root

WRITER = """
import sys, time
from gateway.frame import Frame, Stamp
from gateway.spool import Spool
from pathlib import Path
spool = Spool(Path(sys.argv[1]), commit_interval=3600)
spool.set_consumers(["a"])
def put(first, last):
    for n in range(first, last):
        spool.put([Frame("9", (n,), Stamp(1_700_000_000.0 + n, "boot", n))])
put(0, 200)
spool.syncing.sync()
put(200, 300)
print("put", flush=True)
time.sleep(60)
"""


BUSY_WRITER = """
import sys, time
from gateway.frame import Frame, Stamp
from gateway.spool import Spool
from pathlib import Path
spool = Spool(Path(sys.argv[1]), commit_interval=float(sys.argv[2]))
spool.set_consumers(["a"])
n = 0
while True:
    spool.put([Frame("9", (n,), Stamp(1_700_000_000.0 + n, "boot", n))])
    print(n, time.monotonic(), flush=True)
    spool.syncing.sync_if_due()
    n += 1
    time.sleep(0.005)
"""


def values(spool: Spool) -> list[float | None]:
    return [kept.values[0] for _, kept in spool.peek("a", 100_000)]


@pytest.mark.parametrize("block", [1024, 4096])
def test_a_power_cut_takes_nothing_that_was_there_at_the_last_sync(tmp_path, block):
    image = file_system(tmp_path / "card", 24, block)
    cut = tmp_path / "cut"
    with (
        mounted(image, tmp_path / "card.d") as card,
        subprocess.Popen(
            [sys.executable, "-c", WRITER, card / "queue.db"], env=ENVIRONMENT, stdout=subprocess.PIPE
        ) as writer,
    ):
        assert writer.stdout.readline() == b"put\n"
        # What the kernel has not yet given to the device is not in this copy, as after a power cut.
        shutil.copy(image, cut)
        writer.kill()
    with mounted(cut, tmp_path / "cut.d") as card:
        spool = open_queue(card / "queue.db")
        read = values(spool)
        assert read == list(range(len(read)))
        assert len(read) >= 200
        spool.put([Frame("9", (1000,), Stamp(1_700_000_000.0, "boot", 0))])
        assert values(spool)[-1] == 1000
        spool.close()


@pytest.mark.parametrize("interval", [0.0, 0.3])
def test_a_power_cut_under_load_takes_at_most_what_came_within_the_last_interval(tmp_path, interval):
    # given somebody who puts two hundred frames a second, as the daemon does
    image = file_system(tmp_path / "card", 24, 4096)
    cut, log = tmp_path / "cut", tmp_path / "log"
    with mounted(image, tmp_path / "card.d") as card, log.open("w") as output:
        command = [sys.executable, "-c", BUSY_WRITER, card / "queue.db", str(interval)]
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=output) as writer:
            wait_until(lambda: len(log.read_text().splitlines()) > 300)
            # when the power is cut at some moment
            writer.send_signal(signal.SIGSTOP)
            wait_until(lambda: " T " in f" {Path(f'/proc/{writer.pid}/stat').read_text()} ")
            shutil.copy(image, cut)
            stopped = time.monotonic()
            writer.kill()
    lines = [line.split() for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    put = {int(number): float(moment) for number, moment in lines}
    with mounted(cut, tmp_path / "cut.d") as card:
        spool = open_queue(card / "queue.db")
        read = values(spool)
        spool.close()
    # then what is there is whole and in order, and what is missing came within the interval before the last
    assert read == list(range(len(read)))
    lost = [moment for number, moment in put.items() if number >= len(read)]
    assert not lost or max(lost) - min(lost) <= interval + 0.2
    assert stopped >= max(put.values())
    assert len(read) > 100


@pytest.mark.parametrize("block", [1024, 4096])
def test_a_full_disk_can_be_emptied_and_takes_frames_again(tmp_path, block):
    image = file_system(tmp_path / "card", 16, block)
    with mounted(image, tmp_path / "card.d") as card:
        spool = open_queue(card / "queue.db", memory=500)
        frames = [Frame("9", (n,), Stamp(1_700_000_000.0 + n, "boot", n), ("x" * 200,)) for n in range(100)]
        spool.put(frames)
        fill(card / "others")
        count = 100
        while not spool.trouble:
            spool.put([Frame("9", (count,), Stamp(1_700_000_000.0, "boot", 0), ("x" * 200,))])
            count += 1
        for _ in range(20):
            spool.put([Frame("9", (count,), Stamp(1_700_000_000.0, "boot", 0), ("x" * 200,))])
            count += 1
        sent: list[float | None] = []
        while batch := spool.peek("a", 50):
            sent += [kept.values[0] for _, kept in batch]
            spool.done("a", batch[-1][0])
        assert sent == list(range(count))
        assert spool.dropped == 0
        (card / "others").unlink()
        spool.put(frames)
        assert spool.trouble == ""
        spool.close()
        spool = open_queue(card / "queue.db")
        assert values(spool) == list(range(100))
        spool.close()


def put_until_refused(spool: Spool, card: Path) -> int:
    """Put readings, fill the disk, and go on until readings wait in memory; return how many there are.

    What is free on the disk then is taken by other programs.
    """
    count = 0
    while not spool.trouble:
        spool.put([long_frame(n) for n in range(count, count + 100)])
        count += 100
        if count == 100:
            fill(card / "others")
    fill(card / "more")
    return count


def long_frame(n: int) -> Frame:
    return Frame("9", (n,), Stamp(1_700_000_000.0 + n, "boot", n), ("x" * 200,))


def deliver_all(spool: Spool) -> list[float | None]:
    delivered: list[float | None] = []
    while batch := spool.peek("a", 250):
        delivered += [kept.values[0] for _, kept in batch]
        spool.mark_sending("a", batch[-1][0])
        spool.done("a", batch[-1][0])
    return delivered


@pytest.mark.parametrize("block", [1024, 4096])
@pytest.mark.parametrize("free", [9_000_000, 1_000_000, 200_000])
def test_what_is_delivered_while_the_disk_is_full_is_noted_there(tmp_path, block, free):
    # given a disk that has room for what is set aside, or not, and becomes full in an outage
    image = file_system(tmp_path / "card", 16, block)
    with mounted(image, tmp_path / "card.d") as card:
        fill(card / "before", free)
        spool = open_queue(card / "queue.db")
        count = put_until_refused(spool, card) + 1000
        spool.put([long_frame(n) for n in range(count - 1000, count)])
        # when all is delivered, and the gateway ends in an orderly way
        assert deliver_all(spool) == list(range(count))
        spool.close()
        # then none of them is sent again
        spool = open_queue(card / "queue.db")
        assert values(spool) == []
        # and once there is room frames go to the disk again
        for name in ("before", "others", "more"):
            (card / name).unlink()
        spool.put([long_frame(count)])
        assert spool.trouble == ""
        spool.close()


@pytest.mark.parametrize("block", [1024, 4096])
def test_after_a_full_disk_had_room_again_it_is_as_well_prepared_for_the_next_time(tmp_path, block):
    # given a disk that was full, and has enough room again for what is set aside, but no more
    image = file_system(tmp_path / "card", 16, block)
    with mounted(image, tmp_path / "card.d") as card:
        spool = open_queue(card / "queue.db")
        count = put_until_refused(spool, card)
        (card / "more").unlink()
        os.truncate(card / "others", (card / "others").stat().st_size - 4_500_000)
        spool.put([long_frame(count)])
        assert spool.trouble == ""
        # when it is full once more, and all is delivered
        fill(card / "again")
        while not spool.trouble:
            count += 1
            spool.put([long_frame(count)])
        fill(card / "more")
        assert deliver_all(spool) == list(range(count + 1))
        spool.close()
        # then none of them is sent again
        spool = open_queue(card / "queue.db")
        assert values(spool) == []
        spool.close()


def test_on_a_full_disk_a_dispatcher_that_is_removed_gives_the_room_of_its_frames_to_new_ones(tmp_path):
    # given a disk that is full of what waits for a dispatcher whose server is gone
    image = file_system(tmp_path / "card", 16, 4096)
    with mounted(image, tmp_path / "card.d") as card:
        spool = open_queue(card / "queue.db", "a", "gone")
        count = 0
        while not spool.trouble:
            spool.put([long_frame(n) for n in range(count, count + 100)])
            count += 100
        fill(card / "others")
        deliver_all(spool)
        # when that one is removed, and another reading is delivered
        spool.set_consumers(["a"])
        spool.put([long_frame(count - 1)])
        deliver_all(spool)
        # then what is new is on the disk again
        spool.put([long_frame(count)])
        assert spool.trouble == ""
        after = open_queue(killed(card / "queue.db", tmp_path))
        assert values(after) == [count]
        after.close()
        spool.close()


def test_what_a_kill_left_in_the_middle_of_taking_room_is_removed_at_the_next_start(tmp_path):
    path = tmp_path / "queue.db"
    open_queue(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE room AS SELECT zeroblob(819200)")
    spool = open_queue(path, bytes=1_000_000)
    spool.put([long_frame(n) for n in range(2000)])
    assert values(spool) == list(range(2000))
    spool.close()


def test_on_a_full_disk_no_source_forgets_what_is_only_in_memory(tmp_path):
    # given a reading that waits in memory, with a note of what its source may forget
    image = file_system(tmp_path / "card", 16, 4096)
    with mounted(image, tmp_path / "card.d") as card:
        spool = open_queue(card / "queue.db")
        count = put_until_refused(spool, card)
        spool.put([long_frame(count)], {"relay": f"{count}"})
        spool.done("a", spool.peek("a", 1)[-1][0])
        # when the gateway is killed, then the note is gone with the reading
        path = killed(card / "queue.db", tmp_path)
        after = open_queue(path)
        assert count not in values(after)
        assert after.notes.below("relay") == {}
        after.close()
        spool.close()


@pytest.mark.parametrize("block", [1024, 4096])
def test_at_an_orderly_end_what_waits_in_memory_gets_the_room_that_was_for_notes(tmp_path, block, caplog):
    image = file_system(tmp_path / "card", 16, block)
    with mounted(image, tmp_path / "card.d") as card:
        spool = open_queue(card / "queue.db")
        count = put_until_refused(spool, card)
        (card / "more").unlink()
        spool.close()
        assert "are lost" not in caplog.text
        spool = open_queue(card / "queue.db")
        assert values(spool) == list(range(count))
        spool.close()


def fill(path: Path, free: int = 0) -> None:
    """Write to the end of a file until there is no room, or so many bytes."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 512):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        os.truncate(path, max(0, file.tell() - free))


def test_a_reading_makes_the_card_write_at_most_five_kilobytes(tmp_path):
    # given a queue that has run for a while: the log of SQLite begins anew in the same file
    clock = VirtualClock()
    image = file_system(tmp_path / "card", 64, 4096)
    with mounted(image, tmp_path / "card.d") as card:
        spool = open_queue(card / "queue.db", clock=clock)
        two_a_second(spool, clock, 1200)
        os.sync()
        before = written(card)
        # when readings come twice a second, and are delivered every ten seconds
        two_a_second(spool, clock, 600)
        os.sync()
        after = written(card)
        spool.close()
    # then the card has been made to write, and not much
    assert 500 < (after.bytes - before.bytes) / 600 <= 5000


def two_a_second(spool: Spool, clock: VirtualClock, count: int) -> None:
    """Put so many readings, as the daemon does, and deliver them."""
    for number in range(count):
        spool.put([Frame("10", (number, 0.5), clock.now(), rssi=-61, source="radio")])
        clock.sleep(0.5)
        spool.syncing.sync_if_due()
        if number % 20 == 19:
            last, _ = spool.peek("a", 100)[-1]
            spool.mark_sending("a", last)
            spool.done("a", last)
