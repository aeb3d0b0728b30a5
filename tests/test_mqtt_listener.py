"""Values from Debian's mosquitto: mappings, streams, what is refused, and what is acknowledged when."""

from __future__ import annotations

import json
import re

import pytest

from gateway.conf import config
from gateway.conf.config import ConfigFaults
from gateway.dispatchers.mqtt.dispatcher import Mqtt as ToBroker
from gateway.flag import Flag
from gateway.frame import Frame, Stamp
from gateway.mqtt.frames import Identity, log_message
from gateway.plugin import Batch
from gateway.settings import SettingsFault, build
from listeners.mqtt.listener import Mqtt
from listeners.mqtt.streams import Read, read_emon, read_log
from listeners.simulated.clock import VirtualClock
from tests.gateway_process import GatewayProcess, state
from tests.listening import NOW, Disk, listening
from tests.simulators.mosquitto import Mosquitto, Subscriber, old, publish
from tests.waiting import wait_until

ZIGBEE = {
    "value1": ["zigbee2mqtt/cellar", "temperature", "20", "1", "cellar"],
    "value2": ["zigbee2mqtt/cellar", "humidity", "20", "3"],
    "value3": ["tele/boiler/SENSOR", "DS18B20.Temperature", "21", "1"],
    "value4": ["shelly/status/switch:0", "aenergy.by_minute.1", "22", "1"],
    "value5": ["rtl_433/96/temperature_C", "-", "23", "1"],
    "value6": ["tele/meter/SENSOR", "SML.1.8.0", "24", "1"],
    "value7": ["tele/meter/SENSOR", "SML.16.7.0.L.1", "24", "2"],
    "value8": ["zigbee2mqtt/attic", "temperature.", "25", "1"],
}


def mappings():
    return build(Mqtt, ZIGBEE).values


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        ("zigbee2mqtt/cellar", '{"temperature":18.5,"humidity":70,"battery":100}', ("20", (18.5, None, 70))),
        ("zigbee2mqtt/cellar", '{"temperature":18.5}', ("20", (18.5,))),
        ("zigbee2mqtt/cellar", '{"temperature":null,"humidity":"70.5"}', ("20", (None, None, 70.5))),
        ("tele/boiler/SENSOR", '{"Time":"x","DS18B20":{"Id":"0","Temperature":20.6}}', ("21", (20.6,))),
        ("shelly/status/switch:0", '{"aenergy":{"by_minute":[1,2,3]}}', ("22", (2,))),
        ("rtl_433/96/temperature_C", " 20.5 ", ("23", (20.5,))),
        ("tele/meter/SENSOR", '{"SML":{"1":7,"1.8.0":4321.5,"16.7.0":{"L":[1,230]}}}', ("24", (4321.5, 230))),
        ("tele/meter/SENSOR", '{"SML":{"1":{"8":{"0":4321.5}},"16.7":{"0":{"L.1":9}}}}', ("24", (4321.5, 9))),
        ("tele/meter/SENSOR", '{"SML.1":{"8":{"x":1},"8.0":2},"SML":{"1":[1]}}', ("24", (2,))),
    ],
)
def test_a_mapping_finds_its_value(topic, payload, expected):
    (frame,) = mappings().frames(topic, payload.encode(), NOW)
    assert (frame.node, frame.values) == expected
    assert frame.stamp == NOW


def test_a_path_that_ends_with_a_dot_is_not_the_one_without():
    with pytest.raises(ValueError, match=r"nothing at temperature\."):
        mappings().frames("zigbee2mqtt/attic", b'{"temperature":18.5}', NOW)
    (frame,) = mappings().frames("zigbee2mqtt/attic", b'{"temperature.":18.5}', NOW)
    assert frame.values == (18.5,)


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "on",
        "{}",
        "[1]",
        '{"temperature":{}}',
        '{"temperature":"warm"}',
        "[" * 9999,
    ],
)
def test_a_message_without_any_of_its_values_is_refused(payload):
    with pytest.raises(ValueError, match=r"."):
        mappings().frames("zigbee2mqtt/cellar", payload.encode(), NOW)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"value1": ["a", "b", "20", "1"], "value2": ["c", "d", "20", "1"]},
            "value2: value1 has index 1 of node 20",
        ),
        ({"value1": "a"}, "value1: a topic, a path in its JSON"),
        ({"value1": ["a/+", "b", "20", "1"]}, "value1: a topic without"),
        ({"value1": ["a", "b", "20", "0"]}, "value1: an index from 1 to 999 expected, not 0"),
        ({"value1": ["a", "", "20", "1"]}, "value1: a path in its JSON expected"),
        ({"value1": ["a", "b", "n" * 65, "1"]}, "value1: 1 to 64 letters"),
        ({"topics": ["a#"]}, "topics: a topic expected"),
        ({"topics": ["emon/"]}, 'not emon/ (with a # in quotes: "emon/#"'),
        ({"prefix": "id", "format": "emoncms"}, "prefix: format = oemgateway expected"),
    ],
)
def test_faults_of_the_configuration(given, message):
    with pytest.raises(SettingsFault, match=message.replace("(", "\\(")):
        build(Mqtt, given)


