"""What the numbers of a node mean, from the section [nodes] to the values of a frame."""

from __future__ import annotations

import math
import re
import struct
from decimal import Context, Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.conf import config
from gateway.conf.config import ConfigFaults
from gateway.conf.describe import describe, show_settings
from gateway.nodes import NO_READING, Decoded, Decoder, Nodes, check_id
from gateway.settings import SettingsFault, build
from gateway.text.numeral import LARGEST
from tests import vectors


def payload(line: str) -> bytes:
    """Return the bytes of a line of the radio."""
    _, *data = re.findall(r"\d+", line.partition("(")[0])
    return bytes(map(int, data))


def decoder(**settings: str) -> Decoder:
    """Return the decoder of a section, lists written as in the file."""
    return build(
        Decoder, {key: value.split(", ") if ", " in value else value for key, value in settings.items()}
    )


def decoder_of(vector) -> Decoder:
    """Return the decoder of a vector, whose lists are JSON's."""
    entries = {
        key: list(map(str, value)) for key, value in vector["config"].items() if isinstance(value, list)
    }
    return build(Decoder, entries | {"whitening": str(vector["config"].get("whitening", 0))})


# --- packets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vector", [line for line in vectors.lines("rfm2pi") if line.values[0]["config"] is not None]
)
def test_a_packet_of_a_node_with_a_section(vector):
    nodes = Nodes({"7": decoder_of(vector)})
    said = nodes.decode("7", payload(vector["line"]))
    if vector["expect"]["result"] == "rejected":
        assert said == vector["expect"]["reason"] == "length-mismatch"
        return
    names = vector["config"].get("names", [])
    assert list(said.names) == names
    for value, expected, name in zip(said.values, vector["expect"]["values"], names or [""], strict=True):
        if expected in NO_READING and name.lower().startswith("t"):
            assert value is None
        else:
            assert value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "vector",
    [
        line
        for line in vectors.lines("rfm2pi")
        if line.values[0]["config"] is None and "values" in line.values[0]["expect"]
    ],
)
def test_a_packet_of_any_other_node_is_pairs_of_bytes(vector):
    said = Nodes({"other": Decoder(datacode="B")}).decode("10", bytes(vector["expect"]["bytes"]))
    assert said == Decoded(tuple(vector["expect"]["values"]))


def test_what_cannot_be_pairs_of_bytes_is_refused():
    assert Nodes().decode("10", b"\1\0\2") == "odd-length"
    assert Nodes().decode("10", b"") == Nodes({"10": Decoder()}).decode("10", b"") == "no-payload"


