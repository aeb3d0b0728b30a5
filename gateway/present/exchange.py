"""A frame as a JSON object that people and programs can read, and back again, exactly.

Values and names stand by their index; what has its default is left out. A reading that is written by hand
needs `node`, `time` and `values`: {"node": "9", "time": "2026-11-21T08:00:00Z", "values": {"3": 18.5}}.
"""

from __future__ import annotations

import math
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.frame import Frame, Stamp, check_node
from gateway.settings import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_OWN = ("node", "time", "unix", "values", "names", "rssi", "source", "by_name", "boot", "boottime")
_OF_QUEUE = ("dispatcher", "reason", "undated")
"""What the queue adds: the one dispatcher a frame is for, why it was refused, that its time is unknown."""
_INDEX = re.compile("[1-9][0-9]{0,3}")
_RSSI = 1000
"""A signal is weaker than this, in dBm, and not as weak as its negative."""
_AGREE = 0.01
"""Seconds by which the two forms of a time may differ: that for people has milliseconds."""

COLUMNS = ("unix", "time", "node", "index", "name", "value", "rssi", "source", "dispatcher", "reason")
"""What `cells` gives of each value."""


def to_object(frame: Frame) -> dict[str, Any]:
    """Return the frame as an object for JSON; gaps are null."""
    stamp = frame.stamp
    whole = {
        "node": frame.node,
        "time": _time(stamp.wall),
        "unix": stamp.wall,
        "values": {str(index): value for index, value in enumerate(frame.values, 1)},
        "names": {str(index): name for index, name in enumerate(frame.names, 1)},
        "rssi": frame.rssi,
        "source": frame.source,
        "by_name": frame.by_name or None,
        "boot": stamp.boot,
        "boottime": stamp.boottime or None,
    }
    return {
        key: value
        for key, value in whole.items()
        if key == "values" or (value is not None and value not in ("", {}))
    }


def from_object(given: object, *, latest: float = math.inf) -> Frame:
    """Return the frame that an object stands for.

    Raises ValueError, with what was expected, for one that is not whole, and for a time that is not known or
    later than `latest`, in Unix seconds.
    """
    if not isinstance(given, dict):
        raise ValueError("a JSON object expected: this reads what was exported as JSON lines")
    for key in given:
        if key not in (*_OWN, *_OF_QUEUE):
            raise ValueError(f"{key}: no part of a reading{did_you_mean(key, _OWN)}")
    _text(given, "dispatcher")
    if given.get("undated"):
        raise ValueError(
            "its time is not known: give it the right one in unix, and take time and undated out"
        )
    boottime = _number(given.get("boottime", 0.0), "boottime")
    stamp = Stamp(_wall(given, latest), _text(given, "boot"), boottime)
    node = _text(given, "node")
    try:
        check_node(node)
    except ValueError as error:
        raise ValueError(f"node: {error}") from None
    values = _by_index(given, "values")
    names = _by_index(given, "names")
    by_name, rssi = given.get("by_name", False), given.get("rssi")
    frame = Frame(
        node,
        tuple(None if value is None else _number(value, "values") for value in values),
        stamp,
        tuple("" if name is None else _encodable(name, "names") for name in names),
        rssi,
        _text(given, "source"),
        by_name,
    )
    if not frame.items():
        raise ValueError("values: at least one number expected")
    if not isinstance(by_name, bool) or (by_name and not len(values) == len(set(names)) == len(names)):
        raise ValueError("by_name: true, with a name of its own for each value, expected")
    if rssi is not None and not (type(rssi) is int and abs(rssi) < _RSSI):
        raise ValueError(f"rssi: dBm as a whole number expected, not {_shown(rssi)}")
    return frame


def cells(given: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each value of an object that is there, in the order of COLUMNS."""
    for index, value in given["values"].items():
        if value is not None:
            own = {"index": index, "name": given.get("names", {}).get(index), "value": value}
            yield tuple({**given, **own}.get(column) for column in COLUMNS)


def _time(wall: float) -> str | None:
    try:
        return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def _wall(given: Mapping[str, Any], latest: float) -> float:
    shown = None
    if "time" in given:
        try:
            shown = datetime.fromisoformat(_text(given, "time"))
        except ValueError:
            shown = None
        if shown is None or shown.tzinfo is None:
            raise ValueError(f"time: as in 2026-11-21T08:00:00Z expected, not {_shown(given['time'])}")
    if "unix" not in given and shown is None:
        raise ValueError("time: missing; as in 2026-11-21T08:00:00Z")
    wall = _number(given["unix"], "unix") if "unix" in given else shown.timestamp()  # type: ignore[union-attr]
    if shown is not None and abs(shown.timestamp() - wall) > _AGREE:
        raise ValueError("time and unix do not agree: take out the one that is wrong")
    if wall < 0:
        raise ValueError(f"unix: seconds since 1970 expected, not {wall}")
    if wall > latest:
        raise ValueError(f"its time, {_time(wall) or wall}, has not come yet by the clock of this machine")
    return wall


def _by_index(given: Mapping[str, Any], key: str) -> list[Any]:
    """Return what stands at each index, from 1 on; None if nothing does."""
    entries = given.get(key, {})
    if not isinstance(entries, dict) or not all(map(_INDEX.fullmatch, entries)):
        raise ValueError(f'{key}: by index expected, as in {{"1": ...}}')
    return [entries.get(str(index)) for index in range(1, max(map(int, entries), default=0) + 1)]


def _number(value: object, key: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return value
    raise ValueError(f"{key}: a number expected, not {_shown(value)}")


def _text(given: Mapping[str, Any], key: str) -> str:
    return _encodable(given.get(key, ""), key)


def _encodable(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key}: text expected, not {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{key}: text without half a surrogate pair expected, not {_shown(value)}") from None
    return value


def _shown(value: object) -> str:
    """Return the beginning of a value, or what it is where it may be too long or nested too deep for that."""
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        return "one of so many digits"
    return type(value).__name__ if isinstance(value, list | dict) else repr(value)[:40]
