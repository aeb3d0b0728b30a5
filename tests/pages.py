"""A page on a port, of a gateway that has the values a test wants."""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.dispatchers.page.dispatcher import Page
from gateway.flag import Flag
from gateway.frame import Frame
from gateway.plugin import Series
from gateway.present.status import Status
from gateway.present.values import Value
from gateway.settings import build
from tests.statuses import dispatcher, listener, status


class Present:
    """The present of a gateway; a test sets `now` and `how`."""

    def __init__(self, values: list[Value], how: Status | None = None) -> None:
        self.now = values
        self.how = how or status(dispatchers={"emoncms": dispatcher(frames=72560)})
        self.flags: list[Flag] = []
        self.identity = ""

    def values(self) -> list[Value]:
        return self.now

    def status(self) -> Status:
        return self.how

    def series(self, frame: Frame, index: int) -> Series:
        return Series(node=frame.node, index=index, identity=self.identity)

    def subscribe(self, flag: Flag) -> None:
        self.flags = [flag]

    def change(self, *values: Value) -> None:
        """Have these values instead, and say so."""
        self.now = list(values)
        for flag in self.flags:
            flag.set()


def value(index: int | None = 1, label: str = "cellar", **changes: Any) -> Value:
    whole = {
        "source": "bridge",
        "node": "9",
        "index": index,
        "label": label,
        "unit": "°C",
        "kind": "temperature",
    }
    whole |= {"value": 11.8125, "last": 11.8125, "age": 4.0, "hour": waves(index or 1)}
    return Value(**{**whole, **changes})


def waves(seed: int) -> list[float | None]:
    return [20 + 4 * math.sin(minute / 9 + seed) + math.sin(minute * seed) / 3 for minute in range(60)]


def dead(index: int, label: str, **changes: Any) -> Value:
    return value(index, label, value=None, age=10_900.0, hour=[*waves(index)[:20], *[None] * 40], **changes)


ROOMS = ("cellar", "flow", "return", "outside", "tank", "attic", "bath", "kitchen", "hall", "garage")


def house(number: int, dead_ones: int = 0) -> list[Value]:
    """Return so many values on a bridge and a radio, of which the first few have none now."""
    made = []
    for n in range(1, number + 1):
        label = f"{ROOMS[n % 10]} {n // 10}" if n >= 10 else ROOMS[n % 10]
        current = 20 + 4 * math.sin(59 / 9 + n)
        made.append(dead(n, label) if n <= dead_ones else value(n, label, value=current, last=current))
    for n in range(3, number, 6):
        power = {
            "node": "10",
            "node_name": "emontx",
            "source": "radio",
            "rssi": -61,
            "unit": "W",
            "kind": "power",
        }
        made[n] = value(n, f"power {n}", value=240.0 * n, last=240.0 * n, **power)
    return sorted(made, key=lambda each: each.place)


def troubled(*troubles: str) -> Status:
    waits = {"waiting": 1440, "age": 7200.0}
    refused = "http://emonpi/emoncms: not reached (Connection refused): is the server up, and is url right?"
    out = dispatcher(queue=waits, frames=72560, troubles=[refused], next_try=9.0, age=7200.0)
    return status(
        healthy=False,
        listeners={"bridge": listener(troubles=list(troubles))},
        dispatchers={"emoncms": out},
    )


@contextmanager
def serving(present: Present, state: Path | None = None, **settings: str) -> Iterator[Page]:
    page = build(Page, {"port": "0", **settings})
    page.name, page.present, page.state = "page", present, state
    page.open()
    try:
        yield page
    finally:
        page.close()
        page.close()


def get(page: Page, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Return the status, headers and body of an answer."""
    client = http.client.HTTPConnection(*page.address, timeout=30)
    try:
        client.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = client.getresponse()
        return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
    finally:
        client.close()


def raw(page: Page, data: bytes, address: str = "127.0.0.2") -> bytes:
    """Return all that is answered to these bytes, up to when the page closes or a second of silence."""
    with socket.create_connection(page.address, 20, source_address=(address, 0)) as client:
        answer = b""
        with contextlib.suppress(ConnectionError):
            client.sendall(data)
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in answer and (part := client.recv(65536)):
                answer += part
        return answer
