"""A thousand gateways through Debian's mosquitto to one relay, which is killed: `make fleet`.

Some gateways are processes of their own; the others are connections that speak exactly their messages. Each
frame has to arrive at the relay's destination once, and those of a gateway in order.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import select
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from gateway.frame import Frame, Stamp
from gateway.mqtt.broker import Broker
from gateway.mqtt.confirmations import Confirmations
from gateway.mqtt.frames import Identity, log_message
from gateway.mqtt.session import Session
from tests import numbered_listener, recording_dispatcher
from tests.gateway_process import ENVIRONMENT, GatewayProcess, state
from tests.simulators.mosquitto import Mosquitto
from tests.waiting import wait_until

UNLIMITED = "max_queued_messages 0"
PROCESSES = 20
DRIVERS = 2
WINDOW = 200
"""Frames of one gateway that are sent before the first of them is confirmed."""
_LONGEST = 900.0
RETRY = 20.0
"""Seconds without progress after which a simulated gateway sends again, as a real one does after 60."""


@dataclass
class Simulated:
    """A gateway of which only the connection is there. Its frames wait in memory until they are confirmed."""

    broker: Broker
    name: str
    next_n: int = 1
    session: Session | None = None
    waiting: deque[int] = field(default_factory=deque)
    sent: int = 0
    progress_at: float = 0.0
    connect_at: float = 0.0

    def __post_init__(self) -> None:
        self.topic = f"oemgateway/{self.name}"
        self.confirmations = Confirmations(self.name)

    def connect(self, now: float) -> None:
        session = Session(self.broker, f"oemgateway-{self.name}")
        try:
            session.open()
            session.subscribe([f"{self.topic}/ack"])
        except OSError:
            session.close()
            self.connect_at = now + 1.0
            return
        self.session, self.sent, self.progress_at = session, 0, now

    def give(self) -> None:
        self.waiting.append(self.next_n)
        self.next_n += 1

    def publish(self) -> None:
        """Send what has not been sent on this connection yet."""
        while self.session and self.sent < min(len(self.waiting), WINDOW):
            n = self.waiting[self.sent]
            before = ("e", self.waiting[self.sent - 1]) if self.sent else self.confirmations.last
            frame = Frame("5", (float(n), 20.5, 21.25, n / 7, 4.0), Stamp(time.time(), "b", 1.0))
            identity = Identity(self.name, "e", n, before, self.confirmations.last)
            self.session.publish(log_message(self.topic, frame, identity), qos=1)
            self.sent += 1

    def serve(self, now: float) -> None:
        """Take what has come; go back where the relay asks for it, or says nothing."""
        if session := self.session:
            session.wait()
            while session.received:
                self.confirmations.take(bytes(session.received.popleft().payload))
        confirmed = self.confirmations.count([("e", n) for n in list(self.waiting)[: self.sent]])
        for _ in range(confirmed):
            self.waiting.popleft()
        self.sent -= confirmed
        if confirmed or not self.sent:
            self.progress_at = now
        if self.confirmations.again or now > self.progress_at + RETRY:
            self.confirmations.again, self.sent, self.progress_at = False, 0, now

    def lose(self, now: float) -> None:
        if self.session:
            self.session.close()
        self.session, self.connect_at = None, now + 0.5


class Driver:
    """Some of the simulated gateways, in one thread."""

    def __init__(self, port: int, names: list[str]) -> None:
        broker = Broker(host="127.0.0.1", port=port, keepalive=60, timeout=10.0)
        self.fleet = [Simulated(broker, name) for name in names]
        for gateway in self.fleet:
            gateway.connect(time.monotonic())

    def run(self, rate: float, seconds: float) -> dict[str, int]:
        """Give each of them `rate` frames a second for so long; return how many of each are confirmed."""
        begin = polled = time.monotonic()
        given, now = 0, begin
        while now < begin + seconds or (any(each.waiting for each in self.fleet) and now < begin + _LONGEST):
            now = time.monotonic()
            while given < int(min(now - begin, seconds) * rate * len(self.fleet)):
                self.fleet[given % len(self.fleet)].give()
                given += 1
            connected = self._publish(now)
            poll = select.poll()
            for descriptor in connected:
                poll.register(descriptor, select.POLLIN)
            ready = [connected[descriptor] for descriptor, _ in poll.poll(20)]
            if now > polled + 5.0:
                ready, polled = list(connected.values()), now
            for gateway in ready:
                try:
                    gateway.serve(now)
                except OSError:
                    gateway.lose(now)
        for gateway in self.fleet:
            gateway.lose(now)
        return {each.name: each.next_n - 1 - len(each.waiting) for each in self.fleet}

    def _publish(self, now: float) -> dict[int, Simulated]:
        """Have each publish what it has; return those that are connected, by their descriptors."""
        connected = {}
        for gateway in self.fleet:
            try:
                if gateway.session is None and now >= gateway.connect_at:
                    gateway.connect(now)
                if gateway.session is not None:
                    gateway.publish()
                    connected[gateway.session.fileno()] = gateway
            except OSError:
                gateway.lose(now)
        return connected


def drive(port: int, names: list[str], rate: float, seconds: float, result: multiprocessing.Queue) -> None:
    """Run a driver in a process of its own."""
    result.put(Driver(port, names).run(rate, seconds))


def processes(directory: Path, port: int, plugins: Path, count: int) -> list[tuple[GatewayProcess, Path]]:
    """Start gateways of their own, each with frames of its own."""
    running = []
    for number in range(count):
        own = directory / f"gateway{number}"
        own.mkdir()
        file = own / "oemgateway.conf"
        file.write_text(
            f"{state(own)}[listeners]\n[[numbers]]\ntype = numbered\ndirectory = {own}\n"
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


def run(directory: Path, options: argparse.Namespace) -> int:
    plugins = directory / "plugins"
    numbered_listener.install(plugins)
    recording_dispatcher.install(plugins)
    names = [f"s{number}" for number in range(options.gateways - options.processes)]
    of_processes = options.processes * 5 / numbered_listener.PERIOD
    rate = max(0.1, (options.rate - of_processes) / len(names))
    with Mosquitto(directory, options=UNLIMITED, verbose=bool(os.environ.get("DEBUG"))) as broker:
        relay = relay_of(directory, broker.port, plugins)
        relay.start()
        running = processes(directory, broker.port, plugins, options.processes)
        result: multiprocessing.Queue = multiprocessing.Queue()
        drivers = [
            multiprocessing.Process(
                target=drive, args=(broker.port, names[at::DRIVERS], rate, options.seconds, result)
            )
            for at in range(DRIVERS)
        ]
        begin = time.monotonic()
        for driver in drivers:
            driver.start()
        cpu, memory, broker_cpu = 0.0, 0.0, 0.0
        pauses = options.seconds / (options.kills + 1)
        for kill in range(options.kills):
            wait_until(relay.is_ready, 300, "the relay")
            time.sleep(pauses)
            arrived = len(recording_dispatcher.read(directory / "recorded"))
            report(f"{time.monotonic() - begin:.0f} s: {arrived} frames arrived")
            seconds, megabytes = used(relay.process.pid)
            cpu, memory = cpu + seconds, max(memory, megabytes)
            relay.kill()
            if kill in (1, 3):
                broker_cpu += used(broker.pid)[0]
                broker.kill()
                broker.start()
            relay.launch()
        sent: dict[str, int] = {}
        for _ in drivers:
            sent |= result.get(timeout=options.seconds + 900)
        took = time.monotonic() - begin
        for _, own in running:
            (own / "enough").touch()
        expected = {name: [*range(1, count + 1)] for name, count in sent.items()}
        for number, (process, own) in enumerate(running):
            wait_until((own / "ended").exists, 120)
            wait_until(lambda p=process: not p.status()["dispatchers"]["out"]["queue"]["waiting"], 300)
            expected[f"p{number}"] = numbered_listener.read(own / "kept")
            process.kill()
        total = sum(map(len, expected.values()))
        wait_until(lambda: len(recording_dispatcher.read(directory / "recorded")) >= total, 300)
        seconds, megabytes = used(relay.process.pid)
        cpu, memory = cpu + seconds, max(memory, megabytes)
        broker_cpu += used(broker.pid)[0]
        relay.stop()
    faults = check(recording_dispatcher.read(directory / "recorded"), expected)
    print(f"{len(expected)} gateways, {options.processes} of them processes; {total} frames")
    print(
        f"{options.rate:.0f} frames/s for {options.seconds:.0f} s, all on the relay's disk after {took:.0f} s"
    )
    print(f"relay: killed {options.kills} times, {1000 * cpu / total:.3f} ms of CPU a frame, {memory:.0f} MB")
    print(f"broker: killed twice, {1000 * broker_cpu / total:.3f} ms of CPU a frame")
    print(", ".join(f"{count} {what}" for what, count in faults.items()))
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())
