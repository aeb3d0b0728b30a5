"""What a way to the bus tells of its sensors, and when it looks for others."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from gateway.present.status import from_json
from gateway.settings import build
from listeners.onewire.bus import BusFault, OneWire
from listeners.onewire.ds18b20 import Fault
from listeners.onewire.report import Report
from listeners.onewire.rom import Rom
from listeners.simulated.clock import VirtualClock, VirtualFlag

A, B, NEW, SWITCH = (
    Rom.parse(text) for text in ("28.33F749050000", "28.DB564A050000", "28.AB1663050000", "29.010203040506")
)


@dataclass(kw_only=True)
class Bus(OneWire):
    """A bus with sensors; a sweep takes 0.8 s and a search `search_s`."""

    celsius: dict = field(default_factory=lambda: {A: 18.5, B: 40.0, NEW: 21.0}, init=False)
    others: set = field(default_factory=set, init=False)
    search_s: float = field(default=0.1, init=False)
    trouble: Exception | None = field(default=None, init=False)
    asked: list = field(default_factory=list, init=False)

    @property
    def place(self):
        return "a bus"

    def sweep(self, roms):
        self.asked.append(list(roms))
        self.clock.sleep(0.8)
        if self.trouble:
            raise self.trouble
        return {rom: self.celsius[rom] for rom in roms if rom in self.celsius}

    def search(self):
        self.asked.append("search")
        self.clock.sleep(self.search_s)
        return {*self.celsius, *self.others}

    def traits(self, rom):
        return 12, rom == B


def bus(**entries):
    made = build(
        Bus, {"node": "9", "sensor1": [str(A), "cellar"], "sensor2": str(B), "sensor7": "Dummy", **entries}
    )
    made.name = "cellar"
    made.clock = VirtualClock(wall=1_700_000_003.0)
    return made


def read(bus):
    return bus.read(VirtualFlag(bus.clock))


def report(bus):
    return from_json(Report, json.loads(json.dumps(bus.health().details["onewire"])))


def sensor(bus, rom):
    return next(sensor for sensor in report(bus).sensors if sensor.id == str(rom))


def test_what_was_not_read_yet_is_there_without_a_reading():
    told = report(bus())
    assert (told.place, told.node, told.interval, told.highest) == ("a bus", "9", 10.0, 7)
    assert (told.sweeps, told.searched, told.faults) == (0, None, {})
    assert [(one.id, one.indices, one.label) for one in told.sensors] == [
        (str(A), [1], "cellar"),
        (str(B), [2], ""),
    ]
    assert {(one.temperature, one.fault, one.age, one.resolution, one.parasite) for one in told.sensors} == {
        (None, "", None, None, None)
    }


def test_a_reading_with_its_age_and_what_the_sensor_is_like():
    made = bus()
    read(made)
    made.clock.sleep(3.0)
    first, second = report(made).sensors
    assert (first.temperature, first.fault, first.age, first.heard) == (18.5, "", 3.0, True)
    assert (first.resolution, first.parasite, second.parasite) == (12, False, True)


def test_faults_in_words_and_numbers():
    made = bus()
    read(made)
    made.celsius[B] = Fault.CRC
    del made.celsius[A]
    read(made)
    read(made)
    assert (sensor(made, A).fault, sensor(made, A).temperature) == ("no answer", None)
    assert sensor(made, A).heard
    assert sensor(made, B).faults == {"damaged on the way (CRC)": 2}
    assert report(made).faults == {"damaged on the way (CRC)": 2, "no answer": 2}
    assert report(made).sweeps == 3


def test_a_fault_of_the_bus_is_one_of_each_sensor():
    made = bus()
    made.trouble = BusFault("shorted")
    read(made)
    assert [(one.fault, one.heard) for one in report(made).sensors] == [("the bus does not work", False)] * 2


def test_after_a_sweep_it_looks_for_others_and_reads_them():
    made = bus()
    made.others = {SWITCH}
    read(made)
    assert made.asked == [[A, B]]
    read(made)
    assert made.asked == [[A, B], "search", [NEW], [A, B]]
    assert (sensor(made, NEW).temperature, sensor(made, NEW).indices) == (21.0, [])
    assert sensor(made, SWITCH).fault == "not the scratchpad of a supported thermometer"
    assert report(made).searched == pytest.approx(10.0, abs=1)


def test_it_looks_once_a_minute_and_forgets_what_has_gone():
    made = bus()
    for _ in range(6):
        read(made)
    assert made.asked.count("search") == 1
    del made.celsius[NEW]
    for _ in range(6):
        read(made)
    assert made.asked.count("search") == 2
    assert [one.id for one in report(made).sensors] == [str(A), str(B)]


@pytest.mark.parametrize(("interval", "search_s"), [(1, 0.1), (2, 0.1), (5, 4.0), (10, 6.0), (10, 30.0)])
def test_a_look_delays_no_sweep_once_it_is_known_how_long_it_takes(interval, search_s):
    made = bus(interval=str(interval))
    made.search_s = search_s
    times = [frame.stamp.wall for _ in range(90) for frame in read(made)]
    late = sum(after - before != interval for before, after in pairwise(times))
    assert late <= 1, "the first look had to show how long one takes"
    assert ("search" in made.asked) == (interval > 1)


@pytest.mark.parametrize(
    ("search_s", "looks", "left_out"), [(0.1, 3, 3), (0.9, 3, 6), (1.5, 3, 9), (20.0, 1, 21)]
)
def test_where_no_time_is_left_a_look_is_taken_all_the_same_for_a_hundredth_of_the_sweeps(
    search_s, looks, left_out
):
    # given a bus that is read every second, for a thousand of them, and something new on it
    made = bus(interval="1")
    made.search_s = search_s
    start = made.clock.wall()
    frames = []
    while made.clock.wall() - start < 1000:
        frames += read(made)
    # then it is found
    assert made.asked.count("search") == looks
    assert sensor(made, NEW).temperature == 21.0
    # and that cost no more than the sweeps of that time, each of the others being at its second and index
    times = [frame.stamp.wall for frame in frames]
    assert sum(after - before - 1 for before, after in pairwise(times)) == left_out
    assert all(time == int(time) for time in times)
    assert {frame.values for frame in frames} == {frames[0].values}


def test_no_look_at_a_bus_that_is_out_of_order():
    made = bus()
    made.trouble = BusFault("shorted")
    for _ in range(3):
        read(made)
    assert "search" not in made.asked


@pytest.mark.parametrize("trouble", [BusFault("shorted"), OSError("gone")])
def test_a_look_that_fails_takes_no_frame_away(trouble, caplog):
    made = bus()
    read(made)

    def search():
        raise trouble

    made.search = search
    (frame,) = read(made)
    assert frame.values[:2] == (18.5, 40.0)
    assert not caplog.records


def test_a_look_by_hand_reads_what_it_is_told_to_and_what_is_new_at_once():
    made = bus()
    made.look(made.sensors.roms())
    assert made.asked == ["search", [A, B, NEW]]
    made.trouble = BusFault("shorted")
    with pytest.raises(BusFault):
        made.look(made.sensors.roms())
    assert {one.fault for one in report(made).sensors} == {"the bus does not work"}


def test_a_bus_without_anything_is_looked_at_without_a_sweep():
    made = bus()
    made.celsius = {}
    made.look()
    assert made.asked == ["search"]
