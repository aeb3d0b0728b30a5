"""The time that a device gives with its reading, as far as it can be believed."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.text.numeral import NotANumber, from_json
from gateway.version import MADE

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.frame import Stamp

_PAST, _FUTURE = 10 * 365.25 * 86400.0, 60.0
"""How many seconds a reading may lie before and after this machine's time."""

_AHEAD = 5 * 366 * 86400.0
"""Seconds that a device may be ahead of a clock that is not set, or of this version if the clock shows 1970.

A time beyond that is a fault of the device, such as 2036, when the seconds of NTP start again at 0. Emoncms's
database refuses a time beyond 2038, and everything would wait for it.
"""


def unix_time(when: object) -> float:
    """Return a time in seconds or ISO 8601 as Unix time, NaN if it is neither.

    Without a zone it is UTC, as on a server whose PHP has no zone set.
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

    None if that time is impossible.
    """
    stamp = relative(wall - now.wall, now)
    return stamp and replace(stamp, wall=wall, boot="")


def believed(wall: float, now: Stamp, is_sure: Callable[[], bool]) -> Stamp | None:
    """Return the stamp of a device's own time, also of one ahead of our clock; None if it is impossible.

    It may be ahead unless `is_sure` says that our clock is right: what a device kept while this machine was
    off would otherwise all have the time of its arrival.
    """
    if stamp := absolute(wall, now):
        return stamp
    is_possible = now.wall < wall <= max(now.wall, MADE) + _AHEAD
    return replace(now, wall=wall, boot="") if is_possible and not is_sure() else None


def relative(seconds: float, now: Stamp) -> Stamp | None:
    """Return the stamp of so many seconds from now; None if that is impossible."""
    if not -_PAST <= seconds <= _FUTURE:
        return None
    return replace(now, wall=now.wall + seconds, boottime=now.boottime + seconds)
