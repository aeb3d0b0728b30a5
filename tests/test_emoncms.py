"""Frames to Emoncms: what is sent, what an answer means, and what becomes of every failure on the way."""

import json
import math
import socket
import time
from dataclasses import replace

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from gateway.dispatchers.emoncms.answers import DatabaseFailed, FeedDamaged, RowUnfinished, judge
from gateway.dispatchers.emoncms.dispatcher import Emoncms, EmoncmsBuffer
from gateway.dispatchers.http_client.failures import no_answer
from gateway.dispatchers.http_client.pages import excerpt
from gateway.plugin import BadFrame, HoldEverything, NodeRefused, NotKept, OutcomeUnknown, TryLater
from gateway.process.port import joined
from gateway.registry import find
from gateway.settings import SettingsFault, build, shown
from gateway.version import VERSION
from tests.at_emoncms import KEY, dispatcher, encoded, failure_of, frame, send
from tests.ports import need_address, own_address
from tests.simulators.emoncms import FakeEmoncms, Request, Stored
from tests.simulators.peer import Peer, passing_on


class TestEncoding:
    def test_a_missing_value_is_left_out_and_the_others_keep_their_keys(self):
        assert encoded([frame(18.7, 18.6, None, 19.2)]) == (
            '[[1795213750,"9",{"1":18.7},{"2":18.6},{"4":19.2}]]'
        )

    def test_whole_numbers_are_integers(self):
        assert encoded([frame(-4.0, 0.0, 25377.0, -0.0, 1e20)]) == (
            '[[1795213750,"9",{"1":-4},{"2":0},{"3":25377},{"4":0},{"5":100000000000000000000}]]'
        )

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39, -3.5e38])
    def test_what_no_feed_can_hold_is_left_out(self, value):
        assert encoded([frame(1.0, value, 3.0)]) == '[[1795213750,"9",{"1":1},{"3":3}]]'

    @pytest.mark.parametrize("frames", [[], [frame()], [frame(None, None), frame(math.nan)]])
    def test_frames_without_a_value_are_nothing(self, frames):
        assert encoded(frames) == ""

    @pytest.mark.parametrize(
        ("wall", "seconds"),
        [
            (1_700_000_000.0, 1_700_000_000),
            (1_700_000_009.97, 1_700_000_009),
            (1_699_999_999.9999998, 1_700_000_000),
        ],
    )
    def test_a_slot_is_exact_and_nothing_is_dated_ahead(self, wall, seconds):
        assert json.loads(encoded([frame(1.0, wall=wall)]))[0][0] == seconds

    def test_names_as_keys(self):
        # given names that Emoncms keeps, one that it would shorten, and places without
        names = ("flow", "outside (north)/°C", "", "Küche")
        assert encoded([frame(1.0, 2.0, 3.0, 4.0, 5.0, names=names)], "name") == (
            '[[1795213750,"9",{"flow":1},{"outside northC":2},{"3":3},{"Küche":4},{"5":5}]]'
        )

    def test_a_name_that_a_device_has_given_is_a_key_with_its_spaces(self):
        # given what Emoncms makes of {a:1, b:2}
        posted = replace(frame(1.0, 2.0, names=("a", " b")), by_name=True)
        assert encoded([posted]) == '[[1795213750,"9",{"a":1},{" b":2}]]'

    def test_a_number_that_a_device_has_given_as_a_key_is_that_key_wherever_it_stands(self):
        # given what a device publishes as {"flow": 1, "3": 2}, and without flow as {"3": 2}
        posted = replace(frame(1.0, 2.0, names=("flow", "3")), by_name=True)
        # then the value is at the same input
        assert encoded([posted]) == '[[1795213750,"9",{"flow":1},{"3":2}]]'
        assert encoded([frame(None, None, 2.0)]) == '[[1795213750,"9",{"3":2}]]'

    def test_names_that_emoncms_keeps_alike_give_way_to_the_index(self):
        posted = replace(frame(1.0, 2.0, 3.0, names=("a(", "a", "1")), by_name=True)
        assert encoded([posted]) == '[[1795213750,"9",{"1":1},{"2":2},{"3":3}]]'

    @pytest.mark.parametrize(
        ("names", "keys"),
        [
            (("flow", "flow"), ["1", "2"]),  # two values of one name: the last would win
            (("a/b", "ab", "c"), ["1", "2", "c"]),
            (("2", "two"), ["1", "two"]),  # the name of another's index
            (("°", " x\n\ty "), ["1", "x y"]),
            (("n" * 80, "m" * 63 + " m"), ["n" * 64, "m" * 63]),
        ],
    )
    def test_a_name_that_could_be_mistaken_gives_way_to_the_index(self, names, keys):
        # then also where one of the two is missing this time, or fewer values come
        values = (1.0,) * len(names)
        row = json.loads(encoded([frame(*values, names=names)], "name"))[0]
        assert [key for value in row[2:] for key in value] == keys
        row = json.loads(encoded([frame(None, *values[1:], names=names)], "name"))[0]
        assert [key for value in row[2:] for key in value] == keys[1:]
        row = json.loads(encoded([frame(*values[:-1], names=names)], "name"))[0]
        assert [key for value in row[2:] for key in value] == keys[:-1]

    @given(
        st.lists(
            st.builds(
                frame,
                st.none() | st.floats(allow_nan=True, allow_infinity=True),
                st.none() | st.floats(-100, 100),
                st.none() | st.integers(-32768, 32767).map(float),
                wall=st.floats(0, 4e9),
                node=st.sampled_from(["9", "10", "roof top"]),
            )
        ),
    )
    def test_the_server_gets_exactly_what_is_there(self, frames):
        # given a server, without the wire
        fake = FakeEmoncms(key=KEY)
        # when any frames are sent to it
        if data := encoded(frames):
            body = requests.Request("POST", "http://x", data={"time": 0, "data": data}).prepare().body
            headers = {"authorization": f"Bearer {KEY}", "content-type": "application/x-www-form-urlencoded"}
            answer = fake.handle(Request("POST", "/input/bulk", headers, body.encode()))
            assert answer.body == "ok"
        # then it has every value at its index, in order, and not one more
        assert [(stored.node, stored.key, stored.value) for stored in fake.stored] == [
            (each.node, str(index), value)
            for each in frames
            for index, value in each.items()
            if abs(value) <= 3.4e38
        ]


