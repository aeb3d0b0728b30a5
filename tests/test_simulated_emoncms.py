"""The simulated Emoncms does what the real one was seen to do (11.16.8), traps included."""

import http.client
import json
import math
import threading
from urllib.parse import urlencode

import pytest

from tests.simulators.emoncms import FakeEmoncms, Stored
from tests.waiting import wait_until

KEY = "00112233445566778899aabbccddeeff"
READ_KEY = "ffeeddccbbaa99887766554433221100"


class Client:
    """One kept connection."""

    def __init__(self, server):
        self.wire = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def ask(self, method, path, body=None, **headers):
        self.wire.request(method, path, body, headers)
        answer = self.wire.getresponse()
        return answer.status, answer.read().decode()

    def form(self, path, key=KEY, **fields):
        return self.ask(
            "POST",
            path,
            urlencode(fields),
            Authorization=f"Bearer {key}",
            **{"Content-Type": "application/x-www-form-urlencoded"},
        )

    def bulk(self, rows, key=KEY, **fields):
        data = rows if isinstance(rows, str) else json.dumps(rows)
        return self.form("/input/bulk", key, **({"time": 0} | fields), data=data)

    def get(self, path):
        return self.ask("GET", path, Authorization=f"Bearer {KEY}")


@pytest.fixture
def server():
    with FakeEmoncms(key=KEY, read_key=READ_KEY, now=lambda: 5000.0) as fake:
        yield fake


@pytest.fixture
def connect(at_end):
    """Make as many clients as a test needs, and close them."""

    def client(server):
        made = Client(server)
        at_end.callback(made.wire.close)
        return made

    return client


@pytest.fixture
def client(server, connect):
    return connect(server)


def message(answer):
    status, body = answer
    assert status == 200
    said = json.loads(body)
    assert said["success"] is False
    return said["message"]


