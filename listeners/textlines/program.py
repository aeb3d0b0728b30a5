"""A program of the user's, and whatever it starts itself."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 1.0  # seconds that it has to end after SIGTERM
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""What it gets of our environment, which may contain keys."""

_ADVICE = {
    errno.ENOENT: " (is it installed, and its path right?)",
    errno.EACCES: " (may this user run it? chmod +x)",
    errno.ENOEXEC: " (a script begins with a line such as #!/bin/sh)",
}


class Program:
    """A running program, not through a shell, whose output and errors are read from `out` and `err`.

    It has a process group of its own, so that what it starts ends with it. Raises OSError where it cannot be
    run.
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
            raise OSError(f"{arguments[0]}: {error.strerror}{_ADVICE.get(error.errno or 0, '')}") from error
        self.out, self.err = cast("tuple[IO[bytes], IO[bytes]]", (self._process.stdout, self._process.stderr))

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
        held = select.poll()
        held.register(self.out, 0)  # it reports when the last of them has closed it
        held.poll(_PATIENCE * 1000)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self.out.close()
        self.err.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