LETTERS = {
    "b": st.integers(-(2**7), 2**7 - 1),
    "B": st.integers(0, 2**8 - 1),
    "h": st.integers(-(2**15), 2**15 - 1),
    "H": st.integers(0, 2**16 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "I": st.integers(0, 2**32 - 1),
    "l": st.integers(-(2**31), 2**31 - 1),
    "L": st.integers(0, 2**32 - 1),
    "q": st.integers(-(2**63), 2**63 - 1),
    "Q": st.integers(0, 2**64 - 1),
    "f": st.floats(width=32).filter(lambda value: abs(value) <= LARGEST),
    "d": st.floats(-LARGEST, LARGEST),
}


@given(
    st.lists(st.sampled_from(list(LETTERS)), min_size=1, max_size=20).flatmap(
        lambda codes: st.tuples(st.just(codes), st.tuples(*(LETTERS[code] for code in codes)))
    ),
    st.booleans(),
)
def test_every_payload_comes_out_as_it_was_sent_and_none_of_another_length(sent, whitened):
    codes, values = sent
    data = struct.pack(f"<{''.join(codes)}", *values)
    if whitened:
        data = bytes(byte ^ 0x55 for byte in data)
    told = build(Decoder, {"datacodes": codes, "whitening": str(whitened)})
    assert told.size == len(data)
    assert told.decode(data) == Decoded(values)
    assert told.decode(data + b"\0") == told.decode(data[:-1]) == "length-mismatch"


def test_with_one_letter_for_all_there_are_as_many_values_as_come():
    told = decoder(datacode="h", names="power1, power2, vrms", scales="1, 1, 0.01")
    assert told.decode(b"\1\0\2\0") == Decoded((1, 2), ("power1", "power2", "vrms"))
    assert told.decode(b"\1\0\2\0\x74\x5e\4\0") == Decoded((1, 2, 241.8, 4), ("power1", "power2", "vrms"))
    assert told.decode(b"\1\0\2\0\3") == "length-mismatch"
    assert decoder(datacode="L", scale="0.1").decode(struct.pack("<2L", 1, 23)) == Decoded((0.1, 2.3))


def test_all_names_are_known_where_fewer_values_come():
    # so that a name of two values is never taken for a unique one
    told = decoder(names="power, temp, temp").interpret((1.0, 2.0))
    assert told == Decoded((1.0, 2.0), ("power", "temp", "temp"))


@pytest.mark.parametrize("entries", [{"datacodes": "0"}, {"datacode": "0"}])
def test_0_lets_every_byte_through(entries):
    told = decoder(names="t, hour, minute, second", **entries)
    assert told.decode(b"t\x14\x1a\xff") == Decoded((116, 20, 26, 255), ("t", "hour", "minute", "second"))
    assert told.interpret((20.5, -1)) == Decoded((20.5, -1), ("t", "hour", "minute", "second"))


# --- scales -----------------------------------------------------------------------------------------------


def test_a_tenth_of_3_is_point_3():
    assert decoder(scale="0.1").interpret((3,)).values == (0.3,)
    assert 3 * 0.1 != 0.3


SCALES = st.decimals("1e-9", "1e9", allow_nan=False) | st.sampled_from(
    ["0.1", "-.01", "+1.", "1e-3", "0.625"]
)


def test_a_comma_in_a_decimal_is_named():
    with pytest.raises(SettingsFault, match="a decimal has a point, not a comma"):
        build(Decoder, {"scales": ["1", "0", "01"]})


@given(st.integers(-(2**63), 2**64 - 1), SCALES)
@example(2**53 + 1, "+1.")
def test_a_scaled_value_is_the_double_nearest_to_the_exact_decimal(raw, scale):
    (value,) = decoder(scale=str(scale)).interpret((raw,)).values
    assert float(value) == float(Context(prec=80).multiply(Decimal(raw), Decimal(scale)))


def test_scales_that_are_not_given_are_1_and_one_may_be_for_all():
    assert decoder(scales="0.1, 0.01", datacodes="h, h, h").interpret((1, 1, 1)).values == (0.1, 0.01, 1)
    assert decoder(scale="0.1").interpret((1, 1, 1)).values == (0.1, 0.1, 0.1)
    assert decoder(scales="0.1, 0.01", scale="5").interpret((1, 1, 1)).values == (0.1, 0.01, 1)


def test_whole_numbers_stay_what_they_are():
    (value,) = decoder(datacode="L").decode(b"\xff\xff\xff\xff").values
    assert (value, type(value)) == (4294967295, int)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_no_value(value):
    assert decoder(datacodes="f, h").decode(struct.pack("<fh", value, 7)).values == (None, 7)


def test_what_grows_beyond_all_numbers_is_no_value():
    assert decoder(datacode="d", scale="1e9").decode(struct.pack("<d", 1e308)).values == (None,)
    assert decoder(datacode="d").decode(struct.pack("<2d", 1e39, 1e38)).values == (None, 1e38)


# --- temperatures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "unit"),
    [("x", "C"), ("x", "°C"), ("x", "c")]
    + [
        (name, "")
        for name in ("T1", "t12", "temp", "Temp1", "temp_in", "external temperature", "TEMPERATURE 2")
    ],
)
def test_a_temperature_that_stands_for_none_is_no_value(name, unit):
    described = decoder(datacode="h", names=", ".join([name] * 6), units=", ".join([unit] * 6), scale="0.1")
    packet = struct.pack("<6h", 3000, 3020, 3040, -1270, 3010, 850)
    assert described.decode(packet).values == (None, None, None, None, 301, 85)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("temp1", "W"), ("T1", "K")]
    + [(name, "") for name in ("", "power", "pt100", "attempts", "template", "T", "E1")],
)
def test_other_values_may_be_300(name, unit):
    told = decoder(datacode="h", names=f"{name}, x", units=f"{unit}, W", scale="1")
    assert told.decode(struct.pack("<h", 300)).values == (300,)


