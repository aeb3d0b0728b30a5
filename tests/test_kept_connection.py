"""A connection is kept no longer than the server says that it keeps it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gateway.dispatchers.http_client.session import Answer, Server


class KeepingServer(ThreadingHTTPServer):
    """Says `keep` of how long it keeps a connection, as Apache only to a client that wants it kept.

    `clients` are the ports from which it was asked.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keep = ""
        self.clients: list[int] = []

    def handle_error(self, *_: object) -> None:
        """Say nothing: the gateway ends a connection with a reset."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KeepingServer

    def do_GET(self) -> None:
        self.server.clients.append(self.client_address[1])
        self.send_response(200)
        if self.server.keep and self.headers["Connection"] == "keep-alive":
            self.send_header("Keep-Alive", self.server.keep)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server():
    with KeepingServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("keep", "connections"),
    [
        ("", 1),
        ("timeout=60, max=100", 1),
        ("max=100", 1),
        ("timeout=later", 1),
        ("timeout=1, max=100", 2),
        ("timeout=0", 2),
    ],
)
def test_one_that_the_server_is_about_to_close_is_not_used_again(server, keep, connections):
    # given
    server.keep = keep
    far = Server(f"http://127.0.0.1:{server.server_port}", "key", None, 10)
    # when
    answers = [far.ask("GET", "/"), far.ask("GET", "/")]
    # then
    assert [isinstance(answer, Answer) and answer.text for answer in answers] == ["ok", "ok"]
    assert len(set(server.clients)) == connections
    far.close()
