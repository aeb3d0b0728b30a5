"""The DS2482 listener on the bit-level simulator in virtual time: values, indices, faults and speed."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.settings import SettingsFault, build
from listeners.onewire.bus import BusFault
from listeners.onewire.drivers import ds2482
from listeners.onewire.drivers.bridge import ACTIVE_PULL_UP, Bridge
from listeners.onewire.drivers.line import Line
from listeners.onewire.drivers.thermometers import Thermometers
from listeners.onewire.ds18b20 import Fault, own_markers
from listeners.onewire.rom import Rom, crc8
from listeners.ports import i2c
from listeners.simulated.clock import VirtualClock, VirtualFlag
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482 as Chip
from tests.gateway_process import GatewayProcess, run, state
from tests.ports import free_port
from tests.simulators.ds18s20 import Ds18s20
from tests.simulators.eventful_clock import EventfulClock
from tests.simulators.i2c_server import i2c_server
from tests.waiting import wait_until

IDS = ["28.33F749050000", "28.DB564A050000", "28.AB1663050000", "28.4C92D4060000", "28.E01A77070000"]
CELSIUS = [18.6875, -10.125, 85.0, 0.0, 25.0625]


class House:
    """Five sensors at indices 1, 2, 4, 5 and 6 of a listener, behind a simulated chip."""

    def __init__(
        self, monkeypatch, tmp_path, *, channels=1, i2c_hz=400_000.0, ids=IDS, kind=Ds18b20, **entries
    ):
        self.clock = EventfulClock()
        self.sensors = [kind(text, celsius) for text, celsius in zip(ids, CELSIUS, strict=True)]
        self.chip = Chip(self.clock, self.sensors, channels=channels, i2c_hz=i2c_hz)
        monkeypatch.setattr(i2c, "LOCKS", tmp_path)
        monkeypatch.setattr(ds2482, "open_bus", lambda bus, address: self.chip)
        slots = dict(zip(("sensor1", "sensor2", "sensor4", "sensor5", "sensor6"), ids, strict=True))
        self.listener = build(ds2482.Ds2482, {"node": "9", "sensor3": "Dummy", **slots, **entries})
        self.listener.name = "cellar"
        self.listener.clock = self.clock

    def read(self):
        (frame,) = self.listener.read(VirtualFlag(self.clock))
        return frame.values

    def sweep(self):
        """Return the readings of the five in their order, and the seconds they took."""
        roms = self.listener.sensors.roms()
        start = self.clock.monotonic()
        readings = self.listener.sweep(roms)
        return [readings[rom] for rom in roms], self.clock.monotonic() - start


def bridge_to(chip, clock, address=0x18):
    """Return our side of a simulated chip."""
    device = i2c.Device("simulated", address, lambda bus, address: chip, locked=False)
    device.open()
    return Bridge(device, clock)


@pytest.fixture
def house(monkeypatch, tmp_path, at_end):
    """A house, open, with what the test asks for."""

    def make(prepare=None, **arguments):
        made = House(monkeypatch, tmp_path, **arguments)
        if prepare:
            prepare(made)
        made.listener.open()
        at_end.callback(made.listener.close)
        return made

    return make


VALUES = (18.6875, -10.125, None, 85.0, 0.0, 25.0625)


def without(*indices):
    return tuple(None if index in indices else value for index, value in enumerate(VALUES, 1))


@pytest.mark.parametrize(
    ("bits", "values"),
    [
        (9, (18.5, -10.5, None, 85.0, 0.0, 25.0)),
        (10, (18.5, -10.25, None, 85.0, 0.0, 25.0)),
        (11, (18.625, -10.125, None, 85.0, 0.0, 25.0)),
        (12, VALUES),
    ],
)
def test_the_resolution_is_written_to_the_sensors(house, bits, values):
    assert (
        house(lambda h: setattr(h.sensors[0], "leaves_low_bits", True), resolution=str(bits)).read() == values
    )


@pytest.mark.parametrize(
    ("hz", "bits", "count", "milliseconds"),
    [
        (400e3, 12, 1, 768),
        (400e3, 12, 5, 828),
        (400e3, 12, 20, 1054),
        (400e3, 12, 50, 1505),
        (400e3, 11, 5, 453),
        (400e3, 10, 5, 265),
        (400e3, 9, 5, 172),
        (100e3, 12, 1, 780),
        (100e3, 12, 5, 880),
        (100e3, 12, 20, 1254),
        (100e3, 9, 5, 224),
    ],
)
def test_any_number_of_sensors_is_read_at_the_speed_of_the_bus(hz, bits, count, milliseconds):
    clock = VirtualClock()
    roms = [Rom.of(0x28, number.to_bytes(6, "big")) for number in range(count)]
    sensors = [Ds18b20(str(rom), number / 2) for number, rom in enumerate(roms)]
    thermometers = Thermometers(bridge_to(Chip(clock, sensors, i2c_hz=hz), clock), roms, bits)
    thermometers.start()
    start = clock.monotonic()
    assert list(thermometers.sweep(roms).values()) == [number / 2 for number in range(count)]
    assert (clock.monotonic() - start) * 1000 == pytest.approx(milliseconds, rel=0.005)


def test_nothing_is_written_to_the_eeprom(house):
    sensor = house().sensors[0]
    sensor.brown_out()
    assert bytes(sensor._scratchpad[2:5]) == bytes.fromhex("4B467F")


# Faults of one sensor


def test_a_sensor_that_loses_its_power_in_every_conversion_is_none(house, said):
    five = house()
    five.sensors[1].temperature = lambda now: five.clock.after(0.1, five.sensors[1].brown_out) or 20.0
    assert five.read() == without(2)
    assert five.listener.record.faults == {(Rom.parse(IDS[1]), Fault.POWER_ON): 1}
    (line,) = said()
    assert line.startswith(f"sensor2 {IDS[1]}: {Fault.POWER_ON}; ")


def test_a_missing_sensor_costs_two_reads_and_no_more(house):
    five = house()
    _, healthy = five.sweep()
    five.sensors[1].present = False
    _, seconds = five.sweep()
    assert seconds - healthy == pytest.approx(0.01505, rel=0.01)


@pytest.mark.parametrize("gone", range(5))
def test_no_value_moves_when_a_sensor_is_not_there_from_the_start(house, gone):
    five = house(lambda h: setattr(h.sensors[gone], "present", False))
    index = (1, 2, 4, 5, 6)[gone]
    assert five.read() == without(index)
    five.sensors[gone].present = True
    assert five.read() == VALUES


def test_a_sensor_that_lost_its_power_converts_again_in_the_same_sweep(house, said):
    five = house()
    five.read()
    five.sensors[1].brown_out()
    five.clock.after(0, five.sensors[2].brown_out)
    _, seconds = five.sweep()
    assert seconds == pytest.approx(2 * 0.77 + 0.15, abs=0.1)
    assert five.read() == VALUES
    assert said() == []


@pytest.mark.parametrize("milliseconds", range(0, 830, 23))
def test_power_lost_at_any_moment_gives_no_power_on_value(house, milliseconds):
    five = house()
    five.sensors[2].temperature = 40.0
    five.sweep()
    five.clock.after(milliseconds / 1000, five.sensors[2].brown_out)
    readings, _ = five.sweep()
    assert readings[2] in (40.0, Fault.POWER_ON)
    assert five.sweep()[0][2] == 40.0


def test_after_damage_two_reads_must_agree(house):
    five = house()
    damaged = iter([b"\x01", b"\x02"])
    sent_again = []

    def noise(sent):
        spoilt = next(damaged, None)
        sent_again.append(sent)
        return sent if spoilt is None else spoilt + sent[1:]

    five.sensors[1].flip = noise
    assert five.sweep()[0][1] == -10.125
    assert len(sent_again) == 4


# Clones, relatives and sensors fed by the line


def clone(**attributes):
    def spoil(house):
        for sensor in house.sensors:
            vars(sensor).update(attributes)

    return spoil


@pytest.mark.parametrize(
    "attributes",
    [
        {"keeps_byte6": True},
        {"ignores_resolution": True},
        {"seconds_at_12_bits": 0.011},
        {"keeps_byte6": True, "ignores_resolution": True, "seconds_at_12_bits": 0.7},
    ],
    ids=str,
)
def test_clones_are_read_like_the_genuine(house, attributes):
    five = house(clone(**attributes))
    assert five.read() == VALUES
    assert five.read() == VALUES


def test_clones_that_take_no_marker_are_judged_by_byte_6(house):
    five = house(clone(ignores_writes=True))
    assert five.read() == VALUES
    five.sensors[2].keeps_byte6 = True
    five.sensors[2].brown_out()
    assert five.read() == without(4)


def test_a_clone_of_a_fixed_resolution_is_given_its_time(house):
    five = house(clone(ignores_resolution=True), resolution="9")
    readings, seconds = five.sweep()
    assert readings == CELSIUS
    assert seconds == pytest.approx(0.828, rel=0.01)


def test_a_stranger_at_another_resolution_delays_and_harms_nobody(house):
    five = house(resolution="9")
    five.chip.sensors.append(Ds18b20("28.0102030405FF", 99.0))
    assert five.read() == (18.5, -10.5, None, 85.0, 0.0, 25.0)


@pytest.mark.parametrize(("wanted", "found"), [("12", 0x1F), ("9", 0x7F)])
def test_another_master_that_sets_the_resolution_is_set_right(house, wanted, found):
    five = house(resolution=wanted)
    five.sensors[1]._scratchpad[4] = found
    assert five.read()[1] == (-10.125 if wanted == "12" else -10.5)
    assert five.sensors[1]._scratchpad[4] != found


def test_a_true_85_right_after_start_is_seen_to_be_converted(house):
    five = house(clone(keeps_byte6=True))
    readings, seconds = five.sweep()
    assert readings[2] == 85.0
    assert seconds == pytest.approx(0.828 + 0.775, rel=0.01)
    assert five.sweep()[1] == pytest.approx(0.828, rel=0.01), "once is enough"


def deaf_to_convert(*sensors):
    for sensor in sensors:
        sensor._convert = lambda: iter(())


def test_a_sensor_that_has_not_converted_since_power_on_is_none_though_its_marker_stands(house):
    five = house()
    deaf_to_convert(five.sensors[1])
    assert five.read() == without(2)
    assert five.listener.record.faults == {(Rom.parse(IDS[1]), Fault.UNCONVERTED): 1}


def test_where_nobody_converts_nobody_has_a_value(house, said):
    five = house()
    five.read()
    deaf_to_convert(*five.sensors)
    assert five.read() == (None,) * 6
    assert said()[0].startswith("no sensor starts a conversion; check the line for noise")


def test_relatives(house):
    ids = [text.replace("28.", "10.") for text in IDS]
    assert house(ids=ids, kind=Ds18s20, resolution="9").read() == VALUES


def fed_by_the_line(house):
    for sensor in house.sensors:
        sensor.parasite = True


def test_a_sensor_that_comes_back_as_a_parasite_is_fed_at_once(house):
    five = house()
    assert five.read() == VALUES
    five.sensors[1].present = False
    assert five.read() == without(2)
    five.sensors[1].parasite = True
    five.sensors[1].present = True
    assert five.read() == VALUES


def test_a_parasite_that_does_not_change_its_byte_6_shows_no_proof_at_85(house):
    def parasitic_clones(house):
        fed_by_the_line(house)
        house.sensors[2].keeps_byte6 = True

    five = house(parasitic_clones)
    assert five.read() == without(4)
    five.sensors[2].temperature = 84.9375
    five.read()
    five.sensors[2].temperature = 85.0
    assert five.read() == VALUES


# Faults of the line and the bridge


def short(house):
    house.chip.shorted = True


def all_unplugged(house):
    for sensor in house.sensors:
        sensor.present = False


def stuck(house):
    house.chip.stuck_busy = True


def deaf(house):
    house.chip.nack = True


BUS_FAULTS = [
    (short, "the 1-Wire line is shorted: look for data touching ground"),
    (
        all_unplugged,
        "nothing answers on the 1-Wire line: check its cable, the sensors' supply and the pull-up",
    ),
    (stuck, "the DS2482 at 0x18 is no DS2482, or hangs: status"),
    (deaf, "the DS2482 at 0x18 does not answer; check its wiring and supply"),
]


@pytest.mark.parametrize(("spoil", "words"), BUS_FAULTS)
@pytest.mark.parametrize("when", [0.0, 0.3, 0.79])
def test_a_fault_of_the_bus_is_a_sweep_of_nones_and_one_line(house, said, spoil, words, when):
    five = house()
    assert five.read() == VALUES
    five.clock.after(5 + when, lambda: spoil(five))
    five.clock.sleep(5.0)
    five.read()
    assert five.read() == (None,) * 6
    assert five.read() == (None,) * 6
    lines = said()
    assert sum("its sensors have no value until it answers" in line for line in lines) == 1
    assert lines[-1].startswith(words) or spoil in (all_unplugged, short)
    vars(five.chip).update(shorted=False, stuck_busy=False, nack=False)
    for sensor in five.sensors:
        sensor.present = True
    assert five.read() == VALUES
    assert "the bus answers again" in said()


@pytest.mark.parametrize("milliseconds", range(0, 830, 23))
def test_a_chip_that_was_reset_is_configured_again_and_nothing_is_lost(house, said, milliseconds):
    five = house()
    five.sweep()
    for sensor in five.sensors:
        sensor.temperature += 1
    five.clock.after(milliseconds / 1000, five.chip.reset_chip)
    readings, _ = five.sweep()
    assert readings == [celsius + 1 for celsius in CELSIUS]
    five.sweep()
    assert five.chip._configuration == ACTIVE_PULL_UP
    assert said() == []


def test_a_bridge_that_hangs_is_reset_and_all_is_read_in_the_same_sweep(house):
    five = house()

    def reset_helps():
        five.chip.stuck_busy = False
        five.chip.reset_chip()

    five.chip._commands[0xF0] = reset_helps
    five.clock.after(0.3, lambda: stuck(five))
    readings, seconds = five.sweep()
    assert readings == CELSIUS
    assert seconds == pytest.approx(0.76 + 0.828, rel=0.01)


@pytest.mark.parametrize("nth", [1, 2, 3, 40, 333])
def test_one_transfer_that_is_not_acknowledged_costs_nothing_but_time(house, nth):
    five = house()
    heard = five.chip.read_byte
    calls = iter(range(1, 100_000))

    def read_byte(address):
        if next(calls) == nth:
            raise OSError(errno.EREMOTEIO, "Remote I/O error")
        return heard(address)

    five.chip.read_byte = read_byte
    assert five.sweep()[0] == CELSIUS


def test_waiting_for_a_bridge_that_hangs_is_bounded(house):
    five = house()
    stuck(five)
    assert five.read() == (None,) * 6
    assert five.clock.monotonic() % 10 < 0.1


@pytest.mark.parametrize("seconds", [0.001, 0.5])
@pytest.mark.parametrize("microseconds", range(0, 4000, 200))
def test_a_short_makes_no_old_value_new(house, microseconds, seconds):
    # given a line that is shorted while the sensors are told to convert, and no longer when they are read
    five = house()
    five.sweep()
    for sensor in five.sensors:
        sensor.temperature += 1
    five.clock.after(microseconds / 1e6, lambda: short(five))
    five.clock.after(microseconds / 1e6 + seconds, lambda: setattr(five.chip, "shorted", False))
    # when they are read, then what has a value has a new one
    try:
        readings, _ = five.sweep()
    except BusFault:
        return
    for reading, before in zip(readings, CELSIUS, strict=True):
        assert isinstance(reading, Fault) or reading == before + 1


def test_an_adapter_that_is_pulled_out_is_left_to_the_core(house):
    five = house()

    def gone(*_):
        raise OSError(errno.ENODEV, "No such device")

    five.chip.write_byte = gone
    with pytest.raises(OSError, match=r"^I2C bus 1, address 0x18: No such device: is its adapter"):
        five.read()
    del five.chip.write_byte
    five.listener.close()
    five.listener.open()
    assert five.read() == VALUES


class Adapter:
    """An I2C adapter with the chip at it, until it is pulled out."""

    fd = None

    def __init__(self, chip):
        self.chip = chip
        self.plugged = True
        self.open = True

    def __getattr__(self, name):
        if not self.plugged:
            raise OSError(errno.ENXIO, "No such device or address")
        return getattr(self.chip, name)

    def close(self):
        self.open = False


class Slot:
    """Where adapters are plugged in; an adapter that is put back is another one."""

    def __init__(self, five, monkeypatch):
        self.five = five
        self.opened = []
        self.plugged = True
        monkeypatch.setattr(five.listener._device, "_opener", self._open)
        five.listener.close()
        five.listener.open()

    def _open(self, bus, address):
        assert (bus, address) == ("1", 0x18)
        if not self.plugged:
            raise OSError("/dev/i2c-1 is not there")
        self.opened.append(Adapter(self.five.chip))
        return self.opened[-1]

    def pull_out(self):
        self.plugged = self.opened[-1].plugged = False
        for sensor in self.five.sensors:
            sensor.brown_out()
        self.five.chip.reset_chip()

    def put_back(self):
        self.plugged = True


@pytest.fixture
def slot(house, monkeypatch):
    return Slot(house(), monkeypatch)


def test_an_adapter_that_is_pulled_out_is_let_go_of_and_looked_for_anew(slot, said):
    five = slot.five
    assert five.read() == VALUES
    slot.pull_out()
    assert [five.read(), five.read()] == [(None,) * 6] * 2
    # then nothing holds what it was
    (adapter,) = slot.opened
    assert not adapter.open
    (line,) = said()
    assert line == "/dev/i2c-1 is not there; its sensors have no value until it answers"
    # and put back, it is found at the next sweep
    slot.put_back()
    assert five.read() == VALUES
    assert said() == ["the bus answers again"]


def test_an_adapter_that_was_pulled_out_and_put_back_between_two_sweeps_costs_none(slot, said):
    five = slot.five
    five.read()
    slot.pull_out()
    slot.put_back()
    assert five.read() == VALUES
    assert [adapter.open for adapter in slot.opened] == [False, True]
    assert said() == []


def test_a_chip_that_the_kernel_takes_is_given_up_and_said_as_at_the_start(tmp_path):
    # given a gateway that reads a chip
    chip = Chip(Clock(), [Ds18b20(IDS[0], 21.5)])
    owned = set()
    file = tmp_path / "oemgateway.conf"
    bus = free_port()  # for a number that no other test has, of a lock that all processes share
    file.write_text(
        f"{state(tmp_path)}[listeners]\n[[bridge]]\ntype = ds2482\nbus = {bus}\nnode = 9\ninterval = 1\n"
        f"resolution = 9\nsensor1 = {IDS[0]}\n[dispatchers]\n[[out]]\ntype = log\n"
    )
    with i2c_server(chip, kernel_owns=owned) as environment, GatewayProcess(file, **environment) as gateway:

        def frames():
            return gateway.status()["listeners"]["bridge"]["frames"]

        wait_until(lambda: frames() > 1, what="a reading")
        # when a driver of the kernel's takes it
        owned.add(0x18)
        begun = frames()
        wait_until(lambda: "the kernel's driver holds the chip" in gateway.log, what="a word about it")
        # then no more than the sweep that was under way is of any worth
        assert frames() <= begun + 1
        assert gateway.log.count("WARNING bridge: ") == 1
        # and when it lets go, the chip is read again
        owned.clear()
        wait_until(lambda: frames() > begun + 2, what="a reading")
        assert gateway.log.count("WARNING bridge: ") == 1


# The eight channels of a -800


def spread(house):
    sensors = house.chip.channels[0][:]
    house.chip.channels[0].clear()
    for sensor, channel in zip(sensors, (7, 0, 7, 3, 5), strict=True):
        house.chip.channels[channel].append(sensor)


def test_sensors_are_found_on_all_channels(house):
    eight = house(spread, channels=8)
    assert eight.read() == VALUES
    assert eight.sweep()[1] < 0.86, "all channels convert at the same time"


def test_parasites_on_several_channels_are_fed_one_channel_after_the_other(house):
    def prepare(house):
        spread(house)
        house.sensors[0].parasite = house.sensors[3].parasite = True

    eight = house(prepare, channels=8)
    assert eight.read() == VALUES
    assert 2 * 0.75 < eight.sweep()[1] < 2 * 0.75 + 0.11


def test_a_sensor_that_moves_to_another_channel_is_found_there(house):
    eight = house(spread, channels=8)
    eight.read()
    moving = eight.sensors[3]
    eight.chip.channels[3].remove(moving)
    assert eight.read() == without(5)
    moving.brown_out()
    eight.chip.channels[6].append(moving)
    assert eight.read() == VALUES


class ShortedChannel(Chip):
    """A chip of which some channels may be shorted."""

    bad = ()

    @property
    def shorted(self):
        return self._channel in self.bad


def test_sensors_that_are_moved_from_a_shorted_channel_are_found_by_the_next_search(house):
    # given a channel with two sensors that is shorted
    eight = house(spread, channels=8)
    eight.chip.__class__ = ShortedChannel
    eight.read()
    eight.chip.bad = {7}
    assert eight.read() == without(1, 4)
    assert eight.listener.health().troubles == [
        "2 of 5 sensors (sensor1, sensor4): channel 7 of the bridge is shorted: look for data touching ground"
    ]
    # when they are plugged in elsewhere
    for sensor in eight.chip.channels[7]:
        sensor.brown_out()
    eight.chip.channels[6] += eight.chip.channels[7]
    eight.chip.channels[7].clear()
    eight.listener.look()
    assert eight.read() == VALUES
    assert not eight.listener.health().troubles


def test_a_chip_reset_in_the_middle_of_a_sweep_turns_no_channel_into_another(house):
    eight = house(spread, channels=8)
    for milliseconds in range(0, 850, 31):
        eight.clock.after(milliseconds / 1000, eight.chip.reset_chip)
        assert eight.sweep()[0] == CELSIUS


def test_a_channel_that_is_not_selected_is_noticed(house):
    eight = house(spread, channels=8)
    eight.chip._select_channel = None
    eight.chip._commands_with_a_byte[0xC3] = lambda code: setattr(eight.chip, "_pointer", 0xD2)
    assert eight.read() == (None,) * 6


# Searching


def test_the_search_finds_all_and_only_what_is_there(house):
    five = house()
    five.sensors[0].present = False
    stranger = Ds18b20("22.000000000001", 20.0)
    five.chip.sensors.append(stranger)
    assert five.listener.search() == {Rom.parse(text) for text in [*IDS[1:], stranger.id]}


@given(st.sets(st.binary(min_size=6, max_size=6), max_size=12))
@settings(max_examples=25)
def test_any_set_of_ids_is_found(serials):
    clock = VirtualClock()
    roms = {Rom.of(0x28, serial) for serial in serials}
    bridge = bridge_to(Chip(clock, [Ds18b20(str(rom), 20.0) for rom in roms]), clock)
    bridge.start()
    if roms:
        assert sorted(Line(bridge, 0).search()) == sorted(roms)


def test_a_search_that_noise_leads_in_circles_ends(house):
    five = house()
    five.chip.sensors[1:] = []
    triplet = Bridge.triplet
    five.listener._thermometers._bridge.triplet = lambda direction: (
        False,
        False,
        triplet(five.listener._thermometers._bridge, direction)[2],
    )
    assert five.listener.search() == {Rom.parse(IDS[0])}


def test_a_search_goes_as_far_as_ids_can_be_read(house):
    five = house()
    for sensor in five.sensors:
        sensor.rom = sensor.rom[:7] + bytes([sensor.rom[7] ^ 1])
    assert five.listener.search() == set()
    short(five)
    assert five.listener.search() == set()


def test_a_sensor_that_is_pulled_out_while_it_is_searched_for(house):
    five = house()
    five.clock.after(0.01, lambda: all_unplugged(five))
    assert five.listener.search() == set()


# Opening


def test_the_simulated_bridge_says_so():
    made = build(ds2482.Ds2482, {"node": "9", "bus": "simulated", "address": "0x1A", "sensor1": IDS[0]})
    made.clock = VirtualClock()
    assert made.simulated
    made.open()
    (frame,) = made.read(VirtualFlag(made.clock))
    made.close()
    made.close()
    assert 5 < frame.values[0] < 20


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"bus": "/dev/i2c-1"}, "the number of a bus as in /dev/i2c-1, or simulated, expected"),
        ({"address": "0x20"}, "an address from 0x18 to 0x1f expected, not 0x20"),
        ({"address": "0x17"}, "an address from 0x18 to 0x1f expected, not 0x17"),
        ({"address": "17"}, "an address from 0x18 to 0x1f expected, not 17"),
        ({"address": "18"}, "an address from 0x18 to 0x1f expected, not 18: write 0x18"),
        ({"address": "1a"}, "a whole number expected, not 1a: write 0x1a"),
    ],
)
def test_wrong_settings(entry, words):
    with pytest.raises(SettingsFault, match=words):
        build(ds2482.Ds2482, {"node": "9", **entry})


@pytest.mark.parametrize("address", range(0x18, 0x20))
def test_every_address(address):
    clock = VirtualClock()
    bridge = bridge_to(Chip(clock, channels=8, address=address), clock, address)
    bridge.start()
    assert bridge.channels == 8


def test_a_chip_that_is_something_else_is_not_opened(house):
    with pytest.raises(OSError, match="is no DS2482, or hangs: status 01 after a reset"):
        house(lambda h: setattr(h.chip, "read_byte", lambda address: 0x01))


def test_a_configuration_that_does_not_stay_is_told(house):
    def deaf_to_it(house):
        house.chip._commands_with_a_byte[0xD2] = lambda value: setattr(house.chip, "_pointer", 0xC3)

    with pytest.raises(OSError, match="did not take its configuration"):
        house(deaf_to_it)


def test_a_line_that_fails_at_opening_does_not_keep_it_from_opening(house):
    five = house(short)
    assert five.read() == (None,) * 6
    five.chip.shorted = False
    assert five.read() == VALUES


def test_one_process_has_the_chip_for_itself(house, tmp_path):
    five = house()
    path = tmp_path / "oemgateway-i2c-1-0x18"
    taking = (
        "import fcntl, sys; lock = open(sys.argv[1]); fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB); "
        "print('mine', flush=True); sys.stdin.read()"
    )
    assert "BlockingIOError" in run(sys.executable, "-c", taking, path).stderr
    five.listener.close()
    with subprocess.Popen(
        [sys.executable, "-c", taking, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "mine\n"
        said = rf"I2C bus 1, address 0x18: \S+ \(pid {other.pid}\) reads this chip: sudo "
        with pytest.raises(OSError, match=said):
            five.listener.open()
        other.communicate("")
    five.listener.open()
    assert five.read() == VALUES


def test_two_sections_for_one_chip_are_told_so_and_not_of_another_process(house, tmp_path, monkeypatch):
    five = house()
    monkeypatch.setattr(i2c, "LOCKS", tmp_path)
    with pytest.raises(OSError, match=r"address 0x18: another section of oemgateway\.conf reads this chip"):
        i2c.Lock("1", 0x18)
    five.listener.close()
    i2c.Lock("1", 0x18).release()
    five.listener.open()
    assert five.read() == VALUES


# Through smbus2 itself

PROGRAM = """if True:
    import pathlib, sys
    from gateway.settings import build
    from listeners.onewire.drivers import ds2482
    from listeners.ports import i2c
    i2c.LOCKS = pathlib.Path(sys.argv[1])
    entries = {f"sensor{number}": text for number, text in enumerate(sys.argv[2:], 1)}
    listener = build(ds2482.Ds2482, {"node": "9", "bus": "99", "resolution": "9", **entries})
    listener.name = "cellar"
    try:
        listener.open()
        print(*listener.sweep(listener.sensors.roms()).values())
    except OSError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("kernel_owns", "nack", "printed"),
    [
        (set(), False, "18.5 -10.5 85.0 0.0 25.0"),
        (
            set(),
            True,
            "I2C bus 99, address 0x18: nothing answers: check wiring and address (`i2cdetect -y 99` ",
        ),
        (
            {0x18},
            False,
            "I2C bus 99, address 0x18: the kernel's driver holds the chip: delete its dtoverlay in ",
        ),
    ],
)
def test_unmodified_smbus2_reads_the_simulated_chip(tmp_path, kernel_owns, nack, printed):
    sensors = [Ds18b20(text, celsius) for text, celsius in zip(IDS, CELSIUS, strict=True)]
    chip = Chip(Clock(), sensors)
    chip.nack = nack
    with i2c_server(chip, kernel_owns=kernel_owns) as environment:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path), *IDS]
        ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith(printed)


