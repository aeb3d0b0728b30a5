"""The feeds of a simulated Emoncms, and the process lists that fill them, as measured on Emoncms 11.16.8.

A feed is a PHPFina: it has a slot for every so many seconds, and the last value of a slot wins.
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass, field
from typing import Any

Params = dict[str, str]

PHPFINA = 5


@dataclass
class Feed:
    """A feed; `time` and `value` are what was last meant for it, stored or not."""

    id: int
    tag: str
    name: str
    engine: int
    interval: int
    time: int | None = None
    value: float | None = None
    slots: dict[int, float] = field(default_factory=dict)

    def put(self, time: int, value: float) -> None:
        self.slots[time // self.interval * self.interval] = struct.unpack("f", struct.pack("f", value))[0]


def _refused(message: str) -> dict[str, Any]:
    return {"success": False, "message": message}


@dataclass
class Feeds:
    """All feeds of the account.

    `json_lists`: process lists are set as JSON, and otherwise as text, as with older servers. `unwritable`:
    values are taken, and not kept. `meta`: the list tells intervals, where it is asked for them.
    """

    json_lists: bool = True
    unwritable: bool = False
    meta: bool = True
    by_id: dict[int, Feed] = field(default_factory=dict)

    def add(self, tag: str, name: str, interval: int = 10, engine: int = PHPFINA) -> Feed:
        feed = Feed(max(self.by_id, default=0) + 1, tag, name, engine, interval)
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
        if action == "timevalue":
            return {"time": feed.time, "value": feed.value}
        if action == "getmeta":
            return {"interval": feed.interval, "start_time": min(feed.slots, default=0), "npoints": 0}
        return self._data(feed, params)

    def _shown(self, feed: Feed, *, with_meta: bool) -> dict[str, Any]:
        shown = {
            "id": str(feed.id),
            "userid": "1",
            "tag": feed.tag,
            "name": feed.name,
            "engine": str(feed.engine),
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
        interval = max(10, int(json.loads(params["options"])["interval"]))
        return {"success": True, "feedid": self.add(tag, name, interval).id, "result": True}

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
            if name not in ("1", "process__log_to_feed") or len(arguments) != 1:
                return _refused("Invalid process"), ""
            if int(arguments[0]) not in self.by_id:
                return _refused("Invalid feed"), ""
            kept.append(f"1:{arguments[0]}")
        return {"success": True, "message": "Input processlist updated"}, ",".join(kept)

    def run(self, processes: str, time: int, value: float) -> None:
        """Do with a value of an input what its process list says: 1 logs to a feed, 2 scales."""
        for step in filter(None, processes.split(",")):
            name, argument = step.split(":")
            if name == "2":
                value *= float(argument)
            elif name == "1" and (feed := self.by_id.get(int(argument))):
                feed.time, feed.value = time, value
                if not self.unwritable:
                    feed.put(time, value)
