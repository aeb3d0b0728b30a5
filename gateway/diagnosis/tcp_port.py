"""What keeps a section from the TCP port that it listens on: another program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good
from gateway.process.holders import of_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine


def examine_port(machine: Machine, host: str, number: int) -> Iterator[Finding]:
    """Yield whether the port (0: any) is free; nothing where the running gateway has it, or seems to."""
    if not machine.live or not number:
        return
    holder = of_port(host, number)
    if holder and machine.gateway and holder.pid in (0, machine.gateway):
        return
    first = int(machine.text("/proc/sys/net/ipv4/ip_unprivileged_port_start") or 0)
    if number < first and machine.uid != 0:
        yield bad(f"{machine.user} may not listen at port {number}", f"set a port of {first} or higher")
    elif holder is None:
        yield good(f"port {number} is free")
    else:
        yield bad(f"port {number} is in use by {holder}", f"{holder.cure}, or set another port")
