"""One HTTP exchange at a time, limited in time and in size whatever the other end sends.

http.client has a timeout for each wait on a socket, and reads an answer to its end. Here one deadline covers
connecting, sending and receiving, and an answer has a largest size, both on the wire and decoded. No redirect
is followed and no cookie is kept. Any dispatcher over HTTP can use it.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
import zlib
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from gateway.flag import wait_readable

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


class Reply(NamedTuple):
    """An answer. `local`: it came from this machine."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    local: bool


class _Bounds:
    """The limits of an exchange: the time until its deadline, and the bytes that may still come."""

    def __init__(self, seconds: float, size: int) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._size = size
        self._wire = 2 * size + _OVERHEAD
        self.has_ended = False

    def left(self, longest: float = float("inf")) -> float:
        """Return the seconds until the deadline, at most `longest`; raises Overdue where it has passed."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise Overdue(f"no complete answer within {self._seconds:g} s")
        return min(left, longest)

    def came(self, count: int) -> None:
        """Count bytes that have come; raises Unusable where these are too many."""
        self._wire -= count
        self.has_ended = not count
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
        if not body or coding in ("", "identity"):  # an answer to HEAD has no body, whatever its headers say
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

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, bounds: _Bounds) -> None:
        self._raw = raw
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


class _Answer(http.client.HTTPResponse):
    def __init__(self, bounds: _Bounds, sock: socket.socket, **options: Any) -> None:  # noqa: ANN401  (passed on)
        super().__init__(sock, **options)
        self._bounds = bounds
        self.fp: io.BufferedReader = io.BufferedReader(_Wire(self.fp.detach(), sock, bounds))

    def begin(self) -> None:
        super().begin()
        if self._bounds.has_ended:  # http.client takes the end of the connection for that of the headers
            raise Unusable("its answer breaks off")

    def _read_status(self) -> tuple[str, int, str]:
        """Skip interim answers such as 103 Early Hints (RFC 9110, 15.2); http.client skips 100 alone."""
        while True:
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # private in http.client
            if not 101 < found[1] < 200:
                return found
            http.client.parse_headers(self.fp)

    def body(self) -> bytes:
        """Return the whole body, decompressed."""
        body = bytearray()
        while piece := self.read(_PIECE):
            body += piece
            self._bounds.check(len(body))
        if self.length:  # which http.client passes over
            raise Unusable("its answer breaks off")
        codings = self.headers.get_all("Content-Encoding", [])
        return self._bounds.decoded(bytes(body), ", ".join(codings).strip().lower())


class BoundedHttp(http.client.HTTPConnection):
    """Makes requests to the server of an address, over a connection that is kept; with TLS for https.

    `ca_file` has the certificates that are trusted, where they are not those of the machine.
    """

    def __init__(self, url: str, ca_file: Path | None) -> None:
        place = urlsplit(url)
        self._is_secure = place.scheme == "https"
        self.default_port = 443 if self._is_secure else 80
        super().__init__(place.hostname or "", place.port or self.default_port)
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._bounds: _Bounds
        self._is_local = False

    def open(self) -> None:
        """Read the certificates; the first request makes the connection. Raises OSError."""
        if self._is_secure or self._ca_file:
            self._context = ssl.create_default_context(cafile=self._ca_file)

    def connect(self) -> None:
        """Connect to the first address of the host that accepts it."""
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
                sock.settimeout(self._bounds.left(_CONNECT))  # for the handshake of TLS
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                sock.close()
                failure = error
            else:
                break
        else:
            raise failure
        self._is_local = sock.getsockname()[0] == sock.getpeername()[0]
        if self._is_secure and not self._context:
            self.open()
        secured = self._context if self._is_secure else None
        self.sock = secured.wrap_socket(sock, server_hostname=self.host) if secured else sock

    def send(self, data: Any) -> None:  # noqa: ANN401  (as http.client has it)
        """Send a part of a request."""
        if self.sock is not None:
            self.sock.settimeout(self._bounds.left())
        super().send(data)

    def exchange(  # noqa: PLR0913  (a request, and its limits)
        self,
        method: str,
        target: str,
        body: io.BytesIO | None,
        headers: Mapping[str, str | bytes],
        *,
        seconds: float,
        size: int,
    ) -> Reply:
        """Return the answer to a request, of which the body may have `size` bytes.

        Raises OSError: Overdue where `seconds` do not suffice, Unusable for what is too long or no answer;
        and BadStatusLine for what is not HTTP.
        """
        bounds = self._bounds = _Bounds(seconds, size)
        self.response_class = partial(_Answer, bounds)  # type: ignore[assignment]  # it is only called
        if self.sock is not None and wait_readable([self.sock], 0):
            self.close()  # the server has ended it meanwhile
        try:
            self.request(method, target, body, headers)
            answer = self.getresponse()
            assert isinstance(answer, _Answer)  # noqa: S101  (as it was made above)
            return Reply(answer.status, answer.headers, answer.body(), self._is_local)
        except Exception as error:
            self.close()
            bounds.left()  # whatever the error is, a deadline that has passed is the reason
            if isinstance(error, OSError | http.client.BadStatusLine):
                raise
            # What else the library raises for a malformed answer.
            raise Unusable(f"its answer cannot be read: {type(error).__name__}") from error
