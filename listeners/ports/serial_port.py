"""A serial port: found by its name or by a pattern, and every trouble with it an OSError that names it."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import termios
from typing import TYPE_CHECKING

import serial

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ = 4096  # bytes at most in one read
_PATIENCE = 1.0  # seconds that a write may take
_PATTERN = re.compile(r"[*?\[]")
_ADVICE = {
    errno.ENOENT: "is the board plugged in?",
    errno.EACCES: "may this user open it? (group dialout)",
    errno.EAGAIN: "another program has it open",
}


def is_pattern(name: str) -> bool:
    """Tell whether a name stands for whichever port matches, as /dev/ttyUSB* does."""
    return bool(_PATTERN.search(name))


def find_port(name: str) -> str:
    """Return the one port that a name or pattern stands for; OSError where a pattern has none, or several."""
    if not is_pattern(name):
        return name
    ports = sorted(glob.glob(name))  # noqa: PTH207  (the pattern is the user's, absolute, and text stays text)
    if not ports:
        raise OSError(f"{name}: no such port ({_ADVICE[errno.ENOENT]})")
    if len(ports) > 1:
        raise OSError(f"{name}: one port expected, not {' and '.join(ports)}: set port to the right one")
    return ports[0]


class SerialPort:
    """An open port, this program's alone, by the `name` found; what was on its way already is dropped.

    Raises OSError where it cannot be opened, and in every method once it has gone.
    """

    def __init__(self, name: str, baud: int) -> None:
        self.name = find_port(name)
        with self._weather():
            self._serial = serial.Serial(self.name, baud, timeout=0, write_timeout=_PATIENCE, exclusive=True)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        with self._weather():
            return int(self._serial.fileno())

    def read(self) -> bytes:
        """Return what has come."""
        with self._weather():
            return bytes(self._serial.read(_READ))

    def write(self, data: bytes) -> None:
        """Send all of it."""
        with self._weather():
            self._serial.write(data)

    def change_speed(self, baud: int) -> None:
        """Go on at another rate; what has come at the one before is dropped."""
        with self._weather():
            self._serial.baudrate = baud
            self._serial.reset_input_buffer()

    def close(self) -> None:
        """Let go of the port; may be called twice."""
        self._serial.close()

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
            raise OSError(f"{self.name}: {what}") from error
