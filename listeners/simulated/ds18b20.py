"""A DS18B20 thermometer bit by bit, after the flow charts of Maxim's datasheet (19-7487)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    # The sensor's side of some time slots: it yields the level it lets the line have (0 holds it low, None
    # is 0 for as long as the sensor is busy) and is sent the level that the line had.
    Slots = Generator[int | None, int, None]

COPY_S = 0.010
"""Seconds that a copy to the EEPROM takes."""

PULL_UP_WITHIN_S = 10e-6
"""Seconds after the last bit of a command in which a parasite-powered sensor needs the strong pull-up."""


def crc8(data: Iterable[int]) -> int:
    """Return the CRC-8 of the data, shifted through the register of the datasheet's figure bit by bit.

    It is the simulator's own, so that a fault in a driver's CRC shows.
    """
    register = 0
    for bit in _bits(data):
        feedback = (register ^ bit) & 1
        register = register >> 1 ^ 0x8C * feedback
    return register


class Ds18b20:
    """One sensor on the line, with its faults as attributes that may be set at any time.

    `rom_id` is family and serial number in OWFS's order (28.33F749050000). `temperature` is in °C, or a
    function from the seconds of the monotonic clock to °C; a conversion takes what it is at its start.
    """

    seconds_at_12_bits = 0.750
    """How long a conversion takes; each bit less halves it."""
    parasite = False
    """Fed by the line: without the strong pull-up a conversion or a copy ends in a brown-out."""
    keeps_byte6 = False
    """A clone whose byte 6 stays 0x0C, after a conversion as at power-on."""
    keeps_value = False
    """A clone that still has its last value after a brown-out, as Petrich's family D2."""
    writes_byte_6 = False
    """A clone of family B: no conversion changes its byte 6, a configuration that is written does."""
    leaves_low_bits = False
    """The bits below the resolution, which the datasheet calls undefined, are not zero."""
    ignores_resolution = False
    """A clone that takes TH and TL and converts at 12 bits all the same."""
    ignores_writes = False
    """A clone that does not take Write Scratchpad."""
    never_done = False
    """A conversion or copy that begins does not end."""
    all_zero = False
    """The scratchpad reads as nine zeros, which have a good CRC."""
    flip: Callable[[bytes], bytes] | None = None
    """What arrives of a scratchpad: nine bytes in, nine bytes out."""

    _power_on = bytes.fromhex("5005 4B467F FF0C10")
    _kept = slice(2, 5)  # what can be written, and copied to the EEPROM: TH, TL, configuration

    def __init__(self, rom_id: str, temperature: float | Callable[[float], float]) -> None:
        self.id = rom_id
        wire = bytes.fromhex(rom_id.replace(".", ""))
        self.rom = wire + bytes([crc8(wire)])
        self.temperature = temperature
        self._scratchpad = bytearray(self._power_on)
        self._eeprom = self._power_on[self._kept]
        self._present = True
        self._session: Slots | None
        self._level: int | None
        self._finish: Callable[[], None] | None
        self._now = self._began = self._until = -math.inf
        self._fed = False
        self.brown_out()

    @property
    def present(self) -> bool:
        """Whether it is plugged in; plugged in again, it starts as at power-on."""
        return self._present

    @present.setter
    def present(self, present: bool) -> None:
        if present != self._present:
            self._present = present
            self.brown_out()

    def brown_out(self) -> None:
        """Lose the power for a moment: scratchpad as at power-on, no conversion, line released."""
        value = self._scratchpad[:2] if self.keeps_value else self._power_on[:2]
        self._scratchpad = bytearray(value + self._power_on[2:])
        self._scratchpad[self._kept] = self._eeprom
        self._finish = None
        self._go_idle()

    def reset(self, now: float) -> bool:
        """Hear a reset pulse; return whether it answers with a presence pulse."""
        self._settle(now)
        if self._present:
            self._session = self._selected_and_told()
            self._level = next(self._session)
        return self._present

    def level(self, now: float) -> int:
        """Return the level it lets the line have in the slot that ends at `now`: 0 holds it low."""
        if self._level is None:
            self._settle(now)
            # Fed by the line, it cannot hold that line low and convert.
            return int(self._finish is None or self.parasite)
        return self._level

    def hear(self, bit: int, now: float) -> None:
        """Hear the level of the line in the slot that ends at `now`."""
        self._settle(now)
        if self._session is not None:
            self._now = now
            try:
                self._level = self._session.send(bit)
            except StopIteration:
                self._go_idle()

    def strong_pull_up(self, on: bool, now: float) -> None:
        """Note that the strong pull-up of the line goes on or off."""
        if on:
            self._fed = self._fed or now - self._began <= PULL_UP_WITHIN_S
        else:
            self._settle(now)
            if self._finish is not None and self.parasite:
                self.brown_out()

    def _go_idle(self) -> None:
        self._session = None
        self._level = 1

    def _selected_and_told(self) -> Slots:
        """Follow a ROM command and, once selected, a function command; return at any it does not know."""
        command = yield from _hear_byte()
        if command == 0x33:
            yield from _bits(self.rom)
        elif command == 0x55:
            for bit in _bits(self.rom):
                if (yield 1) != bit:
                    return
        elif command == 0xF0:
            for bit in _bits(self.rom):
                yield bit
                yield 1 - bit
                if (yield 1) != bit:
                    return
        elif command != 0xCC:
            return
        functions = self._functions()
        command = yield from _hear_byte()
        if command in functions:
            yield from functions[command]()

    def _functions(self) -> dict[int, Callable[[], Slots]]:
        """Return what it does for each function command that it knows."""
        return {
            0x44: self._convert,
            0xBE: self._read_scratchpad,
            0x4E: self._write_scratchpad,
            0x48: self._copy_scratchpad,
            0xB8: self._recall,
            0xB4: self._read_power,
        }

    def _convert(self) -> Slots:
        celsius = self.temperature(self._now) if callable(self.temperature) else self.temperature
        return self._busy(self._conversion_s(), lambda: self._measure(celsius))

    def _copy_scratchpad(self) -> Slots:
        return self._busy(COPY_S, self._store)

    def _busy(self, seconds: float, finish: Callable[[], None]) -> Slots:
        """Be busy for that long; answer read slots with 0 until it is over, and then with 1."""
        self._began = self._now
        self._until = math.inf if self.never_done else self._now + seconds
        self._finish = finish
        self._fed = not self.parasite
        while True:
            yield None

    def _settle(self, now: float) -> None:
        """Finish what was started and is over by `now`."""
        if self._finish is None:
            return
        if not self._fed:
            self.brown_out()
        elif now >= self._until:
            self._finish()
            self._finish = None

    def _read_scratchpad(self) -> Slots:
        sent = bytes(9) if self.all_zero else bytes([*self._scratchpad, crc8(self._scratchpad)])
        yield from _bits(self.flip(sent) if self.flip else sent)

    def _write_scratchpad(self) -> Slots:
        for index in range(8)[self._kept]:
            byte = yield from _hear_byte()
            if index == 4:
                byte = byte & 0x60 | 0x1F
            if not (self.ignores_writes or (index == 4 and self.ignores_resolution)):
                self._scratchpad[index] = byte
                if index == 4 and self.writes_byte_6:
                    self._scratchpad[6] = byte

    def _recall(self) -> Slots:
        self._scratchpad[self._kept] = self._eeprom
        yield 1

    def _read_power(self) -> Slots:
        while True:
            yield int(not self.parasite)

    def _store(self) -> None:
        self._eeprom = bytes(self._scratchpad[self._kept])

    def _measure(self, celsius: float) -> None:
        raw = round(celsius * 16)
        if not self.leaves_low_bits:
            raw &= -1 << (12 - self._resolution())
        self._scratchpad[0:2] = raw.to_bytes(2, "little", signed=True)
        if not (self.keeps_byte6 or self.writes_byte_6):
            self._scratchpad[6] = 0x10 - (raw & 0x0F)

    def _resolution(self) -> int:
        return 9 + (self._scratchpad[4] >> 5)

    def _conversion_s(self) -> float:
        return self.seconds_at_12_bits / (1 << (12 - self._resolution()))


def _bits(data: Iterable[int]) -> Generator[int, int, None]:
    """Give the bits of the bytes in the order of the wire: least significant first."""
    for byte in data:
        for place in range(8):
            yield byte >> place & 1


def _hear_byte() -> Generator[int, int, int]:
    byte = 0
    for place in range(8):
        byte |= (yield 1) << place
    return byte
