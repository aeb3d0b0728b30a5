"""The account of a key on an Emoncms server: asks for its inputs and feeds, and changes them."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.dispatchers.emoncms.answers import Unexpected, decode
from gateway.dispatchers.emoncms.proof.records import (
    PHPFINA,
    Feed,
    Input,
    Process,
    read_feeds,
    read_id,
    read_inputs,
    read_interval,
    read_processes,
    read_rows,
    read_slot,
    read_text,
)
from gateway.plugin import DeliveryFailure, HoldEverything, OutcomeUnknown, TryLater

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.dispatchers.http_client.session import Fields, Server

T = TypeVar("T")

_LIST = 16_000_000
"""Bytes that a list of inputs or feeds may have."""


class Account:
    """The account. Each method raises Unexpected or another DeliveryFailure."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def inputs(self) -> list[Input]:
        """Return all its inputs."""
        return self._understood("/input/list.json", read_inputs)

    def feeds(self) -> list[Feed]:
        """Return all its feeds, with their intervals where it can tell them."""
        try:
            return self._understood("/feed/list.json", read_feeds, meta=1)
        except Unexpected:  # PHP ends at the first .meta that it may not read
            return self._understood("/feed/list.json", read_feeds)

    def interval(self, feed: Feed) -> int:
        """Return the seconds of a slot of a PHPFina feed; raises Unexpected for a damaged feed."""
        return feed.interval or self._understood("/feed/getmeta.json", read_interval, id=feed.id)

    def stored(self, feed: Feed, time: float) -> float | None:
        """Return the value of a PHPFina feed in the slot of a time, in Unix seconds."""
        interval = self.interval(feed)
        start = math.floor(time / interval) * interval
        return self._understood(
            "/feed/data.json",
            lambda answer: read_slot(answer, start),
            id=feed.id,
            start=start * 1000,
            end=(start + interval) * 1000,
            interval=interval,
            timeformat="unix",
        )

    def processes(self, input_id: int) -> str:
        """Return what is done with the values of an input."""
        return self._understood("/input/process/get.json", read_processes, inputid=input_id)

    def create_feed(self, tag: str, name: str, interval: int, unit: str = "") -> int:
        """Create a feed with slots of that many seconds; return its id. Older servers need datatype 1.

        A server whose disk is full makes a feed without an interval, and each reading for it would end in a
        fatal error. Such a feed is deleted again; raises Unexpected.
        """
        options = json.dumps({"interval": interval})
        made = self._understood(
            "/feed/create.json",
            lambda answer: read_id(answer["feedid"]),
            tag=tag,
            name=name,
            datatype=1,
            engine=PHPFINA,
            options=options,
            unit=unit,
        )
        try:
            with suppress(HoldEverything, OutcomeUnknown, TryLater):  # the next request shows it, too
                self._understood("/feed/getmeta.json", read_interval, id=made)
        except Unexpected:
            self._read("/feed/delete.json", {"id": made})
            raise Unexpected("the feed that it makes is not written: make room on its disk") from None
        return made

    def set_unit(self, feed_id: int, unit: str) -> None:
        """Give a feed a unit."""
        self._set("/feed/set.json", {"id": feed_id}, {"unit": unit})

    def process(self, input_id: int, steps: Sequence[tuple[Process, int]]) -> None:
        """Set the processes of an input, each with the id of its feed.

        The text of old comes first: a server that wants JSON refuses it, while one that wants text might keep
        something else than what the JSON says.
        """
        as_text, by_function = (
            ",".join(f"{process[name]}:{feed}" for process, feed in steps) for name in (0, 1)
        )
        as_json = json.dumps([{"fn": process.function, "args": [feed]} for process, feed in steps])
        said: object = None
        for processes in (as_text, as_json):
            form = {"processlist": processes}
            said = self._read("/input/process/set.json", {"inputid": input_id}, form)
            if self.processes(input_id) in (as_text, by_function):
                return
        raise self._unexpected("/input/process/set.json", said)

    def describe(self, input_id: int, description: str) -> None:
        """Give an input a description."""
        self._set("/input/set.json", {"inputid": input_id}, {"description": description})

    def delete_input(self, input_id: int) -> None:
        """Delete an input; a node is deleted with its last one."""
        self._read("/input/delete.json", {"inputid": input_id})

    def devices(self, node: str) -> list[int]:
        """Return the ids of the devices of a node, where the device module is installed."""
        return self._understood(
            "/device/list.json",
            lambda answer: [int(row["id"]) for row in read_rows(answer) if read_text(row["nodeid"]) == node],
        )

    def delete_device(self, device_id: int) -> None:
        """Delete a device; its inputs stay."""
        self._read("/device/delete.json", {"id": device_id})

    def _set(self, path: str, which: dict[str, str | int], fields: dict[str, str]) -> None:
        answer = self._read(path, which | {"fields": json.dumps(fields, ensure_ascii=False)})
        if not (isinstance(answer, dict) and answer.get("success")):
            raise self._unexpected(path, answer)

    def _read(self, path: str, query: Fields, form: Fields | None = None) -> Any:  # noqa: ANN401  (JSON)
        method = "GET" if form is None else "POST"
        answer = self._server.ask(method, path, query=query, form=form, size=_LIST)
        if isinstance(answer, DeliveryFailure):
            raise answer
        return decode(path, answer.status, answer.text, answer.location, self._server.key)

    def _understood(self, path: str, read: Callable[[Any], T], **query: str | int) -> T:
        answer = self._read(path, query)
        with suppress(KeyError, TypeError, ValueError, OverflowError):
            return read(answer)
        raise self._unexpected(path, answer)

    def _unexpected(self, path: str, answer: object) -> Unexpected:
        message = answer.get("message") if isinstance(answer, dict) else None
        said = message or json.dumps(answer, ensure_ascii=False)
        return Unexpected(f"it answers to {path.removesuffix('.json')}: {self._server.quoted(str(said))}")
