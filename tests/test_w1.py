"""The listener `w1`: the kernel's 1-Wire driver, as a tree of files."""

from __future__ import annotations

import errno
import os
from threading import Event, Thread

import pytest

from gateway.registry import find
from gateway.settings import build
from listeners.onewire.drivers.at_once import AtOnce
from listeners.onewire.drivers.w1 import W1, reading_of
from listeners.onewire.drivers.w1_setup import ALARMS, Attributes
from listeners.onewire.ds18b20 import MARKER, Fault, configuration
from listeners.onewire.rom import Rom, crc8
from listeners.onewire.sensor import Sensor
from listeners.simulated.clock import VirtualClock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.simulators.ds18s20 import Ds18s20
from tests.simulators.w1_kernel import Kernel
from tests.waiting import wait_until
from tests.ways import I2C_HZ, by_w1

FLOW, RETURN = Rom.parse("28-00000549f733"), Rom.parse("28-0000054a56db")
WARM, COLD = "59 01 4b 46 7f ff 07 10", "5e ff 4b 46 7f ff 02 10"  # 21.5625, -10.125
POWER_ON = "50 05 4b 46 7f ff 0c 10"
TRUE_85 = "50 05 4b 46 7f ff 10 10"


def w1_slave(eight, crc=None, verdict="YES", second=None):
    """Return the file's two lines, with the right CRC unless another is given."""
    last = f"{crc8(bytes.fromhex(eight)) if crc is None else crc:02x}"
    return f"{eight} {last} : crc={last} {verdict}\n{second or eight} {last} t=85000\n".encode()


@pytest.fixture
def tree(tmp_path):
    """A tree with one master and these sensors: {rom: {file: content}}."""

    def grow(sensors, *, trigger=True):
        (tmp_path / "w1_bus_master1").mkdir(exist_ok=True)
        if trigger:
            (tmp_path / "w1_bus_master1" / "therm_bulk_read").write_bytes(b"0\n")
        for rom, files in sensors.items():
            (tmp_path / rom.linux).mkdir(exist_ok=True)
            for name, content in files.items():
                (tmp_path / rom.linux / name).write_bytes(content)
        return tmp_path

    return grow


def listener(path, **entries):
    bus = build(W1, {"node": "9", "path": str(path), **entries})
    bus.name = "cellar"
    bus.clock = VirtualClock()
    return bus


def test_the_type_is_registered_and_its_path_is_the_kernels():
    assert find("listeners", "w1") is W1
    assert str(build(W1, {"node": "9"}).path) == "/sys/bus/w1/devices"


@pytest.mark.parametrize(
    ("content", "reading"),
    [
        pytest.param(w1_slave(WARM), 21.5625, id="warm"),
        pytest.param(w1_slave(COLD), -10.125, id="cold"),
        pytest.param(w1_slave("59 01 4b 46 1f ff 07 10"), 21.5, id="low bits of 9 are masked"),
        pytest.param(w1_slave(TRUE_85), 85.0, id="a true 85"),
        pytest.param(w1_slave(POWER_ON), Fault.POWER_ON, id="power-on"),
        pytest.param(w1_slave("ff 07 4b 46 7f ff 01 10"), Fault.FAILED, id="127.94"),
        pytest.param(w1_slave("00 00 00 00 00 00 00 00"), Fault.ALL_ZERO, id="all zero"),
        pytest.param(w1_slave(WARM, crc=0x12, verdict="NO", second=COLD), Fault.CRC, id="damaged"),
        pytest.param(w1_slave(WARM, verdict="NO"), Fault.CRC, id="the kernel says NO"),
        pytest.param(w1_slave("ff ff ff ff ff ff ff ff", 0xFF, "NO", WARM), Fault.NO_ANSWER, id="unplugged"),
        pytest.param(b"", Fault.NO_ANSWER, id="empty"),
        pytest.param(b"\n", Fault.NO_ANSWER, id="an empty line"),
        pytest.param(b"59 01 4b", Fault.UNREADABLE, id="cut off"),
    ],
)
def test_w1_slave_is_judged_by_its_bytes(content, reading):
    assert reading_of(Sensor(FLOW, None), content) == reading


