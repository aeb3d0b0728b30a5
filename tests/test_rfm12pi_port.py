"""A board that is unplugged, comes back by another name, or speaks at a rate nobody has told."""

from __future__ import annotations

import os
import random
import re
import struct
import threading

import pytest

from gateway.flag import Flag, wait_readable
from gateway.settings import build
from gateway.workers import worker
from listeners.radio import baud as radio_baud
from listeners.radio import conversation
from listeners.radio.baud import RATES, BaudSearch
from listeners.radio.grammar import decode
from listeners.radio.rfm12pi import Rfm12pi
from listeners.simulated.clock import VirtualClock
from listeners.simulated.radio_firmware import Rf12demo
from listeners.simulated.rfm12pi import SimulatedRfm12pi
from tests.gateway_process import state
from tests.gateway_thread import running
from tests.opened import opened as opened_plugin
from tests.simulators.radio_firmware import EmonBase, Rfm2pi
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(conversation, "SPACING", 0.02)
    monkeypatch.setattr(conversation, "PATIENCE", 2.0)
    monkeypatch.setattr(radio_baud, "_ASK_AFTER", 0.05)
    monkeypatch.setattr(radio_baud, "_LISTEN", 0.6)


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level("INFO", logger="oemgateway")


@pytest.fixture
def plugged(tmp_path, at_end):
    """Return a function that plugs a board in."""

    def plug(firmware=None, name="ttyRADIO", period=0):
        board = SimulatedRfm12pi(tmp_path / name, period=period, firmware=firmware)
        at_end.callback(board.close)
        return board

    return plug


@pytest.fixture
def opened(at_end):
    return lambda port, **settings: at_end.enter_context(
        opened_plugin(Rfm12pi(port=str(port), **settings), "radio")
    )


def read_until(listener, condition):
    """Read as the core does until something is so, and return the frames."""
    frames = []
    stop = Flag()
    wait_until(lambda: condition(frames) or frames.extend(listener.read(stop)))
    return frames


def read(listener, count):
    return read_until(listener, lambda frames: len(frames) >= count)


def told(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "oemgateway.radio"]


# --- baud = auto ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "firmware",
    [Rf12demo(), Rf12demo(baud=57600), Rf12demo(baud=115200), Rfm2pi(), EmonBase(), EmonBase(baud=115200)],
    ids=lambda firmware: f"{type(firmware).__name__} at {firmware.baud}",
)
def test_the_rate_is_found_by_asking(firmware, plugged, opened, caplog):
    board = plugged(firmware)
    listener = opened(board.port, baud="auto")
    read_until(listener, lambda _: listener._search is None)
    assert f"the board speaks at {firmware.baud} baud" in told(caplog)
    # and no frame is made of what was read at wrong rates
    board.hear(10, b"\1\0")
    board.hear(10, b"\2\0")
    assert read(listener, 1)[-1].values in ((1,), (2,))
    assert listener.health().faults == {}


def test_the_rate_is_found_by_a_packet_of_a_board_that_does_not_answer(plugged, opened, caplog):
    board = plugged(Rf12demo(baud=57600, deaf=True), period=0.02)
    listener = opened(board.port, baud="auto")
    assert {frame.node for frame in read(listener, 10)} == {"10", "19"}
    assert "the board speaks at 57600 baud" in told(caplog)


def test_the_rate_that_was_found_is_tried_first_when_the_board_comes_back(plugged, opened):
    board = plugged(Rf12demo(baud=115200))
    listener = opened(board.port, baud="auto")
    read_until(listener, lambda _: listener._search is None)
    listener.close()
    listener.open()
    assert listener._search.rate == 115200
    read_until(listener, lambda _: listener._search is None)


def test_where_no_rate_makes_sense_that_is_said(plugged, opened):
    board = plugged(Rf12demo(deaf=True))
    listener = opened(board.port, baud="auto")
    # It has not read anything until then, and the core does not take it for working.
    with pytest.raises(OSError, match=r"no board answers at 38400, 57600, 115200 or 9600 baud"):
        listener.read(Flag())


