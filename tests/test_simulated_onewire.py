"""The simulated bridge and its sensors, told bit by bit what a driver would tell them."""

from __future__ import annotations

import errno
import logging
import math
import random

import pytest

from gateway.clock import Clock
from listeners.simulated.clock import VirtualClock
from listeners.simulated.ds18b20 import Ds18b20, crc8
from listeners.simulated.ds2482 import BIT_S, BYTE_S, RESET_S, TRIPLET_S, Ds2482
from listeners.simulated.scene import OUTSIDE, RETURN, SIMULATED_IDS, demo_bridge
from tests.simulators.ds18s20 import Ds18s20
from tests.simulators.noise import Noise

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

    def triplet(self, wanted: int) -> tuple[int, int, int]:
        self.bridge.write_byte_data(ADDRESS, 0x78, wanted << 7)
        status = self._done(TRIPLET_S)
        return status >> 5 & 1, status >> 6 & 1, status >> 7

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


def test_status_after_a_device_reset_is_18(bridge):
    bridge.write_byte(ADDRESS, 0xF0)
    assert bridge.read_byte(ADDRESS) == 0x18


def test_only_its_own_address_is_acknowledged(bridge):
    bridge.write_quick(ADDRESS)
    for transfer in (bridge.write_quick, bridge.read_byte):
        with not_acknowledged():
            transfer(0x19)


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


def test_unknown_commands_and_registers_are_not_acknowledged(bridge):
    with not_acknowledged():
        bridge.write_byte(ADDRESS, 0x00)
    with not_acknowledged():
        bridge.write_byte_data(ADDRESS, 0x00, 0x00)
    with not_acknowledged():
        bridge.write_byte_data(ADDRESS, 0xE1, 0x00)


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


def test_presence_and_a_short_are_told_by_a_line_reset_only(bridge, master, sensor):
    assert master.reset() & 0x0E == 0x0A
    bridge.shorted = True
    assert master.status() & 0x0E == 0x02
    assert master.reset() & 0x0E == 0x04
    bridge.shorted = False
    sensor.present = False
    assert master.reset() & 0x0E == 0x08


def test_a_shorted_line_reads_zero(bridge, master, sensor):
    bridge.shorted = True
    assert master.scratchpad(sensor) == bytes(9)
    assert master.triplet(1) == (0, 0, 1)


def test_a_written_byte_leaves_the_sampled_bits_in_the_data_register(master):
    # given a sensor that has been told to send its ROM id
    master.reset()
    master.write(0x33)
    assert master.data() == 0x33
    # when FF is written, then it has been read
    master.write(0xFF)
    assert master.data() == 0x28


def test_overdrive_is_too_fast_for_the_sensors(master):
    master.configure(0x09)
    assert not master.reset() & 0x02


def test_a_stuck_busy_bit_outlives_a_reset(bridge, master):
    bridge.stuck_busy = True
    bridge.write_byte(ADDRESS, 0xF0)
    assert master.status() == 0x19
    with not_acknowledged():
        bridge.write_byte_data(ADDRESS, 0xD2, 0xE1)
    bridge.stuck_busy = False
    assert master.status() == 0x18


def test_a_chip_that_is_gone_acknowledges_nothing(bridge):
    bridge.nack = True
    with not_acknowledged():
        bridge.read_byte(ADDRESS)
    bridge.nack = False
    bridge.read_byte(ADDRESS)
    bridge.close()


# --- the sensors ------------------------------------------------------------------------------------------


def test_at_power_on_the_scratchpad_says_85(master, sensor):
    assert master.scratchpad(sensor) == POWER_ON


@pytest.mark.parametrize(
    ("temperature", "raw"),
    [(125, 0x07D0), (85, 0x0550), (25.0625, 0x0191), (0.5, 0x0008), (0, 0), (-0.5, 0xFFF8), (-55, 0xFC90)],
)
def test_temperatures_as_in_the_datasheet(master, sensor, temperature, raw):
    sensor.temperature = temperature
    master.convert()
    assert int.from_bytes(master.scratchpad(sensor)[:2], "little") == raw


def test_byte_6_tells_a_true_85_from_power_on(master, sensor):
    sensor.temperature = 85.0
    assert master.scratchpad(sensor)[6] == 0x0C
    master.convert()
    assert master.scratchpad(sensor)[6] == 0x10


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


