"""What it costs to lose nothing: the queue on its card, in memory and in time, and the daemon at rest.

It prints a table, writes results/durability.json and ends with status 1 where a target is missed. Every
figure is measured in that run; constants are the targets, how long to look, and what was measured elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.filled import WHO, ago, frame, opened, resident
from benchmarks.radio import Receiver, receiver, wake_ups
from benchmarks.report import Row, conclude_rows
from gateway.spool import Spool
from tests.card import file_system, mounted, written
from tests.gateway_process import GatewayProcess, state
from tests.simulators.mosquitto import Mosquitto
from tests.simulators.owfs_peers import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BYTES_PER_FRAME = 5000
"""What a frame may make the device write, at the pace below."""

PACE_S, ACKNOWLEDGED_S, PACED_S = 0.5, 10.0, 120.0
"""Seconds between two frames, between two acknowledgements, and how long that goes on."""

MILLION, ADDED_MB = 1_000_000, 4.0
"""So many frames that wait, and what they may add to the memory."""

BACKLOG, DRAINED = 100_000, 10_000
"""Frames that wait at the start, and how many of them are to reach a server in a second."""

RESTED_S, CPU_S_PER_MIN, WAKE_UPS_PER_S, RSS_MB = 60.0, 0.02, 1.0, 36.0
"""How long the daemon is watched while nothing happens, and what it may take then."""

MQTT_MB = 4.0
"""What MQTT may add to its memory; to its CPU it may add as much as the daemon takes without it."""

STARTS, FIRST_S = 5, 0.6
"""How often it is started, and in what time a first frame is to be at the server."""

ELSEWHERE = "measured elsewhere, on a 2-core x86_64 virtual machine with Debian 12 and Python 3.11"
SPEEDS = {
    1: "WAL and a sync per commit 1,500; without sync 27,300; lmdb 819; persist-queue 1,900",
    10: "WAL and a sync per commit 14,300; without sync 119,300; lmdb 2,800; persist-queue 2,800",
    100: "WAL and a sync per commit 90,200; without sync 249,800; lmdb 65,200; persist-queue 2,900",
}
"""Frames put in a second, by how many were in a commit."""
DEVICE = {
    "a sync per 5 s": "4,600; in pages of 4096 bytes 11,900; with a sync per commit 20,689",
    "a sync per 30 s": "1,459 with a commit per 30 s, which a kill loses",
    "a sync per frame": "20,689",
    "ten frames a commit": "3,226, of which a kill loses 5 s",
    "the first minutes": "4,600",
}
"""Bytes on the device for a frame, at the same pace on ext4 on a loop device."""


def speeds(folder: Path) -> Iterator[Row]:
    """Yield how many frames are put in a second, and taken and acknowledged."""
    begin = ago(MILLION)
    spool = opened(folder / "queue.db")
    first = 0
    for at_once, count in ((1, 10_000), (10, 30_000), (100, 100_000)):
        frames = [frame(number, begin) for number in range(first, first + count)]
        first += count
        began = time.perf_counter()
        for start in range(0, count, at_once):
            spool.put(frames[start : start + at_once])
            spool.syncing.sync_if_due()
        seconds = time.perf_counter() - began
        method = f"{count:,} frames, {at_once} a commit, a sync per 5 s"
        yield Row("put", count / seconds, "frames/s", method, f"{SPEEDS[at_once]} ({ELSEWHERE})", digits=0)
    began = time.perf_counter()
    while batch := spool.peek(WHO, 250):
        spool.mark_sending(WHO, batch[-1][0])
        spool.done(WHO, batch[-1][0])
    seconds = time.perf_counter() - began
    spool.close()
    method = f"{first:,} frames, 250 a batch, with the note before and the cursor after each"
    peer = f"WAL 369,100 in batches of 100 bytes that nobody decodes ({ELSEWHERE})"
    yield Row("taken and acknowledged", first / seconds, "frames/s", method, peer, digits=0)


@dataclass
class Pace:
    """How frames come to the card: so many in a commit, with a sync every `interval` seconds."""

    what: str
    interval: float
    at_once: int = 1
    from_nothing: bool = False

    def run(self, card: Path) -> tuple[float, float]:
        """Put two frames a second and acknowledge them; return the bytes and the flushes that one takes."""
        spool = Spool(card / "queue.db", commit_interval=self.interval)
        spool.set_consumers([WHO])
        if not self.from_nothing:
            self.grow(spool, card / "queue.db-wal")
        os.sync()
        before = written(card)
        count = self.keep(spool)
        os.sync()
        after = written(card)
        spool.close()
        return (after.bytes - before.bytes) / count, (after.flushes - before.flushes) / count

    def grow(self, spool: Spool, log: Path) -> None:
        """Have the log of SQLite reach the size at which it begins anew, in the same file."""
        begin, size = ago(0), -1
        while size < log.stat().st_size:
            size = log.stat().st_size
            for number in range(1000):
                spool.put([frame(number, begin)])
            spool.done(WHO, spool.end - 1)

    def keep(self, spool: Spool) -> int:
        """Put frames and acknowledge them at their pace; return how many there were."""
        began = time.monotonic()
        begin, waiting, count = ago(0), [], 0
        acknowledged = 0.0
        while (passed := time.monotonic() - began) < PACED_S:
            waiting.append(frame(count, begin))
            count += 1
            if len(waiting) == self.at_once:
                spool.put(waiting)
                waiting = []
            spool.syncing.sync_if_due()
            if passed - acknowledged >= ACKNOWLEDGED_S and (batch := spool.peek(WHO, 250)):
                acknowledged = passed
                spool.mark_sending(WHO, batch[-1][0])
                spool.done(WHO, batch[-1][0])
            time.sleep(max(0.0, began + count * PACE_S - time.monotonic()))
        return count


PACES = (
    Pace("a sync per 5 s", 5),
    Pace("a sync per 30 s", 30),
    Pace("a sync per frame", 0),
    Pace("ten frames a commit", 0, at_once=10),
    Pace("the first minutes", 5, from_nothing=True),
)
"""The first is the default. A kill would lose 5 s of ten frames a commit. The last is the default, too."""


def on_a_card(pace: Pace, folder: Path) -> tuple[float, float]:
    """Return the bytes and the flushes that a frame takes."""
    name = pace.what.replace(" ", "-")
    with mounted(file_system(folder / name, 64, 4096), folder / f"{name}.d") as card:
        return pace.run(card)


def device(folder: Path) -> Iterator[Row]:
    """Yield what two frames a second make a card write, each way on a card of its own, all at a time."""
    if os.geteuid() or shutil.which("mkfs.ext4") is None:
        print("Nothing was measured of the device: root and mkfs.ext4 (apt install e2fsprogs) are needed")
        return
    with ThreadPoolExecutor(len(PACES)) as pool:
        found = list(pool.map(lambda pace: on_a_card(pace, folder), PACES))
    method = (
        f"ext4 on a loop device, {1 / PACE_S:g} frames/s for {PACED_S:g} s, "
        f"acknowledged every {ACKNOWLEDGED_S:g} s; /sys/block/loopN/stat; "
    )
    for pace, (size, flushes) in zip(PACES, found, strict=True):
        most = BYTES_PER_FRAME if pace is PACES[0] else None
        since = "while SQLite's log still grows" if pace.from_nothing else "SQLite's log at its full size"
        peer = f"{DEVICE[pace.what]} ({ELSEWHERE})"
        yield Row(f"on the device, {pace.what}", size, "B/frame", method + since, peer, most=most, digits=0)
        yield Row(f"flushes, {pace.what}", flushes, "/frame", method + since, digits=2)


def filled(path: Path, count: int) -> dict[str, float]:
    """Fill a queue in a process of its own; return what it says that took."""
    command = [sys.executable, "-m", "benchmarks.filled", str(path), str(count)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    said: dict[str, float] = json.loads(ran.stdout)
    return said


def a_million(folder: Path) -> Iterator[Row]:
    """Yield what a million frames in the queue take."""
    said = filled(folder / "million" / "queue.db", MILLION)
    method = f"{MILLION:,} frames in a process of its own, /proc/PID/status"
    peer = f"1.6 MB after filling, 0.3 MB after opening once more; lmdb 50, a list 182 ({ELSEWHERE})"
    added = max(said["full"], said["reopened"]) - said["empty"]
    yield Row("added to the memory", added / 1e6, "MB", method, peer, most=ADDED_MB)
    yield Row("on the disk", said["size"] / 1e6, "MB", f"{MILLION:,} frames", f"154 ({ELSEWHERE})")
    yield Row("to open it", said["opening"] * 1e3, "ms", method, f"0.7; lmdb 1.0 ({ELSEWHERE})")
    yield Row("to take the first hundred", said["taking"] * 1e3, "ms", method, f"0.1 ({ELSEWHERE})")


def house(folder: Path, server: Receiver, listeners: str) -> GatewayProcess:
    """Return the daemon with an Emoncms at this server, not yet started."""
    file = folder / "oemgateway.conf"
    file.touch(0o600)
    file.write_text(
        f"{state(folder)}[listeners]\n{listeners}"
        f"[dispatchers]\n[[{WHO}]]\ntype = emoncms\nurl = {server.url}\napikey = {'0' * 32}\ninterval = 0\n"
    )
    return GatewayProcess(file)


def backlog(folder: Path) -> Iterator[Row]:
    """Yield how fast frames that wait at the start are drained, through the whole daemon and HTTP."""
    filled(folder / "state" / "queue.db", BACKLOG)
    with receiver() as server, stopped(house(folder, server, quiet())) as gateway:
        gateway.start()
        wait_until(lambda: gateway.status()["dispatchers"][WHO]["frames"] >= BACKLOG, 120)
        arrived = server.arrivals()
    wrong = sum(there.number != number for number, there in enumerate(arrived))
    wrong += abs(BACKLOG - len(arrived))
    first = [there for there in arrived if there.time == arrived[0].time]
    speed = (len(arrived) - len(first)) / (arrived[-1].time - arrived[0].time)
    method = (
        f"{BACKLOG:,} frames, the daemon with its Emoncms over HTTP to a local server, first to last batch"
    )
    yield Row(
        "backlog",
        speed,
        "frames/s",
        method,
        f"114,000 by SQLite alone ({ELSEWHERE})",
        least=DRAINED,
        digits=0,
    )
    yield Row("lost, doubled or misplaced", wrong, "frames", f"of {BACKLOG:,}, by the number in each", most=0)


def quiet() -> str:
    """Return listeners that nobody says anything to."""
    return f"[[push]]\ntype = tcp\nport = {free_port()}\n[[own]]\ntype = exec\ncommand = sleep 3600\n"


def saying_at_once() -> str:
    """Return a listener that has a frame as soon as it runs."""
    return "[[own]]\ntype = exec\ncommand = sh -c 'echo 10 1 0; exec sleep 3600'\n"


def rest(folder: Path) -> Iterator[Row]:
    """Yield what the daemon takes while nothing happens, once it has delivered something."""
    with receiver() as server, stopped(house(folder, server, saying_at_once())) as gateway:
        gateway.start()
        wait_until(server.arrivals)
        time.sleep(10)
        pid = gateway.process.pid
        before, woken = cpu_seconds(pid), sum(wake_ups(pid).values())
        time.sleep(RESTED_S)
        cpu, wakes = cpu_seconds(pid) - before, sum(wake_ups(pid).values()) - woken
        memory = resident(pid)
    peer = "emonhub takes {} (" + ELSEWHERE + ")"
    for what, figure, unit, most, digits, theirs in (
        ("CPU at rest", cpu * 60 / RESTED_S, "s/min", CPU_S_PER_MIN, 3, "0.16"),
        ("wake-ups at rest", wakes / RESTED_S, "/s", WAKE_UPS_PER_S, 2, "25"),
        ("memory at rest", memory / 1e6, "MB", RSS_MB, 1, "36"),
    ):
        method = f"the daemon for {RESTED_S:g} s after a delivery, all its threads, /proc/PID"
        yield Row(what, figure, unit, method, peer.format(theirs), most=most, digits=digits)


def with_mqtt(folder: Path) -> Iterator[Row]:
    """Yield what a dispatcher to MQTT beside Emoncms adds to the daemon while nothing happens."""
    with receiver() as server, Mosquitto(folder, verbose=False) as broker, ExitStack() as stack:
        pids = {}
        for name in ("without", "with"):
            own = folder / name
            own.mkdir()
            gateway = stack.enter_context(stopped(house(own, server, saying_at_once())))
            if name == "with":
                section = f"[[mqtt]]\ntype = mqtt\nhost = 127.0.0.1\nport = {broker.port}\n"
                gateway.file.write_text(gateway.file.read_text() + section)
            gateway.start()
            pids[name] = gateway.process.pid
            wait_until(lambda g=gateway: all(a["frames"] for a in g.status()["dispatchers"].values()))
        time.sleep(10)
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        time.sleep(RESTED_S)
        cpu = {name: (cpu_seconds(pid) - before[name]) * 60 / RESTED_S for name, pid in pids.items()}
        memory = {name: resident(pid) / 1e6 for name, pid in pids.items()}
    method = f"two daemons at the same time for {RESTED_S:g} s, a mosquitto"
    for what, figures, unit, most, digits in (
        ("memory for MQTT", memory, "MB more", MQTT_MB, 1),
        ("CPU at rest for MQTT", cpu, "s/min more", CPU_S_PER_MIN, 3),
    ):
        beside = f"{figures['without']:.{digits}f} without, {figures['with']:.{digits}f} with it"
        more = figures["with"] - figures["without"]
        yield Row(what, more, unit, method, beside, most=most, digits=digits)


def cpu_seconds(pid: int) -> float:
    """Return the seconds that all threads of a process have computed; the first figure of schedstat."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def start(folder: Path) -> Iterator[Row]:
    """Yield how long it takes from the start of the program to a first frame at the server."""
    seconds = []
    for number in range(STARTS):
        own = folder / str(number)
        own.mkdir()
        with receiver() as server, stopped(house(own, server, saying_at_once())) as gateway:
            began = time.monotonic()
            gateway.launch()
            arrived = wait_until(server.arrivals)
            seconds.append(arrived[0].time - began)
    method = f"median of {STARTS} starts, from nothing, of a program that says a line at once"
    peer = f"emonhub takes 2.6 ({ELSEWHERE})"
    yield Row(
        "first frame at the server", statistics.median(seconds), "s", method, peer, most=FIRST_S, digits=2
    )


@contextmanager
def stopped(gateway: GatewayProcess) -> Iterator[GatewayProcess]:
    """End it properly at the end: a kill would leave the program of `exec` behind."""
    try:
        yield gateway
    finally:
        gateway.stop()


def measured() -> Iterable[Row]:
    """Yield the figures as they are measured."""
    for part in (speeds, a_million, start, backlog, rest, with_mqtt, device):
        with tempfile.TemporaryDirectory() as folder:
            yield from part(Path(folder))


def main() -> int:
    print("Durability: the queue on its card, in memory and in time, and the daemon at rest.\n")
    return conclude_rows("durability", measured())


if __name__ == "__main__":
    sys.exit(main())
