"""A Raspberry Pi as a tree of files, for those who examine it."""

from __future__ import annotations

import os

from gateway.diagnosis.finding import Verdict
from gateway.diagnosis.machine import Machine
from gateway.registry import find
from gateway.settings import build

GROUP = os.getgid() or 998
"""The group of the devices: one that the tester may give a file to, and not root's."""
SOMEBODY = 12345

CONFIG = "/boot/firmware/config.txt"
MOUNTS = "OWFS {point} fuse.OWFS rw,nosuid,nodev,relatime,user_id={uid},group_id=0{shared} 0 0\n"


class Pi:
    """A Raspberry Pi as a tree of files, on which everything is as it should be."""

    def __init__(self, root):
        self.root = root
        self.put("/proc/modules", "i2c_dev 16384 2 - Live 0x0\nw1_gpio 16384 0 - Live 0x0\n")
        self.put("/proc/cmdline", "console=tty1 root=PARTUUID=deadbeef-02 rootwait\n")
        self.put("/proc/device-tree/model", "Raspberry Pi 2 Model B Rev 1.1\0")
        self.put(CONFIG, "# I2C\ndtparam=audio=on\ndtparam=i2c_arm=on,i2c_arm_baudrate=400000\n")
        self.put("/boot/firmware/cmdline.txt", "console=tty1 root=PARTUUID=deadbeef-02 rootwait\n")
        self.put("/etc/group", f"root:x:0:\ni2c:x:{GROUP}:pi\n")
        self.device("/dev/i2c-1")
        self.device("/dev/ttyAMA0")

    def path(self, path):
        return self.root / path.lstrip("/")

    def put(self, path, text=""):
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def device(self, path, mode=0o660, gid=GROUP):
        self.put(path)
        os.chown(self.path(path), -1, gid)
        self.path(path).chmod(mode)

    def link(self, path, to):
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).symlink_to(to)

    def remove(self, path):
        self.path(path).unlink()

    def runs(self, *programs):
        for pid, name in enumerate(programs, 100):
            self.put(f"/proc/{pid}/comm", f"{name}\n")

    def mount(self, point="/mnt/1wire", uid=0, *, shared=True):
        """Mount a bus with this name at a place."""
        self.put(
            "/proc/mounts",
            "/dev/root / ext4 rw 0 0\n"
            + MOUNTS.format(point=point, uid=uid, shared=",allow_other" if shared else ""),
        )
        self.bus(f"{point}/bus.0", "DS2482-100")

    def bus(self, path, name, address="/dev/i2c-1:18"):
        self.put(f"{path}/interface/settings/name", name)
        self.put(f"{path}/interface/settings/address", address)

    @property
    def machine(self):
        return Machine(root=self.root, user="pi", uid=SOMEBODY, gids=frozenset([GROUP]), live=False)


def plugin(kind, **entries):
    made = build(find("listeners", kind), entries if kind == "rfm12pi" else {"node": "9", **entries})
    made.name = kind
    return made


def ailing(findings):
    """Return what was found that is not good, and the cures."""
    return [(finding.found, finding.cure) for finding in findings if finding.verdict is not Verdict.GOOD]


def fault(findings):
    """Return what was found and its cure where one thing, and one only, is not good."""
    (pair,) = ailing(findings)
    return pair


def well(findings):
    """Return what was found that is good."""
    return [finding.found for finding in findings if finding.verdict is Verdict.GOOD]
