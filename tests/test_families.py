"""What is no thermometer that is read here is said to be that, and not a bad plug."""

from __future__ import annotations

import pytest

from listeners.onewire.ds18b20 import FAMILIES
from listeners.onewire.families import readable, unread
from listeners.onewire.rom import Rom
from tests.gateway_process import command, state
from tests.ways import WAYS, quick

FLOW, BATTERY = "28.33F749050000", "26.0102030405FF"


@pytest.mark.parametrize(
    ("family", "words"),
    [
        (0x26, "family 26 is a DS2438, which is not supported (a battery monitor)"),
        (0x1D, "family 1D is a DS2423, which is not supported (a counter)"),
        (0x12, "family 12 is a DS2406, which is not supported (a switch)"),
        (0x81, "family 81 is a DS1420, which is not supported (the serial number of an adapter)"),
        (0x18, "family 18 is a DS1963S, which is not supported (a memory)"),
        (0x1F, "family 1F is a DS2409 (a coupler): the sensors behind it can be read through OWFS"),
        (0x77, "family 77 is not supported"),
        *((family, "") for family in FAMILIES),
    ],
)
def test_each_family_is_named(family, words):
    rom = Rom.of(family, bytes(6))
    assert unread(rom) == words
    assert readable([rom]) == ([] if words else [rom])


@pytest.fixture(params=WAYS)
def house(request, tmp_path):
    entries = {"sensor1": FLOW, "sensor2": BATTERY}
    with WAYS[request.param]([quick(FLOW, 21.5)], entries, tmp_path) as made:
        yield made


def test_one_that_is_named_as_a_sensor_keeps_its_index_and_is_no_bad_plug(house, said):
    assert [house.read(), house.read()] == [(21.5, None)] * 2
    assert said() == []
    words = "family 26 is a DS2438, which is not supported (a battery monitor)"
    assert house.listener.health().troubles == [f"sensor2 {BATTERY}: {words}"]
    assert ("sensor2", f"{BATTERY}: {words}") in list(house.listener.remarks())


def test_check_and_sensors_say_it(tmp_path, written):
    home = tmp_path / "1wire" / FLOW
    home.mkdir(parents=True)
    (home / "temperature").write_text("21.5")
    (tmp_path / "1wire" / BATTERY).mkdir()
    file = written(
        f"{state(tmp_path)}[listeners]\n[[tree]]\ntype = owfs\npath = {tmp_path / '1wire'}\nnode = 9\n"
        f"sensor1 = {FLOW}\nsensor2 = {BATTERY}\n[dispatchers]\n[[out]]\ntype = log\n"
    )
    for asked in ("check", "sensors"):
        said = command("--config-file", file, asked)
        assert "family 26 is a DS2438, which is not supported" in said.stdout + said.stderr
        assert "no answer" not in said.stdout + said.stderr
