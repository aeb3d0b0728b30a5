"""Short texts by name that are kept with the frames, and the epochs in which ids of frames were given."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from typing import TYPE_CHECKING

from gateway.spool.places import PROVISIONAL

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

_EPOCH = "epoch "

NOT_KEPT = "not kept "
"""Prefix of a dispatcher's name in the queue's notes: its far end has not kept what it shows."""

FAILED = "failed "
"""The same: how its far end failed in the middle of the batch that was sent last, and the last id of that."""


class Notes:
    """Texts in the file of the queue; what is new is written in the same transaction as frames are."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._new: set[str] = set()

    @property
    def is_written(self) -> bool:
        """Whether the file has all of them."""
        return not self._new

    def load(self, db: sqlite3.Connection) -> None:
        """Read the file; what memory has is newer, and is written again."""
        rows = db.execute("SELECT name, value FROM notes")
        on_disk = {name: text for name, text in rows if isinstance(name, str) and isinstance(text, str)}
        self._new |= {name for name in self._texts if self._texts[name] != on_disk.get(name)}
        self._texts = {**on_disk, **self._texts}

    def update(self, texts: Mapping[str, str]) -> None:
        """Take these over; an empty text takes a note away."""
        self._texts.update(texts)
        self._new.update(texts)

    def write(self, db: sqlite3.Connection) -> None:
        """Write what is new; call `written` once that is committed."""
        rows = [(name, self._texts[name]) for name in self._new]
        db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", [row for row in rows if row[1]])
        db.executemany("DELETE FROM notes WHERE name = ?", [(name,) for name, text in rows if not text])

    def written(self) -> None:
        """Take note that the file has them."""
        self._texts = {name: text for name, text in self._texts.items() if text}
        self._new.clear()

    def below(self, prefix: str) -> dict[str, str]:
        """Return those whose names begin with this, without it; any thread may ask."""
        return {
            name.removeprefix(prefix): text
            for name, text in self._texts.copy().items()
            if name.startswith(prefix) and text
        }


class Epochs:
    """Which epoch an id belongs to: the pair is unique, even if an id is used twice.

    After a power cut, or if the disk refused, ids that were sent may be given again. So each start of the
    gateway begins an epoch. What came while the file could not be read has one of its own: so the ids of an
    epoch are delivered in order.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._in_memory = secrets.token_hex(4)
        self._firsts: list[int] = []
        self._names: list[str] = []

    @property
    def are_known(self) -> bool:
        """Whether the ids of the file are known: it could be read."""
        return bool(self._firsts)

    def begin(self, first: int, oldest: int) -> None:
        """Begin an epoch with the id `first`, unless one is begun; no frame has an id below `oldest`."""
        if not self._firsts:
            self._begin(first, oldest)

    def begin_another(self, first: int, oldest: int) -> None:
        """Begin another epoch of this run: frames from `first` on are delivered before older ones."""
        if self._firsts and first > self._firsts[-1]:
            self._begin(first, oldest)

    def _begin(self, first: int, oldest: int) -> None:
        if first >= PROVISIONAL:
            return
        known = {int(name[:18]): text for name, text in self._notes.below(_EPOCH).items() if name.isdecimal()}
        known = known or {0: secrets.token_hex(4)}
        last = max((begun for begun in known if begun <= oldest), default=0)
        kept = {begun: name for begun, name in known.items() if begun >= last}
        kept[first] = secrets.token_hex(4)
        self._notes.update({f"{_EPOCH}{begun}": kept.get(begun, "") for begun in {**known, **kept}})
        self._firsts = sorted(kept)
        self._names = [kept[begun] for begun in self._firsts]

    def of(self, number: int) -> str:
        """Return the epoch of an id."""
        if number >= PROVISIONAL or not self._firsts:
            return self._in_memory
        return self._names[max(0, bisect_right(self._firsts, number) - 1)]
