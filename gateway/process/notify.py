"""What the daemon reports to its supervisor, such as systemd: ready, reloading, alive, stopping.

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
    """The program that started the daemon; the daemon's own children do not inherit its address.

    `patience` is the number of seconds without `alive` after which it considers the daemon dead; None if it
    does not watch.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        microseconds = environment.pop("WATCHDOG_USEC", "")
        meant = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.patience = int(microseconds) / 1e6 if microseconds.isdecimal() and meant else None

    def ready(self) -> None:
        """Say that the daemon has started, or has reloaded its file."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that the daemon reloads its file; `ready` must follow."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """Say that every thread of the daemon makes progress, or waits for input."""
        if self.patience is not None:
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the daemon is stopping."""
        self._send("STOPPING=1")

    def _send(self, words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
                supervisor.connect(self._address)
                supervisor.send(words.encode())
        except OSError as error:
            log.debug("%s cannot be sent to the supervisor: %s", words, error)
