"""What is told to the one who started the daemon: that it is ready, at work on its file, alive, at its end.

The protocol is systemd's sd_notify(3): a datagram of NAME=VALUE lines to the socket that NOTIFY_SOCKET names.
`start-stop-daemon --notify-await` understands READY=1 as well.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

log = logging.getLogger("oemgateway")


class Supervisor:
    """Who started the daemon, as far as it wants to be told; what the daemon starts knows nothing of it.

    `patience` is the number of seconds after which it takes the daemon for dead unless it has been told that
    it is `alive`; None where it does not look.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        microseconds = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.patience = int(microseconds) / 1e6 if microseconds.isdecimal() and meant else None

    def ready(self) -> None:
        """Say that the daemon does its work, or does it again."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Say that the daemon reads its file; `ready` has to follow."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """Say that every part of the daemon makes progress, or waits."""
        if self.patience is not None:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the daemon is about to end."""
        self._tell("STOPPING=1")

    def _tell(self, words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
                way.connect(self._address)
                way.send(words.encode())
        except OSError as error:
            log.debug("who started the daemon cannot be told %s: %s", words, error)
