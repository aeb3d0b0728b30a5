"""Whatever is asked through the socket: an answer or a sentence, and a queue that still counts right."""

from __future__ import annotations

import json
import logging
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.commands.status import lines
from gateway.frame import Frame, Stamp
from gateway.present.collecting import StatusCollector
from gateway.present.exchange import to_object
from gateway.present.queue_answers import QueueAnswers
from gateway.process.control import _reply
from gateway.spool import Spool
from gateway.times.timekeeper import Timekeeper
from gateway.version import MADE
from listeners.simulated.clock import VirtualClock
from tests.spools import open_queue, refuse

FRAMES = [Frame("9", (float(n),), Stamp(1_700_000_000.0 + n, "boot", n)) for n in range(20)]


@pytest.fixture
def spool(opened):
    """Twenty frames: the first five were refused by a, and all wait for b."""
    spool = opened("a", "b", frames=1000)
    spool.put(FRAMES)
    for number, _ in spool.peek("a", 5):
        refuse(spool, "a", number, "no")
    return spool


@pytest.fixture
def ask(spool):
    """Return what asks as the socket does: a name, and what stands behind it."""
    answers = QueueAnswers(spool).by_name()
    return lambda asked, arguments: json.loads(_reply(asked, arguments, answers))


NAMES = list(QueueAnswers(None).by_name())
KEYS = ["who", "after", "before", "rows", "self", "limit"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, 2**63 - 1, -(2**63) - 1, 10**30, 10**300, 0, 1, 21, 500])
    | st.floats()
    | st.sampled_from(["a", "b", "", "c", "\ud800", "\n"])
    | st.just(to_object(FRAMES[0])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
ARGUMENTS = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3) | JSON


def is_whole(spool: Spool) -> None:
    """What waits is what can be had, and what comes now does."""
    spool.put([FRAMES[0]])
    for who in "ab":
        there = spool.peek(who, 100_000)
        assert there[-1] == (spool.end - 1, FRAMES[0])
        assert spool.standing(who).waiting == len(there)
    assert spool.standing("a").refused == len(spool.refused("a"))


@given(asked=st.sampled_from(NAMES), arguments=ARGUMENTS)
@settings(suppress_health_check=list(HealthCheck))
def test_no_question_is_a_fault_nor_moves_a_place_beyond_what_exists(spool, ask, caplog, asked, arguments):
    caplog.clear()
    answer = ask(asked, json.dumps(arguments))
    assert "fault in the program" not in answer.get("error", "")
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    assert all("\n" not in record.message for record in caplog.records)
    is_whole(spool)


@pytest.mark.parametrize(
    ("asked", "arguments", "error"),
    [
        ("queue-waiting", {"after": 10**30}, "after: a whole number from 0 to 9223372036854775807 expected"),
        ("queue-waiting", {"after": "1"}, "after: a whole number from 0 to .* expected, not '1'"),
        ("queue-waiting", {"after": True}, "after: a whole number"),
        ("queue-waiting", {"after": None}, "after: a whole number"),
        ("queue-waiting", {"who": ["a"]}, "who: the name of a dispatcher expected, not \\['a'\\]"),
        ("queue-refused", {"who": "a", "after": -1}, "after: a whole number"),
        ("queue-refused", {"who": {}}, "who: the name of a dispatcher"),
        ("queue-refused", {}, "^queue-refused: arguments expected: who, after$"),
        ("queue-admit", {"rows": {"node": 1}}, "rows: a list of readings expected"),
        (
            "queue-admit",
            {"rows": [{"node": "9", "unix": 5, "values": {"9999": 1}}] * 101},
            "at most 1000000 v",
        ),
        ("queue-retry", {"who": "a", "before": 0.5}, "before: a whole number"),
        ("queue-drop-refused", {"who": "a", "after": [[]]}, "after: a whole number"),
        ("queue-drop-waiting", {"who": "a", "before": -1947}, "before: a whole number"),
        ("queue-drop-waiting", {"who": "c"}, "dispatcher c: none has that name; there are: a, b"),
        ("queue", {"who": "a"}, "^queue: arguments expected: none$"),
        ("queue", [1], "a JSON object expected"),
        ("queue-waiting", {"who": "\ud800"}, "who: the name of a dispatcher expected"),
        ("queue-refused", {"who": "\ud800"}, "who: the name of a dispatcher expected"),
    ],
)
def test_what_is_wrong_is_said(spool, ask, asked, arguments, error):
    assert re.search(error, ask(asked, json.dumps(arguments))["error"])
    is_whole(spool)


@pytest.mark.parametrize(("asked", "key"), [("queue-waiting", "after"), ("queue-drop-waiting", "before")])
def test_a_number_of_five_thousand_digits_is_answered_in_our_words(spool, ask, asked, key):
    error = ask(asked, f'{{"{key}": {"9" * 5000}}}')["error"]
    assert error == f"{key}: a whole number from 0 to 9223372036854775807 expected, not inf"
    is_whole(spool)


def test_what_is_dropped_ends_where_the_queue_does(spool, ask):
    assert ask("queue-drop-waiting", '{"before": 1000000000}') == {"count": 20, "more": None}
    spool.put(FRAMES)
    assert spool.standing("a").waiting == 20
    is_whole(spool)


def test_that_refused_frames_are_dropped_is_told_with_the_cure(tmp_path):
    spool = open_queue(tmp_path / "queue.db", refused=2)
    spool.put(FRAMES)
    for number, _ in spool.peek("a", 5):
        refuse(spool, "a", number, "no")
    answers = QueueAnswers(spool)
    status = answers.status()
    assert (status["refused_dropped"], status["dropped"]) == (3, 0)
    assert "oemgateway queue list --refused says why" in status["refused_trouble"]
    keeper = Timekeeper(VirtualClock(), past=MADE, synchronised=lambda: True)
    told = StatusCollector(tmp_path, dict, dict, answers, keeper).status()
    assert (told.healthy, told.troubles) == (False, [status["refused_trouble"]])
    assert "3 of what was refused were dropped, ever" in "\n".join(lines(told))
    # and no more when some are taken out
    answers.retry("a")
    assert (answers.status()["refused_dropped"], answers.status()["refused_trouble"]) == (3, "")
    spool.close()
