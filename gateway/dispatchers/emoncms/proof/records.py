"""Inputs and feeds as an Emoncms server describes them, and the processes that log the ones to the others.

The calls were measured on Emoncms 11.16.8 and read in its source. PHP gives a list or an object, numbers or
text as it comes: whatever says the same is taken.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.text.numeral import from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

PHPFINA = 5
"""The engine of feeds that have a slot for every so many seconds."""
PHPTIMESERIES = 2
"""The engine of feeds that have values at any second."""
SHORTEST = 10
"""Seconds of a slot, at least: Emoncms raises what is below."""


class Process(NamedTuple):
    """What is done with a value, by the two names that lists have for it: of old and of late."""

    number: str
    function: str


LOG = Process("1", "process__log_to_feed")
"""Puts the value in a feed, whose id is its argument."""
ENERGY = Process("4", "process__power_to_kwh")
"""Adds to a feed the kWh of a power in W since the last value; the value goes on as it came."""
_LOGGING = (*LOG, "process__log_to_feed_join")
_NUMBERS = ("2", "process__scale", "3", "process__offset")
"""Processes whose argument is a number, and no feed."""
_ID = re.compile(r"[0-9]{1,18}")
_LONGEST_UNIT = 10
"""Bytes of a unit: MySQL refuses a longer one, and PHP ends with that (feed_schema.php, feed_model.php)."""


@dataclass(frozen=True)
class Input:
    """An input; `time`, in Unix seconds, and `value` are None where nothing has come yet.

    `processes` is what is done with a value, as in "2:0.1,1:7": it is scaled, then logged to feed 7.
    """

    id: int
    node: str
    key: str
    description: str
    processes: str
    time: float | None
    value: float | None

    def logs(self) -> Iterator[tuple[int, bool]]:
        """Yield the id of each feed that it is logged to, and whether its value is logged as it came."""
        as_it_came = True
        for name, ids in self._steps():
            if name in _LOGGING and ids:
                yield ids[0], as_it_came
            elif name not in ENERGY:
                as_it_came = False

    def energy(self) -> list[int]:
        """Return the ids of the feeds of kWh that it adds to."""
        return [ids[0] for name, ids in self._steps() if name in ENERGY and ids]

    def feeds(self) -> set[int]:
        """Return the ids of all feeds that may be written to by what is done with its values."""
        return {number for name, ids in self._steps() if name not in _NUMBERS for number in ids}

    def _steps(self) -> Iterator[tuple[str, list[int]]]:
        """Yield the name of each process, and those of its arguments that may be ids."""
        for step in self.processes.split(","):
            name, *arguments = step.split(":")
            yield name, [int(argument) for argument in arguments if _ID.fullmatch(argument)]


@dataclass(frozen=True)
class Feed:
    """A feed; `interval` is 0 where that is not told, and `unit` None.

    `time` is when a value was last meant for it, in Unix seconds: None for never, infinity where that is not
    told. It is no proof that the value was stored.
    """

    id: int
    tag: str
    name: str
    engine: int
    interval: int
    time: float | None
    unit: str | None = None

    def __str__(self) -> str:
        return f"feed {self.id} ({self.tag}: {self.name})" if self.tag else f"feed {self.id} ({self.name})"


def read_inputs(answer: Any) -> list[Input]:  # noqa: ANN401  (JSON)
    """Return what an answer to input/list says; ValueError, TypeError or KeyError where it is none."""
    return [
        Input(
            id=read_id(row["id"]),
            node=read_text(row["nodeid"]) or "0",
            key=read_text(row["name"]),
            description=read_text(row.get("description")),
            processes=read_processes(row.get("processList")),
            time=_number(row.get("time")),
            value=_number(row.get("value")),
        )
        for row in read_rows(answer)
    ]


def read_feeds(answer: Any) -> list[Feed]:  # noqa: ANN401  (JSON)
    """Return what an answer to feed/list says; ValueError, TypeError or KeyError where it is none."""
    return [
        Feed(
            id=read_id(row["id"]),
            tag=read_text(row.get("tag")),
            name=read_text(row["name"]),
            engine=int(_number(row.get("engine")) or 0),
            interval=int(_number(row.get("interval")) or 0),
            time=_number(row["time"]) or None if "time" in row else math.inf,
            unit=read_text(row["unit"]).strip() if "unit" in row else None,
        )
        for row in read_rows(answer)
    ]


def read_slot(answer: Any, start: int) -> float | None:  # noqa: ANN401  (JSON)
    """Return the value that an answer to feed/data has for a slot; older servers give milliseconds.

    None where the slot is empty; ValueError or TypeError where it is no such answer.
    """
    if not isinstance(answer, list):
        raise TypeError
    return next((_number(value) for time, value in answer if _number(time) in (start, start * 1000)), None)


def read_interval(answer: Any) -> int:  # noqa: ANN401  (JSON)
    """Return the seconds of a slot, by feed/getmeta; ValueError, TypeError or KeyError where it is none."""
    interval = read_id(answer["interval"])
    if interval < 1:
        raise ValueError
    return interval


def read_id(value: object) -> int:
    """Return an id; ValueError where it is none."""
    number = from_json(value)
    if number is None:
        raise ValueError
    return int(number)


def read_rows(answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401  (JSON)
    """Return the entries of a list; TypeError where it is none."""
    rows = [*answer.values()] if isinstance(answer, dict) else [*answer]
    if not all(isinstance(row, dict) for row in rows):
        raise TypeError
    return rows


def read_text(value: object) -> str:
    """Return a text, "" where it is null."""
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:  # noqa: ANN401  (JSON)
    with suppress(TypeError, ValueError, OverflowError):
        number = from_json(value)
        return None if number is None else float(number)
    return None


def read_processes(value: Any) -> str:  # noqa: ANN401  (JSON)
    """Return a list of processes as text, which it is in most answers."""
    if isinstance(value, list):
        return ",".join(":".join(map(str, [step["fn"], *step["args"]])) for step in value)
    return read_text(value)


def feed_part(text: str) -> str:
    """Return the tag or name of a feed as Emoncms takes it (feed_model.php): a dot is refused there."""
    return " ".join(re.sub(r"[^\w\s-]", " ", text).split())[:64].rstrip()


def feed_unit(text: str) -> str:
    """Return the unit of a feed as Emoncms takes it, and its own dashboards know it; "" where it has none."""
    unit = text.strip()
    if unit.lower() in ("c", "°c"):
        return "°C"
    if len(unit.encode()) > _LONGEST_UNIT or re.search(r"[&<>\"'\\]", unit) or not unit.isprintable():
        return ""
    return unit
