"""What the listeners with a TCP port have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic

from gateway.diagnosis.tcp_port import examine_port
from gateway.process.port import check_host, is_loopback
from gateway.settings import between, setting
from listeners.ports.tcp_server import C, TcpServer
from listeners.tally import CountingListener

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine


@dataclass(kw_only=True)
class TcpListener(CountingListener, Generic[C]):
    """A listener with a TCP port, to which at most `clients` connect at a time."""

    port: int = setting(check=between(0, 65535))
    host: str = setting("127.0.0.1", check=check_host)
    clients: int = setting(100, check=between(1, 500))

    LETS_OTHERS_IN: ClassVar = "host = 0.0.0.0 lets others in"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._server = TcpServer((self.host, self.port), self.clients, self._welcome, self._closed)

    def _welcome(self, connection: socket.socket, host: str) -> C:
        """Return the client of a new connection."""
        raise NotImplementedError

    def _closed(self, client: C, reason: str) -> None:  # noqa: ARG002  (not every listener looks at the client)
        """Count a connection that was closed for a reason."""
        if reason:
            self.counts[reason] += 1

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port."""
        return self._server.address

    @property
    def exclusive(self) -> Iterable[str]:
        """The port."""
        return self._server.exclusive

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return whether its port can be had."""
        return examine_port(machine, self.host, self.port)

    def open(self) -> None:
        """Take the port; OSError if it is not free."""
        self._server.open()
        local = f" (this machine only: {self.LETS_OTHERS_IN})" if is_loopback(self.host) else ""
        self.log.info("listens on %s:%d%s", *self.address, local)

    def close(self) -> None:
        """Close all connections and the port."""
        self._server.close()
