"""Who has a port or a file: real processes, and what /proc shows of those of others."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.conf.config import read
from gateway.daemon import Daemon
from gateway.diagnosis.finding import Verdict
from gateway.diagnosis.machine import Machine
from gateway.diagnosis.tcp_port import examine_port
from gateway.flag import Flag
from gateway.process import holders
from gateway.process.holders import Holder, of_file, of_port, of_process
from gateway.process.port import refused
from gateway.spool import Limits, Spool, SpoolUnusable
from gateway.spool.opening import open_queue
from listeners.ports import i2c
from listeners.ports.serial_port import SerialPort
from tests.gateway_process import ENVIRONMENT, state
from tests.ports import free_port, need_address

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 0 {uid} 0 {inode} 1\n"


@contextmanager
def program(code):
    """Run Python code that says when it is ready, and waits to be ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}\nprint('ready', flush=True)\ninput()"],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.communicate("\n", timeout=30)


def listening(host, port):
    family = "AF_INET6" if ":" in host else "AF_INET"
    return f"import socket; s = socket.create_server(({host!r}, {port}), family=socket.{family})"


@pytest.mark.parametrize(
    ("theirs", "ours", "collide"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("::1", "::1", True),
    ],
)
def test_the_process_that_listens_at_a_port_is_found(theirs, ours, collide):
    need_address(theirs)
    port = free_port()
    with program(listening(theirs, port)) as other:
        found = of_port(ours, port)
        assert (found and found.pid) == (other.pid if collide else None)
        assert not collide or found.program.startswith("python")
    assert of_port(ours, port) is None


def test_the_process_that_has_a_file_open_is_found(tmp_path):
    file, link = tmp_path / "ttyUSB0", tmp_path / "radio"
    link.symlink_to(file)
    file.touch()
    with program(f"file = open({str(file)!r})") as other:
        assert of_file(link).pid == other.pid
    with file.open():
        assert of_file(file) is None  # this process itself


def test_a_command_that_has_the_queue_is_waited_for_and_not_ended(path):
    # given `oemgateway queue import -`, which waits for what it is given, and has the queue then
    Spool(path).close()
    words = ["oemgateway", "queue", "import", "-"]
    code = f"from pathlib import Path; from gateway.spool import Spool; Spool(Path({str(path)!r})); "
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}print(1, flush=True); input()", *words],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.read(1)
        said = (
            rf"in use: a command is running, oemgateway queue \(pid {process.pid}\): wait until it has ended"
        )
        with pytest.raises(SpoolUnusable, match=said):
            Spool(path)
        stop = Flag()
        with ThreadPoolExecutor() as pool:
            # when a gateway starts: it opens the queue once that has ended
            opened = pool.submit(open_queue, path, Limits(), 5.0, stop)
            assert not wait([opened], 1.5).done
            process.communicate(b"\n", timeout=30)
            opened.result(30).close()


def test_a_gateway_that_is_stopped_as_a_command_has_the_queue_has_not_failed(path, tmp_path, written):
    # given a command, perhaps of another user, that has the queue, and a gateway that waits for it
    listener = f"[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n"
    file = written(f"{state(tmp_path)}{listener}[dispatchers]\n[[log]]\ntype = log\n")
    gateway = Daemon(read(file))
    with closing(Spool(path)), ThreadPoolExecutor() as pool:
        running = pool.submit(gateway.run)
        assert not wait([running], 0.5).done
        # when it is stopped
        gateway.stop.set()
        # then that is no failure
        assert running.result(30) is None


def test_a_serial_port_names_the_program_that_has_it(wire):
    with program(f"import serial; port = serial.Serial({wire.port!r}, exclusive=True)") as other:
        said = rf"only one program can read a serial port, and \S+ \(pid {other.pid}\) has it open: sudo "
        with pytest.raises(OSError, match=said):
            SerialPort(wire.port, 38400)
    SerialPort(wire.port, 38400).close()


def test_a_serial_port_that_another_program_keeps_others_from_is_said_so(wire):
    # as screen and ModemManager do: root alone can open it then
    keeps = f"import fcntl, os, termios; fcntl.ioctl(os.open({wire.port!r}, os.O_RDWR), termios.TIOCEXCL)"
    user = os.geteuid()
    Path(wire.port).chmod(0o666)
    with program(keeps):
        os.seteuid(user or 65534)
        try:
            with pytest.raises(OSError, match=r"only one program can read a serial port, and .* has it open"):
                SerialPort(wire.port, 38400)
        finally:
            os.seteuid(user)


def test_a_serial_port_that_another_section_has_by_another_name_is_said_so(wire, tmp_path):
    by_id = tmp_path / "usb-FTDI"
    by_id.symlink_to(wire.port)
    port = SerialPort(str(by_id), 38400)
    with pytest.raises(OSError, match="another section of this gateway reads it"):
        SerialPort(wire.port, 38400)
    port.close()


def test_a_chip_names_the_program_that_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(i2c, "LOCKS", tmp_path)
    code = f"from pathlib import Path; from listeners.ports import i2c; i2c.LOCKS = Path({str(tmp_path)!r})"
    with program(f"{code}; lock = i2c.Lock('9', 0x18)") as other:
        said = rf"I2C bus 9, address 0x18: \S+ \(pid {other.pid}\) reads this chip: sudo "
        with pytest.raises(OSError, match=said):
            i2c.Lock("9", 0x18)
    i2c.Lock("9", 0x18).release()


def test_the_kernels_driver_of_a_chip_is_named(monkeypatch):
    monkeypatch.setattr(Path, "is_symlink", lambda path: str(path) == "/sys/bus/i2c/devices/1-0018/driver")
    monkeypatch.setattr(Path, "readlink", lambda _: Path("../../../bus/i2c/drivers/ds2482"))
    said = str(i2c.explained(OSError(errno.EBUSY, "busy"), "1", 0x18))
    assert "the kernel's driver ds2482 holds the chip" in said
    assert said.endswith("echo 1-0018 | sudo tee /sys/bus/i2c/devices/1-0018/driver/unbind")


