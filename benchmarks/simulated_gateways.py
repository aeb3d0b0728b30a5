"""Gateways of which only the connection is there: what they send, byte for byte, and little of the cost.

They speak MQTT 5 over plain sockets, hundreds of them in one thread. Each keeps its frames in memory until a
relay has confirmed them, as a gateway with `confirm = relay` keeps them on disk.
"""

from __future__ import annotations

import math
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.frame import Frame, Stamp
from gateway.mqtt.confirmations import Confirmations
from gateway.mqtt.frames import Identity, log_message

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = 200
"""Frames of one gateway that are sent before the first of them is confirmed."""
IN_FLIGHT = 20
"""Messages without an acknowledgement of the broker: mosquitto disconnects who sends more."""
RETRY = 20.0
"""Seconds without progress after which it sends again, as a real one does after 60."""
_EPOCH = "e"
_CONNECT, _PUBLISH, _PUBACK, _SUBSCRIBE = 0x10, 0x32, 0x40, 0x82


def packet(kind: int, *parts: bytes) -> bytes:
    """Return a control packet (MQTT 5, section 2.1)."""
    body = b"".join(parts)
    left, length = len(body), bytearray()
    while True:
        left, digit = divmod(left, 128)
        length.append(digit | 0x80 if left else digit)
        if not left:
            return bytes([kind]) + length + body


def text(string: str) -> bytes:
    """Return a string with its length before it."""
    data = string.encode()
    return struct.pack("!H", len(data)) + data


def split(data: bytearray) -> tuple[int, bytes] | None:
    """Take the first whole packet out of what came: its first byte and its body; None where there is none."""
    length = 0
    for at in range(1, min(len(data), 5)):
        length |= (data[at] & 0x7F) << 7 * (at - 1)
        if not data[at] & 0x80:
            end = at + 1 + length
            if len(data) < end:
                return None
            body = bytes(data[at + 1 : end])
            kind = data[0]
            del data[:end]
            return kind, body
    return None


@dataclass
class Simulated:
    """One gateway, of one node."""

    port: int
    name: str
    next_n: int = 1
    sock: socket.socket | None = None
    waiting: deque[int] = field(default_factory=deque)
    sent: int = 0
    progress_at: float = 0.0
    connect_at: float = 0.0

    def __post_init__(self) -> None:
        self.topic = f"oemgateway/{self.name}"
        self.confirmations = Confirmations(self.name)
        self._came = bytearray()
        self._in_flight = self._number = 0

    def connect(self, now: float) -> None:
        """Connect, and subscribe to what the relay says; OSError where there is no broker."""
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        hello = text("MQTT") + bytes([5, 0x02]) + struct.pack("!H", 60) + b"\0"
        self.sock.sendall(
            packet(_CONNECT, hello, text(f"oemgateway-{self.name}"))
            + packet(_SUBSCRIBE, b"\0\1\0", text(f"{self.topic}/ack"), b"\1")
        )
        self._came.clear()
        self.sent = self._in_flight = 0
        self.progress_at = now

    def give(self) -> None:
        """Have one frame more."""
        self.waiting.append(self.next_n)
        self.next_n += 1

    def publish(self) -> None:
        """Send what has not been sent on this connection yet."""
        if self.sock is None:
            return
        ready = []
        while self.sent < min(len(self.waiting), WINDOW) and self._in_flight < IN_FLIGHT:
            n = self.waiting[self.sent]
            self._number = self._number % 0xFFFF + 1
            before = (_EPOCH, self.waiting[self.sent - 1]) if self.sent else self.confirmations.last
            frame = Frame("5", (float(n), 20.5, 21.25, n / 7, 4.0), Stamp(time.time(), "b", 1.0))
            identity = Identity(self.name, _EPOCH, n, before, self.confirmations.last)
            message = log_message(self.topic, frame, identity)
            number = struct.pack("!H", self._number)
            ready.append(packet(_PUBLISH, text(message.topic), number, b"\0", message.payload))
            self.sent += 1
            self._in_flight += 1
        if ready:
            self.sock.sendall(b"".join(ready))

    def serve(self, now: float) -> None:
        """Take what has come: OSError where the connection has ended."""
        data = self.sock.recv(1 << 16) if self.sock else b""
        if not data:
            raise ConnectionError("the broker ends the connection")
        self._came += data
        acknowledged = False
        while found := split(self._came):
            kind, body = found
            if kind & 0xF0 == _PUBACK:
                self._in_flight -= 1
            elif kind & 0xF0 == _PUBLISH & 0xF0:
                (size,) = struct.unpack_from("!H", body)
                at = 2 + size
                if self.sock and kind & 0x06:
                    self.sock.sendall(packet(_PUBACK, body[at : at + 2]))
                    at += 2
                self.confirmations.take(body[at + 1 + body[at] :])
                acknowledged = True
        if acknowledged:
            self._go_on(now)

    def _go_on(self, now: float) -> None:
        confirmed = self.confirmations.count([(_EPOCH, n) for n in list(self.waiting)[: self.sent]])
        for _ in range(confirmed):
            self.waiting.popleft()
        self.sent -= confirmed
        if confirmed:
            self.progress_at = now
        if self.confirmations.again:
            self.confirmations.again, self.sent, self.progress_at = False, 0, now

    def check(self, now: float) -> None:
        """Send again what has not been confirmed for long."""
        if not self.sent:
            self.progress_at = now
        elif now > self.progress_at + RETRY:
            self.sent, self.progress_at = 0, now

    def lose(self, now: float) -> None:
        """End the connection; another one is made soon."""
        if self.sock:
            self.sock.close()
        self.sock, self.connect_at = None, now + 0.5


