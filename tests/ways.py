"""The four ways to the bus, each to a simulated chip with sensors that a test may do anything to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from gateway.clock import Clock
from gateway.frame import Frame
from gateway.settings import build
from listeners.onewire.bus import OneWire
from listeners.onewire.drivers import ds2482
from listeners.onewire.drivers.owfs import Owfs, Owserver
from listeners.onewire.drivers.w1 import W1
from listeners.onewire.ds18b20 import Reading
from listeners.onewire.rom import Rom
from listeners.ports import i2c
from listeners.simulated.clock import VirtualClock, VirtualFlag
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.simulators.owfs_peers import owfs_mount, owserver
from tests.simulators.w1_kernel import Kernel

I2C_HZ = 100_000.0

QUICK_S = 0.02
"""How long a sensor converts, and a wait for it takes, where the far end runs in real time."""


class QuickClock(VirtualClock):
    """A virtual clock by which quick sensors, in real time, have converted all the same."""

    def sleep(self, seconds: float) -> None:
        """Move the time on, and wait as long as quick sensors need."""
        super().sleep(seconds)
        Clock().sleep(min(seconds, 2 * QUICK_S))


class House:
    """A chip with sensors, and the listener that reads them by one way."""

    def __init__(self, listener: OneWire, chip: Ds2482, kernel: Kernel | None = None) -> None:
        self.chip = chip
        self.kernel = kernel
        self.sensors = list(chip.sensors)
        self.listener = listener
        self.listener.open()

    def frame(self) -> Frame:
        """Return the next frame."""
        (frame,) = self.listener.read(VirtualFlag(self.listener.clock))
        return frame

    def read(self) -> tuple[float | None, ...]:
        """Return the values of the next frame."""
        return self.frame().values


@contextmanager
def by_ds2482(
    sensors: Sequence[Ds18b20], entries: dict[str, str], tmp_path: Path, i2c_hz: float = I2C_HZ
) -> Iterator[House]:
    """Our own driver on the chip, in virtual time."""
    clock = VirtualClock()
    chip = Ds2482(clock, sensors, i2c_hz=i2c_hz)
    with patch.object(i2c, "LOCKS", tmp_path), patch.object(ds2482, "open_bus", lambda bus, address: chip):
        house = House(_listener(ds2482.Ds2482, clock, entries), chip)
        yield house
    house.listener.close()


@contextmanager
def by_owserver(sensors: Sequence[Ds18b20], entries: dict[str, str], tmp_path: Path) -> Iterator[House]:
    """Debian's owserver on the chip."""
    chip = _quick_bus(sensors)
    with owserver(chip, tmp_path) as port:
        yield House(_listener(Owserver, QuickClock(), {**entries, "server": f"127.0.0.1:{port}"}), chip)


@contextmanager
def by_owfs(sensors: Sequence[Ds18b20], entries: dict[str, str], tmp_path: Path) -> Iterator[House]:
    """The same, mounted."""
    chip = _quick_bus(sensors)
    with owserver(chip, tmp_path) as port, owfs_mount(port, tmp_path) as path:
        yield House(_listener(Owfs, QuickClock(), {**entries, "path": str(path)}), chip)


@contextmanager
def by_w1(sensors: Sequence[Ds18b20], entries: dict[str, str], tmp_path: Path) -> Iterator[House]:
    """The kernel on the chip, in virtual time."""
    clock = VirtualClock()
    chip = Ds2482(clock, sensors, i2c_hz=I2C_HZ)
    listener = _listener(W1, clock, {**entries, "path": str(tmp_path)})
    kernel = Kernel(chip, clock, tmp_path)
    vars(listener).update(_files=kernel)
    yield House(listener, chip, kernel)


WAYS = {"ds2482": by_ds2482, "owserver": by_owserver, "owfs": by_owfs, "w1": by_w1}


def quick(text: str, temperature: float | Callable[[float], float]) -> Ds18b20:
    """Return a sensor for a far end that runs in real time."""
    sensor = Ds18b20(text, temperature)
    sensor.seconds_at_12_bits = QUICK_S
    return sensor


def sweep(bus: OneWire, *ids: str) -> list[Reading]:
    """Return what the sensors of these ids say, in their order."""
    readings = bus.sweep([Rom.parse(text) for text in ids])
    return [readings[Rom.parse(text)] for text in ids]


def _quick_bus(sensors: Sequence[Ds18b20]) -> Ds2482:
    for sensor in sensors:
        sensor.seconds_at_12_bits = QUICK_S
    return Ds2482(Clock(), sensors)


def _listener(kind: type[OneWire], clock: Clock, entries: dict[str, str]) -> OneWire:
    listener = build(kind, {"node": "9", **entries})
    listener.name = "cellar"
    listener.clock = clock
    return listener
