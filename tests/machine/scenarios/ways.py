"""The same five sensors by the four ways to the bus, under the whole sandbox of the shipped unit.

What is asked of each is what tests/test_four_ways.py asks, as far as it can be seen at the server: values, a
fault of each kind, a fault of the whole bus. Last comes what only a real kernel can show.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable

from listeners.onewire.ds18b20 import MARKER
from listeners.simulated.ds18b20 import Ds18b20
from tests.machine.arrivals import frames
from tests.machine.cellar import ALL, DELETE_DEVICE, INTERVAL, NEW_DEVICE, WAYS, Cellar, Values, without
from tests.machine.hardware import CELSIUS, Hardware
from tests.machine.lab import Lab
from tests.machine.service import UNIT, log
from tests.simulators.emoncms import FakeEmoncms
from tests.simulators.noise import Noise

MORE = ((125.0, 85.0, 25.0625, 10.125, 0.5), (0.0, -0.5, -10.125, -25.0625, -55.0))

CLONE = bytes.fromhex("9001 4B467F FF0C10")
"""The scratchpad at power-on of clones that show 25 degrees then."""

LATE_S = 15


def run(lab: Lab) -> None:
    """All four ways, and then the kernel's."""
    hardware = Hardware()
    with FakeEmoncms() as server, lab.boot(hardware=hardware) as guest:
        cellar = Cellar(guest, server, hardware)
        for way in WAYS:
            cellar.prepare(way)
            began = time.monotonic()
            cellar.read_by(way)
            cellar.becomes(ALL, f"five values by {way}", 180)
            lab.report.row(f"{way}: start to five values", f"{time.monotonic() - began:.1f} s")
            # What owserver makes of a fault is seen by way of owfs, which asks it.
            for step in (
                (_values, _bus) if way == "owserver" else (_values, _faults, _brown_out, _noise, _bus)
            ):
                _try(lab, way, step, cellar)
                _heal(cellar)
            wrong = cellar.is_healthy()
            lab.report.row(f"{way}: tracebacks and restarts", "0", ok=not wrong, details=wrong)
        for last in (_sixteenths, _late_sensors_and_udev, _claimed):
            _try(lab, "kernel", last, cellar)
            _heal(cellar)


def _try(lab: Lab, way: str, step: Callable[[Lab, str, Cellar], None], cellar: Cellar) -> None:
    """Run one step; that it fails keeps no other from being tried."""
    try:
        step(lab, way, cellar)
    except Exception as error:
        details = f"{error}\n{list(frames(cellar.server, '9').items())[-5:]}\n{log(cellar.guest)[-1500:]}"
        lab.report.row(f"{way}:{step.__name__.replace('_', ' ')}", "", ok=False, details=details)


def _heal(cellar: Cellar) -> None:
    vars(cellar.chip).update(shorted=False, nack=False, stuck_busy=False)
    for sensor, celsius in zip(cellar.sensors, CELSIUS, strict=True):
        vars(sensor).update(temperature=celsius, flip=None, all_zero=False, never_done=False)
        sensor.present = True
    cellar.chip.sensors = list(cellar.sensors)


def _values(lab: Lab, way: str, cellar: Cellar) -> None:
    for celsius in MORE:
        for sensor, each in zip(cellar.sensors, celsius, strict=True):
            sensor.temperature = each
        cellar.becomes({str(index): each for index, each in enumerate(celsius, 1)}, f"{celsius}")
    _heal(cellar)
    cellar.becomes(ALL, "the values of before")
    # A stranger, and all sensors in another order.
    cellar.chip.sensors = [Ds18b20("28.0102030405FF", 60.0), *reversed(cellar.sensors)]
    wrong = [values for values in cellar.sweeps(2, "a stranger on the bus") if values != ALL]
    lab.report.row(f"{way}: ten temperatures and a stranger", "15 values", ok=not wrong, details=f"{wrong}")


def _faults(lab: Lab, way: str, cellar: Cellar) -> None:
    """One sensor after the other has a fault of its own, until one is left: the others stay in place."""
    spoilt: dict[int, Callable[[Ds18b20], None]] = {
        1: lambda sensor: setattr(sensor, "present", False),
        2: lambda sensor: setattr(sensor, "flip", lambda sent: bytes([sent[0] ^ 1]) + sent[1:]),
        4: lambda sensor: setattr(sensor, "all_zero", True),
        5: _at_power_on,
    }
    since, gone = time.time(), []
    for index, spoil in spoilt.items():
        spoil(cellar.sensors[index - 1])
        gone.append(index)
        cellar.becomes(without(*gone), f"no value of {gone}")
    wrong = [each for each in frames(cellar.server, "9", since).values() if not each.items() <= ALL.items()]
    lab.report.row(
        f"{way}: unplugged, damaged, zeros, never converted: wrong values", str(len(wrong)), ok=not wrong
    )
    _heal(cellar)
    nth = cellar.becomes(ALL, "all values again")
    lab.report.row(f"{way}: plugged in again, all values at sweep", str(nth), ok=nth <= 4)


def _at_power_on(sensor: Ds18b20) -> None:
    sensor.never_done = True
    sensor.brown_out()


def _brown_out(lab: Lab, way: str, cellar: Cellar) -> None:
    cellar.becomes(ALL, "all values")
    for sensor in cellar.sensors:
        sensor.brown_out()
    nth = cellar.becomes(ALL, "all values after a brown-out")
    lab.report.row(f"{way}: brown-out of all, all values at sweep", str(nth), ok=nth <= 2)