@pytest.mark.parametrize("topic", ["/home/cellar", "$SYS/broker/uptime"])
def test_a_topic_that_cannot_be_published_to_can_be_read(topic):
    assert build(Mqtt, {"value1": [topic, "-", "20", "1"]}).values.topics() == [topic]


def test_a_node_of_another_section_is_a_fault(written):
    section = "type = mqtt\nvalue1 = a, b, 9, 1\n"
    file = written(f"[listeners]\n[[one]]\n{section}[[two]]\n{section}[dispatchers]\n[[log]]\ntype = log\n")
    with pytest.raises(ConfigFaults) as caught:
        config.read(file)
    assert "index 1 of node 9 is written by one" in str(caught.value.faults[0])


def test_the_same_type_below_listeners_and_dispatchers_is_right(written):
    both = "[listeners]\n[[in]]\ntype = mqtt\n[dispatchers]\n[[out]]\ntype = mqtt\ntopic = home\n"
    assert config.read(written(both)).types == {"listeners": {"in": "mqtt"}, "dispatchers": {"out": "mqtt"}}


def test_streams_are_read_by_their_conventions():
    message = log_message("home/pi", Frame("9", (18.5, None), Stamp(1e9, "b", 1.0), ("flow",), -60), None)
    read = read_log(message.topic, message.payload, NOW)
    assert read == Read("home/pi", "9", Frame("9", (18.5,), Stamp(1e9, "", 0.0), ("flow",), -60), None)
    assert read_emon("emon", "emon/rx/10/values", b"1,2,-61", NOW) == Frame("10", (1, 2, -61), NOW)
    assert read_emon("emon", "emon/rx/10/rssi", b"-61", NOW) is None
    with pytest.raises(ValueError, match="rx, a node and values expected"):
        read_emon("emon", "emon/rx/10/other", b"1", NOW)
    assert read_emon("emon", "emon/tx/power1", b"5", NOW) == Frame("tx", (5,), NOW, ("power1",), by_name=True)
    for topic in ("emon", "emon/", "emon//power1"):
        with pytest.raises(ValueError, match="1 to 64 letters"):
            read_emon("emon", topic, b"5", NOW)
    for topic in ("9", "home/9", "home/state/9"):
        with pytest.raises(ValueError, match="a topic that ends with log"):
            read_log(topic, message.payload, NOW)
    for node in ("x" * 65, ""):
        assert read_log(f"home/log/{node}", message.payload, NOW).fault.startswith("1 to 64 letters")


def test_nothing_is_acknowledged_before_it_is_safe_and_it_comes_again(broker, tmp_path):
    listener = listening(broker, tmp_path, value1=ZIGBEE["value1"])
    publish(broker, "zigbee2mqtt/cellar", '{"temperature":18.5}')
    disk = Disk(listener)
    disk.read_until(1)
    disk.end_as_if_killed()
    again = listening(broker, tmp_path, value1=ZIGBEE["value1"])
    disk = Disk(again)
    disk.read_until(1)
    disk.sync()
    publish(broker, "zigbee2mqtt/cellar", '{"temperature":19.5}')
    disk.read_until(2)
    disk.end_as_if_killed()
    last = Disk(listening(broker, tmp_path, value1=ZIGBEE["value1"]))
    last.read_until(1)
    last.listener.close()
    assert [frame.values for frame in last.frames] == [(19.5,)]
    assert (last.frames[0].source, last.frames[0].names) == ("broker", ("cellar",))


