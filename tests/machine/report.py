"""What was measured, a row each, printed as soon as it is known."""

from __future__ import annotations

import sys
import time


class Report:
    """The table; `scenario` is the name in its first column."""

    def __init__(self) -> None:
        self.scenario = ""
        self.failed: list[str] = []
        self._began = self._lap = time.monotonic()

    def row(self, what: str, figure: str, *, ok: bool = True, details: str = "") -> bool:
        """Print what was measured, the figure and the verdict; details only where it failed."""
        _say(f"{self.scenario:9} {what:62} {figure:>24}  {'ok' if ok else 'FAILED'}")
        if not ok:
            self.failed.append(f"{self.scenario}: {what}")
            _say("".join(f"          | {line}\n" for line in details.splitlines()).rstrip("\n"))
        return ok

    def lap(self) -> str:
        """Return how long it is since this was last asked."""
        before, self._lap = self._lap, time.monotonic()
        return f"{self._lap - before:.0f} s"

    def end(self) -> int:
        """Print the sum and return the exit status."""
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        _say(f"{minutes} min {seconds:02} s; " + ("all passed" if not self.failed else "FAILED:"))
        for each in self.failed:
            _say(f"  {each}")
        return 1 if self.failed else 0


def _say(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
