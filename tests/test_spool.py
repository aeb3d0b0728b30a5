"""The queue as listeners, dispatchers and commands use it."""

from __future__ import annotations

import sqlite3
import stat
from dataclasses import replace

import pytest

from gateway.flag import Flag
from gateway.spool import Spool, SpoolUnusable
from tests.refusing import Disk
from tests.spools import full_frame as frame
from tests.spools import peeked as values
from tests.spools import refuse


def test_a_frame_comes_back_as_it_was(spool):
    spool.put([frame(1)])
    assert [f for _, f in spool.peek("a", 10)] == [frame(1)]


def test_what_is_delivered_is_gone_for_good_and_ids_are_never_used_again(spool, opened):
    spool.put([frame(1), frame(2)])
    last = spool.peek("a", 10)[-1][0]
    spool.done("a", last)
    spool.close()
    spool = opened()
    assert values(spool, "a") == []
    spool.put([frame(3)])
    assert spool.peek("a", 10)[0][0] > last


def test_at_most_a_thousand_ids_are_kept_for_one_that_is_not_sure_of_them(spool):
    spool.put([frame(n) for n in range(1500)])
    for upto in (600, 1200, 1500):
        spool.done("a", upto, sure=False)
    assert values(spool, "a") == []
    assert spool.waiting() == []
    spool.go_back("a")
    assert values(spool, "a", 1500) == [*range(500, 1500)]
    # once it is sure, it cannot go back
    spool.done("a", 1500)
    spool.go_back("a")
    assert values(spool, "a") == []


def test_what_one_is_not_sure_of_follows_it_to_another_name(spool):
    spool.set_consumers(["a", "b"])
    spool.put([frame(n) for n in range(4)])
    spool.done("a", 1)
    spool.done("a", 3, sure=False)
    spool.done("b", 4)
    spool.set_consumers(["a", "b"], renamed={"a": "b", "b": "a"})
    spool.go_back("a")
    spool.go_back("b")
    assert (values(spool, "a"), values(spool, "b")) == ([], [1, 2, 3])


def test_a_subscriber_is_woken_by_what_is_new(spool):
    flag = Flag()
    spool.subscribe("a", flag)
    spool.put([frame(1)])
    assert flag.is_set()


def test_a_second_daemon_on_the_same_file_is_refused(spool, path):
    with pytest.raises(SpoolUnusable, match="another oemgateway is running"):
        Spool(path)


def test_a_file_of_a_newer_version_is_left_to_that_one(spool, path):
    spool.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(SpoolUnusable, match="newer"):
        Spool(path)
    assert path.read_bytes() == before


def test_a_queue_that_lost_its_content_is_said_to_be_empty_and_a_new_one_is_not(spool, opened, path, caplog):
    assert "empty" not in caplog.text
    spool.put([frame(1)])
    spool.close()
    path.write_bytes(b"")
    assert values(opened(), "a") == []
    assert f"{path} is empty: if readings waited in it, they are lost; a new queue begins" in caplog.text


def test_nobody_else_may_read_the_queue(spool, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


BACK_TO_THE_THIRD_VERSION = """
    INSERT INTO counters SELECT 'fixed', max(sent) FROM cursors;
    ALTER TABLE cursors DROP COLUMN sent; ALTER TABLE cursors DROP COLUMN boot;
    ALTER TABLE cursors DROP COLUMN blind; ALTER TABLE cursors DROP COLUMN pins; DROP TABLE boots;
    DROP TABLE IF EXISTS late;
    PRAGMA user_version=3;
"""


BACK_TO_THE_FIRST_VERSION = f"""
    {BACK_TO_THE_THIRD_VERSION}
    DROP INDEX held; ALTER TABLE frames DROP COLUMN held;
    DROP INDEX whose; ALTER TABLE frames DROP COLUMN whose;
    ALTER TABLE refused DROP COLUMN undated; DROP INDEX refused_by;
    PRAGMA user_version=1
"""


def test_a_file_of_the_first_version_is_brought_up_to_date(spool, opened, path):
    spool.put([frame(1)])
    spool.close()
    with sqlite3.connect(path) as db:
        db.executescript(BACK_TO_THE_FIRST_VERSION)
    db.close()
    spool = opened()
    spool.put([frame(2)])
    assert values(spool, "a") == [1, 2]


def test_a_file_of_the_third_version_keeps_all_that_is_in_it(spool, opened, path):
    # given frames that wait, were refused and dropped, and one that somebody began to send
    spool.set_consumers(["a", "b"])
    spool.put([frame(n) for n in range(5)])
    refuse(spool, "a", 1, "no")
    spool.done("b", 2)
    spool.mark_sending("a", 3)
    spool._contents.dropped = 7
    spool.put([frame(5)])
    spool.close()
    # when the file is one of that version
    with sqlite3.connect(path) as db:
        db.executescript(BACK_TO_THE_THIRD_VERSION)
        assert dict(db.execute("SELECT * FROM counters")) == {"dropped": 7, "fixed": 3}
    db.close()
    spool = opened("a", "b")
    # then it is all there
    assert (values(spool, "a"), values(spool, "b")) == ([1, 2, 3, 4, 5], [2, 3, 4, 5])
    assert [refused.frame for refused in spool.refused("a")] == [frame(0)]
    assert spool.dropped == 7
    # and nobody knows which of it was sent
    assert (spool.sent("a")[0], spool.sent("b")[0]) == (6, 6)


def test_what_waits_can_be_looked_through_also_what_the_disk_has_not_taken(spool):
    spool.set_consumers(["a", "b"])
    spool.put([frame(1), frame(2)])
    spool.done("a", spool.peek("a", 1)[0][0])
    real, spool._contents.db = spool._contents.db, Disk(spool._contents.db, sqlite3.SQLITE_BUSY)
    spool.put([frame(3)])
    spool._contents.db = real
    found = spool.waiting()
    assert [kept.frame.values[0] for kept in found] == [1, 2, 3]
    assert spool.waiting(after=found[0].number, limit=1) == found[1:2]
    assert spool.waiting(who="a", limit=2) == found[1:]
    assert spool.standing("a") == (2, 0, 0, frame(2))
    assert spool.standing("b") == (3, 0, 0, frame(1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_frame_that_no_file_can_hold_is_refused_and_is_nobody_elses_trouble(spool, bad):
    with pytest.raises(ValueError, match="finite numbers expected"):
        spool.put([frame(1), frame(bad)])
    with pytest.raises(UnicodeEncodeError):
        spool.put([replace(frame(1), names=("\ud800",))])
    spool.put([frame(2)])
    assert values(spool, "a") == [2]
