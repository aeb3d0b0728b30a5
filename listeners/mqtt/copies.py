"""Copies of one message, of which brokers send one for each subscription that matches its topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.mqtt.client import subscriptions_of
from listeners.mqtt.relay import put_last
from listeners.mqtt.taken_messages import digest_of

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

_TOGETHER_S = 0.5
"""Seconds in which the copies of a message come: a broker sends them one after the other."""


class Copies:
    """Tells a copy from a message that repeats the one before: the copy comes by another subscription."""

    def __init__(self) -> None:
        # By topic the last message, the subscriptions that it came by, and when.
        self._last: dict[str, tuple[str, frozenset[int], float]] = {}

    def has(self, message: MQTTMessage, now: float) -> bool:
        """Tell whether a message is a copy of the one before it on its topic."""
        ways, digest = subscriptions_of(message), digest_of(message)
        before, by, at = self._last.get(message.topic, ("", ways, now))
        is_copy = digest == before and not ways & by and now < at + _TOGETHER_S
        put_last(self._last, message.topic, (digest, ways | by if is_copy else ways, now))
        return is_copy
