"""The base of listeners that read their values at fixed times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from gateway.frame import Frame, check_node
from gateway.listener import Listener, Series
from gateway.settings import at_least, setting
from gateway.text.numeral import bounded
from gateway.times.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.flag import Flag


@dataclass(kw_only=True)
class Sampler(Listener):
    """Reads its values every `interval` seconds of the wall clock: 10 s is :00 :10 :20."""

    node: str = setting(check=check_node, hint="what Emoncms is to show as the node, such as 9")
    interval: float = setting(10.0, check=at_least(1))

    NAMES_NODES: ClassVar = False
    SCALES: ClassVar = False

    def sample(self) -> Sequence[float | None]:
        """Return the values, by index from 1, None or NaN if there is none now; no values give no frame.

        Raises OSError if the device itself is not there.
        """
        raise NotImplementedError

    def labels(self) -> Sequence[str]:
        """Return what people call the values, by index from 1; no I/O."""
        return ()

    def catalogue(self) -> Iterable[Series]:
        """Return the values that have a label, or the whole node if there is none."""
        labels = self.labels()
        return [
            Series(node=self.node, index=index, label=label, interval=self.interval)
            for index, label in enumerate(labels, 1)
        ] or [Series(node=self.node, interval=self.interval)]

    def read(self, stop: Flag) -> list[Frame]:
        """Wait for the next point of the grid and return one frame with its time."""
        stamp = self._grid.wait(stop)
        sampled = self.sample() if stamp else ()
        values = tuple(None if value is None else bounded(value) for value in sampled)
        if not stamp or not values:
            return []
        return [Frame(self.node, values, stamp, names=self._names, source=self.name)]

    @cached_property
    def _grid(self) -> Grid:
        return Grid(self.interval, self.clock)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        labels = {series.index: series.label for series in self.catalogue() if series.index}
        return tuple(labels.get(index, "") for index in range(1, max(labels, default=0) + 1))
