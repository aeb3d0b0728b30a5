"""A memory card: ext4 on a loop device, for root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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


def sbin() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
