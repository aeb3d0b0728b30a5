from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.nodes import Decoder, Nodes
from gateway.settings import SettingsFault, build
from gateway.text.numeral import LARGEST
from listeners.lines import Ignored, Rejected
from listeners.simulated.clock import VirtualClock
from listeners.textlines.tcp import Tcp
from listeners.textlines.value_lines import Values, decode
from tests import vectors
from tests.opened import opened as opened_plugin
from tests.reading import read_and_stop, read_frames
from tests.waiting import wait_until

# --- decode -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", vectors.lines("socket", "direct-values"))
def test_decode_says_of_every_line_what_it_is(vector):
    expected = vector["expect"]
    if expected["result"] == "packet":
        assert decode(vector["line"]) == Values(expected["node"], tuple(expected["values"]))
    else:
        assert decode(vector["line"]) == Rejected(expected["reason"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", Ignored("blank")),
        ("   ", Ignored("blank")),
        ("15 69 1664  ", Values(15, (69, 1664))),
        ("015 +.5 -2. 1E+2", Values(15, (0.5, -2, 100))),
        ("0 0", Values(0, (0,))),
        ("15 69  1664", Rejected("not-a-number")),  # a value is missing: the next would take its index
        (" 69 1664", Rejected("not-a-number")),  # the node is missing
        ("15\t69", Rejected("not-a-number")),
        ("15.0 69", Rejected("node-out-of-range")),
        ("256 69", Rejected("node-out-of-range")),
        ("-1 69", Rejected("node-out-of-range")),
        ("15 -Infinity", Rejected("no-value")),
        ("15 nan 69 - NULL None 1e39 ovf 1664", Values(15, (None, 69, None, None, None, None, None, 1664))),
        ("15 69 24x05", Rejected("not-a-number")),  # a damaged digit: others may be, too
        ("nan 69", Rejected("node-out-of-range")),
        ("15 \N{ARABIC-INDIC DIGIT ONE}", Rejected("not-a-number")),
        ("15 0x10", Rejected("not-a-number")),
        ("15 69,5", Rejected("not-a-number")),
        ("15 1\r", Rejected("not-a-number")),
        ("15 " + "1" * 1021, Rejected("not-a-number")),
        ("15 " + "1" * 1022, Rejected("too-long")),
    ],
)
def test_decode_of_what_the_vectors_leave_out(line, said):
    assert decode(line) == said


@given(st.integers(0, 255), st.lists(st.floats(-LARGEST, LARGEST), min_size=1, max_size=40))
def test_every_line_comes_out_as_it_was_sent(node, values):
    assert decode(f"{node} {' '.join(map(repr, values))}") == Values(node, tuple(values))


# --- the settings -----------------------------------------------------------------------------------------


def test_the_settings_of_2013_go_on_working():
    listener = build(Tcp, {"port_nb": "50012"})
    assert (listener.host, listener.port) == ("127.0.0.1", 50012)


def test_a_bare_section_will_do():
    assert build(Tcp, {}).port == 50011


def test_settings_that_make_no_sense_are_faults():
    with pytest.raises(SettingsFault) as refusal:
        build(Tcp, {"port": "65536", "host": "*", "idle": "0", "clients": "0"})
    assert [key for key, _ in refusal.value.faults] == ["port", "host", "idle", "clients"]


# --- the port ---------------------------------------------------------------------------------------------


@pytest.fixture
def opened(at_end):
    """Return a function that opens a listener on a free port; all of them are closed at the end."""
    return lambda **settings: at_end.enter_context(
        opened_plugin(Tcp(**{"port": 0} | settings), "Socket", VirtualClock())
    )


@pytest.fixture
def connect(at_end):
    """Return a function that connects to a listener; all connections are closed at the end."""
    return lambda listener: at_end.enter_context(socket.create_connection(listener.address, timeout=60))


def said(frames):
    return [(frame.node, frame.values) for frame in frames]


def read_until(listener, stop, condition):
    wait_until(lambda: condition() or listener.read(stop) or condition())


def test_a_line_becomes_a_frame(opened, connect, stop):
    listener = opened()
    connect(listener).sendall(b"15 69 1664\r\n")
    (frame,) = read_frames(listener, stop, 1)
    assert (frame.node, frame.values) == ("15", (69, 1664))
    assert frame.source == "Socket"
    assert frame.rssi is None
    assert frame.stamp == listener.clock.now()


def test_a_node_with_a_section_has_scales_and_names(opened, connect, stop):
    listener = opened()
    listener.nodes = Nodes({"15": Decoder(names=("P1", "Vrms"), datacodes=("h", "h"), scales=("1", "0.01"))})
    connect(listener).sendall(b"15 69 24345 0\n15 69 24345\n")
    (frame,) = read_frames(listener, stop, 1)
    assert (frame.values, frame.names) == ((69, 243.45), ("P1", "Vrms"))
    assert listener.counts == {"length-mismatch": 1}


def test_a_client_that_sends_one_line_and_closes_at_once_is_heard(opened, stop):
    listener = opened()
    for number in range(20):
        with socket.create_connection(listener.address) as client:
            client.sendall(b"15 %d\r\n" % number)
    frames = read_frames(listener, stop, 20)
    assert sorted(frame.values for frame in frames) == [(number,) for number in range(20)]


