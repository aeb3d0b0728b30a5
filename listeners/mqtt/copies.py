"""Copies of one message, of which brokers send one for each subscription that matches its topic."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from gateway.mqtt.client import subscriptions_of
from listeners.mqtt.relay import put_last
from listeners.mqtt.taken_messages import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paho.mqtt.client import MQTTMessage


class Copies:
    """Tells a copy from a message that repeats the one before: the copy comes by another subscription."""

    def __init__(self) -> None:
        self.changed: Sequence[float] = ()
        """When the broker has confirmed a change of the subscriptions, on the clock of `timestamp`."""
        # By topic the last message, the subscriptions that it came by, and when.
        self._last: dict[str, tuple[str, frozenset[int], float]] = {}

    def has(self, message: MQTTMessage) -> bool:
        """Tell whether a message is a copy of the one before it on its topic.

        It is not one if a subscription began or ended between the two: a new one brings what is published
        from then on. It also brings retained messages, and may be a copy of one of these.
        """
        ways, digest, now = subscriptions_of(message), digest_of(message), message.timestamp
        before, by, at = self._last.get(message.topic, ("", ways, now))
        is_later = not message.retain and bisect_right(self.changed, at) < bisect_right(self.changed, now)
        is_copy = digest == before and not ways & by and not is_later
        put_last(self._last, message.topic, (digest, ways | by if is_copy else ways, now))
        return is_copy
