"""From a gateway through a broken network to a relay: each frame once and in order, in every outage.

KILLS says how many kills, or power cuts, there are; `make soak` takes two hundred.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.spool import Spool
from tests import numbered_listener
from tests.card import Card, freeze
from tests.gateway_process import GatewayProcess
from tests.relayed import UNLIMITED, Way, check_once_and_in_order, waiting_in
from tests.simulators.broken_network import BrokenNetwork
from tests.simulators.emoncms import FakeEmoncms
from tests.simulators.mosquitto import Mosquitto
from tests.test_disk import fill
from tests.waiting import wait_until

KILLS = int(os.environ.get("KILLS", "6"))
BOOT_ID = "/proc/sys/kernel/random/boot_id"

log = logging.getLogger("soak")


@pytest.fixture
def draw() -> random.Random:
    return random.Random(os.environ.get("SEED"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, options=UNLIMITED, verbose=False) as broker:
        yield broker
        broker.process.send_signal(signal.SIGCONT)


def trouble_the_broker(broker: Mosquitto, draw: random.Random) -> None:
    """Kill it, or have it hang for a while."""
    if draw.random() < 0.5:
        broker.kill()
        time.sleep(draw.uniform(0, 0.5))
        broker.start()
    else:
        broker.process.send_signal(signal.SIGSTOP)
        time.sleep(draw.uniform(0, 3))
        broker.process.send_signal(signal.SIGCONT)


def test_lost_answers_hangs_and_kills_lose_nothing_and_double_nothing(tmp_path, broker, draw):
    # given fifty frames a second, and on either side of the broker a network that fails in every way
    with BrokenNetwork(broker.port, draw) as here, BrokenNetwork(broker.port, draw) as there:
        way = Way(tmp_path, broker, gateway_port=here.port, relay_port=there.port, timeout=1)
        with way.sender, way.relay:
            # when gateway and relay are killed, and the broker is killed or hangs
            for _ in range(KILLS):
                time.sleep(draw.uniform(0, 2))
                victim = draw.choice(["sender", "relay", "broker"])
                if victim == "broker":
                    trouble_the_broker(broker, draw)
                    continue
                process: GatewayProcess = getattr(way, victim)
                process.kill()
                time.sleep(draw.uniform(0, 0.5))
                process.launch()
            # and then have some time in peace
            here.heal()
            there.heal()
            wait_until(lambda: way.sender.is_ready() and way.relay.is_ready())
            way.finish()
    # then each frame that was kept has arrived, once, after those before it
    arrived = way.arrived()
    log.info("%d kills, %d frames arrived; %s; %s", KILLS, len(arrived), dict(here.count), dict(there.count))
    check_once_and_in_order(arrived, way.kept())


def frames_in(state: Path, scratch: Path) -> set[int]:
    """Return the numbers of the frames in the queue of a state directory, which is left as it is."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for file in state.glob("queue.db*"):
        shutil.copy(file, scratch)
    spool = Spool(scratch / "queue.db", in_memory=False)
    try:
        return {int(each.frame.values[0] or 0) for each in spool.waiting(limit=1_000_000)}
    finally:
        spool.close()


