"""Damaged lines, by the thousand: never an exception, and never a value that the line does not give.

FUZZ_LINES says how many for each decoder; `make fuzz` tries a million others.
"""

from __future__ import annotations

import json
import os
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.text.numeral import LARGEST
from listeners.lines import Ignored, Lines, Rejected
from listeners.radio import grammar, repeater
from listeners.radio.commands import Order
from listeners.textlines import exec_lines, keyvalue, value_lines
from tests import vectors

FUZZ_LINES = int(os.environ.get("FUZZ_LINES", "0"))

SIGNS = b'0123456789 .,:-+eE()OKGXnaif?>|{}[]"\r\t\0\x7f\xc3\xff'


def lines(*profiles):
    return [parameter.values[0]["line"].encode() for parameter in vectors.lines(*profiles)]


def damaged(draw: random.Random, line: bytes, other: bytes) -> bytes:
    """Return a line as a bad board, a bad cable or a bad baud rate might give it."""
    signs = bytearray(line)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        place = draw.randrange(len(signs) + 1)
        match draw.randrange(6):
            case 0:
                del signs[place : place + draw.choice((1, 1, 2, 9))]
            case 1:
                signs.insert(place, draw.choice(SIGNS))
            case 2:
                signs[place : place + 1] = bytes([draw.randrange(256)])
            case 3:
                signs[place:place] = other[draw.randrange(len(other) + 1) :]
            case 4:
                signs[place:place] = signs[draw.randrange(len(signs) + 1) : place]
            case 5:
                signs[place : place + 1] = b" 10"
    return bytes(signs)


def check_radio(said):
    assert isinstance(said, grammar.Packet | Ignored | Rejected)
    if isinstance(said, grammar.Packet):
        assert 0 <= said.node <= 255
        assert 0 < len(said.data) <= grammar.LONGEST_PAYLOAD
        assert said.rssi is None or -127 <= said.rssi <= 0


def check_values(said):
    assert isinstance(said, value_lines.Values | Ignored | Rejected)
    if isinstance(said, value_lines.Values):
        assert 0 <= said.node <= 255
        assert said.values
        assert any(value is not None for value in said.values)
        assert all(value is None or abs(value) <= LARGEST for value in said.values)


def check_pairs(said):
    assert isinstance(said, keyvalue.Pairs | Ignored | Rejected)
    if isinstance(said, keyvalue.Pairs):
        assert len(set(said.names)) == len(said.names) == len(said.values) > 0
        assert all(name.isascii() and not name.isdecimal() and 0 < len(name) <= 64 for name in said.names)
        assert any(value is not None for value in said.values)
        assert all(value is None or abs(value) <= LARGEST for value in said.values)


@pytest.mark.parametrize(
    ("decode", "check", "profiles"),
    [
        pytest.param(grammar.decode, check_radio, ("rfm2pi", "rfm2pi-raw-header"), id="radio"),
        pytest.param(value_lines.decode, check_values, ("socket", "direct-values"), id="values"),
        pytest.param(keyvalue.decode, check_pairs, ("keyvalue",), id="keyvalue"),
    ],
)
def test_a_damaged_line_is_refused_by_name_or_is_a_line_of_its_grammar(decode, check, profiles):
    draw = random.Random(None if FUZZ_LINES else 1)
    good = lines(*profiles)
    for _ in range(FUZZ_LINES or 5000):
        sent = damaged(draw, draw.choice(good), draw.choice(good))
        for line in Lines(grammar.LONGEST_LINE).feed(sent + b"\n"):
            try:
                check(decode(line))
            except Exception as failure:
                raise AssertionError(f"{line!r}: {failure!r}") from failure


EVERYTHING = (
    st.binary(max_size=80).map(lambda data: Lines(1024).feed(data + b"\n")[0])
    | st.text(max_size=80)
    | st.text(alphabet="0123456789:,.-+eE nai\x1c\x1d\x1e\x1f\x85\xa0\u2028\u0661\ufffd_", max_size=40)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps({"MSG": value})
    )
)


@given(EVERYTHING)
@example("15 \x1c1")
@example("15 1_0")
@example("15 1\u2028")
@example("15 a:\x851")
def test_whatever_a_line_holds_no_decoder_raises(line):
    check_radio(grammar.decode(line))
    check_values(value_lines.decode(line))
    check_pairs(keyvalue.decode(line))
    said = exec_lines.decode(line)
    assert isinstance(said, value_lines.Values | keyvalue.Pairs | Ignored | Rejected)
    assert isinstance(repeater.judge(line, ("s", "a", "i")), Order | Rejected)
