"""Listener `probe`: its outcomes against servers of our own, and its indices."""

from __future__ import annotations

import contextlib
import errno
import itertools
import re
import socket
import ssl
import struct
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.commands.main import main
from gateway.diagnosis.machine import Machine
from gateway.dispatchers.page.metrics import metrics
from gateway.dispatchers.page.now import Now
from gateway.flag import Flag
from gateway.nodes import Nodes
from gateway.present.state import State
from gateway.settings import SettingsFault, build
from gateway.text.terminal import CONFIGURATION
from listeners.probe import dns, icmp
from listeners.probe.listener import Probe, until_next
from listeners.probe.network import Attempt, Kind, NotAllowed, Outcome, failed
from listeners.probe.targets import Target, Targets
from listeners.probe.web import Way
from listeners.simulated.clock import VirtualClock
from tests.certificates import make_certificate
from tests.opened import opened
from tests.simulators.peer import answering, connect_to_each_other, silence
from tests.waiting import wait_until


def probe(text, *, seconds=3.0, way=None, count=3):
    try:
        return Targets.parse(text).probe(Attempt(seconds), way or Way(), count)
    except OSError as error:
        return failed(error)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


# --- Outcomes ---------------------------------------------------------------------------------------------


def test_a_port_that_answers_is_measured(peer):
    outcome = probe(f"tcp 127.0.0.1:{peer(silence).port}")
    assert outcome.kind is Kind.ANSWERED
    assert 0 < outcome.ms < 1000


def test_a_port_that_is_closed_is_refused():
    outcome = probe(f"tcp 127.0.0.1:{closed_port()}")
    assert (outcome.kind, outcome.ms) == (Kind.REFUSED, None)


@pytest.mark.parametrize("kind", ["tcp", "http"])
def test_an_address_that_is_dead_takes_no_time_from_one_that_answers(peer, full_port, monkeypatch, kind):
    ports = (full_port, peer(answering(OK)).port)
    found = [info for port in ports for info in socket.getaddrinfo("127.0.0.1", port, type=1)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    target = {"tcp": "tcp here.example:80", "http": "http://here.example/"}[kind]
    outcome = probe(target, seconds=1.0)
    assert outcome.kind is Kind.ANSWERED
    assert outcome.ms < 500


def test_an_address_of_a_kind_that_this_kernel_has_not_hides_no_other(peer, monkeypatch):
    # given a kernel without IPv6, for which AF_DECnet, which Linux has no more, stands here
    found = socket.getaddrinfo("127.0.0.1", peer(silence).port, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(12, *found[0][1:]), *found])
    assert probe("tcp here.example:80").kind is Kind.ANSWERED


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nDate: Sun",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    ],
)
def test_a_page_that_breaks_off_is_no_answer(peer, answer):
    def speak(peer, connection):
        connection.recv(65536)
        connection.sendall(answer)
        connection.close()

    outcome = probe(f"http://127.0.0.1:{peer(speak).port}/")
    assert (outcome.kind, outcome.words) == (Kind.REFUSED, "its answer breaks off")


@pytest.mark.parametrize("trailers", [b"", b"Expires: 0\r\nServer-Timing: 1\r\n"])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_page_in_chunks_is_whole_however_it_is_cut_and_though_its_server_does_not_hang_up(
    peer, trailers, size
):
    page = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n00;x=y\r\n" + trailers + b"\r\n"

    def speak(peer, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(65536)
        for place in range(0, len(page), size):
            connection.sendall(page[place : place + size])
            peer.over.wait(0.001)
        peer.over.wait(10)

    outcome = probe(f"http://127.0.0.1:{peer(speak).port}/", seconds=5.0)
    assert (outcome.kind, outcome.code) == (Kind.ANSWERED, 200)


def test_a_server_that_takes_no_connection_is_silent(full_port):
    began = time.monotonic()
    outcome = probe(f"tcp 127.0.0.1:{full_port}", seconds=0.3)
    assert (outcome.kind, outcome.ms) == (Kind.SILENT, None)
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "target", ["tcp nowhere.invalid:80", "icmp nowhere.invalid", "http://nowhere.invalid/"]
)
def test_a_name_that_is_none_is_unresolved(target):
    assert probe(target).kind is Kind.UNRESOLVED


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.EHOSTUNREACH, "No route to host"), Kind.SILENT),
        (OSError(errno.ENETUNREACH, "unreachable"), Kind.SILENT),
        (ConnectionResetError(errno.ECONNRESET, "reset"), Kind.REFUSED),
        (TimeoutError("timed out"), Kind.SILENT),
        (ssl.SSLCertVerificationError("expired"), Kind.REFUSED),
        (socket.gaierror(-3, "again"), Kind.UNRESOLVED),
    ],
)
def test_each_error_is_one_of_the_outcomes(error, kind):
    assert failed(error).kind is kind