def proc(tmp_path, uid=33, state="0A"):
    """Return a /proc in which a user's program listens at 127.0.0.1:8088, and descriptors cannot be seen."""
    (tmp_path / "net").mkdir()
    line = LINE.format(address="0100007F", port=8088, state=state, uid=uid, inode=4711)
    (tmp_path / "net/tcp").write_text(HEADER + line)
    (tmp_path / "812/fd").mkdir(parents=True)
    (tmp_path / "812/comm").write_text("lighttpd\n")
    (tmp_path / "812/cgroup").write_text("0::/system.slice/lighttpd.service\n")
    return tmp_path


def test_of_another_users_program_the_user_is_known(tmp_path):
    found = of_port("127.0.0.1", 8088, proc(tmp_path))
    assert found == Holder(user=holders.user_name(33))
    assert str(found) == f"a program of {holders.user_name(33)} (`sudo oemgateway doctor` says which)"
    assert found.cure == "stop that program"


def test_a_descriptor_that_is_closed_meanwhile_hides_no_other(tmp_path):
    # given a descriptor below that of the file, which is the one that lists this process's
    with Path(os.devnull).open() as below, (tmp_path / "port").open("w"):
        below.close()
        # then
        assert holders.is_ours(tmp_path / "port")
    # and another program's that leads nowhere
    folder = proc(tmp_path)
    (folder / "812/fd/7").symlink_to("socket:[4711]")
    (folder / "812/fd/3").mkdir()
    found = of_port("127.0.0.1", 8088, folder)
    assert str(found) == "lighttpd (pid 812)"


def test_a_port_that_is_only_connected_holds_nobody_off(tmp_path):
    assert of_port("127.0.0.1", 8088, proc(tmp_path, state="01")) is None


def test_a_service_is_stopped_by_its_name_and_another_program_by_its_number(tmp_path):
    folder = proc(tmp_path)
    (folder / "812/fd/7").symlink_to("socket:[4711]")
    found = of_port("127.0.0.1", 8088, folder)
    assert (str(found), found.cure) == ("lighttpd (pid 812)", "sudo systemctl stop lighttpd")
    (folder / "812/cgroup").write_text("0::/user.slice/user-1000.slice/session-3.scope\n")
    assert of_process(812, folder).cure == "sudo kill 812"


def test_the_service_is_stopped_as_one_where_there_is_no_systemd():
    assert Holder(812, "oemgateway", "oemgateway").cure == "sudo service oemgateway stop"
    assert Holder(812, "oemgateway", "oemgateway").restart == "sudo service oemgateway restart"
    assert Holder(812, "oemgateway", "pi").restart == "sudo kill 812, and start it again"
    assert Holder(812, service="gateway-2").restart == "sudo systemctl restart gateway-2"


def test_a_process_that_has_gone_and_one_that_is_not_seen(tmp_path):
    assert str(of_process(9, tmp_path)) == "a process (pid 9)"
    assert str(Holder()) == "another program"


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("10.255.255.1", 0, "10.255.255.1:0: this machine has no such address: set host to one that "),
        ("127.0.0.1", 80, "127.0.0.1:80: only root may listen at a port below 1024: set a higher one"),
    ],
)
def test_an_address_and_a_port_that_cannot_be_had(host, port, words):
    number = 99 if port == 0 else 13  # EADDRNOTAVAIL, EACCES
    assert str(refused(host, port, OSError(number, os.strerror(number)))).startswith(words)


@pytest.mark.parametrize(("first", "uid", "is_bad"), [(1024, 33, True), (1024, 0, False), (0, 33, False)])
def test_the_doctor_knows_which_ports_are_roots_alone(monkeypatch, first, uid, is_bad):
    monkeypatch.setattr(Machine, "text", lambda _, path: f"{first}\n" if "unprivileged" in path else "")
    monkeypatch.setattr("gateway.diagnosis.tcp_port.of_port", lambda *_: None)
    machine = replace(Machine.below(Path("/")), user="oemgateway", uid=uid)
    (finding,) = examine_port(machine, "127.0.0.1", 80)
    said = "FAULT : oemgateway may not listen at port 80: set a port of 1024 or higher"
    assert str(finding) == (said if is_bad else "ok    : port 80 is free")


def test_a_low_port_that_the_running_gateway_has_is_no_fault(monkeypatch):
    monkeypatch.setattr(Machine, "text", lambda *_: "1024\n")
    monkeypatch.setattr("gateway.diagnosis.tcp_port.of_port", lambda *_: Holder(pid=812))
    machine = replace(Machine.below(Path("/")), user="oemgateway", uid=33, gateway=812)
    assert list(examine_port(machine, "127.0.0.1", 80)) == []


def looked(port, gateway=0, *, live=True):
    machine = replace(Machine.below(Path("/")), gateway=gateway, live=live)
    return [
        (finding.verdict, finding.found, finding.cure) for finding in examine_port(machine, "127.0.0.1", port)
    ]


def test_the_doctor_names_who_has_a_port():
    port = free_port()
    assert looked(port) == [(Verdict.GOOD, f"port {port} is free", "")]
    with program(listening("127.0.0.1", port)) as other:
        name = of_process(other.pid).program
        cure = f"{of_process(other.pid).cure}, or set another port"
        assert looked(port) == [(Verdict.BAD, f"port {port} is in use by {name} (pid {other.pid})", cure)]
        assert looked(port, gateway=other.pid) == []
        assert looked(port, live=False) == looked(0) == []
