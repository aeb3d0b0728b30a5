"""The port that devices post to, over real connections."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import struct
import threading
from pathlib import Path

import pytest
import requests

from gateway.flag import Flag
from gateway.settings import SettingsFault, build, shown
from listeners.http import listener as http_listener
from listeners.http.listener import Http
from listeners.simulated.clock import VirtualClock
from tests.gateway_process import run
from tests.peers import need
from tests.waiting import wait_until

KEY = "0123456789abcdef0123456789abcdef"
GET = b"GET /input/post?node=7&csv=%d HTTP/1.1\r\nHost: gateway\r\n\r\n"


# --- the settings -------------------------------------------------------------------------------------------


def test_a_bare_section_will_do():
    listener = build(Http, {})
    assert (listener.host, listener.port, listener.apikey) == ("127.0.0.1", 8080, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "::1", "localhost"])
def test_on_this_machine_alone_no_key_is_needed(host):
    assert build(Http, {"host": host}).apikey is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "gateway.local"])
def test_where_others_can_connect_a_key_is_needed(host):
    with pytest.raises(SettingsFault) as refusal:
        build(Http, {"host": host})
    ((key, message),) = refusal.value.faults
    assert key == "apikey"
    assert message.startswith(f"a key expected, as others can connect to {host}")
    assert build(Http, {"host": host, "apikey": KEY}).apikey == KEY


def test_the_key_is_a_secret():
    listener = build(Http, {"apikey": KEY})
    assert KEY not in repr(listener)
    assert shown(listener)["apikey"] == "********"


@pytest.mark.parametrize("key", ["short1", "12345678", "with a space", "ümlaut-key"])
def test_a_key_that_will_not_do_is_a_fault_that_does_not_repeat_it(key):
    with pytest.raises(SettingsFault) as refusal:
        build(Http, {"apikey": key})
    assert key not in str(refusal.value)


# --- the port -----------------------------------------------------------------------------------------------


class Running:
    """A listener that is read as the core reads it: `kept` is what is on disk."""

    def __init__(self, state: Path | None = None, **settings: object) -> None:
        self.listener = Http(port=0, **settings)
        self.listener.state = state
        self.listener.name = "push"
        self.listener.clock = VirtualClock()
        self.listener.is_sure = lambda: True
        self.listener.open()
        self.kept = []
        self.put = self.kept.extend
        self.stop = Flag()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            frames = self.listener.read(self.stop)
            if frames:
                self.put(frames)

    def end(self) -> None:
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.listener.close()
        self.listener.close()

    @property
    def url(self) -> str:
        host, port = self.listener.address
        return f"http://{host}:{port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.address, timeout=60)

    @property
    def counts(self) -> dict:
        return self.listener.health().faults

    def said(self) -> list:
        return [(frame.node, frame.values) for frame in self.kept]


@pytest.fixture
def running(at_end):
    """Return a function that runs a listener on a free port; all of them end with the test."""

    def run(**settings):
        made = Running(**settings)
        at_end.callback(made.end)
        return made

    return run


def answer(connection: socket.socket) -> tuple[int, str]:
    """Return status and text of the next answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1)
    head = data.decode()
    length = int(head.split("Content-Length: ")[1].split("\r\n")[0])
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(head.split()[1]), body.decode()