def test_a_page_has_its_status_and_the_time_to_its_end(peer):
    outcome = probe(f"http://127.0.0.1:{peer(answering(OK, 0.2)).port}/")
    assert (outcome.kind, outcome.code, outcome.days) == (Kind.ANSWERED, 200, None)
    assert 200 <= outcome.ms < 1000


@pytest.mark.parametrize("status", [204, 301, 404, 503])
def test_an_answer_is_an_answer_whatever_its_status(peer, status):
    answer = f"HTTP/1.1 {status} As It Is\r\nContent-Length: 0\r\n\r\n".encode()
    outcome = probe(f"http://127.0.0.1:{peer(answering(answer)).port}/")
    assert (outcome.kind, outcome.code) == (Kind.ANSWERED, status)


@pytest.mark.parametrize("length", [b"", b"Content-Length:\t2\n"])
def test_lines_of_a_small_device_may_end_with_lf_alone(peer, length):
    def speak(peer, connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 103 Early Hints\n\nHTTP/1.1 200 OK\n" + length + b"\nok")
        if length:
            peer.over.wait(10)

    outcome = probe(f"http://127.0.0.1:{peer(speak).port}/", seconds=5.0)
    assert (outcome.kind, outcome.code) == (Kind.ANSWERED, 200)


def test_an_interim_answer_is_not_the_answer(peer):
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

    def speak(peer, connection):
        answering(hints)(peer, connection)
        connection.sendall(OK)
        peer.over.wait()

    outcome = probe(f"http://127.0.0.1:{peer(speak).port}/")
    assert (outcome.kind, outcome.code) == (Kind.ANSWERED, 200)
    assert probe(f"http://127.0.0.1:{peer(answering(hints)).port}/").kind is Kind.REFUSED


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK,
    ],
)
def test_a_server_that_keeps_the_connection_open_is_not_waited_for(peer, answer):
    def speak(peer, connection):
        answering(answer)(peer, connection)
        peer.over.wait()

    outcome = probe(f"http://127.0.0.1:{peer(speak).port}/")
    assert outcome.kind is Kind.ANSWERED
    assert outcome.ms < 1000


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"", b"\x00" * 100, b"HTTP/9.9 200\r\n"])
def test_what_speaks_no_http_is_refused(peer, answer):
    assert probe(f"http://127.0.0.1:{peer(answering(answer)).port}/").kind is Kind.REFUSED


