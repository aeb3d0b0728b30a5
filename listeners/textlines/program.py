"""A program of the user's, and whatever it starts itself."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shlex
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from gateway.paths import hidden
from gateway.process import holders
from listeners.files import read_once

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 1.0  # seconds that it has to end after SIGTERM
_MOMENT = 0.1  # seconds after SIGKILL until the kernel has closed its pipes
_FIRST_LINE = 256  # bytes, of which the kernel reads no more
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""What it gets of our environment, which may contain keys."""

_ADVICE = {
    errno.ENOENT: " (is it installed, and its path right?)",
    errno.EACCES: " (may this user run it? chmod +x)",
    errno.ENOEXEC: " (a script begins with a line such as #!/bin/sh)",
}


class Program:
    """A running program, not through a shell, whose output and errors are read from `out` and `err`.

    It has a process group of its own, so what it starts ends with it; so does any process that has left that
    group but still has our pipes. Raises OSError if it cannot be run.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # A Python script would otherwise hold its lines back until it has 8 KB of them.
        environment["PYTHONUNBUFFERED"] = "1"
        try:
            self._process = subprocess.Popen(  # noqa: S603  (the user's own, to run as this user)
                arguments,
                bufsize=0,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise OSError(f"{arguments[0]}: {error.strerror}{_advice(error, arguments[0])}") from error
        self.out, self.err = cast("tuple[IO[bytes], IO[bytes]]", (self._process.stdout, self._process.stderr))

    @property
    def has_ended(self) -> bool:
        """Whether it has ended; what it has started may still hold its output open."""
        return self._process.poll() is not None

    def outcome(self) -> str:
        """Return in words how it has ended, once its output is closed."""
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return "has closed its output"
        return f"was ended by signal {-status}" if status < 0 else f"has ended with status {status}"

    def end(self) -> None:
        """End it and what it has started: by SIGTERM, and by SIGKILL a second later."""
        self._signal(signal.SIGTERM)
        _is_held(self.out, _PATIENCE)
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self.out, self.err):
            if _is_held(pipe, _MOMENT):
                for pid in holders.of_pipe(pipe.fileno()):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
            pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _advice(error: OSError, program: str) -> str:
    """Return the next step; a script is also "not found" if the interpreter in its first line is missing."""
    if why := hidden(Path(program)):
        return f" ({why})"
    path = shutil.which(program) if error.errno == errno.ENOENT else None
    if path is None:
        return _ADVICE.get(error.errno or 0, "")
    try:
        first = read_once(Path(path), _FIRST_LINE).partition(b"\n")[0]
    except OSError:
        return ""
    if first.endswith(b"\r"):
        return f" (its lines end as those of Windows do: sed -i 's/\\r$//' {shlex.quote(path)})"
    words = first.removeprefix(b"#!").decode("ascii", "replace").split()
    return (
        f" (what its first line names, {words[0]:.80}, is not there)"
        if first.startswith(b"#!") and words
        else ""
    )


def _is_held(pipe: IO[bytes], seconds: float) -> bool:
    """Wait, that many seconds at most, until no process has a pipe; tell whether one still has it."""
    held = select.poll()
    held.register(pipe, 0)
    return not held.poll(seconds * 1000)
