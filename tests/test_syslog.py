"""[gateway] syslog against a real rsyslog, and servers that are dead in each way."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import time

import pytest

from gateway.process import syslog
from gateway.process.syslog import log_to_syslog
from tests.gateway_process import GatewayProcess, state
from tests.peers import need
from tests.ports import free_port
from tests.simulators.peer import silence
from tests.waiting import wait_until

CONF = """
module(load="imudp")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{dir}/log" CreatePath="on")
input(type="imudp" port="{udp}" address="127.0.0.1")
input(type="imtcp" port="{tcp}" address="127.0.0.1")
template(name="plain" type="string"
 string="%syslogfacility-text%|%syslogseverity-text%|%programname%|%procid%|%msg%\\n")
action(type="omfile" file="{dir}/out" template="plain")
"""
CELLAR = logging.getLogger("oemgateway.cellar")


class Rsyslog:
    """rsyslogd on loopback, and what it has written, as (facility, severity, program, pid, message)."""

    def __init__(self, directory):
        self.directory = directory
        self.udp, self.tcp = free_port(), free_port()
        self.conf = directory / "rsyslog.conf"
        self.conf.write_text(CONF.format(dir=directory, udp=self.udp, tcp=self.tcp))
        self.program = need("rsyslogd", "rsyslog")

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "-n", "-f", self.conf, "-i", self.directory / "pid"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self.answers)

    def answers(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.tcp)) == 0 and (self.directory / "log").exists()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def lines(self):
        out = self.directory / "out"
        text = out.read_text() if out.exists() else ""
        return [line.split("|", 4) for line in text.splitlines() if "oemgateway" in line]


@pytest.fixture
def rsyslog(tmp_path):
    rsyslog = Rsyslog(tmp_path)
    rsyslog.start()
    yield rsyslog
    rsyslog.process.kill()
    rsyslog.process.wait(10)


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch):
    log = logging.getLogger("oemgateway")
    monkeypatch.setattr(logging, "raiseExceptions", False)
    level = log.level
    log.setLevel(logging.INFO)
    yield
    log_to_syslog(())
    log.setLevel(level)


def place(rsyslog, way, monkeypatch):
    monkeypatch.setattr(syslog, "_LOCAL", str(rsyslog.directory / "log"))
    return {
        "local": "local",
        "udp": f"127.0.0.1:{rsyslog.udp}",
        "tcp": f"tcp:127.0.0.1:{rsyslog.tcp}",
    }[way]


@pytest.mark.parametrize("way", ["local", "udp", "tcp"])
def test_each_record_is_one_message_with_facility_severity_and_program(rsyslog, way, monkeypatch):
    log_to_syslog((place(rsyslog, way, monkeypatch), "local3"))
    CELLAR.info("sensor2: reads again, 18.75 °C")
    CELLAR.warning("no answer")
    CELLAR.error("it says: %s", "two\nlines")
    try:
        int("a fault")
    except ValueError:
        CELLAR.exception("a fault in the program")
    wait_until(lambda: len(rsyslog.lines()) == 4)
    pid = str(os.getpid())
    lines = rsyslog.lines()
    assert [line[:4] for line in lines] == [
        ["local3", severity, "oemgateway", pid] for severity in ("info", "warning", "err", "err")
    ]
    assert [line[4].strip() for line in lines[:3]] == [
        "cellar: sensor2: reads again, 18.75 °C",
        "cellar: no answer",
        r"cellar: it says: two\nlines",
    ]
    assert "Traceback" in lines[3][4]
    assert "ValueError: invalid literal" in lines[3][4]


def test_a_server_that_comes_back_gets_the_lines_that_waited(rsyslog, monkeypatch):
    monkeypatch.setattr(syslog._Stream, "again", 0.1)
    log_to_syslog((place(rsyslog, "tcp", monkeypatch),))
    CELLAR.info("before")
    wait_until(lambda: len(rsyslog.lines()) == 1)
    rsyslog.stop()
    began = time.monotonic()
    for number in range(5):
        CELLAR.info("while it is away %d", number)
    assert time.monotonic() - began < 1
    rsyslog.start()
    CELLAR.info("after")
    wait_until(lambda: len(rsyslog.lines()) == 7)
    assert [line[4].strip() for line in rsyslog.lines()][-2:] == [
        "cellar: while it is away 4",
        "cellar: after",
    ]


def test_what_is_dropped_is_counted(rsyslog, monkeypatch):
    monkeypatch.setattr(syslog._Stream, "again", 0.1)
    rsyslog.stop()
    log_to_syslog((place(rsyslog, "tcp", monkeypatch),))
    for number in range(syslog._BACKLOG + 21):
        CELLAR.info("line %d", number)
    rsyslog.start()
    words = "lines of the log were dropped, as this syslog could not be reached"
    wait_until(lambda: any(words in line[4] for line in rsyslog.lines()))
    (count,) = (int(line[4].split()[1]) for line in rsyslog.lines() if words in line[4])
    wait_until(lambda: len(rsyslog.lines()) == syslog._BACKLOG + 21 - count + 1)
    assert 19 <= count <= 21


@pytest.mark.parametrize("death", ["full", "silent"])
def test_a_dead_server_never_blocks_who_logs(death, full_port, peer):
    # given a server that takes nothing: its backlog is full, or it reads nothing, as one that is stopped
    log_to_syslog((f"tcp:127.0.0.1:{full_port if death == 'full' else peer(silence).port}",))
    handlers = logging.getLogger("oemgateway").handlers
    (handler,) = (each for each in handlers if isinstance(each, syslog._Syslog))
    for _ in range(5000):  # far more than the buffers of a connection hold
        CELLAR.info("x" * 4000)
    # Lines that waited for it would be there, and would take longer than a test may.
    assert handler.dropped > 0


def test_a_connection_that_takes_nothing_more_is_left_for_a_new_one(peer, monkeypatch):
    monkeypatch.setattr(syslog, "_PATIENCE", 0.2)
    monkeypatch.setattr(syslog._Stream, "again", 0.1)

    def reads_nothing_at_first(server, connection):
        server.seen.append(b"")
        if len(server.seen) == 1:
            server.over.wait()
        while data := connection.recv(65536):
            server.seen.append(data)

    server = peer(reads_nothing_at_first)
    log_to_syslog((f"tcp:127.0.0.1:{server.port}",))

    def some_arrive():
        for _ in range(500):  # far more, in all, than the buffers of a connection hold
            CELLAR.info("x" * 4000)
        return len(server.seen) > 2

    wait_until(some_arrive)
    assert b"cellar: xxx" in b"".join(server.seen)


def test_the_key_is_never_in_it(rsyslog, monkeypatch, tmp_path, written):
    key = "0123456789abcdef0123456789abcdef"
    file = written(
        f"{state(tmp_path)}syslog = tcp:127.0.0.1:{rsyslog.tcp}\nsimulate = yes\n[listeners]\n[[a]]\n"
        "type = ds2482\nbus = simulated\nnode = 9\ninterval = 1\nsensor1 = 28.33F749050000\n"
        f"[dispatchers]\n[[b]]\ntype = emoncms\nurl = http://127.0.0.1:1\napikey = {key}\ninterval = 0\n"
    )
    with GatewayProcess(file) as gateway:
        wait_until(lambda: any("not reached" in line[4] for line in rsyslog.lines()))
        assert gateway.stop() == 0
    assert key not in (tmp_path / "out").read_text()


def test_a_server_that_is_stopped_by_a_signal_and_goes_on(rsyslog, monkeypatch):
    log_to_syslog((place(rsyslog, "tcp", monkeypatch),))
    CELLAR.info("first")
    wait_until(lambda: len(rsyslog.lines()) == 1)
    rsyslog.process.send_signal(signal.SIGSTOP)
    for number in range(100):
        CELLAR.info("line %d", number)
    rsyslog.process.send_signal(signal.SIGCONT)
    wait_until(lambda: len(rsyslog.lines()) == 101)