PROCESSING, INPUTS = "Process-&gt;input()", "InputMethods-&gt;process_node()"


class TestJudgement:
    @pytest.mark.parametrize(
        "body", ["ok", "ok\n", "\r\nok\r\n\r\n", "<br />\n<b>Deprecated</b>: x<br />\nok"]
    )
    def test_ok_on_the_last_line_is_delivered(self, body):
        assert judge(200, body) is None

    def test_ok_of_a_server_whose_disk_is_full_is_not_delivered(self):
        # given what Emoncms 11.16.8 answers then
        words = "fwrite(): Write of 304 bytes failed with errno=28 No space left on device"
        notice = (
            f"<br />\n<b>Notice</b>:  {words} in <b>/var/www/emoncms/Modules/feed/engine/PHPFina.php</b> on"
        )
        failure = judge(200, f"{notice} line <b>299</b><br />\nok")
        assert isinstance(failure, HoldEverything)
        assert isinstance(failure, TryLater)
        assert str(failure).startswith("its feeds are not written (No space left on device): make room")
        # but a log that it cannot write does no harm
        assert judge(200, notice.replace("Modules/feed/engine/PHPFina", "Lib/EmonLogger") + "\nok") is None

    @pytest.mark.parametrize(
        ("warning", "engine", "found"),
        [
            (
                "fopen(/var/opt/emoncms/phpfina/12.dat): failed to open stream: Read-only file system",
                "PHPFina",
                "Read-only file system",
            ),
            (
                "filesize(): stat failed for /var/opt/emoncms/phptimeseries/feed_13.MYD",
                "PHPTimeSeries",
                "stat failed for /var/opt/emoncms/phptimeseries/feed_13.MYD",
            ),
        ],
    )
    def test_ok_of_an_old_server_that_cannot_open_its_feeds_is_not_delivered(self, warning, engine, found):
        # given what Emoncms 9.8 to 11.2 answer where the data partition is read-only, or not mounted
        place = f"<b>/var/www/emoncms/Modules/feed/engine/{engine}.php</b> on"
        page = f"<br />\n<b>Warning</b>:  {warning} in {place}"
        failure = judge(200, f"{page} line <b>188</b><br />\nok")
        assert isinstance(failure, NotKept)
        assert str(failure).startswith(f"its feeds are not written ({found}): ")
        # but another file that it cannot open does no harm
        assert judge(200, page.replace("Modules/feed/engine/", "Lib/") + "\nok") is None

    @pytest.mark.parametrize(
        "error",
        [
            "Fatal error</b>:  Uncaught Error: Failed opening required 'Modules/feed/engine/PHPFina.php'",
            "Fatal error</b>:  Uncaught ArgumentCountError: Too few arguments in /a/feed/engine/PHPFina.php",
            "Fatal error</b>:  Uncaught Error: Call to undefined method x() in /a/feed/engine/PHPFina.php",
            "Parse error</b>:  Unclosed '{' on line 106 in <b>/a/Modules/feed/engine/PHPFina.php</b>",
            "Fatal error</b>:  Uncaught Error: Class &quot;PHPFina&quot; not found in /a/feed/feed_model.php",
            "Fatal error</b>:  Class PHPFina contains 1 abstract method in <b>/a/feed/engine/PHPFina.php</b>",
            f"Fatal error</b>:  Uncaught Error: Interface &quot;X&quot; not found in /feed/x:8\n{PROCESSING}",
            f"Fatal error</b>:  Uncaught Error: Undefined constant &quot;X&quot; in /feed/x:59\n{PROCESSING}",
            "Fatal error</b>:  Declaration of A::post() must be compatible with B::post($x) in <b>/feed/x",
            "Fatal error</b>:  Array access syntax with curly braces is no [] in <b>/feed/x",
            "Fatal error</b>:  Cannot redeclare view() (previously declared in /core.php:1) in <b>/feed/x",
        ],
    )
    def test_an_engine_that_an_upgrade_has_half_replaced_is_no_damaged_feed(self, error):
        failure = judge(200, f"<br />\n<b>{error}<br />\n")
        assert str(failure).startswith("its program is not complete (let its upgrade end, or repeat it): ")
        # and all of it is sent once more, as its inputs have what its feeds lack
        assert isinstance(failure, NotKept)

    def test_where_another_file_is_missing_it_has_stored_nothing(self):
        failure = judge(
            200, "<b>Fatal error</b>: Uncaught Error: Failed opening required 'core.php' in /a/x:1"
        )
        assert str(failure).startswith("its program is not complete")
        assert isinstance(failure, HoldEverything)
        assert not isinstance(failure, NotKept)

    @pytest.mark.parametrize(
        ("error", "place", "calls", "kind"),
        [
            ("Table 'emoncms.schedule' doesn't exist", "schedule/schedule_model", PROCESSING, FeedDamaged),
            ("Unknown column 'timezone' in 'SELECT'", "schedule/schedule_model", PROCESSING, FeedDamaged),
            ("Table 'emoncms.feed_7' doesn't exist", "process/process_processlist", PROCESSING, FeedDamaged),
            ("Out of range value for column 'value'", "feed/feed_model", PROCESSING, FeedDamaged),
            ("MySQL server has gone away", "schedule/schedule_model", PROCESSING, RowUnfinished),
            ("Table 'emoncms.feeds' doesn't exist", "feed/feed_model", PROCESSING, RowUnfinished),
            ("Table 'emoncms.device' doesn't exist", "device/device_model", INPUTS, DatabaseFailed),
            ("Out of range value for column 'time'", "input/input_model", INPUTS, DatabaseFailed),
            ("Incorrect string value: '\\xF0\\xA0'", "input/input_model", PROCESSING, RowUnfinished),
        ],
    )
    def test_an_exception_of_the_database_tells_what_became_of_the_row(self, error, place, calls, kind):
        # when PHP ends at one
        failure = judge(
            200,
            f"<b>Fatal error</b>: Uncaught mysqli_sql_exception: {error} in /a/Modules/{place}.php:38\n"
            f"Stack trace:\n#0 /a/Modules/input/input_methods.php(300): {calls}\n#1 {{main}}",
        )
        # then its text, the file that it comes from and the calls tell whether it passes, and what is shown
        assert type(failure) is kind
        words = "see Process List of its inputs there" if kind is FeedDamaged else "Redis is in trouble"
        assert words in str(failure)

    @pytest.mark.parametrize(
        "error",
        [
            "Exception: DateTimeZone::__construct(): Unknown or bad timezone (Kiev) in /a/process/x.php",
            "TypeError: Unsupported operand types: string + int in /a/process/x.php",
            "Error: Call to a member function post() on array in /a/feed/feed_model.php",
        ],
    )
    def test_a_process_that_fails_sets_its_node_aside(self, error):
        # given what Emoncms answers if a process of an input fails: the inputs are set, the feeds are not
        calls = "Stack trace:\n#0 /a/Modules/input/input_methods.php(362): Process-&gt;input()\n#1 {main}"
        failure = judge(200, f"<br />\n<b>Fatal error</b>:  Uncaught {error}:7\n{calls}")
        assert type(failure) is FeedDamaged
        assert str(failure).startswith("what a process of this node does fails there (see Process List of ")
        # but outside of the processes of an input it says nothing of a node
        assert type(judge(200, f"<b>Fatal error</b>:  Uncaught {error}:7\n#0 {{main}}")) is HoldEverything

    @pytest.mark.parametrize(
        "warning",
        [
            '<b>Warning</b>:  Attempt to read property "num_rows" on bool in <b>/a/feed/feed_model.php</b>',
            "<b>Notice</b>:  Trying to get property 'num_rows' of non-object in <b>/a/feed/feed_m.php</b>",
        ],
    )
    def test_a_feed_that_an_older_php_does_not_find_is_the_database_that_failed(self, warning):
        # given what it prints if it then fails at the next row: this row is in its inputs, and in no feed
        fatal = (
            "<b>Fatal error</b>: Uncaught Error: Call to a member function execute() on bool in /a/input/x"
        )
        assert type(judge(200, f"{warning}<br />\n{fatal}\n#0 {{main}}")) is RowUnfinished
        # and if only that table cannot be read: no row is in a feed
        failure = judge(200, f"{warning}<br />\nok")
        assert isinstance(failure, NotKept)
        assert "its database is in trouble" in str(failure)

    def test_a_table_that_only_a_process_needs_holds_up_nothing_on_an_older_php(self):
        warning = 'Attempt to read property "num_rows" on bool in <b>/a/schedule/schedule_model.php</b>'
        assert judge(200, f"<b>Warning</b>:  {warning}<br />\nok") is None

    @pytest.mark.parametrize("method", ["fetch_object", "fetch_array", "execute", "bind_param"])
    @pytest.mark.parametrize(
        ("model", "kind"),
        [
            ("feed", RowUnfinished),
            ("input", RowUnfinished),
            ("device", RowUnfinished),
            ("schedule", FeedDamaged),
        ],
    )
    def test_a_query_that_gives_nothing_is_a_database_that_failed(self, method, model, kind):
        # given what an older PHP ends with, whose mysqli raises nothing
        failure = judge(
            200,
            f"Fatal error</b>: Uncaught Error: Call to a member function {method}() on bool in /{model}/x:7\n"
            f"Stack trace:\n#0 /a/Modules/input/input_methods.php(300): {PROCESSING}",
        )
        # then it passes, unless only a process of this node needs that table
        assert type(failure) is kind

    @pytest.mark.parametrize(
        ("status", "body", "kind", "words"),
        [
            (200, "", HoldEverything, "apikey must be the write key"),
            (200, " \n\n", HoldEverything, "a proxy in front of it must pass on the header Authorization"),
            (401, "Invalid API key", HoldEverything, "write key of the Emoncms account in apikey"),
            (200, "<br /><b>Fatal error</b>: Uncaught Error: x", HoldEverything, "Fatal error : Uncaught"),
            (
                200,
                "<b>Fatal error</b>: Uncaught DivisionByZeroError: x in /a/feed/engine/PHPFina.php:221",
                HoldEverything,
                "one of its feeds is damaged (oemgateway emoncms says which): Fatal error : Uncaught Div",
            ),
            (
                200,
                "<b>Fatal error</b>: Maximum execution time exceeded in /a/feed/engine/PHPFina.php",
                HoldEverything,
                "PHP has too little time or memory there: Fatal error : Maximum execution time",
            ),
            (
                200,
                "<b>Fatal error</b>: Uncaught mysqli_sql_exception: x in /feed/engine/MysqlTimeSeries.php",
                HoldEverything,
                "its database or Redis is in trouble: Fatal error : Uncaught mysqli",
            ),
            (
                200,
                "<b>Fatal error</b>: Uncaught mysqli_sql_exception: Table feed_2 crashed in /feed/engine/M",
                HoldEverything,
                "one of its feeds is damaged (oemgateway emoncms says which): Fatal error : Uncaught mysqli",
            ),
            (200, "Device not initialized.", HoldEverything, "single device"),
            (
                200,
                '{"success":false,"message":"Node 9 does not belong to device."}',
                HoldEverything,
                "device",
            ),
            (404, "<html>Not Found</html>", HoldEverything, "404 to /input/bulk: check url, at which"),
            (405, "", HoldEverything, "check url"),
            (406, "{}", HoldEverything, "check url"),
            (400, "", HoldEverything, "check url"),
            (403, "", HoldEverything, "check url"),
            (408, "", TryLater, "408: nothing more"),
            (429, "slow down", TryLater, "429: slow down"),
            (500, "", OutcomeUnknown, "500: nothing more. PHP fails there and shows no error"),
            (502, "<h1>Bad Gateway</h1>", OutcomeUnknown, "502: Bad Gateway"),
            (503, "", OutcomeUnknown, "503"),
            (204, "", OutcomeUnknown, "204"),
            (413, "", BadFrame, "too large"),
            (200, '{"success": false, "message": "Format error, x"}', BadFrame, "batch: Format error, x"),
            (200, "Format error, json string supplied is not valid", BadFrame, "Format error"),
            (200, "Error: something with an input", BadFrame, "Error: something"),
            (200, '{"success": false, "message": "Come back later"}', OutcomeUnknown, "Come back later"),
            (200, "ok then", OutcomeUnknown, "ok expected, not ok then"),
            (200, "ok\nbut", OutcomeUnknown, "ok expected, not ok but"),
            (200, "<html><title>Hotel WiFi</title></html>", OutcomeUnknown, "Hotel WiFi"),
            (200, "null", OutcomeUnknown, "null"),
            (200, "[1]", OutcomeUnknown, "[1]"),
            (200, '{"success": true}', OutcomeUnknown, "success"),
        ],
    )
    def test_anything_else_is_a_failure_that_says_what_to_do(self, status, body, kind, words):
        failure = judge(status, body)
        assert isinstance(failure, kind)
        assert words in str(failure)

    def test_a_node_too_many_is_the_frames_fault_and_named(self):
        failure = judge(
            200,
            '{"success": false,"message":"Error: Reached the maximal allowed number of different NodeIds, '
            "limit is 32. Node 'attic' was ignored.\"}",
        )
        assert isinstance(failure, NodeRefused)
        assert failure.node == "attic"
        assert "all the 32 nodes it allows and refuses node attic: delete unused ones there" in str(failure)

    @pytest.mark.parametrize(
        ("location", "words"),
        [
            ("https://here.org/emoncms/input/bulk", "to https://here.org/emoncms: put that address in url"),
            ("https://here.org/emoncms/input/bulk?x=1", "https://here.org/emoncms: put that address in url"),
            ("https://me:pw@here.org/input/bulk", "to https://here.org: put that address in url"),
            ("https://me:pw@here.org/emoncms/", "to https://here.org/emoncms: put that address in url"),
            ("https://here.org/a/emoncms/user/login", "to https://here.org/a/emoncms: put that address in"),
            ("http://emoncms/login", "to http://emoncms/login, which is not Emoncms"),
            ("http://router/login/http://here.org/myemoncms", "which is not Emoncms"),
            (
                "http://router/login?from=x",
                "to http://router/login, which is not Emoncms: check url, and whether",
            ),
            ("", "to somewhere else, which is not Emoncms"),
        ],
    )
    def test_a_redirect_is_for_a_person_to_follow(self, location, words):
        failure = judge(301, "", location)
        assert isinstance(failure, HoldEverything)
        assert words in str(failure)

    def test_a_message_is_one_short_line_of_plain_text_without_the_key(self):
        text = f"<p>first\n\n\x1b[31msecond</p> {KEY[:5]}\0{KEY[5:]} " + "x" * 500
        assert excerpt(text, KEY) == "first [31msecond ******** ..."
        assert excerpt("x" * 500) == "x" * 160 + " ..."
        assert KEY[:8] not in excerpt("y" * 155 + KEY, KEY)

    def test_what_was_never_sent_can_be_tried_again(self):
        assert type(no_answer(requests.ConnectTimeout("x"), sent=False)) is TryLater
        assert type(no_answer(requests.ReadTimeout("x"), sent=True)) is OutcomeUnknown
        assert "OSError" in str(no_answer(OSError(), sent=False))
        handshake = TimeoutError("_ssl.c:989: The handshake operation timed out")
        assert "not reached (The handshake operation" in str(no_answer(handshake, sent=False))


