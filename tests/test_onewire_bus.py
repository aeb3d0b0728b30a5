"""What every way to the bus does with a sweep: one frame on the grid, indices kept, troubles said once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gateway.conf.indices import claims
from gateway.settings import SettingsFault, build
from listeners.onewire.bus import BusFault, OneWire
from listeners.onewire.ds18b20 import Fault
from listeners.onewire.rom import Rom
from listeners.simulated.clock import VirtualClock, VirtualFlag

A, B, C = (Rom.parse(text) for text in ("28.33F749050000", "28.DB564A050000", "28.AB1663050000"))
SENSORS = {"sensor1": [str(A), "flow"], "sensor2": str(B), "sensor4": str(C)}


@dataclass(kw_only=True)
class Bus(OneWire):
    """A bus that answers what the test puts into `answers`, and raises what is an exception."""

    answers: list = field(default_factory=list, init=False)
    present: set | None = field(default_factory=set, init=False)
    searches: int = field(default=0, init=False)
    asked: list = field(default_factory=list, init=False)

    failing: dict = field(default_factory=dict, init=False)

    place = "a bus"

    def bus_fault(self, rom):
        return self.failing.get(rom, "")

    def sweep(self, roms):
        self.asked.append(list(roms))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def search(self):
        self.searches += 1
        if self.present is None:
            raise BusFault("not now")
        return self.present


def bus(*answers, **entries):
    made = build(Bus, {"node": "9", **(entries or SENSORS)})
    made.name = "cellar"
    made.clock = VirtualClock(wall=1_700_000_003.0)
    made.answers = list(answers)
    return made


def read(bus):
    (frame,) = bus.read(VirtualFlag(bus.clock))
    return frame


ALL = {A: 18.7, B: 18.6, C: 19.2}


def test_one_frame_at_the_time_of_the_grid():
    thermometers = bus(ALL, ALL)
    first, second = read(thermometers), read(thermometers)
    assert first.values == (18.7, 18.6, None, 19.2)
    assert (first.node, first.source) == ("9", "cellar")
    assert (first.name(1), first.name(2), first.name(4)) == ("flow", "", "")
    assert (first.stamp.wall, second.stamp.wall) == (1_700_000_010, 1_700_000_020)


def test_every_sensor_is_asked_for_once():
    thermometers = bus(ALL, sensor1=str(A), sensor2=str(B), sensor3=A.linux)
    assert read(thermometers).values == (18.7, 18.6, 18.7)
    assert thermometers.asked == [[A, B]]


def test_offsets_are_added_at_their_index():
    thermometers = bus(ALL, **SENSORS, offset2="-0.25")
    assert read(thermometers).values == (18.7, 18.35, None, 19.2)


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_is_none_at_its_index_and_counted(fault):
    thermometers = bus({**ALL, B: fault}, {**ALL, B: fault})
    assert read(thermometers).values == (18.7, None, None, 19.2)
    assert read(thermometers).values == (18.7, None, None, 19.2)
    assert thermometers.record.faults == {(B, fault): 2}


def test_a_sensor_that_the_sweep_left_out_has_not_answered():
    thermometers = bus({A: 18.7, B: 18.6})
    assert read(thermometers).values == (18.7, 18.6, None, None)
    assert thermometers.record.faults == {(C, Fault.NO_ANSWER): 1}


def test_one_line_when_a_trouble_starts_and_one_when_it_ends(said):
    thermometers = bus(ALL, {**ALL, A: Fault.CRC}, {**ALL, A: Fault.POWER_ON}, ALL, ALL)
    read(thermometers)
    assert said() == []
    read(thermometers)
    assert said() == [f"sensor1 {A} (flow): damaged on the way (CRC); check cable, length and pull-up"]
    read(thermometers)
    assert said() == []
    read(thermometers)
    assert said() == [f"sensor1 {A} (flow): reads again, 18.7 °C"]
    read(thermometers)
    assert said() == []


def test_what_comes_and_goes_is_logged_once_an_hour(said):
    # given a loose plug, and a bus that is shorted now and then
    shorted = BusFault("the line is shorted")
    thermometers = bus(*[ALL, {**ALL, A: Fault.CRC}, ALL, shorted] * 150)
    # when that goes on for an hour and a half
    for _ in range(540):
        read(thermometers)
    # then each beginning and each end that goes with it is logged twice
    words = ["sensor1", "sensor1", "the line", "the bus"]
    assert [any(map(line.startswith, words)) for line in said()] == [True] * 8
    assert thermometers.record.faults[A, Fault.CRC] == 135


def test_a_sensor_at_two_indices_is_named_with_both(said):
    thermometers = bus({}, sensor1=str(A), sensor3=str(A))
    read(thermometers)
    assert said() == [f"sensor1 and sensor3 {A}: no answer; check its plug and cable, and its id"]


def test_a_fault_of_the_bus_is_said_once_for_all(said):
    thermometers = bus(ALL, BusFault("the line is shorted"), BusFault("the line is shorted"), ALL)
    read(thermometers)
    assert read(thermometers).values == (None, None, None, None)
    assert said() == ["the line is shorted; its sensors have no value until it answers"]
    read(thermometers)
    assert said() == []
    assert read(thermometers).values == (18.7, 18.6, None, 19.2)
    assert said() == ["the bus answers again"]
    assert thermometers.record.faults == {(rom, Fault.BUS): 2 for rom in (A, B, C)}


def test_a_bus_of_which_no_sensor_answers_yet_does_not_answer_again(said):
    thermometers = bus(BusFault("the line is shorted"), {}, {A: 18.7})
    read(thermometers)
    said()
    read(thermometers)
    assert said() == []
    read(thermometers)
    assert said() == [
        "the bus answers again",
        f"sensor2 {B}: no answer; check its plug and cable, and its id",
        f"sensor4 {C}: no answer; check its plug and cable, and its id",
    ]


TWENTY = [Rom.parse(f"28.{n:02X}A749050000") for n in range(20)]


def bus_of_twenty(*answers):
    return bus(*answers, **{f"sensor{n}": str(rom) for n, rom in enumerate(TWENTY, 1)})


def test_sensors_that_fail_together_are_one_line(said):
    well = dict.fromkeys(TWENTY, 20.0)
    silent = dict.fromkeys(TWENTY, Fault.NO_ANSWER)
    thermometers = bus_of_twenty(well, silent, silent, well)
    read(thermometers)
    read(thermometers)
    assert said() == ["all 20 sensors: no answer; check the bus: its cable, supply and pull-up"]
    assert thermometers.health().troubles == ["all 20 sensors: no answer"]
    read(thermometers)
    assert said() == []
    read(thermometers)
    assert said() == ["all 20 sensors read again"]
    assert thermometers.health().troubles == []


def test_some_that_fail_together_are_one_line_and_others_stay_by_themselves(said):
    well = dict.fromkeys(TWENTY, 20.0)
    some = {**well, **dict.fromkeys([*TWENTY[2:5], TWENTY[9]], Fault.NO_ANSWER), TWENTY[15]: Fault.CRC}
    thermometers = bus_of_twenty(well, some, {**well, TWENTY[9]: Fault.NO_ANSWER}, well)
    read(thermometers)
    read(thermometers)
    which = "4 of 20 sensors (sensor3 to sensor5, sensor10)"
    alone = f"sensor16 {TWENTY[15]}: damaged on the way (CRC)"
    assert said() == [
        f"{which}: no answer; they may share a cable: check it, its plug and its supply",
        f"{alone}; check cable, length and pull-up",
    ]
    assert thermometers.health().troubles == [f"{which}: no answer", alone]
    read(thermometers)
    assert said() == ["4 of 20 sensors (sensor3 to sensor5, sensor16) read again"]
    read(thermometers)
    assert said() == [f"sensor10 {TWENTY[9]}: reads again, 20 °C"]


def test_of_two_sensors_both_are_the_bus_and_one_is_itself(said):
    well = {A: 20.0, B: 20.0}
    thermometers = bus(well, {A: 20.0}, {}, well, {}, sensor1=str(A), sensor2=str(B))
    read(thermometers)
    read(thermometers)
    assert said() == [f"sensor2 {B}: no answer; check its plug and cable, and its id"]
    read(thermometers)
    assert said() == [f"sensor1 {A}: no answer; check its plug and cable, and its id"]
    read(thermometers)
    assert said() == ["all 2 sensors read again"]
    thermometers.clock.sleep(3600)
    read(thermometers)
    assert said() == ["all 2 sensors: no answer; check the bus: its cable, supply and pull-up"]


def test_what_the_bus_is_at_fault_for_is_one_trouble_in_the_status_with_its_cause():
    # given a bus that fails in one way and then in another
    faults = [BusFault("the line is shorted"), BusFault("it is empty")]
    thermometers = bus_of_twenty(*faults, dict.fromkeys(TWENTY, 20.0), {})
    read(thermometers)
    # then the status says how it fails now
    assert thermometers.health().troubles == ["all 20 sensors: the line is shorted"]
    read(thermometers)
    assert thermometers.health().troubles == ["all 20 sensors: it is empty"]
    # and when it answers again, nothing is left of that
    read(thermometers)
    assert thermometers.health().troubles == []
    read(thermometers)
    assert thermometers.health().troubles == ["all 20 sensors: no answer"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_where_one_of_several_buses_fails_one_line_names_it(said, count):
    # given twenty sensors, some of them on a bus that fails
    failed = TWENTY[:count]
    thermometers = bus_of_twenty(
        {**dict.fromkeys(TWENTY, 20.0), **dict.fromkeys(failed, Fault.BUS)}, dict.fromkeys(TWENTY, 20.0)
    )
    thermometers.failing = dict.fromkeys(failed, "bus.1 (DS9490) is shorted")
    read(thermometers)
    # then the log, the status and the report for `sensors` have one line that says which, and how
    (line,) = said()
    who = {1: f"sensor1 {TWENTY[0]}", 2: "2 of 20 sensors (sensor1 to sensor2)"}
    assert line == f"{who.get(count, '5 of 20 sensors (sensor1 to sensor5)')}: bus.1 (DS9490) is shorted"
    assert thermometers.health().troubles == [line]
    assert thermometers.health().details["onewire"]["failing"] == ["bus.1 (DS9490) is shorted"]
    # and when it works again, nothing of that is left
    thermometers.failing = {}
    read(thermometers)
    assert thermometers.health().troubles == thermometers.health().details["onewire"]["failing"] == []


def test_a_failure_that_is_no_fault_of_the_bus_is_raised():
    with pytest.raises(OSError, match="gone"):
        read(bus(OSError("the adapter is gone")))


def test_an_id_that_nobody_has_is_told_which_one_was_meant(said):
    thermometers = bus({A: 18.7, C: 19.2}, ALL, {A: 18.7, C: 19.2})
    thermometers.present = {A, C, Rom.parse("28.DB564A050001")}
    thermometers.search_schedule.last = thermometers.clock.monotonic()  # for others, not long ago
    read(thermometers)
    assert said() == [f"sensor2 {B}: no answer; 28.DB564A050001 is on the bus, which differs in character 15"]
    read(thermometers)
    said()
    thermometers.clock.sleep(3600)
    thermometers.search_schedule.last = thermometers.clock.monotonic()
    read(thermometers)
    assert said() == [f"sensor2 {B}: no answer; check its plug and cable, and its id"]
    assert thermometers.searches == 1, "what has answered before is not looked for"


def test_a_search_that_fails_takes_nothing_away(said):
    thermometers = bus({A: 18.7, C: 19.2})
    thermometers.present = None
    assert read(thermometers).values == (18.7, None, None, 19.2)
    assert said() == [f"sensor2 {B}: no answer; check its plug and cable, and its id"]


def test_a_way_to_the_bus_that_cannot_search_says_what_it_can(said):
    thermometers = bus({A: 18.7, C: 19.2})
    thermometers.search = lambda: OneWire.search(thermometers)
    read(thermometers)
    assert said() == [f"sensor2 {B}: no answer; check its plug and cable, and its id"]


def test_nothing_is_read_when_asked_to_stop():
    thermometers = bus()
    stop = VirtualFlag(thermometers.clock)
    stop.set()
    assert thermometers.read(stop) == []


def test_nothing_is_asked_where_all_are_dummies():
    thermometers = bus(sensor1="Dummy")
    assert thermometers.read(VirtualFlag(thermometers.clock)) == []


def test_a_bus_of_which_no_sensor_is_named_is_searched_too():
    thermometers = bus({A: 18.7}, sensor1="Dummy")
    thermometers.present = {A}
    assert thermometers.read(VirtualFlag(thermometers.clock)) == []
    (sensor,) = thermometers.health().details["onewire"]["sensors"]
    assert (sensor["id"], sensor["temperature"]) == (str(A), 18.7)


def test_its_labels_are_told_by_node_and_index():
    way = bus(sensor1=[str(A), "flow"], sensor2=str(B), sensor4=["Dummy", "attic"])
    assert {each.index: each.label for each in way.catalogue()} == {1: "flow", 2: "", 3: "", 4: "attic"}


def test_it_claims_the_indices_that_have_a_sensor():
    claimed = claims(bus(**SENSORS, sensor7="Dummy").catalogue())["9"]
    assert {index: each.identity for index, each in claimed.items()} == {1: str(A), 2: str(B), 4: str(C)}
    assert {(each.unit, each.kind, each.interval) for each in claimed.values()} == {("°C", "temperature", 10)}


@pytest.mark.parametrize(
    ("entries", "remarks"),
    [
        (SENSORS, [("sensor4", "index 3 has no sensor: treated as Dummy")]),
        ({**SENSORS, "sensor3": "Dummy"}, []),
        (
            {"sensor2": str(A), "sensor7": str(B), "sensor9": "Dummy"},
            [
                ("sensor2", "index 1 has no sensor: treated as Dummy"),
                ("sensor7", "indices 3 to 6 have no sensor: treated as Dummy"),
                ("sensor9", "index 8 has no sensor: treated as Dummy"),
            ],
        ),
        (
            {"sensor1": str(A), "sensor2": str(A)},
            [("sensor2", f"{A} is sensor1 too: its value is sent at both indices")],
        ),
        ({"sensor1": "Dummy"}, [("sensor1", "no sensor is named: there is nothing to read")]),
    ],
)
def test_remarks(entries, remarks):
    assert list(bus(**entries).remarks()) == remarks


@pytest.mark.parametrize(
    ("entries", "key", "words"),
    [
        ({"node": "a/b"}, "node", "1 to 64 letters"),
        ({"interval": "0.5"}, "interval", "1 or more expected, not 0.5"),
        ({"resolution": "13"}, "resolution", "9, 10, 11 or 12 expected, not 13"),
        ({"offset3": "1"}, "offset3", "index 3 has no sensor"),
        ({"sensor2": "28.DB564A05000G"}, "sensor2", "character 15 is G"),
    ],
)
def test_wrong_settings(entries, key, words):
    with pytest.raises(SettingsFault) as refusal:
        build(Bus, {"node": "9", **SENSORS, **entries})
    ((where, message),) = refusal.value.faults
    assert where == key
    assert words in message


def test_a_node_is_needed():
    with pytest.raises(SettingsFault, match="node is missing"):
        build(Bus, SENSORS)
