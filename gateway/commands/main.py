"""The `oemgateway` command: the table of its subcommands, each in a module of its own.

Such a module has `add(commands)`, which adds the parser of the subcommand, and `run(options)`, which returns
the exit status.
"""

from __future__ import annotations

import argparse
import io
import os
import select
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gateway.commands import foreground
from gateway.conf.document import ConfigFaults
from gateway.paths import DEFAULT_FILE
from gateway.present.asking import RunningGateway
from gateway.settings import did_you_mean
from gateway.spool import SpoolUnusable
from gateway.text.plain import plain
from gateway.text.terminal import CONFIGURATION, FAILED, OK, USAGE, say, say_aside, warn
from gateway.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

COMMANDS = {
    "setup": "listeners.commands.setup.command",
    "migrate": "gateway.commands.migrate.command",
    "doctor": "gateway.commands.doctor",
    "sensors": "listeners.onewire.commands.sensors",
    "check": "gateway.commands.check",
    "run": "gateway.commands.foreground",
    "status": "gateway.commands.status",
    "values": "gateway.commands.values",
    "queue": "gateway.commands.queue_command",
    "history": "gateway.dispatchers.page.history.command",
    "emoncms": "gateway.dispatchers.emoncms.proof.command",
    "probe": "listeners.probe.command",
    "demo": "gateway.commands.demo",
}
"""The module of each subcommand; it is imported when the subcommand, or the help, is asked for."""

_OF_THE_DEFAULTS = (
    "this comes from DAEMON_ARGS in /etc/default/oemgateway: correct it there, then: "
    "sudo service oemgateway restart"
)
_OF_A_SERVICE = ("start", "stop", "restart", "reload", "enable", "disable")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 failed, 2 usage, 78 configuration."""
    if sys.stdin is None:  # closed by the parent process
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115  (until the process ends)
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may have no ° or block characters
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        try:
            return _run(typed)
        finally:
            sys.stdout.flush()
    except SystemExit as end:
        if end.code == USAGE and os.environ.get("DAEMON_ARGS"):  # which the unit of systemd sets
            say_aside(_OF_THE_DEFAULTS)
            return CONFIGURATION  # not 2, with which Python ends if it cannot read the program
        raise
    except KeyboardInterrupt:
        say_aside("interrupted")
        return FAILED
    except ConfigFaults as faults:
        warn(faults.lines())
        return CONFIGURATION
    except (OSError, SpoolUnusable) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return FAILED
        is_refused = _drop_unwritten()
        words = str(error)
        if isinstance(error, OSError) and error.strerror:
            place = error.filename or (is_refused and "standard output")
            words = f"{place}: {error.strerror}" if place else error.strerror
        say_aside(words)
        return FAILED


def _run(typed: list[str]) -> int:
    if not typed and sys.stdin.isatty() and sys.stdout.isatty():
        say(_overview())
        return OK
    options = _understood(typed)
    status: int = options.run(options)
    return status


def _understood(typed: list[str]) -> argparse.Namespace:
    """Return the options and the `run` of what was typed. Raises SystemExit, as argparse does."""
    options, rest = _options().parse_known_args(typed)
    if rest[:1] == ["help"]:
        rest = [*rest[1:], "--help"]
    if not rest:
        return options
    name = rest[0] if rest[0] in COMMANDS else ""
    if not name and not rest[0].startswith("-"):
        say_aside(_no_command(rest[0]))
        raise SystemExit(USAGE)
    unknown = [] if name or rest[0] in ("-h", "--help") else rest[:1]
    if not unknown:
        options, unknown = parser([name] if name else COMMANDS).parse_known_args(rest, options)
    if unknown:
        help_ = f"oemgateway {name} --help".replace("  ", " ")
        say_aside(f"{' '.join(unknown)} is not understood; `{help_}` explains what is")
        raise SystemExit(USAGE)
    return options


def _no_command(word: str) -> str:
    """Return what to type instead of an unknown command."""
    if word in _OF_A_SERVICE:
        return f"the gateway is a service: sudo service oemgateway {word}"
    return f"{word} is not a command{did_you_mean(word, COMMANDS)}; `oemgateway --help` lists them"


def _overview() -> Iterator[str]:
    """Yield the available commands, and whether a gateway runs."""
    yield from parser().format_help().splitlines()
    yield ""
    try:
        status = RunningGateway.of(DEFAULT_FILE).status()
    except (OSError, ConfigFaults) as error:
        yield f"Now: {error}"
    else:
        yield f"Now: a gateway runs, pid {status.pid}; `oemgateway status` says how it is"


def _nobody_reads() -> bool:
    """Tell whether what is printed goes into a pipe that nobody reads; drop it from then on."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _drop_unwritten() -> bool:
    """Drop what standard output does not take, as on a full disk: Python would complain again at exit.

    Return whether there was any.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def parser(names: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser, with these subcommands."""
    parser = _Parser(
        prog="oemgateway",
        description="Reads 1-Wire sensors and radio packets and posts the values, by index, to Emoncms.",
        epilog="The first time: sudo oemgateway setup. Or step by step: sudo oemgateway doctor, "
        f"sudo oemgateway sensors, sudo nano {DEFAULT_FILE}, sudo oemgateway check, "
        "sudo service oemgateway start, sudo oemgateway values.",
        parents=[_options()],
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in names:
        module = import_module(COMMANDS[name])
        module.add(commands)
        commands.choices[name].set_defaults(run=module.run)
    return parser


def _options() -> argparse.ArgumentParser:
    """Return the parser of the options that stand before a subcommand, or without one."""
    options = _Parser(prog="oemgateway", add_help=False)
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
    foreground.add_options(options)
    return options


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, and where they are explained.

    An option is not abbreviated: --apikey KEY would be --apikey-file.
    """

    def __init__(self, **about: Any) -> None:  # noqa: ANN401  (those of argparse)
        super().__init__(**{**about, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        """End with that line."""
        self.exit(USAGE, f"{plain(f'{self.prog}: {message}; `{self.prog} --help` explains it')}\n")
