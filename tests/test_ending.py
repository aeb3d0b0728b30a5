"""SIGTERM ends the daemon within two seconds, whatever hangs: the real one, in each thing it touches."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest

from gateway.clock import Clock
from gateway.flag import wait_readable
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from tests.gateway_process import ENVIRONMENT, GatewayProcess, state
from tests.ports import connect, free_port
from tests.preloaded import SOURCES, preloaded
from tests.simulators.i2c_server import i2c_server
from tests.simulators.owfs_peers import owfs_mount, owserver_process
from tests.waiting import wait_until

ID, LINUX = "28.33F749050000", "28-00000549f733"

OUT = "[dispatchers]\n[[out]]\ntype = log\n"

AT_MOST_S = 10.0
"""Two seconds are promised on a machine that has nothing else to do; this one runs other tests meanwhile."""


class Hang(NamedTuple):
    """What a configuration holds, beside the state, so that something hangs; and how to tell that it does."""

    sections: str
    hangs: Callable[[GatewayProcess], bool] = lambda gateway: True
    environment: Mapping[str, str] = MappingProxyType({})


NO_FILE = """
import os, pathlib, time
right = os.open
def hang(path, *arguments, **more):
    if os.fspath(path) == {file!r}:
        pathlib.Path({asked!r}).touch()
        time.sleep(3600)
    return right(path, *arguments, **more)
os.open = hang
"""
"""A file that does not come back, as one of the kernel's may; a pipe there is not waited for."""


def file_of_a_bus(tmp_path: Path, path: Path, section: str) -> Hang:
    """A file in the tree of a bus hangs."""
    asked = tmp_path / "asked"
    path.parent.mkdir(parents=True)
    path.touch()
    return Hang(
        f"[listeners]\n[[bus]]\n{section}\nnode = 9\ninterval = 1\nsensor1 = {ID}\n{OUT}",
        lambda gateway: asked.exists(),
        instead(tmp_path, NO_FILE.format(file=str(path), asked=str(asked))),
    )


def w1(tmp_path: Path, file: str) -> Hang:
    tree = tmp_path / "w1"
    return file_of_a_bus(tmp_path, tree / LINUX / file, f"type = w1\npath = {tree}")


def w1_file(tmp_path, stack):
    """A read of a sensor hangs, in one of the threads that read them."""
    return w1(tmp_path, "w1_slave")


def w1_set_up(tmp_path, stack):
    """The set-up of a sensor hangs."""
    return w1(tmp_path, "ext_power")


def tree_file(tmp_path, stack):
    """A file of OWFS hangs."""
    tree = tmp_path / "1wire"
    return file_of_a_bus(tmp_path, tree / ID / "temperature12", f"type = owfs\npath = {tree}")


def mounted_tree(tmp_path, stack):
    """A mounted OWFS hangs: its server stands still. The kernel waits for what owfs answers then."""
    bus = Ds2482(Clock(), [Ds18b20(ID, 21.5)])
    environment = stack.enter_context(i2c_server(bus))
    port = free_port()
    server = stack.enter_context(owserver_process(port, tmp_path, ["--i2c=/dev/i2c-99:0"], environment))
    mount = stack.enter_context(owfs_mount(port, tmp_path))

    def hangs(gateway: GatewayProcess) -> bool:
        tree = gateway.status()["listeners"]["tree"]
        if tree["frames"]:
            server.send_signal(signal.SIGSTOP)
            stack.callback(server.send_signal, signal.SIGCONT)
        return bool(tree["frames"]) and tree["age"] > 3

    return Hang(
        f"[listeners]\n[[tree]]\ntype = owfs\npath = {mount}\nnode = 9\ninterval = 1\nsensor1 = {ID}\n{OUT}",
        hangs,
    )


