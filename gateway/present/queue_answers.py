"""What `oemgateway queue` asks of the queue, in JSON's terms, whether a gateway runs or not.

Each answer is a short piece, and says in `more` what to ask for next (null: that was all). So a million
frames neither delay listeners and dispatchers nor fill the memory.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from gateway.clock import Clock
from gateway.present.exchange import from_object, to_object
from gateway.spool.refused import CURE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.frame import Stamp
    from gateway.spool import Refused, Spool

log = logging.getLogger("oemgateway.queue")

_PIECE = 500
"""Frames in one answer."""
_IDS = 2000
"""Ids that are passed over in one step of a drop."""
_LARGEST_ID = 2**63 - 1
"""The largest id that a file of SQLite can have."""
_VALUES = 1_000_000
"""The most values that are put into the queue at a time; {"9999": 1} are 9999 of them."""
_FULL = f"so much was refused that the oldest of it is dropped (max_refused, max_refused_size); {CURE}"
AHEAD = 60.0
"""Seconds by which a reading's clock may be ahead of ours."""


class QueueAnswers:
    """The answers for one queue. Each may raise OSError for the disk, and ValueError for what was asked.

    Whoever may open the socket may send any JSON in place of each argument.
    """

    def __init__(
        self, spool: Spool, clock: Clock | None = None, *, taking_out: Callable[[str], None] = lambda _: None
    ) -> None:
        """`taking_out` is called with a dispatcher before its refused frames wait again, or are dropped."""
        self._spool = spool
        self._clock = clock or Clock()
        self._taking_out = taking_out

    def by_name(self) -> dict[str, Callable[..., Any]]:
        """Return the answers by the names of their questions."""
        return {
            "queue": self.status,
            "queue-waiting": self.waiting,
            "queue-refused": self.refused,
            "queue-admit": self.admit,
            "queue-retry": self.retry,
            "queue-drop-refused": self.drop_refused,
            "queue-drop-waiting": self.drop_waiting,
        }

    def status(self) -> dict[str, Any]:
        """Return the state of the queue, per dispatcher; for those that are gone, what they refused."""
        known, refused = self._spool.dispatchers, self._spool.refused_totals
        gone = sorted(refused.by.keys() - known)
        return {
            "dispatchers": {who: self._standing(who) | {"gone": who in gone} for who in known + gone},
            "unclaimed": self._spool.standing("").waiting,
            "dropped": self._spool.dropped,
            "refused_dropped": refused.dropped,
            "refused_trouble": _FULL if refused.full else "",
            "bytes": self._spool.size,
            "trouble": self._spool.trouble,
        }

    def _standing(self, who: str) -> dict[str, Any]:
        waiting, held, refused, oldest = self._spool.standing(who)
        return {
            "waiting": waiting,
            "oldest": oldest and oldest.stamp.wall,
            "age": oldest and round(self._age(oldest.stamp), 1),
            "held": held,
            "refused": refused,
        }

    def _age(self, stamp: Stamp) -> float:
        """Return seconds that are right within a boot, whatever the wall clock showed."""
        now = self._clock.now()
        if stamp.boot and stamp.boot == now.boot:
            return now.boottime - stamp.boottime
        return max(0.0, now.wall - stamp.wall)

    def waiting(self, who: str = "", after: int = 0) -> dict[str, Any]:
        """Return the frames that wait, for a dispatcher or at all; `dispatcher`: it alone."""
        self._check(who)
        _check_id(after, "after")
        page = self._spool.waiting(after=after, limit=_PIECE, who=who)
        rows = [
            to_object(frame) | ({"dispatcher": whose} if whose else {}) | ({"undated": True} if held else {})
            for _, frame, whose, held in page
            if not who or whose in ("", who)
        ]
        return {"rows": rows, "more": {"who": who, "after": page[-1].number} if len(page) == _PIECE else None}

    def refused(self, who: str, after: int = 0) -> dict[str, Any]:
        """Return the frames that were set aside for a dispatcher, with the reason."""
        page, more = self._aside(who, after)
        rows = [
            to_object(frame) | {"dispatcher": who, "reason": reason} | ({"undated": True} if undated else {})
            for frame, reason, _, who, undated in page
        ]
        return {"rows": rows, "more": more}

    def _aside(self, who: str, after: int) -> tuple[Sequence[Refused], dict[str, Any] | None]:
        _check_text(who)
        _check_id(after, "after")
        page = self._spool.refused(who, after=after, limit=_PIECE)
        return page, {"who": who, "after": page[-1].number} if len(page) == _PIECE else None

    def admit(self, rows: Sequence[Any]) -> dict[str, int]:
        """Put readings at the end of the queue, all of them or none."""
        if not isinstance(rows, list):
            raise ValueError("rows: a list of readings expected")
        latest = self._clock.wall() + AHEAD
        frames = []
        count = 0
        for row in rows:
            frame, whose = from_object(row, latest=latest), row.get("dispatcher", "")
            self._check(whose)
            frames.append((frame, whose))
            count += len(frame.values)
            if count > _VALUES:
                raise ValueError(f"rows: at most {_VALUES} values at a time, gaps included")
        self._spool.admit(frames)
        return {"count": len(frames)}

    def retry(self, who: str, after: int = 0, before: int | None = None) -> dict[str, Any]:
        """Put what was set aside for a dispatcher at the end of the queue, for it alone.

        What is `undated` stays, and so does what is refused again meanwhile.
        """
        self._check(who)
        before = self._spool.end if before is None else before
        _check_id(before, "before")
        page, more = self._aside(who, after)
        again = [refused for refused in page if refused.number < before and not refused.undated]
        self._taking_out(who)
        self._spool.admit([(refused.frame, who) for refused in again], instead_of=again)
        undated = sum(refused.undated for refused in page)
        return {"count": len(again), "undated": undated, "more": more and {**more, "before": before}}

    def drop_refused(self, who: str, after: int = 0) -> dict[str, Any]:
        """Forget what was set aside for a dispatcher."""
        page, more = self._aside(who, after)
        if page and not after:
            log.info("the readings that were set aside for %s are dropped by hand", who)
        self._taking_out(who)
        self._spool.admit([], instead_of=page)
        return {"count": len(page), "more": more}

    def drop_waiting(self, who: str = "", before: int | None = None) -> dict[str, Any]:
        """Forget what waits for a dispatcher, or for all; what comes meanwhile stays."""
        self._check(who)
        if before is not None:
            _check_id(before, "before")
        else:
            log.info("the readings that wait for %s are dropped by hand", who or "all")
            before = self._spool.end
        count, more = self._spool.skip(who, before=before, limit=_IDS)
        return {"count": count, "more": {"who": who, "before": before} if more else None}

    def _check(self, who: str) -> None:
        _check_text(who)
        known = self._spool.dispatchers
        if who and who not in known:
            raise ValueError(f"dispatcher {who}: none has that name; there are: {', '.join(known) or 'none'}")


def _check_text(who: object) -> None:
    if not isinstance(who, str) or not who.isprintable():  # half of a surrogate pair is not
        raise ValueError(f"who: the name of a dispatcher expected, not {who!r:.40}")


def _check_id(number: object, key: str) -> None:
    if type(number) is not int or not 0 <= number <= _LARGEST_ID:
        raise ValueError(f"{key}: a whole number from 0 to {_LARGEST_ID} expected, not {number!r:.40}")
