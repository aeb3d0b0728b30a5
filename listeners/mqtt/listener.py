"""Values from an MQTT broker, acknowledged once no power cut can take them any more."""

from __future__ import annotations

import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import quote

from gateway.frame import check_node
from gateway.mqtt.broker import Broker
from gateway.mqtt.examine import examine_broker
from gateway.mqtt.identity import gateway_id
from gateway.mqtt.session import Session
from gateway.mqtt.topics import check_filter, matches
from gateway.paths import read_file, write_file
from gateway.plugin import SettingsFault, setting, wait_readable
from listeners.counting import CountingListener
from listeners.mqtt.mappings import Mappings
from listeners.mqtt.streams import Read, read_emon, read_log

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from paho.mqtt.client import MQTTMessage

    from gateway.plugin import Finding, Flag, Frame, Machine, Series, Stamp

_WEEKS = 4 * 7 * 86400
"""Seconds for which the broker keeps what comes while the gateway is away."""
_UNACKNOWLEDGED = 1000
"""Messages that the broker sends before it waits (Receive Maximum): with MQTT 3.1.1 they are 20."""
_SYNC_AT = _UNACKNOWLEDGED // 4
"""Unacknowledged messages for which the disk is made to write at once."""
_DEFAULTS = {"oemgateway": ("oemgateway/+/log/+",), "emonhub": ("emon/#",), "emoncms": ("emon/#",)}


def _check_filters(topics: Iterable[str]) -> None:
    for topic in topics:
        check_filter(topic)


@dataclass(kw_only=True)
class Mqtt(Broker, CountingListener):
    """What others publish: whole streams, by `topics` and their `format`, or single `values` of any JSON."""

    format: Literal["oemgateway", "emonhub", "emoncms"] = setting("oemgateway")
    topics: tuple[str, ...] = setting((), check=_check_filters)
    prefix: Literal["no", "topic", "id"] = setting("no")
    retained: bool = setting(default=False)
    values: Mappings = field(default_factory=Mappings)

    COUNTED: ClassVar = "a message"

    def __post_init__(self) -> None:
        Broker.__post_init__(self)
        CountingListener.__post_init__(self)
        if self.prefix != "no" and self.format != "oemgateway":
            message = "format = oemgateway expected: other messages do not say whose they are"
            raise SettingsFault([("prefix", message)])
        self._session: Session | None = None
        self._unsynced: deque[tuple[int, list[MQTTMessage]]] = deque()
        self._lists = 0
        self._owners: dict[str, str] = {}
        self._single = frozenset(self.values.topics())

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topics of the streams; by default those of the format, unless single values are named."""
        return self.topics or (() if self.values.by_number else _DEFAULTS[self.format])

    def catalogue(self) -> Iterable[Series]:
        """Return the single values; which nodes the streams bring is known when they come."""
        return self.values.catalogue()

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Say whether the broker is there and lets this user in."""
        return examine_broker(self, machine, lambda _: ())

    def open(self) -> None:
        """Connect, and go on with the session that the broker has kept."""
        client = self.client or f"oemgateway-{gateway_id(self.state)}-{self.name}"
        self._session = session = Session(
            self, client, session_expiry=_WEEKS, receive_maximum=_UNACKNOWLEDGED
        )
        session.open()
        wanted = [*self.subscriptions, *self.values.topics()]
        before = self._recall()
        session.unsubscribe([topic for topic in before if topic not in wanted])
        session.subscribe(wanted, retained=self.retained)
        if before != wanted and self.state:
            write_file(self._file, json.dumps(wanted))

    def close(self) -> None:
        """End the connection; what is not acknowledged comes again."""
        self._unsynced.clear()
        if self._session:
            self._session.close()
            self._session = None

    def read(self, stop: Flag) -> list[Frame]:
        """Acknowledge what is safe on the disk by now; wait for messages and return their frames."""
        session = self._session
        assert session is not None  # noqa: S101  (`open` came before)
        self._acknowledge(session)
        ready = wait_readable([stop, session, self.synced], session.due)
        if stop.fileno() in ready:
            return []
        session.wait()
        now = self.clock.now()
        frames: list[Frame] = []
        messages: list[MQTTMessage] = []
        while session.received and len(messages) < _SYNC_AT:
            message = session.received.popleft()
            frames += self._frames(message, now)
            if message.qos:
                messages.append(message)
        if frames:
            self._lists += 1
            self._unsynced.append((self._lists, messages))
        else:
            for message in messages:
                session.acknowledge(message)
        return frames

    def _acknowledge(self, session: Session) -> None:
        if sum(len(messages) for _, messages in self._unsynced) >= _SYNC_AT:
            self.synced.demand()
        safe = self.synced.count()
        while self._unsynced and self._unsynced[0][0] <= safe:
            for message in self._unsynced.popleft()[1]:
                session.acknowledge(message)

    def _frames(self, message: MQTTMessage, now: Stamp) -> list[Frame]:
        """Return the frames of a message; one that has none is counted."""
        if message.retain and not self.retained:
            self.counts["retained"] += 1
            return []
        try:
            topic, payload = message.topic, bytes(message.payload)
            if topic in self._single:
                frames = self.values.frames(topic, payload, now)
            else:
                frames = self._of_stream(topic, payload, now)
        except (ValueError, UnicodeDecodeError) as error:
            name = message._topic.decode(errors="replace")  # noqa: SLF001  (`topic` raises where it is not UTF-8)
            self.refuse("no-reading", f"{name}: {error}")
            return []
        self.counts.take()
        return [replace(frame, source=self.name) for frame in frames]

    def _of_stream(self, topic: str, payload: bytes, now: Stamp) -> list[Frame]:
        pattern = next((pattern for pattern in self.subscriptions if matches(pattern, topic)), None)
        if pattern is None:
            return []  # of a subscription of before
        if self.format == "oemgateway":
            return self._of_gateway(read_log(topic, payload, now))
        base = "/".join(pattern.split("/")[: _fixed(pattern)])
        return [read_emon(base, topic, payload, now).frame]

    def _of_gateway(self, read: Read) -> list[Frame]:
        """Return the frame under a node that no other gateway has."""
        whose = read.identity.gateway if read.identity else read.gateway
        before = {"no": "", "topic": read.gateway.rpartition("/")[2], "id": whose}[self.prefix]
        node = f"{before}.{read.frame.node}" if before else read.frame.node
        check_node(node)
        if self._owners.setdefault(node, whose) != whose:
            self.refuse(
                "node-of-another-gateway",
                f"node {node} of {read.gateway}: another gateway has it too; see `prefix`",
            )
            return []
        return [replace(read.frame, node=node)]

    @property
    def _file(self) -> Path:
        assert self.state is not None  # noqa: S101  (asked before)
        return self.state / f"mqtt-{quote(self.name, safe='')}-topics.json"

    def _recall(self) -> list[str]:
        """Return what was subscribed to before: the broker remembers it too."""
        if self.state:
            with suppress(OSError, ValueError, RecursionError):
                return [str(topic) for topic in json.loads(read_file(self._file))]
        return []


def _fixed(pattern: str) -> int:
    """Return how many levels of a topic stand before its first wildcard."""
    levels = pattern.split("/")
    return next((at for at, level in enumerate(levels) if level in ("+", "#")), len(levels) - 1)
