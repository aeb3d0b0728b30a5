"""`oemgateway queue`: lists, exports, imports, retries and drops what waits and what was refused."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.clock import Clock
from gateway.commands.queue_listing import CSV_HEADING, csv_lines, json_line, reading, standing
from gateway.commands.queue_reach import reach
from gateway.present.exchange import from_object
from gateway.present.queue_answers import AHEAD
from gateway.process.output import naming, output
from gateway.settings import quoted
from gateway.text.numeral import load_json
from gateway.text.plain import plain
from gateway.text.terminal import FAILED, OK, say, say_aside, say_json
from gateway.text.words import failure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import BinaryIO

    from gateway.commands.queue_reach import Ask

_LONGEST_LINE = 100_000
_LARGEST = 1 << 30
"""Bytes that are imported at most: a full queue of the default size is less."""
_BATCH = 200_000
"""Bytes of readings that are put into the queue at a time."""
_FAULTS = 10
"""How many faults of a file are shown."""
_JSON = "print JSON, for a program"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand, and those of its actions."""
    queue = commands.add_parser(
        "queue",
        help="show what waits and what was refused; list, export, import, retry, drop",
        description="Says per dispatcher how much waits, is held and was refused; an action does more. It "
        "works whether or not the gateway runs.",
    )
    queue.add_argument("--json", action="store_true", help=_JSON)
    queue.set_defaults(act=_status, dispatcher="", refused=False)
    actions = queue.add_subparsers(title="actions", metavar="ACTION")

    def action(name: str, act: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=_JSON)
        parser.set_defaults(act=act)
        return parser

    action("status", _status, "say how much waits, is held and was refused, as without an action")
    shown = action("list", _list, "show readings that wait, oldest first")
    shown.add_argument("--limit", type=_count, default=20, metavar="N", help="show N at most (default 20)")
    taken = action("export", _export, "write readings that wait as lines of JSON; they stay in the queue")
    taken.add_argument(
        "file",
        nargs="?",
        default="-",
        metavar="FILE",
        help="where to, for its owner alone to read (default -: print them)",
    )
    taken.add_argument("--csv", action="store_true", help="a line per value instead, for a spreadsheet")
    given = action("import", _import, "put readings from lines of JSON at the end of the queue")
    given.add_argument("file", metavar="FILE", help="as export writes it (-: what is piped in)")
    again = action(
        "retry",
        _retry,
        "send refused readings once more to the dispatchers that refused them, after all that wait",
    )
    dropped = action("drop", _drop, "throw readings away, after a question")
    which = dropped.add_mutually_exclusive_group(required=True)
    which.add_argument("--refused", action="store_true", help="those that were refused")
    which.add_argument("--waiting", action="store_true", help="those that wait")
    dropped.add_argument("--yes", action="store_true", help="do not ask")
    for parser in (shown, taken):
        parser.add_argument(
            "--refused", action="store_true", help="those that were refused, not those that wait"
        )
    alone = "of this dispatcher alone (default: of all)"
    for_it = "for this dispatcher alone (default: as each line says, or for all)"
    for parser, words in ((shown, alone), (taken, alone), (again, alone), (dropped, alone), (given, for_it)):
        parser.add_argument("--dispatcher", type=_name, metavar="NAME", help=words)


