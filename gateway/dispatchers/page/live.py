"""Server-sent events: what has changed, for connected browsers; nothing runs while there are none."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from gateway.flag import Flag, wait_readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.plugin import Present

_EVERY, _AT_LEAST_EVERY = 3.0, 15.0
"""Seconds between two events, at least and at most."""
_BURST = 0.5
"""Seconds within which the nodes of one sweep are heard: they go into one event."""
_CLIENTS = 16

Message = dict[str, Any]


class Live:
    """Makes events while there are clients; `look` returns all that can change, by name and key."""

    def __init__(self, present: Present, look: Callable[[], dict[str, Message]]) -> None:
        self._present = present
        self._look = look
        self._changed = threading.Condition()
        self._clients = 0
        self._is_making = False
        self._event = b""
        self._stop = Flag()

    def close(self) -> None:
        """End all streams."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()

    @property
    def has_room(self) -> bool:
        """Whether one more client can be served."""
        return self._clients < _CLIENTS and not self._stop.is_set()

    def stream(self) -> Iterator[bytes]:
        """Yield events: at first everything, then what has changed."""
        with self._changed:
            self._clients += 1
            if not self._is_making:  # it goes on for a while after the last client
                self._is_making = True
                threading.Thread(target=self._make, name="page-live", daemon=True).start()
        try:
            yield b"retry: 3000\n\n"
            yield _event(self._look())
            while not self._stop.is_set():
                with self._changed:
                    is_new = self._changed.wait(2 * _AT_LEAST_EVERY)
                    event = self._event
                yield event if is_new else b":\n\n"
        finally:
            with self._changed:
                self._clients -= 1

    def _has_clients(self) -> bool:
        with self._changed:
            self._is_making = self._clients > 0
            return self._is_making

    def _make(self) -> None:
        try:
            self._make_events()
        except BaseException:
            with self._changed:
                self._is_making = False  # the next client starts a new thread
            raise

    def _make_events(self) -> None:
        heard, before = Flag(), self._look()
        self._present.subscribe(heard)
        while not self._stop.wait(_EVERY) and self._has_clients():
            if wait_readable([heard, self._stop], _AT_LEAST_EVERY):
                self._stop.wait(_BURST)
            heard.clear()
            now = self._look()
            changed = {
                name: part
                for name, parts in now.items()
                if (
                    part := {
                        key: each for key, each in parts.items() if before.get(name, {}).get(key) != each
                    }
                )
            }
            before = now
            with self._changed:
                self._event = _event(changed)
                self._changed.notify_all()


def _event(message: dict[str, Message]) -> bytes:
    return b"data: " + json.dumps(message, separators=(",", ":")).encode() + b"\n\n"
