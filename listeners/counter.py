"""Listener `counter`: numbers in files that only grow, as a rate per second and as a total."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from gateway.clock import boot_id
from gateway.paths import hidden
from gateway.plugin import bad, good
from gateway.settings import convert
from gateway.text.numeral import SPACE, NotANumber, parse
from gateway.text.words import failure
from listeners.entries import Entries, EntrySampler, Troubled
from listeners.files import read_once
from listeners.state_file import StateFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.plugin import Finding, Machine
    from listeners.entries import Entry

_KEEP_EVERY = 3600.0
"""Seconds between two writes of the totals; after a kill the counter itself shows what came since.

A counter that was reset does not, so they are written at once when one is reset or new.
"""

_ROUNDED = 6
"""Decimals of a rate; one count per day is 0.000012."""


def increase(before: float, now: float) -> float | None:
    """Return by how much a counter of 16, 32 or 64 bits went on, None if it was set back.

    A smaller number is a wrap only from the top tenth of the smallest such range into its lowest tenth.
    """
    if now >= before:
        return now - before
    size = next((1 << bits for bits in (16, 32, 64) if before < 1 << bits), 0)
    return now + size - before if before * 10 >= size * 9 and now * 10 < size else None


class Counted(NamedTuple):
    """What a counter showed at a second of the monotonic clock, and its total, which no reset ends.

    The second is None for what an earlier run has kept: the time of that reading is unknown.
    """

    shown: float
    at: float | None
    total: float

    def advance(self, shown: float, at: float) -> tuple[float | None, Counted]:
        """Return the rate per second since then, None after a reset or a start, and what is counted now."""
        more = increase(self.shown, shown)
        passed = 0 if self.at is None else at - self.at
        rate = None if more is None or passed <= 0 else round(more / passed, _ROUNDED)
        return rate, Counted(shown, at, self.total + (shown if more is None else more))


def read_number(path: Path) -> float:
    """Return the number that a file has; OSError if there is none. No pipe or device is waited for.

    The message quotes what is there instead, which may differ each time; the fault that is counted is the
    same.
    """
    try:
        text = read_once(path, 100).decode("ascii", "replace").strip(SPACE)
    except FileNotFoundError as error:
        error.strerror = f"{error.strerror}: {why}" if (why := hidden(path)) else error.strerror
        raise
    try:
        number = parse(text)
    except NotANumber:
        number = None
    if number is None or number < 0:
        raise Troubled(f"{path}: a number expected, not {text[:20] or 'nothing'}", "no number", ())
    return number


@dataclass(frozen=True)
class Counters(Entries):
    """The files: `counterN = PATH | Dummy`, with a label after a comma."""

    PREFIX: ClassVar = "counter"

    @classmethod
    def parse(cls, text: str) -> Path:
        """Return the path."""
        path: Path = convert(Path, text)
        return path


@dataclass(kw_only=True)
class Counter(EntrySampler):
    """Reads counters; counterN has its rate per second at index 2N - 1 and its total at 2N."""

    KINDS: ClassVar = (("rate", "/s"), ("total", ""))

    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._counted: dict[str, Counted] = {}
        self._sampled: dict[str, Sequence[float | None]] = {}

    @property
    def entries(self) -> Counters:
        """The files."""
        return self.counters

    def open(self) -> None:
        """Recall the totals. A kernel file's counts of an earlier boot are gone, and not part of it."""
        self._state_file = StateFile(self, "counter", _KEEP_EVERY)
        for path, found in self._state_file.read().items():
            if path not in self._counted and isinstance(found, list) and len(found) == 3:
                shown, total, boot = found
                if all(isinstance(number, int | float) and isfinite(number) for number in (shown, total)):
                    is_new = boot != boot_id() and path.startswith(("/sys/", "/proc/"))
                    self._counted[path] = Counted(0 if is_new else shown, None, total)

    def close(self) -> None:
        """Keep the totals."""
        if self._counted:
            self._keep()

    def sample(self) -> Sequence[float | None]:
        """Return the rates and totals."""
        self._sampled.clear()
        before = self._counted.copy()
        values = super().sample()
        began = any(
            path not in before or counted.shown < before[path].shown
            for path, counted in self._counted.items()
        )
        if began or self._state_file.is_due():
            self._keep()
        return values

    def sample_entry(self, number: int, entry: Entry) -> Sequence[float | None]:  # noqa: ARG002  (a file says all)
        """Return rate and total of a file, which is read once; OSError if it has no number."""
        if entry.text in self._sampled:
            return self._sampled[entry.text]
        shown, at = read_number(entry.what), self.clock.monotonic()
        before = self._counted.get(entry.text)
        rate, counted = before.advance(shown, at) if before else (None, Counted(shown, at, shown))
        self._counted[entry.text] = counted
        self._sampled[entry.text] = (rate, counted.total)
        return rate, counted.total

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Say which files have no number, or one that the user may not read."""
        for entry in self.counters.named().values():
            if closed := machine.unreadable(entry.what):
                yield from closed
                continue
            try:
                read_number(machine.path(entry.what))
            except OSError as error:
                yield bad(failure(error), "one number that grows is expected there: correct the path")
            else:
                yield good(f"{entry.what} has a number")

    def _keep(self) -> None:
        named = {entry.text for entry in self.counters.named().values()}
        self._state_file.write(
            {
                path: [counted.shown, counted.total, boot_id()]
                for path, counted in self._counted.items()
                if path in named
            }
        )
