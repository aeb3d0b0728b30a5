"""This machine once more, for programs that change all of it: what they write is gone when it is left.

It has the files of the real one, changed in memory only, but no gateway that is installed there, and nothing
that one has left which root ran in the foreground; and it has processes of its own, none of which outlives
it. Its services are those of init.d, in runlevel 2, and packages may start and stop them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.peers import missing, need
from tests.waiting import wait_until

# PID 1 waits for the end of the tests, however they end; all others end with it. As it takes no notice of its
# children, the kernel clears them away when they end.
_FIRST_PROCESS = """
set -e
mount -t tmpfs -o mode=0755 throwaway "$1"
cd "$1"
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work throwaway root
mount -t proc proc root/proc
mount --rbind /dev root/dev
mount --rbind /sys root/sys
mount -t tmpfs -o mode=0755 throwaway root/run
rm -rf root/var/lib/oemgateway root/var/log/oemgateway root/etc/oemgateway.conf
cd root/usr/sbin
rm -f policy-rc.d runlevel
printf '#!/bin/sh\\nexit 0\\n' >policy-rc.d
printf '#!/bin/sh\\necho N 2\\n' >runlevel
chmod +x policy-rc.d runlevel
cd ../../..
exec env --ignore-signal=CHLD chroot root cat
"""


class Throwaway:
    """The machine; `folder` is an empty one that it may be mounted on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            missing("installing needs root")
        unshare = [need("unshare", "util-linux"), "--mount", "--pid", "--fork", "--kill-child"]
        self._process = subprocess.Popen(
            [*unshare, "sh", "-c", _FIRST_PROCESS, "sh", self._folder],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(self._is_ready, what="the first process")
        if self.path("/opt/oemgateway").exists():
            purged = self("sh", Path(__file__).parents[1] / "install.sh", "purge")
            assert purged.returncode == 0, purged.stdout
        return self

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            _, said = self._process.communicate()
            missing(f"there can be no other machine here: {said}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._first = children[0] if children else "0"
        try:
            return Path(f"/proc/{self._first}/comm").read_text() == "cat\n"
        except FileNotFoundError:
            return False

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def __call__(self, *command: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end; standard error is among what it printed."""
        return subprocess.run(
            self.entering(*command),
            env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )

    def entering(self, *command: object) -> list[str]:
        """Return the command by which this one runs there."""
        enter = [need("nsenter", "util-linux"), "--target", self._first, "--mount", "--pid", "--root"]
        return [*enter, "--wdns=/", "--", *map(str, command)]

    def path(self, there: str) -> Path:
        """Return where a path of it can be reached from here."""
        return Path(f"/proc/{self._first}/root{there}")

    def copy(self, source: Path, there: str) -> None:
        """Put a file or folder of ours there."""
        if source.is_dir():
            shutil.copytree(source, self.path(there), ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, self.path(there))
