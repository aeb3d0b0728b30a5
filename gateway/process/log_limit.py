"""How often the same is logged: once an hour, however often it happens."""

from __future__ import annotations

import math

_HOUR = 3600.0


class LogLimit:
    """Allows each message once an hour, and `most` messages in that time; `now` is of the monotonic clock."""

    def __init__(self, most: float = math.inf) -> None:
        self._most = most
        self._logged: dict[str, float] = {}

    def allows(self, text: str, now: float) -> bool:
        """Tell whether a message is to be logged, and take it as logged then."""
        self._logged = {each: at for each, at in self._logged.items() if now < at + _HOUR}
        if text in self._logged or len(self._logged) >= self._most:
            return False
        self._logged[text] = now
        return True
