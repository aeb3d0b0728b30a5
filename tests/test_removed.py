"""Files of the state directory that are removed or replaced while the gateway has them open."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest

from gateway.store import removed, store
from listeners.simulated.clock import VirtualClock
from tests.card import file_system, mounted
from tests.gateway_process import ENVIRONMENT
from tests.spools import frame, leave_queue, open_queue, values

REMOVED = {
    "the file": lambda path: path.unlink(),
    "the file and its log": lambda path: [file.unlink() for file in path.parent.glob("queue.db*")],
    "the directory": lambda path: shutil.rmtree(path.parent),
    "the directory, by another name": lambda path: path.parent.rename(path.parent.with_name("moved")),
}
REPLACED = {
    "an empty file": lambda path: path.touch(),
    "a text": lambda path: path.write_text("not a queue\n" * 500),
    "another queue": lambda path: filled(path, 500, 502),
    "a link": lambda path: path.symlink_to("/etc/hostname"),
}


def filled(path: Path, first: int, end: int) -> None:
    leave_queue(path, [frame(n) for n in range(first, end)], "a", "b")


@pytest.fixture
def spool(opened):
    """Give a queue with the frames 0 to 9, of which a has delivered three."""
    spool = opened("a", "b")
    spool.put([frame(n) for n in range(10)])
    spool.done("a", spool.peek("a", 3)[-1][0])
    return spool


def kept(path: Path) -> dict[str, list[float | None]]:
    """Return what a start after a kill finds."""
    copy = path.parent.with_name("killed")
    shutil.copytree(path.parent, copy)
    after = open_queue(copy / path.name, "a", "b")
    found = {who: values(after, who) for who in "ab"}
    after.close()
    return found


@pytest.mark.parametrize("what", REMOVED)
def test_a_queue_that_is_removed_is_written_anew_with_the_next_reading(path, spool, what, caplog):
    REMOVED[what](path)
    spool.put([frame(10)])
    assert kept(path) == {"a": list(range(3, 11)), "b": list(range(11))}
    assert spool.trouble == ""
    # and it goes on as before
    spool.done("a", spool.peek("a", 5)[-1][0])
    spool.put([frame(11)])
    spool.syncing.sync()
    assert values(spool, "a") == [8, 9, 10, 11]
    assert caplog.text.count("was removed") == 1


@pytest.mark.parametrize("what", REPLACED)
def test_what_takes_its_place_is_kept_and_the_queue_goes_on(path, spool, what, tmp_path):
    other = tmp_path / "other" / "queue.db"
    other.parent.mkdir()
    REPLACED[what](other)
    before = other.read_bytes()
    other.rename(path)
    spool.put([frame(10)])
    assert kept(path) == {"a": list(range(3, 11)), "b": list(range(11))}
    (aside,) = path.parent.glob("queue.db.replaced-*")
    assert aside.read_bytes() == before


@pytest.mark.parametrize("what", ["removed", *REPLACED])
def test_where_its_log_alone_is_removed_no_kill_takes_what_comes_then(path, spool, what, tmp_path):
    log, other = Path(f"{path}-wal"), tmp_path / "other" / "queue.db"
    other.parent.mkdir()
    log.unlink()
    if what != "removed":
        REPLACED[what](other)
        before = other.read_bytes()
        other.rename(log)
    spool.put([frame(10)], {"note": "1"})
    assert kept(path) == {"a": list(range(3, 11)), "b": list(range(11))}
    # and a sync goes on, which notes are waited for
    spool.syncing.sync()
    assert (spool.trouble, values(spool, "a")) == ("", list(range(3, 11)))
    # and what took its place is kept
    assert [aside.read_bytes() for aside in path.parent.glob("*.replaced-*")] == (
        [] if what == "removed" else [before]
    )


def test_where_the_disk_is_full_when_the_log_is_removed_nothing_is_lost(path, spool, monkeypatch):
    # given a log that is gone, and no room in the file for what it held
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    Path(f"{path}-wal").unlink()
    with monkeypatch.context() as disk:
        disk.setattr(removed, "complete", refuse)
        spool.put([frame(10)])
    assert "disk is full" in spool.trouble
    assert values(spool) == list(range(3, 11))
    # when there is
    spool.put([frame(11)])
    assert (spool.trouble, kept(path)["b"]) == ("", list(range(12)))


def test_where_the_file_cannot_be_opened_after_its_log_was_removed_that_is_said_and_tried_again(
    opened, path, monkeypatch, caplog
):
    # given a file that can no longer be opened
    clock = VirtualClock()
    spool = opened("a", "b", clock=clock)
    spool.put([frame(n) for n in range(10)])

    def refuse(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    Path(f"{path}-wal").unlink()
    with monkeypatch.context() as disk:
        disk.setattr(store, "open_store", refuse)
        spool.put([frame(10)])
    # then status and log say so
    assert "disk I/O error" in spool.trouble
    assert caplog.text.count("disk I/O error") == 1
    # and once it can be opened, all of it is there
    clock.sleep(6)
    spool.tend()
    assert (spool.trouble, kept(path)["b"]) == ("", list(range(11)))


def test_a_log_that_goes_while_its_size_is_asked_is_no_failure(path, spool, monkeypatch):
    about = Path.stat

    def stat(file: Path, **how: bool) -> os.stat_result:
        found = about(file, **how)
        if file != path:
            file.unlink()
        return found

    monkeypatch.setattr(Path, "stat", stat)
    assert spool.size > path.lstat().st_size
    assert spool.size == path.lstat().st_size


def test_a_directory_that_is_moved_away_and_back_takes_nothing(path, spool):
    # given a queue that was written anew where its directory was moved away
    path.parent.rename(path.parent.with_name("moved"))
    spool.put([frame(10)])
    # when the one that was moved, with its own log, is there again
    path.parent.rename(path.parent.with_name("anew"))
    path.parent.with_name("moved").rename(path.parent)
    spool.put([frame(11)])
    # then
    assert kept(path) == {"a": list(range(3, 12)), "b": list(range(12))}
    assert values(spool, "b") == list(range(12))
    # and what was moved is kept, with its log
    (aside,) = path.parent.glob("queue.db.replaced-*")
    (log,) = path.parent.glob("queue.db-wal.replaced-*")
    log.rename(f"{aside}-wal")
    before = open_queue(aside, "a", "b")
    assert values(before, "b") == list(range(10))
    before.close()


def test_an_end_right_after_it_was_removed_takes_nothing(path, spool):
    shutil.rmtree(path.parent)
    spool.close()
    assert kept(path) == {"a": list(range(3, 10)), "b": list(range(10))}


def test_where_it_cannot_be_written_anew_that_is_said_and_tried_again(path, spool):
    shutil.rmtree(path.parent)
    path.parent.write_text("in the way")
    spool.put([frame(10)])
    assert "removed" in spool.trouble
    assert values(spool, "a") == list(range(3, 11))
    path.parent.unlink()
    spool.put([frame(11)])
    assert spool.trouble == ""
    assert kept(path)["a"] == list(range(3, 12))


def test_where_there_is_no_room_for_a_new_one_no_part_of_it_stays(tmp_path):
    # given a card with a queue that has taken most of it
    with mounted(file_system(tmp_path / "image", 8, 1024), tmp_path / "card") as card:
        spool = open_queue(card / "queue.db")
        spool.put([frame(n, length=900) for n in range(2000)])
        # when it is removed, and there is no room for another one as large
        (card / "queue.db").unlink()
        with (card / "more").open("wb", buffering=0) as more, suppress(OSError):
            while True:
                more.write(bytes(65536))
        spool.put([frame(2000)])
        assert "cannot be written anew" in spool.trouble
        assert not [*card.glob("queue.db.anew*")]
        # then, once there is, all of it is there
        (card / "more").unlink()
        spool.put([frame(2001)])
        assert spool.trouble == ""
        assert values(spool) == list(range(2002))
        spool.close()


def test_a_file_of_another_file_system_is_not_taken_for_a_removed_one(path, spool):
    """A disk that is pulled out leaves its mount point, and is put back."""
    about = path.stat()
    assert not removed.is_gone(path, (about.st_dev, about.st_ino))
    assert removed.is_gone(path, (about.st_dev, about.st_ino + 1))
    assert not removed.is_gone(path, (about.st_dev + 1, about.st_ino))
    path.unlink()
    assert removed.is_gone(path, (about.st_dev, about.st_ino))
    assert not removed.is_gone(path, (about.st_dev + 1, about.st_ino))


@pytest.fixture
def elsewhere(tmp_path):
    """Give a directory of another file system."""
    for where in ("/dev/shm", "/var/tmp", "/tmp"):
        with suppress(OSError):
            directory = Path(tempfile.mkdtemp(dir=where))
            if directory.stat().st_dev != tmp_path.stat().st_dev:
                yield directory
                shutil.rmtree(directory)
                return
            directory.rmdir()
    pytest.skip("needs two file systems that can be written")


def test_a_copy_that_is_mounted_over_it_is_replaced_by_what_came_since(path, spool, elsewhere):
    # given a directory that is copied into memory, which then takes its place, as by log2ram
    copy = elsewhere / "state"
    shutil.copytree(path.parent, copy)
    spool.put([frame(10)])
    path.parent.rename(path.parent.with_name("below"))
    path.parent.symlink_to(copy)
    # when readings come
    spool.put([frame(11)])
    # then the copy is set aside, and the queue goes on there with all that it has
    assert kept(path) == {"a": list(range(3, 12)), "b": list(range(12))}
    assert len([*copy.glob("queue.db.replaced-*")]) == 1
    assert (spool.trouble, values(spool, "a")) == ("", list(range(3, 12)))


def test_what_an_older_copy_was_copied_to_is_not_replaced_by_it(path, elsewhere, opened):
    # given a queue that was copied to a stick and went on there, and is found where it was, as at a start
    # before the stick is mounted
    leave_queue(path, [frame(0)], "a")
    shutil.copytree(path.parent, stick := elsewhere / "state")
    leave_queue(stick / path.name, [frame(n) for n in range(1, 20)], "a")
    Path(f"{stick / path.name}-wal").touch()
    before = (stick / path.name).read_bytes()
    spool = opened("a")
    spool.put([frame(100)])
    # when the stick is mounted
    path.parent.rename(path.parent.with_name("below"))
    path.parent.symlink_to(stick)
    spool.put([frame(101)])
    # then what it has stays there
    assert path.read_bytes() == before
    assert [*stick.glob("*.replaced-*")] == []
    assert f"{path.parent} is now another file system" in spool.trouble


@pytest.mark.needs_root
def test_where_a_stick_is_pulled_out_nothing_is_written_to_its_mount_point(opened, path, tmp_path):
    with mounted(file_system(tmp_path / "stick", 8, 4096), path.parent):
        spool = opened("a")
        spool.put([frame(0)])
        subprocess.run(["umount", "-l", path.parent], check=True)
        spool.put([frame(1)])
        assert [*path.parent.iterdir()] == []
        spool.close()


def test_another_queue_that_is_mounted_over_it_is_left_alone(path, spool, elsewhere):
    copy = elsewhere / "state" / "queue.db"
    filled(copy, 500, 502)
    Path(f"{copy}-wal").touch()
    before = copy.read_bytes()
    path.parent.rename(path.parent.with_name("below"))
    path.parent.symlink_to(copy.parent)
    spool.put([frame(10)])
    assert (copy.read_bytes(), [*copy.parent.glob("*.replaced-*")]) == (before, [])
    assert values(spool, "a") == list(range(3, 11))


@pytest.mark.needs_root
def test_an_empty_file_system_that_is_mounted_over_it_is_a_trouble_until_it_is_unmounted(
    path, spool, tmp_path
):
    # when a stick is mounted over the directory
    with mounted(file_system(tmp_path / "stick", 8, 4096), path.parent):
        spool.put([frame(10)])
        # then what waits goes on below it, and the trouble says that a start will not find it
        assert not path.exists()
        assert values(spool, "a") == list(range(3, 11))
        assert f"{path.parent} is now another file system" in spool.trouble
        assert "unmount what was mounted over it" in spool.trouble
    # and when it is unmounted, there is none
    assert spool.trouble == ""
    assert kept(path)["a"] == list(range(3, 11))


def test_what_cannot_be_read_any_more_replaces_nothing(path, spool):
    path.unlink()
    with closing(sqlite3.connect(":memory:")) as unread, pytest.raises(OSError, match="is another"):
        removed.write(path, unread, spool._contents.identity)
    assert not path.exists()


def test_two_gateways_do_not_take_the_file_from_each_other(path, spool, caplog):
    # given a queue that was removed while it was open, and another gateway that made its own there
    shutil.rmtree(path.parent)
    start = f"from pathlib import Path; from gateway.spool import Spool; Spool(Path({str(path)!r}))"
    other = subprocess.Popen(
        [sys.executable, "-c", f"{start}; print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    other.stdout.read(1)
    there = sorted(file.name for file in path.parent.glob("queue.db*"))
    # when readings come, then they wait in memory, and the other one's file stays where it is
    for number in (10, 11):
        spool.put([frame(number)])
        assert re.search(rf"another gateway has it: python\S* \(pid {other.pid}\)", spool.trouble)
    assert values(spool) == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert sorted(file.name for file in path.parent.glob("queue.db*")) == there
    # and at the end what was in its file is kept
    spool.close()
    (aside,) = path.parent.glob("queue.db.removed-*")
    assert f"what waits is kept as {aside}" in caplog.text
    kept_aside = open_queue(aside, "a", "b")
    assert values(kept_aside) == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert "lost" not in caplog.text
    kept_aside.close()
    other.communicate(b"\n", timeout=60)