def test_a_finer_resolution_than_the_kernel_waits_for_is_refused():
    assert reading_of(Sensor(FLOW, None, bits=9), w1_slave(WARM)) is Fault.RESOLUTION


def test_all_are_told_to_convert_and_then_read(tree):
    path = tree({FLOW: {"w1_slave": w1_slave(WARM)}, RETURN: {"w1_slave": w1_slave(COLD)}})
    bus = listener(path)
    bus.open()

    assert bus.sweep([FLOW, RETURN]) == {FLOW: 21.5625, RETURN: -10.125}
    assert (path / "w1_bus_master1" / "therm_bulk_read").read_bytes() == b"trigger\n"


@pytest.mark.parametrize("interval", ["4", "1"])
def test_two_sections_have_the_bus_one_after_the_other_and_share_a_conversion(tmp_path, interval):
    # given two sections whose sensors are set up, the first of which lets them convert
    clock = VirtualClock()
    sensors = [Ds18b20(str(FLOW), 21.5), Ds18b20(str(RETURN), 18.0)]
    kernel = Kernel(Ds2482(clock, sensors, i2c_hz=I2C_HZ), clock, tmp_path)
    converts, asked, over, used = Event(), Event(), Event(), []

    class Watched(VirtualClock):
        def monotonic(self):
            now = clock.monotonic()
            asked.set()
            return now

    class Noted(Attributes):
        def __init__(self, name):
            self.name = name

        def read(self, file):
            used.append((self.name, file.name))
            return kernel.read(file)

        def write(self, file, data):
            used.append((self.name, file.name))
            kernel.write(file, data)
            if converts.is_set():
                return
            converts.set()
            assert over.wait(10)

    sections = {}
    for name, rom in (("first", FLOW), ("second", RETURN)):
        sections[name] = bus = listener(tmp_path, interval=interval)
        bus.clock = clock
        vars(bus).update(_files=kernel)
        bus.sweep([rom])
        vars(bus).update(_files=Noted(name))
    readings = {}
    threads = [
        Thread(target=lambda name=name, rom=rom: readings.update(sections[name].sweep([rom])))
        for name, rom in (("first", FLOW), ("second", RETURN))
    ]
    sections["second"].clock = Watched()
    threads[0].start()
    assert converts.wait(10)
    sensors[0].temperature, sensors[1].temperature = 50.0, 60.0
    # when the other one reads the same bus meanwhile
    threads[1].start()
    assert asked.wait(10)
    clock.sleep(0.001)
    over.set()
    for thread in threads:
        thread.join(10)
    # then it reads its sensor after the first one, without another conversion
    assert used == [("first", "therm_bulk_read"), ("first", "w1_slave"), ("second", "w1_slave")]
    assert readings == {FLOW: 21.5, RETURN: 18.0}


def test_without_a_common_conversion_each_read_converts(tree):
    path = tree({FLOW: {"w1_slave": w1_slave(WARM)}}, trigger=False)

    assert listener(path).sweep([FLOW]) == {FLOW: 21.5625}


def test_a_common_conversion_that_fails_leaves_the_reads_to_convert(tree, caplog, monkeypatch):
    path = tree({FLOW: {"w1_slave": w1_slave(WARM)}})
    (path / "w1_bus_master1" / "therm_bulk_read").unlink()
    (path / "w1_bus_master1" / "therm_bulk_read").mkdir()  # for root, too, it cannot be written
    monkeypatch.setattr("os.access", lambda *_: False)
    caplog.set_level("INFO")
    bus = listener(path)
    bus.open()

    assert bus.sweep([FLOW]) == {FLOW: 21.5625}
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(f"{path}/w1_bus_master1/therm_bulk_read cannot be written")