def test_without_a_scale_or_a_unit_300_may_be_tenths_of_a_degree():
    # As an emonTH prints it: 30.0 degrees
    nodes = Nodes({"named": decoder(names="temp, T1"), "scaled": decoder(names="temp, T1", scale="0.1")})
    for node in ("named", "other"):
        assert nodes.interpret_named(node, ("temp", "t0"), (300, 3040)) == (300, 3040)
    assert (
        nodes.interpret("named", (300, 302)).values
        == nodes.decode("named", b"\x2c\1\x2e\1").values
        == (300, 302)
    )
    assert nodes.interpret_named("scaled", ("temp", "T1"), (300, 3040)) == (30, None)
    # and what has a point in it is in degrees already: an emonTx prints T1:300.00
    assert nodes.interpret_named("other", ("T1", "t0", "P1"), (300.0, 302.0, 304.0)) == (None, None, 304)
    # and an Arduino T1:-127.00, where -127 may be tenths
    assert nodes.interpret_named("other", ("T1", "t0", "P1"), (-127.0, -127, -127.0)) == (None, -127, -127)


def test_a_scale_for_one_value_says_nothing_of_the_others():
    told = decoder(names="vrms, temp", scales="0.01")
    assert told.decode(struct.pack("<2h", 24310, 300)).values == (243.1, 300)


# --- values that come as numbers --------------------------------------------------------------------------


def test_values_get_their_scales_and_names_too():
    told = decoder(datacodes="h, h, h", names="power, vrms, temp1", scales="1, 0.01, 0.01")
    nodes = Nodes({"11": told})
    assert nodes.interpret("11", (100.0, 24345.0, 30000.0)) == Decoded(
        (100, 243.45, None), ("power", "vrms", "temp1")
    )
    assert nodes.interpret("11", (100.0, 24345.0)) == "length-mismatch"
    assert nodes.interpret("12", (100.0, 24345.0)) == Decoded((100, 24345))


def test_values_with_names_of_their_own_get_the_scales_of_these_names():
    nodes = Nodes({"emontx": decoder(names="vrms, t0", scales="0.01, 0.1", units="V, C")})
    named = nodes.interpret_named("emontx", ("ct1", "t0", "vrms", "T5"), (105.0, 3000.0, 24310.0, 300.0))
    assert named == (105, None, 243.1, None)
    assert nodes.interpret_named("other", ("t0", "vrms", "T5"), (205.0, 24310.0, 302.0)) == (205, 24310, None)
    assert Nodes({"x": decoder(scale="0.1")}).interpret_named("x", ("temp", "batt"), (263.0, 33.0)) == (
        26.3,
        3.3,
    )


# --- the section ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node", ["0", "10", "255", "emontx", "emon TX-3.4_a"])
def test_a_node_has_a_number_or_a_short_name(node):
    check_id(node)


@pytest.mark.parametrize("node", ["256", "05", "1000", "-1x!", "", "n" * 65, "\N{ARABIC-INDIC DIGIT ONE}"])
def test_any_other_node_is_refused(node):
    with pytest.raises(ValueError, match="expected, not"):
        check_id(node)


