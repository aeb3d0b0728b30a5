"""A damaged queue file: all that can be read of it is there again, whatever comes between."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.frame import Frame, Stamp
from gateway.spool import Spool, queue_file
from gateway.store import census, salvage, store
from gateway.store.commits import LogDamaged
from gateway.store.rows import ascending
from listeners.simulated.clock import VirtualClock
from tests.gateway_process import ENVIRONMENT, UNTRACED, GatewayProcess, state
from tests.spools import finish_rescue, open_queue
from tests.waiting import wait_until

PAGE = 1024
MOST = 20
"""Frames as short as these on one page."""
SMALL = 1_000_000  # bytes


def frame(n: int) -> Frame:
    return Frame("9", (n,), Stamp(1_700_000_000.0 + n, "boot", n))


def values(spool: Spool, who: str = "a") -> list[float | None]:
    """Return all that the dispatcher is given, batch by batch, as if it were delivered."""
    found: list[float | None] = []
    while batch := spool.peek(who, 1000):
        found += [kept.values[0] for _, kept in batch]
        spool.done(who, batch[-1][0])
    return found


def waiting(spool: Spool) -> list[float | None]:
    """Return all that waits, without taking any."""
    found: list[float | None] = []
    after = 0
    while page := spool.waiting(after=after):
        found += [kept.frame.values[0] for kept in page]
        after = page[-1].number
    return found


def rescued(path: Path, **settings: object) -> Spool:
    """Open a damaged file and wait for the end of its rescue, as the daemon's main thread does."""
    spool = open_queue(path, **settings)
    finish_rescue(spool)
    return spool