class Cut:
    """Gateway and relay on cards of their own, each in a boot of its own, the relay before an Emoncms."""

    def __init__(
        self,
        tmp_path: Path,
        broker: Mosquitto,
        server: FakeEmoncms,
        stack: ExitStack,
        period: float = numbered_listener.PERIOD,
    ) -> None:
        self._scratch = tmp_path / "scratch"
        self._boots = {name: tmp_path / f"{name}.boot" for name in ("sender", "relay")}
        self.way = Way(
            tmp_path,
            broker,
            timeout=1,
            period=period,
            destination=(
                f"type = emoncms\nurl = {server.url}\napikey = {server.key}\ninterval = 0\ntimeout = 2"
            ),
            before={
                name: ["unshare", "-m", "sh", "-c", f'mount --bind {boot} {BOOT_ID}; exec "$@"', "sh"]
                for name, boot in self._boots.items()
            },
        )
        self.lost: set[int] = set()
        self.certain: set[int] = set()
        self.cards = {
            name: stack.enter_context(Card(tmp_path / f"{name}.image", self.at(name))) for name in self._boots
        }
        for name in self._boots:
            self._new_boot(name)
            stack.enter_context(self.process(name))

    def at(self, name: str) -> Path:
        return self.way.directory / name / "state"

    def process(self, name: str) -> GatewayProcess:
        process: GatewayProcess = getattr(self.way, name)
        return process

    def begin(self, name: str) -> None:
        """Start it, in a new boot."""
        self._new_boot(name)
        self.process(name).launch()

    def _new_boot(self, name: str) -> None:
        self._boots[name].write_text(f"{random.randbytes(8).hex()}\n")

    def power(self, name: str, image: Path | None = None) -> None:
        """Cut its power; it begins with what its card had, or with a restored image.

        What the gateway had kept and does not wait any more was confirmed: it has to arrive. So has what is
        still there afterwards.
        """
        process = self.process(name).process
        if name == "relay":
            self.cards[name].cut(process)
        else:
            freeze(process)
            before = frames_in(self.at(name), self._scratch)
            self.certain |= self.way.kept() - before - self.lost
            self.cards[name].cut(process, image)
            after = frames_in(self.at(name), self._scratch)
            gone = before - after
            assert image or not gone & self.certain, "a disk has lost what it had"
            self.certain = (self.certain - gone) | after
            self.lost |= gone
        self.begin(name)


@pytest.mark.needs_root
def test_power_cuts_at_gateway_and_relay_take_only_what_no_disk_had(tmp_path, broker, draw, server):
    with ExitStack() as stack:
        cut = Cut(tmp_path, broker, server, stack)
        way, image = cut.way, None
        for number in range(KILLS):
            time.sleep(draw.uniform(0.5, 3))
            wait_until(way.sender.is_ready)
            if number % 3 == 1:
                # a card that was copied while it worked, and is restored later
                image = cut.cards["sender"].copy(tmp_path / "restored")
            cut.power(draw.choice(["sender", "relay"]))
            if image and number % 3 == 0:
                cut.power("sender", image)
                image = None
        wait_until(lambda: way.sender.is_ready() and way.relay.is_ready())
        way.finish()
    arrived = [int(stored.value) for stored in server.stored if stored.key == "1"]
    log.info("%d power cuts, %d frames arrived, %d lost at the gateway", KILLS, len(arrived), len(cut.lost))
    check_once_and_in_order(arrived, (way.kept() - cut.lost) | cut.certain)


@pytest.mark.needs_root
@pytest.mark.parametrize("name", ["sender", "relay"])
def test_a_full_disk_on_either_side_holds_up_and_loses_nothing(tmp_path, broker, name, server):
    with ExitStack() as stack:
        # given a card with other files in it, and more frames than a full one has room for
        cut = Cut(tmp_path, broker, server, stack, period=0.01)
        way, process = cut.way, cut.process(name)
        wait_until(lambda: len(server.stored) > 20)
        # when they fill it, and what comes cannot go on
        if name == "relay":
            server.stop()
        else:
            way.relay.kill()
        others = cut.at(name) / "others"

        def is_full() -> bool:
            fill(others)  # also what the gateway has kept free for this
            return "the disk refuses" in " ".join(process.status()["troubles"])

        wait_until(is_full, 100, "a full disk")
        if name == "relay":
            # then nothing is confirmed that a power cut takes
            wait_until(lambda: waiting_in(way.sender, "out") > 100)
            cut.power("relay")
            server.start()
        else:
            # then what waits in memory goes out too
            count = len(way.kept())
            wait_until(lambda: len(way.kept()) > count + 50)
            way.relay.launch()
        time.sleep(2)
        others.unlink()
        wait_until(lambda: process.is_ready() and not process.status()["troubles"], what="the disk to work")
        way.finish()
    arrived = [int(stored.value) for stored in server.stored if stored.key == "1"]
    check_once_and_in_order(arrived, numbered_listener.read(tmp_path / "kept"))
