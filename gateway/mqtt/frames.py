"""A frame as the JSON of one message, and back: our own form, and those of emonhub and of Emoncms.

A gap is left out in the log, and null in the present state. What came is data: ValueError says in one line
why it is not a frame.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.frame import HIGHEST, Frame, Stamp
from gateway.mqtt.message import Message
from gateway.mqtt.topics import as_level, encode, publishable
from gateway.text.numeral import SPACE, NotANumber, from_json, load_device_json, parse
from gateway.text.words import as_emoncms_keeps, distinct
from gateway.times.device_time import absolute, unix_time
from gateway.version import MADE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LONGEST = 65_536
"""Bytes of a message that is parsed: a frame of 999 values has some 20,000."""

_INDEX = re.compile(r"[1-9][0-9]{0,2}")
_ID = re.compile(r"[0-9a-z]{1,32}")
_LATEST = 1e11
"""Unix seconds of the year 5138: what is later are milliseconds."""
_LONGEST_NAME = 64


class Identity(NamedTuple):
    """What distinguishes a message of a gateway from all others: its epoch, and its number in that.

    `after` is the number before it in the order of sending, and `acked` the last one whose arrival the sender
    knows of; each as (epoch, n), None if there is none.
    """

    gateway: str
    epoch: str
    n: int
    after: tuple[str, int] | None = None
    acked: tuple[str, int] | None = None


def log_message(topic: str, frame: Frame, identity: Identity | None) -> Message:
    """Return the message of the log for a frame: its own time, its values, and who it is."""
    keys = _keys(frame, by_name=frame.by_name)
    whole: dict[str, Any] = {
        "time": _number(frame.stamp.wall),
        "values": {keys[index]: _number(value) for index, value in frame.items()},
    }
    if frame.by_name:
        whole["by_name"] = True
    elif names := {str(index): name for index, name in enumerate(frame.names, 1) if name}:
        whole["names"] = names
    if frame.rssi is not None:
        whole["rssi"] = frame.rssi
    if identity:
        whole |= {"gateway": identity.gateway, "epoch": identity.epoch, "n": identity.n}
        whole |= {"after": identity.after} if identity.after else {}
        whole |= {"acked": identity.acked} if identity.acked else {}
    return Message(f"{topic}/log/{frame.node}", as_json(whole))


def state_values(frame: Frame) -> dict[str, float | None]:
    """Return the values of a frame by their keys in the present state, None for a gap.

    A key is the index, or the encoded name where a node has its values by name: it stands in a template.
    """
    keys = {index: encode(key) for index, key in _keys(frame, by_name=frame.by_name).items()}
    values = enumerate(frame.values, 1)
    return {keys[index]: None if value is None else _number(value) for index, value in values}


def state_message(topic: str, frame: Frame, values: Mapping[str, float | None], expiry: float) -> Message:
    """Return a node's present state: its last frame, all `values` by key, until `expiry` seconds from now."""
    keys = {index: encode(key) for index, key in _keys(frame, by_name=frame.by_name).items()}
    names = {keys[index]: frame.name(index) for index in keys if frame.name(index)}
    whole: dict[str, Any] = {"values": values}
    if frame.stamp.wall >= MADE:  # otherwise the clock is known to be wrong
        whole["time"] = _number(frame.stamp.wall)
    whole |= {"names": names} if names else {}
    whole |= {} if frame.rssi is None else {"rssi": frame.rssi}
    return Message(f"{topic}/state/{frame.node}", as_json(whole), retain=True, expiry=expiry)


def emonhub_messages(base: str, frame: Frame, forms: tuple[str, ...], name: str) -> Iterator[Message]:
    """Yield what emonhub publishes of a frame: `node`, `nodevar` and `json` are its formats.

    `name` is what the node is called; `base` ends with / as emonhub's base topics do.
    """
    keys, name = _keys(frame, by_name=True, read=as_level), publishable(name)
    there = {keys[index]: _number(value) for index, value in frame.items()}
    rssi = {} if frame.rssi is None else {"rssi": frame.rssi}
    if "node" in forms:
        values = ["nan" if value is None else str(_number(value)) for value in frame.values]
        payload = ",".join([*values, *map(str, rssi.values())])
        yield Message(f"{base}rx/{frame.node}/values", payload.encode())
    if "nodevar" in forms:
        for key, value in {**there, **rssi}.items():
            yield Message(f"{base}{name}/{as_level(key)}", str(value).encode())
    if "json" in forms:
        yield Message(f"{base}{name}", as_json({**there, "time": _number(frame.stamp.wall), **rssi}))


def emoncms_message(base: str, frame: Frame) -> Message:
    """Return a frame as the MQTT input of Emoncms takes it: whole seconds, an input for each key."""
    keys = _keys(frame, by_name=frame.by_name, read=_as_emoncms_reads)
    values = {keys[index]: _number(value) for index, value in frame.items()}
    whole = {"time": math.floor(round(frame.stamp.wall, 3)), **values}
    return Message(f"{base}{as_level(frame.node)}", as_json(whole))


