from __future__ import annotations

import socket
import stat

import pytest

from gateway.control import Control, ask


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control"


@pytest.fixture
def control(path):
    control = Control(path, {"status": lambda: {"frames": 3}})
    yield control
    control.close()


def test_it_answers_what_it_is_asked(control, path):
    assert ask(path, "status") == {"frames": 3}
    assert ask(path, "status") == {"frames": 3}


def test_it_says_what_it_can_answer(control, path):
    assert ask(path, "weather") == {"error": "weather is nothing this daemon answers: status"}


def test_only_owner_and_group_may_ask(control, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_client_that_hangs_up_harms_nobody(control, path):
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    assert ask(path, "status") == {"frames": 3}


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
