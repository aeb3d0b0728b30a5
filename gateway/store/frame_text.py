"""A frame as the text that the queue keeps of it."""

from __future__ import annotations

import json
import sqlite3
import sys

from gateway.frame import Frame, Stamp

_LARGEST = sys.float_info.max
"""Larger numbers, and NaN, cannot be sent on."""


class GarbledFrame(sqlite3.DatabaseError):
    """A text that is not a frame: the file is damaged, but SQLite has no checksums and did not notice."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def to_text(frame: Frame) -> str:
    """Return the frame's fields in their order, as JSON (dataclasses.astuple takes five times as long).

    Raises ValueError for a number that JSON cannot hold, and for text that is not valid Unicode.
    """
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
    """Return the frame again; raises GarbledFrame."""
    try:
        node, values, stamp, names, *rest = json.loads(text)
        frame = Frame(node, tuple(values), Stamp(*stamp), tuple(names), *rest)
    except (ValueError, TypeError, RecursionError) as error:
        raise GarbledFrame(f"a reading is garbled: {error}") from error
    if not _is_whole(frame):
        raise GarbledFrame(f"a reading is garbled: {text[:80]}")
    return frame


def is_frame(text: object) -> bool:
    """Tell whether this is the text of a frame."""
    try:
        from_text(str(text))
    except GarbledFrame:
        return False
    return True


def _is_whole(frame: Frame) -> bool:
    """Tell whether the fields that everybody relies on have the right types."""
    numbers = (
        frame.stamp.wall,
        frame.stamp.boottime,
        *(value for value in frame.values if value is not None),
    )
    texts = (frame.node, frame.stamp.boot, frame.source, *frame.names)
    return all(isinstance(each, (int, float)) and abs(each) <= _LARGEST for each in numbers) and all(
        isinstance(each, str) for each in texts
    )
