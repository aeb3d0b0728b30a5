"""A disk that cannot read some of the queue's file, for a while or for good: nothing else of it is lost."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.dispatchers.page.history.history import History
from gateway.spool import Spool, queue_file
from gateway.store import commits, leaves, salvage, store
from listeners.simulated.clock import VirtualClock
from tests.gateway_process import run
from tests.preloaded import SOURCES, preloaded
from tests.spools import finish_rescue, frame, leave_queue, open_queue, refuse, refused, values
from tests.test_commits import leave

COUNT = 3000
BLOCK = 4096

RESCUER = """
import sys
from pathlib import Path
from listeners.simulated.clock import VirtualClock
from tests.spools import finish_rescue, frame, open_queue, values

clock = VirtualClock()
spool = open_queue(Path(sys.argv[1]), clock=clock)
spool.put([frame(3000)])
for _ in range(5):
    finish_rescue(spool)
    clock.sleep(6)
    spool.tend()
assert spool.trouble == "", spool.trouble
print(*map(int, values(spool)))
spool.close()
"""


@pytest.fixture(scope="module")
def library() -> Path:
    """Return the library that makes a block of a file unreadable, for real: SQLite is told so, too."""
    return preloaded(SOURCES / "bad_block.c")


def rescued(path: Path, library: Path, unreadable: str) -> list[int]:
    """Return what waits in a queue after its rescue; `unreadable` are an inode, and a first and last byte."""
    done = run(sys.executable, "-c", RESCUER, path, BADBLOCK=unreadable, LD_PRELOAD=str(library))
    assert done.returncode == 0, done.stderr
    return [*map(int, done.stdout.split())]


@pytest.mark.parametrize("at", [0.0, 0.3, 0.7])
def test_what_is_on_all_other_blocks_is_rescued(path, library, at):
    leave_queue(path, [frame(n) for n in range(COUNT)])
    size = path.stat().st_size
    first = int(size * at) // BLOCK * BLOCK
    read = rescued(path, library, f"{path.stat().st_ino} {first} {first + BLOCK - 1}")
    # the first block has the header and inner pages, each other one frames: sixty bytes each and more
    assert len(read) >= COUNT + 1 - (BLOCK // 60 if at else 0)
    assert read == sorted(set(read))
    assert read[-1] == COUNT


@pytest.mark.parametrize("blocks", [(0, 1), (3, 4), (-1, 1 << 20), (0, 1 << 20)])
def test_what_the_rest_of_the_log_and_the_file_have_is_rescued(path, library, blocks):
    # given 200 readings in the file, and 300 in its log, of which some blocks cannot be read
    leave(path, 200, 300)
    log = Path(f"{path}-wal")
    count = -(-log.stat().st_size // BLOCK)
    first, end = blocks[0] % count, blocks[1]
    # when the gateway starts
    read = rescued(path, library, f"{log.stat().st_ino} {first * BLOCK} {end * BLOCK - 1}")
    # then all is there but what these blocks alone had, and the log is kept
    assert read[:200] == [*range(200)]
    assert len(read) >= (201 if end - first >= count else 500 - BLOCK // 60)
    assert read == sorted(set(read))
    assert read[-1] == COUNT
    assert [*path.parent.glob("queue.db-wal.damaged-*")]


def tried_in_vain(path: Path, clock: VirtualClock) -> Spool:
    """Return a queue on a disk that reads nothing, after ten tries in which nothing was given up."""
    spool = open_queue(path, clock=clock)
    for _ in range(10):
        finish_rescue(spool)
        clock.sleep(6)
        spool.tend()
    assert not list(path.parent.glob("*damaged*"))
    return spool


def test_a_disk_that_reads_neither_log_nor_file_takes_nothing(path, monkeypatch):
    # given readings in the file and in its log, and a disk that reads neither for a long time
    leave(path, 20, 30)
    clock = VirtualClock()
    with monkeypatch.context() as disk:
        disk.setattr(commits.os, "pread", failing(os.pread, 1_000_000, errno.EIO))
        spool = tried_in_vain(path, clock)
    # when it reads again
    clock.sleep(6)
    finish_rescue(spool)
    assert values(spool) == list(range(50))
    spool.close()


def test_a_block_that_cannot_be_read_is_tried_again_each_time(path, monkeypatch):
    # given a log that could not be read twice, and then could
    leave_queue(path, [frame(0)])
    clock, lasts = VirtualClock(), list[bool]()
    really, failures = store.open_store, [True, True, False, True, False]

    def fail(file: Path, *, max_bytes: int, is_last: bool = False) -> object:
        lasts.append(is_last)
        if failures.pop(0):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return really(file, max_bytes=max_bytes, is_last=is_last)

    monkeypatch.setattr(store, "open_store", fail)
    spool = open_queue(path, clock=clock)
    for _ in range(2):
        clock.sleep(6)
        spool.tend()
    assert spool.trouble == ""
    # when another file is there, which cannot be read at first
    copy = path.read_bytes()
    path.unlink()
    path.write_bytes(copy)
    for _ in range(2):
        spool._disk.file.try_again()
    # then it is tried again, as the first was
    assert lasts == [False, False, True, False, False]
    spool.close()


OPENER = """
import sys
from pathlib import Path
from gateway.dispatchers.page.history.history import Damaged, History