class TestSettings:
    def test_the_types_are_found_by_their_names(self):
        assert find("dispatchers", "emoncms") is Emoncms
        assert find("dispatchers", "OemGatewayEmoncmsBuffer") is EmoncmsBuffer

    def test_a_key_is_enough(self):
        emoncms = build(Emoncms, {"apikey": KEY})
        assert (emoncms.url, emoncms.interval, emoncms.batch) == ("https://emoncms.org", 10.0, 250)
        assert list(emoncms.remarks()) == []

    def test_without_one_it_is_missing(self):
        with pytest.raises(SettingsFault, match="apikey is missing"):
            build(Emoncms, {})

    def test_a_slash_at_the_end_of_the_address_is_no_difference(self):
        assert build(Emoncms, {"apikey": KEY, "url": "http://pi/emoncms/"}).url == "http://pi/emoncms"

    @pytest.mark.parametrize("key", ["a\nb", "\x7f", "\udc80"])
    def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(self, key):
        with pytest.raises(
            SettingsFault, match="apikey: one line of printable characters expected"
        ) as caught:
            build(Emoncms, {"apikey": key})
        assert key not in str(caught.value)

    def test_an_odd_key_and_names_as_keys_are_remarked(self):
        emoncms = build(Emoncms, {"apikey": "x" * 33, "keys": "name"})
        assert [key for key, _ in emoncms.remarks()] == ["apikey", "keys"]

    @pytest.mark.parametrize("batch", ["0", "251"])
    def test_the_batch_has_bounds(self, batch):
        with pytest.raises(SettingsFault, match="from 1 to 250"):
            build(Emoncms, {"apikey": KEY, "batch": batch})

    def test_the_keys_of_2013(self):
        old = {
            "domain": "localhost",
            "apikey": "x" * 33,
            "protocol": "http://",
            "active": "True",
            "path": "/emoncms",
        }
        emoncms = build(EmoncmsBuffer, old)
        assert (emoncms.url, emoncms.interval, emoncms.active) == ("http://localhost/emoncms", 0.0, True)
        assert build(EmoncmsBuffer, {"apikey": KEY}).url == "http://localhost/emoncms"
        assert list(build(EmoncmsBuffer, old | {"apikey": KEY}).remarks()) == []

    def test_the_keys_of_2013_with_an_empty_path(self):
        entries = {"apikey": KEY, "protocol": "https://", "domain": "emoncms.org", "path": ""}
        assert build(EmoncmsBuffer, entries).url == "https://emoncms.org"

    def test_a_limit_of_2013_is_understood_and_has_no_effect(self):
        emoncms = build(EmoncmsBuffer, {"apikey": KEY, "buffer_size": "1000"})
        assert [key for key, _ in emoncms.remarks()] == ["buffer_size"]

    @pytest.mark.parametrize(
        "entry", [{"domain": "http://pi"}, {"path": "/x?y"}, {"protocol": "ftp://"}, {"url": "http://pi"}]
    )
    def test_the_pieces_of_2013_are_checked(self, entry):
        with pytest.raises(SettingsFault):
            build(EmoncmsBuffer, {"apikey": KEY} | entry)

    @pytest.mark.parametrize("cls", [Emoncms, EmoncmsBuffer])
    def test_the_key_does_not_show(self, cls):
        emoncms = build(cls, {"apikey": KEY})
        assert KEY not in repr(emoncms)
        assert KEY not in str(shown(emoncms))


