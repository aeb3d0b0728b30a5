"""One connection to a broker, from CONNECT to its end, without a thread; a failure is an OSError.

After a failure a new one is made: what was not acknowledged is then sent again from our own queue, and never
from the library's memory. MQTT 5 is spoken, and 3.1.1 only with a broker that does not know 5: such a broker
also acknowledges what it refuses.
"""

from __future__ import annotations

import math
import select
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from gateway.mqtt.broker import CURES, FAILED, Lost, Unreachable, is_about_certificate
from gateway.mqtt.client import BoundedClient, of_connection, of_message
from gateway.mqtt.subscriptions import Subscriptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.mqtt.broker import Broker
    from gateway.mqtt.message import Message


IN_FLIGHT = 20
"""The most messages without an acknowledgement: more are not faster, as measured."""

_AT_ONCE = 500
"""Packets read before the caller has its turn."""

_BRIEF = 60.0
"""The least seconds that a connection lasts if nothing is wrong."""

_MOST = 2000
"""Messages that wait in `received`: what comes beyond waits in the connection."""

_MOST_BYTES = 4 << 20
"""The same for the bytes of their payloads and topics."""

_TAKEN_OVER = 0x8E
"""Why a broker ends the first of two connections with the same id (MQTT 5, section 3.14.2.1)."""

_TIMES_UNCONFIRMED = 16
"""How many times as much may wait if the answer to a subscription comes after it."""

_UNSUPPORTED_VERSION, TOO_LARGE = 0x84, 0x95
"""Reason codes of MQTT 5 (section 2.4)."""


