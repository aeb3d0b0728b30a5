"""What the firmwares of a radio board make of commands, and how they print what they hear."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MHZ = {4: 433, 8: 868, 9: 915}


@dataclass
class Firmware:
    """The settings of a board, and what it says; every text that it yields is printed as it is.

    `commands` are those it has heard. Faults: it makes no setting whose letter is in `refuses`, does not
    confirm what it sends where it is `unsure`, and answers nothing where it is `deaf`.
    """

    baud: int = 38400
    node: int = 15
    group: int = 210
    band: int = 4
    quiet: bool = True
    commands: list[str] = field(default_factory=list)
    refuses: str = ""
    unsure: bool = False
    deaf: bool = False

    def start(self) -> Iterator[str]:
        """Start, and yield what it prints then."""
        raise NotImplementedError

    def packet(self, node: int, numbers: list[str], rssi: int) -> str:
        """Return how it prints a packet."""
        return f"OK {node} {' '.join(numbers)} ({rssi}) "

    def take(self, received: bytes) -> Iterator[str]:
        """Yield the answers to what has just come."""
        raise NotImplementedError

    def _set(self, letter: str, value: int) -> None:
        if letter in self.refuses:
            return
        match letter:
            case "i" if 1 <= value <= 30:
                self.node = value
            case "b" if value in _MHZ:
                self.band = value
            case "g":
                self.group = value & 0xFF
            case "q":
                self.quiet = bool(value)


@dataclass
class Rf12demo(Firmware):
    """RF12demo.14 with an RFM69: digits first, and any character of no meaning begins anew."""

    _NAME = "RF12demo.14"
    _LETTERS = "abgiqsv"
    _HELP = ("Available commands:", "  <nn> i     - set node ID (standard node ids are 1..30)")
    _STACK = 70
    _received = b""

    def start(self) -> Iterator[str]:
        """Yield a blank line and the settings in force."""
        yield "\r\n"
        yield self._told()

    def take(self, received: bytes) -> Iterator[str]:
        """Yield echo, settings and confirmation of every command."""
        self._received += received
        while command := re.search(rb"([0-9,]*)([a-z])|[^0-9,]", self._received):
            self._received = self._received[command.end() :]
            if command[2] and not self.deaf:
                yield from self._obey(command[1].decode(), command[2].decode())

    def _obey(self, arguments: str, letter: str) -> Iterator[str]:
        self.commands.append(f"{arguments}{letter}")
        *stack, value = [int(number or 0) & 0xFF for number in arguments.split(",")]
        yield self._echo(stack, value, letter)
        if letter not in self._LETTERS:
            yield from (f"{line}\r\n" for line in self._HELP)
        self._set(letter, value)
        if letter in "as":
            if not self.unsure:
                yield f" -> {min(len(stack), self._STACK)} b\r\n"
        else:
            yield self._told()

    def _echo(self, stack: list[int], value: int, letter: str) -> str:
        return f"> {''.join(f'{byte},' for byte in stack)}{value}{letter}\r\n"

    def _told(self) -> str:
        settings = f"i{self.node} g{self.group} @ {_MHZ[self.band]} MHz{' q1' * self.quiet}"
        return f"[{self._NAME}] {chr(64 + self.node)} {settings}\r\n"


@dataclass
class Rfm2pi(Rf12demo):
    """The firmware of 2013: no version, no quiet, and a lock that keeps the settings as they are."""

    baud: int = 9600
    locked: bool = False
    _LETTERS = "abgis"
    _STACK = 20

    def start(self) -> Iterator[str]:
        """Yield the help and the settings in force."""
        yield "\r\n[RFM2Pi]\r\n"
        yield from (f"{line}\r\n" for line in self._HELP)
        yield self._told()

    def packet(self, node: int, numbers: list[str], rssi: int) -> str:  # noqa: ARG002  (an RFM12B does not tell)
        """Return it without strength, and without OK."""
        return f" {node} {' '.join(numbers)}"

    def _set(self, letter: str, value: int) -> None:
        if not self.locked and letter != "q":
            super()._set(letter, value)

    def _echo(self, stack: list[int], value: int, letter: str) -> str:  # noqa: ARG002  (it shows the last only)
        return f"> {value}{letter}\r\n"

    def _told(self) -> str:
        lock = int(not self.locked)
        return (
            "Current configuration:\r\n"
            f" {64 + self.node} i{self.node} g{self.group} @ {_MHZ[self.band]} MHz  Lock: {lock}\r\n"
        )


@dataclass
class EmonBase(Firmware):
    """emonBase_rfm69pi_LPL 1.1.1 of 2023: letters first, and deaf for two seconds when a digit comes first.

    Of what has come in one go it obeys one command. A board that is `terse` lists its settings only in the
    line that it does not end.
    """

    terse: bool = False
    _locked_until = 0.0

    def start(self) -> Iterator[str]:
        """Forget the settings, which nobody has saved, and yield name and version."""
        self.node, self.group, self.band = 5, 210, 4
        yield "|emonBase_rfm69pi_LPL V1.1.1\n\r"
        yield "|OpenEnergyMonitor.org\r\n"

    def packet(self, node: int, numbers: list[str], rssi: int) -> str:
        """Return it with no space at its end."""
        return f"OK {node} {' '.join(numbers)} ({rssi})"

    def take(self, received: bytes) -> Iterator[str]:
        """Yield the answer to the first command, and forget the rest."""
        text = received.decode("ascii", "replace")
        self.commands.append(text.rstrip("\n"))
        if text[0].isdecimal():
            self._locked_until = time.monotonic() + 2
        if self.deaf or time.monotonic() < self._locked_until:
            return
        number = re.match(r"[^0-9]*([0-9]+)", text)
        match text[0]:
            case "v":
                yield "|emonBase_rfm69pi_LPL V1.1.1\n\r"
            case "L" if not self.terse:
                yield "|Settings\r\n|Radio: 1\r\n"
                yield f"|RF Band: {_MHZ[self.band]}MHz\r\n|Power: 7 dBm\r\n"
                yield f"|Group: {self.group}\r\n|Node ID: {self.node}\r\n"
            case "l":
                yield f"Settings: r1 b{self.band} p25 g{self.group} i{self.node}"
            case ("b" | "g" | "i") as letter:
                self._set(letter, int(number[1]) if number else 0)
                yield {
                    "b": f"|RF Band = {_MHZ[self.band]}MHz\r\n",
                    "g": f"|Group {self.group}\r\n",
                    "i": f"|Node {self.node}\r\n",
                }[letter]
