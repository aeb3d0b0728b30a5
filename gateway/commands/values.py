"""`oemgateway values`: the values of the running gateway, in a table."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

from gateway.present.asking import RunningGateway
from gateway.present.status import from_json
from gateway.present.values import Value
from gateway.present.values_table import screen, table
from gateway.text.terminal import OK, say, say_json

if TYPE_CHECKING:
    import argparse

_EVERY = 1.0
"""Seconds between two tables of --watch."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "values",
        help="show the values of the running gateway",
        description="Asks the running gateway for its values and shows each with its age and its last hour. "
        "A - stands where there is none now; the age is that of the last one.",
    )
    parser.add_argument("--watch", action="store_true", help="show them again every second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print all that is known as JSON, for a program")


def run(options: argparse.Namespace) -> int:
    """Print the values."""
    gateway = RunningGateway.of(options.config_file)
    if options.json:
        say_json(gateway.ask("values")["values"])
    elif options.watch:
        _watch(gateway)
    else:
        say(lines(gateway, shutil.get_terminal_size().columns))
    return OK


def lines(gateway: RunningGateway, width: int) -> list[str]:
    """Return the table of a running gateway's values."""
    values = [from_json(Value, value) for value in gateway.ask("values")["values"]]
    return table(values, width, encoding=sys.stdout.encoding) if values else ["nothing was heard yet"]


def _watch(gateway: RunningGateway) -> None:
    live = sys.stdout.isatty()
    try:
        while True:
            width, height = shutil.get_terminal_size()
            shown = lines(gateway, width)
            if live:
                shown = screen(shown, [], width, height)
                sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J")
            else:
                say([*shown, ""])
            sys.stdout.flush()
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        return
