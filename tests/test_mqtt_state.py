"""What is retained at the broker: device messages, which node is available, the latest readings."""

from __future__ import annotations

import json

import pytest

from gateway.dispatchers.mqtt.discovery import Announcer
from gateway.dispatchers.mqtt.nodes import node_states
from gateway.dispatchers.mqtt.published import Published
from gateway.dispatchers.mqtt.state import NodeState, StateStream
from gateway.frame import Frame, Stamp
from gateway.listener import Listener, Series
from gateway.nodes import Decoder, Nodes
from gateway.present.state import State
from gateway.settings import build
from tests import home_assistant

STAMP = Stamp(2e9, "", 0.0)
CELLAR = NodeState(
    "9",
    "bridge",
    Frame("9", (18.75, None), STAMP, ("flow", "")),
    interval=10.0,
    name="Cellar",
    values={
        "1": Series(node="9", label="flow", kind="temperature"),
        "2": Series(node="9", label="return", unit="C"),
    },
    open_ended=False,
)


def stream(file=None, prefix="homeassistant"):
    announcer = Announcer("ab12", "home/pi", prefix) if prefix else None
    return StateStream("home/pi", Published(file), announcer, None)


def published(stream, nodes, open_sources=(), now=1000.0):
    """Return what the stream publishes, by topic; the last of a topic."""
    messages = stream.messages(nodes, open_sources, now)
    stream.delivered()
    assert all(message.retain for message in messages)
    return {message.topic: message.payload.decode() for message in messages}


def heard(*frames, nodes=None, now=1000.0):
    """Return the nodes as the core knows them after these frames, each of its own listener."""
    present = State()
    decoders = {name: build(Decoder, settings) for name, settings in (nodes or {}).items()}
    present.configure({frame.source: Listener() for frame in frames}, Nodes(decoders))
    for frame in frames:
        present.begin(frame.source).note(frame, now)
    return node_states(present, now)[0]


def named(source, node, **values):
    """Return a frame by name."""
    return Frame(node, tuple(values.values()), STAMP, tuple(values), source=source, by_name=True)


CONFIG = "homeassistant/device/oemgateway_ab12_9/config"


def test_a_node_is_announced_with_what_the_configuration_says():
    found = published(stream(), [CELLAR])
    message = home_assistant.check(CONFIG, found[CONFIG])
    assert message["device"] == {
        "identifiers": ["oemgateway_ab12_9"],
        "name": "Cellar",
        "manufacturer": "oemgateway",
        "via_device": "oemgateway_ab12",
    }
    assert message["availability"] == [{"topic": "home/pi/status"}, {"topic": "home/pi/available/9"}]
    assert (message["availability_mode"], message["state_topic"]) == ("all", "home/pi/state/9")
    one, two = message["components"]["1"], message["components"]["2"]
    assert one == {
        "platform": "sensor",
        "unique_id": "oemgateway_ab12_9_1",
        "name": "flow",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "state_class": "measurement",
        "suggested_display_precision": 1,
        "value_template": "{{ value_json['values']['1'] | default(none) }}",
        "expire_after": 30,
    }
    assert (two["name"], two["device_class"], two["unit_of_measurement"]) == ("return", "temperature", "°C")
    assert message["components"]["-seen"]["device_class"] == "timestamp"
    assert "-rssi" not in message["components"]


def test_everything_that_is_retained_at_first():
    found = published(stream(), [CELLAR])
    itself = "homeassistant/device/oemgateway_ab12/config"
    assert set(found) == {itself, CONFIG, "home/pi/status", "home/pi/available/9", "home/pi/state/9"}
    assert set(home_assistant.check(itself, found[itself])["components"]) == {
        "waiting",
        "oldest",
        "problem",
        "version",
    }
    assert found["home/pi/status"] == found["home/pi/available/9"] == "online"
    assert json.loads(found["home/pi/state/9"])["values"] == {"1": 18.75, "2": None}


