"""Frames to Emoncms, in one POST of input/bulk a batch.

What the server does was measured on Emoncms 11.16.8: it stores a null as 0.0, answers 200 to nearly
everything, and of a batch that it refuses it keeps the rows before the one that it did not like.
"""

from __future__ import annotations

import io
import json
import math
import re
import ssl
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode, urlsplit

import requests

from gateway.dispatchers import emoncms_place
from gateway.dispatchers.emoncms_place import Inputs
from gateway.plugin import (
    BadFrame,
    DeliveryFailure,
    Dispatcher,
    HoldEverything,
    OutcomeUnknown,
    Place,
    TryLater,
)
from gateway.settings import at_least, between, setting
from gateway.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.frame import Frame

Keys = Literal["index", "name"]

Row = tuple[int, str, list[dict[str, float]]]
"""Unix second, node, and an object for each value."""

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
    labels = _labels(frame, keys)
    values = [{labels[index - 1]: _number(value)} for index, value in frame.items() if storable(value)]
    # The milliseconds first: a slot's time that was worked out anew may be a hair below the full second.
    return math.floor(round(frame.stamp.wall, 3)), frame.node, values


def _brought(rows: Iterable[Row]) -> list[Inputs]:
    return [emoncms_place.brought(*row) for row in rows]


def _number(value: float) -> float:
    whole = math.floor(value)
    return whole if whole == value else value


def _labels(frame: Frame, keys: Keys) -> list[str]:
    """Return the key of every position: its index, or its name where that can be told from all the others."""
    indices = range(1, len(frame.values) + 1)
    if keys == "index" and not frame.by_name:
        return [str(index) for index in indices]
    names = [_as_emoncms_keeps(frame.name(index)) for index in indices]
    return [
        name if name and not name.isdecimal() and names.count(name) == 1 else str(index)
        for index, name in zip(indices, names, strict=True)
    ]


def _as_emoncms_keeps(name: str) -> str:
    """Return the name as it will be there; emoncms.org drops values whose key is longer than 64."""
    return " ".join(re.sub(r"[^\w\s.-]", "", name).split())[:64].rstrip()


def judge(status: int, body: str, location: str = "", secret: str = "") -> DeliveryFailure | None:
    """Return what an answer to input/bulk means: None for delivered, or the failure to raise.

    `location` is where a redirect points to; `secret` is kept out of what the message quotes.
    """
    if status == 200:
        return _judge_text(body, secret)
    if 300 <= status < 400:
        where = excerpt(location.removesuffix("/input/bulk"), secret, 200) or "somewhere else"
        return HoldEverything(f"it redirects to {where}: put that address in url")
    if status == 401:
        return HoldEverything("it refuses the key: put the write key of the Emoncms account in apikey")
    if status == 413:
        return BadFrame("the batch is too large for it")
    busy = status in (408, 429)
    if 400 <= status < 500 and not busy:
        return HoldEverything(f"it answers {status} to /input/bulk: check url (is Emoncms under /emoncms?)")
    kind = TryLater if busy else OutcomeUnknown
    return kind(f"it answers {status}: {excerpt(body, secret) or 'nothing more'}")


def _judge_text(body: str, secret: str) -> DeliveryFailure | None:
    last = next((line.strip() for line in reversed(body.split("\n")) if line.strip()), "")
    if last == "ok":  # after PHP's warnings, where an old Emoncms runs on a new PHP
        return None
    if not last:
        return HoldEverything("it answers nothing, as it does to a read key: apikey must be the write key")
    if "Fatal error" in body:
        return HoldEverything(f"its database or Redis is in trouble: {excerpt(body, secret)}")
    return _judge_refusal(_message(last), secret) or OutcomeUnknown(
        f"ok expected, not {excerpt(body, secret)}"
    )


def _judge_refusal(said: str, secret: str) -> DeliveryFailure | None:
    if "Device not initialized" in said or "does not belong to device" in said:
        return HoldEverything("apikey is the key of a single device: put the account's write key there")
    if node := re.search(r"NodeIds.*Node '(.*)' was ignored", said):
        # A neighbour's radio is enough to reach the limit: the nodes that are known need not wait for it.
        name = excerpt(node[1], secret)
        return BadFrame(f"it has all the nodes it allows and refuses node {name}: delete unused ones there")
    if said.startswith(("Format error", "Error:")):
        return BadFrame(f"it refuses something in the batch: {excerpt(said, secret)}")
    return None


