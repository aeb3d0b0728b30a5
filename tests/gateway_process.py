"""The gateway as a program of its own, as its users run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

import gateway
from gateway.process.control import ask
from tests.peers import need
from tests.waiting import wait_until

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if key not in ("EMONCMS", "APIKEY", "MQTT")},
    "PYTHONPATH": str(Path(gateway.__file__).parents[1]),
    "PYTHONUNBUFFERED": "1",
    "NO_COLOR": "1",  # Python 3.14 colours the help at a terminal
}


UNTRACED = {key: value for key, value in ENVIRONMENT.items() if not key.startswith("COVERAGE")}
"""Without coverage. What Ctrl-C interrupts needs this: the lock that coverage may hold then stays locked."""


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the gateway to its end."""
    return run(sys.executable, "-m", "gateway", *arguments, **environment)


def run(*program: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run any program to its end."""
    return subprocess.run(
        [*map(str, program)],
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def read_only(directory: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command of the gateway where the file system of a directory is read-only, as root, to its end."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" || exit 126; exec "$@"'
    alone = [need("unshare", "util-linux"), "-rm", "sh", "-c", script, directory]
    done = run(*alone, sys.executable, "-m", "gateway", *arguments)
    if done.returncode == 126 or "unshare" in done.stderr:
        pytest.skip(f"no namespace here: {done.stderr}")
    return done


class GatewayProcess:
    """The daemon on a configuration file, its log in `log`; a command may stand before its own.

    Coverage traces it, which slows it down, unless told otherwise.
    """

    def __init__(
        self, file: Path, *, before: Sequence[str] = (), traced: bool = True, **environment: str
    ) -> None:
        self.file = file
        self.before = before
        self.environment = (ENVIRONMENT if traced else UNTRACED) | environment
        self.log_file = file.with_suffix(".log")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self) -> None:
        """Start it and wait until every plugin has tried to open."""
        self.launch()
        wait_until(self.is_ready, what="the gateway to start")

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.before, sys.executable, "-m", "gateway", "--config-file", str(self.file)],
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def is_ready(self) -> bool:
        """Tell whether this process answers, and every plugin has tried to open."""
        assert self.process.poll() is None, self.log
        try:
            status = self.status()
            return bool(status["pid"] == self.process.pid and status["ready"])
        except OSError:
            return False

    def status(self) -> dict:
        """Return what it says of itself."""
        return ask(self.file.parent / "state" / "control", "status", patience=60)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def kill(self) -> None:
        """End it without a chance to put anything in order."""
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        """Ask it to end and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


def state(directory: Path) -> str:
    """Return the [gateway] section that keeps everything in this directory."""
    return f"[gateway]\nstate_dir = {directory / 'state'}\nsocket = {directory / 'state' / 'control'}\n"
