"""The lines of an RFM12Pi, RFM2Pi or RFM69Pi: it prints a line of decimal bytes for every radio packet.

The forms are those of the firmware: RF12demo and RFM2Pi (9600 or 38400 baud), JeeLink (57600), emonPi and
emonPi CM (38400, 115200), emonBase_rfm69pi (38400). There is no checksum on the serial line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateway.frame import Frame
from listeners.lines import Ignored, Lines, Rejected

if TYPE_CHECKING:
    from gateway.frame import Stamp
    from gateway.nodes import Nodes

LONGEST_LINE = 512  # characters; the longest that firmware prints is under 300
LONGEST_PAYLOAD = 66  # bytes, by JeeLib's RF12_MAXDATA

# The header byte of JeeLib: whether its id is the destination, and the id.
_DST, _ID = 0x40, 0x1F


class Packet(NamedTuple):
    """A radio packet: the sender's node id (0..255), its payload, dBm, and the RF group in promiscuous mode.

    A packet that is directed at a node does not name its sender: `node` is None then.
    """

    node: int | None
    data: bytes
    rssi: int | None = None
    group: int | None = None

    @property
    def missing(self) -> int:
        """How many values it does not give: always 0, as it has no places for them."""
        return 0

    def frame(self, nodes: Nodes, stamp: Stamp, source: str) -> Frame | Rejected:
        """Return its values as [nodes] says, or signed 16-bit integers, least significant byte first."""
        node = str(self.node)
        decoded = nodes.decode(node, self.data)
        if isinstance(decoded, str):
            return Rejected(decoded)
        return Frame(node, decoded.values, stamp, decoded.names, self.rssi, source)


@dataclass(frozen=True, slots=True)
class Sent(Ignored):
    """The board has sent a packet of that many bytes."""

    length: int


@dataclass(frozen=True, slots=True)
class Configuration(Ignored):
    """A board that takes digits first prints its settings, by the letter of the command that changes each."""

    settings: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Comment(Ignored):
    """A board that takes letters first, firmware of 2023, prints something: the settings in it, by letter."""

    settings: Mapping[str, int]


def decode(line: str) -> Packet | Ignored | Rejected:
    """Return what a line says; no line raises an exception."""
    if len(line) > LONGEST_LINE:
        return Rejected("too-long")
    text = line.strip("\r").removesuffix(" ")
    packet = _hex_packet(text) if text.startswith("OKX") else _packet(text)
    if isinstance(packet, Packet):
        return packet
    known = _known(text) or _after_noise(text)
    return known or (Rejected("merged-lines") if _MERGED.search(text) else packet)


def with_header(packet: Packet) -> Packet:
    """Return a packet of firmware that prints the header byte, not the node id, as its first number."""
    header = packet.node
    return packet if header is None else packet._replace(node=None if header & _DST else header & _ID)


def is_whole(line: str) -> bool:
    """Tell whether a line is more than the end of one, which may look like a packet of another node."""
    return line.startswith(("OK ", "Settings:")) or isinstance(decode(line), Ignored)


class BoardLines(Lines):
    """Lines of a board, cut in two where the firmware of 2023 ends none: after its settings."""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that these bytes complete."""
        lines: list[str] = []
        for line in super().feed(data):
            joined = _JOINED.fullmatch(line) if "Settings:" in line else None
            lines += joined.groups() if joined else (line,)
        return lines


_BYTE = {spelling: byte for byte in range(256) for spelling in (f"{byte}", f"{byte:02}", f"{byte:03}")}
_RSSI = {f"-{level})": -level for level in range(128)} | {"0)": 0}
_LONG_RSSI = re.compile(r"\A-([1-9][0-9]{9})\)\Z")
"""Some firmware of 2015 takes four bytes for the signal strength: the last one is right."""

_RAW_RSSI = {f"{register:02X})": -(register >> 1) for register in range(256)}

_PACKET = re.compile(r"(?: ?(?:OK)?G ([0-9]{1,3}) | ?(?:OK )?(?:G([0-9]{1,3}) )?)([-0-9].*)")
_HEX_PACKET = re.compile(r"OKX (?:G([0-9A-F]{2}) )?((?:[0-9A-F]{2})+)")
_INTEGER = re.compile(r"-?[0-9]+")


def _packet(text: str) -> Packet | Rejected:
    """Decode `OK G210 10 123 4 56 1 (-61)`; only the node and its bytes are always there."""
    before, bracket, rssi = text.partition(" (")
    rssi = _LONG_RSSI.sub(lambda number: f"-{int(number[1]) % 256})", rssi)
    match = _PACKET.fullmatch(before)
    if not match:
        return Rejected("not-a-number")
    old_group, new_group, numbers = match.groups()
    group = old_group or new_group
    tokens = numbers.split(" ")
    try:
        sent = bytes(map(_BYTE.__getitem__, tokens))
        heard_in = _BYTE[group] if group else None
    except KeyError as unknown:
        token = unknown.args[0]
        if not _INTEGER.fullmatch(token):
            return Rejected("not-a-number")
        return Rejected("node-out-of-range" if token == tokens[0] else "byte-out-of-range")
    if bracket and rssi not in _RSSI:
        return Rejected("bad-rssi")
    return _checked(Packet(sent[0], sent[1:], _RSSI.get(rssi), heard_in))