class TestDelivery:
    def test_frames_arrive_under_their_index_over_one_kept_connection(self, server):
        with dispatcher(server.url) as emoncms:
            # when batches are sent, one of them with a gap
            send(emoncms, [frame(18.7, 18.6, None, 19.2, wall=100.0), frame(5.0, wall=100.0, node="10")])
            send(emoncms, [frame(18.8, None, None, None, wall=110.0)])
        # then the gap is no value, and what was not sent was left alone
        assert server.stored == [
            Stored("9", "1", 100, 18.7),
            Stored("9", "2", 100, 18.6),
            Stored("9", "4", 100, 19.2),
            Stored("10", "1", 100, 5.0),
            Stored("9", "1", 110, 18.8),
        ]
        assert server.connections == 1

    def test_a_request_is_as_the_specification_has_it(self, server):
        with dispatcher(server.url + "/emoncms") as emoncms:
            send(emoncms, [frame(18.7)])
        (request,) = server.requests
        assert (request.method, request.path) == ("POST", "/emoncms/input/bulk")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert request.headers["user-agent"] == f"oemgateway/{VERSION}"
        assert request.body == b"time=0&data=%5B%5B1795213750%2C%229%22%2C%7B%221%22%3A18.7%7D%5D%5D"

    def test_nothing_but_frames_is_ever_sent(self, server):
        with dispatcher(server.url) as emoncms:
            # when there is nothing to say
            send(emoncms, [frame(None), frame()])
        # then nothing is said
        assert server.connections == 0

    def test_a_value_that_no_feed_can_hold_is_told_once(self, server, caplog):
        with dispatcher(server.url) as emoncms:
            for _ in range(3):
                send(emoncms, [frame(1.0, 1e39)])
        assert [record.getMessage() for record in caplog.records] == [
            "node 9, index 2: 1e+39 left out, as no feed can hold it"
        ]
        assert server.values("9") == {"1": 1.0}

    def test_a_connection_that_was_dropped_while_idle_is_made_again(self, server):
        with dispatcher(server.url) as emoncms:
            send(emoncms, [frame(1.0)])
            server.stop()
            server.start()
            send(emoncms, [frame(2.0)])
        assert server.values("9") == {"1": 2.0}

    def test_closing_is_always_allowed(self, server):
        emoncms = Emoncms(url=server.url, apikey=KEY)
        emoncms.close()
        emoncms.open()
        emoncms.close()
        emoncms.close()


