"""What is believed of a sensor after damage, and what shows that it has converted."""

from __future__ import annotations

import pytest

from listeners.onewire.ds18b20 import MARKER, Fault
from listeners.onewire.rom import Rom, crc8
from listeners.onewire.sensor import DISTRUSTED, Sensor, what_comes_twice

ROM = Rom.parse("28.33F749050000")


def reads(text):
    """Return a first scratchpad and what gives those after it, of a letter each."""
    letters = iter(text.encode())
    return bytes([next(letters)]), lambda: bytes([next(letters)])


@pytest.mark.parametrize(
    ("came", "believed"), [("aa", b"a"), ("abb", b"b"), ("abca", b"a"), ("abcdd", b"d"), ("abcdea", b"")]
)
def test_of_five_at_most_that_is_believed_which_comes_twice(came, believed):
    assert what_comes_twice(*reads(came)) == believed


def test_without_damage_once_is_enough():
    assert Sensor(ROM, None).confirm(*reads("a")) == b"a"


def test_after_damage_a_hundred_have_to_come_twice():
    sensor = Sensor(ROM, None)
    sensor.distrust()
    assert [sensor.confirm(*reads("abb")) for _ in range(DISTRUSTED)] == [b"b"] * DISTRUSTED
    assert sensor.confirm(*reads("ab")) == b"a"


def test_more_damage_begins_the_doubt_anew():
    sensor = Sensor(ROM, None)
    for _ in range(2):
        sensor.distrust()
        assert [sensor.confirm(*reads("aa")) for _ in range(DISTRUSTED - 1)] == [b"a"] * (DISTRUSTED - 1)
    assert sensor.confirm(*reads("abb")) == b"b"


def scratchpad(value, *, marked=True, byte6=0x0C):
    """Return a scratchpad at 12 bits with these two bytes of value."""
    eight = bytes.fromhex(value) + (MARKER if marked else b"\x4b\x46") + bytes([0x7F, 0xFF, byte6, 0x10])
    return eight + bytes([crc8(eight)])


AT_85, AT_25, AT_21, FAILED = "5005", "9001", "5901", "FF07"


def reading(sensor, pad):
    """Return the reading of a scratchpad, as the drivers take it."""
    value = sensor.decode(pad)
    return value if isinstance(value, Fault) or sensor.has_converted(pad) else Fault.POWER_ON


@pytest.mark.parametrize(("value", "celsius"), [(AT_85, 85.0), (AT_25, 25.0)])
def test_with_the_marker_one_proof_is_enough_until_it_is_lost(value, celsius):
    sensor = Sensor(ROM, None, bits=12, marker=MARKER)
    assert reading(sensor, scratchpad(value)) is Fault.POWER_ON
    assert reading(sensor, scratchpad(AT_21)) == 21.5625
    assert reading(sensor, scratchpad(value)) == celsius
    # when the marker is lost, then it has to prove a conversion again
    assert reading(sensor, scratchpad(AT_21, marked=False)) is Fault.POWER_ON
    assert reading(sensor, scratchpad(value)) is Fault.POWER_ON
    # and a conversion that was seen is a proof too
    assert sensor.has_converted(scratchpad(value), seen=True)


@pytest.mark.parametrize(("value", "celsius"), [(AT_85, 85.0), (AT_25, 25.0)])
def test_without_a_marker_each_value_is_a_proof_or_none(value, celsius):
    sensor = Sensor(ROM, None, bits=12)
    for byte6, expected in ((0x10, celsius), (0x0C, Fault.POWER_ON), (0x10, celsius)):
        assert reading(sensor, scratchpad(value, marked=False, byte6=byte6)) == expected


def test_a_failed_conversion_and_another_resolution_are_no_reading():
    sensor = Sensor(ROM, None, bits=12, marker=MARKER)
    assert sensor.decode(scratchpad(FAILED)) is Fault.FAILED
    sensor.bits = 10
    assert sensor.decode(scratchpad(AT_21)) is Fault.RESOLUTION
    assert sensor.decode(scratchpad(AT_21), given=12) == 21.5625


def test_after_damage_a_temperature_near_the_one_before_is_as_good_as_one_that_came_twice():
    sensor = Sensor(ROM, None)
    sensor.follows(20.0)
    sensor.distrust()
    assert [sensor.follows(celsius) for celsius in (20.25, 84.0, 20.5, 20.0)] == [True, False, False, True]


def test_temperatures_that_follow_each_other_end_the_distrust():
    sensor = Sensor(ROM, None)
    sensor.follows(20.0)
    sensor.distrust()
    assert all(sensor.follows(20.0) for _ in range(DISTRUSTED))
    assert sensor.confirm(b"a", lambda: b"b") == b"a"