def test_a_search_ends_when_it_is_to_stop(plugged, opened):
    board = plugged(Rf12demo(deaf=True))
    listener = opened(board.port, baud="auto")
    stop = Flag()
    stop.set()
    assert listener.read(stop) == []


def test_each_rate_is_asked_once_and_has_its_time(monkeypatch):
    monkeypatch.undo()
    clock = VirtualClock()
    search = BaudSearch(clock)
    asked = []

    def search_on():
        while True:
            clock.sleep(search.due - clock.monotonic())
            if not search.is_over() and search.speak():
                asked.append((search.rate, clock.monotonic()))

    with pytest.raises(OSError, match="no board answers"):
        search_on()
    assert asked == [(rate, 1 + 5 * turn) for turn, rate in enumerate(RATES)]
    assert clock.monotonic() == 20


def test_chance_bytes_are_no_proof():
    # given bytes as a wrong rate makes them, a line end every now and then
    draw = random.Random(1)
    search = BaudSearch(VirtualClock())
    lines = [draw.randbytes(draw.randint(0, 12)).decode("ascii", "replace") for _ in range(20000)]
    assert [line for line in lines if search.is_proof(line, decode(line))] == []


def test_auto_is_a_baud_rate_as_the_others_are():
    assert build(Rfm12pi, {"baud": "auto"}).baud == "auto"
    assert build(Rfm12pi, {"baud": "57600"}).baud == 57600


def test_a_simulated_board_speaks_at_any_rate(opened):
    for rate in (9600, "auto"):
        listener = opened("simulated", baud=rate)
        assert {frame.node for frame in read(listener, 2)} == {"10", "19"}


# --- the port ---------------------------------------------------------------------------------------------


def test_a_pattern_finds_the_board_under_another_name(plugged, opened, tmp_path, caplog):
    board = plugged(name="ttyUSB0")
    listener = opened(tmp_path / "ttyUSB*")
    board.hear(10, b"\1\0")
    assert read(listener, 1)[0].values == (1,)
    # when it is pulled out and comes back as another
    board.unplug()
    with pytest.raises(OSError, match=r"ttyUSB0: it gives no more data \(is the board plugged in\?\)"):
        read(listener, 1)
    listener.close()
    with pytest.raises(
        OSError, match=re.escape(f"{tmp_path}/ttyUSB*: no such port (is the board plugged in?)")
    ):
        listener.open()
    board = plugged(name="ttyUSB1")
    listener.open()
    board.hear(10, b"\2\0")
    # then it is read again
    assert read(listener, 1)[0].values == (2,)
    assert told(caplog) == [f"the board is at {tmp_path}/ttyUSB{number}" for number in (0, 1)]


def test_a_file_that_is_no_port_is_said_to_be_none(opened, tmp_path):
    (tmp_path / "ttyUSB0").touch()
    expected = f"{tmp_path}/ttyUSB0: Inappropriate ioctl for device: a serial port expected, and this is none"
    with pytest.raises(OSError, match=re.escape(expected)):
        opened(tmp_path / "ttyUSB0")


def test_a_pattern_that_several_ports_match_is_not_guessed_about(plugged, opened, tmp_path):
    plugged(name="ttyUSB0")
    plugged(name="ttyUSB1")
    expected = (
        f"{tmp_path}/ttyUSB*: one port expected, not {tmp_path}/ttyUSB0 and {tmp_path}/ttyUSB1: "
        "set port to the right one"
    )
    with pytest.raises(OSError, match=re.escape(expected)):
        opened(tmp_path / "ttyUSB*")


def test_a_board_that_comes_back_is_set_up_again(plugged, opened):
    firmware = EmonBase()
    board = plugged(firmware)
    listener = opened(board.port, group=212)
    for _ in range(3):
        read_until(listener, lambda _: firmware.group == 212)
        board.unplug()
        listener.close()
        board.replug()
        assert firmware.group == 210
        listener.open()
    read_until(listener, lambda _: firmware.group == 212)