def is_hung_up_on(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_device_posts_and_is_answered(running):
    gateway = running(apikey=KEY)
    reply = requests.post(
        f"{gateway.url}/input/post",
        data={"node": "door", "fulljson": '{"battery":2.91}'},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    assert (reply.status_code, reply.text) == (200, '{"success": true}')
    (frame,) = gateway.kept
    assert (frame.node, frame.names, frame.values) == ("door", ("battery",), (2.91,))
    assert frame.source == "push"
    assert frame.stamp == gateway.listener.clock.now()


def test_where_its_state_cannot_be_looked_at_it_takes_posts_all_the_same(tmp_path):
    gateway = Running(tmp_path / ("x" * 300))  # an error of the system, as of a directory that is not ours
    try:
        reply = requests.get(f"{gateway.url}/input/post?node=door&csv=1", timeout=60)
        assert (reply.status_code, len(gateway.kept)) == (200, 1)
    finally:
        gateway.end()


def test_one_connection_serves_for_many_requests(running):
    gateway = running()
    with requests.Session() as session:
        for number in range(50):
            assert session.get(f"{gateway.url}/input/post?node=7&csv={number}", timeout=60).text == "ok"
    assert gateway.said() == [("7", (number,)) for number in range(50)]
    assert gateway.counts == {}


def test_it_is_answered_when_the_disk_has_it_and_not_before(running):
    gateway = running()
    written = threading.Event()
    gateway.put = lambda frames: (written.wait(60), gateway.kept.extend(frames))
    with gateway.connect() as client:
        client.sendall(GET % 1)
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(60)
        written.set()
        assert answer(client) == (200, "ok")
        assert gateway.said() == [("7", (1,))]


def test_what_comes_while_it_is_to_end_is_neither_kept_nor_answered():
    listener = Http(port=0)
    listener.open()
    stop = Flag()
    with socket.create_connection(listener.address) as client:
        listener.read(stop)
        client.sendall(GET % 1)
        stop.set()
        assert listener.read(stop) == []
        listener.close()
        assert is_hung_up_on(client)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/input/post?csv=x&apikey=" + KEY, 400, "Format error, the value of 1 is not numeric: 'x'"),
        ("/input/post?csv=1", 401, "Invalid API key"),
        ("/input/list.json?apikey=" + KEY, 404, "/input/post, /input/bulk or /input/get expected"),
    ],
)
def test_a_refusal_has_a_status_and_a_sentence_and_the_next_request_its_turn(
    running, path, status, text, caplog
):
    gateway = running(apikey=KEY)
    with requests.Session() as session:
        reply = session.get(gateway.url + path, timeout=60)
        assert reply.status_code == status
        assert reply.text == text if status == 401 else reply.json() == {"success": False, "message": text}
        good = session.get(f"{gateway.url}/input/post?csv=1&apikey={KEY}", timeout=60)
        assert (good.status_code, good.text) == (200, "ok")
    assert len(gateway.kept) == sum(gateway.counts.values()) == 1
    assert text in caplog.text
    assert KEY not in caplog.text


def test_the_time_can_be_asked_for_without_a_key(running):
    gateway = running(apikey=KEY)
    with requests.Session() as session:
        for _ in range(2):
            reply = session.head(gateway.url, timeout=60)
            assert (reply.status_code, reply.headers["Date"]) == (200, "Tue, 14 Nov 2023 22:13:20 GMT")
    assert gateway.counts == {}


def test_a_body_that_is_too_large_is_refused_while_it_is_still_coming(running):
    gateway = running(size=1024)
    reply = requests.post(f"{gateway.url}/input/bulk", data={"data": "1" * 5_000_000}, timeout=60)
    assert reply.status_code == 413
    assert reply.json()["message"] == "at most 1024 bytes expected in a body"
    assert gateway.counts == {"too-large": 1}


def test_who_is_no_http_is_told_so_and_hung_up_on(running):
    gateway = running()
    with gateway.connect() as client:
        client.sendall(b"15 69 1664\r\n\r\n" + GET % 1)
        status, text = answer(client)
        assert (status, is_hung_up_on(client)) == (400, True)
        assert "GET /input/post" in text
    assert gateway.kept == []
    assert gateway.counts == {"not-http": 1}


