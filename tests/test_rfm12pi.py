from __future__ import annotations

import re
import struct
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.frame import Stamp
from gateway.listener import Health
from gateway.nodes import Decoder, Nodes
from gateway.settings import SettingsFault, build, shown
from listeners.lines import Ignored, Rejected
from listeners.radio.grammar import (
    LONGEST_LINE,
    BoardLines,
    Comment,
    Configuration,
    Packet,
    Sent,
    decode,
    with_header,
)
from listeners.radio.rfm12pi import Rfm2pi, Rfm12pi
from listeners.simulated.clock import VirtualClock
from listeners.simulated.radio_firmware import Rf12demo
from tests import vectors
from tests.opened import opened as opened_plugin
from tests.reading import read_and_stop, read_frames

# The grammar of a data line, written down a second time: SP is one space, and nothing else parts numbers.
GRAMMAR = re.compile(
    r"( ?(OK )?(G\d{1,3} )?| ?(OK)?G \d{1,3} )\d{1,3}( \d{1,3})+( \(-?\d{1,3}\))? ?"
    r"|OKX (G[0-9A-F]{2} )?[0-9A-F]{4,}( \([0-9A-F]{2}\))? ?",
    re.ASCII,
)


# --- decode -----------------------------------------------------------------------------------------------


def framed(packet):
    return packet.frame(Nodes(), Stamp(0.0, "", 0.0), "radio")


