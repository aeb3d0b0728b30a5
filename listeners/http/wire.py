"""HTTP/1.1 as far as devices speak it (RFC 9112): requests cut out of a byte stream, and answers to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

LONGEST_HEAD = 16384
"""Bytes of a request line and its headers, twice of what Apache takes in a request line."""

GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What a client waits for that announces a body with `Expect: 100-continue`, as curl does."""

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([A-Z]{1,16}) (\S+) HTTP/1\.([0-9])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,15}")


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


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken: the HTTP status, a name to count it by, and one sentence for its sender."""

    status: int
    reason: str
    message: str


class Requests:
    """Cuts a byte stream, however it is segmented, into requests with a body of `longest_body` bytes at most.

    After a refusal nothing more can be cut out: where the next request would begin is not known.
    """

    def __init__(self, longest_body: int) -> None:
        self._longest_body = longest_body
        self._unread = bytearray()
        self._head: _Head | None = None

    @property
    def begun(self) -> bool:
        """Whether a part of a request is here, and the rest is not."""
        return self._head is not None or bool(self._unread)

    @property
    def waits_to_go_on(self) -> bool:
        """Whether the client wants to be told that the body it has announced is welcome."""
        return self._head is not None and self._head.headers.get("expect", "").lower() == "100-continue"

    def feed(self, data: bytes) -> None:
        """Add what has come."""
        self._unread += data

    def take(self) -> Request | Refusal | None:
        """Return the next request, None where it is not complete yet."""
        if self._head is None:
            head = self._take_head()
            if not isinstance(head, _Head):
                return head
            if head.length > self._longest_body:
                return Refusal(413, "too-large", f"at most {self._longest_body} bytes expected in a body")
            self._head = head
        method, target, headers, keeps, length = self._head
        if len(self._unread) < length:
            return None
        self._head = None
        return Request(method, target, headers, self._cut(length), keeps)

    def _take_head(self) -> _Head | Refusal | None:
        if self._unread.startswith((b"\r", b"\n")):  # old clients put a line end behind a body
            self._unread = self._unread.lstrip(b"\r\n")
        end = _END_OF_HEAD.search(self._unread, 0, LONGEST_HEAD)
        if end:
            return _parse_head(self._cut(end.end()))
        if len(self._unread) < LONGEST_HEAD:
            return None
        return Refusal(431, "too-large", f"at most {LONGEST_HEAD} bytes expected before the body: use POST")

    def _cut(self, length: int) -> bytes:
        cut = bytes(self._unread[:length])
        del self._unread[:length]
        return cut


class _Head(NamedTuple):
    """All of a request but its body."""

    method: str
    target: str
    headers: dict[str, str]
    keeps: bool
    length: int


def _parse_head(data: bytes) -> _Head | Refusal:
    try:
        first, *lines = re.split(r"\r?\n", data.decode())
    except UnicodeDecodeError:
        return Refusal(400, "not-http", "a request in UTF-8 expected")
    found = _REQUEST_LINE.fullmatch(first)
    if not found:
        return Refusal(400, "not-http", "a line such as GET /input/post?csv=1 HTTP/1.1 expected")
    method, target, minor = found.groups()
    headers: dict[str, str] = {}
    for line in filter(None, lines):
        header = _HEADER.fullmatch(line)
        if not header:
            return Refusal(400, "not-http", "headers such as Host: gateway expected")
        name, value = header[1].lower(), header[2]
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "transfer-encoding" in headers:
        return Refusal(411, "no-length", "a body whose Content-Length is given expected")
    length = headers.get("content-length", "0")
    if not _LENGTH.fullmatch(length):
        return Refusal(400, "not-http", "one Content-Length in bytes expected")
    keeps = minor != "0" and "close" not in headers.get("connection", "").lower()
    return _Head(method, target, headers, keeps, int(length))


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