def piecewise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of a rescue be done at once."""
    for name in ("AT_START", "AT_ONCE"):
        monkeypatch.setattr(queue_file, name, 0.0)


def fill(path: Path, count: int = 12_000) -> None:
    """Make a file with so many frames, numbered from 0, which a limit of a megabyte just lets be."""
    spool = open_queue(path, bytes=SMALL)
    for first in range(0, count, 500):
        spool.put([frame(n) for n in range(first, min(first + 500, count))])
    assert spool.dropped == 0
    spool.close()


def pages(path: Path) -> dict[int, int]:
    """Return the page that each frame is on, by its number: SQLite's leaves of table b-trees."""
    data = path.read_bytes()
    found = {}
    for page in range(1, len(data) // PAGE):
        leaf = data[page * PAGE : (page + 1) * PAGE]
        if leaf[0] == 0x0D:
            (cells,) = struct.unpack_from(">H", leaf, 3)
            for cell in struct.unpack_from(f">{cells}H", leaf, 8):
                _, start = varint(leaf, cell)
                rowid, _ = varint(leaf, start)
                found[rowid - 1] = page
    return found


def varint(data: bytes, start: int) -> tuple[int, int]:
    """Return a number and where the next one begins."""
    value = 0
    while data[start] & 0x80:
        value = value << 7 | data[start] & 0x7F
        start += 1
    return value << 7 | data[start], start + 1


def leaf(path: Path, number: int) -> int:
    """Return the page that this frame is on."""
    return pages(path)[number]


def damage(path: Path, *numbers: int) -> list[int]:
    """Overwrite the pages that these frames are on; return which frames are on the others."""
    there = pages(path)
    hit = {there[number] for number in numbers}
    for page in hit:
        overwrite(path, page)
    return [number for number in sorted(there) if there[number] not in hit]


def overwrite(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(random.Random(page).randbytes(PAGE))


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Path:
    """Return a file that is nearly as large as its limit."""
    path = tmp_path_factory.mktemp("full") / "queue.db"
    fill(path)
    assert 0.8 * SMALL < path.stat().st_size <= SMALL
    return path


@pytest.fixture
def damaged(full, path) -> Path:
    """Return such a file with three damaged pages in its middle."""
    path.parent.mkdir()
    shutil.copy(full, path)
    damage(path, 6000, 9000, 9000 + MOST)
    return path


def test_of_a_nearly_full_file_all_is_rescued_but_what_is_on_the_damaged_pages(damaged):
    size = damaged.stat().st_size
    whole = damaged.read_bytes()
    spool = rescued(damaged, bytes=SMALL)
    read = waiting(spool)
    assert read == sorted(set(read))
    missing = set(range(12_000)) - set(read)
    assert 0 < len(missing) <= 3 * MOST
    assert all(min(abs(n - 6000), abs(n - 9000)) < 2 * MOST for n in missing)
    assert spool.trouble == ""
    assert spool.dropped == 0
    # and it goes on as before
    spool.put([frame(20_000)])
    assert values(spool)[-1] == 20_000
    spool.close()
    # the damaged file is kept as it was, the new one is no larger, and nothing else is there
    (aside,) = damaged.parent.glob("queue.db.damaged-*")
    assert aside.read_bytes() == whole
    assert damaged.stat().st_size <= size
    assert {file.name for file in damaged.parent.iterdir()} == {"queue.db", "queue.ballast", aside.name}


@pytest.mark.parametrize("lost", [1, 16, 100, 512, PAGE])
@pytest.mark.parametrize("byte", [b"\0", b"x"])
def test_a_file_without_its_first_page_gives_all_its_frames(path, lost, byte):
    # given a file whose header, or whole first page, is gone
    fill(path, 3000)
    damaged = byte * lost + path.read_bytes()[lost:]
    path.write_bytes(damaged)
    # when it is opened
    before = set(path.parent.iterdir())
    spool = rescued(path)
    # then all is there, and the damaged file is kept as it was
    assert values(spool) == list(range(3000))
    spool.close()
    kept = sorted(set(path.parent.iterdir()) - before - {path.with_name("queue.ballast")})
    assert [file.read_bytes() for file in kept if not file.name.endswith("-wal")] == [damaged]


def inner_pages(path: Path) -> list[int]:
    """Return the pages that lead to others: those that SQLite needs to reach the leaves."""
    data = path.read_bytes()
    return [page for page in range(1, len(data) // PAGE) if data[page * PAGE] == 0x05]


@pytest.mark.parametrize("which", [slice(None), slice(1), slice(1, 2), slice(-1, None)])
def test_what_is_below_a_lost_inner_page_is_rescued(path, which):
    fill(path, 5000)
    inner = inner_pages(path)
    assert len(inner) > 3
    for page in inner[which]:
        overwrite(path, page)
    spool = rescued(path)
    assert values(spool) == list(range(5000))
    spool.close()


def test_what_is_below_it_is_as_it_was(path):
    # given readings that are longer than a page, of one dispatcher only, without a time, and delivered ones
    spool = open_queue(path)
    spool.put([frame(n) for n in range(2000)])
    spool.done("a", 1500)
    long = Frame("9", (1, None), Stamp(1_700_000_000.0, "boot", 1), names=("x" * 5000, "é" * 3000))
    spool.put([long])
    spool.admit([(frame(5000), "b")])
    spool.set_clock(None)
    spool.put([replace(frame(6000), stamp=Clock().now())])
    wanted = spool.waiting(limit=5000)
    assert (wanted[0].frame, wanted[-1].held, wanted[-2].whose) == (frame(1500), True, "b")
    spool.close()
    for page in inner_pages(path):
        overwrite(path, page)
    spool = rescued(path)
    assert spool.waiting(limit=5000) == wanted
    spool.close()


@pytest.mark.parametrize("ways", [1, 2])
def test_a_page_that_is_written_in_the_place_of_another_is_noticed(path, ways):
    # given a page with what another holds, or has held
    fill(path, 3000)
    there = pages(path)
    data = path.read_bytes()
    old, new = (there[n] for n in ((100, 2000) if ways == 1 else (2000, 100)))
    with path.open("r+b") as file:
        file.seek(new * PAGE)
        file.write(data[old * PAGE : (old + 1) * PAGE])
    # then all the rest is there, once and in order
    spool = rescued(path)
    lost = [n for n in there if there[n] == new]
    assert values(spool) == [n for n in range(3000) if n not in lost]
    spool.close()
    assert list(path.parent.glob("queue.db.damaged-*"))


@pytest.mark.parametrize("damaged", ["frames", "refused", "cursors"])
def test_a_text_that_is_no_longer_one_holds_nothing_up(path, damaged):
    # given a byte that no text has, in a frame, a refused one, or the name of a dispatcher
    spool = open_queue(path)
    spool.put([Frame("9", (n,), Stamp(1_700_000_000.0 + n, "boot", n), source="here") for n in range(300)])
    spool.done("a", 1, refused=[(1, frame(0), "it is refused")])
    spool.close()
    there = {"frames": b'],[],null,"here"', "refused": b"it is refused", "cursors": b"a"}[damaged]
    data = bytearray(path.read_bytes())
    if damaged == "cursors":
        with sqlite3.connect(path) as db:
            db.execute("INSERT INTO cursors (who, upto) VALUES (CAST(x'ff' AS TEXT), 1)")
        db.close()
    else:
        place = data.index(there, 150 * 100 if damaged == "frames" else 0)
        data[place + len(there) - 4] = 0xFF
        path.write_bytes(data)
    # then all others are delivered
    spool = rescued(path)
    for look in (lambda: spool.peek("a", 1000), lambda: spool.refused("a")):
        look()  # by which the damage is found
        finish_rescue(spool)
    read = values(spool)
    assert len(read) >= 298
    assert read[-1] == 299
    spool.put([frame(300)])
    assert values(spool) == [300]
    spool.close()


def test_a_first_page_that_was_half_written_when_a_rescue_was_killed_is_written_anew(path):
    fill(path, 300)
    path.write_bytes(bytes(100) + path.read_bytes()[100:])

    def killed_in_it() -> None:
        rescue = salvage.Salvage(path, None)
        next(table for table, _ in rescue._rows if table != "refused")
        rescue.close()

    killed_in_it()
    log = path.with_name("queue.db-wal")
    whole = log.read_bytes()
    for length in (1, 20, 32, 100, len(whole) - 1, len(whole)):
        log.write_bytes(whole[:length])
        killed_in_it()
        assert log.read_bytes() == whole
    spool = rescued(path)
    assert values(spool) == list(range(300))
    spool.close()


def test_pages_that_are_out_of_date_do_not_lead_it_back_again_and_again(path):
    # given two leaves with what is on the one before them, and then one that cannot be read
    fill(path)
    there = pages(path)
    first, second, third, fourth = list(dict.fromkeys(there[n] for n in range(6000, 6080)))[:4]
    data = path.read_bytes()
    old = data[first * PAGE : (first + 1) * PAGE]
    with path.open("r+b") as file:
        for page in (second, third):
            file.seek(page * PAGE)
            file.write(old)
    overwrite(path, fourth)
    # when its frames are read
    with closing(store.open_view(path)) as db:
        rows = list(islice(ascending(db, "frames", 0, is_last=True), 50_000))
    # then that ends, with all frames of the other pages
    assert len(rows) < 50_000
    found = {row["id"] - 1 for _, row in rows if row}
    assert len(found) > 11_900
    assert max(found) == 11_999


def test_the_limit_of_its_size_holds_again_afterwards(damaged):
    spool = rescued(damaged, bytes=SMALL)
    for first in range(20_000, 26_000, 20):
        spool.put([frame(n) for n in range(first, first + 20)])
    read = waiting(spool)
    spool.close()
    assert damaged.stat().st_size <= SMALL
    assert read[-6000:] == list(range(20_000, 26_000))
    assert spool.dropped > 0


def test_what_only_the_log_of_the_file_has_is_rescued_too(path):
    # given a gateway that was killed before its last frames went from the log into the file
    fill(path, 3000)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "put\n"
        writer.kill()
    assert Path(f"{path}-wal").stat().st_size
    overwrite(path, leaf(path, 1000))
    # then they are there
    spool = rescued(path)
    read = waiting(spool)
    assert read[-200:] == list(range(3000, 3200))
    assert len(read) > 3150
    spool.close()


WRITER = """
import sys, time
from pathlib import Path
from gateway.frame import Frame, Stamp
from gateway.spool import Spool
spool = Spool(Path(sys.argv[1]))
spool.set_consumers(["a"])
for n in range(3000, 3200):
    spool.put([Frame("9", (n,), Stamp(1_700_000_000.0 + n, "boot", n))])
print("put", flush=True)
time.sleep(60)
"""


def test_it_goes_on_piece_by_piece_and_nobody_who_puts_a_frame_waits_for_it(damaged, monkeypatch):
    piecewise(monkeypatch)
    spool = open_queue(damaged, bytes=SMALL)
    assert spool.due() == 0
    assert "is damaged: what can be read of it is brought into a new file" in spool.trouble
    pieces, after = 0, 20_000
    while spool.due() == 0:
        spool.put([frame(after)])
        after += 1
        # nobody is given what is newer before what is older, and what waits is counted
        assert spool.peek("a", 10) == []
        assert spool.standing("a").waiting >= after - 20_000
        spool.tend()
        pieces += 1
    assert pieces > 50
    read = waiting(spool)
    assert read[-pieces:] == list(range(20_000, after))
    assert len(read) > 11_900 + pieces
    spool.close()


def test_no_piece_of_it_has_to_do_with_all_the_frames(damaged, monkeypatch):
    # given a file that is so much larger than a piece, and too large to be checked as a whole
    monkeypatch.setattr(census, "_STRETCH", 100)
    monkeypatch.setattr(store, "_CHECKED", 0)
    piecewise(monkeypatch)
    rows = []
    real = sqlite3.connect

    def traced(*arguments: object, **settings: object) -> sqlite3.Connection:
        db = real(*arguments, **settings)
        db.set_progress_handler(lambda: rows.append(1), 10_000)
        return db

    monkeypatch.setattr(sqlite3, "connect", traced)
    spool = open_queue(damaged)
    spool.put([frame(20_000)])
    most = 0
    while spool.due() == 0:
        before = len(rows)
        spool.tend()
        most = max(most, len(rows) - before)
    # then no step makes SQLite work through all: one pass over 12,000 rows is some 60,000 instructions
    assert most <= 3
    assert len(waiting(spool)) > 11_900
    spool.close()


def test_frames_that_come_meanwhile_are_on_the_disk_at_once_and_come_behind_the_others(
    damaged, monkeypatch, tmp_path
):
    piecewise(monkeypatch)
    spool = open_queue(damaged, bytes=SMALL)
    for n in range(20_000, 20_005):
        spool.put([frame(n)])
        spool.tend()
    # when it is killed, and once more soon after the next start
    for turn in range(2):
        copy = tmp_path / f"copy{turn}"
        shutil.copytree(damaged.parent, copy)
        spool.close()
        damaged = copy / "queue.db"
        spool = open_queue(damaged, bytes=SMALL)
        spool.put([frame(20_005 + turn)])
        spool.tend()
    finish_rescue(spool)
    read = waiting(spool)
    assert read[-7:] == list(range(20_000, 20_007))
    assert read == sorted(set(read))
    assert len(read) > 11_900
    spool.close()


@pytest.mark.parametrize("interval", [0.0, 5.0])
def test_frames_that_come_meanwhile_are_safe_from_a_power_cut_after_the_interval(
    damaged, monkeypatch, interval
):
    piecewise(monkeypatch)
    synced, clock, real = [], VirtualClock(), os.fdatasync

    def sync(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", sync)
    spool = open_queue(damaged, clock=clock, commit_interval=interval)
    kept = Path(f"{damaged}.rescue-wal")
    spool.put([frame(20_000)], {"in/relay": "1"})
    clock.sleep(interval)
    spool.tend()
    assert (synced, kept.exists(), spool.due()) == ([kept.name], True, 0)
    # but what is noted with them is safe with the whole file only
    assert spool.syncing.puts_synced == 0
    finish_rescue(spool)
    spool.syncing.sync()
    assert spool.syncing.puts_synced == 1
    spool.close()


_KILLED_AT = {"open", "os.rename", "os.remove", "sqlite3.connect", "statement"}
_LEAVES_THE_DISK = ("SELECT", "INSERT", "--")
"""What is read, what is on the disk with its COMMIT only, and what a pragma does inside (--)."""


def killed(path: Path, step: int) -> bool:
    """Open a damaged file in a process that is killed after so many accesses; return whether it was."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL)
        return status != 0
    left = [step]

    def count(event: str, *_: object) -> None:
        if event in _KILLED_AT:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    real = store.open_store

    def traced(path: Path, *, max_bytes: int, is_last: bool = False) -> sqlite3.Connection:
        db = real(path, max_bytes=max_bytes, is_last=is_last)
        db.set_trace_callback(lambda sql: sql.strip().startswith(_LEAVES_THE_DISK) or count("statement"))
        return db

    store.open_store = traced
    sys.addaudithook(count)
    try:
        rescued(path).close()
    except BaseException:
        os._exit(1)
    os._exit(0)


def test_whenever_it_is_killed_the_next_start_has_all_of_it(path, tmp_path, monkeypatch):
    # given a damaged file, and what there is to be read of it
    monkeypatch.setattr(salvage, "_PIECE", 30)
    fill(path, 80)
    wanted = damage(path, 40)
    assert 60 <= len(wanted) < 80
    step, was_killed, kills = 0, True, 0
    while was_killed:
        # when it is killed before each access, and in the next start once more
        folder = shutil.copytree(path.parent, tmp_path / f"killed{step}")
        was_killed = killed(folder / "queue.db", step)
        kills += was_killed
        killed(folder / "queue.db", step // 2)
        # then it is all there, and nothing is left behind
        spool = rescued(folder / "queue.db")
        assert waiting(spool) == wanted, step
        spool.close()
        names = {file.name for file in folder.iterdir()}
        (aside,) = (name for name in names if "damaged" in name)
        assert names == {"queue.db", "queue.ballast", aside}
        assert (folder / aside).read_bytes() == path.read_bytes()
        shutil.rmtree(folder)
        step += 1
    assert kills > 40


def test_sigterm_ends_a_daemon_in_the_middle_of_it_and_the_next_one_goes_on(tmp_path, written):
    # given a file that takes a while
    path = tmp_path / "state" / "queue.db"
    fill(path, 1)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "INSERT INTO frames (id, frame) WITH RECURSIVE more (n) AS "
            "(SELECT 2 UNION ALL SELECT n + 1 FROM more WHERE n < 400000) SELECT n, frame FROM more, frames"
        )
    overwrite(path, path.stat().st_size // PAGE // 2)
    file = written(
        f"{state(tmp_path)}simulate = yes\n[listeners]\n[[busy]]\ntype = exec\ncommand = sleep 1000\n"
        f"[dispatchers]\n[[a]]\ntype = emoncms\nurl = http://127.0.0.1:9\napikey = {'0' * 32}\n"
    )
    with GatewayProcess(file, traced=False) as running:
        wait_until(lambda: path.with_name("queue.db.rescue").exists())
        assert "is damaged" in " ".join(running.status()["troubles"])
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10.0) == 0  # two are promised on a machine that does nothing else
    assert path.with_name("queue.db.rescue").exists()
    rest = subprocess.run(
        [sys.executable, "-c", RESCUER, path], env=UNTRACED, stdout=subprocess.PIPE, check=True
    )
    assert int(rest.stdout) > 399_900


RESCUER = """
import sys
from pathlib import Path
from gateway.spool import Spool
spool = Spool(Path(sys.argv[1]))
spool.set_consumers(["a"])
while spool.due() == 0:
    spool.tend()
print(spool.standing("a").waiting)
spool.close()
"""


def test_where_there_is_no_room_for_it_all_goes_on_in_memory_and_it_is_done_when_there_is(
    damaged, monkeypatch, caplog
):
    # given a disk that has no room for a second file
    clock = VirtualClock()
    real, room = salvage.Salvage.step, [False]

    def step(self: salvage.Salvage) -> bool:
        if not room[0]:
            raise sqlite3.OperationalError("database or disk is full")
        return real(self)

    monkeypatch.setattr(salvage.Salvage, "step", step)
    spool = open_queue(damaged, clock=clock, bytes=SMALL)
    spool.put([frame(n) for n in range(20_000, 20_004)])
    # then what comes is delivered from memory, and that is said once
    batch = spool.peek("a", 2)
    assert [kept.values[0] for _, kept in batch] == [20_000, 20_001]
    spool.mark_sending("a", batch[-1][0])
    spool.done("a", batch[-1][0])
    assert spool.standing("a").waiting == 2
    in_flight = spool.peek("a", 1)
    assert "cannot be read or counted" in spool.trouble
    for _ in range(5):
        clock.sleep(10)
        spool.tend()
    assert caplog.text.count("a new file cannot be made (database or disk is full)") == 1
    # and when there is room, what the file had is there, and what is sent just then is not sent twice
    room[0] = True
    clock.sleep(10)
    finish_rescue(spool)
    spool.done("a", in_flight[-1][0])
    assert spool.trouble == ""
    count = spool.standing("a").waiting
    read = values(spool)
    assert read[-1] == 20_003
    assert read[:3] == [0, 1, 2]
    assert not {20_000, 20_001, 20_002} & set(read)
    assert len(read) == count > 11_900
    spool.close()


def test_what_was_sent_from_memory_during_a_rescue_is_in_doubt_after_a_kill(damaged, tmp_path, monkeypatch):
    # given a frame that came during a rescue, and that was sent when the rescue could not go on
    def refuse(_: salvage.Salvage) -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    piecewise(monkeypatch)
    spool = open_queue(damaged)
    spool.put([frame(20_000)])
    with monkeypatch.context() as disk:
        disk.setattr(salvage.Salvage, "step", refuse)
        spool.tend()
        ((number, sent),) = spool.peek("a", 10)
        assert sent.values == (20_000,)
        spool.mark_sending("a", number)
        spool.done("a", number)
        copy = shutil.copytree(damaged.parent, tmp_path / "killed") / damaged.name
    spool.close()
    # then the far end is asked for it
    after = rescued(copy)
    assert waiting(after)[-1] == 20_000
    assert after.sent("a")[0] >= after.waiting(after=12_000)[-1].number
    after.close()


def test_damage_while_it_runs_takes_neither_places_nor_what_comes(path, monkeypatch):
    # given three frames in a file with an unreadable page, of which one is delivered
    fill(path, 3000)
    spool = open_queue(path)
    piecewise(monkeypatch)
    first = spool.peek("a", 1)
    spool._disk.file.mend(sqlite3.DatabaseError("malformed"))
    # when it is being rescued while the dispatcher delivers and a listener puts
    spool.done("a", first[0][0])
    spool.put([frame(3000)])
    finish_rescue(spool)
    spool.put([frame(3001)])
    assert values(spool) == list(range(1, 3002))
    spool.close()


def test_a_rescue_of_another_file_is_not_gone_on_with(damaged, monkeypatch, tmp_path):
    # given a rescue that was interrupted, and a file that somebody put back meanwhile
    piecewise(monkeypatch)
    spool = open_queue(damaged)
    spool.put([frame(20_000)])
    spool.tend()
    spool.close()
    fill(tmp_path / "backup", 100)
    shutil.copy(tmp_path / "backup", damaged)
    spool = rescued(damaged)
    assert values(spool) == [*range(100), 20_000]
    spool.close()


def test_where_the_new_file_gets_damaged_itself_it_is_made_anew(damaged, monkeypatch):
    piecewise(monkeypatch)
    clock = VirtualClock()
    spool = open_queue(damaged, clock=clock)
    spool.put([frame(20_000)])
    for _ in range(10):
        spool.tend()
    real, broken = salvage.Salvage.step, [True]

    def step(self: salvage.Salvage) -> bool:
        if broken.pop():
            error = sqlite3.DatabaseError("malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        broken.append(False)
        return real(self)

    monkeypatch.setattr(salvage.Salvage, "step", step)
    spool.tend()
    broken.append(False)
    clock.sleep(10)
    finish_rescue(spool)
    read = values(spool)
    assert len(read) > 11_900
    assert read[-1] == 20_000
    spool.close()


def test_a_power_cut_that_leaves_out_a_page_of_its_log_takes_nothing_that_was_safe(
    damaged, monkeypatch, tmp_path
):
    # given a rescue, frames that were put during it and are safe, and others that are not
    piecewise(monkeypatch)
    spool = open_queue(damaged)
    log = Path(f"{damaged}.rescue-wal")
    for n in range(20_000, 20_030):
        spool.put([frame(n)])
    spool.syncing.sync()
    safe = log.stat().st_size
    for n in range(20_030, 20_040):
        spool.put([frame(n)])
    # when a power cut takes the first page of what was not safe, and not those after it
    cut = shutil.copytree(damaged.parent, tmp_path / "cut")
    spool.close()
    with (cut / log.name).open("r+b") as file:
        file.seek(safe)
        file.write(bytes(24 + PAGE))
    # then what was safe is there
    spool = rescued(cut / damaged.name)
    read = values(spool)
    assert len(read) > 11_900
    assert set(range(20_000, 20_030)) <= set(read)
    spool.close()


@pytest.mark.parametrize("steps", [0, 1, 9])
def test_whichever_page_of_the_log_a_power_cut_leaves_out_what_was_refused_before_is_there(
    path, tmp_path, steps
):
    # given refused frames that are safe, and others, for which their table needs more pages
    spool = open_queue(path)

    def refuse(numbers: range) -> None:
        for n in numbers:
            spool.put([frame(n)])
            [(number, put)] = spool.peek("a", 1)
            spool.done("a", number, refused=[(number, put, "refused: " + "x" * 200)])

    log = Path(f"{path}-wal")
    refuse(range(2))
    spool.syncing.sync()
    safe = log.stat().st_size
    refuse(range(2, 10))
    cut = shutil.copytree(path.parent, tmp_path / "cut")
    spool.close()
    data = (cut / log.name).read_bytes()
    for start in range(safe, len(data), 24 + PAGE):
        # when one page of what was not safe is missing
        one = shutil.copytree(cut, tmp_path / f"cut {start}")
        (one / log.name).write_bytes(data[:start] + bytes(24 + PAGE) + data[start + 24 + PAGE :])
        # and the rescue is killed
        begun = salvage.Salvage(one / path.name, LogDamaged())
        for _ in range(steps):
            begun.step()
        begun.close()
        # then those that were safe are there
        spool = rescued(one / path.name)
        assert {0, 1} <= {each.frame.values[0] for each in spool.refused("a")}
        spool.close()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 6))
def test_any_damage_leaves_all_the_rest(tmp_path_factory, seed, count):
    # given a file of which any pages are damaged
    draw = random.Random(seed)
    path = tmp_path_factory.mktemp("damaged") / "queue.db"
    fill(path, 1500)
    wanted = damage(path, *(draw.randrange(1500) for _ in range(count)))
    # then all that is on the others is there
    spool = rescued(path, bytes=SMALL)
    assert waiting(spool) == wanted
    spool.close()
    shutil.rmtree(path.parent)
