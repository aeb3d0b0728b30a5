"""`oemgateway emoncms`: what it says of a far end in every state, and what it makes there."""

from __future__ import annotations

import contextlib
import math
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.clock import Clock
from gateway.commands import main
from gateway.diagnosis.finding import Verdict
from gateway.dispatchers.emoncms.proof.findings import (
    Log,
    judge_clock,
    judge_input,
    judge_missing,
    judge_version,
)
from gateway.dispatchers.emoncms.proof.plan import FeedPlan
from gateway.dispatchers.emoncms.proof.provision import Provisioner
from gateway.dispatchers.emoncms.proof.records import Feed, Input
from gateway.dispatchers.emoncms.proof.row import TEST_NODE
from gateway.dispatchers.emoncms.proof.wanted import Wanted
from gateway.process import control
from gateway.version import MADE
from tests import gateway_process
from tests.gateway_process import GatewayProcess, state
from tests.ports import free_port
from tests.simulators.emoncms import FATAL, LOGIN_PAGE, NO_KEY, Answer, FakeEmoncms
from tests.simulators.emoncms_feeds import DamagedFeed
from tests.statuses import answer as status_answer
from tests.waiting import wait_until

BRIDGE = """[[bridge]]
type = ds2482
node = 9
interval = 10
sensor1 = 28.33F749050000, flow °C (cellar)
sensor2 = 28.DB564A050000, return
sensor3 = Dummy, attic
sensor4 = 28.AB1663050000
"""
RADIO = "[[radio]]\ntype = rfm12pi\n"
NODES = """[nodes]
[[8]]
names = power1, vrms
datacodes = h, h
[[tx]]
names = P1, T1
"""


@pytest.fixture(autouse=True)
def pauses(monkeypatch) -> list[float]:
    """The seconds of every pause, which take no time."""
    made: list[float] = []
    monkeypatch.setattr(Clock, "sleep", lambda _, seconds: made.append(seconds))
    return made


@pytest.fixture
def file(tmp_path, server) -> Path:
    file = tmp_path / "oemgateway.conf"
    file.touch(0o600)
    write(file, server, BRIDGE)
    return file


def write(file: Path, server: FakeEmoncms, listeners: str, nodes: str = "", **settings: object) -> None:
    entries = {"url": server.url, "apikey": server.key, "timeout": 5} | settings
    home = "".join(f"{key} = {value}\n" for key, value in entries.items())
    file.write_text(
        f"{state(file.parent)}[listeners]\n{listeners}{nodes}[dispatchers]\n[[home]]\ntype = emoncms\n{home}"
    )


@dataclass
class Said:
    """What the command said, and its status."""

    status: int
    lines: list[str]

    def __contains__(self, pattern: str) -> bool:
        return any(re.search(pattern, line) for line in self.lines)

    def of(self, node: str) -> list[str]:
        """Return the lines on a node's inputs, with their ages taken out."""
        return [
            re.sub(r" of \d+ s ago", "", line.replace(" home: node ", " "))
            for line in self.lines
            if f" home: node {node}" in line
        ]


@pytest.fixture
def emoncms(file, capsys):
    """Run `oemgateway emoncms` to its end."""

    def run(*arguments: str) -> Said:
        status = main.main(["--config-file", str(file), "emoncms", *arguments])
        printed = capsys.readouterr()
        return Said(status, (printed.out + printed.err).splitlines())

    return run


def send(server: FakeEmoncms, node: str, ago: float = 0, **values: float) -> None:
    """Let readings arrive, by key (_1 is 1)."""
    server._take_values(
        int(time.time() - ago), node, {key.strip("_"): value for key, value in values.items()}
    )


def log(server: FakeEmoncms, key: str, name: str, interval: int = 10) -> None:
    """Let an input of node 9 be logged to a feed."""
    send(server, "9", **{key: 0.0})
    server.inputs["9", key].processes = f"1:{server.feeds.add('9', name, interval).id}"


def made(server: FakeEmoncms) -> dict:
    """Return all that may be made there."""
    return {
        "feeds": [(feed.tag, feed.name, feed.interval) for feed in server.feeds.by_id.values()],
        "units": [feed.unit for feed in server.feeds.by_id.values()],
        "inputs": {
            place: (there.description, there.processes)
            for place, there in server.inputs.items()
            if place[0] != "oemgateway-test"
        },
    }


