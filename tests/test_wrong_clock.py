"""The whole daemon on a clock that is wrong, by libfaketime: the machine's own is never set."""

from __future__ import annotations

import time

from tests.gateway_process import GatewayProcess, state
from tests.ports import connect, free_port
from tests.waiting import wait_until


def test_readings_taken_in_1970_arrive_once_and_with_their_right_time(tmp_path, server, faketime):
    # given a daemon that starts in 1970, and takes readings while the server is there
    port = free_port()
    file = tmp_path / "oemgateway.conf"
    file.write_text(
        f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
        f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\ninterval = 0\n"
    )
    clock = tmp_path / "clock"
    clock.write_text("@1970-01-02 00:00:00")
    with GatewayProcess(
        file,
        LD_PRELOAD=faketime,
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    ) as gateway:
        pushed = []
        for value in (1, 2):
            before = time.time()
            with connect(port) as client:
                client.sendall(f"15 {value}\n".encode())
            wait_until(lambda count=value: gateway.status()["listeners"]["push"]["frames"] == count)
            pushed.append((before, time.time()))
        wait_until(lambda: "behind the server's" in gateway.status()["clock"]["doubt"])
        assert server.stored == []
        # when the clock is set
        clock.write_text("+0")
        # then they arrive, once, at the time when they were taken
        wait_until(lambda: len(server.stored) == 2)
        assert gateway.status()["clock"]["doubt"] == ""
        assert gateway.stop() == 0
    assert [kept.value for kept in server.stored] == [1, 2]
    for kept, (before, after) in zip(server.stored, pushed, strict=True):
        assert before - 2 <= kept.time <= after + 2
