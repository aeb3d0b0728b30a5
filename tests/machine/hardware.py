"""What is attached to one run of the machine: a USB I2C adapter with sensors, and two radio boards."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from gateway.clock import Clock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.machine.adapter import Adapter
from tests.machine.guest import Guest
from tests.machine.usbredir import Plug

IDS = ("28.33F749050000", "28.DB564A050000", "28.AB1663050000", "28.4C92D4060000", "28.E01A77070000")
CELSIUS = (18.6875, -10.125, 85.0, -55.0, 125.0)
FIRST_NUMBER = 1000


class Places(NamedTuple):
    """Where the guest finds things: the number of the adapter's bus, and the machine's own serial port."""

    bus: int
    serial: str


PLACES = {"amd64": Places(1, "/dev/ttyS1"), "arm64": Places(0, "/dev/ttyS0")}
"""By architecture: a PC has a chipset with an I2C bus of its own, and its console is ttyS0."""


class Packet(NamedTuple):
    """A packet that a radio board printed, and when, by the monotonic and by the host's clock."""

    number: int
    at: float
    wall: float


class Radio:
    """A radio board: prints packets of node 10 whose first value counts up, also through power cuts.

    `lines` is where it is attached at the moment.
    """

    def __init__(self, node: int = 10) -> None:
        self.node = node
        self.printed: list[Packet] = []
        self.lines: socket.socket | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def attach(self, lines: socket.socket) -> None:
        """Be on the other end of a serial line."""
        self.lines = lines
        lines.setblocking(False)

    def send(self) -> None:
        """Print the next packet; a line that nobody reads is full after a while, and takes none."""
        number = FIRST_NUMBER + len(self.printed)
        low, high = number & 0xFF, number >> 8
        if self.lines is None:
            return
        try:
            self.lines.send(f"OK {self.node} {low} {high} 0 0 (-50)\r\n".encode())
        except OSError:
            return
        self.printed.append(Packet(number, time.monotonic(), time.time()))

    def start(self, every: float = 0.2) -> None:
        """Begin to print packets; what comes first on a line may be the end of one, so that is nothing."""
        if self.lines is not None:
            self.lines.send(b"\r\n")
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(every,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Be silent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)

    def _run(self, every: float) -> None:
        while not self._stop.wait(every):
            self.send()


class Hardware:
    """All of it; what is plugged in stays so through a reboot of the guest, but not through a power cut.

    Five sensors are on the chip, and may be changed at any time. `radio` is on the machine's own serial port,
    and `usb_radio` on a USB adapter, ttyUSB0.
    """

    def __init__(self, radio: Radio | None = None, usb_radio: Radio | None = None) -> None:
        self.sensors = [Ds18b20(text, celsius) for text, celsius in zip(IDS, CELSIUS, strict=True)]
        self.chip = Ds2482(Clock(), self.sensors)
        self.i2c = Plug(Adapter(self.chip))
        self.radio, self.usb_radio = radio or Radio(), usb_radio or Radio(11)
        self.sockets = {"i2c": self.i2c.far}
        self._near = []
        for name, board in (("serial", self.radio), ("usbserial", self.usb_radio)):
            near, self.sockets[name] = socket.socketpair()
            self._near.append(near)
            board.attach(near)

    def options(self, arch: str) -> Sequence[str]:
        """Return QEMU's options for it."""
        serial = (
            ("-serial", "chardev:serial") if arch == "amd64" else ("-device", "pci-serial,chardev=serial")
        )
        return (
            *(*serial, "-device", "qemu-xhci", "-device", "usb-redir,chardev=i2c"),
            *("-device", "usb-serial,chardev=usbserial,always-plugged=on,id=usbradio,port=4"),
        )

    def unplug_usb_radio(self, guest: Guest) -> None:
        """Pull the USB serial adapter out."""
        guest.qmp("device_del", id="usbradio")

    def plug_usb_radio(self, guest: Guest) -> None:
        """Put it back into its socket."""
        # Into the same socket: in another, QEMU gives it another serial number.
        device = {"driver": "usb-serial", "chardev": "usbserial", "id": "usbradio", "port": "4"}
        guest.qmp("device_add", **device, **{"always-plugged": True})

    def close(self) -> None:
        """Let go of all lines."""
        self.i2c.close()
        for board in (self.radio, self.usb_radio):
            board.stop()
            board.lines = None
        for near in self._near:
            near.close()
