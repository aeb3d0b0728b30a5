"""paho's client with what it lacks: a limit on what it takes into memory, and reason codes as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from paho.mqtt.client import Client
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage
    from paho.mqtt.enums import MQTTErrorCode

LARGEST = 1 << 20
"""Bytes of a packet that the broker may send: it leaves a larger one out."""

_KEPT = 1 << 17
"""Bytes that are kept of a longer packet: more than any message that is looked into has."""

_REASON = 2
"""Where the reason code of a PUBACK is, behind the number of the message (MQTT 5, section 3.4.2)."""
_UNSPECIFIED = 0x80

ORIGIN = "oemgateway"
"""The property of a message that says which gateway has published it."""


class BoundedClient(Client):
    """paho's client, which takes a packet of up to 256 MB into memory, with a limit.

    Of a longer one, as a broker without MQTT 5 may send, the beginning is kept, and all of it read: it would
    come again, and nothing behind it, if the connection ended there.

    `codes` has the reason codes by message that paho does not know for an acknowledgement, and would end the
    connection for: mosquitto's for a message beyond its message_size_limit.
    """

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  (passed on)
        super().__init__(*args, **options)
        self.codes: dict[int, int] = {}

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._in_packet["remaining_length"] > LARGEST:
            del self._in_packet["packet"][_KEPT:]
            bufsize = min(bufsize, _KEPT)
        return super()._sock_recv(bufsize)

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        if cmd == "PUBACK" and len(packet) > _REASON:
            try:
                ReasonCode(PacketTypes.PUBACK).unpack(packet[_REASON:])
            except (KeyError, ValueError):
                self.codes[int.from_bytes(packet[:_REASON], "big")] = packet[_REASON]
                packet[_REASON] = _UNSPECIFIED
        return super()._handle_pubackcomp(cmd)


def of_connection(session_expiry: int, receive_maximum: int) -> Properties:
    """Return what CONNECT says: how long a session is kept, in seconds, and what may come at a time."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
    properties.SessionExpiryInterval = session_expiry
    properties.MaximumPacketSize = LARGEST
    if receive_maximum:
        properties.ReceiveMaximum = receive_maximum
    return properties


def of_message(origin: str, expiry: float | None) -> Properties:
    """Return what PUBLISH says beside the message: who it is from, and after how many seconds it is old."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's
    if expiry:
        properties.MessageExpiryInterval = max(1, round(expiry))
    if origin:
        properties.UserProperty = (ORIGIN, origin)
    return properties


def origin_of(message: MQTTMessage) -> str:
    """Return the gateway that has published a message, "" where it is not known."""
    given = getattr(message.properties, "UserProperty", [])
    return next((value for name, value in given if name == ORIGIN), "")
