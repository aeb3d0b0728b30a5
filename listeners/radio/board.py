"""What is sent to a board: its settings if they differ, the time, and orders of clients.

Lines and the time go in, commands come out: nothing here reads, writes or waits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from listeners.radio.commands import (
    ASK,
    DIGITS_FIRST,
    LETTERS_FIRST,
    Message,
    Order,
    Question,
    Setting,
    time_broadcast,
)
from listeners.radio.conversation import Command, Conversation, Talk
from listeners.radio.grammar import Comment, Configuration, Sent

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Generator, Mapping

    from gateway.clock import Clock
    from listeners.lines import Ignored
    from listeners.radio.commands import Dialect

    Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

_TRIES = 3

NAMES = {"g": "group", "b": "frequency", "i": "baseid", "q": "quiet"}


class Board:
    """A board that has just been opened, and is to have the `wanted` settings, by their letters.

    If nothing is wanted, nothing is sent. No command to store the settings is sent (RF12demo stores them
    by itself; the firmware of 2023 would on `s`): a board that has restarted is set up again.
    """

    def __init__(self, wanted: Mapping[str, int], clock: Clock, log: Log, *, time_every: float = 0) -> None:
        self.settings: dict[str, int] = {}
        self.troubles: list[str] = []
        self._left_as: dict[str, int] = {}
        self._wanted = wanted
        self._clock = clock
        self._log = log
        self._dialect: Dialect | None = None
        self._time_every = time_every
        self._time_due: float | None = None
        self._time_arrives = True
        self._answers = True
        self._restarts = False
        self._conversation = Conversation(clock)
        if wanted or time_every:
            self._conversation.begin(self._set_up())

    @property
    def due(self) -> float | None:
        """When `speak` is to be called, by the monotonic clock; None: not before the next line."""
        return self._time_due if self._conversation.due is None else self._conversation.due

    def hear(self, said: Ignored) -> None:
        """Take in a line that is not a packet."""
        if isinstance(said, Configuration | Comment) and self._dialect in (None, _dialect_of(said)):
            self.settings |= said.settings
        if self._has_restarted(said):
            if self._conversation.is_idle:
                self._conversation.begin(self._set_up())
            elif self._dialect is not None and said.kind == "banner":
                self._restarts = True
        self._conversation.hear(said)

    def speak(self) -> bytes:
        """Return what is to be written now, b"" for nothing."""
        if self._time_due is not None and self._clock.monotonic() >= self._time_due:
            self._time_due = None
            self._conversation.begin(self._tell_time(), first=True)
        return self._conversation.speak()

    def relay(self, order: Order, done: Callable[[str], None]) -> None:
        """Carry out an order after those before it; `done` gets "" when the board confirms it, or why not."""
        self._conversation.begin(self._relay(order, done))

    def _has_restarted(self, said: Ignored) -> bool:
        if not (self._wanted or self._time_every):
            return False
        if self._dialect is None or _dialect_of(said) not in (None, self._dialect):
            return _introduces(said)
        if said.kind == "banner":
            return not self._conversation.has_just_sent(ASK)
        return isinstance(said, Configuration) and self.settings != self._left_as

    def _set_up(self) -> Talk:
        self._restarts = False
        dialect = yield from self._greet()
        if dialect is None:
            return
        if self._time_every and dialect.sends_bytes:
            self._time_due = self._clock.monotonic()
        elif self._time_every:
            self._log.warning("sendtimeinterval: the time is not sent: this board's firmware sends text only")
        for _ in range(_TRIES):
            if not self.settings:
                yield from self._ask(dialect)
            if not (missing := self._missing()):
                break
            for order in missing:
                said = yield Command(dialect.spell(order), _confirms(order))
                if not (said and dialect.tells_all):
                    self.settings.clear()
        if not self.settings:
            yield from self._ask(dialect)
        if self._restarts and self._missing():  # it may have forgotten what it was given, not refused it
            self._conversation.begin(self._set_up())
        else:
            self._report()

    def _greet(self) -> Generator[Command, Ignored | None, Dialect | None]:
        """Find out which firmware it has, and with RF12demo also its settings."""
        self._dialect = None
        self.settings.clear()
        for _ in range(_TRIES):
            if said := (yield Command(ASK, _introduces)):
                self._dialect = _dialect_of(said)
                self._answers = True
                self.troubles = []
                return self._dialect
        if self._answers:
            self._answers = False
            self.troubles = [
                "the board does not answer, and keeps its settings: check baud and the wire to its RX"
            ]
            self._log.warning(*self.troubles)
        return None

    def _ask(self, dialect: Dialect) -> Talk:
        for question in dialect.questions:
            if (yield Command(question, _tells_node)):
                return

    def _missing(self) -> list[Setting]:
        """Return the settings that differ; `quiet` only if the firmware has it."""
        return [
            Setting(letter, value)
            for letter, value in self._wanted.items()
            if self.settings.get(letter) != value and (letter in self.settings or letter != "q")
        ]

    def _report(self) -> None:
        self._left_as = dict(self.settings)
        missing = self._missing()
        advice = "set it in a terminal (some boards have a lock), or configure the value that it has"
        self.troubles = [
            f"{NAMES[letter]}: the board keeps {self.settings.get(letter, 'a value that it does not print')} "
            f"and does not accept {value}: {advice}"
            for letter, value in missing
        ]
        for trouble in self.troubles:
            self._log.warning(trouble)
        if self._wanted.get("q") == 0 and "q" not in self.settings:
            self._log.warning("quiet: this board's firmware never prints damaged packets")
        has = [
            f"{NAMES[letter]} {self.settings[letter]}" for letter in self._wanted if letter in self.settings
        ]
        if has and not missing:
            self._log.info("the board has %s", ", ".join(has))

    def _tell_time(self) -> Talk:
        self._time_due = self._clock.monotonic() + self._time_every
        local = time.localtime(self._clock.wall())
        said = yield Command(time_broadcast(local.tm_hour, local.tm_min), _sends)
        if self._time_arrives and not said:
            self._log.warning("the board does not confirm that it has sent the time")
        self._time_arrives = bool(said)

    def _relay(self, order: Order, done: Callable[[str], None]) -> Talk:
        dialect = self._dialect or (yield from self._greet())
        if dialect is None:
            done("the board does not answer")
            return
        try:
            text = dialect.spell(order)
        except ValueError as refusal:
            done(str(refusal))
            return
        done(_outcome(order, (yield Command(text, _confirms(order)))))


def _dialect_of(said: Ignored) -> Dialect | None:
    match said:
        case Configuration():
            return DIGITS_FIRST
        case Comment():
            return LETTERS_FIRST
    return None


def _introduces(said: Ignored) -> bool:
    # Only these: to a board that takes digits first, a leading g means group 0.
    return isinstance(said, Configuration) or (isinstance(said, Comment) and said.kind == "banner")


def _tells_node(said: Ignored) -> bool:
    # In every form the node is the last of the settings.
    return isinstance(said, Configuration | Comment) and "i" in said.settings


def _sends(said: Ignored) -> bool:
    return isinstance(said, Sent)


def _confirms(order: Order) -> Callable[[Ignored], bool]:
    """Return the test for the line that shows the outcome of an order."""
    match order:
        case Setting(letter):
            return lambda said: isinstance(said, Configuration | Comment) and letter in said.settings
        case Message():
            return _sends
        case Question():
            return _introduces


def _outcome(order: Order, said: Ignored | None) -> str:
    """Return "" if an order was carried out, otherwise what happened."""
    match order, said:
        case _, None:
            return "the board does not confirm it"
        case Message(data), Sent(length=length) if length != len(data):
            return f"the board has sent {length} bytes of {len(data)}"
        case Setting(letter, value), (Configuration() | Comment()) if said.settings[letter] != value:
            return f"the board keeps {said.settings[letter]}"
    return ""
