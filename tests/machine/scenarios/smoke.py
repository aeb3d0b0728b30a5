"""From the package to the first reading at the server, and again after a reboot; nothing to complain of."""

from __future__ import annotations

import re
import time

from tests.machine.hardware import CELSIUS, PLACES, Hardware
from tests.machine.lab import Lab
from tests.machine.service import UNIT, cellar, configuration, configure, install, log, radio
from tests.simulators.emoncms import FakeEmoncms

EXPOSURE = 2.0
"""What `systemd-analyze security` gives the unit."""

PROGRAM = """[[own]]
    type = exec
    command = sh, -c, "while echo 15 1; do sleep 3; done"
"""

VALUES = {str(index): celsius for index, celsius in enumerate(CELSIUS, 1)}


def run(lab: Lab) -> None:
    """Install, enable, reboot."""
    row = lab.report.row
    hardware, places = Hardware(), PLACES[lab.arch]
    with FakeEmoncms() as server, lab.boot(lab.disk(lab.image.disk), hardware) as guest:
        row("power-on to the agent", f"{time.monotonic() - guest.on_since:.1f} s")
        began = time.monotonic()
        install(guest, lab.package)
        row("the package is installed", f"{time.monotonic() - began:.1f} s")

        configure(guest, configuration(server, cellar(places.bus), radio(places.serial), PROGRAM))
        began = time.monotonic()
        guest.run(f"systemctl enable --now {UNIT}", seconds=180)
        guest.wait(lambda: server.values("9") == VALUES, "five values at the server")
        row("enable --now to five right values at the server", f"{time.monotonic() - began:.1f} s")

        down = guest.reboot()
        server.stored.clear()
        guest.wait(lambda: server.stored, "a reading after the reboot")
        row("power-on to the first reading at the server", f"{time.monotonic() - down:.1f} s")
        hardware.radio.start()
        guest.wait(lambda: server.values("10"), "a packet of the radio")
        hardware.radio.stop()
        guest.run("pgrep -xu oemgateway sh")
        began = time.monotonic()
        guest.run(f"systemctl stop {UNIT}")
        row("a stop, with a program of the user's", f"{time.monotonic() - began:.1f} s")
        left = guest.run("pgrep -alu oemgateway; true")
        row("what runs after it", str(len(left.splitlines())), ok=not left, details=left)
        guest.run(f"systemctl start {UNIT}", seconds=180)
        server.stored.clear()
        guest.wait(lambda: server.stored, "a reading after the stop")
        row("values of all five sensors", str(len(server.values("9"))), ok=server.values("9") == VALUES)

        guest.wait(lambda: guest.succeeds("systemctl is-system-running --wait"), "all units are up")
        failed = guest.run("systemctl --failed --no-legend")
        row("units that failed", str(len(failed.splitlines())), ok=not failed, details=failed)
        warnings = log(guest, "-p warning") + guest.run(
            f"journalctl -b -q --no-pager -o cat -u {UNIT} | grep -i unset; true"
        )
        row("warnings in the journal", str(len(warnings.splitlines())), ok=not warnings, details=warnings)
        judged = guest.run(f"systemd-analyze security --no-pager {UNIT} | tail -1")
        exposure = float(re.findall(r"level for \S+: ([0-9.]+)", judged)[0])
        row("systemd-analyze security", f"{exposure}", ok=exposure <= EXPOSURE, details=judged)
        said = guest.run("oemgateway doctor; echo status $?", check=False)
        row("doctor is content", said.split()[-1], ok=said.endswith("status 0\n"), details=said)
        said = guest.run("oemgateway status; echo status $?", check=False)
        row("status is healthy", said.split()[-1], ok=said.endswith("status 0\n"), details=said)
        memory = guest.run(f"grep VmRSS /proc/$(systemctl show -P MainPID {UNIT})/status").split()[1]
        row("memory (RSS)", f"{int(memory) / 1024:.1f} MB")
