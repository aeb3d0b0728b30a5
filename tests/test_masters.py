"""Bus masters that OWFS drives: Debian's owserver, on a simulated DS2482 through the preload library."""

from __future__ import annotations

import itertools
import time

import pytest

from gateway.clock import Clock
from gateway.settings import build
from listeners.onewire.bus import BusFault
from listeners.onewire.checks.examine_owfs import examine_tree
from listeners.onewire.drivers.masters import Masters
from listeners.onewire.drivers.owfs import Owfs
from listeners.onewire.drivers.owserver import Address, Server
from listeners.onewire.drivers.shared_conversion import SharedConversion
from listeners.onewire.ds18b20 import Fault
from listeners.onewire.rom import Rom, crc8
from listeners.onewire.tree import Unavailable, buses
from listeners.simulated.clock import VirtualClock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.ports import free_port, need_address, own_address
from tests.simulators.ds18s20 import Ds18s20
from tests.simulators.i2c_server import i2c_server
from tests.simulators.owfs_peers import owserver, owserver_process
from tests.simulators.peer import Peer, passing_on

FLOW, RETURN, STORE = "28.33F749050000", "28.DB564A050000", "28.AB1663050000"


QUICK = 0.01
"""Seconds that these sensors convert for, at 12 bits; the waits for them are shortened likewise."""


class CountingClock(Clock):
    """A clock that remembers the waits it was asked for, and waits as long as quick sensors need."""

    def __init__(self):
        self.waits = []
        self._ahead = 0.0

    def monotonic(self):
        return super().monotonic() + self._ahead

    def sleep(self, seconds):
        self.waits.append(seconds)
        self._ahead += seconds
        super().sleep(2 * QUICK)


class House:
    """A bridge with its sensors, served by owserver, and the masters as we see them from there."""

    def __init__(self, bridge, port, resolution=9):
        self.bridge = bridge
        self.clock = CountingClock()
        self.port = port
        self.tree = Server(Address("127.0.0.1", port))
        self.tree.open()
        self.resolution = resolution
        self.paths = dict(buses(self.tree, self.clock.monotonic))
        self.again()

    def again(self):
        self.masters = Masters(self.tree, self.paths, lambda _: self.resolution, self.clock)

    def sweep(self, *ids):
        ids = ids or [sensor.id for sensor in itertools.chain(*self.bridge.channels)]
        readings = self.masters.sweep([Rom.parse(text) for text in ids])
        return [readings[Rom.parse(text)] for text in ids]


@pytest.fixture
def served(tmp_path):
    """Return a function that makes a House of sensors (or of eight channels of them)."""
    running = []

    def serve(*sensors, channels=None, resolution=9):
        bridge = Ds2482(Clock(), sensors, channels=8 if channels else 1)
        for number, members in (channels or {}).items():
            bridge.channels[number].extend(members)
        for sensor in itertools.chain(*bridge.channels):
            sensor.seconds_at_12_bits = QUICK
        context = owserver(bridge, tmp_path)
        running.append(context)
        return House(bridge, context.__enter__(), resolution)

    yield serve
    for context in running:
        context.__exit__(None, None, None)


def test_twenty_sensors_wait_for_one_conversion(served):
    house = served(*(Ds18b20(f"28.{n:02X}A749050000", n) for n in range(20)), resolution=12)

    assert house.sweep() == list(range(20))

    assert house.clock.waits == [0.75]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.1.1", "::1", "its own"])
def test_two_sections_on_the_same_buses_share_a_conversion(served, at_end, host):
    # given two that read the same bus, by whatever name, and a sensor that has converted once
    house = served(Ds18b20(FLOW, 21.5), resolution=12)
    house.sweep()
    sensor, rom = house.bridge.sensors[0], Rom.parse(FLOW)
    host = own_address() if host == "its own" else host
    need_address(host)
    if host not in ("127.0.0.1", "localhost"):
        at_end.enter_context(Peer(passing_on(house.port), host, house.port))
    tree = Server(Address(host, house.port))
    tree.open()
    other = Masters(tree, house.paths, lambda _: 12, house.clock)
    sensor.temperature, sensor.seconds_at_12_bits = 30.0, 0.3
    others = []

    def wait(seconds):
        time.sleep(0.2)
        if not others:
            others.append(None)
            others[:] = [other.sweep([rom])[rom]]

    house.clock.sleep = wait

    # when the second begins in the middle of the first one's wait, then neither has the value of before
    assert house.sweep() == [30.0]
    assert others == [30.0]


def test_two_servers_at_one_port_of_two_addresses_share_no_conversion(served, at_end, tmp_path):
    # given another owserver behind another address of this machine, at the same port
    house = served(Ds18b20(FLOW, 21.5))
    bridge, port, rom = Ds2482(Clock(), [Ds18b20(FLOW, 40.0)]), free_port(), Rom.parse(FLOW)
    bridge.sensors[0].seconds_at_12_bits = QUICK
    environment = at_end.enter_context(i2c_server(bridge))
    at_end.enter_context(owserver_process(port, tmp_path, ["--i2c=/dev/i2c-98:0"], environment))
    at_end.enter_context(Peer(passing_on(port), "127.0.0.2", house.port))
    tree = Server(Address("127.0.0.2", house.port))
    tree.open()
    other = Masters(tree, house.paths, lambda _: 9, CountingClock())
    other.sweep([rom])
    bridge.sensors[0].temperature = 50.0
    others = []
    house.clock.sleep = lambda _: others.append(other.sweep([rom])[rom])
    # when it is read while the sensors of the first convert, then its own convert as well
    assert house.sweep() == [21.5]
    assert others == [50.0]


def test_a_conversion_that_is_over_is_not_shared():
    # given a section whose wait for a conversion a busy machine ends a minute late
    clock, shared, begun = VirtualClock(), SharedConversion(), []

    def convert():
        begun.append(clock.monotonic())
        return ["bus.0/"]

    class Busy(VirtualClock):
        def monotonic(self):
            return clock.monotonic()

        def sleep(self, seconds):
            clock.sleep(seconds + 60)
            # when another section reads the same bus meanwhile
            shared.wait(convert, 0.75, clock)

    shared.wait(convert, 0.75, Busy())
    # then it has a conversion of its own
    assert begun == [0, 60.75]


def test_a_section_with_coarser_sensors_takes_part_in_the_conversion_of_one_with_finer_ones():
    # given a section that waits for sensors of 12 bits
    clock, shared, begun, waits = VirtualClock(), SharedConversion(), [], []

    def convert():
        begun.append(clock.monotonic())
        return ["bus.0/"]

    class Late(VirtualClock):
        def sleep(self, seconds):
            clock.sleep(0.5)
            # when one with sensors of 9 bits, and then another of 12 bits, read the same bus meanwhile
            for each in (0.75 / 8, 0.75):
                before = clock.monotonic()
                shared.wait(convert, each, clock)
                waits.append(clock.monotonic() - before)

    shared.wait(convert, 0.75, Late())
    # then they wait for what is left
    assert (begun, waits) == ([0], [0, 0.25])


def test_the_resolution_is_set_in_the_scratchpad_only_and_then_waited_for(served):
    house = served(Ds18b20(FLOW, 21.5625))
    sensor = house.bridge.sensors[0]
    eeprom = sensor._eeprom

    assert [house.sweep() for _ in range(3)] == [[21.5625], [21.5], [21.5]]

    assert house.clock.waits == [0.75, 0.75, 0.75 / 8]
    assert sensor._eeprom == eeprom


def test_the_resolution_is_set_again_after_a_power_cut_that_owfs_has_not_noticed(served):
    house = served(Ds18b20(FLOW, 21.5625))
    house.sweep()
    assert house.sweep() == [21.5]

    house.bridge.sensors[0].brown_out()
    house.again()

    assert [house.sweep() for _ in range(3)] == [[21.5625], [21.5625], [21.5]]


def test_a_finer_resolution_than_was_waited_for_is_no_reading(served):
    house = served(Ds18b20(FLOW, 21.5625))
    house.sweep()
    house.sweep()

    house.bridge.sensors[0].brown_out()

    assert house.sweep() == [Fault.RESOLUTION]
    assert house.sweep() == [21.5625]


def test_a_clone_that_keeps_its_resolution_is_read_at_that_and_told_no_more_than_twice(served):
    house = served(Ds18b20(FLOW, 21.5625))
    house.bridge.sensors[0].ignores_resolution = True
    asked = []
    read = house.tree.read
    house.tree.read = lambda path: (asked.append(path), read(path))[1]

    assert [house.sweep() for _ in range(4)] == [[21.5625]] * 4

    assert [path[-2:] for path in asked if "/temperature" in path] == ["e9", "10", "e9"]


def test_where_all_are_parasites_no_common_conversion_is_started(served):
    house = served(Ds18b20(FLOW, 21.5))
    house.bridge.sensors[0].parasite = True
    house.sweep()
    house.clock.waits.clear()

    assert house.sweep() == [21.5]
    assert house.clock.waits == []


def test_a_sensor_that_loses_its_supply_wire_becomes_a_parasite(served):
    house = served(Ds18b20(FLOW, 21.5))
    house.sweep()

    house.bridge.sensors[0].parasite = True

    assert [house.sweep(), house.sweep()] == [[Fault.POWER_ON], [21.5]]


def test_a_ds18s20_reads_at_its_own_resolution(served):
    house = served(Ds18s20("10.33F749050000", -10.25))

    assert [house.sweep(), house.sweep()] == [[-10.25], [-10.25]]
    assert house.clock.waits == [0.75, 0.75]


def test_channels_are_buses_and_a_sensor_may_move_between_them(served):
    flow, back = Ds18b20(FLOW, 21.5), Ds18b20(RETURN, 18.0)
    house = served(channels={1: [flow], 6: [back]})
    assert house.sweep(FLOW, RETURN) == [21.5, 18.0]

    house.bridge.channels[1].remove(flow)
    house.bridge.channels[3].append(flow)

    assert house.sweep(FLOW, RETURN) == [Fault.NO_ANSWER, 18.0]
    assert house.sweep(FLOW, RETURN) == [21.5, 18.0]


class Files:
    """A tree of a dict; a path that is not in it refuses."""

    def __init__(self, files):
        self.files = files
        self.root = object()

    def read(self, path):
        if path not in self.files:
            raise Unavailable(path)
        return self.files[path]

    def write(self, path, data):
        self.read(path)

    def temperature_scale(self):
        return "C"


def test_a_sensor_whose_bus_does_not_convert_waits_for_that_bus():
    pad = bytes.fromhex("9001 4B46 7FFF 0010")
    rom = Rom.parse(FLOW)
    home = f"bus.0/uncached/{FLOW}/"
    tree = Files(
        {
            "bus.0/simultaneous/temperature": b"",
            "bus.1/simultaneous/temperature": b"",
            f"{home}power": b"1",
            f"{home}scratchpad": pad + bytes([crc8(pad)]),
        }
    )
    masters = Masters(tree, {"bus.0/": "DS9490", "bus.1/": "DS9490"}, lambda _: 12, CountingClock())
    assert masters.sweep([rom]) == {rom: 25.0}

    del tree.files["bus.0/simultaneous/temperature"]

    assert masters.sweep([rom]) == {rom: Fault.BUS}


def test_a_sensor_that_converts_alone_shares_the_fault_of_its_bus():
    # given a sensor with its own supply and one without on a bus, and one on another bus
    pad = bytes.fromhex("9001 4B46 7FFF 0010")
    files = {f"bus.{number}/simultaneous/temperature": b"" for number in range(2)}
    for number, text, power in ((0, FLOW, b"1"), (0, RETURN, b"0"), (1, STORE, b"1")):
        path = f"bus.{number}/uncached/{text}"
        files |= {f"{path}/power": power, f"{path}/temperature12": b"25"}
        files[f"{path}/scratchpad"] = pad + bytes([crc8(pad)])
    tree, roms = Files(files), [Rom.parse(text) for text in (FLOW, RETURN, STORE)]
    masters = Masters(tree, {"bus.0/": "DS9490", "bus.1/": "DS9490"}, lambda _: 12, CountingClock())
    assert list(masters.sweep(roms).values()) == [25.0, 25.0, 25.0]
    # when the first bus fails
    lost = {path: files.pop(path) for path in [*files] if path.startswith("bus.0/")}
    # then that is what both are said to have
    assert list(masters.sweep(roms).values()) == [Fault.BUS, Fault.BUS, 25.0]
    assert masters.bus_faults[roms[0]] == masters.bus_faults[roms[1]]
    assert masters.bus_faults[roms[1]].startswith("bus.0 (DS9490) is not reached")
    # and neither is asked, which may take two seconds each, until the bus is back
    files |= {path: data for path, data in lost.items() if FLOW in path or RETURN in path}
    assert list(masters.sweep(roms).values()) == [Fault.BUS, Fault.BUS, 25.0]
    files |= lost
    assert list(masters.sweep(roms).values()) == [25.0, 25.0, 25.0]


class Hanging(Files):
    """A tree with sensors on two servers in turn, of which one may take two seconds to answer nothing.

    `power` is what the sensors say of their supply, and `branch` where they are on their buses.
    """

    hangs = hangs_while_converting = False

    def __init__(self, clock, roms, power=b"1", branch=""):
        pad = bytes.fromhex("9001 4B46 7FFF 0010")
        files = {}
        for number, rom in enumerate(roms):
            bus, home = f"bus.{number % 2}/bus.0/", f"{branch}{rom}/"
            files[f"{bus}simultaneous/temperature"] = b""
            files[f"{bus}uncached/{home}power"] = power
            files[f"{bus}uncached/{home}temperature12"] = b"25"
            files[f"{bus}uncached/{home}scratchpad"] = pad + bytes([crc8(pad)])
        super().__init__(files)
        self.clock = clock
        self.places = {rom: f"bus.{n % 2}/bus.0/{branch}" for n, rom in enumerate(roms) if branch}

    def read(self, path):
        if self.hangs and path.startswith(("bus.0/bus.", "bus.0/statistics")):
            self.clock.sleep(2)
            raise Unavailable(path)
        return super().read(path)

    def write(self, path, data):
        """Start a conversion."""
        super().write(path, data)
        self.hangs |= self.hangs_while_converting

    def names(self, path):
        """Return what is there; a mount shows a bus that hangs as empty."""
        if self.hangs and path.startswith("bus.0/bus."):
            self.clock.sleep(2)
            return []
        return {name.split("/")[3] for name in self.files if name.startswith(f"{path}/")}

    def open(self):
        for path in ("bus.0/", "bus.1/"):
            self.files[f"{path}interface/settings/name"] = b"tcp"
            self.files[f"{path}bus.0/interface/settings/name"] = b"DS9490"


def test_a_server_that_hangs_delays_a_sweep_once_in_a_while_only():
    # given two servers of which one hangs
    clock, roms = VirtualClock(), [Rom.parse(FLOW), Rom.parse(RETURN)]
    tree = Hanging(clock, roms)
    masters = Masters(tree, {"bus.0/bus.0/": "DS9490", "bus.1/bus.0/": "DS9490"}, lambda _: 12, clock)

    def timed():
        begun = clock.monotonic()
        return list(masters.sweep(roms).values()), clock.monotonic() - begun

    assert timed() == ([25.0, 25.0], 0.75)
    tree.hangs = True
    # when it is swept for a minute, then the other one loses no value, and waits for the first in few sweeps
    sweeps = [timed() for _ in range(80)]
    assert {str(values) for values, _ in sweeps} == {str([Fault.BUS, 25.0])}
    assert max(seconds for _, seconds in sweeps) <= 2.75
    assert 2 <= sum(seconds > 0.75 for _, seconds in sweeps) <= 4
    # and when the server is back, it is read again within half a minute
    tree.hangs = False
    assert ([25.0, 25.0], 0.75) in (timed() for _ in range(40))


