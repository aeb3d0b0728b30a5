"""What the listeners on a serial port have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from gateway.flag import wait_readable
from gateway.settings import setting
from listeners.lines import LONGEST_LINE, Lines
from listeners.ports.adapter import AdapterMemory, look_for_copies
from listeners.ports.examine_serial import examine_serial
from listeners.ports.serial_port import SerialPort, check_port, is_pattern
from listeners.tally import CountingListener

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from gateway.flag import Flag
    from gateway.frame import Frame
    from listeners.lines import DataLine, Ignored, Rejected

_LOOK_EVERY = 60.0
"""Seconds between two looks for another adapter with the same serial number, which take some milliseconds."""

Baud = Literal[300, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400]


@dataclass(kw_only=True)
class SerialListener(CountingListener):
    """Listens to a device that prints lines.

    What comes before the first line end is dropped: the end of a line may look like another line. A USB
    adapter is found again at another port, by its own serial number or its socket. Another one in its place
    is read if it is of the same kind, and in the same socket.
    """

    port: str = setting("/dev/ttyUSB0", was=("com_port",), check=check_port)
    baud: int | str = setting()  # each listener says which there are

    NAMES_NODES: ClassVar = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._port: SerialPort | None = None
        self._adapter = AdapterMemory()

    def hear(self, line: str) -> DataLine | Ignored | Rejected:
        """Take in a line and return what it says; no line raises an exception."""
        raise NotImplementedError

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return what keeps this user from the device."""
        return () if self.simulated else examine_serial(machine, self.port)

    @property
    def exclusive(self) -> Iterable[str]:
        """The port."""
        return () if self.simulated else (self.port,)

    @property
    def remark(self) -> str:
        """That the adapter has another number than in the configuration."""
        port = self._port
        if port is None or self.simulated or is_pattern(self.port) or port.name == self.port:
            return ""
        is_known = port.adapter is None or port.adapter.has_own_serial
        better = "by-id would always mean it" if is_known else "by-path would always mean its socket"
        return f"its adapter is at {port.name} now: a name in /dev/serial/{better}"

    def open(self) -> None:
        """Open the port; what has already arrived there is dropped."""
        self._adapter.section = self.name
        self._port = self._connect()
        self._look_again = self.clock.monotonic()
        if not self._adapter.has_given:
            self._adapter.adapter = self._port.adapter
        self._lines = self._new_lines()

    def close(self) -> None:
        """Release the port."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for bytes and return the frames they complete; OSError when the port has gone."""
        port = self._opened(stop)
        return self._receive(port) if port.fileno() in wait_readable([stop, port]) else []

    def _connect(self) -> SerialPort:
        return SerialPort(self.port, int(self.baud), self._adapter)

    def _opened(self, stop: Flag) -> SerialPort:
        self._adapter.stop = stop
        if self._port is None:
            raise OSError(f"{self.port} is not open")
        return self._port

    def _new_lines(self) -> Lines:
        return Lines(LONGEST_LINE, is_whole=lambda _: False)

    def _receive(self, port: SerialPort) -> list[Frame]:
        stamp = self.clock.now()
        lines = self._lines.feed(port.read()) + self._lines.cut()
        frames = [frame for line in lines if (frame := self.frame(self.hear(line), stamp, line))]
        for frame in frames:
            self.counts.count_missed(frame)
        if frames:  # it is our device, and not a boot loader
            self._adapter.adapter, self._adapter.has_given = port.adapter, True
            if port.adapter and self.clock.monotonic() >= self._look_again:
                look_for_copies(port.adapter)
                self._look_again = self.clock.monotonic() + _LOOK_EVERY
        return frames
