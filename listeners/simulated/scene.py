"""The 1-Wire bus of the demo: a bridge with five thermometers, one of which has a loose connection."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from gateway.process.log_limit import LimitedLog
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from gateway.clock import Clock

CELLAR, FLOW, RETURN, OUTSIDE, TANK = SIMULATED_IDS = (
    "28.33F749050000",
    "28.DB564A050000",
    "28.AB1663050000",
    "28.4C92D4060000",
    "28.E01A77070000",
)

ROUND_S, UNPLUGGED_S = 30.0, range(10, 18)
"""In these seconds of every thirty the loose sensor, at the return, is off the line."""

_log = logging.getLogger("oemgateway.simulated")


def demo_bridge(clock: Clock, named: Collection[str]) -> Ds2482:
    """Return the demo's bridge; its first thirty seconds begin now.

    `named` are the ids of the sensors that are read: only for these does the log say what happens.
    """
    return Ds2482(
        clock,
        [
            Ds18b20(CELLAR, _swinging(11.25, 0.375, 900.0)),
            Ds18b20(FLOW, _swinging(41.0, 4.0, 180.0)),
            LooseSensor(
                RETURN,
                _swinging(33.0, 3.0, 180.0, lag=20.0),
                clock.monotonic(),
                LimitedLog(_log, clock.monotonic) if RETURN in named else None,
            ),
            Ds18b20(OUTSIDE, _swinging(-4.5, 1.25, 600.0)),
            Ds18b20(TANK, _swinging(52.0, 1.5, 300.0)),
        ],
    )


class LooseSensor(Ds18b20):
    """A sensor that is unplugged and plugged in again, which its log says if it has one.

    It checks the time whenever the line is reset: without a reset no driver could notice.
    """

    def __init__(
        self,
        rom_id: str,
        temperature: Callable[[float], float],
        start: float,
        log: LimitedLog | None,
    ) -> None:
        super().__init__(rom_id, temperature)
        self._start = start
        self._log = log

    def reset(self, now: float) -> bool:
        """Be there or not, by the time, and then hear the reset pulse."""
        plugged_in = int((now - self._start) % ROUND_S) not in UNPLUGGED_S
        if plugged_in != self.present:
            self.present = plugged_in
            if self._log:
                what = "is plugged in again" if plugged_in else "is unplugged"
                self._log.warning(f"{self.id[:7]}… {what} (simulated)")
        return super().reset(now)


def _swinging(mean: float, by: float, period: float, lag: float = 0.0) -> Callable[[float], float]:
    return lambda now: mean + by * math.sin(math.tau * (now - lag) / period)