class TestBulk:
    def test_objects_with_numeric_keys_address_the_same_inputs_as_positions(self, server, client):
        # given a row by position
        assert client.bulk([[100, "9", 11, 12, 13]]) == (200, "ok")
        # when a row by key leaves the second out
        assert client.bulk([[110, "9", {"1": 21}, {"3": 23}]]) == (200, "ok")
        # then the second keeps its value and its time, and no input is new
        assert server.values("9") == {"1": 21, "2": 12, "3": 23}
        assert server.inputs["9", "2"].time == 100
        assert server.stored[-2:] == [Stored("9", "1", 110, 21.0), Stored("9", "3", 110, 23.0)]

    @pytest.mark.parametrize(
        ("item", "value"),
        [(None, 0), ("", 0), (False, 0), (True, 1), ("abc", 0), ("NaN", 0), ("7.5", 7.5), ("1e2x", 100)],
    )
    def test_what_is_no_number_becomes_one(self, server, client, item, value):
        # when it is sent by position and by key
        assert client.bulk([[100, "n", 1, item, 3, {"b": item}]]) == (200, "ok")
        # then a value is made up, and those behind it keep their places
        assert server.values("n") == {"1": 1, "2": value, "3": 3, "b": value}

    @pytest.mark.parametrize("data", ['[[100,"n",NaN]]', '[[100,"n",Infinity]]', "{", "", "[]"])
    def test_what_is_no_json_is_refused_whole(self, server, client, data):
        assert message(client.bulk(data)) == "Format error, json string supplied is not valid"
        assert server.stored == []

    def test_a_json_body_is_not_read_at_all(self, server, client):
        body = json.dumps([[100, "n", 1]])
        answer = client.ask("POST", f"/input/bulk?apikey={KEY}", body, **{"Content-Type": "application/json"})
        assert message(answer).startswith("Format error")

    @pytest.mark.parametrize(
        ("bad", "said"),
        [
            ([101, {"a": 1}, 1], "node must not be an object"),
            ([101, ["n"], 1], "Fatal error"),
            ([101, "n", [1]], "Fatal error"),
            (7, "Fatal error"),
        ],
    )
    def test_rows_before_a_bad_one_are_stored_and_those_after_are_not(self, server, client, bad, said):
        status, body = client.bulk([[100, "n", 1], bad, [102, "n", 3]])
        assert status == 200
        assert said in body
        assert server.stored == [Stored("n", "1", 100, 1.0)]

    def test_a_last_row_without_a_time_is_refused_whole(self, server, client):
        assert "last item" in message(client.bulk([[100, "n", 1], [None, "n", 2]]))
        assert server.stored == []

    def test_a_row_without_values_is_passed_over(self, server, client):
        assert client.bulk([[100, "n"], [101, "n", 1]]) == (200, "ok")
        assert len(server.stored) == 1

    @pytest.mark.parametrize(
        ("fields", "times"),
        [
            ({"time": 1000}, [1100, 1110]),
            ({"sentat": 120}, [4980, 4990]),
            ({"offset": 120}, [4980, 4990]),
            ({}, [4990, 5000]),
        ],
    )
    def test_times_count_from_what_is_said(self, server, client, fields, times):
        data = json.dumps([[100, "n", 1], [110, "n", 1]])
        client.form("/input/bulk", **fields, data=data)
        assert [stored.time for stored in server.stored] == times

    def test_times_become_whole_numbers_whatever_they_were(self, server, client):
        client.bulk([[100.9, "n", 1], ["2023-01-17", "n", 1], ["x", "n", 1], ["1e999", "n", 1]])
        assert [stored.time for stored in server.stored] == [100, 2023, 0, 0]

    def test_names_lose_what_emoncms_does_not_like(self, server, client):
        client.bulk(
            '[[100,"a/b:c",{"°C":1},{"28.33F7 x_y-":2}],[100,"::",1],[100,7.5,1],[100,7.0,1],[100,true,1]]'
        )
        assert {(stored.node, stored.key) for stored in server.stored} == {
            ("abc", "C"),
            ("abc", "28.33F7 x_y-"),
            ("0", "1"),
            ("7.5", "1"),
            ("7", "1"),
            ("1", "1"),
        }

    def test_escapes_do_not_survive(self, server, client):
        client.bulk(r'[[100,"n",{"\u00e9":1}]]')
        assert server.values("n") == {"u00e9": 1}

    def test_a_node_too_many_is_refused_by_name_and_the_rows_behind_it_are_lost(self, server, client):
        server.max_nodes = 2
        rows = [[100, "a", 1], [100, "b", 1], [100, "c", 1], [100, "a", 2]]
        said = message(client.bulk(rows))
        assert said.startswith("Error: Reached the maximal allowed number of different NodeIds, limit is 2.")
        assert said.endswith("Node 'c' was ignored.")
        assert [stored.node for stored in server.stored] == ["a", "b"]
        # but nodes that are known go on
        assert client.bulk([[110, "a", 2]]) == (200, "ok")


class TestKeys:
    ROW = json.dumps([[100, "n", 1]])

    def test_a_wrong_key_is_401_and_the_one_in_the_address_wins(self, server, client):
        assert client.bulk(self.ROW, key="wrong") == (401, "Invalid API key")
        assert client.form("/input/bulk?apikey=wrong", data=self.ROW)[0] == 401
        assert server.stored == []

    def test_a_read_key_or_none_gets_an_empty_page(self, server, client):
        assert client.bulk(self.ROW, key=READ_KEY) == (200, "")
        assert client.bulk(self.ROW, key="") == (200, "")
        assert server.stored == []