def test_each_sensor_has_its_marker_after_opening(house):
    assert all(sensor._scratchpad[2:4] == own_markers(Rom(sensor.rom))[0] for sensor in house().sensors)


@pytest.mark.parametrize("which", [0, 1])
def test_a_marker_that_another_program_has_copied_to_the_eeprom_hides_no_power_on(house, which):
    # given a sensor that has a marker of ours at each power-on
    def copied(h):
        sensor = h.sensors[1]
        sensor._eeprom = own_markers(Rom(sensor.rom))[which] + b"\x7f"
        sensor.brown_out()

    five = house(copied)
    assert five.read() == VALUES
    # when it loses its power in a conversion, then it has no value
    five.sensors[1].temperature = lambda now: five.clock.after(0.1, five.sensors[1].brown_out) or 20.0
    assert five.read() == without(2)
    five.sensors[1].temperature = 21.0
    assert five.read()[1] == 21.0
    # and it is told once more after a restart
    five.listener.close()
    five.listener.open()
    five.sensors[1].temperature = lambda now: five.clock.after(0.1, five.sensors[1].brown_out) or 20.0
    assert five.read()[1] is None


def test_a_scratchpad_of_another_sensor_is_no_value(house):
    made = house()
    made.read()
    first, other, *_ = made.sensors

    def of_the_other(sent):
        first.flip = None
        return bytes([*other._scratchpad, crc8(other._scratchpad)])

    # when a second master has another sensor answer, once, where the first is to be read
    first.flip = of_the_other
    # then that is noticed, and it is read again
    assert made.read() == VALUES
    assert first.flip is None


