"""The queue in words, lines of JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from gateway.present.exchange import COLUMNS, cells
from gateway.present.status import QueueStatus, from_json
from gateway.text.plain import plain
from gateway.text.words import local, size, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


REFUSED_DROPPED = (
    "of what was refused were dropped, ever: more of it was there than max_refused or max_refused_size"
)
"""What is printed after their count."""


def standing(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line per dispatcher, the size of the queue, and how much was dropped."""
    for name, about in status["dispatchers"].items():
        yield f"{name}: {'; '.join(share(from_json(QueueStatus, about)))}"
    if all(about["gone"] for about in status["dispatchers"].values()):
        waiting = f", as do {count} readings that are there" if (count := status.get("unclaimed")) else ""
        yield f"no dispatcher is in use: what comes waits for one{waiting}"
    dropped = f"{status['dropped']} dropped, for want of room or for their age"
    yield f"{size(status['bytes'])} on the disk; {dropped}"
    if status.get("refused_dropped"):  # an older gateway may still run
        yield f"{status['refused_dropped']} {REFUSED_DROPPED}"


def share(about: QueueStatus) -> list[str]:
    """Return in words what waits for a dispatcher, what is held, and what it refused."""
    words = [_waiting(about)] if not about.gone else ["not in use any more"]
    if about.held:
        words.append(f"{about.held} of them held until the clock is right")
    if about.refused:
        words.append(f"{about.refused} refused (oemgateway queue list --refused says why)")
    return words


def _waiting(about: QueueStatus) -> str:
    if not about.waiting:
        return "none waits"
    oldest = "" if about.age is None else f", the oldest for {span(about.age)}"
    return f"{about.waiting} {'waits' if about.waiting == 1 else 'wait'}{oldest}"


def reading(row: Mapping[str, Any]) -> str:
    """Return a line for people, escaped for their terminal."""
    names = row.get("names", {})
    values = ", ".join(
        f"{index} {names[index]} = {value}" if names.get(index) else f"{index} = {value}"
        for index, value in row["values"].items()
        if value is not None
    )
    remarks = [f"for {row['dispatcher']} alone"] if "dispatcher" in row and "reason" not in row else []
    remarks += [f"{row['dispatcher']}: {row['reason']}"] if "reason" in row else []
    remarks += ["its time is not known"] if row.get("undated") else []
    remark = f"  ({'; '.join(remarks)})" if remarks else ""
    return plain(f"{_time(row)}  node {row['node']}  {values}{remark}")


def json_line(row: Mapping[str, Any]) -> str:
    """Return the reading as `oemgateway queue import` takes it."""
    return json.dumps(row) + "\n"


def csv_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a line for each value of each reading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        for each in cells(row):
            writer.writerow([plain(cell) if isinstance(cell, str) else cell for cell in each])
    return text.getvalue()


CSV_HEADING = ",".join(COLUMNS) + "\n"


def _time(row: Mapping[str, Any]) -> str:
    if "time" not in row:
        return str(row["unix"])
    return local(row["unix"]).isoformat(" ", "seconds")
