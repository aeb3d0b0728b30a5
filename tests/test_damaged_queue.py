"""A damaged file of the queue, as whoever uses the queue meets it."""

from __future__ import annotations

import contextlib
import random
import sqlite3

import pytest

from gateway.spool import queue_file
from gateway.store.salvage import Salvage
from tests.refusing import Disk
from tests.spools import full_frame as frame
from tests.spools import leave_queue, refuse
from tests.spools import peeked as values
from tests.test_spool import BACK_TO_THE_FIRST_VERSION


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Let the rescue of a damaged file come to its end at once, however busy the machine is."""
    for name in ("AT_START", "AT_ONCE"):
        monkeypatch.setattr(queue_file, name, 60.0)


def filled(path, count: int) -> bytes:
    """Return the file of a queue that has been closed with so many frames, two of them delivered."""
    leave_queue(path, [frame(n) for n in range(count)], done=2)
    return path.read_bytes()


def change(path, script: str) -> None:
    """Change the file of a queue by statements of SQL."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(script)


def test_a_file_cut_off_anywhere_starts_and_gives_what_can_be_read(opened, path):
    whole = filled(path, 60)
    most = 0
    for length in range(0, len(whole), 512):
        for left in path.parent.iterdir():
            left.unlink()
        path.write_bytes(whole[:length])
        spool = opened()
        read = values(spool, "a", 1000)
        assert read == sorted(set(read))
        assert spool.standing("a").waiting == len(read)
        assert set(read) <= set(range(60))
        most = max(most, len(read))
        spool.put([frame(100)])
        assert values(spool, "a", 1000)[-1] == 100
        spool.close()
    assert most > 30


@pytest.mark.parametrize("seed", range(20))
def test_garbage_in_the_file_is_survived_and_the_file_kept(opened, path, seed):
    draw = random.Random(seed)
    whole = bytearray(filled(path, 200))
    start = draw.randrange(len(whole) - 2048) if seed else 0
    whole[start : start + 2048] = draw.randbytes(2048)
    path.write_bytes(whole)
    spool = opened()
    read = values(spool, "a", 1000)
    assert spool.standing("a").waiting == len(read) == len(set(read))
    spool.put([frame(1000)])
    assert values(spool, "a", 1000)[-1] == 1000
    spool.close()
    aside = list(path.parent.glob("queue.db.damaged-*"))
    assert len(read) >= 190 or any(file.read_bytes()[1024:] == whole[1024:] for file in aside)


def test_damage_that_shows_while_it_runs_is_mended(spool, path, caplog):
    spool.put([frame(1)])
    spool._contents.db.execute("UPDATE frames SET frame = '[garbage'")
    spool.put([frame(2)])
    assert values(spool, "a") == [2]
    assert "set aside as" in caplog.text
    real, spool._contents.db = (
        spool._contents.db,
        Disk(spool._contents.db, sqlite3.SQLITE_CORRUPT, lasting=False),
    )
    spool.put([frame(3)])
    assert values(spool, "a") == [2, 3]
    assert len(list(path.parent.glob("*.damaged-*"))) >= 2
    real.close()


def test_a_damaged_file_of_the_first_version_is_read_as_well(opened, path):
    filled(path, 60)
    with sqlite3.connect(path) as db:
        db.executescript(BACK_TO_THE_FIRST_VERSION)
    db.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 2048])
    spool = opened()
    assert len(values(spool, "a", 1000)) > 20
    assert list(path.parent.glob("queue.db.damaged-*"))


