"""Dispatcher `influxdb` against the real InfluxDB and VictoriaMetrics: answers, outages, kills.

KILLS says how many kills there are; `make peers` takes two hundred.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.diagnosis.machine import Machine
from gateway.dispatchers.influxdb.dispatcher import InfluxDb
from gateway.dispatchers.influxdb.line import Encoder
from gateway.frame import Frame, Stamp
from gateway.plugin import BadFrame, Batch, HoldEverything, TryLater
from gateway.settings import build
from tests.gateway_process import ENVIRONMENT, GatewayProcess, state
from tests.influxd import Influxd
from tests.numbered_listener import install, node, read, values
from tests.peers import need
from tests.ports import free_port
from tests.simulators.influxdb import FakeInflux
from tests.simulators.raw_http import RawHttp
from tests.spools import leave_queue
from tests.waiting import wait_until

KILLS = int(os.environ.get("KILLS", "4"))
ROOT = Path(__file__).parents[1]
NUMBERS = itertools.count(1)
AT = 1_700_000_000.1


@pytest.fixture(scope="module")
def influxd(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


def frame(*found, node="9", at=AT, **more):
    return Frame(node, found, Stamp(at, "boot", 1.0), **more)


def to(server, **entries):
    made = build(InfluxDb, {"url": server.url, "database": "home", **entries})
    made.open()
    return made


def send(dispatcher, *frames):
    try:
        dispatcher.prepare(Batch(frames, range(len(frames)))).send()
    except Exception as failure:
        return type(failure), str(failure)
    finally:
        dispatcher.close()
    return None


# --- Answers: the real server, and the fake one -----------------------------------------------------------


@pytest.fixture(params=["real", "fake"])
def server(request, influxd):
    if request.param == "real":
        yield influxd
    else:
        with FakeInflux(1) as fake:
            yield fake


def test_both_take_lines_and_say_their_version(server):
    made = to(server)
    assert send(made, frame(1.5), frame(2.5, at=AT + 1)) is None
    assert made.found == 1
    assert made.time() is None  # it is the time of this machine
    made.close()


def test_both_name_a_database_that_is_missing(server):
    kind, words = send(to(server, database="nowhere"), frame(1))
    assert kind is HoldEverything
    assert 'there is no database nowhere (database not found: "nowhere")' in words


def test_both_have_no_buckets(server):
    kind, words = send(to(server, bucket="home", org="x"), frame(1))
    assert kind is HoldEverything
    assert "404 page not found" in words


def test_a_type_that_conflicts_is_a_bad_frame(influxd):
    influxd_write(influxd, f'conflict,index=1,node=9 value="text" {int(AT * 1000)}000000')
    kind, words = send(to(influxd, measurement="conflict"), frame(1, at=AT + 1))
    assert kind is BadFrame
    assert "field type conflict" in words


def test_what_is_older_than_the_retention_is_a_bad_frame_and_the_others_are_stored(influxd):
    influxd.query("CREATE RETENTION POLICY short ON home DURATION 1h REPLICATION 1")
    influxd.query("CREATE DATABASE brief WITH DURATION 1h")
    made = to(influxd, database="brief")
    kind, words = send(made, frame(1, at=AT), frame(2, at=time.time()))
    assert kind is BadFrame
    assert "beyond retention policy" in words
    (series,) = influxd.query('SELECT value FROM "brief".."reading"')
    assert [value for _, value in series["values"]] == [2]


def influxd_write(server, line):
    with urlopen(f"{server.url}/write?db=home", line.encode(), timeout=10) as answer:
        assert answer.status == 204


def test_a_wrong_password_holds_everything_and_the_right_one_does_not(tmp_path):
    with Influxd(tmp_path / "influxd", auth=True) as server:
        kind, words = send(to(server, user="me", password="wrong-one"), frame(1))
        assert kind is HoldEverything
        assert "wrong-one" not in words
        assert "authorization failed" in words
        assert send(to(server, user="me", password="pw"), frame(1)) is None
        assert len(server.points()) == 1


def test_a_batch_that_is_too_large_is_delivered_in_smaller_ones(tmp_path):
    with Influxd(tmp_path / "influxd", largest=2000) as server:
        frames = [frame(n, at=AT + n, node=f"n{n % 7}") for n in range(400)]
        kind, words = send(to(server), *frames)
        assert (kind, "the batch is too large" in words) == (BadFrame, True)
        with gateway(tmp_path, server, backlog=frames) as process:
            emptied(process)
        assert sorted(value for _, _, value in server.points()) == list(range(400))


def test_a_server_that_is_not_there_is_tried_later(tmp_path):
    server = Influxd(tmp_path / "influxd")
    assert send(to(server), frame(1))[0] is TryLater


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30), st.text(max_size=30))
def test_whatever_names_and_tags_have_comes_back_by_query(influxd, name, tag):
    number = next(NUMBERS)
    encoder = Encoder("hypothesis", "name", {"text": tag, "k,e= y": "fix"})
    (line,) = encoder.lines([frame(number, names=(name,), node="9")])
    influxd_write(influxd, f"{line}000000")
    (series,) = [
        each
        for each in influxd.query("SELECT value FROM hypothesis GROUP BY *")
        if any(value == number for _, value in each["values"])
    ]
    expected = {"node": "9", "text": plain(tag), "k,e= y": "fix"}
    expected |= {"name": plain(name)} if name else {"index": "1"}
    assert {key: text for key, text in series["tags"].items() if text} == {
        key: text for key, text in expected.items() if text
    }


def plain(text):
    said = re.sub(r"[\x00-\x1f\x7f]+", " ", text).replace("\\", "/")
    return said if said.strip() else ""


# --- What the doctor says ---------------------------------------------------------------------------------

LIVE = Machine(root=Path("/"), user="oemgateway", uid=990, gids=frozenset(), live=True)


def examined(server, **entries):
    return [str(finding).replace(server.url, "URL") for finding in to(server, **entries).examine(LIVE)]


def test_the_doctor_asks_the_real_server_and_writes_nothing(influxd):
    before = influxd.points()
    good = "ok    : it takes what is written to database home"
    assert examined(influxd) == ["ok    : URL is InfluxDB 1.6.7~rc0", good]
    assert influxd.points() == before
    assert examined(influxd, database="cellar")[1:] == [
        (
            'FAULT : URL: there is no database cellar (database not found: "cellar"): make it there '
            '(CREATE DATABASE "cellar"), or correct it here'
        )
    ]
    assert examined(influxd, version="3", token="x")[0] == (
        "FAULT : URL is InfluxDB 1.6.7~rc0, and version is 3: leave version out, and see what follows"
    )


def test_the_doctor_names_what_a_user_may_not(tmp_path):
    with Influxd(tmp_path / "influxd", auth=True) as server:
        server.query("CREATE USER reader WITH PASSWORD 'pw'")
        server.query('GRANT READ ON "home" TO "reader"')
        assert (
            "FAULT : URL: it wants user and password, or a token, for database home (" in examined(server)[1]
        )
        assert examined(server, user="me", password="wr0ng")[1] == (
            "FAULT : URL: it refuses user and password, or a token, for database home "
            "(authorization failed): correct them"
        )
        (_, forbidden) = examined(server, user="reader", password="pw")
        assert "FAULT : URL: user or token may not write to database home (" in forbidden
        assert forbidden.endswith(": allow that there")
        assert examined(server, user="me", password="pw")[1].startswith("ok ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "FAULT : URL is a VictoriaMetrics that keeps what is sent again twice: start it with"),
        (["-dedup.minScrapeInterval=1ms"], "ok    : URL is a VictoriaMetrics with deduplication"),
    ],
)
def test_the_doctor_finds_out_whether_victoria_metrics_deduplicates(victoria, options, said):
    server = victoria(*options)
    found = examined(server)
    assert found[0].startswith(said)
    assert found[1:] == ["ok    : it takes what is written to database home"]


# --- Outages and kills ------------------------------------------------------------------------------------


def gateway(tmp_path, server, backlog=(), listeners="", more=""):
    """Return a gateway process on a queue in which these frames wait."""
    (tmp_path / "state").mkdir(exist_ok=True)
    if backlog:
        leave_queue(tmp_path / "state" / "queue.db", backlog, "influx")
    file = tmp_path / "oemgateway.conf"
    file.touch(0o600)
    listeners = listeners or "[[idle]]\ntype = tcp\nport = 0\n".replace("= 0", f"= {free_port()}")
    file.write_text(
        f"{state(tmp_path)}[listeners]\n{listeners}[dispatchers]\n[[influx]]\ntype = influxdb\n"
        f"url = {server.url}\ndatabase = home\ninterval = 0\ntimeout = 1\n{more}"
    )
    path = os.pathsep.join([ENVIRONMENT["PYTHONPATH"], str(ROOT), str(tmp_path / "site")])
    return GatewayProcess(file, traced=False, PYTHONPATH=path)


def emptied(process):
    wait_until(lambda: process.status()["dispatchers"]["influx"]["queue"]["waiting"] == 0)


def test_after_an_outage_of_an_hour_each_point_is_there_once_at_its_own_time(tmp_path):
    # given an hour of three nodes every ten seconds, which waits while the server is away
    frames = [
        frame(n + 0.5, None, -n, node=name, at=AT + 10 * n)
        for n in range(360)
        for name in ("9", "cellar", "ü x")
    ]
    server = Influxd(tmp_path / "influxd")
    with server:
        server.stop()
        with gateway(tmp_path, server, backlog=frames) as process:
            wait_until(lambda: "not reached" in process.log)
            # when it comes back, and is killed once more in between
            server.start()
            wait_until(lambda: process.status()["dispatchers"]["influx"]["frames"] > 0)
            server.stop()
            server.start()
            emptied(process)
            assert process.stop() == 0
        # then
        found = server.points()
        assert len(found) == 2 * len(frames)
        assert {(tags["node"], tags["index"], at, value) for tags, at, value in found} == {
            (each.node, str(index), round(each.stamp.wall * 1000), value)
            for each in frames
            for index, value in each.items()
        }


class Trouble(threading.Thread):
    """A server that hangs, or is killed and comes back, until it is told to stop."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(random.uniform(0, 1)):
            if random.random() < 0.7:
                self.server.process.send_signal(signal.SIGSTOP)
                self.over.wait(random.uniform(0, 1.5))
                self.server.process.send_signal(signal.SIGCONT)
            else:
                self.server.stop()
                self.over.wait(random.uniform(0, 0.3))
                self.server.start()

    def stop(self):
        self.over.set()
        self.join()