class TestTheLadder:
    def test_a_far_end_that_is_all_right(self, server, emoncms):
        for key, name in {"1": "flow", "2": "return", "4": "tank"}.items():
            log(server, key, name)
        send(server, "9", _1=18.6875, _2=17.5, _4=-3.0)
        said = emoncms()
        assert said.status == 0
        assert said.lines[:5] == [
            f"ok    home: {server.url} answers",
            "ok    home: its clock and this machine's agree to 1 s",
            "ok    home: it is Emoncms 11.16.8",
            "ok    home: the key may write",
            "ok    home: a test row came back as it was sent, and was deleted again",
        ]
        assert said.of("9") == [
            "ok    9, 1 flow °C (cellar): 18.6875 is in feed 1 (9: flow)",
            "ok    9, 2 return: 17.5 is in feed 2 (9: return)",
            "ok    9, 4: -3 is in feed 3 (9: tank)",
        ]
        assert len(said.lines) == 8

    def test_the_test_row_is_all_that_is_sent_and_has_a_node_of_its_own(self, server, emoncms):
        send(server, "9", _1=18.6875)
        before = made(server)
        emoncms()
        assert made(server) == before
        (row,) = [stored for stored in server.stored if stored.node != "9"]
        assert (row.node, row.key) == ("oemgateway-test", "1")
        assert abs(row.time - time.time()) < 60

    @pytest.mark.parametrize("devices", [None, []])
    def test_and_nothing_of_it_stays(self, server, emoncms, devices):
        # given what a run before has left
        server.devices = devices
        send(server, TEST_NODE, _1=5.0)
        send(server, "9", _1=18.6875)
        assert "test row came back as it was sent, and was deleted again" in emoncms()
        assert list(server.inputs) == [("9", "1")]
        assert server.devices == (None if devices is None else ["9"])

    def test_unless_it_cannot_be_deleted_which_is_said(self, server, emoncms, monkeypatch):
        monkeypatch.setattr(server, "_of_input", lambda *_: Answer(body="false"))
        said = emoncms()
        assert f"came back as it was sent, and may be deleted there: node {TEST_NODE}, 1$" in said
        assert said.status == 0

    def test_it_is_all_the_same_without_redis(self, server, emoncms):
        # given a server that shows 6 digits, and a counter whose feed has all of them
        server.redis = False
        log(server, "1", "flow")
        send(server, "9", _1=1234567.0)
        said = emoncms()
        assert said.status == 0
        assert "a test row came back as it was sent" in said
        assert "node 9, 1 flow.*: 1234570 .* is in feed 1" in said
        sent = server.stored[-1].value
        assert sent == float(f"{sent:.6g}")

    def test_the_test_row_has_the_time_of_the_server(self, server, emoncms):
        server.clock_ahead = -7200
        said = emoncms()
        assert "FAULT home: its clock is 2 hours behind this machine's: set the one that is wrong" in said
        assert said.status == 1
        assert abs(server.stored[-1].time - (time.time() - 7200)) < 60

    def test_a_clock_that_is_not_shown(self, server, emoncms):
        server.clock_ahead = None
        said = emoncms()
        assert said.status == 0
        assert r"^\?     home: it does not show its clock" in said

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (LOGIN_PAGE, "it does not tell its version, but: Emoncms Login"),
            (Answer(), "it does not tell its version, but: nothing"),
            (Answer(406, '{"success":false}'), "but: 406 {"),
            (Answer(500), "but: 500"),
        ],
    )
    def test_without_a_version_it_goes_on(self, server, emoncms, answer, words):
        server.canned = [answer]
        said = emoncms()
        assert words in "\n".join(said.lines)
        assert "the key may write" in said
        assert said.status == 0

    def test_a_server_that_is_not_there_ends_it(self, server, emoncms):
        server.stop()
        said = emoncms()
        assert said.status == 1
        assert said.lines == [
            f"FAULT home: {server.url}: not reached (Connection refused): is the server up, and is url right?"
        ]

    def test_a_redirect_is_not_followed_with_the_key(self, server, emoncms):
        with FakeEmoncms() as elsewhere:
            server.canned = [Answer(301, "", {"Location": f"{elsewhere.url}/version"})]
            said = emoncms()
            assert said.lines == [f"FAULT home: it redirects to {elsewhere.url}: put that address in url"]
            assert elsewhere.requests == []

    def test_a_ca_file_that_is_none_ends_it(self, server, file, emoncms):
        write(file, server, BRIDGE, ca_file="/nowhere.pem")
        said = emoncms()
        assert (said.status, len(said.lines)) == (1, 1)
        assert "^FAULT home: ca_file /nowhere.pem: PEM certificates expected" in said

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("wrong", "it refuses the key: put the write key of the Emoncms account in apikey"),
            ("read_key", "it answers nothing, as it does to a read key: apikey must be the write key"),
            (
                "device_key",
                "cannot be read back, as with the key of a single device: put the account's write",
            ),
        ],
    )
    def test_a_key_that_will_not_do_ends_it(self, server, file, emoncms, key, words):
        write(file, server, BRIDGE, apikey=getattr(server, key, "0" * 31))
        said = emoncms("--provision")
        assert said.status == 1
        assert said.lines[-1].startswith("FAULT home: ")
        assert words in said.lines[-1]
        assert made(server) == {"feeds": [], "units": [], "inputs": {}}

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (FATAL, "its database or Redis is in trouble"),
            (Answer(body="Device not initialized."), "apikey is the key of a single device"),
            (NO_KEY, "read key"),
            (Answer(404), "404 to /input/bulk: check url"),
            (
                Answer(body="<title>Hotel</title>"),
                'a web page answers that is not Emoncms ("Hotel"): check url',
            ),
        ],
    )
    @pytest.mark.parametrize("step", ["key", "row"])
    def test_an_answer_that_is_none_ends_it(self, server, emoncms, step, answer, words):
        fine = [Answer(body="11.16.8"), Answer(body='{"success":false,"message":"Format error, x"}')]
        server.canned = [*fine[: 1 if step == "key" else 2], answer]
        said = emoncms()
        assert said.status == 1
        assert said.lines[-1].startswith("FAULT home: ")
        assert words in said.lines[-1]

    def test_where_no_node_may_be_added_the_rest_is_looked_at(self, server, emoncms):
        send(server, "9", _1=5.0)
        server.max_nodes = 1
        said = emoncms()
        assert said.status == 0
        assert r"^\?     home: no node can be added: .* all the 1 nodes it allows .*; there are 9$" in said
        assert "a test row came back as it was sent, and was deleted again" in said
        assert "node 9, 1 flow" in said
        # and the row was an input of a node that is there, and is gone
        row = server.stored[-1]
        assert (row.node, row.key) == ("9", TEST_NODE)
        assert list(server.inputs) == [("9", "1")]

    def test_a_node_of_ours_that_is_refused_is_a_fault(self, server, emoncms):
        send(server, "10", _1=5.0)
        server.max_nodes = 1
        said = emoncms()
        assert said.status == 1
        assert "^FAULT home: node 9 is refused: the account has all the nodes it allows: delete nodes" in said
        assert "inputs come with their first reading" not in said

    def test_so_it_is_where_even_the_first_is_refused(self, server, emoncms):
        server.max_nodes = 0
        said = emoncms()
        assert r"^\?     home: a test row is not taken: .* refuses node oemgateway-test" in said

    def test_where_new_inputs_are_dropped_that_is_a_fault(self, server, emoncms):
        server.closed_to_new = True
        said = emoncms()
        assert said.status == 1
        assert "^FAULT home: a test row is taken and dropped.*: allow new inputs there" in said

    @pytest.mark.parametrize("answer", [LOGIN_PAGE, Answer(body="false"), Answer(body="{}}")])
    def test_a_list_of_inputs_that_is_none_is_named(self, server, emoncms, answer):
        fine = [
            Answer(body="11.16.8"),
            Answer(body="Format error, x"),
            Answer(body="ok"),
            Answer(body='"Node does not exist"'),
        ]
        server.canned = [*fine, answer]
        said = emoncms()
        assert said.status == 1
        assert re.match("FAULT home: (JSON expected from|it answers to) /input/list", said.lines[-1])

    def test_certificates_are_those_of_the_dispatcher(self, file, emoncms, server):
        # given a server that speaks no TLS at the address of one that should
        write(file, server, BRIDGE, url=server.url.replace("http:", "https:"))
        said = emoncms()
        assert (said.status, len(said.lines)) == (1, 1)
        assert "no https is spoken at this port: write http:// in url" in said


