"""The gateway hangs: systemd ends it and starts it anew, and it goes on."""

from __future__ import annotations

import time

from tests.machine.arrivals import packets
from tests.machine.hardware import Hardware
from tests.machine.lab import Lab
from tests.machine.service import RADIO, UNIT, configuration, start, wait_delivered
from tests.simulators.emoncms import FakeEmoncms

BACK_WITHIN_S = 110
"""WatchdogSec 60, TimeoutStopSec 10 (a stopped process hears no SIGABRT), RestartSec 5, and the start."""


def run(lab: Lab) -> None:
    """Stop the process, and wait for readings."""
    hardware = Hardware()
    with FakeEmoncms() as server, lab.boot(hardware=hardware) as guest:
        start(guest, configuration(server, RADIO, every=1))
        hardware.radio.start()
        guest.wait(lambda: packets(server), "packets at the server")
        guest.run(f"kill -STOP $(systemctl show -P MainPID {UNIT})")
        stopped = time.monotonic()
        last = len(hardware.radio.printed)
        time.sleep(1)
        before = len(server.stored)
        guest.wait(lambda: len(server.stored) > before, "packets again", BACK_WITHIN_S + 120)
        back = time.monotonic() - stopped
        lab.report.row("SIGSTOP to the next reading at the server", f"{back:.0f} s", ok=back <= BACK_WITHIN_S)
        hardware.radio.stop()
        wait_delivered(guest)
        came = {int(each.value) for each in packets(server)}
        # The one that was just being read may have been lost with the process.
        missing = [p.number for p in hardware.radio.printed[: last - 1] if p.number not in came]
        lab.report.row(
            f"of {last} packets before it missing", str(len(missing)), ok=not missing, details=str(missing)
        )
        starts = guest.run(f"systemctl show -P NRestarts {UNIT}").strip()
        lab.report.row("restarts", starts, ok=starts == "1")
