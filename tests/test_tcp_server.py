"""A TCP port and its clients, over real connections."""

from __future__ import annotations

import socket

import pytest

from gateway.flag import wait_readable
from gateway.process.port import is_loopback
from listeners.ports.tcp_server import Client, TcpServer
from tests.ports import need_address


class Served:
    """A server on a free port that notes what its clients send, and why they were closed."""

    def __init__(self, host="127.0.0.1"):
        self.heard, self.closed = [], []
        self.server = TcpServer((host, 0), 100, self._welcome, lambda _, reason: self.closed.append(reason))
        self.server.open()

    def _welcome(self, connection, host):
        assert (connection.getblocking(), host) == (False, self.server.address[0])
        return Client(connection, host)

    def connect(self):
        """Return a connection that is accepted."""
        before = len(self.server.clients)
        client = socket.create_connection(self.server.address, timeout=60)
        self.turn()
        assert len(self.server.clients) in (before, before + 1)
        return client

    def turn(self, most=100):
        ready = wait_readable(self.server.sources(), 60)
        self.heard += [data for _, data in self.server.receive(ready, most)]
        self.server.admit(ready, 0.0)


@pytest.fixture
def serve(at_end):
    def serve(**settings):
        served = Served(**settings)
        at_end.callback(served.server.close)
        return served

    return serve


def test_what_clients_send_comes_in_pieces_that_leave_the_others_their_turn(serve):
    served = serve()
    with served.connect() as first, served.connect() as second:
        first.sendall(b"abcdef")
        second.sendall(b"123")
        wait_readable(served.server.clients[:1], 60)
        wait_readable(served.server.clients[1:], 60)
        served.turn(most=4)
        assert sorted(served.heard) == [b"123", b"abcd"]
        served.turn(most=4)
        assert served.heard[-1] == b"ef"


def test_a_client_that_only_stops_sending_can_be_answered_and_is_not_waited_for(serve):
    served = serve()
    with served.connect() as client:
        client.shutdown(socket.SHUT_WR)
        served.turn()
        (ended,) = served.server.clients
        assert (served.heard, ended.has_ended) == ([b""], True)
        assert ended not in served.server.sources()
        assert ended.send(b"bye")
        assert client.recv(10) == b"bye"
    served.server.hang_up(ended)
    served.server.hang_up(ended)
    assert (served.closed, ended.send(b"bye")) == ([""], False)


def test_a_wait_that_was_for_nothing_is_nothing(serve):
    served = serve()
    with served.connect():
        (client,) = served.server.clients
        assert list(served.server.receive({client.fileno()}, 100)) == []
        served.server.admit(set(wait_readable([client], 0)) | {served.server.sources()[0].fileno()}, 0)
        assert served.server.clients == [client]


def test_an_address_that_is_not_ours_is_an_os_error():
    with pytest.raises(OSError, match=r"192\.0\.2\.1:0: this machine has no such address"):
        TcpServer(("192.0.2.1", 0), 1, Client, lambda *_: None).open()


def test_it_can_listen_on_ipv6(serve):
    need_address("::1")
    served = serve(host="::1")
    with served.connect() as client:
        client.sendall(b"1")
        served.turn()
    assert served.heard == [b"1"]


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("gateway.local", False)],
)
def test_who_can_connect(host, alone):
    assert is_loopback(host) is alone