def silent(stack: ExitStack) -> tuple[int, Callable[[], bool]]:
    """Return the port of a server that takes a connection and says nothing, and whether it has one."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def has_client() -> bool:
        return bool(wait_readable([server], 0))

    return server.getsockname()[1], has_client


def silent_owserver(tmp_path, stack):
    """An owserver takes a connection and says nothing."""
    port, has_client = silent(stack)
    return Hang(
        f"[listeners]\n[[bus]]\ntype = owserver\nserver = 127.0.0.1:{port}\nnode = 9\n"
        f"interval = 1\nsensor1 = {ID}\n{OUT}",
        lambda gateway: has_client(),
    )


def emoncms(url: str, is_asked: Callable[[], bool]) -> Hang:
    port = free_port()
    pushed = []

    def hangs(gateway: GatewayProcess) -> bool:
        if not pushed:
            with connect(port) as client:
                pushed.append(client.sendall(b"15 1\n"))
        return is_asked()

    return Hang(
        f"[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
        f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {url}\napikey = {'0' * 32}\n",
        hangs,
    )


def silent_emoncms(tmp_path, stack):
    """An Emoncms takes a request and does not answer."""
    port, has_client = silent(stack)
    return emoncms(f"http://127.0.0.1:{port}", has_client)


def silent_handshake(tmp_path, stack):
    """An Emoncms takes a connection and does not speak TLS."""
    port, has_client = silent(stack)
    return emoncms(f"https://127.0.0.1:{port}", has_client)


def instead(tmp_path: Path, code: str) -> dict[str, str]:
    """Return an environment in which Python runs this at its start."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{folder}:{ENVIRONMENT['PYTHONPATH']}"}


NO_NAMES = """
import pathlib, socket, time
def getaddrinfo(*_, **__):
    pathlib.Path({asked!r}).touch()
    time.sleep(3600)
socket.getaddrinfo = getaddrinfo
"""


def name_server(tmp_path, stack):
    """A name server does not answer: of Emoncms, of an owserver and of a syslog."""
    asked = tmp_path / "asked"
    hang = emoncms("http://emoncms.example", asked.exists)
    bus = f"[[bus]]\ntype = owserver\nserver = bus.example:4304\nnode = 9\nsensor1 = {ID}\n"
    return hang._replace(
        sections=f"syslog = log.example\n{hang.sections.replace('[dispatchers]', f'{bus}[dispatchers]')}",
        environment=instead(tmp_path, NO_NAMES.format(asked=str(asked))),
    )


def child(tmp_path, stack):
    """A program ignores SIGTERM, and so does what it has started."""
    script = tmp_path / "deaf.sh"
    deaf = f"trap '' TERM; touch '{tmp_path}/up'; sleep 3600"
    script.write_text(f'#!/bin/sh\ntrap "" TERM INT HUP\nsh -c "{deaf}" &\nwhile :; do sleep 1; done\n')
    script.chmod(0o755)
    return Hang(
        f"[listeners]\n[[program]]\ntype = exec\ncommand = {script}\n{OUT}",
        lambda gateway: (tmp_path / "up").exists(),
    )


def fifo_for_a_port(tmp_path, stack):
    """The serial port is a FIFO."""
    os.mkfifo(tmp_path / "port")
    return Hang(f"[listeners]\n[[radio]]\ntype = rfm12pi\nport = {tmp_path / 'port'}\n{OUT}")


def deaf_port(tmp_path, stack):
    """The other side of a serial port takes nothing, and says nothing."""
    master, slave = os.openpty()
    stack.callback(os.close, master)
    stack.callback(os.close, slave)
    return Hang(f"[listeners]\n[[radio]]\ntype = rfm12pi\nport = {os.ttyname(slave)}\n{OUT}")


def disk(tmp_path, stack):
    """The disk does not come back from fdatasync, whoever asks, and the queue's lock is held meanwhile."""
    library = preloaded(SOURCES / "hanging_disk.c")
    hang, hung, port = tmp_path / "hang", tmp_path / "hung", free_port()

    def hangs(gateway: GatewayProcess) -> bool:
        if not hang.exists():
            hang.touch()
            with connect(port) as client:
                client.sendall(b"15 1\n")
        return hung.exists()

    return Hang(
        f"commit_interval = 0\n[listeners]\n[[push]]\ntype = tcp\nport = {port}\n{OUT}",
        hangs,
        {"LD_PRELOAD": str(library), "HANG": str(hang), "HUNG": str(hung)},
    )


def disk_in_the_main_thread(tmp_path, stack):
    """The same in the main thread, which writes now and then what waits in memory."""
    hang = disk(tmp_path, stack)
    return hang._replace(sections=hang.sections.replace("commit_interval = 0", "commit_interval = 1"))