@pytest.mark.parametrize("vector", vectors.lines("rfm2pi"))
def test_decode_says_of_every_line_what_it_is(vector):
    said = decode(vector["line"])
    expected = dict(vector["expect"])
    match expected.pop("result"):
        case _ if expected.get("reason") in ("length-mismatch", "odd-length"):
            # Only [nodes] can say how long a payload is; without it a packet has an even number of bytes.
            assert isinstance(said, Packet)
            assert vector["config"] or framed(said) == Rejected(expected["reason"])
        case "packet":
            assert isinstance(said, Packet)
            assert (said.node, said.data) == (expected["node"], bytes(expected["bytes"]))
            assert (said.rssi, said.group) == (expected["rssi"], expected.get("group"))
            if vector["config"] is None:
                assert list(framed(said).values) == expected["values"]
        case "ignored":
            assert isinstance(said, Ignored)
            assert said.kind == expected["kind"]
            if said.kind == "config":
                named = {"g": expected["group"], "b": expected["mhz"] // 100, "i": expected["node"]}
                assert said.settings == named | ({"q": expected["quiet"]} if "quiet" in expected else {})
        case "rejected":
            assert said == Rejected(expected["reason"])


@pytest.mark.parametrize("vector", vectors.lines("rfm2pi-raw-header"))
def test_a_whole_header_byte_is_taken_apart(vector):
    expected = dict(vector["expect"])
    assert expected.pop("result") == "packet"
    packet = decode(vector["line"])
    assert isinstance(packet, Packet)
    assert with_header(packet) == Packet(expected["node"], bytes(expected["bytes"]), expected["rssi"])
    assert with_header(Packet(None, b"")) == Packet(None, b"")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("OK 10  1 0", Rejected("not-a-number")),  # two spaces: a byte got lost
        ("OK10 1 0", Rejected("not-a-number")),
        ("OK 10 1 0(-50)", Rejected("not-a-number")),
        ("OK 10 1 0 (-128)", Rejected("bad-rssi")),
        ("OK 10 1 0 (20)", Rejected("bad-rssi")),
        ("OK 12 77 90 (-4281139236)", Packet(12, b"MZ", -36)),  # an RFM69Pi that was sold at the end of 2015
        ("OK 12 77 90 (-428113923)", Rejected("bad-rssi")),
        ("OK 12 77 90 (-4281139455)", Rejected("bad-rssi")),
        ("OK 256 1 0", Rejected("node-out-of-range")),
        ("OK 10 " + "9" * 400 + " 0", Rejected("byte-out-of-range")),
        ("OK G256 10 1 0", Rejected("byte-out-of-range")),
        ("OK 10" + " 7" * 68, Rejected("too-long")),
        ("7 " * 400, Rejected("too-long")),
        ("OK 255 007 01", Packet(255, b"\7\1")),
        ("OK 0 1 0", Packet(0, b"\1\0")),
        ("OKX 0A15", Packet(10, b"\x15")),
        ("OKX GD2 0A15 (3A)", Packet(10, b"\x15", -29, 210)),  # in group 0, as RF12demo prints it
        ("OKX GD 0A15", Rejected("not-a-number")),
        ("OKX 0A", Rejected("no-payload")),
        ("OKX 0A1", Rejected("not-a-number")),
        ("OKX 0A1500 (3)", Rejected("bad-rssi")),
        ("OK 5 1 0 E i5 g210 @ 433 MHz q1 U", Rejected("merged-lines")),
        (" -> 4 b", Sent("tx-confirm", 4)),
        (" -> ack", Ignored("tx-confirm")),
        ("test 0 -> 66 b", Ignored("tx-confirm")),
        (" Zzz...", Ignored("sleep")),
        ("-----*      -61dB", Ignored("trace")),
        ("emonPi V2.93", Ignored("banner")),
        ("Settings: r1 b4 p25 g210 i5", Comment("info", {"b": 4, "g": 210, "i": 5})),
        ("Settings: r1 b8 p25 g210 i5 a240 ac1 f50 k0 268.97", Comment("info", {"b": 8, "g": 210, "i": 5})),
        ("\r|Group: 210", Comment("info", {"g": 210})),
        ("|Group 0", Comment("info", {"g": 0})),
        ("|Node ID: 5", Comment("info", {"i": 5})),
        ("|RF Band = 868MHz", Comment("info", {"b": 8})),
        ("|emonPi CM V1.0.0", Comment("banner", {})),
        ("|Group: 2x0", Comment("info", {})),
        ("\x01", Ignored("blank")),
        ("\0\0 B i2 g100 @ 434 MHz", Configuration("config", {"g": 100, "b": 4, "i": 2, "q": 0})),
        ("\ufffd|emonPi CM V1.0.0", Comment("banner", {})),
        ("\ufffd\0[RF12demo.14]", Ignored("banner")),
        ("\0OK 10 1 0", Rejected("merged-lines")),  # of a packet a byte may be lost
        ("\ufffd? 10 1 0", Rejected("not-a-number")),
    ],
)
def test_decode_of_what_the_vectors_leave_out(line, said):
    assert decode(line) == said


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("[RF12demo.14] O i15 g210 @ 433 MHz q1", {"g": 210, "b": 4, "i": 15, "q": 1}),
        (" B i2 g212 @ 434 MHz", {"g": 212, "b": 4, "i": 2, "q": 0}),
        ("[emonPi.29.30] E i5 g210 @ 868 MHz q0 USA 0 ", {"g": 210, "b": 8, "i": 5, "q": 0}),
        ("79 i15 g210 @ 915 MHz  Lock: 1", {"g": 210, "b": 9, "i": 15}),
        ("79 i15 g210 @ 433 MHz", {"g": 210, "b": 4, "i": 15}),
    ],
)
def test_a_configuration_line_tells_the_settings_by_letter(line, settings):
    said = decode(line)
    assert isinstance(said, Configuration)
    assert said.settings == settings


def test_settings_without_a_line_end_are_cut_from_what_follows():
    settings = "Settings: r1 b4 p25 g210 i5"
    lines = [f"{settings}OK 10 1 0 (-50)", "OK 11 1 0", f"{settings}|emonBase_rfm69pi_LPL V1.1.1", settings]
    assert BoardLines(LONGEST_LINE).feed("\n".join([*lines, ""]).encode()) == [
        settings,
        "OK 10 1 0 (-50)",
        "OK 11 1 0",
        settings,
        "|emonBase_rfm69pi_LPL V1.1.1",
        settings,
    ]


