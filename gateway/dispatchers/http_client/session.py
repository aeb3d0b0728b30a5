"""A session with a server: its key goes to no other server, and no redirect is followed."""

from __future__ import annotations

import io
import re
import secrets
import ssl
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode, urljoin

import requests

from gateway.dispatchers.http_client.bounded_http import BoundedHttp
from gateway.dispatchers.http_client.failures import no_answer
from gateway.dispatchers.http_client.pace import Pace
from gateway.dispatchers.http_client.pages import excerpt
from gateway.paths import hidden
from gateway.plugin import TryLater
from gateway.text.words import failure
from gateway.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.plugin import DeliveryFailure

    Fields = Mapping[str, str | int]

_SHORT = 1_000_000
"""Bytes that an answer to a delivery may have."""


class Answer(NamedTuple):
    """An answer; `location` is the target of a redirect.

    `time` is the server's clock in Unix seconds, None if it does not show it; an answer that a cache has
    kept for a while says so. `local`: the server is on this machine.
    """

    status: int
    text: str
    location: str
    time: float | None
    local: bool
    headers: Mapping[str, str]

    def clock(self, since: float, until: float) -> float | None:
        """Return `time`, None if it is the clock of this machine, which shows these times itself."""
        is_ours = self.time is not None and since - 1 <= self.time <= until + 1
        return None if self.local and is_ours else self.time


class Server:
    """A server, and the key (or another secret) for it. No request takes longer than `timeout` seconds."""

    def __init__(self, url: str, key: str, ca_file: Path | None, timeout: float) -> None:
        self._url = url
        self.key = key
        self._ca_file = ca_file
        self._timeout = timeout
        self.pace = Pace()
        self._http = BoundedHttp()

    def open(self) -> None:
        """Read the certificates of `ca_file`; the first request makes the connection, which is then kept."""
        if fault := self._fault():
            raise OSError(fault)

    def _fault(self) -> str:
        """Return what is wrong with `ca_file` now, "" if nothing is."""
        if self._ca_file is not None:
            try:
                ssl.create_default_context(cafile=self._ca_file)
            except OSError as error:
                why = hidden(self._ca_file) or failure(error)
                return f"ca_file {self._ca_file}: PEM certificates expected: {why}"
        return ""

    def close(self) -> None:
        """Drop the connection."""
        self._http.close()

    def ask(  # noqa: PLR0913  (the parts of one request)
        self,
        method: str,
        path: str,
        *,
        query: Fields | None = None,
        form: Fields | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        with_key: bool = True,
        size: int = _SHORT,
    ) -> Answer | DeliveryFailure:
        """Return the answer, or the failure; an exception raised here would refer to the request and its key.

        At most `size` bytes of an answer are read. A `body` replaces the form; `headers` replace those for a
        form.
        """
        # Its position shows whether any of it was sent.
        content = body if form is None else urlencode(form).encode()
        if method == "GET":
            # nginx answers from its cache whatever Cache-Control says; an address of its own is in no cache.
            query = {**(query or {}), "_": secrets.token_hex(8)}
        sent = io.BytesIO(content or b"")
        try:
            request = requests.Request(
                method,
                f"{self._url}{path}",
                params=query,
                data=None if content is None else sent,
                headers={**self._headers(with_key=with_key), **(headers or {})},
            ).prepare()
            self.pace.wait()
            reply = self._http.exchange(
                request,
                verify=True if self._ca_file is None else str(self._ca_file),
                seconds=self._timeout,
                size=size,
            )
        except OSError as error:  # as every requests.RequestException is
            if sent.tell() == 0 and (fault := self._fault()):  # it may have been edited meanwhile
                return TryLater(fault)
            return no_answer(error, sent=sent.tell() > 0, secret=self.key)
        self.pace.answered(reply.status)
        return Answer(
            reply.status,
            reply.body.decode("utf-8-sig", "replace"),
            _absolute(f"{self._url}{path}", reply.headers.get("Location", "")),
            _time(reply.headers.get("Date", ""), reply.headers.get("Age", "")),
            reply.local,
            reply.headers,
        )

    def _headers(self, *, with_key: bool) -> dict[str, str | bytes]:
        headers: dict[str, str | bytes] = {
            "Accept": "*/*",
            "Accept-Encoding": "gzip",
            "Connection": "keep-alive",  # only then does Apache say how long it keeps it
            "Cache-Control": "no-cache",  # no question here can be answered by an old answer
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": f"oemgateway/{VERSION}",
        }
        return headers | {"Authorization": b"Bearer " + self.key.encode()} if with_key else headers

    def named(self, failure: DeliveryFailure) -> DeliveryFailure:
        """Return the failure with the address of the server in its message."""
        failure.args = (f"{self._url}: {failure}",)
        return failure

    def quoted(self, text: str) -> str:
        """Return the beginning of a text of the server, as one line without the key."""
        return excerpt(text, self.key)


def _absolute(url: str, location: str) -> str:
    """Return the target of a redirect as a whole address, if it is one."""
    try:
        return urljoin(url, location) if location else ""
    except ValueError:
        return location


def _time(date: str, age: str) -> float | None:
    """Return the time of a Date header (RFC 9110, IMF-fixdate), or None if it is not one.

    The seconds of an Age header, which a cache adds (RFC 9111, 5.1), have passed since.
    """
    with suppress(ValueError):
        # A leap second is the 60th.
        text = f"{date.strip()} +0000".replace(":60 GMT", ":59 GMT")
        written = datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT %z").timestamp()
        return written + (int(age) if re.fullmatch(r"[0-9]{1,9}", age.strip()) else 0)
    return None
