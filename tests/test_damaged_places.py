"""A queue file in which the place of a dispatcher, or an id, is damaged."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from itertools import count

import pytest

from gateway.present.queue_answers import QueueAnswers
from gateway.spool.places import Places
from tests.spools import full_frame as frame
from tests.spools import leave_queue, refuse
from tests.spools import peeked as values
from tests.test_damaged_queue import change

WITHOUT_TYPES = """
    CREATE TABLE other AS SELECT * FROM cursors;
    DROP TABLE cursors;
    CREATE TABLE cursors (who PRIMARY KEY, upto, sent, boot, blind, pins) WITHOUT ROWID;
    INSERT INTO cursors SELECT * FROM other;
    DROP TABLE other;
"""
"""So that a table can have what a bit that is flipped on the disk leaves."""


@pytest.mark.parametrize("column", ["who", "upto", "sent", "boot", "blind", "pins"])
@pytest.mark.parametrize("value", ["NULL", "x'01ff'", "CAST(x'ff' AS TEXT)", "1e999"])
def test_a_dispatcher_whose_place_is_damaged_is_given_all_there_is(opened, path, column, value, caplog):
    # given frames that one of three still has to deliver; what the file has of its place is damaged
    spool = opened("a", "b", "c")
    spool.put([frame(n) for n in range(12)])
    for who in ("a", "c"):
        spool.done(who, spool.peek(who, 12)[-1][0])
    spool.close()
    key = "'b'" if (column, value) == ("who", "NULL") else value
    change(path, f"{WITHOUT_TYPES} UPDATE cursors SET {column} = {key} WHERE who = 'b'")  # noqa: S608  (our words)
    if (column, value) == ("who", "NULL"):
        change(path, "DELETE FROM cursors WHERE who = 'b'; UPDATE cursors SET sent = NULL WHERE who = 'a'")
    # when it starts
    spool = opened("a", "b", "c")
    # then that one is given them, and no other
    assert values(spool, "b") == list(range(12))
    assert (values(spool, "a"), values(spool, "c")) == ([], [])
    assert caplog.text.count("set aside as") == 1
    # and nobody else has a place later
    spool.put([frame(12)])
    spool.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT who FROM cursors ORDER BY who").fetchall() == [("a",), ("b",), ("c",)]


def test_a_place_that_is_known_stays_where_the_rest_of_it_is_damaged(opened, path):
    spool = opened("a", "b")
    spool.put([frame(n) for n in range(12)])
    spool.done("b", spool.peek("b", 5)[-1][0])
    spool.close()
    change(path, f"{WITHOUT_TYPES} UPDATE cursors SET sent = -1, blind = NULL WHERE who = 'b'")  # noqa: S608  (our words)
    spool = opened("a", "b")
    assert (values(spool, "b"), spool.sent("b")[0]) == (list(range(5, 12)), 12)


@pytest.mark.parametrize(
    ("column", "value", "gets"),
    [
        ("whose", "x''", ("a", "b")),
        ("whose", "x'61'", ("a",)),
        ("whose", "1", ("a", "b")),
        ("whose", "NULL", ("a", "b")),
        ("held", "NULL", ("a", "b")),
        ("frame", "CAST(frame AS BLOB)", ("a", "b")),
    ],
)
def test_a_frame_whose_text_or_owner_is_of_another_type_is_there(opened, path, column, value, gets):
    # given a frame in whose row one bit is flipped
    leave_queue(path, [frame(n) for n in range(3)], "a", "b")
    loose = "CREATE TABLE loose (id INTEGER PRIMARY KEY, frame, held, whose)"
    copied = "INSERT INTO loose SELECT * FROM frames; DROP TABLE frames; ALTER TABLE loose RENAME TO frames"
    change(path, f"{loose}; {copied}; UPDATE frames SET {column} = {value} WHERE id = 2")  # noqa: S608  (ours)
    # when it is read by whoever comes first
    spool = opened("a", "b")
    QueueAnswers(spool).waiting()
    # then it is there for those that it was for, or for all
    for who in ("a", "b"):
        assert values(spool, who) == ([0, 1, 2] if who in gets else [0, 2])


@pytest.mark.parametrize("column", ["who", "reason"])
@pytest.mark.parametrize(("value", "left"), [("x'61'", 3), ("NULL", 2)])
def test_what_was_refused_can_be_listed_where_a_row_of_it_is_damaged(opened, path, column, value, left):
    # given three refused frames, in the row of one of which a bit is flipped
    spool = opened("a", "b")
    spool.put([frame(n) for n in range(3)])
    for number, _ in spool.peek("a", 3):
        refuse(spool, "a", number, "a")
    spool.close()
    loose = "CREATE TABLE loose (id, who, reason, frame, undated)"
    copied = (
        "INSERT INTO loose SELECT * FROM refused; DROP TABLE refused; ALTER TABLE loose RENAME TO refused"
    )
    change(path, f"{loose}; {copied}; UPDATE refused SET {column} = {value} WHERE id = 2")  # noqa: S608  (ours)
    # when they are listed, then those that can be read are there
    spool = opened("a", "b")
    answers = QueueAnswers(spool)
    assert answers.status()["dispatchers"]["a"]["refused"] == left
    assert len(json.dumps(answers.refused("a")["rows"]).split("reason")) == left + 1


@contextlib.contextmanager
def at_most(moves: int) -> Iterator[None]:
    """Fail if dispatchers' places move more often than that inside."""
    real, made = Places.move, count(1)

    def move(places: Places, who: str, upto: int) -> None:
        assert next(made) < moves, "it goes through all ids"
        real(places, who, upto)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Places, "move", move)
        yield


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE cursors SET sent = 1000000000000 WHERE who = 'a'",
        "INSERT INTO frames (id, frame, whose) SELECT 1000000000000, frame, 'b' FROM frames LIMIT 1",
    ],
)
def test_a_gap_of_any_size_between_two_ids_takes_no_time(opened, path, damage):
    # given a queue for two, in which a damaged id is far beyond all others
    leave_queue(path, [frame(n) for n in range(60)], "a", "b")
    change(path, damage)
    with at_most(200):
        spool = opened("a", "b")
        # when one is given all that it can get
        spool.done("a", spool.peek("a", 100)[-1][0])
        assert values(spool, "a") == []
        spool.put([frame(60)])
        # then it gets what comes
        assert values(spool, "a") == [60]
    # and what the other is not to get any more can be dropped
    answers, dropped, more = QueueAnswers(spool), 0, {"who": "b"}
    for _ in range(3):
        answer = answers.drop_waiting(**more)
        dropped, more = dropped + answer["count"], answer["more"]
        if not more:
            break
    assert (spool.standing("b").waiting, more) == (0, None)
    assert dropped >= 61
