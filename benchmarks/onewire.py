"""How fast thermometers are read: our driver against what the wires allow, and against Debian's owserver.

It prints a table, writes results/onewire.json and ends with status 1 where a target is missed. Every figure
is measured or computed in that run; constants are the targets, and the times of the wires.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyownet import protocol

from benchmarks.report import conclude, machine
from gateway.clock import Clock
from gateway.settings import build
from listeners.onewire.drivers.owfs import Owserver
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.simulators.i2c_server import i2c_server
from tests.simulators.owfs_peers import free_port, owserver_process
from tests.ways import by_ds2482

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN_VIRTUAL, WITHIN_REAL = 1.05, 1.15
"""How much longer than the limit a sweep may take in virtual time, and in real time."""

RESET_S, BYTE_S, CONVERSION_S = 1184e-6, 554e-6, 0.750
"""The DS2482's typical times at the standard speed, and the DS18B20's longest at 12 bits."""

SWEEPS = 5

CACHED_S = 3
"""How long owserver keeps a temperature; by its default it is 15 s."""

AT_ONCE, ONE_BY_ONE = "owserver, /simultaneous", "owserver, one sensor after the other"

PEERS = {"cc": "gcc libc6-dev", "owserver": "owserver"}
"""The programs that real time takes, and Debian's packages of them."""


@dataclass(frozen=True)
class Row:
    """One figure: what was measured, how, and against what."""

    what: str
    sensors: int
    i2c_hz: float
    seconds: float
    limit: float
    method: str
    peer: str

    def __str__(self) -> str:
        figures = f"{self.seconds * 1000:8.1f} ms {self.limit * 1000:7.1f} ms {self.ratio:6.3f}"
        return f"{self.sensors:4} {self.i2c_hz / 1000:4.0f} kHz {figures}  {self.what}: {self.method}"

    @property
    def ratio(self) -> float:
        """How much longer than the limit it took."""
        return self.seconds / self.limit


def limit(sensors: int, i2c_hz: float) -> float:
    """Return the seconds that the wires take for one conversion of all and nine bytes from each.

    An I2C transfer of n bytes has 9 n + 2 bits. A command of one byte (two with its parameter: W) is followed
    by its time on the 1-Wire line and one read of the status.
    """
    w, long_w = (9 * 2 + 2) / i2c_hz, (9 * 3 + 2) / i2c_hz
    reset = w + RESET_S + w
    write = long_w + BYTE_S + w
    read = w + BYTE_S + w + long_w + w
    return reset + 2 * write + CONVERSION_S + sensors * (reset + 10 * write + 9 * read)


def in_virtual_time(count: int, i2c_hz: float) -> Row:
    sensors, entries = _sensors(count)
    with (
        tempfile.TemporaryDirectory() as folder,
        by_ds2482(sensors, entries, Path(folder), i2c_hz) as house,
    ):
        roms, clock = house.listener.sensors.roms(), house.listener.clock
        house.listener.sweep(roms)
        began = clock.monotonic()
        readings = house.listener.sweep(roms)
        seconds = clock.monotonic() - began
    _check(list(readings.values()), sensors)
    method = "second sweep, virtual time"
    return Row("ds2482", count, i2c_hz, seconds, limit(count, i2c_hz), method, "simulated DS2482")


def driver_in_real_time(count: int, i2c_hz: float) -> Row:
    sensors, _ = _sensors(count)
    with i2c_server(Ds2482(Clock(), sensors, i2c_hz=i2c_hz)) as environment:
        command = [sys.executable, "-m", "benchmarks.sweeps", str(SWEEPS), *(each.id for each in sensors)]
        ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    said = json.loads(ran.stdout)
    _check(said["values"], sensors)
    seconds = statistics.median(said["seconds"])
    method = f"median of {SWEEPS} sweeps, real time, smbus2 through the preload library"
    return Row("ds2482", count, i2c_hz, seconds, limit(count, i2c_hz), method, "simulated DS2482")


def owserver_in_real_time(what: str, count: int, i2c_hz: float) -> Row:
    """Return what owserver itself does at its best: all told to convert at once, or each for itself."""
    sensors, _ = _sensors(count)
    quickest = float("inf")
    with _served(sensors, i2c_hz, f"--timeout_volatile={CACHED_S}") as port:
        proxy = protocol.proxy(port=port)
        for _ in range(SWEEPS):
            for sensor in sensors:
                sensor.temperature += 10.0
            began = time.perf_counter()
            if what == AT_ONCE:
                proxy.write("/simultaneous/temperature", b"1")
            below = "" if what == AT_ONCE else "/uncached"
            values = [float(proxy.read(f"{below}/{sensor.id}/temperature")) for sensor in sensors]
            quickest = min(quickest, time.perf_counter() - began)
            _check(values, sensors)
            if what == AT_ONCE:  # or it gives the old values out of its cache
                time.sleep(CACHED_S + 1)
    method = f"quickest of {SWEEPS} sweeps, real time, pyownet"
    return Row(what, count, i2c_hz, quickest, limit(count, i2c_hz), method, _owserver())


