"""Which text is a number, and which says that there is no value."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.text.numeral import (
    LARGEST,
    LONGEST,
    NotANumber,
    from_json,
    load_device_json,
    load_json,
    parse,
)

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-16", -16),
        ("+007", 7),
        ("69.5", 69.5),
        ("5.", 5),
        (".5", 0.5),
        ("-.5e1", -5),
        ("3E+38", 3e38),
    ],
)
def test_a_number(text, value):
    assert parse(text) == value


def test_a_whole_number_is_an_int_of_all_its_digits_and_any_other_a_float():
    assert (parse("18446744073709551615"), type(parse("1"))) == (2**64 - 1, int)
    assert type(parse("300.00")) is type(parse("3e2")) is float


@pytest.mark.parametrize(
    "text",
    ["nan", "-nan", "NaN", "inf", "-Infinity", "ovf", "null", "None", "-", "1e39", "-3.5e38", "9" * LONGEST],
)
def test_no_value(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", " 1", "1_0", "0x10", "1,5", "1.2.3", "e5", "--1", ".", "+", "1e", "abc", "-null"),
        *("\u0661", "\u00b2", "1\u00a0", "\x1c1", "1\x1f", "\x851", "1\u2028", "\ufeff1", "1\n", "\0"),
        *("1" * (LONGEST + 1), "nan" * 100, "true"),
    ],
)
def test_neither(text):
    with pytest.raises(NotANumber):
        parse(text)


@given(st.text() | st.text(alphabet="0123456789.eE+-_ \x1c\x85\u2028\u0661nainf"))
@example("\x1c1")
@example("9007199254740993")
def test_whatever_the_text_is_nothing_else_is_raised_and_the_value_is_what_ascii_says(text):
    try:
        value = parse(text)
    except NotANumber:
        return
    assert text.isascii()
    # a whole number stays one, also beyond 2**53, where a float would not have its last digit
    number = int if text.lstrip("+-").isdigit() else float
    assert value is None or (abs(value) <= LARGEST and value == number(text))


@given(st.floats(-LARGEST, LARGEST) | st.integers(-int(LARGEST), int(LARGEST)))
def test_what_python_prints_of_a_number_is_that_number(value):
    assert parse(repr(value)) == from_json(value) == from_json(f" {value!r}\t") == value


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((True, 1), (False, 0), (None, None), ("", None), (" ", None), ("7.5", 7.5), (" 7\r\n", 7)),
        *(("null", None), (math.nan, None), (-math.inf, None), (10**400, None), (1e39, None)),
    ],
)
def test_a_value_of_json(value, number):
    assert from_json(value) == number
    assert not isinstance(from_json(value), bool)


@pytest.mark.parametrize("value", ["active", "true", "\x1c1", "1\u00a0", "1 2", [], [1], {}, {"a": 1}])
def test_what_is_no_number_in_json(value):
    with pytest.raises(NotANumber):
        from_json(value)


def test_json_may_hold_what_it_has_no_number_for():
    assert list(map(from_json, load_json(f"[NaN, -Infinity, 1e999, {'9' * 9999}, 1]"))) == [*[None] * 4, 1]


@pytest.mark.parametrize("word", ["nan", "-nan", "inf", "-inf", "ovf", "-ovf", "NAN", "INF"])
def test_json_of_a_device_may_hold_what_c_and_arduino_print_for_no_number(word):
    text = f'{{"a":{word},"nan": [ {word} , 2],"b\\"nan,":"nan"}}'
    assert load_device_json(text) == {"a": None, "nan": [None, 2], 'b"nan,': "nan"}


def test_json_of_a_device_may_leave_out_a_value():
    text = '{"a":,"b:,}":{"c": \t,"d":2},"e":":,","f": }'
    assert load_device_json(text) == {"a": None, "b:,}": {"c": None, "d": 2}, "e": ":,", "f": None}


@pytest.mark.parametrize(
    "text",
    ["{nan:1}", '{"a":1nan}', '{"a":nanny}', '{"a":nan', '{"a":"nan', '{"a":"\\', '{"a":- nan}', '{"a":-}'],
)
def test_a_word_for_no_number_mends_no_other_json(text):
    with pytest.raises(json.JSONDecodeError):
        load_device_json(text)


def test_damaged_json_of_a_device_takes_no_longer_than_its_length():
    with pytest.raises(json.JSONDecodeError):
        load_device_json('{"a":nan,"' + '\\"' * 500_000)
    with pytest.raises(json.JSONDecodeError):
        load_device_json('{"a":' + " " * 500_000 + ":" * 500_000)


@given(ANY_JSON.map(json.dumps) | st.text() | st.just("[" * 100_000) | st.just('{"a":' * 100_000))
def test_whatever_json_says_it_is_a_value_or_is_refused(text):
    for load in (load_json, load_device_json):
        with contextlib.suppress(ValueError):
            from_json(load(text))