def test_what_cannot_be_read_is_no_answer(tree):
    path = tree({FLOW: {}, RETURN: {"w1_slave": b""}})
    (path / FLOW.linux / "w1_slave").mkdir()

    assert listener(path).sweep([FLOW, RETURN]) == {FLOW: Fault.NO_ANSWER, RETURN: Fault.NO_ANSWER}


@pytest.mark.parametrize("name", ["w1_slave", "alarms", "resolution", "ext_power"])
@pytest.mark.parametrize("stands_there", ["a pipe", "an endless file", "a link to itself", "a directory"])
def test_what_is_no_file_at_its_place_is_not_waited_for_and_its_neighbour_is_read(tree, name, stands_there):
    path = tree({FLOW: {"w1_slave": w1_slave(WARM)}, RETURN: {"w1_slave": w1_slave(COLD)}})
    strange = path / FLOW.linux / name
    strange.unlink(missing_ok=True)
    if stands_there == "a pipe":
        os.mkfifo(strange)
    elif stands_there == "a directory":
        strange.mkdir()
    else:
        strange.symlink_to("/dev/zero" if stands_there == "an endless file" else name)

    readings = listener(path).sweep([FLOW, RETURN])

    assert readings[RETURN] == -10.125
    assert isinstance(readings[FLOW], Fault) or (name != "w1_slave" and readings[FLOW] == 21.5625)


def test_a_driver_that_asks_to_come_again_gives_no_value(tree, monkeypatch):
    # a read of a device without O_NONBLOCK's patience: EAGAIN, which Python's own files give as None
    path = tree({FLOW: {"w1_slave": w1_slave(WARM)}})

    def later(*_):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("os.read", later)

    assert listener(path).sweep([FLOW]) == {FLOW: Fault.NO_ANSWER}


def test_another_resolution_is_set_once_and_again_after_a_fault(tree):
    path = tree({FLOW: {"w1_slave": w1_slave("59 01 4b 46 1f ff 07 10"), "resolution": b"12\n"}})
    attribute = path / FLOW.linux / "resolution"
    bus = listener(path, resolution="9", sensor1=str(FLOW))

    assert bus.sweep([FLOW]) == {FLOW: 21.5}
    assert int(attribute.read_bytes()) == 9

    attribute.write_bytes(b"12\n")
    bus.sweep([FLOW])
    assert int(attribute.read_bytes()) == 12

    tree({FLOW: {"w1_slave": w1_slave(POWER_ON)}})
    bus.sweep([FLOW])
    bus.sweep([FLOW])
    assert int(attribute.read_bytes()) == 9


def test_a_ds18s20_is_not_told_a_resolution(tree):
    old = Rom.parse("10-00000549f733")
    path = tree({old: {"w1_slave": w1_slave("2b 00 4b 46 ff ff 0c 10"), "resolution": b"?"}})

    assert listener(path).sweep([old]) == {old: 21.0}
    assert (path / old.linux / "resolution").read_bytes() == b"?"


# --- The marker, on a simulated kernel --------------------------------------------------------------------

ONE = "28.33F749050000"


def at_25(sensor):
    """Make it a clone that has 25 °C at its power-on."""
    sensor._power_on = bytes.fromhex("9001 4B467F FF0C10")
    sensor.brown_out()


@pytest.fixture
def house(tmp_path):
    """A sensor at 21.5625 °C that the kernel has found."""
    with by_w1([Ds18b20(ONE, 21.5625)], {"sensor1": ONE}, tmp_path) as one:
        yield one


def test_the_marker_is_in_the_scratchpad_and_not_in_the_eeprom(house):
    (sensor,) = house.sensors
    eeprom = sensor._eeprom
    house.read()
    assert (sensor._scratchpad[2:4], sensor._eeprom) == (MARKER, eeprom)


def test_the_text_of_the_marker_fits_the_block_that_kernels_keep_it_in_with_a_zero_after_it():
    assert len(ALARMS) == 7


