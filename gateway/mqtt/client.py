"""paho's client with what it lacks: a limit on what it takes into memory, and reason codes as they come."""

from __future__ import annotations

import ssl
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

LARGEST = 1 << 20
"""Bytes of a packet that the broker may send: it leaves a larger one out."""

_KEPT = 1 << 17
"""Bytes that are kept of a longer packet: more than any message that is parsed has."""

_MOST_PROPERTIES = 4096
"""Bytes of the properties of a message that is read with them."""

_LONGEST_ANSWER = 1 << 16
"""Bytes of a packet that is no message: an answer to all subscriptions has fewer."""

_EXACTLY_ONCE = 20
"""Messages of QoS 2 that are kept until the broker releases them: we subscribe with QoS 1."""

_PUBLISH = 0x30

_REASON = 2
"""Where the reason code of a PUBACK is, after the number of the message (MQTT 5, section 3.4.2)."""
_UNSPECIFIED = 0x80

_MOST_SUBSCRIPTIONS = (1 << 28) - 1
"""The highest number of a subscription (MQTT 5, section 3.8.2.1.2)."""
_UNNUMBERED = frozenset([0])

ORIGIN = "oemgateway"
"""The property of a message that says which gateway has published it."""


class BoundedClient(Client):
    """paho's client, which takes a packet of up to 256 MB into memory, with a limit.

    Of a longer one, which a broker without MQTT 5 may send, the beginning is kept and the rest read: if the
    connection ended there, it would come again, and nothing after it.

    `codes` has, by message, the reason codes of acknowledgements that paho does not know, and would end the
    connection for: mosquitto's for a message beyond its message_size_limit. `tls_failure` is why TLS ended,
    for which paho has no words.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  (passed on)
        super().__init__(*args, **options)
        self.codes: dict[int, int] = {}
        self.tls_failure: ssl.SSLError | None = None

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._in_packet["remaining_length"] > LARGEST:
            del self._in_packet["packet"][_KEPT:]
            bufsize = min(bufsize, _KEPT)
        try:
            return super()._sock_recv(bufsize)
        except ssl.SSLError as error:
            self.tls_failure = error
            raise

    def _sock_send(self, buf: bytes | bytearray) -> int:
        try:
            return super()._sock_send(buf)
        except ssl.SSLError:
            with suppress(OSError):  # what the other end said before it closed
                self._sock_recv(1)
            raise

    def _packet_handle(self) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        if self._in_packet["command"] & 0xF0 != _PUBLISH:
            return (
                super()._packet_handle()
                if len(packet) <= _LONGEST_ANSWER
                else MQTTErrorCode.MQTT_ERR_PROTOCOL
            )
        qos = self._in_packet["command"] >> 1 & 3
        if qos == 2 and len(self._in_messages) >= _EXACTLY_ONCE:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            _leave_out_properties(packet, 2 + int.from_bytes(packet[:2], "big") + (2 if qos else 0))
        return super()._packet_handle()

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        if cmd == "PUBACK" and len(packet) > _REASON:
            try:
                ReasonCode(PacketTypes.PUBACK).unpack(packet[_REASON:])
            except (KeyError, ValueError):
                self.codes[int.from_bytes(packet[:_REASON], "big")] = packet[_REASON]
                packet[_REASON] = _UNSPECIFIED
        return super()._handle_pubackcomp(cmd)


def _leave_out_properties(packet: bytearray, at: int) -> None:
    """Take the properties that begin at a place out of a message, if there are very many.

    paho takes 20 s to read a megabyte of them, which anyone who may publish can send.
    """
    size, end = 0, at
    for end in range(at, min(at + 4, len(packet))):
        size |= (packet[end] & 0x7F) << 7 * (end - at)
        if packet[end] < 0x80:  # the last byte of a length (section 1.5.5)
            break
    if size > _MOST_PROPERTIES:
        packet[at : end + 1 + size] = b"\0"


def of_connection(session_expiry: int, receive_maximum: int) -> Properties:
    """Return the properties of CONNECT: how long a session is kept, and how much may come at a time."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.SessionExpiryInterval = session_expiry
    properties.MaximumPacketSize = LARGEST
    if receive_maximum:
        properties.ReceiveMaximum = receive_maximum
    return properties


def of_message(origin: str, expiry: float | None) -> Properties:
    """Return the properties of PUBLISH: who the message is from, and after how many seconds it is old."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    if expiry:
        properties.MessageExpiryInterval = max(1, round(expiry))
    if origin:
        properties.UserProperty = (ORIGIN, origin)
    return properties


def of_subscription(topic: str) -> Properties:
    """Return the properties of SUBSCRIBE: a number of the topic, which the messages bring that match it."""
    properties = Properties(PacketTypes.SUBSCRIBE)  # type: ignore[no-untyped-call]  # paho's
    properties.SubscriptionIdentifier = zlib.crc32(topic.encode()) % _MOST_SUBSCRIPTIONS + 1
    return properties


def subscriptions_of(message: MQTTMessage) -> frozenset[int]:
    """Return the numbers of the subscriptions that a message matches, 0 for those without one."""
    return frozenset(getattr(message.properties, "SubscriptionIdentifier", ())) or _UNNUMBERED


def origin_of(message: MQTTMessage) -> str:
    """Return the gateway that has published a message, "" if it is not known."""
    given = getattr(message.properties, "UserProperty", [])
    return next((value for name, value in given if name == ORIGIN), "")
