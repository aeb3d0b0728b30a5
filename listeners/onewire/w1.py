"""Thermometers by way of the Linux kernel's own 1-Wire driver, in sysfs.

Source: drivers/w1/slaves/w1_therm.c. Whatever fails there is a file that reads as nothing. `w1_slave` holds
the bytes of the scratchpad, `temperature` (since 5.8) thousandths of a degree.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.settings import setting
from listeners.onewire.bus import OneWire
from listeners.onewire.ds18b20 import DS18S20, Fault, Reading, decode, plausible
from listeners.onewire.examine_w1 import examine_w1
from listeners.onewire.rom import Rom

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from gateway.finding import Finding
    from gateway.machine import Machine

AT_ONCE = 16
"""How many sensors are read at a time. A read that converts lets the bus go meanwhile, so others go on."""

FINEST = 12
"""The bits that the kernel gives a sensor time for where it knows nothing else."""

_FIRST_LINE = re.compile(rb"((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)")


def reading_of(rom: Rom, w1_slave: bytes, resolution: int = FINEST) -> Reading:
    """Return what `w1_slave` says: its first line has the bytes just read, and whether their CRC was right.

    The second line may be that of an earlier, good read. `resolution` is as for `decode`.
    """
    if not w1_slave.strip():
        return Fault.NO_ANSWER
    line = _FIRST_LINE.match(w1_slave)
    if line is None:
        return Fault.UNREADABLE
    reading = decode(rom, bytes.fromhex(line[1].decode()), resolution=resolution)
    return Fault.CRC if line[2] == b"NO" and isinstance(reading, float) else reading


@dataclass(kw_only=True)
class W1(OneWire):
    """Thermometers that the kernel shows in a directory each, as 28-00000549f733."""

    path: Path = setting(Path("/sys/bus/w1/devices"))
    _bits: dict[Rom, int] = field(default_factory=dict, init=False, compare=False, repr=False)
    _fed: dict[Rom, bool | None] = field(default_factory=dict, init=False, compare=False, repr=False)

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
        """Return the sensors' readings, after one conversion for all where the kernel has that."""
        self._look()
        for rom in roms:
            if rom not in self._bits:
                self._settle(rom)
            if rom not in self._fed:
                self._fed[rom] = self._is_fed(rom)
        for trigger in self._triggers():
            with suppress(OSError):
                trigger.write_bytes(b"trigger\n")  # comes back when the conversion is done
        with ThreadPoolExecutor(AT_ONCE) as readers:
            readings = dict(zip(roms, readers.map(self._reading, roms), strict=True))
        for rom, reading in readings.items():
            if isinstance(reading, Fault):
                self._bits.pop(rom, None)
                self._fed.pop(rom, None)
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

    def _settle(self, rom: Rom) -> None:
        """Set a sensor's resolution, in its scratchpad, and see what the kernel takes it to be then.

        By that the kernel times a conversion; reading it makes the kernel ask the sensor.
        """
        attribute = self.path / rom.linux / "resolution"
        if rom.family == DS18S20:
            return
        with suppress(OSError, ValueError):
            if int(attribute.read_bytes()) != self.resolution:
                with suppress(OSError):
                    attribute.write_bytes(b"%d\n" % self.resolution)
            self._bits[rom] = int(attribute.read_bytes())

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:
        """Return resolution and power supply, as the kernel has told them."""
        return self._bits.get(rom), self._fed.get(rom)

    def _is_fed(self, rom: Rom) -> bool | None:
        """Tell whether a sensor is fed by the line; to read this makes the kernel ask it."""
        try:
            return {b"0": True, b"1": False}.get((self.path / rom.linux / "ext_power").read_bytes().strip())
        except OSError:
            return None

    def _reading(self, rom: Rom) -> Reading:
        home = self.path / rom.linux
        try:
            return reading_of(rom, (home / "w1_slave").read_bytes(), self._bits.get(rom, FINEST))
        except FileNotFoundError:
            return _rendered(home / "temperature")
        except OSError:
            return Fault.NO_ANSWER


def _rendered(temperature: Path) -> Reading:
    """Return what a file with thousandths of a degree says."""
    try:
        text = temperature.read_bytes().strip()
        return plausible(int(text) / 1000) if text else Fault.NO_ANSWER
    except OSError:
        return Fault.NO_ANSWER
    except ValueError:
        return Fault.UNREADABLE