@given(
    st.integers(0, 255),
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=33),
    st.none() | st.integers(-127, 0),
    st.sampled_from(["", " ", "OK "]),
    st.sampled_from(["", " "]),
)
def test_every_packet_comes_out_as_it_was_sent(node, values, rssi, start, end):
    data = struct.pack(f"<{len(values)}h", *values)
    strength = "" if rssi is None else f" ({rssi})"
    packet = decode(f"{start}{node} {' '.join(map(str, data))}{strength}{end}")
    assert packet == Packet(node, data, rssi)
    assert framed(packet).values == tuple(values)


# --- the settings -----------------------------------------------------------------------------------------


def test_the_settings_of_2013_go_on_working():
    listener = build(
        Rfm2pi,
        {
            "com_port": "/dev/ttyUSB0",
            "sgroup": "210",
            "frequency": "4",
            "baseid": "15",
            "sendtimeinterval": "0",
        },
    )
    assert (listener.port, listener.baud, listener.group) == ("/dev/ttyUSB0", 9600, 210)
    assert list(listener.remarks()) == []
    assert not listener.simulated


def test_a_bare_section_will_do():
    listener = build(Rfm12pi, {})
    assert (listener.port, listener.baud) == ("/dev/ttyAMA0", 38400)
    assert shown(listener)["frequency"] == ""


def test_a_time_broadcast_that_no_display_will_take_is_pointed_out():
    ((key, message),) = build(Rfm12pi, {"sendtimeinterval": "100", "baseid": "5"}).remarks()
    assert key == "baseid"
    assert message == "an emonGLCD takes the time from node 15 only: 15 expected, not 5"
    assert list(build(Rfm12pi, {"sendtimeinterval": "100", "baseid": "15"}).remarks()) == []
    assert list(build(Rfm12pi, {"sendtimeinterval": "100"}).remarks()) == []


def test_settings_that_the_board_would_not_take_are_faults():
    with pytest.raises(SettingsFault) as refusal:
        build(Rfm12pi, {"baud": "1200", "frequency": "5", "group": "251", "baseid": "31", "quiet": "very"})
    assert [key for key, _ in refusal.value.faults] == ["baud", "frequency", "group", "baseid", "quiet"]


# --- the port ---------------------------------------------------------------------------------------------


@pytest.fixture
def opened(at_end):
    """Return a function that opens a listener; all of them are closed at the end."""

    def open_listener(port, cls=Rfm12pi, clock=None, **settings):
        listener = cls(port=port, **settings)
        return at_end.enter_context(opened_plugin(listener, "RFM2Pi", clock or VirtualClock()))

    return open_listener


def test_a_packet_becomes_a_frame(wire, stop, opened):
    listener = opened(wire.port)
    wire.send(b"OK 10 252 255 0 0 33 99 (-61) \r\n")
    (frame,) = listener.read(stop)
    assert frame.node == "10"
    assert frame.values == (-4, 0, 25377)
    assert frame.rssi == -61
    assert frame.source == "RFM2Pi"
    assert frame.stamp == listener.clock.now()


def test_the_end_of_a_line_is_no_packet_of_another_node(wire, stop, opened):
    listener = opened(wire.port)
    wire.send(b"OK 10 1 0 (-61) \r\n39 200 0 (-61) \r\nOK 10 2 0 (-61) \r\n")
    assert [frame.values for frame in listener.read(stop)] == [(1,), (2,)]
    assert listener.counts == {"no-ok": 1}
    # but another board, whose firmware says no OK, is heard
    listener.close()
    listener.open()
    wire.send(b"\r\n 10 3 0\r\n")
    assert [frame.values for frame in listener.read(stop)] == [(3,)]


