"""A frame as the queue keeps it, and whatever a damaged file may hold instead."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.frame import Frame, Stamp
from gateway.store.frame_text import GarbledFrame, from_text, is_frame, to_text

WHOLE = '["9",[{}],[{},"boot",5.0],[],null,"bridge",false]'


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**64), 2**64)))
def test_a_frame_comes_out_as_it_was_kept(values):
    frame = Frame("9", tuple(values), Stamp(1.5, "boot", 5.0), ("flow",), -61, "radio")
    assert from_text(to_text(frame)) == frame


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1" + "0" * 400, "1" * 5000, '"1"', "[]"])
def test_a_number_that_is_none_is_damage(number):
    assert is_frame(WHOLE.format("1", "2"))
    for text in (WHOLE.format(number, "2"), WHOLE.format("1", number)):
        assert not is_frame(text)


@given(st.text() | st.just("[" * 100_000) | st.just("\x1c"))
def test_text_that_is_no_frame_is_damage_and_nothing_worse(text):
    try:
        frame = from_text(text)
    except GarbledFrame:
        return
    assert all(math.isfinite(value) for _, value in frame.items())
