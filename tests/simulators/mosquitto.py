"""Debian's mosquitto, started by the test that needs it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.peers import need
from tests.ports import connect, free_port
from tests.simulators.peer import connect_to_each_other


class Mosquitto:
    """A broker of its own on a port of this machine; `settings` are lines of mosquitto.conf."""

    def __init__(
        self,
        directory: Path,
        settings: str = "allow_anonymous true",
        *,
        options: str = "",
        verbose: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._environment = {**os.environ, **(environment or {})}
        self._program = need("mosquitto", "mosquitto")
        self.port = free_port()
        self.directory = directory / f"mosquitto-{self.port}"
        self.directory.mkdir(mode=0o777)
        self.directory.chmod(0o777)  # it gives up being root
        self.file = self.directory / "mosquitto.conf"
        self.log_file = self.directory / "log"
        self._flags = ["-v"] if verbose else []
        self.write(settings, options)
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, settings: str, options: str = "") -> None:
        """Give it this configuration from its next start on; `options` stand before its listener."""
        self.file.write_text(
            f"{options}\npersistence true\npersistence_location {self.directory}/\nuser root\n"
            f"listener {self.port} 127.0.0.1\n{settings}\n"
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [self._program, "-c", str(self.file), *self._flags],
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        connect(self.port).close()

    def kill(self) -> None:
        """End it without a chance to write what it has in memory."""
        assert self.process
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait(30)

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            self.stop()

    @property
    def pid(self) -> int:
        """The id of its process, 0 where none runs."""
        return self.process.pid if self.process else 0

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


class Subscriber:
    """mosquitto_sub, which shows what really comes: (topic, payload, retained) in the order of arrival."""

    def __init__(self, broker: Mosquitto, *topics: str, options: Sequence[str] = ()) -> None:
        program = need("mosquitto_sub", "mosquitto-clients")
        topics_ = [part for topic in topics for part in ("-t", topic)]
        self._file = broker.directory / f"sub-{free_port()}"
        with self._file.open("wb") as out:
            self.process = subprocess.Popen(
                [
                    program,
                    "-p",
                    str(broker.port),
                    "-V",
                    "mqttv5",
                    "-q",
                    "1",
                    "-F",
                    "%r %t\t%p",
                    *options,
                    *topics_,
                    "-t",
                    "test/ready",
                ],
                stdout=out,
            )
        self._broker = broker

    def __enter__(self) -> Self:
        from tests.waiting import wait_until

        def is_ready() -> bool:
            publish(self._broker, "test/ready", "1")
            return "test/ready" in self._file.read_text()

        wait_until(is_ready, what="mosquitto_sub to subscribe")
        return self

    @property
    def messages(self) -> list[tuple[str, str, bool]]:
        lines = list(self._file.read_text(errors="replace").split("\n")[:-1])
        found = []
        for line in lines:
            head, _, payload = line.partition("\t")
            retained, _, topic = head.partition(" ")
            if topic != "test/ready":
                found.append((topic, payload, retained == "1"))
        return found

    def of(self, topic: str) -> list[str]:
        """Return the payloads of a topic."""
        return [payload for name, payload, _ in self.messages if name == topic]

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(30)


def publish(broker: Mosquitto, topic: str, payload: str, *options: str) -> None:
    """Publish one message with mosquitto_pub."""
    program = need("mosquitto_pub", "mosquitto-clients")
    subprocess.run(
        [program, "-p", str(broker.port), "-q", "1", "-t", topic, "-m", payload, *options],
        check=True,
        timeout=30,
    )


def old(broker, answer=b"\x20\x02\x00\x01"):
    """Return what a broker does that knows MQTT 3.1.1 only, as before 2019: mosquitto is behind it.

    `answer` is what it says to MQTT 5 before it closes the connection; RabbitMQ 3.10 says nothing.
    """

    def speak(peer, connection):
        first = connection.recv(4096)
        if first[8] == 5:
            connection.sendall(answer)
            return
        with socket.create_connection(("127.0.0.1", broker.port)) as there:
            there.sendall(first)
            connect_to_each_other(connection, there)

    return speak
