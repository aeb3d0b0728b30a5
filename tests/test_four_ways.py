"""One suite for all four ways to the bus: values, faults, unplugging and indices, on the same simulated chip.

By `ds2482` the chip is read directly, by `owserver` and `owfs` through Debian's own programs, by `w1` through
a tree of files that a simulated kernel fills.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

from listeners.onewire.ds18b20 import Fault
from listeners.onewire.rom import Rom, crc8
from listeners.simulated.ds18b20 import Ds18b20
from tests.simulators.ds18s20 import Ds18s20
from tests.simulators.noise import Noise
from tests.ways import WAYS, House

IDS = ["28.33F749050000", "28.DB564A050000", "28.AB1663050000", "28.4C92D4060000", "28.E01A77070000"]
INDICES = (1, 2, 4, 5, 6)
CELSIUS = (18.6875, -10.125, 85.0, -55.0, 125.0)
VALUES = (18.6875, -10.125, None, 85.0, -55.0, 125.0)
NOTHING = (None,) * 6


def without(*indices):
    return tuple(None if index in indices else value for index, value in enumerate(VALUES, 1))


@pytest.fixture(params=WAYS)
def way(request):
    """The name of a way to the bus; every test here runs by all four, unless it names some."""
    return request.param


@pytest.fixture
def house(way, tmp_path, at_end):
    """Return a function that makes a house of five sensors, once the test has made of them what it likes."""

    def make(prepare: Callable[[list[Ds18b20]], object] = lambda sensors: None, **entries: str) -> House:
        sensors = [Ds18b20(text, celsius) for text, celsius in zip(IDS, CELSIUS, strict=True)]
        prepare(sensors)
        slots = {f"sensor{index}": text for index, text in zip(INDICES, IDS, strict=True)}
        return at_end.enter_context(WAYS[way](sensors, {"sensor3": "Dummy", **slots, **entries}, tmp_path))

    return make


def given(house, *temperatures):
    for sensor, celsius in zip(house.sensors, temperatures, strict=True):
        sensor.temperature = celsius


def test_values(house):
    five = house()
    for celsius in ((125.0, 85.0, 25.0625, 10.125, 0.5), (0.0, -0.5, -10.125, -25.0625, -55.0)):
        given(five, *celsius)
        assert five.read() == (*celsius[:2], None, *celsius[2:])
    assert not five.listener.record.faults


def test_indices_never_move(house):
    # given sensors whose places on the line change, and a stranger among them
    five = house()
    five.chip.sensors.append(Ds18b20("28.0102030405FF", 60.0))
    for gone, index in zip(five.sensors, INDICES, strict=True):
        five.chip.sensors.insert(0, five.chip.sensors.pop())
        # when one is not there, then its place is empty and every other value where it was
        gone.present = False
        assert five.read() == without(index)
        gone.present = True
    assert five.read() == VALUES


# --- What a sweep costs -----------------------------------------------------------------------------------


def test_every_sensor_converts_once_in_a_sweep(house):
    five = house()
    five.read()
    conversions = []
    for sensor in five.sensors:
        sensor.temperature = lambda now, sensor=sensor: conversions.append(sensor.id) or 20.0
    five.read()
    assert sorted(conversions) == sorted(IDS)


@pytest.mark.parametrize("way", ["ds2482"])
def test_a_sweep_takes_the_transfers_that_the_chip_asks_for_and_no_more(house):
    # given that a command takes a status after it, and a byte read two more for the data register
    reset, write, read, bit = 2, 2, 4, 2
    undisturbed = 2  # the read pointer is set, and found where it was
    to_convert = reset + 2 * write + 2 * bit + undisturbed  # and a look at the beginning and at the end
    for_each = reset + 10 * write + 9 * read
    five = house()
    five.read()
    transfers = []
    transfer = five.chip._transfer
    five.chip._transfer = lambda address, length: transfers.append(length) or transfer(address, length)
    # when all are read, then that is all
    five.listener.sweep(five.listener.sensors.roms())
    assert len(transfers) == to_convert + 5 * for_each


# --- A fault of one sensor --------------------------------------------------------------------------------


class Seen(NamedTuple):
    """What each way makes of a fault; text where it cannot have or see it, and why."""

    ds2482: Fault | str
    owfs: Fault | str
    w1: Fault | str

    def by(self, way: str) -> Fault | str:
        """Return what a way makes of it: owserver is what is mounted."""
        return getattr(self, "owfs" if way == "owserver" else way)


def unplugged(sensor):
    sensor.present = False


def damaged(sensor):
    sensor.flip = lambda sent: bytes([sent[0] ^ 1]) + sent[1:]


def damaged_by_bursts(sensor):
    sensor.flip = Noise(random.Random(1), one_in=1)


def zeros(sensor):
    sensor.all_zero = True


def at_power_on(sensor):
    sensor.never_done = True
    sensor.brown_out()


def at_power_on_at_25(sensor):
    sensor._power_on = bytes.fromhex("9001 4B467F FF0C10")  # of some clones
    at_power_on(sensor)


def never_done(sensor):
    sensor.never_done = True
    sensor.temperature = 50.0


def too_hot(sensor):
    sensor.temperature = 126.0


def failed(sensor):
    sensor.temperature = 127.9375


CHECKED_THERE = (
    "OWFS and the kernel check the CRC themselves and tell what fails it from no answer by nothing"
)
NOT_TOLD = "the scratchpad of before is as good as new, and nothing there tells whether a conversion ended"
NO_MARKER = "OWFS copies TH and TL to the EEPROM, so there is no marker, and byte 6 knows only 85 °C"

SENSOR_FAULTS = [
    (unplugged, Seen(Fault.NO_ANSWER, Fault.NO_ANSWER, Fault.NO_ANSWER)),
    (damaged, Seen(Fault.CRC, Fault.NO_ANSWER, Fault.NO_ANSWER)),
    (damaged_by_bursts, Seen(Fault.CRC, Fault.NO_ANSWER, Fault.NO_ANSWER)),
    (zeros, Seen(Fault.ALL_ZERO, Fault.ALL_ZERO, Fault.ALL_ZERO)),
    (at_power_on, Seen(Fault.UNCONVERTED, Fault.POWER_ON, Fault.POWER_ON)),
    (at_power_on_at_25, Seen(Fault.UNCONVERTED, NO_MARKER, Fault.POWER_ON)),
    (never_done, Seen(Fault.UNCONVERTED, NOT_TOLD, NOT_TOLD)),
    (too_hot, Seen(Fault.RANGE, Fault.RANGE, Fault.RANGE)),
    (failed, Seen(Fault.FAILED, Fault.FAILED, Fault.FAILED)),
]


def ways_that_see(faults):
    return [
        pytest.param(way, spoil, seen.by(way), id=f"{spoil.__name__}-{way}")
        for spoil, seen in faults
        for way in WAYS
        if not isinstance(seen.by(way), str)
    ]


@pytest.mark.parametrize(("way", "spoil", "fault"), ways_that_see(SENSOR_FAULTS))
def test_a_faulty_sensor_is_none_the_others_are_right_and_it_is_said_once(house, said, spoil, fault):
    # given a sensor that is read
    five = house()
    sensor, rom = five.sensors[1], Rom.parse(IDS[1])
    assert five.read() == VALUES
    assert said() == []
    # when it fails for two sweeps
    spoil(sensor)
    assert [five.read(), five.read()] == [without(2)] * 2
    # then that is one line and counted
    (line,) = said()
    assert line.startswith(f"sensor2 {rom}: {fault}; ")
    assert five.listener.record.faults == {(rom, fault): 2}
    # and when it is as it was, it has its value again, and that is one line
    vars(sensor).update(temperature=-10.125, flip=None, all_zero=False, never_done=False)
    sensor.present = True
    assert five.read() == VALUES
    assert said() == [f"sensor2 {rom}: reads again, -10.125 °C"]


@pytest.mark.parametrize("longest", [1, 8], ids=["single bits", "bursts"])
def test_noise_never_makes_a_value(house, longest):
    # given a line that flips bits in one read of three
    five = house()
    for seed, sensor in enumerate(five.sensors):
        sensor.flip = Noise(random.Random(seed), one_in=3, longest=longest)
    # when the temperatures change from sweep to sweep
    came = 0
    for sweep in range(4):
        celsius = [20.0 * index + sweep / 16 for index in range(5)]
        given(five, *celsius)
        for value, expected in zip(five.read(), [*celsius[:2], None, *celsius[2:]], strict=True):
            # then what comes is right
            assert value in (expected, None)
            came += value is not None
    assert came > 10
    assert sum(sensor.flip.hits for sensor in five.sensors) > 5


def undetected(sent):
    """Flip bits that the CRC does not tell; the lowest one is that of the temperature."""
    bits = next(bits for bits in range(1, 1 << 9, 2) if not crc8(bits.to_bytes(9, "little")))
    return (int.from_bytes(sent, "little") ^ bits).to_bytes(len(sent), "little")


def test_damage_that_the_crc_lets_through_is_no_value_on_a_line_that_has_shown_damage(house):
    # given a sensor that was heard, came damaged for a sweep, and is heard again
    five = house()
    sensor = five.sensors[0]
    assert five.read() == VALUES
    damaged(sensor)
    assert five.read() == without(1)
    sensor.flip = None
    assert five.read() == VALUES
    # when one read is damaged in just those bits that the CRC does not tell
    damage = [undetected]
    sensor.flip = lambda sent: damage.pop()(sent) if damage else sent
    # then it is no value
    assert five.read() in (VALUES, without(1))
    assert not damage
    # and when all is well, it is read
    assert five.read() == VALUES


# --- A fault of the whole bus -----------------------------------------------------------------------------


def shorted(house):
    house.chip.shorted = True


def not_acknowledging(house):
    house.chip.nack = True


def stuck_busy(house):
    house.chip.stuck_busy = True


def all_unplugged(house):
    for sensor in house.sensors:
        sensor.present = False


BUS_FAULTS = [
    (shorted, Seen(Fault.BUS, Fault.BUS, Fault.NO_ANSWER)),
    (not_acknowledging, Seen(Fault.BUS, Fault.BUS, Fault.NO_ANSWER)),
    (stuck_busy, Seen(Fault.BUS, Fault.BUS, Fault.NO_ANSWER)),
    (all_unplugged, Seen(Fault.BUS, Fault.NO_ANSWER, Fault.NO_ANSWER)),
]


@pytest.mark.parametrize(("way", "spoil", "fault"), ways_that_see(BUS_FAULTS))
def test_a_faulty_bus_is_a_sweep_of_nones_and_said_once(house, said, spoil, fault):
    # given a bus that is read
    five = house()
    roms = [Rom.parse(text) for text in IDS]
    assert five.read() == VALUES
    # when it fails for two sweeps
    spoil(five)
    assert [five.read(), five.read()] == [NOTHING] * 2
    # then that is one line, also where the way says nothing about the bus
    began = said()
    assert five.listener.record.faults == {(rom, fault): 2 for rom in roms}
    # and when it is as it was, all are there again, and that is as many
    vars(five.chip).update(shorted=False, nack=False, stuck_busy=False)
    for sensor in five.sensors:
        sensor.present = True
    assert five.read() == VALUES
    ended = said()
    if fault is Fault.BUS:
        assert len(began) == 1
        assert began[0].endswith("; its sensors have no value until it answers")
        assert ended == ["the bus answers again"]
    else:
        assert began == [f"all 5 sensors: {fault}; check the bus: its cable, supply and pull-up"]
        assert ended == ["all 5 sensors read again"]


# --- What takes no value away -----------------------------------------------------------------------------


def chip_reset(house):
    house.chip.reset_chip()


def power_lost_for_a_moment(house):
    for sensor in house.sensors:
        sensor.brown_out()


@pytest.mark.parametrize("event", [chip_reset, power_lost_for_a_moment])
def test_what_passes_between_two_sweeps_goes_unnoticed(house, said, event):
    five = house()
    assert five.read() == VALUES
    event(five)
    assert five.read() == VALUES
    assert said() == []


# By owfs, which is owserver mounted, at the lowest and the highest resolution only.
@pytest.mark.parametrize(
    ("way", "resolution"),
    [(way, bits) for way in WAYS for bits in ((9, 12) if way == "owfs" else (9, 10, 11, 12))],
)
def test_a_brown_out_costs_a_healthy_sensor_one_reading_at_most(house, resolution):
    # given sensors at temperatures with every fraction, and those that are power-on values too
    five = house(resolution=str(resolution))
    raws = [0x0550, 0x0190, *(0x0140 + 0x11 * fraction for fraction in range(16)), 0, -0x0C]
    for group in [raws[at : at + 5] for at in range(0, len(raws), 5)]:
        given(five, *(raw / 16 for raw in group))
        five.read()
        # when all lose their power between two sweeps
        power_lost_for_a_moment(five)
        five.read()
        # then at the second one after it they have their values, though these have not changed
        values = five.read()
        assert values[2] is None
        for raw, value in zip(group, values[:2] + values[3:], strict=True):
            # by OWFS at the resolution that it has in the EEPROM, at first
            assert value in ((raw & -1 << 12 - resolution) / 16, raw / 16)


def test_a_ds18s20_has_its_value_again_after_a_brown_out_and_when_plugged_in_again(way, tmp_path):
    # given one of the family that has no resolution to set
    sensor = Ds18s20("10.72B2221A5800", 23.3125)
    with WAYS[way]([sensor], {"sensor1": sensor.id, "resolution": "10"}, tmp_path) as house:
        assert house.read() == (23.3125,)
        for event in (sensor.brown_out, lambda: vars(sensor).update(_present=False)):
            # when its power goes for a moment, or for a sweep
            event()
            house.read()
            sensor.present = True
            # then its value is there at the second sweep
            house.read()
            assert house.read() == (23.3125,)


def brown_out_again_and_again(house):
    sensor = house.sensors[1]
    began = sensor._convert
    sensor._convert = lambda: (sensor.brown_out(), began())[1]


def noise_now_and_then(house):
    flips = Noise(random.Random(1), one_in=3)
    house.sensors[1].flip = flips


TROUBLES = {
    "one brown-out": lambda house: house.sensors[1].brown_out(),
    "at power-on for good": lambda house: at_power_on_at_25(house.sensors[1]),
    "broken supply": brown_out_again_and_again,
    "unplugged": lambda house: unplugged(house.sensors[1]),
    "damaged": lambda house: damaged(house.sensors[1]),
    "noise": noise_now_and_then,
}


# By ds2482 one that is at power-on for good never ends its conversion: the whole line is seen to be busy.
@pytest.mark.parametrize("interval", [1, 2, 3])
@pytest.mark.parametrize(
    ("way", "trouble"),
    [("w1", trouble) for trouble in TROUBLES]
    + [("ds2482", trouble) for trouble in TROUBLES if trouble != "at power-on for good"],
)
def test_what_happens_to_one_sensor_costs_the_others_no_reading(house, trouble, interval):
    # given sensors that are read as often as they can be
    five = house(interval=str(interval))
    five.read()
    before = five.frame().stamp.wall
    # when one is in trouble
    TROUBLES[trouble](five)
    frames = [five.frame() for _ in range(12)]
    # then the others have a reading in each interval
    assert [frame.stamp.wall for frame in frames] == [before + (n + 1) * interval for n in range(12)]
    for frame in frames:
        assert without(2)[:1] + without(2)[2:] == frame.values[:1] + frame.values[2:]


def test_a_sensor_fed_by_the_line_is_read_with_the_others(house, said):
    def fed_by_the_line(sensors):
        sensors[1].parasite = True

    five = house(fed_by_the_line)
    assert [five.read(), five.read()] == [VALUES] * 2
    assert said() == []


@pytest.mark.parametrize(
    ("way", "at_85"),
    [
        pytest.param("ds2482", 85.0, id="ds2482: the marker in TH and TL tells it from a power-on"),
        pytest.param("owserver", None, id="owserver: a marker would be copied to the EEPROM"),
        pytest.param("owfs", None, id="owfs: a marker would be copied to the EEPROM"),
        pytest.param("w1", None, id="w1: nothing tells until it has had another temperature"),
    ],
)
def test_a_clone_that_keeps_byte_6_is_read_but_for_a_true_85_where_that_byte_decides(house, at_85):
    def clones(sensors):
        for sensor in sensors:
            sensor.keeps_byte6 = True

    five = house(clones)
    assert five.read() == (*VALUES[:3], at_85, *VALUES[4:])
    five.sensors[2].temperature = 84.9375
    assert five.read()[3] == 84.9375


@pytest.mark.parametrize(
    ("way", "at_85"),
    [
        pytest.param("ds2482", 85.0, id="ds2482: its line shows that it converts"),
        pytest.param("owserver", None, id="owserver: nothing tells it from a power-on"),
        pytest.param("owfs", None, id="owfs: nothing tells it from a power-on"),
        pytest.param("w1", 85.0, id="w1: the marker has stood for two conversions"),
    ],
)
def test_a_ds18s20_at_a_true_85_is_not_said_to_lack_its_supply(house, said, at_85):
    def old_one(sensors):
        sensors[2] = Ds18s20("10.AB1663050000", 85.0)

    five = house(old_one, sensor4="10.AB1663050000")
    five.read()
    assert five.read() == (*VALUES[:3], at_85, *VALUES[4:])
    assert not any("lost its supply" in line for line in said())


@pytest.mark.parametrize("way", ["ds2482"])
def test_a_ds18s20_that_never_ends_a_conversion_has_no_value_where_its_line_shows_that(house):
    def broken(sensors):
        sensors[2] = Ds18s20("10.AB1663050000", 50.0)
        sensors[2].never_done = True

    five = house(broken, sensor4="10.AB1663050000")
    assert [five.read()[3] for _ in range(4)] == [None] * 4