def judge_inputs(node: str, status: int, body: str, secret: str = "") -> Inputs | DeliveryFailure | None:
    """Return what an answer to input/get means: what the node's inputs hold, a failure to raise, or nothing.

    It is nothing where the server does not tell such things, now or later.
    """
    if status == 200:
        inputs = emoncms_place.held(node, body)
        if inputs is not None or body.strip() in ("", "null", "false"):
            return inputs
        failure = _judge_text(body, secret)
        if isinstance(failure, HoldEverything):
            return failure
        return TryLater(f"the inputs of node {node} expected, not {excerpt(body, secret)}")
    if 300 <= status < 500 and status not in (408, 429):
        return None
    return judge(status, body, secret=secret)


def _message(line: str) -> str:
    """Return the message of `{"success": false, "message": ...}`; older servers send it bare."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line


def excerpt(text: str, secret: str = "", limit: int = 80) -> str:
    """Return the beginning of a text as one line without tags, control characters or the secret."""
    line = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    shown = "".join(character for character in line if character.isprintable())
    return (shown.replace(secret, "********") if secret else shown)[:limit]


def lost(error: OSError, *, sent: bool, secret: str = "") -> DeliveryFailure:
    """Return what a request without an answer means; `sent` says whether any of its body had left."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    if isinstance(cause, ssl.SSLCertVerificationError) and not sent:
        return TryLater(
            f"its certificate is not accepted ({excerpt(cause.verify_message)}): name the file of the "
            "authority that signed it in ca_file, and see that this machine's clock is right"
        )
    why = excerpt(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__, secret)
    if sent:
        return OutcomeUnknown(f"the batch was sent, but no answer came: {why}")
    return TryLater(f"not reached ({why}): is the server up, and is url right?")


def check_url(url: str) -> None:
    """Raise ValueError for an address that is none, or that has a key in it."""
    if re.search(r"[?#@]", url):
        raise ValueError("an address without user name, password, ? or # expected: the key belongs in apikey")
    if not re.fullmatch(r"https?://[^\s/:][^\s/]*(/\S*)?", url, re.IGNORECASE):
        raise ValueError(f"http://host or https://host expected, not {url}")
    _ = urlsplit(url).port  # a ValueError of its own, for a port or an address that is none


def _check_domain(domain: str) -> None:
    if not re.fullmatch(r"[^\s/?#@]+", domain):
        raise ValueError("the name of a host expected, such as emoncms.org")


def _check_key(key: str) -> None:
    if not key.isprintable():
        raise ValueError("one line of printable characters expected")


