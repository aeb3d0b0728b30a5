"""The dispatcher `page`: what it answers, whom, and what it costs to ask for too much."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import subprocess
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest

from gateway.conf import config
from gateway.conf.document import ConfigFaults
from gateway.dispatchers.page.dispatcher import Page
from gateway.dispatchers.page.live import Live
from gateway.dispatchers.page.spark import spark
from gateway.dispatchers.page.tiles import figure
from gateway.frame import Frame, Stamp
from gateway.settings import SettingsFault, build, shown
from gateway.times.dating import Dating, TimeNote
from gateway.times.timekeeper import Timekeeper
from gateway.workers.delivery import DispatcherWorker
from tests.gateway_thread import running
from tests.pages import Present, dead, get, house, raw, serving, troubled, value
from tests.peers import need
from tests.ports import free_port
from tests.spools import leave_queue, open_queue
from tests.statuses import status
from tests.waiting import wait_until

SECRET = "s3cr3t-s3cr3t"


def login(password: str, user: str = "me") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def text_of(html: bytes) -> str:
    """Return what a reader sees, a piece a line."""

    class Text(HTMLParser):
        pieces: list[str] = []  # noqa: RUF012  (one parser, used once)

        def handle_data(self, data: str) -> None:
            self.pieces.append(data.strip())

    parser = Text()
    parser.pieces = []
    parser.feed(html.decode())
    return "\n".join(piece for piece in parser.pieces if piece)


def test_the_page_has_each_value_with_its_unit_and_age_and_says_that_all_is_well():
    with serving(Present([value()]), title="My house") as page:
        code, headers, body = get(page, "/")
    assert (code, headers["content-type"]) == (200, "text/html; charset=utf-8")
    shown_text = text_of(body)
    assert "My house\nAll is well" in shown_text
    assert "cellar\nindex 1\n11.8\n°C\n4 s ago" in shown_text
    assert "72\u202f560 delivered, the last 2 s ago\nnothing waits" in shown_text
    assert body.count(b"<h1>") == 1


def test_a_dead_sensor_has_a_dash_and_its_last_value_with_its_age():
    with serving(Present([dead(1, "cellar"), value(2, "flow", value=None, last=None, age=None)])) as page:
        shown_text = text_of(get(page, "/")[2])
    assert "cellar\nindex 1\n\u2013\n°C\nlast 11.8\n3 h ago" in shown_text
    assert "flow\nindex 2\n\u2013\n°C\nno value yet" in shown_text


def test_what_is_wrong_is_named_with_its_section_and_what_waits_with_its_next_try():
    with serving(Present(house(3), troubled("sensor1 (cellar): no answer"))) as page:
        shown_text = text_of(get(page, "/")[2])
    assert "2 things are wrong\nbridge: sensor1 (cellar): no answer\nemoncms: http://emonpi" in shown_text
    assert "1\u202f440 wait, the oldest for 2 hours; next try in 9 s" in shown_text


def test_of_many_troubles_the_first_are_shown_and_the_others_after_a_tap():
    with serving(Present([], troubled(*(f"sensor{n}: no answer" for n in range(20))))) as page:
        body = get(page, "/")[2].decode()
    first, _, more = body.partition('<details id="more"><summary>16 more</summary>')
    assert (first.count("<li>"), more.partition("</details>")[0].count("<li>")) == (5, 16)


def test_a_long_figure_is_smaller_and_whole():
    with serving(Present([value(value=1234567.0, unit="W"), value(2)])) as page:
        body = get(page, "/")[2].decode()
    assert re.findall(r'<span class="(number[^"]*)">([^<]*)<', body) == [
        ("number long", "1\u202f234\u202f567"),
        ("number", "11.8"),
    ]


def test_with_nothing_yet_it_says_so():
    with serving(Present([])) as page:
        assert "Nothing was heard yet" in text_of(get(page, "/")[2])


def test_a_queue_that_cannot_be_read_does_not_hide_the_values():
    class Unreadable(Present):
        def status(self):
            raise OSError(5, "Input/output error")

    with serving(Unreadable([value()])) as page:
        shown_text = text_of(get(page, "/")[2])
        metrics = get(page, "/metrics")[2].decode()
    assert "the queue cannot be read: Input/output error" in shown_text
    assert "11.8" in shown_text
    assert "oemgateway_healthy 0.0\n" in metrics


HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b"


def test_labels_and_names_are_text_never_markup():
    hostile = value(label=HOSTILE, node="<b>", node_name=HOSTILE, unit=HOSTILE, source=HOSTILE)
    with serving(Present([hostile], troubled(HOSTILE)), title=HOSTILE) as page:
        body = get(page, "/")[2].decode()
        assert json.loads(get(page, "/api/now")[2])["values"][0]["label"] == HOSTILE
    assert "<script>alert" not in body
    assert "<b>" not in body
    assert re.findall(r"<script[^>]*>", body) == re.findall(
        r'<script type="module" src="page.js[^"]*">', body
    )


def test_the_page_may_be_a_folder_at_a_proxy(tmp_path):
    with serving(Present([value(1, "flow")]), tmp_path) as page:
        bodies = [
            get(page, path, Accept="text/html")[2].decode()
            for path in ("/", "/chart?node=9&index=1&span=24h", "/x")
        ]
        script = get(page, "/page.js")[2].decode()
    links = [link for body in bodies for link in re.findall(r'(?:href|src|series)="([^"]*)"', body)]
    assert len(links) >= 10
    assert [link for link in links if link.startswith("/")] == []
    assert re.findall(r"(?:fetch|EventSource)\('/", script) == []


def test_the_figures_of_now_as_json():
    with serving(Present([dead(1, "cellar"), value(2, "flow"), value(3, "", dummy=True)])) as page:
        code, headers, body = get(page, "/api/now")
    said = json.loads(body)
    assert (code, headers["content-type"], said["healthy"], said["troubles"]) == (
        200,
        "application/json",
        True,
        [],
    )
    cellar, flow = said["values"]
    assert (cellar["value"], cellar["last"], cellar["age"]) == (None, 11.8125, 10900.0)
    assert (flow["node"], flow["index"], flow["label"], flow["value"]) == ("9", 2, "flow", 11.8125)
    assert said["destinations"][0]["delivered"] == 72560


def test_metrics_leave_out_what_has_no_value_now_and_keep_its_time():
    with serving(Present([dead(1, "cellar"), value(2, 'f"l\\ow\n')])) as page:
        before = time.time()
        code, headers, body = get(page, "/metrics")
    assert (code, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = body.decode().splitlines()
    (now,) = [line for line in lines if line.startswith("oemgateway_value{")]
    assert now == (
        r'oemgateway_value{node="9",index="2",name="f\"l\\ow\n",unit="°C",listener="bridge"} 11.8125'
    )
    times = [line for line in lines if line.startswith("oemgateway_value_timestamp_seconds{")]
    assert [round(before - float(line.split()[-1])) for line in times] == [10900, 4]
    assert 'oemgateway_queue_frames{dispatcher="emoncms"} 0.0' in lines


def test_metrics_count_the_requests_that_were_not_answered():
    with serving(Present([value()])) as page:
        assert get(page, "/", Host="evil.example")[0] == 421
        assert get(page, "/nothing")[0] == 404
        assert get(page, "/nowhere")[0] == 404
        lines = get(page, "/metrics")[2].decode().splitlines()
    counted = [line for line in lines if line.startswith("oemgateway_page_refused_requests_total{")]
    assert counted == [
        'oemgateway_page_refused_requests_total{reason="Misdirected Request"} 1.0',
        'oemgateway_page_refused_requests_total{reason="Not Found"} 2.0',
    ]


def test_promtool_finds_nothing_to_complain_of():
    program = need("promtool", "prometheus")
    with serving(Present(house(9, 2), troubled("x"))) as page:
        body = get(page, "/metrics")[2]
    done = subprocess.run([program, "check", "metrics"], input=body, capture_output=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")


def test_a_browser_that_has_it_already_gets_nothing_again_and_what_is_large_comes_compressed():
    with serving(Present(house(60))) as page:
        _, headers, body = get(page, "/")
        code, _, again = get(page, "/", If_None_Match=f'"of-old", W/{headers["etag"]}')
        _, zipped_headers, zipped = get(page, "/", Accept_Encoding="gzip, br")
        _, style, _ = get(page, "/" + re.search(rb'href="(page.css[^"]*)"', body)[1].decode())
        _, unversioned, _ = get(page, "/page.css")
    assert (code, again) == (304, b"")
    assert zipped_headers["content-encoding"] == "gzip"
    assert text_of(gzip.decompress(zipped)) == text_of(body)
    assert len(body) < 150_000
    assert len(zipped) < len(body) / 3
    assert "immutable" in style["cache-control"]
    assert unversioned["cache-control"] == "no-cache"


def test_head_has_the_length_and_no_body():
    with serving(Present(house(3))) as page:
        code, headers, body = get(page, "/", "HEAD")
        length = len(get(page, "/")[2])
    assert (code, int(headers["content-length"]), body) == (200, length, b"")


def test_each_answer_forbids_what_the_page_does_not_need():
    with serving(Present([])) as page:
        for path in ("/", "/api/now", "/nothing"):
            _, headers, _ = get(page, path)
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
            assert headers["x-content-type-options"] == "nosniff"
            assert "python" not in str(headers).lower()


@pytest.mark.parametrize(
    ("method", "path", "headers", "code"),
    [
        ("POST", "/", {}, 405),
        ("PUT", "/api/now", {"Content_Length": "5"}, 405),
        ("GET", "/", {"Content_Length": "5"}, 400),
        ("GET", "/dispatcher.py", {}, 404),
        ("GET", "/" + "a" * 5000, {}, 414),
        ("GET", "/", {"Host": "evil.example"}, 421),
        ("GET", "/", {"Host": "localhost.evil.example:8088"}, 421),
        ("GET", "/", {"Host": f"{socket.gethostname()}.evil.example"}, 421),
        ("GET", "/", {"Host": ""}, 421),
        ("GET", "/", {"Host": "localhost:1"}, 200),
        ("GET", "/", {"Host": "192.168.1.7"}, 200),
        ("GET", "/", {"Host": "[::1]:8088"}, 200),
        ("GET", "/", {"Host": f"{socket.gethostname()}.local"}, 200),
        ("GET", "/", {"Host": "heating.example.org"}, 200),
        ("GET", "http://heating.example.org/api/now?x=1", {"Host": "evil.example"}, 200),
        ("GET", "HTTPS://localhost:8088", {}, 200),
        ("GET", "http://evil.example/", {"Host": "localhost"}, 421),
    ],
)
def test_only_what_is_asked_for_rightly_is_answered(method, path, headers, code):
    with serving(Present([value()]), hosts="heating.example.org") as page:
        assert get(page, path, method, **headers)[0] == code
        assert sum(page._server.refused.values()) == (code != 200)


@pytest.mark.parametrize("path", ["/chart", "/api/nothing?a=/", "/a/b/c/", "/meters/"])
def test_what_is_not_there_leads_back_to_the_page(path):
    with serving(Present([value()])) as page:
        code, _, body = get(page, path, Accept="text/html")
        (style,), (link,) = (
            re.findall(rb'<link rel="stylesheet" href="(.*?)"', body),
            re.findall(rb'<a href="(.*?)"', body),
        )
        assert (code, urljoin(path, link.decode()), urljoin(path, style.decode())) == (404, "/", "/page.css")


def test_without_its_password_nothing_is_shown_and_who_tries_many_is_not_heard():
    with serving(Present([value()]), password=SECRET) as page:
        for path in ("/", "/api/now", "/metrics", "/api/events", "/page.css"):
            code, headers, body = get(page, path)
            assert (code, "cellar" in body.decode()) == (401, False)
            assert headers["www-authenticate"].startswith("Basic ")
        code, headers, body = get(page, "/", Accept="text/html,*/*")
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert text_of(body) == "Unauthorized\nUnauthorized\n401: there is no answer.\nLoad the page again"
        assert get(page, "/", Authorization=login(SECRET))[0] == 200
        codes = [get(page, "/", Authorization=login(f"wrong{n}"))[0] for n in range(12)]
        assert codes == [401] * 10 + [429] * 2
        assert get(page, "/", Authorization=login(SECRET))[0] == 429
    assert SECRET not in str(shown(page))


def test_who_guesses_through_a_proxy_does_not_lock_out_those_whom_it_has_let_in():
    with serving(Present([value()]), password=SECRET) as page:
        assert get(page, "/", Authorization=login(SECRET), X_Forwarded_For="192.0.2.7")[0] == 200
        guesses = [
            get(page, "/", Authorization=login(f"wrong{n}"), X_Forwarded_For=f"192.0.2.{n}")[0]
            for n in range(100, 112)
        ]
        assert guesses == [401] * 10 + [429] * 2
        assert get(page, "/", Authorization=login(SECRET), X_Forwarded_For="192.0.2.7")[0] == 200
        assert get(page, "/", Authorization=login(SECRET), X_Forwarded_For="192.0.2.8")[0] == 429
        guesses = [
            get(page, "/", Authorization=login(f"wrong{n}"), X_Forwarded_For="192.0.2.7")[0]
            for n in range(12)
        ]
        assert guesses == [401] * 10 + [429] * 2


@pytest.mark.parametrize("given", ["Basic", "Basic !!!!", "Bearer x", "", "Basic " + "A" * 4000])
def test_what_is_no_password_is_refused(given):
    with serving(Present([]), password=SECRET) as page:
        assert get(page, "/", Authorization=given)[0] == 401


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50]
)
def test_what_is_no_http_is_refused_without_a_traceback(data, caplog):
    with serving(Present([])) as page:
        raw(page, data)
        assert get(page, "/")[0] == 200
    assert "Traceback" not in caplog.text


def test_more_connections_than_there_is_room_for_are_closed_and_the_others_are_answered():
    with serving(Present([value()])) as page:
        slow = [socket.create_connection(page.address, timeout=30) for _ in range(40)]
        wait_until(lambda: page._server.refused["too-many-clients"] >= 8)
        for client in slow:
            client.close()
        wait_until(lambda: get_or_none(page) == 200)


def get_or_none(page: Page) -> int | None:
    try:
        return get(page, "/")[0]
    except OSError:
        return None


def events(page: Page, number: int, act=lambda: None) -> list[dict]:
    """Return the first events; `act` is called after the first."""
    found = []
    with socket.create_connection(page.address, timeout=30) as client:
        client.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with client.makefile("rb") as lines:
            for line in lines:
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
                    if len(found) == number:
                        return found
                    act()
    raise AssertionError("the stream has ended")


def test_what_changes_is_sent_to_who_looks_and_nothing_runs_while_nobody_does():
    present = Present([value(1), value(2, "flow")])
    with serving(present) as page:
        assert present.flags == []

        def change() -> None:
            wait_until(lambda: present.flags)
            present.change(value(1), replace(value(2, "flow"), value=30.0, last=30.0, age=0.0))

        first, second = events(page, 2, change)
        wait_until(lambda: page._live._clients == 0)
    assert set(first["tiles"]) == {"9/1", "9/2"}
    assert first["page"]["headline"] == "All is well"
    assert {key: tile["figure"] for key, tile in second["tiles"].items()} == {"9/2": "30.0"}


def test_who_comes_and_goes_leaves_nothing_running():
    present = Present([value(1)])
    live = Live(present, lambda: {"page": {"headline": "All is well"}})
    for _ in range(5):
        looking = live.stream()
        next(looking)
        looking.close()
    looking = live.stream()
    next(looking)
    assert [thread.name for thread in threading.enumerate()].count("page-live") == 1
    looking.close()
    live.close()


def test_with_room_for_no_more_streams_it_says_so():
    with serving(Present([])) as page:
        page._live._clients = 16
        assert get(page, "/api/events")[0] == 503
        page._live._clients = 0


def test_neither_a_path_nor_a_key_is_in_any_answer():
    key = "00112233445566778899aabbccddeeff"
    how = replace(
        troubled(f"http://h/?apikey={key}: not reached"),
        file="/etc/secret-place/oemgateway.conf",
        troubles=["/etc/secret-place/oemgateway.conf has faults"],
    )
    with serving(Present([value()], how), password="none") as page:
        for path in ("/", "/api/now", "/metrics"):
            body = get(page, path)[2].decode()
            assert key not in body
            assert "secret-place" not in body
            assert str(how.pid) not in re.findall(r"\d+", body)


@pytest.mark.parametrize(
    ("trouble", "shown_text"),
    [
        ("/var/lib/oemgateway/queue.db is damaged", "queue.db is damaged"),
        ("cannot open (/dev/ttyAMA0): no such file", "cannot open (ttyAMA0): no such file"),
        ("this user may not read home/+/log/+ (<b>x</b>)", "this user may not read home/+/log/+ (<b>x</b>)"),
        ("'/sys/class/net/eth0/rx': gone", "'rx': gone"),
        ("http://emonpi/emoncms/input: not reached", "http://emonpi/emoncms/input: not reached"),
        ("http://h: it answers 404 to /input/bulk: x", "http://h: it answers 404 to /input/bulk: x"),
        ("emonpi/temp/#: 1/2 of 3 °C/h, and / alone", "emonpi/temp/#: 1/2 of 3 °C/h, and / alone"),
    ],
)
def test_a_trouble_names_files_without_their_folders(trouble, shown_text):
    with serving(Present([], troubled(trouble))) as page:
        assert json.loads(get(page, "/api/now")[2])["troubles"][0] == f"bridge: {shown_text}"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::"])
def test_others_are_let_in_only_with_a_password_or_with_the_word_none(host):
    with pytest.raises(SettingsFault, match="a password expected, as others can connect"):
        build(Page, {"host": host})
    assert build(Page, {"host": host, "password": "none"})
    with pytest.raises(SettingsFault, match="8 to 128 characters"):
        build(Page, {"host": host, "password": "short"})


@pytest.mark.parametrize("entries", [{"host": "*"}, {"hosts": "http://my.house"}, {"hosts": "my.house:443"}])
def test_a_name_that_no_host_can_have_is_a_fault(entries):
    with pytest.raises(SettingsFault, match="the name or the IP address of a host expected"):
        build(Page, entries)


def test_a_port_that_another_section_has_is_a_fault_of_the_configuration(written):
    two = (
        "[listeners]\n[[push]]\ntype = http\nport = 8088\n"
        "[dispatchers]\n[[page]]\ntype = page\nhost = 0.0.0.0\npassword = none\n"
    )
    with pytest.raises(ConfigFaults, match="port 8088"):
        config.read(written(two))


def test_a_port_that_another_section_has_is_an_expected_failure():
    with serving(Present([])) as page:
        other = build(Page, {"port": str(page.address[1])})
        other.present = Present([])
        with pytest.raises(OSError, match="the port is in use by another section of this gateway: "):
            other.open()
        other.close()


@pytest.mark.parametrize(
    ("means", "line"),
    [
        ([], ""),
        ([None, None], ""),
        ([1.0, 1.0], "M0.0 16.0L120.0 16.0"),
        ([0.0, 1.0, None, 1.0, 0.0], "M0.0 30.0L30.0 2.0M90.0 2.0L120.0 30.0"),
        ([None, 1.0, None], "M60.0 16.0L60.0 16.0"),
    ],
)
def test_gaps_are_gaps_in_the_curve(means, line):
    assert spark(means)[0] == line


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (18.75, "°C", "18.8"),
        (-0.04, "°C", "-0.0"),
        (230.456, "V", "230.5"),
        (25_377_000, "", "25\u202f377\u202f000"),
        (252.0, "W", "252"),
        (0.012345, "", "0.01235"),
        (3e38, "", "3e+38"),
    ],
)
def test_figures(number, unit, text):
    assert figure(number, unit) == text


def test_the_running_gateway_serves_what_its_sensors_say(written, tmp_path):
    file = written(
        f"[gateway]\nsimulate = yes\nstate_dir = {tmp_path}/state\nsocket = {tmp_path}/state/control\n"
        "[listeners]\n[[bridge]]\ntype = ds2482\nbus = simulated\nnode = 9\ninterval = 1\n"
        "sensor1 = 28.33F749050000, cellar\n[dispatchers]\n[[page]]\ntype = page\nport = 0\n"
    )
    with running(file) as gateway:
        page = gateway._dispatchers["page"].plugin
        said = wait_until(lambda: _values(page))
    assert (said[0]["label"], said[0]["unit"]) == ("cellar", "°C")
    assert 0 < said[0]["value"] < 30


def _values(page: Page) -> list[dict]:
    try:
        said = json.loads(get(page, "/api/now")[2])["values"]
    except OSError:
        return []
    return said if said and said[0]["value"] is not None else []


def test_a_clock_in_doubt_is_named():
    how = status(clock=replace(status().clock, doubt="the clock shows 1970"))
    with serving(Present([], how)) as page:
        assert "the clock shows 1970" in text_of(get(page, "/")[2])


def test_a_real_prometheus_scrapes_the_metrics(tmp_path):
    program = need("prometheus", "prometheus")
    port = free_port()
    with serving(Present([value(), dead(2, "flow")]), password=SECRET) as page:
        target = f"127.0.0.1:{page.address[1]}"
        (tmp_path / "prometheus.yml").write_text(
            "scrape_configs:\n- job_name: oemgateway\n  scrape_interval: 1s\n"
            f"  basic_auth: {{username: me, password: {SECRET}}}\n"
            f"  static_configs: [{{targets: ['{target}']}}]\n"
        )
        command = [
            program,
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
        ]
        with subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
        ) as prometheus:
            try:
                found = wait_until(lambda: _queried(port, "oemgateway_value"))
                times = _queried(port, "oemgateway_value_timestamp_seconds")
            finally:
                prometheus.terminate()
    ((labels, number),) = found
    assert (labels["node"], labels["index"], labels["name"], number) == ("9", "1", "cellar", "11.8125")
    assert len(times) == 2


def _queried(port: int, what: str) -> list[tuple[dict, str]]:
    """Return labels and value of each series that Prometheus has."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={what}", timeout=5) as answer:
            result = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return [(each["metric"], each["value"][1]) for each in result]