def test_after_kills_at_any_moment_each_point_is_there_once(tmp_path):
    # given fifty frames a second to a server in trouble
    install(tmp_path / "site")
    numbers = f"[[numbers]]\ntype = numbered\ndirectory = {tmp_path}\n"
    with Influxd(tmp_path / "influxd") as server:
        process = gateway(tmp_path, server, listeners=numbers)
        trouble = Trouble(server)
        trouble.start()
        # when the gateway is killed again and again
        for _ in range(KILLS):
            process.launch()
            time.sleep(random.uniform(0, 2))
            process.kill()
        trouble.stop()
        with process:
            (tmp_path / "enough").touch()
            wait_until((tmp_path / "ended").exists)
            emptied(process)
            assert process.stop() == 0
        # then
        found = [(tags["node"], tags["index"], value) for tags, _, value in server.points()]
        times = {(tags["node"], tags["index"], at) for tags, at, _ in server.points()}
    kept, given_ = read(tmp_path / "kept"), read(tmp_path / "given")
    arrived = sorted(int(value) for _, index, value in found if index == "1")
    assert arrived == sorted(set(arrived))
    assert set(kept) <= set(arrived) <= set(given_)
    assert len(times) == len(found)
    assert sorted(found) == sorted(
        (node(number), str(index), value)
        for number in arrived
        for index, value in enumerate(values(number), 1)
        if value is not None
    )