def test_power_lost_during_a_conversion_is_a_reading_all_the_same_by_a_second_conversion(house):
    (sensor,) = house.sensors
    at_25(sensor)
    house.read()
    sensor.temperature = 30.5
    convert = house.listener._convert
    losses = iter([sensor.brown_out])

    def told_and_cut_off(trigger):
        failed = convert(trigger)
        next(losses)()
        return failed

    house.listener._convert = told_and_cut_off
    # when it loses its power after the conversion for all, then it converts once more
    assert house.read() == (30.5,)
    assert house.listener.record.faults == {}


SOME = sorted({85.0, 25.0, 21.25, 0.0, -0.75, 125.0, *(raw / 16 for raw in range(-55 * 16, 125 * 16, 113))})
"""Temperatures with every fraction; test_ds18b20 goes through all of them."""


def part(**attributes):
    """Return a part of a kind, by its name and attributes."""
    return pytest.param(attributes, id=", ".join(attributes) or "genuine")


@pytest.mark.parametrize("resolution", [9, 10, 11, 12])
@pytest.mark.parametrize(
    "kind",
    [
        part(),
        part(leaves_low_bits=True),
        part(parasite=True),
        part(writes_byte_6=True),
        part(keeps_byte6=True),
    ],
)
def test_at_every_temperature_a_sensor_has_its_value_in_the_sweep_after_a_brown_out(
    tmp_path, kind, resolution
):
    # given a healthy sensor of any kind, at a temperature that does not change
    sensor = Ds18b20(ONE, 20.0)
    vars(sensor).update(kind)
    ambiguous = {85.0, 25.0} if "keeps_byte6" in kind else {85.0} if "writes_byte_6" in kind else set()
    with by_w1([sensor], {"sensor1": ONE, "resolution": str(resolution)}, tmp_path) as one:
        for celsius in SOME:
            sensor.temperature = celsius
            expected = (int(celsius * 16) & -1 << 12 - resolution) / 16
            one.read()
            assert one.read() == (expected,) or expected in ambiguous
            # when it loses its power between two sweeps, then each of the next has its value
            sensor.brown_out()
            found = [one.read(), one.read()]
            assert found == [(expected,)] * 2 or expected in ambiguous, celsius


@pytest.mark.parametrize("interval", [1, 2, 3])
@pytest.mark.parametrize(("sensors", "parasite"), [(1, False), (5, False), (5, True)])
def test_after_an_outage_of_the_bus_all_have_their_values_and_no_sweep_is_lost(
    tmp_path, sensors, parasite, interval
):
    # given sensors that are read nearly as often as the kernel can convert, and a bus that fails for a sweep
    parts = [Ds18b20(f"28.{number:02X}F749050000", 20.0 + number) for number in range(sensors)]
    entries = {f"sensor{number}": part.id for number, part in enumerate(parts, 1)}
    for part in parts:
        part.parasite = parasite
    with by_w1(parts, {**entries, "interval": str(interval)}, tmp_path) as many:
        many.read()
        before = many.frame().stamp.wall
        many.chip.shorted = True
        assert many.read() == (None,) * sensors
        many.chip.shorted = False
        # then, though there is no time to convert twice, each of the next sweeps is on time and has all
        frames = [many.frame() for _ in range(5)]
        assert [frame.values for frame in frames] == [tuple(20.0 + n for n in range(sensors))] * 5
        assert [frame.stamp.wall - before for frame in frames] == [n * interval for n in range(2, 7)]


def test_a_sensor_that_is_finer_than_the_kernel_knows_gives_no_value_of_before(tmp_path):
    # given a sensor that the kernel has set to 9 bits, and no time to set it up or convert twice
    sensor = Ds18b20(ONE, 20.0)
    with by_w1([sensor], {"sensor1": ONE, "resolution": "9", "interval": "2"}, tmp_path) as one:
        assert one.read() == (20.0,)
        one.listener.has_time = lambda _: False
        # when it loses its power, is at 12 bits again, and its temperature moves from sweep to sweep
        sensor.brown_out()
        found = []
        for celsius in (30.0, 40.0, 50.0, 60.0):
            sensor.temperature = celsius
            found.append(one.read())
        # then it has its values from the second sweep on, and never the one of before
        assert found == [(None,), (40.0,), (50.0,), (60.0,)]


