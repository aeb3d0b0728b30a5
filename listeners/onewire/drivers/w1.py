"""Thermometers through the Linux kernel's own 1-Wire driver, in sysfs.

Source: drivers/w1/slaves/w1_therm.c. Any failure there shows as an empty file. `w1_slave` has the bytes of
the scratchpad. Where `alarms` may be written, a marker in TH and TL tells a power-on; elsewhere each reading
has to prove that it is not one.

The kernel waits for the time of a conversion and does not check that it began or ended. A sensor that did not
hear the command, or never finishes, shows its old value once more, and no file shows that. So an old value
may pass where the part has kept its power. A part that has lost it is believed again once its value proves a
conversion.
"""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from gateway.settings import setting
from listeners.onewire.bus import OneWire
from listeners.onewire.checks.examine_w1 import examine_w1
from listeners.onewire.drivers.at_once import AtOnce
from listeners.onewire.drivers.w1_setup import Attributes, set_up, shown_resolution
from listeners.onewire.ds18b20 import (
    AGAIN,
    DS18S20,
    FINEST,
    MAY_BE_POWER_ON,
    Fault,
    Reading,
    conversion_time,
    decode,
    unproved,
)
from listeners.onewire.rom import Rom
from listeners.onewire.sensor import Sensor, found_bits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine

AT_ONCE = 16
"""How many sensors are read at a time. A read that converts leaves the bus free for others meanwhile."""

_TRANSFERS = 8
"""How many reads take as long as setting a sensor up and reading it again, at most."""

_PATIENCE_S = 1.0
"""Seconds that a section waits for another one's sweep at least: about as long as a conversion takes."""

_FIRST_LINE = re.compile(rb"((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)")


def reading_of(sensor: Sensor[Path], w1_slave: bytes) -> Reading:
    """Return what `w1_slave` says: its first line has the bytes just read, and whether their CRC was right.

    The second line may be that of an earlier, good read.
    """
    if not w1_slave.strip():
        return Fault.NO_ANSWER
    scratchpad, good = scratchpad_in(w1_slave)
    if not scratchpad:
        return Fault.UNREADABLE
    reading = sensor.decode(scratchpad)
    if isinstance(reading, Fault):
        return reading
    if not good:
        return Fault.CRC
    return reading if sensor.has_converted(scratchpad) else unproved(sensor.rom)


def scratchpad_in(w1_slave: bytes) -> tuple[bytes, bool]:
    """Return the nine bytes of the first line, none where there is no such line, and the kernel's verdict."""
    line = _FIRST_LINE.match(w1_slave)
    return (bytes.fromhex(line[1].decode()), line[2] == b"YES") if line else (b"", False)