@pytest.mark.parametrize("is_lost", [False, True], ids=["ended", "lost"])
@pytest.mark.parametrize("is_another", [False, True], ids=["reopened", "restarted"])
def test_what_was_taken_is_not_taken_again_with_the_next_connection(broker, tmp_path, is_lost, is_another):
    # given a message that the disk may not keep yet, so that it is not acknowledged
    listener = listening(broker, tmp_path, format="emoncms")
    disk = Disk(listener)
    publish(broker, "emon/8", "1")
    disk.read_until(1)
    # when the connection ends, and the broker sends all that it has no acknowledgement of
    if is_lost:
        broker.stop()
        broker.start()
    listener.close()
    if is_another:
        listener = listening(broker, tmp_path, format="emoncms")
        disk = Disk(listener)
    else:
        listener.open()
    publish(broker, "emon/8", "1")
    disk.read_until(1 if is_another else 2)
    # then each of the two messages has come once
    assert len(disk.frames) == (1 if is_another else 2)
    disk.sync()
    disk.read_until_nothing()
    listener.close()
    wait_until(lambda: {*re.findall(r"Received PUBACK from .*Mid: (\d)", broker.log)} == {"1", "2"})


def test_what_the_disk_did_not_take_comes_again_and_numbers_go_on(broker, tmp_path):
    listener = listening(broker, tmp_path, format="emoncms")
    disk = Disk(listener)
    publish(broker, "emon/8", "1")
    wait_until(lambda: listener.read(Flag()))  # and the queue does not take it
    listener.close()
    listener.open()
    disk.read_until(1)
    disk.sync()
    disk.read_until_nothing()
    listener.close()
    assert [frame.values for frame in disk.frames] == [(1,)]
    wait_until(lambda: "Received PUBACK" in broker.log)


def test_more_than_a_broker_holds_back_by_itself_arrives_and_the_disk_is_made_to_write(broker, tmp_path):
    # given more messages than a default mosquitto keeps in flight (20), and than it queues beside them (1000)
    sender = ToBroker(host="127.0.0.1", port=broker.port, topic="oemgateway/pi", discovery="no")
    sender.state = tmp_path / "pi"
    sender.state.mkdir()
    (sender.state / "gateway.id").write_text("0123456789ab\n")
    listener = listening(broker, tmp_path)
    sender.open()
    disk = Disk(listener)
    frames = [Frame("9", (number,), NOW) for number in range(1900)]
    for begin in range(0, 1900, 100):
        batch = Batch(frames[begin : begin + 100], range(begin, begin + 100))
        sender.prepare(batch).send()
        disk.read_until(begin + 100)
    sender.close()
    listener.close()
    assert [frame.values[0] for frame in disk.frames] == [*range(1900)]
    assert disk.demanded > 1


def test_a_message_that_two_of_its_topics_match_comes_once(broker, tmp_path):
    values = {"value1": ["emon/8", "-", "20", "1"]}
    listener = listening(broker, tmp_path, format="emoncms", topics=["emon/+", "emon/9", "emon/#"], **values)
    disk = Disk(listener)
    for topic in ("emon/8", "emon/9", "emon/10"):
        publish(broker, topic, "1")
    publish(broker, "emon/11", "1")
    disk.read_until(4)
    listener.close()
    assert [frame.node for frame in disk.frames] == ["20", "9", "10", "11"]


def test_a_broker_that_holds_back_after_ten_is_not_waited_for(tmp_path, peer):
    # given a broker with MQTT 3.1.1 that sends ten messages before it waits, as RabbitMQ does
    with Mosquitto(tmp_path, options="max_inflight_messages 10") as broker:
        listener = listening(peer(old(broker)), tmp_path, value1=["a", "-", "20", "1"])
        disk = Disk(listener)
        for number in range(40):
            publish(broker, "a", str(number))
        # then they all come, though nothing but the listener makes the disk write
        disk.read_until(40)
        listener.close()
    assert [frame.values[0] for frame in disk.frames] == [*range(40)]
    assert 3 <= disk.demanded <= 5


