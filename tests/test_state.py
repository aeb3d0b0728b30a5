"""The last frame of each node, and what is known of its values."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gateway.flag import Flag
from gateway.frame import Frame, Stamp
from gateway.nodes import Decoder, Nodes
from gateway.plugin import Sampler, Series
from gateway.present.state import LatestFrames, State

STAMP = Stamp(1_700_000_000.0, "boot", 1.0)


def frame(node: str, value: float = 1.0) -> Frame:
    return Frame(node, (value,), STAMP)


def latest_frames(*notes: tuple[str, float]) -> LatestFrames:
    made = LatestFrames()
    for node, now in notes:
        made.note(frame(node), now)
    return made


def test_each_node_has_its_count_its_last_moment_and_its_usual_pause():
    nodes = latest_frames(("9", 0), ("10", 1), ("9", 10), ("9", 20)).nodes()
    assert (nodes["9"].frames, nodes["9"].at, nodes["9"].usual) == (3, 20, 10)
    assert (nodes["10"].frames, nodes["10"].at, nodes["10"].usual) == (1, 1, None)


@pytest.mark.parametrize(
    ("pause", "silence", "silent"),
    [(10, 59, False), (10, 61, True), (300, 899, False), (300, 901, True)],
)
def test_a_node_is_silent_after_three_of_its_pauses_and_a_minute_at_least(pause, silence, silent):
    heard = latest_frames(*[("9", pause * number) for number in range(10)]).nodes()["9"]
    assert heard.is_silent(pause * 9 + silence) is silent


def test_a_doorbell_that_was_rung_twice_is_not_silent():
    assert not latest_frames(("9", 0), ("9", 10)).nodes()["9"].is_silent(1e6)


def test_one_that_was_heard_once_has_no_usual_pause_to_exceed():
    assert not latest_frames(("9", 0)).nodes()["9"].is_silent(1e6)


def test_a_longer_pause_becomes_usual_in_time():
    made = latest_frames(("9", 0), ("9", 10))
    for number in range(60):
        made.note(frame("9"), 10 + 600 * (number + 1))
    heard = made.nodes()["9"]
    assert heard.usual == pytest.approx(600, rel=0.01)
    assert not heard.is_silent(heard.at + 1700)


def test_the_rate_is_that_of_the_nodes_that_speak():
    made = latest_frames(*[("9", 10.0 * n) for n in range(31)], *[("10", 30.0 * n) for n in range(11)])
    assert made.rate(301) == pytest.approx(6 + 2)
    assert made.rate(300 + 61) == pytest.approx(2)
    assert made.rate(300 + 91) == pytest.approx(0)
    assert latest_frames(("9", 0)).rate(1) == 0


@pytest.mark.parametrize("row", [0.0, 1e-4, 0.02])
def test_a_device_that_keeps_its_readings_and_posts_them_together_has_its_rate_and_is_not_silent(row):
    # given a device that posts 30 readings of 10 s each every five minutes
    posts = [("9", 300.0 * post + row * n) for post in range(1, 12) for n in range(30)]
    made = latest_frames(*posts)
    # then it is neither silent before its next post, nor faster than it is
    assert not made.nodes()["9"].is_silent(300 * 12 - 1)
    assert made.rate(300 * 11 + 1) == pytest.approx(6, rel=0.01)


def test_a_backlog_that_comes_at_once_makes_no_node_silent_afterwards():
    made = latest_frames(*[("9", 300.0 * n) for n in range(10)], *[("9", 6300 + n * 1e-4) for n in range(60)])
    for number in range(1, 10):
        assert not made.nodes()["9"].is_silent(6300 + 300 * number - 1)
        made.note(frame("9"), 6300 + 300 * number)


def test_the_rate_of_a_fast_node_is_that_of_its_frames():
    assert latest_frames(*[("9", n / 16) for n in range(1601)]).rate(100) == pytest.approx(960, rel=0.01)


def test_the_last_frame_of_each_node_is_remembered_of_so_many_nodes():
    made = LatestFrames()
    for node, value in (("9", 1.0), ("10", 2.0), ("9", 3.0)):
        made.note(frame(node, value), 0)
    for number in range(255):
        made.note(frame(f"n{number}"), 1)
    # the node that was silent for longest is forgotten
    assert len(made.nodes()) == 256
    assert list(made.nodes())[:2] == ["9", "n0"]
    assert made.nodes()["9"].frame.values == (3.0,)


def test_frames_of_the_last_minute_that_have_other_values_are_kept_but_not_too_many():
    def beside(*notes):
        made = LatestFrames()
        for at, *names in notes:
            made.note(Frame("9", (1.0,) * len(names), STAMP, tuple(names), by_name=names != [""]), at)
        return [frame.names for _, frame in made.nodes()["9"].beside]

    assert beside((0, "a"), (1, "b"), (2, "a")) == [("b",)]
    assert beside((0, "a", "b"), (1, "a")) == [("a", "b")]
    assert beside((0, ""), (1, "a"), (2, "")) == [("a",)]
    assert beside((0, "a"), (61, "b")) == []
    assert len(beside(*((n / 1000, f"a{n}") for n in range(1000)))) == 100


def test_a_frame_without_a_value_is_the_last_one_but_no_value_was_heard():
    made = latest_frames(*[("9", 10.0 * n) for n in range(20)])
    for number in range(20, 30):
        made.note(Frame("9", (None,), STAMP), 10.0 * number)
    nine = made.nodes()["9"]
    assert (nine.frame.values, nine.at, nine.usual) == ((None,), 290, 10)
    assert (nine.frames, nine.valued.values, nine.valued_at) == (20, (1.0,), 190)
    assert nine.is_silent(290)
    # nor of a node that never had one
    made.note(Frame("10", (None,), STAMP), 0)
    ten = made.nodes()["10"]
    assert (ten.frames, ten.valued, ten.is_silent(1e6)) == (0, None, False)


@dataclass(kw_only=True)
class Tank(Sampler):
    """A listener whose catalogue says what it reads."""

    def catalogue(self):
        return [Series(node="9", index=2, label="tank", unit="°C", kind="temperature", interval=10)]


@dataclass(kw_only=True)
class Solar(Sampler):
    """A listener with a node of its own."""


@pytest.fixture
def state():
    made = State()
    nodes = Nodes({"10": Decoder(names=("P1",), units=("W",)), "9": Decoder(names=("level",))})
    made.configure({"tank": Tank(node="9"), "solar": Solar(node="10", interval=5.0)}, nodes)
    return made


def test_what_is_known_of_a_value_comes_from_its_listener_and_from_nodes(state):
    ours = Frame("9", (None, 40.0), STAMP, source="tank")
    assert state.series(ours, 2) == Tank(node="9").catalogue()[0]
    assert (state.series(ours, 1).label, state.series(ours, 1).interval) == ("level", 0)
    named = Frame("10", (5.0, 230.0), STAMP, ("P1", "Vrms"), source="solar", by_name=True)
    power, volts = state.series(named, 1), state.series(named, 2)
    assert (power.name, power.label, power.unit, power.kind, power.interval) == ("P1", "P1", "W", "power", 5)
    assert (volts.name, volts.label, volts.unit, volts.kind, volts.interval) == ("Vrms", "Vrms", "", "", 5)
    # and of another listener's node of the same name only what [nodes] says
    other = state.series(Frame("9", (1.0, 2.0), STAMP, source="radio"), 2)
    assert (other.label, other.unit) == ("", "")


def test_the_catalogue_has_every_series_with_its_listener(state):
    assert [(source, series.node, series.index) for source, series in state.catalogue()] == [
        ("tank", "9", 2),
        ("solar", "10", None),
        ("", "10", 1),
        ("", "9", 1),
    ]


def test_who_subscribes_is_told_of_each_frame_until_he_forgets_his_flag(state):
    flag = Flag()
    state.subscribe(flag)
    frames = state.begin("tank")
    frames.note(frame("9"), 1.0)
    assert flag.is_set()
    (latest,) = state.latest()
    assert latest.frame == frame("9")
    del flag
    frames.note(frame("9"), 2.0)


def test_the_frames_of_a_listener_that_is_replaced_or_removed_are_forgotten(state):
    before = state.begin("tank")
    before.note(frame("9"), 1.0)
    after = state.begin("tank")
    before.note(frame("9"), 2.0)  # its thread has not ended yet
    assert state.latest() == []
    after.note(frame("9"), 3.0)
    assert [latest.at for latest in state.latest()] == [3.0]
    state.configure({}, Nodes())
    assert (state.latest(), list(state.catalogue())) == ([], [])
