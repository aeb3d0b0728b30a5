"""Lines from a device on a serial port, whatever they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gateway.flag import wait_readable
from gateway.frame import Frame
from gateway.plugin import Listener
from gateway.settings import setting
from listeners.counting import Tally
from listeners.lines import Ignored, Lines, Rejected
from listeners.ports.examine_serial import examine_serial
from listeners.ports.serial_port import SerialPort
from listeners.radio.missed import Missed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from gateway.flag import Flag
    from gateway.frame import Stamp

LONGEST_LINE = 1024

Baud = Literal[300, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400]


@dataclass(kw_only=True)
class SerialListener(Listener):
    """Listens to a device that prints lines, and needs to be told nothing.

    What comes before the first line end is dropped: the end of a line may look like another line.
    """

    port: str = setting("/dev/ttyUSB0", was=("com_port",))
    baud: Baud = setting(115200, was=("com_baud",))

    def __post_init__(self) -> None:
        self.counts = Tally()
        self.missed = Missed()
        self._port: SerialPort | None = None

    def frame(self, line: str, stamp: Stamp) -> Frame | Ignored | Rejected:
        """Return what a line says; nothing that it holds raises an exception."""
        raise NotImplementedError

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return what stands between the user and the device."""
        return examine_serial(machine, self.port)

    def holds(self) -> Iterable[str]:
        """Return the port."""
        return (self.port,)

    def report(self) -> dict[str, Any]:
        """Return how often what was refused, and how many messages of which node were never heard."""
        return {"faults": self.counts.faults | self.missed.faults()}

    def ailing(self) -> list[str]:
        """Return that every line of late was refused, where that is so."""
        return self.counts.ailing(self.clock.monotonic())

    def open(self) -> None:
        """Open the port; what was on its way already is dropped."""
        self._port = SerialPort(self.port, self.baud)
        self._lines = Lines(LONGEST_LINE)
        self._in_step = False

    def close(self) -> None:
        """Let go of the port."""
        if self._port is not None:
            self._port.close()
            self._port = None

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for bytes and return the frames they complete; OSError when the port has gone."""
        port = self._port
        if port is None:
            raise OSError(f"{self.port} is not open")
        data = port.read() if port.fileno() in wait_readable([stop, port]) else b""
        stamp = self.clock.now()
        return [frame for line in self._lines.feed(data) if (frame := self._hear(line, stamp))]

    def _hear(self, line: str, stamp: Stamp) -> Frame | None:
        if not self._in_step:
            self._in_step = True
            self.counts["first-partial"] += 1
            return None
        said = self.frame(line, stamp)
        if isinstance(said, Frame):
            self.counts.take()
            self.missed.hear(said.node, said.names, said.values)
            return said
        if isinstance(said, Rejected):
            self.counts.refuse(said.reason, line, self.log, self.clock.monotonic())
        else:
            self.counts[said.kind] += 1
        return None
