"""A DS18S20 thermometer (family 10): half degrees, and sixteenths from what is left of its count."""

from __future__ import annotations

from listeners.simulated.ds18b20 import Ds18b20


class Ds18s20(Ds18b20):
    """One sensor after Maxim's datasheet 19-5474: conversions of 750 ms, and no configuration byte."""

    _power_on = bytes.fromhex("AA00 4B46 FFFF0C10")
    _kept = slice(2, 4)

    def _measure(self, celsius: float) -> None:
        # T = whole - 0.25 + (COUNT_PER_C - COUNT_REMAIN) / COUNT_PER_C, and COUNT_PER_C is 16.
        whole, sixteenths = divmod(round(celsius * 16) + 4, 16)
        half_degrees = 2 * whole + (sixteenths >= 8)
        self._scratchpad[0:2] = half_degrees.to_bytes(2, "little", signed=True)
        self._scratchpad[6] = 16 - sixteenths

    def _conversion_s(self) -> float:
        return self.seconds_at_12_bits
