"""Listener `probe` against fping and the blackbox exporter, which measure the same targets."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from listeners.probe import icmp
from listeners.probe.network import Attempt, Kind, failed
from listeners.probe.targets import Targets
from listeners.probe.web import Way
from tests.gateway_process import run
from tests.peers import need
from tests.ports import free_port
from tests.simulators.peer import answering
from tests.waiting import wait_until

MODULES = """
modules:
  web:
    prober: http
    timeout: 5s
    http: {preferred_ip_protocol: ip4, follow_redirects: false, valid_status_codes: [200, 404, 503]}
  port:
    prober: tcp
    timeout: 5s
    tcp: {preferred_ip_protocol: ip4}
"""


def probe(text, *, count=3, seconds=5.0):
    try:
        return Targets.parse(text).probe(Attempt(seconds), Way(), count)
    except OSError as error:
        return failed(error)


@pytest.fixture
def blackbox(tmp_path):
    """Return a function that has the exporter probe a target, and returns its metrics."""
    program = need("prometheus-blackbox-exporter", "prometheus-blackbox-exporter")
    conf = tmp_path / "blackbox.yml"
    conf.write_text(MODULES)
    port = free_port()
    process = subprocess.Popen(
        [program, f"--config.file={conf}", f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def metrics(module, target):
        address = f"http://127.0.0.1:{port}/probe?module={module}&target={quote(target)}"
        with urlopen(address, timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    def answers():
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, what="the blackbox exporter")
    yield metrics
    process.kill()
    process.wait(10)


@pytest.fixture
def web(peer):
    """Return a function that starts a server which answers after a while; it returns its port."""

    def make(delay, status=200):
        answer = f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok".encode()
        return peer(answering(answer, delay)).port

    return make


@pytest.mark.parametrize(("delay", "status"), [(0.05, 200), (0.25, 503)])
def test_a_page_takes_as_long_as_the_exporter_says(blackbox, web, delay, status):
    url = f"http://127.0.0.1:{web(delay, status)}/"
    ours = [probe(url) for _ in range(5)]
    theirs = [blackbox("web", url) for _ in range(5)]
    assert {outcome.code for outcome in ours} == {status}
    assert {float(each["probe_http_status_code"]) for each in theirs} == {status}
    our_least = min(outcome.ms for outcome in ours)
    their_least = min(float(each["probe_duration_seconds"]) * 1000 for each in theirs)
    assert our_least >= delay * 1000
    assert abs(our_least - their_least) < 20


def test_what_is_up_and_what_is_not_is_the_same(blackbox, web):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refused = closed.getsockname()[1]
    for port, kind in ((web(0), Kind.ANSWERED), (refused, Kind.REFUSED)):
        metrics = blackbox("port", f"127.0.0.1:{port}")
        outcome = probe(f"tcp 127.0.0.1:{port}")
        assert outcome.kind is kind
        assert float(metrics["probe_success"]) == (kind is Kind.ANSWERED)


def fping(host, count):
    done = run(need("fping", "fping"), "-c", count, "-p", "50", "-t", "1000", "-q", host)
    found = re.search(
        r"xmt/rcv/%loss = \d+/\d+/(\d+)%(?:, min/avg/max = ([\d.]+)/([\d.]+)/([\d.]+))?", done.stderr
    )
    if not found:
        pytest.skip(f"fping cannot send here: {done.stderr.strip()}")
    return float(found[1]), float(found[3]) if found[3] else None


@pytest.mark.usefixtures("may_ping")
def test_a_host_replies_as_quickly_as_fping_says():
    loss, mean = fping("127.0.0.1", 20)
    ours = [probe("icmp 127.0.0.1") for _ in range(5)]
    assert {loss, *(outcome.loss for outcome in ours)} == {0}
    # The least, as this machine may be busy with other things.
    assert abs(min(outcome.ms for outcome in ours) - mean) < 2


class Link(threading.Thread):
    """A link to a host that replies after 20 ms, but for every fourth packet; it needs root."""

    HOST = "198.51.100.2"

    def __init__(self):
        super().__init__(daemon=True)
        self.device = os.open("/dev/net/tun", os.O_RDWR)
        # TUNSETIFF, with a device of the kind TUN without a header before each packet
        made = fcntl.ioctl(self.device, 0x400454CA, struct.pack("16sH", b"oemprobe%d", 0x1001))
        self.name = made[:16].rstrip(b"\0").decode()
        for command in (f"ip addr add 198.51.100.1/30 dev {self.name}", f"ip link set {self.name} up"):
            subprocess.run(command.split(), check=True)
        self.packets, self.every = 0, 4

    def run(self):
        with contextlib.suppress(OSError):
            while packet := os.read(self.device, 2048):
                if packet[0] >> 4 == 4 and packet[9] == socket.IPPROTO_ICMP and packet[20] == 8:
                    self.packets += 1
                    if self.packets % self.every:
                        threading.Timer(0.02, self.reply, (packet,)).start()

    def reply(self, packet):
        body = b"\0\0\0\0" + packet[24:]
        body = b"\0\0" + struct.pack("!H", icmp.checksum(body)) + packet[24:]
        with contextlib.suppress(OSError):
            os.write(self.device, packet[:12] + packet[16:20] + packet[12:16] + body)

    def close(self):
        subprocess.run(["ip", "link", "del", self.name], check=False)
        os.close(self.device)


@pytest.fixture
def link():
    need("ip", "iproute2")
    try:
        link = Link()
    except (OSError, StopIteration, subprocess.CalledProcessError) as error:
        pytest.skip(f"no link can be made here: {error}")
    link.start()
    yield link
    link.close()


@pytest.mark.needs_root
@pytest.mark.usefixtures("may_ping")
def test_a_link_that_loses_packets_loses_as_many_for_us_as_for_fping(link):
    loss, mean = fping(link.HOST, 40)
    outcome = probe(f"icmp {link.HOST}", count=20, seconds=6)
    assert (outcome.kind, outcome.loss, loss) == (Kind.ANSWERED, 25, 25)
    assert outcome.ms >= 20
    assert abs(outcome.ms - mean) < 20
    # and when none is answered
    link.every = 1
    outcome = probe(f"icmp {link.HOST}", count=2, seconds=1)
    assert (outcome.kind, outcome.ms, outcome.loss) == (Kind.SILENT, None, 100)
    assert fping(link.HOST, 2) == (100, None)


PING = """
import sys
from listeners.probe.network import Attempt
from listeners.probe.targets import Targets
from listeners.probe.web import Way
for host in ("127.0.0.1", "::1"):
    outcome = Targets.parse(f"icmp {host}").probe(Attempt(5), Way(), 2)
    print(outcome.kind, outcome.loss)
"""
AS_NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all"


def as_nobody(allowed):
    """Send echo requests as a user without any right, in a network where a range of groups may."""
    need("ip", "iproute2")
    need("setpriv", "util-linux")
    setup = "ip link set lo up && echo $0 > /proc/sys/net/ipv4/ping_group_range || exit 77"
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", f'{setup}; exec {AS_NOBODY} "$@"', allowed, sys.executable, "-c", PING],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
    )
    if done.returncode in (77, 126, 127) or "unshare" in done.stderr:
        pytest.skip(f"no network can be made here: {done.stderr.strip()}")
    return done


@pytest.mark.needs_root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_user_without_rights_may_send_echo_requests_where_the_kernel_allows_it():
    assert as_nobody("0 2147483647").stdout == "answered 0.0\nanswered 0.0\n"


@pytest.mark.needs_root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_and_is_told_that_it_may_not_where_it_does_not():
    done = as_nobody("1 0")
    assert done.returncode == 1
    assert "this user may send no echo requests: `oemgateway doctor` says what to do" in done.stderr
