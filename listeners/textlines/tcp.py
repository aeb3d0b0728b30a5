"""A TCP port that takes lines `node v1 v2 ...`, the wire format of the sockets of oem_gateway and emonhub."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from gateway.flag import wait_readable
from gateway.process.port import check_host
from gateway.settings import at_least, between, setting
from listeners.lines import LONGEST_LINE, Lines, Rejected
from listeners.ports.shared_key import check_key, is_key
from listeners.ports.tcp_listener import TcpListener
from listeners.ports.tcp_server import Client
from listeners.textlines.value_lines import Values, decode

if TYPE_CHECKING:
    import socket

    from gateway.flag import Flag
    from gateway.frame import Frame, Stamp
    from listeners.lines import Ignored

_READ = 4096  # bytes at most from one client before the next has its turn
_REQUEST = re.compile(r"(?!POST )[A-Z]+ [^?\s]+ [A-Z]+/[0-9]")
"""What browsers and port scans begin with: a request without data, of HTTP, RTSP or SIP."""
_BINARY = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""What other protocols, such as TLS, have in their first line; and what a device may send while it starts."""


@dataclass(eq=False)
class _Client(Client):
    """A connection, what it has sent of its next line, and whether it has sent the key.

    `is_visitor` says that it has sent nothing yet that a device would; None before its first line.
    """

    lines: Lines = field(default_factory=lambda: Lines(LONGEST_LINE))
    knows_key: bool = False
    is_visitor: bool | None = None


@dataclass(kw_only=True)
class Tcp(TcpListener[_Client]):
    """Listens for lines on a TCP port, from up to `clients` connections.

    If there is a `key`, each line must contain it, anywhere among its numbers, or follow a line of the
    key alone. A connection that is silent for `idle` seconds is closed, and so is the one that has been
    silent for longest when there would be more than `clients`. A client that does not begin like a device is
    counted as a visitor, and closed if it begins with a request.
    """

    port: int = setting(50011, was=("port_nb",), check=between(0, 65535))
    host: str = setting("127.0.0.1", was=("bind",), check=check_host)
    key: str | None = setting(None, check=check_key, secret=True)
    idle: float = setting(3600.0, check=at_least(1))

    NAMES_NODES: ClassVar = False

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for lines and return the frames they hold, a turn for every client that has sent something."""
        patience = self._server.patience(self.clock.monotonic())
        ready = wait_readable([stop, *self._server.sources()], patience)
        stamp, now = self.clock.now(), self.clock.monotonic()
        frames = []
        for client, data in self._server.receive(ready, _READ):
            client.deadline = now + self.idle
            lines = client.lines.feed(data)
            if data and client.is_visitor:
                client.is_visitor = False
            self._look(client, lines)
            if not client.is_visitor:
                frames += [self._frame(client, line, stamp) for line in lines]
            if client.has_ended or (client.is_visitor and _REQUEST.match(lines[0])):
                self._server.hang_up(client)
        self._server.admit(ready, now)
        return [frame for frame in frames if frame]

    def _welcome(self, connection: socket.socket, host: str) -> _Client:
        return _Client(connection, host, self.clock.monotonic() + self.idle)

    def _closed(self, client: _Client, reason: str) -> None:
        unfinished = client.lines.unfinished.decode("ascii", "replace")
        self._look(client, [unfinished])
        super()._closed(client, reason)
        if unfinished and not client.is_visitor:
            self.refuse("unterminated", self._shown(client, unfinished))

    def _look(self, client: _Client, lines: list[str]) -> None:
        """Tell by the first line and those that came with it whether this is a visitor, and count that."""
        if client.is_visitor is None and any(lines[:1]):
            is_odd = bool(_REQUEST.match(lines[0]) or _BINARY.search(lines[0]))
            client.is_visitor = is_odd and not any(
                isinstance(self._decode(client, line), Values) for line in lines[1:]
            )
            if client.is_visitor:
                self.counts["visitor"] += 1

    def _frame(self, client: _Client, line: str, stamp: Stamp) -> Frame | None:
        return self.frame(self._decode(client, line), stamp, self._shown(client, line))

    def _decode(self, client: _Client, line: str) -> Values | Ignored | Rejected:
        if self.key is None:
            return decode(line)
        if len(line) > LONGEST_LINE:
            return Rejected("too-long")
        tokens = line.rstrip(" ").split(" ")
        numbers = [token for token in tokens if not is_key(token, self.key)]
        has_key = len(numbers) < len(tokens)
        if not numbers:
            client.knows_key = True
        if not has_key and not client.knows_key and "".join(numbers):
            return Rejected("no-key")
        return decode(" ".join(numbers))

    def _shown(self, client: _Client, line: str) -> str:
        """Return what the log gets: where there is a key, a line may contain it, even misspelt."""
        return line if self.key is None else f"from {client.host}"
