"""The main job on real parts: Debian's OWFS on a simulated chip, a pty, a server, and a kill."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway.clock import Clock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from listeners.simulated.rfm12pi import SimulatedRfm12pi
from tests.gateway_process import GatewayProcess, state
from tests.ports import connect, free_port
from tests.simulators.emoncms import FakeEmoncms
from tests.simulators.owfs_peers import owfs_mount, owserver
from tests.simulators.radio_firmware import Rfm2pi
from tests.waiting import wait_until

OLD_FILE = Path(__file__).parent / "vectors" / "oemgateway-2014.conf"


def home(server: FakeEmoncms) -> str:
    """Return the [dispatchers] section that posts there, each frame at once."""
    return (
        f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\ninterval = 0\n"
    )


def push(port: int, *lines: str) -> None:
    with connect(port) as client:
        client.sendall("".join(f"{line}\r\n" for line in lines).encode())


@pytest.mark.needs_root
def test_the_file_of_2014_on_a_mounted_bus_and_a_radio(tmp_path, server):
    # given the file that users have had since 2014, with its paths and addresses put where the parts are,
    # a bus on which the sensor of index 4 is not there, and a board on a pty
    sensors = [Ds18b20("28.33F749050000", 18.625), Ds18b20("28.DB564A050000", -10.125)]
    fourth = Ds18b20("28.AB1663050000", 19.25)
    fourth.present = False
    bridge = Ds2482(Clock(), [*sensors, fourth])
    radio = SimulatedRfm12pi(period=3600, firmware=Rfm2pi())
    port = free_port()
    with owserver(bridge, tmp_path) as owserver_port, owfs_mount(owserver_port, tmp_path) as mount:
        file = tmp_path / "oemgateway.conf"
        text = OLD_FILE.read_text().replace("[gateway]\n", state(tmp_path), 1)
        for old, new in {
            "/dev/ttyAMA0": radio.port,
            "/mnt/1wire": str(mount),
            "port_nb = 50011": f"port_nb = {port}",
            "interval = 10": "interval = 2",
            "domain = localhost": f"domain = {server.url.removeprefix('http://')}",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": server.key,
        }.items():
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
        with GatewayProcess(file, traced=False) as gateway:
            # when the board hears a packet, the bus is swept and a client connects
            wait_until(lambda: "the board says" in gateway.log)
            radio.print(" 7 1 0")
            radio.print(" 10 252 255 0 0 33 99")
            push(port, "15 69 1664")
            # then everything is under its index, and nothing is made up for the sensor that is not there
            wait_until(lambda: len(server.values("9")) == 2 and server.values("10"))
            assert server.values("9") == {"1": 18.625, "2": -10.125}
            assert server.values("10") == {"1": -4, "2": 0, "3": 25377}
            assert server.values("15") == {"1": 69, "2": 1664}
            assert all("null" not in request.body.decode() for request in server.requests)
            # and when it is plugged in, it comes in as index 4
            fourth.present = True
            wait_until(lambda: "4" in server.values("9"))
            assert server.values("9") == {"1": 18.625, "2": -10.125, "4": 19.25}
            assert gateway.stop() == 0
        for kept in server.stored:
            if kept.node == "9":
                assert kept.time % 2 == 0
    radio.close()


def test_after_a_kill_while_the_server_is_down_every_frame_arrives_once_and_in_order(
    tmp_path, written, server
):
    port = free_port()
    file = written(f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n{home(server)}")
    server.stop()
    with GatewayProcess(file, traced=False) as gateway:
        for n in range(200):
            push(port, f"15 {n}")
        wait_until(lambda: gateway.status()["listeners"]["push"]["frames"] == 200)
        gateway.kill()
        server.start()
        gateway.start()
        wait_until(lambda: len(server.stored) >= 200)
        push(port, "15 200")
        wait_until(lambda: server.stored[-1].value == 200)
        assert gateway.stop() == 0
    assert [kept.value for kept in server.stored] == list(range(201))


def test_it_ends_while_server_and_bus_hang_and_nothing_is_lost(tmp_path, server):
    port = free_port()
    file = tmp_path / "oemgateway.conf"
    with socket.create_server(("127.0.0.1", 0)) as hung_owserver:
        file.write_text(
            f"{state(tmp_path)}[listeners]\n[[push]]\ntype = tcp\nport = {port}\n"
            f"[[bus]]\ntype = owserver\nserver = 127.0.0.1:{hung_owserver.getsockname()[1]}\nnode = 9\n"
            "sensor1 = 28.33F749050000\n"
            f"{home(server)}"
        )
        server.hang = 1
        with GatewayProcess(file, traced=False) as gateway:
            push(port, "15 1")
            wait_until(lambda: server.hanging == 1)
            push(port, "15 2")
            wait_until(lambda: gateway.status()["listeners"]["push"]["frames"] == 2)
            # then it does not wait for them: tests/test_daemon.py knows for how long it does
            assert gateway.stop() == 0
            assert server.hanging == 1
            server.release()
            gateway.start()
            wait_until(lambda: [kept.value for kept in server.stored] == [1, 2])
