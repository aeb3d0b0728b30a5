"""Which USB adapter a serial port is on: the number in a name such as ttyUSB0 only says which came first.

Source: the files that the kernel shows of a USB device (Documentation/ABI/stable/sysfs-bus-usb). They are
there before the port is, unlike the links in /dev/serial/by-id.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TTYS, DEVICES = Path("/sys/class/tty"), Path("/dev")

_DEPTH = 4
"""How far above the port the USB device is, at most."""

_REPLACED_S = 600.0
"""Seconds after which one of the same kind that is in the place of another counts as its replacement."""


class Adapter(NamedTuple):
    """What an adapter keeps wherever it is plugged in. `kind` is its vendor and product."""

    kind: str
    serial: str
    interface: str

    def __str__(self) -> str:
        return f"{self.kind} {self.serial or 'without a serial number'}, interface {self.interface}"


class Displaced(OSError):
    """Another adapter is in the place of the one that was read there."""


def adapter_of(port: str) -> Adapter | None:
    """Return the adapter of a port; None where it is not on USB, or another one cannot be told from it."""
    with suppress(OSError):
        found = _adapter(port)
        return found if found and len(_ports(found)) == 1 else None
    return None


def follow(port: str, adapter: Adapter | None, displaced_s: float) -> str:
    """Return where an adapter is that was at this port.

    Raises Displaced where another has its place, until that counts as its replacement: for `displaced_s`
    seconds so far.
    """
    if adapter is None or (now := _adapter(port)) == adapter:
        return port
    places = _ports(adapter)
    if len(places) == 1:
        return str(DEVICES / places[0])
    is_alike = now is not None and now.kind == adapter.kind
    if not Path(port).exists() or (is_alike and displaced_s >= _REPLACED_S):
        return port
    cure = "or restart the gateway if it was replaced"
    if is_alike:
        cure = f"or wait for {_REPLACED_S / 60:g} minutes if it was replaced"
    raise Displaced(
        f"{port}: the adapter that was read here ({adapter}) is gone, and another is in its place "
        f"({now or 'not on USB'}): plug it in, {cure}"
    )


def _ports(adapter: Adapter) -> list[str]:
    """Return the names of the ports on adapters that cannot be told from this one."""
    return [tty.name for tty in TTYS.iterdir() if _adapter(tty.name) == adapter]


def _adapter(port: str) -> Adapter | None:
    try:
        device = (TTYS / os.path.realpath(port).rpartition("/")[2] / "device").resolve(strict=True)
    except OSError:
        return None
    interface = next(
        (each.name.partition(":")[2] for each in (device, *device.parents) if ":" in each.name), ""
    )
    for folder in (device, *device.parents[:_DEPTH]):
        if (folder / "idVendor").exists():
            vendor, product, serial = (_text(folder / name) for name in ("idVendor", "idProduct", "serial"))
            return Adapter(f"{vendor}:{product}", serial, interface)
    return None


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text("ascii", "replace").strip()
    return ""
