"""Requests out of a byte stream."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners.http.wire import LONGEST_HEAD, Refusal, Request, Requests, answer

POST = b"POST /input/post HTTP/1.1\r\nHost: gateway\r\nContent-Length: 7\r\n\r\ncsv=1,2"
CHUNKED = b"POST /input/post HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n"
IN_CHUNKS = CHUNKED + b"3\r\ncsv\r\n0004;a=b\r\n=1,2\r\n0\r\nTrailer: x\r\n\r\n"
GET = b"GET /input/post?csv=1 HTTP/1.1\r\nHost: gateway\r\n\r\n"


def taken(*segments, longest=1000):
    requests = Requests(longest)
    found = []
    for segment in segments:
        requests.feed(segment)
        while request := requests.take():
            found.append(request)
            if isinstance(request, Refusal):
                return found
    return found


def test_a_request_is_cut_out():
    assert taken(POST) == [
        Request("POST", "/input/post", {"host": "gateway", "content-length": "7"}, b"csv=1,2")
    ]


def test_a_body_in_chunks_is_put_together():
    requests = taken(IN_CHUNKS + CHUNKED + b"3e8\n" + b"x" * 1000 + b"\n0\n\n" + GET)
    assert [each.body for each in requests] == [b"csv=1,2", b"x" * 1000, b""]


@pytest.mark.parametrize(
    ("request_", "method", "target"),
    [
        (b"GET /input/post?node=1&csv=1 HTTP/1.1\n\n", "GET", "/input/post?node=1&csv=1"),
        (
            b'GET /input/post?json={power:100,"t":1} HTTP/1.1\r\n\r\n',
            "GET",
            '/input/post?json={power:100,"t":1}',
        ),
        (b"\r\n\r\nGET / HTTP/1.0\r\n\r\n", "GET", "/"),
        (
            b"GET HTTP://gateway:8080/input/post?csv=1 HTTP/1.1\r\nHost: gateway\r\n\r\n",
            "GET",
            "/input/post?csv=1",
        ),
        (b"GET http://gateway HTTP/1.1\r\n\r\n", "GET", "/"),
        (b"GET /http://gateway/ HTTP/1.1\r\n\r\n", "GET", "/http://gateway/"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", "GET", "/é"),
    ],
)
def test_what_devices_send_is_understood(request_, method, target):
    (request,) = taken(request_)
    assert (request.method, request.target, request.body) == (method, target, b"")


@pytest.mark.parametrize(
    ("line", "keeps"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
    ],
)
def test_whether_the_connection_is_kept(line, keeps):
    (request,) = taken(line)
    assert request.keeps is keeps


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),  # someone tries TLS
        (b"15 69 1664\r\n\r\n", 400),
        (b"GET /input/post\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
        (CHUNKED + b"csv=1,2\r\n", 400),
        (CHUNKED + b"3\r\ncsv=1\r\n", 400),
        (CHUNKED + b"-3\r\ncsv\r\n", 400),
        (CHUNKED + b"0" * 2000, 400),
        (CHUNKED + b"0\r\nx: " + b"y" * 2000, 400),
        (CHUNKED + b"3;" + b"y" * 2000, 400),
        (CHUNKED + b"3e9\r\n", 413),
        (CHUNKED + b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n", 413),
        (CHUNKED + b"fffffffffffffff\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999999999\r\n\r\n", 413),
        (b"GET /?" + b"a" * LONGEST_HEAD, 431),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * LONGEST_HEAD + b"\r\n\r\n", 431),
    ],
)
def test_what_is_refused(data, status):
    (refusal,) = taken(data)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status
    assert refusal.message.isprintable()


def test_a_header_in_another_encoding_takes_nothing_away():
    (request,) = taken(b"GET /input/post?csv=1 HTTP/1.1\r\nUser-Agent: K\xfcche\r\nHost: a\r\n\r\n")
    assert isinstance(request, Request)
    assert (request.target, request.headers["host"]) == ("/input/post?csv=1", "a")


@pytest.mark.parametrize(
    ("line", "has_data"),
    [(b"GET /input/post?node=K\xfcche", True), (b"POST /\xfc", True), (b"GET /\xfc", False)],
)
def test_a_first_line_in_another_encoding_is_refused_and_said_where_it_brings_data(line, has_data):
    (refusal,) = taken(line + b" HTTP/1.1\r\n\r\n")
    assert isinstance(refusal, Refusal)
    assert refusal.has_data is has_data
    assert "in UTF-8, expected" in refusal.message


def test_a_header_is_read_without_the_spaces_around_it():
    # however many there are within it: what a header is takes no time to find out
    (request,) = taken(b"GET / HTTP/1.1\r\na: \t b" + b" " * 16_000 + b"c \t\r\nd:\r\n\r\n")
    assert request.headers == {"a": f"b{' ' * 16_000}c", "d": ""}


def test_a_body_of_the_greatest_length_is_taken():
    (request,) = taken(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
    assert len(request.body) == 1000


@given(st.lists(st.integers(1, len(POST + GET + IN_CHUNKS + POST) - 1)))
def test_no_segmentation_changes_anything(cuts):
    stream = POST + GET + IN_CHUNKS + POST
    bounds = [0, *sorted(cuts), len(stream)]
    segments = [stream[start:end] for start, end in itertools.pairwise(bounds)]
    assert taken(*segments) == taken(stream)
    assert len(taken(stream)) == 4


def test_it_is_known_whether_a_request_has_begun():
    requests = Requests(1000)
    states = []
    for segment in (b"\r\n", b"G", GET[1:], POST[:-1], POST[-1:]):
        requests.feed(segment)
        requests.take()
        states.append(requests.begun)
    assert states == [False, True, False, True, False]


@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"GET ", b"/input/post", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"Content-Length: 9"])
        | st.sampled_from([CHUNKED, b"3\r\n", b"0\r\n"])
    )
)
def test_no_bytes_make_it_raise(segments):
    for request in taken(*segments):
        assert isinstance(request, Request | Refusal)


def test_an_answer():
    assert answer(200, "ok", 1795213750.9, keeps=True) == (
        b"HTTP/1.1 200 OK\r\nDate: Fri, 20 Nov 2026 22:29:10 GMT\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nok"
    )


def test_an_answer_to_a_wrong_key_is_the_last_one():
    assert answer(401, "Invalid API key", 0, keeps=False).split(b"\r\n")[4:6] == [
        b"Connection: close",
        b'WWW-Authenticate: Bearer realm="API KEY", error="invalid_apikey"',
    ]
