"""Frames as lines in the log."""

import logging
import time

import pytest

from gateway.dispatchers.log import Log, line
from gateway.frame import Frame, Stamp
from gateway.plugin import Batch
from gateway.settings import build


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_a_line_shows_time_node_and_every_index_with_its_name():
    # given a frame whose second place is empty
    frame = Frame("9", (18.75, None, 25377.0), Stamp(1_700_000_000.0, "b", 1.0), ("flow", "return"))
    # then the empty place is there to be seen
    assert line(frame) == "2023-11-14T23:13:20+01:00 node 9: 1=18.75 flow, 2=- return, 3=25377"


@pytest.mark.usefixtures("berlin")
def test_a_radio_frame_shows_how_well_it_was_heard():
    frame = Frame("10", (-4.0, 0.0), Stamp(1_700_000_000.25, "b", 1.0), rssi=-61)
    assert line(frame) == "2023-11-14T23:13:20+01:00 node 10: 1=-4, 2=0 (-61 dBm)"


def test_every_frame_of_a_batch_is_one_line_of_its_section(caplog):
    # given a dispatcher as the core makes it
    log = build(Log, {})
    log.name = "screen"
    frames = [Frame("9", (float(n),), Stamp(n, "b", n)) for n in range(3)]
    # when a batch is sent
    with caplog.at_level(logging.INFO, "oemgateway.screen"):
        log.open()
        log.send(Batch(frames, []))
        log.close()
    # then there is a line for each, in order
    assert [record.getMessage() for record in caplog.records] == [line(frame) for frame in frames]
    assert {record.levelname for record in caplog.records} == {"INFO"}
