"""A queue file's log (-wal) that is damaged: what it alone holds is not lost."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.frame import Frame, Stamp
from gateway.spool import Spool
from gateway.store import leaves, store
from gateway.store.commits import length, to_log, verified
from tests.spools import finish_rescue, leave_queue, open_queue

COUNT = 300
"""Frames that are in the log only."""


def frame(n: int) -> Frame:
    return Frame("9", (n,), Stamp(1_700_000_000.0 + n, "boot", n))


def in_a_process(run: Callable[[], object]) -> None:
    """Run this in a process that ends as if it were killed, with what it has open."""
    child = os.fork()
    if not child:
        try:
            kept = run()
        finally:
            os._exit(0)
        del kept
    os.waitpid(child, 0)


def leave(path: Path, in_file: int, in_log: int) -> None:
    """Leave a queue as a kill does, with so many frames in the file, and so many in its log only."""

    def put(first: int, count: int) -> Spool:
        spool = open_queue(path)
        for n in range(first, first + count):
            spool.put([frame(n)])
        return spool

    put(0, in_file).close()
    in_a_process(lambda: put(in_file, in_log))


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Return the directory of a queue that was killed: 200 frames are in the file, 300 in its log."""
    path = tmp_path_factory.mktemp("killed") / "queue.db"
    leave(path, 200, COUNT)
    assert Path(f"{path}-wal").stat().st_size > length(COUNT)
    return path.parent


@pytest.fixture
def path(killed, tmp_path) -> Path:
    return shutil.copytree(killed, tmp_path / "state") / "queue.db"