LINES = b"15 1 69\r\n16 2.5 -3\n\r\n17 nan\r\n18 4\r\n"
FRAMES = [("15", (1, 69)), ("16", (2.5, -3)), ("18", (4,))]


def test_a_split_at_every_position_changes_nothing_while_others_send(opened, connect, stop):
    # Fault 1 of the ancestors: the head of a split line was glued to the next client's.
    listener = opened()
    other = connect(listener)
    for at in range(1, len(LINES)):
        client = connect(listener)
        client.sendall(LINES[:at])
        other.sendall(b"99 1\n")
        frames = read_frames(
            listener, stop, 1 + sum(LINES[:at].count(end) for end in (b"69\r\n", b"-3\n", b" 4\r\n"))
        )
        client.sendall(LINES[at:])
        other.sendall(b"99 2\n")
        frames += read_frames(listener, stop, 5 - len(frames))
        assert [frame for frame in said(frames) if frame[0] != "99"] == FRAMES
        assert [frame for frame in said(frames) if frame[0] == "99"] == [("99", (1,)), ("99", (2,))]
    assert listener.counts["no-value"] == len(LINES) - 1


def test_a_tail_without_line_end_is_dropped_and_counted(opened, connect, stop):
    listener = opened()
    client = connect(listener)
    client.sendall(b"15 1\n15 2")
    assert said(read_frames(listener, stop, 1)) == [("15", (1,))]
    client.close()
    read_until(listener, stop, lambda: listener.counts["unterminated"])
    # and it is not glued to what the next client says
    connect(listener).sendall(b"17 9 9\n")
    assert said(read_frames(listener, stop, 1)) == [("17", (9, 9))]


def test_many_lines_at_once_and_the_port_again_at_once(opened, connect, stop):
    # Fault 4: one frame each 0.2 s, and no port for a minute after a restart.
    listener = opened()
    port = listener.address[1]
    connect(listener).sendall(b"15 1\n" * 500)
    assert len(read_frames(listener, stop, 500)) == 500
    listener.close()
    listener.close()
    again = opened(port=port)
    connect(again).sendall(b"15 1\n")
    assert len(read_frames(again, stop, 1)) == 1


def test_a_connection_that_is_reset_is_only_that(opened, connect, stop):
    listener = opened()
    client = connect(listener)
    client.sendall(b"15 1\n15")
    read_frames(listener, stop, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    read_until(listener, stop, lambda: listener.counts["unterminated"])
    connect(listener).sendall(b"16 1\n")
    assert said(read_frames(listener, stop, 1)) == [("16", (1,))]


@pytest.mark.parametrize(
    "visit",
    [
        b"GET / HTTP/1.1\r\nHost: pi:50011\r\nAccept: */*\r\n\r\n",
        b"OPTIONS / RTSP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x16\x03\x01\x02\x00\n\x00\x01\xfc\x03\x03",
    ],
)
@pytest.mark.parametrize("key", [None, "letmein"])
def test_a_browser_or_a_port_scan_is_a_visitor_and_no_trouble(opened, connect, stop, caplog, visit, key):
    listener = opened(key=key)
    for count in range(1, 7):
        client = connect(listener)
        client.sendall(visit)
        client.shutdown(socket.SHUT_WR)
        read_until(
            listener,
            stop,
            lambda count=count: listener.counts["visitor"] == count and not listener._server.clients,
        )
        assert client.recv(1) == b""
    assert listener.counts == {"visitor": 6}
    assert listener.health().troubles == []
    assert "refused" not in caplog.text


@pytest.mark.parametrize("in_one", [True, False])
@pytest.mark.parametrize("key", [None, "letmein"])
def test_a_device_that_begins_with_noise_loses_nothing_of_what_follows(opened, connect, stop, key, in_one):
    # given a device whose serial line is noisy while it starts
    listener, word = opened(key=key), b"" if key is None else b" letmein"
    client = connect(listener)
    noise, lines = b"\x00\x1f\xff\r\n", b"7 21.5%b\r\n7 21.6%b\r\n" % (word, word)
    if not in_one:
        client.sendall(noise)
        read_until(listener, stop, lambda: listener.counts["visitor"])
    client.sendall(in_one * noise + lines)
    assert said(read_frames(listener, stop, 2)) == [("7", (21.5,)), ("7", (21.6,))]


@pytest.mark.parametrize("lines", [b"7 1\r7 2\r", b"emontx 1\n"])
def test_a_device_that_goes_on_in_a_wrong_form_is_a_trouble(opened, connect, stop, lines):
    listener = opened()
    for _ in range(3):
        with connect(listener) as client:
            client.sendall(lines)
    read_until(listener, stop, lambda: listener.health().troubles)
    assert not listener.counts["visitor"]


@pytest.mark.parametrize(
    "line", [b"emontx 1 2\n", b"GET /input/post?csv=1 HTTP/1.1\n", b"10\t1\n", b"1\xc2\xb0 2\n"]
)
def test_a_device_that_says_something_else_is_a_trouble(opened, connect, stop, line):
    listener = opened()
    connect(listener).sendall(3 * line)
    read_until(listener, stop, lambda: listener.health().troubles)


def test_a_client_that_is_silent_for_too_long_is_cut_off(opened, connect, stop):
    listener = opened(idle=60)
    silent, talker = connect(listener), connect(listener)
    talker.sendall(b"15 1\n")
    read_frames(listener, stop, 1)
    listener.clock.sleep(59)
    talker.sendall(b"15 2\n")
    read_frames(listener, stop, 1)
    listener.clock.sleep(2)
    assert listener.read(stop) == []
    assert silent.recv(1) == b""
    talker.sendall(b"15 3\n")
    assert said(read_frames(listener, stop, 1)) == [("15", (3,))]
    assert listener.counts == {"idle": 1}


def test_one_client_too_many_takes_the_place_of_the_most_silent(opened, connect, stop):
    listener = opened(clients=2)
    first, second = connect(listener), connect(listener)
    first.sendall(b"1 1\n")
    second.sendall(b"2 1\n")
    read_frames(listener, stop, 2)
    first.sendall(b"1 2\n")
    read_frames(listener, stop, 1)
    third = connect(listener)
    third.sendall(b"3 1\n")
    assert said(read_frames(listener, stop, 1)) == [("3", (1,))]
    assert second.recv(1) == b""
    first.sendall(b"1 3\n")
    assert said(read_frames(listener, stop, 1)) == [("1", (3,))]
    assert listener.counts == {"too-many-clients": 1}


def test_it_sleeps_until_stopped(opened):
    assert read_and_stop(opened()) == []


def test_a_port_that_is_taken_is_an_os_error(opened):
    port = opened().address[1]
    with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port}: the port is in use by another section of "):
        opened(port=port)


