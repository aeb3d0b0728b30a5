"""A TCP port and the clients that are connected to it."""

from __future__ import annotations

import math
import select
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from gateway.process.port import exclusive, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(eq=False)
class Client:
    """A connection from the address `host`; at `deadline`, by the monotonic clock, it is closed.

    `has_ended` says that the client sends nothing more: it is not read again, but may still be answered.
    `unsent` is what the connection has no room for yet; until it has gone the client is not read.
    """

    socket: socket.socket
    host: str
    deadline: float = math.inf
    has_ended: bool = False
    unsent: bytes = b""

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.socket.fileno()

    def send(self, data: bytes) -> bool:
        """Send a few bytes; tell whether all went: they do not if the client has gone or does not read."""
        try:
            return self.socket.send(data) == len(data)
        except OSError:
            return False


C = TypeVar("C", bound=Client)


class TcpServer(Generic[C]):
    """A port (0: any that is free) on one of this machine's addresses, closed at first; nothing blocks.

    One turn: wait for the `sources` up to `patience`, take what `receive` yields, and `admit`. `welcome`
    makes the client of a new connection. Where that is one more than `limit`, the client silent for longest
    is closed. `closed` is called before every close, with the reason where there is one: "too-many-clients",
    "idle" at its deadline, or what `hang_up` was given.
    """

    def __init__(
        self,
        address: tuple[str, int],
        limit: int,
        welcome: Callable[[socket.socket, str], C],
        closed: Callable[[C, str], None],
    ) -> None:
        self._host, self._number = address
        self._limit = limit
        self._welcome = welcome
        self._closed = closed
        self._socket: socket.socket | None = None
        self._clients: dict[int, C] = {}  # by descriptor, the longest silent first
        self._room: select.epoll | None = None  # readable when a client that has `unsent` can be sent more

    def open(self) -> None:
        """Take the port; OSError if it is not free, or the address is not this machine's."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, self._number), family=family, backlog=128)
        except OSError as error:
            raise refused(self._host, self._number, error) from error
        self._socket.setblocking(False)
        self._room = select.epoll()

    def close(self) -> None:
        """Close all connections and the port; may be called twice."""
        for client in self.clients:
            self.hang_up(client)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._room is not None:
            self._room.close()
            self._room = None

    @property
    def exclusive(self) -> tuple[str, ...]:
        """What no other section can open at the same time, in words."""
        return exclusive(self._host, self._number)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port. OSError if it is not open."""
        host, number, *_ = self._opened().getsockname()
        return host, number

    @property
    def clients(self) -> list[C]:
        """The clients that are connected, the longest silent first."""
        return list(self._clients.values())

    def sources(self) -> list[object]:
        """Return what to wait for: the port and the clients. OSError if it is not open."""
        reading = (each for each in self._clients.values() if not each.has_ended and not each.unsent)
        return [self._opened(), self._room, *reading]

    def send(self, client: C, data: bytes) -> bool:
        """Send what is `unsent` and this, as far as there is room; False where the connection is broken."""
        had_no_room, whole = bool(client.unsent), client.unsent + data
        try:
            client.unsent = whole[client.socket.send(whole) :]
        except BlockingIOError:
            client.unsent = whole
        except OSError:
            return False
        assert self._room is not None  # noqa: S101  (there are clients)
        if client.unsent and not had_no_room:
            self._room.register(client.socket, select.EPOLLOUT)
        elif had_no_room and not client.unsent:
            self._room.unregister(client.socket)
        return True

    def patience(self, now: float) -> float | None:
        """Return the seconds until the first deadline, or None if there is none."""
        first = min((client.deadline for client in self._clients.values()), default=math.inf)
        return None if first == math.inf else first - now

    def receive(self, ready: set[int], most: int) -> Iterator[tuple[C, bytes]]:
        """Yield at most that many bytes of each client that has sent some, b"" of one that has ended."""
        for fd in ready & self._clients.keys():
            client = self._clients[fd]  # the caller closes none but the client that it was given
            try:
                data = client.socket.recv(most)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            client.has_ended = not data
            self._clients[fd] = self._clients.pop(fd)
            yield client, data

    def admit(self, ready: set[int], now: float) -> None:
        """Close the clients whose deadline has passed, and accept one that wants to connect."""
        for client in self.clients:
            if client.deadline <= now:
                self.hang_up(client, "idle")
        port = self._opened()
        if port.fileno() not in ready:
            return
        try:
            connection, (host, *_) = port.accept()
        except (BlockingIOError, ConnectionError):  # it is gone again
            return
        connection.setblocking(False)
        if len(self._clients) >= self._limit:
            self.hang_up(next(iter(self._clients.values())), "too-many-clients")
        self._clients[connection.fileno()] = self._welcome(connection, host)

    def hang_up(self, client: C, reason: str = "") -> None:
        """Close a connection; one that is closed already stays so."""
        if self._clients.pop(client.fileno(), None):
            self._closed(client, reason)
            client.socket.close()

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise OSError(f"{self._host}:{self._number}: not open")
        return self._socket
