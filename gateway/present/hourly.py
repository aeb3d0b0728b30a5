"""One line an hour that says what went through, so that a log without trouble is not empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.present.status import Status

HOUR = 3600.0


class Hourly:
    """Makes the line from the status, and remembers the counts of an hour ago."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], int] = {}

    def line(self, status: Status) -> str:
        """Return what went through since the last line, what waits, and how much was at fault."""
        counts = {("frames", name): about.frames for name, about in status.sections.items()}
        counts |= {("failures", name): about.failures for name, about in status.sections.items()}
        counts |= {("faults", name): sum(about.faults.values()) for name, about in status.listeners.items()}
        new = {key: _grown(self._before.get(key, 0), count) for key, count in counts.items()}
        self._before = counts
        came = _frames({name: new["frames", name] for name in status.listeners})
        went = _frames({name: new["frames", name] for name in status.dispatchers})
        waiting = [f"{name} {about.queue.waiting}" for name, about in status.dispatchers.items()]
        failures = [f"{name} {new['failures', name]}" for name in status.sections if new["failures", name]]
        return (
            f"in the last hour {came} in, {went} out; waiting: {', '.join(waiting) or 'none'}; "
            f"faults of sensors and lines: {sum(new['faults', name] for name in status.listeners)}"
            + (f"; failures: {', '.join(failures)}" if failures else "")
        )


def _grown(before: int, count: int) -> int:
    """Return how much a count has grown; it starts at zero when its section is opened again."""
    return count - before if count >= before else count


def _frames(counts: Mapping[str, int]) -> str:
    each = ", ".join(f"{name} {count}" for name, count in counts.items())
    return f"{sum(counts.values())} frames" + (f" ({each})" if len(counts) > 1 else "")
