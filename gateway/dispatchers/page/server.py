"""The HTTP server of the page: small, bounded in clients, bytes and time; GET and HEAD only."""

from __future__ import annotations

import io
import ipaddress
import re
import socket
import time
from base64 import b64decode
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from gateway.dispatchers.page.answer import Answer
from gateway.process.threaded_server import ThreadedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import WriteableBuffer

_LONGEST_LINE, _LONGEST_REQUEST = 4096, 16384
_IDLE, _PATIENCE = 5.0, 10.0
"""Seconds that a connection may be idle, and that a request or its answer may take."""
_TRIES, _FORGIVEN = 10, 60.0
"""Wrong passwords from one address, and the seconds after which they are forgotten."""
_ADDRESSES = 1000
"""Addresses that are remembered, with their wrong passwords."""
_ABSOLUTE = re.compile(r"(?i)https?://([^/?#]*)")
"""How a whole address begins, which may replace a path (RFC 9112, 3.2.2)."""
_PRIVATE = (".local", ".lan", ".home", ".localdomain", ".internal", ".home.arpa", ".fritz.box")
"""What may follow the name of this machine in a Host header: names that nobody can register."""

_SAID = (
    '<!doctype html>\n<html lang="en">\n<head><meta name="viewport" content="width=device-width">'
    '<meta name="color-scheme" content="light dark"><title>{reason}</title>{style}</head>\n'
    "<body><main><h1>{reason}</h1>\n<p>{code}: there is no answer. "
    '<a href="{top}">Load the page again</a></p></main></body>\n</html>\n'
)
_STYLE = '<link rel="stylesheet" href="{top}page.css">'
"""What a browser shows where there is no answer; the style sheet is behind the password, too."""

_DEEPEST = 9
"""Folders of an address that is not there, from which a link leads back."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Server(ThreadedServer):
    """Answers on a port, each connection in a thread of its own.

    `respond` returns the answer to a path and query, or None if there is nothing, or an iterator of
    bytes for a stream.
    """

    NAME = "page"
    CLIENTS, PER_ADDRESS = 64, 32
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        respond: Callable[[str, str], Answer | Iterator[bytes] | None],
        password: str = "",
        names: tuple[str, ...] = (),
    ) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.respond = respond
        self._password = password.encode()
        self._names = {"localhost", *(name.lower() for name in names)}
        self._tries: dict[tuple[str, str], tuple[float, int]] = {}
        super().__init__(address, Handler)
        self.start()

    def is_ours(self, host: str) -> bool:
        """Tell whether a Host header names this machine; other sites must not read the page."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.removeprefix("[").removesuffix("]").lower().removesuffix(".")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            machine = socket.gethostname().lower()
            return name == machine or name in {f"{machine.partition('.')[0]}{end}" for end in _PRIVATE}
        return True

    def lets_in(self, host: str, sent_by: str, authorization: str | None) -> int:
        """Return 200 if the client may look, 401 if it has to give the password, 429 after too many tries.

        A proxy's clients have one address, `host`, and differ in `sent_by`, which anybody can forge. So their
        tries count together, except for clients that have given the right password before.
        """
        if not self._password:
            return 200
        now = time.monotonic()
        with self._lock:
            who = (host, sent_by) if (host, sent_by) in self._tries else (host, "")
            since, tries = self._tries.get(who, (now, 0))
            if now >= since + _FORGIVEN:
                since, tries = now, 0
            if tries >= _TRIES:
                return 429
        if authorization is None:
            return 401
        is_right = compare_digest(_password(authorization), self._password)
        with self._lock:
            if is_right:
                self._tries.setdefault((host, sent_by), (now, 0))
            else:
                self._tries[who] = (since, tries + 1)
            if len(self._tries) > _ADDRESSES:
                del self._tries[next(iter(self._tries))]
        return 200 if is_right else 401


