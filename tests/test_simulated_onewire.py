"""The simulated bridge and its sensors, told bit by bit what a driver would tell them."""

from __future__ import annotations

import errno
import logging
import math

import pytest

from gateway.clock import Clock
from listeners.simulated.clock import VirtualClock
from listeners.simulated.ds18b20 import Ds18b20, crc8
from listeners.simulated.ds2482 import BIT_S, BYTE_S, RESET_S, Ds2482
from listeners.simulated.scene import OUTSIDE, RETURN, SIMULATED_IDS, demo_bridge

ROM_ID = "28.33F749050000"
ADDRESS = 0x18
POWER_ON = bytes.fromhex("50054B467FFF0C101C")


class Master:
    """The least a driver can be: it sleeps for the typical time and polls once."""

    def __init__(self, bridge: Ds2482, clock: Clock) -> None:
        self.bridge = bridge
        self.clock = clock

    def status(self) -> int:
        return self.bridge.read_byte(ADDRESS)

    def configure(self, value: int) -> None:
        self.bridge.write_byte_data(ADDRESS, 0xD2, value | ~value << 4 & 0xF0)

    def reset(self) -> int:
        self.bridge.write_byte(ADDRESS, 0xB4)
        return self._done(RESET_S)

    def write(self, *data: int) -> None:
        for byte in data:
            self.bridge.write_byte_data(ADDRESS, 0xA5, byte)
            self._done(BYTE_S)

    def read(self, count: int) -> bytes:
        return bytes(self._read_byte() for _ in range(count))

    def bit(self, value: int = 1) -> int:
        self.bridge.write_byte_data(ADDRESS, 0x87, value << 7)
        return self._done(BIT_S) >> 5 & 1

    def data(self) -> int:
        self.bridge.write_byte_data(ADDRESS, 0xE1, 0xE1)
        return self.bridge.read_byte(ADDRESS)

    def match(self, sensor: Ds18b20) -> None:
        self.reset()
        self.write(0x55, *sensor.rom)

    def skip(self, *function: int) -> None:
        self.reset()
        self.write(0xCC, *function)

    def scratchpad(self, sensor: Ds18b20) -> bytes:
        self.match(sensor)
        self.write(0xBE)
        return self.read(9)

    def convert(self, seconds: float = 0.75) -> None:
        self.skip(0x44)
        self.clock.sleep(seconds)

    def _read_byte(self) -> int:
        self.bridge.write_byte(ADDRESS, 0x96)
        self._done(BYTE_S)
        return self.data()

    def _done(self, seconds: float) -> int:
        self.clock.sleep(seconds)
        status = self.status()
        assert not status & 0x01
        return status


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def sensor() -> Ds18b20:
    return Ds18b20(ROM_ID, 21.5)


@pytest.fixture
def bridge(clock, sensor) -> Ds2482:
    return Ds2482(clock, [sensor])


@pytest.fixture
def master(bridge, clock) -> Master:
    master = Master(bridge, clock)
    master.configure(0x01)
    return master


def celsius(scratchpad: bytes) -> float:
    assert crc8(scratchpad) == 0
    return int.from_bytes(scratchpad[:2], "little", signed=True) / 16


def not_acknowledged():
    return pytest.raises(OSError, match=f"Errno {errno.EREMOTEIO}")


# --- the bridge -------------------------------------------------------------------------------------------


def test_configuration_needs_its_complement_and_reads_back_alone(bridge, master):
    bridge.write_byte_data(ADDRESS, 0xD2, 0xE1)
    assert bridge.read_byte(ADDRESS) == 0x01
    bridge.write_byte_data(ADDRESS, 0xD2, 0x55)
    assert bridge.read_byte(ADDRESS) == 0x01


def test_rst_stays_up_until_a_right_configuration(bridge, master):
    bridge.reset_chip()
    bridge.write_byte_data(ADDRESS, 0xD2, 0x11)
    assert master.reset() & 0x10
    bridge.write_byte_data(ADDRESS, 0xD2, 0xE1)
    assert not master.reset() & 0x10


def test_while_busy_only_a_reset_and_the_read_pointer_are_acknowledged(bridge, master):
    bridge.write_byte(ADDRESS, 0xB4)
    assert master.status() & 0x01
    for command in (0xB4, 0x96):
        with not_acknowledged():
            bridge.write_byte(ADDRESS, command)
    for command in (0xD2, 0xA5, 0x87, 0x78):
        with not_acknowledged():
            bridge.write_byte_data(ADDRESS, command, 0xE1)
    bridge.write_byte_data(ADDRESS, 0xE1, 0xC3)
    assert bridge.read_byte(ADDRESS) == 0x01
    bridge.write_byte(ADDRESS, 0xF0)
    assert master.status() == 0x18


def test_the_outcome_shows_when_the_chip_is_no_longer_busy(bridge, master, clock):
    bridge.write_byte(ADDRESS, 0xB4)
    clock.sleep(RESET_S - 1e-6)
    assert master.status() & 0x03 == 0x01
    clock.sleep(2e-6)
    assert master.status() & 0x03 == 0x02