@pytest.mark.parametrize(
    ("unit", "label", "kind", "state"),
    [
        ("C", "", "temperature", "measurement"),
        ("W", "", "power", "measurement"),
        ("V", "battery", "voltage", "measurement"),
        ("Wh", "", "energy", "total_increasing"),
        ("%", "humidity", "humidity", "measurement"),
        ("%", "Battery", "battery", "measurement"),
        ("%", "valve", None, "measurement"),
        ("p", "pulse", None, "total_increasing"),
        ("VA", "", "apparent_power", "measurement"),
        ("kVA", "", None, "measurement"),
        ("furlong", "", None, "measurement"),
        ("", "", None, "measurement"),
    ],
)
def test_a_unit_gets_the_device_class_that_allows_it(unit, label, kind, state):
    node = NodeState("10", "radio", values={"1": Series(node="10", label=label, unit=unit)})
    about = home_assistant.check(
        "homeassistant/device/oemgateway_ab12_10/config",
        published(stream(), [node])["homeassistant/device/oemgateway_ab12_10/config"],
    )["components"]["1"]
    assert (about.get("device_class"), about["state_class"]) == (kind, state)
    assert about.get("unit_of_measurement") == {"C": "°C", "p": None, "": None}.get(unit, unit)


def test_nodes_and_names_that_nobody_would_choose():
    names = "x'] }}{{ 1/0", "", "x'] }} {{ 1/0"
    frame = Frame("a b.-_é", (1, 2, 3), STAMP, names, -70, "push", by_name=True)
    found = published(stream(), [*heard(frame), NodeState("a-20b", "push")])
    configs = {topic: text for topic, text in found.items() if topic.endswith("/config")}
    assert len(configs) == 3
    messages = [home_assistant.check(topic, text) for topic, text in configs.items()]
    components = messages[1]["components"]
    assert len(components) == 3 + 2
    assert components["-rssi"]["unit_of_measurement"] == "dBm"
    assert not any("1/0" in about["value_template"] for about in components.values())


def test_no_two_values_have_the_same_id_and_each_keeps_its_own(tmp_path):
    # given nodes and names whose parts, put together, are the same
    def ids(*nodes):
        found = published(stream(tmp_path / "published"), [*nodes], ["push"])
        configs = {
            topic: home_assistant.check(topic, text)["components"]
            for topic, text in found.items()
            if topic.endswith("config") and text
        }
        return {
            node: components[key]["unique_id"]
            for node, key in (("a", "b_c"), ("a_b", "c"))
            if (components := configs.get(f"homeassistant/device/oemgateway_ab12_{node}/config"))
        }

    (one,), (other,) = heard(named("push", "a", b_c=1)), heard(named("push", "a_b", c=2))
    # when both are announced, then the first has the id that it would have alone
    assert ids(one) == {"a": "oemgateway_ab12_a_b_c"}
    both = {"a": "oemgateway_ab12_a_b_c", "a_b": "oemgateway_ab12_a_b/c"}
    assert ids(one, other) == both
    # and none changes, whichever is heard first after a restart, or alone
    assert ids(other, one) == both
    assert ids(other)["a_b"] == both["a_b"]
    published(stream(tmp_path / "published"), [other])
    assert ids(other) == {"a_b": both["a_b"]}


def test_nothing_is_sent_twice_and_a_backlog_never():
    one = stream()
    published(one, [CELLAR])
    assert published(one, [CELLAR]) == {}
    frames = [Frame("9", (18 + number, 20.5), STAMP) for number in range(100)]
    newest = NodeState(**{**vars(CELLAR), "frame": frames[-1]})
    assert {topic: json.loads(text)["values"]["1"] for topic, text in published(one, [newest]).items()} == {
        "home/pi/state/9": 117
    }


def test_an_old_reading_is_not_the_present_one():
    old = NodeState(**{**vars(CELLAR), "age": 31.0})
    found = published(stream(), [old])
    assert found["home/pi/available/9"] == "offline"
    assert "home/pi/state/9" not in found
    fresh = NodeState(**{**vars(CELLAR), "age": 10.0})
    (message,) = [each for each in stream().messages([fresh], (), 1000.0) if each.topic == "home/pi/state/9"]
    assert message.expiry == 20.0


@pytest.mark.parametrize(
    ("usual", "expected"), [(None, 600), (10.0, 600), (199.0, 600), (201.0, 1200), (700.0, 2400)]
)
def test_without_an_interval_three_usual_pauses_and_ten_minutes_at_least(usual, expected):
    assert NodeState("10", usual=usual).expire_after() == expected


def test_a_component_that_is_gone_is_removed_once_and_a_node_with_all_its_topics(tmp_path):
    file = tmp_path / "mqtt.json"
    published(stream(file), [CELLAR])
    without = NodeState(**{**vars(CELLAR), "values": {"1": CELLAR.values["1"]}})
    messages = [each for each in stream(file).messages([without], (), 1000.0) if each.topic == CONFIG]
    both = [json.loads(each.payload)["components"] for each in messages]
    assert both[0]["2"] == {"platform": "sensor"}
    assert "2" not in both[1]
    again = stream(file)
    published(again, [without])
    gone = published(again, [])
    assert {topic for topic, text in gone.items() if not text} == {
        CONFIG,
        "home/pi/available/9",
        "home/pi/state/9",
    }
    assert published(again, []) == {}


