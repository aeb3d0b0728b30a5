"""The topics that the broker has kept subscriptions for, as a file remembers them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from gateway.mqtt.topics import check_filter
from gateway.process.state_files import read_file, write_file

if TYPE_CHECKING:
    from pathlib import Path

UNSURE = ""
"""Noted before the topics of a session that the broker may have replaced since."""


def remember(file: Path | None, topics: list[str]) -> bool:
    """Note the topics; tell whether that is possible."""
    topics = list(dict.fromkeys(topics))
    if file and topics != recall(file):
        try:
            write_file(file, json.dumps(topics))
        except OSError:
            return False
    return True


def recall(file: Path | None) -> list[str]:
    """Return what was subscribed to before: the broker remembers it too."""
    if file:
        with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
            return [topic for topic in json.loads(read_file(file)) if topic == UNSURE or _is_filter(topic)]
    return []


def _is_filter(topic: str) -> bool:
    """Tell whether that can have been subscribed to: a broker hangs up on anything else."""
    with suppress(ValueError):
        check_filter(topic.removesuffix("/ack"))  # which may make it longer than a setting can be
        return True
    return False