EMONHUB = """\
[nodes]
[[10]]
    nodename = emontx2
    firmware = emonTx_CT123
    hardware = emonTx_V2
    [[[rx]]]
        names = power1, power2, power3, vrms
        datacode = h
        scales = 1, 1, 1, 0.01
        units = W, W, W, V
    [[[tx]]]
        names = hour, minute
        datacodes = b, b
[[15]]
    nodename = clock
    [[[rx]]]
        names = t, hour, minute, second
        datacodes = 0
[[16]]
    [[[rx]]]
        datacodes = L, h
        whitening = 1
"""
LISTENERS = "[listeners]\n[[a]]\ntype = tcp\n[[b]]\ntype = tcp\nport = 50012\n"
DISPATCHERS = "[dispatchers]\n[[log]]\ntype = log\n"


@pytest.fixture
def read(written):
    return lambda text: config.read(written(LISTENERS + DISPATCHERS + text))


def test_the_section_of_an_emonhub_is_read_as_it_is(read):
    assert read(EMONHUB).nodes == Nodes(
        {
            "10": decoder(
                name="emontx2",
                names="power1, power2, power3, vrms",
                scales="1, 1, 1, 0.01",
                units="W, W, W, V",
            ),
            "15": decoder(name="clock", names="t, hour, minute, second", datacodes="0"),
            "16": decoder(datacodes="L, h", whitening="yes"),
        }
    )


AVAILABLE = """[nodes]
[[{}]]
    nodename = emonpi
    nodeids = {}
    [[[rx]]]
        names = power1, power2
        datacodes = h, L
"""


@pytest.mark.parametrize(("node", "nodeids"), [("5", "5,"), ("5", "5"), ("8", "7, 8, 9, 10"), ("5", ",")])
def test_a_section_of_its_available_conf_is_read_once_it_has_its_node_for_a_name(read, node, nodeids):
    right = read(AVAILABLE.format(node, nodeids))
    assert right.nodes == Nodes({node: decoder(name="emonpi", names="power1, power2", datacodes="h, L")})
    assert right.remarks == []


def test_and_until_then_it_is_pointed_out(read):
    (remark,) = read(AVAILABLE.format("emonpi", "5,")).remarks
    assert (remark.where, remark.message) == (
        "nodeids",
        "not used: the node that a section is about is its name, which is [[emonpi]], not [[5]]",
    )


def test_without_rx_it_reads_as_the_same(read):
    short = (
        re.sub(r"(?s)    \[\[\[tx.*?(?=\[\[1)", "", EMONHUB)
        .replace("    [[[rx]]]\n", "")
        .replace("nodename", "name")
    )
    assert "[[[" not in short
    assert read(short).nodes == read(EMONHUB).nodes


def test_every_listener_gets_it_and_stays_equal_when_it_changes(read):
    before, after = read(EMONHUB), read("")
    assert [listener.nodes for listener in before.listeners.values()] == [before.nodes] * 2
    assert before.nodes != after.nodes == Nodes()
    assert before.listeners == after.listeners


def test_a_name_may_be_left_out_in_the_middle(read):
    told = read('[nodes]\n[[10]]\nnames = power1, "", vrms\nscales = 1, 1, 0.01\n').nodes
    assert told.decode("10", b"\1\0\2\0\x64\0") == Decoded((1, 2, 1), ("power1", "", "vrms"))


def lines_of(faults):
    return [str(fault).rpartition("oemgateway.conf:")[2] for fault in faults]


