"""Which messages a broker sends a second time, as it has missed their acknowledgement."""

from __future__ import annotations

import pytest
from paho.mqtt.client import MQTTMessage

from listeners.mqtt.taken_messages import TakenMessages


def message(number: int, said: str, *, dup: bool = False, topic: str = "emon/8") -> MQTTMessage:
    made = MQTTMessage(number, topic.encode())
    made.payload, made.qos, made.dup = said.encode(), 1, dup
    return made


@pytest.fixture(params=["kept", "in memory"])
def file(request, tmp_path):
    return tmp_path / "again.json" if request.param == "kept" else None


def begun(file=None, before=(), *, is_resumed=True) -> TakenMessages:
    """Take messages in one connection, and begin with the next; after a restart where there is a file."""
    messages = TakenMessages()
    messages.begin(file, is_resumed=False)
    messages.note(before)
    messages.keep(file)
    if file:
        messages = TakenMessages()
    messages.begin(file, is_resumed=is_resumed)
    return messages


def test_all_that_a_broker_may_send_without_an_acknowledgement_is_known_again(file):
    messages = begun(file, [message(number, f"{number}") for number in range(1, 1001)])
    assert all(messages.has(message(number, f"{number}", dup=True)) for number in range(1, 1001))


@pytest.mark.parametrize(
    "other",
    [
        message(1, "20.5"),
        message(1, "20.6", dup=True),
        message(2, "20.5", dup=True),
        message(1, "20.5", dup=True, topic="emon/9"),
    ],
    ids=["not sent again", "another value", "another number", "another topic"],
)
def test_another_message_is_none_of_those(file, other):
    assert not begun(file, [message(1, "20.5")]).has(other)


def test_in_a_new_session_the_numbers_mean_others(file):
    messages = begun(file, [message(1, "20.5")], is_resumed=False)
    assert not messages.has(message(1, "20.5", dup=True))
    messages.keep(file)
    messages.begin(file, is_resumed=True)
    assert not messages.has(message(1, "20.5", dup=True))


def test_a_number_that_comes_round_is_that_of_the_new_message():
    messages = begun(None, [message(1, "20.5")])
    # when a message of that number was given, and could not be put on the disk
    assert not messages.has(message(1, "20.5"))
    # then it is taken when the broker sends it again
    assert not messages.has(message(1, "20.5", dup=True))


@pytest.mark.parametrize(
    "damage", ["", "[", "[1]", '[["x", "y"]]', "[[1e999, 1]]", "[[[], 1]]", "{}", "7", "[" * 100_000]
)
def test_a_damaged_file_has_nothing(tmp_path, damage):
    (tmp_path / "again.json").write_text(damage)
    messages = TakenMessages()
    messages.begin(tmp_path / "again.json", is_resumed=True)
    assert not messages.has(message(1, "y", dup=True))
