"""The id of a gateway, by which receivers know its readings and Home Assistant its devices."""

from __future__ import annotations

import pytest

import gateway.mqtt.gateway_id as module
from gateway.mqtt.gateway_id import gateway_id


@pytest.fixture
def restart(monkeypatch):
    """Return what forgets the ids of this process, as its end does."""

    def forget():
        monkeypatch.setattr(module, "_known", {})

    forget()
    return forget


def make_unreadable(file):
    """Put something in its place that cannot be read, also by root."""
    kept = file.read_text()
    file.unlink()
    file.mkdir()
    return kept


def test_it_is_made_once_and_the_same_after_a_restart(tmp_path, restart):
    first = gateway_id(tmp_path)
    restart()
    assert gateway_id(tmp_path) == first
    assert (tmp_path / "gateway.id").read_text() == f"{first}\n"


def test_one_that_cannot_be_read_is_not_replaced(tmp_path, restart):
    # given an id of an earlier run, which cannot be read now
    first, file = gateway_id(tmp_path), tmp_path / "gateway.id"
    kept = make_unreadable(file)
    restart()
    # when it is asked for, then it is not known, and its file is named
    with pytest.raises(OSError, match=r"gateway\.id: .+"):
        gateway_id(tmp_path)
    assert file.is_dir()
    # and it is the same as before once the file is back
    file.rmdir()
    file.write_text(kept)
    assert gateway_id(tmp_path) == first


def test_a_process_that_knows_it_needs_the_file_no_more_and_writes_it_again(tmp_path, restart):
    # given one that was read
    gateway_id(tmp_path)
    restart()
    first, file = gateway_id(tmp_path), tmp_path / "gateway.id"
    # when it cannot be read, is empty or gone, then it stays the same
    make_unreadable(file)
    assert gateway_id(tmp_path) == first
    file.rmdir()
    assert gateway_id(tmp_path) == first
    file.write_text("")
    assert gateway_id(tmp_path) == first
    # and so it is in the next run
    restart()
    assert gateway_id(tmp_path) == first


@pytest.mark.parametrize("damaged", [b"", b"\xff", b"0123", b"0" * (1 << 21)])
def test_a_damaged_file_is_replaced_which_is_said_once(tmp_path, restart, damaged, caplog):
    file = tmp_path / "gateway.id"
    file.write_bytes(damaged)
    first = gateway_id(tmp_path)
    restart()
    assert gateway_id(tmp_path) == first
    assert caplog.messages == [f"{file} is damaged: this is a new gateway to brokers and Home Assistant"]


def test_one_that_is_gone_is_said_where_brokers_know_it(tmp_path, restart, caplog):
    # given a gateway that was never connected to a broker, and one that was
    new, old = tmp_path / "new", tmp_path / "old"
    for state in (new, old):
        state.mkdir()
        (state / "queue.db").touch()
    (old / "mqtt-home-topics.json").write_text('["emon/#"]')
    # when neither has an id, then only the second one is told
    gateway_id(new)
    gateway_id(old)
    words = "this is a new gateway to brokers and Home Assistant"
    assert caplog.messages == [f"{old}/gateway.id is gone: {words}"]


def test_where_it_cannot_be_kept_it_lasts_as_long_as_the_process(tmp_path, restart):
    nowhere = tmp_path / "not mounted"
    first = gateway_id(nowhere)
    assert gateway_id(nowhere) == first
    # and the one that is found there later is the right one
    nowhere.mkdir()
    (nowhere / "gateway.id").write_text("0123456789ab\n")
    assert gateway_id(nowhere) == "0123456789ab"
    assert gateway_id(None) == gateway_id(None)
