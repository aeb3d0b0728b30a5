"""How far each gateway's log has arrived here: nothing is taken twice, and nothing out of order. Pure."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from gateway.mqtt.frames import as_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.mqtt.frames import Identity

K = TypeVar("K")
T = TypeVar("T")

_EPOCHS = 64
"""Epochs of one gateway that are remembered; each start of it begins one, and a batch has eight at most.

A copied card takes a gateway back by many starts, and what it sends again has to be recognised.
"""

_GATEWAYS = 10_000
"""Gateways that are remembered: whoever may publish here can make up any number of them."""


def put_last(remembered: dict[K, T], name: K, given: T) -> None:
    """Put an entry of a gateway or a node last; of too many the first is forgotten."""
    remembered.pop(name, None)
    remembered[name] = given
    if len(remembered) > _GATEWAYS:
        del remembered[next(iter(remembered))]


class Verdict(Enum):
    """What is to be done with a message."""

    NEW = "it is taken"
    UNKNOWN_BEFORE = "it is taken; the message before it was acknowledged, and is not known here"
    STORED = "it is here already"
    OUT_OF_ORDER = "the message before it is missing"


class Positions:
    """The highest number of each gateway and epoch, by (gateway, epoch), the latest at the end."""

    def __init__(self, kept: Mapping[str, str]) -> None:
        """`kept` has them as `changes` gives them."""
        rows = sorted(filter(None, (_row(*item) for item in kept.items())))
        self._order = rows[-1][0] if rows else 0
        self._numbers: dict[str, dict[str, int]] = {}
        for _, gateway, epoch, number in rows:
            self._latest(gateway)[epoch] = number

    def _latest(self, gateway: str) -> dict[str, int]:
        """Return the numbers of a gateway, which is put at the end."""
        self._numbers[gateway] = numbers = self._numbers.pop(gateway, {})
        return numbers

    def judge(self, message: Identity) -> Verdict:
        """Return whether a message is the next of its gateway."""
        numbers = self._numbers.get(message.gateway, {})
        if numbers.get(message.epoch, -1) >= message.n:
            return Verdict.STORED
        if message.after is None:
            return Verdict.NEW  # the sender knows that everything before it has arrived
        epoch, n = message.after
        if numbers.get(epoch, -1) >= n:
            return Verdict.NEW
        if message.acked and message.acked[0] == epoch and message.acked[1] >= n:
            return Verdict.UNKNOWN_BEFORE
        return Verdict.OUT_OF_ORDER

    def advance(self, message: Identity) -> dict[str, str]:
        """Note that a message is taken; return what is to be kept with it, "" for what goes."""
        numbers = self._latest(message.gateway)
        numbers.pop(message.epoch, None)
        numbers[message.epoch] = message.n
        self._order += 1
        changes = {f"{message.gateway} {message.epoch}": f"{self._order} {message.n}"}
        while len(numbers) > _EPOCHS:
            oldest = next(iter(numbers))
            del numbers[oldest]
            changes[f"{message.gateway} {oldest}"] = ""
        while len(self._numbers) > _GATEWAYS:
            silent = next(iter(self._numbers))
            changes |= dict.fromkeys((f"{silent} {epoch}" for epoch in self._numbers.pop(silent)), "")
        return changes

    def all(self) -> dict[str, dict[str, int]]:
        """Return the positions of all gateways."""
        return {gateway: dict(numbers) for gateway, numbers in self._numbers.items()}

    def of(self, gateway: str) -> dict[str, int]:
        """Return the positions of a gateway by epoch."""
        return dict(self._numbers.get(gateway, {}))


def _row(name: str, text: str) -> tuple[int, str, str, int] | None:
    """Return the order, gateway, epoch and number of a position that was kept."""
    gateway, _, epoch = name.partition(" ")
    order, _, number = text.partition(" ")
    return (int(order), gateway, epoch, int(number)) if order.isdecimal() and number.isdecimal() else None


def answer(gateway: str, relay: str, positions: Mapping[str, int], *, again: bool = False) -> bytes:
    """Return what a relay publishes of a gateway's positions; `again`: it is to go back to there."""
    return as_json({"gateway": gateway, "relay": relay, "positions": dict(positions), "again": again})
