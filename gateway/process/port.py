"""TCP ports: those of this machine that a section listens on, and HOST:PORT of another one."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from contextlib import suppress
from typing import Any

from gateway.process import holders

_HOST = re.compile(r"(?:[\w-]+\.)*[\w-]+\.?|[0-9a-fA-F:]+:[0-9a-fA-F:.]*(?:%\w+)?")
_PLACE = re.compile(r"(?:\[(.+)\]|([^:]+))(?::([0-9]{1,5}))?")
EVERYWHERE = ("0.0.0.0", "::")
"""What a section listens on to take connections at every address of the machine; not an address itself."""
_FREE = 1024
"""The first port that any user may listen on, by default in Linux (net.ipv4.ip_unprivileged_port_start)."""


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to a host of this name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_own(family: int, address: tuple[Any, ...]) -> bool:
    """Tell whether a socket's address is one of this machine's, as all of 127.0.0.0/8 are.

    Debian gives the name of a machine the address 127.0.1.1; connections to it come from 127.0.0.1.
    """
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((address[0], 0, *address[2:]))
        return True
    return False


def exclusive(host: str, number: int) -> tuple[str, ...]:
    """Return, in words, what only one can have open at a time; IPv6 has ports of its own."""
    if not number:
        return ()
    port = f"{'IPv6 port' if ':' in host else 'port'} {number}"
    address = "127.0.0.1" if host == "localhost" else host
    return (port if host in EVERYWHERE else f"{port} of {address}",)


def refused(host: str, number: int, error: OSError) -> OSError:
    """Return why a server cannot listen there, with what to do about it."""
    words = (error.strerror or str(error)).partition(" (while")[0]
    if error.errno == errno.EADDRINUSE:
        holder = holders.of_port(host, number) or holders.Holder()
        words = f"the port is in use by {holder}: {holder.cure}, or set another port"
        if holder.pid == os.getpid():
            words = "the port is in use by another section of this gateway: give one of them another"
    elif error.errno == errno.EACCES and number < _FREE:
        words = f"only root may listen at a port below {_FREE}: set a higher one"
    elif error.errno == errno.EADDRNOTAVAIL:
        words = "this machine has no such address: set host to one that `ip address` shows, or to 0.0.0.0"
    return OSError(f"{joined(host, number)}: {words}")


def joined(host: str, port: int | str) -> str:
    """Return HOST:PORT, an IPv6 address being in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_host(text: str) -> str:
    """Return a name or an address of a host; raises ValueError if it is neither."""
    if not _HOST.fullmatch(text) or len(text) > 253:
        raise ValueError(f"the name or the IP address of a host expected, not {text or 'nothing'}")
    return text


def host_and_port(text: str, default: int | None = None) -> tuple[str, int]:
    """Return a host and a port of HOST:PORT, an IPv6 address being in brackets; raises ValueError."""
    found = _PLACE.fullmatch(text)
    port = int(found[3]) if found and found[3] else default
    if not found or not port or port > 65535:
        what = "HOST or HOST:PORT" if default else "HOST:PORT"
        raise ValueError(f"{what} expected, with a port from 1 to 65535, not {text or 'nothing'}")
    return check_host(found[1] or found[2]), port