def test_its_faults_come_all_at_once_with_their_lines(read):
    with pytest.raises(ConfigFaults) as caught:
        read(
            "[nodes]\n"  # 10
            "loose = 1\n"
            "[[5]]\n"
            "nams = power1\n"
            "type = meter\n"
            "datacodes = h, x\n"  # 15
            "scales = 0.1, z\n"
            "whitening = perhaps\n"
            "[[6]]\n"
            "[[[rx]]]\n"
            "scale = 0\n"  # 20
            "[[7]]\n"
            "datacodes = h, 0\n"
            "datacode = c\n"
        )
    assert lines_of(caught.value.faults) == [
        "11: loose: [nodes] has no settings of its own: a [[node]] expected above it",
        "13: nams: no such setting (did you mean names?)",
        "14: type: no such setting of [[5]]",
        "15: datacodes: b, B, h, H, i, I, l, L, q, Q, f, d or 0 expected, not x",
        "16: scales: a number expected, not z",
        "17: whitening: yes or no expected, not perhaps",
        "20: scale: a number from 1e-9 to 1e9, or that below zero, expected, not 0",
        "22: datacodes: a letter for every value expected, or 0 alone",
        "23: datacode: b, B, h, H, i, I, l, L, q, Q, f, d or 0 expected, not c",
    ]


@pytest.mark.parametrize("given", ["hHb", "h H b", "h; H; b"])
def test_letters_without_commas_are_shown_with_them(read, given):
    with pytest.raises(config.ConfigFaults) as caught:
        read(f"[nodes]\n[[10]]\ndatacodes = {given}\n")
    (fault,) = caught.value.faults
    assert fault.message.endswith(f" or 0 expected, not {given} (did you mean h, H, b?)")


def test_the_number_of_a_node_in_its_section_is_sent_to_the_name_of_the_section(read):
    said = "no such setting: the number of a node is the name of its section, [[10]]"
    with pytest.raises(config.ConfigFaults) as caught:
        read("[nodes]\n[[emontx]]\nnode = 10\nnames = a, b\n")
    assert lines_of(caught.value.faults) == [f"12: node: {said}"]
    # what is nothing like a setting of ours does not keep a gateway from its start
    configuration = read("[nodes]\n[[10]]\nnodeid = 10, 11\nid = 10\nnames = a, b\n")
    assert lines_of(configuration.remarks)[:2] == [
        f"12: nodeid: not used: {said}",
        f"13: id: not used: {said}",
    ]


def test_a_list_with_semicolons_is_pointed_out(read):
    configuration = read("[nodes]\n[[10]]\nnames = power1; power2\nunits = W, C\n")
    assert lines_of(configuration.remarks) == [
        "12: names: a ; separates nothing: a comma expected between two values"
    ]


LONG = "a node of a meter in the cellar of a house at the end of a long road"
A_SHORT_NAME = "1 to 64 letters, digits, dots, dashes, underscores or spaces"


def test_a_name_that_two_values_have_is_a_remark(read):
    configuration = read("[nodes]\n[[18]]\nnames = MSG, T7, '', T7, '', pulse\n")
    said = "T7 names more than one value: these are called by their indices"
    assert [str(each).split(": ", 1)[1] for each in configuration.remarks] == [f"names: {said}"]


def test_what_emonhub_passes_over_is_a_remark(read):
    configuration = read(
        "[nodes]\n"  # 10
        "[[300]]\n"
        "datacodes = h, h\n"
        f"[[{LONG}]]\n"
        "[[5]]\n"
        "nodename = emonpi\n"  # 15
        "name = kitchen, hall\n"
        "colour = blue\n"
        "scale = 0.5\n"
        "[[[rx]]]\n"
        "name = rx1\n"  # 20
        "nams = a\n"
        "datacodes = h, L\n"
        "names = a, b, c\n"
        "scales = 0.1, 1, 1, 1\n"
        "units = W, Wh, n\n"  # 25
        "[[[[deep]]]]\n"
        "x = 1\n"
        "[[[rxx]]]\n"
        "[[6]]\n"
        "colour = blue\n"  # 30
        "[[[rx]]]\n"
        "datacodes = h,\n"
        "scales = 0.01,\n"
    )
    unheard, rest = "not used, as no node can be called that", "the rest is not used"
    assert lines_of(configuration.remarks) == [
        f"11: [[300]]: {unheard}: the number of a node, 0 to 255, or a short name expected, not 300",
        f"13: [[{LONG}]]: {unheard}: {A_SHORT_NAME} expected, not {LONG}",
        "16: name: not used: the node is called by its nodename",
        "17: colour: not used: no such setting of [[5]]",
        "18: scale: not used: [[[rx]]] says what the values are, as in emonhub",
        "20: name: not used: it belongs in [[5]], above [[[rx]]]",
        "21: nams: not used: no such setting (did you mean names?)",
        f"23: names: as there are datacodes: 2 expected, not 3; {rest}",
        f"24: scales: as there are datacodes: 2 expected, not 4; {rest}",
        f"25: units: as there are datacodes: 2 expected, not 3; {rest}",
        "26: [[[[deep]]]]: not used: [[[rx]]] has no sections in it",
        "28: [[[rxx]]]: not used: no such section (did you mean rx?)",
        "30: colour: not used: no such setting of [[6]]",
        "33: scales: not used, as in emonhub, which wants two or more: try scale = 0.01",
    ]
    assert list(configuration.nodes.decoders) == ["5", "6"]
    assert configuration.nodes.decode("5", struct.pack("<hL", 100, 7)) == Decoded((10, 7), ("a", "b"))
    assert "    index 3" not in "\n".join(describe(configuration))


