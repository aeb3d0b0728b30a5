"""How far each dispatcher has come, and what it may have sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.spool.ahead import Ahead, renamed
from gateway.times.boots import Pin, Pins, Row, extend_pins, pins_from_text, pins_to_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from gateway.spool.notes import Notes

PROVISIONAL = 1 << 62
"""The first id while the ids that the file has used are unknown: no frame in a file has one as high."""

LOST = ""
"""Stands for dispatchers whose places a damaged file has lost: they begin where it is, with all there is."""

_HELD = 1000
"""How many ids a dispatcher may be ahead of what it is sure of."""

_STRETCH = 10_000
"""How many ids are searched at a time: a listener that puts a frame has to wait for that."""

_END = "end "
"""Prefix of the names of notes that are made at the end of a run."""


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
    """How far each dispatcher has come: the table `cursors`, and what is known in this run only.

    =====================  =============================================  ===================================
    of each dispatcher     all frames up to it, or in it                  after a kill
    =====================  =============================================  ===================================
    `_upto`, its place     are done                                       as last written, in the table
    `_marks`               may have been sent, and with which times       as written before they were sent
    `_sure`                are done, and it will not go back before them  its place
    `_in_doubt`            may have been sent by an earlier run           all that was there at the start
    `Ahead.passed`         are done, though older ones are not            as last written, in the notes
    `Ahead.given`          are with it now                                nothing: it is given them again
    =====================  =============================================  ===================================

    `consumers` are those that frames are kept for, and `first` is the oldest id that is kept. While the file
    cannot be read (`is_out`) frames are delivered from memory, ahead of those in the file. They have the ids
    from `memory_from` on.
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
        self.ahead = Ahead()
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

    def write(self, db: sqlite3.Connection) -> None:
        """Write the table anew, inside a transaction."""
        rows = [
            (who, self._upto[who], *mark, pins_to_text(pins)) for who, (*mark, pins) in self._marks.items()
        ]
        db.execute("DELETE FROM cursors")
        db.executemany("INSERT INTO cursors VALUES (?, ?, ?, ?, ?, ?)", rows)

    def set_consumers(
        self, dispatchers: Iterable[str], end: int, new_names: Mapping[str, str]
    ) -> tuple[set[str], dict[str, str]]:
        """Keep frames for these dispatchers; a new one begins with the oldest that another has not passed.

        Return which are new, and the old name of each of `new_names`. A renamed one goes on where it was,
        even if two swap their names, and has sent no more than before. One that was away may have been
        replaced by another, which has sent what is there.
        """
        before, self.consumers = self.consumers, set(dispatchers)
        new_names = {who: was for who, was in new_names.items() if who in self.consumers and was in before}
        new = self.consumers - (before or self._marks.keys()) - new_names.keys()
        if self._marks and self._marks.keys() <= self.consumers:  # it replaces no other
            self._new |= new - self._marks.keys()
        for who in before - self.consumers:
            self._upto[who] = self.in_file(who)
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
        self._new = self._new - new_names.keys() | {who for who, was in new_names.items() if was in self._new}
        for who, was in new_names.items():
            self._upto[who] = max(upto[was], self.first - 1)
            self._marks[who], self._in_doubt[who] = marks[was], in_doubt[was]
        self.ahead.rename(new_names)
        sure = renamed(self._sure, new_names)
        self._sure = {who: place for who, place in sure.items() if who in self.consumers}
        if self.consumers and LOST in self._marks:
            del self._upto[LOST], self._marks[LOST]
        self.is_written = False
        return new, new_names

    def in_file(self, who: str) -> int:
        """Return the id up to which a dispatcher has passed all frames, in order."""
        return max(self._upto.get(who, 0), self.first - 1)

    def of(self, who: str) -> int:
        """Return the id after which a dispatcher's next frame is, even if the dispatcher is gone."""
        place = self.in_file(who)
        return self.ahead.beyond(who, max(place, self.memory_from - 1) if self.is_out else place)

    def reach(self, who: str, end: int, next_after: Callable[[int], int]) -> tuple[int, int]:
        """Return the ids between which its next frames are looked for.

        `next_after` returns the first id of a frame after one; a damaged file may have a gap of any size.
        """
        after = self.of(who)
        return after, min(self.ahead.next_start(who, after, end), next_after(after) + _STRETCH)

    def move(self, who: str, upto: int) -> None:
        """Move a dispatcher to this id: all frames up to it are done."""
        self._upto[who] = max(self._upto[who], upto)
        if (mark := self._marks.get(who)) and mark.pins:
            sure = self._sure.get(who, upto)
            self._marks[who] = mark._replace(pins=tuple(pin for pin in mark.pins if pin.upto > sure))
        if not self.is_out:
            self._upto[who] = self.of(who)
        self.ahead.forget(who, self._upto[who])
        self.is_written = False

    def ahead_from(self, who: str, upto: int) -> int:
        """Return the first id of what it passes up to this one, if that is ahead of its place; else 0."""
        given = self.ahead.given(who, upto)
        if self.is_out and given >= self.memory_from:
            return self.memory_from
        after = self.in_file(who) + 1
        return max((first for first in self.ahead.starts if after < first <= given), default=0)

    def before(self, who: str, upto: int) -> int:
        """Return the id after which the frames of a batch that ends with this one are new to it."""
        return self.of(who) if self.ahead_from(who, upto) else self.in_file(who)

    def move_ahead(self, who: str, first: int, upto: int) -> int:
        """Note that it has passed these ids ahead of its place; return the last one that all have passed."""
        self.ahead.add(who, first, upto)
        passed = (max(self.in_file(name), self.ahead.beyond(name, first - 1)) for name in self.consumers)
        return min(passed, default=first - 1)

    def give(self, who: str, first: int, count: int) -> None:
        """Note that it is given so many frames, from this id on."""
        self.ahead.give(who, first, self.memory_from if count and self.is_out else 0)

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
        elif not (self.is_out or self.ahead.passed(who) or self.ahead_from(who, upto)):
            self._sure[who] = max(self._sure.get(who, self.in_file(who)), upto - _HELD)

    def be_sure(self) -> None:
        """Note that no dispatcher goes back."""
        self._sure.clear()

    def go_back(self, who: str) -> None:
        """Move a dispatcher back to what it is sure of."""
        self._upto[who] = self._sure.pop(who, self._upto[who])
        self.is_written = False

    def left_at(self) -> int:
        """Return the lowest place of those that are no longer consumers; a high id if there are none.

        One that has missed something has been away for longer: what is there does not wait for it alone.
        """
        gone = (self._upto[who] for who in self._upto.keys() - self.consumers)
        return min((place for place in gone if place >= self.first - 1), default=PROVISIONAL)

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
        return min(upto, int(noted[:18])) if mark == self._marks[who].key and noted.isdecimal() else upto

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
        self._sure = {}
        self.memory_from, self.is_out = memory_from, True

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
        self.ahead = before.ahead

    def append(self, before: Places, memory_from: int, shift: int) -> None:
        """Take over what is known of frames that came before the file could be read; `shift` changes ids.

        What was dropped in memory has no place here: its ids would be those of frames in the file.
        """
        least = memory_from - 1
        self.ahead.append(before.ahead, memory_from, shift)
        at_start = before._at_start + shift
        self._in_doubt = {who: max(upto, at_start) for who, upto in self._in_doubt.items()}
        for who, mark in before._marks.items():
            if mark.upto >= PROVISIONAL and who in before.consumers:  # no other has a place here
                kept = (pin for pin in mark.pins if pin.upto + shift > least)
                pins = tuple(pin._replace(upto=pin.upto + shift) for pin in kept)
                self._marks[who] = mark._replace(upto=max(least, mark.upto + shift), pins=pins)

    def resume_consumers(self, before: Places, end: int) -> None:
        """Keep frames for the same consumers; `end` is the next id but for what is in memory."""
        self.set_consumers(before.consumers, end, {})
        for who in self.consumers:
            self.move(who, self.in_file(who))
