"""What is believed of a sensor after damage, and what shows that it has converted."""

from __future__ import annotations

import pytest

from listeners.onewire.rom import Rom
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
