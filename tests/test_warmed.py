"""Which sensor is being warmed: told by samples alone."""

from __future__ import annotations

import math
import random

import pytest

from listeners.onewire.commands.warmed import QUIET, RECENT, Warmed, Watch

SEEDS = range(30)
SIGMA = 0.06
SLOPE = 0.05
SENSORS = [f"28.{number:012X}" for number in range(8)]


class Bus:
    """Eight sensors at temperatures of their own, with noise, in steps of 1/16 °C, read once a second."""

    def __init__(self, seed, sigma=SIGMA):
        self._draw = random.Random(seed)
        self._mean = {sensor: self._draw.uniform(-10, 60) for sensor in SENSORS}
        self._sigma = sigma
        self.warmed = self._draw.choice(SENSORS)

    def sample(self, warmer=0.0, drift=0.0):
        """Return a sample; the chosen sensor is `warmer` by so many kelvin, and all by `drift`."""
        return {
            sensor: round(
                16 * (mean + self._draw.gauss(0, self._sigma) + drift + warmer * (sensor == self.warmed))
            )
            / 16
            for sensor, mean in self._mean.items()
        }


def named(bus, seconds, warmer=lambda second: 0.0, drift=lambda second: 0.0):
    """Return the verdict and the second it came, or None."""
    watch = Watch()
    for second in range(seconds):
        warmed = watch.add(bus.sample(warmer(second), drift(second)))
        if warmed:
            return warmed, second
    return None


@pytest.mark.parametrize("since", [0, 5, QUIET + RECENT, 45, 120])
def test_of_eight_noisy_sensors_the_warmed_one_is_named_within_a_minute(since):
    for seed in SEEDS:
        # given eight sensors with 0.06 °C of noise, when one is warmed by 0.05 °C/s from some second on
        bus = Bus(seed)
        warmed, second = named(bus, since + 61, lambda second: max(0.0, SLOPE * (second - since)))
        # then it is named, not another, and within 60 s
        assert warmed.sensor == bus.warmed
        assert warmed.kelvin > 0.5
        assert since < second <= since + 60


def test_none_is_named_when_none_is_warmed():
    # ten minutes each, of which not one second may go wrong
    assert not [seed for seed in SEEDS[:20] if named(Bus(seed), 600)]


@pytest.mark.parametrize("sigma", [0.0, 0.02, 0.12])
def test_a_sensor_that_is_noisier_has_to_go_further(sigma):
    assert not [seed for seed in range(5) if named(Bus(seed, sigma), 600)]
    for seed in range(20):
        bus = Bus(seed, sigma)
        warmed, second = named(bus, 120, lambda second: max(0.0, SLOPE * (second - 20)))
        assert (warmed.sensor, second < 60) == (bus.warmed, True)


def test_a_sensor_that_gets_colder_in_the_hand_is_named_too():
    bus = Bus(1)
    warmed, _ = named(bus, 80, lambda second: -max(0.0, SLOPE * (second - 20)))
    assert warmed.sensor == bus.warmed
    assert warmed.kelvin < -0.5


def test_a_room_that_warms_names_nobody():
    # 3 K in half an hour, and then all of them fast
    assert not named(Bus(2), 1800, drift=lambda second: second / 600)
    assert not named(Bus(3), 600, drift=lambda second: max(0.0, SLOPE * (second - 20)))


def test_a_sensor_that_swings_by_itself_has_that_for_its_noise():
    # a flow pipe goes up and down by 4 K within three minutes, seven others are still
    still = dict.fromkeys(SENSORS[1:], 20.0)
    watch = Watch()
    swing = [4 * math.sin(math.tau * second / 20) for second in range(600)]
    assert not [1 for celsius in swing if watch.add({**still, SENSORS[0]: 40 + celsius})]


def test_one_sample_that_is_off_proves_nothing():
    watch = Watch()
    for second in range(100):
        assert watch.add({"a": 20.0 + 65.0 * (second == 40), "b": 20.0}) is None


def test_nobody_is_named_while_two_are_warmed():
    watch = Watch()
    for second in range(60):
        warm = max(0.0, 0.1 * (second - 15))
        assert watch.add({"a": 20.0 + warm, "b": 20.0 + 0.6 * warm, "c": 20.0}) is None


def test_a_sensor_that_is_not_read_for_a_while_is_followed_on():
    watch = Watch()
    for _ in range(QUIET + RECENT):
        assert watch.add({"a": 20.0, "b": 21.0}) is None
    for _ in range(30):
        assert watch.add({"b": 21.0}) is None
    verdicts = [watch.add({"a": 20.0 + step, "b": 21.0}) for step in range(1, 4)]
    assert verdicts[-1] == Warmed("a", 2.0, 0.0)


def test_nobody_is_judged_before_its_noise_is_known():
    watch = Watch()
    for _ in range(QUIET + RECENT - 1):
        assert watch.add({"a": 20.0, "b": 21.0}) is None
        assert watch.moves() == {}
    assert watch.add({"a": 20.0}) is None
    assert watch.moves() == {"a": 0.0}


def test_none_is_named_while_another_has_moved_further():
    # given a pipe that heats up by 0.2 K a second, with 0.9 K of noise, and the others still
    watch = Watch()
    still = dict.fromkeys(SENSORS[2:], 20.0)
    for second in range(45):
        # when one of them is 3.8 K warmer at once, as one that was unplugged may be
        warmer = 3.8 if second > 30 else 0.0
        pipe = 40 + 0.2 * second + 0.9 * (-1) ** second
        # then it is not named: the pipe has moved by 5 K
        assert watch.add({SENSORS[0]: pipe, SENSORS[1]: 30 + warmer} | still) is None
