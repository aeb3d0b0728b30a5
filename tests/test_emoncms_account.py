"""The account of a key as Emoncms tells of it: lists or objects, numbers or text, processes in two forms."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dispatchers.emoncms.answers import Unexpected, decode
from gateway.dispatchers.emoncms.proof.account import Account
from gateway.dispatchers.emoncms.proof.records import (
    ENERGY,
    LOG,
    Feed,
    Input,
    feed_part,
    feed_unit,
    read_feeds,
    read_inputs,
    read_slot,
)
from gateway.dispatchers.http_client.session import Server
from gateway.plugin import DeliveryFailure, HoldEverything, OutcomeUnknown, TryLater
from tests.simulators.emoncms import FATAL, LOGIN_PAGE, Answer, FakeEmoncms

ROW = {
    "id": "3",
    "nodeid": "9",
    "name": "1",
    "description": "flow",
    "processList": "2:0.1,1:7",
    "time": 100,
    "value": 18.5,
}
NO_RIGHTS = Answer(
    body="<br />\n<b>Warning</b>:  fopen(/data/phpfina/1.meta): Failed to open stream: Permission denied in "
    "<b>/www/Modules/feed/engine/PHPFina.php</b> on line <b>125</b><br />\n<br />\n<b>Fatal error</b>:  "
    "Uncaught TypeError: fseek(): Argument #1 ($stream) must be of type resource, bool given in "
    "/www/Modules/feed/engine/PHPFina.php:126\nStack trace:\n#0 {main}\n  thrown in "
    "<b>/www/Modules/feed/engine/PHPFina.php</b> on line <b>126</b><br />\n"
)
"""What Emoncms 11.16.8 answers where a .meta belongs to another user: to the list of feeds, too."""
INPUT = Input(3, "9", "1", "flow", "2:0.1,1:7", 100, 18.5)


@pytest.fixture
def fake():
    with FakeEmoncms() as fake:
        yield fake


@pytest.fixture
def account(fake):
    server = Server(fake.url, fake.key, None, 5)
    server.open()
    yield Account(server)
    server.close()


class TestReading:
    @pytest.mark.parametrize(
        "answer",
        [
            [ROW],
            {"0": ROW},
            [ROW | {"id": 3, "nodeid": 9, "name": 1, "time": "100", "value": "18.5"}],
            [ROW | {"processList": [{"fn": "2", "args": ["0.1"]}, {"fn": "1", "args": [7]}]}],
        ],
    )
    def test_an_input_in_every_form(self, answer):
        assert read_inputs(answer) == [INPUT]

    def test_what_has_no_value_yet(self):
        bare = {"id": 1, "nodeid": None, "name": "a", "time": None, "value": "NaN"}
        assert read_inputs([bare]) == [Input(1, "0", "a", "", "", None, None)]
        assert read_feeds([{"id": 1, "name": "a", "time": None}]) == [Feed(1, "", "a", 0, 0, None)]
        assert read_feeds([{"id": 1, "name": "a", "tag": None}]) == [Feed(1, "", "a", 0, 0, math.inf)]

    @pytest.mark.parametrize("answer", [None, False, 7, "x", ["x"], [[1]], [{}], {"success": False}])
    @pytest.mark.parametrize("read", [read_inputs, read_feeds])
    def test_what_is_no_list(self, read, answer):
        with pytest.raises((TypeError, ValueError, KeyError)):
            read(answer)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        )
    )
    def test_whatever_comes_is_understood_or_not(self, answer):
        for read in (read_inputs, read_feeds, lambda each: read_slot(each, 10)):
            try:
                read(answer)
            except (TypeError, ValueError, KeyError):
                continue

    @pytest.mark.parametrize(
        ("answer", "value"),
        [
            ([[100, 18.5], [110, None]], 18.5),
            ([[100_000, "18.5"]], 18.5),
            ([[100, None]], None),
            ([[90, 1], [110, 2]], None),
            ([], None),
        ],
    )
    def test_a_slot_in_seconds_or_milliseconds(self, answer, value):
        assert read_slot(answer, 100) == value

    @pytest.mark.parametrize(
        ("processes", "logs"),
        [
            ("", []),
            ("1:7", [(7, True)]),
            ("1:7,1:8", [(7, True), (8, True)]),
            ("2:0.1,1:7", [(7, False)]),
            ("1:7,2:0.1,process__log_to_feed:8", [(7, True), (8, False)]),
            ("4:8,1:7", [(7, True)]),  # a power goes on as it came
            ("process__log_to_feed_join:9:4", [(9, True)]),
            ("process__error_found:0,1:7", [(7, False)]),
            ("1:,1:x,11:7", []),
            ("1:" + "9" * 5000, []),
        ],
    )
    def test_where_it_is_logged(self, processes, logs):
        assert list(Input(1, "9", "1", "", processes, 0, 0).logs()) == logs

    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("flow °C (cellar)", "flow C cellar"),
            ("roof.top/2", "roof top 2"),
            ("Küche_1-a", "Küche_1-a"),
            ("°", ""),
        ],
    )
    def test_the_name_of_a_feed_is_one_that_is_taken(self, text, kept):
        assert feed_part(text) == kept

    @pytest.mark.parametrize(
        ("text", "unit"),
        [
            ("C", "°C"),
            ("°c", "°C"),
            ("W", "W"),
            ("kWh", "kWh"),
            (" % ", "%"),
            ("m³/h", "m³/h"),
            ("pulses", "pulses"),
            ("averylongunit", ""),
            ("€€€€", ""),  # twelve bytes
            ("a&b", ""),
            ("<", ""),
            ("a\x1bb", ""),
            ("", ""),
        ],
    )
    def test_a_unit_is_one_that_is_taken(self, fake, account, text, unit):
        assert feed_unit(text) == unit
        # and the server takes it, both ways
        number = account.create_feed("9", "x", 10, feed_unit(text))
        account.set_unit(number, feed_unit(text))
        assert fake.feeds.by_id[number].unit == unit

    @pytest.mark.parametrize(
        ("processes", "energy", "feeds"),
        [
            ("", [], set()),
            ("1:7,4:8", [8], {7, 8}),
            ("process__log_to_feed:7,process__power_to_kwh:8", [8], {7, 8}),
            ("2:10,3:5,1:7", [], {7}),
            ("5:9,4:,4:x", [], {9}),
            ("1:" + "9" * 5000, [], set()),
        ],
    )
    def test_what_is_filled(self, processes, energy, feeds):
        there = Input(1, "9", "1", "", processes, 0, 0)
        assert (there.energy(), there.feeds()) == (energy, feeds)


class TestAsking:
    def test_the_lists(self, fake, account):
        assert (account.inputs(), account.feeds()) == ([], [])
        fake.feeds.add("9", "flow", 60)
        assert account.feeds() == [Feed(1, "9", "flow", 5, 60, None, "")]
        assert [str(feed) for feed in account.feeds()] == ["feed 1 (9: flow)"]
        assert str(Feed(2, "", "flow", 5, 60, None)) == "feed 2 (flow)"

    @pytest.mark.parametrize("with_meta", [True, False])
    def test_a_slot_is_asked_for_by_the_feeds_own_interval(self, fake, account, with_meta):
        fake.feeds.meta = with_meta
        fake.feeds.add("9", "flow", 60).put(130, 18.5)
        (feed,) = account.feeds()
        assert [account.stored(feed, time) for time in (119, 120, 179.9, 180)] == [None, 18.5, 18.5, None]

    def test_an_interval_that_is_none_is_named(self, fake, account):
        fake.canned = [Answer(body='{"interval":0}')]
        with pytest.raises(Unexpected, match="it answers to /feed/getmeta: "):
            account.stored(Feed(1, "9", "flow", 5, 0, None), 100)

    @pytest.mark.parametrize("json_lists", [True, False])
    def test_a_feed_is_made_and_logged_to_whatever_form_the_server_wants(self, fake, account, json_lists):
        fake.feeds.json_lists = json_lists
        fake._take_values(100, "9", {"1": 5.0})
        feed = account.create_feed("9", "flow", 10)
        account.process(1, [(LOG, feed)])
        assert account.processes(1) == "1:1"
        fake._take_values(110, "9", {"1": 6.0})
        assert fake.feeds.by_id[feed].slots == {110: 6.0}

    @pytest.mark.parametrize("json_lists", [True, False])
    def test_a_power_goes_to_two_feeds(self, fake, account, json_lists):
        fake.feeds.json_lists = json_lists
        fake._take_values(100, "9", {"1": 5.0})
        power, energy = (
            account.create_feed("9", name, 10, unit) for name, unit in (("p", "W"), ("e", "kWh"))
        )
        account.process(1, [(LOG, power), (ENERGY, energy)])
        assert account.processes(1) == "1:1,4:2"
        # when 3.6 MW are there for 20 s
        for time in (110, 120, 130):
            fake._take_values(time, "9", {"1": 3.6e6})
        assert fake.feeds.by_id[power].slots == {110: 3.6e6, 120: 3.6e6, 130: 3.6e6}
        assert fake.feeds.by_id[energy].slots == {110: 0, 120: 10, 130: 20}
        assert [feed.unit for feed in account.feeds()] == ["W", "kWh"]

    def test_a_unit_is_set(self, fake, account):
        fake.feeds.add("9", "flow")
        account.set_unit(1, "°C")
        assert account.feeds()[0].unit == "°C"
        with pytest.raises(Unexpected, match=r"^it answers to /feed/set: invalid characters in feed unit$"):
            account.set_unit(1, "a&b")
        with pytest.raises(Unexpected, match=r"^it answers to /feed/set: feed 7 does not exist$"):
            account.set_unit(7, "W")

    def test_what_is_refused_is_told_in_the_servers_words(self, fake, account):
        fake._take_values(100, "9", {"1": 5.0})
        with pytest.raises(
            Unexpected, match=r"^it answers to /feed/create: invalid characters in feed name$"
        ):
            account.create_feed("9", "a.b", 10)
        with pytest.raises(Unexpected, match=r"^it answers to /input/process/set: Invalid feed$"):
            account.process(1, [(LOG, 7)])
        with pytest.raises(Unexpected, match=r"^it answers to /input/set: invalid characters in input desc"):
            account.describe(1, "21 °C")
        with pytest.raises(Unexpected, match=r"^it answers to /input/set: false$"):
            account.describe(7, "x")

    def test_a_description_may_have_letters_of_any_language(self, fake, account):
        fake._take_values(100, "9", {"1": 5.0})
        account.describe(1, "Küche")
        assert account.inputs()[0].description == "Küche"

    @pytest.mark.parametrize(
        ("answer", "kind", "words"),
        [
            (LOGIN_PAGE, Unexpected, 'JSON expected from /input/list.json, not the page "Emoncms"'),
            (Answer(), Unexpected, "not an empty page"),
            (FATAL, HoldEverything, "database or Redis"),
            (Answer(body='[{"id":1e999,"nodeid":9,"name":1}]'), Unexpected, "list: .*Infinity"),
            (Answer(body="false"), Unexpected, "it answers to /input/list: false"),
            (Answer(body='{"success":false,"message":"no"}'), Unexpected, "it answers to /input/list: no"),
            (Answer(401, "Invalid API key"), HoldEverything, "apikey"),
            (Answer(404), HoldEverything, "404 to /input/list.json: check url"),
            (Answer(500), OutcomeUnknown, "500"),
            (
                Answer(302, headers={"Location": "http://x/input/list.json"}),
                HoldEverything,
                "to http://x: put",
            ),
        ],
    )
    def test_what_is_no_list_is_named(self, fake, account, answer, kind, words):
        fake.canned = [answer]
        with pytest.raises(kind, match=words):
            account.inputs()

    def test_a_server_that_went_away_is_told(self, fake, account):
        fake.stop()
        with pytest.raises(TryLater, match="not reached"):
            account.feeds()

    def test_warnings_of_php_may_stand_before_the_json(self, fake, account):
        fake.canned = [Answer(body="<b>Deprecated</b>: x<br />\n" + json.dumps([ROW]))]
        assert account.inputs() == [INPUT]

    def test_one_feed_whose_files_cannot_be_read_does_not_hide_the_others(self, fake, account):
        feeds = [fake.feeds.add("9", "flow"), fake.feeds.add("9", "return")]
        fake.canned = [NO_RIGHTS]
        assert [each.id for each in account.feeds()] == [1, 2]
        fake.canned = [NO_RIGHTS]
        with pytest.raises(Unexpected, match=r"/feed/getmeta.json: Warning : fopen\(/data/phpfina/1.meta\)"):
            account.interval(Feed(feeds[0].id, "9", "flow", 5, 0, None))

    def test_the_key_is_in_no_address_body_or_message(self, fake, account):
        fake.canned = [Answer(body=f'"{fake.key}"'), Answer(body=f"<p>{fake.key}")]
        for _ in range(2):
            with pytest.raises(Unexpected) as caught:
                account.inputs()
            assert fake.key not in repr(caught.value)
            assert "********" in str(caught.value)
        fake._take_values(100, "9", {"1": 5.0})
        account.process(1, [(LOG, account.create_feed("9", "flow", 10))])
        assert all(fake.key not in request.path for request in fake.requests)
        assert all(fake.key.encode() not in request.body for request in fake.requests)


@given(st.integers(100, 599), st.text(), st.text())
def test_every_answer_is_json_or_a_failure_of_one_line(status, body, location):
    outcome: object = None
    try:
        decode("/x", status, body, location, "secret")
    except DeliveryFailure as failure:
        outcome = failure
    assert "\n" not in str(outcome)
