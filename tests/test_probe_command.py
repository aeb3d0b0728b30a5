"""`oemgateway probe`: dots and stars, and the local ports that fail."""

from __future__ import annotations

import random
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from gateway.commands.main import main
from gateway.text.words import runs
from listeners.probe.command import Watch
from listeners.probe.network import Kind, Outcome
from tests.gateway_process import UNTRACED

GOOD = Outcome(Kind.ANSWERED, ms=5.0)
BAD = Outcome(Kind.REFUSED, "no")


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listening:
        yield listening.getsockname()[1]


def test_sixteen_rows_end_with_the_failures_of_all_tries():
    # given 256 tries of which 60 fail
    outcomes = [BAD] * 60 + [GOOD] * 196
    random.Random(1).shuffle(outcomes)
    watch = Watch()
    # when
    rows = "".join(map(watch.add, outcomes)).splitlines()
    # then
    assert len(rows) == 16
    assert all(re.fullmatch(r"[.*]{16} \d+ / \d+", row) for row in rows)
    assert rows[-1].endswith(" 60 / 256")
    marks = "".join(row[:16] for row in rows)
    assert marks == "".join("." if outcome is GOOD else "*" for outcome in outcomes)
    assert rows[0].endswith(f" {rows[0].count('*')} / 16")


def test_the_summary_has_loss_least_mean_and_greatest():
    watch = Watch()
    for ms in (1.0, 2.0, 6.0):
        watch.add(Outcome(Kind.ANSWERED, ms=ms))
    watch.add(BAD)
    assert watch.summary() == ("25.0 % lost (1 / 4, 1 refused); least 1.0 ms, mean 3.0 ms, greatest 6.0 ms")
    assert Watch().summary() == "no connection was tried"


def started(*arguments: str) -> subprocess.Popen[str]:
    # Each connection has the interval to be made in, on a busy machine, too.
    program = [sys.executable, "-m", "gateway", "probe", "--interval", "0.5", *arguments]
    return subprocess.Popen(program, env=UNTRACED, stdout=subprocess.PIPE, text=True)


def test_a_refused_connection_is_a_failure_and_does_not_end_it(server):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        place = f"127.0.0.1:{closed.getsockname()[1]}"
    with started("--watch", place) as run:
        assert [run.stdout.read(1) for _ in range(5)] == ["*"] * 5
        run.send_signal(signal.SIGINT)
        rest = run.stdout.read()
        assert run.wait(10) == 1
    assert re.search(r"\n100\.0 % lost \(\d+ / \d+, \d+ refused\)\n$", rest)


def test_each_mark_is_printed_as_it_comes(server):
    with started(f"127.0.0.1:{server}") as run:
        assert run.stdout.read(2) == ".."
        run.send_signal(signal.SIGINT)
        rest = run.stdout.read()
        assert run.wait(10) == 0
    assert re.search(r"0\.0 % lost \(0 / \d+\); least [\d.]+ ms, mean [\d.]+ ms, greatest [\d.]+ ms\n$", rest)


def free_range(count):
    draw = random.Random(time.time())
    while True:
        low = draw.randrange(20000, 30000)
        try:
            for port in range(low, low + count):
                with socket.socket() as sock:
                    sock.bind(("", port))
        except OSError:
            continue
        return low


def test_the_local_ports_that_fail_are_named(capsys, server, monkeypatch):
    # given a firewall that loses what comes from some ports
    low = free_range(100)
    lost = {low + 3, low + 4, low + 70}
    real = socket.socket.connect

    def connect(self, address):
        if self.getsockname()[1] in lost:
            raise TimeoutError("timed out")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    # when
    status = main(["probe", "--source-ports", f"{low}-{low + 99}", f"127.0.0.1:{server}"])
    # then
    first, one, two, last = capsys.readouterr().out.splitlines()
    marks = "".join("0" if port in lost else "1" for port in range(low, low + 100))
    assert first.startswith(f"from the local ports {low} to {low + 99}")
    assert (one, two) == (f"{low:5} {marks[:64]}", f"{low + 64:5} {marks[64:]}")
    assert last == f"it fails from {low + 3} to {low + 4}, {low + 70}"
    assert status == 1


def test_where_all_work_it_says_so_and_can_be_done_again_at_once(capsys, server):
    low = free_range(20)
    for _ in range(2):
        assert main(["probe", "--source-ports", f"{low}-{low + 19}", f"127.0.0.1:{server}"]) == 0
        assert capsys.readouterr().out.endswith("it works from each of them\n")


def test_a_port_that_is_in_use_is_no_failure(capsys, server):
    with socket.create_server(("", 0)) as used:
        port = used.getsockname()[1]
        assert main(["probe", "--source-ports", f"{port}-{port}", f"127.0.0.1:{server}"]) == 0
    assert f"{port:5} -\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nohost"], "HOST:PORT expected"),
        (["a:1", "--source-ports", "5"], "two ports expected, such as"),
        (["a:1", "--source-ports", "9-5"], "two ports expected, such as"),
        (["a:1", "--interval", "0"], "seconds from 0.1 to 3600 expected"),
    ],
)
def test_wrong_arguments_say_what_is_expected(capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        main(["probe", *arguments])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_runs_of_ports():
    assert runs([1, 2, 3, 7, 9, 10]) == "1 to 3, 7, 9 to 10"
