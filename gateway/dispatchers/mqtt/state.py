"""The present state as retained messages: the latest reading of each node, and never a backlog."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.dispatchers.mqtt.published import Retained
from gateway.frame import Frame
from gateway.mqtt.frames import as_json, state_message, state_values
from gateway.mqtt.message import Message
from gateway.plugin import Series
from gateway.present.values import LEAST_UNKNOWN, MISSED, lifetime

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gateway.dispatchers.mqtt.discovery import Announcer
    from gateway.dispatchers.mqtt.published import Published

_GATEWAY_EVERY = 10.0
"""Seconds between two messages on the gateway itself, unless there is a new trouble."""


@dataclass(frozen=True)
class NodeState:
    """A node as the core knows it now: its last frame and how many seconds ago that came, if one has.

    `interval` is what the configuration fixes, `usual` the pause that was observed; each in seconds. `values`
    are those it is known to have, by their keys; others may come where it is `open_ended`. `source` is its
    listener. `beside` has earlier frames with values that the last one does not have, and their ages.
    """

    node: str
    source: str = ""
    frame: Frame | None = None
    age: float = 0.0
    beside: Sequence[tuple[float, Frame]] = ()
    usual: float | None = None
    interval: float | None = None
    name: str = ""
    values: Mapping[str, Series] = field(default_factory=dict)
    open_ended: bool = True

    def expire_after(self) -> float:
        """Return the seconds after which its values are no longer present."""
        if self.interval:
            return MISSED * self.interval
        silent = lifetime(0.0, self.usual)
        doublings = math.ceil(math.log2(silent / LEAST_UNKNOWN))
        return float(LEAST_UNKNOWN * 2**doublings)  # in steps, as Home Assistant shows each change


@dataclass
class _Shown:
    """What was last published of a node; `values` has when each came, in seconds that never jump."""

    expiry: float
    is_there: bool = False
    described: tuple[object, ...] = ()
    device: Retained | None = None
    frame: Frame | None = None
    values: Mapping[str, tuple[float | None, float]] = ()  # type: ignore[assignment]  # set at once


class StateStream:
    """What is to be published of the present state; without an announcer nothing for Home Assistant."""

    def __init__(
        self, topic: str, published: Published, announcer: Announcer | None, expire_after: float | None
    ) -> None:
        self._topic = topic
        self._published = published
        self._announcer = announcer
        self._expire_after = expire_after
        self._shown: dict[str, _Shown] = {}
        self._gateway: tuple[float, bytes, bool] = (-math.inf, b"", False)
        self._is_new = True
        self._retained: list[Message] = []

    @property
    def status(self) -> str:
        """The topic on which the gateway is online or, by its last will, offline."""
        return f"{self._topic}/status"

    def forget_sent(self) -> None:
        """Have everything published again."""
        self._published.forget_sent()
        for shown in self._shown.values():
            shown.frame = None
        self._gateway = (-math.inf, b"", False)
        self._is_new = True

    def messages(
        self, nodes: Sequence[NodeState], open_sources: Collection[str], now: float
    ) -> list[Message]:
        """Return what has changed: device messages, which node is available, and new readings.

        `now` is in seconds that never jump. `delivered` is to be called when the broker has them.
        """
        is_new, self._is_new = self._note(nodes) or self._is_new, False
        self._retained = []
        if is_new:
            self._retained = self._published.changes(
                [*self._wanted(nodes)],
                lambda topic, source: self._unheard(topic) if source in open_sources else None,
            )
        readings = [message for each in nodes for message in self._reading(each, now)]
        return [*self._retained, *readings]

    def delivered(self) -> None:
        """Note that the broker has the last messages."""
        if self._retained:
            self._published.delivered(self._retained)

    def removal(self) -> list[Message]:
        """Return the messages that remove all that is retained."""
        return [Message(topic, b"", retain=True) for topic in self._published.topics]

    def is_gateway_due(self, now: float) -> bool:
        """Tell whether it is time to look at the gateway itself."""
        return now >= self._gateway[0] + _GATEWAY_EVERY

    def gateway(self, about: Mapping[str, object], now: float) -> list[Message]:
        """Return the message on the gateway itself, where it says something new and it is time for it.

        `about` has `waiting`, `oldest`, `troubles` and `version`.
        """
        at, before, had_problem = self._gateway
        has_problem = bool(about["troubles"])
        payload = as_json({**about, "problem": "ON" if has_problem else "OFF"})
        if payload == before or (has_problem == had_problem and now < at + _GATEWAY_EVERY):
            return []
        self._gateway = (now, payload, has_problem)
        return [Message(f"{self._topic}/gateway", payload, retain=True)]

    def _note(self, nodes: Sequence[NodeState]) -> bool:
        """Bring what is known of the nodes up to date; tell whether retained messages change."""
        gone = self._shown.keys() - {each.node for each in nodes}
        for node in gone:
            del self._shown[node]
        is_new = bool(gone)
        for each in nodes:
            expiry = self._expire_after or each.expire_after()
            shown = self._shown.setdefault(each.node, _Shown(expiry, values={}))
            shown.expiry = expiry
            is_there = each.frame is not None and each.age < expiry
            has_signal = each.frame is not None and each.frame.rssi is not None
            described = (expiry, has_signal, each.name, each.interval, *each.values.items())
            is_new |= is_there != shown.is_there or described != shown.described
            shown.is_there = is_there
            if described != shown.described:
                shown.described = described
                if self._announcer:
                    shown.device = self._announcer.node(each, expiry)
        return is_new

    def _wanted(self, nodes: Sequence[NodeState]) -> Iterable[Retained]:
        yield Retained(self.status, "online")
        yield Retained(f"{self._topic}/gateway")
        if self._announcer:
            yield self._announcer.itself()
        for each in nodes:
            shown = self._shown[each.node]
            yield Retained(f"{self._topic}/state/{each.node}", source=each.source)
            text = "online" if shown.is_there else "offline"
            yield Retained(f"{self._topic}/available/{each.node}", text, source=each.source)
            if shown.device:
                yield shown.device

    def _unheard(self, topic: str) -> Retained | None:
        """Return what stays at a topic whose node was not heard yet, or is forgotten; None for nothing.

        Nothing stays of another base topic or of discovery elsewhere, as the settings were before.
        """
        if topic.startswith(f"{self._topic}/available/"):
            return Retained(topic, "offline")
        described = self._announcer.nodes if self._announcer else f"{self._topic}/state/"
        return Retained(topic) if topic.startswith((f"{self._topic}/state/", described)) else None

    def _reading(self, each: NodeState, now: float) -> Iterable[Message]:
        """Yield the present values of a node, if they are new.

        A frame by name need not have all names of its node: the others keep their last value until it
        expires. A frame by index has gaps where there is no value now.
        """
        shown = self._shown[each.node]
        if each.frame is None or shown.frame == each.frame:
            return
        shown.frame = each.frame
        before = shown.values if each.frame.by_name else {}
        came = {
            key: (value, now - age)
            for age, frame in (*each.beside, (each.age, each.frame))
            for key, value in state_values(frame).items()
        }
        shown.values = {key: at for key, at in {**before, **came}.items() if at[1] + shown.expiry > now}
        if (left := shown.expiry - each.age) > 0:
            values = {key: value for key, (value, _) in shown.values.items()}
            yield state_message(self._topic, each.frame, values, left)
