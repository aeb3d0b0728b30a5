"""What a broker does not allow a listener: to read, and to answer the gateways; what others write there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gateway.diagnosis.machine import Machine
from gateway.frame import Frame
from gateway.mqtt.broker import Broker
from gateway.mqtt.frames import Identity, log_message
from gateway.mqtt.session import Session
from gateway.settings import build
from listeners.mqtt.listener import Mqtt
from listeners.simulated.clock import VirtualClock
from tests.listening import NOW, Disk, listening
from tests.peers import need
from tests.ports import free_port
from tests.simulators.mosquitto import Mosquitto, publish
from tests.waiting import wait_until


def test_a_relay_that_may_not_answer_says_so_and_doctor_names_the_cure(tmp_path):
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite oemgateway/+/log/#\ntopic read oemgateway/+/ack\n")
    with Mosquitto(tmp_path, options=f"acl_file {acl}") as broker:
        listener = listening(broker, tmp_path)
        disk = Disk(listener)

        def said():
            n = len(disk.frames) + 1
            message = log_message("oemgateway/pi", Frame("9", (n,), NOW), Identity("aa", "e", n))
            publish(broker, message.topic, message.payload.decode())
            disk.read_until(n)
            disk.sync()
            return listener.health().troubles

        (line,) = wait_until(said)
        assert "does not let this user publish oemgateway/pi/ack" in line
        listener.close()
        fault = next(each for each in listener.examine(Machine.below(Path("/"))) if each.is_bad)
        assert "oemgateway/doctor/ack" in str(fault)


def test_a_silent_topic_is_a_remark_with_what_to_look_at(tmp_path):
    # given a broker that grants the subscription to what this user may not read
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite oemgateway/+/ack\ntopic write emon/#\ntopic readwrite meter/#\n")
    with Mosquitto(tmp_path, options=f"acl_file {acl}") as broker:
        clock = VirtualClock()
        listener = listening(
            broker, tmp_path, clock=clock, format="emoncms", topics=["emon/#", "meter/#", "meter/power"]
        )
        disk = Disk(listener)
        publish(broker, "emon/8", "5")
        publish(broker, "meter/power", "5")
        disk.read_until(1)
        assert listener.remark == ""  # it is not long ago
        clock.sleep(700)
        assert listener.remark.startswith(
            "nothing has arrived on emon/# yet: see that something publishes there"
        )
        assert "lets clients without a user name read it (in mosquitto a line `topic" in listener.remark
        listener.close()


def test_a_value_that_no_message_has_is_a_remark(broker, tmp_path):
    clock = VirtualClock()
    values = {
        "value1": ["zigbee2mqtt/cellar", "temperature", "20", "1"],
        "value2": ["zigbee2mqtt/cellar", "humidty", "20", "2"],
        "value3": ["zigbee2mqtt/cellar", "battery", "20", "3"],
    }
    listener = listening(broker, tmp_path, clock=clock, **values)
    disk = Disk(listener)
    publish(broker, "zigbee2mqtt/cellar", '{"temperature": 18.5, "humidity": 60, "battery": null}')
    disk.read_until(1)
    assert listener.remark == ""  # it is not long ago
    clock.sleep(700)
    assert listener.remark == (
        "value2: no message of zigbee2mqtt/cellar has had a value at humidty yet; "
        "value3: no message of zigbee2mqtt/cellar has had a value at battery yet: "
        "are upper and lower case right?"
    )
    # when one comes
    publish(broker, "zigbee2mqtt/cellar", '{"temperature": 18.5, "battery": 90}')
    disk.read_until(2)
    assert "battery" not in listener.remark
    listener.close()


def test_doctor_names_a_topic_that_the_broker_says_may_not_be_read(tmp_path):
    control = need("mosquitto_ctrl", "mosquitto")
    (plugin,) = Path("/usr/lib").glob("*/mosquitto_dynamic_security.so")
    rules = tmp_path / "rules.json"
    subprocess.run([control, "dynsec", "init", rules, "admin", "secret"], check=True, capture_output=True)
    given = json.loads(rules.read_text())
    given["roles"][0]["acls"] = []
    rules.write_text(json.dumps(given))
    rules.chmod(0o644)
    options = f"plugin {plugin}\nplugin_opt_config_file {rules}"
    with Mosquitto(tmp_path, "allow_anonymous false", options=options) as broker:
        listener = build(
            Mqtt,
            {"host": "127.0.0.1", "port": str(broker.port), "user": "admin", "password": "secret"}
            | {"topics": ["home/+/log/+"]},
        )
        fault = next(each for each in listener.examine(Machine.below(Path("/"))) if each.is_bad)
    assert "does not let this user read home/+/log/+: allow it there" in str(fault)


def test_what_is_no_answer_of_a_relay_at_its_topic_is_counted_and_named_once(broker, tmp_path, caplog):
    listener = listening(broker, tmp_path)
    disk = Disk(listener)
    for relay in ("[]", "{}", "1", '"other"', '"other"', "null", *(f'"{"x" * 999}{n}"' for n in range(20))):
        publish(broker, "oemgateway/pi/ack", f'{{"relay": {relay}}}')
    publish(broker, "oemgateway/pi/ack", "")  # as doctor does
    publish(broker, "oemgateway/pi/log/9", "")
    publish(broker, "oemgateway/pi/ack", "no JSON")
    wait_until(lambda: disk.read() or listener.counts["no-reading"])
    named = [line for line in caplog.messages if line.startswith("another relay, ")]
    assert listener.counts == {"no-reading": 1}
    assert len(named) == 10
    assert max(map(len, named)) < 200
    listener.close()


def test_a_new_session_whose_making_was_not_heard_of_is_subscribed_to(tmp_path):
    # given a broker that has lost the session, and a connection of which its answer is lost
    with Mosquitto(tmp_path) as broker:
        listener = listening(broker, tmp_path, format="emoncms")
        client = f"oemgateway-{(tmp_path / 'gateway.id').read_text().strip()}-broker"
        broker.kill()
        broker.start()
        listener.close()
        refusing, listener.port = listener.port, free_port()
        with pytest.raises(OSError, match="refused"):
            listener.open()
        listener.port = refusing
        other = Session(Broker(host="127.0.0.1", port=broker.port), client, session_expiry=999)
        other.open()
        other.close()
        # when it connects again, to a session that is kept and has no subscription
        listener.open()
        # then it gets what is published
        publish(broker, "emon/8", "5")
        Disk(listener).read_until(1)
        listener.close()
