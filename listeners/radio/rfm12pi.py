"""An RFM12Pi, RFM2Pi or RFM69Pi on a serial port, which hears radio packets and prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from gateway.flag import wait_readable
from gateway.plugin import Health, Series
from gateway.process.log_limit import LimitedLog
from gateway.settings import at_least, between, setting
from listeners.lines import Ignored, Rejected
from listeners.ports.serial_listener import SerialListener
from listeners.ports.serial_port import SerialPort, check_port, is_pattern
from listeners.radio.baud import RATES, BaudSearch
from listeners.radio.board import Board
from listeners.radio.grammar import (
    LONGEST_LINE,
    BoardLines,
    Configuration,
    Packet,
    decode,
    firmware_in,
    is_whole,
    with_header,
)
from listeners.radio.groups import Groups
from listeners.simulated.radio_firmware import Rf12demo
from listeners.simulated.rfm12pi import SIMULATED_NODES, SimulatedRfm12pi

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.flag import Flag
    from gateway.frame import Frame
    from listeners.lines import Lines

_LINES = 20
"""Lines about the board in an hour, at most: noise may change what it says."""

_NO_LONGER_CUT = 100
"""Lines in a row that look cut until it is clear that the firmware was replaced, and its banner damaged."""

Baud = Literal["auto", 9600, 38400, 57600, 115200]


def _check_port(name: str) -> None:
    if name != "simulated":
        check_port(name)


@dataclass(kw_only=True)
class Rfm12pi(SerialListener):
    """Listens to a radio board, whose packets are int16 values of a node unless [nodes] says otherwise.

    `port` may be a pattern that one port matches, as /dev/ttyUSB*; `baud = auto` finds the rate. The board
    is given the `group`, `frequency` (the band), `baseid` (its own node) and `quiet` (do not print packets
    with a bad checksum) set here, again after every restart of it; what is not set here it keeps. A board in
    group 0 hears every group, and prints which: unless `group` is 0, only one of them is taken.
    Every `sendtimeinterval` seconds the local time is broadcast, for an emonGLCD; 0: never.
    `header = raw` is for firmware that prints the whole header byte, as a JeeLink does.
    """

    usual: ClassVar[Mapping[str, str] | None] = {}

    port: str = setting("/dev/ttyAMA0", was=("com_port",), check=_check_port)
    baud: Baud = setting(38400)
    group: int | None = setting(None, was=("sgroup",), check=between(0, 250))
    frequency: Literal[4, 8, 9, 433, 868, 915] | None = setting(None)
    baseid: int | None = setting(None, check=between(1, 30))
    quiet: bool | None = setting(None)
    sendtimeinterval: int = setting(0, check=at_least(0))
    header: Literal["masked", "raw"] = setting("masked")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._simulator: SimulatedRfm12pi | None = None
        self._search: BaudSearch | None = None
        self._rates: tuple[int, ...] = RATES if self.baud == "auto" else (self.baud,)
        self._configuration = self._firmware = ""
        self._cut = 0
        self._says_ok, self._with_rssi = False, set[int | None]()
        self._board = Board({}, self.clock, self.log)
        self._groups = Groups(self.group)

    @property
    def simulated(self) -> bool:
        """Whether the board is a simulated one."""
        return self.port == "simulated"

    @property
    def rate(self) -> int:
        """The bits a second that it was opened with, or those that `baud = auto` has found."""
        return self._rates[0]

    def catalogue(self) -> Iterable[Series]:
        """Return the board's own node, which sends an emonPi's own readings, or the simulated nodes."""
        own = () if self.baseid is None else (str(self.baseid),)
        return [Series(node=node, claimed=False) for node in (SIMULATED_NODES if self.simulated else own)]

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Say that an emonGLCD does not take the time from this node."""
        if self.sendtimeinterval and self.baseid not in (None, 15):
            yield "baseid", f"an emonGLCD takes the time from node 15 only: 15 expected, not {self.baseid}"

    def wanted(self) -> dict[str, int]:
        """Return the settings that the board is to have, by the letter of their command."""
        band = int(str(self.frequency)[0]) if self.frequency else None
        settings = {"g": self.group, "b": band, "i": self.baseid, "q": self.quiet}
        return {letter: int(value) for letter, value in settings.items() if value is not None}

    def health(self) -> Health:
        """Return what was refused, and what is wrong with the board."""
        health = super().health()
        return replace(health, troubles=[*health.troubles, *self._board.troubles])

    def open(self) -> None:
        """Open the port; what has already arrived there is dropped."""
        super().open()
        self._search = BaudSearch(self.clock, self._rates) if self.baud == "auto" else None
        self._configuration = self._firmware = ""
        self._cut = 0
        self._says_ok, self._with_rssi = False, set[int | None]()
        self._board = Board(self.wanted(), self.clock, self._board_log, time_every=self.sendtimeinterval)

    def close(self) -> None:
        """Release the port."""
        super().close()
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for bytes and return the frames they complete; OSError when the port has gone."""
        port = self._opened(stop)
        while True:
            self._speak(port)
            due = self._search.due if self._search else self._board.due
            patience = None if due is None else due - self.clock.monotonic()
            ready = wait_readable([stop, port, *self._others()], patience)
            self._attend(ready)
            # Last, because a failure of the others would lose these frames.
            frames = self._receive(port) if port.fileno() in ready else []
            if self._search is None or stop.fileno() in ready:
                return frames

    def hear(self, line: str) -> Packet | Ignored | Rejected:
        """Take in a line and return what it says."""
        said = decode(line)
        if self._search is not None and not self._is_proof(self._search, line, said):
            return Ignored("wrong-baud")
        if isinstance(said, Packet):
            says_ok = line.lstrip(" \r").startswith("OK")
            # Firmware says OK always or never, and the RSSI of a node: without, the line has lost that end.
            lost = "no-ok" if self._says_ok and not says_ok else ""
            lost = lost or ("no-rssi" if said.rssi is None and said.node in self._with_rssi else "")
            self._cut = self._cut + 1 if lost else 0
            if lost and self._cut < _NO_LONGER_CUT:
                return Rejected(lost)
            if lost:
                self._with_rssi.clear()
            self._says_ok = says_ok
            if said.rssi is not None:
                self._with_rssi.add(said.node)
            return self._groups.judge(with_header(said) if self.header == "raw" else said, self.log)
        if isinstance(said, Ignored):
            if said.kind == "bad-crc":  # not a fault of the line, and many of them hint at the antenna
                self.counts["damaged-packet"] += 1
            self._board.hear(said)
            if said.kind in ("banner", "config") and (firmware := firmware_in(line)) not in (
                "",
                self._firmware,
            ):
                self._firmware, self._says_ok = firmware, False
                self._with_rssi.clear()
        if isinstance(said, Configuration) and line.strip() != self._configuration:
            self._configuration = line.strip()
            self._board_log.info("the board says: %s", self._configuration)
        return said

    @cached_property
    def _board_log(self) -> LimitedLog:
        """Logs what the board says and how it is set: with a bad supply it restarts all day."""
        return LimitedLog(self.log, self.clock.monotonic, _LINES)

    def _connect(self) -> SerialPort:
        if self.simulated:
            self._simulator = SimulatedRfm12pi(firmware=Rf12demo(baud=self._rates[0]))
        name = self._simulator.port if self._simulator else self.port
        port = SerialPort(name, self._rates[0], self._adapter)
        if is_pattern(self.port):
            self._board_log.info("the board is at %s", port.name)
        return port

    def _new_lines(self) -> Lines:
        return BoardLines(LONGEST_LINE, is_whole)

    def _others(self) -> Iterable[object]:
        """Return what else it waits for."""
        return ()

    def _attend(self, ready: set[int]) -> None:
        """Serve those of the others that are ready."""

    def _speak(self, port: SerialPort) -> None:
        """Write what is due, or go on to the next baud rate."""
        if self._search is None:
            text = self._board.speak()
        elif self._search.is_over():
            port.change_speed(self._search.rate)
            self._lines = self._new_lines()
            return
        else:
            text = self._search.speak()
        if text:
            port.write(text)

    def _is_proof(self, search: BaudSearch, line: str, said: Packet | Ignored | Rejected) -> bool:
        """Tell whether a line shows that the baud rate is right; that ends the search."""
        if not search.is_proof(line, said):
            return False
        self._rates = tuple(sorted(RATES, key=lambda rate: rate != search.rate))
        self._search = None
        self._board_log.info("the board speaks at %d baud", search.rate)
        return True


@dataclass(kw_only=True)
class Rfm2pi(Rfm12pi):
    """The type of 2013, whose boards spoke 9600 baud."""

    baud: Baud = setting(9600)