def _hex_packet(text: str) -> Packet | Rejected:
    """Decode `OKX GD2 0A7B043801 (3A)`: hexadecimal mode, with the raw register of the signal strength."""
    numbers, bracket, rssi = text.partition(" (")
    match = _HEX_PACKET.fullmatch(numbers)
    if not match:
        return Rejected("not-a-number")
    if bracket and rssi not in _RAW_RSSI:
        return Rejected("bad-rssi")
    group = int(match[1], 16) if match[1] else None
    node, *data = bytes.fromhex(match[2])
    return _checked(Packet(node, bytes(data), _RAW_RSSI.get(rssi), group))


def _checked(packet: Packet) -> Packet | Rejected:
    """Refuse a payload that no radio sends."""
    if not packet.data:
        return Rejected("no-payload")
    return packet if len(packet.data) <= LONGEST_PAYLOAD else Rejected("too-long")


_SENT = re.compile(r"[ ]?->[ ]([0-9]{1,3})[ ]b")
_CONFIGURATION = re.compile(
    r"""
    (?: \[ [^\]]+ \] )? [ ]?
    (?: (?P<oldest> [0-9]{1,3} ) | [@A-Z\[\\\]^_] )    # the node as chr(64 + id), in decimal by the oldest
    [ ]i(?P<node> [0-9]{1,3} )\*? [ ]g(?P<group> [0-9]{1,3} ) [ ]@[ ](?P<band> [0-9] )[0-9]{2}[ ]MHz
    (?: [ ]c1 )? (?: [ ]o[0-9]{1,5} )? (?: [ ]q(?P<quiet> [01] ) )? (?: [ ]x[0-9] )? (?: [ ]+Lock:[ ][0-9] )?
    (?: [ ]USA[ ][0-9] )? [ ]*
    """,
    re.VERBOSE,
)
_COMMENT = re.compile(r"\|[\t -~]*|Settings:(?: [rbpgi][0-9]{0,3})+(?: a[^O|]*)?")
_COMMENT_BANNER = re.compile(r"\|[A-Za-z][\w ]* V[0-9.]+", re.ASCII)
_FIRMWARE = re.compile(r"\[[^\]]+\]|[A-Za-z][\w ]* V[0-9.]+", re.ASCII)
_ONE_SETTING = re.compile(r"\|(RF Band|Group|Node)(?: ID)?(?::? | = )([0-9]{1,3})(?:MHz)?")
_ALL_SETTINGS = re.compile(r" ([bgi])([0-9]{1,3})(?![0-9])")
_LETTERS = {"RF Band": "b", "Group": "g", "Node": "i"}
_JOINED = re.compile(r"(\r?Settings:(?: [rbpgi][0-9]{0,3})+)(OK .*|\|.*)")
_KINDS = re.compile(
    r"""
      (?P<blank> [\x00-\x20\x7f]* )              # or the control characters that a restart leaves
    | (?P<bad_crc> [ ]?\?.* )
    | (?P<echo> >[ ](?:[0-9]+,)*[0-9]{1,3}[a-z] )
    | (?P<tx_confirm> [ ]?->[ ]ack | test[ ][0-9]+[ ]->[ ][0-9]+[ ]b
                    | Sending[ ][0-9]+[ ]bytes[ ]to[ ]node[ ][0-9]+ )
    | (?P<sleep> [ ]?Zzz\.\.\. )
    | (?P<ascii_dump> ASC[ ].* )
    | (?P<banner> \[[\w.]+\] | [A-Za-z]\w*[ ]V[0-9.]+ )
    | (?P<help> [A-Z][A-Za-z ()]*: | [ ]{2}.*[ ]-[ ][A-Za-z].* )
    | (?P<trace> -*\*?[ ]*-[0-9]{1,3}dB )
    """,
    re.VERBOSE | re.ASCII,
)
_MERGED = re.compile(r"[^ ] ?OK ?[GX]? ?[0-9]|. g[0-9]+ @ [0-9]+ MHz")


def _known(text: str) -> Ignored | None:
    """Return what a line is that firmware prints besides packets, or None."""
    if sent := _SENT.fullmatch(text):
        return Sent("tx-confirm", int(sent[1]))
    if found := _CONFIGURATION.fullmatch(text):
        return _configuration(found)
    if _COMMENT.fullmatch(text):
        kind = "banner" if _COMMENT_BANNER.fullmatch(text) else "info"
        return Comment(kind, _settings_in(text))
    other = _KINDS.fullmatch(text)
    return Ignored(other.lastgroup.replace("_", "-")) if other and other.lastgroup else None


def firmware_in(line: str) -> str:
    """Return the name and version of firmware in what a board says of itself, or ""."""
    found = _FIRMWARE.search(line)
    return found[0] if found else ""


def _after_noise(text: str) -> Ignored | None:
    """Return what a board says first after a restart, which leaves noise on the line before it."""
    said = _known(text.lstrip("\0\ufffd"))
    return said if said and said.kind in {"banner", "config"} else None


def _configuration(found: re.Match[str]) -> Configuration:
    settings = {"g": int(found["group"]), "b": int(found["band"]), "i": int(found["node"])}
    if not found["oldest"]:  # its firmware has no quiet mode
        settings["q"] = int(found["quiet"] or 0)
    return Configuration("config", settings)


def _settings_in(comment: str) -> Mapping[str, int]:
    """Return the settings in `|Group: 210` or `Settings: r1 b4 p25 g210 i5`, by letter."""
    if one := _ONE_SETTING.fullmatch(comment):
        letter, digits = _LETTERS[one[1]], one[2]
        return {letter: int(digits[0] if letter == "b" else digits)}
    if comment.startswith("Settings:"):
        return {letter: int(digits) for letter, digits in _ALL_SETTINGS.findall(comment)}
    return {}