def _count(text: str) -> int:
    """Return a number of readings; argparse reports anything else."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"a whole number expected, not {quoted(text)}")
    return int(text[:18])


def _name(text: str) -> str:
    """Return the name of a dispatcher. An empty one, as from an unset variable, does not mean all."""
    if not text:
        raise argparse.ArgumentTypeError("a name expected, not nothing")
    return text


def run(options: argparse.Namespace) -> int:
    """Run the action; it also counts as a success if the reader of its output closes the pipe."""
    options.dispatcher = options.dispatcher or ""
    try:
        status: int = options.act(options)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return status


def _status(options: argparse.Namespace) -> int:
    with reach(options.config_file) as ask:
        status = ask("queue")
    _print(options, status, *standing(status))
    return OK


def _list(options: argparse.Namespace) -> int:
    left = options.limit
    with reach(options.config_file) as ask:
        for row in (row for rows in _rows(ask, options) for row in rows):
            if not left:
                say_aside(f"there are more: --limit N shows more than {options.limit}")
                break
            sys.stdout.write(json_line(row) if options.json else f"{reading(row)}\n")
            left -= 1
    return OK


def _export(options: argparse.Namespace) -> int:
    count = 0
    with reach(options.config_file) as ask, output(options.file) as stream:
        if options.csv:
            stream.write(CSV_HEADING.encode())
        for found in _rows(ask, options):
            rows = [row | _whose(options.dispatcher) for row in found]
            count += len(rows)
            text = csv_lines(rows) if options.csv else "".join(map(json_line, rows))
            stream.write(text.encode())
        waiting = {who: about["waiting"] for who, about in ask("queue")["dispatchers"].items()}
    say_aside(f"exported: {count}, still in the queue too")
    if not (options.dispatcher or options.refused) and len({*waiting.values()}) > 1:
        each = ", ".join(f"{number} for {who}" for who, number in waiting.items())
        say_aside(
            f"{each}: an import gives each reading to all. With --dispatcher NAME it is for that one alone"
        )
    return OK


def _rows(ask: Ask, options: argparse.Namespace) -> Iterator[list[dict[str, Any]]]:
    """Yield the readings that were asked for, some at a time."""
    names = _names(ask("queue"), options)
    if options.refused:
        for who in names:
            yield from (piece["rows"] for piece in _pieces(ask, "queue-refused", who=who))
    else:
        yield from (piece["rows"] for piece in _pieces(ask, "queue-waiting", who=options.dispatcher))


def _import(options: argparse.Namespace) -> int:
    with tempfile.TemporaryFile() as copy:  # so that what was checked is what is imported
        with _input(options.file) as given, naming(options.file):
            _copy(given, copy)
        with reach(options.config_file) as ask:
            status = ask("queue")
            _names(status, options)
            known = [who for who, about in status["dispatchers"].items() if not about["gone"]]
            faults = list(islice(_faults(copy, known, options.dispatcher), _FAULTS))
            for number, fault in faults:
                say_aside(f"{options.file}:{number}: {fault}")
            if faults:
                say_aside("nothing is imported")
                return FAILED
            count = _admit(ask, copy, options.file, options.dispatcher)
    _print(options, {"imported": count}, f"imported: {count}")
    return OK


def _pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines, or pieces of those that are too long."""
    return iter(partial(file.readline, _LONGEST_LINE), b"")


def _copy(given: BinaryIO, copy: BinaryIO) -> None:
    """Copy the input up to a line that is too long. Raises OSError if it is too much."""
    for line in _pieces_of(given):
        copy.write(line)
        if len(line) == _LONGEST_LINE:
            return
        if copy.tell() > _LARGEST:
            raise OSError(f"more than {_LARGEST >> 20} MB: import it in parts; nothing is imported")