def _noise(lab: Lab, way: str, cellar: Cellar) -> None:
    """Every third read of a scratchpad has another temperature in it, and the CRC of the right one."""
    noises = [Noise(random.Random(seed), one_in=3) for seed in range(len(cellar.sensors))]
    for sensor, noise in zip(cellar.sensors, noises, strict=True):
        sensor.flip = _in_temperature(noise)
    since = time.time() + 1.2

    def came() -> list[Values]:
        return list(frames(cellar.server, "9", since).values())

    def hits() -> int:
        return sum(noise.hits for noise in noises)

    cellar.guest.wait(lambda: hits() > 8 and sum(map(len, came())) > 8, "values in between damage")
    wrong = [values for values in came() if not values.items() <= ALL.items()]
    lab.report.row(
        f"{way}: {hits()} damaged reads, {sum(map(len, came()))} values, of them wrong",
        str(len(wrong)),
        ok=not wrong,
        details=f"{wrong}",
    )


def _in_temperature(noise: Noise) -> Callable[[bytes], bytes]:
    return lambda sent: noise(sent[:2]) + sent[2:]


def _bus(lab: Lab, way: str, cellar: Cellar) -> None:
    """One fault of the bus after the other."""
    cellar.becomes(ALL, "all values")
    before = ""
    for fault in ("shorted", "nack", "stuck_busy"):
        setattr(cellar.chip, fault, True)
        if before:
            setattr(cellar.chip, before, False)
        cellar.falls_silent(fault)
        before = fault
    _heal(cellar)
    began = time.monotonic()
    cellar.becomes(ALL, "all values again", 120)
    took = time.monotonic() - began
    lab.report.row(f"{way}: shorted, not there, stuck: no value; back after", f"{took:.1f} s")


# --- What only a kernel can show --------------------------------------------------------------------------


def _sixteenths(lab: Lab, way: str, cellar: Cellar) -> None:
    """Sixteen sensors, one at each sixteenth of a degree, lose their power; a seventeenth does not."""
    sensors = [Ds18b20(f"28.{number:02X}0000000000", 21 + number / 16) for number in range(1, 18)]
    sensors[-1].temperature = 30.0
    cellar.prepare("none")
    cellar.chip.sensors = list(sensors)
    cellar.by_kernel(len(sensors))
    slots = "".join(f"    sensor{index} = {sensor.id}\n" for index, sensor in enumerate(sensors, 1))
    cellar.read_by("w1", slots, interval=10)
    wanted = {str(index): float(str(sensor.temperature)) for index, sensor in enumerate(sensors, 1)}
    cellar.becomes(wanted, "seventeen values", 180)
    for sensor in sensors[:-1]:
        sensor.brown_out()
    first, second = cellar.sweeps(2, "after a brown-out")
    silent = wanted.keys() - second.keys()
    wrong = [values for values in (first, second) if not values.items() <= wanted.items()]
    lab.report.row(
        "w1: a sensor at each 1/16 browned out, silent at the second sweep",
        str(len(silent)),
        ok=not silent and not wrong and "17" in first,
        details=f"silent: {sorted(silent)}\n{first}\n{second}",
    )


def _late_sensors_and_udev(lab: Lab, way: str, cellar: Cellar) -> None:
    """The gateway runs, then the kernel finds sensors, and then udev lets the gateway set them up."""
    cellar.prepare("none")
    cellar.guest.run("modprobe w1_therm")
    cellar.read_by("w1")
    cellar.guest.run("udevadm control --stop-exec-queue")
    for sensor in cellar.sensors:
        sensor.brown_out()  # no marker is left of before
    began = time.monotonic()
    cellar.by_kernel()
    time.sleep(LATE_S)
    cellar.guest.run("udevadm control --start-exec-queue")
    cellar.becomes(ALL, "five values", 120)
    took = time.monotonic() - began - LATE_S
    lab.report.row("w1: sensors after the gateway, udev 15 s late: five values", f"{took:.1f} s later")
    cellar.sweeps(2, "two more")
    high, low = struct.unpack("bb", MARKER)
    found = cellar.guest.run("cat /sys/bus/w1/devices/28-*/alarms").splitlines()
    marked = found.count(f"{low} {high}")
    lab.report.row("w1: of five sensors marked", str(marked), ok=marked == 5, details=f"{found}")
    # A clone that loses its power and does not convert shows 25 degrees, which are no reading.
    clone = cellar.sensors[1]
    vars(clone).update(_power_on=CLONE, never_done=True)
    clone.brown_out()
    came = cellar.sweeps(3, "after the power-on of a clone")
    wrong = [values for values in came if values != without(2)]
    vars(clone).pop("_power_on")
    lab.report.row(
        "w1: sweeps with a clone's power-on value in them", str(len(wrong)), ok=not wrong, details=f"{wrong}"
    )


def _claimed(lab: Lab, way: str, cellar: Cellar) -> None:
    """The kernel's driver takes the chip that the gateway drives."""
    cellar.prepare("ds2482")
    cellar.read_by("ds2482")
    cellar.becomes(ALL, "five values")
    cellar.guest.run(NEW_DEVICE)
    began, since = time.monotonic(), time.time() + 1.2

    def said() -> str:
        return cellar.guest.run(
            f"journalctl -b -q -o cat -u {UNIT} --since=-2min | grep 'kernel.s driver'; true"
        )

    cellar.guest.wait(said, "that the kernel's driver holds the chip is said", 60)
    took = time.monotonic() - began
    wrong = [each for each in frames(cellar.server, "9", since).values() if not each.items() <= ALL.items()]
    ok = took <= 3 * INTERVAL + 2 and not wrong
    lab.report.row("ds2482: claimed by the kernel, said after", f"{took:.1f} s", ok=ok, details=f"{wrong}")
    cellar.guest.run(DELETE_DEVICE)
    began = time.monotonic()
    cellar.becomes(ALL, "five values again", 60)
    lab.report.row("ds2482: let go by the kernel, five values after", f"{time.monotonic() - began:.1f} s")
