from __future__ import annotations

import gc
import logging
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import daemon, paths
from gateway.clock import Clock
from gateway.conf import config
from gateway.daemon import Daemon
from gateway.frame import Frame
from gateway.process.control import ask
from gateway.process.notify import Supervisor
from gateway.spool.notes import NOT_KEPT
from gateway.times import timekeeper
from gateway.workers import trouble
from gateway.workers.worker import Worker
from listeners.simulated.clock import VirtualClock
from listeners.textlines.tcp import Tcp
from tests.gateway_process import state
from tests.gateway_thread import answers, running
from tests.ports import connect, free_port
from tests.refusing import Slow
from tests.simulators.emoncms import FakeEmoncms
from tests.simulators.supervisor import FakeSupervisor
from tests.spools import open_queue
from tests.waiting import wait_until
from tests.wire import Wire


@pytest.fixture(autouse=True)
def quick_look(monkeypatch):
    monkeypatch.setattr(daemon, "_LOOK", 0.05)


@pytest.fixture(autouse=True)
def everything_is_logged(caplog):
    level = logging.getLogger("oemgateway").level
    yield
    logging.getLogger("oemgateway").setLevel(level)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def file(tmp_path, server, port) -> Path:
    file = tmp_path / "oemgateway.conf"
    file.touch(0o600)
    write(file, server, port)
    return file


def write(file: Path, server: FakeEmoncms, port: int, listeners: str = "", **settings: object) -> None:
    """Write a file with a tcp listener and an Emoncms (settings are the Emoncms's)."""
    extra = "".join(f"{key} = {value}\n" for key, value in settings.items())
    file.write_text(
        f"{state(file.parent)}loglevel = INFO\n"
        f"[listeners]\n[[push]]\ntype = tcp\nport = {port}\n{listeners}"
        f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\ninterval = 0\n"
        f"{extra}"
    )


def batch(gateway: Daemon) -> int | None:
    """Return the setting of the dispatcher that runs, None while it is being replaced."""
    worker = gateway._dispatchers.get("home")
    return worker.plugin.batch if worker else None


def push(port: int, line: str) -> None:
    """Send a line to the tcp listener, as soon as it is there."""
    with connect(port) as client:
        client.sendall(f"{line}\r\n".encode())


def stored(server: FakeEmoncms) -> list[tuple[str, str, float]]:
    return [(each.node, each.key, each.value) for each in server.stored]


def test_a_frame_goes_from_listener_to_server_and_the_daemon_can_be_asked(file, server, port):
    def delivered():
        status = ask(file.parent / "state/control", "status")
        home = status["dispatchers"]["home"]
        return status if home["frames"] and not home["queue"]["waiting"] else None

    with running(file):
        push(port, "15 69 -1.5")
        wait_until(lambda: len(server.stored) == 2)
        status = wait_until(delivered)
    assert stored(server) == [("15", "1", 69), ("15", "2", -1.5)]
    assert status["pid"] == os.getpid()
    assert status["file"] == str(file)
    assert status["listeners"]["push"]["frames"] == 1
    assert status["dispatchers"]["home"]["trouble"] == ""
    assert 0 <= status["dispatchers"]["home"]["age"] < 20


def test_edits_leave_no_descriptors_behind(file, server, port):
    def edit(interval):
        counters = [
            f"[[c{n}]]\ntype = counter\nnode = c{n}\ninterval = {interval}\ncounter1 = /proc/uptime\n"
            for n in range(9)
        ]
        write(file, server, port, "".join(counters))
        gateway.hangup.set()
        expected = [interval] * 9
        wait_until(
            lambda: (
                [
                    worker.plugin.interval
                    for name, worker in list(gateway._listeners.items())
                    if name != "push"
                ]
                == expected
            )
        )
        wait_until(lambda: not any(worker.is_alive() for worker in gateway._retired))
        return len(list(Path("/proc/self/fd").iterdir()))

    # given a gateway whose garbage is not collected by chance
    gc.disable()
    try:
        with running(file) as gateway:
            # when nine sections are edited again and again
            descriptors = [edit(interval) for interval in range(60, 72)]
    finally:
        gc.enable()
    # then those of one edit at most are still there
    assert descriptors[-1] <= descriptors[1] + 9


def test_an_edit_takes_effect_by_itself_and_touches_only_what_it_changes(file, server, port, caplog):
    with running(file) as gateway:
        listener = gateway._listeners["push"]
        dispatcher = gateway._dispatchers["home"]
        write(file, server, port, batch=7)
        wait_until(lambda: gateway._dispatchers.get("home") not in (dispatcher, None))
        assert gateway._dispatchers["home"].plugin.batch == 7
        assert gateway._listeners["push"] is listener
        push(port, "15 1")
        wait_until(lambda: stored(server) == [("15", "1", 1)])
    assert f"{file}: home: batch 250 -> 7, reopened; nothing else changed" in caplog.text


