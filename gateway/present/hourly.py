"""One line an hour that says what went through, so that a log without trouble is not empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.present.status import SectionStatus, Status

HOUR = 3600.0


class Hourly:
    """Makes the line from the status, and remembers the counts of an hour ago."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def line(self, status: Status) -> str:
        """Return what went through since the last line, what waits, and how much was at fault."""
        now: dict[str, int] = {}
        came = self._passed(status.listeners, now)
        went = self._passed(status.dispatchers, now)
        waiting = [f"{name} {about.queue.waiting}" for name, about in status.dispatchers.items()]
        faults = sum(
            self._since(f"{name} faults", sum(about.faults.values()), now)
            for name, about in status.listeners.items()
        )
        failures = self._failures(status.sections, now)
        self._before = now
        return (
            f"in the last hour {came} in, {went} out; waiting: {', '.join(waiting) or 'none'}; "
            f"faults of sensors and lines: {faults}{failures}"
        )

    def _failures(self, sections: Mapping[str, SectionStatus], now: dict[str, int]) -> str:
        """Return how often each section has failed, "" where none has."""
        counts = {
            name: self._since(f"{name} failures", about.failures, now) for name, about in sections.items()
        }
        said = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        return f"; failures: {said}" if said else ""

    def _passed(self, sections: Mapping[str, SectionStatus], now: dict[str, int]) -> str:
        counts = {name: self._since(name, about.frames, now) for name, about in sections.items()}
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        return f"{sum(counts.values())} frames" + (f" ({each})" if len(counts) > 1 else "")

    def _since(self, name: str, count: int, now: dict[str, int]) -> int:
        """Return how much a count has grown; one of a section that was opened again starts at zero."""
        now[name] = count
        before = self._before.get(name, 0)
        return count - before if count >= before else count
