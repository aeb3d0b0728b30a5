"""Frames to InfluxDB: writing a point twice makes one point, so a batch without an answer is sent again."""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gateway.dispatchers.http_client.pages import is_page
from gateway.dispatchers.http_client.session import Server
from gateway.dispatchers.influxdb.answers import judge, major, retry_after
from gateway.dispatchers.influxdb.findings import examine
from gateway.dispatchers.influxdb.line import Encoder, Layout, escaped
from gateway.plugin import (
    LARGEST_BATCH,
    Batch,
    Delivery,
    DeliveryFailure,
    Dispatcher,
    Progress,
    TryLater,
    at_least,
    between,
    setting,
)
from gateway.process.port import host_and_port
from gateway.text.plain import check_printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.dispatchers.http_client.session import Answer
    from gateway.plugin import Finding, Machine

_GZIP = 31
"""The window of zlib with gzip's header."""
_SMALL = 1000
"""Bytes of lines that are not compressed: it would cost more than it saves."""


def check_url(url: str) -> None:
    """Raise ValueError for what is not the address of a server, or has a secret in it."""
    scheme, separator, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not separator or not rest.strip("/"):
        hint = f", not {url}: write http://{url}" if re.fullmatch(r"[\w.-]+(:[0-9]+)?/?", url) else ""
        raise ValueError(f"http://host:8086 or https://host expected{hint}")  # it may have a secret in it
    if "@" in rest or "?" in rest or "#" in rest or rest.endswith("/write"):
        raise ValueError("the address alone expected, without /write: user, token and database have settings")
    if any(character.isspace() for character in rest):
        raise ValueError("an address without spaces expected")
    host_and_port(rest.partition("/")[0], 80)


def _check_measurement(name: str) -> None:
    if not escaped(name) or name[0] in "#_":
        raise ValueError(f"a name that begins with neither # nor _ expected, not {name}")


def _check_tags(tags: Sequence[str]) -> None:
    for tag in tags:
        key, equals, text = tag.partition("=")
        if not equals or not escaped(key) or not escaped(text) or key.startswith("_"):
            raise ValueError(f"key=value expected, such as site=cellar, not {tag}")
        if key in ("node", "index", "name", "time"):
            raise ValueError(f"another key expected than {key}, which the readings have themselves")


