"""What a board is told, and when: a simulated firmware at the other end, a clock that nobody waits for."""

from __future__ import annotations

import logging
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import build
from listeners.lines import Ignored
from listeners.radio.board import Board
from listeners.radio.commands import SETTINGS, Message, Question, Setting
from listeners.radio.grammar import LONGEST_LINE, BoardLines, decode
from listeners.radio.rfm12pi import Rfm12pi
from listeners.simulated.clock import VirtualClock
from listeners.simulated.radio_firmware import Rf12demo
from tests.simulators.radio_firmware import EmonBase, Rfm2pi

HARMLESS = {
    Rf12demo: re.compile(r"v|[0-9]{1,3}[bgiq]|00,[0-9]{2},[0-9]{2},00,s"),
    Rfm2pi: re.compile(r"v|[0-9]{1,3}[bgi]|00,[0-9]{2},[0-9]{2},00,s"),
    EmonBase: re.compile(r"v|L|l|[bgi][0-9]{1,3}"),
}


class Wire:
    """A board's firmware, and the one who talks to it, on a virtual clock."""

    def __init__(self, firmware, wanted=(), **more):
        self.clock = VirtualClock()
        self.firmware = firmware
        self.board = Board(dict(wanted), self.clock, logging.getLogger("oemgateway.radio"), **more)
        self.lines = BoardLines(LONGEST_LINE)
        self.times = []
        self.text = ""

    def run(self, seconds):
        """Let so much time pass, by leaps from one thing that is due to the next."""
        end = self.clock.monotonic() + seconds
        while self.board.due is not None and self.board.due <= end:
            self.clock.sleep(self.board.due - self.clock.monotonic())
            if command := self.board.speak():
                self.times.append(self.clock.monotonic())
                self.hear(self.firmware.take(command))
        self.clock.sleep(end - self.clock.monotonic())

    def hear(self, texts):
        for text in texts:
            self.text += text
            for line in self.lines.feed(text.encode()):
                said = decode(line)
                assert isinstance(said, Ignored), line
                self.board.hear(said)

    @property
    def state(self):
        firmware = self.firmware
        return {"g": firmware.group, "b": firmware.band, "i": firmware.node, "q": int(firmware.quiet)}


def told(caplog, level="WARNING"):
    return [record.getMessage() for record in caplog.records if record.levelname == level]


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    caplog.set_level("INFO", logger="oemgateway")


WANTED = {"g": 212, "b": 8, "i": 5, "q": 0}


# --- settings ---------------------------------------------------------------------------------------------


def test_only_what_differs_is_sent_and_a_second_apart(caplog):
    wire = Wire(Rf12demo(group=210, band=4, node=15, quiet=True), {"g": 212, "b": 4, "i": 5, "q": 1})
    wire.run(60)
    assert wire.firmware.commands == ["v", "212g", "5i"]
    assert wire.times == [1, 2, 3]
    assert wire.text.splitlines()[-1] == "[RF12demo.14] E i5 g212 @ 433 MHz q1"
    assert told(caplog, "INFO") == ["the board has group 212, frequency 4, baseid 5, quiet 1"]
    assert told(caplog) == []


def test_a_board_that_has_it_all_is_asked_and_left_alone():
    wire = Wire(Rf12demo(), {"g": 210, "b": 4, "i": 15, "q": 1})
    wire.run(3600)
    assert wire.firmware.commands == ["v"]


def test_a_board_that_is_to_keep_its_settings_is_told_nothing():
    wire = Wire(Rf12demo())
    wire.run(3600)
    assert wire.firmware.commands == []
    wire.hear(["[RF12demo.14] A i1 g1 @ 868 MHz\r\n", "emonPi V2.93\r\n"])
    wire.run(3600)
    assert wire.firmware.commands == []


def test_a_board_of_2013_tells_its_settings_below_its_help():
    wire = Wire(Rfm2pi(group=210), WANTED | {"q": 1})
    wire.run(60)
    assert wire.firmware.commands == ["v", "212g", "8b", "5i"]
    assert wire.text.splitlines()[-1] == " 69 i5 g212 @ 868 MHz  Lock: 1"


def test_letters_go_first_for_the_firmware_of_2023():
    wire = Wire(EmonBase(group=210, node=5), {"g": 212, "b": 8, "i": 5, "q": 1})
    wire.run(60)
    assert wire.firmware.commands == ["v", "L", "g212", "b8", "L"]
    assert wire.times == [1, 2, 3, 4, 5]
    assert "|Group: 212\r\n|Node ID: 5\r\n" in wire.text


def test_a_firmware_of_2023_that_only_has_the_line_without_an_end(caplog):
    wire = Wire(EmonBase(group=210, node=5, terse=True), {"g": 212})
    wire.run(120)
    assert wire.state["g"] == 212
    assert told(caplog) == []
    assert told(caplog, "INFO") == ["the board has group 212"]


