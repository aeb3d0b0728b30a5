"""`oemgateway emoncms`: whether an Emoncms takes and keeps what is sent to it, and what it lacks for that."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from gateway.conf import config
from gateway.diagnosis.finding import show
from gateway.dispatchers.emoncms.dispatcher import Emoncms
from gateway.dispatchers.emoncms.proof.heard import Heard, heard
from gateway.dispatchers.emoncms.proof.proof import Proof
from gateway.text.terminal import FAILED, OK, say_aside

if TYPE_CHECKING:
    import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "emoncms",
        help="prove that Emoncms takes and keeps what is sent, and make the feeds that it lacks",
        description="Looks at the server, the key and every input of ours, and sends one test row. "
        "It may run beside the gateway. Its status is 1 where there is a fault.",
    )
    parser.add_argument("--dispatcher", default="", metavar="NAME", help="look at this dispatcher alone")
    parser.add_argument(
        "--provision",
        action="store_true",
        help="make feeds for inputs that are not processed, and fill descriptions and units that are empty",
    )
    parser.add_argument(
        "--energy",
        action="store_true",
        help="as --provision, and make a feed of kWh beside that of each value that [nodes] has in W",
    )


def run(options: argparse.Namespace) -> int:
    """Print each finding as soon as it is made."""
    configuration = config.read(options.config_file)
    servers = {name: each for name, each in configuration.dispatchers.items() if isinstance(each, Emoncms)}
    if not servers:
        raise OSError(f"{options.config_file}: no dispatcher of type emoncms is switched on (active = yes)")
    if options.dispatcher and options.dispatcher not in servers:
        raise OSError(
            f"--dispatcher: none to Emoncms is called {options.dispatcher}; there are {', '.join(servers)}"
        )
    names = [options.dispatcher] if options.dispatcher else list(servers)
    known = Heard()
    try:
        known = heard(configuration)
    except PermissionError as error:
        say_aside(str(error))
    made = {"provision": options.provision or options.energy, "energy": options.energy}
    proofs = (Proof(servers[name], configuration, known, **made) for name in names)
    return FAILED if show(chain.from_iterable(proof.findings() for proof in proofs)) else OK