def test_a_list_under_the_setting_for_all_values_is_one_value_each(read):
    configuration = read(
        "[nodes]\n"  # 10
        "[[11]]\n"
        "[[[rx]]]\n"
        "datacode = h, h, L\n"
        "scale = 1, 0.01, 0.1\n"
        "[[12]]\n"  # 15
        "datacode = h,\n"
        "scale = 0.01,\n"
        "[[13]]\n"
        "datacodes = h, h\n"
        "datacode = b, b\n"  # 20
    )
    nodes = configuration.nodes
    assert nodes.decode("11", struct.pack("<hhL", 7, 100, 5)) == Decoded((7, 1, 0.5))
    assert nodes.decode("11", bytes(6)) == "length-mismatch"
    assert nodes.decode("12", bytes([100, 0, 200, 0])) == Decoded((1, 2))
    assert nodes.decode("13", bytes([1, 0, 2, 0])) == Decoded((1, 2))
    assert lines_of(configuration.remarks) == [
        "13: datacode: one letter for all values expected, not 3: read as datacodes, one for each",
        "14: scale: one number for all values expected, not 3: read as scales, one for each",
        "16: datacode: one letter for all values expected, without a comma behind it: read as that",
        "17: scale: one number for all values expected, without a comma behind it: read as that",
        "20: datacode: not used, as there is datacodes",
    ]


def test_a_sensor_below_nodes_is_told_where_it_belongs(read):
    configuration = read("[nodes]\n[[10]]\ndatacodes = h, h\nsensor4 = 28.33F749050000\n")
    types = "type = ds2482, owfs, owserver or w1"
    assert lines_of(configuration.remarks) == [
        f"13: sensor4: not used: no such setting of [[10]]: it is one of a section with {types}"
    ]


