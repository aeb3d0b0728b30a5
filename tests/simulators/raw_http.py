"""A server that answers every request with whatever bytes a test gives it, and hangs up."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator

from tests.simulators.peer import Peer

PIECE = 65536


class RawHttp(Peer):
    """`with RawHttp() as server:` is at `server.url`. `said` makes the pieces of each answer.

    `sent` counts the bytes that the other end took.
    """

    def __init__(self) -> None:
        super().__init__(RawHttp._answer)
        self.url = f"http://127.0.0.1:{self.port}"
        self.said: Callable[[], Iterable[bytes]] = tuple
        self.sent = 0

    def answers(self, *pieces: bytes) -> None:
        """Answer with these bytes from now on."""
        self.said = lambda: pieces

    def trickling(self, before: bytes, piece: bytes, every: float) -> None:
        """Answer with a beginning, and then with a piece every so many seconds, without an end."""

        def said() -> Iterator[bytes]:
            yield before
            while not self.over.wait(every):
                yield piece

        self.said = said

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += (came := connection.recv(PIECE))
            if not came:
                return
        head, _, body = request.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        while len(body) < length:
            body += connection.recv(PIECE)
        self.seen.append(head + b"\r\n\r\n" + body)
        for piece in self.said():
            connection.sendall(piece)
            self.sent += len(piece)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(5)
        while connection.recv(PIECE):
            pass
