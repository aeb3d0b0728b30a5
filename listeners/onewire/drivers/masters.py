"""The bus masters that OWFS drives: one conversion for all their thermometers, then each scratchpad.

OWFS 3.2 passes the power-on value on as a temperature, so scratchpads are read raw and judged here. It copies
to the EEPROM what is written to `temphigh`, `templow` or `tempres`, and recalls the first two from there when
they are read. So these are not used, and byte 6 has to tell a power-on. That works for the 85 °C of a genuine
DS18B20 only. A DS18S20 has the same byte 6 at a true 85 °C, and so no value there. The 25 °C of some clones
pass as a temperature, unless `resolution` is below that in the EEPROM, which comes back with the power. Nor
does OWFS tell whether a sensor heard the command to convert, or finished: a sensor that did not shows its old
value once more.

OWFS checks the CRC itself and does not distinguish damage from no answer: where a sensor that has answered
before cannot be read, what it sends next is distrusted.
"""

from __future__ import annotations

from contextlib import suppress
from errno import EROFS
from types import MappingProxyType
from typing import TYPE_CHECKING

from listeners.onewire.bus import BusFault
from listeners.onewire.drivers.couplers import bus_of, uncached
from listeners.onewire.drivers.shared_conversion import shared_conversion
from listeners.onewire.ds18b20 import (
    DS18S20,
    DS28EA00,
    FINEST,
    POWER_ON_C,
    Fault,
    Reading,
    conversion_time,
    resolution_of,
)
from listeners.onewire.sensor import Sensor
from listeners.onewire.tree import (
    HANGS_S,
    PAUSE,
    Unavailable,
    device,
    read_temperature,
    server_of,
    shown,
    to_sixteenths,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gateway.clock import Clock
    from listeners.onewire.rom import Rom
    from listeners.onewire.tree import Tree

OnBus = Sensor[str | None]
"""A sensor with the path of the bus or branch that it was last seen on; None: it does not answer."""

_SILENT = "does not answer in time; look at its owserver, and the way to it"


class Masters:
    """The sensors on the buses with these paths and names, and on branches of couplers that `places` has.

    `resolution` tells what a sensor is set to, None if it keeps what it has.
    """

    def __init__(
        self,
        tree: Tree,
        buses: Mapping[str, str],
        resolution: Callable[[Rom], int | None],
        clock: Clock,
        places: Mapping[Rom, str] = MappingProxyType({}),
    ) -> None:
        self._places = places
        self._tree = tree
        self._buses = buses
        self._resolution = resolution
        self._clock = clock
        # By the devices, too: two servers may have the same port at different addresses of this machine.
        self._conversion = shared_conversion((tree.root, *((bus, device(tree, bus)) for bus in buses)))
        self._sensors: dict[Rom, OnBus] = {}
        self._is_read_only = False
        # When a bus that hung is to be tried next, in monotonic seconds.
        self._due: dict[str, float] = {}
        # Why a bus took no conversion when it was last tried.
        self._refusals: dict[str, str] = {}
        self.bus_faults: dict[Rom, str] = {}
        """How the bus of a sensor failed in its last sweep, where another one did not."""

    def sweep(self, roms: Sequence[Rom]) -> dict[Rom, Reading]:
        """Let all buses convert, wait once for the slowest sensor, and judge each scratchpad.

        Raises BusFault if no bus takes the conversion.
        """
        self._is_read_only = False
        sensors = [self._sensors.setdefault(rom, Sensor(rom, None)) for rom in roms]
        if all(map(self._converts_alone, sensors)):
            readings = {sensor.rom: self._reading(sensor, list(self._buses), FINEST) for sensor in sensors}
            if self._due.keys() == self._buses.keys():
                self._due.clear()
            return readings
        given = max(sensor.bits or FINEST for sensor in sensors)
        converting = self._conversion.wait(
            lambda: [bus for bus in self._buses if self._convert(bus)], conversion_time(given), self._clock
        )
        if not converting:
            self._due.clear()
        if not converting and self._is_read_only:
            raise BusFault(
                f"{self._tree}: no conversion can be started, as OWFS is read-only: take readonly out of "
                "/etc/owfs.conf or its command line, and restart it"
            )
        if not converting:
            silent = [shown(bus, self._buses[bus]) for bus, why in self._refusals.items() if why == _SILENT]
            raise BusFault(
                f"{self._tree}: {', '.join(silent)} {_SILENT}"
                if len(silent) == len(self._buses)
                else f"{self._tree}: no conversion can be started; look for a short, and at the bus master"
            )
        return {sensor.rom: self._reading(sensor, converting, given) for sensor in sensors}

    @property
    def hanging(self) -> Collection[str]:
        """The buses that hung when they were last tried."""
        return self._due.keys()

    def found(self, places: Mapping[Rom, str]) -> None:
        """Look anew for sensors that a search has found elsewhere than they were last seen.

        They do not answer on a bus that does not work, so that nothing else tells that they were moved.
        """
        for sensor in self._sensors.values():
            if sensor.place and places.get(sensor.rom, sensor.place) != sensor.place:
                _forget(sensor)

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:
        """Return resolution and whether the line feeds it, of a sensor that answers."""
        sensor = self._sensors.get(rom)
        return (sensor.bits, sensor.parasite) if sensor else (None, None)

    def _convert(self, bus: str) -> bool:
        """Start a conversion, unless the bus has just hung; tell whether the bus took it."""
        begun = self._clock.monotonic()
        if begun < self._due.get(bus, begun):
            return False
        converts = self._starts(bus, begun + HANGS_S)
        self._tried(bus, begun, works=converts)
        return converts

    def _tried(self, bus: str, begun: float, *, works: bool) -> None:
        """Note whether a bus that was tried from that second of the monotonic clock on hangs."""
        now = self._clock.monotonic()
        self._due.pop(bus, None)
        if not works and now - begun > HANGS_S:
            self._due[bus] = now + PAUSE * (now - begun)

    def _is_up(self, bus: str) -> bool:
        """Tell whether a bus does not hang; one that did is asked again when that is due."""
        begun = self._clock.monotonic()
        if bus in self._due and begun >= self._due[bus]:
            self._tried(bus, begun, works=self._writes(bus) is not None)
        return bus not in self._due

    def _starts(self, bus: str, end: float) -> bool:
        """Start a conversion; tell whether the bus took it, which only OWFS's statistics show.

        It is tried a second time, if the first one has ended by that second of the monotonic clock.
        """
        self._refusals[bus] = "takes no conversion; look for a short, and at the bus master"
        for _ in range(2):
            before = self._writes(bus)
            if before is None and self._clock.monotonic() > end:
                self._refusals[bus] = _SILENT
                break
            try:
                self._tree.write(f"{bus}simultaneous/temperature", b"1")
            except Unavailable as refusal:
                self._is_read_only |= getattr(refusal.__cause__, "errno", None) == EROFS
                words = getattr(refusal.__cause__, "strerror", None) or refusal
                self._refusals[bus] = f"is not reached ({words}); look at its bus master, and its owserver"
            else:
                if before is None or self._writes(bus) != before:
                    return True
            if self._clock.monotonic() > end:
                break
        return False

    def _writes(self, bus: str) -> bytes | None:
        """Return how many writes have succeeded at the server of the bus, where it tells."""
        with suppress(Unavailable):
            return self._tree.read(f"{server_of(bus)}statistics/write/success")
        return None

    def _converts_alone(self, sensor: OnBus) -> bool:
        """Tell whether a sensor that answers hears no conversion for all, or is not fed for it.

        OWFS gives the strong pull-up to a sensor's own conversion only. On a branch of a coupler it offers a
        conversion for all as well, but sends it to the bus that the coupler is on.
        """
        return sensor.place is not None and (bool(sensor.parasite) or sensor.place not in self._buses)

    def _reading(self, sensor: OnBus, converting: Sequence[str], given: int) -> Reading:
        """Return the reading of a sensor, from the bus that it was last seen on or wherever it may be."""
        had_bus_fault = self.bus_faults.pop(sensor.rom, None) is not None
        place = sensor.place or self._places.get(sensor.rom)
        bus = bus_of(place) if place else ""
        needs_bus = had_bus_fault or (sensor.place and not self._converts_alone(sensor))
        is_heard = bus in converting or not needs_bus
        if bus and not (is_heard and self._is_up(bus)):
            return self._failed(sensor, bus)
        for path in [place] if place else filter(self._is_up, converting):
            begun = self._clock.monotonic()
            with suppress(Unavailable):
                return self._reading_on(path, sensor, given)
            self._look_whether_it_hangs(bus_of(path), begun)
        if sensor.heard:
            sensor.distrust()
        if bus in self._due or (bus and bus not in converting):
            return self._failed(sensor, bus)
        _forget(sensor)
        return Fault.NO_ANSWER

    def _look_whether_it_hangs(self, bus: str, begun: float) -> None:
        """Ask the server of a bus, where a reading that began then took long to fail.

        That may be so of a sensor that does not answer, too, which must cost the others nothing.
        """
        asked = self._clock.monotonic()
        if asked - begun > HANGS_S and self._writes(bus) is None:
            self._tried(bus, asked, works=False)
            self._refusals[bus] = _SILENT

    def _failed(self, sensor: OnBus, bus: str) -> Fault:
        """Note how the bus of a sensor fails; return the fault."""
        why = self._refusals.get(bus, "takes no conversion")
        self.bus_faults[sensor.rom] = f"{shown(bus, self._buses.get(bus, ''))} {why}"
        return Fault.BUS

    def _reading_on(self, bus: str, sensor: OnBus, given: int) -> Reading:
        rom, home = sensor.rom, f"{uncached(bus)}{sensor.rom}/"
        if rom.family == DS28EA00:
            # OWFS does not show its scratchpad, so a true 85 °C cannot be told from that of a power-on.
            reading = read_temperature(self._tree, f"{home}temperature{self._resolution(rom) or FINEST}")
            if isinstance(reading, Fault):
                return reading
            return Fault.AT_85 if reading == POWER_ON_C else to_sixteenths(reading)

        def read() -> bytes:
            return self._tree.read(f"{home}scratchpad")

        scratchpad = sensor.scratchpad(read)
        if sensor.place is None:
            self._register(sensor, bus, home)
        if self._converts_alone(sensor):
            self._tree.read(f"{home}temperature" if rom.family == DS18S20 else f"{home}temperature{FINEST}")
            scratchpad, given = sensor.scratchpad(read), FINEST
        reading = sensor.decode(scratchpad, given)
        if isinstance(reading, Fault):
            self._register(sensor, bus, home)
        elif rom.family != DS18S20 and not self._converts_alone(sensor):
            self._set_resolution(sensor, home, resolution_of(scratchpad))
        return reading

    def _register(self, sensor: OnBus, bus: str, home: str) -> None:
        """Start over with a sensor: it may have lost its power, or the wire that brings it."""
        sensor.parasite = self._tree.read(f"{home}power").strip() == b"0"
        sensor.place, sensor.bits, sensor.tries = bus, FINEST, 0

    def _set_resolution(self, sensor: OnBus, home: str, bits: int) -> None:
        """Have a sensor's resolution written to its scratchpad, twice at most: some parts refuse.

        OWFS writes it when it reads a temperature of another resolution than it believes the sensor to have.
        That belief outlives the sensor's power: where asking has not helped, it is made to change twice.
        """
        sensor.bits = bits
        wanted = self._resolution(sensor.rom)
        if wanted in (None, bits):
            sensor.tries = 0
        elif sensor.tries < 2:
            detour = 9 if wanted > 9 else 10
            for asked in (detour, wanted)[1 - sensor.tries :]:
                with suppress(Unavailable):
                    self._tree.read(f"{home}temperature{asked}")
            sensor.tries += 1


def _forget(sensor: OnBus) -> None:
    """Forget where a sensor is: it may be on another bus next, and will have lost its power."""
    sensor.place = sensor.bits = sensor.parasite = None
