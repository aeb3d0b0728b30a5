"""Which USB adapter a serial port is on: the number in a name such as ttyUSB0 only says which came first.

Source: the files that the kernel shows of a USB device (Documentation/ABI/stable/sysfs-bus-usb). They are
there before the port is, unlike the links in /dev/serial/by-id.
"""

from __future__ import annotations

import os
import re
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.flag import wait_readable

if TYPE_CHECKING:
    from gateway.flag import Flag

TTYS, DEVICES = Path("/sys/class/tty"), Path("/dev")

_DEPTH = 4
"""How far above the port the USB device is, at most."""

_COMMON = re.compile(r"0*\d{0,3}|(.)\1*|0?12345\w*")
"""Serial numbers that a maker gives to all of a kind, such as a CP2102's 0001."""


class Adapter(NamedTuple):
    """One port of an adapter: its vendor and product, what it has of its own, and where it is plugged in."""

    kind: str
    serial: str
    interface: str
    socket: Path

    @property
    def has_own_serial(self) -> bool:
        """Whether its serial number identifies it in any socket; otherwise only its socket does."""
        return not _COMMON.fullmatch(self.serial) and self[:3] not in _shared

    def is_surely(self, other: Adapter) -> bool:
        """Tell whether there can be no doubt that the two are one."""
        return self[:3] == other[:3] and (self.has_own_serial or self.socket == other.socket)

    def replaces(self, other: Adapter) -> bool:
        """Tell whether it is of the same kind, and in the socket of the other."""
        return (self.kind, *self[2:]) == (other.kind, *other[2:])

    def __str__(self) -> str:
        serial = self.serial or "without a serial number"
        return f"{self.kind} {serial}, interface {self.interface}, socket {self.socket.name}"


class AdapterMemory:
    """The adapter that a section reads; no other section reads it in place of its own.

    Until it `has_given` frames, one of another kind may be what it becomes, as a board whose boot loader was
    seen. Once `stop`, the flag of the section, is raised, others may read it.
    """

    def __init__(self) -> None:
        self.adapter: Adapter | None = None
        self.has_given = False
        self.section = ""
        self.stop: Flag | None = None
        _memories[:] = [each for each in _memories if each()] + [weakref.ref(self)]


_memories: list[weakref.ref[AdapterMemory]] = []

_shared: set[tuple[object, ...]] = set()
"""Kind, serial number and interface that several adapters have had at once: they identify none of these."""


def adapter_of(port: str, ttys: Path | None = None) -> Adapter | None:
    """Return the adapter of a port; None if it is not on USB."""
    try:
        device = ((ttys or TTYS) / os.path.realpath(port).rpartition("/")[2] / "device").resolve(strict=True)
    except OSError:
        return None
    above = (device, *device.parents[:_DEPTH])
    interface = next((each.name.partition(":")[2] for each in above if ":" in each.name), "")
    if (number := _text(device / "port_number")) not in ("", "0"):  # several ports may be on one interface
        interface += f", port {number}"
    for folder in above:
        if (folder / "idVendor").exists():
            vendor, product, serial = (_text(folder / name) for name in ("idVendor", "idProduct", "serial"))
            return Adapter(f"{vendor}:{product}", serial, interface, folder)
    return None


def look_for_copies(adapter: Adapter, ttys: Path | None = None) -> None:
    """Note if several adapters have its serial number now: it is then the own of none."""
    if adapter.has_own_serial and len(_alike(adapter, ttys)) > 1:
        _shared.add(adapter[:3])


def follow(port: str, memory: AdapterMemory) -> str:
    """Return where the adapter is that was read at this port, or the port if another has replaced it.

    Raises OSError if it cannot be known to be that one, or is the one of another section.
    """
    ours, here = memory.adapter, adapter_of(port)
    if ours and here != ours:
        look_for_copies(ours)
        places = [name for name, each in _alike(ours).items() if each.is_surely(ours)]
        if len(places) == 1 and not (here and here.is_surely(ours)):
            return str(DEVICES / places[0])
    if ours and (here.is_surely(ours) if here else not Path(port).exists()):
        return port
    if here and (section := _reader_of(here, memory.section)):
        raise OSError(
            f"{port}: its adapter ({here}) is the one that the section {section} reads: give each section "
            "the name of its own in /dev/serial/by-path, or read it in one"
        )
    is_new = ours is None or (not memory.has_given and (here is None or here.kind != ours.kind))
    if is_new or (here and ours and here.replaces(ours)):
        return port
    raise OSError(
        f"{port}: the adapter that was read here ({ours}) is gone, and another is in its place "
        f"({here or 'not on USB'}): plug it in, into its socket if it has no serial number of its own, "
        "or restart the gateway if it was replaced"
    )


def _reader_of(adapter: Adapter, ours: str) -> str:
    """Return which section other than ours has read an adapter; "" if none has."""
    for memory in [found for each in list(_memories) if (found := each())]:
        other = memory.adapter
        if memory.section == ours or not memory.stop or not other or not adapter.is_surely(other):
            continue
        if not wait_readable([memory.stop.fileno()], 0):  # `is_set` is for its own thread, which is timed
            return memory.section
    return ""


def _alike(adapter: Adapter, ttys: Path | None = None) -> dict[str, Adapter]:
    """Return the adapters with the same kind, serial number and interface, by the names of their ports."""
    with suppress(OSError):
        found = {tty.name: adapter_of(tty.name, ttys) for tty in (ttys or TTYS).iterdir()}
        return {name: each for name, each in found.items() if each and each[:3] == adapter[:3]}
    return {}


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text("ascii", "replace").strip()
    return ""