def test_what_is_written_survives_a_conversion_and_not_a_brown_out(master, sensor):
    master.skip(0x4E, 0x5A, 0xA5, 0x1F)
    assert master.scratchpad(sensor)[2:5] == b"\x5a\xa5\x1f"
    master.convert()
    assert master.scratchpad(sensor)[2:5] == b"\x5a\xa5\x1f"
    sensor.brown_out()
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


@pytest.mark.parametrize("told", [(0xCC, 0x66), (0xA5, 0x44), (0x55, *bytes(8), 0xBE)])
def test_told_something_else_a_sensor_waits_for_the_next_reset(master, sensor, told):
    master.reset()
    master.write(*told)
    assert master.read(2) == b"\xff\xff"
    assert master.scratchpad(sensor) == POWER_ON


def test_after_its_scratchpad_a_sensor_lets_the_line_go(master, sensor):
    master.scratchpad(sensor)
    assert master.read(1) == b"\xff"


def test_unplugged_it_is_silent_and_replugged_as_at_power_on(master, sensor):
    master.convert()
    sensor.present = False
    assert master.scratchpad(sensor) == b"\xff" * 9
    sensor.present = True
    assert master.scratchpad(sensor) == POWER_ON


def test_pulled_out_while_it_is_read_the_rest_is_ones(master, sensor):
    master.match(sensor)
    master.write(0xBE)
    assert master.read(2) == POWER_ON[:2]
    sensor.present = False
    assert master.read(7) == b"\xff" * 7


# --- power from the line ----------------------------------------------------------------------------------


def feed(master: Master, function: int, seconds: float) -> None:
    """Give a function command to all with the strong pull-up after it."""
    master.skip()
    master.configure(0x05)
    master.write(function)
    master.clock.sleep(seconds)


def test_fed_by_the_strong_pull_up_it_converts(bridge, master, sensor):
    sensor.parasite = True
    feed(master, 0x44, 0.75)
    assert celsius(master.scratchpad(sensor)) == 21.5
    # then the strong pull-up has ended of itself
    bridge.write_byte_data(ADDRESS, 0xE1, 0xC3)
    assert bridge.read_byte(ADDRESS) == 0x01


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


def test_a_parasite_that_is_polled_before_it_is_fed_says_nothing(master, sensor):
    sensor.parasite = True
    master.skip(0x44)
    assert master.bit() == 1


def test_a_copy_wants_the_strong_pull_up_too(master, sensor):
    sensor.parasite = True
    master.skip(0x4E, 1, 2, 0x7F)
    feed(master, 0x48, 0.010)
    master.reset()
    sensor.brown_out()
    assert master.scratchpad(sensor)[2:4] == b"\x01\x02"


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


# --- clones and faults ------------------------------------------------------------------------------------


def test_a_clone_may_keep_byte_6(master, sensor):
    sensor.keeps_byte6 = True
    master.convert()
    scratchpad = master.scratchpad(sensor)
    assert (celsius(scratchpad), scratchpad[6]) == (21.5, 0x0C)


def test_low_bits_may_be_left(master, sensor):
    sensor.temperature = 21.9375
    sensor.leaves_low_bits = True
    master.skip(0x4E, 0x4B, 0x46, 0x1F)
    master.convert(0.1)
    assert celsius(master.scratchpad(sensor)) == 21.9375


def test_a_clone_may_ignore_its_resolution(master, sensor):
    sensor.ignores_resolution = True
    master.skip(0x4E, 1, 2, 0x1F)
    assert master.scratchpad(sensor)[2:5] == b"\x01\x02\x7f"


def test_a_clone_may_ignore_what_is_written(master, sensor):
    sensor.ignores_writes = True
    master.skip(0x4E, 1, 2, 0x1F)
    assert master.scratchpad(sensor) == POWER_ON


def test_a_conversion_may_never_end(master, sensor):
    sensor.never_done = True
    master.convert(3600)
    assert master.scratchpad(sensor) == POWER_ON
    master.convert(3600)
    assert master.bit() == 0


