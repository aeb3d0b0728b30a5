"""The bus masters that OWFS drives: one conversion for all their thermometers, then each scratchpad.

OWFS 3.2 passes the power-on value on as a temperature, so scratchpads are read raw and judged here. What is
written to `temphigh`, `templow` or `tempres` it copies to the EEPROM, and reading the first two recalls them
from there: these are left alone, and byte 6 has to tell a power-on. It knows only the 85 °C of a genuine
part: the 25 °C of some clones pass as a temperature, unless `resolution` is below that in the EEPROM, which
comes back with the power. Nor does OWFS tell whether a sensor heard the conversion for all, or ended it: one
that did not has its value of before once more.

OWFS checks the CRC itself, and tells damage from no answer by nothing: a refusal of a sensor that has been
heard makes it doubtful.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from listeners.onewire.bus import BusFault
from listeners.onewire.doubt import Doubt
from listeners.onewire.drivers.couplers import uncached
from listeners.onewire.drivers.tree import Refused, temperature_in
from listeners.onewire.ds18b20 import (
    DS18S20,
    DS28EA00,
    Fault,
    Reading,
    conversion_time,
    decode,
    resolution_of,
)
from listeners.onewire.rom import crc8

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.clock import Clock
    from listeners.onewire.drivers.tree import Tree
    from listeners.onewire.rom import Rom

FINEST = 12
"""Bits: a sensor that nothing is known of may need the time of the finest resolution."""


@dataclass
class _Sensor:
    """What has been found out about a sensor since it last answered on its bus.

    `bits` is its resolution, FINEST where that is not known, `told` how often it was told another.
    """

    bus: str
    parasite: bool
    bits: int = FINEST
    told: int = 0


class Masters:
    """The sensors on the buses with these paths, and on branches of couplers whose paths `places` has."""

    def __init__(
        self,
        tree: Tree,
        buses: Sequence[str],
        resolution: int,
        clock: Clock,
        places: Mapping[Rom, str] = MappingProxyType({}),
    ) -> None:
        self._places = places
        self._tree = tree
        self._buses = buses
        self._resolution = resolution
        self._clock = clock
        self._sensors: dict[Rom, _Sensor] = {}
        self._doubts: dict[Rom, Doubt] = {}
        """Of those that have been heard."""

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Let all buses convert, wait once for the slowest sensor, and judge each scratchpad.

        Raises BusFault where no bus takes the conversion.
        """
        if all(rom in self._sensors and self._converts_alone(self._sensors[rom]) for rom in roms):
            return {rom: self._reading(rom, self._buses, FINEST) for rom in roms}
        given = max(self._sensors[rom].bits if rom in self._sensors else FINEST for rom in roms)
        converting = [bus for bus in self._buses if self._convert(bus)]
        if not converting:
            raise BusFault(
                f"{self._tree}: no conversion can be started; look for a short, and at the bus master"
            )
        self._clock.sleep(conversion_time(given))
        return {rom: self._reading(rom, converting, given) for rom in roms}

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:
        """Return resolution and whether the line feeds it, of a sensor that answers."""
        sensor = self._sensors.get(rom)
        return (sensor.bits, sensor.parasite) if sensor else (None, None)

    def _convert(self, bus: str) -> bool:
        """Start a conversion; tell whether the bus took it, which OWFS does not say but counts."""
        for _ in range(2):
            before = self._writes(bus)
            with suppress(Refused):
                self._tree.write(f"{bus}simultaneous/temperature", b"1")
                if before is None or self._writes(bus) != before:
                    return True
        return False

    def _writes(self, bus: str) -> bytes | None:
        """Return how many writes have succeeded at the server that the bus belongs to, if it tells."""
        server = re.sub("bus[.][0-9]+/$", "", bus)
        with suppress(Refused):
            return self._tree.read(f"{server}statistics/write/success")
        return None

    def _converts_alone(self, sensor: _Sensor) -> bool:
        """Tell whether a sensor hears no conversion for all, or is not fed for it.

        OWFS gives the strong pull-up to a sensor's own conversion only. On a branch of a coupler it offers a
        conversion for all as well, but sends it to the bus that the coupler is on.
        """
        return sensor.parasite or sensor.bus not in self._buses

    def _reading(self, rom: Rom, converting: Sequence[str], given: int) -> Reading:
        """Return what a sensor says on the bus that it was last seen on, or else where it may be."""
        sensor = self._sensors.get(rom)
        if sensor and sensor.bus not in converting and not self._converts_alone(sensor):
            return Fault.BUS
        place = sensor.bus if sensor else self._places.get(rom)
        for bus in [place] if place else converting:
            with suppress(Refused):
                return self._reading_on(bus, rom, given)
        if rom in self._doubts:
            self._doubts[rom].rise()
        # It may come back on another bus, and will have lost its power.
        self._sensors.pop(rom, None)
        return Fault.NO_ANSWER

    def _reading_on(self, bus: str, rom: Rom, given: int) -> Reading:
        home = f"{uncached(bus)}{rom}/"
        if rom.family == DS28EA00:  # OWFS does not show its scratchpad
            return temperature_in(self._tree.read(f"{home}temperature{self._resolution}"))
        scratchpad = self._scratchpad(rom, home)
        sensor = self._sensors.get(rom) or self._meet(rom, bus, home)
        if self._converts_alone(sensor):
            self._tree.read(f"{home}temperature" if rom.family == DS18S20 else f"{home}temperature{FINEST}")
            scratchpad, given = self._scratchpad(rom, home), FINEST
        reading = decode(rom, scratchpad, resolution=given)
        if isinstance(reading, Fault):
            self._meet(rom, bus, home)
        elif rom.family != DS18S20 and not self._converts_alone(sensor):
            self._settle(home, sensor, resolution_of(scratchpad))
        return reading

    def _scratchpad(self, rom: Rom, home: str) -> bytes:
        """Return a scratchpad; where something was refused of late, one that came twice, or b""."""
        first = self._tree.read(f"{home}scratchpad")
        doubt = self._doubts.setdefault(rom, Doubt())
        if crc8(first):
            doubt.rise()
        return doubt.settled(first, lambda: self._tree.read(f"{home}scratchpad"))

    def _meet(self, rom: Rom, bus: str, home: str) -> _Sensor:
        """Start over with a sensor: it may have lost its power, or the wire that brings it."""
        sensor = _Sensor(bus, parasite=self._tree.read(f"{home}power").strip() == b"0")
        self._sensors[rom] = sensor
        return sensor

    def _settle(self, home: str, sensor: _Sensor, bits: int) -> None:
        """Have a sensor's resolution written to its scratchpad, twice at most: some parts refuse.

        OWFS writes it when it reads a temperature of another resolution than it believes the sensor to have.
        That belief outlives the sensor's power: where asking has not helped, it is made to change twice.
        """
        sensor.bits = bits
        if bits == self._resolution:
            sensor.told = 0
        elif sensor.told < 2:
            detour = 9 if self._resolution > 9 else 10
            for asked in (detour, self._resolution)[1 - sensor.told :]:
                with suppress(Refused):
                    self._tree.read(f"{home}temperature{asked}")
            sensor.told += 1
