"""The unix socket through which the `oemgateway` command asks the running daemon.

A client sends one line, the name of what it asks for and, where it has any, the arguments after it as a JSON
object, and gets one line of JSON. A long answer is asked for in pieces, so that no client delays another.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import socket
import stat
import struct
from contextlib import suppress
from socketserver import StreamRequestHandler, UnixStreamServer
from typing import TYPE_CHECKING, Any

from gateway.process import holders
from gateway.process.state_files import as_owner
from gateway.process.threaded_server import ThreadedServer
from gateway.text.numeral import load_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

log = logging.getLogger("oemgateway.control")

_PATIENCE = 2.0
LONGEST_LINE = 1 << 20
"""Bytes that a client may send."""


class Control(ThreadedServer, UnixStreamServer):
    """Answers on the socket, each client in its own thread, so that none delays the daemon or another client.

    Raises OSError if there is anything at `path` but a socket that a daemon of this user has left.
    """

    NAME = "control"
    CLIENTS = PER_ADDRESS = 16
    request_queue_size = 8

    def __init__(self, path: Path, answers: Mapping[str, Callable[[], Any]]) -> None:
        self.answers = answers
        self._path = path
        with as_owner(path.parent):
            _remove_stale_socket(path)
            mask = os.umask(0o117)
            try:
                super().__init__(os.fspath(path), _Client)
            finally:
                os.umask(mask)
            self._inode = path.lstat().st_ino
        self.start()

    @property
    def is_gone(self) -> bool:
        """Whether it can no longer be asked: its socket was removed or replaced, or its thread is dead."""
        if self.is_dead:
            return True
        try:
            with as_owner(self._path.parent):
                return self._path.lstat().st_ino != self._inode
        except OSError as error:
            return isinstance(error, FileNotFoundError)

    def close(self) -> None:
        """Stop answering and remove the socket."""
        super().close()
        with suppress(OSError), as_owner(self._path.parent):
            if self._path.lstat().st_ino == self._inode:  # another daemon may have put its own there
                self._path.unlink()


class _Client(StreamRequestHandler):
    server: Control
    timeout = _PATIENCE

    def handle(self) -> None:
        line = self.rfile.readline(LONGEST_LINE).decode(errors="replace")
        asked, _, arguments = line.strip().partition(" ")
        self.wfile.write(_reply(asked, arguments, self.server.answers).encode() + b"\n")


def _remove_stale_socket(path: Path) -> None:
    """Remove the socket that a daemon of this user left when it ended; nothing else is touched."""
    try:
        about = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(about.st_mode):
        raise OSError("something else is there: set another path: [gateway] socket")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_PATIENCE)
        try:
            client.connect(os.fspath(path))
        except ConnectionRefusedError:
            pass
        except OSError as error:
            raise OSError(f"another program's socket is there ({error.strerror or error})") from error
        else:
            holder = holders.of_process(_peer(client))
            raise OSError(f"{holder} answers there: {holder.cure}, or set another path: [gateway] socket")
    if about.st_uid not in (os.geteuid(), path.parent.stat().st_uid):
        raise OSError("another user's socket is there: remove it, or set another path: [gateway] socket")
    path.unlink()


def process_at(path: Path) -> int:
    """Return the process that has a socket, even if it does not answer; 0 if that cannot be seen."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        client.connect(os.fspath(path))
        return _peer(client)
    return 0


def _peer(client: socket.socket) -> int:
    (pid, *_) = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(pid)


def _reply(asked: str, arguments: str, answers: Mapping[str, Callable[..., Any]]) -> str:
    """Return a line of JSON, whatever the client has sent."""
    answer = answers.get(asked)
    if answer is None:
        return _refusal(f"{asked[:40]} is not a question this daemon answers: {', '.join(answers)}")
    try:
        given = load_json(arguments or "{}")
    except ValueError:
        given = None
    if not isinstance(given, dict):
        return _refusal("arguments: a JSON object expected")
    expected = inspect.signature(answer)
    try:
        expected.bind(**given)
    except TypeError:
        return _refusal(f"{asked}: arguments expected: {', '.join(expected.parameters) or 'none'}")
    try:
        return json.dumps(answer(**given))
    except (OSError, ValueError, RecursionError) as error:
        # The words of a RecursionError differ between versions of Python.
        is_deep = isinstance(error, RecursionError)
        return _refusal("its arguments are nested too deep" if is_deep else str(error))
    except Exception as error:
        log.exception("the question %s makes the program fail", asked)
        return _refusal(f"a fault in the program: {error!r}; its traceback is in the log")


def _refusal(error: str) -> str:
    return json.dumps({"error": error})


def ask(path: Path, what: str, *, patience: float = _PATIENCE * 2, **arguments: object) -> Any:  # noqa: ANN401  (JSON)
    """Return the daemon's answer. Raises OSError if none listens, TimeoutError if it hangs."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(patience)
            client.connect(os.fspath(path))
            client.sendall(f"{what} {json.dumps(arguments) if arguments else ''}\n".encode())
            with client.makefile(encoding="utf-8") as lines:
                answer = lines.readline()
    except (TimeoutError, BlockingIOError) as error:  # or too many clients are waiting
        raise TimeoutError(f"the gateway at {path} runs, but does not answer: its disk may hang") from error
    if not answer:
        raise OSError("the daemon hung up without an answer")
    return json.loads(answer)
