"""A TCP port of this machine, for the sections that listen on one."""

from __future__ import annotations

import ipaddress

_EVERYWHERE = ("0.0.0.0", "::")


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