class Driver:
    """Some of the simulated gateways, in one thread."""

    def __init__(self, port: int, names: list[str]) -> None:
        self.fleet = [Simulated(port, name) for name in names]
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Simulated] = {}
        for gateway in self.fleet:
            self._try(gateway, time.monotonic())

    def run(self, rate: float, seconds: float, longest: float) -> dict[str, int]:
        """Give each of them `rate` frames a second for so long; return how many each had.

        It returns when all of them are confirmed, or after so many seconds at the longest.
        """
        begin, checked, given = time.monotonic(), 0.0, 0
        now = begin
        while now < begin + seconds or (any(each.waiting for each in self.fleet) and now < begin + longest):
            now = time.monotonic()
            due = math.floor(min(now - begin, seconds) * rate * len(self.fleet))
            changed = {id(each): each for each in map(self._give, range(given, due))}
            given = due
            for descriptor, _ in self._poll.poll(0.02):
                gateway = self._by_descriptor[descriptor]
                changed[id(gateway)] = gateway
                self._guard(gateway, gateway.serve, now)
            if now > checked + 0.5:
                checked = now
                for gateway in self.fleet:
                    self._try(gateway, now)
                    gateway.check(now)
                changed = {id(each): each for each in self.fleet}
            for gateway in changed.values():
                self._guard(gateway, gateway.publish)
        for gateway in self.fleet:
            gateway.lose(now)
        return {each.name: each.next_n - 1 for each in self.fleet}

    def _give(self, number: int) -> Simulated:
        gateway = self.fleet[number % len(self.fleet)]
        gateway.give()
        return gateway

    def _try(self, gateway: Simulated, now: float) -> None:
        """Connect it where it is not, and it is time."""
        if gateway.sock is None and now >= gateway.connect_at:
            self._guard(gateway, gateway.connect, now)
            if gateway.sock:
                self._by_descriptor[gateway.sock.fileno()] = gateway
                self._poll.register(gateway.sock.fileno(), select.EPOLLIN)

    def _guard(self, gateway: Simulated, do: Callable[..., None], *arguments: float) -> None:
        """Do something with a gateway's connection, which is lost where that fails."""
        try:
            do(*arguments)
        except OSError:
            gateway.lose(time.monotonic())
