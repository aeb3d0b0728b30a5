"""Debian's own owserver and owfs, run by the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from listeners.simulated.ds2482 import Ds2482
from tests.peers import missing, need
from tests.ports import free_port, listens
from tests.simulators.i2c_server import i2c_server
from tests.waiting import wait_until

OWFS = "/usr/libexec/owfs/owfs"  # /usr/bin/owfs is a wrapper that adds Debian's own configuration


@contextmanager
def owserver(bridge: Ds2482, tmp_path: Path, *options: str) -> Iterator[int]:
    """Run owserver with these options on the simulated bridge, by the preload library; yield its port."""
    port = free_port()
    with (
        i2c_server(bridge) as environment,
        owserver_process(port, tmp_path, ["--i2c=/dev/i2c-99:0", *options], environment),
    ):
        yield port


@contextmanager
def owserver_process(
    port: int, tmp_path: Path, bus: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    """Run owserver on this port with these bus options (`--mock=28.33F749050000`); yield it, listening."""
    program = need("owserver", "owserver")
    command = [
        program,
        "-c",
        _empty_file(tmp_path),
        "--foreground",
        "--nozero",
        "-p",
        f"127.0.0.1:{port}",
        *bus,
    ]
    with _running(command, environment) as process:
        wait_until(lambda: listens(port), what=f"owserver on port {port}")
        yield process


@contextmanager
def owfs_mount(port: int, tmp_path: Path, *options: str) -> Iterator[Path]:
    """Mount the owserver at this port with these options; yield it. Needs root and /dev/fuse."""
    need("fusermount", "fuse")
    if not Path(OWFS).exists():
        missing(f"{OWFS} is missing: apt install owfs-fuse")
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        missing("mounting needs root and /dev/fuse")
    mount_point = tmp_path / "1wire"
    mount_point.mkdir(exist_ok=True)
    command = [
        OWFS,
        "-c",
        _empty_file(tmp_path),
        "--foreground",
        "-s",
        f"127.0.0.1:{port}",
        "-m",
        str(mount_point),
        *options,
    ]
    with _running(command):
        try:
            wait_until(mount_point.is_mount, what=f"owfs at {mount_point}")
            yield mount_point
        finally:
            subprocess.run(["umount", "-l", mount_point], check=False, capture_output=True)


@contextmanager
def _running(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen]:
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            # owserver does not end on SIGTERM while a client is connected.
            process.kill()


def _empty_file(tmp_path: Path) -> str:
    """Return an empty configuration, instead of Debian's with its random sensors."""
    path = tmp_path / "empty.conf"
    path.touch()
    return str(path)
