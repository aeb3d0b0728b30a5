"""Text from anywhere as a line: what is shown as it is, what is escaped, and what is masked."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.text.plain import LONGEST, check_printable, plain

KEY = "0123456789abcdef0123456789ABCDEF"


@pytest.mark.parametrize(
    "text",
    [
        *("", "sensor1: no answer", "größe 21.5 °C", "\N{FAMILY}\u200d\N{BOY}", r"a \ backslash"),
        *("/dev/serial/by-id/usb-ITead_Sonoff_" + KEY + "-if00-port0", "28.33F749050000", KEY[:-1]),
        *(f"g{KEY}".replace("-", ""), "f" * 65),
        *("http://emonpi/feed/list.json?id=3&time=now", "http://emonpi/?apikey=&id=3", "ssh://me@emonpi:22"),
        *("key=value", "a token=8 of no query"),
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
        (
            "(http://emonpi/list.json?id=3&apikey=SECRETtwo): silent",
            "(http://emonpi/list.json?id=3&apikey=********): silent",
        ),
        ('"https://x/?api_key=a.b-c%2F,d;e&id=3", pump', '"https://x/?api_key=********&id=3", pump'),
        ("/write?db=home&u=me&p=s3cret", "/write?db=home&u=me&p=********"),
        ("/?access_token=s3cret /?X-Auth-Token=s3cret", "/?access_token=******** /?X-Auth-Token=********"),
        ("/?Password=s3cret#key /?key=s3cret, and", "/?Password=********#key /?key=********, and"),
        ("curl -d apikey=SECRETtwo", "curl -d apikey=********"),
        ("mqtt://me:s3c:ret@emonpi", "mqtt://me:********@emonpi"),
    ],
)
def test_what_is_not(text, shown):
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("secret\u200bsecret", "character 7 of 13, U+200B ZERO WIDTH SPACE, which"),
        ("secret\xa0", "character 7 of 7, U+00A0 NO-BREAK SPACE, which"),
        ("\tsecret\x07", "character 1 of 8, U+0009, which"),
        ("\udc80secret", "character 1 of 7, U+DC80, which"),
    ],
)
def test_a_character_that_cannot_be_seen_is_named_with_its_place_and_nothing_else_of_the_text(text, found):
    with pytest.raises(ValueError, match="one line of printable characters expected: remove ") as caught:
        check_printable(text)
    assert f"{found} cannot be seen" in str(caught.value)
    assert "secret" not in str(caught.value)
    check_printable("größe 21.5 °C")


@given(st.text() | st.text(alphabet="\x00\n\x1b\x85\x9b\u2028\u202e\u2066a\ud800", max_size=20))
def test_whatever_the_text_is_it_is_one_line_that_can_be_written(text):
    shown = plain(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in shown)
    assert not any(unicodedata.bidirectional(each) in ("LRE", "RLE", "LRO", "RLO", "PDF") for each in shown)
    assert not any(unicodedata.bidirectional(each) in ("LRI", "RLI", "FSI", "PDI") for each in shown)


@pytest.mark.parametrize("part", ["?key=", "?", "key", "://:", "://", ":", "?key=)", ")", "&p=,"])
def test_no_text_takes_long(part):
    began = time.process_time()
    plain(f"?key={part * 40_000}")
    assert time.process_time() < began + 2


def test_a_long_text_is_cut_and_a_key_at_the_cut_is_not_shown_by_half():
    shown = plain("x" * (LONGEST - 10) + f" {KEY} " + "y" * 100)
    assert KEY[:8] not in shown
    assert len(shown) < LONGEST + 30
    assert shown.endswith("more)")