def test_discovery_that_is_switched_off_is_taken_away(tmp_path):
    file = tmp_path / "mqtt.json"
    published(stream(file), [CELLAR])
    found = published(stream(file, prefix=""), [CELLAR])
    assert {topic for topic, text in found.items() if not text} == {
        CONFIG,
        "homeassistant/device/oemgateway_ab12/config",
    }
    assert "home/pi/state/9" in found


def test_a_node_of_a_radio_stays_announced_after_a_restart_with_all_it_had(tmp_path):
    file = tmp_path / "mqtt.json"
    published(stream(file), heard(named("names", "emontx", P1=1, T1=2)))
    again = stream(file)
    assert not any(text == "" for text in published(again, [], {"names"}).values())
    found = published(again, heard(named("names", "emontx", P1=3)), {"names"})
    message = home_assistant.check(*next(item for item in found.items() if "emontx/config" in item[0]))
    assert set(message["components"]) == {"P1", "T1", "-seen"}
    assert "" in published(stream(file), [], set()).values()


def test_a_node_that_was_not_heard_yet_or_is_forgotten_is_offline(tmp_path):
    file = tmp_path / "mqtt.json"
    nodes = heard(named("names", "emontx", P1=1))
    one = stream(file)
    assert published(one, nodes, {"names"})["home/pi/available/emontx"] == "online"
    assert published(one, [], {"names"}) == {"home/pi/available/emontx": "offline"}
    assert published(one, nodes, {"names"})["home/pi/available/emontx"] == "online"
    again = stream(file)
    assert published(again, [], {"names"})["home/pi/available/emontx"] == "offline"
    assert published(again, [], {"names"}) == {}


@pytest.mark.parametrize("is_heard", [False, True])
@pytest.mark.parametrize(
    ("base", "prefix", "stays"),
    [
        ("home/pi", "", {"state", "available"}),
        ("home/pi", "ha", {"state", "available"}),
        ("other", "", set()),
    ],
)
def test_of_other_settings_nothing_of_a_radio_s_node_stays(tmp_path, is_heard, base, prefix, stays):
    file = tmp_path / "mqtt.json"
    nodes = heard(named("names", "emontx", P1=1))
    before = {topic for topic in published(stream(file), nodes, {"names"}) if "emontx" in topic}
    announcer = Announcer("ab12", base, prefix) if prefix else None
    again = StateStream(base, Published(file), announcer, None)
    found = published(again, nodes if is_heard else [], {"names"})
    gone = {topic for topic, text in found.items() if not text}
    assert before - gone == {f"home/pi/{each}/emontx" for each in stays}


@pytest.mark.parametrize(
    "kept",
    [
        {"homeassistant/device/x/config": ["", {"1": ["a"]}]},
        {"homeassistant/device/x/config": ["", 5]},
        {"homeassistant/device/x/config": ["", {"1": {"unique_id": []}}]},
        {"homeassistant/device/x/config": ["", {"1": {"platform": "\ud800"}}]},
        {"homeassistant/device/x/config": ["", {"1": {"platform": float("inf")}}]},
        {"a/+/b": ["", {}]},
        {"a/#": ["", {}]},
        {"a" * 70_000: ["", {}]},
        {"": ["", {}]},
        {"$SYS/x": ["", {}]},
        {"\ud800": ["", {}]},
    ],
)
def test_what_it_cannot_have_published_is_not_removed(tmp_path, kept):
    # given a file that this gateway has not written so
    file = tmp_path / "mqtt-home.json"
    file.write_text(json.dumps(kept))
    # when a node is published, and all is removed again
    stream_ = stream(file)
    topics = published(stream_, heard(named("bridge", "9", flow=18.75)))
    # then everything is a message that a broker takes, and only of what is there
    assert "home/pi/state/9" in topics
    assert not topics.keys() & kept.keys()
    assert {message.topic for message in stream_.removal()} == topics.keys() | {"home/pi/gateway"}


