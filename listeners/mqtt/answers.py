"""What a relay tells the gateways: how far their logs are safe on its disk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway.mqtt.broker import ACL, FAILED
from gateway.mqtt.frames import parse_object
from gateway.mqtt.message import Message
from listeners.mqtt.relay import Positions, Verdict, answer, put_last

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.mqtt.frames import Identity
    from gateway.mqtt.session import Session
    from listeners.mqtt.listener import Mqtt

NOT_ALLOWED = "{} does not let this user publish {}: gateways with confirm = relay wait for that"
CURE = f"allow it there: {ACL}"

_ASK_EVERY = 10.0
"""Seconds after which a gateway is asked again to go back to the same place."""

_NAMED = 10
"""Other relays that are named, at most."""


class Answers:
    """Judges the messages of the gateways by their numbers, and publishes how far each has come.

    `refused` is the trouble that the broker does not allow the answers, "" otherwise. `is_new`: `begin` was
    not called yet.
    """

    def __init__(self, listener: Mqtt) -> None:
        self.refused = ""
        self.is_new = True
        self._listener = listener
        self._relay = ""
        self._positions = Positions({})
        self._safe: dict[str, dict[str, int]] = {}  # of each gateway, what no power cut can take
        self._due: dict[str, tuple[str, bool]] = {}  # by topic: the gateway to be answered, and whether again
        self._asked: dict[str, tuple[dict[str, int], float]] = {}  # of each, where to go back to
        self._advanced: dict[str, str] = {}  # by topic, the gateways that this read advances
        self._first: tuple[int, str] | None = None  # the number and topic of the first answer
        self._others: set[str] = set()

    def begin(self, relay: str, notes: Mapping[str, str]) -> None:
        """Begin a new connection from what is kept: a read that failed may have gone further.

        `relay` is the id of this gateway.
        """
        self._relay = relay
        self._first = None
        self._advanced.clear()
        self._positions = Positions(notes)
        if self.is_new:
            self.is_new, self._safe = False, self._positions.all()

    def judge(self, topic: str, identity: Identity, now: float) -> tuple[Verdict, Mapping[str, str]]:
        """Return what is to be done with a message, and what is to be noted with its frame."""
        verdict, counts = self._positions.judge(identity), self._listener.counts
        if verdict is Verdict.STORED:
            self._due.setdefault(topic, (identity.gateway, False))
            return verdict, {}
        if verdict is Verdict.OUT_OF_ORDER:
            counts["out-of-order"] += 1
            asked = self._positions.of(identity.gateway), now
            before, at = self._asked.get(identity.gateway, ({}, -math.inf))
            # Messages in flight after the gap are no reason to ask again.
            if asked[0] != before or now > at + _ASK_EVERY:
                put_last(self._asked, identity.gateway, asked)
                self._due[topic] = (identity.gateway, True)
            return verdict, {}
        self._advanced[topic] = identity.gateway
        if verdict is Verdict.UNKNOWN_BEFORE:
            if not self._listener.counts["acknowledged-elsewhere"]:
                self._listener.log.warning(
                    "%s: what came before was acknowledged, and is not known here", topic
                )
            counts["acknowledged-elsewhere"] += 1
        return verdict, self._positions.advance(identity)

    def advanced(self) -> Mapping[str, tuple[str, dict[str, int]]]:
        """Return the gateways that this read has advanced, by topic, each with its positions."""
        found = {topic: (gateway, self._positions.of(gateway)) for topic, gateway in self._advanced.items()}
        self._advanced.clear()
        return found

    def note_safe(self, advanced: Mapping[str, tuple[str, dict[str, int]]]) -> None:
        """Note that what `advanced` has returned is safe on the disk."""
        for topic, (gateway, positions) in advanced.items():
            put_last(self._safe, gateway, positions)
            self._due.setdefault(topic, (gateway, False))

    def publish(self, session: Session) -> None:
        """Answer the gateways that are due. The first answer shows whether that is allowed.

        An answer that is lost is asked for again.
        """
        for topic, (gateway, again) in self._due.items():
            positions = self._safe.get(gateway, {})
            said = answer(gateway, self._relay, positions, again=again)
            message = Message(f"{topic}/ack", said, retain=True)
            if self._first:
                session.publish(message, qos=0)
            else:
                self._first = session.submit(message), message.topic
        self._due.clear()

    def look_at_outcome(self, session: Session) -> None:
        """Note what the broker says to the first answer."""
        if self._first and (code := session.outcome(self._first[0])) is not None:
            before = self.refused
            self.refused = NOT_ALLOWED.format(self._listener.where, self._first[1]) if code >= FAILED else ""
            if self.refused and not before:
                self._listener.log.error("%s: %s", self.refused, CURE)

    def look_at_other(self, topic: str, payload: bytes) -> None:
        """Say once that another relay acknowledges the same gateways."""
        other = parse_object(payload).get("relay")
        if not isinstance(other, str) or other == self._relay or other in self._others:
            return
        if len(self._others) < _NAMED:
            self._others.add(other)
            self._listener.log.error(
                "another relay, %.40s, acknowledges %s too: each would have a part of the readings; stop one",
                other,
                topic.removesuffix("/ack"),
            )
