"""The firmwares of radio boards that the demo does not have."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from listeners.simulated.radio_firmware import MHZ, Firmware, Rf12demo


@dataclass
class Rfm2pi(Rf12demo):
    """The firmware of 2013: no version, no quiet, and a lock that prevents changes."""

    baud: int = 9600
    locked: bool = False
    _LETTERS = "abgis"
    _STACK = 20

    def start(self) -> Iterator[str]:
        """Yield the help and the present settings."""
        yield "\r\n[RFM2Pi]\r\n"
        yield from (f"{line}\r\n" for line in self._HELP)
        yield self._settings_line()

    def packet(self, node: int, numbers: list[str], rssi: int) -> str:
        """Return it without strength, and without OK."""
        return f" {node} {' '.join(numbers)}"

    def _set(self, letter: str, value: int) -> None:
        if not self.locked and letter != "q":
            super()._set(letter, value)

    def _echo(self, stack: list[int], value: int, letter: str) -> str:
        return f"> {value}{letter}\r\n"

    def _settings_line(self) -> str:
        lock = int(not self.locked)
        return (
            "Current configuration:\r\n"
            f" {64 + self.node} i{self.node} g{self.group} @ {MHZ[self.band]} MHz  Lock: {lock}\r\n"
        )


@dataclass
class EmonBase(Firmware):
    """emonBase_rfm69pi_LPL 1.1.1 of 2023: letters first, and deaf for two seconds after a leading digit.

    Of what arrives at once it carries out one command. If it is `terse` it prints its settings only in the
    line without an end.
    """

    terse: bool = False
    _locked_until = 0.0

    def start(self) -> Iterator[str]:
        """Forget the settings, which are not saved, and yield name and version."""
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
                yield f"|RF Band: {MHZ[self.band]}MHz\r\n|Power: 7 dBm\r\n"
                yield f"|Group: {self.group}\r\n|Node ID: {self.node}\r\n"
            case "l":
                yield f"Settings: r1 b{self.band} p25 g{self.group} i{self.node}"
            case ("b" | "g" | "i") as letter:
                self._set(letter, int(number[1]) if number else 0)
                yield {
                    "b": f"|RF Band = {MHZ[self.band]}MHz\r\n",
                    "g": f"|Group {self.group}\r\n",
                    "i": f"|Node {self.node}\r\n",
                }[letter]