def another_master(chip, clock, *commands):
    """Use the line as another program does: a reset, and bytes that are written."""

    def completed():
        clock.sleep(0.0013)
        chip.read_byte(0x18)

    chip.write_byte(0x18, 0xB4)
    completed()
    for byte in b"".join(commands):
        chip.write_byte_data(0x18, 0xA5, byte)
        completed()


@pytest.mark.parametrize("parasite", [False, True])
def test_another_master_during_a_conversion_makes_it_begin_anew(house, parasite):
    five = house(clone(parasite=parasite))
    five.sweep()
    for sensor in five.sensors:
        sensor.temperature = 40.0
    # when another program starts a conversion of its own and goes on to something else
    five.clock.after(0.4, lambda: another_master(five.chip, five.clock, b"\xcc\x44"))
    five.clock.after(0.5, lambda: another_master(five.chip, five.clock))
    assert five.sweep()[0] == [40.0] * 5


def test_values_of_a_conversion_that_another_master_may_have_ended_are_none(house):
    five = house(interval="1")
    five.read()
    for sensor in five.sensors:
        sensor.temperature = 40.0
    five.clock.after(0.5, lambda: another_master(five.chip, five.clock, b"\xcc\x44"))
    five.clock.after(0.6, lambda: another_master(five.chip, five.clock))
    # with no time for a second conversion
    assert set(five.read()) == {None}
    assert five.read() == (40.0, 40.0, None, 40.0, 40.0, 40.0)


@pytest.mark.parametrize("parasite", [False, True])
@pytest.mark.parametrize("configuration", [0xF0, 0x78], ids=["no active pull-up", "overdrive"])
@pytest.mark.parametrize("when", [-1.0, 0.5], ids=["between sweeps", "while they convert"])
def test_a_configuration_that_another_master_leaves_is_replaced(house, configuration, when, parasite):
    five = house(clone(parasite=parasite))
    five.read()
    # when another program configures the bridge, and ends
    wait = 10 - five.clock.wall() % 10
    five.clock.after(wait + when, lambda: five.chip.write_byte_data(0x18, 0xD2, configuration))
    five.read()
    # then the sensors have values at the second sweep at the latest
    assert five.read() == VALUES
    assert five.read() == VALUES
