"""A frame as the text that the queue keeps of it."""

from __future__ import annotations

import json
import sqlite3
from math import isfinite

from gateway.frame import Frame, Stamp

_decode = json.JSONDecoder().raw_decode
"""Decodes without skipping blanks, as json.loads would: a text of the queue has none around it."""


class GarbledFrame(sqlite3.DatabaseError):
    """A text that is not a frame: the file is damaged, but SQLite has no checksums and did not notice."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def to_text(frame: Frame) -> str:
    """Return the frame's fields in their order, as JSON (dataclasses.astuple takes five times as long).

    Raises ValueError, TypeError or OverflowError for what `from_text` would not take: in the queue it would
    count as damage to the file.
    """
    if not _has_right_types(frame):
        raise ValueError(f"texts and finite numbers expected in a frame, not {frame!r:.200}")
    stamp = frame.stamp
    fields = [
        frame.node,
        frame.values,
        (stamp.wall, stamp.boot, stamp.boottime),
        frame.names,
        frame.rssi,
        frame.source,
        frame.by_name,
    ]
    text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text.encode()  # SQLite would refuse half of a surrogate pair, together with the frames of others
    return text


def from_text(text: str) -> Frame:
    """Return the frame of a text; raises GarbledFrame."""
    try:
        (node, values, stamp, names, *rest), end = _decode(text)
        frame = Frame(node, tuple(values), Stamp(*stamp), tuple(names), *rest)
        is_whole = end == len(text) and _has_right_types(frame)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise GarbledFrame(f"a reading is garbled: {error}") from error
    if not is_whole:
        raise GarbledFrame(f"a reading is garbled: {text[:80]}")
    return frame


def is_frame(text: object) -> bool:
    """Tell whether this is the text of a frame."""
    try:
        from_text(str(text))
    except GarbledFrame:
        return False
    return True


def _has_right_types(frame: Frame) -> bool:
    """Tell whether the fields that everybody relies on can be sent on.

    Raises TypeError if a number is not one, and OverflowError if it is larger than any float.
    """
    stamp = frame.stamp
    texts = (frame.node, stamp.boot, frame.source, *frame.names)
    numbers = [value for value in (frame.rssi, *frame.values) if value is not None]
    finite = all(map(isfinite, (stamp.wall, stamp.boottime, *numbers)))
    return finite and frame.node != "" and {*map(type, texts)} == {str}