def test_a_line_that_a_restart_of_the_board_cuts_off_is_no_shorter_packet(wire, stop, opened):
    listener = opened(wire.port)
    # given a board that tells the signal strength with every packet of node 10, and with none of node 5
    wire.send(b"OK 10 1 0 215 0 (-61) \r\nOK 5 7 0 \r\n")
    assert [frame.values for frame in listener.read(stop)] == [(1, 215), (7,)]
    # when it restarts while it prints one
    wire.send(b"OK 10 2 0 21\r\nOK 10 2 0 215 0\r\nOK 10 2 0 21 0\r\nOK 5 8 0 \r\n")
    assert [frame.values for frame in listener.read(stop)] == [(8,)]
    assert listener.counts == {"no-rssi": 3}
    # then it is heard again afterwards, also with a firmware that tells none
    wire.send(b"[RF12demo.14] O i15 g210 @ 433 MHz q1\r\nOK 10 3 0 215 0\r\n")
    assert [frame.values for frame in listener.read(stop)] == [(3, 215)]


@pytest.mark.parametrize(
    ("first", "again", "other"),
    [
        (
            "[RF12demo.14] O i15 g210 @ 433 MHz q1",
            " O i15 g211 @ 433 MHz q1",
            "[RF12demo.15] O i15 g210 @ 433 MHz",
        ),
        ("[RFM69CW.1] i15 g210", "[RFM69CW.1] i15 g210", "[RFM69CW.2]"),
        ("|emonPi CM V1.0.0", "|emonPi CM V1.0.0", "|emonPi CM V1.1.0"),
        ("\ufffd\0[RF12demo.14]", "[RF12demo.14]", "emonPi V2.93"),
    ],
)
def test_a_board_that_restarts_again_and_again_gives_no_part_of_a_line(first, again, other):
    # given a board that has restarted, and has printed packets
    listener = Rfm12pi()
    listener.hear(first)
    assert isinstance(listener.hear("OK 10 44 100 3 4 (-61)"), Packet)
    # when it restarts in the middle of a line, and says so or answers a setting
    for _ in range(3):
        listener.hear(again)
        # then neither beginning nor end of a line is taken for a packet
        assert listener.hear("OK 10 44 1") == Rejected("no-rssi")
        assert listener.hear("0 44 100 (-61)") == Rejected("no-ok")
    # and other firmware may print neither OK nor signal strength
    listener.hear(other)
    assert isinstance(listener.hear("10 44 100 3 4"), Packet)


def test_firmware_that_was_replaced_without_a_word_is_heard_in_the_end():
    # given a board that said OK and the signal strength of two nodes
    listener = Rfm12pi()
    for node in (10, 11):
        listener.hear(f"OK {node} 1 2 (-61)")
    # when it has other firmware, whose banner was lost
    said = [listener.hear(f"{node} 1 2") for _ in range(60) for node in (10, 11)]
    # then a hundred lines are taken for cut ones, and all others are heard
    assert [isinstance(each, Packet) for each in said] == [False] * 99 + [True] * 21


def test_all_that_has_come_is_one_list(wire, stop, opened):
    listener = opened(wire.port)
    wire.send(b"OK 10 1 0 \r\nOK 11 2 0\r\nOK 12 3 0 (-50)\nOK 13 4")
    assert [frame.node for frame in listener.read(stop)] == ["10", "11", "12"]
    wire.send(b" 0\r\n")
    assert [frame.node for frame in listener.read(stop)] == ["13"]


NEIGHBOURS = b"OK G210 10 1 0 \r\nOK G5 10 9 0 \r\nOK G5 11 2 0 \r\nOK G210 10 3 0 \r\nOK 12 4 0 \r\n"


@pytest.mark.parametrize(
    ("group", "heard", "refused"),
    [
        (None, [("10", 1), ("10", 3), ("12", 4)], 2),  # the first group heard
        (210, [("10", 1), ("10", 3), ("12", 4)], 2),
        (5, [("10", 9), ("11", 2), ("12", 4)], 2),
        (0, [("10", 1), ("11", 2), ("10", 3), ("12", 4)], 1),  # all of them, and each node from one
    ],
)
def test_a_node_of_another_group_does_not_mix_with_ours(wire, stop, opened, caplog, group, heard, refused):
    # given a board in group 0, which hears a neighbour's node 10 beside ours
    listener = opened(wire.port, group=group)
    # when both send, also after the board was away
    for _ in range(2):
        wire.send(NEIGHBOURS)
        frames = listener.read(stop)
        assert [(frame.node, frame.values[0]) for frame in frames] == heard
        listener.close()
        listener.open()
    # then those of the other one are counted, and which is ours is said once where nobody has set it
    assert listener.health().faults["other-group"] == 2 * refused
    assert caplog.text.count("set group = 210, or group = 0 for all") == (group is None)


