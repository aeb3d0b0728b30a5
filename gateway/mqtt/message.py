"""A message of MQTT, as we publish it."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """What is published; `expiry` is in seconds, after which a broker forgets it (MQTT 5)."""

    topic: str
    payload: bytes
    retain: bool = False
    expiry: float | None = None
