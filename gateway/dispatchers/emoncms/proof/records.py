"""Inputs and feeds as an Emoncms server lists them, and the processes that log inputs to feeds.

The calls were measured on Emoncms 11.16.8 and read in its source. PHP answers with a list or an object, with
numbers or text: each of them is accepted.
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
"""The engine of feeds with a slot for every interval."""
PHPTIMESERIES = 2
"""The engine of feeds with values at any second."""
SHORTEST = 10
"""The least seconds of a slot: Emoncms raises smaller ones."""


class Process(NamedTuple):
    """What is done with a value, by its old and its new name in process lists."""

    number: str
    function: str


LOG = Process("1", "process__log_to_feed")
"""Writes the value to the feed whose id is its argument."""
ENERGY = Process("4", "process__power_to_kwh")
"""Adds the kWh of a power in W since the last value to a feed, and passes the value on unchanged."""
_LOGGING = (*LOG, "process__log_to_feed_join")
_NUMBERS = ("2", "process__scale", "3", "process__offset")
"""Processes whose argument is a number and not a feed."""
_ID = re.compile(r"[0-9]{1,18}")
_LONGEST_UNIT = 10
"""The most bytes of a unit: MySQL refuses a longer one, which ends PHP (feed_schema.php, feed_model.php)."""


@dataclass(frozen=True)
class Input:
    """An input; `time`, in Unix seconds, and `value` are None if nothing has come yet.

    `processes` is what is done with a value: "2:0.1,1:7" scales it, then logs it to feed 7.
    """

    id: int
    node: str
    key: str
    description: str
    processes: str
    time: float | None
    value: float | None

    def logs(self) -> Iterator[tuple[int, bool]]:
        """Yield the id of each feed that it is logged to, and whether its value is logged unchanged."""
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
        """Return the ids of all feeds that its processes may write to."""
        return {number for name, ids in self._steps() if name not in _NUMBERS for number in ids}

    def _steps(self) -> Iterator[tuple[str, list[int]]]:
        """Yield the name of each process and its arguments that may be ids."""
        for step in self.processes.split(","):
            name, *arguments = step.split(":")
            yield name, [int(argument) for argument in arguments if _ID.fullmatch(argument)]


@dataclass(frozen=True)
class Feed:
    """A feed; `interval` is 0 and `unit` None if the server does not say.

    `time` is when a value was last meant for it, in Unix seconds: None for never, infinity where the
    server does not say. It does not prove that the value was stored.
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
    """Return what an answer to input/list says; ValueError, TypeError or KeyError if it is not one."""
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
    """Return what an answer to feed/list says; ValueError, TypeError or KeyError if it is not one."""
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

    None if the slot is empty; ValueError or TypeError if it is no such answer.
    """
    if not isinstance(answer, list):
        raise TypeError
    return next((_number(value) for time, value in answer if _number(time) in (start, start * 1000)), None)


def read_interval(answer: Any) -> int:  # noqa: ANN401  (JSON)
    """Return the seconds of a slot, by feed/getmeta; ValueError, TypeError or KeyError if it is not one."""
    interval = read_id(answer["interval"])
    if interval < 1:
        raise ValueError
    return interval


def read_id(value: object) -> int:
    """Return an id; ValueError if it is not one."""
    number = from_json(value)
    if number is None:
        raise ValueError
    return int(number)


def read_rows(answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401  (JSON)
    """Return the entries of a list; TypeError if it is not one."""
    rows = [*answer.values()] if isinstance(answer, dict) else [*answer]
    if not all(isinstance(row, dict) for row in rows):
        raise TypeError
    return rows


def read_text(value: object) -> str:
    """Return a text, "" if it is null."""
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:  # noqa: ANN401  (JSON)
    with suppress(TypeError, ValueError, OverflowError):
        number = from_json(value)
        return None if number is None else float(number)
    return None


def read_processes(value: Any) -> str:  # noqa: ANN401  (JSON)
    """Return a list of processes as text, as most answers have it."""
    if isinstance(value, list):
        return ",".join(":".join(map(str, [step["fn"], *step["args"]])) for step in value)
    return read_text(value)


def feed_part(text: str) -> str:
    """Return a text as Emoncms accepts it for the tag or name of a feed (feed_model.php): without dots."""
    return " ".join(re.sub(r"[^\w\s-]", " ", text).split())[:64].rstrip()


def feed_unit(text: str) -> str:
    """Return a unit as Emoncms accepts it for a feed, and its dashboards know it; "" if it has none."""
    unit = text.strip()
    if unit.lower() in ("c", "°c"):
        return "°C"
    if len(unit.encode()) > _LONGEST_UNIT or re.search(r"[&<>\"'\\]", unit) or not unit.isprintable():
        return ""
    return unit