def test_a_page_without_an_end_is_read_so_far_and_no_further(peer):
    def speak(peer, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    assert probe(f"http://127.0.0.1:{peer(speak).port}/").code == 200


def test_a_server_that_says_nothing_or_a_byte_now_and_then_is_silent(peer):
    def drip(peer, connection):
        while not peer.over.wait(0.05):
            connection.sendall(b"H")

    for speak in (silence, drip):
        began = time.monotonic()
        assert probe(f"http://127.0.0.1:{peer(speak).port}/", seconds=0.4).kind is Kind.SILENT
        assert time.monotonic() - began < 2


def test_a_query_that_no_cache_answers_is_another_each_time(peer):
    server = peer(answering(OK))
    for _ in range(2):
        probe(f"http://127.0.0.1:{server.port}/a?b=c", way=Way(fresh=True))
    first, second = (request.split(b" ")[1] for request in server.seen)
    assert first != second
    assert first.startswith(b"/a?b=c&nocache=")
    assert b"Cache-Control: no-cache" in server.seen[0]


def test_a_proxy_is_asked_for_the_whole_address(peer):
    server = peer(answering(OK))
    outcome = probe("http://far.example/x", way=Way(proxy=("127.0.0.1", server.port)))
    assert outcome.code == 200
    assert server.seen[0].startswith(b"GET http://far.example/x HTTP/1.1\r\nHost: far.example\r\n")


# --- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The files of a certificate for localhost, which ends in thirty days, and of its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"), days=30)


def secured(certificate, speak):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def speak_tls(peer, connection):
        with context.wrap_socket(connection, server_side=True) as tls:
            speak(peer, tls)

    return speak_tls


def test_the_days_until_a_certificate_ends(peer, certificate):
    server = peer(secured(certificate, answering(OK)))
    outcome = probe(f"https://localhost:{server.port}/", way=Way(ca_file=certificate[0]))
    assert (outcome.kind, outcome.code) == (Kind.ANSWERED, 200)
    assert 29.9 < outcome.days <= 30


def strict_proxy(accepted, schemes=b"Basic realm=x"):
    """Return a proxy that wants these words in Proxy-Authorization; its tunnels lead to localhost."""

    def speak(peer, connection):
        request = connection.recv(65536)
        peer.seen.append(request)
        given = re.search(rb"\r\nProxy-Authorization: ([^\r]*)\r\n", request)
        if accepted and (not given or given[1] != accepted):
            connection.sendall(
                b"HTTP/1.1 407 No\r\nProxy-Authenticate: %b\r\nContent-Length: 0\r\n\r\n" % schemes
            )
        elif request.startswith(b"CONNECT"):
            place = request.split()[1].decode().split(":")
            with socket.create_connection(("localhost", int(place[1]))) as far:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                connect_to_each_other(connection, far)
        else:
            connection.sendall(OK)

    return speak


@pytest.fixture
def pages(peer, certificate):
    """Return an address of http and one of https, and the certificates to trust."""
    return (
        f"http://localhost:{peer(answering(OK)).port}/",
        f"https://localhost:{peer(secured(certificate, answering(OK))).port}/",
        certificate[0],
    )


def by_proxy(pages, server, **entries):
    """Return the outcomes of both pages through a proxy, with these settings."""
    settings = {"node": "9", "proxy": f"127.0.0.1:{server.port}", "ca_file": str(pages[2]), **entries}
    way = build(Probe, settings).way
    return [probe(page, way=way) for page in pages[:2]]


def test_the_same_through_a_proxy(peer, pages):
    assert [outcome.code for outcome in by_proxy(pages, peer(strict_proxy(b"")))] == [200, 200]


# "Aladdin" and "open sesame" in RFC 7617, 2; "test" and "123£" in 2.1
@pytest.mark.parametrize(
    ("user", "password", "encoded"),
    [("Aladdin", "open sesame", b"QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), ("test", "123£", b"dGVzdDoxMjPCow==")],
)
def test_a_proxy_that_knows_user_and_password(peer, pages, user, password, encoded):
    server = peer(strict_proxy(b"Basic " + encoded))
    outcomes = by_proxy(pages, server, proxy_user=user, proxy_password=password)
    assert [(outcome.kind, outcome.code) for outcome in outcomes] == [(Kind.ANSWERED, 200)] * 2
    # and they go to the proxy alone
    assert server.seen[1].startswith(b"CONNECT localhost:")
    assert b"Basic" in server.seen[0]


@pytest.mark.parametrize(
    ("entries", "schemes", "words"),
    [
        ({}, b"Basic realm=x", "the proxy wants proxy_user and proxy_password"),
        (
            {"proxy_user": "me", "proxy_password": "wr0ng"},
            b"Basic realm=x",
            "the proxy refuses proxy_user and proxy_password",
        ),
        (
            {"proxy_user": "me", "proxy_password": "wr0ng"},
            b"NTLM\r\nProxy-Authenticate: Negotiate",
            "the proxy takes passwords by ntlm or negotiate, and this by basic alone",
        ),
    ],
)
def test_a_proxy_that_does_not_know_who_asks_refuses_and_is_named(peer, pages, entries, schemes, words):
    outcomes = by_proxy(pages, peer(strict_proxy(b"Basic right", schemes)), **entries)
    assert [(outcome.kind, outcome.code, outcome.words) for outcome in outcomes] == [
        (Kind.REFUSED, 407, words)
    ] * 2


def test_a_tunnel_that_a_proxy_refuses_with_401_names_the_settings(peer, pages):
    # given tinyproxy 1.11.1, which answers 407 to no password and 401 to a wrong one
    unauthorized = b"HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n\r\n"
    _, tunnel = by_proxy(pages, peer(answering(unauthorized)), proxy_user="me", proxy_password="wr0ng")
    assert (tunnel.kind, tunnel.code) == (Kind.REFUSED, 401)
    assert tunnel.words == "the proxy refuses proxy_user and proxy_password"


def test_a_wrong_password_of_the_proxy_is_one_line_without_it(peer, caplog):
    server = peer(strict_proxy(b"Basic right"))
    settings = {"node": "9", "target1": "http://far.example/", "interval": "1", "timeout": "0.5"}
    secret = {"proxy_user": "me", "proxy_password": "wr0ng"}
    listener = build(Probe, {**settings, **secret, "proxy": f"127.0.0.1:{server.port}"})
    listener.name = "network"
    listener.open()
    values = []
    while values.count((0, None, None, 407, None)) < 3:
        values += [frame.values for frame in listener.read(Flag())]
    listener.close()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "target1 (http://far.example/): refused (the proxy refuses proxy_user and proxy_password)"
    )
    assert "wr0ng" not in repr(listener) + repr(listener.way)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"proxy": "me:secret@host:3128"}, "proxy_user and proxy_password are settings of their own"),
        ({"proxy": "host:3128", "proxy_user": "a:b"}, "a user name without a colon expected"),
        ({"proxy_user": "me"}, "proxy_user: a proxy expected beside it"),
        ({"proxy": "host:3128", "proxy_password": "x"}, "proxy_password: a proxy_user expected beside it"),
    ],
)
def test_settings_of_a_proxy_that_cannot_be(entries, words):
    with pytest.raises(SettingsFault, match=words) as fault:
        build(Probe, {"node": "9", "target1": "http://far.example/", **entries})
    assert "secret" not in str(fault.value)


