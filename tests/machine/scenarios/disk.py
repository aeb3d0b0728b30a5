"""The disk is full, read-only, or has an error: readings come to the server all the same, each once."""

from __future__ import annotations

import time
from collections import Counter

from tests.machine.arrivals import packets
from tests.machine.guest import Guest
from tests.machine.hardware import Hardware, Radio
from tests.machine.lab import Lab
from tests.machine.service import (
    RADIO,
    UNIT,
    configuration,
    damage,
    log,
    queue,
    start,
    status,
    wait_delivered,
)
from tests.simulators.emoncms import FakeEmoncms

FULL = (
    "fallocate -l $(df --output=avail -B1 / | tail -1) /var/full; "
    "setpriv --reuid=oemgateway --clear-groups sh -c 'echo x >/var/lib/oemgateway/x' && echo not full; true"
)

STATE = "/var/lib/oemgateway"

OWN_DISK = (
    f"systemctl stop {UNIT}; truncate -s 64M /state.img; mke2fs -q -t ext4 /state.img; mkdir -p {STATE};"
    f"mount -o loop,errors=remount-ro /state.img {STATE}; chown oemgateway: {STATE}; chmod 0750 {STATE}"
)


def run(lab: Lab) -> None:
    """Take the disk away in three ways, and give it back."""
    hardware = Hardware()
    radio = hardware.radio
    with FakeEmoncms() as server, lab.boot(hardware=hardware) as guest:
        start(guest, configuration(server, RADIO, every=1))
        said = guest.run(FULL)
        lab.report.row("nothing can be written to /var", "no", ok="not full" not in said, details=said)
        _packets_come(lab, guest, server, radio, "/var full, server up")
        server.stop()
        first = _print(radio)
        guest.run("rm /var/full")
        second = _print(radio)
        server.start()
        _judge(lab, guest, server, [*first, *second], "/var full, then emptied, server down")

        guest.run("sync; echo u >/proc/sysrq-trigger")
        guest.wait(lambda: not guest.succeeds("touch /root/x"), "/ is read-only")
        _packets_come(lab, guest, server, radio, "/ read-only")
        # Started now, it has no file at all; what waits in memory moves to the disk once it is writable.
        guest.run(f"systemctl restart {UNIT}", seconds=180)
        server.stop()
        waiting = _print(radio)
        guest.run("mount -o remount,rw /")
        guest.wait(lambda: not status(guest).get("troubles", ["?"]), "the disk is used again", 90)
        guest.run(f"systemctl restart {UNIT}", seconds=180)
        server.start()
        _judge(lab, guest, server, waiting, "started on a read-only /, then writable, then a restart")
        _packets_come(lab, guest, server, radio, "/ writable again")
        guest.wait(lambda: not status(guest)["troubles"], "the gateway is content with its disk", 60)
        lab.report.row("troubles afterwards", "0")

        # A disk of its own: from one with an error not even a command could be started.
        guest.run(OWN_DISK)
        start(guest, configuration(server, RADIO, every=1))
        _packets_come(lab, guest, server, radio, "state on a disk of its own")
        guest.run("sync; echo 1 >/sys/fs/ext4/loop0/trigger_fs_error")
        _packets_come(lab, guest, server, radio, "that ext4 has an error")
        server.stop()
        waiting = _print(radio)
        guest.run(
            f"systemctl stop {UNIT}; umount {STATE}; e2fsck -fy /state.img; mount -o loop /state.img {STATE}"
        )
        guest.run(f"systemctl start {UNIT}", seconds=180)
        lost = len(waiting) - guest.wait(lambda: queue(guest), "the gateway is ready")["waiting"]
        said = log(guest, "-p err", "-n 3")
        lab.report.row(
            f"of {len(waiting)} that only memory could take lost by a stop, as the log says",
            str(lost),
            ok=f"the disk refuses to the end: {lost} readings" in said,
            details=said,
        )
        server.start()
        _packets_come(lab, guest, server, radio, "checked by e2fsck")
        wrong = damage(guest)
        lab.report.row("the queue's file", "whole" if not wrong else "damaged", ok=not wrong, details=wrong)


def _print(radio: Radio) -> list[int]:
    before = len(radio.printed)
    radio.start()
    time.sleep(5)
    radio.stop()
    return [packet.number for packet in radio.printed[before:]]


def _packets_come(lab: Lab, guest: Guest, server: FakeEmoncms, radio: Radio, what: str) -> None:
    _judge(lab, guest, server, _print(radio), what)


def _judge(lab: Lab, guest: Guest, server: FakeEmoncms, expected: list[int], what: str) -> None:
    def came() -> Counter[int]:
        return Counter(int(each.value) for each in packets(server))

    def missing() -> list[int]:
        return [number for number in expected if not came()[number]]

    deadline = time.monotonic() + 90
    while missing() and time.monotonic() < deadline:
        time.sleep(0.2)
    wait_delivered(guest)
    twice = [number for number in expected if came()[number] > 1]
    lab.report.row(
        f"{what}: of {len(expected)} packets missing, came twice",
        f"{len(missing())}, {len(twice)}",
        ok=not missing() and not twice,
        details=f"missing: {missing()}\ntwice: {twice}\n{status(guest).get('troubles')}",
    )