@pytest.mark.parametrize("firmware", [Rf12demo, Rfm2pi, EmonBase])
@given(
    have=st.fixed_dictionaries(
        {
            "group": st.integers(0, 255),
            "band": st.sampled_from([4, 8, 9]),
            "node": st.integers(1, 30),
            "quiet": st.booleans(),
        }
    ),
    wanted=st.fixed_dictionaries(
        {},
        optional={
            "group": st.integers(0, 250),
            "frequency": st.sampled_from([4, 8, 9, 433, 868, 915]),
            "baseid": st.integers(1, 30),
            "quiet": st.booleans(),
            "sendtimeinterval": st.sampled_from([0, 60, 600]),
        },
    ),
    refuses=st.sets(st.sampled_from("gbiq"), max_size=1),
    deaf=st.booleans(),
    unsure=st.booleans(),
)
def test_whatever_is_configured_the_board_has_it_in_the_end_and_hears_nothing_that_harms(
    firmware, have, wanted, refuses, deaf, unsure
):
    # given a board and a configuration
    board = firmware(**have, refuses="".join(refuses), deaf=deaf, unsure=unsure)
    listener = build(Rfm12pi, {key: str(value) for key, value in wanted.items()})
    before = dict(have)
    # when it is set up
    wire = Wire(board, listener.wanted(), time_every=listener.sendtimeinterval)
    wire.run(100)
    # then the board has what is wanted and kept the rest
    names = {"g": "group", "b": "band", "i": "node", "q": "quiet"}
    for letter, value in wire.state.items():
        takes = not deaf and letter not in refuses and (letter != "q" or firmware is Rf12demo)
        expected = listener.wanted().get(letter) if takes else None
        assert value == (before[names[letter]] if expected is None else expected)
    # and its own configuration says so
    if not deaf:
        wire.hear(board.take(b"L\n" if firmware is EmonBase else b"v"))
        assert all(
            wire.board.settings.get(letter, 1) == value or letter in refuses
            for letter, value in listener.wanted().items()
            if letter != "q"
        )
    # and nothing else was sent, nor anything within a second of another
    assert all(HARMLESS[firmware].fullmatch(command) for command in board.commands)
    assert all(after - before >= 1 for before, after in zip(wire.times, wire.times[1:], strict=False))
    assert bool(wire.times) == bool(wanted and (listener.wanted() or listener.sendtimeinterval))


def test_a_setting_that_the_board_does_not_take_is_told_once(caplog):
    wire = Wire(Rf12demo(refuses="g", group=210), {"g": 212, "i": 5})
    wire.run(3600)
    assert wire.state["i"] == 5
    (warning,) = told(caplog)
    assert warning == (
        "group: the board keeps 210 and does not accept 212: set it in a terminal (some boards have a lock), "
        "or configure the value that it has"
    )
    assert wire.board.troubles == [warning]
    assert len(wire.firmware.commands) < 10


def test_a_locked_board_is_not_unlocked(caplog):
    wire = Wire(Rfm2pi(locked=True), {"g": 212})
    wire.run(3600)
    assert wire.state["g"] == 210
    assert len(told(caplog)) == 1


def test_a_board_that_says_half_of_its_settings_has_not_taken_the_other_half(caplog):
    class Half(EmonBase):
        def take(self, received):
            yield from (text.replace("Group", "Grup") for text in super().take(received))

    wire = Wire(Half(group=212), {"g": 212, "b": 4})
    wire.run(600)
    (warning,) = told(caplog)
    assert warning.startswith(
        "group: the board keeps a value that it does not print and does not accept 212: "
    )


def test_a_deaf_board_is_asked_three_times_and_that_is_told_once(caplog):
    wire = Wire(Rf12demo(deaf=True), WANTED, time_every=60)
    wire.run(3600)
    assert len(wire.times) == 3
    assert told(caplog) == [
        "the board does not answer, and keeps its settings: check baud and the wire to its RX"
    ]
    assert wire.board.troubles == told(caplog)
    # and when it is heard of after all
    wire.firmware.deaf = False
    wire.hear(wire.firmware.start())
    wire.run(60)
    assert wire.state == WANTED
    assert not wire.board.troubles


def test_a_line_of_the_other_kind_of_firmware_proves_nothing():
    # given a board that takes digits first, to which g212 would be group 0
    wire = Wire(Rf12demo(), {"g": 212})
    wire.run(0.5)
    # when a damaged line looks like a setting of the other kind
    wire.hear(["|Group: 212\r\n", "|rest of a line\r\n"])
    wire.run(60)
    wire.hear(["|Group: 213\r\n"])
    wire.run(60)
    # then it is asked, and spoken to, as what it is
    assert wire.firmware.commands == ["v", "212g"]


def test_another_board_in_its_place_is_set_up_as_what_it_is():
    wire = Wire(Rf12demo(), {"g": 212})
    wire.run(60)
    wire.firmware = EmonBase()
    wire.hear(wire.firmware.start())
    wire.run(60)
    assert wire.firmware.commands == ["v", "L", "g212", "L"]


def test_a_board_that_falls_silent_between_two_settings_is_asked_again():
    class Forgetful(Rf12demo):
        def take(self, received):
            answers = list(super().take(received))
            return [] if received == b"5i" else answers

    wire = Wire(Forgetful(), {"g": 212, "i": 5})
    wire.run(60)
    assert wire.firmware.commands == ["v", "212g", "5i", "v"]