def test_the_seeds_network_probe_fills_its_measurement(tmp_path):
    # given a page that takes a quarter of a second, and a port that is closed
    with RawHttp() as page, Influxd(tmp_path / "influxd") as server:

        def said():
            time.sleep(0.25)
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

        page.said = said
        probe = (
            "[[network]]\ntype = probe\nnode = network\ninterval = 1\ntimeout = 0.8\n"
            f"target1 = {page.url}/, ad-auth\ntarget2 = tcp 127.0.0.1:{free_port()}, closed\n"
        )
        process = gateway(tmp_path, server, listeners=probe, more="layout = seed\n")
        # when it has run for some seconds
        with process:
            wait_until(lambda: len(server.query("SELECT * FROM latency")) and server.points())
            assert process.stop() == 0
        # then its latencies are there as the script wrote them, and what failed is a failure without one
        latency = server.query("SELECT value FROM latency GROUP BY *")
        assert [series["tags"] for series in latency] == [
            {"service": "ad-auth", "code": "200", "status": "0"}
        ]
        assert all(0.25 <= seconds < 0.8 for _, seconds in latency[0]["values"])
        closed = [value for tags, _, value in server.points() if tags["index"] == "6"]
        assert set(closed) == {0}
    assert "target2 (closed): refused (Connection refused)" in process.log


# --- VictoriaMetrics --------------------------------------------------------------------------------------


@pytest.fixture
def victoria(tmp_path, at_end):
    """Return a function that starts one with these options."""

    class Victoria:
        def __init__(self, *options):
            self.port = free_port()
            self.url = f"http://127.0.0.1:{self.port}"
            program = need("victoria-metrics", "victoria-metrics")
            place = [f"-storageDataPath={tmp_path}/vm", f"-httpListenAddr=127.0.0.1:{self.port}"]
            self.process = subprocess.Popen(
                [program, *place, "-retentionPeriod=100y", *options],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            at_end.callback(self.process.wait, 30)
            at_end.callback(self.process.kill)
            wait_until(self.answers, what="victoria-metrics")

        def answers(self):
            try:
                with urlopen(f"{self.url}/health", timeout=5) as answer:
                    return answer.status == 200
            except OSError:
                return False

        def values(self, name):
            urlopen(f"{self.url}/internal/force_flush", timeout=10).close()
            query = f"{self.url}/api/v1/export?match[]={name}&reduce_mem_usage=0"
            with urlopen(query, timeout=10) as answer:
                return [json.loads(line)["values"] for line in answer.read().decode().splitlines()]

    return Victoria


@pytest.mark.parametrize(("options", "copies"), [(["-dedup.minScrapeInterval=1ms"], 1), ([], 2)])
def test_victoria_metrics_takes_the_lines_and_deduplicates_as_the_manual_says(victoria, options, copies):
    server = victoria(*options)
    for _ in range(2):
        assert send(to(server, database="home"), frame(21.5, node="9")) is None
    assert server.values("reading_value") == [[21.5] * copies]


def test_victoria_metrics_is_no_influxdb_and_the_log_says_what_to_switch_on(victoria, caplog):
    server = victoria()
    assert send(to(server), frame(1)) is None
    assert any("-dedup.minScrapeInterval=1ms" in record.getMessage() for record in caplog.records)