@pytest.mark.parametrize("form", ["oemgateway", "emonhub", "emoncms"])
def test_what_the_gateway_publishes_itself_does_not_go_round(broker, tmp_path, form):
    sender = ToBroker(host="127.0.0.1", port=broker.port, discovery="no", format=form)
    sender.state = tmp_path
    listener = listening(broker, tmp_path, format=form)
    sender.open()
    sender.prepare(Batch([Frame("9", (1,), NOW)], [1], ["epoch"])).send()
    other = {"oemgateway": ("oemgateway/x/log/8", '{"values":{"1":5}}')}.get(form, ("emon/8", "5"))
    publish(broker, *other)
    disk = Disk(listener)
    disk.read_until(1)
    assert [(frame.node, frame.values) for frame in disk.frames] == [("8", (5,))]
    assert listener.health().faults == {}
    sender.close()
    listener.close()


def test_what_is_no_reading_is_counted_and_everything_else_goes_on(broker, tmp_path, caplog):
    listener = listening(broker, tmp_path)
    disk = Disk(listener)
    good = log_message("oemgateway/pi", Frame("9", (1,), NOW), None)
    bad = [
        "hello",
        "[" * 5000,
        '{"values":{"1":[]}}',
        json.dumps({"values": {"1": 1, "2": "x" * 70_000}}),
        '{"values":{"1":"x"}}',
    ]
    for text in bad:
        publish(broker, "oemgateway/pi/log/9", text)
    publish(broker, "oemgateway/pi/log/" + "n" * 80, good.payload.decode())
    publish(broker, good.topic, good.payload.decode())
    wait_until(disk.read)
    assert disk.listener.health().faults == {"no-reading": 6}
    assert "lines such as" not in caplog.text  # which is what a device on a serial port is to print
    assert len(disk.frames) == 1
    listener.close()


def test_retained_messages_are_the_past_and_taken_only_where_asked_for(broker, tmp_path):
    publish(broker, "zigbee2mqtt/cellar", '{"temperature":18.5}', "-r")
    given = {"value1": ZIGBEE["value1"]}
    no, yes = (
        listening(broker, tmp_path, "no", **given),
        listening(broker, tmp_path, "yes", retained="yes", **given),
    )
    publish(broker, "zigbee2mqtt/cellar", '{"temperature":19.5}')
    for listener, expected in ((no, [(19.5,)]), (yes, [(18.5,), (19.5,)])):
        disk = Disk(listener)
        disk.read_until(len(expected))
        assert [frame.values for frame in disk.frames] == expected
        listener.close()


def test_a_reading_of_a_device_with_a_wrong_clock_is_taken_and_counted(broker, tmp_path, caplog):
    listener = listening(broker, tmp_path, format="emoncms")
    disk = Disk(listener)
    for when in ("5123", '"today"'):
        publish(broker, "emon/boiler", f'{{"time":{when},"power":5}}')
    disk.read_until(2)
    assert {frame.stamp.boot for frame in disk.frames} == {listener.clock.now().boot}
    assert listener.health().faults == {"time-not-believed": 2}
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith(
        "emon/boiler gives a time that cannot be, and its reading has that of its arrival: "
    )
    listener.close()


@pytest.mark.parametrize("is_sure", [True, False])
def test_while_our_clock_may_not_be_set_yet_what_waited_at_the_broker_keeps_its_time(
    broker, tmp_path, is_sure
):
    # given a machine without a clock battery, that was off for three hours
    clock = VirtualClock(wall=1_790_000_000.0)
    listener = listening(broker, tmp_path, clock=clock, format="emoncms")
    listener.is_sure = lambda: is_sure
    disk = Disk(listener)
    # when it gets what came to the broker meanwhile, something in milliseconds, and -1 of 32 bits
    times = [1_790_000_000 + minute * 60 for minute in (20, 100, 179)]
    for when in (*times, times[-1] * 1000, 2**32 - 1):
        publish(broker, "emon/boiler", f'{{"time":{when},"power":5}}')
    disk.read_until(5)
    # then each has the time that its sender gave it, unless a time server says that our clock is right
    *found, late, last = [(frame.stamp.wall, frame.stamp.boot) for frame in disk.frames]
    arrival = (clock.wall(), clock.now().boot)
    assert found == ([arrival] * 3 if is_sure else [(when, "") for when in times])
    assert late == last == arrival
    assert listener.health().faults == {"time-not-believed": 5 if is_sure else 2}
    listener.close()


