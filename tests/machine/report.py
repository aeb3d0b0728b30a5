"""What was measured, a row each, printed as soon as it is known."""

from __future__ import annotations

import sys
import threading
import time


class Report:
    """The whole table; several scenarios may write into it at the same time."""

    def __init__(self) -> None:
        self._failed: list[str] = []
        self._lock = threading.Lock()
        self._began = time.monotonic()

    def say(self, text: str, failed: str = "") -> None:
        """Print some lines; `failed` is what to name at the end."""
        with self._lock:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
            if failed:
                self._failed.append(failed)

    def end(self) -> int:
        """Print the sum and return the exit status."""
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        verdict = "all passed" if not self._failed else "FAILED:"
        self.say("\n  ".join([f"{minutes} min {seconds:02} s; {verdict}", *self._failed]))
        return 1 if self._failed else 0


class Rows:
    """The rows of one scenario."""

    def __init__(self, report: Report, scenario: str) -> None:
        self._report = report
        self._scenario = scenario
        self._began = time.monotonic()

    def row(self, what: str, figure: str, *, ok: bool = True, details: str = "") -> None:
        """Print what was measured, the figure and the verdict; details only where it failed."""
        line = f"{self._scenario:9} {what:76} {figure:>16}  {'ok' if ok else 'FAILED'}"
        more = [] if ok else [f"          | {each}" for each in details.splitlines()]
        self._report.say("\n".join([line, *more]), "" if ok else f"{self._scenario}: {what}")

    def took(self) -> str:
        """Return how long it is since the first of them was begun."""
        return f"{time.monotonic() - self._began:.0f} s"