def test_who_can_reach_it_is_said(opened, caplog):
    caplog.set_level("INFO", logger="oemgateway")
    alone, open_to_all = opened(), opened(host="0.0.0.0")
    assert [record.getMessage() for record in caplog.records] == [
        f"listens on 127.0.0.1:{alone.address[1]} (this machine only: host = 0.0.0.0 lets others in)",
        f"listens on 0.0.0.0:{open_to_all.address[1]}",
    ]


def test_a_listener_that_is_not_open_says_so(stop):
    listener = Tcp()
    listener.close()
    with pytest.raises(OSError, match="not open"):
        listener.read(stop)
    with pytest.raises(OSError, match="not open"):
        listener.address  # noqa: B018


# --- a shared key -----------------------------------------------------------------------------------------

KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "line", [f"{KEY} 15 69 1664", f"15 {KEY} 69 1664", f"15 69 1664 {KEY}", f"15 69 1664 {KEY} "]
)
def test_a_line_may_have_the_key_anywhere(opened, connect, stop, line):
    listener = opened(key=KEY)
    connect(listener).sendall(f"{line}\r\n".encode())
    assert said(read_frames(listener, stop, 1)) == [("15", (69, 1664))]


def test_a_line_of_the_key_alone_opens_its_connection_and_no_other(opened, connect, stop):
    listener = opened(key=KEY)
    first, second = connect(listener), connect(listener)
    first.sendall(f"{KEY}\r\n15 1\n\n15 2\n".encode())
    second.sendall(b"16 1\n")
    assert said(read_frames(listener, stop, 2)) == [("15", (1,)), ("15", (2,))]
    read_until(listener, stop, lambda: listener.health().faults == {"no-key": 1})


def test_the_key_in_a_line_is_good_for_that_line(opened, connect, stop):
    listener = opened(key=KEY)
    connect(listener).sendall(f"15 1 {KEY}\n15 2\n15 3 {KEY}\n".encode())
    assert said(read_frames(listener, stop, 2)) == [("15", (1,)), ("15", (3,))]
    assert listener.counts == {"no-key": 1}


def test_a_line_without_the_key_is_told_nothing_and_no_key_is_in_the_log(opened, connect, stop, caplog):
    listener = opened(key=KEY)
    client = connect(listener)
    wrong = KEY[:-1]
    client.sendall(
        f"15 1\n15 1 {wrong}\n{KEY.upper()} 15 1\n\r\n15 x {KEY}\n{'1' * 1100}\n15 1 {KEY}".encode()
    )
    client.shutdown(socket.SHUT_WR)
    reasons = {"no-key": 3, "not-a-number": 1, "too-long": 1, "unterminated": 1}
    read_until(listener, stop, lambda: listener.counts == reasons)
    assert client.recv(1) == b""
    assert "127.0.0.1" in caplog.text
    assert wrong not in caplog.text.lower()


def test_the_key_is_a_secret():
    assert KEY not in repr(build(Tcp, {"key": KEY}))


@pytest.mark.parametrize("key", ["short1", "12345678", "1e10", "with a space"])
def test_a_key_that_could_be_a_number_will_not_do(key):
    with pytest.raises(SettingsFault, match="one of them a letter") as refusal:
        build(Tcp, {"key": key})
    assert key not in str(refusal.value)
