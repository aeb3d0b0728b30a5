"""Emoncms' input API: the frames in a request to input/post or input/bulk, and what Emoncms answers.

Forms, replies and texts are those measured on Emoncms 11.16.8. Where it stores 0 for what is not a number
(null, "", "abc"), there is no value here; and a request is taken completely or not at all.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from gateway.frame import Frame
from gateway.text.words import as_emoncms_keeps
from gateway.times.device_time import believed, relative, unix_time
from listeners.http.values import (
    Values,
    lenient,
    node_name,
    number,
    quoted,
    strict_json,
)
from listeners.http.wire import Refusal, Request
from listeners.ports.shared_key import is_key

if TYPE_CHECKING:
    from gateway.frame import Stamp
    from listeners.http.inputs import Inputs

MOST_ROWS = 10_000
"""Rows of a bulk request; ten times what emonhub sends."""
MOST_PLACES = 250_000
"""Positions that the frames of a request may have: the index 999 alone needs 999."""
LONGEST_INFLATED = 4 << 20
"""Bytes of a compressed bulk request after decompression."""

Params = dict[str, str]
Dating = Callable[[float], "Stamp | None"]
"""Makes a stamp of a Unix time, None if that cannot be right."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The frames of a request, and the reply to send once they are on disk.

    `misdated` of them came with an impossible time, and have the time of their reception. `texts` are the
    names and indices that came with text, which is not a value.
    """

    frames: list[Frame]
    reply: str
    misdated: int = 0
    texts: tuple[str, ...] = ()


def take(request: Request, key: str | None, now: Stamp, inputs: Inputs, is_sure: Callable[[], bool]) -> Taken:
    """Return what a request says, or the answer of the `inputs`; whatever it holds, only Refusal is raised.

    `is_sure` tells whether our clock is known to be right: see `believed`.

    If there is a `key`, a request must contain it: as `apikey` in the address or the form, or in the
    header Authorization, with or without the word Bearer before it. If there is none, web sites open in a
    browser on this machine are still refused: the browser would let them post.
    """
    if request.method == "HEAD":
        return Taken([], "")  # a gateway asks for the time, which is in every answer
    path, _, query = request.target.partition("?")
    action, *places = _route(path)
    if request.method not in ("GET", "POST"):
        raise Refusal("GET or POST expected", 405, "no-such-method")
    if _kind(request).startswith("aes128cbc"):
        raise Refusal(
            "posts that are encrypted are not read here: leave the userid empty in the device",
            400,
            "encrypted",
        )
    address = _form(query)
    is_packed = action == "bulk" and address.get("cb") == "1"
    form = {} if is_packed else _body_form(request)
    bearer = re.sub(r"(?i)^bearer\s+", "", request.headers.get("authorization", "")).strip()
    if key is None and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Refusal("a key expected, as a web site asks: set apikey", 403, "web-site")
    if key is not None and not is_key(address.get("apikey") or form.get("apikey") or bearer, key):
        raise Refusal("Invalid API key", 401, "wrong-key")
    params = address | form
    if is_packed:
        params["data"] = _inflate(request.body)
    elif action == "bulk" and params.get("c") == "1":
        params["data"] = _inflate(_unhex(params.get("data", "")))
    if action == "get":
        return Taken([], _get(address, places, inputs))

    def dated(wall: float) -> Stamp | None:
        return believed(wall, now, is_sure)

    taken = _bulk(params, now, dated) if action == "bulk" else _post(params, "".join(places), now, dated)
    return replace(taken, reply='{"success": true}') if "fulljson" in params else taken


def refusal_text(refusal: Refusal) -> str:
    """Return a refusal as Emoncms words it."""
    if refusal.status == 401:
        return refusal.message
    return json.dumps({"success": False, "message": refusal.message})


def _route(path: str) -> list[str]:
    """Return the action, "post", "bulk" or "get", followed by the node and the name in the path.

    As in Emoncms, a path has no other characters than these, and what follows a dot in its last part is the
    format of the answer.
    """
    plain = re.sub(r"[^./A-Za-z0-9_-]", "", unquote(path)).removeprefix("/emoncms").rstrip("/")
    before, _, last = plain.rpartition("/")
    parts = [part for part in (*before.split("/"), last.partition(".")[0]) if part]
    match parts:
        case ["input", "post"] | ["input", "bulk"] | ["input", "post", _]:
            return parts[1:]
        case ["input", "get"] | ["input", "get", _] | ["input", "get", _, _]:
            return parts[1:]
    raise Refusal("/input/post, /input/bulk or /input/get expected", 404, "no-such-page")


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "application/x-www-form-urlencoded").lower()


def _form(text: str) -> Params:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=32))
    except ValueError:
        raise Refusal("a form of at most 32 fields in UTF-8 expected") from None


def _body_form(request: Request) -> Params:
    if _kind(request).startswith("multipart/form-data"):
        raise Refusal("a form as application/x-www-form-urlencoded expected, not as multipart/form-data")
    if not _kind(request).startswith("application/x-www-form-urlencoded"):
        return {}
    try:
        return _form(request.body.decode())
    except UnicodeDecodeError:
        raise Refusal("a form in UTF-8 expected") from None


def _inflate(data: bytes) -> str:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, LONGEST_INFLATED)
        if stream.unconsumed_tail:
            raise Refusal(f"at most {LONGEST_INFLATED} bytes expected, uncompressed", 413, "too-large")
        if stream.eof:
            return text.decode()
    except (zlib.error, UnicodeDecodeError):
        pass
    raise Refusal("Format error, data compressed by zlib expected")


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Refusal("Format error, data in hexadecimal digits expected") from None


# input/get


def _get(params: Params, places: list[str], inputs: Inputs) -> str:
    """Return what Emoncms answers for the node and name in the path or, without these, in the query."""
    node, name, *_ = [*places, None, None]
    node = params.get("node") if node is None else node
    name = params.get("name") if name is None else name
    return inputs.answer(*(text if text is None else as_emoncms_keeps(text) for text in (node, name)))


# input/post


def _post(params: Params, node: str, now: Stamp, dated: Dating) -> Taken:
    text = next((params[name] for name in ("json", "fulljson", "csv", "data") if name in params), "")
    if not text:
        raise Refusal("Request contains no data via csv, json or data tag")
    when: object = params.get("time")
    if "fulljson" in params:
        items = _object(text)
        if "time" not in params:  # Emoncms keeps Time as a value, too
            when = {key.lower(): value for key, value in items.items()}.get("time")
            items.pop("time", None)
        values = _named(items)
    else:
        values = lenient(text)
    stamp = dated(unix_time(when))
    node = node_name(node or params.get("node", ""))
    return Taken(
        list(values.frames(node, stamp or now)),
        "ok",
        misdated=when not in (None, "") and stamp is None,
        texts=tuple(values.texts),
    )


def _object(text: str) -> dict[str, object]:
    try:
        said = strict_json(text, is_form=True)
    except Refusal:
        said = None
    if isinstance(said, list) and said:
        raise Refusal("an object or csv expected: fulljson counts a list from 0, and indices begin at 1")
    if not isinstance(said, dict | list):
        raise Refusal("Input in not a valid JSON object")
    return dict(said)


def _named(items: dict[str, object]) -> Values:
    values = Values(takes_text=True)
    for key, value in items.items():
        if isinstance(value, dict | list):
            raise Refusal("Input in not a valid JSON object")
        values.add(key, value)
    return values


# input/bulk


def _bulk(params: Params, now: Stamp, dated: Dating) -> Taken:
    rows = strict_json(params.get("data", ""), is_form=not {"c", "cb"} & params.keys())
    if not isinstance(rows, list) or not rows:
        raise Refusal("Format error, json string supplied is not valid")
    if len(rows) > MOST_ROWS:
        raise Refusal(f"at most {MOST_ROWS} rows expected, not {len(rows)}", 413, "too-large")
    last = rows[-1]
    if not isinstance(last, list) or not last or last[0] is None:
        raise Refusal("Format error, last item in bulk data does not contain any data")
    row_dated = _dating(params, _seconds(last[0], "the last row's time"), now, dated)
    frames: list[Frame] = []
    texts: list[str] = []
    misdated = places = 0
    for number_of_row, row in enumerate(rows, 1):
        try:
            when, node, values = _row(row)
        except Refusal as refusal:
            raise Refusal(f"row {number_of_row}: {refusal}") from None
        places += values.places
        if places > MOST_PLACES:
            raise Refusal(f"at most {MOST_PLACES} places for values expected", 413, "too-large")
        stamp = row_dated(when)
        of_row = list(values.frames(node, stamp or now))
        misdated += len(of_row) if stamp is None else 0
        frames += of_row
        texts += values.texts
    return Taken(frames, "ok", misdated, tuple(texts))


def _row(row: object) -> tuple[int, str, Values]:
    """Read `[time, node, value or {name: value}, ...]`."""
    if not isinstance(row, list):
        raise Refusal(f"[time, node, value, ...] expected, not {quoted(row)}")
    values = Values(takes_text=True)
    if len(row) < 3:
        return 0, "0", values  # Emoncms skips it
    when, node, *items = row
    for item in items:
        if isinstance(item, dict):
            for key, value in item.items():
                values.add(key, value)
        else:
            values.append(item)
    return _seconds(when, "its time"), node_name(node), values


def _seconds(value: object, what: str) -> int:
    """Return whole seconds, as Emoncms reads them."""
    try:
        seconds = number(value, what)
    except Refusal:
        seconds = None
    if seconds is None:
        raise Refusal(f"{what} in seconds expected, not {quoted(value)}")
    return int(seconds)


def _dating(params: Params, last: int, now: Stamp, dated: Dating) -> Dating:
    """Return the function that makes a stamp of a row's time, in seconds.

    With `sentat` or `offset` that is relative to this machine's time minus that number, with `time` to that
    Unix time (0: rows have Unix times); with none of them, the last row is now. This machine's time counts in
    whole seconds: readings ten seconds apart that come in two requests stay ten seconds apart.
    """
    for name in ("sentat", "offset"):
        if name in params:
            last = _seconds(params[name], name)
            break
    else:
        if "time" in params:
            start = _seconds(params["time"], "time")
            return lambda when: dated(start + when)
    return lambda when: relative(when - last - now.wall % 1, now)
