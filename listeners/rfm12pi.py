"""An RFM12Pi, RFM2Pi or RFM69Pi on a serial port: it prints a line of decimal bytes for every radio packet.

The forms of its lines are those of the firmware: RF12demo and RFM2Pi (9600 or 38400 baud), JeeLink (57600),
emonPi and emonPi CM (38400, 115200), emonBase_rfm69pi (38400). There is no checksum on the serial line.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import struct
import termios
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import serial

from gateway.flag import wait_readable
from gateway.frame import Frame
from gateway.plugin import Listener
from gateway.settings import at_least, between, setting
from listeners.lines import Ignored, Lines, Rejected, Tally
from listeners.simulated.rfm12pi import SimulatedRfm12pi

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.flag import Flag
    from gateway.frame import Stamp

LONGEST_LINE = 512  # characters; the longest that firmware prints is under 300
LONGEST_PAYLOAD = 66  # bytes, by JeeLib's RF12_MAXDATA

# The header byte of JeeLib: a control packet, its id is the destination, acknowledge request, id.
_CTL, _DST, _ACK, _ID = 0x80, 0x40, 0x20, 0x1F


class Packet(NamedTuple):
    """A radio packet: the sender's node id (0..255), its payload, dBm, and the RF group in promiscuous mode.

    `header` is there where the firmware prints the header byte whole. A packet that is directed at a node
    does not name its sender: `node` is None then.
    """

    node: int | None
    data: bytes
    rssi: int | None = None
    group: int | None = None
    header: int | None = None

    @property
    def values(self) -> tuple[int, ...]:
        """The payload as signed 16-bit integers, least significant byte first."""
        return struct.unpack(f"<{len(self.data) // 2}h", self.data)

    @property
    def dest(self) -> int | None:
        """The node it is directed at, where the header says so."""
        return self.header & _ID if self.header is not None and self.header & _DST else None

    @property
    def ack_requested(self) -> bool:
        """Whether the sender waits for an acknowledgement."""
        return self.header is not None and not self.header & _CTL and bool(self.header & _ACK)


@dataclass(frozen=True, slots=True)
class Echo(Ignored):
    """The board repeats a command: its letter and last value."""

    command: str
    value: int


@dataclass(frozen=True, slots=True)
class Configuration(Ignored):
    """The board tells its settings; `offset`, `hex` and `lock` are None where it does not print them."""

    version: str | None
    node: int
    group: int
    mhz: int
    quiet: bool
    collect: bool
    offset: int | None
    hex: int | None
    lock: int | None


def decode(line: str) -> Packet | Ignored | Rejected:
    """Return what a line of the board says; nothing that a line holds raises an exception."""
    if len(line) > LONGEST_LINE:
        return Rejected("too-long")
    text = line.strip("\r").removesuffix(" ")
    packet = _hex_packet(text) if text.startswith("OKX") else _packet(text)
    if isinstance(packet, Packet):
        return packet
    return _known(text) or (Rejected("merged-lines") if _MERGED.search(text) else packet)


def with_header(packet: Packet) -> Packet:
    """Return a packet of firmware that prints the header byte, not the node id, as its first number."""
    header = packet.node
    if header is None:
        return packet
    return packet._replace(node=None if header & _DST else header & _ID, header=header)


_BYTE = {spelling: byte for byte in range(256) for spelling in (f"{byte}", f"{byte:02}", f"{byte:03}")}
_RSSI = {f"-{level})": -level for level in range(128)} | {"0)": 0}
_RAW_RSSI = {f"{register:02X})": -(register >> 1) for register in range(256)}

_PACKET = re.compile(r"(?: ?(?:OK)?G ([0-9]{1,3}) | ?(?:OK )?(?:G([0-9]{1,3}) )?)([-0-9].*)")
_HEX_PACKET = re.compile(r"OKX ((?:[0-9A-F]{2})+)")
_INTEGER = re.compile(r"-?[0-9]+")


def _packet(text: str) -> Packet | Rejected:
    """Decode `OK G210 10 123 4 56 1 (-61)`, in which all but the node and its bytes may be missing."""
    before, bracket, rssi = text.partition(" (")
    match = _PACKET.fullmatch(before)
    if not match:
        return Rejected("not-a-number")
    old_group, new_group, numbers = match.groups()
    group = old_group or new_group
    tokens = numbers.split(" ")
    try:
        node, *data = [_BYTE[token] for token in tokens]
        heard_in = _BYTE[group] if group else None
    except KeyError as unknown:
        token = unknown.args[0]
        if not _INTEGER.fullmatch(token):
            return Rejected("not-a-number")
        return Rejected("node-out-of-range" if token == tokens[0] else "byte-out-of-range")
    if bracket and rssi not in _RSSI:
        return Rejected("bad-rssi")
    return _whole(Packet(node, bytes(data), _RSSI.get(rssi), heard_in))


def _hex_packet(text: str) -> Packet | Rejected:
    """Decode `OKX 0A7B043801 (3A)`: hexadecimal mode, with the raw register of the signal strength."""
    numbers, bracket, rssi = text.partition(" (")
    match = _HEX_PACKET.fullmatch(numbers)
    if not match:
        return Rejected("not-a-number")
    if bracket and rssi not in _RAW_RSSI:
        return Rejected("bad-rssi")
    node, *data = bytes.fromhex(match[1])
    return _whole(Packet(node, bytes(data), _RAW_RSSI.get(rssi)))


def _whole(packet: Packet) -> Packet | Rejected:
    """Refuse a payload that cannot be pairs of bytes."""
    length = len(packet.data)
    if not length:
        return Rejected("no-payload")
    if length % 2:
        return Rejected("odd-length")
    return packet if length <= LONGEST_PAYLOAD else Rejected("too-long")


_ECHO = re.compile(r"> (?:[0-9]+,)*([0-9]{1,3})([a-z])")
_CONFIGURATION = re.compile(
    r"""
    (?: \[ (?P<version> [^\]]+ ) \] )? [ ]?
    (?: [0-9]{1,3} | [@A-Z\[\\\]^_] )            # the node as chr(64 + id); the oldest prints that in decimal
    [ ]i(?P<node> [0-9]{1,3} )\*? [ ]g(?P<group> [0-9]{1,3} ) [ ]@[ ](?P<mhz> [0-9]{3} )[ ]MHz
    (?: [ ]c(?P<collect> 1 ) )? (?: [ ]o(?P<offset> [0-9]{1,5} ) )?
    (?: [ ]q(?P<quiet> 1 ) )? (?: [ ]x(?P<hex> [0-9] ) )?
    (?: [ ]+Lock:[ ](?P<lock> [0-9] ) )?
    (?: [ ]USA[ ][0-9] )? [ ]*
    """,
    re.VERBOSE,
)
_KINDS = re.compile(
    r"""
      (?P<blank> [\x00-\x20\x7f]* )              # with the control characters that a start-up leaves
    | (?P<bad_crc> [ ]?\?.* )
    | (?P<tx_confirm> [ ]?->[ ](?:[0-9]+[ ]b|ack) | test[ ][0-9]+[ ]->[ ][0-9]+[ ]b
                    | Sending[ ][0-9]+[ ]bytes[ ]to[ ]node[ ][0-9]+ )
    | (?P<sleep> [ ]?Zzz\.\.\. )
    | (?P<ascii_dump> ASC[ ].* )
    | (?P<banner> \[[\w.]+\] | \|?[A-Za-z]\w*[ ]V[0-9.]+ )
    | (?P<info> \|.* | Settings:(?:[ ][a-z][0-9]+)+ )
    | (?P<help> [A-Z][A-Za-z ()]*: | [ ]{2}.*[ ]-[ ][A-Za-z].* )
    | (?P<trace> -*\*?[ ]*-[0-9]{1,3}dB )
    """,
    re.VERBOSE | re.ASCII,
)
_MERGED = re.compile(r"[^ ] ?OK ?[GX]? ?[0-9]|. g[0-9]+ @ [0-9]+ MHz")


def _known(text: str) -> Ignored | None:
    """Return what a line is that firmware prints beside the packets, or None."""
    if echo := _ECHO.fullmatch(text):
        return Echo("echo", echo[2], int(echo[1]))
    if found := _CONFIGURATION.fullmatch(text):
        told = {name: int(digits) for name, digits in found.groupdict("").items() if digits.isdecimal()}
        return Configuration(
            "config",
            version=found["version"],
            node=told["node"],
            group=told["group"],
            mhz=told["mhz"],
            quiet="quiet" in told,
            collect="collect" in told,
            offset=told.get("offset"),
            hex=told.get("hex"),
            lock=told.get("lock"),
        )
    kind = _KINDS.fullmatch(text)
    return Ignored(kind.lastgroup.replace("_", "-")) if kind and kind.lastgroup else None


Baud = Literal[9600, 38400, 57600, 115200]

_READ = 4096  # bytes at most in one read
_SPACING = 1.0  # seconds: the board stores each setting before it listens again
_ADVICE = {
    errno.ENOENT: "is the board plugged in?",
    errno.EACCES: "may this user open it? (group dialout)",
    errno.EAGAIN: "another program has it open",
}


@dataclass(kw_only=True)
class Rfm12pi(Listener):
    """Listens to a radio board, whose packets are int16 values of a node.

    `group`, `frequency` (the band), `baseid` (the board's own node) and `quiet` (do not print packets with
    a bad checksum) are told to the board after opening; those that are not given it keeps. `header = raw` is
    for firmware that prints the header byte whole, as a JeeLink does.
    """

    port: str = setting("/dev/ttyAMA0", was=("com_port",))
    baud: Baud = setting(38400)
    group: int | None = setting(None, was=("sgroup",), check=between(1, 250))
    frequency: Literal[4, 8, 9, 433, 868, 915] | None = setting(None)
    baseid: int | None = setting(None, check=between(1, 30))
    quiet: bool | None = setting(None)
    sendtimeinterval: int = setting(0, check=at_least(0))
    header: Literal["masked", "raw"] = setting("masked")

    def __post_init__(self) -> None:
        self.counts = Tally()
        self._board: SimulatedRfm12pi | None = None
        self._serial: serial.Serial | None = None

    @property
    def simulated(self) -> bool:
        """Whether the board is one of our own making."""
        return self.port == "simulated"

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Say that the time is not broadcast."""
        if self.sendtimeinterval:
            yield "sendtimeinterval", f"the time is not broadcast: 0 expected, not {self.sendtimeinterval}"

    def open(self) -> None:
        """Open the port; what was on its way already is dropped."""
        if self.simulated:
            self._board = SimulatedRfm12pi()
        with self._weather():
            self._serial = serial.Serial(
                self._board.port if self._board else self.port,
                self.baud,
                timeout=0,
                write_timeout=_SPACING,
                exclusive=True,
            )
        self._lines = Lines(LONGEST_LINE)
        self._in_step = False
        self._unsent = deque(self._commands())
        self._due = self.clock.monotonic() + _SPACING  # opening may have reset the board

    def close(self) -> None:
        """Let go of the port."""
        if self._serial is not None:
            self._serial.close()
            self._serial = None
        if self._board is not None:
            self._board.close()
            self._board = None

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for bytes and return the frames they complete; OSError when the port has gone."""
        port = self._serial
        if port is None:
            raise OSError(f"{self.port} is not open")
        due = self._due - self.clock.monotonic() if self._unsent else None
        with self._weather():
            ready = wait_readable([stop, port], due)
            if self._unsent and self.clock.monotonic() >= self._due:
                port.write(self._unsent.popleft())
                self._due = self.clock.monotonic() + _SPACING
            data = port.read(_READ) if port.fileno() in ready else b""
        stamp = self.clock.now()
        return [frame for line in self._lines.feed(data) if (frame := self._frame(line, stamp))]

    def _frame(self, line: str, stamp: Stamp) -> Frame | None:
        if not self._in_step:
            self._in_step = True
            if not line.startswith("OK "):
                # The end of a line looks like a packet of another node.
                self.counts["first-partial"] += 1
                return None
        said = decode(line)
        if isinstance(said, Packet) and self.header == "raw":
            said = with_header(said)
        match said:
            case Packet(node=None):
                self.counts["directed"] += 1
            case Packet():
                return Frame(str(said.node), said.values, stamp, rssi=said.rssi, source=self.name)
            case Rejected(reason):
                self.counts.refuse(reason, line, self.log, self.clock.monotonic())
            case Ignored(kind):
                self.counts[kind] += 1
                if kind == "config":
                    self.log.info("the board says: %s", line.strip())
        return None

    def _commands(self) -> Iterator[bytes]:
        """Yield the settings as RF12demo takes them: digits, then a letter, and no line end."""
        for value, letter in (
            (self.group, "g"),
            (self.frequency and int(str(self.frequency)[0]), "b"),
            (self.baseid, "i"),
            (self.quiet, "q"),
        ):
            if value is not None:
                yield b"%d%c" % (value, ord(letter))

    @contextlib.contextmanager
    def _weather(self) -> Iterator[None]:
        """Turn what the port and its driver raise into an OSError that names the port."""
        try:
            yield
        except (OSError, termios.error) as error:
            what = error.args[0]
            if isinstance(what, int):
                advice = f" ({_ADVICE[what]})" if what in _ADVICE else ""
                what = f"{os.strerror(what)}{advice}"
            raise OSError(f"{self.port}: {what}") from error


@dataclass(kw_only=True)
class Rfm2pi(Rfm12pi):
    """The type of 2013, whose boards spoke 9600 baud."""

    baud: Baud = setting(9600)
