"""Refusals: each is counted, and few are told."""

from __future__ import annotations

import logging

from listeners.counting import Tally


def test_refusals_are_told_at_once_and_then_once_a_minute_with_their_count(caplog):
    tally = Tally()
    log = logging.getLogger("oemgateway.test")
    # given a minute and a half of a bad line every second, and one of another kind in between
    for second in range(90):
        tally.refuse("odd-length", " 10 1", log, now=1000.0 + second)
    tally.refuse("bad-rssi", "10 1 0 (", log, now=1010.0)
    # then the first of each kind was told, and one more with the count so far
    assert [record.getMessage() for record in caplog.records] == [
        "a line is refused (odd-length, 1 so far): ' 10 1'",
        "a line is refused (odd-length, 61 so far): ' 10 1'",
        "a line is refused (bad-rssi, 1 so far): '10 1 0 ('",
    ]
    assert tally == {"odd-length": 90, "bad-rssi": 1}


def test_what_a_log_line_quotes_is_short_and_printable(caplog):
    Tally().refuse(
        "not-a-number",
        "\x1b[31m\N{REPLACEMENT CHARACTER}" + "7" * 900,
        logging.getLogger("oemgateway.test"),
        0.0,
    )
    (record,) = caplog.records
    assert len(record.getMessage()) < 150
    assert record.getMessage().isprintable()


def refuse(tally, times, now=1000.0, reason="no-value"):
    for _ in range(times):
        tally.refuse(reason, "10 nan", logging.getLogger("oemgateway.test"), now)


def test_where_every_line_is_refused_something_is_wrong_until_one_is_taken():
    tally = Tally()
    refuse(tally, 2)
    assert tally.ailing(1001.0) == []
    refuse(tally, 1, reason="not-a-number")
    assert tally.ailing(1001.0) == ["every line is refused: 3 in a row, the last one as not-a-number"]
    tally.take()
    assert tally.ailing(1001.0) == []
    refuse(tally, 1)
    assert tally.ailing(1001.0) == []


def test_what_was_refused_long_ago_is_past():
    tally = Tally("a request")
    refuse(tally, 3, now=1000.0)
    assert tally.ailing(4600.0) == ["every request is refused: 3 in a row, the last one as no-value"]
    assert tally.ailing(4601.0) == []


def test_values_that_are_missing_are_counted_and_the_first_is_told(caplog):
    tally = Tally()
    for values in ((1.0, 2.0), (1.0, None, None), (None, 1.0)):
        tally.count_missing(values, "10 1 nan nan", logging.getLogger("oemgateway.test"))
    assert tally.faults == {"value-missing": 3}
    assert [record.getMessage() for record in caplog.records] == [
        "a value is missing in a line, and its place stays empty: '10 1 nan nan'"
    ]