def _password(authorization: str) -> bytes:
    scheme, _, given = authorization.partition(" ")
    try:
        login = b64decode(given.strip(), validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        return b""
    return login.partition(b":")[2]


class _Beyond(OSError):
    """A request that is too long or too slow."""


class _Bounded(io.RawIOBase):
    """What a client sends, limited in bytes and in time; it ends if nothing of a request has come."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.renew()

    def renew(self) -> None:
        self._left = _LONGEST_REQUEST
        self._until = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        now = time.monotonic()
        patience = self._until - now if self._until else _IDLE
        if self._left <= 0 or patience <= 0:
            raise _Beyond
        self._connection.settimeout(patience)
        try:
            count = self._connection.recv_into(memoryview(buffer)[: self._left])
        except TimeoutError:
            if self._until:
                raise _Beyond from None
            return 0
        except ConnectionError:
            return 0
        self._until = self._until or now + _PATIENCE
        self._left -= count
        return count


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms for the acknowledgement of its head

    def setup(self) -> None:
        """Read within limits."""
        super().setup()
        self._bounded = _Bounded(self.connection)
        self.rfile = io.BufferedReader(self._bounded, _LONGEST_LINE)

    def handle_one_request(self) -> None:
        """Read a request and answer it."""
        self._bounded.renew()
        self.close_connection = True
        self.requestline, self.request_version, self.command = "", self.protocol_version, ""
        self.server.waits(self.connection, self.client_address[0])
        try:
            self.raw_requestline = self.rfile.readline(_LONGEST_LINE + 1)
            if not self.raw_requestline:
                return
            is_whole = len(self.raw_requestline) <= _LONGEST_LINE and self.parse_request()
        except _Beyond:
            self.server.count("too-long-or-slow")
            self.close_connection = True
            return
        self.server.begins(self.connection)
        if is_whole:
            self._answer()
        elif len(self.raw_requestline) > _LONGEST_LINE:
            self.send_error(414)

    def _answer(self) -> None:
        host, target = self.headers.get("Host", ""), self.path
        if whole := _ABSOLUTE.match(target):
            host, target = whole[1], target[whole.end() :]
        if self.command not in ("GET", "HEAD"):
            self.send_error(405)
        elif self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.send_error(400)
        elif not self.server.is_ours(host):
            self.send_error(421)
        elif (status := self._lets_in()) != 200:
            self.send_error(status)
        else:
            path, _, query = target.partition("?")
            found = self.server.respond(path or "/", query)
            if found is None:
                self.send_error(404)
            elif isinstance(found, Answer):
                self._send(found)
            else:
                self._stream(found)

    def _lets_in(self) -> int:
        sent_by = self.headers.get("X-Forwarded-For", "")
        return self.server.lets_in(self.client_address[0], sent_by, self.headers.get("Authorization"))

    def _send(self, answer: Answer) -> None:
        headers = dict(answer.headers)
        headers["Content-Type"] = answer.kind
        headers["Cache-Control"] = "private, max-age=31536000, immutable" if answer.lasts else "no-cache"
        if answer.status == 200:
            headers["ETag"] = answer.tag
            headers["Vary"] = "Accept-Encoding"
            if answer.tag in self.headers.get("If-None-Match", ""):
                self._head(304, headers)
                return
        body = answer.body
        if "gzip" in self.headers.get("Accept-Encoding", "") and answer.zipped is not None:
            body = answer.zipped
            headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(body))
        self._head(answer.status, headers)
        if self.command == "GET":
            self.wfile.write(body)

    def _stream(self, parts: Iterator[bytes]) -> None:
        self.close_connection = True
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "Connection": "close"}
        self._head(200, {**headers, "X-Accel-Buffering": "no"})  # nginx would keep events back for minutes
        if self.command == "GET":
            for part in parts:
                self.wfile.write(part)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.connection.settimeout(_PATIENCE)
        self.send_response(status)
        for name, text in {**HEADERS, **headers}.items():
            self.send_header(name, text)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Say in a line why there is no answer, and count it."""
        del message, explain  # they repeat what the client has sent
        reason = self.responses.get(code, ("", ""))[0] or str(code)
        self.server.count(reason)
        self.close_connection |= code not in (401, 404)
        is_browser = "text/html" in getattr(self, "headers", {}).get("Accept", "")
        depth = getattr(self, "path", "/").partition("?")[0].count("/") - 1
        top = "../" * min(depth, _DEEPEST) or "./"  # a proxy may have put all of it into a folder
        style = "" if code in (401, 429) else _STYLE.format(top=top)
        said = _SAID if is_browser else "{code} {reason}\n"
        body = said.format(code=code, reason=reason, style=style, top=top).encode()
        kind = f"text/{'html' if is_browser else 'plain'}; charset=utf-8"
        headers = {"Content-Type": kind, "Content-Length": str(len(body))}
        headers["Cache-Control"] = "no-store"
        headers |= {"Connection": "close"} if self.close_connection else {}
        headers |= {"Allow": "GET, HEAD"} if code == 405 else {}
        headers |= {"WWW-Authenticate": 'Basic realm="oemgateway", charset="UTF-8"'} if code == 401 else {}
        headers |= {"Retry-After": str(round(_FORGIVEN))} if code == 429 else {}
        self._head(code, headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer, without the header that names the version of Python."""
        self.send_response_only(code, message)
        self.send_header("Date", self.date_time_string())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's name)
        """Log no requests."""
