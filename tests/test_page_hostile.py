"""Clients that mean no good: the page refuses them and counts that, and nothing else is disturbed.

`HOSTILE` in the environment is how many connections and passwords there are (make peers: ten thousand).
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import logging
import os
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.dispatchers.page import server
from tests.gateway_process import GatewayProcess, state
from tests.pages import Present, get, raw, serving, value
from tests.ports import connect, free_port
from tests.waiting import wait_until

MANY = int(os.environ.get("HOSTILE", "400"))
GET = b"GET /api/now HTTP/1.1\r\nHost: localhost\r\n"
log = logging.getLogger("test")
SECRET = "s3cr3t-s3cr3t"


class House:
    """A gateway in a process of its own: a line comes every 20 ms, and the page is on a port."""

    def __init__(self, folder: Path) -> None:
        self.lines, self.page, self.sent = free_port(), free_port(), 0
        file = folder / "oemgateway.conf"
        file.write_text(
            f"{state(folder)}[listeners]\n[[push]]\ntype = tcp\nport = {self.lines}\n"
            f"[dispatchers]\n[[log]]\ntype = log\n[[page]]\ntype = page\nport = {self.page}\ninterval = 0\n"
        )
        self.gateway = GatewayProcess(file, traced=False)
        self._stop = threading.Event()

    @contextlib.contextmanager
    def living(self) -> Iterator[None]:
        """Have a line come every 20 ms; at the end each is delivered, once, and the page answers."""
        with self.gateway:
            feeder = threading.Thread(target=self._feed)
            feeder.start()
            try:
                wait_until(lambda: b"200 OK" in self.ask())
                yield
            finally:
                self._stop.set()
                feeder.join()
            wait_until(lambda: self.delivered() == self.sent, what="each line to be delivered")
            assert b"200 OK" in self.ask()
            assert "Traceback" not in self.gateway.log
            assert self.gateway.stop() == 0

    def _feed(self) -> None:
        with connect(self.lines) as client:
            while not self._stop.wait(0.02):
                self.sent += 1
                client.sendall(b"15 %d\n" % self.sent)

    def delivered(self) -> int:
        return self.gateway.status()["dispatchers"]["log"]["frames"]

    def ask(self, address: str = "127.0.0.9") -> bytes:
        """Return the answer to somebody who means well, at an address of their own."""
        with self.client(address) as client:
            client.sendall(GET + b"Connection: close\r\n\r\n")
            return b"".join(iter(lambda: client.recv(65536), b""))

    def client(self, address: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.page), 20, source_address=(address, 0))

    def refused(self) -> dict[str, float]:
        """Return what /metrics counts."""
        with self.client("127.0.0.9") as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        found = re.findall(r'oemgateway_page_refused_requests_total\{reason="([^"]*)"\} (\S+)', text)
        return {reason: float(count) for reason, count in found}

    @property
    def resident(self) -> float:
        """The memory of the gateway, in MB."""
        text = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s*(\d+)", text)[1]) / 1000

    @property
    def threads(self) -> int:
        return len([*Path(f"/proc/{self.gateway.process.pid}/task").iterdir()])


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def test_thousands_of_connections_are_closed_and_who_comes_from_elsewhere_is_served(house):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with house.living(), contextlib.ExitStack() as clients:
        before, threads = house.resident, house.threads
        waits = []
        for number in range(MANY):  # all of them stay open at this end
            with contextlib.suppress(ConnectionError):
                clients.enter_context(house.client("127.0.0.2")).sendall(b"GET ")
            if number % (MANY // 20) == 0:
                began = time.monotonic()
                assert b"200 OK" in house.ask()
                waits.append(time.monotonic() - began)
        wait_until(lambda: house.threads <= threads + 33)  # those that gave way end
        assert house.resident < before + 8
        assert house.refused()["too-many-clients"] >= MANY - 32 * (1 + MANY // 500)
    log.info("%d connections: others waited %.0f ms at most", MANY, max(waits) * 1000)


def test_who_sends_slowly_is_cut_off_after_ten_seconds_and_the_others_are_served(house):
    with house.living(), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(house.client("127.0.0.2")) for _ in range(32)]
        began, is_cut = time.monotonic(), set()
        for number in itertools.count():  # a header without end, a byte at a time
            for client in clients:
                try:
                    client.sendall(GET[number : number + 1] or b"x")
                except ConnectionError:
                    is_cut.add(client)
            if len(is_cut) == 32:
                break
            assert b"200 OK" in house.ask()
            time.sleep(0.5)
        assert 9 < time.monotonic() - began < 25
        assert house.refused()["too-long-or-slow"] == 32


def test_those_who_send_slowly_give_way_though_they_take_every_place(house):
    with house.living(), contextlib.ExitStack() as stack:
        for address in ("127.0.0.2", "127.0.0.3"):
            for _ in range(32):
                stack.enter_context(house.client(address)).sendall(b"GET ")
        for address in ("127.0.0.9", "127.0.0.2", "127.0.0.3"):
            for _ in range(20):
                assert b"200 OK" in house.ask(address)
        assert 0 < house.refused()["too-many-clients"] <= 64


def test_who_does_not_read_is_cut_off(monkeypatch):
    monkeypatch.setattr(server, "_PATIENCE", 5.0)
    many = [value(n, "x" * 500) for n in range(200)]
    with serving(Present(many)) as page, contextlib.ExitStack() as stack:
        for _ in range(32):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            stack.enter_context(client).connect(page.address)
            client.sendall((GET + b"\r\n") * 50)
        wait_until(lambda: page._server._clients.total() == 32)
        wait_until(lambda: page._server._clients.total() == 0)
        assert get(page, "/")[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "//etc/passwd", "/./page.css", "/page.css/..",
     "/%2e%2e/", "\\..\\", "http://localhost/etc/passwd", "*", "/chart/../api/now", "/page.css%00",
     "/api/now/", "/\u00fc"],
)  # fmt: skip
def test_only_paths_that_there_are_have_an_answer(path):
    with serving(Present([value()])) as page:
        answer = raw(page, b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
        assert b"root:" not in answer
        assert page._server.refused.total() == 1


def test_headers_of_a_megabyte_and_a_hundred_thousand_lines_end_the_connection():
    with serving(Present([value()])) as page:
        for junk in (b"X: " + b"x" * 1_000_000, b"X: 1\r\n" * 100_000, b"x" * 1_000_000):
            assert b"200 OK" not in raw(page, GET + junk + b"\r\n\r\n")
        assert page._server.refused == {"too-long-or-slow": 2, "Request Header Fields Too Large": 1}
        assert get(page, "/")[0] == 200


def test_a_password_that_is_tried_a_thousand_times_is_looked_at_ten_times():
    tries = max(1000, MANY // 10)
    with serving(Present([value()]), password=SECRET) as page:
        codes = [
            status_of(raw(page, GET + b"Authorization: Basic %s\r\n\r\n" % login(f"guess{n}")))
            for n in range(tries - 1)
        ]
        codes.append(status_of(raw(page, GET + b"Authorization: Basic %s\r\n\r\n" % login(SECRET))))
        assert codes == [401] * 10 + [429] * (tries - 10)
        assert page._server.refused == {"Unauthorized": 10, "Too Many Requests": tries - 10}
        good = raw(page, GET + b"Authorization: Basic %s\r\n\r\n" % login(SECRET), "127.0.0.3")
        assert status_of(good) == 200


def login(password: str) -> bytes:
    return base64.b64encode(f"me:{password}".encode())


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
