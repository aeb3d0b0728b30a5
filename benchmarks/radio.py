"""How fast radio packets are heard: lines on a pty, through the daemon and its queue on disk, to a server.

And how soon a device that posts, and sleeps again, has its answer while that server is dead.

It prints a table, writes results/radio.json and ends with status 1 where a target is missed. Every figure is
measured in that run, on the daemon as a process of its own; constants are the targets, and how long to look.
"""

from __future__ import annotations

import json
import math
import random
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from benchmarks.report import Row, conclude_rows
from listeners.radio.grammar import decode
from tests.gateway_process import GatewayProcess, state
from tests.simulators.owfs_peers import free_port
from tests.waiting import wait_until
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

DECODED = {4: 200_000, 26: 120_000}
"""Lines a second that one core decodes, by the bytes of a packet."""

SUSTAINED, FEED_S = 5_000, 30.0
"""Lines a second from the port to the server, and for how long."""

PERIOD_S, LINES, P50_MS, P99_MS = 0.1, 300, 10, 50
"""A line every so often, so many of them, and how long half of them and 99 in 100 may take to the server."""

CLIENTS, COST_MS = 500, 1
"""TCP clients that say nothing, and what they may add to the time that half of the lines take."""

SILENT_S, LOOKS_PER_S = 20.0, 1.0
"""How long a silent daemon is watched, and how often its main thread, which looks after the file, wakes."""

POSTS, ANSWERED_MS = 100, 50
"""How often a doorbell posts, and how long it may stay awake for the answer, each time."""


class Arrival(NamedTuple):
    """The number in a packet, and when it was at the server."""

    number: int
    time: float


def line(number: int) -> bytes:
    """Return the line of a packet of node 10 whose two values hold this number, 15 bits each."""
    high, low = divmod(number, 1 << 15)
    return b"OK 10 %d %d %d %d (-61) \r\n" % (low & 255, low >> 8, high & 255, high >> 8)


