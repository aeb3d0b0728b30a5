"""The five sensors in the guest, by each of the four ways, and what comes of them at the server."""

from __future__ import annotations

import time
from pathlib import Path

from tests.machine.arrivals import frames
from tests.machine.guest import Guest
from tests.machine.hardware import CELSIUS, IDS, Hardware
from tests.machine.service import SENSORS, UNIT, configuration, log, start
from tests.simulators.emoncms import FakeEmoncms

WAYS = {
    "ds2482": "    bus = 1\n",
    "owserver": "    server = localhost:4304\n",
    "owfs": "    path = /mnt/1wire\n",
    "w1": "",
}
"""The settings of each beside those that all have."""

INTERVAL = 3
"""Seconds between two sweeps; a slow host misses some."""

ETC = Path(__file__).parents[2] / "etc"

NEW_DEVICE = "echo ds2482 0x18 >/sys/bus/i2c/devices/i2c-1/new_device"
DELETE_DEVICE = "echo 0x18 >/sys/bus/i2c/devices/i2c-1/delete_device"

Values = dict[str, float]

ALL: Values = {str(index): celsius for index, celsius in enumerate(CELSIUS, 1)}


def without(*indices: int) -> Values:
    """Return the values of all sensors but these."""
    return {key: value for key, value in ALL.items() if int(key) not in indices}


class Cellar:
    """The sensors, the guest that reads them, and the server that is sent what it reads, as node 9."""

    def __init__(self, guest: Guest, server: FakeEmoncms, hardware: Hardware) -> None:
        self.guest = guest
        self.server = server
        self.sensors = hardware.sensors
        self.chip = hardware.chip

    def read_by(self, way: str, sensors: str = SENSORS, interval: int = INTERVAL) -> None:
        """Start the gateway with one listener, by this way; what drives the chip is for `prepare`."""
        section = (
            f"[[cellar]]\n    type = {way}\n{WAYS[way]}    node = 9\n    interval = {interval}\n{sensors}"
        )
        start(self.guest, configuration(self.server, section, every=0))

    def prepare(self, way: str) -> None:
        """Let the kernel, owserver or the gateway itself drive the chip, and no other."""
        run = self.guest.run
        run(f"systemctl stop {UNIT} owfs owserver; {DELETE_DEVICE} 2>/dev/null; true", seconds=180)
        if way in ("owserver", "owfs"):
            self.guest.write("/etc/owfs.conf", (ETC / "owfs.conf").read_text())
            unit = (ETC / "systemd/system/owfs.service").read_text()
            self.guest.write("/etc/systemd/system/owfs.service", unit)
            run(f"systemctl daemon-reload; systemctl restart {'owserver' if way == 'owserver' else 'owfs'}")
        elif way == "w1":
            self.by_kernel()

    def by_kernel(self, count: int = len(IDS)) -> None:
        """Let the kernel drive the chip, and wait until it has found so many sensors."""
        self.guest.run(f"modprobe w1_therm; {NEW_DEVICE}")
        self.guest.wait(lambda: self.kernel_has() >= count, f"{count} sensors in sysfs", 120)

    def kernel_has(self) -> int:
        """Return how many sensors the kernel shows."""
        return int(self.guest.run("ls -d /sys/bus/w1/devices/28-* 2>/dev/null | wc -l"))

    def sweeps(self, count: int, what: str) -> list[Values]:
        """Return the values of the next so many sweeps that begin after now."""
        since = time.time() + 1.2  # the guest's clock is not the host's, and has whole seconds
        self.guest.wait(lambda: len(frames(self.server, "9", since)) >= count, f"{count} sweeps: {what}", 120)
        return list(frames(self.server, "9", since).values())[:count]

    def becomes(self, wanted: Values, what: str, seconds: float = 90) -> int:
        """Wait until a sweep that begins after now has these values; return which one it was, from 1."""
        since = time.time() + 1.2
        self.guest.wait(lambda: wanted in frames(self.server, "9", since).values(), what, seconds)
        return list(frames(self.server, "9", since).values()).index(wanted) + 1

    def falls_silent(self, what: str, seconds: float = 90) -> None:
        """Wait until nothing has come for some sweeps: one that has no value sends nothing."""
        last, at = len(self.server.stored), time.monotonic()
        deadline = at + seconds
        while time.monotonic() < at + 2.5 * INTERVAL:
            if len(self.server.stored) != last:
                last, at = len(self.server.stored), time.monotonic()
            if at > deadline:
                raise AssertionError(f"values come all the time: {what}")
            time.sleep(0.1)

    def is_healthy(self) -> str:
        """Return what is wrong: tracebacks, and restarts by systemd."""
        wrong = [line for line in log(self.guest).splitlines() if "Traceback" in line]
        restarts = self.guest.run(f"systemctl show -P NRestarts {UNIT}").strip()
        return "\n".join([*wrong, *([f"{restarts} restarts"] if restarts != "0" else [])])
