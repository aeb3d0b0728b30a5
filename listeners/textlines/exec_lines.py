"""Lines `node v1 v2 ...` or `node name:value ...` from a program of the user's."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.flag import wait_readable
from gateway.nodes import check_id
from gateway.process.log_limit import LimitedLog
from gateway.settings import setting
from listeners.lines import LONGEST_LINE, Lines, Rejected
from listeners.tally import CountingListener
from listeners.textlines.keyvalue import Pairs, decode_pairs
from listeners.textlines.program import Program
from listeners.textlines.value_lines import Values
from listeners.textlines.value_lines import decode as decode_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.flag import Flag
    from gateway.frame import Frame
    from gateway.plugin import Finding, Machine
    from listeners.lines import Ignored

_OF_A_SHELL = ("|", "||", "&", "&&", ";", "<", ">", ">>", "2>&1")
_READ = 65536  # bytes, which is what a pipe holds
_PACE = 10.0  # seconds from one start to the next of a program that gives readings and ends
_SILENCE = 600.0
"""Seconds without output after which an ended program is restarted, even if its output is still open."""
_ERRORS = 50
"""How many lines of its stderr are logged in an hour: a traceback is one of a dozen."""


def decode(line: str) -> Values | Pairs | Ignored | Rejected:
    """Return what a line says; no line raises an exception."""
    if ":" not in line or len(line) > LONGEST_LINE:
        return decode_values(line)
    node, *tokens = line.rstrip(" ").split(" ")
    try:
        check_id(node)
    except ValueError:
        return Rejected("bad-node")
    pairs = decode_pairs(tokens)
    return pairs._replace(node=node) if isinstance(pairs, Pairs) else pairs


def split(command: Sequence[str]) -> list[str]:
    """Return a program and its arguments, from a list or from one text as a shell would split it.

    The path of a program may have spaces.
    """
    is_list = len(command) > 1 or _is_program(command[0])
    return list(command) if is_list else shlex.split(command[0])


def _is_program(text: str) -> bool:
    return os.path.isabs(text) and os.path.isfile(text)  # noqa: PTH113, PTH117  (it may be out of reach)


def _check_command(command: Sequence[str]) -> None:
    try:
        program = "".join(split(command)[:1])
    except ValueError as error:
        raise ValueError(f"a program and its arguments expected: {str(error).lower()}") from None
    if not program:
        raise ValueError("a program and its arguments expected, not nothing")
    if "/" in program and not program.startswith("/"):
        raise ValueError(f"the name of a program or its absolute path expected, not {program}")
    if len(command) > 1 and " " in program and not _is_program(program):
        raise ValueError(
            f"a program expected before the comma, not {program} (text with a comma needs quotes)"
        )


@dataclass(kw_only=True)
class ExecLines(CountingListener):
    """Runs the program of `command` and listens to what it prints.

    The program should not end; if it does it is started again after a pause. No shell is involved.
    """

    command: tuple[str, ...] = setting(
        check=_check_command, hint="the program that prints lines, such as /usr/local/bin/read-meter"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._program: Program | None = None

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Point out what only a shell understands."""
        words = split(self.command)
        for word in words:
            if word in _OF_A_SHELL or (word.endswith(";") and " " not in word):
                yield (
                    "command",
                    f"no shell reads it, and {word} is an argument of {words[0]}: try sh -c '...'",
                )
                return

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Say which file of the command the user may not read: a script that its interpreter is given."""
        words = split(self.command)
        yield from machine.unreadable(*(Path(word) for word in words[1:] if re.match(r"/(?!dev/)", word)))

    def open(self) -> None:
        """Start the program; OSError if it cannot be started."""
        self._program = program = Program(split(self.command))
        self._sources = [program.out, program.err]
        self._lines, self._error_lines = Lines(LONGEST_LINE), Lines(LONGEST_LINE)
        self._last_error = ""
        self._started, self._works = self.clock.monotonic(), False

    def close(self) -> None:
        """End the program, and what it has started."""
        if self._program is not None:
            self._program.end()
            self._program = None

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for lines and return the frames they hold; OSError when the program has ended."""
        program = self._program
        if program is None:
            raise OSError("the program is not running")
        while not stop.is_set():
            ready = wait_readable([stop, *self._sources], _SILENCE)
            if not ready and program.has_ended:
                raise self._ended(program, stop)
            if program.err.fileno() in ready:
                data = os.read(program.err.fileno(), _READ)
                self._hear_errors(data or b"\n")  # a last line without a line end counts too
                if not data:
                    self._sources.remove(program.err)
            if program.out.fileno() in ready and (frames := self._hear(program, stop)):
                self._works = True
                return frames
        return []

    def _hear(self, program: Program, stop: Flag) -> list[Frame]:
        data = os.read(program.out.fileno(), _READ)
        if not data:
            raise self._ended(program, stop)
        stamp = self.clock.now()
        lines = self._lines.feed(data) + self._lines.cut()
        return [frame for line in lines if (frame := self.frame(decode(line), stamp, line))]

    def _hear_errors(self, data: bytes) -> None:
        for line in filter(None, self._error_lines.feed(data)):
            self._last_error = line
            self._error_log.warning("the program says: %.200a", line)

    @cached_property
    def _error_log(self) -> LimitedLog:
        """Logs what it says: a program that is started every ten seconds says the same all day."""
        return LimitedLog(self.log, self.clock.monotonic, _ERRORS)

    def _ended(self, program: Program, stop: Flag) -> OSError:
        """Return how the program has ended, after a pause if it gave readings: then it is started again."""
        outcome = program.outcome()
        rest = os.read(program.err.fileno(), _READ) if wait_readable([program.err], 0) else b""
        self._hear_errors(rest + b"\n")
        if self._lines.unfinished:
            self.refuse("unterminated", self._lines.unfinished.decode("ascii", "replace"))
        self.close()
        if self._works:
            stop.wait(self._started + _PACE - self.clock.monotonic())
        last = f": {self._last_error!a:.200}" if self._last_error else ""
        return OSError(f"{split(self.command)[0]} {outcome}{last}")
