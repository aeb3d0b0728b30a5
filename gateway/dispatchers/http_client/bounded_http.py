"""One HTTP exchange at a time, limited in time and in size whatever the other end sends.

requests and urllib3 have a timeout for each wait on a socket, and read and decode an answer to its end. Here
one deadline covers connecting, sending and receiving, and an answer has a largest size, both on the wire and
decoded. No redirect is followed and no cookie is kept. Any dispatcher over HTTP can use it.
"""

from __future__ import annotations

import http.client
import io
import math
import re
import socket
import struct
import time
import zlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from gateway.process.port import is_own

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import PreparedRequest

_CONNECT = 10.0
"""Seconds that one address of a host has to accept a connection, at most: they share the time."""
_OVERHEAD = 100_000
"""Bytes of headers and chunk sizes that an answer may have on the wire beyond twice its size."""
_PIECE = 65536
_KEPT = frozenset(
    {
        "age",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "keep-alive",
        "location",
        "retry-after",
        "transfer-encoding",
        "x-influxdb-version",
    }
)
"""The headers that are used here; requests fails on some values of others, and parses cookies."""
_KEEPS = re.compile(r"\btimeout=([0-9]{1,9})\b")
_MARGIN = 1.0
"""A connection is not used in these last seconds before the server closes it: the two would cross."""
_ABORT = struct.pack("ii", 1, 0)
"""For SO_LINGER: unsent data is dropped with its connection, even on a kill (socket(7)).

Otherwise the kernel goes on sending it for minutes, and a batch arrives that has been sent again since.
"""
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""The window bits that zlib needs for each encoding."""


class Unusable(OSError):
    """An answer came that is too long or cannot be read."""


class Overdue(TimeoutError):
    """The exchange was not complete at its deadline."""


class Reply(NamedTuple):
    """An answer. `local`: it came from this machine."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    local: bool


class _Bounds:
    """The limits of an exchange: the time until its deadline, and the bytes that may still come."""

    def __init__(self, seconds: float, size: int) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._size = size
        self._wire = 2 * size + _OVERHEAD
        self.local = False
        self.has_ended = False
        self.lacks = "complete answer"

    def left(self, longest: float = float("inf")) -> float:
        """Return the seconds until the deadline, at most `longest`; raises Overdue if it has passed."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise Overdue(f"no {self.lacks} within {self._seconds:g} s")
        return min(left, longest)

    def came(self, count: int) -> None:
        """Count bytes that have come; raises Unusable if these are too many."""
        self._wire -= count
        self.has_ended = not count
        if self._wire < 0:
            raise self.too_long()

    def check(self, size: int) -> None:
        """Raise Unusable if a body of that many bytes is too long."""
        if size > self._size:
            raise self.too_long()

    def too_long(self) -> Unusable:
        return Unusable(f"its answer is longer than {self._size // 1_000_000} MB")

    def decoded(self, body: bytes, coding: str) -> bytes:
        """Return a decompressed body; raises Unusable if that fails or the result is too long."""
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


_BOUNDS: ContextVar[_Bounds] = ContextVar("_BOUNDS")
"""The limits of this thread's exchange: urllib3 passes no arguments on to its connections."""


class _Wire(io.RawIOBase):
    """The bytes of an answer as they come from a socket, within the limits."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401  (as io.RawIOBase has it)
        bounds = _BOUNDS.get()
        self._sock.settimeout(bounds.left())
        count = self._raw.readinto(buffer)
        bounds.came(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:  # noqa: ANN401  (passed on)
        super().__init__(sock, *args, **options)
        self.fp: io.BufferedReader = io.BufferedReader(_Wire(self.fp.detach(), sock))

    def begin(self) -> None:
        super().begin()
        if _BOUNDS.get().has_ended:  # http.client takes the end of the connection for that of the headers
            raise Unusable("its answer breaks off")
        for name in {name.lower() for name in self.headers} - _KEPT:
            del self.headers[name]

    def _read_status(self) -> tuple[str, int, str]:
        """Skip interim answers such as 103 Early Hints (RFC 9110, 15.2); http.client skips 100 alone."""
        while True:
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # private in http.client
            if not 101 < found[1] < 200:
                return found
            http.client.parse_headers(self.fp)


class _Bounded:
    """What a connection of urllib3 does differently here; `_new_conn` makes the TCP connection."""

    host: str
    port: int
    sock: Any
    local = False
    response_class = _Answer

    def _new_conn(self) -> socket.socket:
        failure = OSError("it has no address")
        bounds = _BOUNDS.get()
        bounds.lacks = "address for its name (DNS)"
        found = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        bounds.left()
        bounds.lacks = "complete answer"
        for place, (family, kind, protocol, _, address) in enumerate(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                failure = error
                continue
            try:
                sock.settimeout(min(_CONNECT, bounds.left() / (len(found) - place)))
                sock.connect(address)
                sock.settimeout(bounds.left(_CONNECT))  # for the handshake of TLS
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
            except OSError as error:
                sock.close()
                failure = error
            else:
                self.local = is_own(family, sock.getpeername())
                return sock
        # As urllib3 has it: it ignores a connection that is reset, to read what was answered before.
        raise NewConnectionError(self, str(failure)) from failure  # type: ignore[arg-type]  # mixed in

    def send(self, data: Any) -> None:  # noqa: ANN401  (as http.client has it)
        if self.sock is not None:
            self.sock.settimeout(_BOUNDS.get().left())
        super().send(data)  # type: ignore[misc]  # the connection that this is mixed into has it
        _BOUNDS.get().local = self.local


class _HttpConnection(_Bounded, HTTPConnection):  # type: ignore[misc]  # urllib3 promises a class of its own
    pass


class _HttpsConnection(_Bounded, HTTPSConnection):  # type: ignore[misc]  # the same
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class BoundedHttp(HTTPAdapter):
    """Makes requests, over a connection that is kept as long as the server says that it keeps it."""

    _kept_until = math.inf

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  (passed on)
        """Use the connection classes above."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def exchange(self, request: PreparedRequest, *, verify: bool | str, seconds: float, size: int) -> Reply:
        """Return the answer to a request, of which the body may have `size` bytes.

        Raises OSError: Overdue if `seconds` do not suffice, Unusable for what is too long or no answer.
        """
        bounds = _Bounds(seconds, size)
        _BOUNDS.set(bounds)
        if time.monotonic() >= self._kept_until:
            self.close()
            self._kept_until = math.inf
        try:
            timeout = (bounds.left(_CONNECT), seconds)
            answer = self.send(request, stream=True, timeout=timeout, verify=verify)
            try:
                body = bytearray()
                while piece := answer.raw.read(_PIECE, decode_content=False):
                    body += piece
                    bounds.check(len(body))
            finally:
                answer.close()
            if keeps := _KEEPS.search(answer.headers.get("Keep-Alive", "")):
                self._kept_until = time.monotonic() + int(keeps[1]) - _MARGIN
            coding = answer.headers.get("Content-Encoding", "").strip().lower()
            return Reply(
                answer.status_code, answer.headers, bounds.decoded(bytes(body), coding), bounds.local
            )
        except OSError:
            bounds.left()  # whatever the error is, a deadline that has passed is the reason
            raise
        except Exception as error:
            bounds.left()
            # Errors of urllib3, and what else the libraries raise for a malformed answer.
            raise Unusable(f"its answer cannot be read: {type(error).__name__}") from error
