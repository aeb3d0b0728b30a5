"""Thermometers behind a bridge: one conversion for all, and only values that are their temperatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from listeners.onewire.drivers.bridge import Disturbed, LineFault, NoPresence, NotConverting
from listeners.onewire.drivers.line import Line
from listeners.onewire.ds18b20 import AGAIN, Fault, Reading, damage, own_markers, setup, unproved
from listeners.onewire.sensor import Sensor, found_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from listeners.onewire.drivers.bridge import Bridge
    from listeners.onewire.rom import Rom

_LATE_POLLS, _POLL_S = 75, 0.01
"""How long a conversion may be late: that of another sensor takes 0.75 s at 12 bits, ours less at 9."""

_READ_S, _FIND_S = 0.04, 0.06
"""How long it takes to read a sensor, and to find one, on a slow I2C bus."""

_WRITES = 3

Outcome = Reading | LineFault

T = TypeVar("T")
R = TypeVar("R")


class Thermometers:
    """Sensors on the lines of a bridge. Methods raise a BusFault when it fails, or every line in use.

    `has_time` tells whether that many seconds are left for what only some of the sensors need.
    """

    def __init__(
        self,
        bridge: Bridge,
        roms: Iterable[Rom],
        resolution: int,
        has_time: Callable[[float], bool] = lambda _: True,
    ) -> None:
        self._bridge = bridge
        self._has_time = has_time
        self._clock = bridge.clock
        self._resolution = resolution
        self._lines = [Line(bridge, 0)]
        self._sensors = {rom: self._new(rom) for rom in roms}
        self.line_faults: dict[Rom, str] = {}
        """How the line of a sensor failed in the last sweep, where it is one of several."""

    def start(self) -> None:
        """Start the bridge, look where the sensors are, and set them up."""
        self._bridge.start()
        self._lines += [Line(self._bridge, channel) for channel in range(1, self._bridge.channels)]
        if len(self._lines) > 1:
            self.search()
        self._set_up(self._sensors)

    def search(self) -> set[Rom]:
        """Return the devices on all lines, and note which line our sensors are on."""
        present: set[Rom] = set()
        self._restart()
        for line in self._lines:
            try:
                found = line.search()
            except LineFault:
                continue
            present.update(found)
            for rom in self._sensors.keys() & found:
                self._sensors[rom].place = line
        return present

    def sweep(self, roms: Collection[Rom]) -> dict[Rom, Reading]:
        """Return a reading of each of these; those that have lost their power convert a second time.

        They do where there is time for it, and otherwise with all others in the next sweep.
        """
        self._restart()
        self._register([rom for rom in roms if rom not in self._sensors])
        outcomes = self._measured(roms)
        again = [rom for rom, out in outcomes.items() if out in AGAIN or isinstance(out, NotConverting)]
        again += self._moved(outcomes)
        if again:
            self._set_up(again)
            seconds = max(self._sensors[rom].conversion_s for rom in again) + _READ_S * len(again)
            if self._has_time(seconds):
                outcomes |= self._measured(again)
        line_faults = [outcome for outcome in outcomes.values() if isinstance(outcome, LineFault)]
        if line_faults and len(line_faults) == len(outcomes):
            raise line_faults[0]
        self.line_faults = {
            rom: str(out)
            for rom, out in outcomes.items()
            if isinstance(out, LineFault) and not isinstance(out, NoPresence) and len(self._lines) > 1
        }
        return {rom: out.fault if isinstance(out, LineFault) else out for rom, out in outcomes.items()}

    def traits(self, rom: Rom) -> tuple[int | None, bool | None]:
        """Return resolution and whether the line feeds it, of a sensor that was there to be asked."""
        sensor = self._sensors.get(rom)
        return (None, None) if sensor is None or sensor.parasite is None else (sensor.bits, sensor.parasite)

    def _restart(self) -> None:
        if not self._bridge.started:
            self._bridge.start()

    def _new(self, rom: Rom) -> Sensor[Line]:
        """Return what is known of a sensor that was not asked yet: it must have the marker."""
        return Sensor(rom, self._lines[0], self._resolution, marker=own_markers(rom)[0])

    def _register(self, roms: Collection[Rom]) -> None:
        """Add sensors that it was not made with."""
        if roms:
            self._sensors |= {rom: self._new(rom) for rom in roms}
            if len(self._lines) > 1:
                self.search()
            self._set_up(roms)

    def _measured(self, roms: Iterable[Rom]) -> dict[Rom, Outcome]:
        """Let these sensors convert, all that have a supply of their own together, and read them."""
        members: dict[Line, list[Rom]] = {}
        for rom in roms:
            members.setdefault(self._sensors[rom].place, []).append(rom)
        faults = self._convert(members)
        outcomes: dict[Rom, Outcome] = {}
        for line, group in members.items():
            ended = faults[line] if line in faults else _guarded(self._ended, line)
            if isinstance(ended, LineFault):
                outcomes |= dict.fromkeys(group, ended)
                continue
            read = self._read if ended else self._converted_alone
            outcomes |= {rom: _guarded(read, rom) for rom in group}
        return outcomes

    def _convert(self, members: dict[Line, list[Rom]]) -> dict[Line, LineFault]:
        """Let lines convert and wait for it; return the faults of those that cannot."""
        faults: dict[Line, LineFault] = {}
        end = 0.0
        for line in sorted(members, key=lambda line: line.parasite):
            seconds = max(self._sensors[rom].conversion_s for rom in members[line])
            try:
                line.convert()
                end = max(end, self._clock.monotonic() + seconds)
                if line.parasite:  # the strong pull-up ends with the next command, to whatever line
                    self._bridge.wait_undisturbed(seconds)
            except LineFault as fault:
                faults[line] = fault
        try:
            self._bridge.wait_undisturbed(max(0.0, end - self._clock.monotonic()))
        except Disturbed as fault:
            return dict.fromkeys(members, fault) | faults
        return faults

    def _ended(self, line: Line) -> bool:
        """Wait until the conversions on a line have ended, late ones too; tell whether they have."""
        for _ in range(_LATE_POLLS):
            if not line.converting():
                return True
            self._bridge.wait_undisturbed(_POLL_S)
        return False

    def _converted_alone(self, rom: Rom) -> Reading:
        """Return the reading of a sensor after a conversion of it alone that was seen to end."""
        line = self._sensors[rom].place
        line.convert(rom)
        self._bridge.wait_undisturbed(self._sensors[rom].conversion_s)
        return self._read(rom, alone=True) if self._ended(line) else Fault.UNCONVERTED

    def _read(self, rom: Rom, *, alone: bool = False) -> Reading:
        """Return what a sensor has; where that may be a power-on value, it converts once more, alone."""
        sensor = self._sensors[rom]
        scratchpad = self._scratchpad(sensor)
        reading = sensor.decode(scratchpad)
        seen = None if sensor.place.parasite else alone
        if isinstance(reading, Fault) or sensor.has_converted(scratchpad, seen=seen):
            return reading
        if alone or not self._has_time(sensor.conversion_s + _READ_S):
            return unproved(rom)
        return self._converted_alone(rom)

    def _scratchpad(self, sensor: Sensor[Line]) -> bytes:
        return sensor.scratchpad(lambda: sensor.place.scratchpad(sensor.rom))

    def _set_up(self, roms: Collection[Rom]) -> None:
        """Write marker and resolution where they are not, and look how the lines are fed."""
        for line in {self._sensors[rom].place: None for rom in roms}:
            _guarded(Line.look_for_parasites, line)
        for rom in roms:
            _guarded(self._set_up_one, rom)

    def _set_up_one(self, rom: Rom) -> None:
        """Set a sensor up, or note what it does not take, as clones may not."""
        sensor, markers = self._sensors[rom], own_markers(rom)
        scratchpad = self._scratchpad(sensor)
        if scratchpad[2:4] in markers:
            # A program may have copied it to the EEPROM, as OWFS does: it would be there after a power-on.
            sensor.place.recall(rom)
            scratchpad = self._scratchpad(sensor)
        elif not damage(rom, scratchpad):
            sensor.before = scratchpad[:2]
        marker = markers[scratchpad[2:4] == markers[0]]
        wanted = setup(rom, self._resolution, marker)
        for _ in range(_WRITES):
            if damage(rom, scratchpad) or scratchpad[2 : 2 + len(wanted)] == wanted:
                break
            sensor.place.write_scratchpad(rom, wanted)
            scratchpad = self._scratchpad(sensor)
        if not damage(rom, scratchpad):
            sensor.bits = found_bits(rom, scratchpad)
            sensor.marker = marker if scratchpad[2:4] == marker else None
            sensor.parasite = sensor.place.parasite and sensor.place.feeds(rom)

    def _moved(self, outcomes: dict[Rom, Outcome]) -> list[Rom]:
        """Return those of the missing sensors that have been found on another line."""
        missing = [
            rom for rom, out in outcomes.items() if out is Fault.NO_ANSWER or isinstance(out, NoPresence)
        ]
        if len(self._lines) == 1 or not missing or not self._has_time(_FIND_S * len(self._sensors)):
            return []
        before = {rom: self._sensors[rom].place for rom in missing}
        self.search()
        return [rom for rom in missing if self._sensors[rom].place is not before[rom]]


def _guarded(action: Callable[[T], R], argument: T) -> R | LineFault:
    try:
        return action(argument)
    except LineFault as fault:
        return fault
