"""The disk of the emulated machine: Debian trixie with its own kernel, built once and cached by recipe."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oemgateway" / "machine"

SUITE = "trixie"

DISK_MB = 3072

KERNELS = {"amd64": "linux-image-amd64", "arm64": "linux-image-arm64"}
"""Not the cloud kernels: they lack the modules for I2C, 1-Wire and USB serial ports."""

PACKAGES = [
    "systemd-sysv",
    "udev",
    "kmod",
    "iproute2",
    "procps",
    "initramfs-tools",
    "e2fsprogs",
    "dbus",
    "adduser",
    "ucf",
    "logrotate",
    "python3-configobj",
    "python3-requests",
    "python3-serial",
    "python3-smbus2",
    "owserver",
    "owfs-fuse",
    "fuse",
    "i2c-tools",
    "chrony",
    "sqlite3",
]

ASIDE = ["systemd-timesyncd", "fake-hwclock"]
"""Packages that wait in /var/cache/aside: the first takes the place of chrony."""

DISABLED = [
    "owserver",
    "owfs",
    "chrony",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
]

MODULES = "virtio_pci virtio_blk ext4"
"""What the initramfs has to have: a small one boots sooner."""

AGENT = Path(__file__).with_name("agent.py")

FILES = {
    "etc/hostname": "machine\n",
    "etc/fstab": "LABEL=machine / ext4 defaults,errors=remount-ro 0 1\n",
    "etc/modules-load.d/i2c.conf": "i2c-dev\n",  # as raspi-config has it
    "etc/systemd/network/lan.network": (
        "[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
    ),
    "etc/systemd/system/agent.service": (
        "[Unit]\nDescription=What the tests ask\nDefaultDependencies=no\n"
        "After=systemd-remount-fs.service systemd-tmpfiles-setup.service\n"
        "Before=shutdown.target\nConflicts=shutdown.target\n"
        "[Service]\nExecStart=python3 /usr/local/sbin/agent\nOOMScoreAdjust=-1000\n"
        "[Install]\nWantedBy=sysinit.target\n"
    ),
    "usr/local/sbin/agent": AGENT.read_text(),
}

BEFORE = f"""
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/machine"
printf '%s\\n' {MODULES} >"$1/usr/share/initramfs-tools/modules.d/machine"
"""

AFTER = f"""
cp -a "$FILES/." "$1/"
chroot "$1" systemd-machine-id-setup >/dev/null
chroot "$1" systemctl --quiet enable agent systemd-networkd
chroot "$1" systemctl --quiet disable {" ".join(DISABLED)}
mkdir "$1/var/cache/aside"
chroot "$1" sh -c 'cd /var/cache/aside && apt-get download -qq {" ".join(ASIDE)}'
"""


class Missing(Exception):
    """Something that the machine is built with or runs on is not there; the text says how to get it."""


class Image(NamedTuple):
    """A disk to put overlays on, and the kernel that boots it."""

    disk: Path
    kernel: Path
    initrd: Path


def image(arch: str) -> Image:
    """Return the image of this architecture, built if it is not there; Missing where it cannot be."""
    recipe = repr((SUITE, arch, KERNELS[arch], PACKAGES, ASIDE, DISABLED, FILES, BEFORE, AFTER, DISK_MB))
    home = CACHE / f"{arch}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not home.is_dir():
        for old in CACHE.glob(f"{arch}-*"):
            shutil.rmtree(old)
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = _build(arch, Path(scratch))
            made.rename(home)
    return Image(home / "disk.img", home / "vmlinuz", home / "initrd")


def _build(arch: str, scratch: Path) -> Path:
    """Return a folder with disk, kernel and initramfs."""
    if os.geteuid() != 0:
        raise Missing("the machine's image is built as root (mmdebstrap, mke2fs): sudo make machine")
    files, root, made = (scratch / name for name in ("files", "root", "made"))
    for name, text in FILES.items():
        file = files / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    made.mkdir()
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--architectures={arch}"]
    command += [f"--include={','.join([*PACKAGES, KERNELS[arch]])}"]
    command += [f"--essential-hook={BEFORE}", f"--customize-hook={AFTER}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")]
    # In a name space of its own: what it mounts below the folder is gone with it, however it ends.
    _run(["unshare", "--mount", *command, SUITE, str(root), _mirror()], FILES=str(files))
    boot = root / "boot"
    shutil.copy(next(boot.glob("vmlinuz-*")), made / "vmlinuz")
    shutil.copy(next(boot.glob("initrd.img-*")), made / "initrd")
    # From the folder: a loop mount is not possible everywhere.
    disk = [str(made / "disk.img"), f"{DISK_MB}M"]
    _run(["mke2fs", "-q", "-t", "ext4", "-L", "machine", "-d", str(root), *disk])
    return made


def _mirror() -> str:
    """Return the Debian mirror that this machine itself uses: the keys for it are here."""
    known = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    for uri in known:
        if "security" not in uri:
            return uri
    raise Missing(
        "The image is made from this machine's Debian mirror, and apt knows none: sudo apt-get update"
    )


def _run(command: list[str], **environment: str) -> None:
    done = subprocess.run(
        ["nice", "-n", "5", *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-20:])
        raise Missing(f"The image could not be built from {_mirror()}: is the network there?\n{last}")
