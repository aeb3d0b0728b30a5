"""How far each dispatcher has come, and what it may have sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from gateway.times.boots import Pin, Pins, Row, extend_pins, pins_from_text, pins_to_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from gateway.spool.notes import Notes

PROVISIONAL = 1 << 62
"""The first id while the ids that the file has used are unknown: no frame in a file has one as high."""

T = TypeVar("T")

_HELD = 1000
"""How many ids a dispatcher may be ahead of what it is sure of."""

_STRETCH = 10_000
"""How many ids are searched at a time: a listener that puts a frame has to wait for that."""

_END = "end "
"""Prefix of the names of notes that are made at the end of a run."""

_AHEAD = "ahead "
"""Prefix of the names of notes on what a dispatcher has passed beyond its place."""

Ranges = tuple[tuple[int, int], ...]
"""First and last id of each, in order."""


class Mark(NamedTuple):
    """What was noted before the last batch was sent, and in which boot; "" if that is not known.

    `blind` says that its first frame looks the same as what the far end had before. `pins` keep the times
    with which it was sent, until it is delivered.
    """

    upto: int = 0
    boot: str = ""
    blind: bool = False
    pins: Pins = ()

    @property
    def key(self) -> str:
        """What distinguishes it from all other marks of the dispatcher."""
        return f"{self.upto} {self.boot}"


class Places:
    """The table `cursors`: for each dispatcher the last id it has delivered, and its mark.

    `consumers` are those that frames are kept for, and `first` is the oldest id that is kept. While the file
    cannot be read (`is_out`) frames are delivered from memory, ahead of those in the file. They have the ids
    from `memory_from` on; which of them a dispatcher has passed is kept beside its place, and in the notes.
    """

    def __init__(self, boot: str) -> None:
        """`boot` is the current one."""
        self.first = 1
        self.consumers: set[str] = set()
        self.is_written = True
        self.is_out = False
        self.memory_from = 0
        self._boot = boot
        self._upto: dict[str, int] = {}
        self._marks: dict[str, Mark] = {}
        self._at_start = 0
        self._in_doubt: dict[str, int] = {}
        self._new: set[str] = set()
        # Ids from which frames were given to dispatchers while older ones could not be read.
        self._given_from: list[int] = []
        self._ahead: dict[str, Ranges] = {}
        self._noted_ahead: dict[str, Ranges] = {}
        self._sure: dict[str, int] = {}  # the id up to which each is sure, if it has passed more

    def load(self, db: sqlite3.Connection) -> int:
        """Read the table; return the highest id in it."""
        self._upto = dict(db.execute("SELECT who, upto FROM cursors"))
        marks = db.execute("SELECT who, sent, boot, blind, pins FROM cursors")
        self._marks = {
            who: Mark(upto, boot, blind, pins_from_text(pins)) for who, upto, boot, blind, pins in marks
        }
        return max([0, *self._upto.values(), *(mark.upto for mark in self._marks.values())])

    def begin(self, first: int, end: int) -> None:
        """Note the oldest id and the next one: all that is there at the start may have been sent before."""
        self.first, self._at_start = first, end - 1
        self._in_doubt = dict.fromkeys(self._marks, end - 1)

    def rows(self) -> list[tuple[object, ...]]:
        """Return the rows as the file has them."""
        return [
            (who, self._upto[who], *mark, pins_to_text(pins)) for who, (*mark, pins) in self._marks.items()
        ]

    def set_consumers(
        self, dispatchers: Iterable[str], end: int, renamed: Mapping[str, str]
    ) -> tuple[set[str], dict[str, str]]:
        """Keep frames for these dispatchers; a new one begins with the oldest that another has not passed.

        Return which are new, and the old name of each that is `renamed`. A renamed one goes on where it was,
        even if two swap their names, and has sent no more than before. One that was away may have been
        replaced by another, which has sent what is there.
        """
        before, self.consumers = self.consumers, set(dispatchers)
        renamed = {who: was for who, was in renamed.items() if who in self.consumers and was in before}
        new = self.consumers - (before or self._marks.keys()) - renamed.keys()
        if self._marks and self._marks.keys() <= self.consumers:  # it replaces no other
            self._new |= new - self._marks.keys()
        marks, in_doubt = self._marks.copy(), self._in_doubt.copy()
        for who in self._marks.keys() - self.consumers if self.consumers else ():
            self._marks[who] = self._marks[who]._replace(boot="")
        for who in self.consumers - before:
            self._in_doubt[who] = max(in_doubt.get(who, 0), end - 1)
        begin = self.passed_by(self._marks)
        for who in self.consumers:
            self._upto[who] = max(self._upto.get(who, begin), self.first - 1)
            self._marks.setdefault(who, Mark())
        upto = self._upto.copy()
        self._new = self._new - renamed.keys() | {who for who, was in renamed.items() if was in self._new}
        for who, was in renamed.items():
            self._upto[who] = max(upto[was], self.first - 1)
            self._marks[who], self._in_doubt[who] = marks[was], in_doubt[was]
        self._ahead = _renamed(self._ahead, renamed)
        sure = _renamed(self._sure, renamed)
        self._sure = {who: place for who, place in sure.items() if who in self.consumers}
        self.is_written = False
        return new, renamed

    def in_file(self, who: str) -> int:
        """Return the id up to which a dispatcher has passed all frames, in order."""
        return max(self._upto.get(who, 0), self.first - 1)

    def ahead(self, who: str) -> Ranges:
        """Return which ids a dispatcher has passed ahead of its place."""
        return self._ahead.get(who, ())

    def of(self, who: str) -> int:
        """Return the id after which a dispatcher's next frame is, even if the dispatcher is gone."""
        place = self.in_file(who)
        return self._beyond(who, max(place, self.memory_from - 1) if self.is_out else place)

    def _beyond(self, who: str, place: int) -> int:
        """Return up to which id a dispatcher has passed all frames after this place."""
        for first, last in self.ahead(who):
            if first <= place + 1:
                place = max(place, last)
        return place

    def reach(self, who: str, end: int) -> tuple[int, int]:
        """Return the ids between which its next frames are looked for: in a batch they follow each other."""
        after = self.of(who)
        begun = [*self._given_from, *(first for first, _ in self.ahead(who))]
        return after, min([end, after + _STRETCH, *(first for first in begun if first > after + 1)])

    def move(self, who: str, upto: int) -> None:
        """Move a dispatcher to this id: all frames up to it are done."""
        self._upto[who] = max(self._upto[who], upto)
        if (mark := self._marks.get(who)) and mark.pins:
            sure = self._sure.get(who, upto)
            self._marks[who] = mark._replace(pins=tuple(pin for pin in mark.pins if pin.upto > sure))
        if not self.is_out:
            self._upto[who] = self.of(who)
        if ahead := self.ahead(who):
            self._set_ahead(who, (each for each in ahead if each[1] > self._upto[who]))
        self.is_written = False

    def ahead_from(self, who: str, upto: int) -> int:
        """Return with which id begins what it passes up to this id, if that is ahead of its place; else 0."""
        if self.is_out and upto >= self.memory_from:
            return self.memory_from
        after = self.in_file(who) + 1
        return max((first for first in self._given_from if after < first <= upto), default=0)

    def move_ahead(self, who: str, first: int, upto: int) -> int:
        """Note that it has passed these ids ahead of its place; return the last one that all have passed."""
        others = (each for each in self.ahead(who) if each[0] != first)
        self._set_ahead(who, (*others, (first, max(upto, self._beyond(who, first - 1)))))
        return min(
            (max(self.in_file(name), self._beyond(name, first - 1)) for name in self.consumers),
            default=first - 1,
        )

    def _set_ahead(self, who: str, ranges: Iterable[tuple[int, int]]) -> None:
        self._ahead = {**self._ahead, who: tuple(sorted(ranges))}
        if not self._ahead[who]:
            del self._ahead[who]

    def load_ahead(self, notes: Notes, end: int) -> None:
        """Read from the notes what each has passed ahead of its place; no frame has the id `end` yet."""
        for who, text in notes.below(_AHEAD).items():
            ranges = [(int(first), int(last)) for first, last in re.findall(r"(\d{1,18})-(\d{1,18})", text)]
            self._noted_ahead[who] = tuple(ranges)
            self._set_ahead(who, ((first, min(last, end - 1)) for first, last in ranges if first < end))

    def note_ahead(self, notes: Notes) -> None:
        """Have the notes say it, too."""
        if self._ahead != self._noted_ahead:
            texts = {
                who: " ".join(f"{first}-{last}" for first, last in self.ahead(who)) for who in self._ahead
            }
            texts = dict.fromkeys(self._noted_ahead, "") | texts
            notes.update({f"{_AHEAD}{who}": text for who, text in texts.items()})
            self._noted_ahead = self._ahead.copy()

    def passed_by(self, these: Iterable[str] | None = None) -> int:
        """Return the id up to which all of these, or all consumers, have passed what is kept."""
        return min(map(self.in_file, self.consumers if these is None else these), default=self.first - 1)

    def sure_of_all(self) -> int:
        """Return the id that all consumers have passed and will not go back before; 0 if there are none."""
        return min((self._sure.get(who, self._upto[who]) for who in self.consumers), default=0)

    def hold(self, who: str, upto: int, *, sure: bool) -> None:
        """Keep what a dispatcher passes up to this id until it is `sure` of it, so that it can go back."""
        if sure:
            self._sure.pop(who, None)
        elif not (self.is_out or self.ahead(who) or self.ahead_from(who, upto)):
            self._sure[who] = max(self._sure.get(who, self.in_file(who)), upto - _HELD)

    def be_sure(self) -> None:
        """Note that no dispatcher goes back."""
        self._sure.clear()

    def go_back(self, who: str) -> None:
        """Move a dispatcher back to what it is sure of."""
        self._upto[who] = self._sure.pop(who, self._upto[who])
        self.is_written = False

    def left_at(self) -> int:
        """Return the lowest place of those that are no longer consumers; a high id if there are none."""
        gone = (upto for who, upto in self._upto.items() if who not in self.consumers)
        return min(gone, default=PROVISIONAL)

    def mark(self, who: str, upto: int, *, blind: bool, clock: Row) -> None:
        """Note that frames up to this id may be sent from now on, with the times that follow from `clock`."""
        self._new.discard(who)
        before = self._marks[who]
        pins = extend_pins(before.pins, Pin(upto, self._boot, clock))
        self._marks[who] = Mark(max(upto, before.upto), self._boot, blind, pins)
        self.is_written = self.is_written and self._marks[who] == before

    def unpin(self, who: str, upto: int) -> None:
        """Note that of the frames up to this id that may have been sent, none is anywhere with its time."""
        mark = self._marks[who]
        if mark.pins and mark.pins[-1].upto <= upto:
            self._marks[who] = mark._replace(pins=())
            self.is_written = False

    def sent(self, who: str) -> tuple[int, bool]:
        """Return the id up to which frames may have been sent, and whether the last batch was `blind`.

        That is the mark or, if it is of another boot, all that was there at the start.
        """
        upto, boot, blind, _ = self._marks[who]
        return upto if boot and boot == self._boot else max(upto, self._in_doubt[who]), bool(blind)

    def noted(self, who: str, notes: Notes) -> int:
        """Return the id up to which frames may have been sent, as exactly as the last run noted at its end.

        It is 0 for a new dispatcher. Only counts may use this: a power cut may have taken a newer mark.
        """
        upto = 0 if who in self._new else self.sent(who)[0]
        mark, _, noted = notes.below(_END).get(who, "").rpartition(" ")
        return min(upto, int(noted)) if mark == self._marks[who].key and noted.isdecimal() else upto

    def end(self, notes: Notes) -> None:
        """Note, as the run stops, the id up to which frames may have been sent to each dispatcher."""
        notes.update(
            {f"{_END}{who}": f"{self._marks[who].key} {self.noted(who, notes)}" for who in self.consumers}
        )

    def pins(self, who: str) -> Pins:
        """Return the clocks that dated the frames sent to a dispatcher."""
        return self._marks[who].pins if who in self._marks else ()

    def begin_at_first(self) -> None:
        """Move every dispatcher, also those that are gone, past what is no longer kept."""
        self._upto = {who: max(place, self.first - 1) for who, place in self._upto.items()}
        self.is_written = False

    def lose_file(self, memory_from: int) -> None:
        """Deliver from memory, as the frames before this id cannot be read."""
        passed = self.passed_by()
        self._given_from = [first for first in self._given_from if first > passed]
        self._sure = {}
        self.memory_from, self.is_out = memory_from, True

    def give(self, count: int) -> None:
        """Note that a dispatcher is given so many frames: from memory, they are ahead of its place."""
        if count and self.is_out and self.memory_from not in self._given_from:
            self._given_from.append(self.memory_from)

    def doubt_marks(self) -> None:
        """Trust none of the marks: more may have been sent than they show."""
        self._marks = {who: mark._replace(boot="") for who, mark in self._marks.items()}
        self.is_written = False

    def resume(self, before: Places) -> None:
        """Take over what is newer than the file's rows: it is the same run, with the same consumers."""
        self.consumers, self._new = before.consumers, before._new
        self._upto = {**self._upto, **before._upto}
        self._marks = {**self._marks, **before._marks}
        self._in_doubt = {**self._in_doubt, **before._in_doubt}
        self._given_from, self._ahead = before._given_from, before._ahead

    def append(self, before: Places, memory_from: int, shift: int) -> None:
        """Take over what is known of frames that came before the file could be read; `shift` changes ids.

        What was dropped in memory has no place here: its ids would be those of frames in the file.
        """
        self._given_from, least = [memory_from] if before._given_from else [], memory_from - 1
        for who, ranges in before._ahead.items():
            moved = ((max(memory_from, first + shift), last + shift) for first, last in ranges)
            self._set_ahead(who, (*self.ahead(who), *(each for each in moved if each[1] > least)))
        at_start = before._at_start + shift
        self._in_doubt = {who: max(upto, at_start) for who, upto in self._in_doubt.items()}
        for who, mark in before._marks.items():
            if mark.upto >= PROVISIONAL:
                kept = (pin for pin in mark.pins if pin.upto + shift > least)
                pins = tuple(pin._replace(upto=pin.upto + shift) for pin in kept)
                self._marks[who] = mark._replace(upto=max(least, mark.upto + shift), pins=pins)

    def resume_consumers(self, before: Places, end: int) -> None:
        """Keep frames for the same consumers; `end` is the next id but for what is in memory."""
        self.set_consumers(before.consumers, end, {})
        for who in self.consumers:
            self.move(who, self.in_file(who))


def _renamed(places: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    """Return the places by the new names; a name that another dispatcher gets keeps none of its own."""
    others = {who: place for who, place in places.items() if who not in names}
    return others | {who: places[was] for who, was in names.items() if was in places}