def spoil(path, number: int, text: str) -> None:
    """Put this in place of what the file has of a frame."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE frames SET frame = ? WHERE id = ?", (text, number))
        db.commit()


@pytest.mark.parametrize(
    "text", ['["9",[1', "[]", '["9",["x"],[0,"now",0],[]]', '[9,[1],[0,"now",0],[]]', "7"]
)
@pytest.mark.parametrize(
    "look",
    [
        lambda spool: spool.peek("a", 9),
        lambda spool: spool.waiting(),
        lambda spool: spool.standing("a"),
        lambda spool: spool.expire(lambda _: 0.0),
    ],
    ids=["peek", "waiting", "standing", "expire"],
)
def test_a_garbled_frame_is_damage_whoever_comes_upon_it(opened, path, text, look):
    # given three frames, one of which SQLite has kept badly without knowing
    spool = opened()
    spool.put([frame(n) for n in range(3)])
    number = spool.waiting()[1].number
    spool.close()
    spoil(path, number, text)
    spool = opened(age=1e9)
    # when somebody comes upon it, then the others are there, and it is in the file that is set aside
    look(spool)
    assert values(spool, "a") == [0, 2]
    assert list(path.parent.glob("queue.db.damaged-*"))


def test_a_garbled_frame_among_those_that_were_refused_is_damage_too(opened, path):
    spool = opened()
    spool.put([frame(1), frame(2)])
    for number, _ in spool.peek("a", 2):
        refuse(spool, "a", number, "no")
    spool.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE refused SET frame = 'no frame' WHERE id = 1")
        db.commit()
    spool = opened()
    assert [kept.frame for kept in spool.refused("a")] == [frame(2)]


@pytest.mark.parametrize("while_it_runs", [True, False])
def test_a_damaged_file_that_the_disk_does_not_let_be_mended_is_put_back_and_mended_later(
    opened, path, caplog, monkeypatch, while_it_runs
):
    # given frames in a file that gets damaged
    spool = opened()
    spool.put([frame(n) for n in range(5)])
    number = spool.waiting()[2].number
    if not while_it_runs:
        spool.close()
        with path.open("r+b") as file:
            file.write(b"no database at all, any more")

    # when there is no room for another
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    real = Salvage.step
    monkeypatch.setattr(Salvage, "step", full)
    if while_it_runs:
        spool._contents.db.execute("UPDATE frames SET frame = 'garbled' WHERE id = ?", (number,))
    else:
        spool = opened()
    # then it goes on in memory, and says so
    assert values(spool, "a") == []
    spool.put([frame(9)])
    assert values(spool, "a") == [9]
    assert "kept in memory only" in caplog.text
    assert spool.trouble
    spool.close()
    # and the file is there for the next start
    assert not list(path.parent.glob("queue.db.damaged-*"))
    monkeypatch.setattr(Salvage, "step", real)
    spool = opened()
    assert values(spool, "a") == ([0, 1, 3, 4, 9] if while_it_runs else [0, 1, 2, 3, 4, 9])
    assert list(path.parent.glob("queue.db.damaged-*"))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE cursors SET upto = 'abc'",
        "UPDATE cursors SET upto = 9223372036854775807",
        "UPDATE cursors SET sent = 9223372036854775806",
        "INSERT OR REPLACE INTO counters VALUES ('dropped', 'x')",
        "INSERT OR REPLACE INTO counters VALUES ('refused_last_out', 9223372036854775807)",
        "INSERT INTO frames (id, frame) SELECT 9223372036854775807, frame FROM frames LIMIT 1",
        "INSERT INTO frames (id, frame) SELECT -5, frame FROM frames LIMIT 1",
        "INSERT INTO refused (id, who, reason, frame) VALUES (9223372036854775807, 'a', '', 'x')",
        "PRAGMA user_version = 4",
    ],
)
def test_what_a_queue_never_writes_is_rescued(opened, path, damage):
    filled(path, 60)
    change(path, damage)
    spool = opened()
    spool.put([frame(100)])
    assert spool.trouble == ""
    assert values(spool, "a", 1000)[-59:] == [*range(2, 60), 100]
    assert spool.standing("a").waiting == len(values(spool, "a", 1000))
    spool.close()
    assert list(path.parent.glob("queue.db.damaged-*"))
    # and it is a queue as any other again
    spool = opened()
    assert values(spool, "a", 1000)[-59:] == [*range(2, 60), 100]


@pytest.mark.parametrize(
    "pins",
    [
        "{",
        "[" * 5000,
        "[[1, 2, 3, 4, 5]]",
        "[[1e999, null, null, null, null]]",
        '[[1e999, "", 1, 5, 5]]',
        f'[[1, "", 1, 1{"0" * 400}, 5]]',
    ],
)
def test_pins_that_are_garbled_are_none(opened, path, pins):
    filled(path, 60)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE cursors SET pins = ?", [pins])
        db.commit()
    spool = opened()
    assert values(spool, "a", 1000) == list(range(2, 60))


@pytest.mark.parametrize("byte", [18, *range(40, 60, 4), *range(64, 100, 4)])  # 60: a newer version
def test_a_wrong_header_takes_no_frame(opened, path, byte):
    whole = bytearray(filled(path, 60))
    whole[byte : byte + 4] = b"\x7f\x7f\x7f\x7f"
    path.write_bytes(whole)
    spool = opened()
    spool.put([frame(100)])
    assert values(spool, "a", 1000)[-59:] == [*range(2, 60), 100]
    assert spool.trouble == ""


@pytest.mark.parametrize(
    "damage",
    [
        "PRAGMA user_version=1090519040",
        "PRAGMA user_version=-3",
        "PRAGMA user_version=0",
        "DROP TABLE counters",
        "DROP TABLE refused",
        "DROP TABLE boots",
        "DROP TABLE notes",
        "DROP TABLE cursors",
        "DROP TABLE cursors; DROP TABLE counters",
    ],
)
def test_a_version_or_a_table_that_is_lost_is_damage_and_no_reason_not_to_start(opened, path, damage, caplog):
    filled(path, 60)
    change(path, damage)
    # when it starts
    spool = opened()
    # then it has all that waits, says so once, and goes on
    assert values(spool, "a", 1000) == list(range(2, 60))
    assert caplog.text.count("set aside as") == 1
    spool.put([frame(60)])
    assert spool.trouble == ""
    assert spool.standing("a").waiting == 59
    spool.close()
    assert list(path.parent.glob("queue.db.damaged-*"))
    # and it is a queue as any other again
    assert values(opened(), "a", 1000) == list(range(2, 61))
