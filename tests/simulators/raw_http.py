"""A server that answers every request with whatever bytes a test gives it, and hangs up."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

PIECE = 65536


@dataclass
class RawHttp:
    """`with RawHttp() as server:` listens at `server.url`. `said` makes the pieces of each answer.

    `sent` counts the bytes that the other end took; `released` ends what an answer waits for.
    """

    said: Callable[[], Iterable[bytes]] = tuple
    sent: int = 0
    requests: list[bytes] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def answers(self, *pieces: bytes) -> None:
        """Answer with these bytes from now on."""
        self.said = lambda: pieces

    def trickling(self, before: bytes, piece: bytes, every: float) -> None:
        """Answer with a beginning, and then with a piece every so many seconds, without an end."""

        def said() -> Iterator[bytes]:
            yield before
            while not self.released.wait(every):
                yield piece

        self.said = said

    def wait(self, connection: socket.socket) -> None:
        """Keep a connection open and answer nothing."""
        with connection:
            self.released.wait()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
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
            self.requests.append(head + b"\r\n\r\n" + body)
            for piece in self.said():
                connection.sendall(piece)
                self.sent += len(piece)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(5)
            while connection.recv(PIECE):
                pass
