"""A time server on this machine: an SNTP server (RFC 4330) that tells the host's clock."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

from tests.machine.image import Missing

PORT = 123
"""systemd-timesyncd asks no other."""

SINCE_1900 = 2_208_988_800


class TimeServer:
    """`with TimeServer():` answers at 127.0.0.1."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(("127.0.0.1", PORT))
        except OSError as error:
            raise Missing(f"UDP port {PORT} of 127.0.0.1 is needed for a time server: {error}") from None
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # it is not connected; the thread that waits for it wakes up all the same
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                asked, client = self._socket.recvfrom(512)
                if len(asked) < 48:
                    continue
                # No leap second, version 4, a server; stratum 1, and the precision of a microsecond.
                head = struct.pack(">BBbbII4s", 0x24, 1, asked[2], -20, 0, 0, b"HOST")
                now = self._stamp()
                self._socket.sendto(head + now + asked[40:48] + now + self._stamp(), client)
            except OSError:
                return  # it has been closed

    def _stamp(self) -> bytes:
        now = time.time() + SINCE_1900
        return struct.pack(">II", int(now), int(now % 1 * 2**32))