@pytest.mark.parametrize("interval", [1, 2, 10])
def test_a_resolution_that_another_program_made_finer_is_set_again(tmp_path, interval):
    sensor = Ds18b20(ONE, 20.0)
    entries = {"sensor1": ONE, "resolution": "10", "interval": str(interval)}
    with by_w1([sensor], entries, tmp_path) as one:
        assert one.read() == (20.0,)
        # when the sensor has its marker and another resolution
        sensor._scratchpad[4] = configuration(12)
        one.read()
        # then it has its value by the second sweep, and in the end the resolution of the settings
        assert [one.read() for _ in range(70)] == [(20.0,)] * 70
        assert sensor._scratchpad[4] == configuration(10)


def test_a_clone_that_keeps_its_last_value_is_believed_at_another_one(house):
    # given a clone of family D2, that loses its power while nothing reads it
    (sensor,) = house.sensors
    sensor._power_on = bytes.fromhex("9001 550500 7E8166")[:8]
    sensor.keeps_byte6 = sensor.keeps_value = True
    sensor.brown_out()
    house.read()
    sensor.brown_out()
    # when it has the same value at the second conversion, then that may be the one that it has kept
    assert house.read() == (None,)
    assert house.listener.record.faults == {(FLOW, Fault.POWER_ON): 1}
    # and at another one it has converted, and is believed at any
    sensor.temperature = 21.625
    assert house.read() == (21.625,)
    sensor.temperature = 21.5625
    assert house.read() == (21.5625,)


def test_a_clone_with_the_marker_reads_85_once_it_has_had_another_temperature(house):
    (sensor,) = house.sensors
    sensor.keeps_byte6 = True
    house.read()
    sensor.temperature = 85.0
    assert house.read() == (85.0,)


def test_a_ds18s20_at_85_has_a_value_at_the_second_sweep_at_the_latest(tmp_path):
    # given the temperature at which it has the bytes that it has at power-on
    sensor = Ds18s20("10.000000000001", 85.0)
    with by_w1([sensor], {"sensor1": sensor.id}, tmp_path) as one:
        one.read()
        assert one.read() == (85.0,)
        # when it loses its power
        sensor.brown_out()
        one.read()
        assert one.read() == (85.0,)
        # then that is not taken for a temperature where it has another one
        sensor.temperature = 20.0
        sensor.brown_out()
        assert one.read() == one.read() == (20.0,)


def test_a_part_that_takes_no_marker_is_judged_by_byte_6(house):
    (sensor,) = house.sensors
    sensor.ignores_writes = True
    assert house.read() == (21.5625,)
    sensor.temperature = 85.0
    assert house.read() == (85.0,)
    sensor.never_done = True
    sensor.brown_out()
    assert house.read() == (None,)


def test_a_sensor_that_cannot_be_read_for_its_marker_has_to_have_it(house):
    # given one that is away while it is set up, and back at its power-on for the reading
    (sensor,) = house.sensors
    sensor.temperature = 30.0
    at_25(sensor)
    sensor.never_done = True
    sensor.present = False
    house.listener._set_up([FLOW])
    sensor.present = True
    assert house.listener._read([FLOW]) == {FLOW: Fault.POWER_ON}


def test_a_resolution_that_the_kernel_took_from_a_damaged_scratchpad_is_set_again(house):
    (sensor,) = house.sensors
    sensor.all_zero = True
    house.listener._set_up([FLOW])
    sensor.all_zero = False
    assert house.read() == (21.5625,)


