"""An Emoncms dispatcher that is open, and what a frame's delivery fails with."""

from __future__ import annotations

import pytest

from gateway.dispatchers.emoncms.dispatcher import Emoncms
from gateway.dispatchers.emoncms.encoding import encode, row_of
from gateway.frame import Frame, Stamp
from gateway.plugin import Batch, Delivery, DeliveryFailure
from tests.opened import opened
from tests.simulators.emoncms import FakeEmoncms

KEY = FakeEmoncms.key


def frame(*values, wall=1_795_213_750.0, node="9", names=()):
    return Frame(node, values, Stamp(wall, "boot", 100.0), names)


def dispatcher(url, cls=Emoncms, **settings):
    return opened(cls(**({"url": url, "apikey": KEY, "timeout": 30.0} | settings)), "emoncms")


def prepare(emoncms, frames) -> Delivery:
    return emoncms.prepare(Batch(frames, range(len(frames))))


def send(emoncms, frames) -> None:
    prepare(emoncms, frames).send()


def encoded(frames, keys="index") -> str:
    return encode(row_of(each, keys) for each in frames)


def failure_of(emoncms, *frames):
    with pytest.raises(DeliveryFailure) as caught:
        send(emoncms, frames or [frame(18.7)])
    return caught.value
