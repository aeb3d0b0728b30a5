"""What a broker's answer to a message means (MQTT 5, section 3.4.2.1)."""

from __future__ import annotations

from gateway.mqtt.broker import FAILED
from gateway.mqtt.session import TOO_LARGE
from gateway.plugin import BadFrame, DeliveryFailure, HoldEverything

NOBODY_READS = 0x10

_OF_FRAME = {
    0x90: "the name of the topic is refused",
    TOO_LARGE: "the message is larger than the broker takes",
    0x99: "the form of the message is refused",
}
_OF_BROKER = {
    0x83: "refused for a reason of its own",
    0x87: "this user may not publish there",
    0x97: "a quota is exceeded",
}


def judge(where: str, topic: str, code: int) -> DeliveryFailure | None:
    """Return the failure that a reason code of PUBACK stands for, None if the broker has the message."""
    if code < FAILED:
        return None
    if code in _OF_FRAME:
        return BadFrame(f"{where}: {_OF_FRAME[code]}: {topic}")
    return HoldEverything(f"{where}: {_OF_BROKER.get(code, f'refused with code 0x{code:02x}')}: {topic}")