def test_a_marker_that_may_not_be_written_is_not_asked_for(tree):
    path = tree({FLOW: {"w1_slave": w1_slave(WARM)}})
    (path / FLOW.linux / "alarms").mkdir()  # for root, too, it cannot be written

    assert listener(path).sweep([FLOW]) == {FLOW: 21.5625}


def test_a_conversion_for_all_that_reached_nobody_gives_no_old_value(house):
    # given a line that is shorted while all are told to convert, which the kernel counts as done
    (sensor,) = house.sensors
    house.read()
    sensor.temperature = 30.0
    convert = house.listener._convert

    def told_while_shorted(trigger):
        house.chip.shorted = True
        try:
            return convert(trigger)
        finally:
            house.chip.shorted = False

    house.listener._convert = told_while_shorted
    # when it is read, then it has converted for that
    assert house.read() == (30.0,)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_conversion_of_an_earlier_sweep_that_nobody_has_read_is_no_value(house, monkeypatch, failures):
    # given a sensor that has converted with all others, and whose file could not be read then
    (sensor,) = house.sensors
    house.read()
    read, write = house.kernel.read, house.kernel.write
    refused = errno.EIO, os.strerror(errno.EIO)
    failing = iter([True] * failures)

    def not_read(file):
        if file.name == "w1_slave" and next(failing, False):
            raise OSError(*refused)
        return read(file)

    def not_written(file, data):
        if file.name == "therm_bulk_read":
            raise OSError(*refused)
        write(file, data)

    monkeypatch.setattr(house.kernel, "read", not_read)
    assert house.read() == (None,)
    # when in the next sweep it is told to convert by its own file alone
    monkeypatch.setattr(house.kernel, "write", not_written)
    sensor.temperature = 30.0
    assert house.read() == ((30.0,) if failures == 1 else (None,))
    assert house.read() == (30.0,)


def test_the_sensors_that_the_kernel_shows_are_found_and_no_ghosts(tree):
    path = tree({FLOW: {}, RETURN: {}})
    (path / "00-400000000000").mkdir()

    assert listener(path).search() == {FLOW, RETURN}


def test_a_kernel_without_the_driver_is_an_oserror(tmp_path):
    bus = listener(tmp_path / "w1")

    with pytest.raises(OSError, match=f"{tmp_path}/w1: No such file or directory; is 1-Wire on"):
        bus.open()


class Hanging(Attributes):
    """Files of which some hang until they are to go on."""

    def __init__(self):
        self.hanging = set()
        self.go_on = Event()

    def read(self, file):
        if file in self.hanging:
            self.go_on.wait(60)
        return super().read(file)

    def write(self, file, data):
        self.read(file)


@pytest.mark.parametrize("file", ["w1_slave", "alarms", "w1_bus_master1/therm_bulk_read"])
def test_a_file_that_hangs_costs_no_other_sensor_its_value(tree, file):
    # given two sensors, each on a bus of its own
    path = tree({FLOW: {"w1_slave": w1_slave(WARM)}, RETURN: {"w1_slave": w1_slave(COLD)}})
    (path / FLOW.linux / "alarms").touch()
    bus = listener(path)
    files = Hanging()
    vars(bus).update(_files=files, _at_once=AtOnce(16, patience=0.3))
    # when a file of the one hangs, then the other has its value in each sweep
    files.hanging.add(path / file if "/" in file else path / FLOW.linux / file)
    readings = [bus.sweep([FLOW, RETURN]) for _ in range(3)]
    assert [reading[RETURN] for reading in readings] == [-10.125] * 3
    assert all(reading[FLOW] is Fault.HANGS for reading in readings) or "/" in file
    # and when it goes on, then so does the first
    files.hanging.clear()
    files.go_on.set()
    wait_until(lambda: bus.sweep([FLOW, RETURN]) == {FLOW: 21.5625, RETURN: -10.125})


# --- What may not be written yet, or not at all -----------------------------------------------------------


