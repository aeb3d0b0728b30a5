from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.flag import Flag
from gateway.registry import find
from gateway.settings import SettingsFault, build
from listeners.lines import Rejected
from listeners.radio import conversation
from listeners.radio.commands import DIGITS_FIRST, Message, Question, Setting
from listeners.radio.repeater import LONGEST_COMMAND, Repeater, Rfm2piRepeater, judge
from tests.waiting import wait_until

ALL = "saigbqv"
VECTORS = json.loads((Path(__file__).parent / "vectors/rfm12pi.json").read_text())["commands"]


# --- judge ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "order"),
    [
        ("1,2,3,10s", Message(b"\1\2\3", 10)),
        ("1,2,3,0s", Message(b"\1\2\3", 0)),
        ("1,2,3,10a", Message(b"\1\2\3", 10, ack=True)),
        ("00,09,05,00,s", Message(b"\0\x09\5\0", 0)),
        (",,5s", Message(b"\0\0", 5)),
        ("255,31s", Message(b"\xff", 31)),
        (f"{'7,' * 66}1s", Message(b"\7" * 66, 1)),
        ("15i", Setting("i", 15)),
        ("4b", Setting("b", 4)),
        ("210g", Setting("g", 210)),
        ("0q", Setting("q", 0)),
        ("v", Question()),
    ],
)
def test_a_good_command_is_an_order(line, order):
    assert judge(line, ALL) == order


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("123z", "not-allowed"),
        ("123x", "not-allowed"),
        ("0x", "not-allowed"),
        ("1l", "not-allowed"),
        ("1,2,3,4f", "not-allowed"),
        ("1,2,1k", "not-allowed"),
        ("12,34w", "not-allowed"),
        ("123,0,0e", "not-allowed"),
        ("t", "not-allowed"),
        ("8,212,10,0,1>", "not-a-command"),
        ("g210", "not-a-command"),
        ("T hello", "not-a-command"),
        ("1,2,3,10s123z", "not-a-command"),
        ("1, 2,10s", "not-a-command"),
        ("-1,10s", "not-a-command"),
        ("1v", "not-a-command"),
        ("", "not-a-command"),
        ("1,10S", "not-a-command"),
        ("\N{ARABIC-INDIC DIGIT ONE},10s", "not-a-command"),
        ("0g", "value-out-of-range"),
        ("251g", "value-out-of-range"),
        ("0i", "value-out-of-range"),
        ("31i", "value-out-of-range"),
        ("5b", "value-out-of-range"),
        ("2q", "value-out-of-range"),
        ("1,210g", "value-out-of-range"),
        ("g", "value-out-of-range"),
        ("10s", "no-payload"),
        ("256,10s", "byte-out-of-range"),
        ("1,32s", "node-out-of-range"),
        (f"{'7,' * 67}1s", "too-long"),
        ("1" * LONGEST_COMMAND + "s", "too-long"),
    ],
)
def test_a_bad_command_is_refused_by_name(line, reason):
    assert judge(line, ALL) == Rejected(reason)


@pytest.mark.parametrize("line", ["15i", "210g", "4b", "1q", "v", "1,10a"])
def test_what_is_not_allowed_is_refused(line):
    assert judge(line, "s") == Rejected("not-allowed")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["intent"])
def test_the_commands_of_the_firmware(vector):
    for line in re.split(r" \| ", vector.get("write", "123z | 1l | 1,2,3,4f | 1,2,1k | 8,1,1,0> | 0g")):
        order = judge(line, ALL)
        if vector["intent"] in ("NEVER send", "limits", "decimal output"):
            assert isinstance(order, Rejected)
        elif isinstance(order, Message):
            assert list(order.data) == vector.get("payload", [1, 2, 3])
            # and it is spelled so that the firmware echoes just that
            assert f"> {DIGITS_FIRST.spell(order).decode()}" == vector["echo"]
        else:
            assert DIGITS_FIRST.spell(order) == line.encode()


