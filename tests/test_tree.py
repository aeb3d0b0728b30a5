"""The tree of OWFS: which buses it has."""

from __future__ import annotations

from itertools import islice

import pytest

from listeners.onewire.ds18b20 import Fault
from listeners.onewire.tree import Unavailable, buses, read_temperature
from listeners.simulated.clock import VirtualClock


class Shown:
    """A tree with the names of these buses, by path; it counts what is asked."""

    def __init__(self, named) -> None:
        self.asked = 0
        self._named = named

    def read(self, path: str) -> bytes:
        self.asked += 1
        name = self._named(path.removesuffix("interface/settings/name"))
        if not name:
            raise Unavailable
        return name.encode()


def test_the_buses_of_a_server_behind_the_first_are_found():
    names = {"bus.0/": "DS2482-800(0)", "bus.2/": "tcp", "bus.2/bus.1/": "DS9490R", "bus.5/": "fake"}
    assert list(buses(Shown(names.get), VirtualClock().monotonic)) == [
        ("bus.0/", "DS2482-800(0)"),
        ("bus.2/bus.1/", "DS9490R"),
        ("bus.5/", "fake"),
    ]


@pytest.mark.parametrize(
    "named",
    [
        pytest.param(lambda _: "tcp", id="nothing but servers"),
        pytest.param(
            lambda path: {"bus.0/": "DS9490R", "bus.1/": "tcp"}.get(path[-6:]), id="two name each other"
        ),
    ],
)
def test_servers_behind_servers_come_to_an_end(named):
    tree = Shown(named)
    assert len(list(islice(buses(tree, VirtualClock().monotonic), 1000))) <= 8
    assert tree.asked < 400


def test_a_server_that_hangs_is_asked_for_one_of_its_buses_only():
    # given three servers of which the second takes six seconds to answer nothing
    names = {
        "bus.0/": "tcp",
        "bus.0/bus.0/": "DS9490R",
        "bus.1/": "tcp",
        "bus.2/": "tcp",
        "bus.2/bus.3/": "x",
    }
    clock = VirtualClock()

    def named(path):
        if path.startswith("bus.1/bus."):
            clock.sleep(6)
        return names.get(path)

    # when the buses are looked for
    found = list(buses(Shown(named), clock.monotonic))
    # then those of the other two are found, six seconds later, and it is named
    assert found == [("bus.0/bus.0/", "DS9490R"), ("bus.1/", "tcp"), ("bus.2/bus.3/", "x")]
    assert clock.monotonic() == 6


class Mount:
    """A tree with one temperature in the scale that is set, by other clients, too, at each change."""

    def __init__(self, celsius: float, changes) -> None:
        self._celsius = celsius
        self._changes = iter(changes)
        self._scale = next(self._changes)

    def read(self, _path: str) -> bytes:
        shown = self._celsius if self._scale == "C" else self._celsius * 1.8 + 32
        self._change()
        return b"%12g" % shown

    def temperature_scale(self) -> str:
        scale = self._scale
        self._change()
        return scale

    def _change(self) -> None:
        self._scale = next(self._changes, self._scale)


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("first", "CF")
def test_a_scale_that_another_client_changes_meanwhile_makes_no_wrong_temperature(at, first):
    second = "F" if first == "C" else "C"
    tree = Mount(20.5, [first] * (at + 1) + [second])
    assert [read_temperature(tree, "") for _ in range(3)] == [20.5] * 3


def test_a_scale_that_changes_each_time_gives_no_temperature():
    tree = Mount(20.5, "CFFCCFFCCFFCC")
    assert read_temperature(tree, "") is Fault.UNREADABLE
