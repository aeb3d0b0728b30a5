"""`oemgateway history`: the history of a page as CSV, out and in."""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections import defaultdict
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

from gateway.clock import Clock
from gateway.conf import config
from gateway.dispatchers.page.dispatcher import Page
from gateway.dispatchers.page.history.blocks import HOUR, MINUTE, Point
from gateway.dispatchers.page.history.history import Damaged, History
from gateway.dispatchers.page.history.keeper import file_of
from gateway.dispatchers.page.history.rings import SERIES
from gateway.process.output import check_writable_system, naming, output
from gateway.process.state_files import open_file
from gateway.text.numeral import LARGEST
from gateway.text.terminal import FAILED, OK, say, say_aside

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping
    from typing import TextIO

T = TypeVar("T")

COLUMNS = ("unix", "seconds", "node", "index", "name", "mean", "least", "greatest", "count")
_LONGEST_NAME = 64
_NAME = f"a name of 1 to {_LONGEST_NAME} characters"
_SHOWN = 40
"""Characters of a wrong value that are shown."""
_LONGEST_LINE = 1024
"""Characters of a line that are read at a time: a longer line is not ours."""
_AT_ONCE = 50_000
"""Lines that are imported at a time: a whole history would not fit in the memory of a Pi."""

_TRIES = 10
"""How often a history is copied until nobody writes it meanwhile."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "history",
        help="export or import the history of a page",
        description="The history that a dispatcher of type page keeps, as CSV: a line for each minute of 30 "
        "days and each hour of two years that has a value.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="export|import", required=True)
    for verb, what in (
        ("export", "write it to a file (- is the terminal)"),
        ("import", "add what a file has and the history has not"),
    ):
        each = verbs.add_parser(verb, help=what, description=f"{what[0].upper()}{what[1:]}.")
        each.add_argument("file", type=Path, metavar="FILE", help="the CSV file")
        each.add_argument(
            "--section", metavar="NAME", help="the section of the page, where there are several"
        )


def run(options: argparse.Namespace) -> int:
    """Export or import."""
    configuration = config.read(options.config_file)
    pages = [name for name, each in configuration.dispatchers.items() if isinstance(each, Page)]
    name = options.section or (pages[0] if len(pages) == 1 else "")
    if name not in pages:
        say_aside(
            f"--section: one of {', '.join(pages)} expected" if pages else "there is no section of type page"
        )
        return FAILED
    kept = file_of(configuration.gateway.find_state_dir(), name)
    try:
        if options.verb == "import":
            _check_writable(kept)
            return _import(History(kept), options.file)
        if kept.exists():
            with _readable(kept) as there:
                return _export(History(there), options.file)
    except Damaged as error:
        say_aside(f"the history is damaged: {error}")
    else:
        say_aside(f"{name} has written no history yet")
    return FAILED


def _check_writable(kept: Path) -> None:
    """Raise OSError with the next step where this user may not write the history."""
    for place in (kept, kept.parent):
        if place.exists() and not os.access(place, os.W_OK):
            check_writable_system(place)
            raise OSError(f"{place}: this user may not write there: sudo")


@contextmanager
def _readable(kept: Path) -> Iterator[Path]:
    """Yield a history that can be read: SQLite writes beside what it reads, so who may not gets a copy."""
    if os.access(kept, os.W_OK) and os.access(kept.parent, os.W_OK):
        yield kept
        return
    parts = [kept, kept.with_name(f"{kept.name}-wal")]
    for _ in range(_TRIES):
        with tempfile.TemporaryDirectory() as folder:
            before = [*map(_stamp, parts)]
            for part in parts:
                with (
                    suppress(FileNotFoundError),
                    os.fdopen(open_file(part, os.O_RDONLY), "rb") as source,
                    Path(folder, part.name).open("wb") as target,
                ):
                    shutil.copyfileobj(source, target)
            if [*map(_stamp, parts)] == before:
                yield Path(folder, kept.name)
                return
    raise OSError(f"{kept}: it is being written: try again")


def _stamp(file: Path) -> tuple[int, int]:
    """Return what changes when a file is written."""
    with suppress(FileNotFoundError):
        about = file.stat()
        return about.st_mtime_ns, about.st_size
    return 0, 0


def _export(history: History, file: Path) -> int:
    is_terminal = str(file) == "-"
    with output(str(file)) as stream:
        known = history.known()
        # In UTF-8 whatever the terminal has: a name that was escaped would be imported as another series.
        as_bytes = SimpleNamespace(write=lambda text: stream.write(text.encode()))
        rows = csv.writer(as_bytes, lineterminator="\n")
        rows.writerow(COLUMNS)
        count = 0
        for node, key in known:
            which = ("", key[1:]) if key.startswith("=") else (key, "")
            for step, read in ((MINUTE, history.minutes), (HOUR, history.hours)):
                for point in read(node, key, 0.0, history.newest() + 1):
                    figures = (f"{number:.9g}" for number in (point.mean, point.least, point.greatest))
                    rows.writerow((f"{point.at:.0f}", step, node, *which, *figures, point.count))
                    count += 1
    if not is_terminal:
        say([f"{count} minutes and hours of {len(known)} series are in {file}"])
    return OK


def _import(history: History, file: Path) -> int:
    try:
        with naming(file), file.open(encoding="utf-8-sig", newline="") as given:  # a spreadsheet adds a BOM
            if not given.seekable():  # it is read twice
                raise ValueError("a file expected, not a pipe")  # noqa: TRY301  (one place says what is wrong)
            count = sum(1 for _ in _points(given))  # a bad line anywhere: nothing is imported
            given.seek(0)
            history.open()
            added = 0
            points = _points(given)
            while part := [*islice(points, _AT_ONCE)]:
                groups: dict[tuple[str, str, int], list[Point]] = defaultdict(list)
                for node, key, step, point in part:
                    groups[node, key, step].append(point)
                added += sum(history.put(*which[:2], theirs, which[2]) for which, theirs in groups.items())
    except (ValueError, csv.Error) as error:
        words = "a text in UTF-8 expected" if isinstance(error, UnicodeDecodeError) else error
        say_aside(f"{file}: {words}; nothing is imported")
        return FAILED
    left_out = f"were there, are too old, or are of series beyond {SERIES}"
    say([f"{added} of {count} minutes and hours are added; the others {left_out}"])
    return OK


def _points(given: TextIO) -> Iterator[tuple[str, str, int, Point]]:
    """Yield node, key and seconds of each row with its point. Raises ValueError with its line and column."""
    rows = csv.DictReader(iter(partial(given.readline, _LONGEST_LINE), ""))
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise ValueError(f"line 1: the columns {', '.join(COLUMNS)} expected, and {missing[0]} is not there")
    now = Clock().wall()
    for row in rows:
        try:
            yield _point(row, now)
        except ValueError as error:
            raise ValueError(f"line {rows.line_num}: {error}") from None


def _point(row: Mapping[str, str | None], now: float) -> tuple[str, str, int, Point]:
    """Return node, key, seconds and point of a row; raises ValueError with the column that is wrong."""
    step = _cell(row, "seconds", int, (MINUTE, HOUR).__contains__, f"{MINUTE} or {HOUR}")
    when = f"the time of a whole {'minute' if step == MINUTE else 'hour'}, which is not to come,"
    at = _cell(row, "unix", float, lambda at: 0 <= at <= now + MINUTE and at % step == 0, when)
    node = _cell(row, "node", str, _is_name, _NAME)
    if row["index"]:
        key = str(
            _cell(row, "index", int, range(1, 10_000).__contains__, "1 to 9999, or nothing and a name,")
        )
    else:
        key = f"={_cell(row, 'name', str, _is_name, f'{_NAME}, as there is no index,')}"
    mean, least, greatest = (
        _cell(row, column, float, lambda number: abs(number) <= LARGEST, "a number")
        for column in ("mean", "least", "greatest")
    )
    count = _cell(row, "count", int, range(1, 65536).__contains__, "1 to 65535")
    return node, key, step, Point(at, mean, least, greatest, count)


def _cell(
    row: Mapping[str, str | None],
    column: str,
    kind: Callable[[str], T],
    is_right: Callable[[T], bool],
    what: str,
) -> T:
    """Return the value in a column; raises ValueError if something other than `what` is there."""
    text = row[column] or ""
    with suppress(ValueError, OverflowError):
        if is_right(value := kind(text)):
            return value
    raise ValueError(f"{column}: {what} expected, not {text[:_SHOWN] or 'nothing'}")


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME
