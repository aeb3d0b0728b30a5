"""An owserver with two others behind it, one of which fails: what that costs, and what is said about it."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest

from gateway.clock import Clock
from gateway.settings import build
from listeners.onewire.bus import BusFault
from listeners.onewire.drivers.owfs import Owfs, Owserver
from listeners.onewire.ds18b20 import Fault
from listeners.onewire.rom import Rom
from listeners.simulated.clock import VirtualFlag
from listeners.simulated.ds2482 import Ds2482
from tests.ports import free_port
from tests.simulators.owfs_peers import owfs_mount, owserver, owserver_process
from tests.ways import QuickClock, quick, sweep

FLOW, RETURN, STORE, NEW = "28.33F749050000", "28.DB564A050000", "28.AB1663050000", "28.ABCDEF990000"
IDS = FLOW, RETURN, STORE


class Servers:
    """A good bus with one sensor and a bad one with two, and the front that is restarted with any of them."""

    def __init__(self, stack, tmp_path, kind):
        self.stack = stack
        self.tmp_path = tmp_path
        self.good = Ds2482(Clock(), [quick(FLOW, 21.5)])
        self.bad = Ds2482(Clock(), [quick(RETURN, 18.0), quick(STORE, 55.0)])
        self.ports = [stack.enter_context(owserver(each, tmp_path)) for each in (self.good, self.bad)]
        self.port = free_port()
        self.front = None
        self.start(*self.ports)
        entries = {f"sensor{number}": text for number, text in enumerate(IDS, 1)}
        if kind is Owfs:
            entries["path"] = str(stack.enter_context(owfs_mount(self.port, tmp_path)))
        else:
            entries["server"] = f"127.0.0.1:{self.port}"
        self.bus = build(kind, {"node": "9", **entries})
        self.bus.name = "cellar"
        self.bus.clock = QuickClock()
        self.bus.open()

    def start(self, *ports):
        if self.front:
            self.front.kill()
            self.front.wait()
        servers = [word for port in ports for word in ("-s", f"127.0.0.1:{port}")]
        self.front = self.stack.enter_context(owserver_process(self.port, self.tmp_path, servers))

    def move(self):
        """Plug the sensors of the bad bus into the good one."""
        self.good.sensors += self.bad.sensors
        self.bad.sensors.clear()
        for sensor in self.good.sensors:
            sensor.brown_out()


@pytest.fixture(params=[Owserver, pytest.param(Owfs, marks=pytest.mark.needs_root)])
def servers(request, tmp_path, at_end):
    return Servers(at_end.enter_context(ExitStack()), tmp_path, request.param)


def read(bus):
    (frame,) = bus.read(VirtualFlag(bus.clock))
    return frame


def short(servers):
    servers.bad.shorted = True


def unplug(servers):
    servers.bad.nack = True


def drop(servers):
    servers.start(servers.ports[0])


@pytest.mark.parametrize("fail", [short, unplug, drop])
def test_sensors_that_are_moved_from_a_bus_that_fails_are_found_by_the_next_search(servers, fail):
    # given sensors on both
    bus = servers.bus
    assert sweep(bus, *IDS) == [21.5, 18.0, 55.0]
    bus.look()
    # when one bus fails, then its sensors have no value, and only they
    fail(servers)
    assert [21.5, Fault.BUS, Fault.BUS] in (sweep(bus, *IDS) for _ in range(3))
    # and when they are plugged into the other one, then they are read after a search
    servers.move()
    bus.look()
    assert [21.5, 18.0, 55.0] in (sweep(bus, *IDS) for _ in range(3))


@pytest.mark.parametrize("fail", [short, unplug, drop])
def test_a_new_sensor_on_a_good_bus_is_found_while_another_cannot_be_searched(servers, fail):
    bus = servers.bus
    sweep(bus, *IDS)
    fail(servers)
    servers.good.sensors.append(quick(NEW, 77.0))
    assert bus.search() == {Rom.parse(FLOW), Rom.parse(NEW)}


@pytest.mark.parametrize("servers", [Owserver], indirect=True)  # a mount shows such a bus as empty
def test_a_search_fails_where_no_bus_can_be_searched(servers):
    servers.good.shorted = servers.bad.shorted = True
    with pytest.raises(BusFault, match="the bus cannot be searched"):
        servers.bus.search()


def test_sensors_on_a_bus_that_comes_back_are_read_again(servers):
    bus = servers.bus
    sweep(bus, *IDS)
    short(servers)
    assert sweep(bus, *IDS) == [21.5, Fault.BUS, Fault.BUS]
    bus.look()
    servers.bad.shorted = False
    assert [21.5, 18.0, 55.0] in (sweep(bus, *IDS) for _ in range(3))


NAME = r"bus\.[^ ]+ \(DS2482-100\)"
DEAF = f"{NAME} takes no conversion; look for a short, and at the bus master"
AWAY = rf"{NAME} is not reached \([^/]+\); look at its bus master, and its owserver"
WORDS = {short: DEAF, unplug: f"({DEAF}|{AWAY})", drop: AWAY}


@pytest.mark.parametrize("fail", [short, unplug, drop])
def test_a_bus_that_fails_is_named_in_one_line_with_its_cure(servers, said, fail):
    # given sensors on two buses, and one that is on none
    bus = servers.bus
    read(bus)
    # when a bus fails
    fail(servers)
    frames = [read(bus).values for _ in range(3)]
    assert (21.5, None, None) in frames
    # then log, status and `sensors` name that bus, by OWFS's names for it, and what to look at
    line = said()[-1]
    assert re.fullmatch(f"2 of 3 sensors \\(sensor2 to sensor3\\): {WORDS[fail]}", line)
    assert bus.health().troubles == [line]
    assert re.fullmatch(WORDS[fail], "".join(bus.health().details["onewire"]["failing"]))


@pytest.mark.parametrize("servers", [Owserver], indirect=True)  # a mount shows such a bus as empty
def test_a_bus_that_failed_from_the_start_is_named_for_sensors_that_may_be_on_it(servers, said):
    # given a bus that is shorted before any of its sensors has answered
    short(servers)
    assert read(servers.bus).values == (21.5, None, None)
    (line,) = said()
    assert line.startswith(
        "2 of 3 sensors (sensor2 to sensor3): no answer, and bus.1/bus.0 (DS2482-100) cannot"
    )
    assert servers.bus.health().troubles == [line]
    # when a search finds it well, then they have their values, and it is not named any more
    servers.bad.shorted = False
    servers.bus.look()
    assert (21.5, 18.0, 55.0) in (read(servers.bus).values for _ in range(3))
    assert servers.bus.health().troubles == []
