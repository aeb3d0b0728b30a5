"""Echo requests (RFC 792, RFC 4443), without root where the kernel allows that."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from listeners.probe.network import Kind, NotAllowed, Outcome

if TYPE_CHECKING:
    from listeners.probe.network import Attempt

_REQUEST: dict[int, int] = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY: dict[int, int] = {socket.AF_INET: 0, socket.AF_INET6: 129}
_PROTOCOL: dict[int, int] = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
_HEADER = struct.Struct("!BBHHH")
_APART = 0.2
"""Seconds between two requests; all are sent in the first half of the time, as each is to have its reply."""

NOT_ALLOWED = "this user may send no echo requests: `oemgateway doctor` says what to do"


def checksum(data: bytes) -> int:
    """Return the checksum of a packet (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def request(family: int, sequence: int, payload: bytes) -> bytes:
    """Return an echo request; the kernel puts in the identifier and, for IPv6, the checksum."""
    unsigned = _HEADER.pack(_REQUEST[family], 0, 0, 0, sequence) + payload
    return _HEADER.pack(_REQUEST[family], 0, checksum(unsigned), 0, sequence) + payload


def replied(family: int, packet: bytes, payload: bytes, *, raw: bool) -> int | None:
    """Return the sequence number of an echo reply with this payload; None for any other packet.

    A `raw` socket of IPv4 has the header of IP before it.
    """
    if raw and family == socket.AF_INET:
        packet = packet[(packet[0] & 0x0F) * 4 :] if packet else packet
    if len(packet) < _HEADER.size or packet[_HEADER.size :] != payload:
        return None
    kind, code, _, _, sequence = _HEADER.unpack_from(packet)
    return sequence if (kind, code) == (_REPLY[family], 0) else None


def _open(family: int) -> tuple[socket.socket, bool]:
    """Return a socket for echo requests, and whether it is a raw one. Raises NotAllowed."""
    try:
        return socket.socket(family, socket.SOCK_DGRAM, _PROTOCOL[family]), False
    except PermissionError:
        try:
            return socket.socket(family, socket.SOCK_RAW, _PROTOCOL[family]), True
        except PermissionError:
            raise NotAllowed(NOT_ALLOWED) from None


def probe_icmp(attempt: Attempt, count: int, host: str) -> Outcome:
    """Return the outcome of that many echo requests: their mean time, and how many were lost.

    Raises NotAllowed if this user may send none.
    """
    family, _, _, _, address = attempt.resolve(host, 0, socket.SOCK_DGRAM)[0]
    sock, raw = _open(family)
    payload = os.urandom(16)
    apart = min(_APART, attempt.left() / 2 / count)
    sent: list[float] = []
    times: dict[int, float] = {}
    with sock:
        sock.setblocking(False)
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        try:
            while len(times) < count:
                left = attempt.left()
                if len(sent) < count and attempt.milliseconds(sent[-1] if sent else 0) >= apart * 1000:
                    sent.append(time.monotonic())
                    sock.sendto(request(family, len(sent), payload), address)
                if len(sent) < count:
                    left = min(left, apart - attempt.milliseconds(sent[-1]) / 1000)
                if not poll.poll(max(1, left * 1000)):
                    continue
                packet = sock.recv(2048)
                sequence = replied(family, packet, payload, raw=raw)
                if sequence is not None and 0 < sequence <= len(sent) and sequence not in times:
                    times[sequence] = attempt.milliseconds(sent[sequence - 1])
        except TimeoutError:
            pass  # what has not come by now is lost
    loss = round(100 * (1 - len(times) / count), 1)
    if not times:
        return Outcome(Kind.SILENT, f"no reply to {count} echo requests", loss=loss)
    return Outcome(Kind.ANSWERED, ms=round(sum(times.values()) / len(times), 3), loss=loss)
