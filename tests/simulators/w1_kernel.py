"""The kernel's 1-Wire driver on a simulated DS2482: what it reads there is written as the files of sysfs.

It does as drivers/w1/masters/ds2482.c and drivers/w1/slaves/w1_therm.c do, and shares no line with our own
driver. A file does not know when it is read: `show` is the bulk conversion and the reads after it, at once.
"""

from __future__ import annotations

from pathlib import Path

from gateway.clock import Clock
from listeners.simulated.ds18b20 import crc8
from listeners.simulated.ds2482 import BUSY, PRESENCE, RESET, Ds2482

CHIP = 0x18
TRIES = 5
POLLS = 100
CONVERSION_S = 0.75
PULLED_UP_STRONGLY, PULLED_UP = 0xA5, 0xE1


class Kernel:
    """The sensors that it has found at the chip at its start, in a tree below `root`."""

    def __init__(self, chip: Ds2482, clock: Clock, root: Path) -> None:
        self._chip = chip
        self._clock = clock
        self._files = {}
        for sensor in chip.sensors:
            home = root / f"{sensor.rom[0]:02x}-{sensor.rom[6:0:-1].hex()}"
            home.mkdir()
            (home / "resolution").write_text("12\n")
            self._files[sensor.rom] = home / "w1_slave"
        (root / "w1_bus_master1").mkdir()
        (root / "w1_bus_master1" / "therm_bulk_read").write_text("0\n")
        self._chip.write_byte(CHIP, 0xF0)
        self._chip.write_byte_data(CHIP, 0xD2, PULLED_UP)
        self._reset()
        self._write(0xCC, 0xB4)
        self._feeds = not self._read(1)[0] & 1

    def show(self) -> None:
        """Let all convert, read every scratchpad and write the files: nothing in them where it failed."""
        converted = self._converted()
        for rom, file in self._files.items():
            file.write_text(self._w1_slave(rom) if converted else "")

    def _converted(self) -> bool:
        if not self._reset():
            return False
        self._write(0xCC)
        if self._feeds:
            self._chip.write_byte_data(CHIP, 0xD2, PULLED_UP_STRONGLY)
        self._write(0x44)
        self._clock.sleep(CONVERSION_S)
        return True

    def _w1_slave(self, rom: bytes) -> str:
        for _ in range(TRIES):
            if self._reset():
                self._write(0x55, *rom, 0xBE)
                scratchpad = self._read(9)
                if not crc8(scratchpad):
                    celsius = int.from_bytes(scratchpad[:2], "little", signed=True) * 1000 // 16
                    shown = scratchpad.hex(" ")
                    return f"{shown} : crc={scratchpad[8]:02x} YES\n{shown} t={celsius}\n"
        return ""

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
            self._chip.write_byte_data(CHIP, 0xA5, byte)
            self._idle()

    def _read(self, length: int) -> bytes:
        data = []
        for _ in range(length):
            self._chip.write_byte(CHIP, 0x96)
            self._idle()
            self._chip.write_byte_data(CHIP, 0xE1, 0xE1)
            data.append(self._chip.read_byte(CHIP))
        return bytes(data)

    def _idle(self) -> int:
        self._chip.write_byte_data(CHIP, 0xE1, 0xF0)
        for _ in range(POLLS):
            status = self._chip.read_byte(CHIP)
            if not status & BUSY:
                break
        return status
