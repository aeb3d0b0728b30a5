from __future__ import annotations

import socket

import pytest

from gateway.flag import wait_readable
from listeners.ports.tcp_server import Port, is_loopback


def test_a_port_tells_who_connects():
    port = Port("127.0.0.1", 0)
    port.open()
    assert port.accept() is None
    with socket.create_connection(port.address):
        assert wait_readable([port], 5) == {port.fileno()}
        connection, host = port.accept()
        assert (connection.getblocking(), host) == (False, "127.0.0.1")
        connection.close()
    port.close()
    port.close()


@pytest.mark.parametrize("use", [Port.fileno, Port.accept, lambda port: port.address])
def test_a_port_that_is_not_open_says_so(use):
    with pytest.raises(OSError, match=r"127\.0\.0\.1:8080: not open"):
        use(Port("127.0.0.1", 8080))


def test_an_address_that_is_not_ours_is_weather():
    with pytest.raises(OSError, match=r"192\.0\.2\.1:0: Cannot assign"):
        Port("192.0.2.1", 0).open()


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("gateway.local", False)],
)
def test_who_can_connect(host, alone):
    assert is_loopback(host) is alone
