"""A TCP port that takes lines `node v1 v2 ...`, the wire format of the sockets of oem_gateway and emonhub."""

from __future__ import annotations

import contextlib
import math
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateway.flag import wait_readable
from gateway.frame import Frame
from gateway.plugin import Listener
from gateway.settings import at_least, between, setting
from listeners.lines import Ignored, Lines, Rejected, Tally

if TYPE_CHECKING:
    from gateway.flag import Flag
    from gateway.frame import Stamp

LONGEST_LINE = 1024

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
_NODE = re.compile(r"[0-9]{1,3}")


class Values(NamedTuple):
    """What a line said: the node id (0..255) and its values."""

    node: int
    values: tuple[float, ...]


def decode(line: str) -> Values | Ignored | Rejected:
    """Return what a line says; nothing that a line holds raises an exception.

    One space parts two numbers: a second would be the place of a value that is missing, and every value after
    it would move to another index. Spaces at the end of the line move nothing.
    """
    if len(line) > LONGEST_LINE:
        return Rejected("too-long")
    node, *tokens = line.rstrip(" ").split(" ")
    if not node and not tokens:
        return Ignored("blank")
    fault = _fault(node, tokens)
    return Rejected(fault) if fault else Values(int(node), tuple(map(float, tokens)))


def _fault(node: str, tokens: list[str]) -> str:
    """Return why these are not a node and its values, or ""."""
    for token in (node, *tokens):
        if not _NUMBER.fullmatch(token):
            return "not-finite" if _NOT_FINITE.fullmatch(token) else "not-a-number"
    if not _NODE.fullmatch(node) or int(node) > 255:
        return "node-out-of-range"
    if not tokens:
        return "no-payload"
    return "" if all(math.isfinite(float(token)) for token in tokens) else "not-finite"


_READ = 4096  # bytes at most from one client before the next has its turn


@dataclass
class _Client:
    """A connection, what it has sent of its next line, and when it was last heard."""

    socket: socket.socket
    lines: Lines
    heard: float

    def fileno(self) -> int:
        return self.socket.fileno()


@dataclass(kw_only=True)
class Tcp(Listener):
    """Listens on a TCP port for any number of connections, and of lines on each.

    A connection that has been silent for `idle` seconds is closed, and so is the one that has been silent for
    longest when there would be more than `clients`.
    """

    port: int = setting(50011, was=("port_nb",), check=between(0, 65535))
    host: str = setting("127.0.0.1", was=("bind",))
    idle: float = setting(3600.0, check=at_least(1))
    clients: int = setting(100, check=between(1, 500))

    def __post_init__(self) -> None:
        self.counts = Tally()
        self._server: socket.socket | None = None
        self._clients: dict[int, _Client] = {}  # the one silent for longest first

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        if self._server is None:
            raise OSError(f"{self.host}:{self.port}: not open")
        host, port, *_ = self._server.getsockname()
        return host, port

    def open(self) -> None:
        """Take the port; OSError where it is not free."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            self._server = socket.create_server((self.host, self.port), family=family, backlog=128)
        except OSError as error:
            raise OSError(f"{self.host}:{self.port}: {error.strerror}") from error
        self._server.setblocking(False)
        alone = " (this machine only: host = 0.0.0.0 lets others in)" if self.host == "127.0.0.1" else ""
        self.log.info("listens on %s:%d%s", *self.address, alone)

    def close(self) -> None:
        """Give the port back and hang up."""
        while self._clients:
            self._hang_up(next(iter(self._clients)))
        if self._server is not None:
            self._server.close()
            self._server = None

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for lines and return the frames they hold, a turn for every client that has sent something."""
        server = self._server
        if server is None:
            raise OSError(f"{self.host}:{self.port}: not open")
        ready = wait_readable([stop, server, *self._clients.values()], self._patience())
        stamp = self.clock.now()
        frames = [frame for fd in ready & self._clients.keys() for frame in self._hear(fd, stamp)]
        while (patience := self._patience()) is not None and patience <= 0:
            self._cut_off("idle")
        if server.fileno() in ready:
            self._accept(server)
        return frames

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):  # it has gone again
            connection, _ = server.accept()
            connection.setblocking(False)
            if len(self._clients) >= self.clients:
                self._cut_off("too-many-clients")
            self._clients[connection.fileno()] = _Client(
                connection, Lines(LONGEST_LINE), self.clock.monotonic()
            )

    def _hear(self, fd: int, stamp: Stamp) -> list[Frame]:
        client = self._clients[fd]
        try:
            data = client.socket.recv(_READ)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._hang_up(fd)
            return []
        client.heard = self.clock.monotonic()
        self._clients[fd] = self._clients.pop(fd)
        return [frame for line in client.lines.feed(data) if (frame := self._frame(line, stamp))]

    def _frame(self, line: str, stamp: Stamp) -> Frame | None:
        match decode(line):
            case Values(node, values):
                return Frame(str(node), values, stamp, source=self.name)
            case Rejected(reason):
                self._refuse(reason, line)
            case Ignored(kind):
                self.counts[kind] += 1
        return None

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
            self._refuse("unterminated", client.lines.unfinished.decode("ascii", "replace"))

    def _refuse(self, reason: str, line: str) -> None:
        self.counts.refuse(reason, line, self.log, self.clock.monotonic())