@pytest.mark.parametrize("stream", vectors.streams())
def test_the_streams(stream, wire, stop, opened):
    chunks, expected = stream["chunks_hex"], list(stream["expect"])
    fresh = {"result": "dropped-first-partial"} in expected
    listener = opened(wire.port)
    if not fresh:
        # The stream begins where a line does, and the listener has heard a line end already.
        wire.send(b"\r\n")
        listener.read(stop)
        listener.counts.clear()
    frames = []
    for chunk in chunks:
        if chunk == "<REOPEN>":
            listener.close()
            listener.open()
            continue
        data = bytes.fromhex(chunk)
        for start in range(0, len(data), 1000):  # a line discipline holds 4096 bytes
            wire.send(data[start : start + 1000])
            frames += listener.read(stop)
    packets = [said for said in expected if said["result"] == "packet"]
    assert [(int(f.node), list(f.values), f.rssi) for f in frames] == [
        (said["node"], said["values"], said["rssi"]) for said in packets
    ]
    assert listener.counts == Counter(said["reason"] for said in expected if "reason" in said)


def test_the_configuration_line_is_logged_and_the_other_text_is_no_fault(wire, stop, opened, caplog):
    caplog.set_level("INFO", logger="oemgateway")
    listener = opened(wire.port)
    wire.send(b"\r\n[RF12demo.14] O i15 g210 @ 433 MHz q1\r\n> 210g\r\n -> 4 b\r\n")
    assert listener.read(stop) == []
    assert listener.counts == {}
    (record,) = caplog.records
    assert record.getMessage() == "the board says: [RF12demo.14] O i15 g210 @ 433 MHz q1"


def test_a_board_that_restarts_all_day_is_logged_once_an_hour(wire, opened, caplog):
    caplog.set_level("INFO", logger="oemgateway")
    listener = opened(wire.port, group=210)
    firmware = Rf12demo()

    def hear(texts):
        for line in "".join(texts).splitlines():
            listener.hear(line)

    def restart():
        firmware.group = 212
        hear(firmware.start())
        for _ in range(5):
            listener.clock.sleep(1)
            hear(firmware.take(listener._board.speak()))
        return firmware.group

    # given a board that loses its settings, as its supply is bad
    groups = [restart() for _ in range(50)]
    # and is not there for a moment
    listener.close()
    listener.open()
    # when it restarts again and again
    groups += [restart() for _ in range(50)]
    # then it is set up each time, and that is logged once
    assert set(groups) == {210}
    assert [record.getMessage() for record in caplog.records] == [
        "the board says: [RF12demo.14] O i15 g212 @ 433 MHz q1",
        "the board has group 210",
        "the board says: [RF12demo.14] O i15 g210 @ 433 MHz q1",
    ]
    # until an hour has passed
    listener.clock.sleep(3600)
    restart()
    assert len(caplog.records) == 6


def test_a_bad_line_is_counted_and_told_once(wire, stop, opened, caplog):
    listener = opened(wire.port)
    wire.send(b"\r\n" + b" 10 1\r\n" * 50)
    assert listener.read(stop) == []
    assert listener.counts["odd-length"] == 50
    assert len(caplog.records) == 1


def test_damaged_packets_that_the_board_prints_are_counted_and_not_logged(wire, stop, opened, caplog):
    listener = opened(wire.port)
    wire.send(b"\r\n" + b" ? 6 255 0\r\n" * 50)
    assert listener.read(stop) == []
    assert listener.health() == Health({"damaged-packet": 50}, [])
    assert not caplog.records