try:
    History(Path(sys.argv[1])).open()
except Damaged as error:
    print(f"damaged: {error}")
"""


@pytest.mark.parametrize("first", [0, 2 * BLOCK])
def test_a_history_with_a_bad_block_counts_as_damaged_wherever_that_is(tmp_path, library, first):
    file = tmp_path / "history-page.db"
    History(file).open()
    bad = {"BADBLOCK": f"{file.stat().st_ino} {first} {first + BLOCK - 1}", "LD_PRELOAD": str(library)}
    said = run(sys.executable, "-c", OPENER, file, **bad)
    assert (said.stdout[:8], said.stderr) == ("damaged:", "")


KEEPER = """
import logging, sys
from pathlib import Path
from gateway.dispatchers.page.history.keeper import Keeper

logging.basicConfig(format="%(message)s", stream=sys.stdout)
Keeper(Path(sys.argv[1]), None, logging.getLogger()).open()
"""


def test_a_history_whose_log_cannot_be_read_for_a_moment_is_not_set_aside(tmp_path, library):
    # given what a kill left in the log
    file, killed = tmp_path / "history-page.db", tmp_path / "killed"
    killed.mkdir()
    History(file).open()
    with closing(sqlite3.connect(file)) as db:
        db.execute("insert into state values ('a', 'b')")
        db.commit()
        shutil.copy(file, killed)
        log = shutil.copy(f"{file}-wal", killed)
    bad = {"BADBLOCK": f"{Path(log).stat().st_ino} 0 {BLOCK}", "LD_PRELOAD": str(library)}
    said = run(sys.executable, "-c", KEEPER, killed / file.name, **bad)
    assert (said.stdout, said.stderr) == ("the history cannot be opened: Input/output error\n", "")
    assert Path(log).exists()


def failing(call: Callable[..., object], times: int, error: int) -> Callable[..., object]:
    """Return a function that fails so many times, and then does what it should."""
    left = [times]

    def fail(*arguments: object, **named: object) -> object:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(error, os.strerror(error))
        return call(*arguments, **named)

    return fail


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EIO, errno.ENOSPC])
def test_a_failure_that_passes_takes_nothing_of_a_damaged_file(path, monkeypatch, error):
    # given a damaged file, with what was refused, that cannot be opened at first
    leave_queue(path, [frame(n) for n in range(100)])
    spool = open_queue(path)
    refuse(spool, "a", 1, "no")
    spool.close()
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    clock = VirtualClock()
    with monkeypatch.context() as disk:
        disk.setattr(salvage, "readable", failing(salvage.readable, 2, error))
        spool = open_queue(path, clock=clock)
        finish_rescue(spool)
        # then it is tried again
        for _ in range(2):
            assert "until it can" not in spool.trouble
            assert spool.trouble
            clock.sleep(6)
            finish_rescue(spool)
    assert spool.trouble == ""
    assert (values(spool), refused(spool)) == (list(range(1, 100)), [0])
    spool.close()


def test_where_no_page_can_be_read_the_disk_is_at_fault_and_not_the_file(path, monkeypatch):
    # given a damaged file on a disk that reads nothing for a long time
    leave_queue(path, [frame(n) for n in range(100)])
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    clock = VirtualClock()
    with monkeypatch.context() as disk:
        disk.setattr(leaves.os, "pread", failing(os.pread, 1_000_000, errno.EIO))
        disk.setattr(salvage, "readable", failing(salvage.readable, 1_000_000, errno.EIO))
        spool = tried_in_vain(path, clock)
    # when it reads again
    clock.sleep(6)
    finish_rescue(spool)
    assert values(spool) == list(range(100))
    spool.close()


@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize("nth", range(0, 60, 2))
def test_a_look_at_a_file_that_fails_leaves_the_queue_free_for_the_next_try(
    path, monkeypatch, nth, is_damaged
):
    leave_queue(path, [frame(n) for n in range(10)])
    if is_damaged:
        path.write_bytes(bytes(100) + path.read_bytes()[100:])
    clock, stat, count = VirtualClock(), os.stat, [nth]

    def fail_once(file: object, **how: bool) -> os.stat_result:
        if str(path.parent) in str(file):
            count[0] -= 1
            if count[0] == -1:
                raise OSError(errno.EIO, "Input/output error")
        return stat(file, **how)

    with monkeypatch.context() as disk:
        disk.setattr(os, "stat", fail_once)
        spool = open_queue(path, clock=clock)
        finish_rescue(spool)
    for _ in range(4):
        clock.sleep(6)
        spool.tend()
        finish_rescue(spool)
    assert spool.trouble == ""
    assert values(spool) == list(range(10))
    spool.close()


def test_a_rescue_that_cannot_be_seen_for_a_moment_is_not_taken_for_none(path, monkeypatch):
    # given a rescue that cannot go on
    leave_queue(path, [frame(n) for n in range(10)])
    path.write_bytes(bytes(100) + path.read_bytes()[100:])
    clock, lstat = VirtualClock(), Path.lstat
    monkeypatch.setattr(queue_file, "AT_START", 0.0)
    spool = open_queue(path, clock=clock)
    with monkeypatch.context() as disk:
        disk.setattr(salvage.Salvage, "step", failing(salvage.Salvage.step, 1, errno.EIO))
        spool.tend()

    def unseen(file: Path) -> os.stat_result:
        if file.suffix == ".rescue":
            raise OSError(errno.EIO, "Input/output error")
        return lstat(file)

    # when it is tried again
    with monkeypatch.context() as disk:
        disk.setattr(Path, "lstat", unseen)
        disk.setattr(os.path, "lexists", lambda file: not str(file).endswith(".rescue"))
        clock.sleep(6)
        spool.tend()
        assert "Input/output error" in spool.trouble
    # then it is when it is seen
    clock.sleep(6)
    finish_rescue(spool)
    assert (spool.trouble, values(spool)) == ("", list(range(10)))
    spool.close()


@pytest.mark.needs_root
def test_a_directory_that_cannot_be_looked_at_ends_nothing(path, monkeypatch, tmp_path):
    spool = open_queue(path)
    spool.put([frame(0)])
    rescue = salvage.Salvage(tmp_path / "other.db", None)

    def refuse_to_look(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as disk:
        for name in ("stat", "lstat"):
            disk.setattr(os, name, refuse_to_look)
        # when the main thread has it synced, and damage is found
        spool.syncing.sync()
        rescue.close()
        spool._disk.file.mend(store.OutOfPlace("damaged"))
        spool.put([frame(1)])
        assert values(spool) == [0, 1]
        # and it ends
        spool.close()
    # and a rescue was closed all the same, as was the file
    salvage.Salvage(tmp_path / "other.db", None).close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        spool._disk.file.contents.db.execute("SELECT 1")
