"""How a sensor is set up by the files of the kernel's driver: its resolution, and a marker in TH and TL.

What is written to `alarms` (since 5.8) goes to TH and TL in the scratchpad, and not to the EEPROM. Each file
makes the kernel read the sensor's scratchpad, five times if it has to. A file that may not be written says so
before that. udev makes the files writable a moment after the kernel has made them: what could not be set up
is tried again.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from listeners.files import read_once, write_once
from listeners.onewire.ds18b20 import DS18S20, MARKER

if TYPE_CHECKING:
    from pathlib import Path

    from listeners.onewire.sensor import Sensor

_HIGH, _LOW = struct.unpack("bb", MARKER)
ALARMS = b"%d %d\n" % (_LOW, _HIGH)
"""The marker as `alarms` takes and shows it.

Kernels before 2026 keep what is written in a block of its size and put a zero after it: seven bytes have
room for that in the smallest block there is, eight would not.
"""

_UNREAD = b"0 0\n"
"""What `alarms` shows when the sensor cannot be read."""

_WRITES = 3

_PAGE = 4096
"""The bytes that an attribute of the kernel has at most."""

RETRY_S = 60.0
"""Seconds after which settings that a sensor did not take are written to it again."""


class Attributes:
    """Reads and writes the kernel's attributes of a sensor. Raises OSError."""

    def read(self, file: Path) -> bytes:
        """Return what a file shows."""
        return read_once(file, _PAGE)

    def write(self, file: Path, data: bytes) -> None:
        """Have the kernel take this."""
        write_once(file, data)


def set_up(sensor: Sensor[Path], files: Attributes, resolution: int | None, now: float) -> None:
    """Set up what is not set up yet; without a resolution the sensor keeps its own.

    A file that may not be written, or is not there, is tried again the next time: that costs nothing.
    """
    home, fixed, refused = sensor.place, sensor.rom.family == DS18S20, False
    if sensor.marker is None:
        # The kernel writes the configuration that it reads along with the marker: it may be damaged, so the
        # resolution comes after it.
        try:
            sensor.marker, answers = _mark(files, home / "alarms")
            sensor.converted = False
            if not answers:
                # It would not answer anything else. Once it does, it must have its set-up, or gets it then.
                sensor.bits = None if fixed else resolution
                sensor.due = math.inf
                return
        except OSError:
            refused = True
    if resolution is None and not fixed:
        resolution = sensor.bits = shown_resolution(files, home)
    if resolution and sensor.bits != resolution and not fixed:
        try:
            files.write(home / "resolution", b"%d\n" % resolution)
            sensor.bits = None
        except (PermissionError, FileNotFoundError):
            refused = True
        except OSError:
            pass  # the kernel has answered that the sensor did not
        if sensor.bits is None:
            sensor.bits = shown_resolution(files, home)
    if sensor.parasite is None:
        powered = _number(files, home / "ext_power")
        sensor.parasite = None if powered not in (0, 1) else powered == 0
    if sensor.marker and sensor.parasite is not None and (fixed or sensor.bits == resolution):
        sensor.due = math.inf
    elif not refused:
        sensor.due = now + RETRY_S


def shown_resolution(files: Attributes, home: Path) -> int | None:
    """Return a sensor's resolution, None if it cannot be read. The kernel waits for it from then on."""
    bits = _number(files, home / "resolution")
    return bits if bits in range(9, 13) else None  # a negative one is an error of the kernel's


def _mark(files: Attributes, alarms: Path) -> tuple[bytes | None, bool]:
    """Write the marker; return what TH and TL must hold, None if they do not take it, and if it answers.

    A sensor that cannot be read now must have the marker once it can.
    """
    for _ in range(_WRITES):
        files.write(alarms, ALARMS)
        shown = files.read(alarms)
        if shown in (ALARMS, _UNREAD):
            return MARKER, shown == ALARMS
    return None, True


def _number(files: Attributes, file: Path) -> int | None:
    """Return the number that a file shows, None if it shows none."""
    try:
        return int(files.read(file))
    except (OSError, ValueError):
        return None
