"""Frames to an MQTT broker, each acknowledged by it, and the present state."""

from __future__ import annotations

import math
import random
import select
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from gateway.dispatchers.mqtt.deliveries import Confirmed, Messages
from gateway.dispatchers.mqtt.discovery import Announcer
from gateway.dispatchers.mqtt.findings import examine
from gateway.dispatchers.mqtt.nodes import node_states
from gateway.dispatchers.mqtt.published import Published
from gateway.dispatchers.mqtt.reasons import judge
from gateway.dispatchers.mqtt.state import StateStream
from gateway.mqtt.broker import FAILED, Broker, Lost
from gateway.mqtt.confirmations import Confirmations
from gateway.mqtt.frames import Identity, emoncms_message, emonhub_messages, log_message
from gateway.mqtt.gateway_id import gateway_id
from gateway.mqtt.message import Message
from gateway.mqtt.session import IN_FLIGHT, Session
from gateway.mqtt.topics import check_published, default_topic
from gateway.plugin import (
    LARGEST_BATCH,
    BadFrame,
    Batch,
    Delivery,
    Dispatcher,
    Flag,
    SettingsFault,
    Wake,
    at_least,
    between,
    setting,
)
from gateway.settings import ANSWERS
from gateway.text.plain import plain
from gateway.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from gateway.frame import Frame
    from gateway.present.status import Status

_FORMS = ("node", "nodevar", "json")
_BIRTH = b"online"
_PAUSE = 1.0, 10.0
"""Seconds between Home Assistant's birth message and our answer: many gateways hear it at once."""
_ANEW = 600.0
"""Seconds after which a message that made the broker disconnect is sent again: it may take it now."""
_SMALLER_FOR = 600.0
"""Seconds in which fewer messages are in flight than the broker left unacknowledged.

On a line that large packets do not pass, many small messages together are lost for good.
"""
_TOGETHER = 1.0
"""Seconds between two looks at the present: what comes in between is published together."""


def _check_forms(forms: Iterable[str]) -> None:
    if wrong := [form for form in forms if form not in _FORMS]:
        raise ValueError(f"node, nodevar and json expected, one or more of them, not {wrong[0]}")


def _check_discovery(prefix: str) -> None:
    answer = ANSWERS.get(prefix.lower())
    if answer:
        raise ValueError(f"a topic, such as homeassistant, or no expected, not {prefix}")
    if answer is None:
        check_published(prefix)


