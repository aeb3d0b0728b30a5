from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import stat
import threading
import time
from socketserver import TCPServer

import pytest

from gateway.commands import foreground
from gateway.process import threaded_server
from gateway.process.control import Control, ask
from tests import gateway_thread
from tests.gateway_process import GatewayProcess, state
from tests.ports import free_port
from tests.waiting import wait_until


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control"


@pytest.fixture
def control(path):
    def double(number: int) -> int:
        if number > 10:
            raise OSError("no room")
        return 2 * number

    def broken() -> None:
        raise OverflowError("too large")

    control = Control(path, {"status": lambda: {"frames": 3}, "double": double, "broken": broken})
    yield control
    control.close()


def test_it_answers_what_it_is_asked(control, path):
    assert ask(path, "status") == {"frames": 3}
    assert ask(path, "status") == {"frames": 3}


def test_without_a_descriptor_for_a_client_it_pauses_and_then_serves_it(control, path, monkeypatch):
    tries: list[float] = []

    def accept(_: TCPServer) -> object:
        tries.append(time.monotonic())
        if len(tries) == 1:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accepted(control)

    accepted = TCPServer.get_request
    monkeypatch.setattr(TCPServer, "get_request", accept)
    assert ask(path, "status") == {"frames": 3}
    assert len(tries) == 2
    assert tries[1] - tries[0] > 0.5


@pytest.mark.parametrize("hangs", [False, True])
def test_once_its_thread_has_died_or_hangs_it_is_gone(control, path, monkeypatch, hangs):
    monkeypatch.setattr(threaded_server, "_HANGS", 0.1)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    end = threading.Event()

    def fail() -> None:
        if not hangs:
            raise MemoryError
        end.wait()  # as the start of a thread for which there is no memory

    monkeypatch.setattr(control, "handle_request", fail)
    assert not control.is_gone
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
        wait_until(lambda: control.is_gone)
    end.set()


def test_the_gateway_makes_it_anew_and_says_that_it_died(tmp_path, monkeypatch, caplog):
    file = tmp_path / "oemgateway.conf"
    lines = f"[[push]]\ntype = tcp\nport = {free_port()}\n"
    file.write_text(f"{state(tmp_path)}[listeners]\n{lines}[dispatchers]\n[[log]]\ntype = log\n")
    monkeypatch.setattr(threading, "excepthook", foreground.log_death)
    with gateway_thread.running(file) as gateway:
        assert gateway._control
        monkeypatch.setattr(gateway._control, "handle_request", lambda: 1 // 0)
        with pytest.raises(OSError):
            ask(file.parent / "state" / "control", "status", patience=0.2)
        wait_until(lambda: gateway_thread.answers(file))
    assert "the thread control has died: ZeroDivisionError" in caplog.text


def test_it_says_what_it_can_answer(control, path):
    assert ask(path, "humidity") == {
        "error": "humidity is not a question this daemon answers: status, double, broken"
    }


def test_a_question_may_have_arguments(control, path):
    assert ask(path, "double", number=4) == 8


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('double {"number": 11}', "no room"),
        ('double {"humidity": 4}', "^double: arguments expected: number$"),
        ("double", "^double: arguments expected: number$"),
        ('status {"number": 4}', "^status: arguments expected: none$"),
        ("double [4]", "^arguments: a JSON object expected$"),
        ("double {", "^arguments: a JSON object expected$"),
        ("broken", "a fault in the program: OverflowError"),
        ("double " + "[" * 100_000, "^arguments: a JSON object expected$"),
        ("double " + "4" * 2_000_000, "^arguments: a JSON object expected$"),
        ("double " + '{"number": %s}' % ("4" * 5000), "^no room$"),
    ],
)
def test_what_cannot_be_answered_is_said_and_the_next_is_answered(control, path, line, error):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(line.encode() + b"\n")
            with client.makefile() as lines:
                assert re.search(error, json.loads(lines.readline())["error"])
    assert ask(path, "status") == {"frames": 3}


