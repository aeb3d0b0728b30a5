"""The `oemgateway` command: the daemon in the foreground, and what a person asks of it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.commands import demo, doctor
from gateway.commands.queue_command import add_queue
from gateway.commands.status_command import add_status
from gateway.conf import config
from gateway.conf.describe import describe, show_settings
from gateway.conf.indices import Memory
from gateway.daemon import Daemon
from gateway.diagnosis.machine import Machine
from gateway.dispatchers.emoncms.command import add_emoncms
from gateway.ending import end_in_time
from gateway.logs import log_to
from gateway.notify import Supervisor
from gateway.paths import DEFAULT_FILE, find_state_dir
from gateway.settings import at_least, convert
from gateway.spool import SpoolUnusable
from gateway.text.plain import plain
from gateway.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OK, FAILED, USAGE, CONFIGURATION = 0, 1, 2, 78

log = logging.getLogger("oemgateway")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 failed, 2 usage, 78 configuration."""
    typed = list(sys.argv[1:] if arguments is None else arguments)
    if typed[:1] == ["help"]:
        typed = [*typed[1:], "--help"]
    options = parser().parse_args(typed)
    try:
        status: int = options.run(options)
    except config.ConfigFaults as faults:
        print(*faults.faults, sep="\n", file=sys.stdout if options.run is _check else sys.stderr)
        return CONFIGURATION
    except (OSError, SpoolUnusable) as error:
        print(f"oemgateway: {plain(str(error))}", file=sys.stderr)
        return FAILED
    return status


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments, and has what there is to say of them."""
    parser = argparse.ArgumentParser(
        prog="oemgateway",
        description="Reads 1-Wire sensors and radio packets and posts the values, by index, to Emoncms.",
        epilog="Without a command the gateway runs in the foreground until Ctrl-C.",
    )
    parser.set_defaults(run=_daemon)
    parser.add_argument(
        "--version", action="version", version=f"oemgateway {VERSION}", help="show the version and exit"
    )
    parser.add_argument(
        "--config-file",
        type=Path,
        default=DEFAULT_FILE,
        metavar="FILE",
        help=f"read the settings from it (default {DEFAULT_FILE})",
    )
    parser.add_argument("--logfile", type=Path, metavar="FILE", help="log to it instead of to the terminal")
    parser.add_argument(
        "--show-settings", action="store_true", help="print the settings in force, keys masked, and exit"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="check a configuration file and say what would run",
        description="Says what would run with a configuration file, index by index; or all that is wrong "
        "with it, line by line, and the exit status is 78. Nothing is opened.",
    )
    check.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the file (default: that of --config-file)"
    )
    check.set_defaults(run=_check)
    examined = commands.add_parser(
        "doctor",
        help="look at what the gateway stands on, and name the cures",
        description="Looks at all that the gateway stands on: a line per check, which is ok, ? (cannot be "
        "told) or FAULT, with what to do about it, and the exit status is 1. Nothing is changed; a gateway "
        "that runs is asked, and keeps the bus to itself.",
    )
    examined.add_argument(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="look at the system below DIR, which is not running (default /)",
    )
    examined.set_defaults(run=_doctor)
    add_status(commands)
    add_queue(commands)
    add_emoncms(commands)
    sensors = commands.add_parser(
        "sensors",
        help="list the 1-Wire sensors there are, or tell them apart",
        description="Lists every 1-Wire sensor that can be seen, and where the configuration names it. Where "
        "no bus answers, the exit status is 1.",
    )
    sensors.add_argument("--json", action="store_true", help="print all that is known as JSON, for a program")
    sensors.add_argument(
        "--identify",
        action="store_true",
        help="name the one that is being warmed by hand, and write its label into the configuration",
    )
    sensors.add_argument(
        "--label", metavar="TEXT", help="with --identify: the label to write (default: it is asked for)"
    )
    sensors.set_defaults(run=_elsewhere("listeners.onewire.commands.sensors:sensors"))
    show = commands.add_parser(
        "demo",
        help="run the main job on simulated hardware",
        description="Runs the gateway on simulated hardware, in a live table. It posts the readings as well "
        "where EMONCMS in the environment is the address of an Emoncms, and APIKEY its write key.",
    )
    show.add_argument(
        "--seconds", type=_seconds, metavar="N", help="end after N seconds (default: on Ctrl-C)"
    )
    show.set_defaults(run=_demo)
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(convert(float, text))
        at_least(0)(seconds)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return min(seconds, threading.TIMEOUT_MAX)


def _daemon(options: argparse.Namespace) -> int:
    configuration = config.read(options.config_file)
    if options.show_settings:
        print(show_settings(configuration))
        return OK
    log_to(options.logfile)
    log.setLevel(configuration.gateway.loglevel)
    return _run(Daemon(configuration, Supervisor()))


def _check(options: argparse.Namespace) -> int:
    file = options.file or options.config_file
    gateway = config.read(file).gateway
    remembered = Memory(find_state_dir(gateway.state_dir)).recall()
    print(describe(config.read(file, remembered)))
    return OK


def _doctor(options: argparse.Namespace) -> int:
    machine = Machine.below(options.root)
    file = machine.path(DEFAULT_FILE) if options.config_file == DEFAULT_FILE else options.config_file
    findings = []
    for finding in doctor.examine(file, machine):
        print(finding)
        findings.append(finding)
    return FAILED if any(finding.is_bad for finding in findings) else OK


def _elsewhere(place: str) -> Callable[[argparse.Namespace], int]:
    """Return a command that is in another package, which is imported when it is run."""
    return lambda options: int(EntryPoint("", place, "").load()(options))


def _demo(options: argparse.Namespace) -> int:
    log_to(None)
    url, key = os.environ.get("EMONCMS", ""), os.environ.get("APIKEY", "")
    if url and not key:
        print("oemgateway: EMONCMS needs an APIKEY beside it, the write key of the account", file=sys.stderr)
        return USAGE
    with demo.configured(url, key) as configuration:
        daemon = Daemon(configuration)
        if options.seconds is not None:
            timer = threading.Timer(options.seconds, daemon.stop.set)
            timer.daemon = True
            timer.start()
        status = _run(daemon)
    print(f"What comes next: {_after_demo()}")
    return status


def _after_demo() -> str:
    if DEFAULT_FILE.exists():
        return f"edit {DEFAULT_FILE} (three lines, marked <--), then: sudo service oemgateway start"
    return "sudo make install, which makes it a service that starts with the machine (see README.rst)"


def _run(daemon: Daemon) -> int:
    end_in_time(daemon.stop)
    signal.signal(signal.SIGHUP, lambda *_: daemon.hangup.set())
    daemon.run()
    return OK