class TestFailures:
    @pytest.mark.parametrize(
        ("fault", "kind", "kept"),
        [
            ("wrong_key", HoldEverything, 0),
            ("html_fatal", HoldEverything, 0),
            ("error_text", OutcomeUnknown, 0),
            ("status_500", OutcomeUnknown, 0),
            ("reset_before", OutcomeUnknown, 0),
            ("reset_after", OutcomeUnknown, 1),
        ],
    )
    def test_a_fault_of_the_server_is_one_line_and_the_next_batch_passes(self, server, fault, kind, kept):
        setattr(server, fault, 1)
        with dispatcher(server.url) as emoncms:
            failure = failure_of(emoncms)
            assert isinstance(failure, kind)
            assert str(failure).startswith(f"{server.url}: ")
            assert "\n" not in str(failure)
            assert len(server.stored) == kept
            send(emoncms, [frame(18.7)])
        assert len(server.stored) == kept + 1

    @pytest.mark.parametrize("key", [FakeEmoncms.read_key, "wrong", "käse", " x y ", "ok"])
    def test_a_key_that_cannot_write_holds_everything(self, server, key):
        with dispatcher(server.url, apikey=key) as emoncms:
            failure = failure_of(emoncms)
        assert isinstance(failure, HoldEverything)
        assert "apikey" in str(failure)
        assert server.stored == []

    def test_a_server_that_is_away_and_back(self, server):
        server.stop()
        with dispatcher(server.url) as emoncms:
            failure = failure_of(emoncms)
            assert type(failure) is TryLater
            assert "not reached (Connection refused)" in str(failure)
            server.start()
            send(emoncms, [frame(1.0)])
        assert len(server.stored) == 1

    def test_a_name_that_nobody_knows(self, monkeypatch):
        def unknown(*_, **__):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with dispatcher("http://emoncms.invalid") as emoncms:
            failure = failure_of(emoncms)
        assert type(failure) is TryLater
        told = "http://emoncms.invalid: not reached (Name or service not known): is the name in url right, "
        assert str(failure).startswith(told)


class TestTheTimeOfAServer:
    @pytest.mark.parametrize(("ahead", "is_told"), [(0, False), (-3600, True), (60, True), (None, False)])
    def test_that_of_this_very_machine_is_none(self, server, ahead, is_told):
        # given a server at an address of this machine
        server.clock_ahead = ahead
        with dispatcher(server.url) as emoncms:
            assert (emoncms.time() is not None) == is_told

    @pytest.mark.parametrize("host", ["127.0.1.1", "::1", "its own"])
    def test_so_it_is_by_each_of_its_addresses(self, server, host):
        # such as that of its name, which Debian has as 127.0.1.1
        host = own_address() if host == "its own" else host
        need_address(host)
        with (
            Peer(passing_on(server.port), host) as way,
            dispatcher(f"http://{joined(host, way.port)}") as home,
        ):
            assert home.time() is None

    def test_that_of_another_machine_is_told_though_it_agrees(self, server, monkeypatch):
        with dispatcher(server.url) as emoncms:
            ask = emoncms.server.ask
            monkeypatch.setattr(
                emoncms.server, "ask", lambda *how, **rest: ask(*how, **rest)._replace(local=False)
            )
            assert abs(emoncms.time() - time.time()) < 60
