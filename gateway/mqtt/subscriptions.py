"""Subscribing and its end, each with the broker's answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from paho.mqtt.subscribeoptions import SubscribeOptions

from gateway.mqtt.broker import ACL, FAILED, Unreachable
from gateway.mqtt.client import of_subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from paho.mqtt.client import Client
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.mqtt.broker import Broker


class Subscriptions:
    """What a client is subscribed to; `wait` reads what the broker has sent.

    With `are_numbered` a message says by which of them it comes: see `subscriptions_of`. `changed` tells when
    the broker has confirmed a change, in seconds of the monotonic clock, as the `timestamp` of a message.
    """

    def __init__(self, client: Client, broker: Broker, wait: Callable[[float], object]) -> None:
        self.are_numbered = False
        self.changed: list[float] = []
        self._client = client
        self._broker = broker
        self._wait = wait
        self._answers: dict[int, list[int] | None] = {}
        client.on_subscribe = client.on_unsubscribe = self._on_answer

    @property
    def are_unconfirmed(self) -> bool:
        """Whether it waits for an answer, which comes after the messages that the broker has kept."""
        return None in self._answers.values()

    def add(self, topics: Iterable[str], *, is_5: bool, retained: bool) -> None:
        """Subscribe with QoS 1 and wait for the answers; OSError with the topic that is refused."""
        options: Any = 1
        if is_5:
            options = SubscribeOptions(qos=1, noLocal=True)
            if_new, never = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB, SubscribeOptions.RETAIN_DO_NOT_SEND
            options.retainHandling = if_new if retained else never
        topics, mids = list(topics), []
        for topic in topics:
            properties = of_subscription(topic) if self.are_numbered else None
            mids.append(self._client.subscribe([(topic, options)], properties=properties)[1])
        for topic, codes in zip(topics, self._answered(*mids), strict=True):
            if any(code >= FAILED for code in codes):
                raise Unreachable(
                    f"{self._broker.where} does not let this user read {topic}", f"allow it there: {ACL}"
                )

    def end(self, topics: Iterable[str], *, waits: bool) -> None:
        """End subscriptions; with `waits` until the broker has confirmed it."""
        if topics := list(topics):
            _, mid = self._client.unsubscribe(topics)
            if waits:
                self._answered(mid)

    def _answered(self, *mids: int | None) -> list[list[int]]:
        """Wait for the answers with these numbers, and return the reason codes in each."""
        self._answers = {mid: None for mid in mids if mid}  # none if the connection has ended
        until = time.monotonic() + self._broker.timeout
        while self.are_unconfirmed or None in mids:
            if (left := until - time.monotonic()) <= 0:
                raise OSError(f"{self._broker.where} does not answer a subscription")
            self._wait(left)
        return [codes or [] for codes in self._answers.values()]

    def _on_answer(
        self, _c: Client, _u: object, mid: int, reasons: list[ReasonCode], _p: Properties | None
    ) -> None:
        self.changed.append(time.monotonic())
        if mid in self._answers:
            self._answers[mid] = [reason.value for reason in reasons]
