"""Finds the baud rate of a board by trying each for a few seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.settings import alternatives
from listeners.lines import Ignored
from listeners.radio.commands import ASK
from listeners.radio.grammar import Packet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.clock import Clock
    from listeners.lines import Rejected

RATES = (38400, 57600, 115200, 9600)
"""RFM12Pi and RFM69Pi since 2014; JeeLink; emonPi CM; the boards of 2013."""

_ASK_AFTER = 1.0  # seconds: opening may have reset the board
_LISTEN = 5.0  # seconds at each rate; an answer at 9600 baud takes one and a half
_TOO_SHORT = 8  # characters: noise may be a shorter line, a blank one, or " ?", a damaged packet


class BaudSearch:
    """A search for the baud rate of a board: at each it is asked a question and has a few seconds."""

    def __init__(self, clock: Clock, rates: Sequence[int] = RATES) -> None:
        self._clock = clock
        self._rates = rates
        self._at = 0
        self._begun = clock.monotonic()
        self._asked = False

    @property
    def rate(self) -> int:
        """The rate that is being tried."""
        return self._rates[self._at]

    @property
    def due(self) -> float:
        """When `speak` or `is_over` is to be called, by the monotonic clock."""
        return self._begun + (_LISTEN if self._asked else _ASK_AFTER)

    def is_proof(self, line: str, said: Packet | Ignored | Rejected) -> bool:
        """Tell whether a line shows that the rate is right."""
        if isinstance(said, Packet):
            return True
        known = isinstance(said, Ignored) and said.kind not in ("blank", "bad-crc")
        return known and len(line) >= _TOO_SHORT and line.isascii()

    def speak(self) -> bytes:
        """Return what is to be written now, b"" for nothing."""
        if self._asked or self._clock.monotonic() < self.due:
            return b""
        self._asked = True
        return ASK

    def is_over(self) -> bool:
        """Tell whether the time of a rate is over; the next is tried then. OSError if none is left."""
        if not self._asked or self._clock.monotonic() < self.due:
            return False
        if self._at + 1 == len(self._rates):
            raise OSError(f"no board answers at {alternatives(self._rates)} baud: is it a radio board?")
        self._at += 1
        self._begun = self._clock.monotonic()
        self._asked = False
        return True
