"""An i2c-tiny-usb, the USB adapter to I2C that the kernel has a driver for, with a simulated DS2482 on it.

Source: drivers/i2c/busses/i2c-tiny-usb.c. A read or write of the kernel is one vendor request, and what
became of it another. The chip is the project's own, by smbus2's methods.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

from tests.machine.usbredir import Stall

ECHO, FUNCTIONS, SET_DELAY, STATUS = range(4)
TRANSFER = range(4, 8)  # with bits for the first and the last of several messages

ABILITIES = 0x0EFF0009
"""I2C_FUNC_I2C, 10-bit addresses no, and SMBus as the kernel makes it of plain transfers."""

ADDRESS_ACKNOWLEDGED, NOT_ACKNOWLEDGED = 1, 2


class Chip(Protocol):
    """What is on the bus, by the names of smbus2."""

    def write_quick(self, i2c_addr: int) -> None:
        """Be addressed."""

    def write_byte(self, i2c_addr: int, value: int) -> None:
        """Take a byte."""

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Take two bytes."""

    def read_byte(self, i2c_addr: int) -> int:
        """Return a byte."""


class Adapter:
    """The adapter; what it is asked is counted in `transfers`."""

    vendor = 0x0403
    product = 0xC631

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self._acknowledged = True
        self.transfers = 0

    def read(self, request: int, value: int, index: int, length: int) -> bytes:
        """Answer a request for data."""
        if request in TRANSFER:
            return self._bytes_of(index, length)
        if request == ECHO:
            return struct.pack("<H", value)[:length]
        if request == FUNCTIONS:
            return struct.pack("<I", ABILITIES)[:length]
        if request == STATUS:
            return bytes([ADDRESS_ACKNOWLEDGED if self._acknowledged else NOT_ACKNOWLEDGED])
        raise Stall

    def write(self, request: int, value: int, index: int, data: bytes) -> None:
        """Take the bytes of a transfer; that there is none of other requests is no matter."""
        del value
        if request not in TRANSFER:
            if request != SET_DELAY:
                raise Stall
            return
        self.transfers += 1
        ways: dict[int, Callable[..., None]] = {
            0: self._chip.write_quick,
            1: self._chip.write_byte,
            2: self._chip.write_byte_data,
        }
        try:
            ways[len(data)](index, *data)
            self._acknowledged = True
        except (OSError, KeyError):
            self._acknowledged = False

    def _bytes_of(self, address: int, length: int) -> bytes:
        self.transfers += 1
        try:
            data = bytes(self._chip.read_byte(address) for _ in range(length))
            self._acknowledged = True
        except OSError:
            data = bytes(length)
            self._acknowledged = False
        return data
