"""The 64-bit ROM id of a 1-Wire device, in all common spellings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CRC_LAST = {"2.12", "2.14", "2.12.2", "14.2", "16", " ".join("2" * 8), ":".join("2" * 8)}
"""Spellings whose digits stand in wire order, as lengths of their groups."""

_LINUX = "2-12"

_MISREAD = {"O": "0", "o": "0", "I": "1", "l": "1", "S": "5", "Z": "2", "G": "6"}


def crc8(data: bytes) -> int:
    """Return the 1-Wire CRC-8 (x8+x5+x4+1, least bit first) of the data; 0 where its last byte is the CRC."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


@dataclass(frozen=True, order=True)
class Rom:
    """A ROM id: `wire` is its 8 bytes as they travel: family, six of the serial number least first, CRC.

    `str` gives the spelling of OWFS, 28.33F749050000. Raises ValueError for bytes that are not an id.
    """

    wire: bytes

    def __post_init__(self) -> None:
        if len(self.wire) != 8:
            raise ValueError(f"8 bytes expected, not {len(self.wire)}")
        if not self.wire[0]:
            raise ValueError("family 00 is no device: it is what a shorted line looks like")
        if crc8(self.wire):
            fitting = f"{crc8(self.wire[:7]):02X}"
            raise ValueError(
                f"CRC {self.wire[7]:02X} does not fit the digits before it, {fitting} would: one is mistyped"
            )

    @classmethod
    def of(cls, family: int, serial: bytes) -> Rom:
        """Return the id of a family and the six serial bytes in wire order."""
        body = bytes([family]) + serial
        return cls(body + bytes([crc8(body)]))

    @classmethod
    def parse(cls, text: str) -> Rom:
        """Return the id of a spelling: 28.33F749050000 (also .1B or 1B after it), 28-00000549f733, wire hex.

        Raises ValueError with the wrong character, or with why the whole id is wrong.
        """
        _check_characters(text)
        shape = re.sub("[0-9A-Fa-f]+", lambda digits: str(len(digits[0])), text)
        digits = bytes.fromhex(re.sub("[ .:-]", "", text)) if shape in _CRC_LAST | {_LINUX} else b""
        try:
            if shape == _LINUX:
                return cls.of(digits[0], digits[:0:-1])
            if digits:
                return cls(digits) if len(digits) == 8 else cls.of(digits[0], digits[1:])
        except ValueError as error:
            raise ValueError(f"{text}: {error}") from None
        raise ValueError(f"{text}: {_misshapen(text, shape)}")

    @property
    def family(self) -> int:
        """The family code: what kind of device it is."""
        return self.wire[0]

    @property
    def linux(self) -> str:
        """The kernel's spelling: 28-00000549f733."""
        return f"{self.family:02x}-{self.wire[6:0:-1].hex()}"

    @cached_property
    def _text(self) -> str:
        return f"{self.family:02X}.{self.wire[1:7].hex().upper()}"

    def __str__(self) -> str:
        return self._text


def intended(rom: Rom, present: Iterable[Rom]) -> Rom | None:
    """Return which of the ids that are present was probably meant by this one, if any."""
    present = set(present)
    turned = Rom.of(rom.family, rom.wire[6:0:-1])
    if turned in present:
        return turned
    nearest = min(present, key=lambda other: len(_differences(rom, other)), default=None)
    return nearest if nearest and 0 < len(_differences(rom, nearest)) <= 3 else None


def lookalike(rom: Rom, present: Iterable[Rom]) -> str:
    """Return in words which of the ids that are present was probably meant by this one, or ""."""
    nearest = intended(rom, present)
    if nearest is None:
        return ""
    if nearest.wire[1:7] == rom.wire[6:0:-1]:
        return f"{nearest} is on the bus: these are its digits in Linux's order, written {nearest.linux}"
    where = _differences(rom, nearest)
    characters = f"character{'s' * (len(where) > 1)} {', '.join(map(str, where))}"
    return f"{nearest} is on the bus, which differs in {characters}"


def _differences(one: Rom, other: Rom) -> list[int]:
    pairs = enumerate(zip(str(one), str(other), strict=True), 1)
    return [position for position, (left, right) in pairs if left != right]


def _check_characters(text: str) -> None:
    foreign = re.search("[^0-9A-Fa-f .:-]", text)
    if foreign:
        meant = f" (did you mean {_MISREAD[foreign[0]]}?)" if foreign[0] in _MISREAD else ""
        raise ValueError(
            f"{text}: character {foreign.start() + 1} is {foreign[0]}, where a hex digit is expected{meant}"
        )


def _misshapen(text: str, shape: str) -> str:
    if shape == "14":
        return (
            "without a dot or a dash this can be read in two orders: "
            f"write {text[:2]}.{text[2:]} if it is from OWFS, {text[:2]}-{text[2:]} if from Linux"
        )
    expected = "an id as 28.33F749050000 or 28-00000549f733 expected"
    after = re.fullmatch("2([.-])([0-9]+)", shape)
    if after:
        dot = after[1] == "."
        longer = ", or 14 with the CRC," if dot else ""
        return f"12 hex digits{longer} expected after the {'dot' if dot else 'dash'}, not {after[2]}"
    return expected
