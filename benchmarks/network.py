"""What the network probe, the log rates, counters, InfluxDB and syslog cost: a daemon with them, one without.

It prints a table, writes results/network.json and ends with status 1 where a target is missed.
"""

from __future__ import annotations

import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.durability import stopped
from benchmarks.filled import resident
from benchmarks.radio import receiver
from benchmarks.report import Row, conclude_rows
from tests.gateway_process import GatewayProcess, state
from tests.simulators.influxdb import FakeInflux

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

WARMED, MEASURED = 75.0, 180.0
"""Seconds until they are measured, and for which."""

CPU_S_PER_MIN, RSS_MB = 0.03, 6.0
"""What all of it may take more."""

LINES_PER_S = 10

BASE = """{state}{syslog}[listeners]
[[house]]
type = exec
command = sh -c 'while sleep 10; do echo 10 1 2 3; done'
{more}[dispatchers]
[[emoncms]]
type = emoncms
url = {emoncms}
apikey = 00000000000000000000000000000000
{where}"""

LISTENERS = """[[network]]
type = probe
node = network
ca_file = {cert}
target1 = icmp 127.0.0.1, router
target2 = tcp 127.0.0.1:{web}, nas
target3 = http://127.0.0.1:{web}/, page
target4 = https://localhost:{tls}/, ad-auth
target5 = dns auth.example.org @127.0.0.1:{dns} A, name
[[mail]]
type = lograte
node = mail
file = {log}
pattern1 = "postfix/smtp\\[[[:digit:]]+\\]: .* status=sent", sent
pattern2 = "postfix/smtp\\[[[:digit:]]+\\]: .* status=bounced", bounced
pattern3 = "NOQUEUE: reject", rejected
[[traffic]]
type = counter
node = lo
counter1 = /sys/class/net/lo/statistics/rx_bytes
counter2 = /sys/class/net/lo/statistics/tx_bytes
counter3 = /sys/class/net/lo/statistics/rx_dropped
"""

INFLUX = "[[influx]]\ntype = influxdb\nurl = {url}\ndatabase = home\n"

OPENSSL = [
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
    *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
]


def served(answer: Callable[[socket.socket], None], *, kind: int = socket.SOCK_STREAM) -> int:
    """Run a server on loopback until the program ends; return its port."""
    listening = socket.socket(socket.AF_INET, kind)
    listening.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        listening.listen(16)

    def serve() -> None:
        while True:
            with suppress(OSError):
                if kind == socket.SOCK_STREAM:
                    with listening.accept()[0] as connection:
                        answer(connection)
                else:
                    answer(listening)

    threading.Thread(target=serve, daemon=True).start()
    return int(listening.getsockname()[1])


def page(connection: socket.socket) -> None:
    if connection.recv(65536):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def secured(file: Path) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            page(tls)

    return answer


def resolver(sock: socket.socket) -> None:
    packet, sender = sock.recvfrom(4096)
    address = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1"
    sock.sendto(packet[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + packet[12:] + address, sender)


def mail(file: Path) -> None:
    """Write a log for ever."""
    with file.open("a", encoding="ascii") as log:
        for number in range(sys.maxsize):
            log.write(
                f"Nov  5 12:00:00 mail postfix/smtp[4711]: {number:X}: to=<a@b>, delay=0.1, status=sent\n"
            )
            log.flush()
            time.sleep(1 / LINES_PER_S)


def cpu_seconds(process: GatewayProcess) -> float:
    """Return what a daemon has computed, with the processes that it has ended, but for that of `exec`."""
    pid = process.process.pid
    own = time.clock_gettime((~pid << 3) | 2)  # the processor's clock of a process (clock_getcpuclockid)
    ended = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[13:15]
    return own + sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")


def daemons(folder: Path, emoncms: str, url: str) -> tuple[GatewayProcess, GatewayProcess]:
    """Return a daemon without and one with all of it, not yet started."""
    key, cert, log = (folder / name for name in ("key", "cert", "mail.log"))
    subprocess.run([*OPENSSL, "-days", "30", "-keyout", key, "-out", cert], check=True, capture_output=True)
    both = folder / "both"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    log.touch()
    threading.Thread(target=mail, args=(log,), daemon=True).start()
    places = {
        "web": served(page),
        "tls": served(secured(both)),
        "dns": served(resolver, kind=socket.SOCK_DGRAM),
    }
    syslog = f"syslog = 127.0.0.1:{served(lambda sock: bool(sock.recv(4096)), kind=socket.SOCK_DGRAM)}\n"
    more = LISTENERS.format(cert=cert, log=log, **places)
    made = []
    for name, parts in {
        "without": {"syslog": "", "more": "", "where": ""},
        "with": {"syslog": syslog, "more": more, "where": INFLUX.format(url=url)},
    }.items():
        (folder / name).mkdir()
        file = folder / name / "oemgateway.conf"
        file.touch(0o600)
        file.write_text(BASE.format(state=state(folder / name), emoncms=emoncms, **parts))
        made.append(GatewayProcess(file))
    return made[0], made[1]


def measured() -> Iterator[Row]:
    """Yield the figures."""
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        server = running.enter_context(FakeInflux(1))
        both = daemons(Path(folder), running.enter_context(receiver()).url, server.url)
        for gateway in both:
            running.enter_context(stopped(gateway)).start()
        yield from compared(*both)
        if not server.points or "WARNING" in both[1].log:
            raise AssertionError(both[1].log)
        running.close()


def compared(without: GatewayProcess, whole: GatewayProcess) -> Iterable[Row]:
    time.sleep(WARMED)
    before = cpu_seconds(without), cpu_seconds(whole)
    memory: list[tuple[int, int]] = []
    until = time.monotonic() + MEASURED
    while time.monotonic() < until:
        memory.append((resident(without.process.pid), resident(whole.process.pid)))
        time.sleep(1)
    after = cpu_seconds(without), cpu_seconds(whole)
    took = [(now - then) * 60 / MEASURED for then, now in zip(before, after, strict=True)]
    resided = [statistics.mean(each) / 1e6 for each in zip(*memory, strict=True)]
    method = (
        f"for {MEASURED:g} s, 5 targets, 3 patterns at {LINES_PER_S} lines/s, 3 counters, syslog, InfluxDB"
    )
    yield Row("CPU without", took[0], "s/min", "a daemon that posts a reading each 10 s", digits=3)
    yield Row("CPU of all of it", took[1] - took[0], "s/min", method, most=CPU_S_PER_MIN, digits=3)
    yield Row("memory of all of it", resided[1] - resided[0], "MB", "the daemon's RSS", most=RSS_MB)


def main() -> int:
    print("Network probe, log rates, counters, InfluxDB and syslog: what a daemon takes more with them.\n")
    return conclude_rows("network", measured())


if __name__ == "__main__":
    sys.exit(main())