def test_a_board_that_starts_anew_is_set_up_anew():
    # given a board that forgets its settings with its power
    wire = Wire(EmonBase(), {"g": 212})
    wire.run(60)
    assert wire.state["g"] == 212
    # when it has been without
    wire.hear(wire.firmware.start())
    assert wire.state["g"] == 210
    wire.run(60)
    # then
    assert wire.state["g"] == 212


def test_a_board_that_starts_anew_right_after_it_was_set_up_is_set_up_anew():
    # given a board that has just told that it has its settings
    wire = Wire(EmonBase(), {"g": 212})
    while wire.firmware.commands != ["v", "L", "g212", "L"]:
        wire.run(0.1)
    # when its supply fails once more
    wire.hear(wire.firmware.start())
    wire.run(60)
    # then
    assert wire.state["g"] == 212


def test_a_board_that_starts_anew_again_and_again_is_set_up_once_it_stays(caplog):
    # given a supply that fails more often than there are tries
    wire = Wire(EmonBase(), WANTED)
    for _ in range(12):
        wire.run(2.5)
        wire.hear(wire.firmware.start())
    # when it no longer does
    wire.run(60)
    # then
    assert {**wire.state, "q": 0} == WANTED
    assert wire.board.troubles == []
    assert not any("does not accept" in line for line in told(caplog))


def test_a_board_that_someone_else_has_set_is_set_again():
    wire = Wire(Rf12demo(), {"g": 212})
    wire.run(60)
    sent = len(wire.firmware.commands)
    # given a configuration line that is as it was
    wire.hear(wire.firmware.take(b"v"))
    wire.run(60)
    assert len(wire.firmware.commands) == sent + 1
    # when it is not
    wire.hear(wire.firmware.take(b"1g"))
    wire.run(60)
    # then
    assert wire.state["g"] == 212


# --- the time ---------------------------------------------------------------------------------------------


@pytest.fixture
def in_auckland(monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_local_time_is_sent_after_the_settings(in_auckland):
    wire = Wire(Rf12demo(), {"g": 212}, time_every=600)
    wire.run(1230)
    # 1 700 000 000 is 11:13:20 on the 15th of November in Auckland
    assert wire.firmware.commands == ["v", "212g", "00,11,13,00,s", "00,11,23,00,s", "00,11,33,00,s"]
    assert wire.times == [1, 2, 3, 603, 1203]
    assert "> 0,11,13,0,0s\r\n -> 4 b\r\n" in wire.text


def test_a_time_that_is_not_confirmed_is_told_once(caplog):
    wire = Wire(Rf12demo(unsure=True), time_every=60)
    wire.run(600)
    assert told(caplog) == ["the board does not confirm that it has sent the time"]
    wire.firmware.unsure = False
    wire.run(60)
    wire.firmware.unsure = True
    wire.run(600)
    assert len(told(caplog)) == 2


def test_a_firmware_that_cannot_send_the_time_is_not_asked_to(caplog):
    wire = Wire(EmonBase(), time_every=60)
    wire.run(600)
    assert wire.firmware.commands == ["v", "L"]
    assert told(caplog) == ["sendtimeinterval: the time is not sent: this board's firmware sends text only"]


# --- orders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("firmware", "order", "fault"),
    [
        (Rf12demo(), Message(b"\1\2\3", 10), ""),
        (Rf12demo(), Message(b"\1\2\3", 10, ack=True), ""),
        (Rf12demo(), Setting("g", 212), ""),
        (Rf12demo(), Question(), ""),
        (Rf12demo(refuses="g"), Setting("g", 212), "the board keeps 210"),
        (Rf12demo(unsure=True), Message(b"\1", 0), "the board does not confirm it"),
        (Rf12demo(deaf=True), Message(b"\1", 0), "the board does not answer"),
        (Rfm2pi(), Message(bytes(30), 10), "the board has sent 20 bytes of 30"),
        (EmonBase(), Message(b"\1", 0), "this board's firmware sends text only"),
        (EmonBase(), Setting("g", 212), ""),
        (EmonBase(), Question(), ""),
    ],
)
def test_an_order_is_confirmed_or_not(firmware, order, fault):
    faults = []
    wire = Wire(firmware)
    wire.board.relay(order, faults.append)
    wire.run(60)
    assert faults == [fault]


def test_orders_go_one_by_one_and_the_time_goes_before():
    done = []
    wire = Wire(Rf12demo(), time_every=60)
    wire.run(30)
    for byte in range(3):
        wire.board.relay(Message(bytes([byte]), 10), lambda fault, byte=byte: done.append((byte, fault)))
    wire.run(30)
    assert wire.firmware.commands[2:] == ["0,10s", "1,10s", "2,10s"]
    assert done == [(0, ""), (1, ""), (2, "")]


def test_every_setting_can_be_spelled():
    for letter, values in SETTINGS.items():
        for value in values:
            firmware = Rf12demo()
            wire = Wire(firmware)
            wire.board.relay(Setting(letter, value), [].append)
            wire.run(10)
            assert wire.state[letter] == value
