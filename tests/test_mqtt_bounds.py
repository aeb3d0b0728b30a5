"""What a broker sends is bounded, also where it keeps to no limit that it was told."""

from __future__ import annotations

import socket
import struct
import threading
import tracemalloc
from collections.abc import Callable

import pytest

from gateway.mqtt.broker import Broker, Lost
from gateway.mqtt.client import LARGEST, origin_of
from gateway.mqtt.frames import LONGEST
from gateway.mqtt.session import Session
from tests.simulators.peer import Peer
from tests.waiting import wait_until

MB = 1 << 20


def length(number: int) -> bytes:
    """Return a length as MQTT writes it: 7 bits a byte, the lowest first."""
    out = bytearray()
    while number >= 128:
        out.append(number % 128 | 128)
        number //= 128
    return bytes([*out, number])


def publication(size: int) -> bytes:
    body = struct.pack(">H", 1) + b"a" + b"\0" + bytes(size)
    return b"\x30" + length(len(body)) + body


@pytest.fixture
def connected(peer, at_end):
    """Give what connects a session to a broker that then does what it is given."""
    is_open = threading.Event()

    def start(then: Callable[[socket.socket], None]) -> Session:
        def speak(_: Peer, sock: socket.socket) -> None:
            sock.recv(65536)
            sock.sendall(b"\x20\x03\0\0\0")
            is_open.wait(20)
            then(sock)
            while sock.recv(4096):  # whatever it says
                pass

        session = Session(Broker(host="127.0.0.1", port=peer(speak).port), "x")
        session.open()
        is_open.set()
        at_end.callback(session.close)
        return session

    return start


def test_of_a_packet_that_is_too_long_the_beginning_is_kept_and_what_follows_is_read(connected):
    def send(sock: socket.socket) -> None:
        sock.sendall(b"\x30" + length(100 * MB + 4) + struct.pack(">H", 1) + b"a\0")
        for _ in range(100):
            sock.sendall(bytes(MB))
        sock.sendall(publication(5))

    session = connected(send)
    tracemalloc.start()
    wait_until(lambda: session.wait(0.1) or len(session.received) == 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MB
    long, short = session.received
    assert LONGEST < len(long.payload) < MB
    assert (long.topic, short.topic, len(short.payload)) == ("a", "a", 5)


def test_the_longest_packet_that_was_agreed_on_is_taken(connected):
    session = connected(lambda sock: sock.sendall(publication(LARGEST - 4)))
    wait_until(lambda: session.wait(0.1) or session.received)
    assert len(session.received[0].payload) == LARGEST - 4


def packet(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + length(len(body)) + body


def test_of_too_many_properties_none_is_read_and_of_a_few_all(connected):
    def message(count: int) -> bytes:
        one = b"\x26\0\x0aoemgateway\0\x02ab"
        return packet(0x32, b"\0\x01a\0\x05" + length(len(one) * count) + one * count + b"5")

    session = connected(lambda sock: sock.sendall(message(50_000) + message(1)))
    wait_until(lambda: session.wait(0.1) or len(session.received) == 2)
    many, one = session.received
    assert [(each.topic, each.payload, each.mid) for each in (many, one)] == [("a", b"5", 5)] * 2
    assert (origin_of(many), origin_of(one)) == ("", "ab")


def test_long_topics_are_bounded_as_payloads_are(connected):
    topic = b"t" * 60_000
    one = packet(0x30, struct.pack(">H", len(topic)) + topic + b"\0")
    session = connected(lambda sock: [sock.sendall(one) for _ in range(500)])
    for _ in range(60):
        session.wait(0.02)
    assert 60 < len(session.received) < 80


@pytest.mark.parametrize(
    "sent",
    [
        packet(0x90, b"\0\x01\0" + b"\x87" * MB),
        b"".join(packet(0x34, b"\0\x01a" + struct.pack(">H", n) + b"\0" + bytes(999)) for n in range(1, 99)),
    ],
    ids=["subscriptions that nobody asked for", "messages that are never released"],
)
def test_what_fills_the_memory_ends_the_connection(connected, sent):
    session = connected(lambda sock: sock.sendall(sent))
    with pytest.raises(Lost, match="Protocol error"):
        wait_until(lambda: session.wait(0.1) and False)


def test_messages_that_nobody_takes_wait_in_the_connection(connected):
    session = connected(lambda sock: [sock.sendall(publication(MB // 2)) for _ in range(200)])
    for _ in range(60):
        session.wait(0.02)
    assert sum(len(message.payload) for message in session.received) <= 5 * MB
    # and come once there is room
    got = 0
    while got < 200:
        session.wait(1)
        got += len(session.received)
        session.received.clear()
