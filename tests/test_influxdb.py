"""Dispatcher `influxdb`: its lines, the answers, and what becomes of the frames by the core."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.diagnosis.machine import Machine
from gateway.dispatchers.influxdb.dispatcher import InfluxDb
from gateway.dispatchers.influxdb.line import Encoder, escaped, number
from gateway.frame import Frame, Stamp
from gateway.plugin import BadFrame, Batch, DeliveryFailure, HoldEverything, OutcomeUnknown, TryLater
from gateway.settings import SettingsFault, build, shown
from listeners.simulated.clock import VirtualClock
from tests.gateway_process import ENVIRONMENT, GatewayProcess, state
from tests.numbered_listener import install
from tests.opened import opened
from tests.simulators.influxdb import LINE, SHOWN, FakeInflux
from tests.simulators.raw_http import RawHttp
from tests.spools import leave_queue
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
AT = 1_700_000_000.1239


def frame(*found, node="9", at=AT, **more):
    return Frame(node, found, Stamp(at, "boot", 1.0), **more)


def batch(*frames):
    return Batch(frames, range(1, len(frames) + 1))


# --- Lines ------------------------------------------------------------------------------------------------


def test_a_line_for_each_value_and_none_for_a_gap():
    lines = [*Encoder().lines([frame(21.5, None, -3)])]
    assert lines == [
        "reading,index=1,node=9 value=21.5 1700000000124",
        "reading,index=3,node=9 value=-3 1700000000124",
    ]


def test_tags_of_the_user_names_and_the_signal():
    encoder = Encoder("room temp", "name", {"site": "my, house", "a": "b"})
    lines = [*encoder.lines([frame(1, 2, names=("flow=in", ""), rssi=-61)])]
    assert lines == [
        r"room\ temp,a=b,name=flow\=in,node=9,site=my\,\ house value=1 1700000000124",
        r"room\ temp,a=b,index=2,node=9,site=my\,\ house value=2 1700000000124",
        r"room\ temp,a=b,node=9,site=my\,\ house rssi=-61 1700000000124",
    ]


@pytest.mark.parametrize("layout", ["name", "seed"])
def test_values_with_the_same_label_are_told_apart_by_their_index(layout):
    lines = [*Encoder(layout=layout).lines([frame(1, 2, names=("door ms", "door ms"))])]
    assert lines == [
        "reading,index=1,node=9 value=1 1700000000124",
        "reading,index=2,node=9 value=2 1700000000124",
    ]


def test_where_names_carry_the_identity_there_is_no_index():
    (line,) = Encoder().lines([frame(5.0, names=("P1",), by_name=True)])
    assert line == "reading,name=P1,node=9 value=5 1700000000124"


def test_the_seeds_line_byte_for_byte():
    names = ("ad-auth ok", "ad-auth ms", "ad-auth loss", "ad-auth code", "ad-auth days")
    probed = frame(1, 123.0, None, 200, 30, node="probe", names=names)
    lines = [*Encoder(layout="seed").lines([probed])]
    assert lines[1] == "latency,service=ad-auth,code=200,status=0 value=0.123 1700000000124"
    assert lines[0] == "reading,index=1,node=probe value=1 1700000000124"


def test_the_seeds_line_of_a_service_without_a_code_has_no_such_tag():
    (_, line) = Encoder(layout="seed").lines([frame(1, 4.25, names=("door ok", "door ms"))])
    assert line == "latency,service=door,status=0 value=0.00425 1700000000124"


@pytest.mark.parametrize(
    ("text", "line_has"),
    [
        ("a b", r"a\ b"),
        ("a,b=c", r"a\,b\=c"),
        ("a\\", "a/"),
        ("a\\b", "a/b"),
        (" a", r"\ a"),
        ("\n", ""),
        ("ü", "ü"),
        ("", ""),
    ],
)
def test_what_cannot_be_escaped_is_replaced(text, line_has):
    assert escaped(text) == line_has


def test_a_value_that_no_server_takes_is_a_gap():
    assert [*Encoder().lines([frame(math.nan, math.inf, None)])] == []


@given(
    st.text(),
    st.dictionaries(st.text(), st.text(), max_size=3),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_whatever_stands_in_names_and_tags_it_is_one_line_that_parses(name, tags, value):
    encoder = Encoder("m", "name", tags)
    (line,) = encoder.lines([frame(value, names=(name,), node="9")])
    assert LINE.fullmatch(line), line
    assert float(number(value)) == value


# --- Settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"database": "x", "version": "2"}, "org and bucket expected"),
        ({"bucket": "x", "version": "1"}, "database expected"),
        ({"database": "x", "url": "influx:8086"}, "expected, not influx:8086: write http://influx:8086"),
        ({"database": "x", "url": "http://influx:0"}, "HOST or HOST:PORT expected, with a port from 1"),
        ({"database": "x", "url": "http://me:secret@influx"}, "the address alone"),
        ({"database": "x", "url": "http://influx:8086/api/v2/write"}, "without /write"),
        ({"database": "x", "url": "http://influx:80860"}, "with a port from 1 to 65535, not influx:80860"),
        ({"database": "x", "url": "http://http://influx:8086"}, "HOST:PORT expected"),
        ({"database": "x", "url": 'http://influx"'}, "the name or the IP address of a host expected"),
        ({"database": "x", "tags": "site"}, "key=value expected"),
        ({"database": "x", "tags": "node=1"}, "another key expected"),
        ({"database": "x", "measurement": "#x"}, "begins with neither"),
    ],
)
def test_a_fault_says_what_is_expected(entries, words):
    with pytest.raises(SettingsFault) as caught:
        build(InfluxDb, entries)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_secrets_are_masked():
    made = build(InfluxDb, {"database": "x", "password": "hidden", "token": "hidden", "user": "me"})
    assert "hidden" not in repr(made) + str(shown(made))


# --- Answers ----------------------------------------------------------------------------------------------

WAYS = {
    1: {"database": "home", "user": "me", "password": "pw"},
    2: {"org": "we", "bucket": "home", "token": "tok"},
    3: {"database": "home", "token": "tok"},
}
TOKENS = {1: "bWU6cHc=", 2: "tok", 3: "tok"}


@pytest.fixture
def to(at_end):
    """Return a function that makes an open dispatcher to a server."""
    return lambda server, **entries: at_end.enter_context(
        opened(build(InfluxDb, {"url": server.url, **entries}), "home", VirtualClock())
    )


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("named", [True, False], ids=["named", "detected"])
def test_each_version_is_written_to_in_its_own_way_on_one_connection(to, version, named):
    with FakeInflux(version, TOKENS[version]) as server:
        made = to(server, **WAYS[version], **({"version": str(version)} if named else {}))
        for value in (1, 2):
            made.prepare(batch(frame(value, at=AT + value))).send()
        assert [*server.points.values()] == [1, 2]
        assert server.connections == 1
        assert "tok" not in str(server.requests[0][:2])


@pytest.mark.parametrize(("lines", "coding"), [(1, None), (100, "gzip")])
def test_what_is_large_is_compressed(to, lines, coding):
    with FakeInflux(1) as server:
        made = to(server, database="home")
        made.prepare(batch(*(frame(1, at=AT + number) for number in range(lines)))).send()
        _, _, headers = server.requests[-1]
        assert headers.get("Content-Encoding") == coding
        assert int(headers["Content-Length"]) < 1000
        assert len(server.points) == lines


def raised(dispatcher, *frames):
    try:
        dispatcher.prepare(batch(*frames or [frame(1)])).send()
    except Exception as failure:
        return type(failure), str(failure)
    return None


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_wrong_secret_holds_everything_and_is_not_repeated(to, version):
    with FakeInflux(version, "other") as server:
        kind, words = raised(to(server, **WAYS[version]))
        assert kind is HoldEverything
        assert "it refuses user and password, or a token" in words
        assert "tok" not in words.replace("token", "")


def test_a_secret_that_is_missing_is_asked_for(to):
    with FakeInflux(1, "other") as server:
        kind, words = raised(to(server, database="home"))
        assert kind is HoldEverything
        assert "it wants user and password, or a token, for database home" in words
        assert words.endswith(": set them")


@pytest.mark.parametrize("version", [1, 2])
def test_a_missing_database_holds_everything_and_is_named(to, version):
    with FakeInflux(version, TOKENS[version], databases=set()) as server:
        kind, words = raised(to(server, **WAYS[version]))
        assert kind is HoldEverything
        assert {1: '(CREATE DATABASE "home")', 2: "(influx bucket create -n home)"}[version] in words


def test_the_way_of_another_version_holds_everything_and_says_so(to):
    with FakeInflux(1) as server:
        kind, words = raised(to(server, **WAYS[2]))
        assert kind is HoldEverything
        assert "check url, and version" in words


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, BadFrame) for status in (400, 413, 422)),
        *((status, HoldEverything) for status in (307, 401, 403, 404, 405)),
        *((status, TryLater) for status in (408, 429, 500, 503)),
    ],
)
def test_what_an_answer_means(to, status, kind):
    with FakeInflux(1, script=[(status, {})]) as server:
        made = to(server, database="home", version="1")
        assert raised(made)[0] is kind
        assert raised(made) is None


@pytest.mark.parametrize("said", [b"<html><title>Log in</title></html>", b'{"results":[{"error":"no"}]}'])
def test_what_is_answered_in_between_is_no_delivery(to, said):
    with RawHttp() as server:
        server.answers(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(said) + said
        )
        kind, words = raised(to(server, database="home"))
        assert kind is (HoldEverything if b"html" in said else TryLater)
        assert "200" in words


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (413, BadFrame, "the batch is too large for it"),
        (
            401,
            HoldEverything,
            "it wants user and password, or a token, for database home (No entry): set them",
        ),
        (502, TryLater, "it answers 502: No entry"),
        (403, HoldEverything, "a web page answers (403 No entry)"),
        (404, HoldEverything, "a web page answers (404 No entry)"),
    ],
)
def test_a_page_of_a_proxy_means_what_its_status_says(to, status, kind, words, caplog):
    said = b"<html><head><title>%d No entry</title></head><body>%d No entry</body></html>" % (status, status)
    with RawHttp() as server:
        head = b"HTTP/1.1 %d No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        server.answers(head % (status, len(said)) + said)
        found = raised(to(server, database="home"))
    assert found[0] is kind
    assert words in found[1]
    assert "VictoriaMetrics" not in caplog.text


def test_nor_does_it_say_which_version_there_is(to, caplog):
    with FakeInflux(3, TOKENS[3]) as server:
        made, ping = to(server, **WAYS[3]), server.ping
        server.ping = lambda _: (502, {}, b"<html><title>Bad gateway</title></html>")
        assert raised(made)[0] is TryLater
        server.ping = ping
        assert raised(made) is None
        assert "is no InfluxDB" not in caplog.text


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://here.org/db/write?db=home", "redirects to https://here.org/db: put that address in url"),
        ("https://here.org/api/v2/write", "redirects to https://here.org: put that address in url"),
        ("http://portal/login", "redirects to http://portal/login, which is not InfluxDB: check url, and"),
    ],
)
def test_a_redirect_is_for_a_person_to_follow(to, location, words):
    with FakeInflux(1, script=[(307, {"Location": location})]) as server:
        assert words in raised(to(server, database="home", version="1"))[1]


def test_retry_after_is_honoured_by_the_clock_and_nothing_is_sent_meanwhile(to):
    with FakeInflux(1, script=[(429, {"Retry-After": "30"})]) as server:
        made = to(server, database="home", version="1")
        first = raised(made)
        made.clock.sleep(29)
        assert raised(made) == first
        with pytest.raises(TryLater):
            made.time()
        assert len(server.requests) == 1
        made.clock.sleep(1)
        assert raised(made) is None


@pytest.mark.parametrize("header", ["", "soon", "-5", "99999999999", "1e9", "Fri, 31 Dec 1999 23:59:59 GMT"])
def test_a_retry_after_that_is_no_number_of_seconds_does_not_hang_it_up(to, header):
    with FakeInflux(1, script=[(503, {"Retry-After": header})]) as server:
        made = to(server, database="home", version="1")
        assert raised(made)[0] is TryLater
        made.clock.sleep(3600)
        assert raised(made) is None


def test_after_a_lost_answer_smaller_writes_go_and_nothing_is_there_twice(to):
    with FakeInflux(1, lost=1) as server:
        made = to(server, database="home", version="1")
        delivery = made.prepare(batch(frame(1)))
        with pytest.raises(OutcomeUnknown):
            delivery.send()
        assert delivery.delivered().count == 0
        assert raised(made) is None
        assert len(server.points) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"\x15\x03\x01",
        b"HTTP/1.1 400 Bad\r\n\r\n" + b"x" * 2_000_000,
        b"HTTP/1.1 400 Bad\r\n\r\n" + b'{"error":' * 1000,
        b"HTTP/1.1 400 Bad\r\n\r\n[1]",
        b"HTTP/1.1 404 None\r\n\r\n<html><title>Login</title>",
        b"HTTP/1.1 204 None\r\nX-Influxdb-Version: \xff\xff\r\n\r\n",
    ],
)
def test_no_answer_ends_in_anything_but_a_failure(to, answer):
    with RawHttp() as server:
        server.answers(answer)
        made = to(server, database="home", timeout="5")
        kind, words = raised(made) or (TryLater, "")
        assert issubclass(kind, DeliveryFailure)
        assert len(words) < 400


TAKEN = b"HTTP/1.1 204 No Content\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def test_what_is_no_influxdb_is_warned_of_once_when_it_has_taken_what_was_written(to, caplog):
    with RawHttp() as server:
        server.answers(NOT_FOUND)
        made = to(server, database="home")
        assert raised(made)[0] is HoldEverything
        assert caplog.text == ""
        server.answers(TAKEN)
        made = to(server, database="home")
        for _ in range(3):
            made.prepare(batch(frame(1))).send()
        assert caplog.text.count("-dedup.minScrapeInterval=1ms") == 1


def test_the_time_of_this_very_machine_says_nothing(to):
    with FakeInflux(1) as server:
        made = to(server, database="home")
        assert made.time() is not None  # the virtual clock is another one
        made.clock = type(made.clock).__mro__[1]()
        assert made.time() is None


# --- What the doctor says ---------------------------------------------------------------------------------

LIVE = Machine(root=Path("/"), user="oemgateway", uid=990, gids=frozenset(), live=True)


def examined(dispatcher):
    """Return what the doctor prints, without the address of the server."""
    return [str(finding).replace(f"{dispatcher.url}", "URL") for finding in dispatcher.examine(LIVE)]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_the_doctor_finds_a_server_that_takes_what_is_written_and_writes_nothing(to, version, caplog):
    with FakeInflux(version, TOKENS[version]) as server:
        said = examined(to(server, **WAYS[version]))
        assert server.points == {}
    target = "bucket home of we" if version == 2 else "database home"
    shown = SHOWN[version].removeprefix("v")
    assert said == [
        f"ok    : URL is InfluxDB {shown}",
        f"ok    : it takes what is written to {target}",
    ]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("server", "entries", "said"),
    [
        (
            {"token": "other"},
            WAYS[1],
            (
                "FAULT: URL: it refuses user and password, or a token, for database home "
                "(authorization failed): correct them"
            ),
        ),
        (
            {"script": [(403, {})]},
            WAYS[1],
            "FAULT: URL: user or token may not write to database home (as the test has it): allow that there",
        ),
        (
            {"databases": set()},
            {"database": "home"},
            (
                'FAULT: URL: there is no database home (database not found: "home"): make it there '
                '(CREATE DATABASE "home"), or correct it here'
            ),
        ),
        (
            {"version": 2, "databases": set(), "token": "tok"},
            WAYS[2],
            (
                'FAULT: URL: there is no bucket home of we (bucket not found: "home"): make it there '
                "(influx bucket create -n home), or correct it here"
            ),
        ),
        (
            {},
            {"database": "home", "version": "3", "token": "tok"},
            "FAULT: URL is InfluxDB 1.6.7~rc0, and version is 3: leave version out, and see what follows",
        ),
        (
            {},
            WAYS[2],
            (
                "FAULT: URL: it answers 404 page not found: check url, and version (1 has a database, "
                "2 an org and a bucket, 3 a database and a token)"
            ),
        ),
        (
            {"script": [(503, {})]},
            {"database": "home"},
            "FAULT: URL: it answers 503: as the test has it",
        ),
    ],
)
def test_the_doctor_names_the_cure(to, server, entries, said):
    with FakeInflux(**server) as running:
        assert said in [line.replace("FAULT : ", "FAULT: ") for line in examined(to(running, **entries))]


def test_the_doctor_finds_no_server(to):
    with FakeInflux(1) as gone:
        made = to(gone, database="home")
    (line,) = examined(made)
    assert line == "FAULT : URL: not reached (Connection refused): is the server up, and is url right?"


def test_the_doctor_finds_a_file_of_certificates_that_the_service_may_not_read(to, tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    file.chmod(0o600)
    made = build(InfluxDb, {"url": "https://127.0.0.1:1", "ca_file": str(file)})
    first, second = examined(made)
    assert first.startswith("FAULT : oemgateway may not ")  # enter the tester's directory, or read the file
    assert str(file) in first
    assert second.startswith(f"FAULT : ca_file {file}: PEM certificates expected: ")


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (
            b'flag{name="dedup.minScrapeInterval", value="1ms", is_set="true"} 1\n',
            "ok    : URL is a VictoriaMetrics with deduplication",
        ),
        (
            b'flag{name="dedup.minScrapeInterval", value="0s", is_set="false"} 1\n',
            (
                "FAULT : URL is a VictoriaMetrics that keeps what is sent again twice: start it with "
                "-dedup.minScrapeInterval=1ms"
            ),
        ),
    ],
)
def test_the_doctor_asks_victoria_metrics_whether_it_deduplicates(to, metrics, said):
    with RawHttp() as server:
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(metrics)
        server.answers(head + metrics)
        assert examined(to(server, database="home"))[0] == said


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 9\r\n\r\nnot there"


def test_the_doctor_says_of_what_takes_the_lines_and_shows_no_name_that_it_is_no_influxdb(to):
    with RawHttp() as server:
        server.said = lambda: [TAKEN if b"POST /write" in server.seen[-1] else NOT_FOUND]
        assert examined(to(server, database="home")) == [
            "ok    : it takes what is written to database home",
            "?     : URL is no InfluxDB, but may take the same lines",
        ]


def test_a_wrong_address_is_all_that_the_doctor_and_the_log_say_of_a_server_that_has_no_such_page(to, caplog):
    with RawHttp() as server:
        server.answers(NOT_FOUND)
        (said,) = examined(to(server, database="home"))
        assert said.startswith("FAULT : URL: it answers 404 not there: check url, and version")
        assert raised(to(server, database="home"))[0] is HoldEverything
        assert caplog.text == ""


def test_the_doctor_leaves_the_servers_of_another_system_alone(to):
    made = build(InfluxDb, {"url": "http://127.0.0.1:1"})
    assert [*made.examine(replace(LIVE, live=False))] == []


# --- By the core ------------------------------------------------------------------------------------------


@pytest.fixture
def gateway(tmp_path):
    """Return a function that starts a gateway with fifty frames a second to a server."""
    site = install(tmp_path / "site")

    def make(server, **entries):
        file = tmp_path / "oemgateway.conf"
        settings = "".join(f"{key} = {value}\n" for key, value in entries.items())
        file.touch(0o600)
        file.write_text(
            f"{state(tmp_path)}[listeners]\n[[numbers]]\ntype = numbered\ndirectory = {tmp_path}\n"
            f"[dispatchers]\n[[home]]\ntype = influxdb\nurl = {server.url}\ninterval = 0\n{settings}"
        )
        return GatewayProcess(file, PYTHONPATH=f"{ENVIRONMENT['PYTHONPATH']}:{ROOT}:{site}")

    return make


def numbers(points, key="index=1"):
    return sorted(int(value) for (series, _), value in points.items() if key in series)


def finish(gateway, tmp_path):
    (tmp_path / "enough").touch()
    wait_until((tmp_path / "ended").exists)
    wait_until(lambda: gateway.status()["dispatchers"]["home"]["queue"]["waiting"] == 0)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_bad_line_is_set_aside_and_every_other_is_stored(gateway, tmp_path, version):
    # given a server that refuses what is older than some moment, of which there is one reading
    (tmp_path / "state").mkdir()
    old = [frame(value, node="old", at=at) for value, at in ((1, AT), (2, AT - 6e8), (3, AT + 1))]
    leave_queue(tmp_path / "state" / "queue.db", old, "home")
    with FakeInflux(version, oldest=int(AT - 1e6) * 1000) as server:
        with gateway(server, **WAYS[version]) as process:
            finish(process, tmp_path)
            status = process.status()
            assert process.stop() == 0
        assert sorted(v for (series, _), v in server.points.items() if "node=old" in series) == [1, 3]
        assert "a frame of node old is set aside" in process.log
        assert status["dispatchers"]["home"]["queue"]["refused"] == 1
        given_ = [int(line) for line in (tmp_path / "given").read_text().split()]
        assert set(numbers({k: v for k, v in server.points.items() if "node=old" not in k[0]})) <= set(given_)


def test_a_server_that_refuses_every_reading_is_a_trouble(gateway, tmp_path):
    with FakeInflux(1, oldest=4_000_000_000_000) as server, gateway(server, **WAYS[1]) as process:
        wait_until(lambda: process.status()["dispatchers"]["home"]["troubles"])
        status = process.status()
        finish(process, tmp_path)
    assert not status["healthy"]
    (trouble,) = status["dispatchers"]["home"]["troubles"]
    assert trouble.startswith("the last ")
    assert "were refused and set aside: http://127.0.0.1:" in trouble
