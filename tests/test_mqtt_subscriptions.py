"""Each message once from Debian's mosquitto, whichever subscriptions match it, also while they change."""

from __future__ import annotations

import json
import socket
import subprocess
from contextlib import suppress
from threading import Semaphore, Thread

import pytest

from gateway.mqtt.broker import Broker
from gateway.mqtt.session import Session
from listeners.mqtt.kept_topics import UNSURE, recall
from tests.listening import Disk, listening
from tests.ports import connect
from tests.simulators.mosquitto import old, publish

WIDE, NARROW, ACROSS = ["emon/#"], ["emon/x/+"], ["emon/+/p"]
CONNECT, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = 0x10, 0x82, 0x90, 0xA2, 0xB0


def packets(connection):
    """Yield what is sent by MQTT packets, each with its first byte."""
    stream = connection.makefile("rb")
    while first := stream.read(1):
        length = b""
        while not length or length[-1] & 0x80:
            length += stream.read(1)
        size = sum((byte & 0x7F) << 7 * at for at, byte in enumerate(length))
        yield first[0], first + length + stream.read(size)


def publishing_meanwhile(broker, publish_one):
    """Return what passes on to a broker, where others publish after each change of subscriptions.

    The connection breaks where that raises OSError.
    """

    def speak(_, connection):
        published = Semaphore(0)

        def pass_on_answers():
            with suppress(OSError):
                for kind, packet in packets(there):
                    if kind in (SUBACK, UNSUBACK):
                        publish_one()
                        published.release()
                    connection.sendall(packet)
            published.release()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

        with connect(broker.port) as there:
            Thread(target=pass_on_answers, daemon=True).start()
            for kind, packet in packets(connection):
                there.sendall(packet)
                if kind in (SUBSCRIBE, UNSUBSCRIBE):
                    published.acquire()
            there.shutdown(socket.SHUT_RDWR)

    return speak


def expect_once(listener, sent) -> None:
    disk = Disk(listener)
    disk.read_until(len(sent))
    disk.read_until_nothing()
    listener.close()
    assert [frame.values[0] for frame in disk.frames] == sent


def test_a_message_that_two_topics_match_comes_once_also_where_its_text_repeats(broker, tmp_path):
    # given two topics that overlap, none of which covers the other
    listener = listening(broker, tmp_path, format="emoncms", topics=[*ACROSS, *NARROW])
    disk = Disk(listener)
    # when messages of both are published
    sent = [1, 1, 1, 2, 2, 1]
    for value in sent:
        publish(broker, "emon/x/p", str(value))
    publish(broker, "emon/x/q", "9")
    # then each comes once
    disk.read_until(len(sent) + 1)
    disk.read_until_nothing()
    listener.close()
    assert [frame.values[0] for frame in disk.frames] == [*sent, 9]


@pytest.mark.parametrize("before", [WIDE, NARROW, ACROSS], ids=str)
@pytest.mark.parametrize("after", [WIDE, NARROW, ACROSS, [*NARROW, *ACROSS]], ids=str)
@pytest.mark.parametrize("step", [1, 0], ids=["a counter", "equal values"])
def test_no_message_is_lost_or_doubled_while_topics_are_edited(broker, tmp_path, peer, before, after, step):
    # given messages that are published at each moment of a change of subscriptions
    sent = []

    def publish_one():
        sent.append(len(sent) * step)
        publish(broker, "emon/x/p", str(sent[-1]))

    through = peer(publishing_meanwhile(broker, publish_one))
    listening(through, tmp_path, format="emoncms", topics=before).close()
    publish_one()
    # when the topics are edited
    listener = listening(through, tmp_path, format="emoncms", topics=after)
    publish_one()
    # then each comes once
    expect_once(listener, sent)


def test_an_edit_that_is_interrupted_loses_and_doubles_no_message(broker, tmp_path, peer):
    # given an edit whose connection breaks when both subscriptions are there
    sent = []

    def publish_one():
        sent.append(len(sent))
        publish(broker, "emon/x/p", str(sent[-1]))
        if len(sent) == 2:
            raise OSError("the connection breaks")

    through = peer(publishing_meanwhile(broker, publish_one))
    listening(through, tmp_path, format="emoncms", topics=WIDE).close()
    with pytest.raises(OSError, match="closes the connection"):
        listening(through, tmp_path, format="emoncms", topics=NARROW)
    for _ in range(3):
        publish_one()
    # when it is made once more
    disk = Disk(listening(through, tmp_path, format="emoncms", topics=NARROW))
    # then what was published meanwhile comes once
    disk.read_until(len(sent))
    disk.read_until_nothing()
    disk.listener.close()
    assert [frame.values[0] for frame in disk.frames] == sent


def test_topics_are_edited_while_more_waits_at_the_broker_than_is_taken_into_memory(broker, tmp_path):
    # given a session for which the broker has kept 5 MB
    listening(broker, tmp_path, format="emoncms", topics=WIDE).close()
    sent = list(range(900))
    lines = "".join(f"{value:<5600}\n" for value in sent)
    command = ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", "emon/x/p", "-l"]
    subprocess.run(command, input=lines, text=True, check=True, timeout=60)
    # when the topics are edited
    disk = Disk(listening(broker, tmp_path, format="emoncms", topics=NARROW, timeout="5"))
    # then all that comes
    disk.read_until(len(sent))
    disk.listener.close()
    assert [frame.values[0] for frame in disk.frames] == sent


