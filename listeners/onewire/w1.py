"""Thermometers by way of the Linux kernel's own 1-Wire driver, in sysfs.

Source: drivers/w1/slaves/w1_therm.c. Whatever fails there is a file that reads as nothing. `w1_slave` holds
the bytes of the scratchpad, `temperature` (since 5.8) thousandths of a degree. What is written to `alarms`
(since 5.8) goes to TH and TL in the scratchpad, and not to the EEPROM: where that file may be written, the
marker tells a power-on; elsewhere byte 6 does, which knows only the 85 °C of a genuine part.

The kernel waits for the time of a conversion and does not look whether it began or ended. A sensor that does
not hear the command, or is never done, has its value of before once more: no file there tells that. One that
has lost its power is therefore believed when byte 6 shows a conversion, as a genuine part's does, or when it
has another value than it was found to have without the marker. What passes is a value of before, if the part
has kept its power, and the 25 °C or the like of a clone that has not converted since this program began.
"""

from __future__ import annotations

import os
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.numeral import parse
from gateway.settings import setting
from listeners.onewire.bus import OneWire
from listeners.onewire.doubt import Doubt
from listeners.onewire.ds18b20 import (
    AGAIN,
    DS18S20,
    MARKER,
    Fault,
    Reading,
    conversion_time,
    decode,
    is_power_on,
    plausible,
    resolution_of,
    shows_conversion,
)
from listeners.onewire.examine_w1 import examine_w1
from listeners.onewire.rom import Rom

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gateway.finding import Finding
    from gateway.machine import Machine

AT_ONCE = 16
"""How many sensors are read at a time. A read that converts lets the bus go meanwhile, so others go on."""

FINEST = 12
"""The bits that the kernel gives a sensor time for where it knows nothing else."""

_WRITES = 3

_HIGH, _LOW = struct.unpack("bb", MARKER)
_ALARMS = b"%d %d\n" % (_LOW, _HIGH)
"""The marker as `alarms` takes and shows it.

Kernels of before 2026 keep what is written in a block of its size and put a zero after it: seven bytes have
room for that in the smallest block there is, eight would not.
"""

_UNREAD = b"0 0\n"
"""What `alarms` shows when the sensor cannot be read."""

_FIRST_LINE = re.compile(rb"((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)")


@dataclass
class _Sensor:
    """What is known of a sensor since it was set up; None is what the kernel does not tell.

    `marker` is None where TH and TL do not take one. `converted`: its value has shown that it converted.
    """

    bits: int | None
    parasite: bool | None
    marker: bytes | None
    converted: bool = False


def reading_of(
    rom: Rom, w1_slave: bytes, *, resolution: int = FINEST, marker: bytes | None = None
) -> Reading:
    """Return what `w1_slave` says: its first line has the bytes just read, and whether their CRC was right.

    The second line may be that of an earlier, good read. `resolution` and `marker` are as for `decode`.
    """
    if not w1_slave.strip():
        return Fault.NO_ANSWER
    scratchpad, good = scratchpad_in(w1_slave)
    if not scratchpad:
        return Fault.UNREADABLE
    reading = decode(rom, scratchpad, marker=marker, resolution=resolution)
    return reading if good or isinstance(reading, Fault) else Fault.CRC


def scratchpad_in(w1_slave: bytes) -> tuple[bytes, bool]:
    """Return the nine bytes of the first line, none where there is no such line, and the kernel's verdict."""
    line = _FIRST_LINE.match(w1_slave)
    return (bytes.fromhex(line[1].decode()), line[2] == b"YES") if line else (b"", False)


