"""Whatever a server answers is a delivery or a named failure, within its time and its memory."""

from __future__ import annotations

import errno
import gzip
import json
import math
import os
import random
import socket
import time
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.commands import main
from gateway.dispatchers.emoncms.answers import decode, judge, judge_inputs
from gateway.dispatchers.emoncms.dispatcher import Emoncms
from gateway.dispatchers.emoncms.proof.account import Account
from gateway.dispatchers.http_client.pages import excerpt, read_json
from gateway.dispatchers.http_client.session import Server
from gateway.plugin import DeliveryFailure, OutcomeUnknown, Progress, TryLater
from tests.at_emoncms import KEY, dispatcher, failure_of, frame, prepare, send
from tests.gateway_process import GatewayProcess, state
from tests.ports import connect, free_port
from tests.simulators.emoncms import FakeEmoncms
from tests.simulators.peer import silence
from tests.simulators.raw_http import RawHttp
from tests.waiting import wait_until

MB = 1_000_000


def failure_within(seconds, emoncms, *frames):
    """Return the failure of a delivery, which has to come in this time."""
    began = time.monotonic()
    failure = failure_of(emoncms, *frames)
    assert time.monotonic() - began < seconds
    return failure


@pytest.fixture
def server():
    with RawHttp() as server:
        yield server


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an answer that ends with its connection."""
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]).encode("latin-1") + body


def peak_of(action) -> tuple[object, int]:
    """Return what an action returns, and the bytes of memory that it took at most."""
    tracemalloc.start()
    try:
        return action(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def outcome(action, *arguments) -> object:
    """Return what it returns, or the failure that it raises; anything else is a fault of ours."""
    caught: object
    try:
        return action(*arguments)
    except DeliveryFailure as failure:
        caught = failure
    assert "\n" not in str(caught)
    assert KEY not in str(caught)
    return caught


class TestSize:
    @pytest.mark.parametrize(
        "status", ["200 OK", "302 Found", "401 Unauthorized", "500 Internal Server Error"]
    )
    @pytest.mark.parametrize(
        "framing", [(), ("Content-Length: 300000000",), ("Transfer-Encoding: chunked",)], ids=str
    )
    def test_a_body_without_end_is_read_to_a_megabyte(self, server, status, framing):
        # given a server that sends 300 MB, whatever it says of them
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n" if framing and "chunked" in framing[0] else b"x" * 65536

        def said():
            yield answer(b"", *framing, "Location: /x", status=status)
            yield from (piece for _ in range(300 * MB // 65536))

        server.said = said
        with dispatcher(server.url) as emoncms:
            # when a batch is posted
            failure, peak = peak_of(lambda: failure_of(emoncms))
        # then a megabyte of it is read, and what the kernel had taken by then
        assert type(failure) is OutcomeUnknown
        assert "it was sent, but its answer is longer than 1 MB" in str(failure)
        assert server.sent < 20 * MB
        assert peak < 10 * MB

    @pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "GZIP"])
    @pytest.mark.parametrize("status", ["200 OK", "302 Found"])
    def test_what_is_decompressed_counts(self, server, coding, status):
        zeros = bytes(50 * MB)
        bomb = zlib.compress(zeros) if coding == "deflate" else gzip.compress(zeros)
        server.answers(answer(bomb, f"Content-Encoding: {coding}", "Location: /x", status=status))
        with dispatcher(server.url) as emoncms:
            failure, peak = peak_of(lambda: failure_of(emoncms))
        assert "longer than 1 MB" in str(failure)
        assert peak < 10 * MB

    def test_a_list_may_be_larger_and_has_its_bound_too(self, server):
        far = Server(server.url, KEY, None, 30)
        feed = {"id": 1, "tag": "9", "name": "x" * 1000}
        server.answers(answer(json.dumps([feed] * 10_000).encode()))
        assert len(Account(far).feeds()) == 10_000
        server.said = lambda: [answer(b"["), *(b"1," * 32768 for _ in range(300))]
        assert "longer than 16 MB" in str(outcome(Account(far).feeds))

    @pytest.mark.parametrize(
        "said",
        [
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"x" * 65536,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 65536,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + b"1" * 65536,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"trailer: x\r\n" * 5000,
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 65536,
        ],
        ids=["continue", "status", "chunk size", "negative chunk", "trailers", "header"],
    )
    def test_what_is_no_body_has_a_bound_too(self, server, said):
        # given what a client may read for ever, and some of it without a line's end
        def endless():
            yield said
            yield from (said[-12:] * 5000 for _ in range(1500))

        server.said = endless
        with dispatcher(server.url) as emoncms:
            failure, peak = peak_of(lambda: failure_of(emoncms))
        assert type(failure) is OutcomeUnknown
        assert peak < 10 * MB


class TestTime:
    @pytest.mark.parametrize(
        ("before", "piece"),
        [
            (b"", b"H"),
            (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
            (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
            (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
            (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b"x"),
        ],
    )
    def test_an_answer_that_trickles_has_one_deadline(self, server, before, piece):
        # given a server that never lets a wait of 0.6 s pass without a byte
        server.trickling(before, piece, 0.05)
        with dispatcher(server.url, timeout=0.6) as emoncms:
            began = time.monotonic()
            failure = failure_of(emoncms)
            assert time.monotonic() - began < 10
            assert type(failure) is OutcomeUnknown
            assert "it was sent, but no complete answer within 0.6 s" in str(failure)
            # and so for what is only asked
            assert "no complete answer within 0.6 s" in str(outcome(Account(emoncms.server).inputs))

    def test_a_request_that_nobody_reads_has_the_same(self, peer):
        with dispatcher(f"http://127.0.0.1:{peer(silence).port}", timeout=0.6) as emoncms:
            rows = [frame(*map(float, range(1000))) for _ in range(250)]
            assert type(failure_within(60, emoncms, *rows)) is OutcomeUnknown  # encoding them takes its time

    def test_nothing_of_what_was_given_up_arrives_afterwards(self):
        # given a machine that takes the beginning of a batch, as where a wireless network fails meanwhile
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            with dispatcher(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.6) as emoncms:
                rows = [frame(*map(float, range(100))) for _ in range(100)]
                # when its delivery is given up, and then taken again there
                assert type(failure_of(emoncms, *rows)) is OutcomeUnknown
                connection, _ = listening.accept()
                # then its rest does not come, as it is sent once more
                with connection, connection.makefile("rb") as request, pytest.raises(ConnectionResetError):
                    request.read()

    def test_a_handshake_that_nobody_answers_has_the_same(self, peer):
        with dispatcher(f"https://127.0.0.1:{peer(silence).port}", timeout=0.6) as emoncms:
            assert type(failure_within(10, emoncms)) is TryLater

    def test_an_address_that_is_dead_leaves_time_for_one_that_answers(self, server, full_port, monkeypatch):
        server.answers(answer(b"ok"))
        ports = (full_port, int(server.url.rpartition(":")[2]))
        found = [info for port in ports for info in socket.getaddrinfo("127.0.0.1", port, type=1)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with dispatcher("http://here.example", timeout=2) as emoncms:
            assert emoncms.post("[]") is None

    def test_a_name_server_that_is_silent_is_what_is_named(self, server, monkeypatch):
        # given a router that drops the question for an IPv6 address
        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda *at, **how: time.sleep(0.7) or real(*at, **how))
        with dispatcher(server.url, timeout=0.6) as emoncms:
            failure = failure_within(10, emoncms)
        assert type(failure) is TryLater
        assert "no address for its name (DNS) within 0.6 s" in str(failure)

    @pytest.mark.parametrize("number", [errno.ECONNRESET, errno.EPIPE])
    def test_a_connection_that_is_reset_while_it_is_made_is_said_so(self, server, monkeypatch, number):
        # given a server that is being stopped: the kernel resets what waits to be accepted
        def reset(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(socket.socket, "connect", reset)
        with dispatcher(server.url) as emoncms:
            failure = failure_of(emoncms)
        assert type(failure) is TryLater
        assert f"not reached ({os.strerror(number)})" in str(failure)

    def test_many_addresses_have_it_together(self, full_port, monkeypatch):
        # given a name with a hundred addresses of which none answers
        found = socket.getaddrinfo("127.0.0.1", full_port, type=socket.SOCK_STREAM) * 100
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with dispatcher(f"http://127.0.0.1:{full_port}", timeout=1) as emoncms:
            assert type(failure_within(20, emoncms)) is TryLater

    def test_sigterm_ends_the_daemon_while_an_answer_trickles(self, server, tmp_path, written):
        port = free_port()
        file = written(
            f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
            f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {KEY}\ninterval = 0\n"
        )
        server.trickling(answer(b"", "Content-Length: 900000"), b"x" * 1000, 0.01)
        with GatewayProcess(file) as gateway:
            with connect(port) as client:
                client.sendall(b"15 1\n")
            wait_until(lambda: server.sent > 10_000)
            began = time.monotonic()
            assert gateway.stop() == 0
            assert time.monotonic() - began < 10  # it is two seconds, on a machine with nothing else to do


NESTED = "[" * 100_000
HUGE = "9" * 5000


class TestContent:
    @pytest.mark.parametrize(
        "text",
        [
            NESTED,
            NESTED + "]" * 100_000,
            '{"a":' * 100_000,
            "[" * 100 + "]" * 100,
            HUGE,
            f'[{{"time":{HUGE},"value":1}}]',
            f'{{"message":{NESTED}}}',
        ],
        ids=["open", "closed", "objects", "a little", "digits", "digits inside", "nested inside"],
    )
    def test_json_of_any_depth_and_length_is_json_or_a_failure(self, server, text):
        with pytest.raises(ValueError, match=r"nested|digits|Expecting"):
            read_json(text)
        server.answers(answer(text.encode()))
        with dispatcher(server.url) as emoncms:
            assert isinstance(outcome(prepare(emoncms, [frame(1.0)]).send), DeliveryFailure)
            assert isinstance(outcome(prepare(emoncms, [frame(1.0)]).delivered), DeliveryFailure)
            assert isinstance(outcome(Account(emoncms.server).inputs), DeliveryFailure)
            assert isinstance(outcome(Account(emoncms.server).feeds), DeliveryFailure)

    @pytest.mark.parametrize(
        ("date", "shown"),
        [
            ("Sat, 28 Nov 2026 18:01:16 GMT", 1_795_888_876.0),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_799.0),
            ("Mon, 01 Jan 2001 00:00:05 GMT", 978_307_205.0),
            ("Sat, 28 Nov 99999 18:01:16 GMT", None),
            ("Sat, 28 Nov 0000 18:01:16 GMT", None),
            ("Sat, 31 Feb 2026 18:01:16 GMT", None),
            ("Sat, 28 Nov 2026 18:01:16 +9999999999", None),
            ("28", None),
            ("", None),
            ("\x00\xff", None),
        ],
    )
    def test_a_date_is_a_time_or_none(self, server, date, shown):
        server.answers(answer(b"ok", f"Date: {date}"))
        with dispatcher(server.url) as emoncms:
            assert emoncms.time() == shown
            send(emoncms, [frame(1.0)])

    @pytest.mark.parametrize(
        "header",
        [
            "Content-Type: text/html; charset",
            "Content-Type: ;;;=",
            "Set-Cookie: a=b; expires=Sat, 99 Nov 99999; path=; domain=.",
            "Set-Cookie: =;=;=\x00",
            "Link: <",
            "WWW-Authenticate: \xff",
            "Keep-Alive: timeout=99999999999999999999",
            "Content-Encoding: identity",
            "no header at all",
        ],
    )
    def test_an_odd_header_takes_nothing_from_a_good_answer(self, server, header):
        server.answers(answer(b"ok", header))
        with dispatcher(server.url) as emoncms:
            send(emoncms, [frame(1.0)])

    @pytest.mark.parametrize(
        "location",
        [
            "http://[",
            "http://[::1",
            "//",
            "\xff\xfe",
            "http://\x00",
            "x" * 60_000,
            "http://a:b:c/",
            "data:,x",
        ],
        ids=range(8),
    )
    def test_a_redirect_to_anywhere_is_a_failure(self, server, location):
        server.answers(answer(b"", f"Location: {location}", status="302 Found"))
        with dispatcher(server.url) as emoncms:
            assert "it redirects to" in str(failure_of(emoncms))

    def test_compressed_answers_are_understood(self, server):
        with dispatcher(server.url) as emoncms:
            for coding, body in {"gzip": gzip.compress(b"ok"), "deflate": zlib.compress(b"ok")}.items():
                server.answers(answer(body, f"Content-Encoding: {coding}"))
                send(emoncms, [frame(1.0)])

    def test_an_answer_to_head_has_no_body_whatever_its_headers_say(self, server):
        server.answers(answer(b"", "Content-Encoding: gzip", "Date: Sun, 06 Nov 1994 08:49:37 GMT"))
        with dispatcher(server.url) as emoncms:
            assert emoncms.time() == 784111777

    def test_a_cache_that_keeps_an_answer_does_not_set_the_clock_back(self, server):
        server.answers(answer(b"", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Age: 7200"))
        with dispatcher(server.url) as emoncms:
            assert emoncms.time() == 784111777 + 7200

    def test_a_byte_order_mark_is_no_part_of_it(self, server):
        # given a settings.php of Emoncms that an editor of Windows has saved
        server.answers(answer(b"\xef\xbb\xbfok"))
        with dispatcher(server.url) as emoncms:
            assert emoncms.post("[]") is None

    @pytest.mark.parametrize("interim", ["100 Continue", "102 Processing", "103 Early Hints"])
    def test_answers_before_the_answer_are_left_out(self, server, interim):
        server.answers(f"HTTP/1.1 {interim}\r\nLink: </a.css>\r\n\r\n".encode() * 3 + answer(b"ok"))
        with dispatcher(server.url) as emoncms:
            assert emoncms.post("[]") is None

    def test_one_that_ends_within_its_headers_says_nothing_of_the_key(self, server):
        server.answers(b"HTTP/1.1 200 OK\r\nDate: Sun, 06 No")
        with dispatcher(server.url) as emoncms:
            assert str(emoncms.post("[]")) == "it was sent, but its answer breaks off"

    @pytest.mark.parametrize(
        ("coding", "body"),
        [
            ("gzip", b"ok"),
            ("gzip", gzip.compress(b"ok" * 99, mtime=0)[:20]),
            ("br", b"ok"),
            ("gzip, gzip", b"ok"),
        ],
    )
    def test_what_cannot_be_decoded_leaves_the_outcome_unknown(self, server, coding, body):
        server.answers(answer(body, f"Content-Encoding: {coding}"))
        with dispatcher(server.url) as emoncms:
            failure = failure_of(emoncms)
        assert type(failure) is OutcomeUnknown
        assert "it was sent, but its answer" in str(failure)

    @pytest.mark.parametrize("said", [b"", b"what?\r\n\r\n"])
    def test_what_is_not_http_leaves_the_outcome_unknown(self, server, said):
        server.answers(said)
        with dispatcher(server.url) as emoncms:
            assert type(failure_of(emoncms)) is OutcomeUnknown

    @pytest.mark.parametrize(
        "piece",
        ["<", "<title", "<title>x", "NodeIds Node '", "SSL-enabled", "x\n", "\n", "ok", "?a;b#"],
    )
    def test_a_long_text_is_judged_in_a_moment(self, piece):
        text = piece * (MB // len(piece))
        began = time.monotonic()
        judge(200, text)
        judge(500, text)
        judge(302, "", text)
        judge_inputs("9", 200, text)
        assert time.monotonic() - began < 60  # what is quadratic takes hours

    def test_a_secret_is_not_quoted_where_a_long_text_is_cut(self):
        for cut in range(len(KEY)):
            text = "<b>" * 33_330 + "x" * (cut + 10 - len(KEY)) + KEY + "y" * MB
            assert KEY[:4] not in excerpt(text, KEY)


LATIN = st.characters(max_codepoint=255, exclude_characters="\r\n")
STATUS_LINES = st.sampled_from(
    "HTTP/1.1 200 OK|HTTP/1.0 200|HTTP/1.1 302 Found|HTTP/1.1 401 No|HTTP/1.1 404 Not Found|HTTP/1.1 204 x|"
    "HTTP/1.1 500 \xff|HTTP/1.1 100 Continue|HTTP/1.1 101 Switch|HTTP/1.1 999 x|HTTP/1.1 9 x|HTTP/9.9 200 OK|"
    f"HTTP/1.1 {HUGE}|HTTP/1.1 -1|ICY 200 OK|\x15\x03\x03\x00|HTTP/1.1|".split("|")
) | st.text(LATIN, max_size=40)
NAMES = st.sampled_from(
    "Date|Location|Content-Length|Transfer-Encoding|Content-Encoding|Set-Cookie|Set-Cookie2|Connection|"
    f"Content-Type|Proxy-Connection|Content-Range|Refresh|X{HUGE}".split("|")
)
VALUES = st.sampled_from(
    "chunked|gzip|deflate|gzip, gzip|br|identity|0|2|-1|2, 3|1e9|close|keep-alive|text/html; charset|http://[|"
    "Sat, 28 Nov 99999 18:01:16 GMT|Sat, 28 Nov 2026 18:01:16 GMT|//\xff|a=b; expires=x; domain=127.0.0.1|"
    f"; ; =|/emoncms/input/bulk|{HUGE}".split("|")
) | st.text(LATIN, max_size=60)
JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
).map(json.dumps)
CHUNKS = st.lists(
    st.sampled_from(["2\r\nok\r\n", "0\r\n\r\n", "0\r\n", "-1\r\n", "-5\r\n", "zz\r\n", "\r\n", "ok"])
    | st.sampled_from(["2;x=y\r\nok\r\n", "0\r\nX: y\r\n\r\n"])
).map("".join)
BODIES = (
    st.binary(max_size=200)
    | st.binary(max_size=200).map(gzip.compress)
    | st.binary(max_size=200).map(zlib.compress)
    | JSON_TEXTS.map(str.encode)
    | CHUNKS.map(str.encode)
    | st.sampled_from([b"ok", b"", NESTED.encode(), HUGE.encode(), gzip.compress(bytes(3 * MB))])
    | st.sampled_from([b'"\\ud800"', b'{"message":"\\ud800\\n\\u001b"}', b'{"1":{"time":1e999,"value":"x"}}'])
    | st.just(b'[{"id":1e999,"nodeid":"\\ud800","name":"\\ud800"}]')
)


@pytest.fixture(scope="module")
def fuzzed():
    with RawHttp() as server:
        yield server


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STATUS_LINES, st.lists(st.tuples(NAMES, VALUES), max_size=6), BODIES)
def test_any_answer_is_a_delivery_or_a_failure(fuzzed, line, headers, body):
    # given any answer at all
    head = "\r\n".join([line, *(f"{name}: {value}" for name, value in headers), "", ""])
    fuzzed.answers(head.encode("latin-1") + body)
    with dispatcher(fuzzed.url, timeout=5.0) as emoncms:
        # when it answers each thing that is asked, then it has a meaning
        assert outcome(prepare(emoncms, [frame(1.0)]).send) is None or True
        assert isinstance(outcome(prepare(emoncms, [frame(1.0)]).delivered), Progress | DeliveryFailure)
        shown = outcome(emoncms.time)
        assert shown is None or isinstance(shown, float | DeliveryFailure)
        account = Account(emoncms.server)
        for action in (account.inputs, account.feeds):
            assert isinstance(outcome(action), list | DeliveryFailure)
        assert isinstance(outcome(account.create_feed, "9", "x", 10), int | DeliveryFailure)
        assert isinstance(outcome(account.processes, 1), str | DeliveryFailure)


@pytest.mark.parametrize("seed", range(20))
def test_a_broken_piece_of_a_good_answer_is_one_or_none(fuzzed, seed):
    """Cut, doubled and flipped bytes of what a real server says."""
    draw = random.Random(seed)
    good = bytearray(
        answer(b"2\r\nok\r\n0\r\n\r\n", "Date: Sat, 28 Nov 2026 18:01:16 GMT", "Transfer-Encoding: chunked")
    )
    for _ in range(20):
        bad = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        fuzzed.answers(bytes(bad[: draw.randint(1, len(bad))]))
        with dispatcher(fuzzed.url, timeout=5.0) as emoncms:
            outcome(prepare(emoncms, [frame(1.0)]).send)
            outcome(emoncms.time)


SCALARS = (
    st.sampled_from([None, True, "9", "1", "flow", "\ud800", math.inf, math.nan, 10**4000, -1, [], {}])
    | st.floats()
    | st.text()
)
LISTS = st.sampled_from(
    ["", "1:1", "1:2,4:3", "2:10,1:1", f"1:{HUGE}", f"4:{HUGE}", "1:1e5", "1", ":", "\ud800:1"]
)
ROW = st.fixed_dictionaries(
    {"id": st.integers(1, 3), "nodeid": st.sampled_from(["9", "8"]), "name": st.sampled_from(["1", "flow"])},
    optional={"processList": LISTS, "engine": st.just(5)}
    | dict.fromkeys(["description", "time", "value", "tag", "interval", "unit"], SCALARS),
)
ANY_ROW = st.dictionaries(st.sampled_from(["id", "name", "nodeid", "processList"]), SCALARS)
ROWS = st.lists(ROW, min_size=1, max_size=4) | st.lists(ANY_ROW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, ROWS)
def test_lists_of_anything_are_looked_at_and_filled_to_the_end(written, capsys, monkeypatch, inputs, feeds):
    monkeypatch.setattr(Clock, "sleep", lambda *_: None)
    # given a server whose lists hold anything
    with FakeEmoncms(key=KEY) as server:
        server._list = lambda: inputs
        server.feeds._shown = lambda feed, **_: feed
        server.feeds.by_id = dict(enumerate(feeds, 1))
        file = written(
            f"[listeners]\n[[bus]]\ntype = w1\nnode = 9\nsensor1 = 28.33F749050000, flow\n[nodes]\n[[8]]\n"
            f"names = flow\nunits = W\n[dispatchers]\n[[home]]\ntype = emoncms\napikey = {KEY}\n"
            f"url = {server.url}\n"
        )
        # when all is made that it lacks
        status = main.main(["--config-file", str(file), "emoncms", "--energy"])
        server.bugs.clear()  # it cannot work with such feeds itself
    # then each thing is said in a line
    assert status in (0, 1)
    assert "Traceback" not in "".join(capsys.readouterr())


@given(st.integers(100, 599), st.text(), st.text())
def test_any_text_has_a_meaning_to_each_reader(status, text, location):
    assert "\n" not in str(judge(status, text, location, KEY))
    judge_inputs("9", status, text, KEY)
    outcome(decode, "/x", status, text, location, KEY)


def test_the_default_of_the_session_is_a_bound_that_the_settings_name():
    assert Emoncms(apikey=KEY).server._timeout == 60
