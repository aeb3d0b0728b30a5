"""A real Home Assistant with a gateway and a mosquitto: `make peers` prints what it shows, in minutes.

It is installed into an environment of its own (827 MB) that is kept, and run headless. REST does what people
do in the browser. https://developers.home-assistant.io/docs/api/rest
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from tests.gateway_process import GatewayProcess, state
from tests.ports import free_port
from tests.simulators.mosquitto import Mosquitto
from tests.waiting import wait_until

VERSION = "2025.4.4"
PACKAGES = (
    f"homeassistant=={VERSION}",
    "home-assistant-frontend==20250411.0",
    "paho-mqtt==2.1.0",
    "psutil-home-assistant",
)
"""The newest for Python 3.13; without the frontend the core only offers a repair."""
CACHE = Path(os.environ.get("HOME_ASSISTANT", Path.home() / ".cache/oemgateway/home-assistant"))
CLIENT = "http://oemgateway.test/"


def install() -> Path | None:
    """Return its program, installed where it is missing; None without the Python that it needs."""
    program = CACHE / "bin/hass"
    if not program.exists():
        python = os.environ.get("PYTHON313", "python3.13")
        if (
            not shutil.which(python)
            or subprocess.run([python, "-V"], capture_output=True, check=False).returncode
        ):
            sys.stderr.write("Home Assistant is left out: it needs Python 3.13 (PYTHON313= names it)\n")
            return None
        sys.stderr.write(f"Home Assistant {VERSION} is installed into {CACHE}, which takes minutes\n")
        subprocess.run([python, "-m", "venv", CACHE], check=True)
        subprocess.run([CACHE / "bin/pip", "install", "-q", *PACKAGES], check=True)
    return program


class HomeAssistant:
    """The core in a directory of its own."""

    def __init__(self, program: Path, directory: Path) -> None:
        self.program = program
        self.directory = directory
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.token = ""
        directory.mkdir()
        (directory / "configuration.yaml").write_text(
            f"http:\n  server_host: 127.0.0.1\n  server_port: {port}\napi:\nconfig:\nonboarding:\n"
        )

    def start(self) -> None:
        with (self.directory / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [self.program, "-c", self.directory, "--skip-pip"], stdout=out, stderr=out
            )
        wait_until(self._answers, 120, "Home Assistant to answer")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.directory / "out").read_text()[-2000:]
        try:
            return requests.get(f"{self.url}/api/onboarding", timeout=5).status_code in (200, 404, 401)
        except requests.RequestException:
            return False

    def call(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = requests.request(method, f"{self.url}{path}", headers=headers, timeout=30, **more)
        assert answer.status_code < 400, (path, answer.status_code, answer.text[:300])
        return answer.json() if answer.text else None

    def set_up(self, broker_port: int) -> None:
        """Make an owner, and the MQTT integration."""
        owner = {"client_id": CLIENT, "name": "o", "username": "o", "password": "owner", "language": "en"}
        code = self.call("POST", "/api/onboarding/users", json=owner)["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": CLIENT}
        self.token = self.call("POST", "/auth/token", data=grant)["access_token"]
        self.call("POST", "/api/onboarding/core_config", json={})
        self.call("POST", "/api/onboarding/integration", json={"client_id": CLIENT, "redirect_uri": CLIENT})
        flow = self.call("POST", "/api/config/config_entries/flow", json={"handler": "mqtt"})
        given = {"broker": "127.0.0.1", "port": broker_port}
        done = self.call("POST", f"/api/config/config_entries/flow/{flow['flow_id']}", json=given)
        assert done["type"] == "create_entry", done

    def states(self) -> dict[str, dict[str, Any]]:
        """Return the states by the names that people see."""
        found = self.call("GET", "/api/states")
        return {each["attributes"].get("friendly_name", each["entity_id"]): each for each in found}

    def value(self, name: str) -> str:
        return str(self.states().get(name, {}).get("state", "not there"))


CONFIGURATION = """{state}simulate = yes
[listeners]
[[bridge]]
type = ds2482
bus = simulated
node = 9
interval = 2
sensor1 = 28.33F749050000, flow
sensor2 = 28.DB564A050000, return
[[lines]]
type = tcp
port = {lines}
[dispatchers]
[[house]]
type = mqtt
host = 127.0.0.1
port = {broker}
topic = home
[nodes]
[[10]]
nodename = boiler
names = inlet, power
units = C, W
"""


class Shown:
    """What is expected of Home Assistant, step by step, and what it showed."""

    def __init__(self, home: HomeAssistant) -> None:
        self.home = home

    def until(self, what: str, name: str, is_right: Callable[[str], bool], seconds: float = 60) -> None:
        begun = time.monotonic()
        wait_until(lambda: is_right(self.home.value(name)), seconds, f"{what}: {name}")
        took = time.monotonic() - begun
        say_line(f"{what:48} {name} is {self.home.value(name)} ({took:.1f} s)")


def say_line(text: str) -> None:
    """Print at once: what comes next may take a while."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def is_number(text: str) -> bool:
    try:
        return float(text) > -100
    except ValueError:
        return False


