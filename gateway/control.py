"""The unix socket through which the `oemgateway` command asks the running daemon.

A client sends one line, the name of what it asks for and, where it has any, the arguments behind it as a JSON
object, and gets one line of JSON. What would be long is asked for piece by piece: no answer holds up another.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gateway.flag import Flag, wait_readable
from gateway.paths import as_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

log = logging.getLogger("oemgateway.control")

_PATIENCE = 2.0
_CLIENTS = 16
"""Clients that are talked to at a time."""
LONGEST_LINE = 1 << 20
"""Characters that a client may send."""


class Control:
    """Answers on the socket, each client in a thread of its own: none can hold up the daemon, or another."""

    def __init__(self, path: Path, answers: Mapping[str, Callable[[], Any]]) -> None:
        self._path = path
        self._answers = answers
        self._stop = Flag()
        self._room = threading.BoundedSemaphore(_CLIENTS)
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._server = socket.socket(socket.AF_UNIX)
        try:
            self._bind()
        except OSError:
            self._server.close()
            raise
        self._server.listen(8)
        self._server.setblocking(False)
        self._thread.start()

    def _bind(self) -> None:
        """Take the place; OSError where something else than a socket that we have left behind is there."""
        with as_owner(self._path.parent):
            _make_way(self._path)
            mask = os.umask(0o117)
            try:
                self._server.bind(os.fspath(self._path))
            finally:
                os.umask(mask)
            self._place = self._path.lstat().st_ino

    def _serve(self) -> None:
        while self._stop.fileno() not in wait_readable([self._server, self._stop]):
            with suppress(OSError):  # it went away
                client, _ = self._server.accept()
                if self._room.acquire(blocking=False):
                    threading.Thread(target=self._talk, args=(client,), name="client", daemon=True).start()
                else:
                    client.close()

    def _talk(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(_PATIENCE)
                self._answer(client)
        except OSError as error:
            log.debug("a client went away: %s", error)
        finally:
            self._room.release()

    def _answer(self, client: socket.socket) -> None:
        line = client.makefile(encoding="utf-8", errors="replace").readline(LONGEST_LINE)
        asked, _, arguments = line.strip().partition(" ")
        answer = self._answers.get(asked)
        if answer is None:
            reply = _refusal(f"{asked[:40]} is nothing this daemon answers: {', '.join(self._answers)}")
        else:
            reply = _reply(asked, answer, arguments)
        client.sendall(reply.encode() + b"\n")

    def close(self) -> None:
        """Stop answering and take the socket away."""
        self._stop.set()
        self._thread.join(_PATIENCE)
        self._server.close()
        with suppress(OSError), as_owner(self._path.parent):
            if self._path.lstat().st_ino == self._place:  # and not that of one who has come meanwhile
                self._path.unlink()


def _make_way(path: Path) -> None:
    """Take away the socket that a daemon of this user, which has ended, has left; nothing else is touched."""
    try:
        about = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(about.st_mode):
        raise OSError("something else is there: name another place: [gateway] socket")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_PATIENCE)
        try:
            client.connect(os.fspath(path))
        except ConnectionRefusedError:
            pass
        except OSError as error:
            raise OSError(f"another program's socket is there ({error.strerror or error})") from error
        else:
            raise OSError(
                "another program answers there: stop that one, or name another place: [gateway] socket"
            )
    if about.st_uid not in (os.geteuid(), path.parent.stat().st_uid):
        raise OSError("another user's socket is there: take it away, or name another place: [gateway] socket")
    path.unlink()


def _reply(asked: str, answer: Callable[..., Any], arguments: str) -> str:
    """Return a line of JSON, whatever the client sent behind what it asks for."""
    try:
        given = json.loads(arguments or "{}")
        if not isinstance(given, dict):
            return _refusal("the arguments must be a mapping: a JSON object expected")
        return json.dumps(answer(**given))
    except RecursionError:  # whose words differ between versions of Python
        return _refusal("its arguments are nested too deep")
    except (OSError, ValueError) as error:
        return _refusal(str(error))
    except Exception as error:
        if isinstance(error, TypeError) and error.__traceback__ and error.__traceback__.tb_next is None:
            return _refusal(str(error))  # it was not even called: it does not have such arguments
        log.exception("%s is asked for, and that fails", asked)
        return _refusal(f"a fault in the program: {error!r}; its traceback is in the log")


def _refusal(error: str) -> str:
    return json.dumps({"error": error})


def ask(path: Path, what: str, *, patience: float = _PATIENCE * 2, **arguments: object) -> Any:  # noqa: ANN401  (JSON)
    """Return the running daemon's answer. Raises OSError where no daemon listens."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(patience)
        client.connect(os.fspath(path))
        client.sendall(f"{what} {json.dumps(arguments) if arguments else ''}\n".encode())
        with client.makefile(encoding="utf-8") as lines:
            answer = lines.readline()
    if not answer:
        raise OSError("it hung up without an answer")
    return json.loads(answer)
