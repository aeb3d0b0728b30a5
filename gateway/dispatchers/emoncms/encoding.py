"""Frames as the rows of input/bulk: which inputs they address, and their JSON.

A null is stored as 0.0 (measured on Emoncms 11.16.8), so a row has only the values that exist.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Literal

from gateway.text.numeral import LARGEST
from gateway.text.words import as_emoncms_keeps, distinct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.frame import Frame

Keys = Literal["index", "name"]

_LONGEST = 64
"""The characters of a key; emoncms.org drops values whose key is longer."""

Reading = tuple[float, float]
"""Unix second and value."""

Inputs = dict[tuple[str, str], Reading]
"""Readings by node and key: those of one row, or those that the inputs of a server have."""


def row_of(frame: Frame, keys: Keys) -> Inputs:
    """Return the readings of a frame that a feed can hold, all of the same second."""
    labels = keys_of(frame, keys)
    # The milliseconds first: a recalculated slot time may be slightly below the full second.
    second = math.floor(round(frame.stamp.wall, 3))
    return {
        (frame.node, labels[index - 1]): (second, _number(value))
        for index, value in frame.items()
        if storable(value)
    }


def encode(rows: Iterable[Inputs]) -> str:
    """Return the JSON of a bulk request, or "" if no row has a reading.

    A row is `[seconds, node, {key: value}, ...]`, one object for each value that is there: this addresses the
    same inputs as a plain list of values does, and leaves those without a value alone.
    """
    flat = []
    for row in filter(None, rows):
        (node, _), (second, _) = next(iter(row.items()))
        flat.append([second, node, *({key: value} for (_, key), (_, value) in row.items())])
    return json.dumps(flat, allow_nan=False, ensure_ascii=False, separators=(",", ":")) if flat else ""


def storable(value: float) -> bool:
    """Tell whether a feed can hold this value."""
    return abs(value) <= LARGEST


def _number(value: float) -> float:
    whole = math.floor(value)
    return whole if whole == value else value


def keys_of(frame: Frame, keys: Keys) -> list[str]:
    """Return the key of every position: its index, or its name where that can be told from all the others.

    The others are all that have a name: a key stays the same in a frame with fewer values.
    """
    if frame.by_name:  # exactly, as a device may have posted it there before
        return distinct([as_emoncms_keeps(label)[:_LONGEST] for label in frame.labels()], numbers=True)
    every = distinct([as_kept(label) if keys == "name" else "" for label in frame.labels()])
    return every[: len(frame.values)]


def as_kept(label: str) -> str:
    """Return a label as Emoncms keeps it, without leading, trailing and repeated spaces."""
    return " ".join(as_emoncms_keeps(label).split())[:_LONGEST].rstrip()
