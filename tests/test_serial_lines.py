from __future__ import annotations

import os
import termios

import pytest

from gateway.diagnosis.machine import Machine
from gateway.frame import Stamp
from gateway.nodes import Decoder, Nodes
from gateway.registry import find
from gateway.settings import SettingsFault, build
from listeners.ports.serial_port import SerialPort
from listeners.simulated.clock import VirtualClock
from listeners.textlines.serial_lines import SerialLines
from tests.opened import opened as opened_plugin
from tests.reading import read_and_stop, read_frames
from tests.wire import Wire

STAMP = Stamp(0.0, "", 0.0)

THREE_PHASE = "11 100 0 50 0 24345 30000 2150"
DECODER = Decoder(
    names=("powerL1", "powerL2", "powerL3", "power4", "vrms", "temp1", "temp2"),
    datacodes=("h",) * 7,
    scales=("1", "1", "1", "1", "0.01", "0.01", "0.01"),
)


@pytest.fixture
def opened(wire):
    """Return a listener that is open; it is closed at the end."""
    with opened_plugin(SerialLines(port=wire.port), "cable", VirtualClock()) as listener:
        yield listener


# --- lines ------------------------------------------------------------------------------------------------


def framed(listener, line):
    return listener.frame(listener.hear(line), STAMP, line)


def test_a_node_with_a_section_has_scales_and_names():
    listener = SerialLines()
    listener.nodes = Nodes({"11": DECODER})
    frame = framed(listener, THREE_PHASE)
    assert frame.values == (100, 0, 50, 0, 243.45, None, 21.5)
    assert frame.names == DECODER.names
    assert framed(listener, "11 100 0 50") is None
    assert listener.counts["length-mismatch"] == 1


# --- the settings -----------------------------------------------------------------------------------------


def test_a_bare_section_will_do():
    listener = build(SerialLines, {})
    assert (listener.port, listener.baud) == ("/dev/ttyUSB0", 9600)


def test_the_type_and_the_settings_of_2013_go_on_working():
    cls = find("listeners", "OemGatewaySerialListener")
    listener = build(cls, {"com_port": "/dev/ttyAMA0", "com_baud": "57600"})
    assert (listener.port, listener.baud) == ("/dev/ttyAMA0", 57600)


def test_a_speed_that_no_port_has_is_a_fault():
    with pytest.raises(SettingsFault, match="38400, 57600, 115200 or 230400 expected, not 9601"):
        build(SerialLines, {"baud": "9601"})


@pytest.mark.parametrize("type_", ["serial", "keyvalue", "rfm12pi", "repeater"])
@pytest.mark.parametrize(
    "port", ["ttyUSB0", "dev/ttyUSB0", "~/ttyUSB0", "COM1", "socket://host:1", "Simulated"]
)
def test_a_port_is_a_path_that_does_not_depend_on_who_starts_the_gateway(type_, port):
    with pytest.raises(SettingsFault, match="port: an absolute path expected, such as /dev/ttyUSB0, not "):
        build(
            find("listeners", type_), {"port": port, "node": "9"} if type_ == "keyvalue" else {"port": port}
        )


def test_a_link_to_a_port_in_a_home_that_may_not_be_entered_says_so(tmp_path, monkeypatch, stop):
    # given a port that is not found, below a directory that this user may not enter
    monkeypatch.setattr("gateway.paths.os.access", lambda place, mode: mode == os.F_OK or place != tmp_path)
    cable = build(SerialLines, {"port": f"{tmp_path}/tty"})
    # when it is opened, then nobody is sent to plug a board in
    with pytest.raises(
        OSError, match=f"tty: No such file or directory: this user may not enter {tmp_path}: "
    ):
        cable.open()


def test_a_device_that_takes_nothing_is_read_all_the_same(wire):
    # given a port whose far end stops what is sent to it, by flow control
    port = SerialPort(wire.port, 9600)
    try:
        termios.tcflow(port.fileno(), termios.TCOOFF)
        # when something is to be sent there, then that ends, and its lines can be read
        port.write(b"?\n")
        wire.send(b"10 1\n")
        assert port.read() == b"10 1\n"
        # and nothing of it comes later
        termios.tcflow(port.fileno(), termios.TCOON)
        port.write(b"1v\n")
        assert wire.sent() == b"1v\n"
    finally:
        port.close()


def test_the_doctor_looks_at_the_port(tmp_path):
    (finding,) = SerialLines().examine(Machine.below(tmp_path))
    assert "/dev/ttyUSB0 is missing" in str(finding)


# --- the port ---------------------------------------------------------------------------------------------


def test_lines_come_in_whatever_pieces(wire, opened, stop):
    # given a line whose beginning was never heard, and others in pieces
    wire.send(b"55 69 1664\r\n15 69")
    assert opened.read(stop) == []
    wire.send(b" 1664\r\n\r\n16 -0.5\n17 1")
    # then all but the first come out
    first, second = read_frames(opened, stop, 2)
    assert (first.node, first.values, first.source) == ("15", (69, 1664), "cable")
    assert (second.node, second.values) == ("16", (-0.5,))
    assert first.stamp == opened.clock.now()
    assert opened.counts == {}


@pytest.mark.parametrize("type_", ["serial", "keyvalue", "rfm12pi"])
def test_a_device_at_another_speed_that_prints_no_line_end_is_in_trouble(wire, stop, type_):
    listener = build(
        find("listeners", type_), {"port": wire.port} | ({"node": "9"} if type_ == "keyvalue" else {})
    )
    with opened_plugin(listener, "cable", VirtualClock()):
        for _ in range(60):
            wire.send(b"\xf8\x00\x80\xe0" * 256)
            assert listener.read(stop) == []
        (trouble,) = listener.health().troubles
        assert trouble.startswith("every line is refused: ")
        # and what ends it is no line
        wire.send(b"10 1 2\n")
        assert listener.read(stop) == []


def test_refusals_and_missed_messages_are_counted_and_told(wire, opened, stop, caplog):
    opened.nodes = Nodes({"17": Decoder(names=("MSG",))})
    wire.send(b"\n17 1\n17 1\n17 4 nan\n15 nan\n15 nan\n\xff\n")
    read_frames(opened, stop, 3)
    assert opened.health().faults == {
        "no-value": 2,
        "not-a-number": 1,
        "value-missing": 1,
        "message of node 17 missed": 2,
    }
    assert [record.getMessage() for record in caplog.records] == [
        "a value is missing in a line, and its place stays empty: '17 4 nan'",
        "a line is refused (no-value, 1 so far): '15 nan'",
        r"a line is refused (not-a-number, 1 so far): '\ufffd'",
    ]


def test_after_it_was_pulled_out_it_is_opened_anew_and_the_halves_are_not_joined(opened, stop, wire):
    wire.send(b"\n15 1\n16 2")
    read_frames(opened, stop, 1)
    wire.cut()
    with pytest.raises(OSError, match=wire.port):
        opened.read(stop)
    opened.close()
    with pytest.raises(OSError, match="not open"):
        opened.read(stop)
    again = Wire()
    opened.port = again.port
    opened.open()
    again.send(b"3 4\n17 5\n")
    assert [frame.node for frame in read_frames(opened, stop, 1)] == ["17"]
    opened.close()
    again.cut()


def test_a_reader_with_nothing_to_read_ends_when_it_is_told_to(opened):
    assert read_and_stop(opened) == []
