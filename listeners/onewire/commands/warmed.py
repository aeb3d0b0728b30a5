"""Which of several thermometers is being warmed by hand: the only one that moves beyond its own noise."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

QUIET = 8
"""How many samples in a row show the temperature of a sensor at rest."""

RECENT = 3
"""The median of this many shows where it is now: a single outlier proves nothing."""

_KEPT = 48
"""Samples that are kept; the oldest of them show rest, so a room that warms slowly is no move."""

LEAST_K, SIGMAS = 0.5, 5.0
"""What counts as a move: half a kelvin, and five times the sensor's own noise."""

_MEDIAN_OF_DIFFERENCES = 0.954
"""The median of the differences of two normal samples, in their standard deviations."""


@dataclass(frozen=True)
class Warmed:
    """A sensor that has moved by `kelvin` (negative in a colder hand), and the most any other has."""

    sensor: str
    kelvin: float
    others: float


class Watch:
    """The samples of any number of sensors."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[float]] = {}

    def add(self, celsius: Mapping[str, float]) -> Warmed | None:
        """Take one sample of each sensor that has one, and return the sensor that is being warmed, if any is.

        It has moved beyond its noise, and no other has moved half as far, relative to its own noise, nor
        further in kelvin: a pipe that heats up meanwhile is rarely at rest.
        """
        for sensor, value in celsius.items():
            self._samples.setdefault(sensor, deque(maxlen=_KEPT)).append(value)
        kelvin = self.moves()
        part = {sensor: abs(by) / _threshold(self._samples[sensor]) for sensor, by in kelvin.items()}
        for sensor, share in part.items():
            others = part.keys() - {sensor}
            most = max((abs(kelvin[other]) for other in others), default=0.0)
            if share > 1 and most < abs(kelvin[sensor]) and all(2 * part[other] < share for other in others):
                return Warmed(sensor, kelvin[sensor], most)
        return None

    def moves(self) -> dict[str, float]:
        """Return by how many kelvin each sensor has moved that has enough samples."""
        enough = QUIET + RECENT
        return {
            sensor: _moved(samples) for sensor, samples in self._samples.items() if len(samples) >= enough
        }


def _moved(samples: deque[float]) -> float:
    """Return how far a sensor is from where it was at rest."""
    kept = list(samples)
    return median(kept[-RECENT:]) - fmean(kept[:QUIET])


def _threshold(samples: deque[float]) -> float:
    """Return how far a sensor has to move to count as warmed.

    Its noise is its deviation at rest, or the usual difference between one sample and the next, whichever is
    more: a few samples may show too little of either.
    """
    kept = list(samples)
    rest = fmean(kept[:QUIET])
    swing = sqrt(fmean((value - rest) ** 2 for value in kept[:QUIET]))
    jitter = median(abs(after - before) for before, after in pairwise(kept)) / _MEDIAN_OF_DIFFERENCES
    return max(LEAST_K, SIGMAS * swing, SIGMAS * jitter)