def test_a_certificate_that_is_not_trusted_is_refused(peer, certificate):
    server = peer(secured(certificate, answering(OK)))
    outcome = probe(f"https://localhost:{server.port}/")
    assert outcome.kind is Kind.REFUSED
    assert outcome.words == "certificate not accepted: self-signed certificate"


def test_an_authority_that_is_renewed_while_it_runs_is_trusted(peer, certificate, tmp_path):
    # given a server with a new certificate, and the old one in ca_file
    ca_file = tmp_path / "authority.pem"
    ca_file.write_bytes(certificate[0].read_bytes())
    renewed = make_certificate(tmp_path, days=31)
    way, server = Way(ca_file=ca_file), peer(secured(renewed, answering(OK)))
    assert probe(f"https://localhost:{server.port}/", way=way).kind is Kind.REFUSED
    # when the new one is put there
    ca_file.write_bytes(renewed[0].read_bytes() + b"\n")
    assert probe(f"https://localhost:{server.port}/", way=way).kind is Kind.ANSWERED
    # and nothing is known of the target where it is gone
    ca_file.unlink()
    with pytest.raises(NotAllowed, match=r"ca_file .*authority.pem: PEM certificates expected: No such file"):
        Targets.parse(f"https://localhost:{server.port}/").probe(Attempt(3), way, 1)


def test_a_port_that_speaks_no_tls_is_refused(peer):
    outcome = probe(f"https://localhost:{peer(answering(OK)).port}/")
    assert (outcome.kind, outcome.words) == (Kind.REFUSED, "no TLS: wrong version number")


# --- DNS --------------------------------------------------------------------------------------------------


class Resolver(threading.Thread):
    """A server that answers A after 9 ms, and fails for AAAA after a while."""

    def __init__(self, delay=17.0):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.delay = delay
        self.timers = []
        self.start()

    def run(self):
        while True:
            try:
                packet, sender = self.socket.recvfrom(4096)
            except OSError:
                return
            (kind,) = struct.unpack("!H", packet[-4:-2])
            number, asked = packet[:2], packet[12:]
            if kind == dns.TYPES["A"]:
                answer = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + bytes([192, 0, 2, 1])
                reply = number + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + asked + answer
                delay = 0.009
            else:
                reply, delay = number + struct.pack("!5H", 0x8182, 1, 0, 0, 0) + asked, self.delay
            self.timers.append(threading.Timer(delay, self.reply, (reply, sender)))
            self.timers[-1].daemon = True
            self.timers[-1].start()

    def reply(self, packet, sender):
        with contextlib.suppress(OSError):
            self.socket.sendto(packet, sender)

    def close(self):
        for timer in self.timers:
            timer.cancel()
        self.socket.close()


