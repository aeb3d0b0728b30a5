"""Whether a far end has kept what it shows as arrived, and how it failed last: both outlive a restart.

One that shows frames before it stores them may not have stored them, if its disk is full. Only an answer
says so; if that was lost, the next ones do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.spool.notes import FAILED, NOT_KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.spool import Spool
    from gateway.workers.worker import Worker

_ANSWERS = 10
"""Good answers after which what was shown counts as kept, though none of them was to frames of its nodes."""


class Kept:
    """What the worker of a dispatcher, which an edit may rename, knows about what is kept.

    If what its far end shows is not `trusted`, everything is sent again. It is `sure` if each node that
    was only shown has had a good answer since.
    """

    def __init__(self, spool: Spool, worker: Worker[Any]) -> None:
        self.trusted = True
        self._spool = spool
        self._worker = worker
        self._only_shown: dict[str, int] = {}
        self._failed = ("", 0)

    @property
    def sure(self) -> bool:
        """Whether all that counts as delivered has been kept, as far as answers can tell."""
        return not self._only_shown

    def recall(self) -> tuple[str, int]:
        """Go on with what an earlier run has noted; return how its far end failed, and up to which id."""
        self.trusted = self._worker.name not in self._spool.notes.below(NOT_KEPT)
        how, _, upto = self._spool.notes.below(FAILED).get(self._worker.name, "").rpartition(" ")
        self._failed = (how, int(upto[:18])) if upto.isdecimal() else ("", 0)
        return self._failed

    def shown(self, nodes: Iterable[str]) -> None:
        """Note that frames of these nodes are shown as arrived, after an answer that was lost."""
        self._only_shown |= dict.fromkeys(nodes, _ANSWERS)

    def taken(self, nodes: set[str], upto: int) -> None:
        """Note that an answer says that frames of these nodes were taken, up to this id."""
        self._only_shown = {
            node: left - 1 for node, left in self._only_shown.items() if node not in nodes and left > 1
        }
        if not self.trusted:
            with self._spool.lock:
                has_all = upto >= self._spool.sent(self._worker.name)[0]  # that was sent before, too
            self._note(trusted=has_all)

    def not_kept(self) -> None:
        """Note that an answer says that nothing was kept: what was only shown is sent again."""
        self._only_shown.clear()
        self._note(trusted=False)
        with self._spool.lock:
            if not self._worker.is_replaced:
                self._spool.go_back(self._worker.name)

    def failed(self, how: str, upto: int = 0) -> tuple[str, int]:
        """Note for the next start how the far end failed in the middle of a frame; return the note before.

        `upto` is the id of the last frame that was sent. The note is needed until the next batch is sent, as
        the far end shows the frame in which it failed as arrived. Without `how` there is none.
        """
        before, self._failed = self._failed, (how, upto if how else 0)
        if self._failed != before:
            self._keep(FAILED, f"{how} {upto}" if how else "")
        return before

    def _note(self, *, trusted: bool) -> None:
        """Note it for the next start as well."""
        if trusted != self.trusted:
            self.trusted = trusted
            self._keep(NOT_KEPT, "" if trusted else "since the last batch")

    def _keep(self, prefix: str, text: str) -> None:
        """Write a note of the dispatcher, under the name that it has now: an edit may rename it meanwhile."""
        with self._spool.lock:
            if not self._worker.is_replaced:
                self._spool.notes.update({f"{prefix}{self._worker.name}": text})
        self._spool.put(())
