"""Requests to Emoncms' input API as frames, or a refusal."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import replace
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.frame import Frame, Stamp, check_node
from gateway.version import MADE
from listeners.http import api
from listeners.http.api import LONGEST_INFLATED, MOST_ROWS, Taken, refusal_text
from listeners.http.inputs import Inputs
from listeners.http.wire import Refusal, Request
from tests.at_emoncms import encoded
from tests.simulators.emoncms import FakeEmoncms
from tests.simulators.emoncms import Request as EmoncmsRequest

LONG = "a" * 65
NOW = Stamp(1_795_213_750.25, "boot", 5000.25)
KEY = "0123456789abcdef0123456789abcdef"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def take(*arguments, is_sure=True):
    """Return what is taken, or the refusal; a time server says that our clock is right, or none does."""
    try:
        return api.take(*arguments, lambda: is_sure)
    except Refusal as refusal:
        return refusal


def get(path="/input/post", key=None, headers=None, **params):
    return take(Request("GET", f"{path}?{urlencode(params)}", headers or {}), key, NOW, Inputs())


def post(path="/input/post", key=None, headers=None, **params):
    return take(Request("POST", path, FORM | (headers or {}), urlencode(params).encode()), key, NOW, Inputs())


def bulk(rows, **params):
    return post("/input/bulk", data=json.dumps(rows), **params)


def said(taken):
    """Return what a request says in short: node, then values by index or by name."""
    assert isinstance(taken, Taken), taken
    return [
        (frame.node, dict(zip(frame.names, frame.values, strict=True)) if frame.by_name else frame.values)
        for frame in taken.frames
    ]


def times(taken):
    assert isinstance(taken, Taken), taken
    return [frame.stamp.wall for frame in taken.frames]


def refused(taken, status=400):
    assert isinstance(taken, Refusal), taken
    assert taken.status == status
    assert "\n" not in taken.message
    return taken.message


# --- where a request goes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/input/post", "/emoncms/input/post", "/input/post.json", "/emoncms/input/post.json", "/input/post/"],
)
def test_the_addresses_of_emoncms(path):
    assert said(get(path, node=7, csv="1,2")) == said(post(path, node=7, csv="1,2")) == [("7", (1, 2))]


@pytest.mark.parametrize(
    "path",
    ["/input/post/door_bell", "/emoncms/input/post/door%5fbell.json", "/input/post/door_%20be:ll.x.y/"],
)
def test_the_node_may_stand_in_the_path(path):
    # as Emoncms reads it: without other characters, and what follows a dot is a format
    assert said(get(path, node="another", csv="1")) == [("door_bell", (1,))]


@pytest.mark.parametrize(
    "path",
    ["/", "/input", "/input/list.json", "/feed/list", "/input/post/1/2", "/input/bulk/1", "//input//x", "*"],
)
def test_other_addresses_are_not_here(path):
    assert refused(get(path, csv="1"), 404) == "/input/post, /input/bulk or /input/get expected"


def test_who_only_asks_for_the_head_of_an_answer_stores_nothing():
    assert take(Request("HEAD", "/input/post?csv=1", {}), KEY, NOW, Inputs()) == Taken([], "")


def test_other_methods_are_none():
    refused(take(Request("PUT", "/input/post?csv=1", {}), None, NOW, Inputs()), 405)


# --- the key ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "taken",
    [
        get(key=KEY, csv="1", apikey=KEY),
        post(key=KEY, csv="1", apikey=KEY),
        post(f"/input/post?apikey={KEY}", key=KEY, csv="1"),
        post(key=KEY, csv="1", headers={"authorization": f"Bearer {KEY}"}),
        get(key=KEY, csv="1", headers={"authorization": f"bearer  {KEY}"}),
        get(key=KEY, csv="1", headers={"authorization": KEY}),
    ],
)
def test_the_key_may_come_in_the_address_the_form_or_a_header(taken):
    assert said(taken) == [("0", (1,))]


@pytest.mark.parametrize(
    "taken",
    [
        get(key=KEY, csv="1"),
        get(key=KEY, csv="1", apikey=""),
        get(key=KEY, csv="1", apikey=KEY[:-1]),
        get(key=KEY, csv="1", apikey=KEY.upper()),
        get(key=KEY, csv="1", apikey=f"{KEY}é"),
        get(key=KEY, csv="1", apikey="wrong", headers={"authorization": f"Bearer {KEY}"}),
        post(key=KEY, csv="abc"),  # nothing is said of the data to who does not know the key
        post("/input/bulk", key=KEY, data="["),
    ],
)
def test_without_the_right_key_nothing_is_taken(taken):
    assert refused(taken, 401) == refusal_text(taken) == "Invalid API key"


@pytest.mark.parametrize(("site", "is_taken"), [("none", True), ("same-origin", True), ("cross-site", False)])
def test_without_a_key_no_web_site_posts_through_the_browser_that_shows_it(site, is_taken):
    headers = {"sec-fetch-site": site}
    for ask in (get, post):
        taken = ask(csv="1", headers=headers)
        assert isinstance(taken, Taken) if is_taken else "set apikey" in refused(taken, 403)
        assert said(ask(key=KEY, csv="1", apikey=KEY, headers=headers)) == [("0", (1,))]


def test_where_there_is_no_key_any_will_do():
    assert said(get(csv="1", apikey="of emoncms")) == [("0", (1,))]


# --- input/post ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["json", "csv", "data"])
@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2.5,-3e2", (1, 2.5, -300)),
        ("[1, 2, 3]", (1, 2, 3)),
        ("100", (100,)),
        ("100,,300", (100, None, 300)),
        ("100,null,300", (100, None, 300)),
        ("a:1,b:2", {"a": 1, "b": 2}),
        ("{power:252.4,temperature:15.4}", {"power": 252.4, "temperature": 15.4}),
        ('{"power":252.4,"humidity": "50"}', {"power": 252.4, "humidity": 50}),
        ('{"power" : 252.4, "humidity": "50"}', {"power ": 252.4, " humidity": 50}),  # as Emoncms keeps it
        ('{"a":null,"b":2}', {"a": None, "b": 2}),
        ('{"1":18.7}', (18.7,)),
        ('{"3":22,"1":18.7}', (18.7, None, 22)),
        ("28.33F749050000:18.5", {"28.33F749050000": 18.5}),
        ("°C:1", {"C": 1}),  # as Emoncms keeps it
        ('{"humidity":"45%","t":21.5°,cost:£1.25}', {"humidity": 45, "t": 21.5, "cost": 1.25}),  # as well
        ("{a:1,b:2}\0", {"a": 1, "b": 2}),  # from a program in C that counts the end of its text
        ("45%,21.5°", (45, 21.5)),
        ("a:1:2", {"a": 1}),  # as Emoncms reads it
    ],
)
def test_the_lenient_forms(name, text, values):
    taken = get(node="9", **{name: text})
    assert said(taken) == [("9", values)]
    assert taken.reply == "ok"


@pytest.mark.parametrize("name", ["json", "csv", "data"])
def test_pairs_with_another_mark_between_them_are_refused_as_emoncms_does(name):
    refused(get(node="9", **{name: "a:1;b:2"}))


def test_names_beside_positions_move_none_and_have_a_frame_of_their_own():
    assert said(get(csv="5,a:1,6,b:2,4:8")) == [("0", (5, 6, None, 8)), ("0", {"a": 1, "b": 2})]


def test_full_json():
    taken = post(node="emontx", fulljson='{"power":1.5,"t":true,"gone":null,"unit °C":"7.5","empty":""}')
    assert said(taken) == [("emontx", {"power": 1.5, "t": 1, "gone": None, "unit C": 7.5, "empty": None})]
    assert taken.reply == '{"success": true}'


OPENEVSE = (
    '{"amp":0,"voltage":240,"status":"active","mqtt_connected":false,"temp":null,"eco":"1","t":"\\u001c1"}'
)


def test_text_in_json_costs_only_its_own_value():
    taken = get(node="openevse", fulljson=OPENEVSE)
    values = {
        "amp": 0,
        "voltage": 240,
        "status": None,
        "mqtt_connected": 0,
        "temp": None,
        "eco": 1,
        "t": None,
    }
    assert said(taken) == [("openevse", values)]
    assert (taken.reply, taken.texts) == ('{"success": true}', ("status", "t"))


@pytest.mark.parametrize(
    "value", ["NaN", "-Infinity", "1e400", "-3.5e38", "1" + "0" * 5000, '"nan"', '"1e39"']
)
def test_a_number_that_cannot_be_kept_costs_only_its_own_value(value):
    assert said(get(fulljson=f'{{"a":{value},"b":2}}')) == [("0", {"a": None, "b": 2})]
    assert said(post("/input/bulk", data=f"[[0,9,1,{value},3]]")) == [("9", (1, None, 3))]
    if not value.startswith(('"', "1000")):
        assert said(get(csv=f"1,{value},3")) == [("0", (1, None, 3))]


@pytest.mark.parametrize("text", ["{}", "[]"])
def test_full_json_with_nothing_in_it_is_nothing(text):
    assert said(get(fulljson=text)) == []


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({}, "Request contains no data via csv, json or data tag"),
        ({"csv": ""}, "Request contains no data via csv, json or data tag"),
        ({"json": "{a:abc}"}, "Format error, the value of a is not numeric: 'abc'"),
        ({"json": "{a:21.5°C}"}, "Format error, the value of a is not numeric: '21.5\\xb0C'"),
        ({"json": "{a:\u22125}"}, "Format error, the value of a is not numeric: '\\u22125'"),  # not 5
        ({"json": "{a:1=2}"}, "Format error, the value of a is not numeric: '1=2'"),  # Emoncms reads 12
        ({"csv": "true"}, "Format error, the value of 1 is not numeric: 'true'"),
        ({"csv": "\x1c1"}, "Format error, the value of 1 is not numeric: '\\x1c1'"),
        ({"csv": "1\u2028"}, "Format error, the value of 1 is not numeric: '1\\u2028'"),
        ({"csv": "\xa01"}, "Format error, the value of 1 is not numeric: '\\xa01'"),
        ({"csv": "1 2"}, "Format error, the value of 1 is not numeric: '1 2'"),
        ({"csv": "0x10"}, "Format error, the value of 1 is not numeric: '0x10'"),
        ({"csv": "1_0"}, "Format error, the value of 1 is not numeric: '1_0'"),
        ({"csv": "\u0661"}, "Format error, the value of 1 is not numeric: '\\u0661'"),
        ({"csv": ",".join(["1"] * 1000)}, "at most 999 values expected"),
        ({"csv": "a:1,a:2"}, "one value of a expected, not two"),
        ({"json": '{"a/b":1,"ab":2}'}, "one value of ab expected, not two"),
        ({"csv": "1,1:2"}, "one value of 1 expected, not two"),
        ({"csv": "0:1"}, "a name, or an index from 1 to 999, expected, not '0'"),
        ({"csv": "1000:1"}, "a name, or an index from 1 to 999, expected, not '1000'"),
        ({"csv": "01:1"}, "a name, or an index from 1 to 999, expected, not '01'"),
        ({"csv": ":1"}, "a name, or an index from 1 to 999, expected, not ''"),
        ({"csv": " :1"}, "a name, or an index from 1 to 999, expected, not ' '"),
        ({"json": '{\n"a":1}'}, "a name, or an index from 1 to 999, expected, not '\\na'"),
        ({"json": "", "csv": "1"}, "Request contains no data via csv, json or data tag"),
        ({"csv": f"{'a' * 65}:1"}, f"a name, or an index from 1 to 999, expected, not '{'a' * 39}"),
        ({"fulljson": "{a:1}"}, "Input in not a valid JSON object"),
        ({"fulljson": "7"}, "Input in not a valid JSON object"),
        ({"fulljson": '{"a":nan}'}, "Input in not a valid JSON object"),
        ({"fulljson": '{"a":' * 100_000}, "Input in not a valid JSON object"),
        ({"fulljson": '{"a":{"b":1}}'}, "Input in not a valid JSON object"),
        ({"fulljson": '{"a":[1]}'}, "Input in not a valid JSON object"),
        ({"fulljson": '{"a":' + "[" * 500 + "]" * 500 + "}"}, "Input in not a valid JSON object"),
        (
            {"fulljson": "[10,20]"},
            "an object or csv expected: fulljson counts a list from 0, and indices begin at 1",
        ),
        (
            {"csv": "1", "node": LONG},
            "the name of a node, of 1 to 64 characters without spaces around them, expected, not '"
            + LONG[:39],
        ),
        (
            {"csv": "1", "node": " 5"},
            "the name of a node, of 1 to 64 characters without spaces around them, expected, not ' 5'",
        ),
        ({f"field{n}": "" for n in range(33)}, "a form of at most 32 fields in UTF-8 expected"),
    ],
)
def test_a_post_that_is_refused_is_told_why(params, sentence):
    taken = post(**params)
    assert refused(taken) == sentence
    assert json.loads(refusal_text(taken)) == {"success": False, "message": sentence}


def test_text_that_is_no_utf8_is_refused():
    refused(take(Request("GET", "/input/post?csv=%ff", {}), None, NOW, Inputs()))
    refused(take(Request("POST", "/input/post", FORM, b"csv=\xff"), None, NOW, Inputs()))


def test_a_key_with_backslashes_is_the_one_that_emoncms_makes_of_it():
    text = json.dumps({"Küche": 1, "c\\/d": 2})
    assert said(get(fulljson=text)) == said(post(fulljson=text)) == [("0", {"Ku00fcche": 1, "cd": 2})]
    rows = f'[[0,"n",{text}]]'
    assert said(post("/input/bulk", data=rows)) == [("n", {"Ku00fcche": 1, "cd": 2})]
    packed = zlib.compress(rows.encode())
    assert said(post("/input/bulk", data=packed.hex(), c=1)) == [("n", {"Küche": 1, "cd": 2})]
    packed = zlib.compress(b'[[0,"n",{"\\ud800":1}]]')
    assert "a name" in refused(post("/input/bulk", data=packed.hex(), c=1))
    assert said(get(fulljson='{"a":"\\"","b":2}')) == [("0", {"a": None, "b": 2})]


def test_a_form_in_parts_is_named():
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert "multipart" in refused(post(headers=headers, csv="1"))


def test_a_body_that_is_no_form_is_not_read():
    headers = {"content-type": "application/json"}
    refused(take(Request("POST", "/input/post", headers, b'{"a":1}'), None, NOW, Inputs()))
    assert said(take(Request("POST", "/input/post?csv=1", headers, b"csv=2"), None, NOW, Inputs())) == [
        ("0", (1,))
    ]


@pytest.mark.parametrize(
    ("node", "kept"),
    [("", "0"), ("::", "0"), ("15", "15"), ("emon:tx", "emontx"), ("my  garden", "my  garden")],
)
def test_a_node_is_called_as_emoncms_calls_it(node, kept):
    assert said(post(node=node, csv="1")) == [(kept, (1,))]


@pytest.mark.parametrize(
    ("when", "wall"),
    [
        ("1795213000", 1795213000),
        ("1795213000.75", 1795213000.75),
        ("2026-11-20T22:16:40Z", 1795213000),
        ("2026-11-20T23:16:40+01:00", 1795213000),
        ("2026-11-20 22:16:40", 1795213000),
    ],
)
def test_a_device_may_know_the_time(when, wall):
    for taken in (
        get(csv="1", time=when),
        get(fulljson=json.dumps({"a": 1, "time": when})),
        get(fulljson='{"a":1,"time":null}', time=when),
    ):
        assert times(taken) == [wall]
        assert taken.misdated == 0
        # and what the gateway's own clock does from then on changes nothing about it
        assert taken.frames[0].stamp.boot == ""


@pytest.mark.parametrize(
    ("fulljson", "params", "values", "wall"),
    [
        ('{"a":1,"time":1795213000}', {}, {"a": 1}, 1795213000),
        ('{"a":1,"Time":1795213000}', {}, {"a": 1, "Time": 1795213000}, 1795213000),
        ('{"TIME":1795213000,"time":1795213001}', {}, {"TIME": 1795213000}, 1795213001),
        (
            '{"a":1,"time":1795213000}',
            {"time": "1795213009"},
            {"a": 1, "time": 1795213000},
            1795213009,
        ),
    ],
)
def test_the_time_in_an_object_is_that_which_emoncms_takes(fulljson, params, values, wall):
    taken = get(fulljson=fulljson, **params)
    assert (said(taken), times(taken)) == ([("0", values)], [wall])


@pytest.mark.parametrize("when", ["", None])
def test_a_device_that_knows_no_time_says_none(when):
    taken = get(fulljson=json.dumps({"a": 1, "time": when}), time="")
    assert (taken.frames[0].stamp, taken.misdated) == (NOW, 0)


@pytest.mark.parametrize(
    "when",
    [
        *("0", "-100", "12", "yesterday", "nan", "1e999", "1795213750250", "4294967296", "1795213850"),
        *("0001-01-01T00:00", "9999-12-31T23:59", "2026-13-01", 0, True, [], 10**400),
    ],
)
def test_a_time_that_cannot_be_is_that_of_reception(when):
    taken = get(fulljson=json.dumps({"a": 1, "time": when}))
    assert (taken.frames[0].stamp, taken.misdated) == (NOW, 1)


# --- input/bulk ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "frames"),
    [
        ([0, 10, 11, 12], [("10", (11, 12))]),
        ([0, "10", 11, None, 13], [("10", (11, None, 13))]),
        ([0, "n", 11, "", "7.5", True], [("n", (11, None, 7.5, 1))]),
        ([0, "n", 11, "abc", 13], [("n", (11, None, 13))]),
        ([0, "n", {"a": "abc", "b": 2}], [("n", {"a": None, "b": 2})]),
        ([0, "n", {"1": 18.7}, {"3": 22}], [("n", (18.7, None, 22))]),
        ([0, "n", {"a": 1, "b": None}], [("n", {"a": 1, "b": None})]),
        ([0, "n", 5, {"a": 1}, 6, {"b": 2}, 7], [("n", (5, 6, 7)), ("n", {"a": 1, "b": 2})]),
        ([0, 15.0, 1], [("15", (1,))]),
        ([0, 15.5, 1], [("15.5", (1,))]),
        ([0, "n"], []),
        ([0], []),
        ([0, "n", {}], []),
    ],
)
def test_a_row(row, frames):
    assert said(bulk([row])) == frames


def test_the_reply_is_that_of_emoncms():
    assert bulk([[0, 1, 1]]).reply == "ok"
    assert bulk([[0, 1, 1]], fulljson="").reply == '{"success": true}'


ROWS = [[0, 1, 1], [7.5, 1, 2], [10, 2, 3]]


@pytest.mark.parametrize(
    ("params", "offset"),
    [
        ({}, 1795213740),
        ({"sentat": 12}, 1795213738),
        ({"offset": 12.9}, 1795213738),
        ({"sentat": "12", "time": "1"}, 1795213738),
        ({"time": 1795213000}, 1795213000),
    ],
)
def test_what_the_times_of_rows_count_from(params, offset):
    # in whole seconds, as in Emoncms
    assert times(bulk(ROWS, **params)) == [offset, offset + 7, offset + 10]


@pytest.mark.parametrize("is_sure", [True, False])
def test_while_our_clock_may_not_be_set_yet_what_a_device_kept_has_its_own_time(is_sure):
    # given a machine without a clock battery that was off for hours, and an IoTaWatt, which has one
    late = [int(NOW.wall) + 7200, int(NOW.wall) + 7210]
    rows = json.dumps([[when, "iota", 1] for when in late])
    fulljson = json.dumps({"time": late[0], "amp": 1})
    # when it posts what it kept meanwhile
    taken = [
        take(Request("GET", f"{path}?{urlencode(params)}", {}), None, NOW, Inputs(), is_sure=is_sure)
        for path, params in (
            ("/input/bulk", {"time": 0, "data": rows}),
            ("/input/post", {"time": late[1], "csv": 1}),
            ("/input/post", {"fulljson": fulljson}),
            ("/input/post", {"time": late[1] * 1000, "csv": 1}),
        )
    ]
    # then it keeps its times, unless a time server says that our clock is right
    believed = [late, late[1:], late[:1]]
    arrival = [[NOW.wall] * len(wanted) for wanted in believed]
    assert list(map(times, taken)) == [*(arrival if is_sure else believed), [NOW.wall]]
    assert [each.misdated for each in taken] == ([2, 1, 1, 1] if is_sure else [0, 0, 0, 1])
    assert {frame.stamp.boot for frame in taken[0].frames} == {NOW.boot if is_sure else ""}


@pytest.mark.parametrize("wall", [2**32 - 1, 2_085_978_496, int(MADE) + 1900 * 86400])
def test_a_time_years_ahead_is_never_believed(wall):
    # given a device whose own clock is not set: it counts from 0 of NTP, or has -1
    request = Request("GET", f"/input/post?csv=1&time={wall}", {})
    taken = take(request, None, NOW, Inputs(), is_sure=False)
    assert (times(taken), taken.misdated) == ([NOW.wall], 1)


def test_a_clock_of_1970_and_a_version_of_some_years_ago_leave_a_device_its_time():
    request = Request("GET", f"/input/post?csv=1&time={int(MADE) + 1400 * 86400}", {})
    taken = take(request, None, replace(NOW, wall=30.0), Inputs(), is_sure=False)
    assert (times(taken), taken.misdated) == ([MADE + 1400 * 86400], 0)


def test_rows_may_have_unix_times():
    assert times(bulk([[1795213000, 1, 1], ["1795213001.5", 1, 1]], time=0)) == [1795213000, 1795213001]


def test_a_time_that_counts_from_ours_is_set_right_with_ours():
    first, *_, last = bulk(ROWS).frames
    assert last.stamp == Stamp(NOW.wall - 0.25, NOW.boot, NOW.boottime - 0.25)
    assert first.stamp == Stamp(NOW.wall - 10.25, NOW.boot, NOW.boottime - 10.25)


def test_rows_with_times_that_cannot_be_have_that_of_reception():
    taken = bulk([[12, 1, 1], [1795213000, 1, 1], [1795213900, 1, 1, {"a": 2}]], time=0)
    assert times(taken) == [NOW.wall, 1795213000, NOW.wall, NOW.wall]
    assert taken.misdated == 3
    assert times(bulk([[-1e9, 1, 1], [0, 1, 1]])) == [NOW.wall, NOW.wall - 0.25]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("", "Format error, json string supplied is not valid"),
        ("[]", "Format error, json string supplied is not valid"),
        ("{}", "Format error, json string supplied is not valid"),
        ("[[0,1,nan]]", "Format error, json string supplied is not valid"),
        ("[" * 100_000, "Format error, json string supplied is not valid"),
        ("[[0,1,1],[]]", "Format error, last item in bulk data does not contain any data"),
        ("[[0,1,1],[null,1,1]]", "Format error, last item in bulk data does not contain any data"),
        ("[[0,1,1],7]", "Format error, last item in bulk data does not contain any data"),
        ('[["x",1,1]]', "the last row's time in seconds expected, not 'x'"),
        ("[[1e999,1,1]]", "the last row's time in seconds expected, not inf"),
        ("[7,[0,1,1]]", "row 1: [time, node, value, ...] expected, not 7"),
        ("[[null,1,1],[0,1,1]]", "row 1: its time in seconds expected, not None"),
        ('[[0,{"a":1},1]]', "row 1: the name or number of a node expected, not an object"),
        ("[[0,null,1]]", "row 1: the name or number of a node expected, not None"),
        ("[[0,true,1]]", "row 1: the name or number of a node expected, not True"),
        ("[[0,1,1],[0,1,[2]]]", "row 2: Format error, the value of 1 is not numeric: a list"),
        ('[[0,1,1],[0,1,{"a":{}}]]', "row 2: Format error, the value of a is not numeric: an object"),
    ],
)
def test_a_batch_that_is_refused_is_refused_whole_and_told_where(data, sentence):
    assert refused(post("/input/bulk", data=data)) == sentence


def test_a_time_to_count_from_is_a_number():
    assert refused(bulk(ROWS, sentat="now")) == "sentat in seconds expected, not 'now'"


def test_a_batch_has_its_limits():
    refused(bulk([[0, 1, 1]] * (MOST_ROWS + 1)), 413)
    refused(bulk([[0, 1, {"999": 1}]] * 300), 413)
    assert len(bulk([[0, 1, {"999": 1}]] * 250).frames) == 250


def test_a_batch_may_be_compressed():
    packed = zlib.compress(json.dumps(ROWS).encode())
    in_a_form = post("/input/bulk", c=1, data=packed.hex())
    as_it_is = take(
        Request("POST", f"/emoncms/input/bulk?apikey={KEY}&cb=1", FORM, packed), KEY, NOW, Inputs()
    )
    assert said(in_a_form) == said(as_it_is) == said(bulk(ROWS))


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"not packed", 400),
        (zlib.compress(b"[[0,1,1]]")[:-4], 400),
        (zlib.compress(b"\xff"), 400),
        (zlib.compress(b" " * (LONGEST_INFLATED + 1)), 413),
    ],
)
def test_what_is_packed_is_not_trusted(data, status):
    refused(post("/input/bulk", c=1, data=data.hex()), status)
    refused(take(Request("POST", "/input/bulk?cb=1", {}, data), None, NOW, Inputs()), status)


def test_hexadecimal_digits_are_expected():
    refused(post("/input/bulk", c=1, data="xyz"))


# --- input/get ----------------------------------------------------------------------------------------------


def asked(inputs, path="/input/get", key=None, headers=None, **params):
    taken = take(Request("GET", f"{path}?{urlencode(params)}", headers or {}), key, NOW, inputs)
    assert isinstance(taken, Taken), taken
    assert taken.frames == []
    return taken.reply


@pytest.fixture
def inputs():
    """Return what is known after a few posts."""
    inputs = Inputs()
    inputs.note(bulk([[1795213000, "iota", 240.5, None, 7], [1795213010, "iota", 241, 3]], time=0).frames)
    inputs.note(post(node="openevse", fulljson='{"amp":0,"status":"active"}').frames)
    return inputs


IOTA = (
    '{"1":{"time":1795213010,"value":241,"processList":""},'
    '"3":{"time":1795213000,"value":7,"processList":""},'
    '"2":{"time":1795213010,"value":3,"processList":""}}'
)
AMP = '{"time":1795213750,"value":0,"processList":""}'


def test_a_device_may_ask_what_came_last_and_is_answered_as_by_emoncms(inputs):
    # as Emoncms 11.16.8 words it
    assert asked(inputs, node="iota") == asked(inputs, "/emoncms/input/get/iota.json") == IOTA
    assert asked(inputs, node="openevse", name="amp") == asked(inputs, "/input/get/openevse/amp") == AMP
    assert asked(inputs) == f'{{"iota":{IOTA},"openevse":{{"amp":{AMP}}}}}'
    assert asked(Inputs()) == "[]"


@pytest.mark.parametrize(
    ("params", "reply"),
    [
        ({"node": "other"}, '"Node does not exist"'),
        ({"node": ""}, '"Node does not exist"'),
        ({"node": "other", "name": "1"}, '"Node does not exist"'),
        ({"node": "iota", "name": "amp"}, '"Node variable does not exist"'),
        ({"node": "openevse", "name": "status"}, '"Node variable does not exist"'),  # it had text
    ],
)
def test_what_was_not_posted_does_not_exist(inputs, params, reply):
    assert asked(inputs, **params) == reply


def test_an_iotawatt_goes_on_where_it_was(inputs):
    # It takes the digits between "time": and the next comma, and the largest number of all.
    reply = asked(inputs, key=KEY, headers={"authorization": f"Bearer {KEY}"}, node="iota")
    assert not reply.startswith('"Node does not exist"')
    assert max(int(part.partition(",")[0]) for part in reply.split('"time":')[1:]) == 1795213010


@pytest.mark.parametrize(
    "query",
    ["node=9", "node=9&name=1", "node=9&name=8", "node=8", "node=8&name=1", "", "node=n%3A&name=a%2F"],
)
def test_the_answer_is_that_of_emoncms(query):
    emoncms, inputs = FakeEmoncms(now=lambda: NOW.wall), Inputs()
    for params in ({"node": "9", "csv": "1.5,2"}, {"node": "n", "fulljson": '{"a":7}'}):
        body = urlencode(params).encode()
        emoncms.handle(EmoncmsRequest("POST", "/input/post", FORM | {"authorization": KEY}, body))
        inputs.note(post(**params).frames)
    reply = emoncms.handle(EmoncmsRequest("GET", f"/input/get?{query}", {"authorization": KEY}, b""))
    ours = take(Request("GET", f"/input/get?{query}", {}), None, NOW, inputs).reply
    assert json.loads(ours) == json.loads(reply.body)


def test_who_does_not_know_the_key_is_told_nothing(inputs):
    refused(take(Request("GET", "/input/get?node=iota", {}), KEY, NOW, inputs), 401)


def test_an_encrypted_post_of_an_iotawatt_is_told_why_it_is_refused():
    headers = {"content-type": "aes128cbc", "authorization": f"9:{'0' * 64}"}
    assert "leave the userid empty" in refused(
        take(Request("POST", "/input/bulk", headers, b"AAAA"), KEY, NOW, Inputs())
    )


# --- whatever comes -----------------------------------------------------------------------------------------


def is_sound(taken):
    """Tell whether this is a refusal in a sentence, or frames that any dispatcher can have."""
    if isinstance(taken, Refusal):
        return taken.status in (400, 401, 404, 413) and json.dumps(taken.message)
    for frame in taken.frames:
        check_node(frame.node)
        assert all(value is None or math.isfinite(value) for value in frame.values)
        assert math.isfinite(frame.stamp.wall)
        if frame.by_name:
            assert len(set(frame.names)) == len(frame.names) == len(frame.values)
            assert not any(name.isdecimal() or not 0 < len(name) <= 64 for name in frame.names)
    return json.loads(encoded(taken.frames) or "[]") is not None


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1", "2", "a"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
rows = st.lists(
    st.tuples(
        st.integers(0, 10**10) | anything,
        st.integers(0, 30) | st.text(max_size=5) | anything,
        anything,
        anything,
    )
)
texts = (
    st.text(max_size=60)
    | st.text(alphabet='0123456789aeE.,:-+[]{}" nul', max_size=60)
    | st.text(alphabet="12,:a\x1c\x1d\x1e\x1f\x85\xa0\u2028\u0661_", max_size=12)
)


@given(st.sampled_from(["json", "fulljson", "csv", "data"]), texts | anything.map(json.dumps), texts)
@example("csv", "\x1c1", "\x1c1")
@example("fulljson", '{"a":"\\u001c1","time":"\\u001c1"}', "")
def test_no_post_makes_it_raise(name, text, other):
    assert is_sound(get(node=other, time=other, **{name: text}))


@given(
    rows.map(json.dumps) | texts,
    st.dictionaries(st.sampled_from(["time", "sentat", "c", "cb"]), texts),
)
@example('[["\\u001c1","\\u001c1","\\u001c1"]]', {"time": "\x1c1"})
def test_no_batch_makes_it_raise(data, params):
    assert is_sound(post("/input/bulk", **params, data=data))


@given(
    st.sampled_from(["/input/post", "/input/bulk", "/input/bulk?cb=1", "/input/bulk?c=1", ""]).flatmap(
        lambda path: st.text(alphabet="/?&=%ab0f\u20ac", max_size=20).map(lambda text: path + text)
    ),
    st.binary(max_size=60),
)
def test_no_request_makes_it_raise(target, body):
    assert is_sound(take(Request("POST", target, {}, body), None, NOW, Inputs()))


# --- the same inputs as in Emoncms itself -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/input/post", {"csv": "1,2,3", "node": "5"}),
        ("/input/post", {"json": "{power:100,t:2}", "node": "a:b", "time": "1795213000"}),
        ("/input/post", {"data": "5,a:1,6"}),
        ("/input/post/9", {"fulljson": '{"°C":1.5,"1":2,"time":1795213000}'}),
        ("/input/bulk", {"data": json.dumps(ROWS)}),
        ("/input/bulk", {"data": json.dumps(ROWS), "sentat": "20"}),
        ("/input/bulk", {"data": json.dumps(ROWS), "time": "1795213000"}),
        ("/input/bulk", {"data": '[[0,"n",5,{"a":1},6,{"b":2},7]]', "fulljson": ""}),
    ],
)
def test_what_goes_through_here_arrives_as_if_it_had_gone_straight(path, params):
    # given one server that a device posts to, and one that our dispatcher does
    straight, through = (FakeEmoncms(now=lambda: NOW.wall) for _ in range(2))
    request = EmoncmsRequest(
        "POST", path, FORM | {"authorization": f"Bearer {KEY}"}, urlencode(params).encode()
    )
    reply = straight.handle(request)
    # when the device posts the same to us
    taken = post(path, **params)
    data = encoded(taken.frames)
    through.handle(request._replace(path="/input/bulk", body=urlencode({"time": 0, "data": data}).encode()))
    # then both have the same, and it had the same answer
    assert (reply.status, reply.body) == (200, taken.reply)
    assert straight.inputs.keys() == through.inputs.keys()
    assert {(k.time, k.value) for k in straight.inputs.values()} == {
        (k.time, k.value) for k in through.inputs.values()
    }


@given(st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=12))
def test_what_our_own_dispatcher_sends_comes_out_as_the_same_frame(values):
    sent = Frame("12", tuple(values), Stamp(1795213000, "another", 7.0))
    data = encoded([sent])
    if data:
        (frame,) = post("/input/bulk", time=0, data=data).frames
        assert (frame.node, frame.stamp.wall) == ("12", 1795213000)
        assert frame.items() == sent.items()


def test_a_doorbell_of_this_moment_is_believed():
    now = Clock().now()
    taken = take(
        Request("GET", f"/input/post?csv=2.9&time={quote(str(int(now.wall)))}", {}), None, now, Inputs()
    )
    assert taken.misdated == 0