# --- the sensors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "seconds", "shown"),
    [(9, 0.09375, 21.5), (10, 0.1875, 21.75), (11, 0.375, 21.875), (12, 0.75, 21.9375)],
)
def test_resolution_sets_the_steps_and_the_time(master, clock, bits, seconds, shown):
    # given a resolution
    master.bridge.sensors[0].temperature = 21.9375
    master.skip(0x4E, 0x4B, 0x46, bits - 9 << 5 | 0x1F)
    # when it converts, then read slots are 0 for the time that this takes, and 1 after it
    master.skip(0x44)
    clock.sleep(seconds - 2 * BIT_S)
    assert master.bit() == 0
    clock.sleep(2 * BIT_S)
    assert master.bit() == 1
    assert celsius(master.scratchpad(master.bridge.sensors[0])) == shown


def test_read_before_it_is_done_a_scratchpad_is_the_old_one(master, sensor):
    master.convert(0.5)
    assert master.scratchpad(sensor) == POWER_ON


def test_what_is_copied_survives_a_brown_out_and_can_be_recalled(master, clock, sensor):
    master.skip(0x4E, 0x5A, 0xA5, 0x3F)
    master.skip(0x48)
    assert master.bit() == 0
    clock.sleep(0.010)
    assert master.bit() == 1
    sensor.brown_out()
    assert master.scratchpad(sensor)[2:5] == b"\x5a\xa5\x3f"
    master.skip(0x4E, 1, 2, 0x7F)
    master.skip(0xB8)
    assert master.bit() == 1
    assert master.scratchpad(sensor)[2:5] == b"\x5a\xa5\x3f"


# --- power from the line ----------------------------------------------------------------------------------


def feed(master: Master, function: int, seconds: float) -> None:
    """Give a function command to all with the strong pull-up after it."""
    master.skip()
    master.configure(0x05)
    master.write(function)
    master.clock.sleep(seconds)


def test_without_the_strong_pull_up_it_browns_out(master, sensor):
    sensor.parasite = True
    master.skip(0x4E, 1, 2, 0x7F)
    master.convert()
    assert master.scratchpad(sensor) == POWER_ON


@pytest.mark.parametrize("end", ["slot", "reset", "configuration", "chip"])
def test_a_strong_pull_up_that_ends_too_soon_is_a_brown_out(bridge, master, clock, sensor, end):
    sensor.parasite = True
    feed(master, 0x44, 0.5)
    if end == "slot":
        assert master.bit() == 1
    elif end == "reset":
        master.reset()
    elif end == "configuration":
        master.configure(0x01)
    else:
        bridge.reset_chip()
    clock.sleep(0.5)
    assert master.scratchpad(sensor) == POWER_ON


def test_a_strong_pull_up_after_a_bit_feeds_nobody_who_has_begun_before(master, sensor):
    sensor.parasite = True
    master.skip(0x44)
    master.configure(0x05)
    master.bit()
    master.clock.sleep(0.75)
    assert master.scratchpad(sensor) == POWER_ON


def test_selecting_another_channel_ends_the_strong_pull_up(clock, sensor):
    sensor.parasite = True
    bridge = Ds2482(clock, [sensor], channels=8)
    master = Master(bridge, clock)
    feed(master, 0x44, 0.1)
    bridge.write_byte_data(ADDRESS, 0xC3, 0xE1)
    clock.sleep(0.75)
    bridge.write_byte_data(ADDRESS, 0xC3, 0xF0)
    assert master.scratchpad(sensor) == POWER_ON


# --- the demo ---------------------------------------------------------------------------------------------


def test_the_demo_has_five_sensors_and_one_of_them_is_loose(clock, caplog):
    # given the demo's bus
    caplog.set_level(logging.WARNING)
    clock.sleep(1000.0)
    start = clock.monotonic()
    bridge = demo_bridge(clock, SIMULATED_IDS)
    master = Master(bridge, clock)
    seen = {}
    for second in range(0, 60, 2):
        # when it is read every other second
        clock.sleep(start + second - clock.monotonic())
        master.convert()
        seen[second] = {sensor.id: master.scratchpad(sensor) for sensor in bridge.sensors}
    # then the loose sensor is away from 10 to 18 in every 30, and nothing else happens
    gone = [second for second, read in seen.items() if read[RETURN] == b"\xff" * 9]
    assert gone == [10, 12, 14, 16, 40, 42, 44, 46]
    for read in seen.values():
        assert tuple(read) == SIMULATED_IDS
        there = {rom_id: celsius(pad) for rom_id, pad in read.items() if pad != b"\xff" * 9}
        assert len(there) >= 4
        assert there[OUTSIDE] < 0
        assert all(-6 < value < 60 and not math.isclose(value, 85) for value in there.values())
    # and the log says so, once an hour, however long it runs
    lines = ["28.AB16… is unplugged (simulated)", "28.AB16… is plugged in again (simulated)"]
    said = [record.getMessage() for record in caplog.records if record.name == "oemgateway.simulated"]
    assert said == lines
    for second in range(60, 4000, 7):
        clock.sleep(start + second - clock.monotonic())
        master.convert()
    said = [record.getMessage() for record in caplog.records if record.name == "oemgateway.simulated"]
    assert said == lines * 2


def test_of_a_sensor_that_nobody_reads_the_log_says_nothing(clock, caplog):
    caplog.set_level(logging.DEBUG)
    bridge = demo_bridge(clock, [OUTSIDE])
    master = Master(bridge, clock)
    for _ in range(20):
        clock.sleep(2.0)
        master.convert()
    assert not [record for record in caplog.records if record.name == "oemgateway.simulated"]