@pytest.mark.parametrize(
    ("power", "branch"), [(b"0", ""), (b"1", "1F.33F749050000/main/")], ids=["parasites", "on couplers"]
)
@pytest.mark.parametrize("others", [1, 2])
def test_a_server_that_hangs_delays_sensors_that_convert_alone_once_in_a_while_only(power, branch, others):
    # given two servers with sensors that each convert alone, the first one with up to two of them
    clock, roms = VirtualClock(), [Rom.parse(text) for text in (FLOW, RETURN, STORE)[: 1 + others]]
    tree = Hanging(clock, roms, power, branch)
    buses = {"bus.0/bus.0/": "DS9490", "bus.1/bus.0/": "DS9490"}
    masters = Masters(tree, buses, lambda _: 12, clock, tree.places)
    masters.sweep(roms)
    tree.hangs = True

    def timed():
        begun = clock.monotonic()
        values = list(masters.sweep(roms).values())
        clock.sleep(0.75)
        return values, clock.monotonic() - begun

    # when it is swept for two minutes, then the sensor of the other one loses no value, and waits in few
    sweeps = [timed() for _ in range(160)]
    assert {str(values) for values, _ in sweeps} == {str([Fault.BUS, 25.0, Fault.BUS][: 1 + others])}
    assert max(seconds for _, seconds in sweeps) <= 4.75
    assert 2 <= sum(seconds > 0.75 for _, seconds in sweeps) <= 8
    assert masters.bus_faults[roms[0]].startswith("bus.0/bus.0 (DS9490) does not answer in time;")
    # and when the server is back, its sensors are read again within half a minute
    tree.hangs = False
    assert str([25.0] * len(roms)) in {str(timed()[0]) for _ in range(40)}


def test_a_server_that_begins_to_hang_during_a_conversion_costs_its_sensors_one_attempt():
    # given twenty sensors on two servers
    clock = VirtualClock()
    roms = [Rom.parse(f"28.{number:02X}A749050000") for number in range(20)]
    tree = Hanging(clock, roms)
    masters = Masters(tree, {"bus.0/bus.0/": "DS9490", "bus.1/bus.0/": "DS9490"}, lambda _: 12, clock)
    masters.sweep(roms)
    # when one hangs after the conversion has begun
    tree.hangs_while_converting = True
    begun = clock.monotonic()
    values = list(masters.sweep(roms).values())
    # then the other one's sensors have their values, soon
    assert values[::2] == [Fault.BUS] * 10
    assert values[1::2] == [25.0] * 10
    assert clock.monotonic() - begun <= 0.75 + 4


def test_a_sensor_that_takes_long_to_be_missed_costs_the_others_of_its_bus_nothing():
    # given a sensor whose absence takes its master two seconds to see
    clock, roms = VirtualClock(), [Rom.parse(text) for text in (FLOW, RETURN, STORE)]
    tree = Hanging(clock, roms)
    tree.files["bus.0/statistics/write/success"] = b"7"
    masters = Masters(tree, {"bus.0/bus.0/": "DS9490", "bus.1/bus.0/": "DS9490"}, lambda _: 12, clock)
    tree.write = lambda *_: tree.files.update({"bus.0/statistics/write/success": str(clock.wall()).encode()})
    masters.sweep(roms)
    whole = tree.read

    def read(path):
        if FLOW in path:
            clock.sleep(2)
            raise Unavailable(path)
        return whole(path)

    tree.read = read
    for _ in range(3):
        assert list(masters.sweep(roms).values()) == [Fault.NO_ANSWER, 25.0, 25.0]


def test_a_server_that_hangs_holds_up_no_search(monkeypatch):
    # given two servers of which one hangs, which a sweep has found out
    clock, roms = VirtualClock(), [Rom.parse(FLOW), Rom.parse(RETURN)]
    tree = Hanging(clock, roms)
    monkeypatch.setattr(Owfs, "_reach", lambda _: tree)
    bus = build(Owfs, {"node": "9", "sensor1": FLOW, "sensor2": RETURN})
    bus.clock = clock
    bus.open()
    assert set(bus.search()) == set(roms)
    bus.sweep(roms)
    tree.hangs = True
    assert list(bus.sweep(roms).values()) == [Fault.BUS, 25.0]
    # when the buses are searched, then the other one is at once
    begun = clock.monotonic()
    assert set(bus.search()) == {roms[1]}
    assert clock.monotonic() == begun
    # and it is searched again once it has answered a sweep
    tree.hangs = False
    assert [25.0, 25.0] in (list(bus.sweep(roms).values()) for _ in range(40))
    assert set(bus.search()) == set(roms)


