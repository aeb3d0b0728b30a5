"""One HTTP exchange at a time, limited in time and in size whatever the other end sends.

http.client has a timeout for each wait on a socket, and reads an answer to its end. Here one deadline covers
connecting, sending and receiving, and an answer has a largest size, both on the wire and decoded. No redirect
is followed, no cookie kept and no proxy asked. Any dispatcher over HTTP can use it.
"""

from __future__ import annotations

import io
import select
import socket
import ssl
import time
import zlib
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CONNECT = 10.0
"""Seconds that one address of a host has to accept a connection."""
_OVERHEAD = 100_000
"""Bytes of headers and chunk sizes that an answer may have on the wire beyond twice its size."""
_PIECE = 65536
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""The window bits that zlib needs for each encoding."""


class Unusable(OSError):
    """An answer came that is too long or cannot be read."""


class Overdue(TimeoutError):
    """The exchange was not complete at its deadline."""


class _Bounds:
    """The limits of an exchange: the time until its deadline, and the bytes that may still come."""

    def __init__(self, seconds: float, size: int) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._size = size
        self._wire = 2 * size + _OVERHEAD

    def left(self, longest: float = float("inf")) -> float:
        """Return the seconds until the deadline, at most `longest`; raises Overdue where it has passed."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise Overdue(f"no complete answer within {self._seconds:g} s")
        return min(left, longest)

    def came(self, count: int) -> None:
        """Count bytes that have come; raises Unusable where these are too many."""
        self._wire -= count
        if self._wire < 0:
            raise self.too_long()

    def check(self, size: int) -> None:
        """Raise Unusable for a body of so many bytes that is too long."""
        if size > self._size:
            raise self.too_long()

    def too_long(self) -> Unusable:
        return Unusable(f"its answer is longer than {self._size // 1_000_000} MB")

    def decoded(self, body: bytes, coding: str) -> bytes:
        """Return a body decompressed; raises Unusable where it cannot be, or is too long then."""
        if coding in ("", "identity"):
            return body
        if coding not in _WINDOW:
            raise Unusable("its answer is encoded in a way that was not asked for")
        inflater = zlib.decompressobj(_WINDOW[coding])
        try:
            text = inflater.decompress(body, self._size + 1)
        except zlib.error:
            raise Unusable("its answer is damaged: it cannot be decompressed") from None
        self.check(len(text))
        if not inflater.eof:
            raise Unusable("its answer breaks off")
        return text


class _Wire(io.RawIOBase):
    """The bytes of an answer as they come from a socket, within the limits."""

    def __init__(self, sock: socket.socket, bounds: _Bounds) -> None:
        self._raw = sock.makefile("rb", buffering=0)  # which keeps the socket open until it is read
        self._sock = sock
        self._bounds = bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  (as io.RawIOBase has it)
        self._sock.settimeout(self._bounds.left())
        count = self._raw.readinto(buffer)
        self._bounds.came(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """A connected socket as HTTPConnection uses it, within the limits of the exchange."""

    def __init__(self, sock: socket.socket, bounds: _Bounds) -> None:
        self.bounds = bounds
        self.close = sock.close
        self._sock = sock

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self.bounds.left())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Wire(self._sock, self.bounds))

    def is_dropped(self) -> bool:
        """Tell whether something has come without a request: the end, or what belongs to no answer."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))


class BoundedHttp(HTTPConnection):
    """Makes requests to the server of an address, over a connection that is kept.

    `ca_file` has the certificates to trust; None: those of this machine. `local`: what it is connected to is
    on this machine.
    """

    sock: Any
    local = False
    _bounds: _Bounds

    def __init__(self, url: str, ca_file: Path | None) -> None:
        parts = urlsplit(url)
        self._is_https = parts.scheme.lower() == "https"
        self._ca_file = ca_file
        self.default_port = 443 if self._is_https else 80
        super().__init__(parts.hostname or "", parts.port or self.default_port)

    def connect(self) -> None:
        """Connect within the limits; called by `request`."""
        sock = self._reached()
        try:
            if self._is_https:
                sock.settimeout(self._bounds.left(_CONNECT))
                context = ssl.create_default_context(cafile=self._ca_file)
                sock = context.wrap_socket(sock, server_hostname=self.host.partition("%")[0])
            self.local = sock.getsockname()[0] == sock.getpeername()[0]
            self.sock = _Socket(sock, self._bounds)
        except BaseException:
            sock.close()
            raise

    def _reached(self) -> socket.socket:
        """Return a connection to the first of the host's addresses that accepts it."""
        failure = OSError("it has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM
        ):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                failure = error
                continue
            try:
                sock.settimeout(self._bounds.left(_CONNECT))
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def exchange(  # noqa: PLR0913  (the parts of one request)
        self,
        method: str,
        target: str,
        headers: Mapping[str, str | bytes],
        body: BinaryIO | None,
        *,
        seconds: float,
        size: int,
    ) -> tuple[HTTPResponse, bytes]:
        """Return the answer to a request, and its body, which may have `size` bytes.

        Raises HTTPException or OSError: Overdue where `seconds` do not suffice, Unusable for what is too long
        or no answer.
        """
        self._bounds = bounds = _Bounds(seconds, size)
        try:
            if self.sock is not None and self.sock.is_dropped():
                self.close()
            if self.sock is not None:
                self.sock.bounds = bounds
            with suppress(BrokenPipeError):  # it may have answered before it had everything
                self.request(method, target, body, headers)
            answer = self.getresponse()
            coding = answer.headers.get("Content-Encoding", "").strip().lower()
            return answer, bounds.decoded(_received(answer, bounds), coding)
        except Exception as error:
            self.close()
            bounds.left()  # whatever the error is, a deadline that has passed is the reason
            if isinstance(error, OSError | HTTPException):
                raise
            # What else http.client raises for a malformed answer.
            raise Unusable(f"its answer cannot be read: {type(error).__name__}") from error


def _received(answer: HTTPResponse, bounds: _Bounds) -> bytes:
    body = bytearray()
    while piece := answer.read(_PIECE):
        body += piece
        bounds.check(len(body))
    if answer.length:
        raise IncompleteRead(bytes(body), answer.length)
    answer.close()
    return bytes(body)
