"""The whole daemon on a clock that is wrong, by libfaketime: the machine's own is never set."""

from __future__ import annotations

import time

from tests.gateway_process import GatewayProcess, state
from tests.ports import connect, free_port
from tests.waiting import wait_until


def test_readings_taken_in_1970_arrive_once_and_with_their_right_time(tmp_path, written, server, faketime):
    # given a daemon that starts in 1970, and takes readings while the server is there
    port = free_port()
    file = written(
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


def test_a_server_whose_clock_is_wrong_waits_alone(tmp_path, written, server):
    # given a server that shows the year 2001, beside another destination that shows no time
    server.clock_ahead = 978_307_205 - time.time()
    port = free_port()
    file = written(
        f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
        f"[dispatchers]\n[[log]]\ntype = log\n"
        f"[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\ninterval = 0\n"
    )
    with GatewayProcess(file) as gateway:
        for value in (1, 2):
            with connect(port) as client:
                client.sendall(f"15 {value}\n".encode())
            # then the other gets each reading, before and after that server has shown its time
            wait_until(lambda count=value: gateway.status()["dispatchers"]["log"]["frames"] == count)
            wait_until(lambda: gateway.status()["dispatchers"]["home"]["troubles"])
        # and nothing is held, while status names the clock that is wrong
        status = gateway.status()
        assert (status["clock"]["doubt"], status["clock"]["holding"]) == ("", False)
        (trouble,) = status["dispatchers"]["home"]["troubles"]
        assert "its clock is 9" in trouble
        assert "days behind this machine's: readings for it wait until it is set right" in trouble
        assert server.stored == []
        # when it is set right, they arrive
        server.clock_ahead = 0
        wait_until(lambda: len(server.stored) == 2)
        assert gateway.stop() == 0


def test_a_server_on_this_machine_does_not_vouch_for_the_clock_that_they_share(
    tmp_path, written, server, faketime
):
    # given a machine that starts with the time of yesterday, and a server on it that shows the same
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    (state_dir / "last-time").write_text(f"{time.time():.0f}\n")
    server.clock_ahead = -86400
    port = free_port()
    file = written(
        f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
        f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\ninterval = 0\n"
    )
    with GatewayProcess(
        file, LD_PRELOAD=faketime, FAKETIME="-86400", FAKETIME_DONT_FAKE_MONOTONIC="1"
    ) as gateway:
        with connect(port) as client:
            client.sendall(b"15 1\n")
        # when it has been asked for its time
        wait_until(lambda: server.connections)
        with connect(port) as client:
            client.sendall(b"15 2\n")
        wait_until(lambda: gateway.status()["dispatchers"]["home"]["queue"]["held"] == 2)
        # then readings are held all the same
        assert "before one that has passed" in gateway.status()["clock"]["doubt"]
        assert server.stored == []
        assert gateway.stop() == 0
