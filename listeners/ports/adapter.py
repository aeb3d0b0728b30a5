"""Which USB adapter a serial port is on: the number in a name such as ttyUSB0 only says which came first.

Source: the files that the kernel shows of a USB device (Documentation/ABI/stable/sysfs-bus-usb). They are
there before the port is, unlike the links in /dev/serial/by-id.
"""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TTYS, DEVICES = Path("/sys/class/tty"), Path("/dev")

_DEPTH = 4
"""How far above the port the USB device is, at most."""


class Adapter(NamedTuple):
    """What an adapter keeps wherever it is plugged in. `kind` is its vendor and product."""

    kind: str
    serial: str
    interface: str

    def __str__(self) -> str:
        return f"{self.kind} {self.serial or 'without a serial number'}, interface {self.interface}"


class AdapterMemory:
    """The adapter that a section has read; no other section reads it in place of its own."""

    def __init__(self) -> None:
        self.adapter: Adapter | None = None
        _memories[:] = [each for each in _memories if each()] + [weakref.ref(self)]


_memories: list[weakref.ref[AdapterMemory]] = []


def adapter_of(port: str) -> Adapter | None:
    """Return the adapter of a port; None if it is not on USB, or another one cannot be told from it."""
    with suppress(OSError):
        found = _adapter(port)
        return found if found and len(_ports(found)) == 1 else None
    return None


def follow(port: str, memory: AdapterMemory) -> str:
    """Return where the adapter is that was read at this port, or the port if another has replaced it.

    Raises OSError if the one in its place is of another kind, or is the one of another section.
    """
    adapter = memory.adapter
    if adapter is None or (now := _adapter(port)) == adapter:
        return port
    places = _ports(adapter)
    if len(places) == 1:
        return str(DEVICES / places[0])
    others = [other.adapter for each in list(_memories) if (other := each()) and other is not memory]
    if not Path(port).exists() or (now and now.kind == adapter.kind and now not in others):
        return port
    raise OSError(
        f"{port}: the adapter that was read here ({adapter}) is gone, and another is in its place "
        f"({now or 'not on USB'}): plug it in, or restart the gateway if it was replaced"
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
