"""Listener `lograte` against the real logrotate, in both of its ways, under load and kills."""

from __future__ import annotations

import gzip
import logging
import os
import random
import subprocess
import threading
import time

import pytest

from gateway.flag import Flag
from gateway.settings import build
from listeners.lograte.listener import Lograte
from tests.gateway_process import GatewayProcess, state
from tests.peers import need
from tests.simulators.influxdb import FakeInflux
from tests.waiting import wait_until

log = logging.getLogger(__name__)

ROTATIONS = int(os.environ.get("ROTATIONS", "12"))
KILLS = int(os.environ.get("KILLS", "6"))
PER_SECOND = 1000


class Writer(threading.Thread):
    """A program that logs numbered lines; it opens its file anew some time after it was asked to."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.count = 0
        self.stop = threading.Event()
        self.reopen_at = None

    def run(self):
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        began = time.monotonic()
        while not self.stop.is_set():
            for _ in range(int((time.monotonic() - began) * PER_SECOND) - self.count):
                os.write(file, f"{time.time():.3f} mail program[4711]: line {self.count:07}\n".encode())
                self.count += 1
            if self.reopen_at and time.monotonic() > self.reopen_at:
                os.close(file)
                file, self.reopen_at = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), None
            time.sleep(0.002)
        os.close(file)


def lines_in(directory):
    found = []
    for path in directory.glob("mail.log*"):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found += [line[-7:] for line in data.decode().splitlines()]
    return found


# Without delaycompress, logrotate loses what a program writes before it opens its new file.
@pytest.mark.parametrize(
    ("way", "compress"),
    [
        ("create", "nocompress"),
        ("create", "compress\ndelaycompress"),
        ("copytruncate", "nocompress"),
        ("copytruncate", "compress"),
    ],
    ids=["create", "create-compress", "copytruncate", "copytruncate-compress"],
)
def test_each_line_is_counted_once(tmp_path, way, compress):
    # given a program that writes, a log that is rotated, and the listener
    logrotate = need("logrotate", "logrotate")
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o755)
    conf = tmp_path / "logrotate.conf"
    conf.write_text(f"{logs}/mail.log {{\nrotate 500\n{way}\n{compress}\nmissingok\n}}\n")
    conf.chmod(0o644)
    writer = Writer(logs / "mail.log")
    (logs / "mail.log").touch()
    settings = {"node": "mail", "interval": "1", "pattern1": "line [0-9]{7}$"}
    listener = build(Lograte, {**settings, "file": str(logs / "mail.log")})
    listener.name, listener.state = "mail", tmp_path
    listener.open()
    stop = Flag()
    total = [f.values[1] for f in listener.read(stop)][-1]
    draw = random.Random(1)
    rotated = threading.Event()

    def rotate():
        for _ in range(ROTATIONS):
            subprocess.run([logrotate, "-f", "-s", tmp_path / "state", conf], check=True)
            if way == "create":
                writer.reopen_at = time.monotonic() + draw.uniform(0, 0.1)
            time.sleep(draw.uniform(0, 0.5))
            while writer.reopen_at:
                time.sleep(0.01)
        rotated.set()

    # when
    writer.start()
    threading.Thread(target=rotate, daemon=True).start()
    restart = time.monotonic() + 5
    while not rotated.is_set():
        total = [f.values[1] for f in listener.read(stop)][-1]
        if time.monotonic() > restart:
            restart = time.monotonic() + 5
            listener.close()
            listener.open()
    writer.stop.set()
    writer.join()
    for _ in range(2):
        total = [f.values[1] for f in listener.read(stop)][-1]
    listener.close()
    # then
    kept = lines_in(logs)
    assert len(kept) == len(set(kept))
    lost = writer.count - len(kept)
    log.info("%s: %d lines written, %d lost by logrotate, %d counted", way, writer.count, lost, total)
    if way == "create":
        assert (lost, total) == (0, writer.count)
    # What was read before it was lost is counted too.
    assert len(kept) <= total <= writer.count


def test_after_kills_at_any_moment_each_line_is_counted_once(tmp_path):
    # given a program that writes, and a gateway that counts its lines
    logs = tmp_path / "logs"
    logs.mkdir()
    writer = Writer(logs / "mail.log")
    (logs / "mail.log").touch()
    file = tmp_path / "oemgateway.conf"
    file.touch(0o600)
    with FakeInflux(1) as server:
        file.write_text(
            f"{state(tmp_path)}[listeners]\n[[mail]]\ntype = lograte\nfile = {logs / 'mail.log'}\n"
            "node = mail\ninterval = 1\npattern1 = 'line [0-9]{7}$'\n"
            f"[dispatchers]\n[[influx]]\ntype = influxdb\nurl = {server.url}\ndatabase = home\ninterval = 0\n"
        )
        gateway = GatewayProcess(file)
        gateway.start()
        gateway.kill()
        writer.start()
        # when it is killed again and again, and the file is rotated now and then
        for number in range(KILLS):
            gateway.launch()
            time.sleep(random.uniform(0, 2))
            gateway.kill()
            if number % 3 == 0:
                (logs / "mail.log").rename(logs / f"mail.log.{KILLS - number}")
                writer.reopen_at = time.monotonic() + 0.05
        writer.stop.set()
        writer.join()
        # then its total is the number of lines
        with gateway:
            wait_until(lambda: writer.count in totals(server))
            assert gateway.stop() == 0
        assert max(totals(server)) == writer.count


def totals(server):
    return [value for (series, _), value in server.points.items() if "index=2" in series]
