"""A TCP port of this machine, for the sections that listen on one."""

from __future__ import annotations

import errno
import ipaddress

from gateway import holders

_EVERYWHERE = ("0.0.0.0", "::")
_FREE = 1024
"""The first port that any user may listen at, as Linux comes (net.ipv4.ip_unprivileged_port_start)."""


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to a host of this name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def exclusive(host: str, number: int) -> tuple[str, ...]:
    """Return what no other can open at the same time, in words; IPv6 has ports of its own."""
    if not number:
        return ()
    port = f"{'IPv6 port' if ':' in host else 'port'} {number}"
    return (port if host in _EVERYWHERE else f"{port} of {host}",)


def refused(host: str, number: int, error: OSError) -> OSError:
    """Return why a server cannot listen there, with what to do about it."""
    words = (error.strerror or str(error)).partition(" (while")[0]
    if error.errno == errno.EADDRINUSE:
        holder = holders.of_port(host, number) or holders.Holder()
        words = f"the port is in use by {holder}: {holder.cure}, or set another port"
    elif error.errno == errno.EACCES and number < _FREE:
        words = f"only root may listen at a port below {_FREE}: set a higher one"
    elif error.errno == errno.EADDRNOTAVAIL:
        words = "this machine has no such address: set host to one that `ip address` shows, or to 0.0.0.0"
    return OSError(f"{f'[{host}]' if ':' in host else host}:{number}: {words}")
