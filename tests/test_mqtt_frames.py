"""Frames as MQTT messages, and back; what is no frame is refused by name."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.frame import Frame, Stamp
from gateway.mqtt import frames
from gateway.mqtt.frames import Identity
from gateway.mqtt.topics import check_filter, check_published, encode, matches, widest

NOW = Stamp(1_800_000_000.0, "boot", 5.0)
THEN = Stamp(1_700_000_040.5, "boot", 1.0)
numbers = st.one_of(st.integers(-(2**40), 2**40), st.floats(-1e30, 1e30)).map(lambda x: x + 0)
names = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=20).filter(
    str.isprintable
)


def logged(payload):
    """Return the frame of a message of the log; ValueError where it has none, or is nobody's."""
    given = frames.parse_object(payload)
    frames.identity_of(given)
    return frames.from_log(given, "9", NOW)


def payload(message):
    return json.loads(message.payload)


def test_a_frame_of_the_log_has_its_own_time_and_leaves_gaps_out():
    frame = Frame("9", (18.75, None, 25377), THEN, ("flow", "", "pulse"), -61)
    message = frames.log_message("home/pi", frame, Identity("ab12", "ep", 7, ("ep", 6), ("ep", 5)))
    assert (message.topic, message.retain, message.expiry) == ("home/pi/log/9", False, None)
    assert payload(message) == {
        "time": 1700000040.5,
        "values": {"1": 18.75, "3": 25377},
        "names": {"1": "flow", "3": "pulse"},
        "rssi": -61,
        "gateway": "ab12",
        "epoch": "ep",
        "n": 7,
        "after": ["ep", 6],
        "acked": ["ep", 5],
    }


@pytest.mark.parametrize("rssi", ["true", "-61.5", "1000", '"-61"', "[]"])
def test_what_is_no_signal_strength_is_left_out(rssi):
    assert logged(f'{{"time":1700000040,"values":{{"1":1}},"rssi":{rssi}}}'.encode()).rssi is None


@given(
    values=st.lists(st.none() | numbers, min_size=1, max_size=20),
    labels=st.lists(names | st.just(""), max_size=20),
    rssi=st.none() | st.integers(-120, 0),
)
def test_a_frame_by_index_survives_the_way(values, labels, rssi):
    frame = Frame("9", tuple(values), THEN, tuple(labels), rssi)
    if not frame.items():
        return
    back = logged(frames.log_message("t", frame, None).payload)
    assert back.items() == frame.items()
    assert (back.stamp, back.rssi) == (Stamp(THEN.wall, "", 0.0), rssi)
    # then also the names of what has no value this time: whether a name is unique depends on them
    assert [back.name(index) for index in range(1, 21)] == [frame.name(index) for index in range(1, 21)]


def test_a_long_label_does_not_cost_the_reading():
    # given a label of one sensor that is longer than any key of Emoncms
    frame = Frame("9", (20.5, None), THEN, ("cellar", "return " * 12))
    # then the relay has the values, and as much of the label as a key can have
    back = logged(frames.log_message("t", frame, None).payload)
    assert (back.values, back.names) == ((20.5,), ("cellar", ("return " * 12)[:64]))


def test_null_is_no_name():
    frame = logged(b'{"values":{"1":20.5,"3":4},"names":{"1":"cellar","2":null,"4":null}}')
    assert (frame.values, frame.names) == ((20.5, None, 4), ("cellar",))


@given(values=st.dictionaries(names, numbers, min_size=1, max_size=20))
def test_a_frame_by_name_survives_the_way(values):
    frame = Frame("emontx", tuple(values.values()), THEN, tuple(values), by_name=True)
    back = logged(frames.log_message("t", frame, None).payload)
    assert back.by_name
    assert dict(zip(back.names, back.values, strict=True)) == values


def test_an_index_does_not_move_where_one_before_it_has_no_value():
    # given the names of some values, and a gap, in emonhub's JSON
    frame = Frame("10", (100, None, 20.5), Stamp(1_700_000_040.0, "boot", 1.0), ("power",))
    (message,) = frames.emonhub_messages("emon/", frame, ("json",), "emontx")
    # when another gateway reads that and publishes it again
    back = frames.from_emoncms(message.payload, "emontx", NOW)
    again = frames.emoncms_message("emon/", back)
    # then the third value is the third
    assert payload(message) == payload(again) == {"power": 100, "3": 20.5, "time": 1700000040}


