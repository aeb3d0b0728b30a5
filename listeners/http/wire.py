"""HTTP/1.1 as far as devices speak it (RFC 9112): requests cut out of a byte stream, and answers to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus

LONGEST_HEAD = 16384
"""Bytes of a request line and its headers, twice what Apache takes in a request line."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The answer to a client that announces a body with `Expect: 100-continue`, as curl does."""

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([A-Z]{1,16}) (\S+) HTTP/1\.([0-9])")
_ORIGIN = re.compile(r"(?i)^https?://[^/?#]*")
"""What may stand before the path of a target (RFC 9112, 3.2.2)."""
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)")
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
"""What stands before the data of a chunk: its length, and perhaps an extension (RFC 9112, 7.1)."""
_LINE_END = re.compile(rb"\r?\n")
_TRAILERS = re.compile(rb"(?:[^\r\n]+\r?\n)*\r?\n")
"""What stands behind the last chunk: headers, which are not needed, and an empty line."""
_LONGEST_LINE = 1024
"""Bytes of the line before a chunk, and of the trailers."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came, its headers by their names in lower case.

    `keeps` tells whether the client keeps the connection for another one.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    keeps: bool = True

    @property
    def length(self) -> int:
        """How many bytes of body the headers announce."""
        return int(self.headers.get("content-length", "0"))

    @property
    def is_chunked(self) -> bool:
        """Whether its body comes in chunks, as programs send one whose length they do not know."""
        return "transfer-encoding" in self.headers

    @property
    def has_data(self) -> bool:
        """Whether it brings anything, or means to, as a device does; a browser or a port scan only looks."""
        return self.method == "POST" or "?" in self.target or bool(self.body)


class Refusal(ValueError):
    """Why a request is not taken: one sentence for its sender, the HTTP status, and a name to count it by.

    `has_data` is that of a request that cannot be read.
    """

    def __init__(
        self, message: str, status: int = 400, reason: str = "bad-data", *, has_data: bool = True
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.reason, self.has_data = message, status, reason, has_data


class Requests:
    """Cuts a byte stream, however it is segmented, into requests with a body of `longest_body` bytes at most.

    After a refusal it is unusable: where the next request begins is not known.
    """

    def __init__(self, longest_body: int) -> None:
        self._longest_body = longest_body
        self._unread = bytearray()
        self._head: Request | None = None
        self._chunks = bytearray()

    @property
    def begun(self) -> bool:
        """Whether a part of a request has come, and the rest has not."""
        return self._head is not None or bool(self._unread)

    @property
    def unfinished(self) -> str:
        """What has come of a request with data whose rest has not, "" if it may be a visitor's."""
        if self._head is not None and self._head.is_chunked:
            return f"{len(self._chunks)} bytes of a body in chunks and no end of it"
        if self._head is not None:
            return f"{len(self._unread)} of {self._head.length} bytes of a body"
        means_data = self._unread.startswith(b"POST ") or b"?" in self._unread
        return "no end of a request" if means_data else ""

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for permission to send the body it has announced."""
        return self._head is not None and self._head.headers.get("expect", "").lower() == "100-continue"

    def feed(self, data: bytes) -> None:
        """Add what has come."""
        self._unread += data

    def take(self) -> Request | Refusal | None:
        """Return the next request, None if it is not complete yet."""
        if self._head is None:
            head = self._take_head()
            if not isinstance(head, Request):
                return head
            if head.length > self._longest_body:
                return self._too_large()
            self._head = head
        head = self._head
        body = self._take_chunks() if head.is_chunked else self._take_body(head.length)
        if not isinstance(body, bytes):
            return body
        self._head = None
        return replace(head, body=body)

    def _take_body(self, length: int) -> bytes | None:
        return self._cut(length) if len(self._unread) >= length else None

    def _take_chunks(self) -> bytes | Refusal | None:
        """Return a body that came in chunks, once its last one is there."""
        while start := _CHUNK.match(self._unread, 0, _LONGEST_LINE):
            length = int(start[1], 16)
            if len(self._chunks) + length > self._longest_body:
                return self._too_large()
            behind, data_end = (_LINE_END if length else _TRAILERS), start.end() + length
            end = behind.match(self._unread, data_end, data_end + _LONGEST_LINE)
            if not end:
                is_wrong = len(self._unread) - data_end >= (2 if length else _LONGEST_LINE)
                return _not_chunks() if is_wrong else None
            self._chunks += self._cut(end.end())[start.end() : data_end]
            if not length:
                body = bytes(self._chunks)
                self._chunks.clear()
                return body
        is_wrong = b"\n" in self._unread or len(self._unread) >= _LONGEST_LINE
        return _not_chunks() if is_wrong else None

    def _too_large(self) -> Refusal:
        return Refusal(f"at most {self._longest_body} bytes expected in a body", 413, "too-large")

    def _take_head(self) -> Request | Refusal | None:
        if self._unread.startswith((b"\r", b"\n")):  # old clients send a line end after a body
            self._unread = self._unread.lstrip(b"\r\n")
        end = _END_OF_HEAD.search(self._unread, 0, LONGEST_HEAD)
        if end:
            return _parse_head(self._cut(end.end()))
        if len(self._unread) < LONGEST_HEAD:
            return None
        return Refusal(f"at most {LONGEST_HEAD} bytes expected before the body: use POST", 431, "too-large")

    def _cut(self, length: int) -> bytes:
        cut = bytes(self._unread[:length])
        del self._unread[:length]
        return cut


def _parse_head(data: bytes) -> Request | Refusal:
    # A header may be in any encoding, such as the name of a device in latin1; the first line may not.
    first, *lines = re.split(r"\r?\n", data.decode(errors="replace"))
    found = None if "\N{REPLACEMENT CHARACTER}" in first else _REQUEST_LINE.fullmatch(first)
    if not found:
        has_data = "?" in first or first.startswith("POST")
        return _not_http(
            "a line such as GET /input/post?csv=1 HTTP/1.1, in UTF-8, expected", has_data=has_data
        )
    method, target, minor = found.groups()
    headers: dict[str, str] = {}
    for line in filter(None, lines):
        header = _HEADER.fullmatch(line)
        if not header:
            return _not_http("headers such as Host: gateway expected")
        name, value = header[1].lower(), header[2].strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    coding = headers.get("transfer-encoding", "chunked").lower()
    if coding != "chunked" or {"transfer-encoding", "content-length"} <= headers.keys():
        return _not_http("a Content-Length, or Transfer-Encoding: chunked, expected for the body")
    if not _LENGTH.fullmatch(headers.get("content-length", "0")):
        return _not_http("one Content-Length in bytes expected")
    keeps = minor != "0" and "close" not in headers.get("connection", "").lower()
    return Request(method, _ORIGIN.sub("", target) or "/", headers, keeps=keeps)


def _not_chunks() -> Refusal:
    return _not_http(
        "chunks expected: each has a line with its length in hexadecimal digits, data and a line end"
    )


def _not_http(message: str, *, has_data: bool = True) -> Refusal:
    return Refusal(message, 400, "not-http", has_data=has_data)


def answer(status: int, text: str, wall: float, *, keeps: bool) -> bytes:
    """Return an answer as it goes over the wire; `wall` is the Unix time, for devices without a clock."""
    body = text.encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Date: {formatdate(wall, usegmt=True)}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        *(() if keeps else ("Connection: close",)),
        *(('WWW-Authenticate: Bearer realm="API KEY", error="invalid_apikey"',) if status == 401 else ()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