def test_a_server_that_hangs_from_the_start_is_named_for_sensors_that_may_be_behind_it(monkeypatch, said):
    # given two servers of which one hangs before the gateway starts
    clock, roms = VirtualClock(), [Rom.parse(FLOW), Rom.parse(RETURN)]
    tree = Hanging(clock, roms)
    tree.hangs = True
    monkeypatch.setattr(Owfs, "_reach", lambda _: tree)
    bus = build(Owfs, {"node": "9", "sensor1": FLOW, "sensor2": RETURN})
    bus.clock = clock
    # when it starts, then the other one is read, and the one that hangs is named
    bus.open()
    assert list(bus.sample()) == [None, 25.0]
    assert said()[-1].endswith(
        ": no answer, nor does bus.0 (another owserver) answer; look at that, and the way to it"
    )
    silent, _ = examine_tree(tree, clock.monotonic)
    assert silent.is_bad
    assert "bus.0 (another owserver) does not answer in time" in silent.found
    # and it is asked once in a while, no matter how much is searched and swept
    begun = clock.monotonic()
    for _ in range(10):
        bus.look()
        assert list(bus.sample()) == [None, 25.0]
        clock.sleep(10)
    assert clock.monotonic() - begun <= 10 * (10 + 2 * 0.75) + 4 * 2
    # and when it is back, its sensor is read again within half a minute, without a search
    tree.hangs = False
    for _ in range(3):
        clock.sleep(10)
        values = list(bus.sample())
    assert values == [25.0, 25.0]


def test_servers_that_all_hang_from_the_start_are_named_and_tried_at_each_sweep(monkeypatch):
    # given a server behind the first one that hangs, and no other
    class Alone(Hanging):
        def open(self):
            super().open()
            self.files = {path: data for path, data in self.files.items() if path.startswith("bus.0/")}

    clock, roms = VirtualClock(), [Rom.parse(f"28.{number:02X}A749050000") for number in range(9)]
    tree = Alone(clock, roms)
    tree.hangs = True
    monkeypatch.setattr(Owfs, "_reach", lambda _: tree)
    bus = build(Owfs, {"node": "9", **{f"sensor{n}": str(rom) for n, rom in enumerate(roms[::2], 1)}})
    bus.clock = clock
    bus.open()
    # when it is swept, then it is asked once, not for each sensor
    begun = clock.monotonic()
    for _ in range(3):
        with pytest.raises(BusFault, match=r"bus\.0 \(another owserver\) does not answer in time"):
            bus.sweep(roms[::2])
    assert clock.monotonic() - begun <= 3 * 2
    # and when it is back, its sensors are read at once
    tree.hangs = False
    assert set(bus.sweep(roms[::2]).values()) == {25.0}


def test_a_server_that_hangs_is_tried_at_each_sweep_where_there_is_no_other():
    clock, rom = VirtualClock(), Rom.parse(FLOW)
    tree = Hanging(clock, [rom])
    masters = Masters(tree, {"bus.0/bus.0/": "DS9490"}, lambda _: 12, clock)
    masters.sweep([rom])
    tree.hangs = True
    with pytest.raises(BusFault, match=r"bus\.0/bus\.0 \(DS9490\) does not answer in time; look at"):
        masters.sweep([rom])
    tree.hangs = False
    assert masters.sweep([rom]) == {rom: 25.0}


@pytest.mark.parametrize(
    ("text", "celsius"), [(b"      21.125", 21.125), (b"     113.188", 113.1875), (b"     -10.438", -10.4375)]
)
def test_a_ds28ea00_has_no_scratchpad_there_and_is_read_as_a_number(text, celsius):
    rom = Rom.parse("42.33F749050000")
    files = {f"bus.0/uncached/{rom}/temperature11": text, "bus.0/simultaneous/temperature": b""}

    assert Masters(Files(files), {"bus.0/": "DS9490"}, lambda _: 11, CountingClock()).sweep([rom]) == {
        rom: celsius
    }


def test_a_ds28ea00_at_85_degrees_has_no_value_as_it_has_them_at_power_on_too():
    rom = Rom.parse("42.33F749050000")
    files = {f"bus.0/uncached/{rom}/temperature12": b"          85", "bus.0/simultaneous/temperature": b""}

    assert Masters(Files(files), {"bus.0/": "DS9490"}, lambda _: 12, CountingClock()).sweep([rom]) == {
        rom: Fault.AT_85
    }
