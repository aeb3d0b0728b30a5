"""A thousand gateways through Debian's mosquitto to one relay, which is killed: `make fleet`.

Some gateways are processes of their own; the others are connections that speak exactly their messages. Each
frame has to arrive at the relay's destination once, and those of a gateway in order.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.simulated_gateways import Driver
from tests import numbered_listener, recording_dispatcher
from tests.gateway_process import ENVIRONMENT, GatewayProcess, state
from tests.simulators.mosquitto import Mosquitto
from tests.waiting import wait_until

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

UNLIMITED = "max_queued_messages 0"
PROCESSES = 20
DRIVERS = 2
_LONGEST = 900.0


def drive(port: int, names: list[str], rate: float, seconds: float, pipe: Connection) -> None:
    """Run a driver in a process of its own: it begins when it is told to, and says what came of it."""
    driver = Driver(port, names)
    pipe.send("connected")
    pipe.recv()
    before = time.process_time()
    sent = driver.run(rate, seconds, _LONGEST)
    pipe.send((sent, time.process_time() - before))


def processes(
    directory: Path, port: int, plugins: Path, count: int, rate: float
) -> list[tuple[GatewayProcess, Path]]:
    """Start gateways of their own, each with `rate` frames a second of its own."""
    running = []
    for number in range(count):
        own = directory / f"gateway{number}"
        own.mkdir()
        file = own / "oemgateway.conf"
        file.write_text(
            f"{state(own)}[listeners]\n[[numbers]]\ntype = numbered\ndirectory = {own}\n"
            f"period = {numbered_listener.COUNT / rate}\n"
            f"[dispatchers]\n[[out]]\ntype = mqtt\nhost = 127.0.0.1\nport = {port}\n"
            f"topic = oemgateway/p{number}\ndiscovery = no\nconfirm = relay\n"
        )
        file.chmod(0o600)
        process = GatewayProcess(file, PYTHONPATH=f"{ENVIRONMENT['PYTHONPATH']}:{plugins}")
        process.launch()
        running.append((process, own))
    return running


def relay_of(directory: Path, port: int, plugins: Path) -> GatewayProcess:
    own = directory / "relay"
    own.mkdir()
    file = own / "oemgateway.conf"
    file.write_text(
        f"{state(own)}[listeners]\n[[in]]\ntype = mqtt\nhost = 127.0.0.1\nport = {port}\nprefix = topic\n"
        f"[dispatchers]\n[[recorded]]\ntype = recorded\nfile = {directory / 'recorded'}\nbatch = 1000\n"
    )
    file.chmod(0o600)
    return GatewayProcess(file, PYTHONPATH=f"{ENVIRONMENT['PYTHONPATH']}:{plugins}")


def used(pid: int) -> tuple[float, float]:
    """Return the CPU seconds of a process so far, and its resident memory in MB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return (int(fields[11]) + int(fields[12])) / ticks, pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def check(rows: list[tuple[int, str, float, float]], expected: dict[str, list[int]]) -> dict[str, int]:
    """Return how many frames are lost, doubled and out of order."""
    arrived: dict[str, list[int]] = {}
    for _, node, _, value in rows:
        arrived.setdefault(node.partition(".")[0], []).append(int(value))
    faults = {"lost": 0, "doubled": 0, "out of order": 0}
    for name, numbers in expected.items():
        have = arrived.get(name, [])
        faults["lost"] += len(set(numbers) - set(have))
        faults["doubled"] += len(have) - len(set(have))
        faults["out of order"] += sum(one > other for one, other in pairwise(have))
    return faults


def report(text: str) -> None:
    """Say how it goes on."""
    sys.stderr.write(f"{text}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateways", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--rate", type=float, default=2000, help="frames a second of all gateways together")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--kills", type=int, default=5, help="of the relay; the broker is killed twice")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oemgateway-fleet-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        return run(directory, options)


class Costs:
    """CPU seconds and the most memory of a program that is killed now and then."""

    def __init__(self) -> None:
        self.seconds = self.megabytes = 0.0
        self.kills = 0

    def add(self, pid: int) -> None:
        """Add what a process has used, before its end."""
        seconds, megabytes = used(pid)
        self.seconds += seconds
        self.megabytes = max(self.megabytes, megabytes)

    def killed(self, pid: int) -> None:
        """Add it, and count the kill that follows."""
        self.add(pid)
        self.kills += 1


def count_lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