def test_the_present_state_has_null_for_a_gap_and_no_time_that_is_known_to_be_wrong():
    frame = Frame("9", (18.75, None), Stamp(5.0, "boot", 5.0), ("flow",), -61)
    message = frames.state_message("home/pi", frame, frames.state_values(frame), 30.0)
    assert (message.topic, message.retain, message.expiry) == ("home/pi/state/9", True, 30.0)
    assert payload(message) == {"values": {"1": 18.75, "2": None}, "names": {"1": "flow"}, "rssi": -61}


def test_the_present_state_of_values_by_name_has_keys_that_are_safe_in_a_template():
    frame = Frame("emontx", (243.1, 105), Stamp(2e9, "", 0.0), ("Vrms", "P'1 }}"), by_name=True)
    message = frames.state_message("t", frame, frames.state_values(frame), 30.0)
    assert payload(message) == {
        "values": {"Vrms": 243.1, "P-271-20-7d-7d": 105},
        "names": {"Vrms": "Vrms", "P-271-20-7d-7d": "P'1 }}"},
        "time": 2000000000,
    }


@given(st.lists(st.text(max_size=8), unique=True, max_size=50))
def test_no_two_names_are_encoded_alike(texts):
    texts = [text for text in texts if text.isprintable()]
    encoded = [encode(text) for text in texts]
    assert len(set(encoded)) == len(texts)
    assert all(
        set(each) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
        for each in encoded
    )


def test_emonhub_s_formats():
    frame = Frame("10", (100, None, 20.5), THEN, ("power1",), -61)
    messages = frames.emonhub_messages("emon/", frame, ("node", "nodevar", "json"), "emontx")
    assert [(message.topic, message.payload) for message in messages] == [
        ("emon/rx/10/values", b"100,nan,20.5,-61"),
        ("emon/emontx/power1", b"100"),
        ("emon/emontx/3", b"20.5"),
        ("emon/emontx/rssi", b"-61"),
        ("emon/emontx", b'{"power1":100,"3":20.5,"time":1700000040.5,"rssi":-61}'),
    ]


def test_in_emonhub_s_formats_a_value_has_the_same_name_where_fewer_values_come():
    frame = Frame("10", (100, 20.5), THEN, ("power", "temp", "temp"))
    messages = frames.emonhub_messages("emon/", frame, ("nodevar",), "emontx")
    assert [message.topic for message in messages] == ["emon/emontx/power", "emon/emontx/2"]


def test_in_emonhub_s_formats_no_name_makes_a_topic_that_cannot_be_published():
    # given names that stand for wildcards in a topic; levels are kept, as emonhub keeps them
    frame = Frame("10", (1, 2, 3), THEN, ("in+1", "T#", "a/b"))
    messages = frames.emonhub_messages("emon/", frame, ("nodevar", "json"), "shed/boiler #2 +\t")
    topics = [message.topic for message in messages]
    assert topics == [*(f"emon/shed/boiler _2 __/{name}" for name in ("in_1", "T_", "a_b")), topics[-1]]
    assert topics[-1] == "emon/shed/boiler _2 __"
    (message,) = frames.emonhub_messages("emon/", frame, ("json",), "x")
    # and in an object the names stay as they are
    assert {"in+1", "T#", "a/b"} < set(payload(message))


def test_in_emonhub_s_formats_two_names_never_share_a_topic():
    frame = Frame("10", (1, 2, 3), THEN, ("a/b", "a+b", "c"))
    messages = frames.emonhub_messages("emon/", frame, ("nodevar",), "x")
    assert [message.topic for message in messages] == ["emon/x/1", "emon/x/2", "emon/x/c"]


def test_in_emoncms_s_format_two_values_never_share_an_input():
    # given names of which Emoncms keeps the same, and one that is the index of another
    frame = Frame("x", (1, 2, 3, 4), THEN, ("T+", "T", "Grid °", "2"), by_name=True)
    assert payload(frames.emoncms_message("emon/", frame)) == {
        "time": 1700000040,
        "1": 1,
        "2": 2,
        "Grid °": 3,
        "4": 4,
    }


def test_emoncms_format_has_whole_seconds_and_no_key_that_it_takes_for_something_else():
    frame = Frame("emontx", (1, None, 3, 4), THEN, ("Time", "gone", "describe", "P1"), by_name=True)
    message = frames.emoncms_message("emon/", frame)
    assert message.topic == "emon/emontx"
    assert payload(message) == {"time": 1700000040, "1": 1, "3": 3, "P1": 4}


