from __future__ import annotations

import pytest

from gateway.frame import Frame, Stamp
from gateway.present.heard import Roll


def frame(node: str, value: float = 1.0) -> Frame:
    return Frame(node, (value,), Stamp(1_700_000_000.0, "boot", 1.0))


def roll(*notes: tuple[str, float]) -> Roll:
    made = Roll()
    for node, now in notes:
        made.note(frame(node), now)
    return made


def test_each_node_has_its_count_its_last_moment_and_its_usual_pause():
    nodes = roll(("9", 0), ("10", 1), ("9", 10), ("9", 20)).nodes()
    assert (nodes["9"].frames, nodes["9"].last, nodes["9"].usual) == (3, 20, 10)
    assert (nodes["10"].frames, nodes["10"].last, nodes["10"].usual) == (1, 1, None)


@pytest.mark.parametrize(
    ("pause", "silence", "silent"),
    [(10, 59, False), (10, 61, True), (300, 899, False), (300, 901, True)],
)
def test_a_node_is_silent_after_three_of_its_pauses_and_a_minute_at_least(pause, silence, silent):
    heard = roll(*[("9", pause * number) for number in range(10)]).nodes()["9"]
    assert heard.is_silent(pause * 9 + silence) is silent


def test_a_doorbell_that_was_rung_twice_is_not_silent():
    assert not roll(("9", 0), ("9", 10)).nodes()["9"].is_silent(1e6)


def test_one_that_was_heard_once_has_no_usual_pause_to_exceed():
    assert not roll(("9", 0)).nodes()["9"].is_silent(1e6)


def test_a_longer_pause_becomes_usual_in_time():
    made = roll(("9", 0), ("9", 10))
    for number in range(60):
        made.note(frame("9"), 10 + 600 * (number + 1))
    heard = made.nodes()["9"]
    assert heard.usual == pytest.approx(600, rel=0.01)
    assert not heard.is_silent(heard.last + 1700)


def test_the_rate_is_that_of_the_nodes_that_speak():
    made = roll(*[("9", 10.0 * n) for n in range(31)], *[("10", 30.0 * n) for n in range(11)])
    assert made.rate(301) == pytest.approx(6 + 2)
    assert made.rate(300 + 61) == pytest.approx(2)
    assert made.rate(300 + 91) == pytest.approx(0)
    assert roll(("9", 0)).rate(1) == 0


def test_the_last_frame_of_each_node_is_remembered_of_so_many_nodes():
    made = Roll()
    for node, value in (("9", 1.0), ("10", 2.0), ("9", 3.0)):
        made.note(frame(node, value), 0)
    for number in range(255):
        made.note(frame(f"n{number}"), 1)
    # the node that was silent for longest is forgotten
    assert len(made.nodes()) == 256
    assert list(made.nodes())[:2] == ["9", "n0"]
    assert made.nodes()["9"].frame.values == (3.0,)