class Session:
    """A connection with a broker. `received` has the messages that came, the oldest first.

    All that is published carries its `origin`, if there is one (MQTT 5), so that a reader knows its own.

    With a `session_expiry` in seconds the broker keeps what comes while nobody is connected, and messages are
    acknowledged by `acknowledge` only; it then sends up to `receive_maximum` before it waits for that.
    `window` messages may be under way: as many as are `allowed`, and fewer once several went unanswered.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        will: Message | None = None,
        session_expiry: int = 0,
        receive_maximum: int = 0,
    ) -> None:
        self._broker = broker
        self._id = client_id
        self._will = will
        self._session_expiry = session_expiry
        self._receive_maximum = receive_maximum
        self.origin = ""
        self.received: deque[MQTTMessage] = deque()
        self.version, self.largest, self.is_resumed = 5, 0, False
        self.window = self.allowed = IN_FLIGHT
        self._connack: tuple[int, str] | None = None
        self._ended = ""
        self._opened_at = math.inf
        self._under_way = self._own = self._received_bytes = 0
        self._outcomes: dict[int, int] = {}
        self._awaited: set[int] = set()

    def open(self) -> None:
        """Connect, and wait until the broker accepts; otherwise OSError with its answer."""
        # RabbitMQ 3.10 closes the connection at MQTT 5 without an answer. So may any that is just ending.
        for self.version in (5, 5, 4):
            self._connack, self._ended = None, ""
            if self._connect():
                return

    def _connect(self) -> bool:
        """Connect with this version; False if it is 5, and the broker does not know that."""
        broker, is_5, keeps = self._broker, self.version == 5, self._session_expiry > 0
        self._client = client = BoundedClient(
            CallbackAPIVersion.VERSION2,
            client_id=self._id,
            protocol=MQTTProtocolVersion(self.version),
            clean_session=None if is_5 else not keeps,
            manual_ack=keeps,
            reconnect_on_failure=False,
        )
        client.connect_timeout = broker.timeout
        client.max_inflight_messages_set(0)  # `deliver` keeps to the window
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        self.subscriptions = Subscriptions(client, broker, self.wait)
        client.on_message = self._on_message
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if context := broker.context():
            client.tls_set_context(context)
        if will := self._will:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        options: dict[str, Any] = {}
        if is_5:
            properties = of_connection(self._session_expiry, self._receive_maximum)
            options = {"clean_start": not keeps, "properties": properties}
        try:
            client.connect(*broker.address, keepalive=broker.keepalive, **options)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            raise broker.unreachable(error) from error
        until = time.monotonic() + broker.timeout
        while self._connack is None and not self.is_lost:
            if (left := until - time.monotonic()) <= 0:
                raise broker.no_broker(f"no answer within {broker.timeout:g} s")
            self.wait(left)
        if self._connack is None and (refused := client.tls_failure) and is_about_certificate(refused):
            raise broker.unreachable(refused) from refused
        if self._connack is None and not is_5:
            raise broker.no_broker("it closed the connection")
        code, words = self._connack or (_UNSUPPORTED_VERSION, "")
        if is_5 and code == _UNSUPPORTED_VERSION:
            self.close()
            return False
        if code:
            raise Unreachable(f"{broker.where} refuses{broker.who(code)}: {words}", CURES.get(code, ""))
        return True

    def close(self) -> None:
        """End the connection in good order, without the last will; may be called twice."""
        client = getattr(self, "_client", None)
        if client is None:
            return
        if client.socket() is not None:
            with suppress(Exception):  # it is over in any case
                client.disconnect()
        client.on_disconnect = client.on_message = client.on_publish = None
        if client.socket() is not None:
            client._sock_close()  # noqa: SLF001  (nothing public closes it without another packet)

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended."""
        return self._client.socket() is None

    def fileno(self) -> int:
        """Return a descriptor that is readable when the broker has sent something."""
        sock = self._client.socket()
        if sock is None:
            raise Lost(f"{self._broker.where}: {self._ended or 'the connection is closed'}")
        return int(sock.fileno())

    @property
    def certificate_ends(self) -> float | None:
        """When the broker's certificate ends, in Unix seconds; None without TLS."""
        sock = self._client.socket()
        peer = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
        return ssl.cert_time_to_seconds(str(peer["notAfter"])) if peer else None

    @property
    def due(self) -> float:
        """The same, and 0 if messages have come that the descriptor does not show."""
        sock: Any = self._client.socket()
        return 0.0 if self.received or (hasattr(sock, "pending") and sock.pending()) else self.patience

    @property
    def patience(self) -> float:
        """The seconds after which `wait` must be called again, for the broker's keep-alive."""
        return (self._client.keepalive or self._broker.keepalive) / 4

    def wait(self, seconds: float = 0.0, sources: Sequence[int] = ()) -> set[int]:
        """Wait for the broker or one of these descriptors, then read and write what there is.

        Return those that are readable. Raises Lost if the connection has ended.
        """
        own = self.fileno()
        poll = select.poll()
        poll.register(own, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        for source in sources:
            poll.register(source, select.POLLIN)
        ready = dict(poll.poll(max(0.0, seconds) * 1000))
        try:
            self._read_all()
            if self._client.want_write():
                self._client.loop_write()
            self._client.loop_misc()
        except Exception as error:
            # A broker may send anything, and the library may then raise anything.
            self.close()
            raise Lost(f"{self._broker.where} sent what is not MQTT: {error!r}") from error
        if self._client.socket() is None and self._connack and not self._connack[0]:
            raise self._lost()
        return set(ready) - {own}

    def _lost(self) -> Lost:
        return Lost(f"{self._broker.where}: {self._ended or 'connection lost'}", self._under_way)

    def _read_all(self) -> None:
        self._received_bytes = sum(map(_size, self.received))
        sock: Any = self._client.socket()
        has_pending = hasattr(sock, "pending")
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        for _ in range(_AT_ONCE):
            times = _TIMES_UNCONFIRMED if self.subscriptions.are_unconfirmed else 1
            is_full = len(self.received) >= _MOST * times or self._received_bytes >= _MOST_BYTES * times
            if self._client.socket() is None or is_full:
                return
            if not (has_pending and sock.pending()) and not poll.poll(0):
                return
            self._client.loop_read()

    def deliver(self, messages: Sequence[Message], codes: list[int]) -> None:
        """Publish these in order, and wait for the broker's reason code for each.

        `codes` gets these codes, in order; what is there of them when Lost is raised was acknowledged.
        """
        mids: list[int] = []
        until = time.monotonic() + self._broker.timeout
        while len(codes) < len(messages):
            while len(mids) < len(messages) and len(mids) - len(codes) < self.window:
                mids.append(self.submit(messages[len(mids)]))
            self._under_way = len(mids) - len(codes)
            before = len(codes)
            try:
                if mids[before] not in self._outcomes:
                    self.wait(until - time.monotonic())
            finally:  # acknowledgements may come with the end of the connection
                while len(codes) < len(mids) and mids[len(codes)] in self._outcomes:
                    codes.append(self._outcomes.pop(mids[len(codes)]))
            if len(codes) > before:
                until = time.monotonic() + self._broker.timeout
            elif time.monotonic() >= until:
                self.window = self.window // 2 if self._under_way > 1 else self.window
                raise Lost(f"{self._broker.where} acknowledges nothing for {self._broker.timeout:g} s")

    def submit(self, message: Message) -> int:
        """Publish with QoS 1; return the number under which `outcome` will be known."""
        size = len(message.payload) + len(message.topic.encode()) + len(self.origin) + 64
        if self.largest and size > self.largest:
            self._own -= 1
            self._outcomes[self._own] = TOO_LARGE
            return self._own
        mid = self.publish(message, qos=1)
        self._awaited.add(mid)
        return mid

    def outcome(self, number: int) -> int | None:
        """Return the broker's reason code for a message, once; None while there is none."""
        return self._outcomes.pop(number, None)

    def publish(self, message: Message, *, qos: int) -> int:
        """Publish without waiting for an outcome; Lost if there is no connection."""
        properties = of_message(self.origin, message.expiry) if self.version == 5 else None
        info = self._client.publish(message.topic, message.payload, qos, message.retain, properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._lost()
        return info.mid

    def subscribe(self, topics: Iterable[str], *, retained: bool = True) -> None:
        """Subscribe with QoS 1 and wait for the answers; OSError with the topic that is refused."""
        self.subscriptions.add(topics, is_5=self.version == 5, retained=retained)

    def acknowledge(self, message: MQTTMessage) -> None:
        """Tell the broker that it may forget a message."""
        self._client.ack(message.mid, message.qos)

    def _on_connect(
        self, _c: Client, _u: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._connack = reason.value, str(reason)
        self._opened_at = time.monotonic()
        self.is_resumed = flags.session_present
        knows_numbers = getattr(properties, "SubscriptionIdentifierAvailable", 1)
        self.subscriptions.are_numbered = self.version == 5 and bool(knows_numbers)
        self.largest = getattr(properties, "MaximumPacketSize", 0)
        self.allowed = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", IN_FLIGHT))
        self.window = min(self.window, self.allowed)

    def _on_disconnect(
        self, _c: Client, _u: object, flags: DisconnectFlags, reason: ReasonCode, _p: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            why = f"; another client has the id {self._id}, too" if reason.value == _TAKEN_OVER else ""
            self._ended = f"the broker ends the connection: {reason}{why}"
        elif reason.value == FAILED and time.monotonic() < self._opened_at + _BRIEF:
            # As mosquitto before 2.1 silently does to the first of two with the same id.
            again = f"if that goes on, see whether another client has the id {self._id}, too"
            self._ended = f"it closes the connection soon after it was made; {again}"
        else:
            self._ended = "connection lost" if reason.value == FAILED else f"connection lost ({reason})"

    def _on_publish(
        self, _c: Client, _u: object, mid: int, reason: ReasonCode, _p: Properties | None
    ) -> None:
        code = self._client.codes.pop(mid, reason.value)
        if mid in self._awaited:
            self._awaited.discard(mid)
            self._outcomes[mid] = code

    def _on_message(self, _c: Client, _u: object, message: MQTTMessage) -> None:
        self.received.append(message)
        self._received_bytes += _size(message)


def _size(message: MQTTMessage) -> int:
    return len(message.payload) + len(message._topic)  # noqa: SLF001  (`topic` raises where it is not UTF-8)
