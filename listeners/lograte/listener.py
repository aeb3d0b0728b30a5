"""Listener `lograte`: how many lines of a log file match each pattern, in each interval and in all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from gateway.paths import hidden
from gateway.plugin import at_least, bad, good, setting
from gateway.process.log_limit import LogLimit
from listeners.entries import Entries, EntrySampler
from listeners.lograte.follower import Follower
from listeners.lograte.matcher import Matcher
from listeners.lograte.pattern import translate
from listeners.state_file import StateFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.plugin import Finding, Flag, Frame, Machine
    from listeners.entries import Entry

_KEEP_EVERY = 600.0
"""Seconds between two writes of position and totals, which belong together: a kill costs none of either."""

_KEPT_RUNNING = 30.0
"""In seconds, the interval from which on the process is ended in between: it takes 10 MB, and starts fast."""

_LIST = 0o5
"""Permission bits that a user needs to read what is in a directory."""

_SHARE = 0.5
"""The part of an interval in which the file is read; what is left then is counted in the next."""
_LATE = 1.5
"""Intervals after which a count no longer counts for an interval, and is only in the total."""


@dataclass(frozen=True)
class Patterns(Entries):
    """The patterns: `patternN = REGULAR EXPRESSION | Dummy`, with a label after a comma."""

    PREFIX: ClassVar = "pattern"

    @classmethod
    def parse(cls, text: str) -> str:
        """Return the pattern, if it is one."""
        if not text:
            raise ValueError("a regular expression or Dummy expected, not nothing")
        translate(text)
        return text


@dataclass(kw_only=True)
class Lograte(EntrySampler):
    """Counts matches; patternN has those of the interval at index 2N - 1, and all so far at 2N."""

    KINDS: ClassVar = (("count", ""), ("total", ""))

    file: Path = setting(hint="the log whose lines are counted, such as /var/log/auth.log")
    olddir: Path | None = setting(None)
    interval: float = setting(60.0, check=at_least(1))
    patterns: Patterns = field(default_factory=Patterns)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._follower: Follower | None = None
        self._counted_at: float | None = None
        self._lost_limit = LogLimit()

    @property
    def entries(self) -> Patterns:
        """The patterns."""
        return self.patterns

    def open(self) -> None:
        """Go on where it was; at the first start, at the end of the file."""
        self._state_file = StateFile(self, "lograte", _KEEP_EVERY)
        kept = self._state_file.read()
        if kept.get("file") != str(self.file):
            kept = {}
        named = {entry.what for entry in self.patterns.named().values()}
        totals = kept.get("totals")
        self._totals = Counter(
            {
                pattern: total
                for pattern, total in (totals.items() if isinstance(totals, dict) else ())
                if pattern in named and isinstance(total, int)
            }
        )
        off = kept.get("off")
        words = {each for each in off if isinstance(each, str)} if isinstance(off, list) else set()
        self._matcher = Matcher(named, named & words)
        self._follower = Follower(self.file, kept, self.clock.monotonic, self.olddir)
        self._counted_at = None
        if self._follower.is_first:
            self._follower.begin()
        self._keep(self._follower)  # a kill from now on costs nothing

    def close(self) -> None:
        """End the process, and keep where it is."""
        if self._follower:
            self._keep(self._follower)
            self._matcher.close()
            self._follower.close()
            self._follower = None

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for the end of the interval, and return what was counted."""
        self._stop = stop
        return super().read(stop)

    def sample(self) -> Sequence[float | None]:
        """Return the matches of the interval and in all; gaps where the file cannot be read.

        What was not read in time, as after a restart, is only in the total.
        """
        if self._follower is None:
            raise OSError("the file is not open")
        now = self.clock.monotonic()
        is_late = self._counted_at is None or now - self._counted_at > _LATE * self.interval
        is_late |= self._follower.is_behind
        self._counts: Counter[str] = Counter()
        self._trouble = ""
        try:
            for lines in self._follower.poll(self._is_over_at(now + self.interval * _SHARE)):
                found = self._matcher.count(lines, self._stop)
                if found is None:  # stopped: what was not counted is there at the next start
                    return ()
                self._counts += found
                self._totals += found
        except FileNotFoundError:
            why = hidden(self.file)
            self._trouble = f"{self.file} is missing" + (f": {why}" if why else "")
        except PermissionError:
            self._trouble = f"{self.file} may not be read: `oemgateway doctor` says what to do"
        self._note_lost(self._follower)
        if self.interval >= _KEPT_RUNNING:
            self._matcher.close()
        self._is_late, self._counted_at = is_late or self._follower.is_behind, now
        values = super().sample()
        if self._state_file.is_due() or self._follower.has_rotated:
            self._keep(self._follower)
        return values

    def _is_over_at(self, until: float) -> Callable[[], bool]:
        return lambda: self._stop.is_set() or self.clock.monotonic() >= until

    def sample_entry(self, number: int, entry: Entry) -> Sequence[float | None]:  # noqa: ARG002  (a pattern says all)
        """Return what was counted of a pattern; OSError if it is not counted."""
        if entry.what in self._matcher.runaways:
            raise OSError("it takes too long, and is off until it is edited")
        if self._trouble:
            raise OSError(self._trouble)
        return None if self._is_late else self._counts[entry.what], self._totals[entry.what]

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Point out a file that never grows."""
        yield from super().remarks()
        if str(self.file).startswith(("/proc/", "/sys/")):
            yield "file", f"no line is ever added to {self.file}: type = counter reads a number there"

    def examine(self, machine: Machine) -> Iterable[Finding]:
        """Say whether the user may read the file."""
        if not machine.exists(self.file):
            yield bad(f"{self.file} is missing", "a log in the journal is read by type = exec and journalctl")
        elif not machine.path(self.file).is_file():
            yield bad(f"{self.file} is no plain file", "name the log itself")
        elif not machine.allows(self.file, 0o4):
            yield bad(
                f"{machine.user} may not read {self.file}",
                f"sudo usermod -aG adm {machine.user} (if its group is adm), and restart the gateway",
            )
        else:
            yield from machine.unreadable(self.file) or [good(f"{machine.user} may read {self.file}")]
        if self.olddir and not (machine.exists(self.olddir) and machine.allows(self.olddir, _LIST)):
            yield bad(f"{machine.user} may not read {self.olddir}", "correct olddir, or its rights")

    def _note_lost(self, follower: Follower) -> None:
        """Note that rotated files are not found; a line in the log, at most one an hour."""
        if not follower.lost:
            return
        self._faults["rotated file not found"] += follower.lost
        follower.lost = 0
        if self._lost_limit.allows("lost", self.clock.monotonic()):
            self.log.warning(
                "a rotated file of %s is not found: what was not read of it is not counted (%s)",
                self.file,
                follower.unreadable or "if it is in another folder, set olddir",
            )

    def _keep(self, follower: Follower) -> None:
        if follower.is_first:
            return  # the file could not be read yet, and will be read from its end
        off = [*self._matcher.runaways]
        self._state_file.write(
            {"file": str(self.file), "totals": self._totals, "off": off, **follower.state()}
        )
