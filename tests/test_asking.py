"""A command that only asks the gateway, typed by a user who may not read the file with the key."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway import paths
from gateway.commands import main
from gateway.present import asking
from gateway.process.control import Control
from tests.statuses import answer


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose default places are in a folder; its file is for somebody else to read."""
    file, socket = tmp_path / "etc.conf", tmp_path / "control"
    file.write_text("[gateway]\n")
    monkeypatch.setattr(asking, "DEFAULT_FILE", file)
    monkeypatch.setattr(paths, "SOCKET", socket)
    monkeypatch.setattr(paths, "STATE", tmp_path / "none")
    secret = {file, tmp_path / "other.conf"}
    opened = os.open

    def open_file(path, *arguments, **options):
        if Path(path) in secret:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", open_file)
    return SimpleNamespace(file=file, socket=socket, secret=secret, folder=tmp_path)


@pytest.fixture
def oemgateway(capsys):
    """Run the command and return its exit status, what it printed and what it complained of."""

    def run(*arguments):
        status = main.main(list(map(str, arguments)))
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def running(machine, at_end):
    """Have a gateway answer at the default place, which runs with a file."""

    def run(file):
        answers = {
            "status": lambda: answer(file=str(file)),
            "queue": lambda: {"dispatchers": {}, "dropped": 0, "bytes": 0},
        }
        at_end.enter_context(closing(Control(machine.socket, answers)))

    return run


def test_who_may_not_ask_is_told_so_with_a_status_of_its_own(machine, oemgateway, monkeypatch):
    def refuse(*_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gateway.process.control.ask", refuse)
    status, out, err = oemgateway("--config-file", machine.file, "status")
    assert (status, out) == (4, "")
    assert (
        err == f"oemgateway: {machine.socket}: a gateway may be running, but this user may not ask it: sudo\n"
    )


@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_who_may_ask_needs_no_file(machine, oemgateway, running, json_too):
    running(machine.file)
    status, out, err = oemgateway("--config-file", machine.file, "status", *json_too)
    assert (status, err) == (0, "")
    assert (json.loads(out)["pid"] == 812) if json_too else "is healthy, up 60 s, pid 812" in out
    assert oemgateway("--config-file", machine.file, "queue")[0] == 0


def test_a_file_that_is_missing_is_not_needed_either(machine, oemgateway, running):
    machine.file.unlink()
    machine.secret.clear()
    running("/etc/other.conf")
    assert oemgateway("--config-file", machine.file, "status")[0] == 0


def test_where_the_file_is_gone_nobody_is_told_to_start_a_gateway_that_may_run(machine, oemgateway):
    machine.secret.clear()
    machine.file.unlink()
    status, _, err = oemgateway("--config-file", machine.file, "status")
    assert status == 4
    assert err.startswith(f"oemgateway: {machine.file}: there is no such file: ")
    assert f"none answers at {machine.socket}, and the file may have named another socket" in err
    assert "service oemgateway start" not in err


def test_where_none_answers_nothing_is_claimed(machine, oemgateway):
    status, _, err = oemgateway("--config-file", machine.file, "status")
    assert status == 4, err
    assert err.count("\n") == 1
    assert f"this user may not read {machine.file}, which may name another socket: sudo" in err
    assert oemgateway("--config-file", machine.file, "values")[1:] == ("", err)
    # and what waits cannot be looked at without the file
    assert oemgateway("--config-file", machine.file, "queue")[0] == 78


def test_the_gateway_at_the_default_place_is_not_taken_for_one_with_another_file(
    machine, oemgateway, running
):
    running(machine.file)
    other = machine.folder / "other.conf"
    status, out, err = oemgateway("--config-file", other, "status")
    assert (status, out, err.count("\n")) == (4, "", 1), err
    assert f"{other}: cannot be read: Permission denied: put sudo before" in err
    assert oemgateway("--config-file", other, "queue")[0] == 78


def test_a_file_that_was_named_and_is_not_there_is_a_fault(machine, oemgateway, running):
    running(machine.file)
    for what in ("status", "queue"):
        status, _, err = oemgateway("--config-file", machine.folder / "typo.conf", what)
        assert status == 78
        assert "there is no such file" in err


@pytest.mark.parametrize("wrong", ["loglevel = VERBOSE", "lonely", "max_age = 1, 2", "[[deeper]]"])
def test_a_fault_beside_the_socket_does_not_hide_it(machine, oemgateway, at_end, wrong):
    # given a gateway that runs, and a file that has a fault since
    file, socket = machine.folder / "own.conf", machine.folder / "own"
    file.write_text(f"[gateway]\nsocket = {socket}\n{wrong}\n")
    at_end.enter_context(closing(Control(socket, {"status": lambda: answer(file=str(file))})))
    # then it is found
    assert oemgateway("--config-file", file, "status")[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        *("", "# [gateway]\r# socket = /x\r", "[gateway\nsocket = /x\n", "socket = /x\n[gateway]\n"),
        *("[gateway]\nsocket = x/y\n", "[gateway]\nsokcet = /x\n", '[gateway]\nsocket = "/x\n'),
        "[gateway]\nstate_dir = x/y\n",
    ],
)
def test_a_file_whose_faults_hide_the_socket_is_said_to(machine, oemgateway, running, text):
    file = machine.folder / "own.conf"
    file.write_text(text)
    hidden = f"{file}: it has faults, which hide where the socket is: oemgateway check"
    # when none answers at the default place, nobody is told to start one
    status, _, err = oemgateway("--config-file", file, "status")
    assert (status, "service oemgateway start" in err) == (4, False)
    assert hidden in err
    status, _, err = oemgateway("--config-file", file, "values")
    assert (status, "service oemgateway start" in err) == (1, False)
    assert hidden in err
    # and one that does with another file is not taken for this file's
    running(machine.file)
    assert hidden in oemgateway("--config-file", file, "status")[2]
