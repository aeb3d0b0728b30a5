"""The doctor's checks of a DS2482: its bus, and OWFS on the same bus."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.diagnosis.finding import bad, good
from listeners.onewire.checks import owfs_conf
from listeners.ports.examine_i2c import examine_i2c

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine

ADDRESSES = range(0x18, 0x20)
"""Where a DS2482-100 or -800 may be, by its address pins."""


def examine_ds2482(machine: Machine, bus: str, address: int, *, in_use: bool) -> Iterator[Finding]:
    """Yield the findings on the way to the chip; see `examine_i2c`."""
    more = [partial(_examine_masters, machine, f"/dev/i2c-{bus}")]
    return examine_i2c(machine, bus, address, in_use=in_use, others=ADDRESSES, more=more)


def _examine_masters(machine: Machine, device: str) -> Finding:
    """Check for OWFS on the same bus: two masters garble each other's readings, and neither notices."""
    if programs := owfs_conf.masters(machine, device):
        return bad(
            f"{device} is driven by {' and '.join(programs)} too, by {owfs_conf.PATH}",
            f"sudo service {programs[0]} stop, or read the sensors through it: type = {programs[0]}",
        )
    return good(f"no program of OWFS drives {device}")
