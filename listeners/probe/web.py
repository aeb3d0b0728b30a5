"""A request to a web server, through a proxy or not, and how long its certificate is valid."""

from __future__ import annotations

import base64
import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from time import time as wall
from typing import TYPE_CHECKING

from gateway.paths import hidden
from gateway.process.port import joined
from gateway.version import VERSION
from listeners.probe.network import Kind, NotAllowed, Outcome

if TYPE_CHECKING:
    import socket

    from listeners.probe.network import Attempt

_DAY = 86400.0
_LARGEST = 1_000_000
"""Bytes of a page that are read."""
_HEAD, _TAIL = 65536, 4096
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
_INTERIM = re.compile(rb"(?:HTTP/1\.[01] 1(?!01)[0-9]{2}\b.*?\n\r?\n)+", re.DOTALL)
"""Answers such as 103 Early Hints, which the answer itself follows (RFC 9110, 15.2)."""
_EMPTY_LINE = re.compile(rb"\n\r?\n")
"""What ends the headers; small devices end lines with LF alone, which may be taken (RFC 9112, 2.2)."""
_LENGTH = re.compile(rb"(?i)\ncontent-length:[ \t]*([0-9]{1,12})")
_CHUNKED = re.compile(rb"(?i)\ntransfer-encoding:[^\r\n]*chunked")
_LAST_CHUNK = re.compile(rb"\r\n0+[ \t]*(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n\Z")
"""The end of an answer in chunks, with its trailers (RFC 9112, 7.1)."""
_SCHEMES = re.compile(rb"(?i)\nproxy-authenticate: *([a-z-]+)")
_WANTS_PASSWORD, _UNAUTHORIZED = 407, 401
_REFUSES = "the proxy refuses proxy_user and proxy_password"


@dataclass(frozen=True)
class Url:
    """An address of the web; `path` has its query."""

    is_https: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port, as a request has them."""
        place = joined(self.host, self.port)
        return place.removesuffix(":443" if self.is_https else ":80")


@dataclass(frozen=True)
class Way:
    """How web servers are asked: through a proxy, with a query that no cache answers, by which certificates.

    `login` is USER:PASSWORD for the proxy, "" for none.
    """

    proxy: tuple[str, int] | None = None
    login: str = field(default="", repr=False)
    fresh: bool = False
    ca_file: Path | None = None
    _trusted: list[tuple[object, ssl.SSLContext]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @property
    def context(self) -> ssl.SSLContext:
        """How a server of https is trusted: by the certificates that the file holds now.

        Authorities are renewed while this runs, and it takes long to read the system's own. Raises NotAllowed
        where `ca_file` cannot be read.
        """
        usual = ssl.get_default_verify_paths().cafile
        try:
            file = self.ca_file or usual
            found = Path(file).stat() if file else None
            state = found and (found.st_ino, found.st_mtime_ns, found.st_size)
            if not self._trusted or self._trusted[-1][0] != state:
                self._trusted[:] = [(state, ssl.create_default_context(cafile=self.ca_file))]
        except OSError as error:
            why = hidden(Path(file)) if file else ""
            words = f"PEM certificates expected: {why or error.strerror}"
            raise NotAllowed(f"{f'ca_file {self.ca_file}' if self.ca_file else usual}: {words}") from None
        return self._trusted[-1][1]

    @property
    def authorization(self) -> list[str]:
        """The header that names the user to the proxy (RFC 7617), if one is given."""
        encoded = base64.b64encode(self.login.encode()).decode()
        return [f"Proxy-Authorization: Basic {encoded}"] if self.login else []


class _Answered(OSError):
    """A proxy or server has answered with a status, and does no more."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


