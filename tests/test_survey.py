"""`oemgateway sensors`: who is asked, what is found, and what a person reads of it."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.conf import document
from gateway.present.asking import RunningGateway
from gateway.process import control
from gateway.settings import build
from listeners.onewire.commands.listing import as_json, listing
from listeners.onewire.commands.roster import roster
from listeners.onewire.commands.survey import GatewaySensors, OwnListeners, Survey, usual_listeners
from listeners.onewire.drivers import ds2482
from listeners.onewire.drivers.owfs import Owfs
from listeners.onewire.drivers.w1 import W1
from listeners.onewire.report import Report, Sighting
from listeners.ports import i2c
from listeners.simulated.clock import VirtualClock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482 as Chip
from tests.ports import free_port
from tests.simulators.owfs_peers import owserver_process
from tests.statuses import answer, listener

CELLAR, FLOW, RETURN, TANK = "28.33F749050000", "28.DB564A050000", "28.AB1663050000", "28.E01A77070000"
SWITCH = "29.010203040506"


def report(*sightings, **fields):
    usual = {"place": "a bus", "node": "9", "interval": 10.0, "simulated": False, "highest": 0, "sweeps": 0}
    rest = {"searched": None, "faults": {}, "sensors": list(sightings)}
    return Report(**{**usual, **rest, **fields})


def seen(rom, celsius=20.0, *indices, **fields):
    return Sighting(id=rom, indices=list(indices), temperature=celsius, heard=True, faults={}, **fields)


def missing(rom, *indices, **fields):
    return Sighting(id=rom, indices=list(indices), fault="no answer", faults={"no answer": 1}, **fields)


def shown(survey):
    return listing(survey, roster(survey), "F").splitlines()


# --- The list -------------------------------------------------------------------------------------------


def test_a_table_for_a_person():
    survey = Survey(
        "the running gateway (pid 7)",
        {
            "cellar": report(
                seen(CELLAR, 18.6875, 1, label="cellar", resolution=12, parasite=False, age=2.0),
                seen(FLOW, -0.5, 2, 4, label="flow", resolution=9, parasite=True, age=2.0),
                missing(RETURN, 3, label="return"),
                seen(TANK, 52.0),
                Sighting(id=SWITCH, indices=[], fault="not the scratchpad", faults={}),
                highest=5,
                sweeps=8,
                searched=34.2,
                failing=["bus.1 (DS9490) is shorted"],
            )
        },
    )
    assert shown(survey) == [
        "Seen by the running gateway (pid 7):",
        "  cellar: a bus, read every 10 s, searched 34 s ago",
        "  cellar: bus.1 (DS9490) is shorted",
        "",
        "id                  °C  bits  power     in the configuration",
        "28.33F749050000  18.69  12    supply    cellar sensor1, cellar",
        "28.DB564A050000  -0.50  9     parasite  cellar sensor2, flow; cellar sensor4, flow",
        "28.AB1663050000      -  -     -         cellar sensor3, return: no answer",
        "28.E01A77070000  52.00  -     -         new",
        "29.010203040506      -  -     -         family 29 is a DS2408, which is not supported (a switch)",
        "",
        "Add to [[cellar]] of F:",
        "    sensor6 = 28.E01A77070000",
    ]


def test_nothing_on_the_bus():
    survey = Survey("this command", {"cellar": report(searched=None)})
    assert shown(survey) == [
        "Seen by this command:",
        "  cellar: a bus",
        "",
        "No sensor is there. `oemgateway doctor` says what to look at.",
    ]


def test_one_new_sensor_where_nothing_is_configured_gets_a_section():
    survey = Survey("this command", {"w1": report(seen(CELLAR), node="1")}, types={"w1": "w1"})
    assert shown(survey)[-5:] == [
        "Add below [listeners] of F:",
        "    [[w1]]",
        "    type = w1",
        "    node = 10",
        "    sensor1 = 28.33F749050000",
    ]


def test_a_section_to_be_written_has_a_node_that_is_free():
    reports = {
        "cellar": report(node="10", highest=3),
        "w1": report(seen(CELLAR), node="1"),
        "owfs": report(seen(FLOW), node="1"),
    }
    lines = shown(Survey("this command", reports, types={"w1": "w1", "owfs": "owfs"}))
    assert [line.strip() for line in lines if "node =" in line] == ["node = 11", "node = 12"]


def test_a_section_to_be_written_has_no_node_that_packets_have():
    survey = Survey(
        "this command",
        {"w1": report(seen(CELLAR), node="1")},
        types={"w1": "w1"},
        nodes=frozenset({"10", "11"}),
    )
    assert "    node = 12" in shown(survey)


def test_a_wrong_id_is_answered_with_the_one_that_is_there_and_its_line():
    wrong, hint = "28.DB564A050001", f"{FLOW} is on the bus, which differs in character 15"
    survey = Survey(
        "this command",
        {"cellar": report(missing(wrong, 2, label="flow, upper"), seen(FLOW), seen(TANK), highest=2)},
    )
    assert shown(survey)[-8:] == [
        "",
        f"cellar sensor2, flow, upper: no sensor has the id {wrong}: {hint}",
        "",
        "Replace in [[cellar]] of F:",
        f'    sensor2 = {FLOW}, "flow, upper"',
        "",
        "Add to [[cellar]] of F:",
        f"    sensor3 = {TANK}",
    ]


def test_a_sensor_that_has_answered_before_is_not_taken_for_a_wrong_id():
    gone = Sighting(id="28.DB564A050001", indices=[2], fault="no answer", heard=True, faults={})
    lines = shown(Survey("this command", {"cellar": report(gone, seen(FLOW), highest=2)}))
    assert lines[-2:] == ["Add to [[cellar]] of F:", f"    sensor3 = {FLOW}"]


def test_a_sensor_that_two_ways_see_is_one_row_and_named_once():
    survey = Survey(
        "this command",
        {
            "mounted": report(missing(CELLAR, 1), seen(FLOW), highest=1),
            "owserver": report(seen(CELLAR, 18.5), seen(FLOW), node="1"),
        },
        types={"owserver": "owserver"},
    )
    assert [(str(row.rom), row.seen_by, len(row.places)) for row in roster(survey)] == [
        (CELLAR, ["owserver"], 1),
        (FLOW, ["mounted", "owserver"], 0),
    ]
    lines = shown(survey)
    assert lines[4:7] == [
        "id                  °C  bits  power  seen by            in the configuration",
        "28.33F749050000  18.50  -     -      owserver           mounted sensor1",
        "28.DB564A050000  20.00  -     -      mounted, owserver  new",
    ]
    assert lines[-2:] == ["Add to [[mounted]] of F:", f"    sensor2 = {FLOW}"]


OFF = f"""[listeners]
[[k]]
type = w1
active = no
sensor1 = {CELLAR}, cellar
sensor2 = Dummy
sensor3 = nonsense
[[demo]]
type = ds2482
bus = simulated
active = no
sensor1 = {TANK}
"""


def test_a_sensor_of_a_section_that_is_off_is_no_new_one_unless_it_was_simulated():
    survey = Survey("x", {"w1": report(seen(CELLAR), seen(TANK))}, types={"w1": "w1"})
    survey.consider(document.parse(Path("F"), OFF.encode()))
    lines = shown(survey)
    assert f"{CELLAR}  20.00  -     -      in [[k]], which is off" in lines
    assert [line.strip() for line in lines if "sensor" in line] == [f"sensor1 = {TANK}"]


def test_two_sections_of_one_node_share_its_indices():
    survey = Survey("this command", {"a": report(seen(FLOW), highest=2), "b": report(seen(TANK), highest=7)})
    assert json.loads(as_json(survey, roster(survey)))["add"] == {
        "a": [f"sensor8 = {FLOW}"],
        "b": [f"sensor9 = {TANK}"],
    }


def test_an_index_that_ever_had_a_sensor_is_not_used_again():
    # given a section whose index 3 had another sensor, and a section to be written on a node that had some
    survey = Survey(
        "this command",
        {"a": report(seen(FLOW), highest=2), "w1": report(seen(TANK), node="1")},
        types={"w1": "w1"},
        remembered={"9": 3, "10": 7},
    )
    # when the lines to paste are shown, then they have indices above those
    assert json.loads(as_json(survey, roster(survey)))["add"] == {
        "a": [f"sensor4 = {FLOW}"],
        "w1": ["[[w1]]", "type = w1", "node = 10", f"sensor8 = {TANK}"],
    }


def test_where_it_is_not_known_what_an_index_had_that_is_said_beside_the_lines():
    survey = Survey("this command", {"a": report(seen(FLOW))}, unremembered="no right to")
    assert shown(survey)[-4:-1] == [
        f"    sensor1 = {FLOW}",
        "",
        "Which sensors had an index before is not known here (no right to):",
    ]
    assert json.loads(as_json(survey, roster(survey)))["unremembered"] == "no right to"
    # but not where there is nothing to be added
    survey.reports["a"] = report(seen(FLOW, 20.0, 1), highest=1)
    assert not any("no right to" in line for line in shown(survey))


def test_nobody_is_told_to_read_sensors_that_a_server_makes_up():
    survey = Survey(
        "this command", {"owserver": report(seen(FLOW), simulated=True)}, types={"owserver": "owserver"}
    )
    lines = shown(survey)
    assert lines[1] == "  owserver: a bus, its sensors are simulated"
    assert lines[-1].endswith("  simulated")
    assert not [line for line in lines if "sensor1 =" in line]


def test_all_that_is_known_as_json():
    survey = Survey(
        "this command",
        {"cellar": report(seen(CELLAR, 18.5, 1, label="cellar", resolution=12), missing(FLOW, 2), highest=2)},
        troubles={"attic": "no bus"},
    )
    told = json.loads(as_json(survey, roster(survey)))
    assert told["troubles"] == {"attic": "no bus"}
    assert told["ways"]["cellar"]["place"] == "a bus"
    first, second = told["sensors"]
    assert (first["id"], first["temperature"], first["resolution"]) == (CELLAR, 18.5, 12)
    assert first["places"] == [{"section": "cellar", "index": 1, "node": "9", "label": "cellar"}]
    assert (second["fault"], second["faults"], second["ways"]) == ("no answer", {"no answer": 1}, [])


# --- Looking for oneself --------------------------------------------------------------------------------


class House:
    """A simulated chip behind /dev/i2c-1, in virtual time, and a listener for it."""

    def __init__(self, celsius, **entries):
        self.clock = VirtualClock()
        self.chip = Chip(self.clock, [Ds18b20(rom, value) for rom, value in celsius.items()], i2c_hz=100e3)
        self.listener = build(ds2482.Ds2482, {"node": "9", **entries})
        self.listener.name = "cellar"

    def ways(self, *others, configured=True):
        return closing(OwnListeners({"cellar": self.listener} if configured else {}, others, self.clock))


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setattr(i2c, "LOCKS", tmp_path)

    def make(celsius, **entries):
        made = House(celsius, **entries)
        monkeypatch.setattr(ds2482, "open_bus", lambda bus, address: made.chip)
        return made

    return make


def test_all_sensors_are_found_and_read_in_one_conversion(house):
    three = house({CELLAR: 18.5, FLOW: 40.25, TANK: 52.0}, sensor1=[CELLAR, "cellar"], sensor2="Dummy")
    three.chip.sensors[1].parasite = True
    with three.ways() as ways:
        survey = ways.look()
    assert three.clock.monotonic() < 1.5
    assert [(str(row.rom), row.known.temperature, row.known.parasite) for row in roster(survey)] == [
        (CELLAR, 18.5, False),
        (FLOW, 40.25, True),
        (TANK, 52.0, False),
    ]
    assert {row.known.resolution for row in roster(survey)} == {12}
    assert json.loads(as_json(survey, roster(survey)))["add"] == {
        "cellar": [f"sensor3 = {FLOW}", f"sensor4 = {TANK}"]
    }


def test_sensors_on_all_channels_are_found(house):
    one = house({CELLAR: 18.5})
    one.chip.__init__(one.clock, one.chip.sensors, channels=8)
    one.chip.channels[5].append(Ds18b20(FLOW, 40.25))
    with one.ways() as ways:
        assert {row.known.temperature for row in roster(ways.look())} == {18.5, 40.25}
        assert ways.sample() == {CELLAR: 18.5, FLOW: 40.25}


def test_a_short_is_a_trouble_and_no_sensor_has_a_value(house):
    one = house({CELLAR: 18.5}, sensor1=CELLAR)
    one.chip.shorted = True
    with one.ways() as ways:
        survey = ways.look()
    assert "shorted" in survey.troubles["cellar"]
    assert [row.known.fault for row in roster(survey)] == ["the bus does not work"]


def test_a_chip_that_is_read_is_left_alone(house):
    one = house({CELLAR: 18.5})
    held = i2c.Lock("1", 0x18)
    with one.ways() as ways:
        survey = ways.look()
    held.release()
    assert survey.reports == {}
    assert "another section of oemgateway.conf reads this chip" in survey.troubles["cellar"]


def test_the_chip_is_free_again_afterwards(house):
    one = house({CELLAR: 18.5})
    with one.ways() as ways:
        ways.look()
    i2c.Lock("1", 0x18).release()


def way(kind, name, **entries):
    made = build(kind, {"node": "1", **entries})
    made.name = name
    return made


def test_the_usual_ways_are_tried_besides_but_none_twice(house, tmp_path):
    one = house({CELLAR: 18.5}, sensor1=CELLAR)
    (tmp_path / "28-00000549f733").mkdir()
    kernel = way(W1, "w1", path=str(tmp_path))
    with one.ways(kernel, way(ds2482.Ds2482, "ds2482"), way(W1, "w1", path="/nowhere")) as ways:
        survey = ways.look()
    assert list(survey.reports) == ["cellar", "w1"]
    assert survey.types == {"w1": "w1", "w1-2": "w1"}
    assert "is 1-Wire on" in survey.troubles["w1-2"]
    (row,) = roster(survey)
    assert (row.seen_by, row.known.temperature) == (["cellar"], 18.5)


def test_a_usual_way_has_a_name_of_its_own(house, tmp_path):
    one = house({CELLAR: 18.5})
    ways = OwnListeners({"w1": one.listener}, [way(W1, "w1", path=str(tmp_path))], one.clock)
    with closing(ways):
        survey = ways.look()
    assert (list(survey.reports), survey.types) == (["w1", "w1-2"], {"w1-2": "w1"})


def test_an_empty_mount_point_is_no_bus(tmp_path):
    with closing(OwnListeners({}, [way(Owfs, "owfs", path=str(tmp_path))], VirtualClock())) as ways:
        survey = ways.look()
    assert survey.reports == {}
    assert survey.troubles == {"owfs": f"{tmp_path}: nothing is mounted there"}


def test_a_chip_that_owfs_drives_is_not_disturbed(house, tmp_path):
    # given OWFS on the DS2482 that would be looked for
    name = tmp_path / "bus.0/interface/settings/name"
    name.parent.mkdir(parents=True)
    name.write_text("DS2482-100")
    (tmp_path / "bus.0/uncached").mkdir()
    one = house({CELLAR: 18.5})
    with one.ways(
        way(Owfs, "owfs", path=str(tmp_path)), way(ds2482.Ds2482, "ds2482"), configured=False
    ) as ways:
        survey = ways.look()
    assert list(survey.reports) == ["owfs"]


def test_a_missing_library_is_a_trouble_of_that_way(house, monkeypatch):
    def no_library(bus, address):
        raise ModuleNotFoundError("No module named 'smbus2'")

    one = house({CELLAR: 18.5})
    monkeypatch.setattr(ds2482, "open_bus", no_library)
    with one.ways() as ways:
        assert "smbus2" in ways.look().troubles["cellar"]


def test_fake_sensors_of_an_owserver_are_known_as_such(tmp_path):
    port = free_port()
    with (
        owserver_process(port, tmp_path, [f"--mock={CELLAR}"]),
        closing(
            OwnListeners(
                {}, [way(usual_listeners()[0].__class__, "owserver", server=f"127.0.0.1:{port}")], Clock()
            )
        ) as ways,
    ):
        survey = ways.look()
    (row,) = roster(survey)
    assert (str(row.rom), row.known.resolution) == (CELLAR, None)
    assert survey.reports["owserver"].simulated


def test_the_usual_ways():
    assert [way.place for way in usual_listeners()] == [
        "owserver at localhost:4304",
        "/mnt/1wire",
        "/sys/bus/w1/devices",
        "DS2482 at 0x18, I2C bus 1",
    ]


def test_samples_come_once_a_second_and_without_what_has_failed(house):
    two = house({CELLAR: 18.5, FLOW: 40.0}, sensor1=CELLAR)
    with two.ways() as ways:
        ways.look()
        assert ways.sample() == {CELLAR: 18.5, FLOW: 40.0}
        start = two.clock.monotonic()
        two.chip.sensors[1].present = False
        assert [ways.sample(), ways.sample()] == [{CELLAR: 18.5}] * 2
        assert two.clock.monotonic() - start == pytest.approx(2.0, abs=1.0)
        two.chip.sensors[1].present = True
        assert ways.sample() == {CELLAR: 18.5, FLOW: 40.0}
        two.chip.shorted = True
        assert ways.sample() == {}


# --- The running gateway --------------------------------------------------------------------------------


@pytest.fixture
def gateway(tmp_path):
    """A socket that answers as a gateway does; what it tells of its listener may be changed."""
    told = {"trouble": "", "report": report(seen(CELLAR, 18.5, 1), seen(TANK, 52.0), highest=1, sweeps=1)}
    answers = {
        "status": lambda: answer(
            pid=7, listeners={"cellar": listener(trouble=told["trouble"]), "radio": listener()}
        ),
        "details": lambda: {
            **({"cellar": {"onewire": asdict(told["report"])}} if told["report"] else {}),
            "own": {"place": "elsewhere"},
        },
    }
    socket = control.Control(tmp_path / "control", answers)
    yield told, RunningGateway(tmp_path / "oemgateway.conf", tmp_path / "control")
    socket.close()


class Steps(VirtualClock):
    """A clock on which something happens at each sleep."""

    def __init__(self, *steps):
        super().__init__()
        self._steps = list(steps)

    def sleep(self, seconds):
        super().sleep(seconds)
        self._steps.pop(0)()


def test_what_the_gateway_knows(gateway):
    told, asked_of = gateway
    told["trouble"] = "the bus is gone"
    survey = GatewaySensors(asked_of, Clock()).look()
    assert survey.who == "the running gateway (pid 7)"
    assert survey.troubles == {"cellar": "the bus is gone"}
    assert [(str(row.rom), row.known.temperature) for row in roster(survey)] == [(CELLAR, 18.5), (TANK, 52.0)]


def test_a_sample_waits_until_the_gateway_has_read_again_and_has_what_it_reads_each_time(gateway):
    told, asked_of = gateway

    def swept():
        told["report"] = report(seen(CELLAR, 19.0, 1), seen(TANK, 52.0), sweeps=2)

    asked = GatewaySensors(asked_of, Steps(lambda: None, lambda: None, swept))
    assert asked.period == 10
    assert asked.sample() == {CELLAR: 18.5}
    assert asked.sample() == {CELLAR: 19.0}


def test_a_gateway_that_ends_meanwhile_is_said_to(gateway):
    _, asked_of = gateway
    asked = GatewaySensors(asked_of, Clock())
    asked_of.socket.unlink()
    with pytest.raises(ConnectionRefusedError, match=r"no gateway answers at .*No such file"):
        asked.sample()


def test_a_gateway_without_a_way_to_a_bus_has_no_sensors(gateway):
    told, asked_of = gateway
    assert GatewaySensors(asked_of, Clock()).has_sensors
    told["report"] = None
    assert not GatewaySensors(asked_of, Clock()).has_sensors


def test_a_gateway_that_hangs_up_is_one_that_is_ending(gateway, monkeypatch):
    monkeypatch.setattr(control, "ask", lambda *_, **__: json.loads(""))
    with pytest.raises(ConnectionRefusedError, match="shutting down"):
        GatewaySensors(gateway[1], Clock())


def test_a_gateway_of_another_version_is_to_be_restarted(gateway):
    told, asked_of = gateway
    del told["report"]
    with pytest.raises(OSError, match="the gateway says: "):
        GatewaySensors(asked_of, Clock())
    told["report"] = replace(report(), sensors=[{"rom": CELLAR}])
    with pytest.raises(OSError, match="another version: restart it"):
        GatewaySensors(asked_of, Clock())
