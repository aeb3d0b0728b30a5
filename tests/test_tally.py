"""Refusals: each is counted, and few are told."""

from __future__ import annotations

import logging

from listeners.tally import Tally


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
