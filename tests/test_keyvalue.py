from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.frame import Frame, Stamp
from gateway.nodes import Decoder, Nodes
from gateway.settings import SettingsFault, build
from gateway.text.numeral import LARGEST
from listeners.lines import LONGEST_LINE, Ignored, Rejected
from listeners.simulated.clock import VirtualClock
from listeners.textlines.keyvalue import KeyValue, Pairs, decode
from tests import vectors
from tests.opened import opened
from tests.reading import read_frames

STAMP = Stamp(0.0, "", 0.0)

NUMBERS = st.floats(-LARGEST, LARGEST)
NAMES = st.from_regex(r"[A-Za-z0-9_-]{0,5}[A-Za-z_-][A-Za-z0-9_-]{0,5}", fullmatch=True)


@pytest.mark.parametrize("vector", vectors.lines("keyvalue"))
def test_decode_says_of_every_line_what_it_is(vector):
    said, expected = decode(vector["line"]), vector["expect"]
    match expected["result"]:
        case "packet":
            assert said == Pairs(tuple(expected["names"]), tuple(expected["values"]))
        case "ignored":
            assert said == Ignored(expected["kind"])
        case "rejected":
            assert said == Rejected(expected["reason"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", Ignored("blank")),
        (" \r", Ignored("blank")),
        ("\r  MSG:1 \r", Pairs(("MSG",), (1,))),
        ("P1:-.5,E1:+1e3,pf1:0.9987", Pairs(("P1", "E1", "pf1"), (-0.5, 1000, 0.9987))),
        ("|Vrms:240.10, I1:0.53", Ignored("info")),
        ("|emonTx4 V1.0", Ignored("info")),
        ("describe:EmonTX3CM", Ignored("describe")),
        ("Settings: r1 b4 p25 g210 i5", Ignored("banner")),
        ("iCal1 = 90.90, iLead1 = 3.20", Ignored("banner")),
        ("emonTx V3.2 continuous monitoring", Ignored("banner")),
        ("Time : 12", Ignored("banner")),
        ("11 100 0 50 0 24345 30000", Rejected("values-without-names")),
        ("OK 10 123 4 56 1 (-61) ", Rejected("values-without-names")),
        ("Vrms:240.10, I1:0.53", Rejected("bad-name")),
        ("MSG13,Vrms:243.1", Rejected("bad-token")),
        ("MSG:13,", Rejected("bad-token")),
        ("MSG:13,P1:", Rejected("not-a-number")),
        ("MSG:13,P1:1_0", Rejected("not-a-number")),
        ("MSG:13,P1:1:2", Rejected("not-a-number")),
        ("MSG:13,P1:1e999", Pairs(("MSG", "P1"), (13, None))),
        ("MSG:13,1:5", Rejected("bad-name")),  # it would be an index
        ("MSG:13,P1:1,P1:2", Rejected("repeated-name")),
        ("P" * 65 + ":1", Rejected("bad-name")),
        ("MSG:13,P\N{REPLACEMENT CHARACTER}:5", Rejected("garbled")),
        ("\0MSG:13", Rejected("garbled")),
        ("\N{REPLACEMENT CHARACTER}x\N{REPLACEMENT CHARACTER}", Rejected("garbled")),
        ("P1:" + "1" * LONGEST_LINE, Rejected("too-long")),
        ('{ "MSG": 1, "P1" : -2.5e1 }', Pairs(("MSG", "P1"), (1, -25))),
        ("{}", Rejected("no-payload")),
        ("{MSG:1}", Rejected("bad-json")),
        ('{"MSG":1}x', Rejected("bad-json")),
        ('{"MSG":1,"MSG":2}', Rejected("repeated-name")),
        ('{"1":1}', Rejected("bad-name")),
        ('{"P 1":1}', Rejected("bad-name")),
        ('{"MSG":"1","state":"active","P1":null}', Pairs(("MSG", "state", "P1"), (1, None, None))),
        ('{"relay":true}', Pairs(("relay",), (1,))),
        ('{"MSG":null}', Rejected("no-value")),
        ('{"MSG":[1]}', Rejected("not-a-number")),
        ('{"MSG":{"a":1}}', Rejected("not-a-number")),
        ('{"MSG":-Infinity}', Rejected("no-value")),
        ('{"MSG":1e999,"P1":NaN}', Rejected("no-value")),
        (
            '{"MSG":1,"V1":nan,"V2":-inf,"P1":ovf,"E1":7}',
            Pairs(("MSG", "V1", "V2", "P1", "E1"), (1, None, None, None, 7)),
        ),
        ('{"MSG":' + "9" * 900 + ',"P1":5}', Pairs(("MSG", "P1"), (None, 5))),
        ('{"MSG":' + "[" * 1000, Rejected("bad-json")),
    ],
)
def test_decode_of_what_the_vectors_leave_out(line, said):
    assert decode(line) == said