def test_who_may_read_the_file_is_looked_at_while_it_runs(file, monkeypatch):
    # given a file that the user of the service can read no longer, as after chmod 600 by root
    def refuse(*_: object) -> None:
        raise config.ConfigFaults([])

    with running(file) as gateway:
        with monkeypatch.context() as unreadable:
            unreadable.setattr(config, "read", refuse)
            file.chmod(0o400)
            # then that is a trouble before the next start, which would fail
            wait_until(lambda: gateway._status.faulty_edit)
        file.chmod(0o600)
        wait_until(lambda: not gateway._status.faulty_edit)


def test_an_edit_of_a_node_reaches_the_listener_that_runs(file, server, port):
    wire = Wire()
    cable = f"[[cable]]\ntype = serial\nport = {wire.port}\n"
    write(file, server, port, cable)
    with running(file) as gateway:
        worker = wait_until(lambda: gateway._listeners.get("cable"))
        wait_until(lambda: worker._opened)
        wire.send(b"\n11 24345\n")
        wait_until(lambda: stored(server) == [("11", "1", 24345)])
        write(file, server, port, cable + "[nodes]\n[[11]]\nscale = 0.01\n")
        wait_until(lambda: worker.plugin.nodes.decoders)
        wire.send(b"11 24345\n")
        wait_until(lambda: stored(server)[1:] == [("11", "1", 243.45)])
        assert gateway._listeners["cable"] is worker
    wire.cut()


def test_a_section_that_is_added_runs_and_one_that_is_taken_out_ends(file, server, port):
    more = "[[slow]]\ntype = tcp\nport = 0\n"
    with running(file) as gateway:
        write(file, server, port, more.replace("port = 0", f"port = {free_port()}"))
        worker = wait_until(lambda: gateway._listeners.get("slow"))
        write(file, server, port)
        wait_until(lambda: "slow" not in gateway._listeners)
        worker.join(60)
        assert not worker.is_alive()


def test_after_an_edit_the_sections_are_in_the_order_of_the_file(file, server, port):
    # given sections of both kinds, as they started
    def edit(idle: int, batch: int) -> None:
        log = "[[log]]\ntype = log\n"
        write(file, server, port, f"idle = {idle}\n[[other]]\ntype = tcp\nport = 0\n", batch=batch)
        file.write_text(file.read_text() + log)

    def order(gateway: Daemon) -> list[str]:
        status = gateway._status.status()
        return [*status.listeners, *status.dispatchers]

    edit(100, 7)
    with running(file) as gateway:
        wait_until(lambda: answers(file))
        listener = gateway._listeners["push"]
        # when the first of each kind is edited
        edit(200, 8)
        wait_until(lambda: gateway._listeners.get("push") not in (listener, None) and batch(gateway) == 8)
        # then it is still the first
        wait_until(lambda: order(gateway) == ["push", "other", "home", "log"], what="the order of the file")


def test_what_waits_for_a_destination_that_is_switched_off_is_said(file, server, port, caplog):
    # given a second destination that cannot be reached, and what waits for it
    dead = f"[[dead]]\ntype = emoncms\nurl = http://127.0.0.1:{free_port()}\napikey = {server.key}\n"
    file.write_text(file.read_text() + dead)
    with running(file) as gateway:
        for n in range(3):
            push(port, f"15 {n}")
        wait_until(lambda: len(stored(server)) == 3)
        wait_until(lambda: gateway._spool.standing("home").waiting == 0)
        # when it is switched off
        file.write_text(file.read_text() + "active = no\n")
        # then that is said, and not again once they are gone, with the next one
        wait_until(
            lambda: (
                "readings for a removed destination alone, which go unless it is back soon: 3\n"
                in caplog.text
            )
        )
        push(port, "15 3")
        wait_until(lambda: len(stored(server)) == 4 and gateway._spool.waiting() == [])
    with running(file):
        pass
    assert caplog.text.count("for a removed destination alone") == 1


def test_the_disk_is_made_to_write_in_time_and_by_no_listener(file, server, port, monkeypatch):
    # given a short interval, and an end of the look at the file that is far away
    monkeypatch.setattr(daemon, "_LOOK", 60)
    threads: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda _: threads.append(threading.current_thread().name))
    file.write_text(file.read_text().replace("[gateway]\n", "[gateway]\ncommit_interval = 0.05\n"))
    with running(file) as gateway:
        for line in ("15 1", "15 2"):
            before = len(threads)
            push(port, line)
            wait_until(
                lambda before=before: len(threads) > before and gateway._spool.syncing.due() == math.inf
            )
    assert {"push", "home"} & set(threads) == set()


