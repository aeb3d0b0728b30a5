"""The commands of a board, in the two forms that there are: digits first (15i) and letters first (i15).

RF12demo, RFM2Pi and emonPi take digits first, and a command ends with its letter. The firmware of 2023,
emonBase_rfm69pi and emonPi CM, takes letters first: after a leading digit it ignores its input for two
seconds, and a number ends with the line. No other command is ever sent: `123z` would power the radio down,
and others toggle a lock, erase a flash memory, or transmit in other protocols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

ASK = b"v"
"""The question for the version, in both forms; a board of 2013 answers it with its help."""

SETTINGS = {"g": range(1, 251), "b": (4, 8, 9), "i": range(1, 31), "q": (0, 1)}
"""The settings by the letter of their command: RF group, band (433, 868, 915 MHz), own node, quiet."""


class Question(NamedTuple):
    """The question for the firmware and the settings of the board."""


class Setting(NamedTuple):
    """A setting by its letter, and its new value."""

    letter: str
    value: int


class Message(NamedTuple):
    """Bytes to be sent by radio to a node, 0 for all of them; `ack` requests an acknowledgement."""

    data: bytes
    node: int
    ack: bool = False


Order = Question | Setting | Message


@dataclass(frozen=True)
class Dialect:
    """The command for a setting, and the questions that a firmware answers with all its settings.

    `tells_all`: it also prints them all after every setting; `sends_bytes`: it can send more than text.
    """

    setting: str
    questions: tuple[bytes, ...]
    tells_all: bool
    sends_bytes: bool

    def spell(self, order: Order) -> bytes:
        """Return the command; ValueError if this firmware has none."""
        match order:
            case Setting(letter, value):
                return self.setting.format(letter=letter, value=value).encode()
            case Message(data, node, ack):
                if not self.sends_bytes:
                    raise ValueError("this board's firmware sends text only")
                return f"{','.join(map(str, data))},{node}{'a' if ack else 's'}".encode()
            case _:
                return ASK


DIGITS_FIRST = Dialect("{value}{letter}", (ASK, ASK), tells_all=True, sends_bytes=True)
LETTERS_FIRST = Dialect("{letter}{value}\n", (b"L\n", b"l\n", ASK), tells_all=False, sends_bytes=False)
"""`L` prints a line for each setting, `l` all in one without a line end: the answer to `v` ends it."""


def time_broadcast(hour: int, minute: int) -> bytes:
    """Return the message that sets the clock of every emonGLCD."""
    return b"00,%02d,%02d,00,s" % (hour, minute)