def test_nodes_of_two_gateways_are_told_apart_or_refused(broker, tmp_path):
    messages = [
        log_message(f"oemgateway/{name}", Frame("9", (number,), NOW), None)
        for number, name in enumerate("ab")
    ]
    found, troubles = {}, {}
    for prefix in ("no", "topic"):
        listener = listening(broker, tmp_path, prefix, prefix=prefix)
        disk = Disk(listener)
        for message in messages:
            publish(broker, message.topic, message.payload.decode())
        while sum(listener.counts.values()) + len(disk.frames) < 2:
            disk.read()
        found[prefix] = [frame.node for frame in disk.frames], dict(listener.counts)
        troubles[prefix] = listener.health().troubles
        listener.close()
    assert found["no"] == (["9"], {"node-of-another-gateway": 1})
    assert found["topic"] == (["a.9", "b.9"], {})
    refused = "node 9 of oemgateway/b is refused: another gateway has it too; see `prefix`"
    assert troubles == {"no": [refused], "topic": []}


def test_a_gateway_with_a_new_card_has_its_nodes_and_two_at_one_topic_do_not_mix(broker, tmp_path):
    def message(n, gateway):
        return log_message("oemgateway/pi", Frame("9", (n,), NOW), Identity(gateway, "e", n))

    listener = listening(broker, tmp_path)
    disk = Disk(listener)
    for each in (message(1, "aa"), message(1, "bb"), message(2, "aa"), message(2, "bb")):
        publish(broker, each.topic, each.payload.decode())
    while sum(listener.counts.values()) + len(disk.frames) < 4:
        disk.read()
    assert [frame.values for frame in disk.frames] == [(1,), (1,), (2,)]
    assert dict(listener.counts) == {"node-of-another-gateway": 1}
    listener.close()


def test_a_subscription_that_is_taken_out_ends_though_the_broker_remembers_it(broker, tmp_path):
    listening(broker, tmp_path, topics=["one/+/log/+"]).close()
    listener = listening(broker, tmp_path, topics=["two/+/log/+"])
    message = log_message("one/pi", Frame("9", (1,), NOW), None)
    publish(broker, message.topic, message.payload.decode())
    publish(broker, "two/pi/log/9", message.payload.decode())
    disk = Disk(listener)
    disk.read_until(1)
    assert [frame.node for frame in disk.frames] == ["9"]
    assert broker.log.count("one/pi/log/9") == 1  # it came in, and went to nobody
    listener.close()


@pytest.mark.parametrize("kept", ["5", "null", "[", "{}"])
def test_a_damaged_file_of_subscriptions_is_done_without(broker, tmp_path, kept):
    listening(broker, tmp_path).close()
    (file,) = tmp_path.glob("mqtt-*-topics.json")
    file.write_text(kept)
    listening(broker, tmp_path).close()
    assert json.loads(file.read_text())


def test_a_relay_as_a_program_keeps_node_time_and_order_over_kills_of_itself(tmp_path):
    with (
        Mosquitto(tmp_path, options="max_queued_messages 0") as broker,
        Subscriber(broker, "out/log/#") as out,
    ):
        file = tmp_path / "oemgateway.conf"
        both = f"host = 127.0.0.1\nport = {broker.port}\n"
        file.write_text(
            f"{state(tmp_path)}commit_interval = 0.2\n[listeners]\n[[in]]\ntype = mqtt\n{both}"
            f"[dispatchers]\n[[out]]\ntype = mqtt\ndiscovery = no\ntopic = out\n{both}"
        )
        file.chmod(0o600)
        sender = ToBroker(host="127.0.0.1", port=broker.port, topic="oemgateway/pi", discovery="no")
        with GatewayProcess(file) as relay:
            sender.open()
            for begin in range(0, 1000, 50):
                frames = [
                    Frame("9", (begin + number,), Stamp(1e9 + begin + number, "b", 1.0))
                    for number in range(50)
                ]
                sender.prepare(Batch(frames, range(begin, begin + 50))).send()
                if begin in (200, 600):
                    relay.kill()
                    relay.start()
            sender.close()

            def values():
                return [json.loads(text)["values"]["1"] for text in out.of("out/log/9")]

            wait_until(lambda: 999 in values())
            # what had not been acknowledged comes again: at least once, each at its first place in order
            assert list(dict.fromkeys(values())) == [*range(1000)]
            assert json.loads(out.of("out/log/9")[0])["time"] == 1e9
