"""Which frames there are, counted by their ids, in memory.

No count needs the disk, so it is right while the disk refuses, and it costs the same however many frames
there are.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_STRETCH = 10_000
"""How many ids of a file are counted at a time."""


class Runs:
    """A set of ids, as runs of consecutive ones: it stays small, since frames come one after the other."""

    def __init__(self) -> None:
        self.total = 0
        self._firsts = array("q")
        self._lasts = array("q")

    def add(self, first: int, last: int) -> None:
        """Add the ids from `first` to `last`, which come after all that are there."""
        if self._lasts and self._lasts[-1] == first - 1:
            self._lasts[-1] = last
        else:
            self._firsts.append(first)
            self._lasts.append(last)
        self.total += last - first + 1

    def remove(self, first: int, last: int) -> int:
        """Remove the ids from `first` to `last`; return how many of them were there."""
        begin, end = bisect_left(self._lasts, first), bisect_right(self._firsts, last)
        if begin >= end or first > last:
            return 0
        removed = self.count(first - 1, last)
        kept = [(self._firsts[begin], first - 1), (last + 1, self._lasts[end - 1])]
        kept = [(start, stop) for start, stop in kept if start <= stop]
        self._firsts[begin:end] = array("q", [start for start, _ in kept])
        self._lasts[begin:end] = array("q", [stop for _, stop in kept])
        self.total -= removed
        return removed

    def count(self, after: int, upto: int) -> int:
        """Return how many there are after `after`, up to and including `upto`."""
        begin, end = bisect_right(self._lasts, after), bisect_right(self._firsts, upto)
        if begin >= end or after >= upto:
            return 0
        whole = sum(self._lasts[begin:end]) - sum(self._firsts[begin:end]) + end - begin
        return whole - max(0, after + 1 - self._firsts[begin]) - max(0, self._lasts[end - 1] - upto)

    def next_after(self, after: int) -> int:
        """Return the first id after this one; an impossibly high one if there is none."""
        place = bisect_right(self._lasts, after)
        return max(after + 1, self._firsts[place]) if place < len(self._firsts) else sys.maxsize

    def oldest(self, count: int) -> int:
        """Return the id of the last of the `count` oldest, or of the last at all; 0 if there is none."""
        for first, last in zip(self._firsts, self._lasts, strict=True):
            if count <= last - first + 1:
                return first + count - 1
            count -= last - first + 1
        return self._lasts[-1] if self._lasts else 0


def runs(db: sqlite3.Connection, first: int) -> Iterator[tuple[int, int]]:
    """Yield the ids of a file from this one on, as runs of consecutive ones: the first and the last of each.

    It looks at every frame, so damage shows. Between two runs little time passes.
    """
    while True:
        (start,) = db.execute("SELECT min(id) FROM frames WHERE id >= ?", (first,)).fetchone()
        if start is None:
            return
        first = start + _STRETCH
        query = "SELECT max(id), count(*) FROM frames WHERE id >= ? AND id < ?"
        last, count = db.execute(query, (start, first)).fetchone()
        if count == last - start + 1:
            yield start, last
            continue
        rows = db.execute("SELECT id FROM frames WHERE id >= ? AND id < ? ORDER BY id", (start, first))
        ids = [number for (number,) in rows]
        breaks = [place for place in range(1, len(ids)) if ids[place] != ids[place - 1] + 1]
        for begin, end in pairwise([0, *breaks, len(ids)]):
            yield ids[begin], ids[end - 1]


class Census(Runs):
    """Which frames exist, on the disk or in memory, and which dispatcher each is for; "" is all of them."""

    def __init__(self) -> None:
        super().__init__()
        self._for_one: dict[str, Runs] = {}

    @classmethod
    def of_all(cls, db: sqlite3.Connection, first: int) -> Census:
        """Return that of a file from this id on."""
        census = cls()
        for run in runs(db, first):
            census.add(*run)
        census.load_owners(db, first)
        return census

    def load_owners(self, db: sqlite3.Connection, first: int) -> None:
        """Note which dispatcher the frames of a file are for, from this id on."""
        self._for_one.clear()
        query = "SELECT whose, id FROM frames WHERE whose != '' AND id >= ? ORDER BY id"
        for whose, number in db.execute(query, (first,)):
            self._for_one.setdefault(whose, Runs()).add(number, number)

    def add(self, first: int, last: int, whose: str = "") -> None:
        """Add the frames from `first` to `last`, which come after all that are there."""
        super().add(first, last)
        if whose:
            self._for_one.setdefault(whose, Runs()).add(first, last)

    def remove(self, first: int, last: int) -> int:
        """Remove the frames from `first` to `last`; return how many there were."""
        for runs in self._for_one.values():
            runs.remove(first, last)
        return super().remove(first, last)

    def owners(self) -> set[str]:
        """Return the dispatchers for which alone there are some frames."""
        return {whose for whose, runs in self._for_one.items() if runs.total}

    def count_of(self, who: str, after: int) -> int:
        """Return how many frames after this id are for this dispatcher alone."""
        return self._for_one[who].count(after, self.oldest(self.total))

    def count(self, after: int, upto: int, who: str = "") -> int:
        """Return how many frames after `after`, to `upto` inclusive, are for this dispatcher, or exist."""
        count = super().count(after, upto)
        if who:
            of_others = (runs for whose, runs in self._for_one.items() if whose != who)
            count -= sum(runs.count(after, upto) for runs in of_others)
        return count