@pytest.fixture
def kernel_first(tmp_path):
    """Return a function that has the kernel find a sensor whose files udev has not been at yet."""
    contexts = []

    def find(sensor, **entries):
        context = by_w1([sensor], {"sensor1": ONE, **entries}, tmp_path)
        contexts.append(context)
        one = context.__enter__()
        one.kernel.unwritable |= {"alarms", "resolution", "therm_bulk_read"}
        return one

    yield find
    for context in contexts:
        context.__exit__(None, None, None)


def test_what_may_not_be_written_at_first_is_written_as_soon_as_it_may(kernel_first):
    # given a sensor that is read before udev has given the right to write
    sensor = Ds18b20(ONE, 21.5625)
    one = kernel_first(sensor, resolution="9")
    assert [one.read(), one.read()] == [(21.5625,)] * 2
    # when it has, then the next sweep finds the sensor set up
    one.kernel.unwritable.clear()
    assert one.read() == (21.5,)
    assert sensor._scratchpad[2:5] == MARKER + bytes([configuration(9)])


def test_a_clone_at_power_on_has_no_value_while_nothing_may_be_written(kernel_first):
    # given a clone with 25 °C at power-on, which does not convert
    sensor = Ds18b20(ONE, 30.5)
    at_25(sensor)
    sensor.never_done = True
    one = kernel_first(sensor)
    assert [one.read(), one.read()] == [(None,)] * 2
    # when it may be set up, then it has its value once it converts
    one.kernel.unwritable.clear()
    assert one.read() == (None,)
    sensor.never_done = False
    sensor.brown_out()
    assert [one.read(), one.read()][-1] == (30.5,)


def test_a_sensor_that_is_found_while_the_gateway_runs_is_set_up(tmp_path):
    with by_w1([], {"sensor1": ONE}, tmp_path) as one:
        assert one.read() == (None,)
        # when the kernel finds a sensor, and udev is late
        sensor = Ds18b20(ONE, 21.5625)
        one.chip.sensors.append(sensor)
        one.kernel.unwritable |= {"alarms", "resolution"}
        one.kernel.find(sensor)
        assert one.read() == (21.5625,)
        one.kernel.unwritable.clear()
        # then it has its marker at last
        assert one.read() == (21.5625,)
        assert sensor._scratchpad[2:4] == MARKER


def test_what_a_sensor_does_not_take_is_tried_again_now_and_then(house, monkeypatch):
    # given a part that does not take its marker, for noise or for good
    (sensor,) = house.sensors
    sensor.ignores_writes = True
    tries = []
    write = house.kernel.write
    monkeypatch.setattr(
        house.kernel, "write", lambda file, data: (tries.append(file.name), write(file, data))
    )
    for _ in range(12):
        assert house.read() == (21.5625,)
    # then it is not asked at each sweep, which takes time, but every minute
    assert 2 * 3 <= tries.count("alarms") <= 3 * 3
    # and takes it when it can
    sensor.ignores_writes = False
    for _ in range(7):
        house.read()
    assert sensor._scratchpad[2:4] == MARKER


def test_a_clone_that_may_have_lost_its_power_before_it_had_its_marker_has_to_show_a_conversion(kernel_first):
    sensor = Ds18b20(ONE, 30.5)
    one = kernel_first(sensor)
    assert one.read() == (30.5,)
    at_25(sensor)
    sensor.never_done = True
    one.kernel.unwritable.clear()
    assert [one.read(), one.read()] == [(None,)] * 2


def test_sensors_of_another_master_convert_each_for_itself(tmp_path):
    # given a master that is not the kernel's first, and so has no conversion for all
    clock = VirtualClock()
    chip = Ds2482(clock, [Ds18b20(ONE, 21.5625)], i2c_hz=100_000.0)
    bus = listener(tmp_path, sensor1=ONE)
    bus.clock = clock
    vars(bus).update(_files=Kernel(chip, clock, tmp_path, master=2))
    bus.open()
    chip.sensors[0].brown_out()
    assert bus.sweep([FLOW]) == {FLOW: 21.5625}