def test_what_the_running_gateway_reads_is_in_the_history_after_a_restart(written, tmp_path):
    file = written(
        f"[gateway]\nsimulate = yes\nstate_dir = {tmp_path}/state\nsocket = {tmp_path}/state/control\n"
        "[listeners]\n[[bridge]]\ntype = ds2482\nbus = simulated\nnode = 9\ninterval = 1\n"
        "sensor1 = 28.33F749050000, cellar\n[dispatchers]\n[[page]]\ntype = page\nport = 0\ninterval = 0\n"
    )
    for least in (3, 1):
        with running(file) as gateway:
            page = gateway._dispatchers["page"].plugin
            before = _counted(page)
            wait_until(lambda: _counted(page) >= before + least)  # noqa: B023  (called at once)
            kept = _counted(page)
    assert kept >= before + 1 >= 4


def test_what_an_earlier_boot_may_have_written_is_in_no_doubt(tmp_path):
    # given frames that were there when the power was lost
    frames = [Frame("9", [float(n)], Stamp(time.time() - 60, "", 0.0)) for n in range(3)]
    leave_queue(tmp_path / "queue.db", frames, "page")
    spool = open_queue(tmp_path / "queue.db", "page")
    with serving(Present([]), tmp_path, interval="0") as page:
        keeper = Timekeeper(page.clock, past=0.0, synchronised=lambda: True)
        worker = DispatcherWorker(page, spool, Dating(spool, keeper, page.clock, TimeNote(tmp_path)))
        # when the next boot goes on
        worker.start()
        wait_until(lambda: not spool.standing("page").waiting)
        worker.stop.set()
        worker.join(60)
    spool.close()
    # then none is said to have come twice, as the history counts each once
    assert (worker.doubled, worker.failures) == (0, 0)


def _counted(page: Page) -> int:
    try:
        said = json.loads(get(page, "/api/series?node=9&index=1&span=24h")[2])
    except (OSError, ValueError):
        return 0
    return sum(point[4] for point in said["points"])


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", r"http://127\.0\.0\.1:\d+/ \(this machine only: host = 0\.0\.0\.0 and a password let"),
        ("0.0.0.0", r"http://ADDRESS-OF-THIS-MACHINE:\d+/ \(`hostname -I` says the address\)"),
    ],
)
def test_the_log_says_an_address_that_a_browser_can_open(caplog, host, said):
    caplog.set_level("INFO")
    with serving(Present([value()]), host=host, password="a-word-of-yours"):
        pass
    assert re.search(f"the page is at {said}", caplog.text)
