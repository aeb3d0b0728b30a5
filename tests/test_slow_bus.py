"""A 1-Wire bus that hangs keeps nobody waiting: the radio is heard, and its frames are posted, meanwhile."""

from __future__ import annotations

import signal
import struct
import time
from contextlib import ExitStack

import pytest

from gateway.clock import Clock
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from listeners.simulated.rfm12pi import SimulatedRfm12pi
from tests.gateway_process import GatewayProcess, state
from tests.ports import free_port
from tests.simulators.i2c_server import i2c_server
from tests.simulators.owfs_peers import owfs_mount, owserver_process
from tests.waiting import wait_until

ID = "28.33F749050000"

HANGS_S = 4.0
"""How long the bus hangs at least: twice as long as one request of it is waited for."""

PACKETS = 60
"""How many packets come meanwhile: two minutes' work, if each had to wait for a request of the bus."""


@pytest.mark.parametrize("way", ["owserver", pytest.param("owfs", marks=pytest.mark.needs_root)])
def test_the_radio_goes_on_while_the_bus_hangs(tmp_path, written, server, way):
    with ExitStack() as stack:
        # given an owserver whose sensor is read every second, a radio, and a server that has heard of both
        bus = Ds2482(Clock(), [Ds18b20(ID, 21.5)])
        environment = stack.enter_context(i2c_server(bus))
        port = free_port()
        owserver = stack.enter_context(owserver_process(port, tmp_path, ["--i2c=/dev/i2c-99:0"], environment))
        there = f"server = 127.0.0.1:{port}"
        if way == "owfs":
            there = f"path = {stack.enter_context(owfs_mount(port, tmp_path))}"
        radio = SimulatedRfm12pi(period=3600)
        stack.callback(radio.close)
        file = written(
            f"{state(tmp_path)}[listeners]\n[[bus]]\ntype = {way}\n{there}\nnode = 9\ninterval = 1\n"
            f"sensor1 = {ID}\n[[radio]]\ntype = rfm12pi\nport = {radio.port}\n"
            f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\n"
            "interval = 0\n"
        )
        gateway = stack.enter_context(GatewayProcess(file, traced=False))

        def heard(number):
            radio.hear(10, struct.pack("<h", number))
            return lambda: server.values("10").get("1") == number

        def swept():
            return sum(kept.node == "9" for kept in server.stored)

        wait_until(lambda: swept() and heard(0)())
        # when the owserver stands still
        owserver.send_signal(signal.SIGSTOP)
        stack.callback(owserver.send_signal, signal.SIGCONT)
        began = time.monotonic()
        # then the packets are at the server all the while
        before, number = swept(), 0
        while number < PACKETS or time.monotonic() < began + HANGS_S:
            number += 1
            wait_until(heard(number), began + 60 - time.monotonic(), f"packet {number} at the server")
        # and of the bus nothing but a sweep that was just over
        assert swept() <= before + 1
        owserver.send_signal(signal.SIGCONT)
        wait_until(lambda: swept() > before + 2)
        assert gateway.stop() == 0
