"""From gateways through a broker to a relay that acknowledges what is on its disk: each frame once, in order.

KILLS says how many kills of gateway, relay and broker there are.
"""

from __future__ import annotations

import json
import os
import random
import time

import pytest

from gateway.dispatchers.mqtt.deliveries import Confirmed
from gateway.dispatchers.mqtt.dispatcher import Mqtt
from gateway.frame import Frame, Stamp
from gateway.mqtt.confirmations import Confirmations
from gateway.mqtt.frames import Identity, log_message
from gateway.plugin import Batch
from gateway.settings import SettingsFault
from listeners.mqtt.relay import Positions, Verdict, answer
from tests import recording_dispatcher
from tests.relayed import UNLIMITED, Way, check_once_and_in_order
from tests.simulators.mosquitto import Mosquitto, Subscriber, publish
from tests.waiting import wait_until

KILLS = int(os.environ.get("KILLS", "8"))


def message(n, after=None, acked=None, epoch="e"):
    return Identity("ab", epoch, n, after and (epoch, after), acked and (epoch, acked))


def test_messages_are_taken_once_and_in_order():
    positions = Positions({})
    assert positions.judge(message(5)) is Verdict.NEW  # the sender knows that what was before has arrived
    positions.advance(message(5))
    assert positions.judge(message(5)) is Verdict.STORED
    assert positions.judge(message(4)) is Verdict.STORED
    assert positions.judge(message(7, after=6)) is Verdict.OUT_OF_ORDER
    assert positions.judge(message(6, after=5)) is Verdict.NEW
    assert positions.judge(message(8, after=5)) is Verdict.NEW  # those between were set aside by the sender


def test_an_id_that_is_given_again_is_of_another_epoch():
    positions = Positions({})
    positions.advance(message(100))
    again = Identity("ab", "f", 95, ("e", 94))
    assert positions.judge(again) is Verdict.NEW
    positions.advance(again)
    assert positions.judge(message(95)) is Verdict.STORED


def test_a_relay_that_was_wiped_takes_what_follows_something_that_was_acknowledged():
    assert Positions({}).judge(message(7, after=6, acked=6)) is Verdict.UNKNOWN_BEFORE
    assert Positions({}).judge(message(8, after=7, acked=6)) is Verdict.OUT_OF_ORDER


def test_positions_are_kept_and_old_epochs_forgotten():
    positions, kept = Positions({}), {}
    for number in range(100):
        changes = positions.advance(Identity("ab", f"e{number}", number))
        kept = {name: text for name, text in (kept | changes).items() if text}
    positions.advance(Identity("cd", "x", 3))
    assert len(kept) == 64
    again = Positions(kept | {"nonsense": "x", "": "1 2 3", "a b": "5"})
    assert again.of("ab") == positions.of("ab")
    assert again.judge(Identity("ab", "e99", 99)) is Verdict.STORED
    assert json.loads(answer("ab", "r", again.of("ab")))["positions"] == {f"e{n}": n for n in range(36, 100)}


def test_what_a_copied_card_sends_again_is_known_after_many_starts():
    # given a gateway that has sent something in each of forty starts
    positions = Positions({})
    for start in range(40):
        positions.advance(Identity("ab", f"e{start}", start))
    # when a copy of its card is put back that has what waited after the tenth
    again = [positions.judge(Identity("ab", f"e{start}", start)) for start in range(3, 10)]
    assert again == [Verdict.STORED] * 7


def test_what_a_relay_confirms():
    confirmations = Confirmations("ab")
    own = [("e", 4), ("e", 6), ("f", 5)]
    for payload in (
        b"",
        b"nonsense",
        b"[]",
        answer("other", "r", {"e": 9}),
        b'{"gateway":"ab","positions":[1]}',
    ):
        confirmations.take(payload)
        assert confirmations.count(own) == 0
    confirmations.take(answer("ab", "r", {"e": 5}))
    assert (confirmations.count(own), confirmations.last, confirmations.again) == (1, ("e", 4), False)
    confirmations.take(answer("ab", "r", {"e": 6, "f": 5}, again=True))
    assert (confirmations.count(own), confirmations.last, confirmations.again) == (3, ("f", 5), True)


def test_what_others_say_in_the_name_of_a_relay_is_bounded():
    confirmations = Confirmations("ab")
    confirmations.take(answer("ab", "r", {"e": 5}))
    for start in range(0, 10_000, 100):
        confirmations.take(answer("ab", "r", {f"x{n}": n for n in range(start, start + 100)}))
        confirmations.take(answer("ab", "r", {"e": 6}))
    assert confirmations.count([("e", 6)]) == 1
    assert len(confirmations._positions) <= 1000


def test_the_gateway_that_is_silent_for_longest_is_forgotten():
    # given as many gateways as are remembered, of which the first was heard again
    positions, kept = Positions({}), {}
    for number in [*range(10_000), 0]:
        kept |= positions.advance(Identity(f"g{number}", "e", number))
    again = Positions({name: text for name, text in kept.items() if text})
    # when there is one more, here and after a start
    for each in (positions, again):
        gone = each.advance(Identity("new", "e", 1))
        # then the second, and no other, is forgotten on the disk and in memory
        assert [name.split()[0] for name, text in gone.items() if not text] == ["g1"]
        assert len(each.all()) == 10_000
        assert each.of("g0")


