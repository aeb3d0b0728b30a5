"""Ports that are given to one test at a time, in however many processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.gateway_process import ENVIRONMENT
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
ASK = "from tests.ports import free_port; print(*(free_port() for _ in range(50)), flush=True); input()"


def test_no_port_is_given_twice_nor_by_the_kernel():
    # given several processes that ask at once, and live on
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", ASK],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ports = [free_port() for _ in range(50)]
    ports += [int(port) for process in asking for port in process.stdout.readline().split()]
    for process in asking:
        process.communicate("")
    # then each has others, and the kernel gives away none of them
    assert len(set(ports)) == len(ports) == 200
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not any(first <= port <= last for port in ports)
