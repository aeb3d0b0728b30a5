"""Listener `lograte` against the real logrotate, in both of its ways, under load and kills."""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import os
import random
import subprocess
import sys
import threading
import time

import pytest

from gateway.flag import Flag
from gateway.settings import build
from listeners.lograte import follower
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
    for path in directory.rglob("mail.log*"):
        unpack = {".gz": gzip, ".xz": lzma, ".bz2": bz2}.get(path.suffix)
        data = unpack.decompress(path.read_bytes()) if unpack else path.read_bytes()
        found += [line[-7:] for line in data.decode().splitlines()]
    return found


XZ = "compress\ncompresscmd /usr/bin/xz\ncompressext .xz"
BZIP2 = "compress\ncompresscmd /usr/bin/bzip2\ncompressext .bz2"
ZSTD = "compress\ncompresscmd /usr/bin/zstd\ncompressoptions --rm -q\ncompressext .zst"
DATED = "dateext\ndateformat -%Y%m%d-%s"


# Without delaycompress, logrotate loses what a program writes before it opens its new file.
@pytest.mark.parametrize(
    ("way", "more"),
    [
        ("create", "nocompress"),
        ("create", "compress\ndelaycompress"),
        ("create", f"{DATED}\nolddir old\n{BZIP2}\ndelaycompress"),
        ("copytruncate", "nocompress"),
        ("copytruncate", "compress"),
        ("copytruncate", f"{DATED}\nolddir old\n{XZ}"),
    ],
    ids=[
        *("create", "create-compress", "create-dateext-olddir-bzip2"),
        *("copytruncate", "copytruncate-compress", "copytruncate-dateext-olddir-xz"),
    ],
)
def test_each_line_is_counted_once(tmp_path, way, more):
    # given a program that writes, a log that is rotated, and the listener
    logs = tmp_path / "logs"
    rotated_once = logrotate(tmp_path, way, more)
    writer = Writer(logs / "mail.log")
    (logs / "mail.log").touch()
    listener = listening(tmp_path, **({"olddir": str(logs / "old")} if "olddir" in more else {}))
    listener.open()
    stop = Flag()
    total = [f.values[1] for f in listener.read(stop)][-1]
    draw = random.Random(1)
    rotated = threading.Event()

    def rotate():
        for _ in range(ROTATIONS):
            rotated_once()
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


def test_what_this_python_cannot_read_is_counted_and_named_and_no_line_is_counted_twice(
    tmp_path, monkeypatch, caplog
):
    if sys.version_info >= (3, 14):
        pytest.skip("this Python reads zstd")
    # given copies that zstd compresses at once
    monkeypatch.setattr(follower, "LATE", 1.0)
    rotate = logrotate(tmp_path, "copytruncate", ZSTD)
    writer = Writer(tmp_path / "logs" / "mail.log")
    writer.path.touch()
    listener = listening(tmp_path)
    listener.open()
    stop = Flag()
    listener.read(stop)
    writer.start()
    # when
    listener.read(stop)
    time.sleep(0.3)
    rotate()
    until = time.monotonic() + 30
    while not listener.health().faults and time.monotonic() < until:
        total = listener.read(stop)[-1].values[1]
    writer.stop.set()
    writer.join()
    total = listener.read(stop)[-1].values[1]
    listener.close()
    # then
    lost = writer.count - total
    log.info("zstd: %d lines written, %d not counted", writer.count, lost)
    assert 0 < lost <= PER_SECOND
    assert listener.health().faults == {"rotated file not found": 1}
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.endswith("(mail.log.1.zst: this Python cannot read .zst)")


def logrotate(directory, way, more):
    """Return a function that rotates mail.log below a directory; its rotated files may go to `old`."""
    program = need("logrotate", "logrotate")
    for other, package in (("xz", "xz-utils"), ("bzip2", "bzip2"), ("zstd", "zstd")):
        if f"/{other}\n" in more:
            need(other, package)
    (directory / "logs").mkdir(mode=0o755)
    (directory / "logs" / "old").mkdir(mode=0o755)
    conf = directory / "logrotate.conf"
    conf.write_text(f"{directory}/logs/mail.log {{\nrotate 500\n{way}\n{more}\nmissingok\n}}\n")
    conf.chmod(0o644)
    # Two rotations in one second have the same name by date, and the second is left out.
    check = "dateext" not in more
    return lambda: subprocess.run([program, "-f", "-s", directory / "state", conf], check=check)


def listening(directory, **entries):
    settings = {"node": "mail", "interval": "1", "pattern1": "line [0-9]{7}$", **entries}
    listener = build(Lograte, {**settings, "file": str(directory / "logs" / "mail.log")})
    listener.name, listener.state = "mail", directory
    return listener


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
        gateway = GatewayProcess(file, traced=False)
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
        wait_until(lambda: writer.reopen_at is None)
        writer.stop.set()
        writer.join()
        # then its total is the number of lines
        with gateway:
            wait_until(lambda: max(totals(server), default=0) >= writer.count)
            assert gateway.stop() == 0
        assert max(totals(server)) == writer.count


def totals(server):
    return [value for (series, _), value in server.points.items() if "index=2" in series]
