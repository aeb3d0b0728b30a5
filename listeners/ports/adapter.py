"""Which USB adapter a serial port is on: the number in a name such as ttyUSB0 only says which came first.

Source: the files that the kernel shows of a USB device (Documentation/ABI/stable/sysfs-bus-usb). They are
there before the port is, unlike the links in /dev/serial/by-id.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

TTYS, DEVICES = Path("/sys/class/tty"), Path("/dev")

_DEPTH = 4
"""How far above the port the USB device is, at most."""


def adapter_of(port: str) -> str:
    """Return in words what an adapter keeps wherever it is plugged in; "" where the port is not on USB.

    Adapters without serial numbers, of one kind, cannot be told from each other.
    """
    with suppress(OSError):
        return _adapter(Path(port).resolve().name)
    return ""


def follow(port: str, adapter: str) -> str:
    """Return where an adapter is that was at this port; OSError where another has its place."""
    now = adapter_of(port)
    if not adapter or now == adapter:
        return port
    places = [tty.name for tty in TTYS.iterdir() if adapter_of(tty.name) == adapter]
    if len(places) == 1:
        return str(DEVICES / places[0])
    if not Path(port).exists():
        return port
    raise OSError(
        f"{port}: the adapter that was read here ({adapter}) is gone, and another is in its place "
        f"({now or 'not on USB'}): plug it in, or restart the gateway if it was replaced"
    )


def _adapter(tty: str) -> str:
    device = (TTYS / tty / "device").resolve(strict=True)
    interface = next(
        (each.name.partition(":")[2] for each in (device, *device.parents) if ":" in each.name), ""
    )
    for folder in (device, *device.parents[:_DEPTH]):
        if (folder / "idVendor").exists():
            words = [_text(folder / name) for name in ("idVendor", "idProduct", "serial")]
            return f"{words[0]}:{words[1]} {words[2] or 'without a serial number'}, interface {interface}"
    return ""


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text("ascii", "replace").strip()
    return ""
