"""What an Emoncms has already: no row is passed over that it has not, and none sent twice that it has."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
import sqlite3
import struct
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.dispatchers.emoncms.answers import judge_inputs, parse_inputs
from gateway.dispatchers.emoncms.dispatcher import Emoncms
from gateway.dispatchers.emoncms.encoding import Inputs, Reading, row_of
from gateway.dispatchers.emoncms.progress import distinct, find, is_shown
from gateway.frame import Frame
from gateway.plugin import DeliveryFailure, HoldEverything, OutcomeUnknown, Progress, TryLater
from gateway.spool import Spool
from gateway.store import store
from gateway.times.dating import Dating, TimeNote
from gateway.times.timekeeper import Timekeeper
from gateway.version import MADE
from gateway.workers.delivery import DispatcherWorker
from listeners.simulated.clock import VirtualClock, VirtualFlag
from tests.at_emoncms import KEY, dispatcher, encoded, frame, prepare, send
from tests.gateway_process import GatewayProcess, command, state
from tests.ports import connect, free_port
from tests.simulators.emoncms import FATAL, FAULTS, NO_DATABASE, Answer, FakeEmoncms, Request
from tests.spools import left_by_an_earlier_run, open_queue
from tests.waiting import wait_until, wait_until_idle

NODES = ("9", "10", "roof top")
DAY = 86_400


def readings_of(frames: Sequence[Frame]) -> list[Inputs]:
    return [row_of(each, "index") for each in frames]


class Model:
    """A server without the wire, which takes rows from the front and shows what its inputs hold."""

    def __init__(self, server: FakeEmoncms | None = None, *, redis: bool = True) -> None:
        self._server = server or FakeEmoncms(key=KEY, redis=redis)
        self._headers = {
            "authorization": f"Bearer {KEY}",
            "content-type": "application/x-www-form-urlencoded",
        }

    def take(self, frames: Sequence[Frame]) -> None:
        if data := encoded(frames):
            body = urlencode({"time": 0, "data": data}).encode()
            assert self._server.handle(Request("POST", "/input/bulk", self._headers, body)).body == "ok"

    def shown(self) -> Inputs:
        inputs: Inputs = {}
        for node in NODES:
            path = f"/input/get?{urlencode({'node': node})}"
            of_node = parse_inputs(node, self._server.handle(Request("GET", path, self._headers, b"")).body)
            assert of_node is not None
            inputs |= of_node
        return inputs


neighbours = st.builds(
    lambda mantissa, steps, exponent: (mantissa + steps * 0.37e-5) * 10.0**exponent,
    st.sampled_from([1.0, 1.23456, 9.99999, 10.0, -9.99999]),
    st.integers(-9, 9),
    st.sampled_from([-40, -1, 0, 5, 30]),
)
"""Values a few tenths of a sixth digit apart, also where there is one more digit."""


def differs(shown: Reading | None, sent: Reading) -> bool:
    """Tell whether an input shows something else than it was sent, by six digits of a float32."""
    if shown is None or shown[0] != sent[0]:
        return True
    ours, theirs = (
        float(f"{struct.unpack('f', struct.pack('f', value))[0]:.6g}") for _, value in (sent, shown)
    )
    return abs(ours - theirs) > 1.01e-5 * abs(ours) + 1e-44


values = st.none() | st.sampled_from([0.0, 1.0, 18.7]) | st.floats(-1e30, 1e30) | neighbours
"""Few enough to be the same again, and those that do not come back as they went."""


def frames(first: int, last: int, *, most: int = 12) -> st.SearchStrategy[list[Frame]]:
    """Return frames of several nodes, some in the same second, mostly in the order of their times."""
    one = st.builds(
        lambda node, wall, some: frame(*some, node=node, wall=wall),
        st.sampled_from(NODES),
        st.integers(first, last),
        st.lists(values, min_size=1, max_size=3),
    )
    return st.lists(one, max_size=most).flatmap(
        lambda some: st.sampled_from([some, sorted(some, key=lambda each: each.stamp.wall)])
    )


class TestFindingThePlace:
    @given(frames(100, 103), frames(100, 103), st.booleans())
    def test_nothing_is_lost_and_nothing_that_differs_is_doubled(self, earlier, later, redis):
        # given a server that holds what was delivered before, and a batch as it is sent
        model = Model(redis=redis)
        model.take(earlier)
        before = model.shown()
        rows = readings_of(later)
        batch = rows[: distinct(rows, before) or 1]
        # when it takes any number of rows of it
        for stored in range(len(batch) + 1):
            if stored:
                model.take(later[stored - 1 : stored])
            found = find(batch, model.shown(), before)
            count = found.count
            # then no row is passed over that it does not have
            assert (count or 0) <= stored
            assert not (found.none_there and any(batch[:stored]))
            # and none it has is sent again, but for a first one that cannot be told from the one before it
            again = [number for number in range(count or 0, stored) if batch[number]]
            assert again == [] or (count is None and again == [0] and not distinct(batch[:1], before))

    @given(frames(90, 99), frames(100, 103), st.booleans())
    def test_nor_after_a_start_when_all_that_is_known_is_what_waits(self, earlier, later, redis):
        model = Model(redis=redis)
        model.take(earlier)
        rows = readings_of(later)
        for stored in range(distinct(rows, {}) + 1):
            if stored:
                model.take(later[stored - 1 : stored])
            count = find(rows, model.shown(), {}).count
            assert (count or 0) <= stored
            assert [number for number in range(count or 0, stored) if rows[number]] == []

    @given(frames(100, 103), frames(100, 103), st.data(), st.booleans())
    def test_a_row_that_was_broken_off_is_sent_again(self, earlier, later, data, redis):
        # given a server that ended in the middle of a row
        model = Model(redis=redis)
        model.take(earlier)
        before = model.shown()
        rows = readings_of(later)
        batch = rows[: distinct(rows, before) or 1]
        stored = data.draw(st.integers(0, len(batch)))
        model.take(later[:stored])
        now = model.shown()
        some = data.draw(st.integers(0, 3))
        missing: list[object] = []
        for row in batch[stored : stored + 1]:
            now |= dict(list(row.items())[:some])
            missing = [
                (where, sent) for where, sent in list(row.items())[some:] if differs(now.get(where), sent)
            ]
        count = find(batch, now, before).count or 0
        # then it is not passed over, if anything of it is missing
        assert count <= stored or (count == stored + 1 and not missing)

    def test_and_none_of_those_before_it(self):
        before = {("9", "1"): (90.0, 1.0), ("9", "2"): (90.0, 2.0)}
        rows = readings_of([frame(float(n), 2.0, wall=100 + n) for n in range(5)])
        now = rows[3] | {("9", "1"): rows[4]["9", "1"]}
        assert find(rows, now, before).count == 4

    def test_a_server_that_holds_older_things_has_none(self):
        rows = readings_of([frame(1.0, 2.0, wall=100)])
        assert find(rows, {("9", "1"): (90, 1.0), ("9", "2"): (90, 2.0)}, {}).count == 0
        assert find(rows, {}, {}).count == 0

    @pytest.mark.parametrize("time", [100.0, 101.0, float("inf")])
    def test_one_that_holds_something_else_or_shows_no_time_cannot_tell(self, time):
        rows = readings_of([frame(1.0, wall=100)])
        assert find(rows, {("9", "1"): (time, 7.0)}, {}).count is None

    def test_what_somebody_else_wrote_since_then_proves_nothing_even_if_it_is_older(self):
        # given an input whose reading is known, and ours
        before, rows = {("9", "1"): (90.0, 1.0)}, readings_of([frame(2.0, wall=100)])
        # when it has another one, then that may have been written before ours or after it
        assert find(rows, {("9", "1"): (95.0, 777.0)}, before).count is None
        # and when it is as it was, or was made anew, then ours never came
        assert find(rows, before, before).count == 0
        assert find(rows, {}, before).count == 0

    def test_a_value_that_was_there_before_the_start_is_no_row_broken_off(self):
        # given a row of which nothing is known but that a value of it was there in that second
        rows = readings_of([frame(3.0, node="10", wall=100), frame(6.0, 7.0, wall=100)])
        assert not find(rows, {("9", "1"): (100.0, 5.0), ("9", "2"): (100.0, 7.0)}, {}).count

    def test_what_other_senders_do_to_other_keys_changes_nothing(self):
        rows = readings_of([frame(1.0, wall=100), frame(2.0, wall=110)])
        shown = {("9", "1"): (110.0, 2.0)}
        assert find(rows, shown, {}) == find(rows, shown | {("9", "2"): (111.0, 5.0)}, {})

    def test_a_row_that_was_there_before_goes_alone(self):
        before = {("9", "1"): (100.0, 1.0)}
        rows = readings_of([frame(1.0, wall=100), frame(2.0, wall=100), frame(1.0, wall=100)])
        assert distinct(rows, before) == distinct(rows[2:], before) == 0
        assert distinct(rows[1:], before) == 1
        assert find(rows[:2], before, before).count is None
        assert find(rows[:2], {("9", "1"): (100.0, 2.0)}, before).count == 2


class TestValuesWithSixDigits:
    """Without Redis an Emoncms shows 6 digits of a float32."""

    @pytest.mark.parametrize(
        ("sent", "shown"),
        [
            (1234567.0, 1234570.0),
            (82956.092, 82956.1),
            (999999.5, 1000000.0),
            (9.99999, 10.0),
            (10.0, 9.99999),
            (-9.999996, -10.0),
            (100000.5, 100000.0),
            (16777217.0, 16777200.0),
            (1e-40, 9.99995e-41),
            (1e-46, 0.0),
            (0.0, 0.0),
            (1.0 / 3, 0.33333333333333),
        ],
    )
    def test_are_those_that_were_sent(self, sent, shown):
        assert is_shown(shown, sent)

    @pytest.mark.parametrize(
        ("sent", "shown"),
        [
            (1234567.0, 1234590.0),
            (9.99997, 9.99999),
            (10.0, 9.99998),
            (10.0, 10.0002),
            (0.0, 1e-30),
            (1.0, -1.0),
            (1.0, float("inf")),
            (1.0, float("nan")),
        ],
    )
    def test_or_others_if_they_are_further_off_than_one_in_the_last(self, sent, shown):
        assert not is_shown(shown, sent)

    @given(st.floats(-3.4e38, 3.4e38))
    def test_whatever_was_sent(self, value):
        kept = struct.unpack("f", struct.pack("f", value))[0]
        assert is_shown(float(f"{kept:.6g}"), value)
        assert is_shown(float(f"{value:.14g}"), value)

    @pytest.mark.parametrize(
        ("one", "other", "number"),
        [(1234567.0, 1234571.0, 1), (1234567.0, 1234590.0, 2), (9.99999, 10.0, 1), (20.0625, 20.125, 2)],
    )
    def test_two_that_could_be_shown_alike_share_no_batch(self, one, other, number):
        assert distinct(readings_of([frame(one), frame(other)]), {}) == number
        assert distinct(readings_of([frame(other)]), readings_of([frame(one)])[0]) == number - 1

    def test_a_counter_arrives_once_though_every_second_reply_is_lost(self, spool, server):
        # given a server without Redis, and a counter of Wh
        server.redis = False
        counted = [frame(1234567.0 + n, wall=1_700_000_000 + n) for n in range(30)]
        with dispatching(server, spool, batch=2) as worker:
            wait_until_idle(worker)
            # when every second reply is lost
            for reading in counted:
                server.reset_after = 1
                spool.put([reading])
                wait_until(lambda: spool.standing("home").waiting == 0)
            # then each reading is there once
            assert stored(server) == [reading.values[0] for reading in counted]
            assert worker.doubled == 0


class TestReadingAnAnswer:
    @pytest.mark.parametrize(
        ("text", "inputs"),
        [
            (
                '{"1":{"time":100,"value":18.7,"processList":""},"a b":{"time":"90","value":"-4"}}',
                {("9", "1"): (100, 18.7), ("9", "a b"): (90, -4)},
            ),
            (
                '[{"time":100,"value":1},{"time":100,"value":2}]',
                {("9", "0"): (100, 1), ("9", "1"): (100, 2)},
            ),
            ('"Node does not exist"', {}),
            ("[]", {}),
            ('{"1":{"time":null,"value":null}}', {("9", "1"): (float("inf"), float("inf"))}),
            ('{"1":{"value":18.7}}', {("9", "1"): (float("inf"), 18.7)}),
            (f'{{"1":{{"time":1,"value":1{"0" * 400}}}}}', {("9", "1"): (1, float("inf"))}),
            ('<br />\n<b>Deprecated</b>: x<br />\n{"1":{"time":1,"value":0}}\n', {("9", "1"): (1, 0)}),
        ],
    )
    def test_what_the_inputs_of_a_node_hold(self, text, inputs):
        assert parse_inputs("9", text) == inputs

    @pytest.mark.parametrize("text", ["", "null", "false"])
    def test_a_server_that_does_not_tell(self, text):
        assert judge_inputs("9", 200, text) is None

    @pytest.mark.parametrize("status", [302, 403, 404, 405, 406])
    def test_or_has_no_such_thing(self, status):
        assert judge_inputs("9", status, "{}") is None

    @pytest.mark.parametrize(
        ("status", "text", "kind"),
        [
            (200, '{"success": false, "message": "Format error"}', TryLater),
            (200, "<html>Login</html>", TryLater),
            (200, "3", TryLater),
            (200, "[1]", TryLater),
            (200, "ok", TryLater),
            (200, "<b>Fatal error</b>: no database", HoldEverything),
            (429, "", TryLater),
            (500, "", OutcomeUnknown),
        ],
    )
    def test_trouble_is_no_answer(self, status, text, kind):
        assert isinstance(judge_inputs("9", status, text), kind)

    @given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
    def test_whatever_comes_is_understood_or_not(self, text):
        inputs = parse_inputs("9", text)
        assert inputs is None or all(node == "9" for node, _ in inputs)


class TestAsking:
    def test_a_get_for_each_node_tells(self, server):
        some = [frame(1.0 / 3, None), frame(2.0, node="roof top"), frame(4.0, 5.0)]
        with dispatcher(server.url) as killed, dispatcher(server.url) as emoncms:
            send(killed, some[:2])
            server.requests.clear()
            assert prepare(emoncms, some).delivered().count == 2
        assert [request.path.partition("&")[0] for request in server.requests] == [
            "/input/get?node=9",
            "/input/get?node=roof+top",
        ]
        assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in server.requests)

    def test_after_a_failure_it_goes_on_with_the_node_that_was_not_told(self, server, monkeypatch):
        handle = server.handle

        def lose_the_third_and_the_sixth(request):
            answer = handle(request)
            return None if len(server.requests) in (3, 6) else answer

        some = [frame(float(number), node=str(number)) for number in range(5)]
        with dispatcher(server.url) as killed, dispatcher(server.url) as emoncms:
            send(killed, some[:4])
            server.requests.clear()
            monkeypatch.setattr(server, "handle", lose_the_third_and_the_sixth)
            delivery = prepare(emoncms, some)
            for _ in range(2):
                with pytest.raises(DeliveryFailure):
                    delivery.delivered()
            assert delivery.delivered().count == 4
            # and what is asked again is asked whole
            assert delivery.delivered().count == 4
        asked = [re.findall("node=([0-9])", request.path)[0] for request in server.requests]
        assert asked == [*"012", *"234", *"4", *"01234"]

    def test_a_key_that_writes_only_cannot_tell(self, server):
        with dispatcher(server.url, apikey=server.device_key) as emoncms:
            send(emoncms, [frame(1.0)])
            assert prepare(emoncms, [frame(1.0)]).delivered() == Progress(None)
        assert len(server.stored) == 1

    @pytest.mark.parametrize(
        "odd",
        [Answer(), Answer(200, "null"), Answer(302), Answer(403), Answer(404)],
        ids=["empty", "null", "302", "403", "404"],
    )
    def test_one_odd_answer_of_a_proxy_does_not_mean_that_the_server_cannot_tell(self, server, odd):
        with dispatcher(server.url) as killed, dispatcher(server.url) as emoncms:
            send(killed, [frame(1.0)])
            server.canned.append(odd)
            assert prepare(emoncms, [frame(1.0)]).delivered().count == 1

    @pytest.mark.parametrize("turn", range(3))
    def test_one_of_two_servers_that_refuses_everything_does_not_mean_so_either(self, turn):
        with (
            OneOfSeveral(key=KEY, asked=turn) as server,
            dispatcher(server.url) as emoncms,
            contextlib.suppress(DeliveryFailure),  # it is asked again later
        ):
            assert prepare(emoncms, [frame(1.0)]).delivered() == Progress(0, none_there=True)

    def test_a_server_that_answers_nothing_to_both_questions_is_no_answer(self, server):
        # when something in front of it answers each request with an empty page, as some login pages do
        server.canned += [Answer(), Answer()]
        with dispatcher(server.url) as emoncms, pytest.raises(HoldEverything):
            prepare(emoncms, [frame(1.0)]).delivered()

    def test_a_wrong_key_is_no_answer(self, server):
        with (
            dispatcher(server.url, apikey="wrong") as emoncms,
            pytest.raises(HoldEverything, match="write key"),
        ):
            prepare(emoncms, [frame(1.0)]).delivered()

    @pytest.mark.parametrize("fault", ["status_500", "html_fatal", "error_text", "reset_before", "hang"])
    def test_trouble_is_no_answer_and_keeps_the_key(self, server, fault):
        setattr(server, fault, 1)
        with dispatcher(server.url, timeout=0.2) as emoncms, pytest.raises(DeliveryFailure) as caught:
            prepare(emoncms, [frame(1.0)]).delivered()
        assert str(caught.value).startswith(f"{server.url}: ")
        assert (caught.value.__cause__, caught.value.__context__, vars(caught.value)) == (None, None, {})


@pytest.fixture
def spool(opened) -> Spool:
    return opened("home")


@pytest.fixture
def killed(tmp_path):
    """Return what opens the same queue again and again; what the one before had in memory is gone."""

    @contextlib.contextmanager
    def opened_again(boot: str = ""):
        clock = VirtualClock(wall=time.time())
        clock.boot = boot
        spool = open_queue(tmp_path / "queue.db", "home", clock=clock if boot else None)
        try:
            yield spool
        finally:
            spool._contents.places.is_written = True
            spool.close()

    return opened_again


@contextlib.contextmanager
def dispatching(server: FakeEmoncms, spool: Spool, name: str = "home", *, real: bool = False, **settings):
    """Run a worker on the server; its pauses pass at once unless they are `real`."""
    clock = VirtualClock(wall=time.time())
    emoncms = Emoncms(**({"url": server.url, "apikey": KEY, "interval": 0.0, "timeout": 30.0} | settings))
    emoncms.name, emoncms.clock = name, clock
    keeper = Timekeeper(clock, past=MADE, synchronised=lambda: False)
    worker = DispatcherWorker(emoncms, spool, Dating(spool, keeper, clock, TimeNote(spool._path.parent)))
    if not real:
        worker.stop = VirtualFlag(clock)
        server.clock_ahead = None  # the worker's clock runs ahead of it
    worker.start()
    try:
        yield worker
    finally:
        worker.stop.set()
        worker.join(60)
        assert not worker.is_alive()


def numbered(*numbers: int) -> list[Frame]:
    """Return distinct frames of two nodes, a few of them in the same second."""
    start = int(time.time()) - 1000
    return [
        frame(float(n), None if n % 3 else n / 7, node=NODES[n % 2], wall=start + n // 4) for n in numbers
    ]


def stored(server: FakeEmoncms) -> list[float]:
    return [kept.value for kept in server.stored if kept.key == "1"]


def posted(server: FakeEmoncms) -> tuple[set[float], set[float]]:
    """Return the values that the inputs were sent, and those of them that came more than once."""
    times = Counter(each.value for each in server.stored)
    return {*times}, {value for value, often in times.items() if often > 1}


def torn(before: int) -> set[float]:
    """Return what came of the row, of two values, at which a server failed after so many of them."""
    return {before // 2 + 1.0} if before % 2 else set()


@dataclass
class RestartedEmoncms(FakeEmoncms):
    """It is restarted, so many times, where its feeds cannot take a value: no answer comes."""

    restarts: int = 1

    def handle(self, request: Request) -> Answer | None:
        answer = super().handle(request)
        if answer != NO_DATABASE:
            return answer
        self.restarts -= 1
        if self.restarts == 0:
            self.feeds.no_database = math.inf
        return None


@dataclass
class CutOffEmoncms(FakeEmoncms):
    """So many posts reach it without their end, as over a line that fails in the middle of them."""

    cut: int = 5

    def handle(self, request: Request) -> Answer | None:
        if request.path == "/input/bulk" and self.cut:
            self.cut -= 1
            request = request._replace(body=request.body[:20])
        return super().handle(request)


@dataclass
class FilteredEmoncms(FakeEmoncms):
    """A filter in front of it, such as mod_security, refuses what contains this text, with this status."""

    text: bytes = b""
    status: int = 403

    def handle(self, request: Request) -> Answer | None:
        return Answer(self.status, "Forbidden") if self.text in request.body else super().handle(request)


@dataclass
class OneOfSeveral(FakeEmoncms):
    """So many servers that take turns, the first of which refuses all that it gets."""

    servers: int = 2
    asked: int = 0

    def handle(self, request: Request) -> Answer | None:
        self.asked += 1
        return Answer(403, "Forbidden") if self.asked % self.servers == 0 else super().handle(request)


@dataclass
class CachedEmoncms(FakeEmoncms):
    """A proxy in front of it gives the answer to a GET again, as nginx does with proxy_cache_valid."""

    answers: dict[str, Answer | None] = field(default_factory=dict)

    def handle(self, request: Request) -> Answer | None:
        if request.method != "GET":
            return super().handle(request)
        if request.path not in self.answers:
            self.answers[request.path] = super().handle(request)
        return self.answers[request.path]


class TestOnceAndInOrder:
    def test_an_old_answer_of_a_proxy_is_no_knowledge(self, spool):
        with CachedEmoncms(key=KEY) as server, dispatching(server, spool) as worker:
            wait_until_idle(worker)
            spool.put(numbered(1))
            wait_until(lambda: spool.standing("home").waiting == 0)
            # when an answer is lost, and what its node has was asked before
            server.reset_after = 1
            spool.put(numbered(2, 3))
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == [1.0, 2.0, 3.0]

    @pytest.mark.parametrize("servers", [2, 3, 4, 5])
    def test_one_of_several_servers_that_refuses_everything_sets_nothing_aside(self, spool, servers):
        with OneOfSeveral(key=KEY, servers=servers) as server, dispatching(server, spool) as worker:
            wait_until_idle(worker)
            for n in range(40):
                spool.put(numbered(n))
                wait_until(lambda: spool.standing("home").waiting == 0)
        assert (stored(server), spool.refused("home")) == ([float(n) for n in range(40)], [])

    @pytest.mark.parametrize("status", [403, 406])
    def test_a_filter_before_it_that_refuses_a_name_holds_no_other_reading(self, spool, status):
        named = replace(frame(20.0, names=("select",), node="heating"), by_name=True)
        with (
            FilteredEmoncms(key=KEY, text=b"select", status=status) as server,
            dispatching(server, spool) as worker,
        ):
            wait_until_idle(worker)
            # when a name that the filter does not like stands between other readings
            spool.put([*numbered(1, 2, 3), named, *numbered(4, 5)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then it alone is set aside, and says why
        assert stored(server) == [1.0, 2.0, 3.0, 4.0, 5.0]
        (refused,) = spool.refused("home")
        assert refused.frame.node == "heating"
        assert "such as mod_security" in refused.reason

    @pytest.mark.parametrize(("node", "key"), [("heating", "Łazienka"), ("Кухня", "flow")])
    def test_a_name_that_its_database_cannot_keep_holds_no_other_reading(self, spool, node, key):
        # given a server whose tables are in latin1, and such a name between other readings
        named = replace(frame(20.0, 21.0, names=("return", key), node=node), by_name=True)
        with FakeEmoncms(key=KEY, charset="latin-1") as server, dispatching(server, spool) as worker:
            wait_until_idle(worker)
            spool.put([*numbered(1, 2, 3), named, *numbered(4, 5)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then it alone is set aside, and says why
        assert [value for value in stored(server) if value < 20] == [1.0, 2.0, 3.0, 4.0, 5.0]
        (refused,) = spool.refused("home")
        assert refused.frame.node == node
        assert (
            "its database cannot keep a name or unit with such letters (write it in plain" in refused.reason
        )
        assert worker.doubled == 0

    def test_a_filter_that_refuses_everything_sets_nothing_aside(self, spool):
        with FilteredEmoncms(key=KEY, text=b"data=") as server, dispatching(server, spool) as worker:
            wait_until_idle(worker)
            spool.put(numbered(1, 2))
            wait_until(lambda: worker.failures > 1)
            server.text = b"?"
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert (stored(server), spool.refused("home")) == ([1.0, 2.0], [])

    @pytest.mark.parametrize("count", [1, 8])
    def test_a_post_that_loses_its_end_on_the_way_sets_nothing_aside(self, spool, count):
        # given a line on which the end of five posts in a row does not arrive
        with CutOffEmoncms(key=KEY) as server, dispatching(server, spool) as worker:
            wait_until_idle(worker)
            # when so many frames are sent
            spool.put(numbered(*range(1, count + 1)))
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then each arrives, and none counts as refused
        assert (server.cut, stored(server)) == (0, [float(n) for n in range(1, count + 1)])
        assert spool.refused("home") == []

    @pytest.mark.parametrize("fault", FAULTS)
    def test_whatever_happens_to_the_server(self, spool, server, fault):
        # A hang is over when the time is: one will do, and it is not so short that other answers are late.
        hangs = fault.startswith("hang")
        with dispatching(server, spool, timeout=2.0 if hangs else 30.0) as worker:
            wait_until_idle(worker)
            for first in (0, 20, 40):
                setattr(server, fault, 0 if hangs and first != 20 else 1)
                spool.put(numbered(*range(first, first + 20)))
                wait_until(lambda: spool.standing("home").waiting == 0)
            setattr(server, fault, 0)
        assert stored(server) == list(range(60))
        assert spool.refused("home") == []
        assert worker.doubled == 0

    @pytest.mark.parametrize(("stored", "days"), [({}, 0), ({"1": 1.0}, -1)])
    def test_only_what_cannot_have_arrived_is_sent_with_another_time(
        self, spool, server, monkeypatch, stored, days
    ):
        # given a clock that is a day behind, and a server that stores nothing of a row, or a part
        handle, failed, working = server.handle, threading.Event(), threading.Event()

        def store_in_part(request):
            if failed.is_set():
                assert working.wait(30)
            elif request.method == "POST":
                server._take_values(int(now.wall) - DAY, "9", stored)
                failed.set()
                return FATAL
            return handle(request)

        monkeypatch.setattr(server, "handle", store_in_part)
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            now = Clock().now()
            spool.put([Frame("9", (1.0, 2.0), replace(now, wall=now.wall - DAY))])
            wait_until(lambda: worker.failures)
            # when the clock is set before the server works, and says what it has
            spool.set_clock(now.wall - now.boottime)
            working.set()
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then all of it has one time
        assert {(kept.key, round((kept.time - now.wall) / DAY)) for kept in server.stored} == {
            ("1", days),
            ("2", days),
        }

    def test_thousands_of_readings_of_one_second_are_told_apart_soon(self):
        # given as many as are looked for at a time after a start, by a program that keeps its lines back
        rows: list[Inputs] = [{("9", "1"): (1000, float(n)), ("9", "2"): (1000, n / 7)} for n in range(8000)]
        began = time.process_time()
        assert distinct(rows, {}) == 8000
        assert find(rows, {**rows[4999]}, {}).count == 5000
        assert time.process_time() - began < 10

    def test_telling_large_readings_of_many_seconds_apart_takes_little_memory(self):
        rows: list[Inputs] = [{("9", str(n)): (second, 1.0) for n in range(60)} for second in range(1000)]
        tracemalloc.start()
        try:
            assert distinct(rows, {}) == 1000
            assert find(rows, rows[499], {}).count == 500
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 1_000_000

    @pytest.mark.parametrize("arrived", [900, 1900, 2900])
    def test_what_a_power_cut_takes_the_note_of_is_found_though_it_was_many_batches(
        self, spool, server, arrived
    ):
        # given a backlog of which the server has stored more than is asked for at first
        frames = numbered(*range(3000))
        for first in range(0, arrived, 100):
            Model(server).take(frames[first : first + 100])
        left_by_an_earlier_run(spool, frames)
        # when the gateway starts, without a note of that
        with dispatching(server, spool) as worker:
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then each arrives once
        assert stored(server) == list(range(3000))
        assert worker.doubled == 0

    def test_many_nodes_get_through_where_every_fourth_request_fails(self, spool, server, monkeypatch):
        handle = server.handle

        def mostly(request):
            answer = handle(request)
            is_first = [each.method for each in server.requests].count("POST") == 1 and request.body
            return None if is_first or len(server.requests) % 4 == 0 else answer

        monkeypatch.setattr(server, "handle", mostly)
        with dispatching(server, spool) as worker:
            spool.put([frame(float(number), node=str(number)) for number in range(20)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert sorted(stored(server)) == list(range(20))
        assert worker.doubled == 0

    @pytest.mark.parametrize("fault", ["wrong_key", "html_fatal", "status_500"])
    def test_a_trouble_that_lasts_is_one_line_whether_it_is_asked_or_sent(self, spool, server, caplog, fault):
        setattr(server, fault, 9)
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            spool.put(numbered(0, 1, 2))
            wait_until(lambda: worker.failures and worker.frames == 3)
        worker.plugin.clock.sleep(60)
        worker.settle()
        trouble, end = [record.message for record in caplog.records if record.name == "oemgateway.home"]
        assert trouble != end == "works again"
        assert stored(server) == [0, 1, 2]

    @pytest.mark.parametrize("nodes", [("8", "9", "10"), ("9", "8"), ("8", "9"), ("9",)])
    def test_a_damaged_feed_holds_up_its_own_node_alone_and_nothing_is_lost(
        self, spool, server, caplog, nodes
    ):
        # given a server on which the second feed of node 9 is damaged, of three
        start = int(time.time()) - 1000
        feeds = {}
        for node in nodes:
            server._take_values(start, node, {"1": 0.0, "2": 0.0, "3": 0.0})
            for key in "123":
                feeds[node, key] = server.feeds.add(node, key)
                server.inputs[node, key].processes = f"1:{feeds[node, key].id}"
        feeds["9", "2"].interval = 0
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            # when readings of all nodes come
            frames = [
                frame(float(n), n + 0.25, n + 0.5, node=node, wall=start + 10 * n)
                for n in range(1, 41)
                for node in nodes
            ]
            for first in range(0, len(frames), 7):
                spool.put(frames[first : first + 7])
                wait_until(lambda: spool.standing("home").waiting == 0)
            # then those of the others are in their feeds, and those of node 9 wait, all of them
            for (node, _), feed in feeds.items():
                assert node == "9" or len(feed.slots) == 40
            assert [each.frame.values[0] for each in spool.refused("home")] == [*range(1, 41)]
            assert worker.failures == 0
            (about,) = worker.refused_nodes.known(0.0).values()
            assert "one of its feeds is damaged (oemgateway emoncms says which): Fatal error" in about.reason
            # and when it is repaired, they are sent once more
            feeds["9", "2"].interval = 10
            again = spool.refused("home")
            spool.admit([(each.frame, "home") for each in again], instead_of=again)
            worker.refused_nodes.try_now()
            wait_until(lambda: spool.standing("home").waiting == 0)
            assert [len(feeds["9", key].slots) for key in "123"] == [40, 40, 40]
            assert spool.refused("home") == []

    def test_what_was_stored_before_a_row_with_a_damaged_feed_is_not_sent_again(self, spool, server):
        # given node 9 whose feed of index 2 is damaged, and a batch that begins with a row of it without that
        start = int(time.time()) - 1000
        for node, key in (("9", "1"), ("9", "2"), ("8", "1")):
            server._take_values(start, node, {key: 0.0})
            server.inputs[node, key].processes = f"1:{server.feeds.add(node, key).id}"
        server.feeds.by_id[2].interval = 0
        server.stored.clear()
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            spool.put(
                [
                    frame(1.0, node="9", wall=start + 10),
                    frame(2.0, node="8", wall=start + 20),
                    frame(None, 3.0, node="9", wall=start + 30),
                    frame(4.0, node="8", wall=start + 40),
                ]
            )
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then each is posted once, and only the row with that index is set aside
        assert [each.value for each in server.stored] == [1.0, 2.0, 3.0, 4.0]
        assert [each.frame.values for each in spool.refused("home")] == [(None, 3.0)]

    def test_what_a_row_with_a_damaged_feed_has_overwritten_in_the_inputs_is_delivered(self, spool, server):
        # given a row of node 9, and one of it whose second value has a damaged feed
        start = int(time.time()) - 1000
        for key in ("1", "2"):
            server._take_values(start, "9", {key: 0.0})
            server.inputs["9", key].processes = f"1:{server.feeds.add('9', key).id}"
        server.feeds.by_id[2].interval = 0
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            spool.put([frame(1.0, wall=start + 10), frame(2.0, 3.0, wall=start + 20)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then the first is neither set aside nor thought to be sent twice
        assert [each.frame.values for each in spool.refused("home")] == [(2.0, 3.0)]
        assert (worker.frames, worker.doubled) == (1, 0)

    @pytest.mark.parametrize("before", [0, 1, 2, 7, 8])
    @pytest.mark.parametrize("redis", [True, False])
    def test_while_the_database_of_the_feeds_fails_no_reading_counts_as_arrived(
        self, spool, server, before, redis
    ):
        # given a server whose inputs take what comes, and whose feeds fail after some values
        server.redis = redis
        start = int(time.time()) - 1000
        for node, key in product(("8", "9"), "12"):
            server._take_values(start, node, {key: 0.0})
            server.inputs[node, key].processes = f"1:{server.feeds.add(node, key).id}"
        server.stored.clear()
        server.feeds.no_database = before
        frames = [
            frame(n + 1.0, n + 1.5, node=node, wall=start + 10 * (n + 1))
            for n in range(20)
            for node in ("8", "9")
        ]
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            # when it does so for some tries
            spool.put(frames)
            wait_until(lambda: worker.failures > 5)
            assert worker.frames == before // 2
            server.feeds.no_database = math.inf
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then all of it is in the feeds, and only the row at which it failed was posted again
        assert [len(feed.slots) for feed in server.feeds.by_id.values()] == [20] * 4
        times = Counter(each.value for each in server.stored if (each.node, each.key) == ("8", "1"))
        times |= Counter(each.value + 100 for each in server.stored if (each.node, each.key) == ("9", "1"))
        assert [value for value, often in times.items() if often > 1] == [
            (before // 4 + 1.0) + (100 if before // 2 % 2 else 0)
        ]
        assert spool.refused("home") == []
        assert worker.doubled == 0

    @pytest.mark.parametrize("restarts", [1, 2])
    @pytest.mark.parametrize("before", range(10))
    def test_a_row_within_which_the_server_is_restarted_is_sent_again_once(self, spool, before, restarts):
        # given a server that is restarted after it has set the inputs of a row, and before its feeds have it
        start = int(time.time()) - 1000
        with RestartedEmoncms(key=KEY, restarts=restarts) as server, dispatching(server, spool) as worker:
            for key in "12":
                server._take_values(start, "9", {key: 0.0})
                server.inputs["9", key].processes = f"1:{server.feeds.add('9', key).id}"
            server.stored.clear()
            server.feeds.no_database = before
            wait_until_idle(worker)
            spool.put([frame(n + 1.0, n + 1.5, node="9", wall=start + 10 * (n + 1)) for n in range(6)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then only that row is posted twice, and counts if the server ends there each time
        lost = (restarts - 1) * (2 - before % 2)
        assert sum(len(feed.slots) for feed in server.feeds.by_id.values()) == 12 - lost
        assert posted(server)[1] == {before // 2 + 1.0, before // 2 + 1.5}
        assert worker.doubled == 0

    @pytest.mark.parametrize("before", range(10))
    def test_a_row_within_which_the_server_is_restarted_is_sent_again_by_the_next_run(self, killed, before):
        # given a server that is restarted within a row, and a gateway that ends before it asks for it
        start = int(time.time()) - 1000
        with RestartedEmoncms(key=KEY) as server:
            for key in "12":
                server._take_values(start, "9", {key: 0.0})
                server.inputs["9", key].processes = f"1:{server.feeds.add('9', key).id}"
            server.stored.clear()
            server.feeds.no_database = before
            with killed() as spool, dispatching(server, spool, real=True) as worker:
                spool.put([frame(n + 1.0, n + 1.5, node="9", wall=start + 10 * (n + 1)) for n in range(6)])
                wait_until(lambda: worker.failures)
            # when the next one delivers what waits
            with killed() as spool, dispatching(server, spool) as worker:
                wait_until(lambda: spool.standing("home").waiting == 0)
        # then the feeds have all of it, and that row was posted twice
        assert [len(feed.slots) for feed in server.feeds.by_id.values()] == [6, 6]
        assert posted(server)[1] == {before // 2 + 1.0, before // 2 + 1.5}

    def test_where_only_the_answer_is_lost_frames_without_values_at_the_end_have_nothing_sent_twice(
        self, spool, server
    ):
        with dispatching(server, spool):
            spool.put(numbered(0))
            wait_until(lambda: spool.standing("home").waiting == 0)
            server.reset_after = 1
            spool.put([*numbered(1, 2), frame(None), frame(None, None)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == [0, 1, 2]

    @pytest.mark.parametrize("rows", [[(1.0,), (2.0,)], [(1.0,), (None,)]])
    def test_a_row_that_is_sent_again_does_not_count_by_what_its_inputs_had_before(
        self, spool, monkeypatch, rows
    ):
        # given a server that is restarted within a row, and whose database fails as that is sent again
        start = int(time.time()) - 1000
        with RestartedEmoncms(key=KEY) as server, dispatching(server, spool) as worker:
            server._take_values(start, "9", {"1": 0.0})
            server.inputs["9", "1"].processes = f"1:{server.feeds.add('9', '1').id}"
            server.feeds.no_database = 0
            wait_until_idle(worker)
            handle, posts = server.handle, itertools.count(1)

            def fail_once(request):
                return FATAL if request.method == "POST" and next(posts) == 2 else handle(request)

            monkeypatch.setattr(server, "handle", fail_once)
            spool.put([frame(*row, wall=start + 10 * n) for n, row in enumerate([*rows, (3.0,), (4.0,)], 1)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then its feed has all of it
        values = [row[0] for row in [*rows, (3.0,), (4.0,)] if row[0]]
        assert [*server.feeds.by_id[1].slots.values()] == values

    @pytest.mark.parametrize("cls", [FakeEmoncms, RestartedEmoncms])
    @pytest.mark.parametrize("before", [0, 1, 2, 5, 6])
    def test_a_row_that_is_to_be_sent_again_is_sent_by_the_next_run(self, killed, monkeypatch, cls, before):
        # given a server that fails within a row
        start = int(time.time()) - 1000
        with cls(key=KEY) as server:
            for key in "12":
                server._take_values(start, "9", {key: 0.0})
                server.inputs["9", key].processes = f"1:{server.feeds.add('9', key).id}"
            server.feeds.no_database = before
            with killed() as spool, dispatching(server, spool) as worker:
                wait_until_idle(worker)
                handle = server.handle

                def stop_at_the_second_look(request):
                    answer = handle(request)
                    if [each.method for each in server.requests][-3:] == ["POST", "GET", "GET"]:
                        worker.stop.set()
                    return answer

                # when the gateway ends as soon as it knows what has arrived
                monkeypatch.setattr(server, "handle", stop_at_the_second_look)
                spool.put([frame(n + 1.0, n + 1.5, node="9", wall=start + 10 * (n + 1)) for n in range(6)])
                worker.join(30)
            monkeypatch.undo()
            server.feeds.no_database = math.inf
            with killed() as spool, dispatching(server, spool) as worker:
                wait_until(lambda: spool.standing("home").waiting == 0)
        # then the feeds have all of it
        assert [len(feed.slots) for feed in server.feeds.by_id.values()] == [6, 6]
        assert worker.doubled == 0

    @pytest.mark.parametrize("is_cut", [False, True])
    def test_the_next_run_knows_which_rows_were_sent_last(self, killed, server, monkeypatch, is_cut):
        # given two rows without an answer; the server may have ended within the first
        start = int(time.time()) - 1000
        server._take_values(start, "9", {"1": 0.0})
        server.inputs["9", "1"].processes = f"1:{server.feeds.add('9', '1').id}"
        server.stored.clear()
        server.feeds.no_database = 0 if is_cut else math.inf
        with killed() as spool, dispatching(server, spool) as worker:
            wait_until_idle(worker)
            handle, posts = server.handle, itertools.count(1)

            def lose_two(request):
                if request.method != "POST":
                    return handle(request)
                if next(posts) == 1:
                    if is_cut:
                        handle(request)
                    server.feeds.no_database = math.inf
                    return None
                worker.stop.set()
                if is_cut:
                    return FATAL
                handle(request)
                return None

            # when the first is then sent alone, and the gateway ends before it asks what has arrived
            monkeypatch.setattr(server, "handle", lose_two)
            spool.put([frame(n, wall=start + 10 * n) for n in (1.0, 2.0)])
            worker.join(30)
        monkeypatch.undo()
        with killed() as spool, dispatching(server, spool):
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then it is sent again only if it failed
        assert [*server.feeds.by_id[1].slots.values()] == [1.0, 2.0]
        assert stored(server) == [1.0, *([1.0] if is_cut else []), 2.0]

    @pytest.mark.parametrize("batch", [1, 100])
    @pytest.mark.parametrize("before", [0, 1, 2, 5, 6])
    def test_where_the_database_fails_and_the_gateway_ends_at_once_no_reading_counts_as_arrived(
        self, killed, server, before, batch
    ):
        # given a server with a node that has two feeds
        start = int(time.time()) - 1000
        for key in "12":
            server._take_values(start, "9", {key: 0.0})
            server.inputs["9", key].processes = f"1:{server.feeds.add('9', key).id}"
        server.stored.clear()
        server.feeds.no_database = before
        # when the database of its feeds fails, and the gateway ends before it asks what has arrived
        with killed() as spool, dispatching(server, spool, real=True, batch=batch) as worker:
            spool.put([frame(n + 1.0, n + 1.5, node="9", wall=start + 10 * (n + 1)) for n in range(6)])
            wait_until(lambda: worker.failures)
        server.feeds.no_database = math.inf
        with killed() as spool, dispatching(server, spool) as worker:
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then all of it is in the feeds, and only the row at which it failed was posted again
        assert [len(feed.slots) for feed in server.feeds.by_id.values()] == [6, 6]
        assert posted(server)[1] <= {before // 2 + 1.0, before // 2 + 1.5}
        assert worker.doubled == 0

    @pytest.mark.parametrize("before", range(3, 8))
    def test_where_a_row_is_stored_in_part_as_the_gateway_ends_those_before_it_are_not_sent_again(
        self, killed, server, before
    ):
        # given a server whose database fails between two inputs of a row, or before it
        server._take_values(1.0, "9", {"1": 0.0, "2": 0.0})
        server.stored.clear()
        server.no_database = before
        # when the gateway ends before it asks what has arrived
        with killed() as spool, dispatching(server, spool, real=True) as worker:
            spool.put([frame(n + 1.0, n + 1.5, wall=time.time() + 10 * n - 1000) for n in range(6)])
            wait_until(lambda: worker.failures)
        with killed() as spool, dispatching(server, spool) as worker:
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then only what it had of that row comes twice
        assert posted(server) == ({n + half for n in range(1, 7) for half in (0, 0.5)}, torn(before))
        assert worker.doubled == 0

    @pytest.mark.parametrize("before", range(9))
    def test_where_the_database_fails_at_the_inputs_of_a_row_those_before_it_are_not_sent_again(
        self, spool, server, before
    ):
        # given a server with two nodes
        start = int(time.time()) - 1000
        for node, key in product(("8", "9"), "12"):
            server._take_values(start, node, {key: 0.0})
        server.stored.clear()
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            # when its database fails before, between or after the two inputs of a row
            server.no_database = before
            spool.put(
                [frame(n + 1.0, n + 1.5, node="89"[n % 2], wall=start + 10 * (n + 1)) for n in range(6)]
            )
            wait_until(lambda: spool.standing("home").waiting == 0)
            assert worker.failures == 1
        # then only what it had of that row comes twice
        assert posted(server) == ({n + half for n in range(1, 7) for half in (0, 0.5)}, torn(before))
        assert worker.doubled == 0

    @pytest.mark.parametrize(
        ("boot", "edits"),
        [
            ("same", ["home"]),
            ("next", ["home"]),
            ("same", ["house"]),
            ("same", ["other", "other home"]),
            ("same", ["other", "other home", "other house"]),
        ],
    )
    def test_what_a_full_disk_did_not_keep_is_sent_once_more_also_after_a_start(
        self, killed, server, boot, edits
    ):
        # given a server whose disk is full: it shows readings as arrived, and has none of them in its feed
        start = int(time.time()) - 1000
        server._take_values(start, "9", {"1": 0.0})
        feed = server.feeds.add("9", "1")
        server.inputs["9", "1"].processes = f"1:{feed.id}"
        server.feeds.unwritable = server.feeds.full = True
        with killed("same") as spool, dispatching(server, spool) as worker:
            spool.put([frame(float(n), node="9", wall=start + 10 * n) for n in range(1, 31)])
            wait_until(lambda: worker.failures)
        # when the gateway ends, or the machine, there is room again, and a first answer is lost
        server.feeds.unwritable = server.feeds.full = False
        server.reset_after = 2
        with killed(boot) as spool:
            for sections in edits:  # and the section may be renamed, or be away for a while
                spool.set_consumers(sections.split())
            name = edits[-1].split()[-1]
            with dispatching(server, spool, name):
                wait_until(lambda: spool.standing(name).waiting == 0)
        # then its feed has all of them
        assert sorted(feed.slots.values()) == [*range(1, 31)]

    def test_a_full_disk_is_tried_with_one_reading_as_an_accumulator_counts_each_try(self, spool, server):
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            # when the disk of a server is full for a few tries
            server.feeds.unwritable = server.feeds.full = True
            spool.put(numbered(*range(1, 41)))
            wait_until(lambda: worker.failures > 3)
            server.feeds.unwritable = server.feeds.full = False
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then the first try alone had them all, and they arrive in order
        assert sum(value > 1.0 for value in stored(server)) == 39 + 39
        assert stored(server)[-39:] == [float(n) for n in range(2, 41)]

    @pytest.mark.parametrize("nodes", ["99", "9889"])
    def test_what_a_full_disk_did_not_keep_is_sent_again_though_its_answer_was_lost(
        self, spool, server, monkeypatch, nodes
    ):
        # given a server whose disk is full: the feed of node 9 needs a block, and that of node 8 has room
        start = int(time.time()) - 1000
        for node in ("8", "9"):
            server._take_values(start, node, {"1": 0.0})
            server.inputs[node, "1"].processes = f"1:{server.feeds.add(node, '1').id}"
        handle, is_full, lost = server.handle, threading.Event(), [1]
        is_full.set()

        def handle_with_full_disk(request: Request) -> Answer | None:
            server.feeds.unwritable = server.feeds.full = is_full.is_set() and b"%229%22" in request.body
            if request.path.endswith("/input/bulk") and lost:
                server.reset_after = lost.pop()
            return handle(request)

        monkeypatch.setattr(server, "handle", handle_with_full_disk)
        with dispatching(server, spool, batch=1) as worker:
            # when the answer to the first reading is lost, and those to the next are not
            for number, node in enumerate(nodes[:-1]):
                spool.put([frame(90.0 + number, node=node, wall=start + 10 * number)])
                wait_until(lambda: spool.standing("home").waiting == 0)
            spool.put([frame(99.0, node=nodes[-1], wall=start + 990)])
            wait_until(lambda: "not written" in worker.trouble)
            # then all of them are sent again
            is_full.clear()
            wait_until(lambda: spool.standing("home").waiting == 0)
        kept = [value for feed in server.feeds.by_id.values() for value in feed.slots.values()]
        assert sorted(kept) == [*(90.0 + number for number in range(len(nodes) - 1)), 99.0]

    def test_what_was_retried_last_is_no_proof_that_a_renamed_section_has_sent_nothing(self, spool, server):
        # given an older reading that was retried, all delivered, which another destination has not passed
        spool.set_consumers(["home", "other"])
        with dispatching(server, spool):
            spool.put(numbered(4, 5, 6))
            spool.admit([(frame, "home") for frame in numbered(1, 2)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        # when it is renamed
        spool.set_consumers(["house", "other"])
        with dispatching(server, spool, "house") as worker:
            wait_until(lambda: spool.standing("house").waiting == 0)
        assert stored(server) == [4, 5, 6, 1, 2]
        assert worker.doubled == 0

    @pytest.mark.parametrize("fault", [each for each in FAULTS if not each.startswith("hang")])
    @pytest.mark.parametrize("halved", [False, True])
    def test_what_a_full_disk_did_not_keep_is_sent_again_whatever_happens_to_the_server_then(
        self, spool, server, monkeypatch, fault, halved
    ):
        # given a server whose disk is full: it shows readings as arrived, and has none of them in its feeds
        start = int(time.time()) - 1000
        for node in ("8", "9"):
            server._take_values(start, node, {"1": 0.0})
            server.inputs[node, "1"].processes = f"1:{server.feeds.add(node, '1').id}"
        server.feeds.unwritable = server.feeds.full = True
        faults = [*["reset_before", ""] * halved, fault]  # after a lost answer batches are half as large
        handle = server.handle

        def handle_with_faults(request: Request) -> Answer | None:
            if request.path.endswith("/input/bulk") and not server.feeds.full and faults:
                setattr(server, faults.pop(0) or "delay", 1)
            return handle(request)

        monkeypatch.setattr(server, "handle", handle_with_faults)
        some = [frame(float(n), node="8" if n < 16 else "9", wall=start + 10 * n) for n in range(1, 31)]
        with dispatching(server, spool) as worker:
            spool.put(some)
            wait_until(lambda: worker.failures)
            # when there is room again, and something else happens to it before it has all of them
            server.feeds.unwritable = server.feeds.full = False
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then its feeds have all of them
        kept = [value for feed in server.feeds.by_id.values() for value in feed.slots.values()]
        assert sorted(kept) == [*range(1, 31)]
        assert faults == []

    def test_when_the_one_before_was_killed_after_sending(self, spool, server):
        # given frames of which some have been sent, and none noted
        some = numbered(*range(30))
        left_by_an_earlier_run(spool, some)
        with dispatcher(server.url) as killed:
            send(killed, some[:20])
        # when another takes over
        with dispatching(server, spool, batch=7) as worker:
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == list(range(30))
        assert worker.doubled == 0

    def test_when_the_server_is_still_at_work_on_what_was_given_up(self, spool, server):
        # given a server that takes a second and a half for what we wait for a third of one
        server.pace = 0.015
        some = numbered(*range(75))
        with dispatching(server, spool, real=True, timeout=0.3) as worker:
            wait_until_idle(worker)
            spool.put(some)
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == list(range(75))
        assert worker.doubled == 0

    @pytest.mark.parametrize(
        ("values", "redis"), [([1.0, 1.0, 2.0], True), ([1234567.0, 1234568.0, 1234599.0], False)]
    )
    def test_rows_of_a_second_that_are_equal_or_shown_alike_are_all_sent(self, spool, server, values, redis):
        server.redis = redis
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            server.reset_after = 1
            spool.put([frame(value) for value in values])
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == values
        assert worker.doubled == 0

    def test_but_when_the_outcome_of_the_second_is_lost_it_may_come_twice_which_is_counted(
        self, spool, server
    ):
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            spool.put([frame(1.0)])
            wait_until(lambda: spool.standing("home").waiting == 0)
            server.reset_after = 1
            spool.put([frame(1.0)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == [1.0] * 3
        assert worker.doubled == 1

    def test_nor_is_one_taken_for_another_that_the_server_was_found_to_have(self, spool, server):
        with dispatcher(server.url) as killed:
            send(killed, [frame(1.0)])
        left_by_an_earlier_run(spool, [frame(1.0)])
        with dispatching(server, spool) as worker:
            wait_until(lambda: spool.standing("home").waiting == 0)
            wait_until_idle(worker)
            assert len(server.stored) == 1
            server.reset_before = 1
            spool.put([frame(1.0)])
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == [1.0, 1.0]

    @pytest.mark.parametrize("acknowledged", [True, False])
    def test_of_two_equal_readings_a_kill_between_them_leaves_both(self, killed, server, acknowledged):
        # given two, of which the first was sent when the gateway was killed
        with killed() as spool, dispatcher(server.url) as emoncms:
            spool.put([frame(1.0), frame(1.0), frame(2.0)])
            first = spool.peek("home", 1)[0][0]
            spool.mark_sending("home", first)
            send(emoncms, [frame(1.0)])
            if acknowledged:
                spool.done("home", first)
        # when it goes on
        with killed() as spool, dispatching(server, spool) as worker:
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then each is there once
        assert stored(server) == [1.0, 1.0, 2.0]
        assert worker.doubled == 0

    @pytest.mark.parametrize(("arrived", "there"), [(False, [1.0] * 2), (True, [1.0] * 3)])
    def test_but_one_that_was_on_its_way_is_sent_again_and_counted(self, killed, server, arrived, there):
        # given one equal to another that has been delivered, which the server does not acknowledge
        with killed() as spool, dispatching(server, spool) as worker:
            spool.put([frame(1.0)])
            wait_until(lambda: spool.standing("home").waiting == 0)
            server.requests.clear()
            setattr(server, "hang_after" if arrived else "hang", 1)
            spool.put([frame(1.0)])
            wait_until(lambda: server.hanging == 1)
            worker.stop.set()
            server.release()
        # when it goes on after a kill
        with killed() as spool, dispatching(server, spool) as worker:
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == there
        assert worker.doubled == 1

    @pytest.mark.parametrize("waits", [True, False])
    def test_after_a_kill_it_is_known_that_one_equals_what_the_server_has(self, killed, server, waits):
        # given one that was never sent, or that is read after the start, equal to one that was
        with dispatcher(server.url) as emoncms:
            send(emoncms, [frame(1.0)])
        with killed() as spool:
            spool.mark_sending("home", 0)
            spool.put([frame(1.0)] if waits else [])
        # when it goes, then it is noted that the server cannot tell the two apart
        with killed() as spool, dispatching(server, spool) as worker:
            wait_until(worker.tried.is_set)
            spool.put([] if waits else [frame(1.0)])
            wait_until(lambda: spool.standing("home").waiting == 0)
            assert spool.sent("home") == (1, True)
        assert stored(server) == [1.0, 1.0]

    def test_a_server_that_does_not_tell_gets_them_again_which_is_counted(self, spool, server):
        with dispatching(server, spool, apikey=server.device_key) as worker:
            spool.put(numbered(0))
            wait_until(lambda: spool.standing("home").waiting == 0)
            server.reset_after = 1
            spool.put(numbered(1, 2))
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == [0, 1, 2, 1, 2]
        assert worker.doubled == 2

    @pytest.mark.parametrize("status", [301, 307, 403, 404])
    def test_a_page_in_its_place_makes_nothing_come_twice(self, spool, server, status):
        away = [Answer(status, "<html>Maintenance</html>", {"Location": "http://elsewhere/"})] * 9
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            # given an answer that is lost, and a server that is taken away after it
            server.reset_after = 1
            server.canned = [*away]
            spool.put(numbered(0, 1, 2))
            wait_until(lambda: spool.standing("home").waiting == 0)
            # and one that is away before anything is sent
            server.canned = [*away]
            spool.put(numbered(3, 4, 5))
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == list(range(6))
        assert worker.doubled == 0

    def test_which_the_command_shows(self, tmp_path, written, server):
        port = free_port()
        file = written(
            f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n[dispatchers]\n[[home]]\n"
            f"type = emoncms\nurl = {server.url}\napikey = {server.device_key}\ninterval = 0\n"
        )
        with GatewayProcess(file) as gateway:
            with connect(port) as client:
                client.sendall(b"15 2\n")
                wait_until(lambda: gateway.status()["dispatchers"]["home"]["frames"] == 1)
                server.reset_after = 1
                client.sendall(b"15 1\n")
            wait_until(lambda: gateway.status()["dispatchers"]["home"]["frames"] == 2)
            assert stored(server) == [2, 1, 1]
            assert "1 may have arrived twice" in command("--config-file", file, "status").stdout

    def test_a_frame_that_is_refused_takes_no_row_before_it_along_twice(self, spool, server):
        # given a server with room for one more node
        server.max_nodes = 2
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            some = numbered(*range(20))
            spool.put([*some[:13], frame(99.0, node="attic", wall=some[13].stamp.wall), *some[13:]])
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == list(range(20))
        assert [refused.node for refused, *_ in spool.refused("home")] == ["attic"]

    def test_a_refused_node_whose_first_frame_has_no_value_takes_no_row_along_twice(self, spool, server):
        # given a server with room for one more node
        server.max_nodes = 2
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            spool.put([frame(None, node="attic"), *numbered(0, 1, 2), frame(99.0, node="attic")])
            wait_until(lambda: spool.standing("home").waiting == 0)
        assert stored(server) == [0, 1, 2]
        assert [refused.frame.values for refused in spool.refused("home")] == [(99.0,)]

    def test_a_full_account_takes_its_nodes_as_fast_as_ever(self, spool, server, caplog):
        # given an account of 32 nodes, and a backlog of 45
        start = int(time.time()) - 2000
        some = [frame(float(n), node=str(n % 45), wall=start + n) for n in range(45 * 40)]
        with dispatching(server, spool) as worker:
            wait_until_idle(worker)
            spool.put(some)
            wait_until(lambda: spool.standing("home").waiting == 0)
        # then all of these arrive in order, and all of the others are set aside
        assert stored(server) == [n for n in range(len(some)) if n % 45 < 32]
        refused = [refused.frame.values[0] for refused in spool.refused("home", limit=2000)]
        assert refused == [n for n in range(len(some)) if n % 45 >= 32]
        # and beside the 13 refusals there are no more batches than without
        posts = [request for request in server.requests if request.path == "/input/bulk"]
        assert len(posts) <= 13 + 2 * len(some) / worker.plugin.batch
        # with one line a node
        assert [r.message.split(",")[0] for r in caplog.records if r.name == "oemgateway.home"] == [
            f"node {node} is refused" for node in range(32, 45)
        ]

    def test_a_kill_leaves_nothing_of_a_refused_node_behind(self, killed, server):
        # given a full account that is sent a batch without the nodes it refuses, and does not acknowledge it
        server.max_nodes = 2
        start = int(time.time()) - 1000
        some = [frame(float(n), node=("9", "10", "attic")[n % 3], wall=start + n) for n in range(30)]
        with killed() as spool, dispatching(server, spool) as worker:
            spool.put(some[:3])
            wait_until(lambda: spool.standing("home").waiting == 0)
            server.hang_after = 1
            spool.put(some[3:])
            wait_until(lambda: server.hanging == 1)
            worker.stop.set()
            server.release()
        # when it goes on after a kill, and does not know them any more
        with killed() as spool, dispatching(server, spool) as worker:
            wait_until(lambda: spool.standing("home").waiting == 0)
            refused = [refused.frame.values[0] for refused in spool.refused("home")]
        # then each frame is at one place or the other
        assert stored(server) == [n for n in range(30) if n % 3 != 2]
        assert refused == [n for n in range(30) if n % 3 == 2]
        assert worker.doubled == 0


class TestAfterAStartThatCouldNotReadTheFile:
    @pytest.fixture
    def unreadable(self, monkeypatch):
        """Return what keeps the file from being read, and what lets a queue read it again."""

        def refuse(*_: object, **__: object) -> sqlite3.Connection:
            raise sqlite3.OperationalError("disk I/O error")

        @contextlib.contextmanager
        def without_file():
            with monkeypatch.context() as disk:
                disk.setattr(store, "open_store", refuse)
                disk.setattr(store, "open_view", refuse)

                def can_be_read(spool: Spool) -> None:
                    disk.undo()
                    spool._file.retry_at = 0.0
                    spool.tend()
                    assert spool.trouble == ""

                yield can_be_read

        return without_file

    @pytest.mark.parametrize("redis", [True, False])
    def test_what_waits_in_it_does_not_count_as_arrived_by_what_went_ahead(self, killed, unreadable, redis):
        now = int(time.time())
        with FakeEmoncms(key=KEY, redis=redis) as server:
            # given readings that wait in the file, and a later one that arrives from memory without an answer
            with killed() as spool:
                spool.put([frame(float(n), node="9", wall=now - 100 + n) for n in range(1, 6)])
            with unreadable() as can_be_read, killed() as spool:
                with dispatching(server, spool, real=True) as worker:
                    spool.put([frame(0.0, node="8", wall=now)])
                    wait_until(lambda: spool.standing("home").waiting == 0)
                    server.reset_after = 1
                    spool.put([frame(6.0, node="9", wall=now)])
                    wait_until(lambda: worker.failures)
                    server.stop()
                can_be_read(spool)
                assert spool.standing("home").waiting == 6
            # when the gateway was killed, and the server is there
            server.start()
            with killed() as spool, dispatching(server, spool):
                wait_until(lambda: spool.standing("home").waiting == 0)
        # then each arrives; the later one comes again, as what the server shows of it is overwritten by these
        assert stored(server) == [0.0, 6.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]

    def test_what_an_earlier_run_has_sent_of_it_is_looked_for_when_it_can_be_read(self, killed, unreadable):
        now = int(time.time())
        with FakeEmoncms(key=KEY) as server:
            # given readings that were sent without an answer, and a kill
            with killed() as spool, dispatching(server, spool, real=True) as worker:
                spool.put([frame(0.0, node="8", wall=now)])
                wait_until(lambda: spool.standing("home").waiting == 0)
                server.reset_after = 1
                spool.put([frame(float(n), node="9", wall=now - 100 + n) for n in range(1, 6)])
                wait_until(lambda: worker.failures)
                server.stop()
            server.start()
            # when the next start cannot read the file, and delivers another from memory
            with unreadable() as can_be_read, killed() as spool, dispatching(server, spool) as worker:
                spool.put([frame(6.0, node="8", wall=now + 1)])
                wait_until(lambda: 6.0 in stored(server))
                can_be_read(spool)
                wait_until(lambda: spool.standing("home").waiting == 0)
        # then nothing is sent again
        assert stored(server) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert worker.doubled == 0
