"""`oemgateway queue`: what waits and what was refused, to be looked at, taken away and brought back."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.clock import Clock
from gateway.exchange import from_object
from gateway.queue_answers import AHEAD
from gateway.queue_listing import CSV_HEADING, csv_lines, json_line, reading, standing
from gateway.queue_reach import reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from gateway.queue_reach import Ask

OK, FAILED, USAGE = 0, 1, 2

_LONGEST_LINE = 100_000
_BUNCH = 200_000
"""Bytes of readings that go into the queue at a time."""
_FAULTS = 10
"""How many faults of a file are shown."""


def add_queue(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Give the parser of `oemgateway` this command."""
    queue = commands.add_parser(
        "queue",
        help="show what waits and what was refused; list, export, import, retry, drop",
        description="Without an action: how much waits, is held and was refused, per dispatcher.",
    )
    queue.add_argument("--json", action="store_true", help="print for a program")
    queue.set_defaults(run=_run, act=_status, dispatcher="", refused=False)
    actions = queue.add_subparsers(title="actions", metavar="ACTION")

    def add(name: str, act: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=words)
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print for a program"
        )
        action.set_defaults(act=act)
        return action

    shown = add("list", _list, "show readings that wait, oldest first")
    shown.add_argument("--limit", type=int, default=20, metavar="N", help="how many (default 20)")
    taken = add("export", _export, "write readings that wait as lines of JSON; they stay in the queue")
    taken.add_argument("file", nargs="?", type=Path, metavar="FILE", help="readable by its owner alone; - or none: print")
    taken.add_argument("--csv", action="store_true", help="a line per value instead, for a spreadsheet")
    given = add("import", _import, "put readings from lines of JSON at the end of the queue")
    given.add_argument("file", type=Path, metavar="FILE", help="as export writes it; - for what is piped in")
    again = add("retry", _retry, "put refused readings at the end of the queue, for those alone that refused them")
    dropped = add("drop", _drop, "throw readings away, after a question")
    which = dropped.add_mutually_exclusive_group(required=True)
    which.add_argument("--refused", action="store_true", help="those that were refused")
    which.add_argument("--waiting", action="store_true", help="those that wait")
    dropped.add_argument("--yes", action="store_true", help="do not ask")
    for action in (shown, taken):
        action.add_argument("--refused", action="store_true", help="those that were refused instead")
    for action in (shown, taken, again, dropped):
        action.add_argument("--dispatcher", default="", metavar="NAME", help="of this dispatcher alone")


def _run(options: argparse.Namespace) -> int:
    try:
        status: int = options.act(options)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        _say("interrupted")
        return FAILED
    return status


def _status(options: argparse.Namespace) -> int:
    with reach(options.config_file) as ask:
        status = ask("queue")
    print(json.dumps(status) if options.json else "\n".join(standing(status)))
    return OK


def _list(options: argparse.Namespace) -> int:
    left = options.limit
    with reach(options.config_file) as ask:
        for row in (row for rows in _rows(ask, options) for row in rows):
            if not left:
                _say(f"there are more: --limit N shows more than {options.limit}")
                break
            sys.stdout.write(json_line(row) if options.json else f"{reading(row)}\n")
            left -= 1
    return OK


def _export(options: argparse.Namespace) -> int:
    count = 0
    with reach(options.config_file) as ask, _output(options.file) as output:
        if options.csv:
            output.write(CSV_HEADING.encode())
        for rows in _rows(ask, options):
            count += len(rows)
            text = csv_lines(rows) if options.csv else "".join(map(json_line, rows))
            output.write(text.encode())
    _say(f"{count} readings exported; they are in the queue still")
    return OK