@given(
    st.text() | st.from_regex(r"[0-9]{0,4}(,[0-9]{0,4}){0,70}[a-z]", fullmatch=True),
    st.sets(st.sampled_from(ALL)),
)
def test_whatever_a_client_sends_the_board_only_hears_what_is_allowed(line, allowed):
    order = judge(line, allowed)
    if isinstance(order, Rejected):
        return
    command = DIGITS_FIRST.spell(order).decode()
    numbers, letter = [int(number) for number in re.findall(r"[0-9]+", command)], command[-1]
    assert letter in allowed
    assert re.fullmatch(r"([0-9]{1,3},)*[0-9]{1,3}[a-z]|v", command)
    assert len(numbers) <= 67
    assert all(number <= 255 for number in numbers)
    assert letter != "g" or numbers != [0]


# --- the port ---------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(conversation, "SPACING", 0.02)
    monkeypatch.setattr(conversation, "PATIENCE", 1.0)


class Running:
    """A repeater on a thread of its own, as the core has it."""

    def __init__(self, board, **settings):
        self.listener = Repeater(port=board.port, repeater_port=0, **settings)
        self.listener.name = "radio"
        self.frames = []
        self.failure = None
        self.stop = Flag()
        self.listener.open()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.stop.is_set():
                self.frames += self.listener.read(self.stop)
        except OSError as failure:
            self.failure = failure
        finally:
            self.listener.close()

    def connect(self):
        return socket.create_connection(self.listener.address, timeout=60)

    def ask(self, *lines):
        with self.connect() as client:
            client.sendall("".join(f"{line}\r\n" for line in lines).encode())
            return answers(client, len(lines))


def answers(client, count):
    with client.makefile("r", newline="\r\n") as text:
        return [text.readline().removesuffix("\r\n") for _ in range(count)]


@pytest.fixture
def running(board, at_end):
    def run(**settings):
        running = Running(board, **settings)
        at_end.callback(running.thread.join, 10)
        at_end.callback(running.stop.set)
        return running

    return run


def test_a_command_is_sent_and_confirmed(board, running):
    assert running().ask("1,2,3,10s", "1,2,3,10a") == ["OK", "OK"]
    assert board.firmware.commands == ["v", "1,2,3,10s", "1,2,3,10a"]


def test_answers_come_in_the_order_of_the_commands(board, running):
    assert running().ask("1,10s", "123z", "2,10s", "210g") == [
        "OK",
        "ERR not-allowed",
        "OK",
        "ERR not-allowed",
    ]
    assert board.firmware.commands == ["v", "1,10s", "2,10s"]


def test_an_error_says_what_happened(board, running):
    repeater = running(allow=("s", "g"))
    assert repeater.ask("v", "212g") == ["ERR not-allowed", "OK"]
    board.firmware.refuses = "g"
    assert repeater.ask("210g") == ["ERR the board keeps 212"]
    board.firmware.unsure = True
    assert repeater.ask("1,10s") == ["ERR the board does not confirm it"]
    assert repeater.listener.health().faults["command not-allowed"] == 1


def test_what_the_section_sets_nobody_else_sets(board, running):
    repeater = running(group=210, allow=("s", "g", "b"))
    assert list(repeater.listener.remarks()) == [("allow", "g is refused: group is set in this section")]
    assert repeater.ask("212g", "8b") == ["ERR not-allowed", "OK"]
    assert (board.firmware.group, board.firmware.band) == (210, 8)


def test_a_client_that_sends_and_goes_is_served(board, running):
    repeater = running()
    with repeater.connect() as client:
        client.sendall(b"1,2,3,10s\r\n")
    wait_until(lambda: "1,2,3,10s" in board.firmware.commands)
    assert repeater.ask("4,10s") == ["OK"]


def test_a_client_that_vanishes_is_forgotten(board, running):
    repeater = running()
    board.firmware.deaf = True
    with repeater.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"1,10s\n")
        wait_until(lambda: repeater.listener._waiting)
    wait_until(lambda: not repeater.listener._server.clients)
    wait_until(lambda: not repeater.listener._waiting)


