"""The feeds of a simulated Emoncms, and the process lists that fill them, as measured on Emoncms 11.16.8.

A feed is a PHPFina: it has a slot for every so many seconds, and the last value of a slot wins.
"""

from __future__ import annotations

import html
import json
import math
import re
import struct
from dataclasses import dataclass, field
from typing import Any

Params = dict[str, str]

PHPFINA = 5
_PROCESSES = {"1": "1", "process__log_to_feed": "1", "4": "4", "process__power_to_kwh": "4"}


class DamagedFeed(Exception):
    """PHP ends here, as it divides by the interval 0 of a feed whose .meta is empty."""


class NoDatabase(Exception):
    """PHP ends here, as MySQL cannot read the table of the feeds, or is stopped."""


@dataclass
class Feed:
    """A feed; `time` and `value` are what was last meant for it, stored or not.

    With an `interval` of 0 it is damaged.
    """

    id: int
    tag: str
    name: str
    engine: int
    interval: int
    unit: str = ""
    time: int | None = None
    value: float | None = None
    slots: dict[int, float] = field(default_factory=dict)

    def put(self, time: int, value: float) -> None:
        if not self.interval:
            raise DamagedFeed
        self.slots[time // self.interval * self.interval] = struct.unpack("f", struct.pack("f", value))[0]


def _refused(message: str) -> dict[str, Any]:
    return {"success": False, "message": message}


@dataclass
class Feeds:
    """All feeds of the account.

    `json_lists`: process lists are set as JSON, and otherwise as text, as with older servers.
    `unwritable`: values are taken, and not kept; if the disk is full as well, PHP says so. `meta`: the
    list tells intervals, where it is asked for them. `full`: the disk is, and a feed that is made has
    an empty file of what it is. `no_database`: the values that are kept before their database fails.
    """

    json_lists: bool = True
    unwritable: bool = False
    full: bool = False
    meta: bool = True
    no_database: float = math.inf
    by_id: dict[int, Feed] = field(default_factory=dict)

    def add(self, tag: str, name: str, interval: int = 10, engine: int = PHPFINA, unit: str = "") -> Feed:
        feed = Feed(max(self.by_id, default=0) + 1, tag, name, engine, interval, unit)
        self.by_id[feed.id] = feed
        return feed

    def answer(self, action: str, params: Params) -> Any:
        """Return the answer to feed/ACTION."""
        if action == "list":
            return [
                self._shown(feed, with_meta="meta" in params and self.meta) for feed in self.by_id.values()
            ]
        if action == "create":
            return self._create(params)
        feed = self.by_id.get(int(params.get("id", 0)))
        if feed is None:
            return _refused(f"feed {params.get('id')} does not exist")
        if action in ("delete", "set"):
            return self._delete(feed) if action == "delete" else self._set(feed, params)
        if action == "getmeta":
            return {"interval": feed.interval, "start_time": min(feed.slots, default=0), "npoints": 0}
        return {"time": feed.time, "value": feed.value} if action == "timevalue" else self._data(feed, params)

    def _shown(self, feed: Feed, *, with_meta: bool) -> dict[str, Any]:
        shown = {
            "id": str(feed.id),
            "userid": "1",
            "tag": feed.tag,
            "name": feed.name,
            "engine": str(feed.engine),
            "unit": feed.unit,
            "time": feed.time,
            "value": feed.value,
        }
        return shown | ({"interval": feed.interval} if with_meta else {})

    def _create(self, params: Params) -> Any:
        tag, name = params.get("tag", ""), params.get("name", "")
        for what, text in (("name", name), ("tag", tag)):
            if re.search(r"[^\w\s:-]", text):
                return _refused(f"invalid characters in feed {what}")
        if any((feed.tag, feed.name) == (tag, name) for feed in self.by_id.values()):
            return _refused("feed already exists")
        interval = 0 if self.full else max(10, int(json.loads(params["options"])["interval"]))
        unit = params.get("unit", "")
        if len(unit) > 10:
            raise OverflowError  # PHP ends here
        return {"success": True, "feedid": self.add(tag, name, interval, unit=unit).id, "result": True}

    def _delete(self, feed: Feed) -> Any:
        del self.by_id[feed.id]
        return {"success": True, "message": "Feed removed successfully."}

    def _set(self, feed: Feed, params: Params) -> Any:
        unit = json.loads(params["fields"])["unit"]
        if html.escape(unit).strip() != unit:
            return _refused("invalid characters in feed unit")
        if len(unit.encode()) > 10:
            return _refused("feed unit too long")
        feed.unit = unit
        return {"success": True, "message": "Field updated", "feedid": feed.id, "fields": {"unit": unit}}

    def _data(self, feed: Feed, params: Params) -> Any:
        start, end = int(params["start"]) // 1000, int(params["end"]) // 1000
        if end <= start:
            return _refused("Request end time before start time")
        step = max(int(params["interval"]), feed.interval)
        scale = 1 if params.get("timeformat") == "unix" else 1000
        first = start // step * step
        values = {time: feed.slots.get(time) for time in range(first, end + 1, step)}
        if any(value is not None and math.isinf(value) for value in values.values()):
            return None  # json_encode gives up
        return [[time * scale, value] for time, value in values.items()]

    def set_list(self, params: Params) -> tuple[dict[str, Any], str]:
        """Return the answer to input/process/set, and the list as it is kept, "" where it is not."""
        given = params.get("processlist", "")
        if not self.json_lists:
            steps = [step.split(":") for step in given.split(",")]
        else:
            try:
                steps = [[step["fn"], *step["args"]] for step in json.loads(given)]
            except (ValueError, TypeError):
                return _refused("Invalid process list format: "), ""
        kept = []
        for name, *arguments in steps:
            if name not in _PROCESSES or len(arguments) != 1:
                return _refused("Invalid process"), ""
            if int(arguments[0]) not in self.by_id:
                return _refused("Invalid feed"), ""
            kept.append(f"{_PROCESSES[name]}:{arguments[0]}")
        return {"success": True, "message": "Input processlist updated"}, ",".join(kept)

    def run(self, processes: str, time: int, value: float) -> None:
        """Do with a value of an input what its process list says.

        1 logs to a feed, 2 scales, and 4 adds to a feed the kWh since its last value, unless that is 2 h old.
        """
        for step in filter(None, processes.split(",")):
            name, argument = step.split(":")
            if name == "2":
                value *= float(argument)
            elif name == "1" and (feed := self.by_id.get(int(argument))):
                if self.no_database <= 0:
                    raise NoDatabase
                self.no_database -= 1
                if not self.unwritable:
                    feed.put(time, value)
                feed.time, feed.value = time, value
            elif name == "4" and (feed := self.by_id.get(int(argument))):
                elapsed = time - (feed.time or time)
                total = feed.value or 0.0
                if 0 < elapsed < 7200:
                    total += elapsed * value / 3.6e6
                feed.time, feed.value = time, total
                feed.put(time, total)