class CountingClock(Clock):
    """The real clock, which remembers the waits it was asked for."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        super().sleep(seconds)


def listener_by_owserver(count: int, i2c_hz: float) -> tuple[Row, list[float]]:
    """Return the row of our listener on owserver, and the waits of its last sweep."""
    sensors, entries = _sensors(count)
    seconds = []
    with _served(sensors, i2c_hz) as port:
        listener = build(Owserver, {"node": "9", "server": f"127.0.0.1:{port}", **entries})
        listener.clock = clock = CountingClock()
        listener.open()
        for _ in range(SWEEPS):
            clock.waits.clear()
            began = time.perf_counter()
            readings = listener.sweep(listener.sensors.roms())
            seconds.append(time.perf_counter() - began)
    _check(list(readings.values()), sensors)
    method = f"median of {SWEEPS} sweeps, real time, raw scratchpads by pyownet"
    middle = statistics.median(seconds)
    return Row(
        "listener owserver", count, i2c_hz, middle, limit(count, i2c_hz), method, _owserver()
    ), clock.waits


def _sensors(count: int) -> tuple[list[Ds18b20], dict[str, str]]:
    """Return sensors of 0.0625, 1.0625, ... degrees and the entries that name them."""
    sensors = [Ds18b20(f"28.{number:02X}F749050000", number + 0.0625) for number in range(count)]
    return sensors, {f"sensor{number}": sensor.id for number, sensor in enumerate(sensors, 1)}


def _check(values: list[object], sensors: list[Ds18b20]) -> None:
    if values != [sensor.temperature for sensor in sensors]:
        raise RuntimeError(f"wrong values: {values}")


@contextmanager
def _served(sensors: list[Ds18b20], i2c_hz: float, *options: str) -> Iterator[int]:
    """Run owserver on a chip with these sensors; yield its port."""
    port = free_port()
    with (
        i2c_server(Ds2482(Clock(), sensors, i2c_hz=i2c_hz)) as environment,
        tempfile.TemporaryDirectory() as folder,
        owserver_process(port, Path(folder), ["--i2c=/dev/i2c-99:0", *options], environment),
    ):
        yield port


def _owserver() -> str:
    said = subprocess.run(["owserver", "--version"], check=True, capture_output=True, text=True).stdout
    return f"owserver {said.split()[-1]} on a simulated DS2482"


def main() -> int:
    where = machine()
    print("Thermometers at 12 bits: one conversion for all, then nine bytes with their CRC from each.\n")
    print("sens.   I2C     measured      limit  ratio  what")
    rows = [in_virtual_time(count, i2c_hz) for i2c_hz in (400e3, 100e3) for count in (1, 5, 20, 100)]
    print(*rows, sep="\n")
    targets = {
        f"virtual time: {WITHIN_VIRTUAL} of the limit": max(row.ratio for row in rows) <= WITHIN_VIRTUAL
    }
    missing = [package for program, package in PEERS.items() if shutil.which(program) is None]
    if missing:
        print(f"\nIn real time nothing was measured: sudo apt install {' '.join(missing)}")
    else:
        ours = driver_in_real_time(5, 100e3)
        theirs = [owserver_in_real_time(what, 5, 100e3) for what in (AT_ONCE, ONE_BY_ONE)]
        twenty, waits = listener_by_owserver(20, 100e3)
        print("", ours, *theirs, twenty, sep="\n")
        print(f"     conversion waits in one sweep of {twenty.sensors}, in seconds: {waits}")
        rows += [ours, *theirs, twenty]
        targets |= {
            f"real time: {WITHIN_REAL} of the limit": ours.ratio <= WITHIN_REAL,
            "real time: faster than owserver at its best": ours.seconds < min(row.seconds for row in theirs),
            "owserver: one conversion wait per sweep": len(waits) == 1,
        }
    return conclude("onewire", where, targets, [asdict(row) | {"ratio": row.ratio} for row in rows])


if __name__ == "__main__":
    sys.exit(main())