# What emonhub 2.7.19 made of the same section and bytes (its _process_rx, run on them).
EMONHUB_VALUES = [
    ("names = temperature,; datacodes = h,; scales = 0.01,1; units = C,", (102, 8), [21.5]),
    ("names = temperature,; datacodes = h,; scales = 0.01,; units = C,", (102, 8), [2150]),
    ("names = temperature,; datacodes = h,; scale = 0.01; units = C,", (102, 8), [21.5]),
    ("names = a, b, c; datacodes = h, h; scales = 0.1, 1, 1; units = W, W, W", (1, 0, 254, 255), [0.1, -2]),
    ("names = a, b; datacode = h; scales = 0.1, 0.01", (1, 0, 2, 0, 3, 0), [0.1, 0.02, 3]),
    ("datacode = L; scale = 0.1", (1, 0, 0, 0, 255, 255, 255, 255), [0.1, 429496729.5]),
    ("datacodes = h, L; scale = 5; scales = 0.1,", (10, 0, 7, 0, 0, 0), [10, 7]),
    ("datacodes = h, h; scale = 5; scales = 0.1, 1", (10, 0, 7, 0), [1, 7]),
    ("datacodes = h, h, h; scales = 0.1, 0.01", (10, 0, 7, 0, 3, 0), [1, 0.07, 3]),
    ("datacodes = b, B, i; whitening = 1", (1, 2, 3, 4, 5, 6), [84, 87, 1397772630]),
    ("datacode = h; whitening = True", (163, 0, 255, 197), [163, -14849]),
    ("datacode = h; whitening = no", (163, 0, 255, 197), [163, -14849]),
    ("datacodes = h, h; datacode = B; colour = blue; name = stray", (10, 0, 7, 0), [10, 7]),
    ("names = a, b", (10, 0, 7, 128), [10, -32761]),
    ("datacode = 0; names = t, h", (116, 20, 26, 0), [116, 20, 26, 0]),
    ("datacodes = f, H; scales = 2, 1", (0, 0, 128, 63, 255, 255), [2, 65535]),
]


@pytest.mark.parametrize(("section", "data", "values"), EMONHUB_VALUES)
def test_the_values_are_those_of_emonhub(read, section, data, values):
    rx = "".join(f"{line}\n" for line in section.split("; "))
    nodes = read(f"[nodes]\n[[10]]\nnodename = ten\n[[[rx]]]\n{rx}").nodes
    assert nodes.decode("10", bytes(data)).values == pytest.approx(values, abs=1e-9)


def test_check_shows_what_is_made_of_each_value(read):
    lines = list(describe(read(EMONHUB)))
    start = lines.index("node 10, emontx2: any number of values")
    assert lines[start + 1 : start + 5] == [
        "    index 1   power1                 h x 1      W",
        "    index 2   power2                 h x 1      W",
        "    index 3   power3                 h x 1      W",
        "    index 4   vrms                   h x 0.01   V",
    ]
    assert "    index 2   hour                   0 x 1" in lines
    assert (
        lines[lines.index("node 16: 6 bytes, whitened") + 1] == "    index 1                          L x 1"
    )


def test_the_settings_in_force_are_a_section_that_reads_as_the_same(read, tmp_path):
    first = read(EMONHUB + '[[17]]\nnames = a, "", "b, c"\n')
    again = tmp_path / "again.conf"
    again.write_text("\n".join(show_settings(first)), encoding="utf-8")
    assert config.read(again).nodes == first.nodes


# --- anything ---------------------------------------------------------------------------------------------

TEXTS = st.text(alphabet="temp1TC °x", max_size=8)
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "names": st.lists(TEXTS, max_size=5),
        "datacodes": st.lists(st.sampled_from([*LETTERS, "0", "x"]), max_size=5),
        "datacode": st.sampled_from([*LETTERS, "0"]),
        "scales": st.lists(SCALES.map(str), max_size=5),
        "scale": SCALES.map(str),
        "units": st.lists(TEXTS, max_size=5),
        "whitening": st.sampled_from(["0", "1"]),
    },
)


@given(SECTIONS, st.binary(max_size=70), st.lists(st.floats() | st.integers(-(2**70), 2**70), max_size=8))
def test_whatever_comes_is_decoded_whole_or_refused_by_name(section, data, values):
    try:
        nodes = Nodes({"1": build(Decoder, section)})
    except SettingsFault:
        return
    for said in (nodes.decode("1", data), nodes.decode("2", data), nodes.interpret("1", values)):
        if isinstance(said, str):
            assert said in ("length-mismatch", "odd-length", "no-payload")
        else:
            assert [*said.names] == section.get("names", [])[: len(said.names)]
            assert all(value is None or math.isfinite(value) for value in said.values)
    names = [f"n{index}" for index, _ in enumerate(values)]
    assert len(nodes.interpret_named("1", names, values)) == len(values)
