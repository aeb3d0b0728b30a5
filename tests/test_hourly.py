from __future__ import annotations

from gateway.present.hourly import Hourly
from gateway.present.status import Status
from tests.statuses import dispatcher, listener
from tests.statuses import status as a_status


def status(
    *, radio: int = 0, bridge: int = 0, home: int = 0, waiting: int = 0, faults: int = 0, failures: int = 0
) -> Status:
    return a_status(
        listeners={
            "radio": listener(frames=radio, faults={"damaged": faults}),
            "bridge": listener(frames=bridge),
        },
        dispatchers={"home": dispatcher(frames=home, failures=failures, queue={"waiting": waiting})},
    )


def test_it_says_what_has_gone_through_since_the_last_line():
    hourly = Hourly()
    assert hourly.line(status(radio=12, bridge=6, home=18, faults=2)) == (
        "in the last hour 18 frames (radio 12, bridge 6) in, 18 frames out; "
        "waiting: home 0; faults of sensors and lines: 2"
    )
    assert hourly.line(status(radio=15, bridge=6, home=20, waiting=1, faults=2)) == (
        "in the last hour 3 frames (radio 3, bridge 0) in, 2 frames out; "
        "waiting: home 1; faults of sensors and lines: 0"
    )


def test_a_section_that_was_opened_anew_counts_from_there():
    hourly = Hourly()
    hourly.line(status(radio=100, faults=50))
    assert "(radio 7, bridge 0)" in hourly.line(status(radio=7, faults=3))


def test_how_often_a_section_has_failed_is_said_where_it_has():
    hourly = Hourly()
    assert hourly.line(status(failures=30)).endswith("lines: 0; failures: home 30")
    assert hourly.line(status(failures=30)).endswith("lines: 0")
    assert hourly.line(status(failures=31)).endswith("failures: home 1")


def test_without_a_dispatcher_nothing_waits():
    said = Hourly().line(a_status(listeners={}, dispatchers={}))
    assert "0 frames in, 0 frames out; waiting: none" in said
