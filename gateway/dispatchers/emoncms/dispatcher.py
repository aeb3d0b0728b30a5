"""Frames to Emoncms, in one POST of input/bulk a batch.

What the server does was measured on Emoncms 11.16.8: it stores a null as 0.0, answers 200 to nearly
everything, and of a batch that it refuses it keeps the rows before the one that it did not like.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gateway.dispatchers.emoncms import progress
from gateway.dispatchers.emoncms.answers import judge, judge_inputs
from gateway.dispatchers.emoncms.progress import Inputs
from gateway.dispatchers.emoncms.session import Server
from gateway.dispatchers.emoncms.url import check_url, odd_port
from gateway.plugin import BadFrame, DeliveryFailure, Dispatcher, Place
from gateway.settings import at_least, between, setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.frame import Frame

Keys = Literal["index", "name"]

Row = tuple[int, str, list[dict[str, float]]]
"""Unix second, node, and an object for each value."""

_NODES = 32
"""The nodes that an account has at most, where nobody has set another limit (max_node_id_limit)."""

_LARGEST = 3.4e38
"""Feeds are float32: one value beyond this makes every graph that shows it empty."""


def encode(frames: Iterable[Frame], keys: Keys) -> str:
    """Return the JSON of a bulk request, or "" where no frame has a value.

    A row is `[seconds, node, {key: value}, ...]`, one object for each value that is there: this addresses the
    same inputs as a plain list of values does, and leaves those without a value alone.
    """
    return _json(_row(frame, keys) for frame in frames)


def _json(rows: Iterable[Row]) -> str:
    flat = [[second, node, *values] for second, node, values in rows if values]
    return json.dumps(flat, allow_nan=False, ensure_ascii=False, separators=(",", ":")) if flat else ""


def storable(value: float) -> bool:
    """Tell whether a feed can hold this value."""
    return abs(value) <= _LARGEST


def _row(frame: Frame, keys: Keys) -> Row:
    labels = keys_of(frame, keys)
    values = [{labels[index - 1]: _number(value)} for index, value in frame.items() if storable(value)]
    # The milliseconds first: a slot's time that was worked out anew may be a hair below the full second.
    return math.floor(round(frame.stamp.wall, 3)), frame.node, values


def _readings(rows: Iterable[Row]) -> list[Inputs]:
    return [progress.row_readings(*row) for row in rows]


def _number(value: float) -> float:
    whole = math.floor(value)
    return whole if whole == value else value


def keys_of(frame: Frame, keys: Keys) -> list[str]:
    """Return the key of every position: its index, or its name where that can be told from all the others."""
    indices = range(1, len(frame.values) + 1)
    if keys == "index" and not frame.by_name:
        return [str(index) for index in indices]
    names = [as_kept(frame.name(index)) for index in indices]
    return [
        name if name and not name.isdecimal() and names.count(name) == 1 else str(index)
        for index, name in zip(indices, names, strict=True)
    ]


def as_kept(name: str) -> str:
    """Return the name as it will be there; emoncms.org drops values whose key is longer than 64."""
    return " ".join(re.sub(r"[^\w\s.-]", "", name).split())[:64].rstrip()


def _check_domain(domain: str) -> None:
    if not re.fullmatch(r"[^\s/?#@]+", domain):
        raise ValueError("the name of a host expected, such as emoncms.org")


def _check_key(key: str) -> None:
    if not key.isprintable():
        raise ValueError("one line of printable characters expected")


@dataclass(kw_only=True)
class Emoncms(Dispatcher):
    """An account on an Emoncms server, addressed by its write key."""

    url: str = setting(
        "https://emoncms.org", check=check_url, hint="the address of Emoncms, such as http://emonpi/emoncms"
    )
    apikey: str = setting(
        check=_check_key, secret=True, hint="it is the write key, on the page My Account of Emoncms"
    )
    interval: float = setting(10.0, check=at_least(0))
    batch: int = setting(250, check=between(1, 250))
    ca_file: Path | None = setting(None)
    keys: Keys = setting("index")
    timeout: float = setting(60.0, check=between(1, 600))
    server: Server = field(init=False, repr=False, compare=False)
    _left_out: set[tuple[str, int]] = field(default_factory=set, init=False, repr=False, compare=False)
    # What its inputs hold, as far as is known, and held before the last batch.
    _inputs: Inputs = field(default_factory=dict, init=False, repr=False, compare=False)
    _before: Inputs = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        self.server = Server(self.url, self.apikey, self.ca_file, self.timeout)

    @property
    def busy_limit(self) -> float:
        """The seconds that a server may take which answers just in time, and is asked for every node."""
        return max(super().busy_limit, (_NODES + 1) * (10 + self.timeout))

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return what is unusual about the address and the key, and what names as keys do."""
        if odd := odd_port(self.url):
            yield "url", odd
        if not re.fullmatch(r"[0-9a-fA-F]{32}", self.apikey):
            yield "apikey", "the write key of an Emoncms account has 32 hexadecimal digits; this one has not"
        if self.keys == "name":
            yield "keys", "names make new inputs in Emoncms, whose feeds start empty"

    def open(self) -> None:
        """Make the session; the first batch makes the connection, which is then kept."""
        self.server.open()

    def close(self) -> None:
        """Drop the connection."""
        self.server.close()

    def together(self, frames: Sequence[Frame]) -> int:
        """Return how many come before the first whose second and values would be there already."""
        return progress.together(_readings(self._rows(frames)), self._inputs)

    def send(self, frames: Sequence[Frame]) -> None:
        """Post these frames; those without any value are sent as nothing."""
        self._tell_left_out(frames)
        self._before = self._inputs.copy()
        rows = self._rows(frames)
        data = _json(rows)
        failure = self._post(data) if data else None
        if failure is not None:
            raise self.at_its_address(failure)
        for readings in _readings(rows):
            self._inputs |= readings

    def delivered(self, frames: Sequence[Frame]) -> Place:
        """Return how many of these the server has, by what the inputs of their nodes hold."""
        now: Inputs = {}
        for node in dict.fromkeys(frame.node for frame in frames):
            inputs = self._held(node)
            if inputs is None:
                return Place(None)
            if isinstance(inputs, DeliveryFailure):
                raise self.at_its_address(inputs)
            now |= inputs
        self._inputs |= now
        return progress.find(_readings(self._rows(frames)), now, self._before)

    def _rows(self, frames: Iterable[Frame]) -> list[Row]:
        return [_row(frame, self.keys) for frame in frames]

    def at_its_address(self, failure: DeliveryFailure) -> DeliveryFailure:
        """Return the failure with the address of the server that it happened at."""
        failure.args = (f"{self.url}: {failure}",)
        return failure

    def time(self) -> float | None:
        """Return the time in the server's answer to a request that needs no key and changes nothing.

        None where it is the time of this very machine, which says nothing of this machine's clock.
        """
        before = self.clock.wall()
        answer = self.server.ask("HEAD", "", with_key=False)
        if isinstance(answer, DeliveryFailure):
            raise self.at_its_address(answer)
        is_ours = answer.time is not None and before - 1 <= answer.time <= self.clock.wall() + 1
        return None if answer.local and is_ours else answer.time

    def refusal(self) -> DeliveryFailure | None:
        """Return why the key may not write, or None: a batch of no rows tells, and stores nothing."""
        failure = self._post("[]")
        return None if isinstance(failure, BadFrame) else failure

    def _post(self, data: str) -> DeliveryFailure | None:
        answer = self.server.ask("POST", "/input/bulk", form={"time": 0, "data": data})
        if isinstance(answer, DeliveryFailure):
            return answer
        return judge(answer.status, answer.text, answer.location, self.apikey)

    def _held(self, node: str) -> Inputs | DeliveryFailure | None:
        """Return what the inputs of a node hold, None where the server does not tell, or the failure."""
        answer = self.server.ask("GET", "/input/get", query={"node": node})
        if isinstance(answer, DeliveryFailure):
            return answer
        if answer.status == 401:
            return self.refusal()  # a key may be allowed to write and not to read
        return judge_inputs(node, answer.status, answer.text, self.apikey)

    def _tell_left_out(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            for index, value in frame.items():
                if not storable(value) and (frame.node, index) not in self._left_out:
                    self._left_out.add((frame.node, index))
                    self.log.warning(
                        f"node {frame.node}, index {index}: {value:g} left out, as no feed can hold it"
                    )


@dataclass(kw_only=True)
class EmoncmsBuffer(Emoncms):
    """The same by the keys of 2013: the address in three pieces, and each frame sent at once."""

    url: str = field(init=False)
    protocol: Literal["http://", "https://"] = setting("http://")
    domain: str = setting("localhost", check=_check_domain)
    path: str | None = setting("/emoncms")
    interval: float = setting(0.0, check=at_least(0))
    buffer_size: int | None = setting(None)

    def __post_init__(self) -> None:
        self.url = f"{self.protocol}{self.domain}/{(self.path or '').strip('/')}"
        check_url(self.url)
        super().__post_init__()

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return those of its successor, and which key has no effect any more."""
        yield from super().remarks()
        if self.buffer_size is not None:
            yield "buffer_size", "has no effect: frames wait on disk"
