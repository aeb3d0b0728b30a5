"""How the firmware of a radio board answers commands and prints packets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MHZ = {4: 433, 8: 868, 9: 915}


@dataclass
class Firmware:
    """The settings of a board, and its answers, which are printed as they are.

    `commands` are those it has received. Faults: it ignores the settings whose letter is in `refuses`, does
    not confirm what it sends if it is `unsure`, and answers nothing if it is `deaf`.
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
        """Yield what it prints when it starts."""
        raise NotImplementedError

    def packet(self, node: int, numbers: list[str], rssi: int) -> str:
        """Return how it prints a packet."""
        return f"OK {node} {' '.join(numbers)} ({rssi}) "

    def take(self, received: bytes) -> Iterator[str]:
        """Yield the answers to what has just been received."""
        raise NotImplementedError

    def _set(self, letter: str, value: int) -> None:
        if letter in self.refuses:
            return
        match letter:
            case "i" if 1 <= value <= 30:
                self.node = value
            case "b" if value in MHZ:
                self.band = value
            case "g":
                self.group = value & 0xFF
            case "q":
                self.quiet = bool(value)


@dataclass
class Rf12demo(Firmware):
    """RF12demo.14 with an RFM69: digits first; a character without a meaning starts a new command."""

    _NAME = "RF12demo.14"
    _LETTERS = "abgiqsv"
    _HELP = ("Available commands:", "  <nn> i     - set node ID (standard node ids are 1..30)")
    _STACK = 70
    _received = b""

    def start(self) -> Iterator[str]:
        """Yield a blank line and the present settings."""
        yield "\r\n"
        yield self._settings_line()

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
            yield self._settings_line()

    def _echo(self, stack: list[int], value: int, letter: str) -> str:
        return f"> {''.join(f'{byte},' for byte in stack)}{value}{letter}\r\n"

    def _settings_line(self) -> str:
        settings = f"i{self.node} g{self.group} @ {MHZ[self.band]} MHz{' q1' * self.quiet}"
        return f"[{self._NAME}] {chr(64 + self.node)} {settings}\r\n"