class TestInputs:
    def test_what_is_not_there_yet_comes_with_its_first_reading(self, file, server, emoncms):
        write(file, server, BRIDGE, NODES)
        send(server, "9", _1=5.0, _2=6.0)
        said = emoncms()
        assert said.status == 0
        later = "inputs come with their first reading: run this again then"
        assert said.of("9")[2:] == [f"?     9: nothing has come yet for 4: {later}"]
        assert said.of("8") == [f"?     8: nothing has come yet for 1 power1, 2 vrms: {later}"]

    def test_what_is_not_logged_is_told_once_with_the_way_out(self, server, emoncms):
        send(server, "9", _1=5.0, _2=6.0, _4=7.0)
        server.inputs["9", "2"].processes = "2:10"
        said = emoncms()
        assert said.of("9") == [
            "?     9, 1 flow °C (cellar): 5, not logged to any feed",
            "?     9, 2 return: 6, not logged to any feed, but processed: 2:10",
            "?     9, 4: 7, not logged to any feed",
        ]
        assert r"^\?     home: inputs that are not logged: 3 of 3: oemgateway emoncms --provision" in said
        assert said.status == 0

    def test_a_feed_that_does_not_keep_what_it_is_given_is_a_fault(self, server, emoncms, pauses):
        log(server, "1", "flow")
        server.feeds.unwritable = True
        send(server, "9", _1=6.0)
        said = emoncms()
        assert said.status == 1
        assert (
            r"^FAULT .* 1 flow .*: 6 of \d+ s ago is not in feed 1 .*: it takes values and keeps none" in said
        )
        # but not before it was looked at again
        assert pauses == [1.0, 1.0]

    def test_a_value_that_arrives_between_two_looks_is_no_fault(self, server, emoncms, monkeypatch):
        log(server, "1", "flow")
        server.feeds.unwritable = True
        send(server, "9", _1=6.0)

        def next_reading(*_):
            server.feeds.unwritable = False
            send(server, "9", _1=7.0)

        monkeypatch.setattr(Clock, "sleep", next_reading)
        said = emoncms()
        assert said.status == 0
        assert said.of("9")[0] == "ok    9, 1 flow °C (cellar): 7 is in feed 1 (9: flow)"

    def test_a_feed_that_gets_values_from_elsewhere_too(self, server, emoncms):
        log(server, "1", "flow", interval=3600)
        send(server, "9", _1=6.0)
        server.feeds.by_id[1].put(server.inputs["9", "1"].time, 60.0)
        said = emoncms()
        assert said.status == 1
        assert r"^FAULT .*: 6 of \d+ s ago, but feed 1 .* has 60: look on the page Inputs" in said

    def test_a_feed_that_cannot_be_read_does_not_hide_the_others(self, server, emoncms):
        log(server, "1", "flow")
        log(server, "2", "return")
        send(server, "9", _1=math.inf, _2=6.0)
        server.inputs["9", "1"].value = 1.0
        said = emoncms()
        assert "^FAULT .*; feed 1 .* cannot be read: JSON expected from /feed/data.json, not an empty" in said
        assert "^ok .* 2 return: 6 " in said

    @pytest.mark.parametrize("meta", [True, False])
    def test_a_damaged_feed_is_named(self, server, emoncms, meta):
        server.feeds.meta = meta
        for key in ("1", "2"):
            log(server, key, f"feed {key}")
        server.feeds.by_id[2].interval = 0
        with contextlib.suppress(DamagedFeed):
            send(server, "9", _1=5.0, _2=6.0)
        said = emoncms()
        assert said.status == 1
        assert r"^ok .* 5 of \d+ s ago is in feed 1 " in said
        assert '^FAULT .* 6 of .*; feed 2 .* cannot be read: .*"interval": 0.* put it back .*retry$' in said

    def test_an_input_that_is_there_without_a_value(self, server, emoncms):
        send(server, "9", _1=5.0)
        server.inputs["9", "1"].time = server.inputs["9", "1"].value = None
        assert emoncms().of("9")[0] == (
            "?     9, 1 flow °C (cellar): it is there, and gets its first value with the next reading"
        )

    def test_names_as_keys(self, file, server, emoncms):
        write(file, server, BRIDGE, keys="name")
        send(server, "9", **{"flow C cellar": 5.0, "return": 6.0, "4": 7.0})
        said = emoncms()
        assert [line.partition(":")[0] for line in said.of("9")] == [
            "?     9, flow C cellar flow °C (cellar)",
            "?     9, return",
            "?     9, 4",
        ]

    def test_a_node_whose_values_come_by_name(self, file, server, emoncms):
        write(file, server, RADIO, NODES)
        send(server, "tx", P1=100.0, T1=20.0)
        assert [line.partition(":")[0] for line in emoncms().of("tx")] == ["?     tx, P1", "?     tx, T1"]

    def test_all_that_is_in_a_node_is_ours_where_its_device_says_what_there_is(self, file, server, emoncms):
        write(file, server, "[[meter]]\ntype = keyvalue\nnode = tx\n" + BRIDGE)
        send(server, "tx", P1=100.0, T1=20.0)
        send(server, "elsewhere", _1=1.0)
        said = emoncms()
        assert [line.partition(":")[0] for line in said.of("tx")] == ["?     tx, P1", "?     tx, T1"]
        assert "not looked at" not in said

    def test_inputs_of_nobody_are_named_where_some_may_be_from_here(self, file, server, emoncms):
        send(server, "9", _1=5.0)
        send(server, "10", _1=5.0, _2=6.0)
        assert "not looked at" not in emoncms()
        write(file, server, BRIDGE + RADIO)
        said = emoncms()
        assert r"^\?     home: not looked at, as they may be of others: node 10 \(2 inputs\): where" in said
        assert said.status == 0


