"""What whole topics say by the conventions of this gateway, of emonhub and of Emoncms. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.frame import check_node
from gateway.mqtt.frames import Identity, from_emoncms, from_emonhub_values, from_log

if TYPE_CHECKING:
    from gateway.frame import Frame, Stamp

_LOG = "log"


class Read(NamedTuple):
    """A frame, and from whom: the gateway's topic, and its identity if it gives one."""

    frame: Frame
    gateway: str = ""
    identity: Identity | None = None


def read_log(topic: str, payload: bytes, now: Stamp) -> Read:
    """Return what a message says whose topic is that of a gateway, `log` and the node."""
    levels = topic.split("/")
    if len(levels) < 3 or levels[-2] != _LOG:
        raise ValueError("a topic that ends with log and a node expected")
    check_node(levels[-1])
    frame, identity = from_log(payload, levels[-1], now)
    return Read(frame, "/".join(levels[:-2]), identity)


def read_emon(base: str, topic: str, payload: bytes, now: Stamp) -> Read:
    """Return what a message says whose topic is `base` and a node, with names perhaps, or emonhub's rx."""
    levels = topic.removeprefix(f"{base}/").split("/")
    if levels[0] == "rx" and len(levels) == 3 and levels[2] == "values":
        check_node(levels[1])
        return Read(from_emonhub_values(payload, levels[1], now))
    check_node(levels[0])
    return Read(from_emoncms(payload, levels[0], now, tuple(levels[1:])))
