"""The time between two requests to a server, or a proxy before it, that allows only so many."""

from __future__ import annotations

import math

from gateway.clock import Clock

_TOO_MANY = (429, 503)
"""What a limit answers; 503 is the default of nginx's limit_req."""
_FIRST, _LONGEST = 0.25, 4.0
"""Seconds between two requests, at first and at most."""
_SOON = 2.0
"""Seconds after an accepted request in which the next may be refused for coming too soon."""
_KEPT = 60.0
"""Seconds after which a limit is believed to be gone."""


class Pace:
    """Keeps requests apart once one was refused because it followed another too soon.

    A limit without a burst refuses the second of any two. A pause after the failure is no cure, as more than
    one request is made then. A server that is down refuses all requests, and is not waited for here: only a
    refusal right after an accepted request shows a limit.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self._apart = 0.0
        self._until = self._last = self._taken = -math.inf

    def wait(self) -> None:
        """Wait until the next request may be made."""
        now = self.clock.monotonic()
        if now >= self._until:
            self._apart = 0.0
        elif (wait := self._last + self._apart - now) > 0:
            self.clock.sleep(wait)

    def answered(self, status: int) -> None:
        """Note an answer."""
        before, self._last = self._last, (now := self.clock.monotonic())
        if status not in _TOO_MANY:
            self._taken = now
        elif self._taken == before and now < self._taken + max(2 * self._apart, _SOON):
            self._apart = min(_LONGEST, 2 * self._apart or _FIRST)
            self._until = now + _KEPT
        elif now >= self._taken + 2 * _LONGEST:
            self._until = now  # it is an outage
