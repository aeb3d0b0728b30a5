"""A serial port, found by its name or by a pattern; every failure is an OSError that names it."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import serial

from gateway.paths import hidden
from gateway.process import holders
from listeners.ports.adapter import AdapterMemory, adapter_of, follow

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ = 4096  # bytes at most in one read
_PATIENCE = 1.0  # seconds that a write may take
_PATTERN = re.compile(r"[*?\[]")
_PLUGGED_IN = "is the board plugged in?"
_NO_PORT = ": a serial port expected, and this is none: correct port"


def is_pattern(name: str) -> bool:
    """Tell whether a name is a pattern such as /dev/ttyUSB*."""
    return bool(_PATTERN.search(name))


def check_port(name: str) -> None:
    """Raise ValueError for a relative path: what it means depends on who starts the gateway."""
    if not name.startswith("/"):
        raise ValueError(f"an absolute path expected, such as /dev/ttyUSB0, not {name}")


def find_port(name: str, memory: AdapterMemory) -> str:
    """Return the port of a name or pattern, or wherever the USB adapter is that was read there before.

    Raises OSError if a pattern matches none or several, and as `follow` does.
    """
    if not is_pattern(name):
        return follow(name, memory)
    ports = sorted(glob.glob(name))  # noqa: PTH207  (the pattern is the user's, absolute, and text stays text)
    if not ports:
        raise OSError(f"{name}: no such port ({_PLUGGED_IN})")
    if len(ports) > 1:
        raise OSError(f"{name}: one port expected, not {' and '.join(ports)}: set port to the right one")
    return follow(ports[0], memory)


class SerialPort:
    """An open port that no other program can open, by the `name` found; what has already arrived is dropped.

    `adapter` is the USB adapter that it is on, and `memory` has the one that was read before. Raises OSError
    if it cannot be opened or another adapter is there, and in every method once it is gone.
    """

    def __init__(self, name: str, baud: int, memory: AdapterMemory | None = None) -> None:
        self.name = find_port(name, memory or AdapterMemory())
        with self._named_failure():
            self._serial = serial.Serial(self.name, baud, timeout=0, write_timeout=_PATIENCE, exclusive=True)
        self.adapter = adapter_of(self.name)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        with self._named_failure():
            return int(self._serial.fileno())

    def read(self) -> bytes:
        """Return the bytes that have arrived."""
        with self._named_failure():
            return bytes(self._serial.read(_READ))

    def write(self, data: bytes) -> None:
        """Send all of it, or nothing to a device that takes nothing: what it says can still be read."""
        with self._named_failure():
            try:
                self._serial.write(data)
            except serial.SerialTimeoutException:
                self._serial.reset_output_buffer()

    def change_speed(self, baud: int) -> None:
        """Change the baud rate; what has arrived at the previous one is dropped."""
        with self._named_failure():
            self._serial.baudrate = baud
            self._serial.reset_input_buffer()

    def close(self) -> None:
        """Release the port; may be called twice."""
        self._serial.close()

    @contextlib.contextmanager
    def _named_failure(self) -> Iterator[None]:
        """Turn errors of pyserial and the driver into an OSError that names the port."""
        try:
            yield
        except (OSError, termios.error) as error:
            # pyserial wraps what the driver says of a file that is not a port.
            within = error.__context__
            what = (within if isinstance(within, termios.error) else error).args[0]
            if "returned no data" in str(what):  # pyserial's words; no other program can read the port
                what = f"it gives no more data ({_PLUGGED_IN})"
            raise OSError(f"{self.name}: {self._words(what) if isinstance(what, int) else what}") from error

    def _words(self, number: int) -> str:
        if number in (errno.EAGAIN, errno.EBUSY):
            holder = holders.of_file(self.name)
            if number == errno.EAGAIN and holder is None and holders.is_ours(self.name):
                return (
                    "another section of this gateway reads it, by another name, or as the numbers of USB "
                    "adapters have changed: read it in one, or give each its own name in /dev/serial/by-path"
                )
            has_it = f"{holder} has it open: {holder.cure}" if holder else holders.UNSEEN
            return f"only one program can read a serial port, and {has_it}"
        if number in (errno.ENOENT, errno.EACCES) and (why := hidden(Path(self.name))):  # a link of socat
            return f"{os.strerror(number)}: {why}"
        user = holders.user_name(os.geteuid())
        advice = {
            errno.ENOENT: f" ({_PLUGGED_IN})",
            errno.ENOTTY: _NO_PORT,
            errno.EISDIR: _NO_PORT,
            errno.EACCES: f": {user} may not use it: sudo usermod -aG dialout {user}, then log in again",
        }
        return f"{os.strerror(number)}{advice.get(number, '')}"
