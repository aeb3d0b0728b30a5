"""Numbers, times and failures in words, and names that can be told apart."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo


def local(unix: float, zone: tzinfo | None = None) -> datetime:
    """Return a time in a time zone, by default this machine's; in UTC if TZ is impossible."""
    time = datetime.fromtimestamp(unix, UTC)
    with suppress(ValueError):  # a day or more from UTC
        return time.astimezone(zone)
    return time


def span(seconds: float) -> str:
    """Return a duration, such as "3 hours", in the largest unit of which there are at least two."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 2 or not seconds else f"{seconds:.1g} s"


def rate(per_minute: float) -> str:
    """Return how often something comes, rounded, as pauses are never exactly equal: 5.98 a minute is 6."""
    rounded = f"{per_minute:.0f}" if per_minute >= 10 else f"{per_minute:.2g}"
    return f"{rounded} a minute"


def size(count: int) -> str:
    """Return a number of bytes."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def short_span(seconds: float) -> str:
    """Return a duration for a narrow column: 9 s, 5 min, 3 h, 12 days."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def figure(value: float) -> str:
    """Return a value for people: large and whole numbers whole, others with six digits."""
    return (
        f"{value:.0f}" if abs(value) < 1e15 and (abs(value) >= 1e5 or value == value // 1) else f"{value:.6g}"
    )


def as_emoncms_keeps(name: str) -> str:
    """Return the name of a node or an input as Emoncms stores it, without the characters that it drops.

    Spaces stay, even around it: in `{a:1, b:2}` the second name begins with one.
    """
    return re.sub(r"[^\w\s.-]", "", name)


def distinct(names: Sequence[str], *, numbers: bool = False) -> list[str]:
    """Return names by position; the index in place of one that is empty, a number, or there twice.

    With `numbers` a number is a name like any other, unless one of the names needs its index.
    """
    if numbers and all(names) and len({*names}) == len(names):
        return [*names]
    return [
        name if name and not name.isdecimal() and names.count(name) == 1 else str(index)
        for index, name in enumerate(names, 1)
    ]


def shared(names: Iterable[str]) -> list[str]:
    """Return a remark on each name that more than one value has: none of these is called by it."""
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    return [f"{name} names more than one value: these are called by their indices" for name in twice]


def runs(numbers: Iterable[int], word: str = "") -> str:
    """Return whole numbers in rising order as "1, 3 to 5", each after a word."""
    found = []
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [f"{word}{number}" for _, number in group]
        found.append(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}")
    return ", ".join(found)


def failure(error: Exception) -> str:
    """Return what an exception says, without numbers: of an error of the system the file and the words.

    For TLS, the places in OpenSSL and in Python's source are left out.
    """
    if isinstance(error, OSError) and error.strerror:
        words = re.sub(r"^\[[A-Z0-9_: ]+\] | \(_ssl\.c:[0-9]+\)$", "", error.strerror)
        return f"{error.filename}: {words}" if error.filename else words
    return re.sub(r"^_ssl\.c:[0-9]+: ", "", str(error)) or type(error).__name__
