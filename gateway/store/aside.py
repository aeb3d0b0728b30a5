"""Files next to another: those set aside, renamed or copied with their date, are never deleted."""

from __future__ import annotations

import os
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = 1_000_000
"""Files that are kept in one day."""


def rescue_of(path: Path) -> Path:
    """Return the name of the new file during the rescue of a damaged one."""
    return path.with_name(f"{path.name}.rescue")


def free_name(path: Path, what: str = "damaged") -> int:
    """Return, for `named`, a name that nothing has: the days until today, and a number."""
    number = date.today().toordinal() * _NAMES + 1  # noqa: DTZ011
    while os.path.lexists(named(path, number, what)):
        number += 1
    return number


def named(path: Path, number: int, what: str = "damaged") -> Path:
    """Return the name under which such a file is kept: queue.db.damaged-2026-11-28.2, of that day."""
    day, count = divmod(number, _NAMES)
    name = f"{path.name}.{what}-{date.fromordinal(day).isoformat()}"
    return path.with_name(name if count == 1 else f"{name}.{count}")
