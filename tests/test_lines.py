from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners.lines import ENDLESS, Lines


def test_a_line_ends_in_lf_or_crlf():
    assert Lines(10).feed(b"one\ntwo\r\n\nthr") == ["one", "two", ""]


def test_the_rest_waits_for_its_end():
    lines = Lines(10)
    assert lines.feed(b"on") == []
    assert lines.unfinished == b"on"
    assert lines.feed(b"e\r") == []
    assert lines.feed(b"\ntwo") == ["one"]


def test_a_byte_that_is_not_ascii_harms_only_its_own_line():
    assert Lines(10).feed(b"1\xff2\n3\n") == ["1\N{REPLACEMENT CHARACTER}2", "3"]


def test_a_line_of_the_greatest_length_is_whole():
    assert Lines(5).feed(b"12345\r\n12345\n") == ["12345", "12345"]


@pytest.mark.parametrize("line", [b"123456", b"123456\r", b"12345\r6", b"12345\r\r", b"1" * 5000])
def test_a_line_that_is_too_long_shows_as_such_and_never_as_a_shorter_one(line):
    first, second = Lines(5).feed(line + b"\n1\n")
    assert len(first) > 5
    assert second == "1"


def test_a_stream_without_line_ends_fills_no_memory():
    lines = Lines(512)
    for _ in range(1000):
        assert lines.feed(b"7 " * 2048) == []
    assert len(lines.unfinished) < 520


def test_a_line_without_an_end_can_be_cut():
    lines = Lines(5)
    assert lines.feed(b"1" * ENDLESS) + lines.cut() == []
    (cut,) = lines.feed(b"1" * 10) + lines.cut()
    assert len(cut) > 5
    assert lines.cut() == []
    # and the rest of it is no line
    assert lines.feed(b"7 1\n8 2\n") == ["8 2"]


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\r", b"\n", b"\r\n"])))
def test_the_segmentation_changes_nothing(segments):
    whole, parts = Lines(20), Lines(20)
    together = whole.feed(b"".join(segments))
    apart = [line for segment in segments for line in parts.feed(segment)]
    assert apart == together
    assert parts.unfinished == whole.unfinished