class TestProvision:
    @pytest.mark.parametrize("json_lists", [True, False])
    def test_it_makes_what_is_missing_and_nothing_the_second_time(self, server, emoncms, json_lists):
        server.feeds.json_lists = json_lists
        send(server, "9", _1=5.0, _2=6.0, _4=7.0)
        said = emoncms("--provision")
        assert said.status == 0
        feed_1 = "made feed 1 (9: flow C cellar): a value every 10 s, of node 9, 1 flow °C (cellar), in °C"
        assert [line for line in said.lines if " made " in line] == [
            "ok    home: made the description of node 9, 1: flow C cellar",
            f"ok    home: {feed_1}",
            "ok    home: made the description of node 9, 2: return",
            "ok    home: made feed 2 (9: return): a value every 10 s, of node 9, 2 return, in °C",
            "ok    home: made feed 3 (9: index 4): a value every 10 s, of node 9, 4, in °C",
        ]
        assert "1 flow .* feed 1 .* gets its first value with the next reading" in said
        after = made(server)
        assert after == {
            "feeds": [("9", "flow C cellar", 10), ("9", "return", 10), ("9", "index 4", 10)],
            "units": ["°C", "°C", "°C"],
            "inputs": {
                ("9", "1"): ("flow C cellar", "1:1"),
                ("9", "2"): ("return", "1:2"),
                ("9", "4"): ("", "1:3"),
            },
        }
        # when the next readings have come and it is run again
        send(server, "9", _1=5.5, _2=6.5, _4=7.5)
        again = emoncms("--provision")
        # then all is well, and nothing is made
        assert again.status == 0
        assert "^ok    home: nothing is made" in again
        assert len([line for line in again.lines if " is in feed " in line]) == 3
        assert made(server) == after

    def test_a_name_that_its_database_cannot_keep_stops_nothing_else(self, file, server, emoncms):
        # given a server whose tables are in latin1
        server.charset = "latin-1"
        write(file, server, RADIO, "[nodes]\n[[8]]\nnames = Łazienka, flow\n")
        send(server, "8", _1=5.0, _2=6.0)
        said = emoncms("--provision")
        # then what it does not take is said, and the rest is made
        assert said.status == 1
        assert "FAULT home: node 8, 1 Łazienka: nothing is made: its database cannot keep a name" in said
        assert server.inputs["8", "2"].description == "flow"

    def test_what_exists_is_left_as_it_is(self, server, emoncms):
        send(server, "9", _1=5.0, _2=6.0, _4=7.0)
        server.feeds.add("old", "something")
        server.inputs["9", "1"].processes = "2:10"
        server.inputs["9", "1"].description = "mine"
        server.inputs["9", "2"].processes = "1:1"
        before = made(server)
        emoncms("--provision")
        after = made(server)
        assert after["feeds"] == [*before["feeds"], ("9", "index 4", 10)]
        assert after["inputs"] == before["inputs"] | {
            ("9", "2"): ("return", "1:1"),  # its description was empty
            ("9", "4"): ("", "1:2"),
        }

    @pytest.mark.parametrize("tag", ["9", "heating", ""])  # under 9 it has another case
    def test_a_feed_of_that_name_is_not_touched_and_no_second_one_is_made(self, server, emoncms, tag):
        send(server, "9", _2=6.0)
        taken = server.feeds.add(tag, "Return")
        said = emoncms("--provision")
        where = f"{tag}: Return" if tag else "Return"
        assert (
            rf"^\?     home: node 9, 2 return: feed 1 \({where}\) has that name already, and is left" in said
        )
        assert list(server.feeds.by_id.values()) == [taken]
        assert made(server)["inputs"]["9", "2"] == ("return", "")
        assert said.status == 0

    def test_the_same_name_under_another_node_is_another_feed(self, server, emoncms):
        send(server, "19", _1=20.0)
        send(server, "9", _2=6.0)
        server.feeds.add("19", "return")
        emoncms("--provision")
        assert made(server)["feeds"][1:] == [("9", "return", 10)]

    def test_a_feed_that_is_refused_does_not_keep_the_others_from_being_made(self, server, emoncms):
        send(server, "9", _2=6.0, _4=7.0)
        create = server.feeds._create
        server.feeds._create = lambda params: (
            {"success": False, "message": "disk full"} if params["name"] == "return" else create(params)
        )
        said = emoncms("--provision")
        assert (
            "^FAULT home: node 9, 2 return: nothing is made: it answers to /feed/create: disk full$" in said
        )
        assert said.status == 1
        assert made(server)["feeds"] == [("9", "index 4", 10)]

    def test_a_feed_that_a_full_disk_does_not_keep_is_deleted_again(self, server, emoncms):
        # given what Emoncms makes then: each reading for it would end in a division by zero
        send(server, "9", _2=6.0)
        server.feeds.full = True
        said = emoncms("--provision")
        assert "node 9, 2 return: nothing is made: the feed that it makes is not written: make room" in said
        assert made(server)["feeds"] == []
        assert made(server)["inputs"]["9", "2"][1] == ""
        server.feeds.full = False
        emoncms("--provision")
        assert made(server)["feeds"] == [("9", "return", 10)]

    def test_a_feed_that_nothing_can_be_logged_to_is_the_last_one(self, server, emoncms):
        send(server, "9", _2=6.0, _4=7.0)
        server.feeds.set_list = lambda _: ({"success": False, "message": "Invalid process"}, "")
        said = emoncms("--provision")
        assert "^FAULT .* made feed 1 .*, but node 9, 2 return is not logged to it: .*Invalid process" in said
        assert said.status == 1
        assert made(server)["feeds"] == [("9", "return", 10)]

    def test_processes_that_somebody_has_just_given_are_left_alone(self, server, emoncms):
        send(server, "9", _4=7.0)
        answer = server.feeds.answer

        def meanwhile(action, params):
            server.inputs["9", "4"].processes = "2:10"
            return answer(action, params)

        server.feeds.answer = meanwhile
        said = emoncms("--provision")
        assert "somebody has just given it processes" in said
        assert made(server) == {"feeds": [], "units": [], "inputs": {("9", "4"): ("", "2:10")}}

    def test_what_was_made_before_the_server_went_is_told(self, server, emoncms):
        send(server, "9", _2=6.0, _4=7.0)
        create = server.feeds._create

        def once(params):
            server.html_fatal = math.inf if server.feeds.by_id else 0
            return create(params)

        server.feeds._create = once
        said = emoncms("--provision")
        assert "made feed 1" in said
        assert "^FAULT .* made feed 2 .*, but node 9, 4 is not logged to it: its database or Redis" in said
        assert said.status == 1


