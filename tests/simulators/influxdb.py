"""An InfluxDB 1, 2 or 3 as its documents and measurements have it; what it stores is in `points`."""

from __future__ import annotations

import json
import re
import sys
import threading
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

PART = r"(?:[^,= \\]|\\.)+"
LINE = re.compile(rf"((?:[^, \\]|\\.)+)((?:,{PART}={PART})*) ({PART})=([-+0-9.e]+) (-?[0-9]+)")
SHOWN = {1: "1.6.7~rc0", 2: "v2.7.6", 3: "3.0.1"}
PATHS = {1: "/write", 2: "/api/v2/write", 3: "/api/v3/write_lp"}
LARGEST = 25_000_000
LATEST = 2**63 // 1_000_000
"""Milliseconds whose nanoseconds a signed integer of 64 bits has not."""
UNAUTHORIZED = {1: "authorization failed", 2: "unauthorized access", 3: "unauthorized access"}


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionResetError):  # as a client ends a connection
            super().handle_error(request, client_address)


@dataclass
class FakeInflux:
    """`with FakeInflux(2) as server:`; `script` are the answers (status, headers) that come first, each once.

    With `lost` the next write is stored, and its answer does not come.
    """

    version: int = 1
    token: str = ""
    databases: set[str] = field(default_factory=lambda: {"home"})
    port: int = 0
    largest: int = LARGEST
    oldest: int = 0
    script: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    lost: int = 0
    points: dict[tuple[str, int], float] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    connections: int = 0
    bodies: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer.connections += 1

            def do_GET(self) -> None:
                outer.answer(self, *outer.ping(urlsplit(self.path).path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                found = outer.write(self.path, dict(self.headers), body)
                if found is None:
                    self.close_connection = True
                else:
                    outer.answer(self, *found)

            def log_message(self, *_: object) -> None:
                pass

        self.server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, handler: Any, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(b"" if status == 204 else body)

    def ping(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path != "/ping":
            return 404, {}, b"404 page not found\n"
        shown = {"X-Influxdb-Version": SHOWN[self.version]}
        if self.version == 3:
            return 200, {}, json.dumps({"version": SHOWN[3], "revision": "x"}).encode()
        return 204, shown, b""

    def write(  # noqa: PLR0911  (a line for each answer)
        self, address: str, headers: dict[str, str], packed: bytes
    ) -> tuple[int, dict[str, str], bytes] | None:
        path, query = urlsplit(address).path, {k: v[0] for k, v in parse_qs(urlsplit(address).query).items()}
        self.requests.append((path, query, headers))
        if self.script:
            status, more = self.script.pop(0)
            return status, more, b'{"error":"as the test has it"}'
        if path != PATHS[self.version]:
            return 404, {}, b"404 page not found\n"
        scheme = {1: "Basic", 2: "Token", 3: "Bearer"}[self.version]
        if self.token and headers.get("Authorization") != f"{scheme} {self.token}":
            return self.refusal(401, "unauthorized", UNAUTHORIZED[self.version])
        where = query.get("bucket" if self.version == 2 else "db", "")
        if where not in self.databases and self.version != 3:
            word = "bucket" if self.version == 2 else "database"
            return self.refusal(404, "not found", f'{word} not found: "{where}"')
        body = zlib.decompress(packed, 31) if headers.get("Content-Encoding") == "gzip" else packed
        if len(packed if self.version == 1 else body) > self.largest:
            return self.refusal(413, "request too large", "Request Entity Too Large")
        assert query["precision"] == ("millisecond" if self.version == 3 else "ms")
        self.bodies.append(body.decode())
        good, bad = {}, []
        for line in body.decode().split("\n"):
            found = LINE.fullmatch(line)
            if found and self.oldest <= int(found[5]) < LATEST:
                good[f"{found[1]}{found[2]} {found[3]}", int(found[5])] = float(found[4])
            else:
                bad.append(line)
        if not bad or self.version != 2:
            self.points |= good
        if self.lost:
            self.lost -= 1
            return None
        if bad:
            words = f"unable to parse '{bad[0]}': missing fields"
            if good:  # `dropped` counts what can be parsed, and is refused all the same
                words = f"partial write: {words} dropped=0"
            return self.refusal(400 if self.version != 2 else 422, "invalid", words)
        return 204, {}, b""

    def refusal(self, status: int, code: str, words: str) -> tuple[int, dict[str, str], bytes]:
        said = {"error": words} if self.version != 2 else {"code": code, "message": words}
        named = {} if status == 401 else {"X-Influxdb-Error": words.replace("\n", " ")}
        return status, named, json.dumps(said, separators=(",", ":")).encode() + b"\n"
