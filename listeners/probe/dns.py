"""One question to one DNS server (RFC 1035), and what its answer says."""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from listeners.probe.network import Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from listeners.probe.network import Attempt

TYPES = {"A": 1, "AAAA": 28}
_HEADER, _RECORD = struct.Struct("!6H"), struct.Struct("!4sIH")
_TRUNCATED = 0x0200
_POINTER = 0xC0
"""From this on, the length of a label is a pointer to where the rest of the name stands."""
_RESOLV_CONF = Path("/etc/resolv.conf")
_CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_NXDOMAIN = 3


def question(name: str, kind: str) -> bytes:
    """Return a question; raises ValueError for what is no name."""
    try:
        labels = name.rstrip(".").encode("idna").split(b".")
    except UnicodeError:
        raise ValueError(f"a name expected, not {name or 'nothing'}") from None
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"a name expected, not {name or 'nothing'}")
    encoded = b"".join(bytes([len(label)]) + label for label in labels)
    return encoded + b"\0" + struct.pack("!2H", TYPES[kind], 1)


def query(number: int, asked: bytes) -> bytes:
    """Return a packet that asks a question, to be answered by recursion."""
    return _HEADER.pack(number, 0x0100, 1, 0, 0, 0) + asked


def judge(packet: bytes, number: int, asked: bytes) -> Outcome | None:
    """Return what an answer says, without its time; None for a packet that does not answer this question."""
    if len(packet) < _HEADER.size:
        return None
    found, flags, questions, answers, _, _ = _HEADER.unpack_from(packet)
    repeated = packet[_HEADER.size : _HEADER.size + len(asked)]
    code = flags & 0xF
    # A refusal may have no question in it, such as unbound's answer to clients that it does not serve.
    is_repeated = repeated.lower() == asked.lower() if questions == 1 else bool(code) and not questions
    if found != number or not flags & 0x8000 or not is_repeated:
        return None
    if code == _NXDOMAIN:
        return Outcome(Kind.UNRESOLVED, "NXDOMAIN")
    if code:
        return Outcome(Kind.REFUSED, _CODES.get(code, f"code {code}"))
    # If the answer did not fit, as for a name with many addresses, there is such a record.
    if flags & _TRUNCATED or asked[-4:] in _kinds(packet, _HEADER.size + len(asked), answers):
        return Outcome(Kind.ANSWERED)
    return Outcome(Kind.UNRESOLVED, "no such record")


def _kinds(packet: bytes, at: int, records: int) -> Iterator[bytes]:
    """Yield type and class of the records from a place on, as bytes, as far as they are whole.

    An alias (CNAME) is a record of its own, also where the name behind it has none of the type asked for.
    """
    for _ in range(records):
        while (length := int.from_bytes(packet[at : at + 1])) and length < _POINTER:
            at += 1 + length
        at += 2 if length else 1
        fixed = packet[at : at + _RECORD.size]
        if len(fixed) < _RECORD.size:
            return
        kind, _, length = _RECORD.unpack(fixed)
        yield kind
        at += _RECORD.size + length


def usual_server() -> str:
    """Return the first server of resolv.conf; raises OSError if there is none."""
    found = re.search(
        r"(?m)^\s*nameserver\s+(\S+)", _RESOLV_CONF.read_text(encoding="utf-8", errors="replace")
    )
    if not found:
        raise OSError(f"{_RESOLV_CONF} names no server")
    return found[1]


def probe_dns(attempt: Attempt, name: str, server: str, port: int, kind: str) -> Outcome:
    """Return the outcome of a question; without a server it goes to the usual one."""
    asked, number = question(name, kind), int.from_bytes(os.urandom(2), "big")
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
    found = attempt.resolve(server or usual_server(), port, socket.SOCK_DGRAM)
    for place, (family, _, _, _, address) in enumerate(found):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                attempt.hold(sock).connect(address)
                outcome = _ask(sock, number, asked, attempt.left() / (len(found) - place))
        except OSError as error:  # refused or silent: a server may listen at its other address alone
            failure = error
        else:
            return outcome
    raise failure


def _ask(sock: socket.socket, number: int, asked: bytes, seconds: float) -> Outcome:
    """Return the outcome of a question at one address; raises OSError if nothing answers in time."""
    began = time.monotonic()
    sock.send(query(number, asked))
    while (left := began + seconds - time.monotonic()) > 0:
        sock.settimeout(left)
        packet = sock.recv(4096)
        ms = round((time.monotonic() - began) * 1000, 3)
        if outcome := judge(packet, number, asked):
            return outcome._replace(ms=ms) if outcome.kind is Kind.ANSWERED else outcome
    raise TimeoutError
