"""The `oemgateway` command: the table of its subcommands, each in a module of its own.

Such a module has `add(commands)`, which adds the parser of the subcommand, and gives it a `run(options)` that
returns the exit status.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.commands import foreground
from gateway.conf.document import ConfigFaults
from gateway.paths import DEFAULT_FILE
from gateway.spool import SpoolUnusable
from gateway.text.terminal import CONFIGURATION, FAILED, say_aside
from gateway.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COMMANDS = {
    "check": "gateway.commands.check",
    "migrate": "gateway.commands.migrate.command",
    "doctor": "gateway.commands.doctor",
    "status": "gateway.commands.status",
    "values": "gateway.commands.values",
    "queue": "gateway.commands.queue_command",
    "history": "gateway.dispatchers.page.history.command",
    "emoncms": "gateway.dispatchers.emoncms.proof.command",
    "sensors": "listeners.onewire.commands.sensors",
    "probe": "listeners.probe.command",
    "demo": "gateway.commands.demo",
}
"""The module of each subcommand; it is imported when the subcommand, or the help, is asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 failed, 2 usage, 78 configuration."""
    if sys.stdout is None:  # closed by who started this
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  (until the process ends)
    typed = list(sys.argv[1:] if arguments is None else arguments)
    options, rest = _options().parse_known_args(typed)
    if rest[:1] == ["help"]:
        typed = rest = [*rest[1:], "--help"]
    if rest:
        options = parser(rest[:1] if rest[0] in COMMANDS else COMMANDS).parse_args(typed)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        say_aside("interrupted")
        return FAILED
    except ConfigFaults as faults:
        sys.stderr.writelines(f"{line}\n" for line in faults.lines())
        return CONFIGURATION
    except (OSError, SpoolUnusable) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return FAILED
        words = str(error)
        if isinstance(error, OSError) and error.filename and error.strerror:
            words = f"{error.filename}: {error.strerror}"
        say_aside(words)
        return FAILED
    return status


def _nobody_reads() -> bool:
    """Tell whether what is printed goes into a pipe that nobody reads any more; drop it from then on."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def parser(names: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser, with these subcommands."""
    parser = argparse.ArgumentParser(
        prog="oemgateway",
        description="Reads 1-Wire sensors and radio packets and posts the values, by index, to Emoncms.",
        epilog="Without a command the gateway runs in the foreground until Ctrl-C.",
        parents=[_options()],
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in names:
        import_module(COMMANDS[name]).add(commands)
    return parser


def _options() -> argparse.ArgumentParser:
    """Return the parser of the options that stand before a subcommand, or without one."""
    options = argparse.ArgumentParser(prog="oemgateway", add_help=False)
    options.add_argument(
        "--version", action="version", version=f"oemgateway {VERSION}", help="show the version and exit"
    )
    options.add_argument(
        "--config-file",
        type=Path,
        default=DEFAULT_FILE,
        metavar="FILE",
        help=f"read the settings from it (default {DEFAULT_FILE})",
    )
    foreground.add(options)
    return options
