"""A TCP port that listens."""

from __future__ import annotations

import contextlib
import ipaddress
import socket


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


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to a host of this name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
