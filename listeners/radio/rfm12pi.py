"""An RFM12Pi, RFM2Pi or RFM69Pi on a serial port, which hears radio packets and prints them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gateway.flag import wait_readable
from gateway.frame import Frame
from gateway.plugin import Listener
from gateway.settings import at_least, between, setting
from listeners.counting import Tally
from listeners.lines import Ignored, Lines, Rejected
from listeners.ports.examine_serial import examine_serial
from listeners.ports.serial_port import SerialPort, is_pattern
from listeners.radio.baud import RATES, BaudSearch
from listeners.radio.board import Board
from listeners.radio.grammar import LONGEST_LINE, Configuration, Packet, decode_bytes, unjoin, with_header
from listeners.radio.missed import Missed
from listeners.simulated.radio_firmware import Rf12demo
from listeners.simulated.rfm12pi import SIMULATED_NODES, SimulatedRfm12pi

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from gateway.flag import Flag
    from gateway.frame import Stamp

Baud = Literal["auto", 9600, 38400, 57600, 115200]


@dataclass(kw_only=True)
class Rfm12pi(Listener):
    """Listens to a radio board, whose packets are int16 values of a node unless [nodes] says otherwise.

    `port` may be a pattern that one port matches, as /dev/ttyUSB*; `baud = auto` finds the rate out. `group`,
    `frequency` (the band), `baseid` (the board's own node) and `quiet` (do not print packets with a bad
    checksum) are made those of the board, also when it has been away; those that are not given it keeps.
    A board in group 0 hears every group, and prints which: where `group` is not 0, one alone is listened to.
    `sendtimeinterval` seconds pass between two broadcasts of the local time, for an emonGLCD; 0: none.
    `header = raw` is for firmware that prints the header byte whole, as a JeeLink does.
    """

    port: str = setting("/dev/ttyAMA0", was=("com_port",))
    baud: Baud = setting(38400)
    group: int | None = setting(None, was=("sgroup",), check=between(0, 250))
    frequency: Literal[4, 8, 9, 433, 868, 915] | None = setting(None)
    baseid: int | None = setting(None, check=between(1, 30))
    quiet: bool | None = setting(None)
    sendtimeinterval: int = setting(0, check=at_least(0))
    header: Literal["masked", "raw"] = setting("masked")

    def __post_init__(self) -> None:
        self.counts = Tally()
        self.missed = Missed()
        self._simulator: SimulatedRfm12pi | None = None
        self._port: SerialPort | None = None
        self._search: BaudSearch | None = None
        self._rates: tuple[int, ...] = RATES if self.baud == "auto" else (self.baud,)
        self._told: Configuration | None = None
        self._groups: dict[int | None, int] = {}  # by node, or that of all

    @property
    def simulated(self) -> bool:
        """Whether the board is one of our own making."""
        return self.port == "simulated"

    def expects(self) -> Iterable[str]:
        """Return the board's own node, which an emonPi's own readings have, or those that are made up."""
        if self.simulated:
            return SIMULATED_NODES
        return () if self.baseid is None else (str(self.baseid),)

    def holds(self) -> Iterable[str]:
        """Return the port."""
        return () if self.simulated else (self.port,)

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Say that an emonGLCD will not take the time from this node."""
        if self.sendtimeinterval and self.baseid not in (None, 15):
            yield "baseid", f"an emonGLCD takes the time from node 15 only: 15 expected, not {self.baseid}"

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return what stands between the user and the board."""
        return () if self.simulated else examine_serial(machine, self.port)

    def report(self) -> dict[str, Any]:
        """Return how often what was refused, and how many messages of which node were never heard."""
        return {"faults": self.counts.faults | self.missed.faults()}

    def ailing(self) -> list[str]:
        """Return that every line of late was refused, where that is so."""
        return self.counts.ailing(self.clock.monotonic())

    def wanted(self) -> dict[str, int]:
        """Return the settings that the board is to have, by the letter of their command."""
        band = int(str(self.frequency)[0]) if self.frequency else None
        settings = {"g": self.group, "b": band, "i": self.baseid, "q": self.quiet}
        return {letter: int(value) for letter, value in settings.items() if value is not None}

    def open(self) -> None:
        """Open the port; what was on its way already is dropped."""
        if self.simulated:
            self._simulator = SimulatedRfm12pi(firmware=Rf12demo(baud=self._rates[0]))
        self._search = BaudSearch(self.clock, self._rates) if self.baud == "auto" else None
        self._port = SerialPort(self._simulator.port if self._simulator else self.port, self._rates[0])
        if is_pattern(self.port):
            self.log.info("the board is at %s", self._port.name)
        self._told = None
        self._board = Board(self.wanted(), self.clock, self.log, time_every=self.sendtimeinterval)
        self._begin_lines()

    def close(self) -> None:
        """Let go of the port."""
        if self._port is not None:
            self._port.close()
            self._port = None
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for bytes and return the frames they complete; OSError when the port has gone."""
        port = self._port
        if port is None:
            raise OSError(f"{self.port} is not open")
        while True:
            self._speak(port)
            ready = wait_readable([stop, port, *self._others()], self._patience())
            self._attend(ready)
            # Only now, when nothing can fail that would take the frames with it.
            frames = self._hear(port.read()) if port.fileno() in ready else []
            if self._search is None or stop.fileno() in ready:
                return frames

    def _others(self) -> Iterable[object]:
        """Return what else it waits for."""
        return ()

    def _attend(self, ready: set[int]) -> None:
        """Do what there is to do for the others that are ready."""

    def _begin_lines(self) -> None:
        """Begin to listen: what comes first may be the end of a line."""
        self._lines = Lines(LONGEST_LINE)
        self._in_step = False

    def _patience(self) -> float | None:
        due = self._search.due if self._search else self._board.due
        return None if due is None else due - self.clock.monotonic()

    def _speak(self, port: SerialPort) -> None:
        """Write what is due, or go on to the next baud rate."""
        if self._search is None:
            text = self._board.speak()
        elif self._search.is_over():
            port.change_speed(self._search.rate)
            self._begin_lines()
            return
        else:
            text = self._search.speak()
        if text:
            port.write(text)

    def _hear(self, data: bytes) -> list[Frame]:
        stamp = self.clock.now()
        return [frame for line in unjoin(self._lines.feed(data)) if (frame := self._frame(line, stamp))]

    def _frame(self, line: str, stamp: Stamp) -> Frame | None:
        said = decode_bytes(line)
        if not self._is_trusted(line, said):
            return None
        if isinstance(said, Packet) and self.header == "raw":
            said = with_header(said)
        match said:
            case Packet(node=None):
                self.counts["directed"] += 1
            case Packet() if not self._is_ours(said):
                self._refuse("other-group", line)
            case Packet(node, data, rssi):
                decoded = self.nodes.decode(str(node), data)
                if not isinstance(decoded, str):
                    self.counts.take()
                    if decoded.names:
                        self.missed.hear(str(node), decoded.names, decoded.values)
                    return Frame(str(node), decoded.values, stamp, decoded.names, rssi, self.name)
                self._refuse(decoded, line)
            case Rejected(reason):
                self._refuse(reason, line)
            case Ignored(kind):
                self.counts[kind] += 1
                self._board.hear(said)
                if isinstance(said, Configuration) and said != self._told:
                    self._told = said
                    self.log.info("the board says: %s", line.strip())
        return None

    def _is_ours(self, packet: Packet) -> bool:
        """Tell whether a packet is of the right group, or of one that is not told as there is one alone.

        That is the group that is set, or else the first one heard. Where every group is wanted (0), each node
        has its own: the one that it was first heard in.
        """
        if packet.group is None or self.group:
            return packet.group in (None, self.group)
        if self.group is None and not self._groups:
            self.log.warning(
                "the board is in group 0 and hears every group: only group %d, the first heard, is taken; "
                "to say which, set group = %d, or group = 0 for all",
                packet.group,
                packet.group,
            )
        ours = self._groups.setdefault(None if self.group is None else packet.node, packet.group)
        return packet.group == ours

    def _is_trusted(self, line: str, said: Packet | Ignored | Rejected) -> bool:
        """Tell whether this is a line from its beginning, and at the right baud rate."""
        if not self._in_step:
            self._in_step = True
            if not (line.startswith("OK ") or isinstance(said, Ignored)):
                # The end of a line looks like a packet of another node.
                self.counts["first-partial"] += 1
                return False
        if self._search is not None:
            if not self._search.is_proof(line, said):
                self.counts["wrong-baud"] += 1
                return False
            found = self._search.rate
            self._rates = tuple(sorted(RATES, key=lambda rate: rate != found))
            self._search = None
            self.log.info("the board speaks at %d baud", found)
        return True

    def _refuse(self, reason: str, line: str) -> None:
        self.counts.refuse(reason, line, self.log, self.clock.monotonic())


@dataclass(kw_only=True)
class Rfm2pi(Rfm12pi):
    """The type of 2013, whose boards spoke 9600 baud."""

    baud: Baud = setting(9600)
