"""What the page costs the gateway beside which it runs: radio frames under load, memory, and CPU."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.radio import House, latency, receiver
from benchmarks.report import Row
from tests.gateway_process import GatewayProcess, state
from tests.ports import connect, free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PER_SECOND, TIMES_P99 = 1000, 2.0
"""Requests a second, and by what they may multiply the time that 99 of 100 radio lines take."""

NODES, VALUES, EVERY_S, WATCHED_S = 6, 10, 10.0, 60.0
"""What is heard while nobody looks: so many values of so many nodes, how often; and for how long that is."""

GROWN_MB, RSS_MB, CPU_S = 0.5, 5.0, 0.02
"""Memory that it may grow by under load; memory, and CPU seconds a minute, that it takes unlooked at."""

LIVE, LIVE_CPU_S = 10, 0.05


def cpu(pid: int) -> float:
    """Return the CPU seconds that all threads of a process have used."""
    stats = (task / "schedstat" for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(stat.read_text().split()[0]) for stat in stats) / 1e9


def resident(pid: int) -> float:
    """Return the memory that a process has to itself and shares, in MB."""
    return int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024 / 1e6


@contextmanager
def flood(port: int) -> Iterator[list[float]]:
    """Ask a page for cached answers meanwhile; the answers a second are in the list at the end."""
    command = [sys.executable, "-m", "benchmarks.flood", str(port), str(PER_SECOND)]
    reached: list[float] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(1)
        yield reached
        count, seconds = process.communicate()[0].split()
        reached.append(int(count) / float(seconds))


def under_load() -> Iterator[Row]:
    """Yield how long radio lines take with and without requests, and what these leave in memory."""
    page = free_port()
    more = f"[[page]]\ntype = page\nport = {page}\n"
    with tempfile.TemporaryDirectory() as folder, receiver() as server:
        house = House(Path(folder), server, more)
        with house.gateway as gateway:
            house.warm_up()
            alone = latency(house, "page on, no requests")
            with flood(page) as reached:
                loaded = latency(house, f"{PER_SECOND:,} requests/s")
                before = resident(gateway.process.pid)
                time.sleep(30)
                grown = resident(gateway.process.pid) - before
            gateway.stop()
    yield from (alone[1], loaded[1])
    times = loaded[1].measured / alone[1].measured
    yield Row("p99 under load", times, "times", "of that without requests", most=TIMES_P99)
    yield Row("requests answered", reached[0], "/s", "cached answers", least=0.95 * PER_SECOND)
    yield Row("memory growth under load", grown, "MB", "in 30 s, after 30 s of it", most=GROWN_MB)


def beside() -> Iterator[Row]:
    """Yield what a gateway with the page takes more than one without it, which hears the same."""
    with tempfile.TemporaryDirectory() as on, tempfile.TemporaryDirectory() as off:
        ports = [free_port(), free_port()]
        page = free_port()
        section = f"[[page]]\ntype = page\nport = {page}\ninterval = 60\n"
        files = [Path(folder) / "oemgateway.conf" for folder in (on, off)]
        for file, port, more in zip(files, ports, (section, ""), strict=True):
            file.write_text(
                f"{state(file.parent)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
                f"[dispatchers]\n[[log]]\ntype = log\n{more}"
            )
        with GatewayProcess(files[0]) as with_page, GatewayProcess(files[1]) as without:
            both = (with_page.process.pid, without.process.pid)
            clients = [connect(port) for port in ports]
            feed(clients, 30.0)
            before = [cpu(pid) for pid in both]
            feed(clients, WATCHED_S)
            used = [cpu(pid) - began for pid, began in zip(both, before, strict=True)]
            sizes = [resident(pid) for pid in both]
            method = f"{NODES} nodes of {VALUES} values each {EVERY_S:g} s, nobody looks, history each minute"
            more_cpu = (used[0] - used[1]) * 60 / WATCHED_S
            yield Row("page on, memory", sizes[0] - sizes[1], "MB", method, f"{sizes[1]:.1f} MB", most=RSS_MB)
            peer = f"{used[1] * 60 / WATCHED_S:.3f} without it"
            yield Row("page on, CPU", more_cpu, "s/min", method, peer, most=CPU_S, digits=3)
            yield live(clients, page, both, more_cpu)
            for client in clients:
                client.close()


def live(clients: list[socket.socket], page: int, both: tuple[int, int], unlooked: float) -> Row:
    """Return what ten browsers that follow take, beyond the CPU seconds a minute while nobody looks."""
    browsers = []
    for _ in range(LIVE):
        browser = socket.create_connection(("127.0.0.1", page))
        browser.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda browser=browser: b"data: " in browser.recv(1 << 20))
        browser.setblocking(False)
        browsers.append(browser)
    feed(clients, 20.0)
    before = [cpu(pid) for pid in both]
    feed(clients, WATCHED_S)
    used = [cpu(pid) - began for pid, began in zip(both, before, strict=True)]
    events = sum(browser.recv(1 << 22).count(b"data: ") for browser in browsers) / LIVE
    if events < WATCHED_S / EVERY_S:
        raise RuntimeError(f"only {events} events came")
    method = f"more than while nobody looks, all {NODES * VALUES} values change each {EVERY_S:g} s"
    more = (used[0] - used[1]) * 60 / WATCHED_S - unlooked
    return Row(f"{LIVE} live clients", more, "s/min", method, most=LIVE_CPU_S, digits=3)


def feed(clients: list[socket.socket], seconds: float) -> None:
    """Say the same to each gateway, for so long."""
    until, turn = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        turn += 1
        for node in range(NODES):
            line = f"{node + 10} {' '.join(str(turn + n) for n in range(VALUES))}\n".encode()
            for client in clients:
                client.sendall(line)
        time.sleep(min(EVERY_S, max(0.0, until - time.monotonic())))


def measure() -> Iterator[Row]:
    yield from under_load()
    yield from beside()