@dataclass(kw_only=True)
class Mqtt(Broker, Dispatcher):
    """A broker that gets every frame and, in the format of our own, the present state for Home Assistant."""

    batch: int = setting(1000, check=between(1, LARGEST_BATCH))
    topic: str | None = setting(None, check=check_published)
    format: Literal["oemgateway", "emonhub", "emoncms"] = setting("oemgateway")
    emonhub: tuple[str, ...] = setting(("nodevar",), check=_check_forms)
    discovery: str = setting("homeassistant", check=_check_discovery)
    expire_after: float | None = setting(None, check=at_least(1))
    temporary: bool = setting(default=False)
    confirm: Literal["broker", "relay"] = setting("broker")
    confirmations: Confirmations | None = field(default=None, init=False, repr=False, compare=False)
    """What a relay has confirmed, where `confirm` asks for that."""
    unconfirmed: Confirmed | None = field(default=None, init=False, repr=False, compare=False)
    """The batch that a relay is to confirm."""
    session: Session | None = field(default=None, init=False, repr=False, compare=False)
    suspect: int | None = field(default=None, init=False, repr=False, compare=False)
    """The first frame in flight when the connection was lost: it may make the broker disconnect."""
    is_unread: bool = field(default=False, init=False, repr=False, compare=False)
    """Whether nobody subscribes to what was published last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.confirm == "relay" and self.format != "oemgateway":
            raise SettingsFault([("confirm", "format = oemgateway expected, which a relay reads")])
        self._stream: StateStream | None = None
        self._birth_at: float | None = None
        self._look_at: float | None = None
        self._poll: select.epoll | None = None
        self._new_frames = Flag()
        self.gateway = ""
        self._left_out: set[str] = set()
        self._ending: set[str] = set()  # topics whose message ended the connection
        self._ended_at = -math.inf  # when the last of them did
        self._window, self._smaller_until = IN_FLIGHT, math.inf
        self._draw = random.Random()  # noqa: S311  (it spreads the load, no more)

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Point out what Emoncms does not promise."""
        yield from super().remarks()
        if self.format == "emoncms":
            yield "format", "Emoncms confirms nothing by MQTT; type = emoncms loses nothing (see its page)"

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Say whether the broker is there, lets this user in, and takes what is to be published."""
        return examine(self, machine)

    @property
    def remark(self) -> str:
        """That nobody subscribes to what is published, as an MQTT 5 broker says."""
        if self._left_out:
            first, *more = sorted(self._left_out)
            return f"the broker refuses {first}{f' and {len(more)} more' if more else ''}: see the log"
        if not self.is_unread:
            return ""
        if self.format != "oemgateway":
            return f"nobody subscribes to {self.base}#"
        return f"nobody subscribes to {self.base}/log/#, so only the present state is used"

    @property
    def base(self) -> str:
        """The topic below which everything is published; those of other formats end with /."""
        if self.format == "oemgateway":
            return (self.topic or default_topic(self.gateway or gateway_id(self.state))).rstrip("/")
        return f"{(self.topic or 'emon').rstrip('/')}/"

    @property
    def prefix(self) -> str:
        """Home Assistant's topic, "" if nothing is sent to it."""
        return "" if ANSWERS.get(self.discovery.lower()) is False else self.discovery.rstrip("/")

    def open(self) -> None:
        """Connect; publish that the gateway is there, and all that is retained."""
        gateway = gateway_id(self.state)
        if gateway != self.gateway:
            self.gateway, self._stream, self.confirmations = gateway, None, None
        announcer = Announcer(gateway, self.base, self.prefix) if self.prefix else None
        if self._stream is None and self.format == "oemgateway":
            file = self.state and self.state / f"mqtt-{quote(self.name, safe='')}.json"
            self._stream = StateStream(self.base, Published(file), announcer, self.expire_after)
        will = Message(self._stream.status, b"offline", retain=True) if self._stream else None
        self.session = Session(self, self.client or f"oemgateway-{gateway}-{self.name}", will=will)
        self.session.origin = gateway
        self.session.window = self._window
        self.session.open()
        if self.confirm == "relay":
            self.confirmations = self.confirmations or Confirmations(gateway)
            self.session.subscribe([self._answers])
        self._poll = select.epoll()
        self._poll.register(self.session.fileno(), select.EPOLLIN)
        if self._stream and self.present:
            self.present.subscribe(self._new_frames)
            self._poll.register(self._new_frames.fileno(), select.EPOLLIN)
            if announcer:
                self.session.subscribe([announcer.birth])
            self._stream.forget_sent()
            if self.clock.monotonic() >= self._ended_at + _ANEW:
                self._ending.clear()
            self._left_out &= self._ending
            self._publish_state()

    def close(self) -> None:
        """Say that the gateway is going offline, or remove all that is retained, and end the connection."""
        if self._poll:
            self._poll.close()
        if self.session:
            if self._stream and not self.session.is_lost:
                with suppress(OSError):
                    if self.temporary:
                        self.session.deliver(self._stream.removal(), [])
                    else:
                        self.session.publish(Message(self._stream.status, b"offline", retain=True), qos=0)
            if self.session.window < self._window:
                self._window = self.session.window
                self._smaller_until = self.clock.monotonic() + _SMALLER_FOR
            self.session.close()
        self.session = self._poll = self.unconfirmed = None

    def prepare(self, batch: Batch) -> Delivery:
        """Return the messages of a batch; a frame that is suspected goes alone."""
        count = len(batch.frames)
        if self.suspect is not None and self.suspect in batch.ids:
            count = max(1, list(batch.ids).index(self.suspect))
        if self.confirmations:
            return Confirmed(self, self.confirmations, batch, count)
        own = zip(batch.epochs or [""] * count, batch.ids, strict=False)
        numbered = [Identity(self.gateway, *each) if each[0] else None for each in own]
        messages = [*map(self._messages, batch.frames[:count], numbered)]
        return Messages(self, batch.ids[:count], messages)

    def wake(self) -> Wake:
        """Ask to be called when something has come, from the broker or a sensor, and for the keep-alive."""
        if self.session is None:
            return Wake()
        if self._poll is None or self.session.is_lost:
            return Wake(None, 0.0)  # `serve` raises it
        patience = self.unconfirmed.until if self.unconfirmed else None
        moments = (self._birth_at, self._look_at, patience)
        due = [at for at in moments if at is not None]
        until = min(due, default=math.inf) - self.clock.monotonic()
        return Wake(self._poll.fileno(), max(0.0, min(until, self.session.patience)))

    def serve(self) -> None:
        """Read what the broker has sent, keep the connection alive, publish what is new."""
        session = self.connection()
        session.wait()
        now = self.clock.monotonic()
        while session.received:
            message = session.received.popleft()
            if self.confirmations and message.topic == self._answers:
                self.confirmations.take(bytes(message.payload))
            elif message.payload == _BIRTH and self._birth_at is None:
                self._birth_at = now + self._draw.uniform(*_PAUSE)
        if self._birth_at is not None and now >= self._birth_at and self._stream:
            self._birth_at, self._look_at = None, now
            self._stream.forget_sent()
        if self._new_frames.is_set():
            self._new_frames.clear()
            self._look_at = self._look_at or now + _TOGETHER
        if self._look_at is None or now >= self._look_at:
            self._publish_state()
        if self.unconfirmed:
            self.unconfirmed.look(now)

    @property
    def _answers(self) -> str:
        """The topic on which a relay says how far it has come."""
        return f"{self.base}/ack"

    def area(self, topic: str) -> str:
        """Return what a topic is a part of, so that a trouble with all of it is reported in one line."""
        prefix = self.prefix if self.prefix and topic.startswith(f"{self.prefix}/") else self.base
        return f"{prefix.rstrip('/')}/#"

    def connection(self) -> Session:
        """Return the connection; Lost if there is none."""
        if self.session is None:
            raise Lost(f"{self.where}: not connected")
        if self.clock.monotonic() >= self._smaller_until:
            self._window, self._smaller_until = IN_FLIGHT, math.inf
            self.session.window = self.session.allowed
        return self.session

    def _messages(self, frame: Frame, identity: Identity | None) -> list[Message]:
        """Return what is published of a frame.

        In the formats of others that is nothing if it came from there: two gateways that read and publish the
        same topics would send it to each other for ever.
        """
        if self.format == "oemgateway":
            return [log_message(self.base, frame, identity)]
        if self.format == "emoncms":
            messages = [emoncms_message(self.base, frame)]
        else:
            name = self.present.node_name(frame.node) if self.present else ""
            messages = [*emonhub_messages(self.base, frame, self.emonhub, name or frame.node)]
        reads_from = self.present.reads_from if self.present else lambda *_: False
        return [each for each in messages if not reads_from(frame.source, f"{self.where}/{each.topic}")]

    def _publish_state(self) -> None:
        """Publish what has changed of the present state. Raises HoldEverything if that is not allowed.

        A message that the broker refuses for its content, such as the description of a node with very many
        values, is left out and logged: everything else is still published.
        """
        self._look_at = None
        if self._stream is None or self.present is None:
            return
        now = self.clock.monotonic()
        nodes, open_sources = node_states(self.present, now)
        messages = self._stream.messages(nodes, open_sources, now)
        if self._stream.is_gateway_due(now):
            messages += self._stream.gateway(_summary(self.present.status()), now)
        messages = [message for message in messages if message.topic not in self._ending]
        codes: list[int] = []
        try:
            self.connection().deliver(messages, codes)
        except Lost:  # a broker may end the connection with such a refusal
            self._judge_state(messages, codes)
            if codes and codes[-1] >= FAILED:
                self._ending.add(messages[len(codes) - 1].topic)
                self._ended_at = now
            raise
        self._judge_state(messages, codes)
        self._stream.delivered()

    def _judge_state(self, messages: Sequence[Message], codes: Sequence[int]) -> None:
        for message, code in zip(messages, codes, strict=False):
            failure = judge(self.where, self.area(message.topic), code)
            if isinstance(failure, BadFrame) and message.topic not in self._left_out:
                self._left_out.add(message.topic)
                self.log.error("%s is left out: %s", message.topic, failure)
            elif failure and not isinstance(failure, BadFrame):
                raise failure


def _summary(status: Status) -> dict[str, object]:
    """Return what is shown of the gateway itself, of all that `status` says."""
    queues = [about.queue for about in status.dispatchers.values()]
    return {
        "waiting": max((queue.waiting for queue in queues), default=0),
        "oldest": round(max((queue.age or 0.0 for queue in queues if queue.waiting), default=0.0)),
        "troubles": [plain(line)[:200] for line in status.all_troubles][:20],
        "version": VERSION,
    }
