"""`oemgateway values`, and the values that the present state has."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass, replace

import pytest

from gateway.commands import status as status_command
from gateway.frame import Frame, Stamp
from gateway.nodes import Decoder, Nodes
from gateway.plugin import Sampler, Series
from gateway.present.state import State
from gateway.present.tracks import MINUTES, Tracks
from gateway.present.values import Value, carry_forward, lifetime
from gateway.present.values_table import screen, table, trend
from gateway.text.words import figure, short_span
from tests.gateway_process import GatewayProcess, command, state
from tests.statuses import dispatcher, listener, status
from tests.typist import at_terminal
from tests.waiting import wait_until

STAMP = Stamp(1_700_000_000.0, "boot", 1.0)
CONFIGURATION = """simulate = yes
[listeners]
[[bridge]]
type = ds2482
bus = simulated
node = 9
interval = 1
sensor1 = 28.33F749050000, cellar
sensor2 = Dummy
sensor3 = 28.DB564A050000, flow
[dispatchers]
[[log]]
type = log
"""


@dataclass(kw_only=True)
class Bridge(Sampler):
    """Three indices, of which the second is a Dummy."""

    def catalogue(self):
        sensors = {1: "cellar", 3: "flow"}
        return [
            Series(node="9", index=n, label=sensors.get(n, ""), unit="°C", interval=10, claimed=n in sensors)
            for n in (1, 2, 3)
        ]


@pytest.fixture
def present():
    made = State()
    nodes = Nodes({"10": Decoder(name="emontx", names=("P1",), units=("W",))})
    made.configure({"bridge": Bridge(node="9"), "radio": Sampler(node="r")}, nodes)
    return made


def by_place(present: State) -> dict[tuple[str, int | str], Value]:
    return {(value.node, value.index or value.label): value for value in present.values()}


def test_what_is_configured_and_was_not_heard_yet_has_no_value_and_no_age(present):
    values = by_place(present)
    assert list(values) == [("9", 1), ("9", 3)]  # of a Dummy nothing is expected
    assert (values["9", 3].label, values["9", 3].value, values["9", 3].age) == ("flow", None, None)


def test_each_index_has_its_own_last_value_whatever_its_neighbours_do(present):
    heard, now = present.begin("bridge"), time.monotonic()
    heard.note(Frame("9", (11.5, None, 46.0), STAMP, source="bridge"), now - 7)
    heard.note(Frame("9", (11.75, None, None), STAMP, source="bridge"), now)
    values = by_place(present)
    assert (values["9", 1].value, values["9", 1].last) == (11.75, 11.75)
    flow = values["9", 3]
    assert (flow.value, flow.last, flow.age) == (None, 46.0, pytest.approx(7, abs=2))
    dummy = values["9", 2]
    assert (dummy.dummy, dummy.value, dummy.unit) == (True, None, "")


def test_a_value_stands_for_three_intervals_and_a_minute_at_least(present):
    heard, now = present.begin("bridge"), time.monotonic()
    heard.note(Frame("9", (11.5,), STAMP, source="bridge"), now - 50)
    assert by_place(present)["9", 1].value == 11.5
    heard.note(Frame("9", (11.5,), STAMP, source="bridge"), now - 65)
    silent = by_place(present)["9", 1]
    assert (silent.value, silent.last) == (None, 11.5)


@pytest.mark.parametrize(
    ("interval", "usual", "seconds"),
    [(10, None, 60), (300, None, 900), (0, None, 600), (0, 10, 600), (0, 3600, 10800)],
)
def test_how_long_a_value_stands(interval, usual, seconds):
    assert lifetime(interval, usual) == seconds


def test_a_name_that_the_last_frame_did_not_have_still_has_its_value(present):
    heard, now = present.begin("radio"), time.monotonic()
    for name, value in (("P1", 250.0), ("Vrms", 230.0)):
        heard.note(Frame("10", (value,), STAMP, (name,), rssi=-61, source="radio", by_name=True), now)
    values = by_place(present)
    assert (values["10", "P1"].value, values["10", "Vrms"].value) == (250.0, 230.0)
    power = values["10", "P1"]
    assert (power.index, power.unit, power.node_name, power.rssi) == (None, "W", "emontx", -61)


def test_the_last_hour_is_the_means_of_its_minutes_and_moves_on():
    tracks = Tracks()
    for second in range(0, 120, 10):
        tracks.note(Frame("9", (float(second),), STAMP), 6000.0 + second)
    (heard,) = tracks.heard(6119.0)
    assert heard.minutes == [None] * (MINUTES - 2) + [25.0, 85.0]
    (heard,) = tracks.heard(6000.0 + 59 * 60)
    assert heard.minutes[:2] == [25.0, 85.0]
    (heard,) = tracks.heard(6000.0 + 61 * 60)
    assert heard.minutes == [None] * MINUTES


def test_of_too_many_names_the_one_silent_for_longest_is_forgotten():
    tracks = Tracks()
    for number in range(1001):
        tracks.note(Frame("n", (1.0,), STAMP, (f"name{number}",), by_name=True), float(number))
    keys = [heard.key for heard in tracks.heard(1001.0)]
    assert (len(keys), keys[0], keys[-1]) == (1000, "name1", "name1000")


def test_a_sensor_that_is_read_every_five_minutes_has_no_gaps_between():
    assert carry_forward([1.0, None, None, 2.0, None, None], 120) == [1.0, 1.0, None, 2.0, 2.0, None]


def a_value(**changes):
    whole = {"source": "bridge", "node": "9", "index": 1, "label": "cellar", "unit": "°C", "last": 11.8125}
    return Value(
        **{**whole, "value": 11.8125, "age": 4.2, "hour": [None] * 30 + [*map(float, range(30))], **changes}
    )


def many() -> list[Value]:
    """Return twenty sensors, and ten nodes of a radio with three values each."""
    sensors = [a_value(index=n, label=f"room {n} at the back", value=-1.5 * n) for n in range(1, 21)]
    radio = [
        a_value(node=f"{node}", index=n, label="", unit="", value=25_377_000 + n, rssi=-74, source="radio")
        for node in range(10, 20)
        for n in (1, 2, 3)
    ]
    return [*sensors, *radio]


def test_a_line_per_index_with_label_value_unit_age_signal_and_trend():
    hour = [1.0] * 30 + [2.0] * 30
    lines = table(
        [a_value(hour=hour, rssi=-61), a_value(index=2, label="", value=None, age=7200.0, hour=[])], 80
    )
    assert [line.split() for line in lines] == [
        ["node", "index", "label", "value", "age", "signal", "last", "hour"],
        ["9", "1", "cellar", "11.8125", "°C", "4", "s", "-61", "dBm", "▁" * 15 + "█" * 15],
        ["9", "2", "-", "°C", "2", "h"],
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 132])
def test_every_line_fits_its_terminal(width):
    lines = table([*many(), a_value(label="x" * 80), a_value(node="a" * 10)], width)
    assert max(map(len, lines)) <= width or width == 40
    assert all(str(value.index) in line for value, line in zip(many(), lines[1:], strict=False))


def test_twenty_sensors_and_ten_nodes_have_their_trend_at_80_columns():
    lines = table(many(), 80)
    assert "room 20 at the back" in lines[20]
    assert sum(bar in lines[20] for bar in "▁▂▃▄▅▆▇█") == 8


def test_where_the_terminal_has_no_such_characters_there_is_no_trend():
    assert table([a_value()], 80, encoding="ascii")[0].split()[-1] == "age"


@pytest.mark.parametrize(
    ("hour", "shown"),
    [
        ([], ""),
        ([None] * 60, ""),
        ([5.0] * 60, "▁" * 10),
        ([None] * 30 + [float(n) for n in range(30)], "     ▁▃▅▆█"),
    ],
)
def test_the_trend_lies_between_its_least_and_greatest(hour, shown):
    assert trend(hour, 10) == shown


@pytest.mark.parametrize("height", [5, 10, 24, 70])
def test_rows_that_do_not_fit_are_announced_and_the_log_stays(height):
    lines = ["the title", "", *table(many(), 80)]
    shown = screen(lines, [f"message {n}" for n in range(8)], 80, height)
    assert len(shown) < height
    assert shown[-1] == "message 7" or height == 5
    announced = [line for line in shown if line.startswith("... ")]
    hidden = len(lines) - [line in lines for line in shown].index(False) if announced else 0
    assert announced == ([f"... {hidden} more"] if height < 70 else [])


def test_a_label_that_is_cut_shows_it_and_is_whole_where_there_is_room():
    tank = a_value(label="hot water tank at the bottom left", hour=[18.0] * 60)
    assert "  hot water tank at the ..  " in table([tank], 80)[1]
    (_, line) = table([tank], 140)
    assert "hot water tank at the bottom left" in line
    assert line.endswith("▁" * 60)


def test_a_node_with_a_long_name_hides_no_value():
    lines = table([a_value(node="n" * 64, value=20.5), a_value(value=21.5)], 80)
    assert all(len(line) <= 80 for line in lines)
    assert ["20.5" in line for line in lines] == [False, True, False]


def test_a_label_reaches_the_terminal_escaped():
    (_, line) = table([a_value(label="a\x1b[2J\u202eb", node="\x1bn")], 80)
    assert "\x1b" not in line
    assert "\u202e" not in line


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (11.8125, "11.8125"),
        (25_377_000.0, "25377000"),
        (-0.5, "-0.5"),
        (12_345_678.5, "12345678"),
        (1e30, "1e+30"),
    ],
)
def test_figures(value, shown):
    assert figure(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(4.2, "4 s"), (119, "119 s"), (600, "10 min"), (7200, "2 h"), (864000, "10 days")]
)
def test_short_spans(seconds, shown):
    assert short_span(seconds) == shown


def test_status_with_twenty_sensors_and_ten_nodes_fits_80_columns():
    nodes = {str(node): 3.0 for node in range(10, 20)}
    troubles = [f"sensor{n} 28.AB1663050000 (return {n}): no answer" for n in range(20)]
    many_nodes = status(
        listeners={"bridge": listener(troubles=troubles), "radio": listener(silent=nodes)},
        dispatchers={"emoncms": dispatcher(queue={"waiting": 1440, "age": 7200.0})},
    )
    lines = [*status_command.lines(many_nodes, 80)]
    assert max(map(len, lines)) <= 80
    assert len(lines) < 30
    assert not any(line[-1].isdecimal() for line in lines)  # a number and its unit stay together
    assert "node 19 3 s ago" in " ".join(lines)


@pytest.fixture
def file(tmp_path, written):
    return written(state(tmp_path) + CONFIGURATION)


def test_the_running_gateway_is_asked(file):
    with GatewayProcess(file):
        wait_until(lambda: "Dummy" in command("--config-file", file, "values").stdout)
        asked = json.loads(command("--config-file", file, "values", "--json").stdout)
        lines = command("--config-file", file, "values", COLUMNS="80").stdout.splitlines()
    assert [(value["node"], value["index"], value["label"]) for value in asked] == [
        ("9", 1, "cellar"),
        ("9", 2, ""),
        ("9", 3, "flow"),
    ]
    assert 5 < asked[0]["value"] < 20
    assert (len(asked[0]["hour"]), asked[1]["dummy"]) == (60, True)
    assert [line.split()[2] for line in lines[1:]] == ["cellar", "Dummy", "flow"]


def test_without_a_gateway_it_says_so(file):
    done = command("--config-file", file, "values")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no gateway answers" in done.stderr


def test_watched_they_are_drawn_over_themselves_until_ctrl_c(file):
    with GatewayProcess(file), at_terminal(file, "values", "--watch") as person:
        for _ in range(3):
            person.sees("\x1b[H")
        person.process.send_signal(signal.SIGINT)
        assert person.waits() == 0
    assert "cellar" in person.seen


def test_a_value_survives_json(present):
    from gateway.present.status import from_json

    value = replace(a_value(), dummy=True)
    assert from_json(Value, json.loads(json.dumps(vars(value)))) == value
