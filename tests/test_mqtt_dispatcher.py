"""The gateway as a program with Debian's mosquitto: what a subscriber gets, in order, whatever fails."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from gateway.diagnosis.machine import Machine
from gateway.dispatchers.mqtt.dispatcher import Mqtt
from gateway.dispatchers.mqtt.published import Published
from gateway.dispatchers.mqtt.state import StateStream
from gateway.mqtt.broker import Lost
from gateway.plugin import BadFrame, Batch, Frame, HoldEverything, Stamp
from gateway.present.state import State
from gateway.settings import SettingsFault, build
from listeners.simulated.clock import VirtualClock
from tests import home_assistant
from tests.gateway_process import ENVIRONMENT, GatewayProcess, command, state
from tests.numbered_listener import install, read
from tests.ports import free_port
from tests.simulators.mosquitto import Mosquitto, Subscriber, publish
from tests.simulators.peer import Peer, passing_on
from tests.statuses import status as a_status
from tests.waiting import wait_until

NUMBERED = "[listeners]\n[[numbers]]\ntype = numbered\ndirectory = {directory}\n"
OWN = "type = numbered\ndirectory = {directory}\n"
BRIDGE = """[listeners]
[[bridge]]
type = ds2482
bus = simulated
node = 9
interval = 1
sensor1 = 28.33F749050000, flow
sensor2 = 28.DB564A050000, return
sensor3 = Dummy
"""


def configured(tmp_path, port, *more, listeners=NUMBERED):
    """Write a configuration of a listener and the broker at a port; return the file."""
    file = tmp_path / "oemgateway.conf"
    lines = "\n".join(
        ["[dispatchers]", "[[house]]", "type = mqtt", "host = 127.0.0.1", f"port = {port}", *more]
    )
    gateway = state(tmp_path) + "simulate = yes\ncommit_interval = 0.1\n"
    file.write_text(gateway + listeners.format(directory=tmp_path) + lines + "\n")
    file.chmod(0o600)
    return file


def path(tmp_path):
    """Return the path of Python with the numbered listener on it."""
    plugins = tmp_path / "plugins"
    if not plugins.exists():
        install(plugins)
    return f"{ENVIRONMENT['PYTHONPATH']}:{plugins}"


def running(tmp_path, file):
    return GatewayProcess(file, PYTHONPATH=path(tmp_path))


def numbers(subscriber, topic="home/log/"):
    """Return the numbers of the frames in the log, in the order of arrival."""
    return [
        json.loads(text)["values"]["1"] for name, text, _ in subscriber.messages if name.startswith(topic)
    ]


def finish(tmp_path, gateway):
    """Have the listener end, and wait until nothing waits any more."""
    (tmp_path / "enough").touch()
    wait_until((tmp_path / "ended").exists)
    wait_until(lambda: gateway.status()["dispatchers"]["house"]["queue"]["waiting"] == 0, 120)
    return read(tmp_path / "given")


def test_every_frame_is_in_the_log_in_order_with_its_own_time(tmp_path):
    with Mosquitto(tmp_path) as broker, Subscriber(broker, "home/log/#") as subscriber:
        file = configured(tmp_path, broker.port, "topic = home")
        with running(tmp_path, file) as gateway:
            wait_until(lambda: len(read(tmp_path / "given")) > 30)
            given = finish(tmp_path, gateway)
            wait_until(lambda: len(numbers(subscriber)) >= len(given))
            assert gateway.stop() == 0
        assert numbers(subscriber) == given
        topic, text, retained = subscriber.messages[0]
        first = json.loads(text)
        assert (topic, retained) == ("home/log/6", False)
        assert abs(first["time"] - time.time()) < 120
        assert first["values"] == {"1": 1, "3": 1 / 7}
        assert first["n"] == 1
        assert first["gateway"]
        assert first["epoch"]


def test_an_outage_loses_nothing_and_the_present_state_has_no_backlog(tmp_path):
    with Mosquitto(tmp_path) as broker:
        file = configured(tmp_path, broker.port, "topic = home")
        with running(tmp_path, file) as gateway:
            wait_until(lambda: gateway.status()["dispatchers"]["house"]["frames"] > 5)
            about = gateway.status()["dispatchers"]["house"]
            assert about["remark"] == "nobody subscribes to home/log/#, so only the present state is used"
            assert about["troubles"] == []
            status = " ".join(command("--config-file", file, "status").stdout.split())
            assert "nobody subscribes to home/log/#" in status
            said = command("--config-file", file, "doctor", **gateway.environment).stdout.splitlines()
            assert [line for line in said if "nobody subscribes" in line] == [
                "?     house: nobody subscribes to home/log/#, so only the present state is used"
            ]
            broker.kill()
            wait_until(lambda: gateway.status()["dispatchers"]["house"]["trouble"])
            trouble = gateway.status()["dispatchers"]["house"]["trouble"]
            assert trouble.startswith(f"127.0.0.1:{broker.port}: ")
            wait_until(lambda: gateway.status()["dispatchers"]["house"]["queue"]["waiting"] > 30)
            broker.start()
            with Subscriber(broker, "home/#") as subscriber:
                given = finish(tmp_path, gateway)
                wait_until(lambda: numbers(subscriber) and numbers(subscriber)[-1] == given[-1])
                got = numbers(subscriber)
                assert got == [number for number in given if number >= got[0]]
                about = gateway.status()["dispatchers"]["house"]
                assert (about["frames"], about["remark"]) == (len(given), "")
                states = [text for topic, text, _ in subscriber.messages if topic.startswith("home/state/")]
                assert len(states) < len(got) / 2
            assert (
                len([line for line in gateway.log.splitlines() if " house" in line and "WARN" in line]) <= 3
            )


def test_no_reading_goes_to_another_topic_while_the_gateways_id_cannot_be_read(tmp_path):
    with Mosquitto(tmp_path) as broker, Subscriber(broker, "oemgateway/+/log/#") as subscriber:
        file = configured(tmp_path, broker.port)
        with running(tmp_path, file):
            wait_until(lambda: numbers(subscriber, "oemgateway/"))
        # given a gateway that starts while its id cannot be read
        kept = tmp_path / "state" / "gateway.id"
        kept.rename(tmp_path / "kept")
        kept.mkdir()
        with running(tmp_path, file) as gateway:
            # when the id is found, after a trouble that names its file
            wait_until(lambda: "gateway.id" in gateway.status()["dispatchers"]["house"]["trouble"])
            kept.rmdir()
            (tmp_path / "kept").rename(kept)
            wait_until(lambda: not gateway.status()["dispatchers"]["house"]["trouble"])
            # and is lost again before another connection is made
            kept.unlink()
            configured(tmp_path, broker.port, "batch = 500")
            wait_until(kept.exists)
            given = finish(tmp_path, gateway)
            wait_until(lambda: len(numbers(subscriber, "oemgateway/")) >= len(given))
    # then every reading has gone to the one topic, and the id is kept again
    (base,) = {topic.split("/log/")[0] for topic, _, _ in subscriber.messages}
    assert base.endswith(f"-{kept.read_text().strip()}")
    assert sorted(set(numbers(subscriber, "oemgateway/"))) == given


def test_home_assistant_finds_a_node_its_values_and_the_gateway(tmp_path):
    with Mosquitto(tmp_path) as broker, Subscriber(broker, "#") as subscriber:
        file = configured(tmp_path, broker.port, "topic = home", listeners=BRIDGE)
        with GatewayProcess(file) as gateway:
            wait_until(lambda: subscriber.of("home/state/9"))
            wait_until(lambda: subscriber.of("home/gateway"))
            configs = {topic: text for topic, text, _ in subscriber.messages if topic.endswith("/config")}
            messages = [home_assistant.check(topic, text) for topic, text in configs.items()]
            by_name = {message["device"]["name"]: message for message in messages}
            node = by_name["Node 9"]
            assert node["components"]["1"]["name"] == "flow"
            assert node["components"]["1"]["expire_after"] == 3
            assert set(node["components"]) == {"1", "2", "-seen"}
            values = json.loads(subscriber.of("home/state/9")[-1])["values"]
            assert set(values) == {"1", "2", "3"}
            assert values["3"] is None
            wait_until(lambda: subscriber.of("home/available/9")[-1] == "online")
            assert subscriber.of("home/status")[-1] == "online"
            # on a busy machine a sweep may be late, and the node silent for a moment
            wait_until(lambda: json.loads(subscriber.of("home/gateway")[-1])["problem"] == "OFF")
            # a birth message is answered with all of it
            before = len(subscriber.of(next(iter(configs))))
            publish(broker, "homeassistant/status", "online")
            wait_until(lambda: len(subscriber.of(next(iter(configs)))) > before)
            gateway.kill()
            wait_until(lambda: subscriber.of("home/status")[-1] == "offline")


def test_a_label_and_a_sensor_that_go_and_discovery_that_is_switched_off(tmp_path):
    with Mosquitto(tmp_path) as broker, Subscriber(broker, "#") as subscriber:
        file = configured(tmp_path, broker.port, "topic = home", listeners=BRIDGE)
        with GatewayProcess(file):
            wait_until(lambda: subscriber.of("home/state/9"))
            (config,) = {topic for topic, _, _ in subscriber.messages if topic.endswith("_9/config")}

            def components():
                text = subscriber.of(config)[-1]
                return json.loads(text)["components"] if text else None

            text = file.read_text()
            file.write_text(
                text.replace(", flow", ", supply").replace("sensor2 = 28.DB564A050000, return\n", "")
            )
            wait_until(lambda: components()["1"]["name"] == "supply" and "2" not in components())
            assert any('"2":{"platform":"sensor"}' in text for text in subscriber.of(config))
            file.write_text(text.replace("type = mqtt", "type = mqtt\ndiscovery = no"))
            wait_until(lambda: components() is None)


def test_what_is_refused_holds_everything_with_one_line_and_a_cure(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite home/status\ntopic read homeassistant/status\n")
    with Mosquitto(tmp_path, options=f"acl_file {acl}") as broker:
        file = configured(tmp_path, broker.port, "topic = home", "discovery = no")
        with running(tmp_path, file) as gateway:
            wait_until(lambda: gateway.status()["dispatchers"]["house"]["failures"] > 1)
            trouble = gateway.status()["dispatchers"]["house"]["trouble"]
            assert re.fullmatch(r"127.0.0.1:\d+: this user may not publish there: home/.*", trouble)
            assert gateway.status()["dispatchers"]["house"]["queue"]["refused"] == 0
            assert gateway.log.count("may not publish") == 1
            found = command("--config-file", file, "doctor", PYTHONPATH=path(tmp_path)).stdout
            assert "FAULT house: this user may not publish to home/#: allow it at the broker" in found


@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_frame_that_the_broker_does_not_take_is_set_aside_and_the_others_arrive(tmp_path, hangs_up):
    # given a broker that refuses a message of more than 300 bytes, or one that hangs up for it
    big = f"[listeners]\n[[lines]]\ntype = tcp\nport = {(port := free_port())}\n"
    with (
        Mosquitto(tmp_path, options="" if hangs_up else "message_size_limit 300") as broker,
        Peer(passing_on(broker.port, refused=b"12345.25" if hangs_up else b"")) as way,
        Subscriber(broker, "home/log/#") as log,
    ):
        file = configured(tmp_path, way.port, "topic = home", "discovery = no", listeners=big)
        with GatewayProcess(file) as gateway:
            with socket.create_connection(("127.0.0.1", port)) as client:
                for number in range(30):
                    values = " ".join(["12345.25"] * 30) if number == 12 else str(number)
                    client.sendall(f"10 {number} {values}\r\n".encode())
            # when all are sent, then that one is set aside and every other there, in order
            wait_until(lambda: gateway.status()["dispatchers"]["house"]["queue"]["refused"] == 1, 200)
            wait_until(lambda: gateway.status()["dispatchers"]["house"]["queue"]["waiting"] == 0)
            wait_until(lambda: numbers(log) and numbers(log)[-1] == 29)
            assert list(dict.fromkeys(numbers(log))) == [number for number in range(30) if number != 12]


@pytest.mark.parametrize("limit", ["max_packet_size", "message_size_limit"])
def test_a_description_that_is_too_large_for_the_broker_holds_no_reading_up(tmp_path, limit):
    lines = f"[listeners]\n[[lines]]\ntype = tcp\nport = {(port := free_port())}\n"
    with (
        Mosquitto(tmp_path, options=f"{limit} 1500") as broker,
        Subscriber(broker, "home/log/#") as log,
    ):
        file = configured(tmp_path, broker.port, "topic = home", listeners=lines)
        with GatewayProcess(file) as gateway:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(f"10 0\r\n10 1 {' '.join(['1'] * 30)}\r\n".encode())
            wait_until(lambda: numbers(log) == [0, 1])
            wait_until(lambda: "homeassistant/device/" in gateway.status()["dispatchers"]["house"]["remark"])
            assert gateway.status()["dispatchers"]["house"]["trouble"] == ""
            assert gateway.log.count("is left out: 127.0.0.1") == 1


class RefusesTheFirst:
    """A session whose broker refuses the first message with a code, and ends the connection with it."""

    is_lost = False
    window = 20

    def __init__(self, code):
        self.taken = []
        self._code = code
        self.open = self.close = lambda: None

    def deliver(self, messages, codes):
        if not self.taken:
            self.taken.append("refused")
            codes.append(self._code)
            raise Lost("the broker ends the connection")
        self.taken.extend(message.topic for message in messages)
        codes.extend([0] * len(messages))

    def publish(self, message, qos):
        del message, qos


def test_what_this_user_may_not_publish_is_published_once_that_is_allowed():
    # given a broker that refuses the first message, as the user has no right to it, and ends the connection
    session = RefusesTheFirst(0x87)
    mqtt = Mqtt(topic="home", discovery="no")
    mqtt.present, mqtt.session = State(), session
    mqtt.present.report_with(a_status)
    mqtt._stream = StateStream("home", Published(None), None, None)
    with pytest.raises(HoldEverything, match="may not publish there"):
        mqtt._publish_state()
    # when it is asked again
    mqtt._stream.forget_sent()
    mqtt._publish_state()
    assert session.taken == ["refused", "home/status", "home/gateway"]


@pytest.mark.parametrize(("minutes", "again"), [(0, False), (11, True)])
def test_what_was_too_large_for_a_broker_is_published_once_it_takes_more(minutes, again, monkeypatch):
    # given a broker that ends the connection for the first message, as it is too large
    session, pipe = RefusesTheFirst(0x95), os.pipe()
    session.fileno = lambda: pipe[0]
    mqtt = build(Mqtt, {"topic": "home", "discovery": "no"})
    monkeypatch.setattr("gateway.dispatchers.mqtt.dispatcher.Session", lambda *_, **__: session)
    mqtt.clock, mqtt.present, mqtt.state = VirtualClock(), State(), None
    mqtt.present.report_with(a_status)
    with pytest.raises(Lost):
        mqtt.open()
    mqtt.close()
    # when it is connected to again, at once or after a while
    mqtt.clock.sleep(60 * minutes)
    mqtt.open()
    mqtt.close()
    for number in pipe:
        os.close(number)
    # then that message is tried again, though not at once, as nothing else would ever go then
    assert session.taken == ["refused", *["home/status"] * again, "home/gateway"]
    assert bool(mqtt.remark) == (not again)


@pytest.mark.parametrize(
    ("codes", "failure", "taken"),
    [
        ([0], "connection lost", 1),
        ([0, 0x95], "larger than the broker takes", 1),
        ([0, 0x95, 0], "larger than the broker takes", 1),
        ([0, 0x87], "may not publish there", 1),
        ([0, 0, 0], "", 3),
    ],
)
def test_what_is_acknowledged_together_with_the_end_of_the_connection_is_taken_and_no_more(
    codes, failure, taken
):
    class Session:
        def deliver(self, messages, got):
            got.extend(codes)
            raise Lost("connection lost", len(messages) - len(codes))

    mqtt = Mqtt(topic="home")
    mqtt.session = Session()
    frames = [Frame("5", (float(n),), Stamp(1e9, "b", 1.0)) for n in range(3)]
    delivery = mqtt.prepare(Batch(frames, range(3), ["e"] * 3))
    kind = BadFrame if 0x95 in codes else Lost  # the connection is opened again, but for a frame
    with pytest.raises(kind, match=failure) if failure else nullcontext():
        delivery.send()
    assert delivery.delivered().count == taken


def passing_small_packets(port, most):
    """Return what passes on what comes together in up to so many bytes, and nothing after more."""

    def speak(_, connection):
        is_stuck = False
        with socket.create_connection(("127.0.0.1", port)) as there:
            while True:
                ready, _, _ = select.select([connection, there], [], [])
                if there in ready:
                    if not (answer := there.recv(65536)):
                        return
                    connection.sendall(answer)
                if connection in ready:
                    together = b""
                    while select.select([connection], [], [], 0.02)[0]:
                        if not (data := connection.recv(65536)):
                            return
                        together += data
                    is_stuck = is_stuck or len(together) > most
                    if not is_stuck:
                        there.sendall(together)

    return speak


def test_where_many_messages_together_are_lost_fewer_are_under_way_for_ten_minutes(tmp_path, broker):
    # given a line that large packets do not pass
    with Peer(passing_small_packets(broker.port, 1300)) as line:
        mqtt = Mqtt(host="127.0.0.1", port=line.port, topic="home", discovery="no", timeout=1.0)
        mqtt.clock, mqtt.state = VirtualClock(), tmp_path
        frames = [Frame("5", (float(n),), Stamp(1e9 + n, "b", 1.0)) for n in range(200)]
        arrived, losses = 0, 0
        while arrived < len(frames):
            if mqtt.session is None:
                mqtt.open()
            ids = range(arrived, len(frames))
            delivery = mqtt.prepare(Batch(frames[arrived:], ids, ["e"] * len(ids)))
            try:
                delivery.send()
            except Lost:
                losses += 1
                mqtt.close()
            arrived += delivery.delivered().count
        assert losses <= 5
        assert mqtt.connection().window < 20
        # in the same session too, which may last for months
        mqtt.clock.sleep(600)
        assert mqtt.connection().window == 20
        mqtt.close()


def test_a_single_message_without_an_acknowledgement_is_no_reason_to_send_fewer_at_a_time(tmp_path, broker):
    with Peer(passing_small_packets(broker.port, 1300)) as line:
        mqtt = Mqtt(host="127.0.0.1", port=line.port, topic="home", discovery="no", timeout=1.0)
        mqtt.clock, mqtt.state = VirtualClock(), tmp_path
        mqtt.open()
        large = Frame("5", tuple(float(n) for n in range(300)), Stamp(1e9, "b", 1.0))
        with pytest.raises(Lost):
            mqtt.prepare(Batch([large], [1], ["e"])).send()
        mqtt.close()
        mqtt.open()
        assert mqtt.connection().window == 20
        mqtt.close()


def test_no_more_messages_are_under_way_than_the_broker_allows(tmp_path):
    with Mosquitto(tmp_path, "allow_anonymous true\nmax_inflight_messages 7") as broker:
        mqtt = Mqtt(host="127.0.0.1", port=broker.port, topic="home", discovery="no")
        mqtt.clock, mqtt.state = VirtualClock(), tmp_path
        mqtt.open()
        assert mqtt.connection().window == 7
        mqtt.close()


def test_emonhub_s_and_emoncms_formats(tmp_path):
    nodes = "[nodes]\n[[5]]\nnodename = emonpi\nnames = a, b, c\ndatacode = 0\n"
    with Mosquitto(tmp_path) as broker, Subscriber(broker, "#") as subscriber:
        file = configured(
            tmp_path,
            broker.port,
            "format = emonhub",
            "emonhub = node, nodevar, json",
            listeners=nodes + NUMBERED,
        )
        with running(tmp_path, file) as gateway:
            wait_until(lambda: subscriber.of("emon/emonpi"))
            assert gateway.stop() == 0
        assert subscriber.of("emon/rx/5/values")
        assert {"1", "time"} < set(json.loads(subscriber.of("emon/6")[0])) <= {"1", "2", "3", "time"}
        assert not [topic for topic, _, _ in subscriber.messages if topic.startswith("homeassistant")]
        file = configured(tmp_path, broker.port, "format = emoncms", "topic = other", listeners=NUMBERED)
        with running(tmp_path, file) as gateway:
            wait_until(lambda: subscriber.of("other/6"))
            assert gateway.stop() == 0
        assert {"time", "1"} < set(json.loads(subscriber.of("other/6")[0])) <= {"time", "1", "2", "3"}


def test_doctor_names_what_is_wrong_and_what_is_right(tmp_path):
    machine = Machine.below(Path("/"))
    with Mosquitto(tmp_path) as broker:
        there = Mqtt(host="127.0.0.1", port=broker.port, topic="home")
        found = [str(finding) for finding in there.examine(machine)]
        assert found == [
            f"ok    : 127.0.0.1:{broker.port} is an MQTT broker, and lets in who gives no user name",
            "ok    : it takes what is published to home/#",
        ]
    (finding,) = there.examine(machine)
    assert finding.is_bad
    assert "connection refused: no broker listens there" in finding.found
    assert "systemctl start mosquitto" in finding.cure


def test_settings():
    for settings, message in (
        ({"topic": "a/#"}, "topic: a topic without"),
        ({"topic": "/a"}, "topic: a topic that begins with neither / nor"),
        ({"discovery": "a+"}, "discovery: a topic without"),
        ({"discovery": "Yes"}, "discovery: a topic, such as homeassistant, or no expected, not Yes"),
        ({"format": "emonhub", "emonhub": "all"}, "emonhub: node, nodevar and json expected"),
        ({"host": "mqtt://here"}, "host: the name or the IP address of a host expected"),
        ({"host": "here:1884"}, "host: the broker alone expected, here, and the port .* port = 1884"),
    ):
        with pytest.raises(SettingsFault, match=message):
            build(Mqtt, settings)
    assert build(Mqtt, {"discovery": "No"}).prefix == ""
    assert re.fullmatch(r"oemgateway/[^/]+-[0-9a-f]{12}", Mqtt().base)
    assert [key for key, _ in Mqtt(format="emoncms").remarks()] == ["format"]


@pytest.mark.parametrize(
    ("python", "how"),
    [
        ("", f"{sys.executable} -m pip install 'paho-mqtt>=2'"),
        # Debian's own, into which its pip installs nothing
        (
            "import sysconfig; sys.base_prefix = sys.prefix; sysconfig.get_path = lambda _: '.'",
            (
                "sudo apt install python3-paho-mqtt; it must be 2 or newer, which Debian 12 does not have: "
                "use `make install` there"
            ),
        ),
    ],
)
def test_without_paho_the_message_says_how_to_get_it(tmp_path, python, how):
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    code = (
        f"import sys\n{python}\nclass No:\n def find_spec(self, name, *_):\n"
        "  if name.startswith('paho'): raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, No())\nfrom gateway.registry import *\n"
        "try: find('dispatchers', 'mqtt')\nexcept UnknownType as error: print(error)\n"
    )
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(how)


def test_two_gateways_that_read_and_publish_the_same_topics_send_nothing_round(tmp_path):
    # given two gateways with a stream and a dispatcher on emon/#, and another that publishes
    with Mosquitto(tmp_path) as broker, Subscriber(broker, "emon/#") as reader:
        listeners = (
            f"[listeners]\n[[in]]\ntype = mqtt\nformat = emoncms\nhost = 127.0.0.1\nport = {broker.port}\n"
        )
        files = [tmp_path / name for name in ("one", "two")]
        for each in files:
            (each / "state").mkdir(parents=True)
        both = [
            configured(each, broker.port, "format = emoncms", listeners=listeners + "[[numbers]]\n" + OWN)
            for each in files
        ]
        (files[0] / "enough").touch()
        with running(files[0], both[0]) as one, running(files[1], both[1]) as two:
            publish(broker, "emon/8", "5")
            wait_until(lambda: len(reader.of("emon/5")) > 20)  # what the second one has itself
            for each in (one, two):
                wait_until(lambda each=each: each.status()["listeners"]["in"]["nodes"]["8"]["frames"] == 1)
                assert each.status()["dispatchers"]["house"]["queue"]["waiting"] < 20
        assert reader.of("emon/8") == ["5"]
        numbers = [json.loads(text)["1"] for text in reader.of("emon/5")]
        assert len(numbers) == len(set(numbers))
