"""`oemgateway demo`: the real daemon on simulated hardware, with nothing attached, in a live table."""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.commands.foreground import serve
from gateway.conf import config
from gateway.daemon import Daemon
from gateway.paths import DEFAULT_FILE
from gateway.process.logs import log_to
from gateway.settings import at_least, convert, quoted
from gateway.text.terminal import OK, USAGE, say, say_aside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.conf.config import Configuration

CONFIGURATION = """\
[gateway]
loglevel = INFO
simulate = yes
state_dir = {directory}
socket = {directory}/control

[listeners]

[[bridge]]
type = ds2482
bus = simulated
node = 9
interval = 2
sensor1 = 28.33F749050000, cellar
sensor2 = 28.DB564A050000, flow
sensor3 = 28.AB1663050000, return
sensor4 = Dummy
sensor5 = 28.4C92D4060000, outside
sensor6 = 28.E01A77070000, tank

[[radio]]
type = rfm12pi
port = simulated

[dispatchers]

[[page]]
type = page
title = Simulated sensors

[[screen]]
type = table
title = "Simulated (index 4 is a Dummy); the same in a browser: http://127.0.0.1:8088/"
"""

EMONCMS = """
[[emoncms]]
type = emoncms
url = {url}
apikey = {key}
interval = 0
"""


MQTT = """
[[house]]
type = mqtt
host = {host}
temporary = yes
"""


_VARIABLES = {
    "url": "EMONCMS",
    "apikey": "APIKEY",
    **dict.fromkeys(("host", "port", "user", "password"), "MQTT"),
}
"""Which variable of the environment gives each setting."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of this subcommand."""
    parser = commands.add_parser(
        "demo",
        help="run the main job on simulated hardware",
        description="Runs the gateway on simulated hardware, in a live table. It posts the readings as well "
        "where EMONCMS in the environment is the address of an Emoncms, and APIKEY its write key, and "
        "publishes them where MQTT is a broker, as HOST or USER:PASSWORD@HOST:PORT.",
    )
    parser.add_argument(
        "--seconds", type=_seconds, metavar="N", help="end after N seconds (default: on Ctrl-C)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo until it is stopped, or for the given time."""
    log_to(None)
    url, key = os.environ.get("EMONCMS", ""), os.environ.get("APIKEY", "")
    if url and not key:
        say_aside("EMONCMS needs an APIKEY beside it, the write key of the account")
        return USAGE
    try:
        with configured(url, key, os.environ.get("MQTT", "")) as configuration:
            daemon = Daemon(configuration)
            if options.seconds is not None:
                timer = threading.Timer(options.seconds, daemon.stop.set)
                timer.daemon = True
                timer.start()
            serve(daemon)
    except config.ConfigFaults as faults:  # of a file that its user never saw
        for fault in faults.faults:
            say_aside(f"{_VARIABLES.get(fault.where, fault.where)}: {fault.message}")
        return USAGE
    say([f"What comes next: {next_step()}"])
    return OK


def _seconds(text: str) -> float:
    try:
        seconds = float(convert(float, text))
        at_least(0)(seconds)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return min(seconds, threading.TIMEOUT_MAX)


def next_step() -> str:
    """Return what to do to run the gateway on real hardware."""
    if DEFAULT_FILE.exists():
        return "sudo oemgateway setup, which finds what is attached and starts the service"
    return "sudo make install, which makes it a service that starts with the machine (see README.rst)"


@contextmanager
def configured(url: str = "", key: str = "", broker: str = "") -> Iterator[Configuration]:
    """Yield the demo's configuration, in a temporary directory.

    `url` and `key` are those of an Emoncms that gets the same frames, `broker` is that of MQTT, if any.
    """
    with tempfile.TemporaryDirectory(prefix="oemgateway-demo-") as directory:
        file = Path(directory) / "oemgateway.conf"
        file.touch(mode=0o600)
        text = CONFIGURATION.format(directory=directory)
        text += EMONCMS.format(url=url, key=key) if url else ""
        file.write_text(text + (_mqtt(broker) if broker else ""), encoding="utf-8")
        yield config.read(file)


def _mqtt(broker: str) -> str:
    """Return the section of a broker, given as USER:PASSWORD@HOST:PORT, of which HOST alone is needed."""
    login, _, address = broker.rpartition("@")
    host, _, port = address.partition(":")
    user, _, password = login.partition(":")
    settings = {"port": port, "user": user, "password": password}
    lines = [f"{key} = {quoted(text)}\n" for key, text in settings.items() if text]
    return MQTT.format(host=host) + "".join(lines)
