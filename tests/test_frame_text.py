"""A frame as the queue keeps it, and whatever a damaged file may hold instead."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.frame import Frame, Stamp
from gateway.store.frame_text import GarbledFrame, from_text, is_frame, to_text

WHOLE = '["9",[{}],[{},"boot",5.0],[],{},"bridge",false]'


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**64), 2**64)))
def test_a_frame_comes_out_as_it_was_kept(values):
    frame = Frame("9", tuple(values), Stamp(1.5, "boot", 5.0), ("flow",), -61, "radio")
    assert from_text(to_text(frame)) == frame


@pytest.mark.parametrize(
    "wrong",
    [
        {"values": ("1.5",)},
        {"values": ([1],)},
        {"values": (10**400,)},
        {"node": 9},
        {"node": ""},
        {"names": (None,)},
        {"rssi": "-61"},
        {"rssi": math.inf},
    ],
)
def test_what_would_be_damage_when_it_comes_out_does_not_go_in(wrong):
    # given a frame of a listener of one's own that has forgotten to make numbers of text
    frame = replace(Frame("9", (1.0,), Stamp(1.5, "boot", 5.0)), **wrong)
    # when it is to be kept, then that is the fault of who made it, and not of the file
    with pytest.raises((ValueError, TypeError, OverflowError)):
        to_text(frame)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1" + "0" * 400, "1" * 5000, '"1"', "[]"])
def test_a_number_that_is_none_is_damage(number):
    assert is_frame(WHOLE.format("1", "2", "-61"))
    for numbers in ((number, "2", "-61"), ("1", number, "-61"), ("1", "2", number)):
        assert not is_frame(WHOLE.format(*numbers))


def test_a_frame_without_a_node_is_damage():
    assert not is_frame(WHOLE.format("1", "2", "null").replace("9", "", 1))


@given(st.text() | st.just("[" * 100_000) | st.just("\x1c"))
def test_text_that_is_no_frame_is_damage_and_nothing_worse(text):
    try:
        frame = from_text(text)
    except GarbledFrame:
        return
    assert all(math.isfinite(value) for _, value in frame.items())
