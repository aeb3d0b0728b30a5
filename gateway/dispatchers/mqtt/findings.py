"""What `oemgateway doctor` says of the broker that frames go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.diagnosis.finding import Finding, bad, good, unknown
from gateway.dispatchers.mqtt.reasons import judge
from gateway.mqtt.examine import examine_broker
from gateway.mqtt.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.diagnosis.machine import Machine
    from gateway.dispatchers.mqtt.dispatcher import Mqtt
    from gateway.mqtt.session import Session


def examine(mqtt: Mqtt, machine: Machine) -> Iterator[Finding]:
    """Yield whether the broker answers, and whether it takes what is to be published."""
    return examine_broker(mqtt, machine, lambda session: _rights(mqtt, session))


def _rights(mqtt: Mqtt, session: Session) -> Iterator[Finding]:
    """Yield whether this user may publish: an empty message that is not kept tells."""
    if session.version < 5 or mqtt.format != "oemgateway":
        return
    try:
        base = mqtt.base
    except OSError as error:
        yield unknown(f"the gateway's id, which is in its topic, is not known: {error}")
        return
    topics = [f"{base}/doctor", *([f"{mqtt.prefix}/oemgateway/doctor"] if mqtt.prefix else [])]
    codes: list[int] = []
    session.deliver([Message(topic, b"") for topic in topics], codes)
    refused = [topic for topic, code in zip(topics, codes, strict=True) if judge(mqtt.where, topic, code)]
    for topic in refused:
        below = topic.removesuffix("/doctor").removesuffix("/oemgateway")
        yield bad(
            f"this user may not publish to {below}/#",
            "allow it at the broker (in mosquitto's acl_file: `topic readwrite ...` below `user ...`)"
            + (", or set discovery = no" if below == mqtt.prefix else ""),
        )
    if not refused:
        yield good(f"it takes what is published to {base}/#")
