"""Random sequences of faults: a value is the temperature that the sensor at its index had in that very sweep.

By the kernel and by OWFS, which do not tell whether a conversion was heard or ended, it may be one of before.
SEQUENCES says how many are tried, by those two ways a sixth and a thirtieth of it; `make fuzz` tries ten
thousand others.
"""

from __future__ import annotations

import logging
import math
import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.settings import build
from listeners.onewire.bus import OneWire
from listeners.onewire.drivers import ds2482, w1
from listeners.onewire.drivers.ds2482 import Ds2482
from listeners.onewire.drivers.owfs import Owserver
from listeners.onewire.drivers.w1 import W1
from listeners.ports import i2c
from listeners.simulated.clock import VirtualFlag
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482 as Chip
from tests.simulators.eventful_clock import EventfulClock
from tests.simulators.noise import Noise
from tests.simulators.owfs_peers import owserver
from tests.simulators.w1_kernel import Kernel
from tests.ways import QUICK_S

USUAL = 150
SEQUENCES = int(os.environ.get("SEQUENCES", "0"))

pytestmark = pytest.mark.timeout(max(300, SEQUENCES))

logging.getLogger("oemgateway.fuzz").disabled = True

INTERVAL = 10.0
SWEEPS = 2
PLACES = {1: ("28.33F749050000", -52.125), 3: ("28.DB564A050000", -2.875), 4: ("28.AB1663050000", 82.125)}
"""By index each sensor's id, and the lowest temperature that it has."""

STEP = 1.4375
"""By so much its temperatures differ: at 9 bits, too, no old one is like a new one.

The second sensor comes by 0 °C and the third one by 85 °C, temperatures that look like faults.
"""


class Sensor(Ds18b20):
    """A sensor of some kind (its attributes) whose every temperature is another one."""

    def __init__(self, rom_id: str, lowest: float, kind: dict[str, object]) -> None:
        super().__init__(rom_id, self._had_at)
        self._history = [(0.0, lowest)]
        self._kind = {"parasite": False, **kind}
        self.mend()
        self.brown_out()

    def mend(self) -> None:
        """End every fault, and be of its kind again."""
        vars(self).update(flip=None, all_zero=False, never_done=False, **self._kind)
        self.present = True

    def change(self, now: float) -> None:
        """Take another temperature."""
        self._history.append((now, self.latest() + STEP))

    def had_since(self, start: float) -> list[float]:
        """Return the temperatures that it has had since then."""
        since = max(when for when, _ in self._history if when <= start)
        return [celsius for when, celsius in self._history if when >= since]

    def latest(self) -> float:
        """Return the last of its temperatures."""
        return self._history[-1][1]

    def _had_at(self, now: float) -> float:
        return next(celsius for when, celsius in reversed(self._history) if when <= now)


class House:
    """Up to three sensors, one of each kind, and their listener; on a -800 each has a channel of its own."""

    tells_conversions = True
    """Whether a conversion that was not heard, or did not end, is told from one that was and did."""

    def __init__(
        self, bits: int, kinds: list[dict[str, object]], channels: tuple[int, ...] | None = None
    ) -> None:
        self.clock, chips_clock = self.clocks()
        self.sensors: dict[int, Sensor] = {}
        self.chip = Chip(chips_clock, channels=8 if channels else 1, i2c_hz=400e3)
        for index, kind, channel in zip(PLACES, kinds, channels or (0, 0, 0), strict=False):
            self.sensors[index] = Sensor(*PLACES[index], kind)
            self.chip.channels[channel].append(self.sensors[index])
        slots = {f"sensor{index}": sensor.id for index, sensor in self.sensors.items()}
        self._listener = self.listener(
            {"node": "9", "interval": str(INTERVAL), "resolution": str(bits), **slots}
        )
        self._listener.name = "fuzz"
        self._listener.clock = self.clock
        self._bits = {bits, 12}
        self._open = False
        self.shorted_at = -math.inf
        self._began = self.clock.monotonic() + INTERVAL - self.clock.wall() % INTERVAL

    def clocks(self) -> tuple[EventfulClock, Clock]:
        """Return the clock of listener and mishaps, and the chip's."""
        clock = EventfulClock()
        return clock, clock

    def listener(self, entries: dict[str, str]) -> OneWire:
        """Return the listener by the way of this house."""
        return build(Ds2482, entries)

    def expect(self, when: float, lasts: float, mishap: Mishap, which: int, number: int) -> None:
        """Have a mishap happen so many seconds after the first sweep begins, and end."""

        def begin() -> None:
            end = mishap(self, list(self.sensors.values())[which % len(self.sensors)], number)
            if end is not None:
                self.clock.after(lasts, end)

        self.clock.after(self._began + when - self.clock.monotonic(), begin)

    def mend(self) -> None:
        """End every fault."""
        self.clock.forget()
        vars(self.chip).update(shorted=False, nack=False, stuck_busy=False)
        for sensor in self.sensors.values():
            sensor.mend()

    def read(self) -> dict[int, float | None]:
        """Return the next value of each sensor; fail for one that it did not have during that sweep."""
        self.clock.sleep(INTERVAL / 2)
        start = self.clock.monotonic()
        for sensor in self.sensors.values():
            sensor.change(start)
        values = dict(enumerate(self._read(), 1))
        for index, sensor in self.sensors.items():
            since = start if self.tells_conversions else 0.0
            if self.shorted_at >= start and any(each.parasite for each in self.sensors.values()):
                since = max(
                    0.0, since - INTERVAL
                )  # nothing shows that the command was lost (docs/listeners/ds2482.rst)
            allowed = {quantised(celsius, bits) for celsius in sensor.had_since(since) for bits in self._bits}
            assert values[index] in allowed | {None}, f"{values[index]} at index {index}, where {allowed} was"
        assert all(value is None for index, value in values.items() if index not in self.sensors)
        return {index: values[index] for index in self.sensors}

    def _read(self) -> tuple[float | None, ...]:
        """Return the values of a frame, none where the core would close the listener and open it again."""
        try:
            with patch.object(i2c, "Lock"), patch.object(ds2482, "open_bus", lambda *_: self.chip):
                if not self._open:
                    self._listener.open()
                self._open = True
                (frame,) = self._listener.read(VirtualFlag(self.clock))
        except OSError:
            self._listener.close()
            self._open = False
            return (None,) * max(self.sensors)
        return frame.values