class _Bus:
    """Shared by the sections that read one directory: the turn to sweep it, and the last conversion.

    A second command to convert makes all sensors of a bus start over, and the kernel shows none of them until
    the conversion is over.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.converted: Mapping[Path, bool | None] = {}
        self.ended = -math.inf


_BUSES: dict[Path, _Bus] = {}


@dataclass(kw_only=True)
class W1(OneWire):
    """Thermometers that the kernel shows in a directory each, such as 28-00000549f733."""

    path: Path = setting(Path("/sys/bus/w1/devices"))
    _files: Attributes = field(default_factory=Attributes, init=False, compare=False, repr=False)
    _sensors: dict[Rom, Sensor[Path]] = field(default_factory=dict, init=False, compare=False, repr=False)
    _at_once: AtOnce = field(default_factory=lambda: AtOnce(AT_ONCE), init=False, compare=False, repr=False)
    # Those that the kernel believes to have converted together, and that were not read since.
    _unread: set[Rom] = field(default_factory=set, init=False, compare=False, repr=False)
    # Seconds that it takes to read a sensor.
    _each: float = field(default=math.inf, init=False, compare=False, repr=False)

    @property
    def place(self) -> str:
        """The directory."""
        return str(self.path)

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return whether the kernel has a bus."""
        return [examine_w1(machine, self.path)]

    def open(self) -> None:
        """Make sure that the directory is there."""
        self._check_directory()
        for trigger in self._triggers():
            if not os.access(trigger, os.W_OK):
                self.log.info(f"{trigger} cannot be written: the sensors convert one by one (it takes root)")

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Return the sensors' readings, after one conversion for all where the kernel has that.

        Those that have lost their power are set up again and convert a second time, each by itself, if that
        does not delay the next sweep. If it would, that sweep is the first in which they have a value.
        """
        bus = _BUSES.setdefault(self.path.resolve(), _Bus())
        asked = self.clock.monotonic()
        least = _PATIENCE_S if any(os.access(each, os.W_OK) for each in self._triggers()) else 0.0
        is_alone = bus.lock.acquire(timeout=max(least, min(self.interval / 2, self.interval - 2)))
        try:
            return self._swept(roms, bus, asked)
        finally:
            if is_alone:
                bus.lock.release()

    def _swept(self, roms: Sequence[Rom], bus: _Bus, asked: float) -> dict[Rom, Reading]:
        self._check_directory()
        due = [rom for rom in roms if self._sensor(rom).due <= self.clock.monotonic()]
        self._set_up(due)
        lost: dict[Rom, Reading] = {}
        triggers = self._triggers()
        # A conversion that ended while this section waited for its turn is as good as one of its own.
        if due or bus.ended <= asked or not all(bus.converted.get(trigger) for trigger in triggers):
            bus.converted = self._at_once(self._convert, triggers)
            bus.ended = self.clock.monotonic()
        converted = bus.converted
        if any(done is not None for done in converted.values()):
            self._unread = set(self._sensors)
        if not all(converted.get(trigger) for trigger in triggers):
            # What the kernel believes to have converted, now or in an earlier sweep, would show an old value.
            unread = self._read([rom for rom in roms if rom in self._unread])
            lost = {rom: reading for rom, reading in unread.items() if rom in self._unread}
            roms = [rom for rom in roms if rom not in lost]
        begun = self.clock.monotonic()
        readings = self._read(roms)
        again = [rom for rom, reading in readings.items() if reading in AGAIN]
        took = self.clock.monotonic() - begun
        if took > conversion_time(FINEST):  # some have converted, each by itself
            took -= conversion_time(FINEST)
        if roms:
            self._each = min(self._each, took / len(roms))
        if again and self.has_time(self._conversion_time(again) + _TRANSFERS * self._each * len(again)):
            self._set_up(again)
            readings |= self._read(again)
        return readings | lost

    def search(self) -> Collection[Rom]:
        """Return the sensors that the kernel has found; it searches for others every ten seconds."""
        found = set()
        for entry in self.path.iterdir():
            with suppress(ValueError):
                found.add(Rom.parse(entry.name))
        return found

    def _check_directory(self) -> None:
        try:
            os.scandir(self.path).close()
        except OSError as error:
            advice = "is 1-Wire on (dtoverlay=w1-gpio in /boot/firmware/config.txt)?"
            raise OSError(f"{self.path}: {error.strerror}; {advice}") from error

    def _triggers(self) -> list[Path]:
        return sorted(self.path.glob("w1_bus_master*/therm_bulk_read"))

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:
        """Return resolution and power supply, as the kernel showed them."""
        sensor = self._sensors.get(rom)
        return (sensor.bits, sensor.parasite) if sensor else (None, None)

    def _convert(self, trigger: Path) -> bool | None:
        """Let the sensors of a bus convert together; tell whether they did, None if that is refused.

        The write returns when the conversion is over: where it returns at once, no sensor was there, and the
        kernel believes all the same that they have converted.
        """
        begun = self.clock.monotonic()
        try:
            self._files.write(trigger, b"trigger\n")
        except OSError:
            return None
        return self.clock.monotonic() - begun >= conversion_time(9)

    def _sensor(self, rom: Rom) -> Sensor[Path]:
        return self._sensors.setdefault(rom, Sensor(rom, self.path / rom.linux))

    def _set_up(self, roms: Iterable[Rom]) -> None:
        """Set resolution and marker, in the scratchpad, of those that do not have them yet."""
        self._at_once(self._set_up_one, roms)

    def _set_up_one(self, rom: Rom) -> None:
        set_up(self._sensor(rom), self._files, self.resolution_for(rom), self.clock.monotonic())

    def _conversion_time(self, roms: Iterable[Rom]) -> float:
        """Return how long the kernel waits for conversions of these, of each by itself.

        It leaves the bus free meanwhile, except for sensors that the line feeds.
        """
        sensors = [self._sensor(rom) for rom in roms]
        parasites = [sensor.conversion_s for sensor in sensors if sensor.parasite]
        others = [sensor.conversion_s for sensor in sensors if not sensor.parasite]
        return sum(parasites) + max(others, default=0.0)

    def _read(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        return dict.fromkeys(roms, Fault.HANGS) | self._at_once(self._reading, roms)

    def _reading(self, rom: Rom) -> Reading:
        sensor = self._sensor(rom)
        try:
            w1_slave = self._confirmed(sensor)
        except OSError:
            return Fault.NO_ANSWER
        if w1_slave != b"":
            self._unread.discard(rom)
        if w1_slave is None:
            return Fault.CRC
        held = sensor.converted
        reading = reading_of(sensor, w1_slave)
        if isinstance(reading, float) and self._waits_too_little(sensor):
            sensor.converted, reading = held, Fault.RESOLUTION
        if reading in MAY_BE_POWER_ON:
            sensor.marker = None
            if not held:
                # The power supply is read again only where the set-up was lost before one conversion:
                # each such read takes time.
                sensor.parasite = None
        if reading in (*MAY_BE_POWER_ON, Fault.RESOLUTION):
            sensor.due = 0.0
            if found_bits(rom, scratchpad_in(w1_slave)[0]) != sensor.bits:
                # The kernel waits as long as the last resolution it read needs, and reads it on request.
                sensor.bits = shown_resolution(self._files, sensor.place)
        return reading

    def _waits_too_little(self, sensor: Sensor[Path]) -> bool:
        """Tell whether the kernel may wait too briefly for a conversion: it may not know the resolution."""
        fixed = sensor.rom.family == DS18S20
        return sensor.bits is None and not fixed and (sensor.place / "resolution").exists()

    def _confirmed(self, sensor: Sensor[Path]) -> bytes | None:
        """Return what the file has; after damage, what it has twice, and None if nothing comes twice.

        A temperature near that of the sweep before is as good. Any other makes the sensor convert once more,
        where this does not delay the next sweep. The kernel shows damage as NO, or like no answer: either
        makes a sensor distrusted that has answered before.
        """
        w1_slave = sensor.place / "w1_slave"

        def again() -> bytes:
            return self._files.read(w1_slave) if self.has_time(conversion_time(FINEST)) else b""

        first = self._files.read(w1_slave)
        scratchpad, good = scratchpad_in(first)
        if good:
            sensor.heard = True
            reading = decode(sensor.rom, scratchpad, marker=sensor.marker, resolution=sensor.bits or FINEST)
            if isinstance(reading, Fault) or sensor.follows(reading):
                return first
            return sensor.confirm(first, again) or None
        if sensor.heard:
            sensor.distrust()
        return first
