"""The kernel's 1-Wire driver on a simulated DS2482: a tree of files that ask the chip when they are read.

It does as drivers/w1/masters/ds2482.c and drivers/w1/slaves/w1_therm.c do, and shares no line with our own
driver. Where the kernel has several masters, only the first of them has `therm_bulk_read`.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from threading import Lock

from gateway.clock import Clock
from listeners.onewire.drivers.w1_setup import Attributes
from listeners.simulated.ds18b20 import Ds18b20, crc8
from listeners.simulated.ds2482 import BUSY, PRESENCE, RESET, Ds2482

CHIP = 0x18
DS18S20 = 0x10
"""The family without a configuration byte: the kernel shows no `resolution` of it."""
TRIES = 5
POLLS = 100
CONVERSION_S = {9: 0.095, 10: 0.190, 11: 0.375, 12: 0.750}
PULLED_UP_STRONGLY, PULLED_UP = 0xA5, 0xE1
MEANWHILE_S = 0.003
"""Real seconds in which other threads, if there are any, come to the bus while a sensor converts."""

ATTRIBUTES = ("w1_slave", "resolution", "alarms", "ext_power")


class _Slave:
    """What the kernel remembers of a sensor."""

    def __init__(self, rom: bytes) -> None:
        self.rom = rom
        self.own_supply = True
        self.bits = 12
        self.triggered = False


class Kernel(Attributes):
    """The sensors that it has found at the chip at its start: the names of their files are below `root`.

    Files of a name in `unwritable` are not yet, or not at all, for the gateway's user to write.
    """

    def __init__(self, chip: Ds2482, clock: Clock, root: Path, *, master: int = 1) -> None:
        self.unwritable: set[str] = set()
        self._chip = chip
        self._clock = clock
        self._root = root
        self._mutex = Lock()
        self._slaves: dict[str, _Slave] = {}
        self._chip.write_byte(CHIP, 0xF0)
        self._chip.write_byte_data(CHIP, 0xD2, PULLED_UP)
        (root / f"w1_bus_master{master}").mkdir()
        if master == 1:
            (root / "w1_bus_master1" / "therm_bulk_read").touch()
        for sensor in chip.sensors:
            self.find(sensor)

    def find(self, sensor: Ds18b20) -> None:
        """Make the files of a sensor that a search has found."""
        slave = _Slave(sensor.rom)
        home = self._root / f"{sensor.rom[0]:02x}-{sensor.rom[6:0:-1].hex()}"
        home.mkdir()
        self._slaves[home.name] = slave
        for name in ATTRIBUTES:
            if name != "resolution" or sensor.rom[0] != DS18S20:
                (home / name).touch()
        self._ext_power(slave)
        if sensor.rom[0] != DS18S20:
            self._resolution(slave)

    def read(self, file: Path) -> bytes:
        """Return what a file holds when it is read."""
        file.stat()
        with self._mutex:
            slave = self._slaves[file.parent.name]
        if file.name == "w1_slave":
            return self._w1_slave(slave).encode()
        with self._mutex:
            shows = {
                "resolution": self._resolution,
                "alarms": self._alarms,
                "ext_power": self._ext_power,
            }
            return shows[file.name](slave).encode()

    def write(self, file: Path, data: bytes) -> None:
        """Do what writing to a file does; but for a resolution it never says that it failed."""
        file.stat()
        if file.name in self.unwritable:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        with self._mutex:
            if file.name == "therm_bulk_read":
                self._trigger()
                return
            slave = self._slaves[file.parent.name]
            scratchpad = self._scratchpad(slave)
            if scratchpad is None or not self._select(slave):
                if file.name == "resolution":
                    raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
                return
            numbers = [int(word) for word in data.split()]
            high, low, configuration = scratchpad[2:5]
            if file.name == "resolution":
                (slave.bits,) = numbers
                configuration = configuration & 0x9F | slave.bits - 9 << 5
            else:
                low, high = (max(-55, min(125, number)) & 0xFF for number in sorted(numbers))
            self._write(0x4E, high, low, configuration)

    def _trigger(self) -> None:
        """Let all convert. Where no try comes through, all the same they count as having converted."""
        feeding = not all(slave.own_supply for slave in self._slaves.values())
        for _ in range(TRIES):
            if self._reset():
                self._write(0xCC)
                self._tell_to_convert(feeding=feeding)
                self._clock.sleep(max(CONVERSION_S.get(slave.bits, 0.750) for slave in self._slaves.values()))
                break
        for slave in self._slaves.values():
            slave.triggered = True

    def _w1_slave(self, slave: _Slave) -> str:
        """Let a sensor convert, unless it has done so with all; others may use the bus meanwhile."""
        with self._mutex:
            converted = slave.triggered
            slave.triggered = False
            until = None if converted else self._begin_conversion(slave)
        if until is not None:
            time.sleep(MEANWHILE_S)
        with self._mutex:
            if until is not None:
                self._clock.sleep(until - self._clock.monotonic())
            scratchpad = self._scratchpad(slave) if converted or until is not None else None
        if scratchpad is None:
            return ""
        celsius = int.from_bytes(scratchpad[:2], "little", signed=True) * 1000 // 16
        shown = scratchpad.hex(" ")
        return f"{shown} : crc={scratchpad[8]:02x} YES\n{shown} t={celsius}\n"

    def _begin_conversion(self, slave: _Slave) -> float | None:
        """Tell a sensor to convert and return when that is over, None if it is not there to be told."""
        for _ in range(TRIES):
            if self._select(slave):
                self._tell_to_convert(feeding=not slave.own_supply)
                until = self._clock.monotonic() + CONVERSION_S.get(slave.bits, 0.750)
                if not slave.own_supply:
                    self._clock.sleep(until - self._clock.monotonic())
                return until
        return None

    def _resolution(self, slave: _Slave) -> str:
        scratchpad = self._scratchpad(slave)
        slave.bits = -5 if scratchpad is None else 9 + (scratchpad[4] >> 5 & 3)
        return f"{slave.bits}\n"

    def _alarms(self, slave: _Slave) -> str:
        scratchpad = self._scratchpad(slave) or bytes(9)
        high, low = (int.from_bytes(scratchpad[at : at + 1], signed=True) for at in (2, 3))
        return f"{low} {high}\n"

    def _ext_power(self, slave: _Slave) -> str:
        if not self._select(slave):
            return "-19\n"
        self._write(0xB4)
        slave.own_supply = bool(self._read(1)[0] & 1)
        return f"{slave.own_supply:d}\n"

    def _tell_to_convert(self, *, feeding: bool) -> None:
        if feeding:
            self._command(0xD2, PULLED_UP_STRONGLY)
        self._write(0x44)

    def _scratchpad(self, slave: _Slave) -> bytes | None:
        for _ in range(TRIES):
            if self._select(slave):
                self._write(0xBE)
                scratchpad = self._read(9)
                if not crc8(scratchpad):
                    return scratchpad
        return None

    def _select(self, slave: _Slave) -> bool:
        there = self._reset()
        if there:
            self._write(0x55, *slave.rom)
        return there

    def _reset(self) -> bool:
        try:
            self._chip.write_byte(CHIP, 0xB4)
            status = self._idle()
            if status & RESET:
                self._chip.write_byte_data(CHIP, 0xD2, PULLED_UP)
        except OSError:
            return False
        return bool(status & PRESENCE) and not status & BUSY

    def _write(self, *data: int) -> None:
        for byte in data:
            self._command(0xA5, byte)

    def _command(self, command: int, parameter: int) -> None:
        """Have the chip do something; the driver tells nobody when it does not."""
        try:
            self._chip.write_byte_data(CHIP, command, parameter)
            self._idle()
        except OSError:
            pass

    def _read(self, length: int) -> bytes:
        return bytes(self._read_byte() for _ in range(length))

    def _read_byte(self) -> int:
        try:
            self._chip.write_byte(CHIP, 0x96)
            self._idle()
            self._chip.write_byte_data(CHIP, 0xE1, 0xE1)
            return self._chip.read_byte(CHIP)
        except OSError:
            return 0xFF

    def _idle(self) -> int:
        self._chip.write_byte_data(CHIP, 0xE1, 0xF0)
        for _ in range(POLLS):
            status = self._chip.read_byte(CHIP)
            if not status & BUSY:
                break
        return status
