"""A DS2482-100 or -800, the bridge from I2C to 1-Wire, behind the method names of smbus2's SMBus.

Commands, registers and the read pointer are those of Maxim's datasheets (19-4930 and 19-4931). Write Byte
leaves the sampled bits in the data register: OWFS reads by writing FF.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.clock import Clock
    from listeners.simulated.ds18b20 import Ds18b20

Handler = TypeVar("Handler")

RESET_S, BYTE_S, BIT_S, TRIPLET_S = 1184e-6, 554e-6, 69e-6, 208e-6
"""How long the chip is busy, typically, at the standard speed."""

BUSY, PRESENCE, SHORT, LEVEL, RESET, BIT, SECOND_BIT, DIRECTION = (1 << place for place in range(8))
"""The status register: 1WB, PPD, SD, LL, RST, SBR, TSB, DIR."""

STRONG_PULL_UP, OVERDRIVE = 0x04, 0x08
"""SPU and 1WS in the configuration register."""

STATUS, DATA, CONFIGURATION, CHANNEL = 0xF0, 0xE1, 0xC3, 0xD2
"""The registers, by their read pointer codes."""

CHANNELS = {0xF0: 0xB8, 0xE1: 0xB1, 0xD2: 0xAA, 0xC3: 0xA3, 0xB4: 0x9C, 0xA5: 0x95, 0x96: 0x8E, 0x87: 0x87}
"""Channel Select's codes of channels 0 to 7, and what is read back for each."""


