"""What dispatchers were given ahead of older frames, which could not be read at that time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.spool.notes import Notes

_PREFIX = "\nahead "
"""Prefix of the names of notes: with a dispatcher's, what it has passed; without, `Ahead.starts`. No section
can have such a name."""

T = TypeVar("T")

Ranges = tuple[tuple[int, int], ...]
"""First and last id of each, in order."""


class Ahead:
    """What came while the file could not be read, and was delivered from memory before what the file has.

    `starts` are the ids from which frames were given so. A batch never goes across one: a far end that shows
    one of its frames is taken to have all before it. Each dispatcher has beside its place the ranges of ids
    that it has passed. Both are in the notes, so that they survive a kill; what was given last is not.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self._passed: dict[str, Ranges] = {}
        self._given: dict[str, int] = {}
        self._noted: dict[str, str] = {}

    def passed(self, who: str) -> Ranges:
        """Return which ids a dispatcher has passed."""
        return self._passed.get(who, ())

    def beyond(self, who: str, place: int) -> int:
        """Return up to which id a dispatcher has passed all frames, if it has passed those up to this id."""
        for first, last in self.passed(who):
            if first <= place + 1:
                place = max(place, last)
        return place

    def next_start(self, who: str, place: int, end: int) -> int:
        """Return where a batch ends that begins after this id, at the latest at `end`."""
        starts = [*self.starts, *(first for first, _ in self.passed(who))]
        return min([end, *(first for first in starts if first > place + 1)])

    def give(self, who: str, first: int, start: int) -> None:
        """Note from which id on a dispatcher is given frames, and since which they are ahead; 0 if not."""
        self._given[who] = first
        if start and start not in self.starts:
            self.starts.append(start)

    def given(self, who: str, upto: int) -> int:
        """Return the first id of what a dispatcher was last given, which ends with this id."""
        return min(self._given.get(who, upto), upto)

    def add(self, who: str, first: int, last: int) -> None:
        """Note that a dispatcher has passed these ids."""
        self._set(who, [*self.passed(who), (first, last)])

    def forget(self, who: str, place: int) -> None:
        """Forget what a dispatcher has passed up to its place."""
        if ranges := self.passed(who):
            self._set(who, (each for each in ranges if each[1] > place))

    def _set(self, who: str, ranges: Iterable[tuple[int, int]]) -> None:
        joined: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if joined and first <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(joined[-1][1], last)
            else:
                joined.append((first, last))
        others = {name: each for name, each in self._passed.items() if name != who}
        self._passed = {**others, who: tuple(joined)} if joined else others

    def rename(self, names: Mapping[str, str]) -> None:
        """Move what is known of dispatchers to their new names, each with the old one."""
        self._passed, self._given = renamed(self._passed, names), renamed(self._given, names)

    def append(self, before: Ahead, first: int, shift: int) -> None:
        """Take over what is known of frames whose ids change by `shift`; those below `first` were dropped."""
        self.starts += [first] if before.starts else []
        self._given = {who: max(first, given + shift) for who, given in before._given.items()}
        for who, ranges in before._passed.items():
            moved = ((max(first, begin + shift), last + shift) for begin, last in ranges)
            self._set(who, [*self.passed(who), *(each for each in moved if each[1] >= first)])

    def load(self, notes: Notes, end: int) -> None:
        """Read the notes; no frame has the id `end` yet."""
        self._noted = notes.below(_PREFIX)
        for who, text in self._noted.items():
            ranges = [(int(first), int(last)) for first, last in re.findall(r"(\d{1,18})-(\d{1,18})", text)]
            self._set(who, ((first, min(last, end - 1)) for first, last in ranges if first < end))
        starts = re.findall(r"\d{1,18}", self._noted.get("", ""))
        self.starts = sorted(first for first in map(int, starts) if first < end)

    def note(self, notes: Notes, passed: int) -> None:
        """Have the notes say what is new; all dispatchers have passed all frames up to the id `passed`."""
        self.starts = [first for first in self.starts if first > passed]
        texts = {
            who: " ".join(f"{first}-{last}" for first, last in each) for who, each in self._passed.items()
        }
        if self.starts:
            texts[""] = " ".join(map(str, self.starts))
        if texts != self._noted:
            names = {**self._noted, **texts}
            notes.update({f"{_PREFIX}{who}": texts.get(who, "") for who in names})
            self._noted = texts


def renamed(values: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    """Return values by the new names, each with the old one; such a name keeps no value of its own."""
    others = {who: value for who, value in values.items() if who not in names}
    return others | {who: values[was] for who, was in names.items() if was in values}
