"""A DS2409 coupler bit by bit: two branches, of which one may be connected to the line.

After Smart-On it resets the branch by itself and confirms with the command, as OWFS expects it (ow_select.c).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from listeners.simulated.ds18b20 import Ds18b20

MAIN, AUX, ALL_OFF = 0xCC, 0x33, 0x66

Slots = Generator[int | None, int, None]


class Coupler(Ds18b20):
    """The coupler with the devices on its branches; to the line it is one more device."""

    def __init__(self, rom_id: str, main: Iterable[Ds18b20] = (), aux: Iterable[Ds18b20] = ()) -> None:
        self.branches = {MAIN: list(main), AUX: list(aux)}
        self._on: list[Ds18b20] = []
        super().__init__(rom_id, 0.0)

    def brown_out(self) -> None:
        """Lose the power for a moment: neither branch is connected then."""
        self._on = []
        super().brown_out()

    def reset(self, now: float) -> bool:
        """Hear a reset pulse, as does the branch that is connected."""
        behind = [device.reset(now) for device in self._on]
        return super().reset(now) or any(behind)

    def level(self, now: float) -> int:
        """Return the level that it and its branch let the line have."""
        return min([super().level(now), *(device.level(now) for device in self._on)])

    def hear(self, bit: int, now: float) -> None:
        """Hear the level of the line, as does the branch that is connected."""
        connected = self._on
        super().hear(bit, now)
        for device in connected:
            device.hear(bit, now)

    def strong_pull_up(self, on: bool, now: float) -> None:
        """Pass the strong pull-up on."""
        for device in self._on:
            device.strong_pull_up(on, now)

    def _functions(self) -> dict[int, Callable[[], Slots]]:
        return {MAIN: lambda: self._smart_on(MAIN), AUX: lambda: self._smart_on(AUX), ALL_OFF: self._all_off}

    def _smart_on(self, command: int) -> Slots:
        self._on = []
        for byte in (0xFF, 0xFF, command):
            for place in range(8):
                yield byte >> place & 1
        self._on = self.branches[command]
        for device in self._on:
            device.reset(self._now)

    def _all_off(self) -> Slots:
        self._on = []
        yield 1