def test_what_emoncms_and_emonhub_publish_is_read():
    read = frames.from_emoncms
    assert read(b"1,2.5,nan", "10", NOW) == Frame("10", (1, 2.5, None), NOW)
    assert read(b"105", "emontx", NOW, ("power1",)) == Frame("emontx", (105,), NOW, ("power1",), by_name=True)
    assert read(b"20.5", "9", NOW, ("3",)) == Frame("9", (None, None, 20.5), NOW)
    frame = read(b'{"power1":100,"time":1700000040,"rssi":-61}', "emontx", NOW)
    assert frame == Frame("emontx", (100,), frame.stamp, ("power1",), -61, by_name=True)
    assert (frame.stamp.wall, frame.stamp.boot) == (1700000040.0, "")
    # and a list as the same without its brackets, or below a name by its places, as Emoncms counts them
    assert read(b"[1,2.5,null]", "10", NOW) == read(b"1,2.5,nan", "10", NOW)
    assert read(b"[1,2]", "10", NOW, ("p",)) == Frame("10", (1, 2), NOW, ("p_0", "p_1"), by_name=True)
    for nothing in (b"[[1]]", b"[" + b"1," * 999 + b"1]"):
        with pytest.raises(ValueError, match="expected"):
            read(nothing, "10", NOW)
    # and text in which a program in C has counted the zero byte at its end
    assert read(b"105\0", "emontx", NOW, ("power1",)).values == (105,)
    # and a signal strength that comes alone, without a reading that it could be that of, is a value
    assert read(b'{"rssi":-61}', "wifi", NOW) == Frame("wifi", (-61,), NOW, ("rssi",), by_name=True)
    alone = read(b'{"time":1700000040,"rssi":-61}', "wifi", NOW)
    assert (alone.values, alone.names, alone.rssi) == ((-61,), ("rssi",), None)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"temp":{"value":21.5},"hum":50}', {"temp": 21.5, "hum": 50}),
        (
            b'{"0":{"name":"temp","value":28},"1":{"name":"temp","value":29.5}}',
            {"0_temp": 28, "1_temp": 29.5},
        ),
        (b'{"0":{"name":"","value":16525},"5":{"name":"pump","value":"on"}}', {"0": 16525, "5_pump": None}),
        (b'{"a":{"value":[1]},"b":{"name":"x"},"c":1}', {"a": None, "b": None, "c": 1}),
    ],
)
def test_values_as_ebusd_publishes_them_are_read_as_by_emoncms(payload, expected):
    frame = frames.from_emoncms(payload, "bai", NOW)
    assert dict(zip(frame.names, frame.values, strict=True)) == expected


BAD = [
    (b"", "not JSON"),
    (b"\xff\xfe", "text in UTF-8 expected"),
    (b"[1,2]", "a JSON object expected"),
    (b'{"time":NaN,"values":{"1":1}}', "time: Unix seconds expected"),
    (b'{"values":{"0":1}}', "values by index, 1 to 999, expected"),
    (b'{"values":{"1":"warm"}}', "a number expected for '1'"),
    (b'{"values":[1]}', "values: a JSON object expected"),
    (b'{"values":{"1":1},"time":"today"}', "time: Unix seconds expected"),
    (b'{"values":{"1":1},"names":{"1":5}}', "names: texts expected"),
    (rb'{"values":{"1":1},"names":{"1":"\ud800"}}', "names: Unicode expected"),
    (b'{"values":{"1":1},"gateway":"../x"}', "gateway: an id expected"),
    (b'{"values":{"1":1},"gateway":"ab","epoch":"e","n":-1}', "epoch and n: an epoch and a number expected"),
    (b"[" * 50_000, "too many nested brackets|not JSON"),  # which Python says depends on its stack
    (b" " * 70_000, "at most 65536 bytes expected, not 70000"),
]


@pytest.mark.parametrize(("given", "why"), BAD, ids=[why for _, why in BAD])
def test_what_is_no_frame_is_refused_with_the_reason(given, why):
    with pytest.raises(ValueError, match=why.replace("(", "\\(")):
        logged(given)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["time", "values", "names", "1", "gateway", "n", "after", "by_name"]), inner
            )
        ),
        max_leaves=20,
    ).map(lambda value: json.dumps(value).encode())
)
def test_nothing_that_comes_is_an_exception(given):
    for read in (
        lambda: logged(given),
        lambda: frames.from_emoncms(given, "9", NOW),
        lambda: frames.from_emonhub_values(given, "9", NOW),
    ):
        with suppress(ValueError):
            assert isinstance(read(), Frame | tuple)


@pytest.mark.parametrize("topic", ["a/+/b", "a#", "/a", "$SYS/x", "a\nb"])
def test_a_topic_that_cannot_be_published_to_is_refused(topic):
    with pytest.raises(ValueError, match="topic"):
        check_published(topic)