class KernelHouse(House):
    """The same by way of the kernel, which finds its sensors at the start: in `root`."""

    tells_conversions = False

    def __init__(self, bits: int, kinds: list[dict[str, object]], root: str) -> None:
        self._root = root
        super().__init__(bits, kinds)

    def listener(self, entries: dict[str, str]) -> OneWire:
        """Return the listener, for the kernel's tree."""
        listener = build(W1, entries)
        root = Path(self._root)
        vars(listener).update(path=root, _files=Kernel(self.chip, self.clock, root))
        return listener


class QuickEventfulClock(EventfulClock):
    """An eventful clock by which quick sensors, in real time, have converted all the same."""

    def sleep(self, seconds: float) -> None:
        """Move the time on, and wait as long as quick sensors need."""
        super().sleep(seconds)
        Clock().sleep(min(seconds, 2 * QUICK_S))


class OwserverHouse(House):
    """The same by way of Debian's owserver, in real time as are the sensors; mishaps come while we wait."""

    tells_conversions = False

    def __init__(self, bits: int, kinds: list[dict[str, object]], stack: ExitStack, root: str) -> None:
        self._stack, self._root = stack, root
        super().__init__(bits, [{**kind, "seconds_at_12_bits": QUICK_S} for kind in kinds])

    def clocks(self) -> tuple[EventfulClock, Clock]:
        """Return a clock that moves by itself while it is waited for, and the real one."""
        return QuickEventfulClock(), Clock()

    def listener(self, entries: dict[str, str]) -> OneWire:
        """Start owserver and return its listener."""
        for sensor in self.sensors.values():
            sensor.temperature = lambda now, sensor=sensor: sensor.latest()
        port = self._stack.enter_context(owserver(self.chip, Path(self._root)))
        return build(Owserver, {**entries, "server": f"127.0.0.1:{port}"})


def quantised(celsius: float, bits: int) -> float:
    return (round(celsius * 16) & -1 << 12 - bits) / 16


# A mishap changes a house or one of its sensors, and returns what ends it, if anything does.

Mishap = Callable[[House, Sensor, int], Callable[[], object] | None]


def of_sensor(**fault: object) -> Mishap:
    """Return the mishap that an attribute of a sensor is."""

    def begin(house: House, sensor: Sensor, number: int) -> Callable[[], object]:
        before = {name: getattr(sensor, name) for name in fault}
        vars(sensor).update(fault)
        return lambda: vars(sensor).update(before)

    return begin


def of_chip(**fault: object) -> Mishap:
    """Return the mishap that an attribute of the chip is."""

    def begin(house: House, sensor: Sensor, number: int) -> Callable[[], object]:
        if "shorted" in fault:
            house.shorted_at = house.clock.monotonic()
        vars(house.chip).update(fault)
        return lambda: vars(house.chip).update(dict.fromkeys(fault, False))

    return begin


def unplug(house, sensor, number):
    sensor.present = False
    return lambda: setattr(sensor, "present", True)


