"""A TCP port that takes lines `node v1 v2 ...`, the wire format of the sockets of oem_gateway and emonhub."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.flag import wait_readable
from gateway.frame import Frame
from gateway.settings import at_least, between, setting
from listeners.lines import Ignored, Lines, Rejected
from listeners.ports.shared_key import check_key, is_key
from listeners.ports.tcp_server import PortListener, receive
from listeners.textlines.value_lines import LONGEST_LINE, Values, decode

if TYPE_CHECKING:
    from gateway.flag import Flag
    from gateway.frame import Stamp

_READ = 4096  # bytes at most from one client before the next has its turn


@dataclass
class _Client:
    """A connection, what it has sent of its next line, when it was last heard, whether it knows the key."""

    socket: socket.socket
    host: str
    lines: Lines
    heard: float
    knows_key: bool = False

    def fileno(self) -> int:
        return self.socket.fileno()


@dataclass(kw_only=True)
class Tcp(PortListener):
    """Listens on a TCP port for any number of connections, and of lines on each.

    Where there is a `key`, each line has to have it among its numbers, wherever that is; or a line of nothing
    but the key stands before them. A connection that has been silent for `idle` seconds is closed, and so is
    the one that has been silent for longest when there would be more than `clients`.
    """

    port: int = setting(50011, was=("port_nb",), check=between(0, 65535))
    host: str = setting("127.0.0.1", was=("bind",))
    key: str | None = setting(None, check=check_key, secret=True)
    idle: float = setting(3600.0, check=at_least(1))
    clients: int = setting(100, check=between(1, 500))

    def __post_init__(self) -> None:
        super().__post_init__()
        self._clients: dict[int, _Client] = {}  # the one silent for longest first

    def close(self) -> None:
        """Give the port back and hang up."""
        while self._clients:
            self._hang_up(next(iter(self._clients)))
        super().close()

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for lines and return the frames they hold, a turn for every client that has sent something."""
        ready = wait_readable([stop, self._port, *self._clients.values()], self._patience())
        stamp = self.clock.now()
        frames = [frame for fd in ready & self._clients.keys() for frame in self._hear(fd, stamp)]
        while (patience := self._patience()) is not None and patience <= 0:
            self._cut_off("idle")
        if self._port.fileno() in ready:
            self._accept()
        return frames

    def _accept(self) -> None:
        if accepted := self._port.accept():
            connection, host = accepted
            if len(self._clients) >= self.clients:
                self._cut_off("too-many-clients")
            self._clients[connection.fileno()] = _Client(
                connection, host, Lines(LONGEST_LINE), self.clock.monotonic()
            )

    def _hear(self, fd: int, stamp: Stamp) -> list[Frame]:
        client = self._clients[fd]
        data = receive(client.socket, _READ)
        if data is None:
            return []
        if not data:
            self._hang_up(fd)
            return []
        client.heard = self.clock.monotonic()
        self._clients[fd] = self._clients.pop(fd)
        return [frame for line in client.lines.feed(data) if (frame := self._frame(client, line, stamp))]

    def _frame(self, client: _Client, line: str, stamp: Stamp) -> Frame | None:
        heard = decode(line) if self.key is None else self._decode_with_key(client, line, self.key)
        if isinstance(heard, Values):
            self.counts.count_missing(heard.values, self._shown(client, line), self.log)
        said = heard.frame(self.nodes, stamp, self.name) if isinstance(heard, Values) else heard
        if isinstance(said, Rejected):
            self._refuse(said.reason, client, line)
        if not isinstance(said, Frame):
            return None
        self.counts.take()
        return said

    def _decode_with_key(self, client: _Client, line: str, key: str) -> Values | Ignored | Rejected:
        if len(line) > LONGEST_LINE:
            return Rejected("too-long")
        tokens = line.rstrip(" ").split(" ")
        numbers = [token for token in tokens if not is_key(token, key)]
        knows = len(numbers) < len(tokens)
        if not numbers:
            client.knows_key = True
        if not knows and not client.knows_key and "".join(numbers):
            return Rejected("no-key")
        return decode(" ".join(numbers))

    def _patience(self) -> float | None:
        """Return how long the client silent for longest may go on so, or None where there is none."""
        client = next(iter(self._clients.values()), None)
        return None if client is None else client.heard + self.idle - self.clock.monotonic()

    def _cut_off(self, reason: str) -> None:
        self.counts[reason] += 1
        self._hang_up(next(iter(self._clients)))

    def _hang_up(self, fd: int) -> None:
        client = self._clients.pop(fd)
        client.socket.close()
        if client.lines.unfinished:
            self._refuse("unterminated", client, client.lines.unfinished.decode("ascii", "replace"))

    def _refuse(self, reason: str, client: _Client, line: str) -> None:
        self.counts.refuse(reason, self._shown(client, line), self.log, self.clock.monotonic())

    def _shown(self, client: _Client, line: str) -> str:
        """Return what the log gets: where there is a key it may be in the line, even misspelt."""
        return line if self.key is None else f"from {client.host}"