def from_log(given: dict[str, Any], node: str, now: Stamp) -> Frame:
    """Return the frame of a message of the log."""
    stamp = _stamp(given.get("time"), now)
    values, names = _object(given, "values"), _object(given, "names")
    if given.get("by_name") is True:
        frame = by_name(node, {key: number(values[key], key) for key in values}, stamp)
    else:
        frame = by_index(node, values, names, stamp)
    return replace(frame, rssi=_rssi(given))


def identity_of(given: dict[str, Any]) -> Identity | None:
    """Return the identity of a message of the log, if it has one."""
    if "gateway" not in given:
        return None
    gateway, epoch, n = given["gateway"], given.get("epoch"), given.get("n")
    if not (isinstance(gateway, str) and _ID.fullmatch(gateway)):
        raise ValueError("gateway: an id expected")
    after, acked = _position(given.get("after"), "after"), _position(given.get("acked"), "acked")
    if not (own := _position([epoch, n], "epoch and n")):
        raise ValueError("epoch and n expected")
    return Identity(gateway, *own, after, acked)


def from_emoncms(
    payload: bytes,
    node: str,
    now: Stamp,
    names: tuple[str, ...] = (),
    misdated: Callable[[float], Stamp | None] = lambda _: None,
) -> Frame:
    """Return the frame of what Emoncms or a reader of emonhub takes: an object, a list, `1,2,3`, or a number.

    `names` are the levels of the topic after the node: with them a number is one value, and they are put in
    front of the keys of an object, or of the places in a list, which Emoncms counts from 0. `misdated` is
    called with an impossible time of the object, in Unix seconds: if it returns none, the frame has the time
    of its arrival, as in Emoncms.
    """
    text = text_of(payload).strip(SPACE)
    if not text.startswith(("{", "[")):
        values = _listed(text)
        if names and len(values) != 1:
            raise ValueError("one number expected at a topic that names a value")
        return _keyed(node, {"_".join(names): values[0]}, now) if names else Frame(node, tuple(values), now)
    given = parse_json(payload)
    if isinstance(given, list):
        check_places(len(given))
        given = {f"{place}": value for place, value in enumerate(given, 0 if names else 1)}
    times = [key for key in given if key.lower() == "time"]
    when = given[times[0]] if times else None
    wall = unix_time(when)
    stamp = absolute(wall, now)
    if stamp is None and when not in (None, ""):
        stamp = misdated(wall)
    prefix = "".join(f"{name}_" for name in names)
    rssi = None if names or given.keys() <= {"rssi", *times} else _rssi(given)
    there = {
        key: value
        for key, value in given.items()
        if key not in times and not (key == "rssi" and rssi is not None)
    }
    kept = {f"{prefix}{key}": value for key, value in _numbers(there).items()}
    return replace(_keyed(node, kept, stamp or now), rssi=rssi)


def from_emonhub_values(payload: bytes, node: str, now: Stamp) -> Frame:
    """Return the frame of emonhub's `rx/<node>/values`: `1,2,3`, possibly with the rssi at the end."""
    return Frame(node, tuple(_listed(text_of(payload))), now)


def _listed(text: str) -> list[float | None]:
    """Return the values of `1,2,3`; an empty place is a gap, unless all of them are."""
    items = [item.strip(SPACE) for item in text.split(",")]
    check_places(len(items))
    return [parse_number(item) if item or not any(items) else None for item in items]


def _numbers(given: dict[str, Any]) -> dict[str, float | None]:
    """Return the values of an object; one that is not a number is a gap: Emoncms takes the others, too.

    A value may come as ebusd publishes it, `{"value": 21.5}`; a `name` in it is put after the key.
    Raises ValueError if none of them is a number.
    """
    found: dict[str, float | None] = {}
    fault: ValueError | None = None
    for key, value in given.items():
        whole = value if isinstance(value, dict) and "value" in value else {"value": value}
        name = f"{key}_{whole['name']}" if whole.get("name") else key
        try:
            found[name] = number(whole["value"], name)
        except ValueError as error:
            found[name], fault = None, error
    if fault and all(value is None for value in found.values()):
        raise fault
    return found


def _keyed(node: str, values: dict[str, float | None], stamp: Stamp) -> Frame:
    """Return a frame by index where every key is one, and by name otherwise."""
    if all(_INDEX.fullmatch(key) for key in values):
        return by_index(node, values, {}, stamp)
    return by_name(node, values, stamp)