@dataclass(kw_only=True)
class InfluxDb(Dispatcher):
    """A database of InfluxDB 1 or 3, or a bucket of InfluxDB 2."""

    url: str = setting("http://localhost:8086", check=check_url)
    version: Literal["1", "2", "3"] | None = setting(None)
    database: str = setting("oemgateway")
    org: str | None = setting(None)
    bucket: str | None = setting(None)
    user: str | None = setting(None)
    password: str | None = setting(None, secret=True)
    token: str | None = setting(None, check=check_printable, secret=True)
    measurement: str = setting("reading", check=_check_measurement)
    tags: tuple[str, ...] = setting((), check=_check_tags)
    layout: Layout = setting("index")
    ca_file: Path | None = setting(None)
    interval: float = setting(10.0, check=at_least(0))
    batch: int = setting(LARGEST_BATCH, check=between(1, LARGEST_BATCH))
    timeout: float = setting(60.0, check=between(1, 600))

    def __post_init__(self) -> None:
        if self.bucket and (self.version or "2") != "2":
            raise ValueError(f"database expected: InfluxDB {self.version} has no bucket")
        if self.version == "2" and not self.bucket:
            raise ValueError("org and bucket expected: InfluxDB 2 has no database")
        self._secret = self.token or self.password or ""
        self._server = Server(self.url.rstrip("/"), self._secret, self.ca_file, self.timeout)
        self._encoder = Encoder(self.measurement, self.layout, dict(tag.split("=", 1) for tag in self.tags))
        self.found: int | None = None
        self._is_other = False
        self._not_before = 0.0
        self._wait_for = ""

    @property
    def busy_limit(self) -> float:
        """The seconds that its requests may take together."""
        return max(super().busy_limit, 4 * self.timeout)

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return which secrets would be readable on the wire, or are not used."""
        if self._secret and re.match(r"http://(?!localhost\b|127\.|\[::1\])", self.url, re.IGNORECASE):
            yield "url", "the password or token can be read on the way: write https:// where that is spoken"
        if self.token and (self.user or self.password):
            yield "user", "is not used, as there is a token"

    @property
    def target(self) -> str:
        """What is written to, in words."""
        if self.bucket:
            return f"bucket {self.bucket}{f' of {self.org}' if self.org else ''}"
        return f"database {self.database}"

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Say what the server is, and whether it takes what is written; an empty write tells."""
        return examine(self, machine)

    def open(self) -> None:
        """Read the certificates; the first request makes the connection, which is then kept."""
        self._server.pace.clock = self.clock
        self._server.open()

    def close(self) -> None:
        """Drop the connection."""
        self._server.close()

    def prepare(self, batch: Batch) -> Delivery:
        """Return the lines of these frames for one write."""
        return _Write(self, "\n".join(self._encoder.lines(batch.frames)), len(batch.frames))

    def time(self) -> float | None:
        """Return the time that the server shows; None if it is the time of this machine."""
        before = self.clock.wall()
        answer = self.ask("GET", "/ping")
        return answer.clock(before, self.clock.wall())

    def write(self, lines: str) -> None:
        """Write lines; raises what went wrong."""
        body = lines.encode("utf-8", "replace")
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        if not 0 < len(body) <= _SMALL:  # an empty body would go in chunks
            body, headers["Content-Encoding"] = zlib.compress(body, wbits=_GZIP), "gzip"
        path, query = self._endpoint()
        self._check(self.ask("POST", path, query, body, headers))

    def _check(self, answer: Answer) -> None:
        """Raise what an answer to a write means, unless it was taken."""
        made = (
            f"influx bucket create -n {self.bucket}" if self.bucket else f'CREATE DATABASE "{self.database}"'
        )
        if failure := judge(answer, self.target, made, self._secret):
            failure = self._server.named(failure)
            if wait := retry_after(answer):
                self._not_before, self._wait_for = self.clock.monotonic() + wait, str(failure)
            raise failure
        if self._is_other:  # what takes nothing may as well be another server, at a wrong address
            self._is_other = False
            self.log.warning(
                "%s is no InfluxDB: start VictoriaMetrics with -dedup.minScrapeInterval=1ms, or readings "
                "that are sent again are there twice",
                self.url,
            )

    def _endpoint(self) -> tuple[str, dict[str, str]]:
        if self.bucket:
            where = {"bucket": self.bucket, **({"org": self.org} if self.org else {})}
            return "/api/v2/write", {**where, "precision": "ms"}
        version = int(self.version) if self.version else self._detect()
        if version == 3:
            return "/api/v3/write_lp", {"db": self.database, "precision": "millisecond"}
        return "/write", {"db": self.database, "precision": "ms"}

    def _detect(self) -> int:
        """Return the version that the server shows; 2 takes what 1 does, too."""
        if self.found is None:
            answer = self.ask("GET", "/ping")
            found = major(answer)
            later = answer.status >= 500 or answer.status in (408, 429)
            if not found and (later or (answer.status < 400 and is_page(answer.text))):
                self._check(answer)  # a proxy may have answered: the next answer may be the server's
            self.found = found or 0
            self._is_other = not found and answer.status not in (401, 403) and not is_page(answer.text)
        return self.found

    def ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Return an answer; raises what went wrong."""
        if self.clock.monotonic() < self._not_before:
            raise TryLater(self._wait_for)
        answer = self._server.ask(
            method,
            path,
            query=query,
            body=body,
            headers={**(headers or {}), **self._authorization()},
            with_key=False,
        )
        if isinstance(answer, DeliveryFailure):
            raise self._server.named(answer)
        return answer

    def _authorization(self) -> dict[str, str | bytes]:
        if self.token:
            scheme = b"Token " if self.bucket else b"Bearer "
            return {"Authorization": scheme + self.token.encode()}
        if self.user:
            pair = f"{self.user}:{self.password or ''}".encode()
            return {"Authorization": b"Basic " + base64.b64encode(pair)}
        return {}


class _Write(Delivery):
    """The lines of a batch."""

    def __init__(self, server: InfluxDb, lines: str, count: int) -> None:
        super().__init__(count)
        self._server = server
        self._lines = lines

    def send(self) -> None:
        """Write them."""
        if self._lines:
            self._server.write(self._lines)

    def delivered(self) -> Progress:
        """Return that none need be there: what is there already is overwritten with the same data."""
        return Progress(0)