@pytest.fixture
def resolver(at_end):
    return lambda **delays: at_end.enter_context(contextlib.closing(Resolver(**delays)))


def test_a_resolver_that_answers_a_and_hangs_for_aaaa_shows_as_two_outcomes(resolver):
    server = resolver()
    quick = probe(f"dns ad.example @127.0.0.1:{server.port} A")
    slow = probe(f"dns ad.example @127.0.0.1:{server.port} AAAA", seconds=0.5)
    assert quick.kind is Kind.ANSWERED
    assert 9 <= quick.ms < 500
    assert (slow.kind, slow.ms) == (Kind.SILENT, None)


def test_a_resolver_that_fails_is_refused_and_a_port_without_one_as_well(resolver):
    server = resolver(delay=0.0)
    assert probe(f"dns ad.example @127.0.0.1:{server.port} AAAA") == Outcome(Kind.REFUSED, "SERVFAIL")
    assert probe(f"dns ad.example @127.0.0.1:{closed_port()}").kind is Kind.REFUSED


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_resolver_that_listens_at_one_of_its_two_addresses_alone_is_found(resolver, monkeypatch, is_silent):
    # given a name whose first address refuses, or says nothing
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        ports = (deaf.getsockname()[1] if is_silent else closed_port(), resolver().port)
        found = [info for port in ports for info in socket.getaddrinfo("127.0.0.1", port, type=2)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        # when
        outcome = probe("dns ad.example @here.example A", seconds=1.0)
    # then
    assert outcome.kind is Kind.ANSWERED
    assert outcome.ms < 500


ASKED = dns.question("ad.example", "A")


def record(kind, data, name=b"\xc0\x0c"):
    return name + struct.pack("!2HIH", kind, 1, 60, len(data)) + data


ALIAS = record(5, b"\x05other\xc0\x0f")
ADDRESS = record(1, bytes([192, 0, 2, 1]), name=b"\x05other\x07example\0")


@pytest.mark.parametrize(
    ("flags", "records", "kind"),
    [
        (0x8180, [record(1, bytes(4))], Kind.ANSWERED),
        (0x8180, [ALIAS, ADDRESS], Kind.ANSWERED),
        (0x8180, [], Kind.UNRESOLVED),
        # an alias whose name has no address of that kind; and the same in a packet that breaks off
        (0x8180, [ALIAS], Kind.UNRESOLVED),
        (0x8180, [ALIAS, ADDRESS[:-9]], Kind.UNRESOLVED),
        # more addresses than fit in a packet
        (0x8380, [], Kind.ANSWERED),
        (0x8183, [], Kind.UNRESOLVED),
        (0x8182, [], Kind.REFUSED),
        (0x8185, [], Kind.REFUSED),
        (0x818F, [], Kind.REFUSED),
    ],
)
def test_what_an_answer_says(flags, records, kind):
    packet = struct.pack("!6H", 7, flags, 1, len(records), 0, 0) + ASKED + b"".join(records)
    assert dns.judge(packet, 7, ASKED).kind is kind


def test_a_refusal_without_the_question_is_one():
    # given what unbound answers to one whom it does not serve
    assert dns.judge(struct.pack("!6H", 7, 0x8105, 0, 0, 0, 0), 7, ASKED) == Outcome(Kind.REFUSED, "REFUSED")
    # and what nobody sends
    assert dns.judge(struct.pack("!6H", 7, 0x8100, 0, 0, 0, 0), 7, ASKED) is None


@given(st.binary(max_size=300), st.integers(0, 65535))
def test_no_record_is_read_beyond_its_packet(records, count):
    packet = struct.pack("!6H", 7, 0x8180, 1, count, 0, 0) + ASKED + records
    assert dns.judge(packet, 7, ASKED).kind in (Kind.ANSWERED, Kind.UNRESOLVED)


@pytest.mark.parametrize(
    "packet",
    [
        struct.pack("!6H", 8, 0x8180, 1, 1, 0, 0) + ASKED,
        struct.pack("!6H", 7, 0x0100, 1, 1, 0, 0) + ASKED,
        struct.pack("!6H", 7, 0x8180, 1, 1, 0, 0) + dns.question("xx.example", "A"),
    ],
)
def test_an_answer_to_another_question_is_none(packet):
    assert dns.judge(packet, 7, ASKED) is None


@given(st.binary(max_size=600))
def test_no_packet_is_more_than_one_of_the_outcomes(packet):
    found = dns.judge(packet, 7, ASKED)
    assert found is None or found.kind in Kind
    for family in (socket.AF_INET, socket.AF_INET6):
        for raw in (True, False):
            assert icmp.replied(family, packet, b"x" * 16, raw=raw) is None


# --- ICMP -------------------------------------------------------------------------------------------------


@given(st.binary(max_size=100))
def test_the_checksum_of_a_packet_with_its_checksum_is_zero(payload):
    packet = icmp.request(socket.AF_INET, 5, payload)
    assert icmp.checksum(packet) == 0


def test_a_reply_is_known_by_its_payload():
    payload = b"0123456789abcdef"
    reply = struct.pack("!BBHHH", 0, 0, 0, 99, 2) + payload
    header = bytes([0x46]) + bytes(23)
    assert icmp.replied(socket.AF_INET, reply, payload, raw=False) == 2
    assert icmp.replied(socket.AF_INET, header + reply, payload, raw=True) == 2
    assert icmp.replied(socket.AF_INET, reply, b"another payload!", raw=False) is None
    assert icmp.replied(socket.AF_INET, icmp.request(socket.AF_INET, 2, payload), payload, raw=False) is None


@pytest.mark.usefixtures("may_ping")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_host_that_replies(host):
    try:
        outcome = probe(f"icmp {host}")
    except OSError:
        pytest.skip(f"no {host} here")
    if host == "::1" and outcome.kind is not Kind.ANSWERED:
        pytest.skip("no IPv6 here")
    assert (outcome.kind, outcome.loss) == (Kind.ANSWERED, 0)
    assert 0 < outcome.ms < 1000


@pytest.mark.usefixtures("may_ping")
def test_more_requests_than_the_time_has_room_for_lose_none():
    # given twenty requests, and a time in which ten are sent 0.2 s apart
    outcome = probe("icmp 127.0.0.1", seconds=2.0, count=20)
    # then
    assert (outcome.kind, outcome.loss) == (Kind.ANSWERED, 0)


def test_a_user_that_may_not_is_told_and_nothing_is_known_of_the_target(monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(icmp.socket, "socket", denied)
    with pytest.raises(OSError, match="may send no echo requests"):
        Target("icmp", ("127.0.0.1",)).probe(Attempt(1), Way(), 1)


# --- Settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("icmp router.lan", Target("icmp", ("router.lan",))),
        ("icmp fe80::1%eth0", Target("icmp", ("fe80::1%eth0",))),
        ("tcp nas:22", Target("tcp", ("nas", 22))),
        ("TCP [::1]:80", Target("tcp", ("::1", 80))),
        ("dns ad.example", Target("dns", ("ad.example", "", 53, "A"))),
        ("dns ad.example @10.0.0.1 aaaa", Target("dns", ("ad.example", "10.0.0.1", 53, "AAAA"))),
        ("dns ad.example @[::1]:5353", Target("dns", ("ad.example", "::1", 5353, "A"))),
    ],
)
def test_a_target_is_what_it_says(text, target):
    assert Targets.parse(text) == target


