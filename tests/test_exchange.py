from __future__ import annotations

import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.queue_listing import reading
from gateway.frame import Frame, Stamp
from gateway.present.exchange import COLUMNS, cells, from_object, to_object

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NODES = st.from_regex(r"\A[\w.-]([\w .-]{0,14}[\w.-])?\Z")
STAMPS = st.builds(
    Stamp,
    st.floats(0, 1e12) | st.floats(0, 4e9).map(lambda wall: wall * 1000 // 1 / 1000),
    st.uuids().map(str) | st.just(""),
    st.floats(0, 1e9),
)
ROWS = st.lists(st.none() | NUMBERS, min_size=1, max_size=8).filter(lambda row: set(row) != {None})


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    values = draw(ROWS)
    by_name = draw(st.booleans())
    count = st.lists(TEXTS, min_size=len(values), max_size=len(values), unique=True)
    names = draw(count.filter(all) if by_name else st.lists(TEXTS, max_size=8))
    rssi = draw(st.none() | st.integers(-150, 20))
    return Frame(draw(NODES), tuple(values), draw(STAMPS), tuple(names), rssi, draw(TEXTS), by_name)


@given(frames())
def test_a_frame_comes_back_as_it_was_through_a_line_of_json(frame):
    line = json.dumps(to_object(frame))
    assert from_object(json.loads(line)) == frame


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = sorted(
    {"undated", "dispatcher", "reason", *to_object(Frame("9", (1,), Stamp(5, "b", 5), ("n",), 1, "s", True))}
)


@given(st.dictionaries(st.sampled_from(KEYS), JSON) | JSON, st.booleans())
def test_whatever_stands_in_a_file_is_a_frame_or_refused(found, whole):
    if whole and isinstance(found, dict):
        found = {"node": "9", "unix": 5.0, "values": {"1": 2.5}} | found
    try:
        frame = from_object(found)
    except ValueError:
        return
    assert from_object(to_object(frame)) == frame


def test_values_and_names_stand_by_their_index_and_what_is_not_there_is_left_out():
    frame = Frame("9", (18.5, None, 19), Stamp(1_700_000_000.25, "", 0.0), ("flow", "", "größe"))
    assert to_object(frame) == {
        "node": "9",
        "time": "2023-11-14T22:13:20.250Z",
        "unix": 1_700_000_000.25,
        "values": {"1": 18.5, "2": None, "3": 19},
        "names": {"1": "flow", "2": "", "3": "größe"},
    }


def test_a_reading_written_by_hand_needs_little():
    found = from_object({"node": "9", "time": "2023-11-14T23:13:20+01:00", "values": {"3": 18.5}})
    assert found == Frame("9", (None, None, 18.5), Stamp(1_700_000_000, "", 0.0))


def test_a_time_that_no_calendar_has_is_exported_all_the_same():
    frame = Frame("9", (1.0,), Stamp(1e12, "", 0.0))
    assert "time" not in to_object(frame)
    assert from_object(to_object(frame)) == frame


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"colour": 1}, "colour: no part of a reading"),
        ({"value": {"1": 1}}, r"value: no part of a reading \(did you mean values\?\)"),
        ({"node": 9}, "node: text expected, not 9"),
        ({"node": "a/b"}, "expected, not a/b"),
        ({"unix": None}, "unix: a number expected, not None"),
        ({"unix": math.nan}, "unix: a number expected"),
        ({"unix": -1}, "seconds since 1970"),
        ({"time": "yesterday"}, "time: as in 2026-11-21T08:00:00Z expected, not 'yesterday'"),
        ({"time": "2023-11-14T22:13:20"}, "time: as in"),
        ({"time": "2023-11-14T22:13:21Z"}, "time and unix do not agree"),
        ({"unix": 1_700_000_100.0}, "its time, 2023-11-14T22:15:00.000Z, has not come yet"),
        ({"values": [1]}, "values: by index expected"),
        ({"values": {"0": 1}}, "values: by index expected"),
        ({"values": {"10000": 1}}, "values: by index expected"),
        ({"values": {}}, "at least one number"),
        ({"values": {"1": True}}, "values: a number expected, not True"),
        ({"values": {"1": 10**400}}, "values: a number expected"),
        ({"names": {"1": "\ud800"}}, "^names: text without half a surrogate pair expected, not"),
        ({"by_name": 1}, "by_name: true"),
        ({"by_name": True}, "by_name: true, with a name of its own for each value"),
        ({"rssi": "-61"}, "rssi: dBm"),
        ({"rssi": 10**4000}, "^rssi: dBm as a whole number expected, not one of so many digits$"),
        ({"values": {"1": 10**5000}}, "^values: a number expected, not one of so many digits$"),
        ({"node": ""}, "^node: 1 to 64 letters"),
        ({"dispatcher": 1}, "dispatcher: text expected"),
        ({"undated": True}, "its time is not known"),
    ],
)
def test_a_reading_that_is_not_whole_is_refused_with_what_was_expected(changes, fault):
    whole = {"node": "9", "unix": 1_700_000_000.0, "values": {"1": 2.5}}
    with pytest.raises(ValueError, match=fault):
        from_object(whole | changes, latest=1_700_000_060.0)


def test_a_reading_without_a_time_and_one_that_is_none_are_refused():
    with pytest.raises(ValueError, match="time: missing"):
        from_object({"node": "9", "values": {"1": 1}})
    with pytest.raises(ValueError, match="a JSON object expected"):
        from_object([])


def test_each_value_that_is_there_is_a_row_of_cells():
    frame = Frame("9", (18.5, None, 19), Stamp(1_700_000_000.25, "", 0.0), ("flow",), -61, "bridge")
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in cells(to_object(frame) | {"reason": "no"})]
    assert [(row["index"], row["name"], row["value"]) for row in rows] == [
        ("1", "flow", 18.5),
        ("3", None, 19),
    ]
    assert {(row["node"], row["rssi"], row["source"], row["reason"]) for row in rows} == {
        ("9", -61, "bridge", "no")
    }


@pytest.mark.parametrize("key", ["time", "unix", "values", "names", "rssi", "node", "source"])
def test_brackets_that_json_can_just_take_are_refused_all_the_same(key):
    for depth in range(1, sys.getrecursionlimit(), 7):
        given = []
        for _ in range(depth):
            given = [given]
        whole = {"node": "9", "time": "2026-11-21T08:00:00Z", "values": {"3": 18.5}}
        with pytest.raises(ValueError, match="expected"):
            from_object({**whole, key: {"1": given} if key in ("values", "names") else given})


def test_a_frame_without_values_can_be_listed_and_exported():
    row = to_object(Frame("9", (), Stamp(1.5, "", 0.0)))
    assert reading(row).strip().endswith("node 9")
    assert list(cells(row)) == []
