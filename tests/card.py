"""A memory card: ext4 on a loop device, for root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers import missing, need


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """Mount an image on a loop device."""
    at.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", "loop", image, at], capture_output=True, text=True, check=False)
    if done.returncode:
        missing(f"mounting an image needs root and loop devices: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=False)


def file_system(image: Path, megabytes: int, block: int) -> Path:
    """Return an image that holds an empty ext4."""
    need("mkfs.ext4", "e2fsprogs")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    # The kernel would write the tables later on, among what is measured.
    whole = "lazy_itable_init=0,lazy_journal_init=0"
    options = ["-q", "-b", str(block), "-m", "0", "-E", whole]
    subprocess.run(["mkfs.ext4", *options, image], check=True, env=sbin())
    return image


@dataclass(frozen=True)
class Device:
    """What a block device has written so far; the kernel counts it in /sys/block/NAME/stat."""

    bytes: int
    flushes: int


def written(card: Path) -> Device:
    """Return what the device below this folder has written."""
    (name,) = [
        line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if f" {card} " in line
    ]
    fields = Path("/sys/block", Path(name).name, "stat").read_text().split()
    return Device(int(fields[6]) * 512, int(fields[15]))


def sbin() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
