"""`oemgateway run`, or with options alone: the gateway in the foreground."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.conf import config
from gateway.conf.describe import show_settings
from gateway.daemon import Daemon
from gateway.process.ending import end, end_in_time
from gateway.process.logs import log_to
from gateway.process.notify import Supervisor
from gateway.text.terminal import OK, say

if TYPE_CHECKING:
    import argparse

log = logging.getLogger("oemgateway")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    commands.add_parser(
        "run",
        help="run the gateway in the foreground, for a trial",
        description="Runs the gateway in the foreground until Ctrl-C, for a trial with the service stopped.",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to the parser of `oemgateway` itself."""
    parser.add_argument("--logfile", type=Path, metavar="FILE", help="log to it instead of to the terminal")
    parser.add_argument(
        "--show-settings", action="store_true", help="print the settings in force, keys masked, and exit"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the gateway until it is stopped."""
    configuration = config.read(options.config_file)
    if options.show_settings:
        say(show_settings(configuration))
        return OK
    log_to(options.logfile)
    logging.getLogger("oemgateway").setLevel(configuration.gateway.loglevel)
    serve(Daemon(configuration, Supervisor()))
    return end()


def serve(daemon: Daemon) -> None:
    """Run a daemon until SIGTERM or Ctrl-C; SIGHUP has it read its file again."""
    threading.excepthook = log_death
    signal.signal(signal.SIGHUP, lambda *_: daemon.hangup.set())
    end_in_time(daemon.stop)
    daemon.run()


def log_death(about: threading.ExceptHookArgs) -> None:
    """Log why a thread has died; whoever needs it starts a new one."""
    name = about.thread.name if about.thread else "?"
    fault = about.exc_value or about.exc_type()
    log.error("the thread %s has died: %r", name, fault, exc_info=fault)
