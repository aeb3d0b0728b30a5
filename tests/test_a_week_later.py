"""The whole of it at once: a power cut in an outage, and a start a week later when much has happened.

The program has a clock of its own, and its boot is a file that is mounted over the kernel's; the bridge, the
board and the server are simulated.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.frame import Frame
from listeners.simulated.ds18b20 import Ds18b20
from listeners.simulated.ds2482 import Ds2482
from listeners.simulated.radio_firmware import Rf12demo
from listeners.simulated.rfm12pi import SimulatedRfm12pi
from tests.gateway_process import ENVIRONMENT, GatewayProcess, command, state
from tests.simulators.emoncms import FakeEmoncms
from tests.simulators.i2c_server import i2c_server
from tests.spools import open_queue
from tests.waiting import wait_until

WEEK = 7 * 86400

CLOCK = """
import time
right = time.time
def wrong():
    with open({file!r}) as ahead:
        return right() + float(ahead.read() or 0)
time.time = wrong
"""
"""What is run before the program: it makes its clock go ahead by what stands in a file."""

BOOT_ID = "/proc/sys/kernel/random/boot_id"
ANY = 0
"""The second of a packet, which is not on a grid."""


class House:
    """A gateway with two sensors and a radio, on a clock and in a boot of its own."""

    def __init__(self, folder: Path, server: FakeEmoncms, i2c: dict[str, str]) -> None:
        self.file = folder / "oemgateway.conf"
        self._clock, self._boot = folder / "clock", folder / "boot_id"
        self._folder = folder
        self.file.touch(0o600)
        self.file.write_text(
            f"{state(folder)}commit_interval = 0\n[listeners]\n"
            "[[bridge]]\ntype = ds2482\nnode = 9\ninterval = 1\nresolution = 9\n"
            "sensor1 = 28.33F749050000, flow\nsensor2 = 28.DB564A050000, return\nsensor3 = Dummy\n"
            f"[[radio]]\ntype = rfm12pi\nport = {folder}/ttyUSB*\n"
            f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\n"
            "interval = 0\n"
        )
        (folder / "sitecustomize.py").write_text(CLOCK.format(file=str(self._clock)))
        self.gateway = GatewayProcess(
            self.file,
            traced=False,
            before=[
                "unshare",
                "--mount",
                "sh",
                "-c",
                f'mount --bind {self._boot} {BOOT_ID}; exec "$@"',
                "sh",
            ],
            I2CSIM=i2c["I2CSIM"],
            LD_PRELOAD=i2c["LD_PRELOAD"],
            PYTHONPATH=os.pathsep.join([str(folder), ENVIRONMENT["PYTHONPATH"]]),
        )

    @contextmanager
    def running(self, *, boot: str, ahead: float, port: str) -> Iterator[SimulatedRfm12pi]:
        """Start it in a new boot, with the board on this port; kill it at the end if it still runs."""
        self._boot.write_text(f"{boot}\n")
        self.set_clock(ahead)
        radio = SimulatedRfm12pi(link=self._folder / port, period=0, firmware=Rf12demo())
        try:
            with self.gateway:
                yield radio
        finally:
            radio.close()

    def set_clock(self, ahead: float) -> None:
        """Have its clock so many seconds ahead of the right one."""
        new = self._clock.with_suffix(".new")
        new.write_text(str(ahead))
        new.replace(self._clock)

    def kept(self) -> list[Frame]:
        """Return what is on the disk while it does not run."""
        spool = open_queue(self._folder / "state" / "queue.db", "home")
        kept = [frame for _, frame in spool.peek("home", 1000)]
        spool.close()
        return kept


@pytest.mark.needs_root
def test_after_a_week_without_power_every_reading_is_there_once_at_its_time_under_its_index(tmp_path, server):
    # given a gateway that reads two sensors and a radio, while the server is down
    flow, back = Ds18b20("28.33F749050000", 18.5), Ds18b20("28.DB564A050000", -10.5)
    server.stop()
    with i2c_server(Ds2482(Clock(), [flow, back])) as i2c:
        house = House(tmp_path, server, i2c)
        gateway = house.gateway
        with house.running(boot="1" * 36, ahead=0, port="ttyUSB0") as radio:
            hear(gateway, radio, range(30))
            wait_until(lambda: gateway.status()["listeners"]["bridge"]["frames"] >= 3)
        # when the power is cut, and comes back a week later: the clock shows 1970, a sensor is dead, and the
        # radio has another name
        kept = house.kept()
        back.present = False
        server.start()
        server.clock_ahead = WEEK
        started = time.time() + WEEK
        with house.running(boot="2" * 36, ahead=-time.time(), port="ttyUSB7") as radio:
            hear(gateway, radio, range(30, 60))
            wait_until(lambda: gateway.status()["listeners"]["bridge"]["frames"] >= 2)
            assert gateway.status()["clock"]["holding"]
            # and the clock is set in the end
            house.set_clock(WEEK)
            wait_until(lambda: not gateway.status()["clock"]["doubt"])
            wait_until(lambda: gateway.status()["dispatchers"]["home"]["queue"]["waiting"] == 0)
            told = command("--config-file", house.file, "status")
            ended = time.time() + WEEK
            assert gateway.stop() == 0
    # then every reading that had reached the disk is there, once, in order, and at its time
    arrived = [(stored.node, stored.key, stored.value, stored.time) for stored in server.stored]
    assert [value for node, _, value, _ in arrived if node == "10"] == list(range(60))
    assert {
        (frame.node, str(index), value, round(frame.stamp.wall) if frame.node == "9" else ANY)
        for frame in kept
        for index, value in frame.items()
    } <= {(*each[:3], each[3] if each[0] == "9" else ANY) for each in arrived}
    places = Counter((node, key, when) for node, key, _, when in arrived if node == "9")
    assert set(places.values()) == {1}
    # each under its index, with a gap where the dead sensor is
    old = {each for each in arrived if each[3] < started - WEEK / 2}
    assert {each[:3] for each in old if each[0] == "9"} == {("9", "1", 18.5), ("9", "2", -10.5)}
    new = set(arrived) - old
    assert {each[:3] for each in new if each[0] == "9"} == {("9", "1", 18.5)}
    assert all(started - 2 <= when <= ended + 1 for *_, when in new)
    assert all(started - WEEK - 60 <= when <= started - WEEK for *_, when in old)
    # and the command says so in a line for each thing there is, and one for what is wrong
    lines = told.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["oemgateway", "bridge", "!", "radio", "home", "clock"]
    assert "! sensor2 28.DB564A050000 (return): no answer" in lines[2]
    assert "none waits" in lines[4]
    assert re.search(r"right; set once since the start, last by \+\d+ s", lines[5])
    assert told.returncode == 1


def hear(gateway: GatewayProcess, radio: SimulatedRfm12pi, packets: range) -> None:
    """Have the radio hear packets, each with its number, until all of them are on the disk."""
    for number in packets:
        radio.hear(10, bytes([number, 0]))
    wait_until(lambda: gateway.status()["listeners"]["radio"]["frames"] == len(packets))
