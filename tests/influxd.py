"""The real InfluxDB 1 of Debian, on loopback."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.peers import need
from tests.ports import free_port
from tests.waiting import wait_until

CONF = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{dir}/meta"
[data]
  dir = "{dir}/data"
  wal-dir = "{dir}/wal"
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
  max-body-size = {largest}
  auth-enabled = {auth}
"""


class Influxd:
    """`with Influxd(directory) as server:` has a database `home`, and with `auth` a user me, password pw."""

    def __init__(self, directory: Path, *, auth: bool = False, largest: int = 25_000_000) -> None:
        self.program = need("influxd", "influxdb")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.auth = auth
        directory.mkdir(exist_ok=True)
        self.conf = directory / "influxdb.conf"
        self.conf.write_text(
            CONF.format(
                rpc=free_port(), dir=directory, port=self.port, largest=largest, auth=str(auth).lower()
            )
        )

    def __enter__(self) -> Self:
        self.start()
        try:
            if self.auth:
                self.query("CREATE USER me WITH PASSWORD 'pw' WITH ALL PRIVILEGES", as_user=False)
            self.query("CREATE DATABASE home")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.program, "-config", self.conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, what="influxd")

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/ping", timeout=5) as answer:
                return answer.status == 204
        except OSError:
            return False

    def stop(self) -> None:
        """End it without a chance to put anything in order."""
        self.process.kill()
        self.process.wait(30)

    def query(self, text: str, *, as_user: bool = True, database: str = "home") -> list[dict[str, Any]]:
        """Return the series of the answer; times are in milliseconds."""
        user = "&u=me&p=pw" if self.auth and as_user else ""
        request = Request(f"{self.url}/query?db={database}&epoch=ms{user}", urlencode({"q": text}).encode())
        try:
            with urlopen(request, timeout=30) as answer:
                found = json.load(answer)
        except HTTPError as error:
            raise AssertionError(error.read()) from error
        assert "error" not in str(found)[:200], found
        return found["results"][0].get("series", [])

    def points(self) -> list[tuple[dict[str, str], int, float]]:
        """Return (tags, milliseconds, value) of each point."""
        return [
            (series["tags"], at, value)
            for series in self.query("SELECT value FROM reading GROUP BY *")
            for at, value in series["values"]
        ]