@dataclass(kw_only=True)
class Emoncms(Dispatcher):
    """An account on an Emoncms server, addressed by its write key."""

    url: str = setting("https://emoncms.org", check=check_url)
    apikey: str = setting(check=_check_key, secret=True)
    interval: float = setting(10.0, check=at_least(0))
    batch: int = setting(250, check=between(1, 250))
    ca_file: Path | None = setting(None)
    keys: Keys = setting("index")
    timeout: float = setting(60.0, check=between(1, 600))
    _session: requests.Session = field(
        default_factory=requests.Session, init=False, repr=False, compare=False
    )
    _left_out: set[tuple[str, int]] = field(default_factory=set, init=False, repr=False, compare=False)
    # What its inputs hold, as far as is known, and held before the last batch.
    _inputs: Inputs = field(default_factory=dict, init=False, repr=False, compare=False)
    _before: Inputs = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")

    @property
    def busy_limit(self) -> float:
        """The seconds that a server which answers just in time may take for a few requests."""
        return max(super().busy_limit, 5 * self.timeout)

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Return what is unusual about the key, and what names as keys do."""
        if not re.fullmatch(r"[0-9a-fA-F]{32}", self.apikey):
            yield "apikey", "the write key of an Emoncms account has 32 hexadecimal digits; this one has not"
        if self.keys == "name":
            yield "keys", "names make new inputs in Emoncms, whose feeds start empty"

    def open(self) -> None:
        """Make the session; the first batch makes the connection, which is then kept."""
        if self.ca_file is not None:
            try:
                ssl.create_default_context(cafile=self.ca_file)
            except OSError as error:
                raise OSError(
                    f"ca_file {self.ca_file}: PEM certificates expected: {error.strerror}"
                ) from None
        self._session = requests.Session()
        self._session.trust_env = False  # a ~/.netrc would replace our key, and a proxy would see it
        self._session.verify = True if self.ca_file is None else str(self.ca_file)
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self._session.headers.update(
            {
                "Authorization": b"Bearer " + self.apikey.encode(),
                "Content-Type": "application/x-www-form-urlencoded",
                "User-Agent": f"oemgateway/{VERSION}",
            }
        )

    def close(self) -> None:
        """Drop the connection."""
        self._session.close()

    def together(self, frames: Sequence[Frame]) -> int:
        """Return how many come before the first whose second and values would be there already."""
        return emoncms_place.together(_brought(self._rows(frames)), self._inputs)

    def send(self, frames: Sequence[Frame]) -> None:
        """Post these frames; those without any value are sent as nothing."""
        self._tell_left_out(frames)
        self._before = self._inputs.copy()
        rows = self._rows(frames)
        data = _json(rows)
        failure = self._post(data) if data else None
        if failure is not None:
            raise self._at_its_address(failure)
        for brought in _brought(rows):
            self._inputs |= brought

    def delivered(self, frames: Sequence[Frame]) -> Place:
        """Return how many of these the server has, by what the inputs of their nodes hold."""
        now: Inputs = {}
        for node in dict.fromkeys(frame.node for frame in frames):
            inputs = self._held(node)
            if inputs is None:
                return Place(None)
            if isinstance(inputs, DeliveryFailure):
                raise self._at_its_address(inputs)
            now |= inputs
        self._inputs |= now
        return emoncms_place.find(_brought(self._rows(frames)), now, self._before)

    def _rows(self, frames: Iterable[Frame]) -> list[Row]:
        return [_row(frame, self.keys) for frame in frames]

    def _at_its_address(self, failure: DeliveryFailure) -> DeliveryFailure:
        return type(failure)(f"{self.url}: {failure}")

    def time(self) -> float | None:
        """Return the time in the server's answer to a request that needs no key and changes nothing."""
        try:
            answer = self._session.head(
                self.url, headers={"Authorization": None}, timeout=(10, self.timeout), allow_redirects=False
            )
            return parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except OSError as error:
            raise TryLater(f"{self.url}: {lost(error, sent=False, secret=self.apikey)}") from None
        except (KeyError, ValueError):
            return None

    def _post(self, data: str) -> DeliveryFailure | None:
        """Return the failure: raised in here it would carry the request along, key and all."""
        # How far this has been read tells whether the server may have got something.
        body = io.BytesIO(urlencode({"time": 0, "data": data}).encode())
        try:
            answer = self._session.post(
                f"{self.url}/input/bulk", data=body, timeout=(10, self.timeout), allow_redirects=False
            )
        except OSError as error:  # as every requests.RequestException is
            return lost(error, sent=body.tell() > 0, secret=self.apikey)
        text = answer.content.decode("utf-8", "replace")
        return judge(answer.status_code, text, answer.headers.get("Location", ""), self.apikey)

    def _held(self, node: str) -> Inputs | DeliveryFailure | None:
        """Return what the inputs of a node hold, None where the server does not tell, or the failure."""
        try:
            answer = self._session.get(
                f"{self.url}/input/get",
                params={"node": node},
                timeout=(10, self.timeout),
                allow_redirects=False,
            )
        except OSError as error:
            return lost(error, sent=False, secret=self.apikey)
        if answer.status_code == 401:
            # A key may be allowed to write and not to read: a batch of no rows tells, and stores nothing.
            failure = self._post("[]")
            return None if isinstance(failure, BadFrame) else failure
        text = answer.content.decode("utf-8", "replace")
        return judge_inputs(node, answer.status_code, text, self.apikey)

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
