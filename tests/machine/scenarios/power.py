"""The power is cut under five packets a second: what is missing and what came twice is the last of all.

A cut is the end of QEMU. What the guest had not flushed to its disk by then is gone.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import NamedTuple

from tests.machine.arrivals import packets, watched
from tests.machine.guest import Guest
from tests.machine.hardware import FIRST_NUMBER, Hardware, Radio
from tests.machine.lab import Lab
from tests.machine.service import (
    RADIO,
    configuration,
    damage,
    start,
    wait_delivered,
)
from tests.simulators.emoncms import FakeEmoncms

SLACK_S = 1.0
"""From a packet's print to its commit, and from the last flush to the cut."""


class Cut(NamedTuple):
    """A power cut: what it was under, when it was, and which packets were printed since the last start."""

    interval: int
    server_up: bool
    at: float
    packets: range
    sent_last: set[int]
    """Packets that came to the server within the last `interval` before it."""


def run(lab: Lab) -> None:
    """Cut the power, start again, look what came; and so on, on one disk."""
    chance = random.Random()
    radio = Radio()
    disk = lab.disk()
    kinds = [(interval, up) for interval in (5, 0) for up in (False, True)]
    cut: Cut | None = None
    with FakeEmoncms() as server:
        for interval, up in [kind for kind in kinds for _ in range(10 if lab.full else 2)]:
            with lab.boot(disk, Hardware(radio)) as guest:
                _judge(lab, guest, server, radio, cut)
                if cut is None or cut.interval != interval:
                    if cut:
                        _file_is_whole(lab, guest)
                    text = configuration(
                        server, RADIO, gateway=f"    commit_interval = {interval}\n", every=2
                    )
                    start(guest, text)
                    guest.run("systemctl enable oemgateway; sync")
                cut = _feed_and_cut(
                    guest, server, radio, interval, server_up=up, seconds=chance.uniform(8, 16)
                )
        with lab.boot(disk, Hardware(radio)) as guest:
            _judge(lab, guest, server, radio, cut)
            _file_is_whole(lab, guest)


def _feed_and_cut(
    guest: Guest, server: FakeEmoncms, radio: Radio, interval: int, *, server_up: bool, seconds: float
) -> Cut:
    first = FIRST_NUMBER + len(radio.printed)
    if not server_up:
        server.stop()
    with watched(server) as times:
        radio.start()
        time.sleep(seconds)
        at = time.monotonic()
        guest.cut()
        radio.stop()
    if not server_up:
        server.start()
    late = {
        int(each.value)
        for each, came in zip(list(server.stored), times.at, strict=False)
        if came > at - interval - SLACK_S and each.key == "1"
    }
    printed = [packet.number for packet in radio.printed if packet.at < at]
    return Cut(interval, server_up, at, range(first, printed[-1] + 1), late)


def _judge(lab: Lab, guest: Guest, server: FakeEmoncms, radio: Radio, cut: Cut | None) -> None:
    """Let all that was kept come to the server, and compare."""
    if cut is None:
        return
    wait_delivered(guest)
    came = Counter(int(each.value) for each in packets(server))
    missing = [number for number in cut.packets if not came[number]]
    twice = {number for number in cut.packets if came[number] > 1}
    at = {packet.number: packet.at for packet in radio.printed}
    age = max((cut.at - at[number] for number in missing), default=0.0)
    server_is = "up" if cut.server_up else "down"
    what = f"commit_interval {cut.interval}, server {server_is}, {len(cut.packets)} packets"
    bound = (cut.interval or 1) + SLACK_S
    last = list(cut.packets)[len(cut.packets) - len(missing) :]
    lab.report.row(
        f"{what}: missing, and the oldest's age",
        f"{len(missing)}, {age:.1f} s",
        ok=missing == last and age <= bound,
        details=f"missing: {missing} of {cut.packets}",
    )
    lab.report.row(
        f"{what}: came twice", f"{len(twice)}", ok=twice <= cut.sent_last, details=f"twice: {sorted(twice)}"
    )


def _file_is_whole(lab: Lab, guest: Guest) -> None:
    wrong = damage(guest)
    lab.report.row("the queue's file, and none set aside", "whole", ok=not wrong, details=wrong)
