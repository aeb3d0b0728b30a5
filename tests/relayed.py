"""A gateway, a broker and a relay: each frame is to arrive at the relay's destination once, and in order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tests import numbered_listener, recording_dispatcher
from tests.gateway_process import ENVIRONMENT, GatewayProcess, state
from tests.simulators.mosquitto import Mosquitto
from tests.waiting import wait_until

UNLIMITED = "max_queued_messages 0"


class Way:
    """A gateway of numbered frames, a broker, and a relay that records what it gets.

    `gateway_port` and `relay_port` are where the two find the broker, and `destination` is the section that
    the relay delivers to. Frames come every `period`. `before` stands before the commands of both.
    """

    def __init__(
        self,
        tmp_path: Path,
        broker: Mosquitto,
        *,
        gateway_port: int = 0,
        relay_port: int = 0,
        timeout: int = 5,
        destination: str = "",
        period: float = numbered_listener.PERIOD,
        before: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        self.directory = tmp_path
        self.broker = broker
        self.plugins = tmp_path / "plugins"
        numbered_listener.install(self.plugins)
        recording_dispatcher.install(self.plugins)
        self.recorded = tmp_path / "recorded"
        self._before = before
        sending = (
            f"[listeners]\n[[numbers]]\ntype = numbered\ndirectory = {tmp_path}\nperiod = {period}\n"
            f"[dispatchers]\n[[out]]\n{_at(gateway_port or broker.port, timeout)}"
            "topic = oemgateway/pi\ndiscovery = no\nconfirm = relay\n"
        )
        recorded = f"type = recorded\nfile = {self.recorded}"
        relaying = (
            f"[listeners]\n[[in]]\n{_at(relay_port or broker.port, timeout)}"
            f"[dispatchers]\n[[to]]\n{destination or recorded}\n"
        )
        self.sender = self.process("sender", sending)
        self.relay = self.process("relay", relaying)

    def process(self, name: str, text: str) -> GatewayProcess:
        directory = self.directory / name
        (directory / "state").mkdir(parents=True)
        file = directory / "oemgateway.conf"
        file.write_text(f"{state(directory)}commit_interval = 0.2\n{text}")
        file.chmod(0o600)
        path = f"{ENVIRONMENT['PYTHONPATH']}:{self.plugins}"
        return GatewayProcess(file, before=self._before.get(name, ()), traced=False, PYTHONPATH=path)

    def arrived(self) -> list[int]:
        """Return the numbers of the frames that the relay has recorded."""
        return [int(value) for _, _, _, value in recording_dispatcher.read(self.recorded)]

    def finish(self) -> list[int]:
        """Have the gateway's listener end, and wait until everything has arrived; return what was given."""
        (self.directory / "enough").touch()
        wait_until((self.directory / "ended").exists)
        wait_until(lambda: waiting_in(self.sender, "out") == 0, 200, "the relay to have everything")
        wait_until(lambda: waiting_in(self.relay, "to") == 0, 100, "the last frame to arrive")
        return self.given()

    def given(self) -> list[int]:
        """Return the numbers of the frames that the gateway's listener has returned."""
        return numbered_listener.read(self.directory / "given")

    def kept(self) -> set[int]:
        """Return the numbers of the frames for which `put` has returned at the gateway."""
        return set(numbered_listener.read(self.directory / "kept"))


def _at(port: int, timeout: int) -> str:
    """Return the settings of a broker on this machine."""
    return f"type = mqtt\nhost = 127.0.0.1\nport = {port}\ntimeout = {timeout}\nkeepalive = {timeout + 4}\n"


def waiting_in(process: GatewayProcess, dispatcher: str) -> int:
    """Return how many frames a dispatcher of it has still to deliver."""
    return int(process.status()["dispatchers"][dispatcher]["queue"]["waiting"])


def check_once_and_in_order(arrived: Sequence[int], expected: Collection[int]) -> None:
    """Fail unless all that is expected has arrived, nothing twice, and each after those before it."""
    assert len(arrived) == len(set(arrived)), f"doubled: {len(arrived) - len(set(arrived))}"
    assert list(arrived) == sorted(arrived), "out of order"
    lost = sorted(set(expected) - set(arrived))
    assert not lost, f"lost: {lost}"