def _lines(copy: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty, with their numbers."""
    copy.seek(0)
    return ((number, line) for number, line in enumerate(_pieces_of(copy), 1) if line.strip())


def _parsed(line: bytes) -> Any:  # noqa: ANN401  (JSON)
    return load_json(line.decode("utf-8-sig"))  # an editor may have put a byte order mark there


def _whose(who: str) -> dict[str, str]:
    """Return what a row has if it is for one dispatcher alone: what is exported of one is imported for it."""
    return {"dispatcher": who} if who else {}


def _faults(copy: BinaryIO, known: Collection[str], who: str) -> Iterator[tuple[int, str]]:
    latest = Clock().wall() + AHEAD
    for number, line in _lines(copy):
        try:
            given = _parsed(line)
        except ValueError:
            yield number, "a reading as export writes it, a JSON object in one line, expected"
            if len(line) == _LONGEST_LINE:
                return  # the numbers would be wrong from here on
            continue
        try:
            from_object(given, latest=latest)
        except ValueError as fault:
            yield number, str(fault)
            continue
        whose = who or given.get("dispatcher", "")
        if whose and whose not in known:
            yield number, f"dispatcher: none is called {whose}; {_known(known)}"


def _admit(ask: Ask, copy: BinaryIO, name: str, who: str) -> int:
    """Put the readings into the queue, some at a time, for the one that is named; return how many."""
    count = size = 0
    rows: list[Any] = []

    def admit() -> int:
        return int(ask("queue-admit", rows=rows)["count"])

    try:
        for _, line in _lines(copy):
            rows.append(_parsed(line) | _whose(who))
            size += len(line)
            if size >= _BATCH:
                count += admit()
                rows, size = [], 0
        return count + admit() if rows else count
    except (OSError, KeyboardInterrupt) as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else failure(error)
        there = f"{name}: of its readings only the first {count} are in the queue"
        if isinstance(error, KeyboardInterrupt | ConnectionError | TimeoutError):  # it may have taken them
            there += f", and perhaps the {len(rows)} after them (oemgateway queue says how many wait)"
        raise OSError(f"{there}: {why}") from error


def _retry(options: argparse.Namespace) -> int:
    count = undated = 0
    with reach(options.config_file) as ask:
        status = ask("queue")
        for who in _names(status, options):
            if options.dispatcher or not status["dispatchers"][who]["gone"]:
                for piece in _pieces(ask, "queue-retry", who=who):
                    count += piece["count"]
                    undated += piece["undated"]
    words = [f"retried: {count}"]
    for who, about in status["dispatchers"].items():
        if about["gone"] and not options.dispatcher:
            words.append(
                f"not retried: {about['refused']} of {who}, not in use any more. To give them to another: "
                f"queue export --refused --dispatcher {who} FILE, queue import --dispatcher NAME FILE, "
                f"queue drop --refused --dispatcher {who}"
            )
    if undated:
        words.append(f"not retried: {undated}, whose time is not known: export them, set it, import them")
    _print(options, {"retried": count, "undated": undated}, *words)
    return OK


def _drop(options: argparse.Namespace) -> int:
    kind = "refused" if options.refused else "waiting"
    with reach(options.config_file) as ask:
        status = ask("queue")
    names = _names(status, options)
    counts = {who: status["dispatchers"][who][kind] for who in names}
    if kind == "waiting" and (unclaimed := status.get("unclaimed")):  # an older gateway may still run
        counts["for any dispatcher"] = unclaimed
    if not options.yes and not _confirmed(kind, counts):
        say_aside("nothing is dropped; yes, or the option --yes, drops")
        return FAILED
    with reach(options.config_file) as ask:
        if options.refused:
            pieces = [piece for who in names for piece in _pieces(ask, "queue-drop-refused", who=who)]
        else:
            pieces = list(_pieces(ask, "queue-drop-waiting", who=options.dispatcher))
    count = sum(piece["count"] for piece in pieces)
    _print(options, {"dropped": count}, f"dropped: {count}")
    return OK


def _confirmed(kind: str, counts: dict[str, int]) -> bool:
    there = ", ".join(f"{who} {count}" for who, count in counts.items())
    sys.stderr.write(plain(f"Drop for good what is {kind} ({there})? Type yes: "))
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "yes"


def _pieces(ask: Ask, what: str, **arguments: object) -> Iterator[dict[str, Any]]:
    """Ask for one piece after another until there is no more."""
    more: dict[str, Any] | None = arguments
    while more is not None:
        piece = ask(what, **more)
        yield piece
        more = piece["more"]


def _names(status: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """Return the dispatchers that were asked for; OSError if the one that was named does not exist."""
    known = list(status["dispatchers"])
    if options.dispatcher and options.dispatcher not in known:
        raise OSError(f"--dispatcher: none is called {options.dispatcher}; {_known(known)}")
    return [options.dispatcher] if options.dispatcher else known


def _known(names: Collection[str]) -> str:
    return f"there are {', '.join(names)}" if names else "there is none"


@contextmanager
def _input(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
    else:
        with Path(name).open("rb") as file:
            yield file


def _print(options: argparse.Namespace, answer: object, *words: str) -> None:
    if options.json:
        say_json(answer)
    else:
        say(words)
