"""A radio board that clients may transmit with: TCP commands, checked, sent in turn, and confirmed."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from gateway.diagnosis.tcp_port import examine_port
from gateway.process.port import check_host
from gateway.settings import alternatives, between, setting
from listeners.lines import Lines, Rejected
from listeners.ports.tcp_server import Client, TcpServer
from listeners.radio.board import NAMES
from listeners.radio.commands import SETTINGS, Message, Order, Question, Setting
from listeners.radio.grammar import LONGEST_PAYLOAD
from listeners.radio.rfm12pi import Baud, Rfm12pi
from listeners.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gateway.diagnosis.finding import Finding
    from gateway.diagnosis.machine import Machine
    from gateway.plugin import Health

LONGEST_COMMAND = 512  # characters; 66 bytes and a node take 270

_COMMAND = re.compile(r"([0-9]*(?:,[0-9]*)*)([a-z])")
_LAST_NODE = 31  # JeeLib has five bits for it
_ALL = ("s", "a", "i", "g", "b", "q", "v")


def judge(line: str, allowed: Collection[str]) -> Order | Rejected:
    """Return the order in a command of RF12demo, if its letter is allowed and its numbers are valid.

    That is `1,2,3,10s`, bytes to a node (`a`: with acknowledgement), `15i`, `210g`, `4b`, `1q` or `v`. A
    number that is left out is 0.
    """
    if len(line) > LONGEST_COMMAND:
        return Rejected("too-long")
    command = _COMMAND.fullmatch(line)
    if not command:
        return Rejected("not-a-command")
    numbers, letter = command.groups()
    if letter not in allowed:
        return Rejected("not-allowed")
    if letter == "v":
        return Rejected("not-a-command") if numbers else Question()
    *data, value = [int(number or 0) for number in numbers.split(",")]
    if letter in "sa":
        return _judge_message(data, value, letter)
    fits = not data and value in SETTINGS[letter]
    return Setting(letter, value) if fits else Rejected("value-out-of-range")


def _judge_message(data: list[int], node: int, letter: str) -> Message | Rejected:
    if not data:
        return Rejected("no-payload")
    if len(data) > LONGEST_PAYLOAD:
        return Rejected("too-long")
    if max(data) > 255:
        return Rejected("byte-out-of-range")
    return Message(bytes(data), node, letter == "a") if node <= _LAST_NODE else Rejected("node-out-of-range")


_READ = 4096  # bytes at most from one client before the next has its turn
_CLIENTS = 16
_WAITING = 16  # orders; a board takes one a second
_UNANSWERED = 64  # commands of a client; with so many it is not read: they are answered in their order


@dataclass
class _Reply:
    """The answer to one command, "" until there is one."""

    text: str = ""


@dataclass(eq=False)
class _Client(Client):
    """A connection, what it has sent of its next command, and the answers it waits for, in their order."""

    lines: Lines = field(default_factory=lambda: Lines(LONGEST_COMMAND))
    replies: deque[_Reply] = field(default_factory=deque)


def _check_letters(letters: Collection[str]) -> None:
    for letter in letters:
        if letter not in _ALL:
            raise ValueError(f"{alternatives(_ALL)} expected, not {letter}")


@dataclass(kw_only=True)
class Repeater(Rfm12pi):
    """Listens to a radio board, and lets the clients of a TCP port transmit with it.

    A line is a command, whose letter must be in `allow`. The answer is `OK` when the board confirms it, or
    `ERR` and a reason when it is refused or not confirmed. The board gets one command a second. Clients
    cannot change what this section sets.
    """

    usual: ClassVar = None  # it would examine the board a second time

    repeater_port: int = setting(50012, was=("port_nb",), check=between(0, 65535))
    repeater_host: str = setting("127.0.0.1", check=check_host)
    allow: tuple[str, ...] = setting(("s", "a"), check=_check_letters)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.commands = Tally("a command")
        self._allowed = set(self.allow) - self.wanted().keys()
        address = (self.repeater_host, self.repeater_port)
        self._server = TcpServer(address, _CLIENTS, _Client, self._closed)
        self._waiting = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where it takes commands: host and port."""
        return self._server.address

    @property
    def exclusive(self) -> Iterable[str]:
        """Both ports."""
        return (*super().exclusive, *self._server.exclusive)

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Return what keeps this user from the board, and whether its own port can be had."""
        yield from super().examine(machine)
        yield from examine_port(machine, self.repeater_host, self.repeater_port)

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Say which letters are in `allow` without effect."""
        yield from super().remarks()
        for letter in sorted(set(self.allow) - self._allowed):
            yield "allow", f"{letter} is refused: {NAMES[letter]} is set in this section"

    def health(self) -> Health:
        """Return how often what was refused, commands as well as lines of the board."""
        health = super().health()
        commands = {f"command {reason}": count for reason, count in dict(self.commands).items()}
        return replace(health, faults={**health.faults, **commands})

    def open(self) -> None:
        """Open the board's port, then ours."""
        super().open()
        self._server.open()
        self._waiting = 0
        self.log.info("takes commands on %s:%d", *self.address)

    def close(self) -> None:
        """Answer the clients that still wait, and close both ports."""
        for client in self._server.clients:
            for reply in client.replies:
                reply.text = reply.text or "ERR the board has gone"
            self._answer(client)
        self._server.close()
        super().close()

    def _others(self) -> Iterable[object]:
        full = [client for client in self._server.clients if len(client.replies) >= _UNANSWERED]
        return [source for source in self._server.sources() if source not in full]

    def _attend(self, ready: set[int]) -> None:
        for client, data in self._server.receive(ready, _READ):
            for line in filter(None, client.lines.feed(data)):
                client.replies.append(reply := _Reply())
                self._take(line, client, reply)
            self._answer(client)
        self._server.admit(ready, self.clock.monotonic())

    def _take(self, line: str, client: _Client, reply: _Reply) -> None:
        """Put a command in the queue, or refuse it."""
        order = judge(line, self._allowed) if self._waiting < _WAITING else Rejected("busy")
        if isinstance(order, Rejected):
            self.commands.refuse(order.reason, line, self.log, self.clock.monotonic())
            reply.text = f"ERR {order.reason}"
            return

        def done(fault: str) -> None:
            self._waiting -= 1
            reply.text = f"ERR {fault}" if fault else "OK"
            self._answer(client)

        self._waiting += 1
        self._board.relay(order, done)

    def _answer(self, client: _Client) -> None:
        """Send the answers that are ready, and close a client that has gone or waits for none."""
        while client.replies and client.replies[0].text:
            if not client.send(f"{client.replies.popleft().text}\r\n".encode()):
                self._server.hang_up(client)
                return
        if client.has_ended and not client.replies:
            self._server.hang_up(client)

    def _closed(self, client: _Client, reason: str) -> None:
        """Count a connection that was closed for a reason, or in the middle of a command."""
        if reason:
            self.commands[reason] += 1
        if client.lines.unfinished:
            self.commands["unterminated"] += 1


@dataclass(kw_only=True)
class Rfm2piRepeater(Repeater):
    """The type of 2013, whose boards spoke 9600 baud."""

    baud: Baud = setting(9600)
