"""Resolution and power supply of a sensor, as far as each way to the bus can know them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import build
from listeners.onewire.drivers.w1 import W1
from listeners.onewire.rom import Rom, crc8
from listeners.simulated.ds18b20 import Ds18b20
from tests.ways import WAYS

OWN, FED, GONE = (Rom.parse(text) for text in ("28.33F749050000", "28.DB564A050000", "28.AB1663050000"))


def read(way, tmp_path, **entries):
    sensors = [Ds18b20(str(rom), 20.0) for rom in (OWN, FED)]
    sensors[1].parasite = True
    slots = {"sensor1": str(OWN), "sensor2": str(FED), "sensor3": str(GONE)}
    with WAYS[way](sensors, {**slots, **entries}, tmp_path) as house:
        house.read()
        house.read()
        return {rom: (note.resolution, note.parasite) for rom, note in house.listener.record.notes.items()}


@pytest.mark.parametrize("way", ["ds2482", "owserver", "owfs"])
def test_a_sensor_that_answers_tells_its_resolution_and_its_power(way, tmp_path):
    assert read(way, tmp_path) == {OWN: (12, False), FED: (12, True), GONE: (None, None)}


def test_a_sensor_on_a_line_without_parasites_has_its_own_supply(tmp_path):
    with WAYS["ds2482"](
        [Ds18b20(str(OWN), 20.0)], {"sensor1": str(OWN), "resolution": "9"}, tmp_path
    ) as house:
        house.read()
        assert house.listener.traits(OWN) == (9, False)
        assert house.listener.traits(GONE) == (None, None)


@pytest.mark.parametrize("way", ["owserver", "owfs", "w1"])
def test_a_sensor_that_has_no_index_here_keeps_its_resolution_as_it_may_be_one_of_another_section(
    way, tmp_path
):
    # given a section with one of two sensors
    sensors = [Ds18b20(str(rom), 20.0) for rom in (OWN, FED)]
    with WAYS[way](sensors, {"sensor1": str(OWN), "resolution": "9"}, tmp_path) as house:
        # when it looks what else there is, as it does once a minute
        for _ in range(3):
            house.read()
            house.listener.look()
        # then it has set its own alone, and reads both
        assert [house.listener.traits(rom) for rom in (OWN, FED)] == [(9, False), (12, False)]
        assert [house.listener.record.notes[rom].reading for rom in (OWN, FED)] == [20.0, 20.0]


@pytest.mark.parametrize(
    ("text", "fed"), [("0\n", True), ("1\n", False), ("-5\n", None), ("", None), (None, None)]
)
def test_the_kernel_is_asked_once(tmp_path, text, fed):
    home: Path = tmp_path / OWN.linux
    home.mkdir()
    scratchpad = bytes.fromhex("40014b467fff1010")
    nine = f"{scratchpad.hex(' ')} {crc8(scratchpad):02x}"
    (home / "w1_slave").write_text(f"{nine} : crc={nine[-2:]} YES\n{nine} t=20000\n")
    (home / "resolution").write_text("12\n")
    if text is not None:
        (home / "ext_power").write_text(text)
    way = build(W1, {"node": "9", "path": str(tmp_path)})
    assert way.sweep([OWN]) == {OWN: 20.0}
    (home / "ext_power").write_text("changed")
    assert way.sweep([OWN]) == {OWN: 20.0}
    assert way.traits(OWN) == (12, fed)
