"""Frames in the line protocol of InfluxDB: one line a value, always a float, at the reading's own time.

An empty tag is a parse error, and a backslash at the end of a tag breaks its line (measured on 1.6.7).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.frame import Frame

Layout = Literal["index", "name", "seed"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
"""Control characters, line ends among them: no escape makes them safe."""
_LATENCY = re.compile(r"(.+) ms")


@lru_cache(1000)  # the same few for years
def escaped(text: str, special: str = ",= ") -> str:
    """Return a tag or its key with its special characters escaped; what cannot be escaped is replaced."""
    plain = _CONTROL.sub(" ", text).replace("\\", "/")
    return re.sub(rf"([{special}])", r"\\\1", plain) if plain.strip() else ""


def line(
    measurement: str, tags: Iterable[tuple[str, str]], value: float, when: float, field: str = "value"
) -> str:
    """Return one line; tags without a value are left out. `when` is in Unix seconds."""
    keys = [escaped(measurement, ", ")]
    keys += [f"{escaped(key)}={escaped(text)}" for key, text in tags if escaped(key) and escaped(text)]
    return f"{','.join(keys)} {field}={number(value)} {round(when * 1000)}"


def number(value: float) -> str:
    """Return a number that every version takes as a float."""
    return repr(float(value)).removesuffix(".0")


@dataclass(frozen=True)
class Encoder:
    """How frames become lines.

    `index` and `name` say what tells the values of a node apart. With `seed`, the milliseconds of a probe
    become seconds in a measurement `latency`, for compatibility with the script that wrote them so.
    """

    measurement: str = "reading"
    layout: Layout = "index"
    tags: Mapping[str, str] = field(default_factory=dict)

    def lines(self, frames: Iterable[Frame]) -> Iterator[str]:
        """Yield a line for each value, and one for the signal strength of a packet."""
        for frame in frames:
            for index, value in frame.items():
                if math.isfinite(value):
                    yield self._line(frame, index, value)
            if frame.rssi is not None:
                tags = sorted({**self.tags, "node": frame.node}.items())
                yield line(self.measurement, tags, frame.rssi, frame.stamp.wall, "rssi")

    def _line(self, frame: Frame, index: int, value: float) -> str:
        name = frame.name(index)
        if not frame.by_name and frame.names.count(name) > 1:
            name = ""  # the points of two values with one name would be the same one
        if self.layout == "seed" and (found := _LATENCY.fullmatch(name)):
            return self._latency(frame, found[1], value)
        by_name = frame.by_name or (self.layout == "name" and name)
        which = {"name": name} if by_name else {"index": str(index)}
        tags = sorted({**self.tags, "node": frame.node, **which}.items())
        return line(self.measurement, tags, value, frame.stamp.wall)

    def _latency(self, frame: Frame, service: str, milliseconds: float) -> str:
        others = dict(zip(frame.names, frame.values, strict=False))
        code = others.get(f"{service} code")
        tags = {"service": service, "code": "" if code is None else number(code), "status": "0", **self.tags}
        return line("latency", tags.items(), round(milliseconds / 1000, 6), frame.stamp.wall)