@pytest.mark.parametrize("topic", ["a/+b", "a/#/b", "a#", "a/b+"])
def test_a_subscription_that_no_broker_takes_is_refused(topic):
    with pytest.raises(ValueError, match="topic"):
        check_filter(topic)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/+", "a/b/c", False),
        ("a", "b", False),
    ],
)
def test_which_topics_a_subscription_gets(pattern, topic, expected):
    check_filter(pattern)
    assert matches(pattern, topic) is expected


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["a/#", "a/+/c", "a/b", "a", "a/b/#"], ["a/#"]),
        (["a/+", "a/b", "a/b/c"], ["a/+", "a/b/c"]),
        (["a/+", "a/#"], ["a/#"]),
        (["+/#", "a/#"], ["+/#"]),
        (["a/+/#", "a/#"], ["a/#"]),
        (["a/+/c", "a/b/#"], ["a/+/c", "a/b/#"]),
        (["#", "$SYS/broker/uptime", "a", "a"], ["#", "$SYS/broker/uptime"]),
    ],
)
def test_a_subscription_that_another_one_covers_is_left_out(patterns, expected):
    assert widest(patterns) == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"power":5,"temp":NaN}', (5, None)),
        (b'{"power":5,"temp":-Infinity}', (5, None)),
        (b'{"power":5,"temp":nan}', (5, None)),
        (b'{"power":5,"status":"active"}', (5, None)),
        (b'{"power":5,"list":[1]}', (5, None)),
        (b'{"power":true,"temp":false}', (1, 0)),
    ],
)
def test_a_value_that_is_no_number_does_not_take_the_others_away(payload, expected):
    assert frames.from_emoncms(payload, "8", NOW).values == expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"20.5,,48", (20.5, None, 48)),
        (b",48", (None, 48)),
        (b"20.5,", (20.5, None)),
        (b"20.5, ,48", (20.5, None, 48)),
    ],
)
def test_an_empty_place_in_a_list_is_a_gap(payload, expected):
    assert frames.from_emoncms(payload, "8", NOW).values == expected
    assert frames.from_emonhub_values(payload, "8", NOW).values == expected


@pytest.mark.parametrize("payload", [b"", b",", b" , "])
def test_a_list_without_any_value_is_no_reading(payload):
    with pytest.raises(ValueError, match="a number expected"):
        frames.from_emoncms(payload, "8", NOW)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("1700000040", Stamp(1_700_000_040.0, "", 5.0 - 99_999_960)),
        ('"1700000040"', Stamp(1_700_000_040.0, "", 5.0 - 99_999_960)),
        ('"2023-11-14T22:14:00"', Stamp(1_700_000_040.0, "", 5.0 - 99_999_960)),
        ('"2023-11-14T23:14:00+01:00"', Stamp(1_700_000_040.0, "", 5.0 - 99_999_960)),
        ("null", NOW),
        ('""', NOW),
    ],
)
@pytest.mark.parametrize("key", ["time", "Time"])
def test_a_device_may_give_its_time_to_emoncms_in_seconds_or_in_words(key, when, expected):
    doubts = []
    payload = f'{{"{key}":{when},"power":5}}'.encode()
    frame = frames.from_emoncms(payload, "8", NOW, misdated=lambda _: doubts.append(1))
    assert frame == Frame("8", (5,), expected, ("power",), by_name=True)
    assert not doubts


@pytest.mark.parametrize(
    "when", ["0", "5123", "1800086400", "1700000040000", "NaN", "true", "[1]", '"today"']
)
def test_a_time_that_cannot_be_takes_no_reading_away_and_gives_none_a_wrong_time(when):
    doubts = []
    payload = f'{{"time":{when},"power":5}}'.encode()
    frame = frames.from_emoncms(payload, "8", NOW, misdated=lambda _: doubts.append(1))
    assert frame == Frame("8", (5,), NOW, ("power",), by_name=True)
    assert doubts == [1]


def test_a_name_that_no_input_has_does_not_cost_the_other_values_of_the_message():
    # given names with a line feed and half a character, an empty one, and one that is too long
    given = rb'{"T\nout\ud800":1,"":2,"' + b"n" * 70 + b'":3,"power":4}'
    frame = frames.from_emoncms(given, "8", NOW)
    assert frame == Frame("8", (1, 2, 3, 4), NOW, ("Tout", "_", "n" * 64, "power"), by_name=True)


def test_where_nothing_is_a_number_the_message_is_refused():
    with pytest.raises(ValueError, match="a number expected for 'status'"):
        frames.from_emoncms(b'{"status":"active","temp":null}', "8", NOW)
    assert [frames.parse_number(text) for text in ("true", " false\n")] == [1, 0]
    for text in ("on", "\x1c1", "\xa01"):
        with pytest.raises(ValueError, match="a number expected"):
            frames.parse_number(text)
