"""A memory card: ext4 on a loop device, for root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.peers import missing, need
from tests.waiting import wait_until


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Have a program do nothing any more, and wait until that is so."""
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: ") T " in Path(f"/proc/{process.pid}/stat").read_text())


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


class Card:
    """A card in use, whose power can be cut: what the kernel had not yet given to the device is gone then."""

    def __init__(self, image: Path, at: Path, megabytes: int = 24) -> None:
        self.at = at
        self._image = file_system(image, megabytes, 4096)
        self._cuts = 0

    def __enter__(self) -> Self:
        self._mounted = mounted(self._image, self.at)
        self._mounted.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._mounted.__exit__(None, None, None)

    def copy(self, image: Path) -> Path:
        """Return an image of what is on the device now."""
        shutil.copy(self._image, image)
        return image

    def cut(self, process: subprocess.Popen[bytes], image: Path | None = None) -> None:
        """Cut the power of a program that works on it; then it has what was written to it, or `image`."""
        freeze(process)
        self._cuts += 1
        left = self.copy(self._image.with_suffix(f".{self._cuts}"))
        process.kill()
        process.wait(60)
        self.__exit__()
        self._image.unlink()
        self._image = left
        if image:
            shutil.copy(image, left)
        self.__enter__()


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
