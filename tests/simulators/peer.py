"""A server that does with each connection whatever a test likes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

Speak = Callable[[Any, socket.socket], object]
"""What is done with a connection of a server; when it returns, the connection is closed."""


class Peer:
    """A server at `port` of this machine, from its beginning; `over` is set at its end.

    Each connection has a thread of its own. `seen` is for the requests.
    """

    def __init__(self, speak: Speak, host: str = "127.0.0.1", port: int = 0) -> None:
        self.speak = speak
        self.seen: list[bytes] = []
        self.over = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, port), family=family, backlog=64)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self._listening.accept()[:1], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.speak(self, connection)


def answering(answer: bytes, delay: float = 0.0) -> Speak:
    """Return what answers the first bytes that come, after a while."""

    def speak(peer: Peer, connection: socket.socket) -> None:
        peer.seen.append(connection.recv(65536))
        peer.over.wait(delay)
        connection.sendall(answer)

    return speak


def silence(peer: Peer, connection: socket.socket) -> None:
    """Keep the connection open, and say nothing."""
    peer.over.wait()


def passing_on(port: int, refused: bytes = b"") -> Speak:
    """Return what passes on all to another port and back, and hangs up where something `refused` comes."""

    def speak(_: Peer, connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as there:
            connect_to_each_other(connection, there, refused)

    return speak


def connect_to_each_other(one: socket.socket, other: socket.socket, refused: bytes = b"") -> None:
    """Pass on what comes on either of two connections, until one of them ends or is sent what is refused."""

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and not (refused and refused in data):
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=copy, args=(other, one), daemon=True)
    back.start()
    copy(one, other)
    back.join()
