"""The base of servers that answer each client in a thread of its own."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, ClassVar

from gateway.flag import Flag, wait_readable

_PATIENCE = 2.0
SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of a process that has run out of something for now: a retry may succeed later."""
_PAUSE = 1.0
_HANGS = 10.0
"""Seconds after which accepting a client hangs: if there is no memory for it, a thread may never start."""


class ThreadedServer(ThreadingMixIn, TCPServer):
    """Serves up to CLIENTS at a time, and PER_ADDRESS of them from one address.

    For one more, the client that has been longest in sending a request is disconnected; if none is, the new
    one is. A handler says `waits` before it reads a request, and `begins` after.
    `NAME` is that of its thread, and of its log. `refused` counts what was not answered, by its reason.
    """

    NAME: ClassVar[str]
    CLIENTS: ClassVar[int]
    PER_ADDRESS: ClassVar[int]
    daemon_threads = True

    def start(self) -> None:
        """Answer from now on."""
        self.refused = Counter[str]()
        self._lock = threading.Lock()
        self._clients = Counter[str]()
        self._waiting: dict[Any, str] = {}  # connections and their addresses, the longest waiting first
        self._stop = Flag()
        self.socket.setblocking(False)
        self._thread = threading.Thread(target=self._serve, name=self.NAME, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        # serve_forever would wake up twice a second to check whether it should stop.
        while self._stop.fileno() not in wait_readable([self, self._stop]):
            self.handle_request()

    @property
    def is_dead(self) -> bool:
        """Whether it no longer accepts clients: its thread has died, or hangs."""
        busy_since = self._stop.unattended
        hangs = busy_since is not None and time.monotonic() > busy_since + _HANGS
        return hangs or not self._thread.is_alive()

    def get_request(self) -> Any:  # noqa: ANN401  (socketserver's type)
        """Accept a client; if the process is out of something for that, pause before the next try."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in SCARCE:
                self._stop.wait(_PAUSE)
            raise

    def close(self) -> None:
        """Stop answering; threads that still answer end by themselves."""
        self._stop.set()
        self._thread.join(_PATIENCE)
        self.server_close()

    def count(self, reason: str) -> None:
        """Count a request that was not answered."""
        with self._lock:
            self.refused[reason] += 1

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  (socketserver's types)
        """Serve a client in a thread, or close its connection if there are too many."""
        host = str(client_address[:1])
        with self._lock:
            has_room = self._clients.total() < self.CLIENTS and self._clients[host] < self.PER_ADDRESS
            gives_way = None if has_room else self._longest_waiting(host)
            if gives_way is not None:
                del self._waiting[gives_way]
                with suppress(OSError):  # it has gone
                    gives_way.shutdown(socket.SHUT_RDWR)
            if has_room or gives_way is not None:
                self._clients[host] += 1
        if not has_room:
            self.count("too-many-clients")
        if not has_room and gives_way is None:
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._left(host)
            raise

    def _longest_waiting(self, host: str) -> Any:  # noqa: ANN401  (socketserver's type)
        """Return the connection that is to give way to one from this address, None if there is none."""
        if self._clients.total() >= 2 * self.CLIENTS:  # those that gave way have not ended yet
            return None
        is_full = self._clients[host] < self.PER_ADDRESS
        return next((each for each, its in self._waiting.items() if is_full or its == host), None)

    def waits(self, connection: Any, host: str) -> None:  # noqa: ANN401  (as above)
        """Note that a client has to send a request."""
        with self._lock:
            self._waiting[connection] = str((host,))

    def begins(self, connection: Any) -> None:  # noqa: ANN401  (as above)
        """Note that its request is there, and is being answered."""
        with self._lock:
            self._waiting.pop(connection, None)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  (as above)
        """Serve a client."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.begins(request)
            self._left(str(client_address[:1]))

    def _left(self, host: str) -> None:
        with self._lock:
            self._clients[host] -= 1
            self._clients += Counter()  # without those that are 0

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  (socketserver's)
        """Log it: most likely a client has disconnected, or has not sent what it should."""
        level = logging.DEBUG if isinstance(sys.exception(), OSError) else logging.ERROR
        logging.getLogger(f"oemgateway.{self.NAME}").log(level, "a client cannot be served", exc_info=True)