@dataclass
class Fleet:
    """What runs, and what it costs."""

    relay: GatewayProcess
    broker: Mosquitto
    recorded: Path
    running: list[tuple[GatewayProcess, Path]]
    costs: dict[str, Costs]

    def disturb(self, begin: float, seconds: float, kills: int) -> int:
        """Kill the relay so often, and the broker every second time; return how many frames have come."""
        for kill in range(1, kills + 1):
            pause(begin + seconds * kill / (kills + 1))
            report(f"{time.monotonic() - begin:.0f} s: {count_lines(self.recorded)} frames arrived")
            self.costs["relay"].killed(self.relay.process.pid)
            self.relay.kill()
            if kill % 2 == 0:
                self.costs["broker"].killed(self.broker.pid)
                self.broker.kill()
                self.broker.start()
            self.relay.launch()
        pause(begin + seconds)
        return count_lines(self.recorded)

    def finish(self) -> dict[str, list[int]]:
        """End the gateways that are processes when all has gone; return what each of them had kept."""
        kept = {}
        for _, own in self.running:
            (own / "enough").touch()
        for number, (process, own) in enumerate(self.running):
            wait_until((own / "ended").exists, 120)
            wait_until(lambda p=process: not p.status()["dispatchers"]["out"]["queue"]["waiting"], 300)
            kept[f"p{number}"] = numbered_listener.read(own / "kept")
            self.costs["gateways"].add(process.process.pid)
            process.kill()
        return kept


def run(directory: Path, options: argparse.Namespace) -> int:
    plugins = directory / "plugins"
    numbered_listener.install(plugins)
    recording_dispatcher.install(plugins)
    names = [f"s{number}" for number in range(options.gateways - options.processes)]
    rate = options.rate / options.gateways
    costs = {name: Costs() for name in ("relay", "broker", "gateways", "simulated gateways")}
    with Mosquitto(directory, options=UNLIMITED, verbose=bool(os.environ.get("DEBUG"))) as broker:
        relay = relay_of(directory, broker.port, plugins)
        relay.start()
        pipes = [multiprocessing.Pipe() for _ in range(DRIVERS)]
        for at, (_, theirs) in enumerate(pipes):
            given = (broker.port, names[at::DRIVERS], rate, options.seconds, theirs)
            multiprocessing.Process(target=drive, args=given, daemon=True).start()
        for ours, _ in pipes:
            ours.recv()
        running = processes(directory, broker.port, plugins, options.processes, rate)
        fleet = Fleet(relay, broker, directory / "recorded", running, costs)
        wait_until(lambda: all(process.is_ready() for process, _ in running), 120, "the gateways to start")
        costs["gateways"].seconds = -sum(used(process.process.pid)[0] for process, _ in running)
        begin = time.monotonic()
        for ours, _ in pipes:
            ours.send("go")
        live = fleet.disturb(begin, options.seconds, options.kills)
        report(f"{options.seconds:.0f} s: {live} frames arrived")
        expected: dict[str, list[int]] = {}
        for ours, _ in pipes:
            sent, seconds = ours.recv()
            costs["simulated gateways"].seconds += seconds
            expected |= {name: [*range(1, count + 1)] for name, count in sent.items()}
        took = time.monotonic() - begin
        expected |= fleet.finish()
        total = sum(map(len, expected.values()))
        wait_until(lambda: count_lines(fleet.recorded) >= total, 300, "everything to arrive")
        costs["relay"].add(relay.process.pid)
        costs["broker"].add(broker.pid)
        relay.stop()
    faults = check(recording_dispatcher.read(fleet.recorded), expected)
    print(f"{len(expected)} gateways, {options.processes} of them processes: {total} frames of five values")
    print(f"{options.rate:.0f} frames/s for {options.seconds:.0f} s. At the end of these {live} of ", end="")
    print(f"{options.rate * options.seconds:.0f} had arrived, and all {took - options.seconds:.0f} s later")
    for name, cost in costs.items():
        kills = f", killed {cost.kills} times" if cost.kills else ""
        memory = f", {cost.megabytes:.0f} MB" if cost.megabytes else ""
        print(f"{name}: {1000 * cost.seconds / total:.3f} ms of CPU for each frame of all{memory}{kills}")
    print(f"together {sum(each.seconds for each in costs.values()) / took:.2f} of {os.cpu_count()} cores")
    print(", ".join(f"{count} {what}" for what, count in faults.items()))
    return int(any(faults.values()))


def pause(until: float) -> None:
    """Wait for a moment of the monotonic clock."""
    time.sleep(max(0.0, until - time.monotonic()))


if __name__ == "__main__":
    sys.exit(main())