def probe_web(attempt: Attempt, way: Way, url: Url) -> Outcome:
    """Return the outcome of a request for a page, in the time to its last byte; raises OSError."""
    host, port = way.proxy or (url.host, url.port)
    sock, began = attempt.connect(host, port)
    days = None
    try:
        if url.is_https:
            if way.proxy:
                _open_tunnel(sock, way, url, attempt)
            sock = secured = way.context.wrap_socket(attempt.hold(sock), server_hostname=url.host)
            days = _days(secured)
        attempt.hold(sock).sendall(_request(url, way))
        code = _checked(way, _read(sock, attempt))
    except _Answered as answer:
        return Outcome(Kind.REFUSED, str(answer), code=answer.code, days=days)
    finally:
        sock.close()
    return Outcome(Kind.ANSWERED, ms=attempt.milliseconds(began), code=code, days=days)


def _request(url: Url, way: Way) -> bytes:
    path = url.path
    if way.fresh:
        path += f"{'&' if '?' in path else '?'}nocache={os.urandom(8).hex()}"
    by_proxy = way.proxy and not url.is_https
    whole = f"http://{url.authority}{path}" if by_proxy else path
    lines = [f"GET {whole} HTTP/1.1", f"Host: {url.authority}", f"User-Agent: oemgateway/{VERSION}"]
    lines += ["Accept: */*", "Connection: close"]
    lines += way.authorization if by_proxy else []
    lines += ["Cache-Control: no-cache", "Pragma: no-cache"] if way.fresh else []
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def _open_tunnel(sock: socket.socket, way: Way, url: Url, attempt: Attempt) -> None:
    place = joined(url.host, url.port)
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", *way.authorization, "", ""]
    attempt.hold(sock).sendall("\r\n".join(lines).encode())
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD:
        # Byte by byte: what follows belongs to TLS.
        if not (piece := attempt.hold(sock).recv(1)):
            break
        head += piece
    code = _checked(way, head)
    if code == _UNAUTHORIZED and way.login:  # tinyproxy's answer to a wrong password; 407 is for none
        raise _Answered(code, _REFUSES)
    if not 200 <= code < 300:
        raise _Answered(code, f"the proxy answers {code}")


def _checked(way: Way, head: bytes) -> int:
    """Return the status of an answer; _Answered where it is that of a proxy which wants to know who asks."""
    code = _status(head)
    if not way.proxy or code != _WANTS_PASSWORD:
        return code
    schemes = [scheme.decode().lower() for scheme in _SCHEMES.findall(head)]
    if schemes and "basic" not in schemes:
        raise _Answered(code, f"the proxy takes passwords by {' or '.join(schemes)}, and this by basic alone")
    if way.login:
        raise _Answered(code, _REFUSES)
    raise _Answered(code, "the proxy wants proxy_user and proxy_password")


def _read(sock: socket.socket, attempt: Attempt) -> bytes:
    """Return the beginning of an answer, which is read to its end or its largest size."""
    head, tail, count = b"", b"", 0
    while count < _LARGEST:
        piece = attempt.hold(sock).recv(_HEAD)
        if not piece:
            if _STATUS.match(head) and _is_whole(head, tail, count) is False:
                raise OSError("its answer breaks off")
            break
        count += len(piece)
        head += piece[: _HEAD - len(head)]
        tail = (tail + piece)[-_TAIL:]
        if interim := _INTERIM.match(head):
            head, count = head[interim.end() :], count - interim.end()
        if _is_whole(head, tail, count):
            break
    return head


def _is_whole(head: bytes, tail: bytes, count: int) -> bool | None:
    """Tell whether that many bytes are the whole answer by its own account; None if it does not say."""
    end = _EMPTY_LINE.search(head)
    if not end:
        return False
    before = head[: end.start()]
    if _status(head) in (204, 304):
        return True
    if _CHUNKED.search(before):
        return bool(_LAST_CHUNK.search(tail))
    length = _LENGTH.search(before)
    return count >= end.end() + int(length[1]) if length else None


def _status(head: bytes) -> int:
    found = _STATUS.match(head)
    if not found:
        raise OSError("what answers speaks no HTTP" if head else "it hangs up without an answer")
    return int(found[1])


def _days(sock: ssl.SSLSocket) -> float | None:
    ends = (sock.getpeercert() or {}).get("notAfter")
    return round((ssl.cert_time_to_seconds(str(ends)) - wall()) / _DAY, 2) if ends else None