SLOW_END = """
import sys, time
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(3600)
sys.slow = Slow()
"""


def end_of_python(tmp_path, stack):
    """Python itself takes long to end, as on a small and busy machine: no thread runs by then."""
    return Hang(
        f"[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n{OUT}",
        environment=instead(tmp_path, SLOW_END),
    )


HANGS = (
    w1_file,
    w1_set_up,
    tree_file,
    pytest.param(mounted_tree, marks=pytest.mark.needs_root),
    silent_owserver,
    silent_emoncms,
    silent_handshake,
    name_server,
    child,
    fifo_for_a_port,
    deaf_port,
    disk,
    disk_in_the_main_thread,
    end_of_python,
)


def ends(process: subprocess.Popen, record_property, at_most: float = AT_MOST_S) -> float:
    """Return how many seconds it takes to end after SIGTERM."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(at_most) == 0
    took = time.monotonic() - began
    record_property("seconds", round(took, 2))
    return took


@contextmanager
def hanging(tmp_path: Path, hang: Callable[[Path, ExitStack], Hang]) -> Iterator[GatewayProcess]:
    """Run a gateway, and yield it once it hangs."""
    with ExitStack() as stack:
        made = hang(tmp_path, stack)
        file = tmp_path / "oemgateway.conf"
        file.write_text(f"{state(tmp_path)}{made.sections}")
        gateway = stack.enter_context(GatewayProcess(file, traced=False, **made.environment))
        wait_until(lambda: made.hangs(gateway), what="the hang")
        yield gateway


@pytest.mark.parametrize("hang", HANGS)
def test_it_ends_though_something_hangs(tmp_path, hang, record_property):
    with hanging(tmp_path, hang) as gateway:
        ends(gateway.process, record_property, 60.0 if hang is mounted_tree else AT_MOST_S)


def test_it_ends_though_nobody_reads_its_log(tmp_path, written, record_property):
    # given a pipe for its log that has no room
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writer, bytes(4096))
    file = written(f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n{OUT}")
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "--config-file", str(file)], env=ENVIRONMENT, stderr=writer
    )
    try:
        # when it has come to where it logs its first line
        wait_until((tmp_path / "state").exists, what="the hang")
        ends(process, record_property)
    finally:
        process.kill()
        process.wait()
        os.close(reader)
        os.close(writer)


@contextmanager
def idle(tmp_path: Path) -> Iterator[GatewayProcess]:
    file = tmp_path / "oemgateway.conf"
    file.write_text(f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n{OUT}")
    with GatewayProcess(file) as gateway:
        yield gateway


def test_where_nothing_hangs_it_ends_in_order(tmp_path, record_property):
    with idle(tmp_path) as gateway:
        ends(gateway.process, record_property)
        assert "something hangs" not in gateway.log
        assert not (tmp_path / "state" / "control").exists()


def test_what_ends_it_by_force_says_so(tmp_path, record_property):
    with hanging(tmp_path, disk) as gateway:
        ends(gateway.process, record_property)
        assert "something hangs" in gateway.log


def test_it_ends_though_who_started_it_had_blocked_or_ignored_its_signals(tmp_path, written, record_property):
    start = (
        "import os, signal, sys; signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}; "
        "signal.pthread_sigmask(signal.SIG_BLOCK, signals); "
        "[signal.signal(each, signal.SIG_IGN) for each in signals]; os.execv(sys.argv[1], sys.argv[1:])"
    )
    file = written(f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {free_port()}\n{OUT}")
    with GatewayProcess(file, before=[sys.executable, "-c", start]) as gateway:
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "no setting changed" in gateway.log)
        ends(gateway.process, record_property)
        assert "something hangs" not in gateway.log


def test_a_gateway_that_never_answers_does_not_outlive_its_test(tmp_path, monkeypatch):
    def give_up(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("tests.gateway_process.wait_until", give_up)
    file = tmp_path / "oemgateway.conf"
    file.write_text(state(tmp_path))
    gateway = GatewayProcess(file)
    with pytest.raises(AssertionError), gateway:
        pass
    assert gateway.process.poll() is not None