def overwrite(path: Path, data: bytes, start: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def log_of(path: Path) -> Path:
    return Path(f"{path}-wal")


def read(path: Path) -> list[float | None]:
    """Open the queue, let a rescue end, and return what waits."""
    spool = open_queue(path)
    finish_rescue(spool)
    assert spool.trouble == ""
    found: list[float | None] = []
    while batch := spool.peek("a", 1000):
        found += [kept.values[0] for _, kept in batch]
        spool.done("a", batch[-1][0])
    spool.close()
    return found


@pytest.mark.parametrize("count", [1, 20, 24, 32])
@pytest.mark.parametrize("byte", [b"\0", b"x"])
def test_a_log_without_its_header_is_whole_again(path, caplog, byte, count):
    overwrite(log_of(path), byte * count)
    damaged = log_of(path).read_bytes()
    assert read(path) == list(range(500))
    (aside,) = path.parent.glob("queue.db-wal.damaged-*")
    assert aside.read_bytes() == damaged
    (line,) = [r.getMessage() for r in caplog.records]
    assert f"{log_of(path)} is damaged: kept as {aside}; " in line
    assert not list(path.parent.glob("queue.db.damaged-*"))


@pytest.mark.parametrize("start", [0, 32, 60, 1048 * 150 + 100, 1048 * 300])
@pytest.mark.parametrize("size", [100, 4096])
def test_of_a_log_without_its_first_pages_all_the_others_are_taken(path, start, size):
    overwrite(log_of(path), b"x" * size, start)
    # a page is written again with each frame that comes on it, so next to nothing is missing
    found = read(path)
    assert set(range(205, 500)) < set(found)
    assert len(found) >= 496
    assert found == sorted(found)
    (aside,) = path.parent.glob("queue.db-wal.damaged-*")
    assert b"x" * size in aside.read_bytes()


def test_the_log_of_a_file_whose_first_page_is_garbage_is_its_own(path):
    overwrite(path, b"x" * 100)
    assert read(path) == list(range(500))
    assert not list(path.parent.glob("queue.db-wal.damaged-*"))


def test_what_was_not_committed_is_no_frame(path):
    """What the disk refused is in the log without its end, and waits in memory, or is put again."""
    *others, last = verified(log_of(path).read_bytes()).commits
    log_of(path).write_bytes(to_log([*others, last._replace(pages=0)], (1, 2)))
    found = {row[0] for row in leaves.frames(path, lambda *_: False) if row}
    assert (499 in found, 500 in found) == (True, False)


def test_what_comes_behind_what_was_cut_off_is_taken(path):
    """Another program has cut a log to nothing while it was in use: there are zeros, then new commits."""
    overwrite(log_of(path), bytes(length(100)))
    found = read(path)
    assert found[:200] == list(range(200))
    assert found[-150:] == list(range(350, 500))


def test_whenever_that_is_killed_the_next_start_has_all_of_it(tmp_path):
    path = tmp_path / "state" / "queue.db"
    leave(path, 20, 40)
    overwrite(log_of(path), b"x" * 4096)
    kills = 0
    for step in range(1000):
        folder = shutil.copytree(path.parent, tmp_path / f"killed{step}")
        left = [step]

        def opened(folder: Path = folder, left: list[int] = left) -> None:
            def count(event: str, *_: object) -> None:
                if event in {"open", "os.rename", "os.remove", "sqlite3.connect"}:
                    left[0] -= 1
                    if left[0] < 0:
                        os._exit(1)

            sys.addaudithook(count)
            read(folder / "queue.db")

        in_a_process(opened)
        found = read(folder / "queue.db")
        is_done = not found
        assert found == [] or len(found) >= 56, step
        shutil.rmtree(folder)
        if is_done:
            break
        kills += 1
    assert kills > 5


def test_a_log_of_which_nothing_can_be_used_is_kept_and_said(path, caplog):
    whole = b"x" * log_of(path).stat().st_size
    log_of(path).write_bytes(whole)
    assert read(path) == list(range(200))
    (aside,) = path.parent.glob("queue.db-wal.damaged-*")
    assert aside.read_bytes() == whole
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{log_of(path)} is damaged: kept as {aside}; nothing in it can be used")


def test_a_log_beside_an_empty_file_is_kept(path):
    path.write_bytes(b"")
    whole = log_of(path).read_bytes()
    read(path)
    (aside,) = path.parent.glob("queue.db-wal.damaged-*")
    assert aside.read_bytes() == whole


@pytest.mark.parametrize(
    "cut", [0, 10, 32, 500, length(1) - 1, length(1), length(1) + 7, length(100), length(200) + 500]
)
def test_a_log_whose_end_is_torn_is_no_damage(path, caplog, cut):
    log_of(path).write_bytes(log_of(path).read_bytes()[:cut])
    assert len(read(path)) >= 200
    assert caplog.text == ""


def test_a_log_that_was_begun_anew_or_is_empty_is_no_damage(path, caplog):
    # given a log whose header is new and whose frames are of before, as a kill just then leaves it
    read(path)
    spool = open_queue(path)
    spool.put([frame(0)])
    header = log_of(path).read_bytes()[:32]
    whole = bytes(1000 * 1048)
    spool.close()
    log_of(path).write_bytes(header + whole)
    read(path)
    log_of(path).write_bytes(whole)
    read(path)
    assert caplog.text == ""
    assert not list(path.parent.glob("*damaged*"))


def test_a_log_that_another_process_has_open_is_left_alone(path):
    overwrite(log_of(path), b"x" * 32)
    before = log_of(path).read_bytes()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        file = path.open("r+b")
        fcntl.lockf(file, fcntl.LOCK_EX, 512, 0x40000000)
        os.write(writer, b"!")
        time.sleep(60)
        os._exit(0)
    try:
        assert os.read(reader, 1) == b"!"
        with pytest.raises(Exception, match="in use: another oemgateway is running"):
            Spool(path)
        assert log_of(path).read_bytes() == before
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("count", [0, 32, 4096])
def test_who_only_looks_at_the_file_leaves_the_log(path, count):
    overwrite(log_of(path), b"x" * count)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    view = store.open_view(path)
    (seen,) = view.execute("SELECT count(*) FROM frames").fetchone()
    view.close()
    assert seen == (200 if count else 500)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_what_sqlite_takes_is_left_to_it(killed):
    data = (killed / "queue.db-wal").read_bytes()
    for damaged in (data, b"x" + data[1:], b"x" * 32 + data[32:]):
        found = verified(damaged)
        assert found.is_whole
        assert len(found.commits) == (len(data) - 32) // 1048


@pytest.mark.parametrize("rows", [20, 2000])
def test_the_journal_of_another_database_takes_nothing(path, tmp_path, rows):
    # given what another program, killed while it wrote, has left under the name of ours
    def write() -> sqlite3.Connection:
        db = sqlite3.connect(tmp_path / "other", isolation_level=None)
        db.execute("PRAGMA page_size=1024")
        db.execute("CREATE TABLE readings (at, value)")
        db.execute("BEGIN")
        db.executemany("INSERT INTO readings VALUES (?, ?)", [(n, "2" * 200) for n in range(rows)])
        db.execute("COMMIT")
        db.execute("PRAGMA cache_size=1")
        db.execute("BEGIN")
        db.execute("UPDATE readings SET at = at + 1")
        return db

    in_a_process(write)
    journal = Path(f"{path}-journal")
    (tmp_path / "other-journal").rename(journal)
    data = journal.read_bytes()
    assert any(data)
    # then it is kept under another name, and what we have is there
    assert read(path) == list(range(500))
    assert [file.read_bytes() for file in path.parent.glob("queue.db-journal*")] == [data]
    assert not journal.exists()


def test_the_log_of_another_queue_takes_nothing(killed, path, tmp_path):
    # given the file of one queue, and the log of another that was killed
    other = tmp_path / "other.db"
    leave_queue(other, [frame(1000 + n) for n in range(50)])
    log_of(other).write_bytes(data := log_of(path).read_bytes())
    # then
    assert read(other) == [1000 + n for n in range(50)]
    assert [file.read_bytes() for file in tmp_path.glob("other.db-wal.*")] == [data]