class TestReading:
    def test_inputs_can_be_read_back(self, client):
        client.bulk([[100, "9", {"1": 18.5}, {"3": 19}]])
        assert json.loads(client.get("/input/get?node=9")[1]) == {
            "1": {"time": 100, "value": 18.5, "processList": ""},
            "3": {"time": 100, "value": 19, "processList": ""},
        }
        assert json.loads(client.get("/input/get.json?node=9&name=3")[1])["value"] == 19
        assert json.loads(client.get("/input/get?node=9&name=2")[1]) == "Node variable does not exist"
        assert json.loads(client.get("/input/get?node=8")[1]) == "Node does not exist"
        listed = json.loads(client.get("/input/list.json")[1])
        assert [(one["id"], one["nodeid"], one["name"]) for one in listed] == [
            ("1", "9", "1"),
            ("2", "9", "3"),
        ]

    def test_values_come_back_with_14_digits(self, client):
        client.bulk([[100, "9", 1 / 3]])
        assert json.loads(client.get("/input/get?node=9")[1])["1"]["value"] == 0.33333333333333

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (1234567, 1234570),
            (82956.092, 82956.1),
            (20.0625, 20.0625),
            (100000.5, 100000),
            (999999.5, 1000000),
            (-1e38, -1e38),
            (1e-46, 0),
        ],
    )
    def test_without_redis_they_have_6_and_are_text_in_the_list(self, server, client, value, shown):
        server.redis = False
        client.bulk([[100, "9", value]])
        assert json.loads(client.get("/input/get?node=9")[1])["1"]["value"] == shown
        (listed,) = json.loads(client.get("/input/list.json")[1])
        assert isinstance(listed["value"], str)
        assert (listed["time"], float(listed["value"])) == ("100", shown)

    def test_a_node_is_gone_with_its_last_input_and_leaves_room_for_another(self, server, client):
        server.max_nodes = 1
        client.bulk([[100, "a", 1, 2]])
        assert client.get("/input/delete?inputid=1")[1].startswith('{"success": true')
        assert message(client.bulk([[100, "b", 1]])).endswith("Node 'b' was ignored.")
        client.get("/input/delete?inputid=2")
        assert client.bulk([[100, "b", 1]]) == (200, "ok")
        assert json.loads(client.get("/input/delete?inputid=1")[1]) is False
        assert [known.id for known in server.inputs.values()] == [3]

    def test_a_node_makes_a_device_which_stays(self, server, client):
        server.devices = []
        client.bulk([[100, "a", 1]])
        client.get("/input/delete?inputid=1")
        assert json.loads(client.get("/device/list.json")[1]) == [{"id": "1", "nodeid": "a"}]
        client.get("/device/delete.json?id=1")
        assert json.loads(client.get("/device/list.json")[1]) == []

    def test_the_key_of_a_device_writes_and_reads_nothing(self, server, client):
        assert client.bulk([[100, "9", 1]], key=server.device_key) == (200, "ok")
        refused = client.ask("GET", "/input/get?node=9", Authorization=f"Bearer {server.device_key}")
        assert refused == (401, "Invalid API key")

    def test_while_a_row_is_stored_its_keys_come_back_one_after_the_other(self, server, connect):
        server.pace = 60
        writing, reading = connect(server), connect(server)
        thread = threading.Thread(target=writing.bulk, args=([[100, "9", 1, 2]],))
        thread.start()
        wait_until(lambda: server.stored)
        assert list(json.loads(reading.get("/input/get?node=9")[1])) == ["1"]
        server.pace = 0
        server.release()
        thread.join()
        assert list(json.loads(reading.get("/input/get?node=9")[1])) == ["1", "2"]

    def test_keys_from_zero_come_back_as_a_list(self, client):
        client.bulk([[100, "9", {"0": 5}, {"1": 6}]])
        assert [one["value"] for one in json.loads(client.get("/input/get?node=9")[1])] == [5, 6]