@dataclass(kw_only=True)
class W1(OneWire):
    """Thermometers that the kernel shows in a directory each, as 28-00000549f733."""

    path: Path = setting(Path("/sys/bus/w1/devices"))
    _sensors: dict[Rom, _Sensor] = field(default_factory=dict, init=False, compare=False, repr=False)
    # Of the sensors that have been heard.
    _doubts: dict[Rom, Doubt] = field(default_factory=dict, init=False, compare=False, repr=False)
    # The value that a sensor had when it was found without its marker, until it has shown another.
    _lost: dict[Rom, bytes] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def place(self) -> str:
        """The directory."""
        return str(self.path)

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return whether the kernel has a bus."""
        return [examine_w1(machine, self.path)]

    def open(self) -> None:
        """Make sure that there is such a directory."""
        self._look()
        for trigger in self._triggers():
            if not os.access(trigger, os.W_OK):
                self.log.info(f"{trigger} cannot be written: the sensors convert one by one (it takes root)")

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Return the sensors' readings, after one conversion for all where the kernel has that.

        Those that have lost their power are set up again and convert a second time, each for itself.
        """
        self._look()
        self._set_up(roms)
        failed_unsaid = [self._failed_unsaid(trigger) for trigger in self._triggers()]
        if any(failed_unsaid):
            self._read(roms)  # by which the kernel forgets that they were to have converted
        readings = self._read(roms)
        again = [rom for rom, reading in readings.items() if reading in AGAIN]
        self._forget(readings)
        if again:
            self._set_up(again)
            second = self._read(again)
            self._forget(second)
            readings |= second
        return readings

    def search(self) -> Collection[Rom]:
        """Return the sensors that the kernel has found; it looks for others every ten seconds."""
        found = set()
        for entry in self.path.iterdir():
            with suppress(ValueError):
                found.add(Rom.parse(entry.name))
        return found

    def _look(self) -> None:
        try:
            os.scandir(self.path).close()
        except OSError as error:
            cure = "is 1-Wire on (dtoverlay=w1-gpio in /boot/firmware/config.txt)?"
            raise OSError(f"{self.path}: {error.strerror}; {cure}") from error

    def _triggers(self) -> list[Path]:
        return sorted(self.path.glob("w1_bus_master*/therm_bulk_read"))

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:
        """Return resolution and power supply, as the kernel has told them."""
        sensor = self._sensors.get(rom)
        return (sensor.bits, sensor.parasite) if sensor else (None, None)

    def _failed_unsaid(self, trigger: Path) -> bool:
        """Let the sensors of a bus convert together; tell whether that failed and counts as done.

        Writing comes back when the conversion is over: at once means that none was there to be told.
        """
        begun = self.clock.monotonic()
        try:
            trigger.write_bytes(b"trigger\n")
        except OSError:
            return False
        return self.clock.monotonic() - begun < conversion_time(9)

    def _set_up(self, roms: Iterable[Rom]) -> None:
        """Set resolution and marker, in the scratchpad, of those that are not known."""
        for rom in roms:
            if rom not in self._sensors:
                home = self.path / rom.linux
                # The kernel writes the configuration that it reads along with the marker: it may be damaged.
                marker = _mark(home / "alarms")
                bits = None if rom.family == DS18S20 else self._set_resolution(home / "resolution")
                self._sensors[rom] = _Sensor(bits, _is_fed(home / "ext_power"), marker)

    def _set_resolution(self, resolution: Path) -> int | None:
        """Set a sensor's resolution and return what the kernel takes it to be then.

        By that the kernel times a conversion; reading it makes the kernel ask the sensor.
        """
        try:
            if int(resolution.read_bytes()) != self.resolution:
                with suppress(OSError):
                    resolution.write_bytes(b"%d\n" % self.resolution)
            return int(resolution.read_bytes())
        except (OSError, ValueError):
            return None

    def _read(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        with ThreadPoolExecutor(AT_ONCE) as readers:
            return dict(zip(roms, readers.map(self._reading, roms), strict=True))

    def _forget(self, readings: Mapping[Rom, Reading]) -> None:
        """Forget what is known of sensors that have no reading: they may have lost their power."""
        for rom, reading in readings.items():
            if isinstance(reading, Fault):
                self._sensors.pop(rom, None)

    def _reading(self, rom: Rom) -> Reading:
        home = self.path / rom.linux
        sensor = self._sensors[rom]
        bits = sensor.bits or FINEST
        try:
            w1_slave = self._settled(rom, home / "w1_slave")
        except FileNotFoundError:
            return _rendered(home / "temperature")
        except OSError:
            return Fault.NO_ANSWER
        if w1_slave is None:
            return Fault.CRC
        reading = reading_of(rom, w1_slave, resolution=bits, marker=sensor.marker)
        scratchpad, _ = scratchpad_in(w1_slave)
        if reading is Fault.POWER_ON:
            self._lost[rom] = scratchpad[:2]
        elif isinstance(reading, float) and sensor.bits and resolution_of(scratchpad) != sensor.bits:
            return Fault.RESOLUTION
        elif isinstance(reading, float) and not sensor.converted:
            # The marker tells that power was not lost since, but not that a command to convert was heard.
            sensor.converted = shows_conversion(rom, scratchpad) or not (
                is_power_on(rom, scratchpad) or self._lost.get(rom) == scratchpad[:2]
            )
            if not sensor.converted:
                return Fault.POWER_ON
            self._lost.pop(rom, None)
        return reading

    def _settled(self, rom: Rom, w1_slave: Path) -> bytes | None:
        """Return what the file says; where damage was of late, what it says twice, None if it does not.

        It converts for that. The kernel tells damage from no answer by nothing, or by NO: either makes a
        sensor doubtful that has been heard.
        """
        first = w1_slave.read_bytes()
        _, good = scratchpad_in(first)
        if good:
            return self._doubts.setdefault(rom, Doubt()).settled(first, w1_slave.read_bytes) or None
        if rom in self._doubts:
            self._doubts[rom].rise()
        return first


def _mark(alarms: Path) -> bytes | None:
    """Write the marker where it is not; return what TH and TL must hold, None where they do not take it."""
    try:
        for _ in range(_WRITES):
            if alarms.read_bytes() == _ALARMS:
                return MARKER
            alarms.write_bytes(_ALARMS)
        return MARKER if alarms.read_bytes() in (_ALARMS, _UNREAD) else None
    except OSError:
        return None


def _is_fed(ext_power: Path) -> bool | None:
    """Tell whether a sensor is fed by the line; to read this makes the kernel ask it."""
    try:
        return {b"0": True, b"1": False}.get(ext_power.read_bytes().strip())
    except OSError:
        return None


def _rendered(temperature: Path) -> Reading:
    """Return what a file with thousandths of a degree says."""
    try:
        text = temperature.read_bytes().strip()
        value = parse(text.decode("ascii")) if text else None
    except OSError:
        return Fault.NO_ANSWER
    except ValueError:
        return Fault.UNREADABLE
    return plausible(value / 1000) if value is not None else Fault.NO_ANSWER