class Ds2482:
    """The bridge: a -100 with its `sensors`, or with `channels=8` a -800 with a list of sensors per channel.

    Sensors and fault attributes may be changed at any time. What the chip does not acknowledge is an OSError
    (EREMOTEIO), as on the Pi. It is busy by the `clock`; with `i2c_hz` each transfer of n bytes waits its
    (9n + 2) / i2c_hz seconds on that clock too.
    """

    nack = False
    """The chip acknowledges nothing, as if it were not there."""
    shorted = False
    """The 1-Wire line is held low."""
    stuck_busy = False
    """1WB stays set for good."""

    def __init__(
        self,
        clock: Clock,
        sensors: Iterable[Ds18b20] = (),
        *,
        channels: int = 1,
        address: int = 0x18,
        i2c_hz: float | None = None,
    ) -> None:
        self.channels: list[list[Ds18b20]] = [list(sensors), *([] for _ in range(channels - 1))]
        self._clock = clock
        self._address = address
        self._i2c_hz = i2c_hz
        self._commands: dict[int, Callable[[], None]] = {
            0xF0: self.reset_chip,
            0xB4: self._reset_line,
            0x96: lambda: self._exchange(0xFF),
        }
        self._commands_with_a_byte: dict[int, Callable[[int], None]] = {
            0xE1: self._set_read_pointer,
            0xD2: self._write_configuration,
            0xA5: self._write_byte,
            0x87: self._single_bit,
            0x78: self._triplet,
        }
        if channels > 1:
            self._commands_with_a_byte[0xC3] = self._select_channel
        self._strong = False
        self._channel = 0
        self._data = 0
        self.reset_chip()

    @property
    def sensors(self) -> list[Ds18b20]:
        """The sensors of the first, or only, channel."""
        return self.channels[0]

    @sensors.setter
    def sensors(self, sensors: list[Ds18b20]) -> None:
        self.channels[0] = sensors

    def write_quick(self, i2c_addr: int) -> None:
        """Address the chip and write nothing, as i2cdetect does."""
        self._transfer(i2c_addr, 1)

    def write_byte(self, i2c_addr: int, value: int) -> None:
        """Give a command that has no parameter."""
        self._transfer(i2c_addr, 2)
        self._accept(value, self._commands)()

    def write_byte_data(self, i2c_addr: int, register: int, value: int) -> None:
        """Give a command and its parameter."""
        self._transfer(i2c_addr, 3)
        self._accept(register, self._commands_with_a_byte)(value)

    def read_byte(self, i2c_addr: int) -> int:
        """Read the register that the read pointer is at."""
        self._transfer(i2c_addr, 2)
        if self._pointer == STATUS:
            return self._status | BUSY * self._busy() | LEVEL * (not self.shorted)
        if self._pointer == DATA:
            return self._data
        if self._pointer == CONFIGURATION:
            return self._configuration
        return list(CHANNELS.values())[self._channel]

    def close(self) -> None:
        """Release nothing: smbus2's name for it."""

    def reset_chip(self) -> None:
        """Reset, by Device Reset or a power cut of the chip: RST is set, the configuration is lost."""
        self._end_strong_pull_up()
        self._busy_until = 0.0
        self._outcome: tuple[int, int] | None = None
        self._status = RESET
        self._configuration = 0
        self._pointer = STATUS
        self._channel = 0

    def _transfer(self, address: int, length: int) -> None:
        if self._i2c_hz:
            self._clock.sleep((9 * length + 2) / self._i2c_hz)
        if self.nack or address != self._address:
            raise _not_acknowledged()
        if self._outcome is not None and not self._busy():
            self._status, self._data = self._outcome
            self._outcome = None

    def _busy(self) -> bool:
        return self.stuck_busy or self._clock.monotonic() < self._busy_until

    def _accept(self, command: int, commands: dict[int, Handler]) -> Handler:
        if command not in commands or (command not in (0xF0, 0xE1) and self._busy()):
            raise _not_acknowledged()
        return commands[command]

    def _set_read_pointer(self, register: int) -> None:
        if register not in (STATUS, DATA, CONFIGURATION) and not (
            register == CHANNEL and len(self.channels) > 1
        ):
            raise _not_acknowledged()
        self._pointer = register

    def _write_configuration(self, value: int) -> None:
        self._end_strong_pull_up()
        self._pointer = CONFIGURATION
        if value >> 4 == ~value & 0x0F:
            self._configuration = value & 0x0F
            self._status &= ~RESET

    def _select_channel(self, code: int) -> None:
        if code not in CHANNELS:
            raise _not_acknowledged()
        self._end_strong_pull_up()
        self._channel = list(CHANNELS).index(code)
        self._pointer = CHANNEL

    def _reset_line(self) -> None:
        end = self._begin(RESET_S)
        # Every sensor must hear the pulse, so no any() over a generator here.
        presence = [sensor.reset(end) for sensor in self._listening()]
        status = self._status & ~(PRESENCE | SHORT)
        self._outcome = status | PRESENCE * any(presence) | SHORT * self.shorted, self._data

    def _write_byte(self, byte: int) -> None:
        self._exchange(byte)
        self._begin_strong_pull_up()

    def _exchange(self, byte: int) -> None:
        """Write the bits of a byte and sample the line at each; a written 1 is a read slot."""
        end = self._begin(BYTE_S)
        slot = BYTE_S / 8
        bits = [self._slot(byte >> place & 1, end - (7 - place) * slot) for place in range(8)]
        self._outcome = self._status, sum(bit << place for place, bit in enumerate(bits))

    def _single_bit(self, value: int) -> None:
        bit = self._slot(value >> 7, self._begin(BIT_S))
        self._outcome = self._status & ~BIT | BIT * bit, self._data
        self._begin_strong_pull_up()

    def _triplet(self, value: int) -> None:
        """Read a bit of the ids and its complement, then write the only way there is, or the one asked."""
        end = self._begin(TRIPLET_S)
        bit = self._slot(1, end)
        complement = self._slot(1, end)
        direction = value >> 7 if bit == complement == 0 else bit
        self._slot(direction, end)
        status = self._status & ~(BIT | SECOND_BIT | DIRECTION)
        self._outcome = status | BIT * bit | SECOND_BIT * complement | DIRECTION * direction, self._data

    def _begin(self, seconds: float) -> float:
        """Start a 1-Wire command and return when it will be over."""
        self._end_strong_pull_up()
        self._pointer = STATUS
        self._busy_until = self._clock.monotonic() + seconds
        return self._busy_until

    def _slot(self, bit: int, end: float) -> int:
        """Run one time slot: the line is low where the bridge or any sensor holds it low."""
        sensors = self._listening()
        level = 0 if self.shorted else min([bit, *(sensor.level(end) for sensor in sensors)])
        for sensor in sensors:
            sensor.hear(level, end)
        return level

    def _listening(self) -> list[Ds18b20]:
        """Return the sensors that the line reaches; overdrive speed is too fast for all of them."""
        deaf = self.shorted or self._configuration & OVERDRIVE
        return [] if deaf else self.channels[self._channel]

    def _begin_strong_pull_up(self) -> None:
        if self._configuration & STRONG_PULL_UP:
            self._strong = True
            for sensor in self.channels[self._channel]:
                sensor.strong_pull_up(True, self._busy_until)

    def _end_strong_pull_up(self) -> None:
        if self._strong:
            self._strong = False
            self._configuration &= ~STRONG_PULL_UP
            for sensor in self.channels[self._channel]:
                sensor.strong_pull_up(False, self._clock.monotonic())


def _not_acknowledged() -> OSError:
    return OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO))
