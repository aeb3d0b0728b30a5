"""The machine comes up with a wrong clock, and somebody sets it: every stamp at the server is right.

A packet's right time is the host's when it was printed. It is compared with whole seconds, by the guest's
clock: as far as that is off once it is set is added to what is allowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.machine.arrivals import packets
from tests.machine.guest import HOST, Guest
from tests.machine.hardware import Hardware, Packet, Radio
from tests.machine.lab import Lab
from tests.machine.service import RADIO, configuration, start, status, wait_delivered
from tests.machine.sntp import TimeServer
from tests.simulators.emoncms import FakeEmoncms

MEASURING_S = 1.2
"""What whole seconds and the way from the host to the guest add, by themselves, to a difference of stamps."""

DAY = 86400

CHRONY = f"server {HOST} iburst minpoll 2 maxpoll 4\nmakestep 0.5 -1\ndriftfile /var/lib/chrony/drift\n"
TIMESYNCD = f"[Time]\nNTP={HOST}\nFallbackNTP=\n"


def run(lab: Lab) -> None:
    """Switch on with each wrong clock; `full`: each set in every way."""
    with FakeEmoncms() as server, TimeServer():
        ways = dict.fromkeys(("1970", "a day behind", "three days ahead"), tuple(SETTERS))
        if not lab.full:
            ways = {"1970": ("timesyncd",), "a day behind": ("date",), "three days ahead": ("chrony",)}
        for wrong, setters in ways.items():
            for setter in setters:
                _comes_up_wrong(lab, server, wrong, setter)
        disk = lab.disk()
        _cut_before_the_time_was_known(lab, server, disk)
        _time_of_the_last_shutdown(lab, server, disk)


def _start(guest: Guest, server: FakeEmoncms) -> None:
    """Have the gateway run for the first time, also from the next start of the machine on."""
    start(guest, configuration(server, RADIO, every=1))
    guest.run("systemctl enable oemgateway; sync")


def _rtc(wrong: str) -> str:
    offset = {"1970": None, "a day behind": -DAY, "three days ahead": 3 * DAY}[wrong]
    if offset is None:
        return "base=1970-01-01"
    return f"base={time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time.time() + offset))}"


def _comes_up_wrong(lab: Lab, server: FakeEmoncms, wrong: str, setter: str) -> None:
    radio = Radio()
    server.stored.clear()
    with lab.boot(hardware=Hardware(radio), rtc=_rtc(wrong)) as guest:
        off = _offset(guest)
        _start(guest, server)
        _print(guest, radio)
        SETTERS[setter](guest)
        _wait_set(guest)
        _print(guest, radio)
        wait_delivered(guest)
        _judge(lab, guest, server, radio.printed, f"{wrong} ({off:+.0f} s), set by {setter}", whole=True)


def _cut_before_the_time_was_known(lab: Lab, server: FakeEmoncms, disk: Path) -> None:
    """Packets of a boot that never knew the time are not sent with a wrong one; the next ones are right."""
    radio = Radio()
    server.stored.clear()
    server.stop()
    with lab.boot(disk, Hardware(radio), rtc=_rtc("1970")) as guest:
        _start(guest, server)
        _print(guest, radio)
        time.sleep(8)  # longer than commit_interval: they are on the disk
    before = len(radio.printed)
    with lab.boot(disk, Hardware(radio), rtc=_rtc("1970")) as guest:
        _print(guest, radio)
        server.start()
        SETTERS["date"](guest)
        _wait_set(guest)
        wait_delivered(guest)
        what = "1970, cut, 1970 again, set by date"
        _judge(lab, guest, server, radio.printed[before:], what, whole=True)
        _judge(lab, guest, server, radio.printed[:before], f"{what}: of before the cut", whole=False)
        kept = status(guest)["dispatchers"]["emoncms"]["queue"]["refused"]
        first = {packet.number for packet in radio.printed[:before]}
        came = len(first & {int(each.value) for each in packets(server)})
        lab.report.row(
            f"{what}: of {before} before the cut sent, and set aside",
            f"{came}, {kept}",
            ok=came + kept == before,
        )


def _time_of_the_last_shutdown(lab: Lab, server: FakeEmoncms, disk: Path) -> None:
    """A clock that goes on from where it was when the machine was switched off, as fake-hwclock has it."""
    radio = Radio()
    server.stored.clear()
    with lab.boot(disk, Hardware(radio)) as guest:
        guest.run("dpkg --install /var/cache/aside/fake-hwclock_*.deb")
        SETTERS["date"](guest)  # installing it sets the clock back to when it was unpacked
        _print(guest, radio)
        wait_delivered(guest)
        hour_ago = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 3600))
        guest.run(
            "systemctl mask fake-hwclock-save.service fake-hwclock-save.timer; systemctl stop oemgateway"
        )
        guest.run(f"echo '{hour_ago}' >/etc/fake-hwclock.data")
        guest.power_off()
    with lab.boot(disk, Hardware(radio), rtc=_rtc("1970")) as guest:
        off = _offset(guest)
        _print(guest, radio)
        SETTERS["date"](guest)
        _wait_set(guest)
        _print(guest, radio)
        wait_delivered(guest)
        what = f"fake-hwclock, off for an hour ({off:+.0f} s), set by date"
        _judge(lab, guest, server, radio.printed, what, whole=True)


def _by_date(guest: Guest) -> None:
    guest.run(f"date -u -s @{time.time() + 0.1:.2f}")


def _by_chrony(guest: Guest) -> None:
    guest.write("/etc/chrony/chrony.conf", CHRONY)
    guest.run("systemctl start chrony")


def _by_timesyncd(guest: Guest) -> None:
    guest.write("/etc/systemd/timesyncd.conf", TIMESYNCD)
    guest.run("dpkg --purge chrony; dpkg --install --force-confold /var/cache/aside/systemd-timesyncd_*.deb")
    guest.run("systemctl enable --now systemd-timesyncd; systemctl restart systemd-timesyncd")


SETTERS: dict[str, Callable[[Guest], None]] = {
    "date": _by_date,
    "chrony": _by_chrony,
    "timesyncd": _by_timesyncd,
}


def _print(guest: Guest, radio: Radio) -> None:
    """Have the radio print packets for a while, once the gateway listens."""
    guest.wait(lambda: status(guest).get("ready"), "the gateway is ready")
    radio.start()
    time.sleep(6)
    radio.stop()


def _offset(guest: Guest) -> float:
    """Return by how much the guest's clock is ahead of the host's."""
    before = time.time()
    there = float(guest.run("date +%s.%N"))
    return there - (before + time.time()) / 2


def _wait_set(guest: Guest) -> None:
    guest.wait(lambda: abs(_offset(guest)) < 1, "the clock is set")


def _judge(
    lab: Lab, guest: Guest, server: FakeEmoncms, printed: list[Packet], what: str, *, whole: bool
) -> None:
    """Compare the stamps of what came with the times at which it was printed; `whole`: all has to come."""
    allowed = MEASURING_S + abs(_offset(guest))
    walls = {packet.number: packet.wall for packet in printed}
    came = {
        int(each.value): each.time - walls[int(each.value)] for each in packets(server) if each.value in walls
    }
    missing = walls.keys() - came.keys()
    # A stamp is of whole seconds: of the beginning of the one in which the packet was read.
    worst = max(came.values(), key=abs, default=0.0)
    lab.report.row(
        f"{what}: {len(came)} stamps, worst off by",
        f"{worst:+.2f} s",
        ok=abs(worst) <= allowed and not (whole and missing),
        details=f"allowed: {allowed:.2f} s; missing: {sorted(missing)}; off: {sorted(came.values())}",
    )
