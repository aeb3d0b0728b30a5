"""Notes that are kept with frames, and epochs: together with its epoch no id is ever used twice."""

from __future__ import annotations

import sqlite3

from gateway.frame import Frame, Stamp
from gateway.spool.notes import PROVISIONAL, Epochs, Notes
from tests.spools import open_queue


def frame(number):
    return Frame("9", (number,), Stamp(1e9 + number, "b", number))


def ids(spool, count=10):
    return [(spool.epochs.of(number), number) for number, _ in spool.peek("a", count)]


def test_a_note_is_there_after_a_kill_as_are_the_frames_it_came_with(tmp_path):
    spool = open_queue(tmp_path / "queue.db")
    spool.put([frame(1)], {"relay/x": "5", "relay/y": "6", "other": "7"})
    spool.put([], {"relay/y": ""})
    spool.put([frame(2)], {"relay/x": "8"})
    spool._contents.db.close()  # killed
    again = open_queue(tmp_path / "queue.db")
    assert again.notes.below("relay/") == {"x": "8"}
    assert again.notes.below("o") == {"ther": "7"}
    assert len(again.peek("a", 10)) == 2
    again.close()


def test_a_note_whose_transaction_fails_is_written_later(tmp_path):
    spool = open_queue(tmp_path / "queue.db")
    spool._contents.db.execute("PRAGMA query_only=ON")
    spool.put([frame(1)], {"x": "1"})
    assert not spool.notes.is_written
    spool._contents.db.execute("PRAGMA query_only=OFF")
    spool.put([frame(2)])
    assert spool.notes.is_written
    spool.close()
    with sqlite3.connect(tmp_path / "queue.db") as db:
        assert db.execute("SELECT value FROM notes WHERE name = 'x'").fetchall() == [("1",)]
    db.close()


def test_a_note_that_a_damaged_file_has_as_no_text_is_none(tmp_path):
    # given a file in which a flipped bit made bytes of every text
    spool = open_queue(tmp_path / "queue.db")
    spool.put([frame(1)], {"relay/x": "5"})
    spool.close()
    with sqlite3.connect(tmp_path / "queue.db") as db:
        db.execute("UPDATE notes SET value = CAST(value AS BLOB)")
    db.close()
    # when it is used, then its frames are
    again = open_queue(tmp_path / "queue.db")
    assert (again.notes.below("relay/"), again.noted("a")) == ({}, again.sent("a")[0])
    assert isinstance(again.epochs.of(1), str)
    again.close()


def test_notes_are_read_while_another_thread_makes_one():
    notes = Notes()

    class Name(str):
        __slots__ = ()

        def startswith(self, *_: object) -> bool:
            notes.update({"other": "new"})  # as when another thread has its turn here
            return True

    notes.update({Name("mine"): "1", Name("mine too"): "2"})
    assert list(notes.below("mine")) == ["", " too"]


def test_each_start_begins_an_epoch_and_a_frame_keeps_its_own(tmp_path):
    path = tmp_path / "queue.db"
    first = open_queue(path)
    first.put([frame(1), frame(2)])
    before = ids(first)
    assert len({epoch for epoch, _ in before}) == 1
    first.close()
    second = open_queue(path)
    second.put([frame(3)])
    after = ids(second)
    assert after[:2] == before
    assert after[2][0] != before[0][0]
    second.close()
    # when the file is that of an earlier time, ids are given again, and not their epochs
    third = open_queue(path)
    third.done("a", 3)
    third.put([frame(4)])
    copy = path.read_bytes()
    four = ids(third)
    third.close()
    path.write_bytes(copy)
    for more in ("queue.db-wal", "queue.db-shm"):
        (tmp_path / more).unlink(missing_ok=True)
    last = open_queue(path)
    last.put([frame(5)])
    assert not {each for each in ids(last) if each[1] >= 4 and each not in four} & set(four)
    assert last.epochs.of(ids(last)[-1][1]) not in {epoch for epoch, _ in four}
    last.close()


def test_epochs_that_no_frame_has_any_more_are_forgotten(tmp_path):
    for _ in range(20):
        spool = open_queue(tmp_path / "queue.db")
        spool.put([frame(1)])
        spool.done("a", spool.peek("a", 1)[0][0])
        spool.close()
    spool = open_queue(tmp_path / "queue.db")
    assert len(spool.notes.below("epoch ")) <= 3
    spool.close()


def test_while_the_file_cannot_be_read_there_is_an_epoch_of_memory_s_own():
    notes = Notes()
    epochs = Epochs(notes)
    epochs.begin(PROVISIONAL, PROVISIONAL)
    memory = epochs.of(PROVISIONAL + 5)
    epochs.begin(7, 3)
    assert epochs.of(PROVISIONAL + 5) == memory
    assert len({memory, epochs.of(7), epochs.of(6)}) == 3
    assert Epochs(notes).of(7) != memory
