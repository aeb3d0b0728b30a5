"""Sends one command at a time, at least a second apart, and waits for the line that answers it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple

from listeners.lines import Ignored

if TYPE_CHECKING:
    from gateway.clock import Clock

SPACING = 1.0  # seconds: a board stores each setting before it listens again
PATIENCE = 3.0  # seconds: at 9600 baud the help, which ends with the answer, takes half of them


class Command(NamedTuple):
    """What is sent to the board, and which line answers it."""

    text: bytes
    is_answer: Callable[[Ignored], bool]


Talk = Generator[Command, Ignored | None, None]
"""Yields a command and receives the line that answers it, or None."""


class Conversation:
    """Carries on one talk with the board after another. Lines and the time go in, commands come out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[Talk] = deque()
        self._talk: Talk | None = None
        self._command: Command | None = None
        self._sent = b""
        self._deadline: float | None = None
        self._free = clock.monotonic() + SPACING  # opening may have reset the board

    @property
    def due(self) -> float | None:
        """When `speak` is to be called, by the monotonic clock; None: not before the next line."""
        if self._deadline is not None:
            return self._deadline
        return self._free if self._command or self._waiting else None

    @property
    def is_idle(self) -> bool:
        """Whether there is no talk going on or waiting."""
        return self._talk is None and not self._waiting

    def has_just_sent(self, text: bytes) -> bool:
        """Tell whether this was the last command, so recent that a line may still belong to its answer."""
        return self._sent == text and self._clock.monotonic() < self._free

    def begin(self, talk: Talk, *, first: bool = False) -> None:
        """Put a talk after those that wait, or before them."""
        if first:
            self._waiting.appendleft(talk)
        else:
            self._waiting.append(talk)

    def hear(self, said: Ignored) -> None:
        """Take in a line that is not a packet."""
        if self._command and self._deadline is not None and self._command.is_answer(said):
            self._go_on(said)

    def speak(self) -> bytes:
        """Return what is to be written now, b"" for nothing."""
        now = self._clock.monotonic()
        if self._deadline is not None and now >= self._deadline:
            self._go_on(None)
        while self._talk is None and self._waiting:
            self._talk = self._waiting.popleft()
            self._go_on(None)
        if self._command is None or self._deadline is not None or now < self._free:
            return b""
        self._deadline = now + PATIENCE
        self._free = now + SPACING
        self._sent = self._command.text
        return self._sent

    def _go_on(self, said: Ignored | None) -> None:
        self._command = self._deadline = None
        if self._talk is not None:
            try:
                self._command = self._talk.send(said)
            except StopIteration:
                self._talk = None
