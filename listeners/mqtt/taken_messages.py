"""Messages that were taken, and that the broker may send again because it missed their acknowledgement."""

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


class TakenMessages:
    """Remembers messages by their number in the session, with a digest of what they say.

    They are kept in a file between connections, or only in memory where `file` is None.
    """

    def __init__(self) -> None:
        self._known: dict[int, str] = {}
        self._is_loaded = False
        self._is_changed = False

    def begin(self, file: Path | None, *, is_resumed: bool) -> None:
        """Begin with a connection: the numbers mean nothing where the broker has not kept the session."""
        if file and not self._is_loaded:
            with suppress(OSError, ValueError, TypeError, RecursionError):
                self._known = dict(json.loads(read_file(file)))
        self._is_loaded = True
        if self._known and not is_resumed:
            self._known.clear()
            self._is_changed = True

    def has(self, message: MQTTMessage) -> bool:
        """Tell whether a message is one of those, sent again; a new one takes over its number."""
        if message.dup:
            return self._known.get(message.mid) == digest_of(message)
        self._is_changed |= self._known.pop(message.mid, None) is not None
        return False

    def note(self, taken: Iterable[MQTTMessage]) -> None:
        """Note messages that are safe on the disk, and are about to be acknowledged."""
        for message in taken:
            self._known.pop(message.mid, None)
            self._known[message.mid] = digest_of(message)
            self._is_changed = True
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def keep(self, file: Path | None) -> None:
        """Write what is known to the file, at the end of a connection."""
        if file and self._is_changed:
            with suppress(OSError):
                write_file(file, json.dumps([*self._known.items()]))
                self._is_changed = False


def digest_of(message: MQTTMessage) -> str:
    """Return what a message has in common with itself sent again (MQTT 5, section 4.4)."""
    said = message._topic + b"\0" + bytes(message.payload)  # noqa: SLF001  (`topic` raises where it is not UTF-8)
    return blake2b(said, digest_size=8).hexdigest()
