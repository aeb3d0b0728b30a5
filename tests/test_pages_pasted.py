"""The file to paste of a page of the manual, with the real InfluxDB: it runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess, state
from tests.influxd import Influxd
from tests.ports import free_port
from tests.simulators.raw_http import RawHttp
from tests.waiting import wait_until

DOCS = Path(__file__).parents[1] / "docs" / "listeners"


@pytest.fixture
def influxd(tmp_path):
    with Influxd(tmp_path / "influxd") as server:
        yield server


def pasted(tmp_path, page, server, *changes):
    """Return a gateway on the file of a page, which it is to have but for what only this machine is."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (file_text,) = re.findall(r"\.\. code-block:: ini\n\n((?: {4}.*\n|\n)+)", text)[:1]
    file_text = re.sub(r"(?m)^ {4}", "", file_text)
    for command in re.findall(r"'q=(.*)'", text):
        server.query(command)
    for old, new in (("type = influxdb", f"type = influxdb\n    url = {server.url}"), *changes):
        assert old in file_text, old
        file_text = file_text.replace(old, new)
    file = tmp_path / "oemgateway.conf"
    file.touch(0o600)
    file.write_text(state(tmp_path) + file_text)
    return GatewayProcess(file)


def graph(page):
    """Return the query that a page has for a graph."""
    (query,) = re.findall(r"\n {4}(SELECT .*)", (DOCS / page).read_text(encoding="utf-8"))
    return query


def test_the_network_probe(tmp_path, influxd):
    with RawHttp() as server:
        server.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        process = pasted(
            tmp_path,
            "probe.rst",
            influxd,
            ("node = network", "node = network\n    interval = 1\n    timeout = 0.8"),
            ("https://auth.example.org/login", f"{server.url}/login"),
            ("nas.local:22", f"127.0.0.1:{server.url.rpartition(':')[2]}"),
            ("192.168.1.53", f"127.0.0.1:{free_port()}"),
            ("192.168.1.1", "127.0.0.1"),
        )
        with process:
            wait_until(lambda: {"ad-auth", "nas"} <= services(influxd))
            assert process.stop() == 0
    assert re.search(r"target4 \(name\).*: refused \(Connection refused\)", process.log)


def services(influxd):
    return {series["tags"]["service"] for series in influxd.query(graph("probe.rst"), database="network")}


def test_pattern_rates(tmp_path, influxd):
    log = tmp_path / "mail.log"
    log.touch()
    process = pasted(
        tmp_path, "lograte.rst", influxd, ("/var/log/mail.log", str(log)), ("interval = 60", "interval = 1")
    )
    with process:
        wait_until(lambda: influxd.query("SELECT * FROM reading", database="mail"))
        with log.open("a") as file:
            for status in ("sent", "sent", "bounced"):
                file.write(f"Nov  5 12:00:00 mail postfix/smtp[4711]: 3A1B: to=<a@b>, status={status}\n")
        wait_until(lambda: sent(influxd) == 2)
        assert process.stop() == 0


def sent(influxd):
    found = influxd.query(graph("lograte.rst"), database="mail")
    return sum(value or 0 for series in found for _, value in series["values"])
