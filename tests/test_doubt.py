"""What is believed of a sensor after damage."""

from __future__ import annotations

import pytest

from listeners.onewire.doubt import DOUBTS, Doubt, what_comes_twice


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
    assert Doubt().confirm(*reads("a")) == b"a"


def test_after_damage_a_hundred_have_to_come_twice():
    doubt = Doubt()
    doubt.distrust()
    assert [doubt.confirm(*reads("abb")) for _ in range(DOUBTS)] == [b"b"] * DOUBTS
    assert doubt.confirm(*reads("ab")) == b"a"


def test_more_damage_begins_the_doubt_anew():
    doubt = Doubt()
    for _ in range(2):
        doubt.distrust()
        assert [doubt.confirm(*reads("aa")) for _ in range(DOUBTS - 1)] == [b"a"] * (DOUBTS - 1)
    assert doubt.confirm(*reads("abb")) == b"b"