class TestFeeds:
    """What the account of a write key may ask and change."""

    @pytest.fixture
    def ask(self, client):
        def ask(path, form=None, key=KEY, **query):
            path = f"/{path}.json?{urlencode(query)}"
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-www-form-urlencoded"}
            method, body = ("GET", None) if form is None else ("POST", urlencode(form))
            return json.loads(client.ask(method, path, body, **headers)[1])

        return ask

    def test_it_tells_its_version_to_anybody(self, server, client):
        assert client.ask("GET", "/version") == (200, "11.16.8")

    def test_a_feed_is_made_once_with_ten_seconds_at_least(self, ask):
        fields = {"tag": "9", "name": "flow", "engine": 5, "options": '{"interval":1}'}
        assert ask("feed/create", **fields) == {"success": True, "feedid": 1, "result": True}
        assert ask("feed/create", **fields)["message"] == "feed already exists"
        assert (
            ask("feed/create", **(fields | {"name": "T.1"}))["message"] == "invalid characters in feed name"
        )
        (feed,) = ask("feed/list", meta=1)
        assert feed == feed | {"id": "1", "tag": "9", "name": "flow", "interval": 10, "time": None}
        assert "interval" not in ask("feed/list")[0]
        assert ask("feed/getmeta", id=1)["interval"] == 10
        assert ask("feed/getmeta", id=7) == {"success": False, "message": "feed 7 does not exist"}

    @pytest.mark.parametrize(
        ("is_json", "given", "kept"),
        [
            (True, '[{"fn":"process__log_to_feed","args":[1]}]', "1:1"),
            (True, "1:1", ""),
            (True, '[{"fn":"process__log_to_feed","args":[7]}]', ""),
            (False, "1:1", "1:1"),
            (False, '[{"fn":"process__log_to_feed","args":[1]}]', ""),
        ],
    )
    def test_a_process_list_is_json_or_text_and_never_both(self, server, client, ask, is_json, given, kept):
        server.feeds.json_lists = is_json
        server.feeds.add("9", "flow")
        client.bulk([[100, "9", 1]])
        answer = ask("input/process/set", form={"processlist": given}, inputid=1)
        assert answer["success"] is bool(kept)
        assert ask("input/process/get", inputid=1) == kept

    def test_a_value_is_stored_in_its_slot_and_the_last_one_wins(self, server, client, ask):
        server.feeds.add("9", "flow")
        client.bulk([[100, "9", 1]])
        server.inputs["9", "1"].processes = "2:10,1:1"
        client.bulk([[119, "9", 2], [113, "9", 3], [131, "9", 4]])
        window = {"id": 1, "start": 100_000, "end": 130_000, "interval": 10}
        points = [[100, None], [110, 30], [120, None], [130, 40]]
        assert ask("feed/data", timeformat="unix", **window) == points
        assert ask("feed/data", **window) == [[time * 1000, value] for time, value in points]
        assert ask("feed/timevalue", id=1) == {"time": 131, "value": 40}
        assert ask("feed/data", **(window | {"end": 100_000}))["message"].startswith("Request end time")

    def test_an_unwritable_folder_shows_in_the_data_alone(self, server, client, ask):
        server.feeds.add("9", "flow")
        server.feeds.unwritable = True
        client.bulk([[100, "9", 1]])
        server.inputs["9", "1"].processes = "1:1"
        assert client.bulk([[110, "9", 2]]) == (200, "ok")
        assert ask("feed/timevalue", id=1) == {"time": 110, "value": 2}
        window = {"id": 1, "start": 110_000, "end": 120_000, "interval": 10}
        assert ask("feed/data", timeformat="unix", **window)[0] == [110, None]

    def test_a_range_with_an_infinity_in_it_is_an_empty_page(self, server, client):
        server.feeds.add("9", "flow").slots[100] = math.inf
        path = "/feed/data.json?id=1&start=100000&end=110000&interval=10"
        assert client.get(path) == (200, "")

    def test_a_description_is_plain(self, server, client, ask):
        client.bulk([[100, "9", 1]])
        assert ask("input/set", inputid=1, fields='{"description":"Küche 1.5"}')["success"] is True
        assert ask("input/list")[0]["description"] == "Küche 1.5"
        refused = ask("input/set", inputid=1, fields='{"description":"21 °C"}')
        assert refused["message"] == "invalid characters in input description"
        assert ask("input/set", inputid=7, fields='{"description":"x"}') is False

    def test_other_keys_change_nothing(self, server, client, ask):
        client.bulk([[100, "9", 1]])
        assert ask("input/process/set", form={"processlist": "1:1"}, key=READ_KEY, inputid=1) is False
        assert ask("feed/list", key="") is False
        assert client.ask("GET", "/feed/list.json", Authorization=server.device_key)[0] == 401

    def test_where_new_inputs_are_not_allowed_they_are_dropped_without_a_word(self, server, client):
        server.closed_to_new = True
        assert client.bulk([[100, "9", 1]]) == (200, "ok")
        assert server.inputs == {}

    def test_its_clock_may_be_wrong_or_hidden(self, server, client):
        for ahead, shown in ((7200, True), (None, False)):
            server.clock_ahead = ahead
            client.wire.request("GET", "/version")
            answer = client.wire.getresponse()
            answer.read()
            assert bool(answer.getheader("Date")) is shown


def test_a_batch_broken_off_in_its_middle(server, client):
    server.broken_off = 2
    assert client.bulk([[100, "9", n] for n in range(5)]) == (500, "")
    assert [kept.value for kept in server.stored] == [0, 1]
    assert client.get("/input/get?node=9") == (500, "")