@pytest.mark.parametrize("firmware", [Rf12demo(group=1), EmonBase(), EmonBase(terse=True)], ids=repr)
def test_no_packet_is_lost_while_settings_are_sent(firmware, plugged, opened):
    board = plugged(firmware)
    listener = opened(board.port, group=212, frequency=8, baseid=7)
    frames = []
    number = 0
    while len(firmware.commands) < 4 or number < 500:
        board.hear(10, struct.pack("<2h", *divmod(number, 1000)))
        number += 1
        frames += listener.read(Flag())
    frames += read(listener, number - len(frames))
    assert [frame.values for frame in frames] == [divmod(n, 1000) for n in range(number)]
    read_until(listener, lambda _: (firmware.group, firmware.band, firmware.node) == (212, 8, 7))


def test_what_a_board_hears_while_it_answers_is_printed_too(plugged, at_end):
    # given two threads that print, as that of a test and that of the board do, and one that reads
    board = plugged()
    port = os.open(board.port, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    at_end.callback(os.close, port)
    each, got = 4000, bytearray()

    def print_lines() -> None:
        for number in range(each):
            wait_until(lambda: 2 * number - got.count(b"!") < 100)  # noqa: B023  (called here and now)
            board.print("!")

    printing = [threading.Thread(target=print_lines) for _ in range(2)]
    for thread in printing:
        thread.start()
    # then every line is there
    while got.count(b"!\r\n") < 2 * each and wait_readable([port], 10):
        got += os.read(port, 4096)
    for thread in printing:
        thread.join(60)
    assert got.count(b"!\r\n") == 2 * each


# --- the whole way ----------------------------------------------------------------------------------------

CONFIGURATION = """
[listeners]
[[radio]]
type = rfm12pi
port = {directory}/ttyUSB*
baud = auto
group = 212
baseid = 7

[dispatchers]
[[home]]
type = emoncms
url = {server.url}
apikey = {server.key}
interval = 0
"""


def hear_many(board, gateway, numbers):
    """Have the board hear packets, once it is set up, as fast as they are read; the last ones too."""
    firmware, radio = board.firmware, gateway._listeners["radio"]
    wait_until(lambda: (firmware.group, firmware.node) == (212, 7), what="the settings")
    for number in numbers:
        # A line discipline holds 4096 bytes.
        wait_until(lambda: number - radio.frames < 100)  # noqa: B023  (called here and now)
        board.hear(10, struct.pack("<h", number))
    wait_until(lambda: radio.frames == numbers.stop, what="the frames")


def pull_out(board):
    """Pull the board out in the middle of a line; it forgets its settings."""
    board.glue_next = True
    board.print("OK 10 255 127 ")
    board.unplug()
    board.firmware.group, board.firmware.node = 210, 5


@pytest.mark.parametrize(
    "firmware", [Rf12demo(group=210), EmonBase(baud=115200)], ids=lambda firmware: type(firmware).__name__
)
def test_a_board_pulled_out_five_times_under_load_costs_no_complete_line(
    firmware, tmp_path, written, server, plugged, monkeypatch, caplog
):
    monkeypatch.setattr(worker.ListenerWorker, "longest_pause", 0.1)
    # given a gateway, and a board that comes back by another name each time
    board = plugged(firmware, name="ttyUSB0")
    file = written(state(tmp_path) + CONFIGURATION.format(directory=tmp_path, server=server))
    with running(file) as gateway:
        for turn in range(5):
            hear_many(board, gateway, range(turn * 500, turn * 500 + 500))
            # when it is pulled out
            pull_out(board)
            board = plugged(firmware, name=f"ttyUSB{turn + 1}")
        hear_many(board, gateway, range(2500, 3000))
        # then every complete line has arrived, once and in order
        wait_until(lambda: len(server.stored) >= 3000, what="all frames")
    assert [stored.value for stored in server.stored] == list(range(3000))
    gone = [text for text in told(caplog) if re.search(r"ttyUSB\d: ", text)]
    assert len(gone) == 5