def noise(house, sensor, number):
    return of_sensor(flip=Noise(random.Random(number), one_in=number % 4 + 1, longest=number % 8 + 1))(
        house, sensor, number
    )


def lose_supply_wire(house, sensor, number):
    sensor.brown_out()
    return of_sensor(parasite=True)(house, sensor, number)


def move(house, sensor, number):
    for channel in house.chip.channels:
        if sensor in channel:
            channel.remove(sensor)
    sensor.brown_out()
    house.chip.channels[number % len(house.chip.channels)].append(sensor)


MISHAPS: dict[str, Mishap] = {
    "brown-out": lambda house, sensor, number: sensor.brown_out(),
    "chip reset": lambda house, sensor, number: house.chip.reset_chip(),
    "move": move,
    "never done": of_sensor(never_done=True),
    "noise": noise,
    "not acknowledged": of_chip(nack=True),
    "short": of_chip(shorted=True),
    "stuck busy": of_chip(stuck_busy=True),
    "supply wire off": lose_supply_wire,
    "unplugged": unplug,
    "warmer": lambda house, sensor, number: sensor.change(house.clock.monotonic()),
    "zeros": of_sensor(all_zero=True),
}

KINDS = [
    {},
    {},
    {"keeps_byte6": True},
    {"ignores_resolution": True},
    {"ignores_writes": True},
    {"leaves_low_bits": True, "seconds_at_12_bits": 0.6},
    {"seconds_at_12_bits": 0.011},
    {"parasite": True},
    {"parasite": True, "keeps_byte6": True},
]

AT_25 = {"_power_on": bytes.fromhex("9001 4B467F FF0C10")}
"""Some clones' power-on. Where nothing tells that a conversion was heard, their first value is not sure."""

# In microseconds. Most commands of a sweep are in its first hundredth of a second or after the conversion.
STARTS = st.integers(0, 10_000) | st.integers(0, 1_000_000) | st.integers(0, 2_000_000)
LENGTHS = st.integers(100, 5_000) | st.integers(5_000, 2_000_000) | st.just(20_000_000)


def mishaps_of(names: list[str]) -> st.SearchStrategy[list[tuple[int, int, int, str, int, int]]]:
    """Return some of these mishaps: sweep, when in it, for how long, what, to which sensor, and a number."""
    return st.lists(
        st.tuples(
            st.integers(0, SWEEPS - 1),
            STARTS,
            LENGTHS,
            st.sampled_from(names),
            st.integers(0, 2),
            st.integers(0, 999),
        ),
        min_size=1,
        max_size=8,
    )


BITS = st.sampled_from([9, 10, 11, 12])


def tried(sequences: int) -> settings:
    """Return the settings for so many sequences, always the same, or others, in proportion to SEQUENCES."""
    return settings(
        max_examples=sequences * (SEQUENCES or USUAL) // USUAL,
        derandomize=not SEQUENCES,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )


def live_through(house, mishaps):
    # given sensors, and mishaps at their times
    for sweep, start, length, what, which, number in mishaps:
        house.expect(sweep * INTERVAL + start * 1e-6, length * 1e-6, MISHAPS[what], which, number)
    # when they are read, then what comes is right
    for _ in range(SWEEPS):
        house.read()
    # and when all is mended, at the second sweep all are there
    house.mend()
    house.read()
    assert None not in house.read().values()


@given(
    bits=BITS,
    kinds=st.lists(st.sampled_from([*KINDS, AT_25]), min_size=1, max_size=3),
    channels=st.none() | st.none() | st.tuples(*[st.integers(0, 7)] * 3),
    mishaps=mishaps_of(sorted(MISHAPS)),
)
@tried(USUAL)
def test_whatever_happens_a_value_is_right_and_at_its_index(bits, kinds, channels, mishaps):
    live_through(House(bits, kinds, channels), mishaps)


@given(
    bits=BITS,
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    mishaps=mishaps_of(sorted(MISHAPS.keys() - {"move"})),
)
@tried(USUAL // 6)
def test_by_the_kernel_a_value_is_one_that_the_sensor_had_and_at_its_index(bits, kinds, mishaps):
    # its readers are one: threads would have the mishaps come at another time each time
    with TemporaryDirectory() as root, patch.object(w1, "AT_ONCE", 1):
        live_through(KernelHouse(bits, kinds, root), mishaps)


@given(
    bits=BITS,
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    mishaps=mishaps_of(sorted(MISHAPS.keys() - {"move"})),
)
@tried(USUAL // 30)
def test_by_owserver_a_value_is_one_that_the_sensor_had_and_at_its_index(bits, kinds, mishaps):
    with TemporaryDirectory() as root, ExitStack() as stack:
        live_through(OwserverHouse(bits, kinds, stack, root), mishaps)
