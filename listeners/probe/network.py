"""The four outcomes of a probe, kept apart: answered, refused, silent, unresolved."""

from __future__ import annotations

import errno
import socket
import time
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple

_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN)

_SILENT, _UNRESOLVED = "no answer in time", "no address in time"


class Kind(StrEnum):
    """How a probe ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"
    UNRESOLVED = "unresolved"


class Outcome(NamedTuple):
    """How a probe ended, and in words why it was not answered.

    `ms` are milliseconds, without the time for the name; `loss` is in percent; `code` is a status of HTTP,
    and `days` are those until a certificate expires.
    """

    kind: Kind
    words: str = ""
    ms: float | None = None
    loss: float | None = None
    code: float | None = None
    days: float | None = None

    @property
    def values(self) -> tuple[float | None, ...]:
        """The values of a target, by position."""
        return (float(self.kind is Kind.ANSWERED), self.ms, self.loss, self.code, self.days)

    def __str__(self) -> str:
        return f"{self.kind} ({self.words})" if self.words else str(self.kind)


class NotAllowed(OSError):
    """This user may not probe in this way: nothing is known of the target."""


class Attempt:
    """The time that a probe has, what it is doing, and what ends it when that time is over.

    `is_resolving` says that it waits for the address of a name, which nothing can end.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._socket: socket.socket | None = None
        self.is_resolving = self.is_abandoned = False

    def left(self) -> float:
        """Return the seconds that are left; raises TimeoutError if there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError(_SILENT)
        return left

    def resolve(self, host: str, port: int, kind: socket.SocketKind) -> list[tuple[Any, ...]]:
        """Return the addresses of a host, as getaddrinfo has them; raises gaierror where there are none."""
        self.is_resolving = True
        try:
            found = socket.getaddrinfo(host, port, type=kind)
            if self._until <= time.monotonic():
                raise socket.gaierror(socket.EAI_AGAIN, _UNRESOLVED)
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "not a name of a host") from None
        self.is_resolving = False
        return found

    def connect(self, host: str, port: int) -> tuple[socket.socket, float]:
        """Return a connection, and the second of the clock at which it was begun.

        Raises OSError; the addresses of a host are tried in turn, and each has its part of the time.
        """
        failure: OSError = socket.gaierror(socket.EAI_NONAME, "no address")
        found = self.resolve(host, port, socket.SOCK_STREAM)
        for place, (family, kind, protocol, _, address) in enumerate(found):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # as where the kernel has no IPv6
                failure = error
                continue
            try:
                began = time.monotonic()
                self.hold(sock).settimeout(self.left() / (len(found) - place))
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock, began
        raise failure

    def hold(self, sock: socket.socket) -> socket.socket:
        """Return a socket that may take the time that is left, and that `abandon` ends."""
        sock.settimeout(self.left())
        self._socket = sock
        return sock

    def milliseconds(self, began: float) -> float:
        """Return the milliseconds since a second of the clock."""
        return round((time.monotonic() - began) * 1000, 3)

    def abandon(self) -> Outcome:
        """End what still goes on after its time; return the outcome."""
        if self._socket:
            with suppress(OSError):  # it has ended meanwhile, or has no connection
                self._socket.shutdown(socket.SHUT_RDWR)
        self.is_abandoned = True
        return Outcome(Kind.UNRESOLVED, _UNRESOLVED) if self.is_resolving else Outcome(Kind.SILENT, _SILENT)


def failed(error: OSError) -> Outcome:
    """Return the outcome that an error shows: a refusal is an answer."""
    words = error.strerror or str(error)
    # ssl's messages contain the place in OpenSSL's source.
    if verify := getattr(error, "verify_message", ""):
        words = f"certificate not accepted: {verify}"
    elif reason := getattr(error, "reason", ""):
        words = f"no TLS: {str(reason).replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return Outcome(Kind.UNRESOLVED, words)
    if isinstance(error, TimeoutError) or error.errno in _UNREACHABLE:
        return Outcome(Kind.SILENT, _SILENT if isinstance(error, TimeoutError) else words)
    return Outcome(Kind.REFUSED, words)


def probe_tcp(attempt: Attempt, host: str, port: int) -> Outcome:
    """Return the outcome of a connection, which is closed at once."""
    sock, began = attempt.connect(host, port)
    ms = attempt.milliseconds(began)
    sock.close()
    return Outcome(Kind.ANSWERED, ms=ms)
