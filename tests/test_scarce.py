"""An edit while the process has no descriptors left, or no memory for a thread."""

from __future__ import annotations

import _thread
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import gateway_thread
from tests.gateway_process import GatewayProcess, state
from tests.ports import connect, free_port
from tests.waiting import wait_until

SETTLED = 50
"""Looks in a row, some milliseconds apart, at which a process has the same descriptors."""
SPARE = 4
"""Descriptors that remain for the file and the first of the sections."""


@pytest.fixture
def file(tmp_path) -> Path:
    file = tmp_path / "oemgateway.conf"
    file.touch(0o600)
    write(file, free_port())
    return file


def write(file: Path, *ports: int) -> None:
    sections = "".join(f"[[push{port}]]\ntype = tcp\nport = {port}\n" for port in ports)
    new = file.with_suffix(".new")
    new.touch(0o600)
    new.write_text(f"{state(file.parent)}[listeners]\n{sections}[dispatchers]\n[[log]]\ntype = log\n")
    new.replace(file)


def limit_descriptors(pid: int, spare: int) -> tuple[int, int]:
    """Leave a process so many descriptors, once it closes none any more; return the limits that it had."""
    looks: list[set[int]] = []

    def has_settled() -> bool:
        looks.append({int(link.name) for link in Path(f"/proc/{pid}/fd").iterdir()})
        return len(looks) > SETTLED and all(look == looks[-1] for look in looks[-SETTLED:])

    wait_until(has_settled, what="the last client to be hung up on")
    free = (number for number in range(1024) if number not in looks[-1])
    last = [next(free) for _ in range(spare + 1)][-1]
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    return resource.prlimit(pid, resource.RLIMIT_NOFILE, (last, hard))


@pytest.mark.parametrize(
    ("spare", "words"),
    [
        (SPARE, "and what comes after it cannot be started: Too many open files; tried again"),
        (0, "has faults: the previous settings stay active, and it is tried again"),
    ],
)
def test_an_edit_for_which_there_are_no_descriptors_waits_for_them(file, spare, words):
    with GatewayProcess(file) as gateway:
        # given a process with few descriptors or none
        limits = limit_descriptors(gateway.process.pid, spare)
        # when sections are added
        ports = [free_port(), free_port()]
        write(file, *ports)
        wait_until(lambda: words in gateway.log, what="the edit")
        # then that is a trouble, as far as it can be asked
        if spare:
            (trouble,) = wait_until(lambda: gateway.is_ready() and gateway.status()["troubles"])
            assert trouble.endswith(words)
        # and they run once there are descriptors, and that was said once
        resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, limits)
        for port in ports:
            connect(port).close()
        wait_until(gateway.is_ready)
        assert list(gateway.status()["listeners"]) == [f"push{port}" for port in ports]
        assert gateway.log.count(words) == 1
        wait_until(lambda: not gateway.status()["troubles"])
        assert gateway.stop() == 0


def test_a_section_whose_thread_cannot_begin_is_started_at_a_later_look(file, monkeypatch):
    # given a thread that has no memory for its first call
    begin, refused = _thread.start_new_thread, []

    def never_at_first(action: Callable[[], None], arguments: tuple[()], *more: object) -> object:
        if getattr(action, "__name__", "") == "_begin" and not refused:
            refused.append(action)
            return None
        return begin(action, arguments, *more)

    monkeypatch.setattr(_thread, "start_new_thread", never_at_first)
    # then it runs all the same
    with gateway_thread.running(file):
        wait_until(lambda: gateway_thread.answers(file) and refused)
        connect(int(file.read_text().partition("port = ")[2].partition("\n")[0])).close()
