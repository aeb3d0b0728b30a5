"""The package of the version before, with frames waiting, held and refused; then this one; then none."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from tests.machine.arrivals import packets
from tests.machine.guest import Guest
from tests.machine.hardware import Hardware, Packet, Radio
from tests.machine.lab import Lab
from tests.machine.service import RADIO, configuration, log, queue, start, status, wait_delivered
from tests.simulators.emoncms import FakeEmoncms

BEFORE = "5b05554"
"""The commit of the version before."""

ROOT = Path(__file__).parents[3]

USB_RADIO = "[[usbradio]]\n    type = rfm12pi\n    port = /dev/ttyUSB0\n"

DPKG = "DEBIAN_FRONTEND=noninteractive dpkg --install /tmp/package.deb"


def run(lab: Lab) -> None:
    """Fill the queue, upgrade, let all of it go, purge."""
    old = _package_of_before(lab)
    if old is None:
        return
    hardware = Hardware()
    radio, refused = hardware.radio, hardware.usb_radio
    with FakeEmoncms(max_nodes=1) as server, lab.boot(lab.disk(lab.image.disk), hardware) as guest:
        before = _files(guest)
        guest.write("/tmp/package.deb", old.read_bytes())
        guest.run(DPKG, seconds=600)
        # given frames at the server, refused by it, waiting for it, and held as the clock is wrong
        start(guest, configuration(server, RADIO, USB_RADIO, every=1))
        sent = _print(radio, 5)
        guest.wait(lambda: len(packets(server)) == 5, "the first packets")
        spoilt = _print(refused, 3)
        guest.wait(lambda: queue(guest).get("refused") == 3, "three refused frames")
        server.stop()
        waiting = _print(radio, 20)
        guest.wait(lambda: queue(guest).get("waiting") == 20, "twenty waiting frames")
        guest.run("date -s 2015-01-01")
        held = _print(radio, 5)
        guest.wait(lambda: queue(guest).get("held"), "held frames")
        had = queue(guest)

        # when this package is installed over it
        guest.write("/tmp/package.deb", lab.package.read_bytes())
        began = time.monotonic()
        said = guest.run(DPKG, seconds=600)
        lab.report.row("the upgrade took", f"{time.monotonic() - began:.0f} s")
        guest.wait(lambda: status(guest).get("ready"), "the gateway runs again")
        has = queue(guest)
        same = all(had[name] == has[name] for name in ("waiting", "held", "refused"))
        figure = ", ".join(str(has[name]) for name in ("waiting", "held", "refused"))
        lab.report.row("waiting, held, refused after it", figure, ok=same, details=f"{had}\n{has}\n{said}")
        # then all of them come, and with their right times
        guest.run(f"date -s @{time.time():.2f}")
        server.start()
        wait_delivered(guest)
        _judge(lab, server, [*sent, *waiting, *held], "packets missing, came twice, worst stamp off by")
        server.max_nodes = 32
        guest.run("oemgateway queue retry", check=False)
        guest.wait(lambda: len(packets(server, refused.node)) >= len(spoilt), "the refused frames", 120)
        lab.report.row(
            "refused ones at the server after `queue retry`", str(len(packets(server, refused.node)))
        )
        errors = [line for line in log(guest, "-p err").splitlines() if "node 11" not in line]
        lab.report.row("errors in the log", str(len(errors)), ok=not errors, details="\n".join(errors))

        guest.run("DEBIAN_FRONTEND=noninteractive apt-get purge -y oemgateway", seconds=300)
        left = sorted(_files(guest) - before)
        left += guest.run("getent passwd oemgateway; getent group oemgateway; true").splitlines()
        # What is left out are backups, which passwd and ucf make of their own files.
        backups = "--exclude='*-' --exclude='*.[0-9]'"
        left += guest.run(
            f"grep -rl {backups} oemgateway /etc /var/lib/ucf /var/lib/systemd; true"
        ).splitlines()
        left += guest.run("pgrep -af '[o]emgateway'; true").splitlines()
        lab.report.row("what apt purge leaves", str(len(left)), ok=not left, details="\n".join(left))


def _package_of_before(lab: Lab) -> Path | None:
    """Build the package of the version before; None, and a row that says so, where its commit is not here."""
    folder = lab.folder / "before"
    folder.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE], capture_output=True, check=False)
    if archive.returncode:
        lab.report.row(f"skipped: {BEFORE} is not in this clone", "git fetch --unshallow")
        return None
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    made = subprocess.run(
        ["make", "-C", str(folder), f"VENV={ROOT / '.venv'}", "deb"],
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        lab.report.row(
            "the package of before", "", ok=False, details=made.stdout[-2000:] + made.stderr[-2000:]
        )
        return None
    return next((folder / "dist").glob("*.deb"))


def _files(guest: Guest) -> set[str]:
    """Return what is in the file system under our name."""
    return set(guest.run("find / -xdev -iname '*oemgateway*' -not -path '/tmp/*'; true").splitlines())


def _print(radio: Radio, count: int) -> list[Packet]:
    for _ in range(count):
        radio.send()
        time.sleep(0.2)
    return radio.printed[-count:]


def _judge(lab: Lab, server: FakeEmoncms, printed: list[Packet], what: str) -> None:
    came = [int(each.value) for each in packets(server)]
    off = {int(each.value): each.time for each in packets(server)}
    missing = [packet.number for packet in printed if packet.number not in off]
    twice = len(came) - len(set(came))
    worst = max((off[p.number] - p.wall for p in printed if p.number in off), key=abs, default=0.0)
    lab.report.row(
        f"of {len(printed)} {what}",
        f"{len(missing)}, {twice}, {worst:+.1f} s",
        ok=not missing and not twice and abs(worst) < 2.5,
        details=f"missing: {missing}\n{came}",
    )
