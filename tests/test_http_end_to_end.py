"""Devices and other gateways that post, through the whole daemon, to a server."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import requests

from tests.gateway_process import GatewayProcess, state
from tests.gateway_thread import running
from tests.ports import connect, free_port
from tests.waiting import wait_until

KEY = "fedcba98765432100123456789abcdef"


def write(directory: Path, listeners: str, url: str, key: str) -> Path:
    directory.mkdir(exist_ok=True)
    file = directory / "oemgateway.conf"
    file.touch(0o600)
    file.write_text(
        f"{state(directory)}[listeners]\n{listeners}"
        f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {url}\napikey = {key}\ninterval = 0\n"
    )
    return file


def http(port: int) -> str:
    return f"[[push]]\ntype = http\nport = {port}\napikey = {KEY}\n"


def test_a_doorbell_is_answered_while_emoncms_is_away_and_its_press_arrives_with_its_time(tmp_path, server):
    # given an Emoncms that cannot be reached
    port = free_port()
    server.stop()
    with GatewayProcess(write(tmp_path, http(port), server.url, server.key)) as gateway:
        # when a doorbell sends its battery's voltage, and the time of the press, and goes back to sleep
        pressed = int(time.time()) - 5
        doorbell = "/input/post?node=doorbell&fulljson={%22battery%22:2.91}"
        reply = requests.get(
            f"http://127.0.0.1:{port}{doorbell}&time={pressed}&apikey={KEY}",
            headers={"Connection": "close"},
            timeout=60,
        )
        # then it has its answer, and even if the gateway is killed now
        assert (reply.status_code, reply.text) == (200, '{"success": true}')
        gateway.kill()
        gateway.start()
        # the voltage is there when Emoncms is back
        server.start()
        wait_until(lambda: server.stored)
        assert gateway.stop() == 0
    ((node, key, when, value),) = server.stored
    assert (node, key, when, value) == ("doorbell", "battery", pressed, 2.91)


def test_a_kill_takes_no_post_that_was_answered(tmp_path, server):
    # given a device that posts as fast as it is answered, and stops when it is not
    port = free_port()
    answered = []

    def post() -> None:
        with requests.Session() as session, suppress(requests.RequestException):
            while True:
                number = len(answered) + 1
                place = f"http://127.0.0.1:{port}/input/post?node=1&csv={number}&apikey={KEY}"
                if session.get(place, timeout=60).text == "ok":
                    answered.append(number)

    with GatewayProcess(write(tmp_path, http(port), server.url, server.key)) as gateway:
        device = threading.Thread(target=post)
        device.start()
        wait_until(lambda: len(answered) >= 50)
        # when the gateway is killed meanwhile
        gateway.kill()
        device.join()
        gateway.start()
        wait_until(lambda: any(int(kept.value) >= len(answered) for kept in server.stored))
        assert gateway.stop() == 0
    # then all that was answered arrives, and of the rest at most the one that had no answer
    arrived = [int(kept.value) for kept in server.stored]
    assert arrived in (answered, [*answered, len(answered) + 1])


def test_a_gateway_may_post_to_another_one(tmp_path, server):
    # given a gateway whose Emoncms is another gateway, whose Emoncms is one
    first, second, lines = free_port(), free_port(), free_port()
    near = write(
        tmp_path / "near",
        f"{http(first)}[[lines]]\ntype = tcp\nport = {lines}\n",
        f"http://127.0.0.1:{second}/emoncms",
        KEY,
    )
    far = write(tmp_path / "far", http(second), server.url, server.key)
    with running(far) as far_gateway, running(near):
        # when the first has lines, and rows with a place that has no value
        wait_until(lambda: posted(first, "/input/post?node=up&csv=1"))
        with connect(lines) as client:
            client.sendall(b"".join(b"15 %d -7\n" % n for n in range(500)))
        now = int(time.time())
        assert posted(first, f'/input/bulk?time=0&data=[[{now},"attic",18.7,null,22,{{"rain":3}}]]')
        # then everything is at the last one, once and in order, under the same indices and with the same time
        wait_until(lambda: len(server.stored) == 1004)
        (connection,) = far_gateway._listeners["push"].plugin._server.clients
        assert connection.host == "127.0.0.1"
    assert [kept.value for kept in server.stored if (kept.node, kept.key) == ("15", "1")] == list(range(500))
    assert server.values("15") == {"1": 499, "2": -7}
    assert server.values("attic") == {"1": 18.7, "3": 22, "rain": 3}
    assert {kept.time for kept in server.stored if kept.node == "attic"} == {now}


def posted(port: int, path: str) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}{path}&apikey={KEY}", timeout=60).text == "ok"
    except requests.ConnectionError:
        return False


def test_a_post_for_a_node_of_another_section_is_refused_and_says_so(tmp_path, server):
    port = free_port()
    sensors = "[[bus]]\ntype = owserver\nserver = 127.0.0.1:1\nnode = 9\nsensor1 = 28.33F749050000\n"
    with running(write(tmp_path, f"{http(port)}{sensors}", server.url, server.key)):
        wait_until(lambda: posted(port, "/input/post?node=10&csv=1"))
        rows = '/input/bulk?time=0&data=[[0,"10",2],[0,"9",1]]'
        for path in ("/input/post?node=9&csv=1", rows):
            reply = requests.get(f"http://127.0.0.1:{port}{path}&apikey={KEY}", timeout=60)
            expected = "node 9 belongs to another listener here: another node expected"
            assert (reply.status_code, reply.json()["message"]) == (400, expected)
        assert posted(port, "/input/post?node=10&csv=3")
        wait_until(lambda: server.values("10") == {"1": 3})
    assert [(kept.node, kept.value) for kept in server.stored] == [("10", 1), ("10", 3)]
