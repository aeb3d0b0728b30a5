"""How a running gateway is, as its own user asks it: `oemgateway status`."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import asdict

import pytest

from gateway.commands.status import lines
from gateway.present.collecting import refusals
from gateway.present.status import ClockStatus, RefusedNodeStatus, Status, from_json
from tests.gateway_process import GatewayProcess, command, state
from tests.ports import free_port
from tests.simulators.emoncms import FakeEmoncms
from tests.statuses import answer, dispatcher, listener
from tests.statuses import status as a_status
from tests.waiting import wait_until

LOG = "[dispatchers]\n[[log]]\ntype = log\n"
BRIDGE = """[listeners]
[[bridge]]
type = ds2482
bus = simulated
node = 9
interval = 1
sensor1 = 28.33F749050000, cellar
"""


@pytest.fixture
def file(tmp_path, written):
    return written(f"{state(tmp_path)}simulate = yes\n{BRIDGE}{LOG}")


def status(file, *options):
    return command("--config-file", file, "status", *options)


def test_without_a_gateway_it_says_so(file):
    done = status(file)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert ": sudo service oemgateway start" in done.stderr


def test_a_healthy_gateway_is_told_in_four_lines(file):
    with GatewayProcess(file) as gateway:
        wait_until(lambda: gateway.status()["dispatchers"]["log"]["frames"] >= 3)
        done = wait_until(lambda: (asked := status(file)) and "none waits" in asked.stdout and asked)
    assert (done.returncode, done.stderr) == (0, "")
    head, bridge, log, clock = done.stdout.splitlines()
    assert re.fullmatch(rf"oemgateway \S+ is healthy, up \S+ s, pid \d+, {file}", head)
    assert re.fullmatch(r"  bridge  \d+ frames in, \d+(\.\d)? a minute; node 9 \S+ s ago", bridge)
    assert re.fullmatch(r"  log     \d+ frames out, the last \S+ s ago; none waits", log)
    assert clock == "  clock   right"


def test_what_is_wrong_is_marked_and_the_command_fails(file, tmp_path):
    # given a sensor that is not there, a port that is not, and a server that is down
    text = file.read_text().replace(LOG, "")
    file.write_text(
        f"{text}sensor2 = 28.DB564A050001, flow\n[[radio]]\ntype = rfm12pi\nport = {tmp_path}/nothing\n"
        "[dispatchers]\n[[home]]\ntype = emoncms\nurl = http://127.0.0.1:9\n"
        "apikey = 00112233445566778899aabbccddeeff\ninterval = 0\n"
    )
    with GatewayProcess(file) as gateway:
        wait_until(lambda: gateway.status()["dispatchers"]["home"]["trouble"])
        wait_until(lambda: gateway.status()["listeners"]["bridge"]["troubles"])
        done = status(file)
        told = json.loads(status(file, "--json").stdout)
    assert done.returncode == 1
    marked = " ".join(done.stdout.split())
    assert "is in trouble" in marked
    assert "! sensor2 28.DB564A050001 (flow): no answer" in marked
    assert f"! {tmp_path}/nothing: No such file or directory" in marked
    assert "home no frame out yet;" in marked
    assert "! http://127.0.0.1:9: not reached (Connection refused)" in marked
    assert re.search(r"; \d+ waits?, the oldest for \S+ s", marked)
    assert "next try in" in marked
    assert "001122" not in done.stdout
    assert told["healthy"] is False
    assert told["dispatchers"]["home"]["last_trouble"]["text"].startswith("http://127.0.0.1:9: not reached")
    assert told["listeners"]["bridge"]["nodes"]["9"]["frames"] > 0


def test_a_trouble_that_is_over_is_still_told_but_no_fault(file):
    with FakeEmoncms() as server:
        file.write_text(
            file.read_text().replace(
                LOG,
                f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\n"
                "interval = 0\n",
            )
        )
        server.status_500 = 1
        with GatewayProcess(file) as gateway:
            wait_until(lambda: gateway.status()["dispatchers"]["home"]["frames"])
            done = status(file)
    assert done.returncode == 0, done.stdout
    assert re.search(r"home .* s ago: http://\S+ it answers 500", " ".join(done.stdout.split()))


@pytest.mark.parametrize("lines", [b"9 nan\n" * 3, b"9 24x05\n" * 3])
def test_a_listener_whose_lines_are_all_refused_is_not_healthy_until_one_is_taken(file, tmp_path, lines):
    port = free_port()
    file.write_text(f"{state(tmp_path)}[listeners]\n[[lines]]\ntype = tcp\nport = {port}\n{LOG}")
    with GatewayProcess(file) as gateway, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(lines)
        wait_until(lambda: not gateway.status()["healthy"])
        ill = status(file)
        client.sendall(b"5 nan 2\n")
        wait_until(lambda: gateway.status()["healthy"])
        well = status(file)
    assert (ill.returncode, well.returncode) == (1, 0)
    assert "! every line is refused: 3 in a row" in ill.stdout
    assert "1 x value-missing" in well.stdout


def test_a_listener_one_of_whose_nodes_is_anothers_is_not_healthy(file):
    port = free_port()
    file.write_text(file.read_text().replace(LOG, f"[[lines]]\ntype = tcp\nport = {port}\n{LOG}"))
    with GatewayProcess(file) as gateway, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"5 1\n9 1\n")
        wait_until(lambda: gateway.status()["listeners"]["lines"]["troubles"])
        assert gateway.status()["healthy"] is False
        assert "! node 9 is refused: the configuration gives it to another listener" in status(file).stdout


def test_a_node_that_two_listeners_hear_is_a_trouble(file):
    ports = free_port(), free_port()
    sections = "".join(f"[[lines{at}]]\ntype = tcp\nport = {port}\n" for at, port in enumerate(ports))
    file.write_text(file.read_text().replace(LOG, sections + LOG))

    def say(*lines):
        for port, line in zip(ports, lines, strict=True):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(line)

    with GatewayProcess(file) as gateway:
        # given a node of which little comes from a second listener, as by damaged lines,
        # and one in which each listener has indices of its own, as of two buses
        say(b"5 nan 2\n" * 10 + b"7 21.5\n" * 10, b"5 1 nan\n" * 10 + b"7 3\n" * 9 + b"8 1\n")
        wait_until(lambda: "8" in gateway.status()["listeners"]["lines1"]["nodes"])
        assert gateway.status()["troubles"] == []
        # when more comes, then that is said
        say(b"7 21.5\n", b"7 3\n")
        (trouble,) = wait_until(lambda: gateway.status()["troubles"])
        assert trouble == (
            "node 7 comes from lines0 and lines1: one device is stored twice, or two are mixed; "
            "switch one section off, or give one device another node"
        )


def test_a_node_that_is_refused_is_a_trouble_until_it_is_taken(file, tmp_path):
    # given an account with room for one node, which is another's
    with FakeEmoncms(max_nodes=1) as server:
        server._take_values(1_700_000_000, "8", {"1": 1.0})
        file.write_text(
            file.read_text().replace(
                LOG,
                f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\n"
                "interval = 0\n",
            )
        )
        with GatewayProcess(file) as gateway:
            wait_until(
                lambda: (
                    gateway.status()["dispatchers"]["home"]["refused_nodes"].get("9", {}).get("frames", 0) > 1
                )
            )
            refused = status(file)
            # when there is room, and somebody has what was refused sent again
            server.max_nodes = 2
            retried = command("--config-file", file, "queue", "retry")
            wait_until(lambda: gateway.status()["healthy"])
            wait_until(lambda: gateway.status()["dispatchers"]["home"]["queue"]["refused"] == 0)
            log = gateway.log
    assert refused.returncode == 1
    said = " ".join(refused.stdout.split())
    assert re.search(
        r"! node 9 is refused, \d+ frames of it set aside \(the next one is tried in \d+ min", said
    )
    assert "it has all the 1 nodes it allows and refuses node 9: delete unused ones there" in said
    assert retried.returncode == 0
    assert log.count("node 9 is refused") == 1
    assert log.count("node 9 is taken now") == 1


def test_a_faulty_edit_is_told_as_long_as_it_stands_and_the_gateway_is_found_all_the_same(file):
    with GatewayProcess(file) as gateway:
        right = file.read_text()
        file.write_text(right.replace("interval = 1", "interval = often"))
        wait_until(lambda: gateway.status()["troubles"])
        faulty = status(file)
        file.write_text(right)
        wait_until(lambda: gateway.status()["healthy"])
    assert faulty.returncode == 1
    assert f"! {file} has faults (oemgateway check shows them)" in " ".join(faulty.stdout.split())


def radio(**changes):
    return a_status(listeners={"radio": listener(**changes)})


def home(**changes):
    return a_status(dispatchers={"home": dispatcher(**changes)})


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (a_status(healthy=False), "oemgateway 1.0 is in trouble, up 60 s, pid 812, /etc/oemgateway.conf"),
        (radio(silent={"10": 2.0, "15": 9000.0}), "node 10 2 s ago, node 15 2 hours ago (silent)"),
        (radio(faults={"damaged": 15, "too long": 1}), "so far 15 x damaged, 1 x too long"),
        (radio(faults={"damaged": 1}, remark="nothing of it"), "so far 1 x damaged; nothing of it"),
        (radio(frames=0, faults={"no answer": 1}), "no frame in yet; so far 1 x no answer"),
        (radio(trouble="no port", next_try=4.2), "next try in 4 s"),
        (home(failures=30, last_trouble="no answer"), "2 s ago: no answer; failed 30 times since"),
        (home(troubles=["node 33 is refused"]), "! node 33 is refused"),
        (radio(troubles=["node 15 is silent"]), "! node 15 is silent"),
        (home(queue={"waiting": 3, "age": 7200.0, "held": 1}), "3 wait, the oldest for 2 hours"),
        (home(queue={"waiting": 3, "age": 9.0, "held": 1}), "1 of them held until the clock is right"),
        (home(queue={"refused": 2}), "2 refused (oemgateway queue list --refused says why)"),
        (home(doubled=5), "5 may have arrived twice"),
        (
            a_status(clock=ClockStatus(doubt="", holding=False, steps=2, last_step=86400.0)),
            "right; set 2 times since the start, last by +86400 s",
        ),
        (
            a_status(clock=ClockStatus(doubt="it shows 1970", holding=False, steps=0, last_step=0.0)),
            "clock in doubt",
        ),
        (a_status(troubles=["the disk refuses"]), "! the disk refuses"),
        (a_status(dropped=9), "9 frames were dropped"),
        (a_status(refused_dropped=9), "9 of what was refused were dropped, ever"),
    ],
)
def test_each_thing_there_is_to_say(told, words):
    assert words in " ".join("\n".join(lines(told)).split())


def test_what_a_trouble_quotes_is_shown_plain():
    said = list(lines(radio(troubles=["bus \x1b[2J\n  ! forged\u202e"], faults={"\x9b31m": 1})))
    assert not any(c in "".join(said) for c in "\x1b\x9b\u202e\n")
    assert r"! bus \x1b[2J\n  ! forged\u202e" in " ".join("\n".join(said).split("\n"))


def test_a_week_without_power_is_told_in_a_few_lines():
    troubles = ["the clock shows a time 20000 days before one that has passed: readings are held"]
    home = dispatcher(queue={"waiting": 120960, "age": 604800.0})
    assert len(list(lines(a_status(troubles=troubles, dispatchers={"home": home})))) == 5


def test_of_many_refused_nodes_some_have_a_line_and_the_others_are_named():
    about = RefusedNodeStatus(reason="no room", frames=1, next_try=1800.0)
    said = list(refusals({str(number): about for number in range(33, 45)}))
    assert len(said) == 6
    assert (
        said[0]
        == "node 33 is refused, 1 frame of it set aside (the next one is tried in 30 minutes): no room"
    )
    assert said[-1] == "7 more nodes are refused: 38, 39, 40, 41, 42, 43, 44"


def test_it_is_the_same_again_from_its_json_and_from_that_of_a_newer_gateway():
    about = RefusedNodeStatus(reason="no room", frames=1, next_try=1800.0)
    whole = a_status(
        listeners={"radio": listener(silent={"10": 2.0}, last_trouble="no port")},
        dispatchers={"home": dispatcher(queue={"waiting": 1}, refused_nodes={"9": about})},
    )
    given = json.loads(json.dumps(asdict(whole)))
    assert from_json(Status, given) == whole
    assert from_json(Status, {**given, "mood": "good"}) == whole


@pytest.mark.parametrize(
    "given", [{}, {**answer(), "listeners": ["radio"]}, {"listeners": {"radio": 1}}, [], 1]
)
def test_what_is_no_status_is_refused(given):
    with pytest.raises((TypeError, AttributeError, KeyError)):
        from_json(Status, given)
