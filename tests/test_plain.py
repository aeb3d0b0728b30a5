"""Text from anywhere as a line: what is shown as it is, what is escaped, and what is masked."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.text.plain import LONGEST, plain

KEY = "0123456789abcdef0123456789ABCDEF"


@pytest.mark.parametrize(
    "text",
    [
        *("", "sensor1: no answer", "größe 21.5 °C", "\N{FAMILY}\u200d\N{BOY}", r"a \ backslash"),
        *("/dev/serial/by-id/usb-ITead_Sonoff_" + KEY + "-if00-port0", "28.33F749050000", KEY[:-1]),
        *(f"g{KEY}".replace("-", ""), "f" * 65),
    ],
)
def test_what_is_shown_as_it_is(text):
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x9b1m\x7f\0", r"\x1b[2J\x9b1m\x7f\x00"),
        ("\u202eabc\u2066\u200f", r"\u202eabc\u2066\u200f"),
        ("a\u2028b\u2029c\x85", r"a\u2028b\u2029c\x85"),
        ("\ud800", r"\ud800"),
        (KEY, "********"),
        (f"[[{KEY}]]: no such section", "[[********]]: no such section"),
        (f"apikey={KEY}&x", "apikey=********&x"),
        (f"{KEY} {KEY.lower()}", "******** ********"),
    ],
)
def test_what_is_not(text, shown):
    assert plain(text) == shown


@given(st.text() | st.text(alphabet="\x00\n\x1b\x85\x9b\u2028\u202e\u2066a\ud800", max_size=20))
def test_whatever_the_text_is_it_is_one_line_that_can_be_written(text):
    shown = plain(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in shown)
    assert not any(unicodedata.bidirectional(each) in ("LRE", "RLE", "LRO", "RLO", "PDF") for each in shown)
    assert not any(unicodedata.bidirectional(each) in ("LRI", "RLI", "FSI", "PDI") for each in shown)


def test_a_long_text_is_cut_and_a_key_at_the_cut_is_not_shown_by_half():
    shown = plain("x" * (LONGEST - 10) + f" {KEY} " + "y" * 100)
    assert KEY[:8] not in shown
    assert len(shown) < LONGEST + 30
    assert shown.endswith("more)")
