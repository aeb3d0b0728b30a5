"""kill -9 at any moment, and a server that fails in every way: every frame arrives once, and in order.

KILLS says how many there are; `make soak` takes two hundred.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from pathlib import Path

import pytest

from gateway.spool import Spool
from tests.gateway_process import ENVIRONMENT, GatewayProcess, state
from tests.numbered_listener import install, node, read, values
from tests.simulators.emoncms import FakeEmoncms
from tests.waiting import wait_until

KILLS = int(os.environ.get("KILLS", "8"))

log = logging.getLogger("soak")

ROOT = Path(__file__).parents[1]
ONCE = (
    "reset_before",
    "reset_after",
    "hang",
    "hang_after",
    "slow",
    "status_500",
    "broken_off",
    "error_text",
    "html_fatal",
)
LASTING = ("refused", "wrong_key")


class Troubles(threading.Thread):
    """One trouble after another, until it is told to stop; between them the server works."""

    def __init__(self, server: FakeEmoncms) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.over = threading.Event()
        self.count: dict[str, int] = {}

    def run(self) -> None:
        while not self.over.wait(random.uniform(0, 0.8)):
            fault = random.choice(ONCE + LASTING)
            self.count[fault] = self.count.get(fault, 0) + 1
            self.server.pace = random.uniform(0, 0.003)
            if fault in ONCE:
                setattr(self.server, fault, 1)
            elif fault == "refused":
                self.server.stop()
                self.over.wait(0.3)
                self.server.start()
            else:
                self.server.wrong_key = math.inf
                self.over.wait(0.3)
                self.server.wrong_key = 0

    def stop(self) -> None:
        self.over.set()
        self.join()
        for fault in ONCE:
            setattr(self.server, fault, 0)
        self.server.pace = 0
        self.server.release()


@pytest.mark.parametrize(("nodes", "kills"), [(32, KILLS), (2, min(KILLS, 8))])
def test_every_frame_arrives_once_and_in_order(tmp_path, nodes, kills):
    # given fifty frames a second of three nodes, and a server that is given a second to answer
    file = tmp_path / "oemgateway.conf"
    with FakeEmoncms(redis=random.choice([True, False]), max_nodes=nodes) as server:
        file.write_text(
            f"{state(tmp_path)}[listeners]\n[[numbers]]\ntype = numbered\ndirectory = {tmp_path}\n"
            f"[dispatchers]\n[[home]]\ntype = emoncms\nurl = {server.url}\napikey = {server.key}\n"
            "interval = 0\ntimeout = 1\n"
        )
        path = os.pathsep.join([ENVIRONMENT["PYTHONPATH"], str(ROOT), str(install(tmp_path / "site"))])
        gateway = GatewayProcess(file, traced=False, PYTHONPATH=path)
        troubles = Troubles(server)
        troubles.start()
        # when it is killed again and again, while it starts or does anything else
        for _ in range(kills):
            gateway.launch()
            time.sleep(random.uniform(0, 2))
            gateway.kill()
        # and then has some time in peace
        troubles.stop()
        with gateway:
            (tmp_path / "enough").touch()
            wait_until((tmp_path / "ended").exists)
            wait_until(
                lambda: gateway.status()["dispatchers"]["home"]["queue"]["waiting"] == 0, what=gateway.status
            )
            assert gateway.stop() == 0
    # then each frame that was kept is there, once, after those before it, or set aside with its refused node
    arrived = [int(stored.value) for stored in server.stored if stored.key == "1"]
    spool = Spool(tmp_path / "state" / "queue.db")
    aside = [int(refused.frame.values[0] or 0) for refused in spool.refused("home", limit=100_000)]
    spool.close()
    kept, given = read(tmp_path / "kept"), read(tmp_path / "given")
    faults = f"{'with' if server.redis else 'without'} Redis, {troubles.count}"
    log.info("%d kills, %d frames kept, %d arrived; %s", kills, len(kept), len(arrived), faults)
    assert sorted(set(kept) - set(arrived) - set(aside)) == []
    assert aside == sorted(set(aside) - set(arrived))
    assert {node(number) for number in aside} <= {"5", "6", "7"} - {place[0] for place in server.inputs}
    assert arrived == sorted(set(arrived))
    assert set(arrived) <= set(given)
    assert [(stored.node, stored.key, stored.value) for stored in server.stored] == [
        (node(number), str(index), value)
        for number in arrived
        for index, value in enumerate(values(number), 1)
        if value is not None
    ]
