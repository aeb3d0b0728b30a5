"""The gateway as a service in the guest: installed from its package, configured, started, asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.machine.guest import HOST, Guest
from tests.machine.hardware import IDS, PLACES
from tests.simulators.emoncms import FakeEmoncms

UNIT = "oemgateway.service"

SENSORS = "".join(f"    sensor{index} = {text}\n" for index, text in enumerate(IDS, 1))


def radio(port: str) -> str:
    """Return the section of a radio board at a port."""
    return f"[[radio]]\n    type = rfm12pi\n    port = {port}\n"


def cellar(bus: int) -> str:
    """Return the section of the five sensors behind the chip on an I2C bus."""
    return f"[[cellar]]\n    type = ds2482\n    bus = {bus}\n    node = 9\n    interval = 5\n{SENSORS}"


RADIO = radio(PLACES["amd64"].serial)
CELLAR = cellar(PLACES["amd64"].bus)


def configuration(server: FakeEmoncms, *listeners: str, gateway: str = "", every: int = 10) -> str:
    """Return a configuration with these sections of [listeners] and lines of [gateway].

    It posts to this server `every` so many seconds; 0: at once.
    """
    return (
        f"[gateway]\n{gateway}\n[listeners]\n{''.join(listeners)}\n[dispatchers]\n[[emoncms]]\n"
        f"    type = emoncms\n    url = http://{HOST}:{server.port}/emoncms\n    apikey = {server.key}\n"
        f"    interval = {every}\n"
    )


def install(guest: Guest, package: Path) -> str:
    """Install the package as a user does; return what apt said."""
    guest.write("/tmp/oemgateway.deb", package.read_bytes())
    return guest.run(
        "DEBIAN_FRONTEND=noninteractive apt-get install -y --allow-downgrades /tmp/oemgateway.deb",
        seconds=600,
    )


def configure(guest: Guest, text: str) -> None:
    """Write the configuration; owner and mode stay as the package made them."""
    guest.run("cat >/etc/oemgateway.conf", stdin=text.encode())


def start(guest: Guest, text: str) -> None:
    """Start, or start again, with this configuration, and wait until it is ready."""
    configure(guest, text)
    guest.run(f"systemctl restart {UNIT}", seconds=180)


def status(guest: Guest) -> dict[str, Any]:
    """Return what the gateway says of itself; nothing where it does not answer."""
    said = guest.run("oemgateway status --json", check=False)
    return dict(json.loads(said)) if said.startswith("{") else {}


def queue(guest: Guest) -> dict[str, Any]:
    """Return how the queue of the server stands; nothing where the gateway does not answer."""
    said = status(guest)
    return dict(said["dispatchers"]["emoncms"]["queue"]) if said.get("ready") else {}


def wait_delivered(guest: Guest, seconds: float = 240) -> None:
    """Wait until nothing waits in the queue any more."""
    guest.wait(lambda: queue(guest).get("waiting") == 0, "the queue is empty", seconds)


def damage(guest: Guest) -> str:
    """Stop the gateway; return what is wrong with the file of its queue, and what was set aside before."""
    guest.run(f"systemctl stop {UNIT}", seconds=120)
    return guest.run(
        "rm -rf /tmp/look; cp -a /var/lib/oemgateway /tmp/look; ls /tmp/look | grep damaged;"
        "sqlite3 /tmp/look/queue.db 'pragma integrity_check' | grep -vx ok; true"
    )


def log(guest: Guest, *options: str) -> str:
    """Return the unit's log of this boot, with what systemd says of it."""
    return guest.run(f"journalctl -b -q --no-pager -o cat -u {UNIT} {' '.join(options)}")