class TestUnits:
    def test_what_nodes_says_is_the_unit_of_the_feed(self, file, server, emoncms):
        write(
            file, server, RADIO, "[nodes]\n[[8]]\nnames = power1, temp, flow\nunits = W, C, averylongunit\n"
        )
        send(server, "8", _1=100.0, _2=20.0, _3=1.0)
        assert emoncms("--provision").status == 0
        assert made(server)["units"] == ["W", "°C", ""]

    def test_one_that_the_database_cannot_keep_is_left_out(self, file, server, emoncms):
        # given a server whose tables are in latin1
        server.charset = "latin-1"
        write(file, server, RADIO, "[nodes]\n[[8]]\nnames = load, temp\nunits = Ω, C\n")
        send(server, "8", _1=100.0, _2=20.0)
        # then the feed is made without it, and that is said
        said = emoncms("--provision")
        assert r"^\?     home: made feed 1 \(8: load\): .* without a unit: its database cannot keep Ω" in said
        assert made(server)["units"] == ["", "°C"]
        assert server.inputs["8", "1"].processes == "1:1"
        # and the next time the rest is not stopped by it either
        assert r"^\?     home: feed 1 \(8: load\) gets no unit, Ω: " in emoncms("--provision")

    def test_so_it_does_for_values_that_come_by_name(self, file, server, emoncms):
        write(file, server, RADIO, "[nodes]\n[[tx]]\nnames = P1, T1\nunits = W, C\n")
        send(server, "tx", T1=20.0, P1=100.0)
        emoncms("--provision")
        assert sorted(zip(made(server)["feeds"], made(server)["units"], strict=True)) == [
            (("tx", "P1", 10), "W"),
            (("tx", "T1", 10), "°C"),
        ]

    def test_a_feed_without_one_is_given_it_and_any_other_keeps_what_it_has(self, server, emoncms):
        for key, name in {"1": "flow", "2": "return", "4": "tank"}.items():
            log(server, key, name)
        server.feeds.by_id[2].unit = "F"
        server.inputs["9", "4"].processes = "2:10,1:3"  # scaled there
        said = emoncms("--provision")
        assert r"^ok    home: made the unit of feed 1 \(9: flow\): °C$" in said
        assert made(server)["units"] == ["°C", "F", ""]
        assert r"made the unit" not in emoncms("--provision")

    def test_a_server_that_tells_no_units_is_given_none(self, server, emoncms):
        log(server, "1", "flow")
        shown = server.feeds._shown
        server.feeds._shown = lambda feed, **how: {
            key: value for key, value in shown(feed, **how).items() if key != "unit"
        }
        said = emoncms("--provision")
        assert "made the unit" not in said
        assert said.status == 0


class TestInputsThatGetNothingAnyMore:
    """No feed is made for them, and they are named."""

    def test_indices_after_keys_became_names(self, file, server, emoncms):
        # given a node of the configuration, and one that a gateway hears, each by index until a moment ago
        write(file, server, BRIDGE + RADIO, NODES, keys="name")
        send(server, "9", _1=5.0, _2=6.0, _4=7.0)
        send(server, "9", **{"flow C cellar": 5.0, "return": 6.0})
        send(server, "8", _1=1.0, _2=2.0)
        send(server, "8", power1=1.0, vrms=2.0)
        said = emoncms("--provision")
        assert [name for _, name, _ in made(server)["feeds"]] == [
            "flow C cellar",
            "return",
            "index 4",
            "power1",
            "vrms",
        ]
        assert made(server)["inputs"]["9", "1"] == ("", "")
        assert (
            r"^\?     home: node 9: nothing goes to 1, 2 any more: what is not needed may be deleted" in said
        )
        assert said.status == 0

    def test_names_after_keys_became_indices(self, file, server, emoncms):
        send(server, "9", **{"flow C cellar": 5.0, "return": 6.0})
        send(server, "9", _1=5.0, _2=6.0)
        said = emoncms("--provision")
        assert [name for _, name, _ in made(server)["feeds"]] == ["flow C cellar", "return"]
        assert "nothing goes to return, flow C cellar any more" in said

    @pytest.fixture
    def heard(self, file, server, monkeypatch):
        """Let a running gateway have heard this frame last, of a node that no configuration names."""

        def hear(frame: dict, **settings: object) -> None:
            write(file, server, RADIO, **settings)
            answers = {
                "status": status_answer(file=str(file)),
                "nodes": {"radio": [{"unix": 100.0, "source": "radio"} | frame]},
            }
            monkeypatch.setattr(control, "ask", lambda _, what, **__: answers[what])

        return hear

    def test_of_a_node_that_was_heard(self, server, emoncms, heard):
        names = {"1": "power1", "2": "vrms"}
        heard({"node": "10", "values": {"1": 1.0, "2": None}, "names": names}, keys="name")
        send(server, "10", _1=1.0, _2=2.0, _3=3.0, power1=1.0, vrms=2.0, temp=3.0)
        said = emoncms("--provision")
        # then one without a value this time, and one of a longer frame, are ours
        assert sorted(name for _, name, _ in made(server)["feeds"]) == ["index 3", "power1", "vrms"]
        assert "node 10: nothing goes to 1, 2, temp any more" in said
        assert "not looked at" not in said

    def test_a_device_that_posts_by_index_has_the_names_that_nodes_gives_it(self, server, emoncms, heard):
        # given a device at a listener http, which had a value at its second index before
        nodes = "[nodes]\n[[emontx]]\nnames = power1, temp\nunits = W, C\n"
        heard({"node": "emontx", "values": {"1": 100.0, "2": None}}, nodes=nodes)
        send(server, "emontx", _1=100.0, _2=20.5)
        emoncms("--energy")
        assert [name for _, name, _ in made(server)["feeds"]] == ["power1", "power1_kwh", "temp"]
        assert made(server)["units"] == ["W", "kWh", "°C"]
        assert made(server)["inputs"] == {
            ("emontx", "1"): ("power1", "1:1,4:2"),
            ("emontx", "2"): ("temp", "1:3"),
        }

    def test_of_a_node_whose_names_come_with_it(self, server, emoncms, heard):
        heard({"node": "tx", "values": {"1": 1.0}, "names": {"1": "P1"}, "by_name": True})
        send(server, "tx", ago=3700, Old=1.0)
        send(server, "tx", ago=300, Sometimes=1.0)
        send(server, "tx", P1=1.0)
        said = emoncms("--provision")
        assert sorted(name for _, name, _ in made(server)["feeds"]) == ["P1", "Sometimes"]
        assert "node tx: nothing goes to Old any more" in said

    def test_of_a_device_that_is_not_heard_now(self, file, server, emoncms):
        write(file, server, "[[meter]]\ntype = keyvalue\nnode = tx\n")
        send(server, "tx", ago=9000, Old=1.0)
        send(server, "tx", ago=5000, P1=1.0, T1=2.0)
        server.inputs["tx", "T1"].time = None
        emoncms("--provision")
        assert [name for _, name, _ in made(server)["feeds"]] == ["P1"]


