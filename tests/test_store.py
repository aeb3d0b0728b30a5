"""The queue's file as it is opened: what is another program's is left alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.spool import Spool, SpoolUnusable
from tests.gateway_process import command


def database(path: Path, *, is_open: bool = False) -> None:
    """Make a database as another program does, with a log where that is left open."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE readings (at, value)")
    db.execute("INSERT INTO readings VALUES (1, 2)")
    db.commit()
    if is_open:
        there = {file: file.read_bytes() for file in path.parent.glob("queue.db-*")}
        db.close()
        for file, data in there.items():
            file.write_bytes(data)
    db.close()


FOREIGN = {
    "a database": database,
    "a database and its log": lambda path: database(path, is_open=True),
    "a text": lambda path: path.write_text("1, 21.5\n" * 3),
    "a long text": lambda path: path.write_text("Grüße\t€ \n" * 3000, encoding="utf-8"),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("in_memory", [True, False])
def test_what_is_another_programs_is_refused_and_left_as_it_is(tmp_path, make, in_memory):
    path = tmp_path / "queue.db"
    make(path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(SpoolUnusable, match=f"^{path} is .*: move it away, or name another directory"):
        Spool(path, in_memory=in_memory)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_daemon_says_so_in_one_line(tmp_path, written):
    path = tmp_path / "queue.db"
    database(path)
    file = written(
        f"[gateway]\nstate_dir = {tmp_path}\nsocket = {tmp_path}/control\n"
        "[listeners]\n[[push]]\ntype = tcp\nport = 5009\n[dispatchers]\n[[log]]\ntype = log\n"
    )
    done = command("--config-file", file)
    assert done.returncode == 1
    assert f"{path} is another program's database: move it away" in done.stderr
    assert "Traceback" not in done.stderr
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM readings").fetchall() == [(1, 2)]


def test_a_queue_whose_beginning_is_a_text_is_a_damaged_one(tmp_path):
    path = tmp_path / "queue.db"
    Spool(path).close()
    path.write_bytes(b"some text\n" * 410 + path.read_bytes()[4100:])
    spool = Spool(path)
    assert spool.trouble == ""
    spool.close()


@pytest.mark.parametrize("content", [b"", bytes(5000), b"SQLite format 3\0"])
def test_a_file_without_content_is_taken(tmp_path, content):
    path = tmp_path / "queue.db"
    path.write_bytes(content)
    spool = Spool(path)
    assert spool.trouble == ""
    spool.close()
