"""The DS2482-100 and -800, bridges from I2C to 1-Wire: their commands, and the wait for each of them.

Sources: Maxim's data sheets 19-4930 and 19-4931; times are their typical ones at the standard speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from listeners.onewire.bus import BusFault
from listeners.onewire.ds18b20 import Fault
from listeners.ports.i2c import NOT_ACKNOWLEDGED

if TYPE_CHECKING:
    from gateway.clock import Clock
    from listeners.ports.i2c import Device

RESET_S, BYTE_S, BIT_S, TRIPLET_S = 1184e-6, 554e-6, 69e-6, 208e-6

BUSY, PRESENCE, SHORT, LEVEL, RESET, BIT, SECOND_BIT, DIRECTION = (1 << place for place in range(8))
"""The bits of the status register: 1WB, PPD, SD, LL, RST, SBR, TSB, DIR."""

ACTIVE_PULL_UP, STRONG_PULL_UP = 0x01, 0x04
"""Bits of the configuration register: APU, SPU."""

_DEVICE_RESET, _SET_READ_POINTER, _WRITE_CONFIGURATION, _SELECT_CHANNEL = 0xF0, 0xE1, 0xD2, 0xC3
_LINE_RESET, _WRITE_BYTE, _READ_BYTE, _SINGLE_BIT, _TRIPLET = 0xB4, 0xA5, 0x96, 0x87, 0x78
_DATA_REGISTER, _CONFIGURATION_REGISTER = 0xE1, 0xC3

_CHANNELS = tuple(zip(bytes.fromhex("F0E1D2C3B4A59687"), bytes.fromhex("B8B1AAA39C958E87"), strict=True))
"""What selects each channel of a -800, and what is read back then."""


class BridgeFault(BusFault):
    """The bridge failed: it has to be started again before it is used."""


class LineFault(BusFault):
    """A 1-Wire line failed; `fault` is the fault of each of its sensors."""

    fault = Fault.BUS


class NoPresence(LineFault):
    """No device on the line answers a reset."""

    fault = Fault.NO_ANSWER


class Shorted(LineFault):
    """The line is held low."""

    fault = Fault.SHORT


class NotConverting(LineFault):
    """No sensor on the line starts the conversion that was asked for."""

    fault = Fault.UNCONVERTED


class Disturbed(NotConverting):
    """A conversion may have started over, or never begun: another program used the bridge during it."""


class Bridge:
    """A bridge. All methods raise a BusFault when it or its line fails.

    `started` is false where it is to be started again: after a BridgeFault, and where another program may
    have changed its settings. `channels` is 8 for a -800, else 1.
    """

    def __init__(self, device: Device, clock: Clock) -> None:
        self.started = False
        self.channels = 1
        self.clock = clock
        self._device = device
        self._channel = 0

    def start(self) -> None:
        """Reset the chip, find out which of the two it is, and configure it."""
        self._command(_DEVICE_RESET)
        status = self._fetch()
        if status & ~LEVEL != RESET:
            raise self._failed(
                f"is no DS2482, or hangs: status {status:02X} after a reset; check its address"
            )
        self.channels = 8 if self._has_channels() else 1
        self._channel = 0
        self._configure(ACTIVE_PULL_UP)
        self.started = True

    def select(self, channel: int) -> None:
        """Select a channel; devices selected on another channel stay selected."""
        if channel == self._channel:
            return
        code, answer = _CHANNELS[channel]
        self._command(_SELECT_CHANNEL, code)
        if self._fetch() != answer:
            raise self._failed("did not select the channel")
        self._channel = channel

    def reset(self) -> None:
        """Reset the line. Raises NoPresence or Shorted."""
        self._command(_LINE_RESET)
        status = self._completed(RESET_S)
        if status & SHORT:
            raise self._shorted()
        if not status & PRESENCE:
            self.started = False  # at overdrive speed, which another program may have set, nothing answers
            raise NoPresence(
                f"nothing answers on {self._place()}: check its cable, the sensors' supply and the pull-up"
            )

    def write(self, data: bytes) -> None:
        """Write bytes to the line."""
        for byte in data:
            self._command(_WRITE_BYTE, byte)
            self._completed(BYTE_S)

    def write_feeding(self, byte: int) -> None:
        """Write a byte and pull the line up strongly at once, until the next command to the line."""
        self._configure(ACTIVE_PULL_UP | STRONG_PULL_UP)
        self.write(bytes([byte]))

    def read(self, length: int) -> bytes:
        """Read bytes from the line."""
        return bytes(self._read_byte() for _ in range(length))

    def read_bit(self) -> bool:
        """Read one time slot."""
        self._command(_SINGLE_BIT, 0x80)
        return bool(self._completed(BIT_S) & BIT)

    def triplet(self, direction: int) -> tuple[bool, bool, int]:
        """Read a bit of the ids and its complement, and write the direction taken; return the three.

        `direction` is taken where both are in use.
        """
        self._command(_TRIPLET, 0x80 * direction)
        status = self._completed(TRIPLET_S)
        return bool(status & BIT), bool(status & SECOND_BIT), int(bool(status & DIRECTION))

    def wait_undisturbed(self, seconds: float) -> None:
        """Wait while sensors convert. Raises Disturbed where another program used the line meanwhile.

        Every command to the line moves the read pointer away from the configuration.
        """
        self._command(_SET_READ_POINTER, _CONFIGURATION_REGISTER)
        self.clock.sleep(seconds)
        if self._fetch() & ~STRONG_PULL_UP != ACTIVE_PULL_UP:
            self.started = False
            raise Disturbed(
                f"another program uses the DS2482 at {self._device.address:#04x} while sensors convert: "
                "only one may use it; is owserver running?"
            )

    def _read_byte(self) -> int:
        self._command(_READ_BYTE)
        self._completed(BYTE_S)
        self._command(_SET_READ_POINTER, _DATA_REGISTER)
        return self._fetch()

    def _has_channels(self) -> bool:
        code, answer = _CHANNELS[7]
        try:
            self._device.i2c.write_byte_data(self._device.address, _SELECT_CHANNEL, code)
        except OSError:
            return False  # a -100 does not acknowledge; a bridge that is gone fails at its configuration
        found = self._fetch() == answer
        self._channel = 7
        self.select(0)
        return found

    def _configure(self, configuration: int) -> None:
        self._command(_WRITE_CONFIGURATION, configuration | (~configuration & 0x0F) << 4)
        if self._fetch() != configuration:
            raise self._failed("did not take its configuration; check its supply")

    def _completed(self, seconds: float) -> int:
        """Sleep for as long as the command typically takes, and return the status once the chip is not busy.

        A chip that was reset meanwhile has lost its configuration and the command; one that is busy three
        times as long as it should be hangs. A line that is low between commands is shorted: what was written
        or read may never have been on it.
        """
        self.clock.sleep(seconds)
        deadline = self.clock.monotonic() + 2 * seconds
        while True:
            late = self.clock.monotonic() > deadline
            status = self._fetch()
            if not status & BUSY:
                break
            if late:
                raise self._failed("stays busy; check its supply, and the line for noise")
            self.clock.sleep(BIT_S)
        if status & RESET:
            raise self._failed("was reset during a command; check its supply")
        if not status & LEVEL:
            raise self._shorted()
        return status

    def _command(self, code: int, parameter: int | None = None) -> None:
        try:
            if parameter is None:
                self._device.i2c.write_byte(self._device.address, code)
            else:
                self._device.i2c.write_byte_data(self._device.address, code, parameter)
        except OSError as error:
            raise self._unheard(error) from error

    def _fetch(self) -> int:
        """Read the register that the read pointer is at after the last command."""
        try:
            return self._device.i2c.read_byte(self._device.address)
        except OSError as error:
            raise self._unheard(error) from error

    def _unheard(self, error: OSError) -> BusFault | OSError:
        if error.errno in NOT_ACKNOWLEDGED:
            return self._failed("does not answer; check its wiring and supply")
        self.started = False
        return self._device.explained(error)

    def _shorted(self) -> Shorted:
        return Shorted(f"{self._place()} is shorted: look for data touching ground")

    def _place(self) -> str:
        return f"channel {self._channel} of the bridge" if self.channels > 1 else "the 1-Wire line"

    def _failed(self, words: str) -> BridgeFault:
        self.started = False
        return BridgeFault(f"the DS2482 at {self._device.address:#04x} {words}")
