"""Counts the lines that match patterns, in a process that is killed when a pattern runs away."""

from __future__ import annotations

import marshal
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from gateway.flag import wait_readable
from listeners.lograte import child
from listeners.lograte.pattern import MAGIC, compiled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.flag import Flag

LIMIT = 5.0
"""Seconds of processor time that a pattern may take for one piece of text."""

_PATIENCE = 60.0
"""Seconds for an answer; a busy machine, or one that was asleep, is not a pattern's fault."""

_MUCH = LIMIT / 10
"""Seconds of processor time after which a missing answer is a pattern's fault, even on a busy machine."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Matcher:
    """Counts matches by pattern; `runaways` are those that took too long, which are left out from then on."""

    def __init__(self, patterns: Iterable[str], runaways: Iterable[str] = ()) -> None:
        self.runaways = set(runaways)
        self._patterns = {pattern: compiled(pattern) for pattern in patterns}
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: list[str] = []

    def count(self, text: bytes, stop: Flag) -> Counter[str] | None:
        """Return how many lines of a text, of at most a pipe's 64 KB, match each pattern; None when stopped.

        Raises OSError if the process does not do its work.
        """
        counts: Counter[str] = Counter()
        while left := [p for p in self._patterns if p not in self.runaways and p not in counts]:
            if not self._ask(left, text, counts, stop):
                return None
        return counts

    def _ask(self, patterns: list[str], text: bytes, counts: Counter[str], stop: Flag) -> bool:
        pieces, process = [text], self._process
        if process is None or self._asked != patterns:
            process, self._asked = self._start(), patterns
            pieces.insert(0, marshal.dumps((MAGIC, LIMIT, [self._patterns[each] for each in patterns])))
        pipe, answers = cast("tuple[IO[bytes], IO[bytes]]", (process.stdin, process.stdout))
        try:
            for piece in pieces:
                data = memoryview(child.packed(len(piece)) + piece)
                while data:
                    data = data[pipe.write(data) :]
        except OSError:
            self.close()
            raise
        for pattern in patterns:
            answer, before = b"", _processor_s(process.pid)
            while len(answer) < 4:
                ready = wait_readable([stop, answers], _PATIENCE)
                if not ready or stop.fileno() in ready:
                    used = _processor_s(process.pid) - before
                    self.close()
                    if ready:
                        return False
                    if used < _MUCH:
                        raise OSError(f"no answer of what matches patterns within {_PATIENCE:g} s")
                    self.runaways.add(pattern)
                    return True
                piece = os.read(answers.fileno(), 4 - len(answer))
                if not piece:
                    self._note_end(pattern)
                    return True
                answer += piece
            counts[pattern] = int.from_bytes(answer, "little")
        return True

    def _start(self) -> subprocess.Popen[bytes]:
        self.close()
        self._process = subprocess.Popen(  # noqa: S603  (Python itself)
            [sys.executable, "-I", "-S", child.__file__],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
        return self._process

    def _note_end(self, pattern: str) -> None:
        """Note why the process ended while it had to answer for a pattern."""
        status = self.close()
        if status != -signal.SIGVTALRM:
            raise OSError(f"the process that matches patterns has ended with status {status}")
        self.runaways.add(pattern)

    def close(self) -> int | None:
        """End the process, and return its status."""
        process, self._process = self._process, None
        if process is None:
            return None
        with process:  # which closes the pipes
            process.kill()
        return process.returncode


def _processor_s(pid: int) -> float:
    """Return how many seconds of processor time a process of ours has had."""
    about = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")  # proc(5); the name is in brackets
    return int(about.rpartition(")")[2].split()[11]) / _TICKS
