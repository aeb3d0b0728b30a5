"""What a real Home Assistant shows of `make demo MQTT=host`: python -m tests.home_assistant_screenshot FILE.

Chromium is lent the token of the session that REST has opened, as the page itself would keep it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.browser import Browser
from tests.gateway_process import ENVIRONMENT
from tests.peers_home_assistant import HomeAssistant, install, is_number
from tests.simulators.mosquitto import Mosquitto
from tests.waiting import wait_until

NODE = "Node 9"
SECONDS = 20
"""For which the demo runs before: the activity of a device begins with it."""


def devices(browser: Browser) -> dict[str, str]:
    """Return the ids of the devices by their names, as the page gets them."""
    found = browser.evaluate(
        "document.querySelector('home-assistant').hass.callWS({type: 'config/device_registry/list'})"
    )
    return {each["name"]: each["id"] for each in found}


def show(home: HomeAssistant, directory: Path, file: Path) -> None:
    """Open the page of the node, and take a picture of it."""
    tokens = {
        "access_token": home.token,
        "token_type": "Bearer",
        "expires_in": 1800,
        "hassUrl": home.url,
        "clientId": f"{home.url}/",
        "expires": (time.time() + 1800) * 1000,
        "refresh_token": "",
    }
    with Browser(directory) as browser:
        browser.look(1180, 900)
        browser.go(f"{home.url}/manifest.json")
        browser.evaluate(f"localStorage.setItem('hassTokens', {json.dumps(json.dumps(tokens))})")
        browser.go(home.url)
        ready = "!!(document.querySelector('home-assistant') || {}).hass?.states"
        try:
            wait_until(lambda: browser.evaluate(ready), 60, "Home Assistant's page")
            browser.go(f"{home.url}/config/devices/device/{devices(browser)[NODE]}")
            wait_until(lambda: browser.evaluate(ready), 60, "the page of the device")
            time.sleep(10)  # it draws itself bit by bit
        finally:
            browser.screenshot(file)


def main() -> int:
    program = install()
    if program is None:
        return 1
    with tempfile.TemporaryDirectory(prefix="oemgateway-shot-") as name, Mosquitto(Path(name)) as broker:
        directory = Path(name)
        home = HomeAssistant(program, directory / "home")
        home.start()
        demo = subprocess.Popen(
            [sys.executable, "-m", "gateway", "demo"],
            env=ENVIRONMENT | {"MQTT": f"127.0.0.1:{broker.port}"},
            stdout=subprocess.DEVNULL,
        )
        try:
            home.set_up(broker.port)
            home.call("POST", "/api/onboarding/analytics", json={})  # the page would ask for it
            wait_until(lambda: is_number(home.value(f"{NODE} cellar")), 60, "a value")
            time.sleep(SECONDS)
            show(home, directory, Path(sys.argv[1]))
        finally:
            demo.terminate()
            demo.wait(60)
            home.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