def test_a_device_that_closes_its_side_first_is_answered(running):
    gateway = running()
    with gateway.connect() as client:
        client.sendall(b"GET /input/post?csv=1 HTTP/1.0\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert answer(client) == (200, "ok")
        assert is_hung_up_on(client)
    wait_until(lambda: not gateway.listener._server.clients)


def test_requests_that_come_in_one_piece_are_answered_in_their_order(running):
    gateway = running()
    with gateway.connect() as client:
        client.sendall(GET % 1 + b"GET /nowhere HTTP/1.1\r\n\r\n" + GET % 2)
        assert [answer(client)[0] for _ in range(3)] == [200, 404, 200]
    assert gateway.said() == [("7", (1,)), ("7", (2,))]


def test_who_asks_for_much_in_advance_waits_for_its_answers_and_asks_again(running):
    # given inputs that take some 200 kB to show
    gateway = running()
    names = {f"{index:04}{'x' * 50}": index for index in range(1600)}
    requests.post(f"{gateway.url}/input/post", data={"node": 7, "fulljson": json.dumps(names)}, timeout=60)
    with gateway.connect() as client:
        # when a client asks for 40 of these at once
        client.sendall(b"GET /input/get?node=7 HTTP/1.1\r\n\r\n" * 40)
        answers = b"".join(iter(lambda: client.recv(65536), b""))
    # then those that fit are whole, and the connection is closed after them
    assert 5 <= answers.count(b"HTTP/1.1 200 OK") < 10
    assert answers.endswith(b"}}")
    assert len(answers) < 2 << 20


def test_a_client_may_ask_before_it_sends_its_body(running):
    gateway = running()
    with gateway.connect() as client:
        client.sendall(b"POST /input/post HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"cs")
        client.sendall(b"v=1")
        assert answer(client) == (200, "ok")


def test_a_slow_client_is_cut_off_however_busy_it_is(running):
    gateway = running(timeout=10, idle=60)
    clock = gateway.listener.clock
    with gateway.connect() as slow, gateway.connect() as other:
        slow.sendall(b"GET")
        for n in range(6):
            clock.sleep(2)
            with contextlib.suppress(ConnectionError):
                slow.sendall(b" ")
            other.sendall(GET % n)
            assert answer(other) == (200, "ok")
        assert is_hung_up_on(slow)
    assert gateway.counts == {"too-slow": 1}


@pytest.mark.parametrize(
    ("begun", "words"),
    [
        (
            b"POST /input/post HTTP/1.1\r\nContent-Length: 99\r\n\r\ncsv=1",
            "127.0.0.1: 5 of 99 bytes of a body came in 10 s (timeout)",
        ),
        (
            b"POST /input/post HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ncsv=1\r\n",
            "127.0.0.1: 5 bytes of a body in chunks and no end of it came in 10 s (timeout)",
        ),
        (
            b"GET /input/post?csv=1 HTTP/1.1\r\nHost: pi",
            "127.0.0.1: no end of a request came in 10 s (timeout)",
        ),
    ],
)
def test_a_device_that_never_ends_its_post_is_told_of(running, begun, words, caplog):
    gateway = running(timeout=10, idle=60)
    clock = gateway.listener.clock
    for _ in range(3):
        with gateway.connect() as device, gateway.connect() as visitor:
            device.sendall(begun)
            wait_until(lambda: any(each.requests.begun for each in gateway.listener._server.clients))
            clock.sleep(11)
            visitor.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert is_hung_up_on(device)
    assert gateway.counts["too-slow"] == 3
    assert f"a request is refused (too-slow, 1 so far): '{words}'" in caplog.text
    assert gateway.listener.health().troubles == [
        "every request is refused: 3 in a row, the last one as too-slow"
    ]


def test_who_connects_and_says_nothing_is_hung_up_on(running):
    gateway = running(timeout=10, idle=60)
    clock = gateway.listener.clock
    with gateway.connect() as silent, gateway.connect() as other:
        other.sendall(GET % 1)
        assert answer(other) == (200, "ok")
        wait_until(lambda: len(gateway.listener._server.clients) == 2)
        clock.sleep(11)
        other.sendall(GET % 2)
        assert answer(other) == (200, "ok")
        assert is_hung_up_on(silent)
        # and who has posted may be silent for longer
        clock.sleep(61)
        with gateway.connect():
            assert is_hung_up_on(other)
    assert gateway.counts == {"idle": 2}


def test_a_client_that_goes_in_the_middle_leaves_nothing(running):
    gateway = running()
    with gateway.connect() as client:
        client.sendall(b"POST /input/post HTTP/1.1\r\nContent-Length: 99\r\n\r\ncsv=1")
    with gateway.connect() as client:
        client.sendall(b"GET")
        wait_until(lambda: any(client.requests.begun for client in gateway.listener._server.clients))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: gateway.counts == {"cut-short": 2})
    assert gateway.kept == []


def test_a_client_that_has_gone_before_its_answer_is_counted():
    listener = Http(port=0)
    listener.open()
    stop = Flag()
    with socket.create_connection(listener.address) as client:
        listener.read(stop)
        client.sendall(GET % 1)
        assert len(listener.read(stop)) == 1
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    (served,) = listener._server.clients
    wait_until(lambda: not served.send(b"x"))
    stop.set()
    assert listener.read(stop) == []
    assert listener.health().faults == {"gone-before-the-answer": 1}
    listener.close()


@pytest.fixture
def narrow(running):
    """Return a listener on a link that takes little at a time, and a client that has asked it for 400 kB."""
    gateway = running(timeout=10.0)
    gateway.listener._server._opened().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    names = {f"{index:04}{'x' * 50}": index for index in range(1600)}
    for node in range(2):
        requests.post(
            f"{gateway.url}/input/post", data={"node": node, "fulljson": json.dumps(names)}, timeout=60
        )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.settimeout(60)
        client.connect(gateway.listener.address)
        client.sendall(b"GET /input/get HTTP/1.1\r\n\r\n" + GET % 1)
        wait_until(lambda: any(each.unsent for each in gateway.listener._server.clients))
        yield gateway, client


def test_an_answer_that_is_longer_than_a_connection_has_room_for_arrives_whole(narrow):
    gateway, client = narrow
    # others are answered meanwhile
    assert requests.get(f"{gateway.url}/input/post?csv=2", timeout=60).text == "ok"
    status, text = answer(client)
    assert (status, {node: len(keys) for node, keys in json.loads(text).items()}) == (
        200,
        {"0": 1600, "1": 1600},
    )
    # and its next request, which came with the first
    assert answer(client) == (200, "ok")
    client.sendall(GET % 3)
    assert answer(client) == (200, "ok")
    assert gateway.counts == {}


def test_who_does_not_read_an_answer_is_hung_up_on(narrow):
    gateway, client = narrow
    gateway.listener.clock.sleep(11)
    requests.get(f"{gateway.url}/input/post?csv=2", timeout=60)
    wait_until(lambda: gateway.counts == {"gone-before-the-answer": 1})
    assert len(b"".join(iter(lambda: client.recv(65536), b""))) < 200_000


def test_answers_that_nobody_reads_have_a_bound_together(narrow, monkeypatch):
    gateway, _ = narrow
    monkeypatch.setattr(http_listener, "_UNSENT", 100_000)
    requests.get(f"{gateway.url}/input/post?csv=2", timeout=60)
    wait_until(lambda: gateway.counts == {"gone-before-the-answer": 1})


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_post_that_is_on_disk_is_answered_although_the_gateway_ends(is_kept):
    listener = Http(port=0)
    listener.name = "push"
    listener.open()
    with socket.create_connection(listener.address, timeout=60) as client:
        # given a post that was read, and that the core has put on disk or not
        client.sendall(GET % 5)
        wait_until(lambda: listener.read(Flag()))
        if is_kept:
            listener.synced.note_put(1)
        # when it is told to stop before it reads again
        listener.close()
        # then a device posts again only what is not there
        if is_kept:
            assert answer(client) == (200, "ok")
        assert client.recv(1000) == b""


def test_a_post_that_is_read_when_no_further_client_can_be_accepted_is_not_answered(monkeypatch):
    def admit(ready: set[int], now: float) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    listener = Http(port=0)
    listener.name = "push"
    listener.open()
    with socket.create_connection(listener.address, timeout=60) as client:
        wait_until(lambda: listener.read(Flag()) or listener._server.clients)
        # given a post that comes together with another client, for which there is no descriptor
        client.sendall(GET % 5)
        monkeypatch.setattr(listener._server, "admit", admit)
        with pytest.raises(OSError, match="Too many open files"):
            listener.read(Flag())
        # when the core closes the listener for that, without the frames
        listener.close()
        # then the device posts it again
        assert client.recv(1000) == b""


def test_one_host_posts_only_so_often_in_a_second(running):
    gateway = running(rate=3)
    with gateway.connect() as client:
        client.sendall(b"".join(GET % n for n in range(5)))
        assert [answer(client)[0] for _ in range(5)] == [200, 200, 200, 429, 429]
        gateway.listener.clock.sleep(1)
        client.sendall(GET % 5)
        assert answer(client) == (200, "ok")
    assert gateway.counts == {"too-often": 2}


def test_a_time_that_cannot_be_is_counted_and_told_once(running, caplog):
    gateway = running()
    for when in ("12", "1795959751000", "yesterday"):
        assert requests.get(f"{gateway.url}/input/post?csv=1&time={when}", timeout=60).text == "ok"
    assert gateway.counts == {"time-not-believed": 3}
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("127.0.0.1 gives a time that cannot be, and its reading has that of its arrival: ")


BAD = ["csv=%1c1", "csv=1&time=%1c1", "fulljson=%7B%22a%22%3A%22%5Cu001c1%22%7D", "csv=%85", "csv=%e2%80%a8"]


def test_posts_that_are_bad_are_no_reason_to_hang_up_on_anyone(running):
    gateway = running()
    with gateway.connect() as good, gateway.connect() as bad:
        for number in range(20):
            for query in BAD:
                bad.sendall(f"GET /input/post?{query} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
                assert answer(bad)[0] in (200, 400)
            good.sendall(GET % number)
            assert answer(good) == (200, "ok")
    assert [values for node, values in gateway.said() if node == "7"] == [(n,) for n in range(20)]


def test_not_even_a_bug_that_a_post_brings_to_light_is(running, monkeypatch, caplog):
    gateway = running()
    take = http_listener.take

    def fragile(request, *more):
        if "boom" in request.target:
            raise ZeroDivisionError("boom")
        return take(request, *more)

    monkeypatch.setattr(http_listener, "take", fragile)
    with gateway.connect() as good, gateway.connect() as bad:
        for number in range(3):
            bad.sendall(b"GET /input/post?csv=1&boom HTTP/1.1\r\n\r\n")
            assert answer(bad)[0] == 500
            good.sendall(GET % number)
            assert answer(good) == (200, "ok")
    # and its traceback is in the log, once
    assert [record.exc_info is not None for record in caplog.records].count(True) == 1
    assert gateway.counts == {"fault-in-the-program": 3}


def test_text_that_is_no_value_is_counted_and_told_once(running, caplog):
    gateway = running()
    url = f"{gateway.url}/input/post?node=openevse"
    for _ in range(3):
        requests.get(url, params={"fulljson": '{"amp":0,"status":"active"}'}, timeout=60)
    assert gateway.said() == [("openevse", (0, None))] * 3
    assert gateway.counts == {"text-is-no-value": 3}
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "127.0.0.1 posts text, which is not a value, as 'status'"
    ]


def test_where_every_post_is_refused_something_is_wrong(running):
    gateway = running()
    for _ in range(3):
        assert requests.get(f"{gateway.url}/input/post?csv=abc", timeout=60).status_code == 400
    assert gateway.listener.health().troubles == [
        "every request is refused: 3 in a row, the last one as bad-data"
    ]
    requests.get(f"{gateway.url}/input/post?csv=1", timeout=60)
    assert gateway.listener.health().troubles == []


@pytest.mark.parametrize(
    "visit",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /favicon.ico HTTP/1.1\r\n\r\n",
        b"GET /input/post HTTP/1.1\r\n\r\n",
        b"OPTIONS / HTTP/1.0\r\n\r\n",
        b"OPTIONS / RTSP/1.0\r\n\r\n",
    ],
)
def test_who_posts_nothing_is_a_visitor_and_no_trouble(running, visit, caplog):
    # given six visits of a browser or a port scan
    gateway = running()
    for _ in range(6):
        with gateway.connect() as client:
            client.sendall(visit)
            assert client.recv(100).startswith(b"HTTP/1.1 4")
    # then they are counted, and that is all
    assert [*gateway.counts.values()] == [6]
    assert gateway.listener.health().troubles == []
    assert "refused" not in caplog.text