def test_a_client_that_only_stops_sending_is_answered(board, running):
    with running().connect() as client:
        client.sendall(b"1,2,3,10s\n")
        client.shutdown(socket.SHUT_WR)
        assert client.makefile().read() == "OK\n"


def test_a_command_without_its_end_is_dropped(board, running):
    repeater = running()
    with repeater.connect() as client:
        client.sendall(b"1,2,3,10s")
    wait_until(lambda: repeater.listener.commands["unterminated"] == 1)
    assert board.firmware.commands == []


def test_a_command_in_pieces_is_one(board, running):
    with running().connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"1,2", b",3,1", b"0s\r", b"\n"):
            client.sendall(piece)
        assert answers(client, 1) == ["OK"]
    assert board.firmware.commands[-1] == "1,2,3,10s"


def test_more_than_the_queue_holds_is_refused(board, running):
    said = running().ask(*["1,10s"] * 40)
    assert said == ["OK"] * 16 + ["ERR busy"] * 24
    assert board.firmware.commands == ["v", *["1,10s"] * 16]


def test_a_client_that_reads_no_answers_is_hung_up_on(running):
    repeater = running()
    with repeater.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        (served,) = wait_until(lambda: repeater.listener._server.clients)
        served.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with contextlib.suppress(ConnectionError):
            client.sendall(b"z\n" * 50000)
        wait_until(lambda: not repeater.listener._server.clients)
    assert repeater.ask("1,10s") == ["OK"]


def test_a_client_with_many_commands_unanswered_is_not_read_until_they_are(board, running):
    # given a board that does not confirm
    repeater = running()
    board.firmware.unsure = True
    refused = repeater.listener.commands
    with repeater.connect() as client, client.makefile() as said:
        # when a client sends more commands than it has answers for
        client.sendall(b"1,10s\n" + b"z\n" * 40_000)
        # then most of them wait where the client has sent them, and all are answered in their order
        assert said.readline() == "ERR the board does not confirm it\n"
        assert refused["not-allowed"] < 20_000
        assert [said.readline() for _ in range(40_000)] == ["ERR not-allowed\n"] * 40_000


def test_packets_come_in_while_commands_go_out(board, running):
    repeater = running()
    board.hear(10, b"\1\0")
    wait_until(lambda: repeater.frames)
    with repeater.connect() as idle, repeater.connect() as client:
        idle.sendall(b"1,2")
        for number in range(50):
            client.sendall(b"1,10s\n" if number % 5 == 0 else b"123z\n")
            board.hear(11, bytes([number, 0]))
        assert answers(client, 50).count("OK") == 10
    wait_until(lambda: len(repeater.frames) == 51)
    assert [frame.values[0] for frame in repeater.frames[1:]] == list(range(50))


def test_a_board_that_goes_is_told_to_those_who_wait(board, running):
    repeater = running()
    board.firmware.deaf = True
    with repeater.connect() as client:
        client.sendall(b"1,10s\n")
        wait_until(lambda: repeater.listener._waiting)
        board.unplug()
        assert answers(client, 1) == ["ERR the board has gone"]
    wait_until(lambda: repeater.failure)


# --- the settings -----------------------------------------------------------------------------------------


def test_the_settings_of_2013_go_on_working():
    cls = find("listeners", "OemGatewayRFM2PiListenerRepeater")
    assert cls is Rfm2piRepeater
    listener = build(cls, {"com_port": "/dev/ttyAMA0", "port_nb": "50012", "sgroup": "210"})
    assert (listener.port, listener.baud, listener.repeater_port) == ("/dev/ttyAMA0", 9600, 50012)
    assert (listener.repeater_host, listener.allow) == ("127.0.0.1", ("s", "a"))


def test_a_letter_that_may_never_be_allowed_is_a_fault():
    with pytest.raises(SettingsFault, match="allow: s, a, i, g, b, q or v expected, not z"):
        build(Repeater, {"allow": ["s", "z"]})