def test_an_address_of_the_web_goes_into_a_request_as_it_should():
    found = Targets.parse("https://ü.example:8443/a b?c=d e")
    (url,) = found.what
    assert (url.authority, url.path) == ("xn--tda.example:8443", "/a%20b?c=d%20e")
    assert Targets.parse("http://[::1]").what[0].authority == "[::1]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected, not nothing"),
        ("tpc x:1", "did you mean tcp?"),
        ("tcp x", "HOST:PORT expected"),
        ("tcp x:0", "HOST:PORT expected"),
        ("tcp x:99999", "HOST:PORT expected"),
        ("icmp", "the name or the IP address of a host expected"),
        ("icmp a b", "the name or the IP address of a host expected"),
        ("http://me:secret@x/", "without user name and password"),
        ("http://", "HOST:PORT expected"),
        ("dns a..b", "a name expected"),
        ("dns a MX", "@SERVER, A or AAAA expected"),
    ],
)
def test_what_is_no_target_is_refused_with_what_is_expected(text, words):
    with pytest.raises(ValueError) as caught:
        Targets.parse(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_timeout_is_shorter_than_the_interval():
    with pytest.raises(SettingsFault, match="below the interval"):
        build(Probe, {"node": "net", "interval": "5", "timeout": "5"})


# --- The listener -----------------------------------------------------------------------------------------


@pytest.fixture
def listening(at_end):
    settings = {"node": "net", "interval": "1", "timeout": "0.7"}
    return lambda **entries: at_end.enter_context(opened(build(Probe, settings | entries), "net"))


def read(listener, count=2):
    """Return the values after some intervals; the first is seldom a whole one."""
    stop = Flag()
    for _ in range(count):
        (frame,) = listener.read(stop)
    return frame


def test_each_target_has_five_indices_that_never_move(peer, listening):
    server = peer(answering(OK))
    frame = read(
        listening(
            target1=[f"tcp 127.0.0.1:{server.port}", "door"],
            target2="Dummy",
            target3=f"tcp 127.0.0.1:{closed_port()}",
            target4=[f"http://127.0.0.1:{server.port}/", "ad-auth"],
        )
    )
    assert len(frame.values) == 20
    assert frame.values[0] == 1
    assert 0 < frame.values[1] < 700
    assert frame.values[2:10] == (None,) * 8
    assert frame.values[10:15] == (0, None, None, None, None)
    assert (frame.values[15], frame.values[18]) == (1, 200)
    assert frame.names[:2] == ("door ok", "door ms")
    assert frame.names[15:] == ("ad-auth ok", "ad-auth ms", "ad-auth loss", "ad-auth code", "ad-auth days")


def test_a_name_and_an_identity_have_no_key_of_a_query_in_them_and_no_other_name_changes():
    # given two targets that differ in their query alone, and such a one with a label
    address = "http://emonpi/feed/list.json"
    targets = {
        "target1": f"{address}?id=1&apikey={'0f' * 16}",
        "target3": f"{address}?id=2&apikey=SECRETtwo",
        "target4": [f"{address}?apikey=SECRETtwo", "feeds"],
        "target5": address,
        "target6": "https://nas/#top",
    }
    listener = build(Probe, {"node": "net", **targets})
    # then
    series = [series for series in listener.catalogue() if series.kind == "ok"]
    names = ("list.json 1 ok", "list.json 3 ok", "feeds ok", "list.json ok", "https://nas/#top ok")
    assert [each.label.removeprefix(address.removesuffix("list.json")) for each in series] == [*names]
    assert series[0].identity == f"{address}?id=1&apikey=********"
    assert "SECRET" not in repr([*listener.catalogue()])


def test_what_people_and_programs_read_of_a_target_has_no_key(peer, listening, written, capsys):
    # given
    address = f"http://127.0.0.1:{peer(answering(OK)).port}/list.json?apikey=SECRETtwo"
    listener = listening(target1=address, target2=f"http://127.0.0.1:{closed_port()}/?token=SECRETtwo")
    state = State()
    state.configure({"net": listener}, Nodes())
    state.begin("net").note(read(listener), time.monotonic())
    now = Now(time.time(), state.values(), None, [])
    said = [metrics(now, {}), repr(now.values), *listener.health().troubles]
    # and the same in a file
    section = f"[listeners]\n[[net]]\ntype = probe\nnode = net\ntarget1 = {address}\n"
    file = written(f"{section}target2 = tpc x?key=SECRETtwo\n")
    for command in ("check", "--show-settings"):
        assert main(["--config-file", str(file), command]) == CONFIGURATION
    file.write_text(file.read_text().replace("tpc x", "http://x/") + "[dispatchers]\n[[log]]\ntype = log\n")
    for command in ("check", "--show-settings"):
        assert main(["--config-file", str(file), command]) == 0
    # then
    said += capsys.readouterr()
    assert "list.json 1 ok" in said[0]
    assert "apikey=********" in said[-2]
    assert not any("SECRET" in each for each in said)


def test_a_target_that_does_not_answer_delays_no_other_and_is_one_line(peer, listening, caplog):
    silent, quick = peer(silence), peer(answering(OK))
    listener = listening(
        target1=f"http://127.0.0.1:{silent.port}/", target2=f"http://127.0.0.1:{quick.port}/"
    )
    frame = read(listener, 4)
    assert frame.values[:2] == (0, None)
    assert frame.values[5] == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"target1 (http://127.0.0.1:{silent.port}/): silent (no answer in time)"
    assert listener.health().troubles == [line]
    assert listener.health().faults[Kind.SILENT] >= 2


def test_a_name_server_that_hangs_is_unresolved_and_delays_no_other(peer, listening, monkeypatch):
    quick, asked = peer(answering(OK)), threading.Event()
    real = socket.getaddrinfo

    def hanging(host, *rest, **more):
        if host == "slow.example":
            asked.wait(20)
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    listener = listening(target1="tcp slow.example:80", target2=f"tcp 127.0.0.1:{quick.port}")
    frame = read(listener, 3)
    asked.set()
    assert frame.values[:2] == (0, None)
    assert frame.values[5] == 1
    assert listener.health().faults == {Kind.UNRESOLVED: 1} or Kind.UNRESOLVED in listener.health().faults


def test_targets_are_spread_over_the_interval():
    listener = build(Probe, {"node": "net", **{f"target{n}": "tcp 127.0.0.1:9" for n in range(1, 12)}})
    started = []
    listener._probers = {}
    listener.open()
    started = [prober._offset for prober in listener._probers.values()]
    listener.close()
    apart = {round(second - first, 3) for first, second in itertools.pairwise(started)}
    assert apart == {4.5}
    assert min(started) == 5.5
    assert max(started) + listener.timeout <= listener.interval


@given(st.floats(0.1, 3600), st.floats(0, 1), st.floats(0, 2e9))
def test_the_next_probe_is_within_an_interval(interval, part, wall):
    clock = VirtualClock(wall=wall)
    assert 0 < until_next(interval, part * interval, clock) <= interval


def test_closing_does_not_wait_for_what_hangs(peer, listening):
    listener = listening(target1=f"http://127.0.0.1:{peer(silence).port}/", timeout="0.9")
    wait_until(lambda: listener._probers[1]._attempt)
    began = time.monotonic()
    listener.close()
    assert time.monotonic() - began < 0.5
    listener.close()


@pytest.mark.parametrize(
    ("allowed", "uid", "unit", "good"),
    [
        ("1\t0", 990, "", False),
        ("0\t2147483647", 990, "", True),
        ("990\t990", 990, "", True),
        ("1\t0", 0, "", True),
        ("1\t0", 990, "[Service]\nAmbientCapabilities=CAP_NET_RAW\n", True),
        ("", 990, "", False),
    ],
)
def test_doctor_says_whether_echo_requests_are_allowed_and_names_both_cures(
    tmp_path, allowed, uid, unit, good
):
    file = tmp_path / "proc/sys/net/ipv4/ping_group_range"
    file.parent.mkdir(parents=True)
    file.write_text(allowed)
    drop_in = tmp_path / "etc/systemd/system/oemgateway.service.d/override.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(unit)
    machine = Machine(root=tmp_path, user="oemgateway", uid=uid, gids=frozenset([uid]), live=False)
    (finding,) = build(Probe, {"node": "net", "target1": "icmp router"}).examine(machine)
    assert finding.is_bad is not good
    if finding.is_bad:
        assert "net.ipv4.ping_group_range = 0 2147483647" in finding.cure
        assert "AmbientCapabilities=CAP_NET_RAW" in finding.cure
    assert not [*build(Probe, {"node": "net", "target1": "tcp a:1"}).examine(machine)]


def test_the_clock_of_the_machine_is_what_it_waits_by():
    assert 0 < until_next(60, 0, Clock()) <= 60
