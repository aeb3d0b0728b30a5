"""Messages that were taken, and that the broker may send again as it has missed their acknowledgement."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING

from gateway.process.state_files import read_file, write_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from paho.mqtt.client import MQTTMessage

_MOST = 2000
"""Messages that are remembered: twice what the broker sends without an acknowledgement."""


class Again:
    """Remembers messages by their number in the session and what they say, for the next connection.

    They are kept in a file, or only in memory where `file` is None.
    """

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._is_new = True

    def begin(self, file: Path | None, *, is_resumed: bool) -> None:
        """Begin with a connection: the numbers mean nothing where the broker has not kept the session."""
        if self._is_new and file:
            with suppress(OSError, ValueError, TypeError, RecursionError):
                self._known = dict.fromkeys(map(str, json.loads(read_file(file))))
        self._is_new = False
        if not is_resumed:
            self._known.clear()

    def has(self, message: MQTTMessage) -> bool:
        """Tell whether a message is one of those, sent again."""
        return bool(message.dup and self._known and _mark(message) in self._known)

    def note(self, taken: Iterable[MQTTMessage], file: Path | None) -> None:
        """Note at the end of a connection what was taken and not acknowledged, or only just."""
        before = list(self._known)
        for message in taken:
            self._known[_mark(message)] = None
        for oldest in list(self._known)[:-_MOST]:
            del self._known[oldest]
        if file and before != list(self._known):
            with suppress(OSError):
                write_file(file, json.dumps(list(self._known)))


def _mark(message: MQTTMessage) -> str:
    """Return what a message has in common with itself sent again (MQTT 5, sections 2.2.1 and 4.4)."""
    said = message._topic + b"\0" + bytes(message.payload)  # noqa: SLF001  (`topic` raises where it is not UTF-8)
    return f"{message.mid} {blake2b(said, digest_size=8).hexdigest()}"
