"""A port to which devices post as they would to Emoncms."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from gateway.flag import wait_readable
from gateway.process.port import is_loopback
from gateway.settings import SettingsFault, at_least, between, setting
from gateway.times.timekeeper import machine_is_synchronised
from listeners.http.api import Taken, refusal_text, take
from listeners.http.inputs import Inputs
from listeners.http.wire import CONTINUE, Refusal, Request, Requests, answer
from listeners.ports.shared_key import check_key
from listeners.ports.tcp_listener import TcpListener
from listeners.ports.tcp_server import Client
from listeners.state_file import StateFile

if TYPE_CHECKING:
    from gateway.flag import Flag
    from gateway.frame import Frame, Stamp

_ANSWERED = 1 << 20  # bytes of answers to one client after which it has to wait for them
_UNSENT = 16 << 20  # bytes of answers to all clients that may wait for them to be read
_READ = 65536  # bytes at most from one client before the next has its turn
_BUG = "fault-in-the-program"
_GONE = "gone-before-the-answer"
_SLOW = "too-slow"
_KEEP_EVERY = 60.0  # seconds between two writes of what the inputs were
_PARTING = 2.0  # seconds for a client to read its last answer and close the connection


@dataclass(eq=False, kw_only=True)
class _Client(Client):
    """A connection, and what it has sent of its next request.

    `answers` go out when the frames of their requests are on disk. What a `parting` client still sends is
    read and dropped: closing at once would make it lose the answer.
    """

    requests: Requests
    answers: bytes = b""
    parting: bool = False
    may_continue: bool = False


@dataclass(kw_only=True)
class Http(TcpListener[_Client]):
    """Takes GET and POST of Emoncms' input/post and input/bulk, and answers when their frames are on disk.

    input/get is answered with the last values that were posted here, those before a restart included.

    `apikey` is required unless only this machine can connect. A request may take `timeout` seconds and have a
    body of `size` bytes, and a connection may be silent for `idle` seconds between two. One host may post
    `rate` times a second. When there would be more than `clients`, the longest silent one is closed.
    """

    port: int = setting(8080, check=between(0, 65535))
    apikey: str | None = setting(None, check=check_key, secret=True)
    size: int = setting(1_048_576, check=between(1024, 16_777_216))
    rate: int = setting(200, check=between(1, 10_000))
    timeout: float = setting(10.0, check=between(1, 600))
    idle: float = setting(300.0, check=at_least(1))
    clients: int = setting(100, check=between(1, 400))

    SCALES: ClassVar = False
    COUNTED: ClassVar = "a request"
    LETS_OTHERS_IN: ClassVar = "host = 0.0.0.0 and a key let others in"

    def __post_init__(self) -> None:
        if self.apikey is None and not is_loopback(self.host):
            message = f"a key expected, as others can connect to {self.host} (openssl rand -hex 16 makes one)"
            raise SettingsFault([("apikey", message)])
        super().__post_init__()
        self.is_sure = machine_is_synchronised
        self._inputs = Inputs()
        self._posted: list[Frame] = []  # on disk by the next read
        self._kept_at = 0  # what `synced.kept` is once they are on disk
        self._state_file: StateFile
        self._second = 0
        self._posts_of_second = Counter[str]()

    def open(self) -> None:
        """Take the port; OSError if it is not free."""
        self._posted.clear()
        self._state_file = StateFile(self, "inputs", _KEEP_EVERY)
        if self._state_file.is_there:
            try:
                self._inputs.recall(self._state_file.read())
            except OSError as error:  # no reason to refuse readings
                self.log.warning("%s: the times that clients ask for begin anew", error)
        super().open()

    def close(self) -> None:
        """Answer what is on disk, and close all connections and the port.

        A post that has no answer is posted again.
        """
        if self._posted and self.synced.kept() >= self._kept_at:
            self._confirm()
        self._keep()
        super().close()

    def read(self, stop: Flag) -> list[Frame]:
        """Answer the posts of the last read, whose frames are on disk by now; wait for more frames."""
        self._confirm()
        self._kept_at = self.synced.kept() + 1
        if self._inputs.asked and self._state_file.is_due():
            self._keep()
        patience = self._server.patience(self.clock.monotonic())
        ready = wait_readable([stop, *self._server.sources()], patience)
        if stop.fileno() in ready:
            return []  # what is not answered must not be kept
        stamp = self.clock.now()
        frames = []
        for client, data in self._server.receive(ready, _READ):
            frames += self._hear(client, data, stamp)
        self._server.admit(ready, self.clock.monotonic())
        return frames

    def _confirm(self) -> None:
        """Answer the posts whose frames are on disk."""
        self._inputs.note(self._posted)
        self._posted.clear()
        self._answer()

    def _keep(self) -> None:
        """Keep the inputs if anyone ever asked for them; every write wears the card."""
        if self._inputs.asked:
            self._state_file.write(self._inputs.shown())

    def _answer(self) -> None:
        """Send the answers, as far as their clients read them; one has `timeout` seconds for each piece."""
        left = _UNSENT
        for client in self._server.clients:
            answers, client.answers = client.answers, b""
            before = len(client.unsent) + len(answers)
            if not before:
                continue
            was_waiting = bool(client.unsent)
            if not self._server.send(client, answers) or len(client.unsent) > left:
                self._server.hang_up(client, _GONE)
                continue
            left -= len(client.unsent)
            if client.unsent:
                if not was_waiting or len(client.unsent) < before:
                    client.deadline = self.clock.monotonic() + self.timeout
                continue
            if was_waiting:
                self._give_time(client, had_begun=False)
            if client.parting:
                with contextlib.suppress(OSError):
                    client.socket.shutdown(socket.SHUT_WR)

    def _welcome(self, connection: socket.socket, host: str) -> _Client:
        deadline = self.clock.monotonic() + self.timeout
        return _Client(socket=connection, host=host, deadline=deadline, requests=Requests(self.size))

    def _closed(self, client: _Client, reason: str) -> None:
        if reason == "idle" and client.unsent:
            reason = _GONE
        elif reason == "idle":
            reason = "" if client.parting else _SLOW if client.requests.begun else "idle"
        if reason == _SLOW and (unfinished := client.requests.unfinished):
            self.refuse(_SLOW, f"{client.host}: {unfinished} came in {self.timeout:g} s (timeout)")
        else:
            super()._closed(client, reason)

    def _hear(self, client: _Client, data: bytes, stamp: Stamp) -> list[Frame]:
        if client.has_ended:
            is_cut = client.requests.begun and not client.parting
            self._server.hang_up(client, "cut-short" if is_cut else "")
        if client.has_ended or client.parting:
            return []
        had_begun = client.requests.begun
        client.requests.feed(data)
        frames: list[Frame] = []
        while not client.parting and (request := client.requests.take()):
            frames += self._frames(client, request, stamp)
            had_begun = client.may_continue = False
            # Pipelined requests are not answered: the client has to ask again, on another connection.
            client.parting |= len(client.answers) > _ANSWERED and client.requests.begun
        if client.requests.expects_continue and not client.may_continue:
            client.may_continue = client.send(CONTINUE)
        self._give_time(client, had_begun)
        return frames

    def _frames(self, client: _Client, request: Request | Refusal, stamp: Stamp) -> list[Frame]:
        """Return the frames of a request; its answer waits until they are on disk."""
        client.parting = isinstance(request, Refusal) or not request.keeps
        frames: list[Frame] = []
        try:
            said = self._take(client.host, request, stamp)
        except Refusal as refusal:
            status, reply = refusal.status, refusal_text(refusal)
            if request.has_data:
                self.refuse(refusal.reason, f"{client.host}: {refusal.message}")
            else:
                self.counts[refusal.reason] += 1  # a browser, say: no trouble of the gateway
        else:
            status, reply = 200, said.reply
            self._note(said, client.host)
            frames = [replace(frame, source=self.name) for frame in said.frames]
        client.answers += answer(status, reply, stamp.wall, keeps=not client.parting)
        return frames

    def _take(self, host: str, request: Request | Refusal, stamp: Stamp) -> Taken:
        """Return what a request says; Refusal if it is not taken."""
        if isinstance(request, Refusal):
            raise request
        if self._is_too_often(host):
            raise Refusal(f"at most {self.rate} requests a second expected", 429, "too-often")
        try:
            said = take(request, self.apikey, stamp, self._inputs, self.is_sure)
        except Refusal:
            raise
        except Exception:  # the other clients must not suffer from it
            if not self.counts[_BUG]:
                self.log.exception("a request is refused because it makes the program fail")
            raise Refusal("a fault in the program, which is in its log", 500, _BUG) from None
        # What would be dropped is refused, so that the device does not take it for stored.
        if claimed := sorted(self.claimed.intersection(frame.node for frame in said.frames)):
            message = f"node {claimed[0]} belongs to another listener here: another node expected"
            raise Refusal(message, 400, "claimed-node")
        return said

    def _note(self, said: Taken, host: str) -> None:
        """Count what was taken, and what in it is not a value."""
        if said.frames:
            self.counts.take(self.clock.monotonic())
            self._posted += said.frames
        if said.misdated:
            self.counts.misdate(host, self.log, said.misdated)
        if said.texts:
            if not self.counts["text-is-no-value"]:
                self.log.warning("%s posts text, which is not a value, as %.80a", host, ", ".join(said.texts))
            self.counts["text-is-no-value"] += len(said.texts)

    def _is_too_often(self, host: str) -> bool:
        second = int(self.clock.monotonic())
        if second != self._second:
            self._second = second
            self._posts_of_second.clear()
        self._posts_of_second[host] += 1
        return self._posts_of_second[host] > self.rate

    def _give_time(self, client: _Client, had_begun: bool) -> None:
        """Set the deadline of a client that has just sent something, once for each request."""
        now = self.clock.monotonic()
        if client.parting:
            client.deadline = now + _PARTING
        elif not client.requests.begun:
            client.deadline = now + self.idle
        elif not had_begun:
            client.deadline = now + self.timeout
