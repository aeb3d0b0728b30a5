"""Dispatcher `page`: a page in the browser, /metrics and /api/now, and a history of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gateway.diagnosis.tcp_port import examine_port
from gateway.dispatchers.page import html, metrics, tiles
from gateway.dispatchers.page.answer import Answer, Fresh
from gateway.dispatchers.page.history.charts import PATHS, Charts
from gateway.dispatchers.page.history.keeper import Keeper, file_of
from gateway.dispatchers.page.live import Live
from gateway.dispatchers.page.now import Now, as_json, key
from gateway.dispatchers.page.server import Server
from gateway.plugin import LARGEST_BATCH, Batch, Delivery, Dispatcher, Progress, Wake, Whole
from gateway.process.port import EVERYWHERE, check_host, exclusive, is_loopback, joined, refused
from gateway.settings import SettingsFault, at_least, between, setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from gateway.present.values import Value

_FILES = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}
_AWAKE = 3600.0
_REDRAWN = 300
"""Seconds after which curves of 24 hours are drawn and sent again; those of an hour are each minute."""
_OPEN = "none"
"""The value that stands for no password."""


def _check_password(password: str) -> None:
    if password.lower() != _OPEN and not 8 <= len(password) <= 128:
        raise ValueError("8 to 128 characters expected, or none")


def _check_hosts(names: Iterable[str]) -> None:
    for name in names:
        check_host(name)


@dataclass(kw_only=True)
class Page(Dispatcher):
    """Serves the page on a port; other machines are let in with a `password`, or with the word none.

    `hosts` are names by which browsers reach it besides the machine's own, as through a proxy. What it shows
    as present does not come from the queue; the queue feeds the history, if it is to `keep` one.
    """

    port: int = setting(8088, check=between(0, 65535))
    host: str = setting("127.0.0.1", check=check_host)
    password: str | None = setting(None, check=_check_password, secret=True)
    title: str = setting("oemgateway")
    hosts: tuple[str, ...] = setting((), check=_check_hosts)
    keep: bool = setting(default=True)
    interval: float = setting(300.0, check=at_least(0))
    batch: int = setting(LARGEST_BATCH, check=between(1, LARGEST_BATCH))

    def __post_init__(self) -> None:
        if self.password is None and not is_loopback(self.host):
            message = f"a password expected, as others can connect to {self.host}; none lets everybody look"
            raise SettingsFault([("password", message)])
        self._server: Server | None = None
        self._live: Live | None = None
        self._keeper: Keeper | None = None
        self._turn = -1
        self._curves: dict[str, tiles.Curve] = {}
        self._charts: Charts | None = None

    @property
    def exclusive(self) -> Iterable[str]:
        """The port."""
        return exclusive(self.host, self.port)

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return whether its port can be had."""
        return examine_port(machine, self.host, self.port)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port. OSError if it is not open."""
        if self._server is None:
            raise OSError(f"{self.host}:{self.port}: not open")
        host, port, *_ = self._server.socket.getsockname()
        return host, port

    def open(self) -> None:
        """Take the port; OSError if it is not free."""
        if self.present is None:
            raise OSError("no gateway runs that it could show")
        self._files = {name: files(__package__).joinpath(name).read_bytes() for name in _FILES}
        self._addresses = {
            name: f"{name}?{sha256(body).hexdigest()[:12]}" for name, body in self._files.items()
        }
        self._fresh = {
            "/": Fresh(self._overview),
            "/api/now": Fresh(lambda: _json(as_json(self._now()))),
            "/metrics": Fresh(self._metrics),
        }
        if self.keep and self.state:
            self._keeper = Keeper(file_of(self.state, self.name), self.present, self.log)
            self._charts = Charts(self._keeper.history, self.present, self.title, self._addresses)
            self._keeper.open()
        self._live = Live(self.present, self._look)
        password = "" if self.password is None or self.password.lower() == _OPEN else self.password
        try:
            self._server = Server((self.host, self.port), self._respond, password, self.hosts)
        except OSError as error:
            raise refused(self.host, self.port, error) from error
        host, port = self.address
        words = ""
        if is_loopback(host):
            words = " (this machine only: host = 0.0.0.0 and a password let others in)"
        elif host in EVERYWHERE:
            host, words = "ADDRESS-OF-THIS-MACHINE", " (`hostname -I` says the address)"
        self.log.info("the page is at http://%s/%s", joined(host, port), words)

    def _metrics(self) -> Answer:
        refused = dict(self._server.refused) if self._server else {}
        return Answer(metrics.metrics(self._now(), refused).encode(), metrics.KIND)

    def close(self) -> None:
        """Close the port and all streams."""
        if self._live:
            self._live.close()
        if self._server:
            self._server.close()
        self._server = self._live = None

    def prepare(self, batch: Batch) -> Delivery:
        """Return the batch as it is."""
        return _Written(self.send, batch)

    def send(self, batch: Batch) -> None:
        """Write the frames to the history; what is shown as present does not come from them."""
        if self._server and self._server.is_dead:
            raise OSError(f"{self.host}:{self.port}: nobody is answered any more")
        if self._keeper:
            self._keeper.take(batch, self.clock.wall())

    def wake(self) -> Wake:
        """Keep the page open while the history cannot be written."""
        return Wake(seconds=_AWAKE)

    def _respond(self, path: str, query: str) -> Answer | Iterator[bytes] | None:
        if fresh := self._fresh.get(path):
            return fresh.get()
        name = path.removeprefix("/")
        if name in self._files:
            return Answer(
                self._files[name], _FILES[name], lasts=f"{path[1:]}?{query}" == self._addresses[name]
            )
        if path in PATHS and self._charts:
            return self._charts.respond(path, query, self.clock.wall())
        if path == "/api/events" and (live := self._live):
            return live.stream() if live.has_room else Answer(b"503 too many look\n", status=503)
        return None

    def _now(self) -> Now:
        assert self.present is not None  # noqa: S101  (open has made sure of it)
        return Now.of(self.present, self.clock.wall())

    def _overview(self) -> Answer:
        now = self._now()
        span = "24 hours" if self._keeper else "the last hour"
        body = "".join(html.overview(self.title, now, self._tiles(now), self.name, span))
        return Answer(html.document(self.title, body, self._addresses), "text/html; charset=utf-8")

    def _tiles(self, now: Now) -> dict[str, tiles.Tile]:
        turn = int(now.at // (_REDRAWN if self._keeper else 60))
        drawn = {} if turn != self._turn else self._curves
        curves, shown = {}, {}
        for value in now.values:
            name = key(value)
            curves[name] = drawn.get(name) or self._curve(value, now.at)
            link = tiles.link(value) if self._keeper else ""
            shown[name] = tiles.tile(value, curves[name], link)
        self._turn, self._curves = turn, curves
        return shown

    def _curve(self, value: Value, at: float) -> tiles.Curve:
        if not self._keeper:
            return tiles.curve(value.hour)
        return tiles.curve(self._keeper.day(value, at), self._keeper.extremes(value, at))

    def _look(self) -> dict[str, dict[str, Any]]:
        """Return what the page shows, for its script."""
        now = self._now()
        return {
            "tiles": {name: vars(tile) for name, tile in self._tiles(now).items()},
            "page": {
                "headline": tiles.headline(now),
                "troubles": now.troubles,
                "destinations": [*tiles.destinations(now, self.name)],
                "gateway": tiles.gateway(now),
            },
        }


class _Written(Whole):
    """A batch for the history."""

    def delivered(self) -> Progress:
        """Return that none need be there: the history counts each frame once, however often it gets it."""
        return Progress(0)


def _json(answer: object) -> Answer:
    return Answer(json.dumps(answer).encode(), "application/json")
