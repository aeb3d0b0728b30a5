"""`oemgateway check`: what would run with a configuration file, or all that is wrong with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.conf import config
from gateway.conf.describe import describe
from gateway.conf.indices import Memory
from gateway.text.terminal import CONFIGURATION, OK, say

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "check",
        help="check a configuration file and say what would run",
        description="Says what would run with a configuration file, index by index; or all that is wrong "
        "with it, line by line, and the exit status is 78. Nothing is opened.",
    )
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the file (default: that of --config-file)"
    )


def run(options: argparse.Namespace) -> int:
    """Print what would run, or the faults: to standard output as well, since they were asked for."""
    file = options.file or options.config_file
    try:
        gateway, _ = config.read_gateway(file)
        remembered = Memory(gateway.find_state_dir()).recall()
        say(describe(config.read(file, remembered)))
    except config.ConfigFaults as faults:
        sys.stdout.writelines(f"{fault}\n" for fault in faults.faults)
        return CONFIGURATION
    return OK
