"""What is read at fixed times, and what the core knows of it beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gateway.conf.indices import claims
from gateway.plugin import Sampler, Series
from gateway.settings import build
from listeners.simulated.clock import VirtualClock, VirtualFlag


@dataclass(kw_only=True)
class Meter(Sampler):
    """Gives what the test puts into `values`, and has as many labels as it puts into `called`."""

    values: list = field(default_factory=list, init=False)
    called: tuple = field(default=(), init=False)

    def sample(self):
        return self.values.pop(0)

    def labels(self):
        return self.called


@pytest.fixture
def meter():
    made = build(Meter, {"node": "30", "interval": "60"})
    made.name = "cupboard"
    made.clock = VirtualClock(wall=1_700_000_005)
    return made


def read(meter):
    return meter.read(VirtualFlag(meter.clock))


def test_each_point_of_the_grid_gives_a_frame(meter):
    meter.values = [[1.0, None], (3.0, 4.0)]
    frames = [*read(meter), *read(meter)]
    assert [(frame.stamp.wall, frame.values) for frame in frames] == [
        (1_700_000_040, (1.0, None)),
        (1_700_000_100, (3.0, 4.0)),
    ]
    assert {(frame.node, frame.source, frame.names) for frame in frames} == {("30", "cupboard", ())}


def test_what_is_not_a_finite_number_is_a_gap_at_its_index(meter):
    meter.values = [[float("nan"), 2.0, float("inf"), 10**400]]
    (frame,) = read(meter)
    assert frame.values == (None, 2.0, None, None)


def test_no_values_and_a_stop_give_none(meter):
    meter.values = [()]
    assert read(meter) == []
    stop = VirtualFlag(meter.clock)
    stop.set()
    assert meter.read(stop) == []


def test_without_labels_the_whole_node_is_claimed(meter):
    assert claims(meter.catalogue()) == {"30": None}
    assert [each.interval for each in meter.catalogue()] == [60]


def test_labels_are_those_of_the_frame_and_claim_their_indices(meter):
    meter.called = ("air", "floor")
    meter.values = [[1.0, 2.0]]
    assert claims(meter.catalogue())["30"].keys() == {1, 2}
    (frame,) = read(meter)
    assert frame.names == ("air", "floor")


def test_the_names_of_the_frame_are_the_labels_of_the_catalogue(meter, monkeypatch):
    series = [Series(node="30", index=3, label="air", claimed=False), Series(node="30", index=1)]
    monkeypatch.setattr(Meter, "catalogue", lambda _: series)
    meter.values = [[1.0, 2.0, 3.0]]
    (frame,) = read(meter)
    assert frame.names == ("", "", "air")
    assert claims(series) == {"30": {1: series[1]}}
