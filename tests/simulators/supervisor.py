"""What systemd, or start-stop-daemon, is to a daemon: a socket that takes its notes (sd_notify(3))."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Self


class FakeSupervisor:
    """Takes the notes of whoever runs in its `environment`; `next` gives one after the other."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(60)
        self.environment = {"NOTIFY_SOCKET": str(path)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self) -> dict[str, str]:
        """Return the next note, as soon as it is there."""
        return dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())

    def until(self, name: str) -> dict[str, str]:
        """Return the next note that has this in it; others are passed over."""
        while name not in (note := self.next()):
            pass
        return note

    def is_silent(self, seconds: float) -> bool:
        """Throw away what is there, and tell whether nothing more comes for so long."""
        self._socket.settimeout(0)
        try:
            while True:
                self._socket.recv(4096)
        except BlockingIOError:
            pass
        self._socket.settimeout(seconds)
        try:
            self._socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(60)
        return False