def test_a_batch_has_no_more_epochs_than_a_relay_remembers():
    mqtt = Mqtt(topic="home", confirm="relay")
    frames = [Frame("5", (float(n),), Stamp(1e9, "b", 1.0)) for n in range(30)]
    epochs = [f"e{n // 2}" for n in range(30)]
    confirmations = Confirmations("ab")
    delivery = Confirmed(mqtt, confirmations, Batch(frames, range(30), epochs), 30)
    assert delivery.count == 16
    assert Confirmed(mqtt, confirmations, Batch(frames, range(30), ["e"] * 30), 25).count == 25


def test_only_our_own_format_can_be_confirmed():
    with pytest.raises(SettingsFault, match="confirm: format = oemgateway expected"):
        Mqtt(confirm="relay", format="emoncms")


@pytest.fixture
def way(tmp_path):
    with Mosquitto(tmp_path, options=UNLIMITED) as broker:
        way = Way(tmp_path, broker)
        yield way
        for process in (way.sender, way.relay):
            process.__exit__()


def test_frames_keep_node_and_time_and_are_forgotten_when_they_are_on_the_relay_s_disk(way):
    with way.sender:
        wait_until(lambda: way.sender.status()["dispatchers"]["out"]["queue"]["waiting"] > 20)
        assert way.sender.status()["dispatchers"]["out"]["frames"] == 0
        with way.relay:
            given = way.finish()
            assert way.arrived() == given
            rows = recording_dispatcher.read(way.recorded)
            assert {node for _, node, _, _ in rows} == {"5", "6", "7"}
            assert all(abs(at - time.time()) < 300 for _, _, at, _ in rows)
            assert way.relay.status()["listeners"]["in"]["faults"].get("acknowledged-elsewhere", 0) == 0


def test_each_frame_arrives_once_and_in_order_whatever_is_killed(way):
    draw = random.Random(os.environ.get("SEED"))
    with way.sender, way.relay:
        for _ in range(KILLS):
            time.sleep(draw.uniform(0.3, 1.5))
            victim = draw.choice(["sender", "relay", "broker"])
            if victim == "broker":
                way.broker.kill()
                time.sleep(draw.uniform(0, 0.5))
                way.broker.start()
            else:
                process = getattr(way, victim)
                process.kill()
                time.sleep(draw.uniform(0, 0.5))
                process.launch()
        wait_until(lambda: way.sender.is_ready() and way.relay.is_ready())
        way.finish()
        check_once_and_in_order(way.arrived(), way.kept())


def test_a_relay_that_was_wiped_goes_on_and_says_so(way):
    with way.sender:
        with way.relay:
            wait_until(lambda: len(way.arrived()) > 20)
            way.relay.stop()
        for file in (way.relay.file.parent / "state").iterdir():
            if file.is_file():
                file.unlink()
        before = len(way.given())
        way.recorded.rename(way.directory / "before")
        with way.relay:
            given = way.finish()
            arrived = way.arrived()
        assert arrived == sorted(set(arrived))
        assert set(given[before:]) <= set(arrived)


def test_a_gap_is_asked_for_again_and_never_jumped_over(tmp_path):
    with Mosquitto(tmp_path, options=UNLIMITED) as broker, Subscriber(broker, "oemgateway/pi/ack") as acks:
        way = Way(tmp_path, broker)
        with way.relay:
            wait_until(lambda: "oemgateway/+/log/+" in broker.log)

            def send(n, after=None):
                frame = Frame("5", (float(n),), Stamp(1e9 + n, "b", 1.0))
                sent = log_message("oemgateway/pi", frame, message(n, after))
                publish(broker, sent.topic, sent.payload.decode())

            send(1)
            wait_until(lambda: acks.messages and json.loads(acks.messages[-1][1])["positions"] == {"e": 1})
            send(3, after=2)
            wait_until(lambda: json.loads(acks.messages[-1][1])["again"])
            send(2, after=1)
            send(3, after=2)
            wait_until(lambda: json.loads(acks.messages[-1][1])["positions"] == {"e": 3})
            wait_until(lambda: way.arrived() == [1, 2, 3])
            count = len(acks.messages)
            send(2, after=1)
            wait_until(lambda: len(acks.messages) > count)
            assert way.arrived() == [1, 2, 3]


def test_a_second_relay_is_one_line(tmp_path):
    with Mosquitto(tmp_path, options=UNLIMITED) as broker:
        way = Way(tmp_path, broker)
        with way.relay:
            wait_until(lambda: "oemgateway/+/ack" in broker.log)
            for number in range(3):
                publish(broker, "oemgateway/pi/ack", answer("ab", "other", {"e": number}).decode())
            wait_until(lambda: "another relay, other, acknowledges oemgateway/pi too" in way.relay.log)
            assert way.relay.log.count("another relay") == 1


def test_without_a_relay_everything_waits_and_status_says_why(way):
    with way.sender:
        wait_until(lambda: way.sender.status()["dispatchers"]["out"]["trouble"], 90)
        trouble = way.sender.status()["dispatchers"]["out"]["trouble"]
        assert trouble.endswith(": nobody subscribes to oemgateway/pi/log: no relay is there")
        with way.relay:
            given = way.finish()
            assert way.arrived() == given
