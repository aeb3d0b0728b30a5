"""TCP ports for what has to be told its port, none of them given to two."""

from __future__ import annotations

import atexit
import itertools
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.waiting import wait_until

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""The first and last port that the kernel gives to who asks for any, or connects."""


def free_port() -> int:
    """Return a TCP port that nobody has, and that nobody else gets while this process lives.

    It is one that the kernel gives nobody by itself. Other processes that ask here are kept away by a claim,
    a name among the abstract Unix sockets, which ends with the process.
    """
    first, last = map(int, _EPHEMERAL.read_text().split())
    for port in itertools.chain(range(first - 1, 1023, -1), range(last + 1, 65536)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0oemgateway-test-port-{port}")
            # Without SO_REUSEADDR: then not even a connection that is over keeps anyone from it.
            with socket.socket() as probe:
                probe.bind(("", port))
        except OSError:
            claim.close()
            continue
        atexit.register(claim.close)
        return port
    raise AssertionError(f"no free port: the kernel keeps {first} to {last} to itself ({_EPHEMERAL})")


def own_address() -> str:
    """Return an address of this machine that others see, or skip the test."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    pytest.skip("this machine has no address")


def need_address(host: str) -> None:
    """Skip the test where this machine does not have that address: IPv6 may be switched off."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, 0), family=family).close()
    except OSError:
        pytest.skip(f"this machine has no address {host}")


def listens(port: int) -> bool:
    """Tell whether somebody listens at a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def connect(port: int) -> socket.socket:
    """Connect to a port of this machine, as soon as somebody listens there."""

    def connection() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            return None

    connected = wait_until(connection, what=f"somebody at port {port}")
    assert connected
    return connected
