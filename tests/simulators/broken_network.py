"""A network between clients and a server on this machine, which loses, hangs and cuts connections."""

from __future__ import annotations

import selectors
import socket
import threading
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Self

from tests.ports import free_port

FAULTS = ("cut", "answers lost", "requests lost", "silent, then cut", "silent for a while", "refused")
_LONGEST = 2.5
"""Seconds that a fault lasts at most: longer than a client with `timeout = 1` waits."""


class BrokenNetwork:
    """`with BrokenNetwork(port) as network:` leads from `network.port` to `port`.

    It breaks in one way after another until `heal`. A connection that has lost something is cut afterwards:
    what would come behind the gap is not what was sent.
    """

    def __init__(self, server: int, draw: Random) -> None:
        self.port = free_port()
        self.count: Counter[str] = Counter()
        self._server = server
        self._draw = draw
        self._fault = ""
        self._over = threading.Event()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._answering: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._listening = self._listen()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._run, self._break)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def heal(self) -> None:
        """Break nothing any more."""
        self._over.set()
        self._threads[1].join()

    def __exit__(self, *_: object) -> None:
        self.heal()
        with self._lock:
            self._cut()
            self._selector.unregister(self._listening)
            self._listening.close()
        self._selector.close()

    def _listen(self) -> socket.socket:
        listening = socket.create_server(("127.0.0.1", self.port))
        self._selector.register(listening, selectors.EVENT_READ)
        return listening

    def _break(self) -> None:
        """Inject one fault after another, and let all go through between two of them."""
        while not self._over.wait(self._draw.uniform(0.1, 1.5)):
            fault = self._draw.choice(FAULTS)
            self.count[fault] += 1
            with self._lock:
                self._fault = fault
                if fault == "refused":
                    self._selector.unregister(self._listening)
                    self._listening.close()
                if fault in ("cut", "refused"):
                    self._cut()
            if fault != "cut":
                self._over.wait(self._draw.uniform(0, _LONGEST))
            with self._lock:
                self._fault = ""
                if fault == "refused":
                    self._listening = self._listen()
                elif fault != "silent for a while":
                    self._cut()

    def _run(self) -> None:
        with suppress(OSError, ValueError, RuntimeError, KeyError):  # it is closed at the end
            while True:
                ready = self._selector.select(0.02)
                with self._lock:
                    for key, _ in ready:
                        if key.fileobj is self._listening:
                            self._accept()
                        elif isinstance(key.fileobj, socket.socket):
                            self._pass_on(key.fileobj)
                if self._fault.startswith("silent"):
                    self._over.wait(0.01)  # the kernel says again and again that there is something

    def _accept(self) -> None:
        client, _ = self._listening.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._server))
        except OSError:
            client.close()
            return
        self._pairs[client], self._pairs[server] = server, client
        self._answering.add(server)
        for each in (client, server):
            each.settimeout(5)  # a broker that is stopped reads nothing
            self._selector.register(each, selectors.EVENT_READ)

    def _pass_on(self, source: socket.socket) -> None:
        if source not in self._pairs or self._fault.startswith("silent"):
            return
        try:
            data = source.recv(1 << 16)
            if self._fault == ("answers lost" if source in self._answering else "requests lost"):
                return
            if data:
                self._pairs[source].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(source)

    def _cut(self) -> None:
        for each in list(self._answering):
            self._close(each)

    def _close(self, end: socket.socket) -> None:
        other = self._pairs.pop(end)
        self._pairs.pop(other)
        self._answering -= {end, other}
        for each in (end, other):
            self._selector.unregister(each)
            each.close()
