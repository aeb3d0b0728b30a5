"""Damaged lines and commands, FUZZ_LINES of them, against grammars that are written a second time."""

from __future__ import annotations

import logging
import random
import re

from listeners.lines import Ignored, Lines, Rejected
from listeners.radio.board import Board
from listeners.radio.commands import DIGITS_FIRST
from listeners.radio.grammar import LONGEST_LINE, BoardLines, Packet, decode
from listeners.radio.repeater import judge
from listeners.simulated.clock import VirtualClock
from tests.test_line_fuzz import FUZZ_LINES, damaged, lines
from tests.test_rfm12pi import GRAMMAR

COMMANDS = [
    b"1,2,3,10s",
    b"00,09,05,00,s",
    b"1,2,3,10a",
    b"15i",
    b"210g",
    b"4b",
    b"1q",
    b"v",
    b"123z",
    b"12,34w",
]
HARMLESS = re.compile(r"([0-9]{1,3},){1,66}[0-9]{1,2}[sa]|[1-9][0-9]{0,2}g|[489]b|[1-9][0-9]?i|[01]q|v")
SAID = re.compile(
    rb"v|[1-9][0-9]{0,2}g|[489]b|[1-9][0-9]?i|[01]q|L\n|l\n|g212\n|b8\n|i5\n|00,[0-9]{2},[0-9]{2},00,s"
)


def radio_lines(count):
    """Yield lines as a bad board or cable might give them."""
    draw = random.Random(None if FUZZ_LINES else 1)
    good = lines("rfm2pi", "rfm2pi-raw-header")
    for _ in range(count):
        yield from Lines(LONGEST_LINE).feed(damaged(draw, draw.choice(good), draw.choice(good)) + b"\n")


def test_a_packet_is_what_the_grammar_allows_and_holds_the_numbers_of_its_line():
    packets = 0
    for line in radio_lines(FUZZ_LINES or 5000):
        said = decode(line)
        if not isinstance(said, Packet):
            continue
        packets += 1
        text = line.strip("\r")
        assert GRAMMAR.fullmatch(text), line
        if text.startswith("OKX"):
            numbers = list(bytes.fromhex(re.findall(r" ([0-9A-F]+)", text)[0]))
        else:
            numbers = [int(digits) for digits in re.findall(r"[0-9]+", re.sub(r"G ?[0-9]+|\(.*", "", text))]
        assert [said.node, *said.data] == numbers, line
    assert packets > 100


def test_a_command_that_is_let_through_does_no_harm():
    draw = random.Random(None if FUZZ_LINES else 1)
    orders = 0
    for _ in range(FUZZ_LINES or 5000):
        line = damaged(draw, draw.choice(COMMANDS), draw.choice(COMMANDS)).decode("ascii", "replace")
        order = judge(line, "saigbqv")
        if isinstance(order, Rejected):
            continue
        orders += 1
        command = DIGITS_FIRST.spell(order).decode()
        assert HARMLESS.fullmatch(command), line
        assert all(int(number) <= 255 for number in re.findall(r"[0-9]+", command)), line
    assert orders > 100


def test_whatever_a_board_says_it_is_told_nothing_that_harms():
    clock = VirtualClock()
    log = logging.getLogger("oemgateway.fuzz")
    log.propagate = False
    board = Board({"g": 212, "b": 8, "i": 5, "q": 0}, clock, log, time_every=60)
    draw = random.Random(2)
    for line in BoardLines(LONGEST_LINE).feed("\n".join([*radio_lines(FUZZ_LINES or 5000), ""]).encode()):
        said = decode(line)
        if isinstance(said, Ignored):
            board.hear(said)
        clock.sleep(draw.choice((0, 0.1, 1, 5)))
        command = board.speak()
        assert not command or SAID.fullmatch(command), command