@pytest.mark.parametrize(
    "post",
    [
        b"GET /api/post?apikey=1&json={a:1} HTTP/1.1\r\n\r\n",
        b"POST /emon HTTP/1.1\r\nContent-Length: 5\r\n\r\ncsv=1",
        b"GET /input/post?json={a: 1} HTTP/1.1\r\n\r\n",
        b"POST /input/post\r\nContent-Length: 5\r\n\r\ncsv=1",
        b"POST /input/post HTTP/1.1\r\n\r\ncsv=1",
    ],
)
def test_a_device_that_posts_to_a_wrong_place_or_in_a_wrong_form_is_a_trouble(running, post):
    gateway = running()
    for _ in range(3):
        with gateway.connect() as client:
            client.sendall(post)
            assert client.recv(100).startswith(b"HTTP/1.1 4")
    (trouble,) = gateway.listener.health().troubles
    assert trouble.startswith("every request is refused: 3 in a row")


def asked(gateway, node="7"):
    return requests.get(f"{gateway.url}/input/get?node={node}", timeout=60).text


def test_what_was_posted_last_can_be_asked_for_once_it_is_on_disk(running):
    gateway = running()
    assert asked(gateway) == '"Node does not exist"'
    requests.get(f"{gateway.url}/input/post?node=7&csv=1,2", timeout=60)
    now = int(gateway.listener.clock.wall())
    shown = {key: {"time": now, "value": value, "processList": ""} for key, value in (("1", 1), ("2", 2))}
    assert json.loads(asked(gateway)) == shown