class TestAnInputThatWasMadeAnew:
    def test_it_is_logged_to_the_feed_of_its_name_again(self, server, emoncms):
        send(server, "9", _1=5.0, _2=6.0)
        emoncms("--provision")
        before = made(server)
        # when an input is deleted there, and the next reading makes it anew
        del server.inputs["9", "2"]
        send(server, "9", _1=5.0, _2=6.0)
        said = emoncms("--provision")
        assert r"^ok    home: logged node 9, 2 return to feed 2 \(9: return\) again, which was there$" in said
        assert made(server) == before
        send(server, "9", _1=5.5, _2=6.5)
        assert server.feeds.by_id[2].value == 6.5
        assert "^ok    home: nothing is made" in emoncms("--provision")

    def test_under_a_name_for_a_key_it_goes_on_where_the_index_left_off(self, file, server, emoncms):
        send(server, "9", _1=5.0, _2=6.0, _4=7.0)
        emoncms("--provision")
        write(file, server, BRIDGE, keys="name")
        send(server, "9", **{"flow C cellar": 5.0, "return": 6.0, "4": 7.0})
        emoncms("--provision")
        assert len(made(server)["feeds"]) == 3
        assert made(server)["inputs"]["9", "return"][1] == made(server)["inputs"]["9", "2"][1] == "1:2"

    def test_so_it_does_for_a_node_that_was_not_heard(self, file, server, emoncms):
        write(file, server, RADIO, NODES)
        send(server, "8", _1=5.0, _2=6.0)
        emoncms("--provision")
        write(file, server, RADIO, NODES, keys="name")
        send(server, "8", power1=5.0, vrms=6.0)
        send(server, "8", _7=1.0)  # nobody knows what that is
        said = emoncms("--provision")
        assert made(server)["inputs"]["8", "power1"][1] == "1:1"
        assert "node 8: nothing goes to 1, 2 any more" in said
        assert r"not looked at, as they may be of others: node 8 \(1 input\)" in said

    @pytest.mark.parametrize(
        ("feed", "why"),
        [
            ({"engine": 7}, "is of a kind that takes no values"),
            ({"unit": "W"}, "is in W"),
            ({}, "is filled by node elsewhere, 1"),
        ],
    )
    def test_not_to_a_feed_that_is_something_else(self, server, emoncms, feed, why):
        send(server, "9", _2=6.0)
        server.feeds.add("9", "return", **feed)
        if not feed:
            send(server, "elsewhere", _1=1.0)
            server.inputs["elsewhere", "1"].processes = "1:1"
        before = made(server)["feeds"]
        said = emoncms("--provision")
        assert rf"feed 1 \(9: return\) has that name already, {why}, and is left alone" in said
        assert made(server)["feeds"] == before
        assert made(server)["inputs"]["9", "2"] == ("return", "")
        assert said.status == 0


POWER = "[nodes]\n[[8]]\nnames = power1, vrms\ndatacodes = h, h\nunits = W, V\n"


class TestEnergy:
    def test_a_power_has_a_feed_of_kwh_beside_its_own(self, file, server, emoncms):
        write(file, server, RADIO, POWER)
        send(server, "8", _1=100.0, _2=230.0)
        said = emoncms("--energy")
        assert said.status == 0
        assert [line for line in said.lines if " made feed" in line] == [
            "ok    home: made feed 1 (8: power1): a value every 10 s, of node 8, 1 power1, in W",
            "ok    home: made feed 2 (8: power1_kwh): the kWh of node 8, 1 power1",
            "ok    home: made feed 3 (8: vrms): a value every 10 s, of node 8, 2 vrms, in V",
        ]
        assert made(server) == {
            "feeds": [("8", "power1", 10), ("8", "power1_kwh", 10), ("8", "vrms", 10)],
            "units": ["W", "kWh", "V"],
            "inputs": {("8", "1"): ("power1", "1:1,4:2"), ("8", "2"): ("vrms", "1:3")},
        }
        # when it is run again, whichever way, nothing more is made
        after = made(server)
        for option in ("--energy", "--provision"):
            assert "^ok    home: nothing is made" in emoncms(option)
        assert made(server) == after
        # and the feed of the power is looked at as it was
        send(server, "8", _1=120.0, _2=231.0)
        assert "8, 1 power1: 120 .* is in feed 1" in emoncms()

    def test_without_it_none_is_made(self, file, server, emoncms):
        write(file, server, RADIO, POWER)
        send(server, "8", _1=100.0)
        emoncms("--provision")
        assert made(server)["feeds"] == [("8", "power1", 10)]

    def test_an_input_that_is_only_logged_is_given_it_later(self, file, server, emoncms):
        write(file, server, RADIO, POWER)
        send(server, "8", _1=100.0)
        emoncms("--provision")
        emoncms("--energy")
        assert made(server)["inputs"]["8", "1"][1] == "1:1,4:2"

    def test_a_list_of_somebodys_own_is_left_alone(self, file, server, emoncms):
        write(file, server, RADIO, POWER)
        send(server, "8", _1=100.0)
        server.inputs["8", "1"].processes = "2:10,1:1"
        said = emoncms("--energy")
        assert (
            r"^\?     home: node 8, 1 power1: it has a process list of its own, .*: add Power to kWh" in said
        )
        assert made(server)["feeds"] == []

    def test_its_feed_is_found_again_too(self, file, server, emoncms):
        write(file, server, RADIO, POWER)
        send(server, "8", _1=100.0)
        emoncms("--energy")
        del server.inputs["8", "1"]
        send(server, "8", _1=100.0)
        emoncms("--energy")
        assert made(server)["inputs"]["8", "1"][1] == "1:1,4:2"
        assert len(made(server)["feeds"]) == 2

    def test_a_feed_of_kwh_that_was_deleted_is_made_anew_as_it_says(self, file, server, emoncms):
        write(file, server, RADIO, POWER)
        send(server, "8", _1=100.0)
        emoncms("--energy")
        del server.feeds.by_id[2]
        said = emoncms("--energy")
        assert said.status == 1
        assert "^FAULT .* 8, 1 power1: its kWh go to feed 2, which does not exist: .* --energy then" in said
        # when its owner does so
        server.inputs["8", "1"].processes = "1:1"
        assert r"made feed \d+ .8: power1_kwh." in emoncms("--energy")

    def test_no_feed_is_promised_for_an_input_that_keeps_other_processes(self, file, server, emoncms):
        write(file, server, RADIO, POWER)
        send(server, "8", _1=100.0)
        emoncms("--energy")
        del server.feeds.by_id[1]
        (line,) = [line for line in emoncms().lines if "does not exist" in line]
        assert "--provision" not in line
        assert "take that out of its process list and log it to a new feed" in line

    def test_a_name_that_another_input_needs_is_not_taken(self, file, server, emoncms):
        write(file, server, RADIO, "[nodes]\n[[8]]\nnames = power1, power1_kwh\nunits = W, kWh\n")
        send(server, "8", _1=100.0, _2=5.0)
        said = emoncms("--energy")
        assert "the feed of another input is to have its name" in said
        assert [name for _, name, _ in made(server)["feeds"]] == ["power1", "power1_kwh"]
        assert made(server)["inputs"]["8", "1"][1] == "1:1"

    def test_a_feed_of_kwh_that_is_refused_is_named_with_what_was_made(self, file, server, emoncms):
        write(file, server, RADIO, POWER)
        send(server, "8", _1=100.0)
        create = server.feeds._create
        server.feeds._create = lambda params: (
            create(params) if "kwh" not in params["name"] else {"success": False, "message": "disk full"}
        )
        said = emoncms("--energy")
        assert "^FAULT .* made feed 1 .*, but node 8, 1 power1 is not logged to it: .*disk full" in said
        assert said.status == 1