def test_made_up_nodes_do_not_fill_the_broker(tmp_path):
    file = tmp_path / "mqtt.json"
    one, there = stream(file), set()
    for begin in range(0, 1000, 50):
        nodes = heard(*(named(f"names{n}", f"n{n}", P1=1) for n in range(begin, begin + 50)))
        for topic, text in published(one, nodes, {f"names{n}" for n in range(1000)}).items():
            (there.add if text else there.discard)(topic)
    assert len(there) < 3 * (256 + 50) + 5
    assert {f"home/pi/{each}/n800" for each in ("available", "state")} < there
    assert set(Published(file).topics) == there | {"home/pi/gateway"}


def test_values_by_name_that_come_apart_stand_until_they_expire():
    one = stream()

    def values(now, **given):
        text = published(one, heard(named("names", "emontx", **given)), now=now)["home/pi/state/emontx"]
        return json.loads(text)["values"]

    assert values(0.0, P1=1) == {"P1": 1}
    assert values(10.0, T1=2) == {"P1": 1, "T1": 2}
    assert values(605.0, T1=3) == {"T1": 3}


def test_values_of_a_device_that_sends_each_on_its_own_are_all_present():
    # given a device that posts three values one after the other, before anyone looks at them
    present, one = State(), stream()
    present.configure({"push": Listener()}, Nodes({}))
    latest = present.begin("push")
    numbered = Frame("x", (7, 8), STAMP, source="push")
    for at, frame in enumerate([numbered, *(named("push", "x", **{name: 1}) for name in ("a", "b", "a"))]):
        latest.note(frame, 100.0 + at)
    # when the present is looked at, then it has all of them, and each is announced
    found = published(one, node_states(present, 104.0)[0], now=104.0)
    assert json.loads(found["home/pi/state/x"])["values"] == {"1": 7, "2": 8, "b": 1, "a": 1}
    message = home_assistant.check(topic := "homeassistant/device/oemgateway_ab12_x/config", found[topic])
    assert set(message["components"]) == {"1", "2", "a", "b", "-seen"}
    # and each expires by its own time
    latest.note(named("push", "x", c=3), 702.5)
    found = published(one, node_states(present, 702.5)[0], now=702.5)
    assert json.loads(found["home/pi/state/x"])["values"] == {"a": 1, "c": 3}


def test_what_nodes_says_of_a_radio_is_announced():
    decoder = {"nodename": "emonTx", "names": ["power1", "temp1"], "units": ["W", "C"], "datacode": "h"}
    (node,) = heard(
        Frame("8", (100, 20.5, 7), STAMP, ("power1", "temp1"), source="radio"), nodes={"8": decoder}
    )
    config = "homeassistant/device/oemgateway_ab12_8/config"
    message = home_assistant.check(config, published(stream(), [node])[config])
    assert message["device"]["name"] == "emonTx"
    found = {key: (about["name"], about.get("device_class")) for key, about in message["components"].items()}
    assert found == {
        "1": ("power1", "power"),
        "2": ("temp1", "temperature"),
        "3": ("Value 3", None),
        "-seen": ("Last seen", "timestamp"),
    }


def test_a_node_of_two_listeners_is_one_and_keeps_the_values_of_both():
    one = Frame("9", (18.5, None, 20.5), STAMP, source="bridge")
    other = Frame("9", (None, 19.5), STAMP, source="mounted")
    (node,) = heard(one, other)
    assert node.frame.values == (18.5, 19.5, 20.5)


def test_after_a_birth_message_all_of_it_is_sent_again():
    one = stream()
    first = published(one, [CELLAR])
    one.forget_sent()
    assert published(one, [CELLAR]) == first


def test_the_gateway_s_own_state_is_sent_when_it_changes_and_not_too_often():
    one = stream()
    about = {"waiting": 0, "oldest": 0, "troubles": [], "version": "1"}
    (message,) = one.gateway(about, 0.0)
    assert json.loads(message.payload) == {**about, "problem": "OFF"}
    assert one.gateway(about, 20.0) == []
    assert one.gateway({**about, "waiting": 1}, 5.0) == []
    assert len(one.gateway({**about, "waiting": 1}, 10.0)) == 1
    (message,) = one.gateway({**about, "troubles": ["x"]}, 10.5)
    assert json.loads(message.payload)["problem"] == "ON"


def test_a_damaged_file_of_what_was_published_is_done_without(tmp_path):
    file = tmp_path / "mqtt.json"
    for text in ("", "[1]", '{"a": 5}', '{"a": ["x", 7]}', "[" * 9999):
        file.write_text(text)
        assert CONFIG in published(stream(file), [CELLAR])
