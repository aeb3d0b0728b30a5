from __future__ import annotations

import os
import socket

import pytest

from gateway.process.notify import Supervisor
from tests.simulators.supervisor import FakeSupervisor


@pytest.fixture
def fake(tmp_path):
    with FakeSupervisor(tmp_path / "notify") as fake:
        yield fake


def test_it_is_told_in_the_words_of_systemd(fake):
    supervisor = Supervisor({**fake.environment, "WATCHDOG_USEC": "4000000"})
    supervisor.ready()
    supervisor.reloading()
    supervisor.alive()
    supervisor.stopping()
    assert fake.next() == {"READY": "1"}
    reloading = fake.next()
    assert (reloading["RELOADING"], reloading["MONOTONIC_USEC"].isdecimal()) == ("1", True)
    assert fake.next() == {"WATCHDOG": "1"}
    assert fake.next() == {"STOPPING": "1"}


def test_an_abstract_socket_will_do():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(60)
        name = f"oemgateway-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        Supervisor({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert listening.recv(100) == b"READY=1"


def test_what_the_daemon_starts_is_told_nothing_of_it():
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    Supervisor(environment)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("environment", "patience"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_how_long_it_waits_for_a_sign_of_life(environment, patience):
    assert Supervisor(dict(environment)).patience == patience


def test_one_that_does_not_look_gets_no_sign_of_life(fake):
    supervisor = Supervisor(dict(fake.environment))
    supervisor.alive()
    supervisor.ready()
    assert fake.next() == {"READY": "1"}


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_without_one_there_is_nobody_to_tell(address):
    Supervisor({"NOTIFY_SOCKET": address}).ready()
