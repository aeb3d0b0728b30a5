"""Sensors behind a DS2409: found on their branch, by Debian's owserver on a simulated one, and in files."""

from __future__ import annotations

import pytest

from gateway.settings import build
from listeners.onewire.drivers.couplers import locate, uncached
from listeners.onewire.drivers.owfs import Owfs
from listeners.onewire.ds18b20 import Fault
from listeners.onewire.rom import Rom
from listeners.onewire.tree import Unavailable
from listeners.simulated.clock import VirtualClock, VirtualFlag
from tests.simulators.ds2409 import Coupler
from tests.ways import WAYS, quick

COUPLER = "1F.0102030405FF"
TRUNK, MAIN, AUX, GONE = "28.33F749050000", "28.DB564A050000", "28.AB1663050000", "28.4C92D4060000"
ENTRIES = {"sensor1": TRUNK, "sensor2": MAIN, "sensor3": AUX, "sensor4": "Dummy", "sensor5": GONE}


@pytest.fixture(params=["owserver", "owfs"])
def house(request, tmp_path):
    """A sensor on the line, and one on each branch of a coupler."""
    coupler = Coupler(COUPLER, [quick(MAIN, 20.5)], [quick(AUX, -10.25)])
    with WAYS[request.param]([quick(TRUNK, 18.0), coupler], ENTRIES, tmp_path) as made:
        yield made


def test_sensors_on_both_branches_are_read_by_their_ids(house, said):
    coupler = house.sensors[1]
    # when they are read, then they have their values, from the first sweep on
    assert house.read() == (18.0, 20.5, -10.25, None, None)
    (line,) = said()
    assert line.startswith(f"sensor5 {GONE}: no answer")
    coupler.branches[0xCC][0].temperature = 21.75
    coupler.branches[0x33][0].temperature = -3.5
    assert house.read() == (18.0, 21.75, -3.5, None, None)
    # and when one is unplugged and put back, it is none and has its value again
    coupler.branches[0x33][0].present = False
    assert house.read() == (18.0, 21.75, None, None, None)
    coupler.branches[0x33][0].present = True
    assert house.read() == (18.0, 21.75, -3.5, None, None)
    assert len(said()) == 2


def test_a_sensor_that_moves_to_another_branch_is_found_there_in_time(house):
    coupler = house.sensors[1]
    assert house.read()[:3] == (18.0, 20.5, -10.25)
    coupler.branches[0x33] += coupler.branches[0xCC]
    coupler.branches[0xCC].clear()
    assert 20.5 in (house.read()[1] for _ in range(7))
    # also when that is the line itself
    house.chip.sensors.append(coupler.branches[0x33].pop())
    assert 20.5 in (house.read()[1] for _ in range(8))
    assert house.read()[1] == 20.5


def test_what_is_on_its_branches_is_found_by_a_search(house):
    house.read()
    assert set(house.listener.search()) == {Rom.parse(text) for text in (COUPLER, TRUNK, MAIN, AUX)}


def test_a_coupler_in_plain_files(tmp_path):
    for place, celsius in ((TRUNK, 18), (f"{COUPLER}/main/{MAIN}", 20.5), (f"{COUPLER}/aux/{AUX}", -10.25)):
        home = tmp_path / place
        home.mkdir(parents=True)
        (home / "temperature").write_text(f"{celsius:>12}")
    bus = build(Owfs, {"node": "9", "path": str(tmp_path), **ENTRIES})
    bus.name, bus.clock = "cellar", VirtualClock()
    bus.open()
    (frame,) = bus.read(VirtualFlag(bus.clock))
    assert frame.values == (18.0, 20.5, -10.25, None, None)
    assert bus.record.notes[Rom.parse(GONE)].reading is Fault.NO_ANSWER


class Listing:
    """A tree of directories only, in a dict; what is asked for is counted."""

    def __init__(self, directories):
        self.directories = directories
        self.asked = 0

    def names(self, path):
        self.asked += 1
        if path not in self.directories:
            raise Unavailable(path)
        return self.directories[path]

    def read(self, path):
        raise Unavailable(path)


def test_couplers_behind_couplers_are_followed():
    other = "1F.0A0B0C0D0E0F"
    tree = Listing(
        {
            "bus.0/uncached": [COUPLER, "alarm"],
            f"bus.0/uncached/{COUPLER}/aux": [other, "simultaneous"],
            f"bus.0/uncached/{COUPLER}/aux/{other}/main": [MAIN],
        }
    )
    places, _ = locate(tree, ["bus.0/"])
    assert places[Rom.parse(MAIN)] == f"bus.0/{COUPLER}/aux/{other}/main/"
    assert places[Rom.parse(other)] == f"bus.0/{COUPLER}/aux/"


def test_the_directories_that_a_bus_has_itself_are_asked_for_no_address():
    # given a bus and a branch, whose lists have them as OWFS shows them
    asked = []

    class Told(Listing):
        def read(self, path):
            asked.append(path)
            return super().read(path)

    own = ["interface", "simultaneous", "alarm"]
    tree = Told({"bus.0/uncached": [COUPLER, *own], f"bus.0/uncached/{COUPLER}/aux": [MAIN, "tank", *own]})
    # when they are searched
    places, _ = locate(tree, ["bus.0/"])
    # then only what may be an alias of a sensor is
    assert asked == [f"bus.0/{COUPLER}/aux/tank/address"]
    assert places.keys() == {Rom.parse(COUPLER), Rom.parse(MAIN)}


def test_a_tree_that_shows_the_whole_bus_on_each_branch_has_an_end():
    class Endless(Listing):
        def names(self, path):
            self.asked += 1
            return [COUPLER, "1F.0A0B0C0D0E0F", "1F.0F0E0D0C0B0A", TRUNK]

    tree = Endless({})
    places, _ = locate(tree, ["bus.0/"])
    assert places[Rom.parse(TRUNK)] == "bus.0/"
    assert tree.asked < 200


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("bus.0/", "bus.0/uncached/"),
        (f"bus.0/{COUPLER}/main/", f"bus.0/uncached/{COUPLER}/main/"),
        (f"bus.2/bus.10/{COUPLER}/aux/", f"bus.2/bus.10/uncached/{COUPLER}/aux/"),
        ("", ""),
    ],
)
def test_paths_of_what_is_asked_anew(path, asked):
    assert uncached(path) == asked
