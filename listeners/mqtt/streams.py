"""What whole topics say by the conventions of this gateway, of emonhub and of Emoncms. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.frame import check_node
from gateway.mqtt.frames import from_emoncms, from_emonhub_values, from_log, identity_of, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.frame import Frame, Stamp
    from gateway.mqtt.frames import Identity

_LOG = "log"


class Read(NamedTuple):
    """What a message of a log says: the topic of its gateway, the node, the frame, and who it is.

    The frame is None if it is not valid, for the reason `fault`; it need not have an identity.
    """

    gateway: str
    node: str
    frame: Frame | None
    identity: Identity | None
    fault: str = ""


def read_log(topic: str, payload: bytes, now: Stamp) -> Read:
    """Return what a message says whose topic is that of a gateway, `log` and the node."""
    levels = topic.split("/")
    if len(levels) < 3 or levels[-2] != _LOG:
        raise ValueError("a topic that ends with log and a node expected")
    gateway, node = "/".join(levels[:-2]), levels[-1]
    given = parse_object(payload)
    identity = identity_of(given)
    try:
        check_node(node)
        return Read(gateway, node, from_log(given, node, now), identity)
    except ValueError as error:
        return Read(gateway, node, None, identity, str(error))


def base_of(pattern: str) -> str:
    """Return the levels of a topic before its first wildcard, or its last level."""
    levels = pattern.split("/")
    end = next((at for at, level in enumerate(levels) if level in ("+", "#")), len(levels) - 1)
    return "/".join(levels[:end])


def read_emon(
    base: str,
    topic: str,
    payload: bytes,
    now: Stamp,
    misdated: Callable[[float], Stamp | None] = lambda _: None,
) -> Frame | None:
    """Return what a message says whose topic is `base` and a node, with names perhaps, or emonhub's rx.

    `misdated` is called as by `from_emoncms`. None for the signal strength beside emonhub's values, which is
    no value of a node.
    """
    levels = topic[len(base) + 1 :].split("/")
    if levels[0] == "rx" and len(levels) == 3:
        if levels[2] == "rssi":
            return None
        if levels[2] != "values":
            raise ValueError("rx, a node and values expected")
        check_node(levels[1])
        return from_emonhub_values(payload, levels[1], now)
    check_node(levels[0])
    return from_emoncms(payload, levels[0], now, tuple(levels[1:]), misdated)
