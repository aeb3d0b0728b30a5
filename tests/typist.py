"""A person at a terminal, a pseudo-terminal: reads what the gateway's command asks, and types."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.gateway_process import UNTRACED

_PATIENCE = 60.0


def at_terminal(file: Path, *arguments: object, **environment: str) -> Typist:
    """Return a person who runs the command of the gateway with a file."""
    return Typist(sys.executable, "-m", "gateway", "--config-file", file, *arguments, **environment)


class Typist:
    """Runs a program; `seen` is all that it has shown, `answers` counts what it was answered."""

    def __init__(self, *program: object, **environment: str) -> None:
        self.seen = ""
        self.answers = 0
        self._read = 0
        self._program = [str(part) for part in program]
        self._environment = UNTRACED | environment

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        # A session of its own, whose terminal this is: Ctrl-C and a password's prompt need that.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *self._program],
            env=self._environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)
        os.close(self._master)

    def sees(self, words: str) -> str:
        """Wait until it has shown this, after what was waited for last; return what came up to there."""
        until = time.monotonic() + _PATIENCE
        while (at := self.seen.find(words, self._read)) < 0:
            left = until - time.monotonic()
            if left < 0 or not self._take(left):
                raise AssertionError(f"{words!r} was expected, not {self.seen[self._read :]!r}")
        before, self._read = self.seen[self._read : at], at + len(words)
        return before

    def types(self, text: str) -> None:
        """Type a line, and Enter."""
        os.write(self._master, f"{text}\n".encode())

    def answers_with(self, *pairs: tuple[str, str]) -> None:
        """Answer each of these questions, in this order."""
        for question, answer in pairs:
            self.sees(question)
            self.sees("]: ")
            self.types(answer)
            self.answers += 1

    def answers_all(self, answers: Mapping[str, str]) -> int:
        """Answer all that is asked, by words of the questions, until the program ends; return its status."""
        while self._take(_PATIENCE):
            line = self.seen[self._read :].rpartition("\n")[2]
            if line.endswith("]: "):
                (answer,) = (answer for words, answer in answers.items() if words in line)
                self._read = len(self.seen)
                self.types(answer)
                self.answers += 1
        return self.process.wait(60)

    def presses_ctrl_c(self) -> None:
        """Press Ctrl-C until the program ends: Python misses one between its question and its reading."""
        until = time.monotonic() + _PATIENCE
        while self.process.poll() is None and time.monotonic() < until:
            os.write(self._master, b"\x03")
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)

    def waits(self) -> int:
        """Read on until the program ends, and return its exit status."""
        while self._take(_PATIENCE):
            pass
        return self.process.wait(60)

    def _take(self, seconds: float) -> bool:
        """Take what comes in this time; tell whether anything did."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the program has ended
            return False
        self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)
