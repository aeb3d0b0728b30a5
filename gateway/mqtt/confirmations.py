"""Which of our messages a relay has confirmed, as it publishes that. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.mqtt.frames import parse_object

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPOCHS = 1000
"""Epochs that are remembered: a relay names sixty-four, and whoever may publish there any number."""


class Confirmations:
    """How far a relay has come with our log, by epoch. `again` is set where it asks for what it missed."""

    def __init__(self, gateway: str) -> None:
        self._gateway = gateway
        self._positions: dict[str, int] = {}
        self.last: tuple[str, int] | None = None
        self.again = False

    def take(self, payload: bytes) -> None:
        """Take note of what a relay has published; what is not for us is passed over."""
        try:
            given = parse_object(payload)
        except ValueError:
            return
        positions = given.get("positions")
        if given.get("gateway") != self._gateway or not isinstance(positions, dict):
            return
        for epoch, n in positions.items():
            if type(n) is int:
                self._positions[epoch] = max(n, self._positions.pop(epoch, -1))
        for oldest in [*self._positions][:-_EPOCHS]:
            del self._positions[oldest]
        self.again = self.again or given.get("again") is True

    def count(self, messages: Sequence[tuple[str, int]]) -> int:
        """Return how many of these, by (epoch, number), are confirmed from the front; note the last one."""
        confirmed = 0
        for own in messages:
            if self._positions.get(own[0], -1) < own[1]:
                break
            confirmed += 1
            self.last = own
        return confirmed
