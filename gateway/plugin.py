"""The contract of a plugin: a keyword-only dataclass whose fields are its settings, and a few methods.

The core calls a plugin from one thread at a time and owns timing, retry and logging. `OSError` is weather:
logged once, closed, opened again after a while. Any other exception is a bug: logged with its traceback, and
tried again all the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.settings import at_least, between, setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.flag import Flag
    from gateway.frame import Frame


@dataclass(kw_only=True)
class Plugin:
    """What listeners and dispatchers share. `name` (its section's) and `clock` are given by the core."""

    active: bool = setting(default=True)
    name: str = field(default="", init=False, compare=False)
    clock: Clock = field(default_factory=Clock, init=False, compare=False, repr=False)

    @property
    def log(self) -> logging.Logger:
        """The logger of this section."""
        return logging.getLogger(f"oemgateway.{self.name}")

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return (key, message) of what is allowed but worth a word; no I/O."""
        return ()

    def open(self) -> None:
        """Acquire what it works on; OSError where that is not there yet."""

    def close(self) -> None:
        """Release it; may be called twice, and without an `open`."""


@dataclass(kw_only=True)
class Listener(Plugin):
    """A source of frames."""

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for what comes, or for `stop`, and return it: one list is one transaction on the disk."""
        raise NotImplementedError

    def claims(self) -> dict[str, Mapping[int, str]]:
        """Return the indices it writes, by node, where the configuration fixes them, and what stands at each.

        That is an identity which is the sensor's own, so that a sensor that moves can be told ("": none).
        """
        return {}

    @property
    def simulated(self) -> bool:
        """Whether its readings are made up."""
        return False


@dataclass(kw_only=True)
class Dispatcher(Plugin):
    """A destination of frames, asked `interval` seconds apart (0: at once) with at most `batch` of them."""

    interval: float = setting(0.0, check=at_least(0))
    batch: int = setting(100, check=between(1, 1000))

    def send(self, frames: Sequence[Frame]) -> None:
        """Deliver all of these, oldest first; raise one of the failures below otherwise, or OSError."""
        raise NotImplementedError

    def delivered(self, frames: Sequence[Frame]) -> int | None:  # noqa: ARG002  (the default cannot tell)
        """Return how many of these, from the front, the far end has already, or None if it cannot tell."""
        return None


class DeliveryFailure(Exception):
    """A delivery that did not happen, or may not have; the message is one line for the log."""


class TryLater(DeliveryFailure):
    """Nothing was taken, and the frames are not to blame: try the same again after a while."""


class HoldEverything(DeliveryFailure):
    """A key, an address or the far end's own house is wrong: nothing will pass until someone mends it."""


class BadFrame(DeliveryFailure):
    """The far end refuses something in this batch: send less of it at a time, until the frame is found."""


class OutcomeUnknown(DeliveryFailure):
    """The batch was sent and the answer lost: ask `delivered` before any of it is sent again."""