def test_only_owner_and_group_may_ask(control, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_client_that_hangs_up_harms_nobody(control, path):
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert ask(path, "status") == {"frames": 3}


def test_clients_that_say_nothing_hold_up_neither_the_others_nor_the_end(path):
    control = Control(path, {"status": lambda: "ok"})
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(str(path))
        assert ask(path, "status") == "ok"
        control.close()
        assert not any(thread.name == "control" for thread in threading.enumerate())


def test_beyond_so_many_a_client_is_hung_up_on(path, monkeypatch):
    monkeypatch.setattr(Control, "CLIENTS", 2)
    control = Control(path, {"status": lambda: "ok"})
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.connect(str(path))
        second.connect(str(path))
        with pytest.raises(OSError, match=r"hung up|Broken pipe|reset"):
            ask(path, "status")
        first.close()
        wait_until(lambda: is_answered(path))
    control.close()


def is_answered(path):
    with contextlib.suppress(OSError):
        return ask(path, "status") == "ok"


def test_a_program_that_can_start_no_thread_goes_on_when_it_can(control, path, monkeypatch):
    with monkeypatch.context() as crowded:
        crowded.setattr("threading.Thread", no_thread)
        for _ in range(20):
            with pytest.raises(OSError, match=r"hung up|Broken pipe|reset"):
                ask(path, "status")
    assert ask(path, "status") == {"frames": 3}


def no_thread(**_):
    raise RuntimeError("can't start new thread")


def test_a_socket_left_behind_by_a_crash_is_replaced(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    control = Control(path, {"status": lambda: "ok"})
    assert ask(path, "status") == "ok"
    control.close()
    assert not path.exists()


def test_without_a_daemon_asking_fails(path):
    with pytest.raises(OSError):
        ask(path, "status")


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling", "pipe"])
def test_what_is_no_socket_stays_as_it_is(path, kind):
    # given something else under the name of the socket
    other = path.with_name("other")
    other.write_text("precious")
    {
        "file": lambda: path.write_text("precious"),
        "directory": path.mkdir,
        "link": lambda: path.symlink_to(other),
        "dangling": lambda: path.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(path),
    }[kind]()
    before = path.lstat()
    # then it is not taken away, and that is said
    with pytest.raises(OSError, match=r"something else is there: set another path: \[gateway\] socket"):
        Control(path, {})
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert other.read_text() == "precious"
    assert kind != "file" or path.read_text() == "precious"


@pytest.mark.parametrize("how", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_another_programs_socket_stays_as_it_is(path, how):
    with socket.socket(socket.AF_UNIX, how) as other:
        other.bind(str(path))
        if how == socket.SOCK_STREAM:
            other.listen()
        before = path.lstat().st_ino
        with pytest.raises(OSError, match=rf"(pid {os.getpid()}\) answers there: |another program's socket)"):
            Control(path, {})
        assert path.lstat().st_ino == before


@pytest.mark.needs_root
@pytest.mark.needs_root
def test_a_dead_socket_of_another_user_stays_as_it_is(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    os.chown(path, 1234, 1234)
    with pytest.raises(OSError, match="another user's socket is there"):
        Control(path, {})
    assert path.is_socket()


def test_what_has_come_in_its_place_is_not_taken_away_at_the_end(path):
    control = Control(path, {"status": lambda: "ok"})
    path.unlink()
    path.write_text("precious")
    control.close()
    assert path.read_text() == "precious"


def test_a_daemon_whose_socket_is_a_file_runs_and_says_so(tmp_path, written):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    file = written(
        f"[gateway]\nstate_dir = {tmp_path / 'state'}\nsocket = {precious}\n"
        f"[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n[dispatchers]\n[[log]]\ntype = log\n"
    )
    running = GatewayProcess(file)
    running.launch()
    wait_until(lambda: "no socket there" in running.log)
    assert running.stop() == 0
    assert running.log.count(str(precious)) == 1
    assert precious.read_text() == "precious"


def test_a_socket_that_is_removed_or_could_not_be_made_at_first_is_made_while_the_daemon_runs(
    tmp_path, written
):
    # given a place of the socket that is a directory at first
    place = tmp_path / "sockets" / "control"
    place.mkdir(parents=True)
    file = written(
        f"[gateway]\nstate_dir = {tmp_path / 'state'}\nsocket = {place}\n"
        f"[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n[dispatchers]\n[[log]]\ntype = log\n"
    )

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return bool(ask(place, "status")["pid"] == running.process.pid)
        return False

    running = GatewayProcess(file)
    running.launch()
    wait_until(lambda: "no socket there" in running.log)
    # when it can be made, and after it was removed, alone or with its directory, then it answers
    place.rmdir()
    wait_until(answers)
    place.unlink()
    wait_until(answers)
    shutil.rmtree(place.parent)
    place.parent.mkdir()
    wait_until(answers)
    assert running.log.count("no socket there") <= 2
    assert running.stop() == 0
    assert not place.exists()


def test_a_daemon_that_hangs_is_named_as_such(path):
    # given one that listens, and answers nobody
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen(1)
        # then who asks is told so in words, also when no more are let in
        for _ in range(4):
            with pytest.raises(TimeoutError, match=f"{path} runs, but does not answer: its disk may hang"):
                ask(path, "status", patience=0.05)
