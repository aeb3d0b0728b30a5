"""Slots: sensorN is index N, whatever stands beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gateway.settings import SettingsFault, build, shown
from listeners.onewire.ds18b20 import Fault
from listeners.onewire.rom import Rom
from listeners.onewire.slots import Offsets, Slot, Slots

A, B, C = (Rom.parse(text) for text in ("28.33F749050000", "28.DB564A050000", "28.AB1663050000"))


@dataclass(kw_only=True)
class Section:
    sensors: Slots = field(default_factory=Slots)
    offsets: Offsets = field(default_factory=Offsets)


def slots(**entries):
    return build(Section, entries).sensors


def test_the_four_slots_of_the_2013_format():
    four = slots(sensor1=str(A), sensor2=str(B), sensor3="Dummy", sensor4=str(C))
    assert four.frame_values({A: 18.7, B: 18.6, C: 19.2}) == (18.7, 18.6, None, 19.2)
    assert four.roms() == [A, B, C]
    assert four.indices() == [1, 2, 4]
    assert four.gaps() == []


@pytest.mark.parametrize(
    ("readings", "values"),
    [
        ({A: 1.0, B: 2.0}, (1.0, None, 2.0)),
        ({A: Fault.CRC, B: 2.0}, (None, None, 2.0)),
        ({B: 0.0}, (None, None, 0.0)),
        ({A: Fault.POWER_ON, B: Fault.NO_ANSWER}, (None, None, None)),
        ({}, (None, None, None)),
    ],
)
def test_what_is_no_temperature_keeps_its_place(readings, values):
    assert slots(sensor1=str(A), sensor3=str(B)).frame_values(readings) == values


def test_numbers_are_ordered_as_numbers():
    ten = slots(sensor10=str(A), sensor9=str(B), sensor2=str(C))
    assert list(ten.by_index) == [2, 9, 10]
    assert ten.frame_values({A: 10.0, B: 9.0, C: 2.0}) == (None, 2.0, *[None] * 6, 9.0, 10.0)


def test_a_gap_is_a_dummy():
    assert slots(sensor2=str(A), sensor5="dummy").gaps() == [1, 3, 4]


@pytest.mark.parametrize("word", ["Dummy", "dummy", "DUMMY"])
def test_dummy_in_any_case(word):
    assert slots(sensor1=word).by_index == {1: Slot(None)}


def test_one_sensor_may_stand_at_two_indices():
    twice = slots(sensor1=str(A), sensor3=A.linux)
    assert twice.roms() == [A]
    assert twice.indices(A) == [1, 3]
    assert twice.frame_values({A: 20.0}) == (20.0, None, 20.0)


@pytest.mark.parametrize(
    ("key", "raw", "words"),
    [
        ("sensor1", "28.33F74905000O", "28.33F74905000O: character 15 is O"),
        ("sensor1", "dumy", "(did you mean dummy?)"),
        ("sensor1", "", "an id or Dummy expected, not nothing"),
        ("sensor1", [], "an id or Dummy expected, not nothing"),
        ("sensor1", ["28.33F749050000", "a", "b"], "an id and one label expected, not a, b"),
        ("sensor1000", "Dummy", "an index from 1 to 999 expected, not 1000"),
        ("sensor0", "Dummy", "no such setting (did you mean sensor1?)"),
        ("sensor01", "Dummy", "no such setting"),
        ("offset1", "warm", "a number expected, not warm"),
        ("offset1", ["1", "2"], "a number with a point expected"),
        ("offset1", ["1", "warm"], "one value expected"),
    ],
)
def test_a_wrong_entry_is_told_what_is_wrong(key, raw, words):
    with pytest.raises(SettingsFault) as refusal:
        build(Section, {key: raw})
    ((where, message),) = refusal.value.faults
    assert where == key
    assert words in message


def test_entries_are_shown_as_they_could_be_written():
    section = build(
        Section, {"sensor10": "28-00000549f733", "sensor2": ["dummy", "later"], "offset10": "-0.30"}
    )
    assert shown(section) == {
        "sensor2": "Dummy, later",
        "sensor10": "28.33F749050000",
        "offset10": "-0.3",
    }


def test_equal_entries_are_equal_whatever_their_spelling_or_order():
    assert slots(sensor1=str(A), sensor2=str(B)) == slots(sensor2=B.linux, sensor1=A.linux)


def test_offsets_are_added_where_there_is_a_value():
    offsets = Offsets({1: -0.3, 2: 0.5})
    assert offsets.applied((20.0625, None, 19.0)) == (19.7625, None, 19.0)
