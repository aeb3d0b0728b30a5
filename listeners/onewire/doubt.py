"""How long a sensor's line is doubted after damage, and what is believed meanwhile: what comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DOUBTS = 100
"""After damage, how many of a sensor's scratchpads have to come twice until once is enough again."""

_REREADS = 4


class Doubt:
    """The doubt in one sensor's scratchpads.

    The CRC lets through 0.8 % of what damages four bits, or more if their number is even.
    """

    def __init__(self) -> None:
        self._left = 0

    def distrust(self) -> None:
        """Begin, or begin again: something has come damaged."""
        self._left = DOUBTS

    def confirm(self, first: bytes, again: Callable[[], bytes]) -> bytes:
        """Return what came first; in doubt what came twice of it and what comes again, b"" if nothing did."""
        if not self._left:
            return first
        self._left -= 1
        return what_comes_twice(first, again)


def what_comes_twice(first: bytes, again: Callable[[], bytes]) -> bytes:
    """Return the first to come a second time, of `first` and some more; b"" if nothing does."""
    came = {first}
    for _ in range(_REREADS):
        following = again()
        if following in came:
            return following
        came.add(following)
    return b""