def test_a_raw_header_names_the_sender_or_nobody(wire, stop, opened):
    listener = opened(wire.port, header="raw")
    wire.send(b"OK 42 21 0 51 0\r\nOK 79 1 0\r\n")
    (frame,) = listener.read(stop)
    assert frame.node == "10"
    assert listener.counts == {}


def test_a_node_with_a_decoder_has_names_and_may_be_of_any_length(wire, stop, opened):
    listener = opened(wire.port)
    decoder = Decoder(names=("MSG", "temp"), datacodes=("B", "h"), scales=("1", "0.1"))
    listener.nodes = Nodes({"10": decoder})
    wire.send(b"OK 10 1 215 0\r\nOK 10 1 215 0 0\r\nOK 10 3 216 0\r\nOK 11 1 215 0\r\n")
    frames = listener.read(stop)
    assert [(frame.names, frame.values) for frame in frames] == [
        (("MSG", "temp"), (1, 21.5)),
        (("MSG", "temp"), (3, 21.6)),
    ]
    faults = listener.health().faults
    assert (faults["length-mismatch"], faults["odd-length"]) == (1, 1)
    assert len(faults) == 3


def test_it_sleeps_until_stopped(wire, opened):
    assert read_and_stop(opened(wire.port)) == []


def test_nothing_is_sent_to_a_board_that_is_to_keep_its_settings(wire, stop, opened):
    clock = VirtualClock()
    listener = opened(wire.port, clock=clock)
    clock.sleep(100)
    wire.send(b"OK 10 1 0\r\n")
    assert listener.read(stop)
    assert wire.sent() == b""


def test_a_port_that_vanishes_is_an_os_error_and_comes_back(board, stop, opened):
    listener = opened(board.port)
    board.hear(10, b"\1\0")
    assert len(read_frames(listener, stop, 1)) == 1
    for _ in range(5):
        # given a packet that is cut in two by a hand on the plug
        board.glue_next = True
        board.print("OK 10 1 0 ")
        listener.read(stop)
        board.unplug()
        # then whoever reads is told
        with pytest.raises(OSError, match=re.escape(board.port)):
            listener.read(stop)
        listener.close()
        with pytest.raises(OSError, match=r"No such file or directory \(is the board plugged in\?\)"):
            listener.open()
        # and when it is back the halves are not joined
        board.replug()
        listener.open()
        board.print("2 0 (-50)")
        board.hear(10, b"\7\0")
        assert [frame.values for frame in read_frames(listener, stop, 1)] == [(7,)]


def test_a_port_that_vanishes_wakes_the_sleeper(board, stop, opened):
    listener = opened(board.port)
    failures = []

    def read():
        try:
            while True:
                listener.read(stop)
        except OSError as failure:
            failures.append(failure)

    reader = threading.Thread(target=read)
    reader.start()
    board.unplug()
    reader.join(60)
    assert len(failures) == 1


def test_two_sections_cannot_share_the_port(wire, opened):
    opened(wire.port)
    with pytest.raises(OSError, match="another section of this gateway reads it"):
        opened(wire.port)


def test_what_is_no_serial_port_is_an_os_error(tmp_path, opened):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        opened(str(tmp_path / "file"))


# --- the simulated board ----------------------------------------------------------------------------------


def test_the_simulated_board_hears_two_nodes(stop, opened):
    listener = opened("simulated")
    assert listener.simulated
    power, climate = read_frames(listener, stop, 2)
    assert (power.node, climate.node) == ("10", "19")
    assert len(power.values) == len(climate.values) == 3
    listener.close()
    listener.close()


def test_a_garbled_and_a_glued_packet_are_refused(board, stop, opened):
    listener = opened(board.port)
    board.hear(10, b"\1\0\2\0")
    assert len(read_frames(listener, stop, 1)) == 1
    board.garble_next = True
    board.hear(10, b"\1\0\2\0")
    board.glue_next = True
    board.hear(10, b"\1\0")
    board.hear(10, b"\2\0")
    board.hear(10, b"\3\0")
    assert [frame.values for frame in read_frames(listener, stop, 1)] == [(3,)]
    assert listener.counts["odd-length"] == listener.counts["merged-lines"] == 1
