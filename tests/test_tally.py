"""Refusals: each is counted, and few are logged."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.frame import Frame, Stamp
from listeners.lines import Rejected
from listeners.radio import grammar
from listeners.tally import Tally
from listeners.textlines import keyvalue

STAMP = Stamp(0.0, "", 0.0)


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


def test_what_is_refused_for_days_is_a_line_an_hour(caplog):
    # given a device with a wrong key that posts every ten seconds for two days
    tally = Tally("a request")
    for second in range(0, 2 * 86400, 10):
        tally.refuse("wrong-key", "10.0.0.7: the key is wrong", logging.getLogger("x"), second)
    # then each day has some thirty lines at most
    assert 2 * 24 <= len(caplog.messages) <= 2 * 24 + 10
    # and after an hour without any, the next is logged at once, as is one of a minute later
    caplog.clear()
    for second in (180_000, 180_030, 180_061):
        tally.refuse("wrong-key", "10.0.0.8: the key is wrong", logging.getLogger("x"), second)
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(
    ("reason", "line", "hint"),
    [
        ("not-a-number", "MSG:1,Vrms:243.10,P1:-105", "type = keyvalue reads such lines"),
        ("not-a-number", '{"MSG":1,"Vrms":243.10}', "type = keyvalue reads such lines"),
        ("not-a-number", "OK 10 1 0 2 0 (-61)", "type = rfm12pi reads such lines"),
        ("not-a-number", "10 1 0 2 0 (-61)", "type = rfm12pi reads such lines"),
        ("values-without-names", "OK 10 1 0 2 0 (-61)", "type = rfm12pi reads such lines"),
        ("values-without-names", "10 100 24105", "type = serial reads such lines"),
        ("not-a-number", "34,1,2.5,-3", "one space before each value expected"),
        ("not-a-number", "10  21.50  -48.00", "one space before each value expected"),
        ("not-a-number", "10 1.2.3", ""),
        ("not-a-number", "34 21,5 -48,25 7", "a point expected in a number, not a comma"),
        ("unterminated", "34 21.5", "a line end expected after it"),
        ("too-long", "34 21.5\r34 21.6", "lines end with LF or CR LF, and the device sends CR alone"),
        ("too-long", "34 21.5 21.6", ""),
        ("not-a-number", "34 1 x", ""),
        ("odd-length", "34,1", ""),
    ],
)
def test_a_line_that_another_listener_reads_is_answered_with_its_type(caplog, reason, line, hint):
    tally = Tally()
    for _ in range(3):
        tally.refuse(reason, line, logging.getLogger("oemgateway.test"), 1000.0)
    assert caplog.messages == [f"a line is refused ({reason}, 1 so far): {line!a}{hint and '; '}{hint}"]
    (trouble,) = tally.troubles(1000.0)
    assert trouble.endswith(f"the last one as {reason}{hint and ': '}{hint}")


@pytest.mark.parametrize(
    ("decode", "line"),
    [
        (grammar.decode, "OK 10 1 2 3x (-61)"),
        (grammar.decode, "OK 10 1  2 (-61)"),
        (grammar.decode, "10 1  2 (-61)"),
        (keyvalue.decode, "P1:1,P2:2.5.1"),
        (keyvalue.decode, '{"P1":[1,2]}'),
    ],
)
def test_a_damaged_line_is_not_answered_with_the_type_that_reads_it(caplog, decode, line):
    refused = decode(line)
    assert refused == Rejected("not-a-number")
    Tally().refuse(refused.reason, line, logging.getLogger("oemgateway.test"), 1000.0)
    assert caplog.messages == [f"a line is refused (not-a-number, 1 so far): {line!a}"]


def refuse(tally, times, now=1000.0, reason="no-value"):
    for _ in range(times):
        tally.refuse(reason, "10 nan", logging.getLogger("oemgateway.test"), now)


def test_where_every_line_is_refused_something_is_wrong_until_one_is_taken():
    tally = Tally()
    refuse(tally, 2)
    assert tally.troubles(1001.0) == []
    refuse(tally, 1, reason="not-a-number")
    assert tally.troubles(1001.0) == ["every line is refused: 3 in a row, the last one as not-a-number"]
    tally.take(1001.0)
    assert tally.troubles(1001.0) == []


def test_what_is_refused_between_two_that_are_taken_is_no_trouble():
    tally = Tally()
    # given a node that is heard once a minute, and six packets of a neighbour in between
    for second in range(1000, 1600, 10):
        if second % 60 == 0:
            tally.take(second)
        refuse(tally, 1, second, "other-group")
        assert tally.troubles(second) == []
    # then the node that is heard no more
    refuse(tally, 1, 2150.0, "other-group")
    assert tally.troubles(2150.0) == []
    assert len(tally.troubles(2180.0)) == 1


def test_what_was_refused_long_ago_is_past():
    tally = Tally("a request")
    refuse(tally, 3, now=1000.0)
    assert tally.troubles(4600.0) == ["every request is refused: 3 in a row, the last one as no-value"]
    assert tally.troubles(4601.0) == []


def test_values_that_are_missing_are_counted_and_the_first_is_told(caplog):
    tally = Tally()
    for missing in (0, 2, 1):
        tally.count_missing(missing, "10 1 nan nan", logging.getLogger("oemgateway.test"))
    assert tally == {"value-missing": 3}
    assert [record.getMessage() for record in caplog.records] == [
        "a value is missing in a line, and its place stays empty: '10 1 nan nan'"
    ]


MISSED = "message of node 22 missed"


def heard(*numbers, node="22", name="MSG"):
    tally = Tally()
    for number in numbers:
        tally.count_missed(Frame(node, (243.1, number), STAMP, ("Vrms", name)))
    return tally


@pytest.mark.parametrize(
    ("numbers", "missed"),
    [
        ((), 0),
        ((84,), 0),
        ((84, 85, 86), 0),
        ((84, 87), 2),
        ((84, 87, 89.0), 3),
        ((84, 84, 84, 85), 0),  # heard twice
        ((84, 87, 87, 88), 2),
        ((84, 87, None, 88), 2),  # damaged
        ((84, 87, 1, 2), 0),  # the node has started anew
        ((84, 87, 1, 5), 3),
    ],
)
def test_what_is_not_heard_is_missed(numbers, missed):
    assert heard(*numbers) == ({MISSED: missed} if missed else {})


def test_each_node_has_its_own_count():
    tally = Tally()
    for node, number in (("22", 1), ("17", 50), ("22", 3), ("17", 51)):
        tally.count_missed(Frame(node, (number,), STAMP, ("MSG",)))
    assert tally == {MISSED: 1}


@pytest.mark.parametrize("name", ["MSG", "Msg", "msg"])
def test_it_may_be_spelled_in_either_case(name):
    assert heard(1, 3, name=name) == {MISSED: 1}


@pytest.mark.parametrize("name", ["", "MSG2", "pulse"])
def test_no_other_value_counts(name):
    assert heard(1, 3, name=name) == {}


def test_a_value_may_have_no_name():
    tally = Tally()
    tally.count_missed(Frame("10", (1, 2, 3), STAMP))
    assert tally == {}


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_it_is_never_negative(numbers):
    assert all(count > 0 for count in heard(*numbers).values())
