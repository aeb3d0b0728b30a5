"""Values from an MQTT broker, acknowledged once no power cut can take them any more."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import quote

from paho.mqtt.client import MQTTMessage

from gateway.frame import check_node
from gateway.mqtt.broker import ACL, Broker
from gateway.mqtt.client import origin_of
from gateway.mqtt.examine import examine_broker
from gateway.mqtt.frames import parse_object
from gateway.mqtt.gateway_id import gateway_id
from gateway.mqtt.message import Message
from gateway.mqtt.session import FAILED, Session
from gateway.mqtt.topics import check_filter, matches
from gateway.plugin import SettingsFault, bad, setting, wait_readable
from gateway.process.state_files import read_file, write_file
from listeners.mqtt.mappings import Mappings
from listeners.mqtt.owners import Owners, Sender
from listeners.mqtt.relay import Positions, Verdict, answer
from listeners.mqtt.streams import Read, read_emon, read_log
from listeners.tally import CountingListener

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.mqtt.frames import Identity
    from gateway.plugin import Finding, Flag, Frame, Health, Machine, Series, Stamp

_WEEKS = 4 * 7 * 86400
"""Seconds for which the broker keeps what comes while the gateway is away."""
_UNACKNOWLEDGED = 1000
"""Messages that the broker sends before it waits (Receive Maximum): with MQTT 3.1.1 they are 20."""
_ASK_EVERY = 10.0
"""Seconds after which a gateway is asked again to go back to the same place."""
_SYNC_AT = _UNACKNOWLEDGED // 4
"""Unacknowledged messages for which the disk is made to write at once."""
_NO_ANSWER = "{} does not let this user publish {}: gateways with confirm = relay wait for that"
_CURE = f"allow it there: {ACL}"
_DEFAULTS = {"oemgateway": ("oemgateway/+/log/+",), "emonhub": ("emon/#",), "emoncms": ("emon/#",)}


def _check_filters(topics: Iterable[str]) -> None:
    for topic in topics:
        check_filter(topic)


@dataclass
class _List:
    """The messages of a list that is not safe yet, and what their gateways are told then, by topic."""

    number: int
    messages: list[MQTTMessage]
    positions: Mapping[str, tuple[str, dict[str, int]]]


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
        self._id = ""
        self._session: Session | None = None
        self._unsynced: deque[_List] = deque()
        self._lists = 0
        self._owners = Owners()
        self._positions: Positions | None = None
        self._safe: dict[str, dict[str, int]] = {}  # of each gateway, what no power cut can take
        self._due: dict[str, tuple[str, bool]] = {}  # by topic: the gateway to be answered, and whether again
        self._others: set[str] = set()
        self._asked: dict[str, tuple[dict[str, int], float]] = {}  # of each, where to go back to
        self._advanced: dict[str, str] = {}  # by topic, the gateways that this read has brought on
        self._first_answer: tuple[int, str] | None = None  # its number and topic
        self._unanswered = ""
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
        return examine_broker(self, machine, self._examine_answers)

    def _examine_answers(self, session: Session) -> Iterable[Finding]:
        """Yield whether the gateways would get answers: an empty message that is not kept tells."""
        topics = [topic.replace("+", "doctor") for topic in self._answers()] if session.version == 5 else []
        codes: list[int] = []
        session.deliver([Message(topic, b"") for topic in topics], codes)
        for topic, code in zip(topics, codes, strict=True):
            if code >= FAILED:
                yield bad(_NO_ANSWER.format(self.where, topic), _CURE)

    def health(self) -> Health:
        """Add that the gateways get no answers."""
        health = super().health()
        return replace(health, troubles=[*health.troubles, *filter(None, [self._unanswered])])

    def open(self) -> None:
        """Connect, and go on with the session that the broker has kept."""
        self._id = gateway_id(self.state)
        client = self.client or f"oemgateway-{self._id}-{self.name}"
        self._session = session = Session(
            self, client, session_expiry=_WEEKS, receive_maximum=_UNACKNOWLEDGED
        )
        session.open()
        self._first_answer = None
        self._subscribe(session)
        if self._positions is None:
            self.synced.demand()  # what an earlier run has left is safe after that
            self._safe = Positions(self.notes()).all()
        # Only what was put counts: a read that failed may have gone further.
        self.noted.clear()
        self._advanced.clear()
        self._positions = Positions(self.notes())

    def _subscribe(self, session: Session) -> None:
        """Subscribe, unless the broker remembers: it may have much to send before it answers."""
        data = [*self.subscriptions, *self.values.topics()]
        wanted = [*data, *self._answers()]
        before = self._recall() if session.is_resumed else []
        if before == wanted:
            return
        self._remember([])
        session.unsubscribe([topic for topic in before if topic not in wanted])
        session.subscribe(data, retained=self.retained)
        session.subscribe(self._answers(), retained=False)
        self._remember(wanted)

    def close(self) -> None:
        """End the connection; what is not acknowledged comes again."""
        for each in self._unsynced:
            each.messages.clear()
        if self._session:
            self._session.close()
            self._session = None

    def read(self, stop: Flag) -> list[Frame]:
        """Acknowledge what is safe on the disk by now; wait for messages and return their frames."""
        session = self._session
        assert session is not None  # noqa: S101  (`open` came before)
        self._look_at_outcome(session)
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
        if frames or self.noted:
            self._lists += 1
            positions = {topic: (gateway, self._at(gateway)) for topic, gateway in self._advanced.items()}
            self._unsynced.append(_List(self._lists, messages, positions))
            self._advanced.clear()
        elif self._unsynced:
            self._unsynced[-1].messages.extend(messages)
        else:
            for message in messages:
                session.acknowledge(message)
        return frames

    def _acknowledge(self, session: Session) -> None:
        """Acknowledge what is safe by now, and tell the gateways how far their logs have come here."""
        if sum(len(each.messages) for each in self._unsynced) >= _SYNC_AT:
            self.synced.demand()
        safe = self.synced.count()
        acknowledged: list[MQTTMessage] = []
        while self._unsynced and self._unsynced[0].number <= safe:
            done = self._unsynced.popleft()
            for topic, (gateway, positions) in done.positions.items():
                self._safe[gateway] = positions
                self._due.setdefault(topic, (gateway, False))
            acknowledged += done.messages
        for topic, (gateway, again) in self._due.items():
            said = answer(gateway, self._id, self._safe.get(gateway, {}), again=again)
            self._say(session, Message(f"{topic}/ack", said, retain=True))
        self._due.clear()
        # After the answers: a message that comes again is answered again.
        for message in acknowledged:
            session.acknowledge(message)

    def _say(self, session: Session, answer: Message) -> None:
        """Publish an answer; one that is lost is asked for again. The first shows whether that is allowed."""
        if self._first_answer:
            session.publish(answer, qos=0)
        else:
            self._first_answer = session.submit(answer), answer.topic

    def _look_at_outcome(self, session: Session) -> None:
        """Take note of what the broker says to the first answer."""
        if self._first_answer and (code := session.outcome(self._first_answer[0])) is not None:
            before = self._unanswered
            self._unanswered = _NO_ANSWER.format(self.where, self._first_answer[1]) if code >= FAILED else ""
            if self._unanswered and not before:
                self.log.error("%s: %s", self._unanswered, _CURE)

    def _frames(self, message: MQTTMessage, now: Stamp) -> list[Frame]:
        """Return the frames of a message; one that has none is counted."""
        try:
            topic, payload = message.topic, bytes(message.payload)
            if topic.endswith("/ack") and any(matches(each, topic) for each in self._answers()):
                self._look_at_other(topic, payload)
                return []
            if origin_of(message) == self._id:  # it would go round for ever
                return []
            if message.retain and not self.retained:
                self.counts["retained"] += 1
                return []
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
        frame = read_emon(base, topic, payload, now)
        return [frame] if frame else []

    def _of_gateway(self, read: Read) -> list[Frame]:
        """Return the frame of a gateway, if it is new, under a node that no other gateway has.

        One that is refused counts as taken, so that the others go on.
        """
        if (identity := read.identity) and identity.gateway == self._id:
            return []
        if identity:
            verdict = self._judge(read.gateway, identity)
            if verdict in (Verdict.STORED, Verdict.OUT_OF_ORDER):
                return []
        if read.frame is None:
            raise ValueError(read.fault)
        sender = Sender(read.gateway, identity.gateway if identity else "")
        before = {"no": "", "topic": sender.name, "id": sender.id or sender.topic}[self.prefix]
        node = f"{before}.{read.node}" if before else read.node
        check_node(node)
        displaced = len(self._owners.displaced)
        if not self._owners.take(node, sender):
            about = f"node {node} of {read.gateway}: another gateway has it too; see `prefix`"
            self.refuse("node-of-another-gateway", about)
            return []
        if len(self._owners.displaced) > displaced:
            self.log.warning("%s has a new id: a gateway with another card is in its place", sender.topic)
        return [replace(read.frame, node=node)]

    def _judge(self, topic: str, identity: Identity) -> Verdict:
        """Return what is to be done with a message; one that is taken is noted with its frame."""
        assert self._positions is not None  # noqa: S101  (`open` came before)
        verdict = self._positions.judge(identity)
        if verdict is Verdict.STORED:
            self._due.setdefault(topic, (identity.gateway, False))
        elif verdict is Verdict.OUT_OF_ORDER:
            self.counts["out-of-order"] += 1
            asked = self._positions.of(identity.gateway), self.clock.monotonic()
            before, at = self._asked.get(identity.gateway, ({}, -math.inf))
            # What is on its way behind the gap is no reason to ask again.
            if asked[0] != before or asked[1] > at + _ASK_EVERY:
                self._asked[identity.gateway] = asked
                self._due[topic] = (identity.gateway, True)
        else:
            self.noted.update(self._positions.advance(identity))
            self._advanced[topic] = identity.gateway
            if verdict is Verdict.UNKNOWN_BEFORE:
                if not self.counts["acknowledged-elsewhere"]:
                    self.log.warning("%s: what came before was acknowledged, and is not known here", topic)
                self.counts["acknowledged-elsewhere"] += 1
        return verdict

    def _at(self, gateway: str) -> dict[str, int]:
        return self._positions.of(gateway) if self._positions else {}

    def _answers(self) -> list[str]:
        """Return the topics of the answers to the gateways, where another relay would be noticed."""
        if self.format != "oemgateway":
            return []
        ends = ("/log/+", "/log/#")
        return [f"{topic[:-6]}/ack" for topic in self.subscriptions if topic.endswith(ends)]

    def _look_at_other(self, topic: str, payload: bytes) -> None:
        """Say once that another relay acknowledges the same gateways."""
        other = parse_object(payload).get("relay")
        if other != self._id and other not in self._others:
            self._others.add(str(other))
            self.log.error(
                "another relay, %s, acknowledges %s too: each would have a part of the readings; stop one",
                other,
                topic.removesuffix("/ack"),
            )

    @property
    def _file(self) -> Path:
        assert self.state is not None  # noqa: S101  (asked before)
        return self.state / f"mqtt-{quote(self.name, safe='')}-topics.json"

    def _remember(self, topics: list[str]) -> None:
        if self.state and topics != self._recall():
            write_file(self._file, json.dumps(topics))

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