def test_a_scratchpad_of_zeros_has_a_good_crc(master, sensor):
    sensor.all_zero = True
    assert master.scratchpad(sensor) == bytes(9)
    assert crc8(bytes(9)) == 0


def test_noise_is_always_caught_by_the_crc_and_the_same_every_time(master, sensor):
    def heard(seed: int) -> list[bytes]:
        sensor.flip = Noise(random.Random(seed), one_in=3)
        scratchpads = [master.scratchpad(sensor) for _ in range(60)]
        damaged = [scratchpad for scratchpad in scratchpads if scratchpad != POWER_ON]
        assert len(damaged) == sensor.flip.hits
        assert 10 < len(damaged) < 30
        assert all(crc8(scratchpad) for scratchpad in damaged)
        return scratchpads

    assert heard(1) == heard(1) != heard(2)


# --- relatives --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [0x22, 0x3B, 0x42])
def test_the_ds1822_ds1825_and_ds28ea00_are_read_alike(bridge, master, family):
    relative = Ds18b20(f"{family:02X}.0000000000AA", -3.25)
    bridge.sensors.append(relative)
    master.convert()
    assert celsius(master.scratchpad(relative)) == -3.25


@pytest.mark.parametrize("temperature", [85.0, 21.0625, 20.75, 0.5, 0.0, -0.25, -0.5, -10.125, -55.0])
def test_a_ds18s20_tells_sixteenths_by_its_count(bridge, master, temperature):
    relative = Ds18s20("10.0000000000AA", temperature)
    bridge.sensors.append(relative)
    assert master.scratchpad(relative)[:8] == bytes.fromhex("AA004B46FFFF0C10")
    master.convert()
    scratchpad = master.scratchpad(relative)
    assert crc8(scratchpad) == 0
    half_degrees = int.from_bytes(scratchpad[:2], "little", signed=True)
    assert abs(half_degrees / 2 - temperature) <= 0.25
    assert (half_degrees >> 1) - 0.25 + (scratchpad[7] - scratchpad[6]) / scratchpad[7] == temperature


def test_a_ds18s20_takes_two_bytes_and_750_ms(bridge, master):
    relative = Ds18s20("10.0000000000AA", 1.0)
    bridge.sensors[:] = [relative]
    master.skip(0x4E, 1, 2, 0x1F)
    master.skip(0xB8)
    assert master.scratchpad(relative)[2:5] == b"\x4b\x46\xff"
    master.skip(0x4E, 1, 2, 0x1F)
    assert master.scratchpad(relative)[2:5] == b"\x01\x02\xff"
    master.convert(0.7)
    assert master.bit() == 0


# --- the bus's own speed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("i2c_hz", [400_000, 100_000])
@pytest.mark.parametrize("count", [1, 5, 20])
def test_a_sweep_takes_what_the_closed_form_says(i2c_hz, count):
    """R + 2 B for the conversion of all, then R + 10 B + 9 D for each scratchpad of nine bytes."""
    clock = VirtualClock()
    sensors = [Ds18b20(f"28.{serial:012X}", serial) for serial in range(count)]
    master = Master(Ds2482(clock, sensors, i2c_hz=i2c_hz), clock)
    start = clock.monotonic()
    master.convert()
    assert [celsius(master.scratchpad(sensor)) for sensor in sensors] == list(range(count))
    two, three = 20 / i2c_hz, 29 / i2c_hz
    reset, write, read = two + RESET_S + two, three + BYTE_S + two, two + BYTE_S + two + three + two
    closed_form = reset + 2 * write + 0.75 + count * (reset + 10 * write + 9 * read)
    assert clock.monotonic() - start == pytest.approx(closed_form, abs=1e-6)


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
    # and the log says so, once each time
    assert [record.getMessage() for record in caplog.records if record.name == "oemgateway.simulated"] == [
        "28.AB16… is unplugged (simulated)",
        "28.AB16… is plugged in again (simulated)",
    ] * 2


def test_of_a_sensor_that_nobody_reads_the_log_says_nothing(clock, caplog):
    caplog.set_level(logging.DEBUG)
    bridge = demo_bridge(clock, [OUTSIDE])
    master = Master(bridge, clock)
    for _ in range(20):
        clock.sleep(2.0)
        master.convert()
    assert not [record for record in caplog.records if record.name == "oemgateway.simulated"]