class Receiver:
    """The server at the end, a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{int(process.stdout.readline())}"

    def arrivals(self) -> list[Arrival]:
        """Return what has come from node 10 since the last time, in the order in which it came."""
        print(file=self._process.stdin, flush=True)
        return [
            Arrival(low["1"] + (high["2"] << 15), came)
            for came, body in json.loads(self._process.stdout.readline())
            for _, node, low, high in json.loads(parse_qs(body)["data"][0])
            if node == "10"
        ]


class House:
    """The daemon with a radio on `wire`, listeners that nobody says anything to, and `more` dispatchers."""

    def __init__(self, folder: Path, server: Receiver, more: str = "") -> None:
        self.wire, self.silent = Wire(), Wire()
        self.tcp_port = free_port()
        self._server = server
        file = folder / "oemgateway.conf"
        file.touch(0o600)
        file.write_text(
            f"{state(folder)}[listeners]\n"
            f"[[radio]]\ntype = rfm12pi\nport = {self.wire.port}\n"
            f"[[lines]]\ntype = tcp\nport = {self.tcp_port}\nclients = {CLIENTS}\n"
            f"[[push]]\ntype = http\nport = {free_port()}\n"
            f"[[cable]]\ntype = keyvalue\nport = {self.silent.port}\nnode = emontx\n"
            "[[own]]\ntype = exec\ncommand = sleep 3600\n"
            f"[dispatchers]\n[[local]]\ntype = emoncms\nurl = {server.url}\napikey = {'0' * 32}\n"
            f"interval = 0\nbatch = 250\n{more}"
        )
        self.gateway = GatewayProcess(file)

    def warm_up(self) -> None:
        """Send lines of another node until the port is open and a first batch delivered."""
        self._counted = 0
        while not self.heard():
            self.wire.send(b"OK 9 1 0 1 0 (-61) \r\n")
            time.sleep(0.1)
        self.delivered(1)

    def heard(self) -> int:
        """Return how many packets were heard and kept since the last were `delivered`."""
        return self.gateway.status()["listeners"]["radio"]["frames"] - self._counted

    def delivered(self, packets: int) -> list[Arrival]:
        """Return what has arrived, once so many packets have been heard and none waits any more."""
        wait_until(lambda: self.heard() >= packets and not self._queued(), 300)
        self._counted += self.heard()
        return self._server.arrivals()

    def _queued(self) -> int:
        return self.gateway.status()["dispatchers"]["local"]["queue"]["waiting"]

    def wake_ups(self) -> dict[str, int]:
        """Return how often each thread has waited for something so far."""
        return wake_ups(self.gateway.process.pid)


def wake_ups(pid: int) -> dict[str, int]:
    """Return how often each thread of a process has waited for something so far."""
    switches = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)", re.MULTILINE)
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {task.name: int(switches.search((task / "status").read_text())[1]) for task in tasks}


def decoding(size: int) -> Row:
    """Return how many lines a second are decoded to their values."""
    draw = random.Random(size)
    packets = (" ".join(str(draw.randrange(256)) for _ in range(size)) for _ in range(500))
    lines = [f"OK 10 {packet} (-61) " for packet in packets]
    quickest = math.inf
    for _ in range(1000):
        began = time.process_time()
        for text in lines:
            _ = struct.unpack(f"<{size // 2}h", decode(text).data)
        quickest = min(quickest, time.process_time() - began)
    method = f"line to values in one thread, CPU time, quickest of 1000 rounds of {len(lines)} lines"
    return Row(f"decode {size} bytes", len(lines) / quickest, "lines/s", method, least=DECODED[size])


def sustained(house: House) -> list[Row]:
    """Return what comes through when a port is fed as fast as it takes it."""
    sent = 0
    began = time.monotonic()
    while time.monotonic() < began + FEED_S:
        house.wire.send(b"".join(map(line, range(sent, sent + 50))))
        sent += 50
    kept = house.heard() / (time.monotonic() - began)
    arrivals = house.delivered(sent)
    seconds = arrivals[-1].time - began
    wrong = sum(
        there.number != n for n, there in zip_longest(range(sent), arrivals, fillvalue=Arrival(-1, 0))
    )
    feed = f"a pty fed for {FEED_S:g} s without a limit"
    return [
        Row("decoded and on disk", kept, "lines/s", f"{feed}, while it was fed", least=SUSTAINED),
        Row(
            "at the server", sent / seconds, "lines/s", f"{feed}, first line to last answer", least=SUSTAINED
        ),
        Row("lost, doubled or misplaced", wrong, "lines", f"of {sent:,}, by the number in each", most=0),
    ]


def latency(house: House, beside: str) -> list[Row]:
    """Return how long a line takes from the pty to the server."""
    began = time.monotonic()
    written = []
    for number in range(LINES):
        time.sleep(max(0.0, began + number * PERIOD_S - time.monotonic()))
        written.append(time.monotonic())
        house.wire.send(line(number))
    delays = sorted((there.time - written[there.number]) * 1000 for there in house.delivered(LINES))
    method = f"{len(delays)} lines, {1 / PERIOD_S:g} a second, interval = 0"
    last = delays[math.ceil(0.99 * len(delays)) - 1]
    return [
        Row(f"line to server, {beside}, p50", statistics.median(delays), "ms", method, most=P50_MS),
        Row(f"line to server, {beside}, p99", last, "ms", method, most=P99_MS),
    ]


def silence(house: House, beside: str) -> list[Row]:
    """Return how often the daemon wakes up while nothing is said to it."""
    before = house.wake_ups()
    time.sleep(SILENT_S)
    counts = {task: count - before.get(task, 0) for task, count in house.wake_ups().items()}
    looks = counts.pop(str(house.gateway.process.pid)) / SILENT_S
    method = f"voluntary context switches in {SILENT_S:g} s"
    return [
        Row(f"wake-ups, {beside}, all threads but main", sum(counts.values()), "", method, most=0),
        Row(f"wake-ups, {beside}, main thread", looks, "/s", method, most=LOOKS_PER_S),
    ]


def doorbell(folder: Path) -> list[Row]:
    """Return how long a post waits for its answer while no server can be reached, its connection included."""
    port, nobody = free_port(), free_port()
    file = folder / "oemgateway.conf"
    file.touch(0o600)
    file.write_text(
        f"{state(folder)}[listeners]\n[[push]]\ntype = http\nport = {port}\n[dispatchers]\n[[dead]]\n"
        f"type = emoncms\nurl = http://127.0.0.1:{nobody}\napikey = {'0' * 32}\ninterval = 0\n"
    )
    request = (
        b"GET /input/post?node=doorbell&json={battery:2.91} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    waits = []
    with GatewayProcess(file):
        for _ in range(POSTS):
            time.sleep(0.05)
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(request)
                answer = client.recv(4096)
                waits.append((time.monotonic() - began) * 1000)
            if not answer.endswith(b"ok"):
                raise RuntimeError(f"ok expected, not {answer!r}")
    method = f"{POSTS} posts, each from its connection to its answer; the server refuses every connection"
    return [
        Row("doorbell answered, p50", statistics.median(waits), "ms", method, most=ANSWERED_MS),
        Row("doorbell answered, slowest", max(waits), "ms", method, most=ANSWERED_MS),
    ]


@contextmanager
def silent_clients(port: int) -> Iterator[None]:
    with ExitStack() as clients:
        for _ in range(CLIENTS):
            clients.enter_context(socket.create_connection(("127.0.0.1", port)))
        yield


@contextmanager
def receiver() -> Iterator[Receiver]:
    command = [sys.executable, "-m", "benchmarks.receiver"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Receiver(process)
        finally:
            process.terminate()


def measured() -> Iterator[Row]:
    """Yield the figures as they are measured."""
    yield from map(decoding, DECODED)
    with tempfile.TemporaryDirectory() as folder:
        yield from doorbell(Path(folder))
    with tempfile.TemporaryDirectory() as folder, receiver() as server:
        house = House(Path(folder), server)
        with house.gateway as gateway, ExitStack() as at_the_end:
            at_the_end.callback(gateway.stop)  # a kill would leave the program of `exec` behind
            house.warm_up()
            yield from silence(house, "five silent listeners")
            alone = latency(house, "nothing beside")
            yield from alone
            with silent_clients(house.tcp_port):
                time.sleep(2)
                clients = f"{CLIENTS} silent TCP clients"
                yield from silence(house, clients)
                crowded = latency(house, clients)
                yield from crowded
                cost = crowded[0].measured - alone[0].measured
                yield Row(f"cost of {clients}", cost, "ms", "difference of p50", most=COST_MS)
            yield from sustained(house)


def main() -> int:
    print("Radio packets: from the line on a pty to a server that says ok.\n")
    return conclude_rows("radio", measured())


if __name__ == "__main__":
    sys.exit(main())
