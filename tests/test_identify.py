"""Telling which sensor is in somebody's hand, from the simulated chip to the label in the file."""

from __future__ import annotations

import io
import random
from contextlib import closing

import pytest

from gateway.settings import build
from listeners.onewire.commands.identify import identify
from listeners.onewire.commands.survey import OwnListeners
from listeners.onewire.drivers import ds2482
from listeners.ports import i2c
from listeners.simulated.clock import VirtualClock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482 as Chip

IDS = [f"28.{number:02X}564A050000" for number in range(8)]
SIGMA, SLOPE = 0.06, 0.05


@pytest.mark.parametrize("seed", range(2))
def test_the_warmed_one_of_eight_is_named_within_a_minute(tmp_path, monkeypatch, seed):
    # given eight sensors with 0.06 °C of noise on a bus, when one is warmed by 0.05 °C/s from a second on
    draw, clock, since = random.Random(seed), VirtualClock(), 5.0 * seed
    warmed = draw.choice(IDS)

    def noisy(ident):
        mean = draw.uniform(-10, 60)
        slope = SLOPE if ident == warmed else 0.0
        return lambda now: mean + draw.gauss(0, SIGMA) + max(0.0, slope * (now - since))

    chip = Chip(clock, [Ds18b20(ident, noisy(ident)) for ident in IDS], i2c_hz=400e3)
    monkeypatch.setattr(i2c, "LOCKS", tmp_path)
    monkeypatch.setattr(ds2482, "open_bus", lambda bus, address: chip)
    with closing(OwnListeners({"bridge": build(ds2482.Ds2482, {"node": "9"})}, [], clock)) as ways:
        ways.look()
        found = identify(ways, {}, io.StringIO())
    # then it is named, within 60 s
    assert found.sensor == warmed
    assert since < clock.monotonic() <= since + 60


class Script:
    """A source that gives these samples, every 10 s."""

    period = 10.0

    def __init__(self, *samples):
        self._samples = iter(samples)

    def sample(self):
        return next(self._samples)


def still(count):
    return [{"a": 20.0, "b": 30.0}] * count


class Terminal(io.StringIO):
    """A terminal to write to."""

    def isatty(self):
        return True


def test_it_says_how_long_it_takes_when_to_begin_and_what_it_saw():
    out = io.StringIO()
    source = Script(*still(11), {"a": 21.0, "b": 30.0625}, {"a": 22.0, "b": 30.0625})
    found = identify(source, {"a": "cellar sensor1, flow"}, out)
    assert found.sensor == "a"
    first, *others = out.getvalue().splitlines()
    assert first.startswith(
        "Reading every 10 s. Leave all sensors alone for 110 s; then take one into your hand"
    )
    assert others == [
        "Now warm one of them in your hand; 2 are watched.",
        "a (cellar sensor1, flow) is the one: 1.00 K warmer, and no other has moved by more than 0.06 K.",
    ]


def test_a_colder_hand():
    out = io.StringIO()
    identify(Script(*[{"a": 50.0}] * 11, {"a": 40.0}, {"a": 38.0}), {}, out)
    assert out.getvalue().splitlines()[-1].startswith("a is the one: 10.00 K colder, and ")


def test_on_a_terminal_it_shows_what_moves():
    out = Terminal()
    identify(Script(*still(11), {"a": 20.25, "b": 30.0}, *[{"a": 22.0, "b": 30.0}] * 2), {}, out)
    assert "\ra has moved most: +0.00 K" in out.getvalue()
    assert "\ra has moved most: +0.25 K" in out.getvalue()
    assert out.getvalue().endswith(
        "\ra is the one: 2.00 K warmer, and no other has moved by more than 0.00 K.\n"
    )
