"""The time that a device gives with its reading, as far as it can be believed."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.text.numeral import NotANumber, from_json
from gateway.version import MADE

if TYPE_CHECKING:
    from gateway.frame import Stamp

_PAST, _FUTURE = 10 * 365.25 * 86400.0, 60.0
"""How many seconds a reading may lie before and after this machine's time."""

_AHEAD = 5 * 366 * 86400.0
"""Seconds that a device may be ahead of a clock that is not set, or of this version where that shows 1970.

A time beyond that is a fault of the device, such as 2036, where the time of NTP begins anew. Of one beyond
2038 Emoncms' database makes an error, for which everything would wait.
"""


def unix_time(when: object) -> float:
    """Return a time in seconds or ISO 8601 as Unix time, NaN where it is neither.

    Without a zone it is in UTC, as in a server whose PHP has no other set.
    """
    try:
        return from_json(when) or math.nan
    except NotANumber:
        pass
    if not isinstance(when, str):
        return math.nan
    try:
        found = datetime.fromisoformat(when)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, OSError):
        return math.nan


def absolute(wall: float, now: Stamp) -> Stamp | None:
    """Return the stamp of a device's own time, which a correction of our clock does not change.

    None where that time is impossible.
    """
    stamp = relative(wall - now.wall, now)
    return stamp and replace(stamp, wall=wall, boot="")


def ahead(wall: float, now: Stamp) -> Stamp | None:
    """Return the stamp of a device's own time that our clock, which may not be set yet, has not come to.

    None where that time is impossible.
    """
    is_possible = now.wall < wall <= max(now.wall, MADE) + _AHEAD
    return replace(now, wall=wall, boot="") if is_possible else None


def relative(seconds: float, now: Stamp) -> Stamp | None:
    """Return the stamp of so many seconds from now; None where that is impossible."""
    if not -_PAST <= seconds <= _FUTURE:
        return None
    return replace(now, wall=now.wall + seconds, boottime=now.boottime + seconds)
