"""Which frames are removed undelivered: because the queue is full, because they are too old, or by hand."""

from __future__ import annotations

import logging
import math
from itertools import takewhile
from typing import TYPE_CHECKING

from gateway.spool.limits import Limits, NoRoom
from gateway.spool.notes import FAILED, NOT_KEPT
from gateway.spool.places import PROVISIONAL
from gateway.store import store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from gateway.frame import Stamp
    from gateway.spool.contents import Contents
    from gateway.spool.notes import Notes

log = logging.getLogger("oemgateway.spool")

_PIECE = 500
"""How many frames that are too old are removed at a time."""
_PASSED_ON = "another may have its place"
"""The note on a removed dispatcher whose far end has not kept what it shows, once there is a new one."""


class Retention:
    """Keeps the contents of a queue within its limits; the oldest frames go first, and are counted."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._reasons: set[str] = set()
        # The id up to which frames of each former consumer, or of all (""), were counted as dropped.
        self._counted: dict[str, int] = {}

    def keep_within(self, contents: Contents) -> None:
        """Remove the oldest frames beyond the limit."""
        self._drop_oldest(contents, contents.census.total - self.limits.frames)

    def check_admits(self, contents: Contents, count: int) -> None:
        """Raise OSError if there is no room for so many more frames."""
        surplus = contents.census.total + count - self.limits.frames
        if surplus > 0 and contents.be_sure() < surplus:
            raise OSError(f"the queue is full: max_frames is {self.limits.frames}")

    def make_room(self, contents: Contents, error: sqlite3.Error) -> bool:
        """Remove frames if the file has reached its own limit; return whether there were any.

        More may have to be.
        """
        if not _limit_is_ours(contents, error):
            return False
        total = contents.census.total
        too_much = math.ceil(total * error.share) if isinstance(error, NoRoom) else 0
        self._drop_oldest(contents, max(len(contents.unwritten), total // 100, too_much))
        return contents.census.total < total

    def bound_memory(self, contents: Contents) -> None:
        """Remove the oldest of what waits in memory for the disk, beyond the limit."""
        if len(contents.unwritten) > self.limits.memory:
            contents.be_sure()
        while len(contents.unwritten) > self.limits.memory:
            number = contents.unwritten.popleft().number
            contents.dropped += contents.census.remove(number, number)
        contents.refused.bound_memory()

    def expire(self, contents: Contents, age: Callable[[Stamp], float]) -> bool:
        """Remove the oldest frames that are older than the limit; return whether there may be more.

        It ends at the first whose time is not known.
        """
        if contents.places.is_out or not math.isfinite(self.limits.age):
            return False
        oldest = contents.waiting(contents.first - 1, _PIECE)
        old = list(takewhile(lambda kept: not kept.held and age(kept.frame.stamp) > self.limits.age, oldest))
        if old and contents.be_sure():
            return True  # some of these were delivered
        if old:
            self._drop(contents, old[-1].number + 1, "there are readings older than max_age")
            contents.places.begin_at_first()
        return len(old) == _PIECE

    def skip(self, contents: Contents, who: str, *, before: int, limit: int) -> tuple[int, bool]:
        """Move a dispatcher, or all (""), past the next frames, up to this id: see `Spool.skip`."""
        before = min(before, contents.next)
        whose = [who] if who else list(contents.places.consumers)
        start = contents.places.passed_by(whose)
        upto = min(contents.census.next_after(start) - 1 + limit, before - 1)
        count = contents.census.count(start, upto, who)
        for name in whose:
            contents.places.hold(name, upto, sure=True)
            contents.pass_over(name, upto)
        if not who:
            contents.let_go(upto + 1)
        return count, upto < before - 1

    def pass_on(self, contents: Contents, new: set[str], renamed: Mapping[str, str]) -> None:
        """If just one consumer is new, give it the frames that were only for a removed one.

        A `renamed` one keeps all that was its own.
        """
        consumers = contents.places.consumers
        _rename(contents.notes, FAILED, renamed)
        _rename(contents.notes, NOT_KEPT, renamed)
        _pass_on_not_kept(contents.notes, consumers, new)
        now, refused = {was: who for who, was in renamed.items()}, contents.refused
        refused.unwritten = [row._replace(who=now.get(row.who, row.who)) for row in refused.unwritten]
        owners = contents.census.owners()
        heirs = dict.fromkeys(owners - consumers, *new) if len(new) == 1 else {}
        if heirs := {was: who for was, who in {**heirs, **now}.items() if was in owners}:
            with contents.transaction() as db:
                db.executemany("UPDATE frames SET whose = ? WHERE whose = ?", _steps(heirs))
            contents.census.load_owners(contents.db, contents.first)
        if now:
            with contents.transaction() as db:
                refused.rename(db, _steps(now))

    def unclaimed(self, contents: Contents) -> int:
        """Return how many frames wait only for former consumers; each is counted once."""
        census, places = contents.census, contents.places
        passed = places.sure_of_all()
        gone = census.owners() - places.consumers if places.consumers else ()
        counted, end = self._counted, contents.next - 1
        owned = sum(census.count_of(who, max(passed, places.of(who), counted.get(who, 0))) for who in gone)
        self._counted = {**dict.fromkeys(gone, end), "": passed} if end < PROVISIONAL else {}
        return owned + census.count(max(contents.first - 1, places.left_at(), counted.get("", 0)), passed)

    def _drop_oldest(self, contents: Contents, surplus: int) -> None:
        if surplus > 0 and (surplus := surplus - contents.be_sure()) > 0:
            self._drop(contents, contents.census.oldest(surplus) + 1, "the queue is full")

    def _drop(self, contents: Contents, first: int, why: str) -> None:
        """Remove and count the frames before this id."""
        if why not in self._reasons:
            self._reasons.add(why)
            log.error("%s: from now on the oldest frames are dropped, and counted", why)
        contents.dropped += contents.let_go(first)


def _rename(notes: Notes, prefix: str, renamed: Mapping[str, str]) -> None:
    """Move the notes with this prefix to the new names of their dispatchers."""
    texts = notes.below(prefix)
    moved = dict.fromkeys(renamed.values(), "") | {who: texts.get(was, "") for who, was in renamed.items()}
    notes.update({f"{prefix}{who}": text for who, text in moved.items()})


def _pass_on_not_kept(notes: Notes, consumers: set[str], new: set[str]) -> None:
    """Give the notes on far ends that are gone, and have not kept what they show, to new ones.

    A new one may have the far end of one that is gone, which may come back.
    """
    unkept = notes.below(NOT_KEPT)
    gone = {who for who in unkept.keys() - consumers if new and unkept[who] != _PASSED_ON}
    these = (unkept.keys() & consumers) | (new if gone else set())
    texts = dict.fromkeys(these, "what was sent") | dict.fromkeys(gone, _PASSED_ON)
    notes.update({f"{NOT_KEPT}{who}": text for who, text in texts.items()})


def _steps(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (new, old name) for each; if the new one is still taken, by way of a name that none can have."""
    steps = [(f"\n{who}" if who in names else who, was) for was, who in names.items()]
    return steps + [(who, f"\n{who}") for who in names.values() if who in names]


def _limit_is_ours(contents: Contents, error: sqlite3.Error) -> bool:
    """Tell whether the limit was reached, rather than the end of the disk."""
    if isinstance(error, NoRoom) or not store.is_full(error):
        return isinstance(error, NoRoom)
    (pages,), (most,) = (contents.db.execute(f"PRAGMA {n}_count").fetchone() for n in ("page", "max_page"))
    return bool(pages + 1 >= most)