def main() -> int:
    program = install()
    if program is None:
        return 0
    with tempfile.TemporaryDirectory(prefix="oemgateway-peers-") as name, Mosquitto(Path(name)) as broker:
        directory = Path(name)
        home = HomeAssistant(program, directory / "home")
        home.start()
        try:
            home.set_up(broker.port)
            run(directory, broker, home)
        finally:
            home.stop()
    return 0


def run(directory: Path, broker: Mosquitto, home: HomeAssistant) -> None:
    shown, lines = Shown(home), free_port()
    file = directory / "oemgateway.conf"
    text = CONFIGURATION.format(state=state(directory), lines=lines, broker=broker.port)
    file.write_text(text)
    file.chmod(0o600)

    def say(line: str) -> None:
        with socket.create_connection(("127.0.0.1", lines)) as client:
            client.sendall(f"{line}\r\n".encode())

    with GatewayProcess(file) as gateway:
        say_line(f"Home Assistant {VERSION}")
        shown.until("discovery and a value", "Node 9 flow", is_number)
        say("10 20.5 1500")
        shown.until("a value of a node of [nodes]", "boiler inlet", lambda text: text == "20.5")
        about = home.states()["boiler power"]["attributes"]
        say_line(f"{'its unit and classes':48} {json.dumps({key: about[key] for key in sorted(about)})}")
        say("10 nan 1500")
        shown.until("a dead sensor", "boiler inlet", lambda text: text == "unknown")
        assert home.value("boiler power") == "1500"
        problem = next(name for name in home.states() if name.endswith("Problem"))
        shown.until("the gateway itself", problem, lambda text: text == "off")
        broker.kill()
        for number in range(10):
            say(f"10 {number} {number}")
        time.sleep(3)
        shown.until("the broker is killed", "boiler power", lambda text: text == "unavailable")
        broker.start()
        shown.until(
            "after an outage the latest of the backlog", "boiler power", lambda text: text == "9", 120
        )
        home.stop()
        home.start()
        shown.until("Home Assistant has restarted", "boiler power", lambda text: text == "9", 120)
        shown.until("", "Node 9 flow", is_number)
        gateway.kill()
        shown.until("the gateway is killed", "Node 9 flow", lambda text: text == "unavailable")
        gateway.start()
        shown.until("the gateway is back", "Node 9 flow", is_number)
        before = home.states()["Node 9 flow"]["entity_id"]
        file.write_text(text := text.replace(", flow", ", supply"))
        shown.until("a new label", "Node 9 supply", is_number)
        assert home.states()["Node 9 supply"]["entity_id"] == before
        say_line(f"{'':48} it is still {before}")
        file.write_text(text := text.replace("sensor2 = 28.DB564A050000, return\n", ""))
        shown.until("a sensor that is removed", "Node 9 return", lambda text: text == "not there")
        file.write_text(text.replace("topic = home", "topic = home\ndiscovery = no"))
        shown.until("discovery is switched off", "Node 9 supply", lambda text: text == "not there")
        assert gateway.stop() == 0
    faults = [
        line for line in (home.directory / "home-assistant.log").read_text().splitlines() if "mqtt" in line
    ]
    say_line("\n".join(["in its log:", *faults] if faults else ["nothing about MQTT in its log"]))


if __name__ == "__main__":
    sys.exit(main())