def by_index(node: str, values: dict[str, Any], names: dict[str, Any], stamp: Stamp) -> Frame:
    """Return the frame of values and names by index."""
    if not all(map(_INDEX.fullmatch, values)):
        raise ValueError(f"values by index, 1 to {HIGHEST}, expected")
    highest = max(map(int, values), default=0)
    last_named = max((int(key) for key in names if _INDEX.fullmatch(key)), default=0)
    labels = [names.get(str(index)) or "" for index in range(1, last_named + 1)]
    if not all(isinstance(label, str) for label in labels):
        raise ValueError("names: texts expected")
    labels = [label[:_LONGEST_NAME] for label in labels]
    try:
        "".join(labels).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can have
        raise ValueError("names: Unicode expected") from None
    while labels and not labels[-1]:
        labels.pop()
    at = [number(values.get(str(index)), str(index)) for index in range(1, highest + 1)]
    return Frame(node, tuple(at), stamp, tuple(labels))


def by_name(node: str, values: dict[str, float | None], stamp: Stamp) -> Frame:
    """Return the frame of values that have names, without characters that no name may have."""
    check_places(len(values))
    names = ("".join(filter(str.isprintable, key))[:_LONGEST_NAME] or "_" for key in values)
    return Frame(node, tuple(values.values()), stamp, tuple(names), by_name=True)


def check_places(count: int) -> None:
    """Raise ValueError for more values than a frame has."""
    if count > HIGHEST:
        raise ValueError(f"at most {HIGHEST} values expected, not {count}")


def parse_object(payload: bytes) -> dict[str, Any]:
    """Return the JSON object that a message is."""
    given = parse_json(payload)
    if not isinstance(given, dict):
        raise ValueError("a JSON object expected")
    return given


def parse_json(payload: bytes) -> Any:  # noqa: ANN401  (JSON)
    """Return what a message says in JSON; NaN or nan may be in it, as emonhub and devices write."""
    try:
        return load_device_json(text_of(payload))
    except json.JSONDecodeError:
        raise ValueError("not JSON") from None


def parse_number(text: str) -> float | None:
    """Return text as a number, None for no value; true is 1 and false 0, as in JSON."""
    word = text.strip(SPACE)
    try:
        return parse({"true": "1", "false": "0"}.get(word, word))
    except NotANumber:
        raise ValueError("a number expected") from None


def number(value: object, key: str) -> float | None:
    """Return a value of JSON as a number, None for no value."""
    try:
        return from_json(value)
    except NotANumber:
        raise ValueError(f"a number expected for {key[:40]!a}") from None


def as_json(whole: dict[str, Any]) -> bytes:
    """Return it as short JSON."""
    return json.dumps(whole, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _keys(frame: Frame, *, by_name: bool, read: Callable[[str], str] = str) -> dict[int, str]:
    """Return the key of every index: the index itself or, if its reader can tell it from others, its name."""
    labels = [label if by_name else "" for label in frame.labels()]
    seen = [*map(read, labels)]
    names = zip(distinct(seen, numbers=frame.by_name), seen, labels, strict=True)
    keys = [label if name == as_read else name for name, as_read, label in names]
    return dict(enumerate(keys[: len(frame.values)], 1))


def _as_emoncms_reads(name: str) -> str:
    """Return what Emoncms keeps of a key; `time` in any case is the time to it, and `describe` a command."""
    return "" if (kept := as_emoncms_keeps(name)).lower() in ("time", "describe") else kept


def _number(value: float) -> float:
    return int(value) if value == math.floor(value) and abs(value) < 2**53 else value


def text_of(payload: bytes) -> str:
    """Return the text of a message."""
    if len(payload) > LONGEST:
        raise ValueError(f"at most {LONGEST} bytes expected, not {len(payload)}")
    try:
        return payload.rstrip(b"\0").decode("utf-8")  # a program in C may count the end of its text
    except UnicodeDecodeError:
        raise ValueError("text in UTF-8 expected") from None


def _stamp(time: object, now: Stamp) -> Stamp:
    """Return the sender's own time, which stands; without one it is the time of arrival."""
    if time is None:
        return now
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < _LATEST:
        raise ValueError("time: Unix seconds expected")
    return Stamp(float(time), "", 0.0)


def _object(given: dict[str, Any], key: str) -> dict[str, Any]:
    value = given.get(key, {})
    if not isinstance(value, dict):
        raise ValueError(f"{key}: a JSON object expected")
    return value


def _rssi(given: dict[str, Any]) -> int | None:
    """Return the signal strength that an object gives, in dBm."""
    rssi = given.get("rssi")
    return rssi if type(rssi) is int and abs(rssi) < 1000 else None


def _position(given: object, key: str) -> tuple[str, int] | None:
    match given:
        case None:
            return None
        case [str(epoch), int(n)] if _ID.fullmatch(epoch) and type(n) is int and 0 <= n < 1 << 63:
            return epoch, n
    raise ValueError(f"{key}: an epoch and a number expected")