def test_a_faulty_edit_changes_nothing_and_is_told_with_its_lines(file, server, port, caplog):
    with running(file) as gateway:
        before = dict(gateway._dispatchers)
        write(file, server, port, batch="many")
        gateway.hangup.set()
        wait_until(lambda: "stay active" in caplog.text)
        assert gateway._dispatchers == before
        push(port, "15 1")
        wait_until(lambda: stored(server) == [("15", "1", 1)])
    assert "batch: a whole number expected, not many" in caplog.text


def test_an_editor_at_work_is_waited_for(file, monkeypatch, caplog):
    # given a daemon that looks at its file when it is let, and two looks that have not settled anything
    looks, looked = threading.Semaphore(0), threading.Semaphore(0)
    signature = daemon._signature

    def look(path):
        looks.acquire()
        try:
            return signature(path)
        finally:
            looked.release()

    with running(file) as gateway:
        text = file.read_text().replace("interval = 0", "interval = 0\nbatch = 9")
        monkeypatch.setattr(daemon, "_signature", look)
        try:
            # when it looks while the file is not there, and while it is half written
            for part in ("", text[: len(text) // 2], text):
                file.unlink(missing_ok=True)
                if part:
                    file.write_text(part)
                looks.release()
                looked.acquire()
        finally:
            monkeypatch.setattr(daemon, "_signature", signature)
            looks.release()
        # then it takes what is there in the end
        wait_until(lambda: batch(gateway) == 9)
    assert "stay active" not in caplog.text


def test_where_the_state_is_changes_only_at_the_next_start(file, server, port, tmp_path, caplog):
    with running(file):
        file.write_text(file.read_text().replace(f"{tmp_path}/state\n", f"{tmp_path}/elsewhere\n"))
        wait_until(lambda: "takes effect at the next start" in caplog.text)
        # and an edit that is taken back changes nothing
        caplog.clear()
        file.write_text(file.read_text().replace(f"{tmp_path}/elsewhere\n", f"{tmp_path}/state\n"))
        wait_until(lambda: "which is still in force" in caplog.text)
    assert "move the files" not in caplog.text


def test_it_ends_within_two_seconds_while_the_server_hangs_and_nothing_is_lost(
    file, server, port, monkeypatch, caplog
):
    patience = []
    join = Worker.join
    monkeypatch.setattr(Worker, "join", lambda self, seconds: patience.append(seconds) or join(self, seconds))
    server.hang = 1
    with running(file) as gateway:
        push(port, "15 1")
        wait_until(lambda: server.hanging == 1)
        gateway.stop.set()
        wait_until(lambda: not answers(file))
        # then it has gone, while the server still hangs, after what it waits at most: the rest of the two
        # seconds is for the machine
        assert server.hanging == 1
    assert max(patience) <= 1.5
    assert "home does not answer" in caplog.text
    server.release()
    server.hang = 0
    with running(file):
        wait_until(lambda: stored(server) == [("15", "1", 1)])


def test_a_replaced_dispatcher_that_hangs_does_not_hold_up_the_others(file, server, port):
    server.hang = 1
    with FakeEmoncms() as second, running(file) as gateway:
        push(port, "15 1")
        wait_until(lambda: server.requests)
        write(file, server, port, batch=7)
        wait_until(lambda: batch(gateway) == 7)
        with file.open("a") as more:
            more.write(
                f"[[second]]\ntype = emoncms\nurl = {second.url}\napikey = {second.key}\ninterval = 0\n"
            )
        wait_until(lambda: stored(second) == [("15", "1", 1)])
        server.release()
        server.hang = 0
        push(port, "15 2")
        wait_until(lambda: ("15", "1", 2) in stored(server))


def test_a_node_of_the_configuration_is_not_taken_from_elsewhere(file, server, port, tmp_path, caplog):
    bridge = f"[[bridge]]\ntype = owfs\npath = {tmp_path}\nnode = 9\ninterval = 60\nsensor1 = Dummy\n"
    write(file, server, port, bridge)
    with running(file):
        push(port, "9 99")
        push(port, "15 1")
        wait_until(lambda: server.stored)
    assert stored(server) == [("15", "1", 1)]
    assert "node 9 is refused" in caplog.text


def test_without_a_place_for_the_socket_it_runs_all_the_same(file, server, port, tmp_path, caplog):
    file.write_text(file.read_text().replace(f"socket = {tmp_path}", "socket = /proc/nowhere"))
    gateway = Daemon(config.read(file))
    thread = threading.Thread(target=gateway.run)
    thread.start()
    try:
        push(port, "15 1")
        wait_until(lambda: server.stored)
    finally:
        gateway.stop.set()
        thread.join(60)
    assert "cannot ask this daemon" in caplog.text


SENSORS = "sensor1 = 28.33F749050000\nsensor2 = 28.DB564A050000\n"
MOVED = "sensor1 = 28.DB564A050000\n"


def standing(gateway: Daemon) -> dict:
    """Return what the listener that runs has at its indices."""
    worker = gateway._listeners.get("bridge")
    return {each.index: each.identity for each in worker.plugin.catalogue()} if worker else {}


def with_sensors(file: Path, server: FakeEmoncms, port: int, sensors: str, guard: str = "warn") -> None:
    bridge = f"[[bridge]]\ntype = owfs\npath = {file.parent}\nnode = 9\ninterval = 60\n{sensors}"
    write(file, server, port, bridge)
    file.write_text(file.read_text().replace("loglevel", f"index_guard = {guard}\nloglevel", 1))


def test_an_edit_that_moves_a_sensor_to_another_index_is_said_at_its_line(file, server, port, caplog):
    with_sensors(file, server, port, SENSORS)
    with running(file) as gateway:
        with_sensors(file, server, port, MOVED)
        gateway.hangup.set()
        wait_until(lambda: "moves from index 2 of node 9 to 1" in caplog.text)
        assert f"{file}:15: sensor1: 28.DB564A050000 moves" in caplog.text
        wait_until(lambda: standing(gateway) == {1: "28.DB564A050000"})
    caplog.clear()
    with running(file):
        pass
    assert "moves from" not in caplog.text


def test_with_the_guard_such_an_edit_is_not_taken_and_such_a_file_does_not_start(file, server, port, caplog):
    with_sensors(file, server, port, SENSORS)
    with running(file) as gateway:
        with_sensors(file, server, port, MOVED, guard="refuse")
        gateway.hangup.set()
        wait_until(lambda: "stay active" in caplog.text)
        assert standing(gateway)[2] == "28.DB564A050000"
    with pytest.raises(config.ConfigFaults, match="moves from index 2"):
        Daemon(config.read(file)).run()


def test_a_replacement_at_the_same_index_is_said_once(file, server, port, caplog):
    with_sensors(file, server, port, SENSORS)
    with running(file):
        pass
    with_sensors(file, server, port, SENSORS.replace("28.DB564A050000", "28.AB1663050000"), guard="refuse")
    for _ in range(2):
        with running(file):
            pass
    said = [r.message for r in caplog.records if "is replaced by" in r.message]
    assert said == ["index 2 of node 9: 28.DB564A050000 is replaced by 28.AB1663050000"]


def test_a_remark_is_made_when_it_begins_to_be_true_and_not_at_every_edit(file, server, port, caplog):
    # given a file with a gap in its numbers
    sensors = "sensor1 = 28.33F749050000\nsensor3 = 28.DB564A050000\n"
    with_sensors(file, server, port, sensors)
    with running(file) as gateway:
        # when edits move it to another line and open another gap, close both, and open the first again
        for edit in (f"# new\n{sensors}sensor6 = 28.AB1663050000\n", "sensor1 = 28.33F749050000\n", sensors):
            taken = caplog.text.count(f"{file}: bridge: ")
            with_sensors(file, server, port, edit)
            gateway.hangup.set()
            wait_until(lambda taken=taken: caplog.text.count(f"{file}: bridge: ") > taken)
    # then each is said when it opens
    said = [record.message for record in caplog.records if "treated as Dummy" in record.message]
    assert [message.partition("conf:")[2].partition(" no")[0] for message in said] == [
        "16: sensor3: index 2 has",
        "18: sensor6: indices 4 to 5 have",
        "16: sensor3: index 2 has",
    ]


def test_where_the_state_is_not_the_usual_place_it_is_said(file, port, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(paths, "STATE", Path("/proc/nowhere"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own"))
    file.write_text(file.read_text().replace(f"state_dir = {tmp_path}/state\n", ""))
    with running(file):
        pass
    assert f"the state is kept in {tmp_path}/own/oemgateway" in caplog.text
    assert (tmp_path / "own/oemgateway/queue.db").exists()


def test_who_started_it_is_told_that_it_is_ready_reads_its_file_lives_and_ends(file, tmp_path):
    with FakeSupervisor(tmp_path / "notify") as fake:
        with running(file, Supervisor({**fake.environment, "WATCHDOG_USEC": "60000000"})) as gateway:
            assert fake.next() == {"READY": "1"}
            assert fake.next() == {"WATCHDOG": "1"}
            gateway.hangup.set()
            assert fake.until("RELOADING")
            assert fake.next() == {"READY": "1"}
            # a file with a fault is read as well
            file.write_text(file.read_text().replace("interval = 0", "interval = often"))
            gateway.hangup.set()
            assert fake.until("RELOADING")
            assert fake.next() == {"READY": "1"}
        assert fake.until("STOPPING")


def test_it_is_ready_when_every_plugin_has_tried_to_open(file, server, port):
    write(file, server, port)
    with running(file) as gateway:
        assert all(worker.tried.is_set() for worker in gateway._workers())
        with connect(port):
            pass


@pytest.mark.parametrize("kind", ["hangs", "dies"])
def test_a_worker_that_does_nothing_more_ends_the_signs_of_life_and_is_said_once(
    kind, file, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    release = threading.Event()
    asked = {"hangs": lambda *_: release.wait(60), "dies": raise_exit}[kind]
    monkeypatch.setattr(Tcp, "busy_limit", 0.2)
    with (
        FakeSupervisor(tmp_path / "notify") as fake,
        running(file, Supervisor({**fake.environment, "WATCHDOG_USEC": "60000000"})) as gateway,
    ):
        worker = gateway._listeners["push"]
        assert fake.until("WATCHDOG")
        monkeypatch.setattr(worker.plugin, "read", asked)
        # a client makes it read
        with connect(worker.plugin.address[1]):
            wait_until(lambda: worker.stuck)
            wait_until(lambda: "only a restart of the gateway can help" in caplog.text)
        assert fake.is_silent(0.5)
        status = ask(file.parent / "state/control", "status")
        assert (status["healthy"], status["listeners"]["push"]["troubles"]) == (False, [worker.stuck])
        assert caplog.text.count("only a restart of the gateway can help") == 1
        release.set()


def raise_exit(*_: object) -> None:
    raise SystemExit


def test_a_state_directory_that_a_power_cut_empties_is_said(file, monkeypatch, caplog):
    monkeypatch.setattr("gateway.process.state_files.is_volatile", lambda _: "tmpfs")
    with running(file):
        pass
    assert f"{file.parent}/state is on tmpfs, in memory perhaps" in caplog.text


def test_every_hour_it_says_what_went_through(file, port, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(daemon, "HOUR", 0.2)
    with running(file):
        push(port, "15 69 -1.5")
        wait_until(lambda: "in the last hour 1 frames in" in caplog.text)


def test_the_levels_of_its_sections_follow_an_edit_and_reopen_nothing(file, server, port):
    with running(file) as gateway:
        listener, dispatcher = gateway._listeners["push"], gateway._dispatchers["home"]
        write(file, server, port, "loglevel = ERROR\n", loglevel="DEBUG")
        wait_until(lambda: logging.getLogger("oemgateway.home").level == logging.DEBUG)
        assert logging.getLogger("oemgateway.push").level == logging.ERROR
        assert (gateway._listeners["push"], gateway._dispatchers["home"]) == (listener, dispatcher)
    for section in ("push", "home"):
        logging.getLogger(f"oemgateway.{section}").setLevel(logging.NOTSET)


@pytest.mark.parametrize(("watchdog", "longest"), [("", 60.0), ("100000", 0.05)])
def test_it_sleeps_from_look_to_look_or_half_as_long_as_the_watchdog_has_patience(
    file, monkeypatch, watchdog, longest
):
    monkeypatch.setattr(daemon, "_LOOK", 60.0)
    rests: list[float] = []

    def rest(gateway, seconds, *flags):
        if gateway.hangup in flags:
            rests.append(seconds)
        return as_ever(gateway, min(seconds, 0.05), *flags)

    as_ever = Daemon._rest
    monkeypatch.setattr(Daemon, "_rest", rest)
    with running(file, Supervisor({"WATCHDOG_USEC": watchdog})):
        wait_until(lambda: len(rests) > 2)
    assert set(rests) == {longest}


def test_readings_whose_time_nobody_knows_are_set_aside_at_the_start(file):
    # given readings of an earlier boot, which waited for their time when the power went
    clock = VirtualClock()
    spool = open_queue(file.parent / "state" / "queue.db", "home", clock=clock)
    spool.set_clock(None)
    spool.put([Frame("9", (1.0,), clock.now())])
    spool.close()
    with running(file) as gateway:
        wait_until(lambda: [kept.undated for kept in gateway._spool.refused("home")] == [True])


def test_readings_that_a_server_which_is_gone_had_held_go_on(file, monkeypatch):
    monkeypatch.setattr(timekeeper, "machine_is_synchronised", lambda: False)
    # given a reading that is held, as an Emoncms contradicted the clock
    spool = open_queue(file.parent / "state" / "queue.db", "home")
    spool.set_clock(None)
    spool.put([Frame("9", (1.0,), Clock().now())])
    spool.close()
    # when the gateway starts with a destination in its place that has no clock
    text, _, _ = file.read_text().partition("[dispatchers]")
    file.write_text(f"{text}[dispatchers]\n[[home]]\ntype = log\n")
    with running(file) as gateway:
        wait_until(lambda: gateway._dispatchers["home"].frames == 1)


def test_a_section_that_comes_back_while_its_thread_hangs_waits_for_it(file, server, port):
    server.hang = 1
    with running(file) as gateway:
        hanging = gateway._dispatchers["home"]
        push(port, "15 1")
        wait_until(lambda: server.requests)
        # when it is renamed, and called as before
        text = file.read_text()
        for name in ("[[house]]", "[[home]]"):
            new = file.with_suffix(".new")
            new.touch(0o600)
            new.write_text(text.replace("[[home]]", name))
            new.replace(file)  # a half of it would be another configuration
            gateway.hangup.set()
            wait_until(lambda name=name: list(gateway._dispatchers) == [name.strip("[]")])
        assert hanging.is_alive()
        assert not gateway._dispatchers["home"].tried.is_set()
        server.release()
        server.hang = 0
        wait_until(lambda: gateway._dispatchers["home"].frames)
        assert hanging.finished.is_set()


def test_a_section_that_gets_another_name_and_another_setting_sends_nothing_that_is_on_its_way(
    file, server, port
):
    # given a reading that a slow server is about to store
    with running(file) as gateway:
        push(port, "15 1")
        wait_until(lambda: gateway._dispatchers["home"].frames)
        server.slow, server.delay, before = 1, 60, len(server.requests)
        push(port, "15 2")
        wait_until(lambda: len(server.requests) > before)
        # when the section is renamed in the same edit that changes something else in it
        new = file.with_suffix(".new")
        new.touch(0o600)
        new.write_text(file.read_text().replace("[[home]]", "[[house]]") + "batch = 7\n")
        new.replace(file)
        gateway.hangup.set()
        wait_until(lambda: list(gateway._dispatchers) == ["house"])
        # then it waits for what is under way, and the server gets it once
        assert not gateway._dispatchers["house"].tried.wait(0.5)
        server.release()
        push(port, "15 3")
        wait_until(lambda: ("15", "1", 3) in stored(server))
    assert stored(server) == [("15", "1", 1), ("15", "1", 2), ("15", "1", 3)]


def test_a_section_that_is_renamed_in_an_outage_takes_nothing_it_has_not_sent_for_arrived(file, server):
    with running(file) as gateway:
        now = Clock().now()
        gateway._spool.put([Frame("16", (0.0,), now), Frame("15", (20.5,), now)])
        wait_until(lambda: gateway._dispatchers["home"].frames == 2)
        # given an outage, in which a reading waits before one that equals the last that has arrived
        server.status_500, before = math.inf, len(server.requests)
        gateway._spool.put([Frame("16", (1.0,), now), Frame("15", (20.5,), now)])
        wait_until(lambda: len(server.requests) > before)
        # when the section is renamed
        replace(file, file.read_text().replace("[[home]]", "[[house]]"))
        gateway.hangup.set()
        wait_until(lambda: list(gateway._dispatchers) == ["house"])
        server.status_500 = 0
        # then both arrive
        wait_until(lambda: len(stored(server)) == 4)


@contextmanager
def one_late_and_one_down(file: Path, server: FakeEmoncms, port: int) -> Iterator[tuple[Daemon, FakeEmoncms]]:
    """Run a gateway with home, whose server is slow to store a second reading, and other, which is down."""
    with FakeEmoncms() as down, running(file) as gateway:
        down.status_500 = math.inf
        section = f"[[other]]\ntype = emoncms\nurl = {down.url}\napikey = {down.key}\ninterval = 0\n"
        replace(file, file.read_text() + section)
        gateway.hangup.set()
        wait_until(lambda: "other" in gateway._dispatchers)
        push(port, "15 1")
        wait_until(lambda: stored(server) and down.requests)
        server.slow, server.delay, before = 1, 60, len(server.requests)
        push(port, "15 2")
        wait_until(lambda: len(server.requests) > before)
        yield gateway, down


def swapped(text: str) -> str:
    """Return a configuration where home and other have swapped their names."""
    return text.replace("[[home]]", "[[x]]").replace("[[other]]", "[[home]]").replace("[[x]]", "[[other]]")


def swap_on_a_slow_disk(gateway: Daemon, file: Path) -> Slow:
    """Have two sections swap their names; return the disk, which is about to be told that."""
    contents = gateway._spool._contents
    disk = contents.db = Slow(contents.db)
    replace(file, swapped(file.read_text()))
    gateway.hangup.set()
    wait_until(lambda: disk.waits)
    return disk


@pytest.mark.parametrize("swaps", [1, 2])
def test_sections_that_swap_their_names_get_what_each_lacks(file, server, port, swaps):
    with one_late_and_one_down(file, server, port) as (gateway, down):
        # when they swap their names, or also swap them back, before the slow one has stored it
        late = gateway._dispatchers["home"]
        for _ in range(swaps):
            before = gateway._dispatchers["home"]
            replace(file, swapped(file.read_text()))
            gateway.hangup.set()
            wait_until(lambda before=before: gateway._dispatchers.get("home", before) is not before)
        server.release()
        wait_until(late.finished.is_set)
        down.status_500 = 0
        push(port, "15 3")
        # then each has everything once
        wait_until(lambda: len(stored(down)) == len(stored(server)) == 3)
        assert stored(down) == stored(server) == [("15", "1", 1), ("15", "1", 2), ("15", "1", 3)]


@pytest.mark.parametrize("how", ["batch = 2", "keys = name"])
def test_sections_that_swap_their_names_and_send_in_another_way_get_what_each_lacks(file, server, port, how):
    with one_late_and_one_down(file, server, port) as (gateway, down):
        server.release()
        push(port, "15 3")
        wait_until(lambda: len(stored(server)) == 3)
        # when they swap their names in the same edit that changes how each posts
        before = gateway._dispatchers["home"]
        replace(file, swapped(file.read_text()).replace("interval = 0", f"interval = 0\n{how}"))
        gateway.hangup.set()
        wait_until(lambda: gateway._dispatchers.get("home", before) is not before)
        down.status_500 = 0
        push(port, "15 4")
        # then each has everything once
        wait_until(lambda: stored(down)[-1:] == stored(server)[-1:] == [("15", "1", 4)])
        assert stored(down) == stored(server) == [("15", "1", value) for value in (1, 2, 3, 4)]


def test_sections_that_swap_their_names_and_send_in_another_way_wait_for_what_is_under_way(
    file, server, port
):
    with one_late_and_one_down(file, server, port) as (gateway, down):
        # when they swap their names in the same edit that changes how each posts, before one has answered
        before = gateway._dispatchers["home"]
        replace(file, swapped(file.read_text()).replace("interval = 0", "interval = 0\nbatch = 2"))
        gateway.hangup.set()
        wait_until(lambda: gateway._dispatchers.get("home", before) is not before)
        # then the same far end is sent nothing until it has
        assert not gateway._dispatchers["other"].tried.wait(0.5)
        server.release()
        down.status_500 = 0
        push(port, "15 3")
        wait_until(lambda: len(stored(down)) == len(stored(server)) == 3)


def test_a_section_goes_on_where_it_was_if_it_is_renamed_twice_before_an_answer_comes(file, server, port):
    with one_late_and_one_down(file, server, port) as (gateway, _):
        # when the second edit changes how it posts, too
        text = file.read_text()
        for name, how in (("house", ""), ("flat", "batch = 2")):
            replace(
                file, text.replace("[[home]]", f"[[{name}]]").replace("interval = 0", f"interval = 0\n{how}")
            )
            gateway.hangup.set()
            wait_until(lambda name=name: name in gateway._dispatchers)
        # then only what it lacks waits for it
        assert gateway._spool.standing("flat").waiting == 1


def test_that_a_section_is_renamed_is_safe_from_a_power_cut_at_once(file):
    file.write_text(file.read_text().replace("loglevel = INFO", "loglevel = INFO\ncommit_interval = 60"))
    with running(file) as gateway:
        gateway._spool.syncing.sync()
        gateway._spool.put([Frame("15", (1.0,), Clock().now())])
        replace(file, file.read_text().replace("[[home]]", "[[house]]"))
        gateway.hangup.set()
        wait_until(lambda: gateway._spool.syncing.puts_synced, seconds=10)
        assert gateway._spool.dispatchers == ["house"]


def test_an_answer_that_comes_while_two_sections_swap_their_names_is_for_its_own(file, server, port):
    with one_late_and_one_down(file, server, port) as (gateway, down):
        # when the disk is slow to take that they swap their names, and the answer comes
        late = gateway._dispatchers["home"]
        disk = swap_on_a_slow_disk(gateway, file)
        server.release()
        wait_until(lambda: ("15", "1", 2) in stored(server))
        assert not late.finished.wait(0.2)
        disk.go_on.set()
        wait_until(late.finished.is_set)
        down.status_500 = 0
        # then the other gets everything
        wait_until(lambda: stored(down) == [("15", "1", 1), ("15", "1", 2)])


def test_that_a_far_end_has_not_kept_what_was_under_way_is_noted_of_the_name_that_it_has_now(
    file, server, port
):
    with one_late_and_one_down(file, server, port) as (gateway, _):
        # when two swap their names before one answers that its disk is full
        late = gateway._dispatchers["home"]
        replace(file, swapped(file.read_text()))
        gateway.hangup.set()
        wait_until(lambda: gateway._dispatchers.get("home", late) is not late)
        server.feeds.unwritable = server.feeds.full = True
        server.release()
        wait_until(late.finished.is_set)
        assert list(gateway._spool.notes.below(NOT_KEPT)) == ["other"]


def test_that_a_far_end_has_not_kept_it_is_noted_of_its_new_name_while_the_disk_is_slow(file, server, port):
    with one_late_and_one_down(file, server, port) as (gateway, _):
        # when the disk is slow to take that two swap their names, and one answers that its own is full
        late = gateway._dispatchers["home"]
        disk = swap_on_a_slow_disk(gateway, file)
        server.feeds.unwritable = server.feeds.full = True
        server.release()
        wait_until(lambda: ("15", "1", 2) in stored(server))
        assert not late.finished.wait(0.2)
        disk.go_on.set()
        wait_until(late.finished.is_set)
        assert list(gateway._spool.notes.below(NOT_KEPT)) == ["other"]


@pytest.mark.parametrize("pace", ["", "batch = 2\n"])
def test_an_answer_to_a_section_that_is_removed_is_not_for_the_one_that_takes_its_name(
    file, server, port, pace
):
    with one_late_and_one_down(file, server, port) as (gateway, down):
        # when the slow one is removed, and the other has its name
        late = gateway._dispatchers["home"]
        listeners, _, sections = file.read_text().partition("[[home]]")
        replace(file, listeners + "[[home]]" + sections.partition("[[other]]")[2] + pace)
        gateway.hangup.set()
        wait_until(lambda: gateway._dispatchers.get("home", late) is not late)
        server.release()
        wait_until(late.finished.is_set)
        down.status_500 = 0
        # then it gets everything
        wait_until(lambda: stored(down) == [("15", "1", 1), ("15", "1", 2)])


def replace(file: Path, text: str) -> None:
    """Put another file in its place: a half of it would be another configuration."""
    new = file.with_suffix(".new")
    new.touch(0o600)
    new.write_text(text)
    new.replace(file)


def test_what_a_renamed_section_has_refused_and_which_nodes_it_knows_as_refused_follow_it(file, server, port):
    # given a node that the full account of an Emoncms does not take
    def about(name: str) -> dict:
        return ask(file.parent / "state" / "control", "status")["dispatchers"][name]

    server.max_nodes = 0
    with running(file) as gateway:
        push(port, "15 1")
        wait_until(lambda: about("home")["queue"]["refused"] == 1)
        # when its section is renamed
        new = file.with_suffix(".new")
        new.touch(0o600)
        new.write_text(file.read_text().replace("[[home]]", "[[house]]"))
        new.replace(file)
        gateway.hangup.set()
        wait_until(lambda: list(gateway._dispatchers) == ["house"])
        # then what was refused is there under the new name, as is that the node is refused
        assert about("house")["queue"]["refused"] == 1
        assert about("house")["refused_nodes"]["15"]["frames"] == 1
        assert list(ask(file.parent / "state" / "control", "queue")["dispatchers"]) == ["house"]


def test_where_every_second_reply_is_lost_that_is_one_line_until_it_has_been_good_for_a_while(
    server, file, port, caplog, monkeypatch
):
    def said() -> list[str]:
        return [r.message for r in caplog.records if r.name == "oemgateway.home"]

    def failures() -> int:
        return ask(file.parent / "state" / "control", "status")["dispatchers"]["home"]["failures"]

    with running(file) as gateway:
        for number in range(3):
            server.reset_after = 1
            push(port, f"15 {number}")
            wait_until(lambda count=number: len(server.stored) > count and failures() > count)
            wait_until(lambda: gateway._dispatchers["home"].trouble == "")
        assert len([line for line in said() if "no answer came" in line]) == 1
        # when it has been good for a while
        monkeypatch.setattr(trouble, "GOOD_FOR", 0.1)
        # then that is said, though nothing has come meanwhile
        wait_until(lambda: said()[-1] == "works again")
