"""Thermometers behind a DS2482 on the machine's I2C bus."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from gateway.settings import convert, setting
from gateway.text.words import failure
from listeners.onewire.bus import BusFault, OneWire
from listeners.onewire.checks.owfs_conf import examine_masters
from listeners.onewire.drivers.bridge import Bridge, BridgeFault
from listeners.onewire.drivers.thermometers import Thermometers
from listeners.ports.examine_i2c import examine_i2c
from listeners.ports.i2c import Claimed, Device, open_bus, place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from listeners.onewire.ds18b20 import Reading
    from listeners.onewire.rom import Rom

ADDRESSES = range(0x18, 0x20)
"""Those that the chip's pins AD0 to AD2 can give it."""


def _check_bus(bus: str) -> None:
    if bus != "simulated" and not bus.isdecimal():
        raise ValueError(f"the number of a bus as in /dev/i2c-1, or simulated, expected, not {bus}")


def _meant(address: str) -> str:
    """Return a hint for an address as i2cdetect shows it: 18 is 0x18."""
    return f": write 0x{address}" if re.fullmatch("1[89a-f]", address) else ""


class Address(int):
    """One of the ADDRESSES; as text it is hexadecimal."""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address of a text, or raise ValueError."""
        try:
            address = cls(convert(int, text))
        except ValueError as error:
            raise ValueError(f"{error}{_meant(text)}") from None
        if address not in ADDRESSES:
            raise ValueError(f"an address from 0x18 to 0x1f expected, not {text}{_meant(text)}")
        return address

    def __str__(self) -> str:
        return f"{self:#04x}"


@dataclass(kw_only=True)
class Ds2482(OneWire):
    """A DS2482-100 or -800 on /dev/i2c-`bus` at `address`; `bus = simulated` simulates one with sensors."""

    usual: ClassVar = {"node": "1"}

    bus: str = setting("1", check=_check_bus)
    address: Address = setting(Address(0x18))
    _thermometers: Thermometers = field(init=False, compare=False, repr=False)

    @cached_property
    def _device(self) -> Device:
        if self.simulated:
            return Device(self.bus, 0x18, self._simulated_chip, locked=False)
        return Device(self.bus, self.address, open_bus)

    @property
    def simulated(self) -> bool:
        """Whether its readings are simulated."""
        return self.bus == "simulated"

    @property
    def place(self) -> str:
        """The chip."""
        if self.simulated:
            return "a simulated DS2482"
        return f"DS2482 at {self.address}, I2C bus {self.bus}"

    @property
    def exclusive(self) -> Iterable[str]:
        """The chip."""
        return () if self.simulated else (place_of(self.bus, self.address),)

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return what the doctor finds on the way to the chip."""
        if self.simulated:
            return ()
        masters = partial(examine_masters, machine, f"/dev/i2c-{self.bus}")
        in_use = self.name in machine.running
        return examine_i2c(machine, self.bus, self.address, in_use=in_use, others=ADDRESSES, more=[masters])

    def open(self) -> None:
        """Lock the chip, start it and set the sensors up."""
        self._device.open()
        bridge = Bridge(self._device, self.clock)
        self._thermometers = Thermometers(bridge, self.sensors.roms(), self.resolution, self.has_time)
        try:
            self._thermometers.start()
        except BusFault as fault:
            raise OSError(str(fault)) from fault

    def close(self) -> None:
        """Release the chip."""
        self._device.close()

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Read these sensors; where the bridge fails, open the bus and start the bridge again, once.

        Raises Claimed, at the latest after the sweep, where a driver of the kernel has taken the chip.
        """
        self._reach()
        try:
            readings = self._thermometers.sweep(roms)
        except BridgeFault as fault:
            self.log.debug(f"{fault}: it is started again")
            self._device.drop()
            self._reach()
            readings = self._thermometers.sweep(roms)
        self._device.check()
        return readings

    def search(self) -> Collection[Rom]:
        """Return the devices on all lines of the bridge."""
        self._reach()
        return self._thermometers.search()

    def bus_fault(self, rom: Rom) -> str:
        """Return how a sensor's channel failed in the last sweep, where there are several."""
        return self._thermometers.line_faults.get(rom, "")

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:
        """Return resolution and power supply, as found when the sensor was set up."""
        return self._thermometers.traits(rom)

    def _reach(self) -> None:
        """Open the bus unless it is open. Raises BusFault if it is not there, and Claimed."""
        try:
            self._device.open()
        except Claimed:
            raise
        except OSError as error:
            raise BusFault(failure(error)) from error

    def _simulated_chip(self, *_: object) -> Any:  # noqa: ANN401  (it has those methods of SMBus that are used)
        from listeners.simulated.scene import demo_bridge  # noqa: PLC0415  (only where it is asked for)

        return demo_bridge(self.clock, set(map(str, self.sensors.roms())))
