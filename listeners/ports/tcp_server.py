"""A TCP port that listens, and what listeners at a port of their own have in common."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.plugin import Listener
from gateway.settings import between, setting
from listeners.counting import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

_EVERYWHERE = ("0.0.0.0", "::")


class Port:
    """A port (0: any that is free) on one of this machine's addresses, closed at first.

    Once open it can be waited for: it is readable when someone wants to connect.
    """

    def __init__(self, host: str, number: int) -> None:
        self._host = host
        self._number = number
        self._socket: socket.socket | None = None

    def __str__(self) -> str:
        return f"{self._host}:{self._number}"

    def open(self) -> None:
        """Take the port; OSError where it is not free, or the address is not ours."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, self._number), family=family, backlog=128)
        except OSError as error:
            raise OSError(f"{self}: {error.strerror}") from error
        self._socket.setblocking(False)

    def close(self) -> None:
        """Give the port back; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def holds(self) -> tuple[str, ...]:
        """Return what no other can open beside it, in words; IPv6 has ports of its own."""
        if not self._number:
            return ()
        port = f"{'IPv6 port' if ':' in self._host else 'port'} {self._number}"
        return (port if self._host in _EVERYWHERE else f"{port} of {self._host}",)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port. OSError where it is not open."""
        host, number, *_ = self._opened().getsockname()
        return host, number

    def fileno(self) -> int:
        """Return its descriptor; OSError where it is not open."""
        return self._opened().fileno()

    def accept(self) -> tuple[socket.socket, str] | None:
        """Return who wants to connect, as a socket that does not block and the host's address, or None."""
        with contextlib.suppress(BlockingIOError, ConnectionError):  # it has gone again
            connection, (host, *_) = self._opened().accept()
            connection.setblocking(False)
            return connection, host
        return None

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise OSError(f"{self}: not open")
        return self._socket


def receive(connection: socket.socket, most: int) -> bytes | None:
    """Return what a client has sent, b"" where it has gone, None where it has sent nothing yet."""
    try:
        return connection.recv(most)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to a host of this name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(kw_only=True)
class PortListener(Listener):
    """A listener to whose port others connect; `counts` is how often what was refused or cut off there."""

    port: int = setting(check=between(0, 65535))
    host: str = setting("127.0.0.1")

    LETS_OTHERS_IN: ClassVar = "host = 0.0.0.0 lets others in"

    def __post_init__(self) -> None:
        self.counts = Tally()
        self._port = Port(self.host, self.port)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        return self._port.address

    def holds(self) -> Iterable[str]:
        """Return the port."""
        return self._port.holds()

    def report(self) -> dict[str, Any]:
        """Return how often what was refused or cut off."""
        return {"faults": dict(self.counts)}

    def ailing(self) -> list[str]:
        """Return that all of late was refused, where that is so."""
        return self.counts.ailing(self.clock.monotonic())

    def open(self) -> None:
        """Take the port; OSError where it is not free."""
        self._port.open()
        alone = f" (this machine only: {self.LETS_OTHERS_IN})" if is_loopback(self.host) else ""
        self.log.info("listens on %s:%d%s", *self.address, alone)

    def close(self) -> None:
        """Give the port back."""
        self._port.close()
