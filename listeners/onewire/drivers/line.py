"""A 1-Wire line behind a bridge: the search for devices, and the commands of thermometers.

Source: the data sheet of the DS18B20; the search is that of Maxim's application note 187.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from listeners.onewire.drivers.bridge import NotConverting
from listeners.onewire.rom import Rom

if TYPE_CHECKING:
    from listeners.onewire.drivers.bridge import Bridge

_SEARCH_ROM, _MATCH_ROM, _SKIP_ROM = 0xF0, 0x55, 0xCC
_CONVERT, _READ_SCRATCHPAD, _WRITE_SCRATCHPAD, _READ_POWER_SUPPLY = 0x44, 0xBE, 0x4E, 0xB4
_RECALL = 0xB8

_TRIES = 3
"""How often a branch of the search is tried before it is given up."""


class Line:
    """One channel of a bridge. Its methods raise a BusFault when the bridge or the line fails.

    `parasite`: a sensor on it takes its power from the line, by the last `look_for_parasites`.
    """

    def __init__(self, bridge: Bridge, channel: int) -> None:
        self.parasite = False
        self._bridge = bridge
        self._channel = channel

    def look_for_parasites(self) -> None:
        """Ask all sensors for their power supply."""
        self.parasite = self.feeds()

    def feeds(self, rom: Rom | None = None) -> bool:
        """Tell whether a sensor, or any at all, takes its power from the line."""
        self._address(rom)
        self._bridge.write(bytes([_READ_POWER_SUPPLY]))
        return not self._bridge.read_bit()

    def convert(self, rom: Rom | None = None) -> None:
        """Start a conversion of all sensors, or of one; the line feeds them where that is needed.

        Raises NotConverting if those with a supply of their own do not start.
        """
        self._address(rom)
        if self.parasite:
            self._bridge.write_feeding(_CONVERT)
            return
        self._bridge.write(bytes([_CONVERT]))
        if not self.converting():
            raise NotConverting("no sensor starts a conversion; check the line for noise")

    def converting(self) -> bool:
        """Tell, after `convert`, whether a sensor with a supply of its own is still converting."""
        self._bridge.select(self._channel)
        return not self._bridge.read_bit()

    def scratchpad(self, rom: Rom) -> bytes:
        """Return nine bytes, all of them FF where no sensor answers."""
        self._address(rom)
        self._bridge.write(bytes([_READ_SCRATCHPAD]))
        return self._bridge.read(9)

    def write_scratchpad(self, rom: Rom, data: bytes) -> None:
        """Write TH, TL and the configuration, to the scratchpad only."""
        self._address(rom)
        self._bridge.write(bytes([_WRITE_SCRATCHPAD]) + data)

    def recall(self, rom: Rom) -> None:
        """Have a sensor take TH, TL and the configuration from its EEPROM, as when it gets its power."""
        self._address(rom)
        self._bridge.write(bytes([_RECALL]))

    def search(self) -> list[Rom]:
        """Return all devices whose id can be read to its end."""
        found: list[Rom] = []
        path, fork = 0, -1
        while (branch := self._branch(path, fork)) is not None:
            path, fork = branch
            rom = Rom(path.to_bytes(8, "little"))
            if rom in found:  # noise has led it to the same id again
                break
            found.append(rom)
            if fork < 0:
                break
        return found

    def _branch(self, path: int, fork: int) -> tuple[int, int] | None:
        """Return the next id and the last fork where 0 was taken (-1: none); None if it cannot be read."""
        for _ in range(_TRIES):
            followed = self._follow(path, fork)
            if followed and _is_id(followed[0]):
                return followed
        return None

    def _follow(self, path: int, fork: int) -> tuple[int, int] | None:
        """Go along `path` up to the fork, take 1 there, and 0 at every fork after it."""
        self._reset()
        self._bridge.write(bytes([_SEARCH_ROM]))
        taken, last_zero = 0, -1
        for place in range(64):
            wanted = path >> place & 1 if place < fork else int(place == fork)
            one, other, direction = self._bridge.triplet(wanted)
            if one and other:
                return None  # no device is left
            if not (one or other or direction):
                last_zero = place
            taken |= direction << place
        return taken, last_zero

    def _address(self, rom: Rom | None) -> None:
        self._reset()
        self._bridge.write(bytes([_MATCH_ROM]) + rom.wire if rom else bytes([_SKIP_ROM]))

    def _reset(self) -> None:
        self._bridge.select(self._channel)
        self._bridge.reset()


def _is_id(path: int) -> bool:
    try:
        Rom(path.to_bytes(8, "little"))
    except ValueError:
        return False
    return True
