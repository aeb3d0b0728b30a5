"""How often the same message is logged: once an hour, however often it occurs."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_HOUR = 3600.0


class LogLimit:
    """Allows each message once an hour, and `most` messages in that time; `now` is of the monotonic clock."""

    def __init__(self, most: float = math.inf) -> None:
        self._most = most
        self._logged: dict[str, float] = {}

    def allows(self, text: str, now: float) -> bool:
        """Tell whether to log a message; if so, it counts as logged."""
        self._logged = {each: at for each, at in self._logged.items() if now < at + _HOUR}
        if text in self._logged or len(self._logged) >= self._most:
            return False
        self._logged[text] = now
        return True


class LimitedLog(logging.LoggerAdapter[logging.Logger]):
    """A log that has the same line once an hour, and `most` lines in that time.

    `now` is the monotonic clock.
    """

    def __init__(self, log: logging.Logger, now: Callable[[], float], most: float = math.inf) -> None:
        super().__init__(log)
        self._now = now
        self._limit = LogLimit(most)

    def log(self, level: int, msg: object, *args: object, **more: Any) -> None:  # noqa: ANN401  (as in its base)
        """Log a line, unless the limit is reached."""
        if self.isEnabledFor(level) and self._limit.allows(str(msg) % args, self._now()):
            super().log(level, msg, *args, **more)