def test_and_after_a_restart_where_anyone_ever_asked(tmp_path):
    # given a gateway that nobody asks: it writes nothing
    gateway = Running(state=tmp_path)
    requests.get(f"{gateway.url}/input/post?node=7&csv=1", timeout=60)
    gateway.end()
    assert list(tmp_path.iterdir()) == []
    # when someone asks, and it is started again
    gateway = Running(state=tmp_path)
    requests.get(f"{gateway.url}/input/post?node=7&csv=2", timeout=60)
    before = asked(gateway)
    gateway.end()
    gateway = Running(state=tmp_path)
    # then it knows what it knew
    assert json.loads(asked(gateway)) == json.loads(before) != {}
    gateway.end()


def test_readings_are_taken_where_what_was_asked_for_cannot_be_read(tmp_path):
    gateway = Running(state=tmp_path)
    requests.get(f"{gateway.url}/input/post?node=7&csv=2", timeout=60)
    asked(gateway)
    gateway.end()
    (kept,) = tmp_path.iterdir()
    kept.unlink()
    kept.mkdir()
    gateway = Running(state=tmp_path)
    assert requests.get(f"{gateway.url}/input/post?node=7&csv=3", timeout=60).text == "ok"
    gateway.end()


def test_curl_posts(running):
    curl = need("curl", "curl")
    gateway = running(apikey=KEY)
    for arguments in (
        ["--data", "node=1&csv=1,2"],
        ["--data", "node=1&csv=1,2", "--header", "Transfer-Encoding: chunked"],
        ["--data-urlencode", 'json={"1":1,"2":2}', "--data", "node=1", "--http1.0"],
        ["--data", f"node=1&csv=1,2&filler={'x' * 2000}", "--header", "Expect: 100-continue"],
    ):
        place = f"{gateway.url}/emoncms/input/post.json"
        assert run(curl, "-s", "--oauth2-bearer", KEY, *arguments, place).stdout == "ok"
    assert gateway.said() == [("1", (1, 2))] * 4


def test_a_listener_that_is_not_open_says_so():
    with pytest.raises(OSError, match="not open"):
        Http().read(Flag())


def test_who_can_reach_it_is_said(caplog):
    caplog.set_level(logging.INFO, logger="oemgateway")
    for listener in (Http(port=0), Http(port=0, host="0.0.0.0", apikey=KEY)):
        listener.open()
        listener.close()
    alone, others = (record.getMessage() for record in caplog.records)
    assert "(this machine only: host = 0.0.0.0 and a key let others in)" in alone
    assert others.startswith("listens on 0.0.0.0:")
    assert "(" not in others