def test_a_message_of_a_log_without_a_number_comes_once_while_topics_are_edited(broker, tmp_path, peer):
    # given a log that says not whose it is
    sent = []

    def publish_one():
        sent.append(len(sent))
        publish(broker, "house/log/5", json.dumps({"values": {"1": sent[-1]}}))

    through = peer(publishing_meanwhile(broker, publish_one))
    listening(through, tmp_path, topics=["+/log/5"]).close()
    # when the topics are edited
    listener = listening(through, tmp_path, topics=["house/log/+"])
    # then each message comes once
    publish_one()
    expect_once(listener, sent)


def test_what_is_retained_comes_once_where_topics_overlap(broker, tmp_path):
    # given a retained message
    publish(broker, "emon/x/p", "7", "-r")
    # when two topics are subscribed to that match it
    disk = Disk(listening(broker, tmp_path, format="emoncms", topics=[*ACROSS, *NARROW], retained="yes"))
    publish(broker, "emon/x/p", "8")
    # then it comes once
    disk.read_until(2)
    disk.read_until_nothing()
    disk.listener.close()
    assert [frame.values[0] for frame in disk.frames] == [7, 8]


@pytest.mark.parametrize("known", [b"\0", b"\1"], ids=["not known", "known"])
def test_subscriptions_without_numbers_begin_right_after_the_end_of_the_old_ones(peer, tmp_path, known):
    # given a broker that confirms the end of a subscription later than the beginning of the next
    order = []

    def speak(_, connection):
        for kind, packet in packets(connection):
            if kind in (SUBSCRIBE, UNSUBSCRIBE):
                order.append(kind)
            if kind == CONNECT:
                connection.sendall(b"\x20\5\1\0\2\x29" + known)
            elif kind == SUBSCRIBE:
                connection.sendall(b"\x90\4" + packet[2:4] + b"\0\1")
            elif kind == UNSUBSCRIBE and known == b"\1":
                connection.sendall(b"\xb0\4" + packet[2:4] + b"\0\0")

    broker = peer(speak)
    listening(broker, tmp_path, format="emoncms", topics=WIDE, timeout="2").close()
    # when the topics are edited
    order.clear()
    listening(broker, tmp_path, format="emoncms", topics=NARROW, timeout="2").close()
    # then it does not wait for that, as messages would be lost; with numbers the old ones end last
    expected = [UNSUBSCRIBE, SUBSCRIBE]
    assert order == (expected if known == b"\0" else expected[::-1])


@pytest.mark.parametrize(("known", "expected"), [(b"\0", False), (b"\1", True)], ids=["not known", "known"])
def test_a_broker_is_given_numbers_of_subscriptions_only_where_it_knows_them(peer, known, expected):
    # given a broker with MQTT 5 that says whether it knows them
    lengths = []

    def speak(_, connection):
        for kind, packet in packets(connection):
            if kind == SUBSCRIBE:
                lengths.append(packet[4])  # of its properties
                connection.sendall(b"\x90\4" + packet[2:4] + b"\0\1")
            elif kind == CONNECT:
                connection.sendall(b"\x20\5\0\0\2\x29" + known)

    session = Session(Broker(host="127.0.0.1", port=peer(speak).port), "a")
    session.open()
    # when topics are subscribed to
    session.subscribe(["a", "b"])
    session.close()
    # then each has a number of its own there, and none where the broker does not know it
    assert [length > 0 for length in lengths] == [expected] * 2


def test_with_a_broker_that_numbers_no_subscriptions_an_edit_doubles_nothing(broker, tmp_path, peer):
    # given a broker with MQTT 3.1.1
    old_one = peer(old(broker))
    listening(old_one, tmp_path, format="emoncms", topics=WIDE).close()
    publish(broker, "emon/x/p", "1")
    # when the topics are edited
    disk = Disk(listening(old_one, tmp_path, format="emoncms", topics=NARROW))
    publish(broker, "emon/x/p", "2")
    publish(broker, "emon/y/p", "3")
    publish(broker, "emon/x/p", "4")
    # then what comes before and after it comes once
    disk.read_until(3)
    disk.read_until_nothing()
    disk.listener.close()
    assert [frame.values[0] for frame in disk.frames] == [1, 2, 4]


def test_only_what_can_be_a_subscription_is_recalled(tmp_path):
    # given what was kept, and what a damaged file has besides
    kept = [UNSURE, "emon/#", "home/+/log", "home/cellar/ack"]
    file = tmp_path / "mqtt-home-topics.json"
    file.write_text(json.dumps([*kept, "a/#/b", "a+", "\ud800", "x" * 70_000]))
    # when it is read, then a broker is asked for no more than that
    assert recall(file) == kept
    # and a list of anything but texts counts for nothing
    file.write_text('["emon/#", 5]')
    assert recall(file) == []