class TestOfARunningGateway:
    def test_the_nodes_that_it_has_heard_are_ours(self, file, server, emoncms):
        # given a gateway whose nodes no configuration names, and another gateway's inputs at the server
        port = free_port()
        write(file, server, f"[[push]]\ntype = tcp\nport = {port}\n", interval=0)
        send(server, "elsewhere", _1=1.0)
        with GatewayProcess(file):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"10 100 200\r\n")
            wait_until(lambda: server.values("10") == {"1": 100, "2": 200})
            # when it is asked
            said = emoncms("--provision")
        # then its own are provided for, and the others left alone
        assert [feed[:2] for feed in made(server)["feeds"]] == [("10", "index 1"), ("10", "index 2")]
        assert r"not looked at, .*: node elsewhere \(1 input\): " in said

    def test_a_key_that_its_last_frame_did_not_have_is_ours_too(self, file, server, emoncms, monkeypatch):
        write(file, server, RADIO)
        send(server, "10", _1=1.0, _2=2.0)
        frame = {"node": "10", "unix": 100.0, "values": {"1": 1.0}, "source": "radio"}
        answers = {"status": status_answer(file=str(file)), "nodes": {"radio": [frame]}}
        monkeypatch.setattr(control, "ask", lambda _, what, **__: answers[what])
        assert len(emoncms().of("10")) == 2

    @pytest.mark.parametrize(
        "answers",
        [
            {"status": status_answer(file="/another.conf")},
            {"status": {"error": "?"}},
            {"nodes": {"error": "nodes is nothing this daemon answers"}},
            {"nodes": {"radio": [{"node": "10"}]}},
        ],
    )
    def test_one_that_does_not_answer_so_is_as_none(self, file, server, emoncms, monkeypatch, answers):
        write(file, server, RADIO)
        send(server, "10", _1=1.0)
        answers = {"status": status_answer(file=str(file))} | answers
        monkeypatch.setattr(control, "ask", lambda _, what, **__: answers[what])
        assert r"not looked at, .*: node 10 \(1 input\)" in emoncms()

    def test_one_that_may_not_be_asked_is_named(self, emoncms, monkeypatch, tmp_path):
        def refuse(*_, **__):
            raise PermissionError

        monkeypatch.setattr(control, "ask", refuse)
        said = emoncms()
        assert f"^oemgateway: {tmp_path}/state/control: a gateway may be running, but this user" in said
        assert said.status == 0

    def test_the_nodes_that_it_sets_aside_are_named(self, file, server, emoncms):
        # given a gateway that was refused a node, at an account that has room again
        port = free_port()
        write(file, server, f"[[push]]\ntype = tcp\nport = {port}\n", interval=0)
        send(server, "8", _1=1.0)
        server.max_nodes = 1
        with GatewayProcess(file) as gateway:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"15 1\r\n")
            wait_until(lambda: gateway.status()["dispatchers"]["home"]["refused_nodes"])
            server.max_nodes = 32
            said = emoncms()
        assert said.status == 1
        assert (
            "^FAULT home: node 15 was refused, .*: it has all the 1 nodes .*queue retry has it tried at once$"
            in said
        )
        assert "node 15: nothing has come yet" not in said


class TestTheCommand:
    def test_as_a_program(self, file, server):
        send(server, "9", _1=5.0)
        done = gateway_process.command("--config-file", file, "emoncms", "--dispatcher", "home")
        assert (done.returncode, done.stderr) == (0, "")
        assert "?     home: node 9, 1 flow °C (cellar): 5 of " in done.stdout

    def test_each_dispatcher_to_an_emoncms_or_the_one_that_is_named(self, file, server, emoncms):
        with file.open("a") as text:
            text.write(
                f"[[away]]\ntype = OemGatewayEmoncmsBuffer\ndomain = 127.0.0.1:9\napikey = {'0' * 32}\n"
                "[[log]]\ntype = log\n"
            )
        said = emoncms()
        assert said.status == 1
        assert {line.split()[1] for line in said.lines} == {"home:", "away:"}
        assert {line.split()[1] for line in emoncms("--dispatcher", "home").lines} == {"home:"}
        said = emoncms("--dispatcher", "hom")
        assert said.status == 1
        assert said.lines == ["oemgateway: --dispatcher: none to Emoncms is called hom; there are home, away"]

    def test_without_an_emoncms(self, file, emoncms):
        file.write_text(f"{state(file.parent)}[listeners]\n{BRIDGE}[dispatchers]\n[[log]]\ntype = log\n")
        said = emoncms()
        assert (said.status, said.lines) == (
            1,
            [f"oemgateway: {file}: no dispatcher of type emoncms is switched on (active = yes)"],
        )

    def test_a_faulty_file(self, file, emoncms):
        file.write_text("[gateway]\nx = 1\n")
        assert emoncms().status == 78


class TestTheKeyIsNowhere:
    @pytest.mark.parametrize("arguments", [(), ("--provision",)])
    def test_whatever_the_server_says(self, server, emoncms, arguments):
        server.version = server.key
        send(server, "9", _1=5.0, _2=6.0)
        server.inputs["9", "1"].processes = f"{server.key}:1"
        server.feeds.add(server.key, "return")
        server.inputs["9", "2"].processes = "1:1"
        said = emoncms(*arguments)
        assert server.key not in "\n".join(said.lines)
        assert "[*]{8}" in said
        for request in server.requests:
            assert server.key not in request.path
            assert server.key.encode() not in request.body

    def test_it_does_not_go_along_where_none_is_needed(self, server, emoncms):
        emoncms()
        (version,) = [request for request in server.requests if request.path.startswith("/version?")]
        assert "authorization" not in version.headers

    def test_what_a_name_would_do_to_a_terminal_is_left_out(self, server, emoncms):
        send(server, "9", _1=5.0)
        server.inputs["9", "1"].processes = "2:\x1b[31m"
        assert not any("\x1b" in line for line in emoncms().lines)


