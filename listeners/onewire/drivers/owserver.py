"""An owserver as a tree of files, through pyownet."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from pyownet import protocol

from gateway.process.port import host_and_port, is_loopback, joined
from listeners.onewire.tree import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PORT = 4304
_ENCODING = ("utf-8", "surrogateescape")
"""How names are decoded and encoded, whatever they contain: an alias is as in its file."""

TIMEOUT = 20.0
"""Seconds that one answer may take while owserver reports that it is working; a silent one gets 2.

It takes up to 10 to find out that the host of a server behind it is off (measured with owserver 3.2p4).
"""

_CUT = (errno.ECONNRESET, errno.EPIPE)
"""The errors of a connection that ended early."""


class _Socket(socket.socket):
    """A connection on which one answer is read, within TIMEOUT."""

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Return what has come; raises TimeoutError after a silence, or after TIMEOUT."""
        if monotonic() > self.until:
            raise TimeoutError(f"no whole answer within {TIMEOUT:g} s")
        return super().recv(size, flags)

    def shutdown(self, how: int) -> None:
        """End the connection, and close it, which pyownet leaves to the garbage collector."""
        try:
            super().shutdown(how)
        finally:
            self.close()

    until = 0.0
    """The second of the monotonic clock at which the answer is to be there."""


class _Proxy(protocol._Proxy):  # type: ignore[misc]  # noqa: SLF001  (pyownet limits a silence, not a whole answer)
    """pyownet's client, with a limit to the time that an answer takes."""

    def _new_connection(self) -> protocol._OwnetConnection:
        connection = super()._new_connection()
        silence = connection.socket.gettimeout()
        limited = _Socket(fileno=connection.socket.detach())
        limited.settimeout(silence)
        limited.until = monotonic() + TIMEOUT
        connection.socket = limited
        return connection


@dataclass(frozen=True)
class Address:
    """Where an owserver listens: host, host:port or [IPv6]:port."""

    host: str
    port: int = PORT

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address of a text, or raise ValueError."""
        try:
            return cls(*host_and_port(text, PORT))
        except ValueError:
            raise ValueError(f"host or host:port expected, as localhost:{PORT}, not {text}") from None

    def __str__(self) -> str:
        return joined(self.host, self.port)


class Server:
    """The tree of an owserver; each request has its own connection, so it may restart in between."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._proxy: _Proxy

    def __str__(self) -> str:
        return f"owserver at {self._address}"

    @property
    def root(self) -> tuple[str, int]:
        """Its address and port; all addresses of this machine are one."""
        family, place = self._proxy._family, self._proxy._sockaddr  # noqa: SLF001  (where it has answered)
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(place)  # sends nothing
            own, address = probe.getsockname()[0], probe.getpeername()[0]
        return ("" if own == address or is_loopback(address) else address, place[1])

    def open(self) -> None:
        """Make sure that owserver answers."""
        try:
            self._proxy = self._ask(self._connected)
        except Unavailable as refusal:
            raise OSError(f"{self}: owserver refuses to be asked ({refusal})") from refusal

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        listed = self._request(protocol.MSG_DIRALL, path, protocol.FLG_BUS_RET).decode(*_ENCODING)
        return [entry.rpartition("/")[2] for entry in listed.split(",") if entry]

    def read(self, path: str) -> bytes:
        """Return a property's value."""
        return self._request(protocol.MSG_READ, path, size=protocol.MAX_PAYLOAD)

    def write(self, path: str, data: bytes) -> None:
        """Set a property."""
        self._ask(lambda: self._proxy.write(f"/{path}", data))

    def temperature_scale(self) -> str:
        """Return the scale that each request asks for, by its flags, whatever owserver is set to."""
        return "C"

    def _request(self, kind: int, path: str, flags: int = 0, size: int = 0) -> bytes:
        """Return the answer to a request about a path; pyownet's own methods take ASCII alone.

        A sweep needs twenty connections. One that is cut before its answer is made once more, or all sensors
        would lose their value. The start of a conversion, which is a write, is not repeated.
        """
        message = kind, f"/{path}\0".encode(*_ENCODING), flags, size

        def request() -> bytes:
            try:
                code, data = self._proxy.sendmess(*message)
            except (protocol.ShortRead, protocol.ConnError) as error:
                if isinstance(error, OSError) and error.errno not in _CUT:
                    raise
                code, data = self._proxy.sendmess(*message)
            if code < 0:
                raise protocol.OwnetError(-code, self._proxy.errmess[-code], path)
            return bytes(data)

        return self._ask(request)

    def _connected(self) -> _Proxy:
        """Return a client of the first address of the host at which an owserver answers."""
        failure: OSError = ConnectionError("no address")
        host, port = self._address.host, self._address.port
        for family, _, _, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            proxy = _Proxy(family, place)
            try:
                proxy.ping()
            except protocol.ConnError as error:
                failure = error
            else:
                proxy._init_errcodes()  # noqa: SLF001  (the words of its errors, as protocol.proxy reads them)
                return proxy
        raise failure

    def _ask(self, request: Callable[[], T]) -> T:
        """Return the answer; Unavailable if owserver reports an error, OSError if it does not answer.

        pyownet asserts what it expects of a server, and only some of its own errors are OSErrors. The number
        of owserver's error means nothing: it is 1 for a missing sensor as for anything else.
        """
        try:
            return request()
        except protocol.OwnetError as error:
            raise Unavailable(f"{error.filename}: {error.errno} {error.strerror}") from error
        except (OSError, protocol.Error, AssertionError, UnicodeError) as error:
            raise OSError(
                f"{self}: {_words(error)}; is it running there (systemctl status owserver)?"
            ) from error


def _words(error: Exception) -> str:
    """Return what failed, in words that are the same each time."""
    if isinstance(error, protocol.ShortRead):
        return "it hangs up before its answer ends"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "not what an owserver answers"