@given(st.dictionaries(NAMES.filter(lambda name: name != "describe"), NUMBERS, min_size=1, max_size=20))
def test_every_line_comes_out_as_it_was_sent(values):
    said = Pairs(tuple(values), tuple(values.values()))
    assert decode(",".join(f"{name}:{value!r}" for name, value in values.items())) == said
    assert decode(json.dumps(values)) == said


# --- the listener -----------------------------------------------------------------------------------------


def framed(listener, line):
    return listener.frame(listener.hear(line), STAMP, line)


def test_names_and_not_positions_are_what_a_frame_goes_by():
    frame = framed(KeyValue(node="emontx"), "MSG:13,V1:243.10,pulse:3")
    assert frame == Frame("emontx", (13, 243.1, 3), STAMP, names=("MSG", "V1", "pulse"), by_name=True)


def test_a_section_of_its_node_gives_scales_to_names():
    listener = KeyValue(node="emonth")
    scales = Decoder(names=("temp", "humidity", "batt"), scale="0.1", units=("C", "%", "V"))
    listener.nodes = Nodes({"emonth": scales})
    assert framed(listener, "batt:33,temp:263").values == (3.3, 26.3)
    assert framed(listener, "batt:33,temp:3000").values == (3.3, None)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("temp:300,humidity:401,batt:33", (300, 401, 33)),  # an emonTH: tenths, so 30 degrees
        ("temp:209,tempex0:300,batt:33", (209, 300, 33)),  # an emonTH 2, the same
        ("temp:20.9,tempex1:302.0,tempex2:-4.5,batt:3.04", (20.9, None, -4.5, 3.04)),  # an emonTH 3: degrees
        ("MSG:1,T1:300.00,T2:20.50", (1, None, 20.5)),  # an emonTx: degrees, and no sensor
        ('{"MSG":1,"T1":304.00,"T2":300}', (1, None, 300)),
    ],
)
def test_a_code_for_no_sensor_is_one_only_in_degrees(line, values):
    assert framed(KeyValue(node="x"), line).values == values


def test_only_the_node_is_required():
    listener = build(KeyValue, {"node": "emontx"})
    assert (listener.port, listener.baud, listener.node) == ("/dev/ttyUSB0", 115200, "emontx")
    with pytest.raises(SettingsFault, match="node is missing"):
        build(KeyValue, {})
    with pytest.raises(SettingsFault, match="1 to 64 letters"):
        build(KeyValue, {"node": "emontx: the big one"})


def test_what_a_device_prints_from_its_start(wire, stop, caplog):
    with opened(KeyValue(port=wire.port, node="emontx"), "emontx", VirtualClock()) as listener:
        wire.send(
            b"V3:0.00,P1:105\r\n"
            b"|emonTx4 CM Continuous Monitoring V1.5.7\r\n"
            b"describe:EmonTX4CM\r\n"
            b"iCal1 = 90.90, iLead1 = 3.20\r\n"
            b"\r\n"
            b"MSG:1,Vrms:243.10,P1:105\r\n"
            b"MSG:1,Vrms:243.10,P1:105\r\n"
            b'{"MSG":4,"Vrms":243.20,"P1":106}\r\n'
            b"MSG:5,Vrms:2\xff3.10\r\n"
        )
        frames = read_frames(listener, stop, 3)
    assert [frame.values for frame in frames] == [(1, 243.1, 105), (1, 243.1, 105), (4, 243.2, 106)]
    assert listener.health().faults == {"garbled": 1, "message of node emontx missed": 2}
    assert len(caplog.records) == 1


@pytest.mark.parametrize("line", ["Temp: 20.5, Hum: 55", "9 temp:20.5 hum:55", "|temp:20.5,hum:55"])
def test_a_device_none_of_whose_lines_is_a_reading_is_in_trouble(wire, stop, line):
    with opened(KeyValue(port=wire.port, node="garden"), "garden", VirtualClock()) as listener:
        # given a device that prints such a line every ten seconds, which a device may do at its start
        for _ in range(6):
            wire.send(f"{line}\r\n".encode())
            assert listener.read(stop) == []
            listener.clock.sleep(10)
        assert listener.health().troubles == []
        # when it has printed nothing else for more than a minute
        for _ in range(6):
            wire.send(f"{line}\r\n".encode())
            assert listener.read(stop) == []
            listener.clock.sleep(10)
        # then that is said
        (trouble,) = listener.health().troubles
        assert trouble.startswith("every line is refused: ")
        assert trouble.endswith("no-pairs: lines such as temp:20.5,humidity:55 expected")
        # and with its first reading it is over, and its other lines are passed over
        wire.send(f"temp:20.5,hum:55\r\n{line}\r\n".encode())
        read_frames(listener, stop, 1)
        refused = listener.counts["no-pairs"]
        listener.clock.sleep(1000)
        wire.send(f"{line}\r\nhum:56\r\n".encode())
        read_frames(listener, stop, 1)
        assert listener.health().troubles == []
        assert listener.counts["no-pairs"] == refused