WANTED = Wanted("9", "1", "flow", 10.0)
NOW = MADE + 1_000_000.0
FEED = Feed(3, "9", "flow", 5, 10, NOW)


def there(ago: float = 4, value: float | None = 18.5, processes: str = "1:3", description: str = "") -> Input:
    return Input(1, "9", "1", description, processes, NOW - ago, value)


class TestJudgement:
    @pytest.mark.parametrize(
        ("ahead", "verdict", "words"),
        [
            (0.4, Verdict.GOOD, "agree to 1 s"),
            (-60, Verdict.GOOD, "agree to 60 s"),
            (61, Verdict.BAD, "its clock is 61 s ahead of this machine's"),
            (-90_000, Verdict.BAD, "its clock is 25 hours behind this machine's"),
        ],
    )
    def test_clocks(self, ahead, verdict, words):
        finding = judge_clock(NOW + ahead, NOW)
        assert finding.verdict is verdict
        assert words in finding.found

    def test_a_clock_that_nobody_has_set(self):
        finding = judge_clock(5.0, NOW)
        assert str(finding).startswith("FAULT")
        assert "its clock shows 1970-01-01, which has passed: set it there: nothing is sent" in str(finding)

    @pytest.mark.parametrize("said", ["11.16.8", '"11.16.8"', "low-write 11.16.8", "v11.16.8"])
    def test_versions(self, said):
        assert judge_version(said).found == "it is Emoncms 11.16.8"

    @pytest.mark.parametrize("said", ["", "false", "11", "404 Not Found", "<html>1.2</html>"])
    def test_what_is_no_version(self, said):
        assert judge_version(said).verdict is Verdict.UNKNOWN

    def test_an_emoncms_without_the_page_is_an_old_one(self):
        # given what 9.8.30 answers
        assert judge_version("406 Emoncms - version").found.startswith(
            "it is older than Emoncms 9.9 (2018): "
        )

    @pytest.mark.parametrize(
        ("given", "log", "verdict", "words"),
        [
            (there(), Log(3, True, FEED, 18.5), Verdict.GOOD, ": 18.5 of 4 s ago is in feed 3 (9: flow)"),
            (there(value=0.1), Log(3, True, FEED, 0.10000000149), Verdict.GOOD, "0.1 of 4 s ago is in"),
            (there(), Log(3, False, FEED, 185.0), Verdict.GOOD, "is in feed 3"),
            (there(), Log(3, False, FEED, None), Verdict.BAD, "is not in feed 3"),
            (there(), Log(3, True, None), Verdict.BAD, "feed 3, which does not exist"),
            (there(90), Log(3, True, FEED, 18.5), Verdict.GOOD, "is in feed 3"),
            (
                there(91),
                Log(3, True, FEED, 18.5),
                Verdict.UNKNOWN,
                "is in feed 3 (9: flow), and nothing since",
            ),
            (there(-61), Log(3, True, FEED, 18.5), Verdict.BAD, "dated 61 s ahead of the server's clock"),
            (there(), Log(3, True, Feed(3, "9", "a", 2, 0, NOW)), Verdict.UNKNOWN, "has no slots"),
            (
                there(),
                Log(3, True, Feed(3, "9", "a", 5, 10, NOW - 9)),
                Verdict.UNKNOWN,
                "did not get this one",
            ),
        ],
    )
    def test_an_input_that_is_logged(self, given, log, verdict, words):
        (finding,) = judge_input(WANTED, given, [log], NOW)
        assert finding.verdict is verdict
        assert words in finding.found

    def test_a_line_for_each_feed(self):
        logs = [Log(3, True, FEED, 18.5), Log(4, True, None)]
        assert [finding.is_bad for finding in judge_input(WANTED, there(), logs, NOW)] == [False, True]

    def test_what_comes_when_it_comes_is_never_late(self):
        (finding,) = judge_input(Wanted("9", "1"), there(90_000), [Log(3, True, FEED, 18.5)], NOW)
        assert finding.verdict is Verdict.GOOD

    def test_many_that_are_missing_are_counted(self):
        (finding,) = judge_missing(Wanted("8", str(number)) for number in range(1, 10))
        assert finding.found == "node 8: nothing has come yet for 1, 2, 3, 4, 5, 6 and 3 more"


class TestPlan:
    @pytest.mark.parametrize(
        ("wanted", "description", "called"),
        [
            (WANTED, "", ("9", "flow")),
            (WANTED, "theirs", ("9", "flow")),
            (Wanted("9", "1"), "theirs", ("9", "theirs")),
            (Wanted("9", "1", "°"), "", ("9", "index 1")),
            (Wanted("roof.top", "Vrms", "Vrms"), "", ("roof top", "Vrms")),
        ],
    )
    def test_a_feed_is_called_by_label_or_description_or_key(self, wanted, description, called):
        given = there(processes="", description=description)
        feed = FeedPlan([(wanted, given)], [given], [], []).log(wanted, given)
        assert (feed.tag, feed.name) == called

    def test_two_of_the_same_label_have_their_keys_behind_it(self):
        pairs = [(Wanted("9", key, "flow"), there(processes="", description="x")) for key in ("1", "2")]
        plan = FeedPlan(pairs, [], [], [])
        assert [plan.log(*pair).name for pair in pairs] == ["flow 1", "flow 2"]

    @pytest.mark.parametrize(("interval", "slots"), [(0, 10), (2.5, 10), (10, 10), (12.5, 13), (60, 60)])
    def test_the_slots_are_as_far_apart_as_the_readings(self, interval, slots):
        pair = Wanted("9", "1", "", interval), there(processes="")
        assert FeedPlan([pair], [], [], []).log(*pair).interval == slots

    def test_a_key_that_says_it_all_needs_no_description(self):
        described = {}
        account = SimpleNamespace(feeds=list, describe=described.__setitem__)
        provision = Provisioner(account, [], unused=[], energy=False)
        (finding,) = provision.make([(Wanted("tx", "Vrms", "Vrms"), there())])
        assert finding.found.startswith("nothing is made")
        list(provision.make([(WANTED, there())]))
        assert described == {there().id: WANTED.label}
