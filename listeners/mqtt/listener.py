"""Values from an MQTT broker, acknowledged once a power cut can no longer lose them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal
from urllib.parse import quote

from paho.mqtt.client import MQTTMessage

from gateway.frame import check_node
from gateway.mqtt.broker import ACL, FAILED, Broker
from gateway.mqtt.client import origin_of
from gateway.mqtt.examine import examine_broker
from gateway.mqtt.gateway_id import gateway_id
from gateway.mqtt.message import Message
from gateway.mqtt.session import Session
from gateway.mqtt.topics import check_filter, matches, widest
from gateway.plugin import SettingsFault, bad, setting, wait_readable
from gateway.times.device_time import believed
from gateway.times.timekeeper import machine_is_synchronised
from listeners.mqtt.answers import CURE, NOT_ALLOWED, Answers
from listeners.mqtt.copies import Copies
from listeners.mqtt.kept_topics import UNSURE, recall, remember
from listeners.mqtt.mappings import Mappings, Unfound
from listeners.mqtt.owners import Owners, Sender
from listeners.mqtt.relay import Verdict
from listeners.mqtt.streams import Read, base_of, read_emon, read_log
from listeners.mqtt.taken_messages import TakenMessages
from listeners.tally import CountingListener

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gateway.plugin import Finding, Flag, Frame, Health, Machine, Series, Stamp

_WEEKS = 4 * 7 * 86400
"""Seconds for which the broker keeps what comes while the gateway is away."""
_UNACKNOWLEDGED = 1000
"""Messages that the broker sends before it waits (Receive Maximum)."""
_SYNC_AT = _UNACKNOWLEDGED // 4
"""Unacknowledged messages for which the disk is made to write at once."""
_SYNC_AT_OF_OLD = 10
"""The same with MQTT 3.1.1, where the broker says how many it sends: RabbitMQ 10, mosquitto 20."""
_SILENCE = 600.0
"""Seconds without a message of a topic that are worth a remark."""
_DEFAULTS = {"oemgateway": ("oemgateway/+/log/+",), "emonhub": ("emon/#",), "emoncms": ("emon/#",)}


def _check_filters(topics: Iterable[str]) -> None:
    for topic in topics:
        check_filter(topic)


@dataclass
class _List:
    """The messages of a list that is not safe yet, and what they advance: see `Answers.advanced`."""

    number: int
    messages: list[MQTTMessage]
    advanced: Mapping[str, tuple[str, dict[str, int]]]


@dataclass(kw_only=True)
class Mqtt(Broker, CountingListener):
    """What others publish: whole streams, by `topics` and their `format`, or single `values` of any JSON."""

    format: Literal["oemgateway", "emonhub", "emoncms"] = setting("oemgateway")
    topics: tuple[str, ...] = setting((), check=_check_filters)
    prefix: Literal["no", "topic", "id"] = setting("no")
    retained: bool = setting(default=False)
    values: Mappings = field(default_factory=Mappings)

    SCALES: ClassVar = False
    COUNTED: ClassVar = "a message"

    def __post_init__(self) -> None:
        Broker.__post_init__(self)
        CountingListener.__post_init__(self)
        if self.prefix != "no" and self.format != "oemgateway":
            message = "format = oemgateway expected: other messages do not say whose they are"
            raise SettingsFault([("prefix", message)])
        self.is_sure = machine_is_synchronised
        self._id = ""
        self._session: Session | None = None
        self._unsynced: deque[_List] = deque()
        self._lists = 0
        self._owners = Owners()
        self._answers = Answers(self)
        self._taken = TakenMessages()
        self._copies = Copies()
        self._single = frozenset(self.values.topics())
        self._unfound = Unfound(self.values)
        self._silent = frozenset([*self.subscriptions, *self._single])
        self._silent_since: float | None = None

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """The topics of the streams; by default those of the format, unless single values are named."""
        return self.topics or (() if self.values.by_number else _DEFAULTS[self.format])

    def catalogue(self) -> Iterable[Series]:
        """Return the single values; which nodes the streams bring is known when they come."""
        return self.values.catalogue()

    def reads_from(self, place: str) -> bool:
        """Tell whether a stream has what is published at this topic of this broker."""
        where, _, topic = place.partition("/")
        return where == self.where and any(matches(each, topic) for each in self.subscriptions)

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Say whether the broker is there and lets this user in."""
        return examine_broker(self, machine, self._examine_rights)

    def _examine_rights(self, session: Session) -> Iterable[Finding]:
        """Yield whether the gateways would get answers: an empty message that is not retained shows it.

        Raises OSError if the broker says that a topic may not be read.
        """
        session.subscribe([*self.subscriptions, *self.values.topics()], retained=False)
        answers = self._answer_topics() if session.version == 5 else []
        topics = [topic.replace("+", "doctor") for topic in answers]
        codes: list[int] = []
        session.deliver([Message(topic, b"") for topic in topics], codes)
        for topic, code in zip(topics, codes, strict=True):
            if code >= FAILED:
                yield bad(NOT_ALLOWED.format(self.where, topic), CURE)

    @property
    def remark(self) -> str:
        """Which topics are silent, as an acl_file may make them, and which values are not found."""
        if self._silent_since is None or self.clock.monotonic() < self._silent_since + _SILENCE:
            return ""
        topics = sorted(self._silent)
        unfound = self._unfound.remark(self._silent)
        if not topics:
            return unfound
        others = f" and {len(topics) - 1} more" if len(topics) > 1 else ""
        who = f"user {self.user}" if self.user is not None else "clients without a user name"
        return (
            f"nothing has arrived on {topics[0]}{others} yet: see that something publishes there, and that "
            f"the broker lets {who} read it ({ACL}; it does not say what it withholds)"
            f"{unfound and '; '}{unfound}"
        )

    def health(self) -> Health:
        """Add that the gateways get no answers, and which nodes are refused."""
        health = super().health()
        refused = self._owners.troubles(self.clock.monotonic())
        return replace(health, troubles=[*health.troubles, *filter(None, [self._answers.refused]), *refused])

    def open(self) -> None:
        """Connect, and go on with the session that the broker has kept."""
        self._id = gateway_id(self.state)
        client = self.client or f"oemgateway-{self._id}-{self.name}"
        self._session = session = Session(
            self, client, session_expiry=_WEEKS, receive_maximum=_UNACKNOWLEDGED
        )
        topics = self._file("topics")
        before = recall(topics)
        # A broker that has lost the session makes one without subscriptions, and its answer may be lost.
        if not remember(topics, [UNSURE, *before]):
            before = [UNSURE, *before]
        session.open()
        self._taken.begin(self._file("again"), is_resumed=session.is_resumed)
        self._copies.changed = session.subscriptions.changed
        self._subscribe(session, before if session.is_resumed else [])
        if self._answers.is_new:
            self.synced.demand()  # after that, what an earlier run left is safe
        self.noted.clear()
        self._answers.begin(self._id, self.notes())
        if self._silent_since is None:
            self._silent_since = self.clock.monotonic()

    def _subscribe(self, session: Session, before: list[str]) -> None:
        """Subscribe, unless the broker remembers: it may have much to send before it answers."""
        data = widest([*self.subscriptions, *self.values.topics()])
        wanted = [*data, *self._answer_topics()]
        if before != wanted:
            gone = [topic for topic in before if topic not in (*wanted, UNSURE)]
            # With the old and the new at once nothing is lost, but some messages come twice, which only their
            # numbers show. Without numbers the old ones end first: what is published in between is lost.
            if not session.subscriptions.are_numbered:
                session.subscriptions.end(gone, waits=False)
            session.subscribe(data, retained=self.retained)
            session.subscribe(self._answer_topics(), retained=False)
            if session.subscriptions.are_numbered:
                session.subscriptions.end(gone, waits=True)
        remember(self._file("topics"), wanted)

    def close(self) -> None:
        """Acknowledge what the disk can be made to keep, and end the connection; the rest comes again."""
        if any(each.messages for each in self._unsynced):
            self.synced.demand()
        safe = self.synced.count()
        taken = [one for each in self._unsynced if each.number <= safe for one in each.messages]
        if self._session:
            with suppress(OSError):
                self._acknowledge(self._session)
            self._session.close()
            self._session = None
        self._taken.note(taken)
        self._taken.keep(self._file("again"))
        # A list that was not put is not counted: the next one has its number.
        self._lists = self.synced.kept()
        self._unsynced = deque(each for each in self._unsynced if each.number <= self._lists)
        for each in self._unsynced:
            each.messages.clear()

    def read(self, stop: Flag) -> list[Frame]:
        """Acknowledge what is safe on the disk by now; wait for messages and return their frames."""
        session = self._session
        assert session is not None  # noqa: S101  (`open` came before)
        self._answers.look_at_outcome(session)
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
            self._unsynced.append(_List(self._lists, messages, self._answers.advanced()))
        elif self._unsynced:
            self._unsynced[-1].messages.extend(messages)
        else:
            for message in messages:
                session.acknowledge(message)
        return frames

    def _acknowledge(self, session: Session) -> None:
        """Acknowledge what is safe by now, and tell the gateways how far their logs have come here."""
        enough = _SYNC_AT if session.version == 5 else _SYNC_AT_OF_OLD
        if sum(len(each.messages) for each in self._unsynced) >= enough:
            self.synced.demand()
        safe = self.synced.count()
        acknowledged: list[MQTTMessage] = []
        while self._unsynced and self._unsynced[0].number <= safe:
            done = self._unsynced.popleft()
            self._answers.note_safe(done.advanced)
            self._taken.note(done.messages)
            acknowledged += done.messages
        self._answers.publish(session)
        # After the answers: a message that comes again is answered again.
        for message in acknowledged:
            session.acknowledge(message)

    def _frames(self, message: MQTTMessage, now: Stamp) -> list[Frame]:
        """Return the frames of a message; one that has none is counted."""
        try:
            topic, payload = message.topic, bytes(message.payload)
            if self._silent:
                self._silent = frozenset(each for each in self._silent if not matches(each, topic))
            # An empty one removes a retained message; our own would circulate for ever.
            if not payload or origin_of(message) == self._id:
                return []
            if topic.endswith("/ack") and any(matches(each, topic) for each in self._answer_topics()):
                self._answers.look_at_other(topic, payload)
                return []
            if message.retain and not self.retained:
                self.counts["retained"] += 1
                return []
            is_numbered = self.format == "oemgateway" and topic not in self._single
            if self._copies.has(message) or (not is_numbered and self._taken.has(message)):
                return []
            if topic in self._single:
                frames = self.values.frames(topic, payload, now)
                self._unfound.note(frames)
            else:
                frames = self._of_stream(topic, payload, now)
        except (ValueError, UnicodeDecodeError) as error:
            name = message._topic.decode(errors="replace")  # noqa: SLF001  (`topic` raises where it is not UTF-8)
            self.refuse("no-reading", f"{name}: {error}")
            return []
        self.counts.take(self.clock.monotonic())
        return [replace(frame, source=self.name) for frame in frames]

    def _of_stream(self, topic: str, payload: bytes, now: Stamp) -> list[Frame]:
        pattern = next((pattern for pattern in self.subscriptions if matches(pattern, topic)), None)
        if pattern is None:
            return []  # of an earlier subscription
        if self.format == "oemgateway":
            return self._of_gateway(read_log(topic, payload, now))

        def misdated(wall: float) -> Stamp | None:
            if stamp := believed(wall, now, self.is_sure):
                return stamp
            self.counts.misdate(topic, self.log)
            return None

        frame = read_emon(base_of(pattern), topic, payload, now, misdated)
        return [frame] if frame else []

    def _of_gateway(self, read: Read) -> list[Frame]:
        """Return the frame of a gateway, if it is new, under a node that no other gateway has.

        One that is refused counts as taken, so that the others go on.
        """
        if (identity := read.identity) and identity.gateway == self._id:
            return []
        if identity:
            verdict, noted = self._answers.judge(read.gateway, identity, self.clock.monotonic())
            self.noted.update(noted)
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
            about = self._owners.refuse(node, sender, self.clock.monotonic())
            self.refuse("node-of-another-gateway", about)
            return []
        if len(self._owners.displaced) > displaced:
            self.log.warning("%s has a new id: a gateway with another card is in its place", sender.topic)
        return [replace(read.frame, node=node)]

    def _answer_topics(self) -> list[str]:
        """Return the topics of the answers to the gateways, where another relay would be noticed."""
        if self.format != "oemgateway":
            return []
        ends = ("/log/+", "/log/#")
        return [f"{topic[:-6]}/ack" for topic in self.subscriptions if topic.endswith(ends)]

    def _file(self, what: str) -> Path | None:
        return self.state and self.state / f"mqtt-{quote(self.name, safe='')}-{what}.json"
